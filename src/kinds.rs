//! One mechanism for every `{ kind = "…", … }` table of a config: a closed set of named parameter structs.
//!
//! `kinds!` makes an enum with one variant for each kind. Serialising writes `kind` beside the fields; the JSON Schema
//! follows from the structs; deserialising picks the struct by its kind and keeps the path to a key that is wrong, which
//! serde's own internally tagged enums lose.

use serde::de::DeserializeOwned;

/// Stands between the path and the message in an error text that passes through serde.
pub(crate) const PATH_MARK: char = '\u{1f}';

/// Declares an enum of parameter structs that a table chooses by `kind` (or another tag).
macro_rules! kinds {
    (
        $(#[$doc:meta])*
        pub enum $name:ident by $tag:literal { $( $kind:literal => $variant:ident($params:ty), )+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
        #[serde(tag = $tag)]
        pub enum $name {
            $(
                #[doc = concat!("`", $tag, " = \"", $kind, "\"`")]
                #[serde(rename = $kind)]
                $variant($params),
            )+
        }

        impl $name {
            /// The names that a config may use, in order.
            pub const KINDS: &'static [&'static str] = &[$($kind),+];

            /// The name by which a config chooses this one.
            pub fn kind(&self) -> &'static str {
                match self { $( Self::$variant(_) => $kind, )+ }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let (kind, table) = $crate::kinds::chosen(<toml::Table as serde::Deserialize>::deserialize(from)?, $tag, Self::KINDS)
                    .map_err(serde::de::Error::custom)?;
                match kind.as_str() {
                    $( $kind => $crate::kinds::params(table).map(Self::$variant), )+
                    _ => Err(String::new()), // `chosen` lets only known kinds pass
                }
                .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use kinds;

/// The table's kind, checked against the known ones, and what remains of the table.
pub(crate) fn chosen(mut table: toml::Table, tag: &str, known: &[&str]) -> Result<(String, toml::Table), String> {
    let list = known.join("`, `");
    match table.remove(tag) {
        Some(toml::Value::String(kind)) if known.contains(&kind.as_str()) => Ok((kind, table)),
        Some(toml::Value::String(kind)) => {
            Err(format!("{tag}{PATH_MARK}unknown {tag} `{kind}`, expected one of `{list}`"))
        }
        Some(other) => Err(format!("{tag}{PATH_MARK}expected a string, got {other}")),
        None => Err(format!("missing field `{tag}`: one of `{list}`")),
    }
}

/// The parameters in a table, or the path to the wrong key and what is wrong with it.
pub(crate) fn params<P: DeserializeOwned>(table: toml::Table) -> Result<P, String> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().message().to_owned();
        if path == "." { message } else { format!("{path}{PATH_MARK}{message}") }
    })
}
