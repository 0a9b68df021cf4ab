//! The `[solve]` table: which method, and when it stops.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::FirstGuess;
use crate::kinds;
use crate::recon::{AnyFormula, AnyMinimiser, Loss};
use crate::solver::{AnyMethod, AnyPreconditioner, CgParams, StepCalls};

/// How to solve for `x`, and when to stop. The first rule that says stop is named in the report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Solve {
    /// The iterative method. Those that know fidelities other than least squares are `gradient_descent` and `primal_dual`.
    pub method: SolveMethod,
    /// What makes conjugate gradients on the normal system faster. Left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditioner: Option<AnyPreconditioner>,
    /// Whether the whole stack is solved, or each operator by itself and the answers averaged.
    pub pseudo_inverse: PseudoInverseMode,
    /// Whether the fidelities of the operators are summed or averaged; for `gradient_descent` and `primal_dual`.
    pub loss: Loss,
    /// Stop when a residual is small enough.
    pub tolerance: Tolerances,
    /// Stop after this many seconds of iterating, by the clock of rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time_s: Option<f64>,
    /// An array (npy, npz, cfl, TIFF, …) with the model's sizes to start from, or "local_mean": start from each operator's own
    /// solution, averaged; or a formula, such as `{ kind = "fbp" }`. Left out: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_guess: Option<FirstGuess>,
}

/// What `solve.method` can name: all of [`AnyMethod`], for plain least squares, all of [`AnyMinimiser`], for any fidelity, and
/// all of [`AnyFormula`], which iterate nothing.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum SolveMethod {
    /// Minimises ‖A x − y‖² + λ‖x‖².
    LeastSquares(AnyMethod),
    /// Minimises Σ d_i(A_i x, y_i) + ½ λ‖x‖².
    Minimiser(AnyMinimiser),
    /// Applies a formula, once.
    Formula(AnyFormula),
}

impl Default for SolveMethod {
    fn default() -> Self {
        SolveMethod::LeastSquares(CgParams::default().into())
    }
}

impl<'de> Deserialize<'de> for SolveMethod {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(from)?;
        let known = [AnyMethod::KINDS, AnyMinimiser::KINDS, AnyFormula::KINDS].concat();
        let (kind, _) = kinds::chosen(table.clone(), "kind", &known).map_err(D::Error::custom)?;
        let is_of = |kinds: &[&str]| kinds.contains(&kind.as_str());
        let read = match (is_of(AnyMinimiser::KINDS), is_of(AnyFormula::KINDS)) {
            (true, _) => AnyMinimiser::deserialize(table).map(SolveMethod::Minimiser),
            (_, true) => AnyFormula::deserialize(table).map(SolveMethod::Formula),
            _ => AnyMethod::deserialize(table).map(SolveMethod::LeastSquares),
        };
        read.map_err(|error| D::Error::custom(error.message()))
    }
}

impl SolveMethod {
    /// The name by which a config chooses it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LeastSquares(method) => method.kind(),
            Self::Minimiser(method) => method.kind(),
            Self::Formula(formula) => formula.kind(),
        }
    }
    /// The largest number of iterations; a formula has none.
    pub fn most_iterations(&self) -> usize {
        match self {
            Self::LeastSquares(method) => method.most_iterations(),
            Self::Minimiser(method) => method.most_iterations(),
            Self::Formula(_) => 0,
        }
    }
    /// λ.
    pub fn damping(&self) -> f64 {
        match self {
            Self::LeastSquares(method) => method.damping(),
            Self::Minimiser(method) => method.damping(),
            Self::Formula(_) => 0.0,
        }
    }
    /// Vectors that a solve holds: of the model, and of the measurements (beside the data).
    pub fn vectors(&self) -> [u64; 2] {
        match self {
            Self::LeastSquares(method) => method.vectors(),
            Self::Minimiser(method) => method.vectors(),
            Self::Formula(_) => [2, 1], // the sum, then its normal residual; what is filtered
        }
    }
    /// Of these, the vectors that a checkpoint keeps.
    pub fn kept_vectors(&self) -> [u64; 2] {
        match self {
            Self::LeastSquares(method) => method.kept_vectors(),
            Self::Minimiser(method) => method.kept_vectors(),
            Self::Formula(_) => [0, 0],
        }
    }
    /// What one step asks of the ranks, with a preconditioner or without.
    pub fn calls(&self, preconditioner: Option<&AnyPreconditioner>) -> StepCalls {
        match self {
            Self::LeastSquares(method) => method.calls(preconditioner),
            Self::Minimiser(method) => method.calls(),
            Self::Formula(_) => StepCalls::default(),
        }
    }
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
    /// Only with `gradient_descent` and `primal_dual`: stop when the conditions of a minimum hold up to this part of what they
    /// were at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_optimality: Option<f64>,
    /// Only with `gradient_descent` and `primal_dual`: stop when a step changes x by at most this part of ‖x‖.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_change: Option<f64>,
    /// Only with `system = "forward_adjoint"`: stop when ‖(AAᴴ + λI) u − y‖ is at most this part of ‖y‖.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_system_residual: Option<f64>,
}

impl Solve {
    /// The formula that the method is, or from which it starts.
    pub fn formula(&self) -> Option<&AnyFormula> {
        match (&self.method, &self.first_guess) {
            (SolveMethod::Formula(formula), _) | (_, Some(FirstGuess::Formula(formula))) => Some(formula),
            _ => None,
        }
    }
}
