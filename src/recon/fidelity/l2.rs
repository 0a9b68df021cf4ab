//! Least squares: Gaussian noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, positive, replace, sum, times};
use crate::error::Fault;
use crate::scalar::Scalar;

/// `‖u − y‖² / (2σ²)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct L2 {
    /// The standard deviation of the noise. 1 gives ½‖u − y‖².
    pub sigma: f64,
}

impl Default for L2 {
    fn default() -> Self {
        L2 { sigma: 1.0 }
    }
}

impl L2 {
    fn weight(&self) -> f64 {
        1.0 / (self.sigma * self.sigma)
    }
}

impl Fidelity for L2 {
    const SUMMARY: &'static str = "‖u − y‖² / (2σ²): Gaussian noise";

    fn check(&self) -> Result<(), Fault> {
        positive(self.sigma, "sigma")
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        Ok(0.5 * self.weight() * sum(u, y, |u, y| (u - y).modulus_squared()))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        replace(u, y, |u, y| times(u - y, self.weight()));
        Ok(value)
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        let pull = step * self.weight();
        replace(v, y, |v, y| times(v + times(y, pull), 1.0 / (1.0 + pull)));
        Ok(())
    }
}
