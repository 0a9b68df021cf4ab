//! Conjugate gradients on the normal equations, `(AᴴA + λI) x = Aᴴy`.
//!
//! Reference: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49
//! (1952), section 3 with the recurrences of table 1; Y. Saad, "Iterative methods for sparse linear systems", 2nd edition,
//! algorithm 6.18.
//!
//! The residual of the data is never formed. Each step lowers the objective `f(x) = ‖A x − y‖² + λ‖x‖²` by exactly α ρ
//! (Hestenes and Stiefel, theorem 6:1 and equation 6:2), so `‖A x − y‖² = f − λ‖x‖²` is known in `f64` for nothing. Its
//! rounding errors are of the size ε‖y‖², which limits what this residual can show: below
//! [`Cg::residual_resolution`] it is reported as that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of conjugate gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CgParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖².
    pub damping: f64,
}

impl Default for CgParams {
    fn default() -> Self {
        CgParams { max_iter: 30, damping: 0.0 }
    }
}

/// Conjugate gradients on the normal equations of a stack: argmin ‖A x − y‖² + λ‖x‖².
///
/// Collective: yes. Cost of a step: one `AᴴA`, one vector reduction, no scalar one. Memory: 4 vectors of the model
/// (x, r, p, q).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Cg, CgParams, drive, stop, Progress}};
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
/// let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
/// drive(&mut cg, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// let x = cg.into_solution();
/// assert!((x.as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Cg<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,
    first_guess: bool,

    /// The iterate.
    x: Vector<X>,
    /// The residual of the normal equations, `Aᴴ(y − A x) − λx`.
    r: Vector<X>,
    /// The direction.
    p: Vector<X>,
    /// `(AᴴA + λI) p`; the one vector that is summed over ranks.
    q: Vector<X>,

    iteration: usize,
    /// ‖r‖².
    rho: f64,
    /// ‖A x − y‖² + λ‖x‖².
    objective: f64,
    /// The largest ⟨p, (AᴴA + λI) p⟩ / ‖p‖² of all steps.
    largest_quotient: f64,
    data_norm_squared: f64,
    normal_data_norm_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Cg<'a, X, Y> {
    /// A solve for the measurements `data` from a first guess, or from zero. Collective: yes.
    pub fn new(stack: &'a Stack<X, Y>, params: &CgParams, data: &'a Vector<Y>, first_guess: Option<Vector<X>>) -> Self {
        Cg {
            stack,
            data,
            damping: params.damping,
            first_guess: first_guess.is_some(),
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            r: stack.zero_model(),
            p: stack.zero_model(),
            q: stack.zero_sum(),
            iteration: 0,
            rho: 0.0,
            objective: 0.0,
            largest_quotient: 0.0,
            data_norm_squared: 0.0,
            normal_data_norm_squared: 0.0,
        }
    }

    /// Vectors of the model that a solve holds: x, r, p, q.
    pub const MODEL_VECTORS: u64 = 4;

    /// The iterate.
    pub fn solution(&self) -> &Vector<X> {
        &self.x
    }
    /// The iterate, when done.
    pub fn into_solution(self) -> Vector<X> {
        self.x
    }
    /// The smallest relative residual that the recurrence can tell from zero in this precision.
    pub fn residual_resolution() -> f64 {
        (8.0 * X::Real::EPSILON).sqrt()
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Result<Progress, Error> {
        let x_norm_squared = if self.damping > 0.0 { self.stack.team().dots([(&self.x, &self.x)])?[0] } else { 0.0 };
        let residual_squared = self.objective - self.damping * x_norm_squared;
        Ok(Progress {
            iteration: self.iteration,
            relative_residual: Some(if self.data_norm_squared == 0.0 && residual_squared == 0.0 {
                0.0
            } else {
                let relative = residual_squared / self.data_norm_squared;
                // NaN must stay NaN, so no `max`
                let floor = Self::residual_resolution();
                if relative < floor * floor { floor } else { relative.sqrt() }
            }),
            relative_normal_residual: Some(if self.rho == 0.0 {
                0.0
            } else {
                (self.rho / self.normal_data_norm_squared).sqrt()
            }),
            seconds: self.stack.team().seconds(),
            breakdown,
            ..Progress::default()
        })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Cg<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        let (stack, team) = (self.stack, self.stack.team());
        [self.data_norm_squared] = team.dots([(self.data, self.data)])?;
        self.objective = self.data_norm_squared;
        if self.first_guess {
            stack.adjoint(self.data, &mut self.q)?;
            [self.normal_data_norm_squared] = team.dots([(&self.q, &self.q)])?;
            let residual_squared = stack.residual(&self.x, self.data, &mut self.q)?;
            self.r.copy_from(&self.q);
            self.r.scale(-1.0); // Aᴴ(y − A x)
            self.r.axpy(-self.damping, &self.x);
            let [x_squared] = team.dots([(&self.x, &self.x)])?;
            self.objective = residual_squared + self.damping * x_squared;
            [self.rho] = team.dots([(&self.r, &self.r)])?;
        } else {
            stack.adjoint(self.data, &mut self.q)?;
            self.r.copy_from(&self.q);
            [self.rho] = team.dots([(&self.r, &self.r)])?;
            self.normal_data_norm_squared = self.rho;
        }
        self.p.copy_from(&self.r);
        self.progress(None)
    }

    fn step(&mut self) -> Result<Progress, Error> {
        let team = self.stack.team();
        self.stack.normal(&self.p, &mut self.q)?;
        if self.damping > 0.0 {
            self.q.axpy(self.damping, &self.p);
        }
        let [curvature, p_squared] = team.dots([(&self.p, &self.q), (&self.p, &self.p)])?;
        if curvature <= 0.0 {
            let why = "the curvature ⟨p, (AᴴA + λI) p⟩ is not positive: the direction is in the null space, \
                       or the adjoint is not the operator's (run `check`)";
            return self.progress(Some(why));
        }
        // The largest quotient so far is below ‖AᴴA + λI‖, so what is below ε of it is rounding of `q`: with it as divisor,
        // a step would be noise of any size.
        let quotient = curvature / p_squared;
        self.largest_quotient = self.largest_quotient.max(quotient);
        if quotient < X::Real::EPSILON * self.largest_quotient {
            let why = "the curvature ⟨p, (AᴴA + λI) p⟩ is only rounding: the direction is in the null space, \
                       and the data say no more about x in this precision";
            return self.progress(Some(why));
        }
        let alpha = self.rho / curvature;
        self.x.axpy(alpha, &self.p);
        self.r.axpy(-alpha, &self.q);
        self.objective -= alpha * self.rho;
        let [rho] = team.dots([(&self.r, &self.r)])?;
        self.p.xpby(&self.r, rho / self.rho);
        self.rho = rho;
        self.iteration += 1;
        self.progress(None)
    }
}
