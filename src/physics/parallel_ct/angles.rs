//! Angles as a config writes them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Angles one by one, or evenly spaced.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Angles {
    /// `[0.0, 0.5, 1.0]`
    List(Vec<f64>),
    /// `{ start = 0.0, stop = 180.0, count = 90 }`
    Range(AngleRange),
}

/// `count` evenly spaced angles from `start` on; `stop` is the one that would come next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AngleRange {
    /// The first angle.
    pub start: f64,
    /// Where the angles end; not itself among them.
    pub stop: f64,
    /// The number of angles.
    pub count: usize,
}

impl Angles {
    /// The angles, in the unit in which they were given.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Angles::List(values) => values.clone(),
            Angles::Range(AngleRange { start, stop, count }) => {
                (0..*count).map(|i| start + (stop - start) * i as f64 / *count as f64).collect()
            }
        }
    }
}

/// By hand, because serde's own reading of an enum without a tag forgets which key of the table was wrong.
impl<'de> Deserialize<'de> for Angles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ListOrRange;
        impl<'de> Visitor<'de> for ListOrRange {
            type Value = Angles;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of angles, or a table { start, stop, count }")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Angles, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Angles::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Angles, A::Error> {
                AngleRange::deserialize(MapAccessDeserializer::new(table)).map(Angles::Range)
            }
        }
        from.deserialize_any(ListOrRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::{AnyPhysics, ParallelCtParams};

    #[test]
    fn angles_are_read_in_all_forms() {
        let list = toml::from_str("kind = \"parallel_ct\"\nangles_deg = [0, 90.0]").unwrap();
        let AnyPhysics::ParallelCt(list) = list else { panic!("{list:?}") };
        assert_eq!(list.angles_deg, Some(Angles::List(vec![0.0, 90.0])));
        assert_eq!(list.spacing, 1.0);
        let range = Angles::Range(AngleRange { start: 0.0, stop: 180.0, count: 4 });
        assert_eq!(range.values(), [0.0, 45.0, 90.0, 135.0]);
        let back: ParallelCtParams = toml::from_str(&toml::to_string(&list).unwrap()).unwrap();
        assert_eq!(back, list);

        let wrong = |text: &str| toml::from_str::<ParallelCtParams>(text).unwrap_err().to_string();
        assert!(wrong("angles_deg = { start = 0, stop = 1, number = 3 }").contains("unknown field `number`"));
        assert!(wrong("angles_deg = 3").contains("a list of angles, or a table { start, stop, count }"));
        assert!(wrong("centre = 3.0").contains("unknown field `centre`"));
    }
}
