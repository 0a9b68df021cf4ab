//! Methods that iterate. One driver owns the loop ([`drive`]); a method is a file with `start` and `step`; stop rules and
//! observers are objects of their own.
//!
//! A method's parameter struct is the very type that the config file holds.

mod cg;
mod drive;
mod norm_squared;
mod power;
mod pseudo_inverse;
pub mod stop;

pub use cg::{Cg, CgParams};
pub use drive::{Method, Observer, Outcome, Progress, drive};
pub use norm_squared::{NormSquared, NormSquaredEstimate, norm_squared};
pub use power::{Power, PowerParams};
pub use pseudo_inverse::{PseudoInverse, Solution, pseudo_inverse, with_trouble_rules};
pub use stop::Status;

use crate::kinds::kinds;

kinds! {
    /// A method that solves for `x`, with its parameters.
    pub enum AnyMethod by "kind" { "cg" => Cg(CgParams), }
}

impl AnyMethod {
    /// Name and one line for each method, for `stackphys list methods`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] =
        &[("cg", "conjugate gradients on the normal equations, (AᴴA + λI) x = Aᴴy")];

    /// The largest number of iterations.
    pub fn most_iterations(&self) -> usize {
        let AnyMethod::Cg(params) = self;
        params.max_iter
    }
    /// Vectors of the model that a solve holds.
    pub fn model_vectors(&self) -> u64 {
        let AnyMethod::Cg(_) = self;
        Cg::<f32>::MODEL_VECTORS
    }
}

impl Default for AnyMethod {
    fn default() -> Self {
        AnyMethod::Cg(CgParams::default())
    }
}
