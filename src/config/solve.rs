//! The `[solve]` table: which method, and when it stops.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::solver::{AnyMethod, AnyPreconditioner};

/// How to solve for `x`, and when to stop. The first rule that says stop is named in the report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Solve {
    /// The iterative method.
    pub method: AnyMethod,
    /// What makes conjugate gradients on the normal system faster. Left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditioner: Option<AnyPreconditioner>,
    /// Whether the whole stack is solved, or each operator by itself and the answers averaged.
    pub pseudo_inverse: PseudoInverseMode,
    /// Stop when a residual is small enough.
    pub tolerance: Tolerances,
    /// Stop after this many seconds of iterating, by the clock of rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time_s: Option<f64>,
    /// An npy file with the model's sizes to start from, or "local_mean": start from each operator's own solution,
    /// averaged. Left out: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_guess: Option<PathBuf>,
}

/// Which pseudo-inverse is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PseudoInverseMode {
    /// That of the whole stack: `x` minimises `‖A x − y‖`.
    #[default]
    Exact,
    /// An approximation, `1/N Σ A_i† y_i`: each operator is solved alone. The report says how far off it is.
    LocalMean,
}

/// When a residual is small enough. Relative, so the scale of the data does not matter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerances {
    /// Stop when ‖A x − y‖ is at most this part of ‖y‖. With noisy data: the noise's part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_residual: Option<f64>,
    /// Stop when ‖Aᴴ(A x − y) + λx‖ is at most this part of ‖Aᴴ y‖: the least-squares problem is solved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_normal_residual: Option<f64>,
    /// Only with `system = "forward_adjoint"`: stop when ‖(AAᴴ + λI) u − y‖ is at most this part of ‖y‖.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_system_residual: Option<f64>,
}

impl Solve {
    /// The value of `first_guess` that is no path.
    pub const LOCAL_MEAN: &'static str = "local_mean";
}
