//! The indicator of a ball: "explain the data up to the noise, and not better".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, replace, sum, times};
use crate::error::Fault;
use crate::range::positive;
use crate::scalar::{Real, Scalar};

/// 0 if `‖u − y‖ ≤ radius`, otherwise infinite. The ball is of the measurements of one operator: with `split`, each part has
/// a ball of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L2Ball {
    /// The radius, in the units of the measurements: about σ√n for n measurements with noise σ. With `split`, that of each
    /// part.
    pub radius: f64,
}

impl Fidelity for L2Ball {
    const SUMMARY: &'static str = "0 if ‖u − y‖ ≤ radius, otherwise ∞, a known noise level: radius";
    const SMOOTH: bool = false;
    const INDICATOR: bool = true;

    fn check(&self) -> Result<(), Fault> {
        positive("radius", self.radius)
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        let distance = sum(u, y, |u, y| (u - y).modulus_squared()).sqrt();
        let slack = 1.0 + 8.0 * S::Real::EPSILON; // the rounding of a projection onto the ball does not put it outside
        Ok(if distance <= self.radius * slack { 0.0 } else { f64::INFINITY })
    }
    fn gradient<S: Scalar>(&self, _u: &mut [S], _y: &[S]) -> Result<f64, Fault> {
        Err(Fault::new("the fidelity `l2_ball` has no gradient")
            .hint("use a method with its proximal map, or the fidelity `l2`"))
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], _step: f64) -> Result<(), Fault> {
        let distance = sum(v, y, |v, y| (v - y).modulus_squared()).sqrt();
        if distance > self.radius {
            replace(v, y, |v, y| y + times(v - y, self.radius / distance));
        }
        Ok(())
    }
}
