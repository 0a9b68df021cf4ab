//! MINRES: of all vectors of the Krylov space the one with the smallest residual of the Hermitian system.
//!
//! Reference: C. C. Paige and M. A. Saunders, "Solution of sparse indefinite systems of linear equations", SIAM J. Numer.
//! Anal. 12 (1975), section 6; the residual vector by S.-C. Choi, "Iterative methods for singular linear equations and
//! least-squares problems", PhD thesis, Stanford 2006, equation 2.38.

use std::mem::swap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::system::{Normal, Solver, System, SystemKind, at_least};
use crate::comm::Team;
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of MINRES.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinresParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖².
    pub damping: f64,
    /// Which Hermitian system is solved.
    pub system: SystemKind,
}

impl Default for MinresParams {
    fn default() -> Self {
        MinresParams { max_iter: 30, damping: 0.0, system: SystemKind::Normal }
    }
}

/// MINRES: on the normal system, each step makes ‖Aᴴ(A x − y) + λx‖ as small as the Krylov space allows.
///
/// Collective: yes. Cost of a step: one `AᴴA`, one vector reduction, no scalar one (on `AAᴴ`: three). Memory: 8 vectors of
/// the system (x, r, three v, three w).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Minres, MinresParams, Progress, Solver, drive, stop}};
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
/// let mut minres = Minres::new(&stack, &MinresParams::default(), &y, None);
/// drive(&mut minres, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// assert!((minres.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Minres<H: System> {
    system: H,

    /// The iterate.
    x: Vector<H::Unknown>,
    /// The residual of the system, `b − H x`.
    r: Vector<H::Unknown>,
    /// The Lanczos vectors v_{k−1}, v_k, v_{k+1}.
    v_before: Vector<H::Unknown>,
    v: Vector<H::Unknown>,
    v_next: Vector<H::Unknown>,
    /// The directions w_{k−2}, w_{k−1}, w_k.
    w_two_before: Vector<H::Unknown>,
    w_before: Vector<H::Unknown>,
    w: Vector<H::Unknown>,

    iteration: usize,
    /// β_k, the length of the Lanczos vector before it was scaled.
    beta: f64,
    /// The largest α or β so far: a lower bound of ‖H‖.
    largest: f64,
    /// ‖r‖ as the recurrence knows it, with a sign.
    phi_bar: f64,
    first_residual: f64,
    /// What is left over for the next column of the triangle.
    delta_bar: f64,
    epsilon: f64,
    /// The last reflection.
    c: f64,
    s: f64,
}

impl<H: System> Minres<H> {
    /// A solve of a system.
    pub fn on(system: H) -> Self {
        let [x, r, w_two_before, w_before, w] = std::array::from_fn(|_| system.zeros());
        // they change places, and each is written by a product with H in turn
        let [v_before, v, v_next] = std::array::from_fn(|_| system.zeros_to_write());
        Minres {
            system,
            x,
            r,
            v_before,
            v,
            v_next,
            w_two_before,
            w_before,
            w,
            iteration: 0,
            beta: 0.0,
            largest: 0.0,
            phi_bar: 0.0,
            first_residual: 0.0,
            delta_bar: 0.0,
            epsilon: 0.0,
            c: -1.0,
            s: 0.0,
        }
    }
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Minres<Normal<'a, X, Y>> {
    /// A solve of the normal system for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &MinresParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Minres::on(Normal::new(stack, data, params.damping, first_guess))
    }
}

impl<H: System> Method for Minres<H> {
    fn team(&self) -> Option<&Team> {
        Some(self.system.team())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        self.beta = self.system.start(&mut self.x, &mut self.r)?.sqrt();
        (self.phi_bar, self.first_residual) = (self.beta, self.beta);
        self.v.copy_from(&self.r);
        if self.beta != 0.0 {
            self.v.scale(1.0 / self.beta);
        }
        Ok(self.system.progress(self.iteration, None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.beta == 0.0 {
            let why = "the Krylov space is exhausted: no direction is left";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let epsilon = <H::Unknown as Scalar>::Real::EPSILON;
        if self.phi_bar.abs() <= 8.0 * epsilon * self.first_residual {
            return Ok(self.system.progress(self.iteration, Some("only rounding is left of the residual")));
        }
        // Lanczos: β_{k+1} v_{k+1} = H v_k − α v_k − β_k v_{k−1}
        self.system.apply(&self.v, &mut self.v_next)?;
        if self.iteration > 0 {
            self.v_next.axpy(-self.beta, &self.v_before);
        }
        let [alpha] = self.system.team().dots([(&self.v, &self.v_next)])?;
        self.v_next.axpy(-alpha, &self.v);
        let mut beta_next = self.system.team().norm(&self.v_next)?;
        self.largest = at_least(at_least(alpha.abs(), beta_next), self.largest);
        let rounding = 32.0 * epsilon * self.largest;
        if beta_next <= rounding && beta_next.is_finite() {
            beta_next = 0.0; // the Krylov space ends here
        }

        // the reflections of before on the new column, then a new one
        let delta = self.c * self.delta_bar + self.s * alpha;
        let gamma_bar = self.s * self.delta_bar - self.c * alpha;
        let gamma = gamma_bar.hypot(beta_next);
        if gamma <= rounding && gamma.is_finite() {
            let why = "the system is singular, and its right-hand side is not in its range";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let epsilon = std::mem::replace(&mut self.epsilon, self.s * beta_next);
        self.delta_bar = -self.c * beta_next;
        (self.c, self.s) = (gamma_bar / gamma, beta_next / gamma);
        let phi = self.c * self.phi_bar;
        self.phi_bar *= self.s;

        // w_k = (v_k − ε w_{k−2} − δ w_{k−1}) / γ
        swap(&mut self.w_two_before, &mut self.w_before);
        swap(&mut self.w_before, &mut self.w);
        self.w.copy_from(&self.v);
        self.w.axpy(-epsilon, &self.w_two_before);
        self.w.axpy(-delta, &self.w_before);
        self.w.scale(1.0 / gamma);

        if beta_next != 0.0 {
            self.v_next.scale(1.0 / beta_next);
        }
        let before = self.system.along(&self.w, &self.r)?;
        self.x.axpy(phi, &self.w);
        self.r.scale(self.s * self.s);
        self.r.axpy(-self.phi_bar * self.c, &self.v_next);
        let after = self.system.along(&self.w, &self.r)?;
        self.system.lowered(phi * (before + after));
        self.system.measure(&self.x, &self.r)?;

        swap(&mut self.v_before, &mut self.v);
        swap(&mut self.v, &mut self.v_next);
        self.beta = beta_next;
        self.iteration += 1;
        Ok(self.system.progress(self.iteration, None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.system.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("r", &mut self.r);
        memory.vector("v_before", &mut self.v_before);
        memory.vector("v", &mut self.v);
        memory.vector("w_before", &mut self.w_before);
        memory.vector("w", &mut self.w);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("beta", &mut self.beta),
            ("largest", &mut self.largest),
            ("phi_bar", &mut self.phi_bar),
            ("first_residual", &mut self.first_residual),
            ("delta_bar", &mut self.delta_bar),
            ("epsilon", &mut self.epsilon),
            ("c", &mut self.c),
            ("s", &mut self.s),
        ]);
    }
}

impl<H: System> Solver<H::Model> for Minres<H> {
    fn finish(self) -> Result<Vector<H::Model>, Error> {
        self.system.finish(self.x)
    }
}
