//! Counted photons: the Kullback-Leibler divergence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, only_real, replace, sum};
use crate::error::Fault;
use crate::range::{not_negative, positive};
use crate::scalar::Scalar;

/// `Σ λ − k + k ln(k/λ)` with counts `k = y / gain` and expected counts `λ = u / gain + background`.
///
/// The negative log-likelihood of `k ~ Poisson(λ)`, up to what does not depend on `u`. Infinite where λ ≤ 0 < k or λ < 0.
/// Reference: L. A. Shepp and Y. Vardi, "Maximum likelihood reconstruction for emission tomography", IEEE TMI 1 (1982).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Poisson {
    /// Units of the measurements per count.
    pub gain: f64,
    /// Expected counts that do not come from the object.
    pub background: f64,
}

impl Default for Poisson {
    fn default() -> Self {
        Poisson { gain: 1.0, background: 0.0 }
    }
}

impl Fidelity for Poisson {
    const SUMMARY: &'static str = "Kullback-Leibler divergence, counted photons: gain, background";
    const REAL: bool = true;

    fn check(&self) -> Result<(), Fault> {
        positive("gain", self.gain).and_then(|()| not_negative("background", self.background))
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        only_real::<S>("poisson")?;
        Ok(sum(u, y, |u, y| {
            let (k, expected) = (y.re() / self.gain, u.re() / self.gain + self.background);
            if expected < 0.0 || (expected == 0.0 && k > 0.0) {
                f64::INFINITY
            } else if k > 0.0 {
                let excess = (expected - k) / k;
                k * (excess - excess.ln_1p()) // no loss of digits where the fit is good
            } else {
                expected
            }
        }))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        replace(u, y, |u, y| {
            let (k, expected) = (y.re() / self.gain, u.re() / self.gain + self.background);
            let ratio = if k > 0.0 { k / expected } else { 0.0 };
            S::from_f64((1.0 - ratio) / self.gain)
        });
        Ok(value)
    }
    /// The positive root of `g λ² + (τ/g − g b − v) λ − τ k / g = 0`, where the derivative vanishes.
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        only_real::<S>("poisson")?;
        let (g, b) = (self.gain, self.background);
        replace(v, y, |v, y| {
            let (k, half) = ((y.re() / g).max(0.0), 0.5 * (g * b + v.re() - step / g));
            let expected = (half + (half * half + step * k).sqrt()) / g;
            S::from_f64(g * (expected - b))
        });
        Ok(())
    }
}
