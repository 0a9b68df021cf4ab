//! Chebyshev's iteration on a Hermitian system whose eigenvalues lie between known bounds.
//!
//! Reference: Y. Saad, "Iterative methods for sparse linear systems", 2nd edition, algorithm 12.1; G. H. Golub and R. S.
//! Varga, Numer. Math. 3 (1961). It needs no inner products: those computed here are for the stop rules only, and a fixed
//! number of steps is a fixed linear map (see the block [`Preconditioner`](super::Preconditioner)).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::system::{Normal, Solver, System, SystemKind};
use crate::comm::Team;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of Chebyshev's iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChebyshevParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖².
    pub damping: f64,
    /// Which Hermitian system is solved.
    pub system: SystemKind,
    /// A number that all eigenvalues of AᴴA which matter are above (without damping). Parts of x that belong to smaller
    /// ones converge slowly. Left out: a thousandth of `upper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// A number that no eigenvalue of AᴴA is above (without damping); if one is, the iteration diverges. Left out: it is
    /// found by Lanczos before the solve, with its error bar added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
}

impl Default for ChebyshevParams {
    fn default() -> Self {
        ChebyshevParams { max_iter: 100, damping: 0.0, system: SystemKind::Normal, lower: None, upper: None }
    }
}

impl ChebyshevParams {
    /// What `lower` is, as a part of `upper`, where it is left out.
    pub const LOWER_PART: f64 = 1e-3;

    /// The bounds of the eigenvalues of the damped system, `upper` being that of `AᴴA`.
    pub fn bounds(&self, upper: f64) -> [f64; 2] {
        [self.lower.unwrap_or(Self::LOWER_PART * upper) + self.damping, upper + self.damping]
    }
}

/// The coefficients of Chebyshev's iteration for eigenvalues between two bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coefficients {
    /// The middle and half the width of the interval.
    theta: f64,
    delta: f64,
    rho: f64,
}

impl Coefficients {
    pub(super) fn new([lower, upper]: [f64; 2]) -> Self {
        Coefficients { theta: 0.5 * (upper + lower), delta: 0.5 * (upper - lower), rho: 0.0 }
    }
    /// The first direction is `r` times this.
    pub(super) fn first(&mut self) -> f64 {
        self.rho = self.delta / self.theta;
        1.0 / self.theta
    }
    /// Each further direction is `of_d · d + of_r · r`.
    pub(super) fn next(&mut self) -> [f64; 2] {
        let divisor = 2.0 * self.theta - self.delta * self.rho;
        let rho = self.delta / divisor;
        let of_d = rho * self.rho;
        self.rho = rho;
        [of_d, 2.0 / divisor]
    }
}

/// Chebyshev's iteration: on the normal system, argmin ‖A x − y‖² + λ‖x‖².
///
/// Collective: yes. Cost of a step: one `AᴴA`, one vector reduction, no scalar one (on `AAᴴ`: one, for the stop rules).
/// Memory: 4 vectors of the system (x, r, d, q). The error falls by (√κ − 1)/(√κ + 1) in a step, κ = upper/lower.
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Chebyshev, ChebyshevParams, Progress, Solver, drive, stop}};
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
/// let mut chebyshev = Chebyshev::new(&stack, &y, 0.0, [1.0, 16.0], None);
/// drive(&mut chebyshev, &*stop::iterations(60), &mut |_: &Progress| ()).unwrap();
/// assert!((chebyshev.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-12);
/// ```
pub struct Chebyshev<H: System> {
    system: H,
    coefficients: Coefficients,

    /// The iterate.
    x: Vector<H::Unknown>,
    /// The residual of the system, `b − H x`.
    r: Vector<H::Unknown>,
    /// The step.
    d: Vector<H::Unknown>,
    /// `H d`.
    q: Vector<H::Unknown>,
    iteration: usize,
}

impl<H: System> Chebyshev<H> {
    /// A solve of a system whose eigenvalues lie between two bounds, 0 < lower ≤ upper.
    pub fn on(system: H, bounds: [f64; 2]) -> Self {
        let [x, r, d] = std::array::from_fn(|_| system.zeros());
        let q = system.zeros_to_write();
        Chebyshev { system, coefficients: Coefficients::new(bounds), x, r, d, q, iteration: 0 }
    }
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Chebyshev<Normal<'a, X, Y>> {
    /// A solve of the normal system for the measurements `data` from a first guess, or from zero. `bounds` are those of the
    /// eigenvalues of `AᴴA + λI`.
    pub fn new(
        stack: &'a Stack<X, Y>,
        data: &'a Vector<Y>,
        damping: f64,
        bounds: [f64; 2],
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Chebyshev::on(Normal::new(stack, data, damping, first_guess), bounds)
    }
}

impl<H: System> Method for Chebyshev<H> {
    fn team(&self) -> Option<&Team> {
        Some(self.system.team())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        self.system.start(&mut self.x, &mut self.r)?;
        Ok(self.system.progress(self.iteration, None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.coefficients.theta <= 0.0 {
            let why = "the upper bound of the eigenvalues is not positive";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let [of_d, of_r] =
            if self.iteration == 0 { [0.0, self.coefficients.first()] } else { self.coefficients.next() };
        self.d.scale(of_d);
        self.d.axpy(of_r, &self.r);
        self.system.apply(&self.d, &mut self.q)?;
        let before = self.system.along(&self.d, &self.r)?;
        self.x.axpy(1.0, &self.d);
        self.r.axpy(-1.0, &self.q);
        let after = self.system.along(&self.d, &self.r)?;
        self.system.lowered(before + after);
        self.system.measure(&self.x, &self.r)?;
        self.iteration += 1;
        Ok(self.system.progress(self.iteration, None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.system.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("r", &mut self.r);
        memory.vector("d", &mut self.d);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("theta", &mut self.coefficients.theta),
            ("delta", &mut self.coefficients.delta),
            ("rho", &mut self.coefficients.rho),
        ]);
    }
}

impl<H: System> Solver<H::Model> for Chebyshev<H> {
    fn finish(self) -> Result<Vector<H::Model>, Error> {
        self.system.finish(self.x)
    }
}
