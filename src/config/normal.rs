//! The `[normal]` table: how `AᴴA` is applied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::NormalKind;

/// How the normal operator `AᴴA` is applied. Changes what an iteration costs, not what it computes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Normal {
    /// Whether the operators' own `AᴴA` are merged.
    pub kind: NormalKind,
}
