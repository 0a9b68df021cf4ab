//! The `[norm]` table: how the squared spectral norm is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::kinds;
use crate::solver::{LanczosParams, NormSquared, PowerParams};

/// How the squared spectral norm `‖A‖²` of the stack is computed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Norm {
    /// The iterative method.
    pub method: NormMethod,
}

kinds! {
    /// A method that computes the squared spectral norm.
    pub enum NormMethod by "kind" { "power" => Power(PowerParams), "lanczos" => Lanczos(LanczosParams), }
}

impl Default for NormMethod {
    fn default() -> Self {
        NormMethod::Power(PowerParams::default())
    }
}

impl NormMethod {
    /// Vectors that it holds at most: of the model, and of the measurements.
    pub fn vectors(&self) -> [u64; 2] {
        match self {
            NormMethod::Power(_) => [2, 0],
            NormMethod::Lanczos(params) => [params.max_iter as u64 + 1, 2],
        }
    }
}

impl From<NormMethod> for NormSquared {
    fn from(method: NormMethod) -> Self {
        match method {
            NormMethod::Power(params) => NormSquared::Exact(params),
            NormMethod::Lanczos(params) => NormSquared::Lanczos(params),
        }
    }
}
