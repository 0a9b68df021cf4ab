//! The `[run]` table: how the work is spread and summed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::comm::{Reduction, Summation};
use crate::stack::Assignment;

/// How the work is spread and summed. Never changes the mathematics; the number of ranks comes from `mpirun`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// How contributions of operators are added up.
    pub summation: Summation,
    /// Whether ranks of one host sum in memory that they share, or by messages. For measuring; `auto` is the faster.
    pub reduction: Reduction,
    /// How operators are dealt to ranks.
    pub assignment: Assignment,
    /// Threads of each rank. `--threads` says otherwise. Left out: one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub threads: Option<usize>,
    /// How many operators of a rank may run at once, on its threads. Each lane has scratch of its own, and with fast summation
    /// a model-length sum of its own. Left out: as many as threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lanes: Option<usize>,
    /// Where random numbers start. A draw depends on this and its place, never on the number of ranks.
    // TOML's integers are signed, so larger seeds could not be written back.
    #[schemars(range(max = 9223372036854775807_u64))]
    pub seed: u64,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            summation: Summation::default(),
            reduction: Reduction::default(),
            assignment: Assignment::default(),
            threads: None,
            lanes: None,
            seed: 1,
        }
    }
}
