//! The power method for the squared norm `‖A‖²`, the largest eigenvalue of `AᴴA`.
//!
//! Reference: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th edition, section 8.2.1. The start vector is drawn
//! by (seed, element), so the run is the same on any number of ranks. Every value is a Rayleigh quotient, hence a lower
//! bound; `‖AᴴA v − λ v‖` bounds the distance to an eigenvalue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use crate::comm::Team;
use crate::error::Error;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// The stream of random numbers that start vectors are drawn from.
const START: u64 = 0x706f_7765;

/// Parameters of the power method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PowerParams {
    /// The largest number of iterations.
    pub max_iter: usize,
    /// Stops when the value changes by no more than this part of itself in a step.
    pub tolerance: f64,
    /// The seed of the start vector.
    pub seed: u64,
}

impl Default for PowerParams {
    fn default() -> Self {
        PowerParams { max_iter: 200, tolerance: 1e-6, seed: 1 }
    }
}

/// The power method on `AᴴA`.
///
/// Collective: yes. Cost of a step: one `AᴴA`, one vector reduction, no scalar one. Memory: 2 vectors of the model.
pub struct Power<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    seed: u64,
    /// The iterate, of norm 1.
    v: Vector<X>,
    /// `AᴴA v`.
    w: Vector<X>,
    iteration: usize,
    value: f64,
    residual: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Power<'a, X, Y> {
    /// A run with a random start vector. Collective: yes.
    pub fn new(stack: &'a Stack<X, Y>, params: &PowerParams) -> Self {
        let (v, w) = (stack.zero_model(), stack.zero_sum());
        Power { stack, seed: params.seed, v, w, iteration: 0, value: 0.0, residual: f64::INFINITY }
    }

    /// `‖AᴴA v − λ v‖`: some eigenvalue of `AᴴA` is this close to the value.
    pub fn error_bar(&self) -> f64 {
        self.residual
    }

    fn progress(&self, change: Option<f64>, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration: self.iteration,
            value: (self.iteration > 0).then_some(self.value),
            relative_change: change,
            seconds: self.stack.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Power<'_, X, Y> {
    fn team(&self) -> Option<&Team> {
        Some(self.stack.team())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        self.v.fill_normal(&Stream::new(self.seed, START));
        let norm = self.stack.team().norm(&self.v)?;
        self.v.scale(1.0 / norm);
        Ok(self.progress(None, None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        self.stack.normal_unsettled(&self.v, &mut self.w)?;
        let [value, squared] = self.stack.team().dots([(&self.v, &self.w), (&self.w, &self.w)])?;
        let change = (value - self.value).abs() / value;
        // ‖w − λv‖² = ‖w‖² − λ² for ‖v‖ = 1
        self.residual = (squared - value * value).max(0.0).sqrt();
        self.value = value;
        self.iteration += 1;
        if squared == 0.0 {
            return Ok(self.progress(None, Some("AᴴA v is zero: the operator is zero, or its adjoint is")));
        }
        self.v.copy_from(&self.w);
        self.v.scale(1.0 / squared.sqrt());
        Ok(self.progress(Some(change).filter(|_| self.iteration > 1), None))
    }
}
