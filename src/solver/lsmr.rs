//! LSMR: least squares by bidiagonalisation, so that the residual of the normal equations falls in every step.
//!
//! Reference: D. C.-L. Fong and M. Saunders, "LSMR: an iterative algorithm for sparse least-squares problems", SIAM J. Sci.
//! Comput. 33 (2011): section 2.8, and the norm of the residual by section 3.3 (with damping as rows of the operator).

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

/// Parameters of LSMR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LsmrParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised, so λ is the square of what LSMR's authors call λ. In units of ‖A‖².
    pub damping: f64,
    /// Stop when the estimated condition number of the operator (with its damping) is above this: what follows is noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_limit: Option<f64>,
}

impl Default for LsmrParams {
    fn default() -> Self {
        LsmrParams { max_iter: 30, damping: 0.0, condition_limit: None }
    }
}

/// LSMR: argmin ‖A x − y‖² + λ‖x‖². The iterates of MINRES on the normal system, with smaller errors.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, one scalar one. Memory: 5 vectors of the model
/// (x, v, h, h̄, `Aᴴu`; one more with damping) and 2 of the measurements (u, `A v`).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Lsmr, LsmrParams, Progress, Solver, drive, stop}};
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
/// let mut lsmr = Lsmr::new(&stack, &LsmrParams::default(), &y, None);
/// drive(&mut lsmr, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// assert!((lsmr.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Lsmr<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    process: Bidiagonalisation<'a, X, Y>,
    has_guess: bool,

    /// The iterate.
    x: Vector<X>,
    /// The two directions.
    h: Vector<X>,
    h_bar: Vector<X>,

    iteration: usize,
    alpha_bar: f64,
    zeta: f64,
    /// |ζ̄| is the norm of the residual of the normal equations.
    zeta_bar: f64,
    rho: f64,
    rho_bar: f64,
    c_bar: f64,
    s_bar: f64,
    residual: ResidualNorm,
    /// The smallest and the largest ρ̄ so far, and κ from them.
    rho_bars: [f64; 2],
    condition: f64,
}

