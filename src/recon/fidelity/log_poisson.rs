//! Transmitted photons after the logarithm: line integrals of attenuation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fidelity, only_real, replace, sum};
use crate::error::Fault;
use crate::range::positive;
use crate::scalar::Scalar;

/// `N₀ Σ e^(−μy) (e^(−t) − 1 + t)` with `t = μ(u − y)`: the negative log-likelihood of `N₀ e^(−μy) ~ Poisson(N₀ e^(−μu))`,
/// less its least value.
///
/// Reference: K. Sauer and C. Bouman, "A local update strategy for iterative reconstruction from projections", IEEE Trans.
/// Signal Process. 41 (1993), equation 3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogPoisson {
    /// N₀: photons per measurement without an object.
    pub photons: f64,
    /// μ: attenuation per unit of `u`; 1 if `u` is the line integral itself.
    #[serde(default = "one")]
    pub mu: f64,
}

fn one() -> f64 {
    1.0
}

/// Newton steps of the proximal map; the equation is convex and monotone, so these are more than enough in `f64`.
const STEPS: usize = 60;

impl Fidelity for LogPoisson {
    const SUMMARY: &'static str = "transmitted photons after −log: photons, mu";
    const REAL: bool = true;

    fn check(&self) -> Result<(), Fault> {
        positive("photons", self.photons).and_then(|()| positive("mu", self.mu))
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        only_real::<S>("log_poisson")?;
        let mu = self.mu;
        Ok(self.photons
            * sum(u, y, |u, y| {
                let t = mu * (u.re() - y.re());
                (-mu * y.re()).exp() * ((-t).exp_m1() + t)
            }))
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        let mu = self.mu;
        replace(u, y, |u, y| {
            S::from_f64(-self.photons * mu * (-mu * y.re()).exp() * (-mu * (u.re() - y.re())).exp_m1())
        });
        Ok(value)
    }
    /// Solves `u − v + τ N₀ μ (e^(−μy) − e^(−μu)) = 0` by Newton's method from the left of the root, where it cannot
    /// overshoot: the function is increasing and concave.
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        only_real::<S>("log_poisson")?;
        let (mu, pull) = (self.mu, step * self.photons * self.mu);
        replace(v, y, |v, y| {
            let (v, y) = (v.re(), y.re());
            let known = pull * (-mu * y).exp();
            // at y the second half vanishes, at v the first: the root lies between them, and if v is far below y, only a
            // logarithm of the way below y
            let far = y - ((y - v).max(0.0) / known).ln_1p() / mu;
            let mut u = v.min(y).max(far);
            for _ in 0..STEPS {
                let excess = known * (-mu * (u - y)).exp_m1();
                let change = (v - u + excess) / (1.0 + mu * (known + excess));
                u += change;
                if change.abs() <= f64::EPSILON * u.abs() {
                    break;
                }
            }
            S::from_f64(u)
        });
        Ok(())
    }
}
