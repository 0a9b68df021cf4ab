//! Conjugate gradients, with or without a preconditioner, on a Hermitian system: `(AᴴA + λI) x = Aᴴy` by default.
//!
//! Reference: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49
//! (1952), section 3 with the recurrences of table 1; Y. Saad, "Iterative methods for sparse linear systems", 2nd edition,
//! algorithms 6.18 and, with a preconditioner, 9.1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::precondition::Preconditioner;
use super::system::{Normal, Solver, System, SystemKind, at_least};
use crate::comm::Team;
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
    /// Which Hermitian system is solved.
    pub system: SystemKind,
}

impl Default for CgParams {
    fn default() -> Self {
        CgParams { max_iter: 30, damping: 0.0, system: SystemKind::Normal }
    }
}

/// Conjugate gradients: on the normal system, argmin ‖A x − y‖² + λ‖x‖².
///
/// Collective: yes. Cost of a step: one `AᴴA`, one vector reduction, no scalar one (on `AAᴴ`: two), and what the
/// preconditioner costs. Memory: 4 vectors of the system (x, r, p, q), 5 with a preconditioner.
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
pub struct Cg<'p, H: System> {
    system: H,
    preconditioner: Option<Preconditioned<'p, H::Unknown>>,

    /// The iterate.
    x: Vector<H::Unknown>,
    /// The residual of the system, `b − H x`.
    r: Vector<H::Unknown>,
    /// The direction.
    p: Vector<H::Unknown>,
    /// `H p`.
    q: Vector<H::Unknown>,

    iteration: usize,
    /// ⟨r, M⁻¹ r⟩.
    rho: f64,
    /// ⟨p, M p⟩, by a recurrence.
    p_squared: f64,
    /// The largest ⟨p, H p⟩ / ⟨p, M p⟩ so far: an eigenvalue of M⁻¹H is as large.
    largest_quotient: f64,
}

struct Preconditioned<'p, S: Scalar> {
    by: Box<dyn Preconditioner<S> + 'p>,
    /// `M⁻¹ r`.
    z: Vector<S>,
}

impl<'p, H: System> Cg<'p, H> {
    /// A solve of a system.
    pub fn on(system: H) -> Self {
        let [x, p] = std::array::from_fn(|_| system.zeros());
        let [r, q] = std::array::from_fn(|_| system.zeros_to_write());
        Cg { system, preconditioner: None, x, r, p, q, iteration: 0, rho: 0.0, p_squared: 0.0, largest_quotient: 0.0 }
    }
    /// The same with a preconditioner M: a fixed Hermitian positive definite map.
    pub fn preconditioned(mut self, by: Box<dyn Preconditioner<H::Unknown> + 'p>) -> Self {
        self.preconditioner = Some(Preconditioned { by, z: self.system.zeros() });
        self
    }

    /// The iterate.
    pub fn solution(&self) -> &Vector<H::Unknown> {
        &self.x
    }

    fn precondition(&mut self, r_squared: f64) -> Result<f64, Error> {
        match &mut self.preconditioner {
            None => Ok(r_squared),
            Some(Preconditioned { by, z }) => {
                by.apply(&self.r, z)?;
                self.system.team().dots([(&self.r, &*z)]).map(|[rho]| rho)
            }
        }
    }
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Cg<'a, Normal<'a, X, Y>> {
    /// A solve of the normal system for the measurements `data` from a first guess, or from zero. (`params.system` chooses
    /// between systems in [`AnyMethod::solve`](super::AnyMethod::solve).)
    pub fn new(stack: &'a Stack<X, Y>, params: &CgParams, data: &'a Vector<Y>, first_guess: Option<Vector<X>>) -> Self {
        Cg::on(Normal::new(stack, data, params.damping, first_guess))
    }
    /// The iterate, when done.
    pub fn into_solution(self) -> Vector<X> {
        self.x
    }
}

impl<H: System> Method for Cg<'_, H> {
    fn team(&self) -> Option<&Team> {
        Some(self.system.team())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        let r_squared = self.system.start(&mut self.x, &mut self.r)?;
        self.rho = self.precondition(r_squared)?;
        let z = self.preconditioner.as_ref().map_or(&self.r, |preconditioned| &preconditioned.z);
        self.p.copy_from(z);
        self.p_squared = self.rho;
        Ok(self.system.progress(self.iteration, None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.rho < 0.0 {
            let why = "⟨r, M⁻¹r⟩ is negative: the preconditioner is not positive definite";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        self.system.apply(&self.p, &mut self.q)?;
        let [curvature] = self.system.team().dots([(&self.p, &self.q)])?;
        if curvature <= 0.0 && curvature.is_finite() {
            let why = "the curvature ⟨p, H p⟩ is not positive: the direction is in the null space, \
                       or the adjoint is not the operator's (run `check`)";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let quotient = curvature / self.p_squared;
        let rounding = 8.0 * <H::Unknown as Scalar>::Real::EPSILON * self.largest_quotient;
        if quotient <= rounding && quotient.is_finite() {
            let why = "only rounding is left: the direction is in the null space as far as this precision can tell";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        self.largest_quotient = at_least(quotient, self.largest_quotient);
        let alpha = self.rho / curvature;
        self.x.axpy(alpha, &self.p);
        self.r.axpy(-alpha, &self.q);
        self.system.lowered(alpha * self.rho);
        let r_squared = self.system.measure(&self.x, &self.r)?;
        let rho = self.precondition(r_squared)?;
        let beta = if rho == 0.0 { 0.0 } else { rho / self.rho };
        let z = self.preconditioner.as_ref().map_or(&self.r, |preconditioned| &preconditioned.z);
        self.p.xpby(z, beta);
        // r is orthogonal to p
        self.p_squared = rho + beta * beta * self.p_squared;
        self.rho = rho;
        self.iteration += 1;
        Ok(self.system.progress(self.iteration, None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.system.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("r", &mut self.r);
        memory.vector("p", &mut self.p);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("rho", &mut self.rho),
            ("p_squared", &mut self.p_squared),
            ("largest_quotient", &mut self.largest_quotient),
        ]);
    }
}

impl<H: System> Solver<H::Model> for Cg<'_, H> {
    fn finish(self) -> Result<Vector<H::Model>, Error> {
        self.system.finish(self.x)
    }
}
