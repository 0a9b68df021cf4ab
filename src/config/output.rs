//! The `[output]` table: where results go.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the results go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// The folder for `x.npy`, pictures and `report.json`; made if it is missing. `--out` says otherwise.
    pub folder: PathBuf,
}

impl Default for Output {
    fn default() -> Self {
        Output { folder: PathBuf::from("out") }
    }
}
