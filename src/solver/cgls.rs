//! CGLS: conjugate gradients for least squares that keep the residual of the measurements.
//!
//! Reference: Å. Björck, "Numerical methods for least squares problems", SIAM 1996, algorithm 7.4.1; Hestenes and Stiefel
//! 1952, section 10. Damped: its remark on `[A; √λ I]`, written out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::system::{Solver, at_least, relative};
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of CGLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CglsParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖².
    pub damping: f64,
}

impl Default for CglsParams {
    fn default() -> Self {
        CglsParams { max_iter: 30, damping: 0.0 }
    }
}

/// CGLS: argmin ‖A x − y‖² + λ‖x‖². The iterates of conjugate gradients, and a residual that is the vector's own.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, one scalar one. Memory: 3 vectors of the model
/// (x, s, p) and 2 of the measurements (r, q).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Cgls, CglsParams, Progress, Solver, drive, stop}};
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
/// let mut cgls = Cgls::new(&stack, &CglsParams::default(), &y, None);
/// drive(&mut cgls, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// assert!((cgls.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Cgls<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,
    first_guess: bool,

    /// The iterate.
    x: Vector<X>,
    /// `Aᴴr − λx`.
    s: Vector<X>,
    /// The direction.
    p: Vector<X>,
    /// The residual `y − A x`, cut over the ranks.
    r: Vector<Y>,
    /// `A p`.
    q: Vector<Y>,

    iteration: usize,
    /// ‖s‖².
    gamma: f64,
    /// The largest (‖A p‖² + λ‖p‖²) / ‖p‖² so far.
    largest_quotient: f64,
    residual_squared: f64,
    data_norm_squared: f64,
    normal_data_norm_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Cgls<'a, X, Y> {
    /// A solve for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &CglsParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Cgls {
            stack,
            data,
            damping: params.damping,
            first_guess: first_guess.is_some(),
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            s: stack.zero_sum(),
            p: stack.zero_model(),
            r: stack.zero_data(),
            q: stack.zero_data(),
            iteration: 0,
            gamma: 0.0,
            largest_quotient: 0.0,
            residual_squared: 0.0,
            data_norm_squared: 0.0,
            normal_data_norm_squared: 0.0,
        }
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration: self.iteration,
            relative_residual: Some(relative(self.residual_squared, self.data_norm_squared)),
            relative_normal_residual: Some(relative(self.gamma, self.normal_data_norm_squared)),
            seconds: self.stack.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Cgls<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        let (stack, team) = (self.stack, self.stack.team());
        [self.data_norm_squared] = team.dots([(self.data, self.data)])?;
        stack.adjoint_unsettled(self.data, &mut self.s)?;
        [self.normal_data_norm_squared] = team.dots([(&self.s, &self.s)])?;
        self.r.copy_from(self.data);
        self.residual_squared = self.data_norm_squared;
        if self.data_norm_squared == 0.0 {
            self.x.fill(X::default()); // of zero data the solution is zero, whatever the guess
        } else if self.first_guess {
            stack.forward_unsettled(&self.x, &mut self.r);
            self.r.xpby(self.data, -1.0);
            [self.residual_squared] = team.dots([(&self.r, &self.r)])?;
            stack.adjoint_unsettled(&self.r, &mut self.s)?;
            self.s.axpy(-self.damping, &self.x);
        }
        [self.gamma] = team.dots([(&self.s, &self.s)])?;
        self.p.copy_from(&self.s);
        Ok(self.progress(None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        let (stack, team) = (self.stack, self.stack.team());
        stack.forward_unsettled(&self.p, &mut self.q);
        let [qq, rq, rr] = team.dots([(&self.q, &self.q), (&self.r, &self.q), (&self.r, &self.r)])?;
        let [pp] = team.dots([(&self.p, &self.p)])?;
        let curvature = qq + self.damping * pp;
        if curvature == 0.0 {
            return Ok(self.progress(Some("A p is zero: the direction is in the null space")));
        }
        let quotient = curvature / pp;
        if quotient <= 8.0 * X::Real::EPSILON * self.largest_quotient && quotient.is_finite() {
            let why = "only rounding is left: the direction is in the null space as far as this precision can tell";
            return Ok(self.progress(Some(why)));
        }
        self.largest_quotient = at_least(quotient, self.largest_quotient);
        let alpha = self.gamma / curvature;
        self.x.axpy(alpha, &self.p);
        self.r.axpy(-alpha, &self.q);
        // ‖r − αq‖² without another reduction; what is far below ‖r‖² is rounding, and known better in the next step
        let epsilon = X::Real::EPSILON;
        let resolution = (8.0 * f64::EPSILON + epsilon * epsilon) * rr;
        self.residual_squared = at_least(rr - alpha * (2.0 * rq - alpha * qq), resolution);

        stack.adjoint_unsettled(&self.r, &mut self.s)?;
        self.s.axpy(-self.damping, &self.x);
        let [gamma] = team.dots([(&self.s, &self.s)])?;
        let beta = if gamma == 0.0 { 0.0 } else { gamma / self.gamma };
        self.p.xpby(&self.s, beta);
        self.gamma = gamma;
        self.iteration += 1;
        Ok(self.progress(None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.vector("x", &mut self.x);
        memory.vector("p", &mut self.p);
        memory.vector("r", &mut self.r);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("gamma", &mut self.gamma),
            ("largest_quotient", &mut self.largest_quotient),
            ("residual_squared", &mut self.residual_squared),
            ("data_norm_squared", &mut self.data_norm_squared),
            ("normal_data_norm_squared", &mut self.normal_data_norm_squared),
        ]);
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for Cgls<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
