//! Least absolute differences: outliers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, modulus, replace, sum, times};
use crate::error::Fault;
use crate::scalar::Scalar;

/// `Σ |u − y|`. Its gradient is a subgradient: zero where `u = y`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L1 {}

impl Fidelity for L1 {
    const SUMMARY: &'static str = "Σ |u − y|, many outliers";
    const SMOOTH: bool = false;

    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        Ok(sum(u, y, |u, y| modulus(u - y)))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        replace(u, y, |u, y| {
            let size = modulus(u - y);
            if size == 0.0 { S::default() } else { times(u - y, 1.0 / size) }
        });
        Ok(value)
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        replace(v, y, |v, y| {
            let size = modulus(v - y);
            if size <= step { y } else { y + times(v - y, 1.0 - step / size) }
        });
        Ok(())
    }
}
