//! LSQR: least squares by bidiagonalisation, with the measurements cut over the ranks.
//!
//! Reference: C. C. Paige and M. A. Saunders, "LSQR: an algorithm for sparse linear equations and sparse least squares",
//! ACM TOMS 8 (1982), section 4.1 and the estimates of section 5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::golub_kahan::Bidiagonalisation;
use super::memory::Memory;
use super::system::Solver;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of LSQR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LsqrParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised, so λ is the square of what LSQR's authors call damp. In units of ‖A‖².
    pub damping: f64,
    /// Stop when the estimated condition number of the operator (with its damping) is above this: what follows is noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_limit: Option<f64>,
}

impl Default for LsqrParams {
    fn default() -> Self {
        LsqrParams { max_iter: 30, damping: 0.0, condition_limit: None }
    }
}

/// LSQR: argmin ‖A x − y‖² + λ‖x‖². The iterates of conjugate gradients, with smaller errors where A is ill-conditioned.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, one scalar one. Memory: 4 vectors of the model
/// (x, v, w, `Aᴴu`; one more with damping) and 2 of the measurements (u, `A v`).
///
/// The residuals come from the recurrences: φ̄ (equation 5.1) and φ̄ α |c| (equation 5.2).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Lsqr, LsqrParams, Progress, Solver, drive, stop}};
/// use stackphys::{Shape, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 3)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
///     |_| Ok(Box::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 4.0])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.fill(4.0);
/// let mut lsqr = Lsqr::new(&stack, &LsqrParams::default(), &y, None);
/// drive(&mut lsqr, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// assert!((lsqr.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Lsqr<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    process: Bidiagonalisation<'a, X, Y>,
    has_guess: bool,

    /// The iterate.
    x: Vector<X>,
    /// The direction.
    w: Vector<X>,

    iteration: usize,
    /// ‖[A x − y; √λ x]‖.
    phi_bar: f64,
    rho_bar: f64,
    /// The last rotation's c.
    c: f64,
    /// The squared Frobenius norms of the bidiagonal matrix and of the directions: their product estimates κ².
    bidiagonal_squared: f64,
    directions_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Lsqr<'a, X, Y> {
    /// A solve for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &LsqrParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Lsqr {
            process: Bidiagonalisation::new(stack, data, params.damping),
            has_guess: first_guess.is_some(),
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            w: stack.zero_model(),
            iteration: 0,
            phi_bar: 0.0,
            rho_bar: 0.0,
            c: 1.0,
            bidiagonal_squared: 0.0,
            directions_squared: 0.0,
        }
    }

    fn normal_residual(&self) -> f64 {
        self.phi_bar * self.process.alpha * self.c.abs()
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Result<Progress, Error> {
        let condition = (self.bidiagonal_squared * self.directions_squared).sqrt();
        Ok(Progress {
            iteration: self.iteration,
            condition: (self.iteration > 0).then_some(condition),
            breakdown,
            ..self.process.progress(&self.x, self.phi_bar, self.normal_residual())?
        })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Lsqr<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        self.process.start(&mut self.x, self.has_guess)?;
        self.w.copy_from(&self.process.v);
        (self.phi_bar, self.rho_bar) = (self.process.beta, self.process.alpha);
        self.progress(None)
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if let Some(why) = self.process.has_ended(self.phi_bar, self.normal_residual()) {
            return self.progress(Some(why));
        }
        let alpha = self.process.alpha;
        self.process.step()?;
        let beta = self.process.beta;
        let rho = self.rho_bar.hypot(beta);
        // the directions have ‖A w‖ = ρ
        let w_squared = self.process.squared(&self.w)?;
        if rho <= Bidiagonalisation::<X, Y>::ROUNDING * self.process.largest * w_squared.sqrt() && rho.is_finite() {
            return self.progress(Some("A w is zero but for rounding: the direction is in the null space"));
        }
        let (c, s) = (self.rho_bar / rho, beta / rho);
        let theta = s * self.process.alpha;
        self.rho_bar = -c * self.process.alpha;
        let phi = c * self.phi_bar;
        self.phi_bar *= s;
        self.c = c;

        self.directions_squared += w_squared / (rho * rho);
        self.bidiagonal_squared += alpha * alpha + beta * beta;
        self.x.axpy(phi / rho, &self.w);
        self.w.xpby(&self.process.v, -theta / rho);
        self.iteration += 1;
        self.progress(None)
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.process.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("w", &mut self.w);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("phi_bar", &mut self.phi_bar),
            ("rho_bar", &mut self.rho_bar),
            ("c", &mut self.c),
            ("bidiagonal_squared", &mut self.bidiagonal_squared),
            ("directions_squared", &mut self.directions_squared),
        ]);
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for Lsqr<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
