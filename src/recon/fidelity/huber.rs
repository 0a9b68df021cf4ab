//! Huber's loss: Gaussian noise with some outliers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, modulus, replace, sum, times};
use crate::error::Fault;
use crate::range::positive;
use crate::scalar::Scalar;

/// `Σ h(|u − y|)` with `h(r) = ½ r²` up to δ and `δ r − ½ δ²` beyond.
///
/// Reference: P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Huber {
    /// Where the square becomes a line, in the units of the measurements.
    pub delta: f64,
}

impl Fidelity for Huber {
    const SUMMARY: &'static str = "½|u − y|² up to δ, linear beyond, some outliers: delta";

    fn check(&self) -> Result<(), Fault> {
        positive("delta", self.delta)
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        let delta = self.delta;
        Ok(sum(u, y, |u, y| {
            let r = modulus(u - y);
            if r <= delta { 0.5 * r * r } else { delta * (r - 0.5 * delta) }
        }))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        replace(u, y, |u, y| {
            let r = modulus(u - y);
            if r <= self.delta { u - y } else { times(u - y, self.delta / r) }
        });
        Ok(value)
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        replace(v, y, |v, y| {
            let r = modulus(v - y);
            let keep = if r <= self.delta * (1.0 + step) { 1.0 / (1.0 + step) } else { 1.0 - step * self.delta / r };
            y + times(v - y, keep)
        });
        Ok(())
    }
}
