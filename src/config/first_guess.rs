//! `solve.first_guess`: where an iterative method starts.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::recon::AnyFormula;

/// Where an iterative method starts.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum FirstGuess {
    /// An array in a file, with the model's sizes; or "local_mean": each operator's own solution, averaged.
    Path(PathBuf),
    /// `"local_mean"`.
    #[schemars(skip)]
    LocalMean,
    /// What a formula gives: `{ kind = "fbp" }`.
    Formula(AnyFormula),
}

/// The value that is no path.
const LOCAL_MEAN: &str = "local_mean";

impl Serialize for FirstGuess {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            FirstGuess::Path(path) => path.serialize(to),
            FirstGuess::LocalMean => to.serialize_str(LOCAL_MEAN),
            FirstGuess::Formula(formula) => formula.serialize(to),
        }
    }
}

/// By hand, because serde's own reading of an enum without a tag forgets which key of the table was wrong.
impl<'de> Deserialize<'de> for FirstGuess {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct PathOrFormula;
        impl<'de> Visitor<'de> for PathOrFormula {
            type Value = FirstGuess;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the path of an array, \"local_mean\", or a table such as { kind = \"fbp\" }")
            }
            fn visit_str<E>(self, text: &str) -> Result<FirstGuess, E> {
                Ok(if text == LOCAL_MEAN { FirstGuess::LocalMean } else { FirstGuess::Path(text.into()) })
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<FirstGuess, A::Error> {
                AnyFormula::deserialize(MapAccessDeserializer::new(table)).map(FirstGuess::Formula)
            }
        }
        from.deserialize_any(PathOrFormula)
    }
}