/// The recurrence for ‖[A x − y; √λ x]‖.
#[derive(Debug, Default)]
struct ResidualNorm {
    beta_dot: f64,
    beta_double_dot: f64,
    rho_dot: f64,
    theta_tilde: f64,
    tau_tilde: f64,
    norm: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Lsmr<'a, X, Y> {
    /// A solve for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &LsmrParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Lsmr {
            process: Bidiagonalisation::new(stack, data, params.damping),
            has_guess: first_guess.is_some(),
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            h: stack.zero_model(),
            h_bar: stack.zero_model(),
            iteration: 0,
            alpha_bar: 0.0,
            zeta: 0.0,
            zeta_bar: 0.0,
            rho: 1.0,
            rho_bar: 1.0,
            c_bar: 1.0,
            s_bar: 0.0,
            residual: ResidualNorm::default(),
            rho_bars: [f64::INFINITY, 0.0],
            condition: 1.0,
        }
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Result<Progress, Error> {
        Ok(Progress {
            iteration: self.iteration,
            condition: (self.iteration > 0).then_some(self.condition),
            breakdown,
            ..self.process.progress(&self.x, self.residual.norm, self.zeta_bar.abs())?
        })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Lsmr<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        self.process.start(&mut self.x, self.has_guess)?;
        self.h.copy_from(&self.process.v);
        self.alpha_bar = self.process.alpha;
        self.zeta_bar = self.process.alpha * self.process.beta;
        self.residual = ResidualNorm {
            beta_double_dot: self.process.beta,
            rho_dot: 1.0,
            norm: self.process.beta,
            ..ResidualNorm::default()
        };
        self.progress(None)
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if let Some(why) = self.process.has_ended(self.residual.norm, self.zeta_bar.abs()) {
            return self.progress(Some(why));
        }
        self.process.step()?;
        let (alpha, beta) = (self.process.alpha, self.process.beta);

        // the rotation P
        let rho_before = self.rho;
        self.rho = self.alpha_bar.hypot(beta);
        let (c, s) = (self.alpha_bar / self.rho, beta / self.rho);
        let theta = s * alpha;
        // the rotation P̄
        let (c_bar_before, rho_bar_before) = (self.c_bar, self.rho_bar);
        let theta_bar = self.s_bar * self.rho;
        self.rho_bar = (c_bar_before * self.rho).hypot(theta);
        if self.rho == 0.0 || self.rho_bar == 0.0 {
            return self.progress(Some("A v is zero: the direction is in the null space"));
        }
        self.alpha_bar = c * alpha;
        (self.c_bar, self.s_bar) = (c_bar_before * self.rho / self.rho_bar, theta / self.rho_bar);
        let zeta_before = std::mem::replace(&mut self.zeta, self.c_bar * self.zeta_bar);
        self.zeta_bar *= -self.s_bar;

        // the iterate
        self.h_bar.xpby(&self.h, -theta_bar * self.rho / (rho_before * rho_bar_before));
        self.x.axpy(self.zeta / (self.rho * self.rho_bar), &self.h_bar);
        self.h.xpby(&self.process.v, -theta / self.rho);

        self.residual.step([c, s], theta_bar, self.rho_bar, [zeta_before, self.zeta]);
        let [smallest, largest] = self.rho_bars;
        if self.iteration > 0 {
            self.rho_bars = [smallest.min(rho_bar_before), largest.max(rho_bar_before)];
        }
        let last = c_bar_before * self.rho;
        self.condition = self.rho_bars[1].max(last) / self.rho_bars[0].min(last);
        self.iteration += 1;
        self.progress(None)
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.process.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("h", &mut self.h);
        memory.vector("h_bar", &mut self.h_bar);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("alpha_bar", &mut self.alpha_bar),
            ("zeta", &mut self.zeta),
            ("zeta_bar", &mut self.zeta_bar),
            ("rho", &mut self.rho),
            ("rho_bar", &mut self.rho_bar),
            ("c_bar", &mut self.c_bar),
            ("s_bar", &mut self.s_bar),
            ("condition", &mut self.condition),
        ]);
        let [smallest, largest] = &mut self.rho_bars;
        memory.scalars([("smallest_rho_bar", smallest), ("largest_rho_bar", largest)]);
        let ResidualNorm { beta_dot, beta_double_dot, rho_dot, theta_tilde, tau_tilde, norm } = &mut self.residual;
        memory.scalars([("beta_dot", beta_dot), ("beta_double_dot", beta_double_dot), ("rho_dot", rho_dot)]);
        memory.scalars([("theta_tilde", theta_tilde), ("tau_tilde", tau_tilde), ("residual_norm", norm)]);
    }
}

impl ResidualNorm {
    /// After a step with the rotation (c, s); `zeta_before` is ζ of the step before.
    fn step(&mut self, [c, s]: [f64; 2], theta_bar: f64, rho_bar: f64, [zeta_before, zeta]: [f64; 2]) {
        let beta_hat = c * self.beta_double_dot;
        self.beta_double_dot *= -s;
        // the rotation P̃
        let theta_tilde_before = self.theta_tilde;
        let rho_tilde = self.rho_dot.hypot(theta_bar);
        let (c_tilde, s_tilde) = (self.rho_dot / rho_tilde, theta_bar / rho_tilde);
        self.theta_tilde = s_tilde * rho_bar;
        self.rho_dot = c_tilde * rho_bar;
        self.beta_dot = -s_tilde * self.beta_dot + c_tilde * beta_hat;
        self.tau_tilde = (zeta_before - theta_tilde_before * self.tau_tilde) / rho_tilde;
        let tau_dot = (zeta - self.theta_tilde * self.tau_tilde) / self.rho_dot;
        self.norm = (self.beta_dot - tau_dot).hypot(self.beta_double_dot);
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for Lsmr<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
