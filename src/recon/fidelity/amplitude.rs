//! Measured amplitudes of a complex field: phase retrieval, calibrated visibilities without phases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, modulus, replace, sum, times};
use crate::error::Fault;
use crate::scalar::Scalar;

/// `½ Σ (|u| − y)²` with measured amplitudes `y ≥ 0` (the real part of the data). Not convex. The gradient at `u = 0`, where
/// there is none, is zero.
///
/// Reference: J. R. Fienup, "Phase retrieval algorithms: a comparison", Appl. Opt. 21 (1982), section III.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amplitude {}

impl Fidelity for Amplitude {
    const SUMMARY: &'static str = "½ Σ (|u| − y)², amplitudes without phases";
    const FLAT_AT_ZERO: bool = true;

    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        Ok(0.5 * sum(u, y, |u, y| (modulus(u) - y.re()).powi(2)))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        replace(u, y, |u, y| {
            let size = modulus(u);
            if size == 0.0 { S::default() } else { times(u, 1.0 - y.re() / size) }
        });
        Ok(value)
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        replace(v, y, |v, y| {
            let (size, pull) = (modulus(v), step * y.re());
            // any phase is as good as another for v = 0
            if size == 0.0 { S::from_f64(pull / (1.0 + step)) } else { times(v, (1.0 + pull / size) / (1.0 + step)) }
        });
        Ok(())
    }
}
