//! BiCGStab on a Hermitian system: `(AᴴA + λI) x = Aᴴy` by default.
//!
//! Reference: H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the solution of
//! nonsymmetric linear systems", SIAM J. Sci. Stat. Comput. 13 (1992); Y. Saad, "Iterative methods for sparse linear
//! systems", 2nd edition, algorithm 7.7. With the shadow residual r₀ all coefficients are real here, for complex numbers
//! too (see [`System`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::system::{Normal, Solver, System, SystemKind};
use crate::comm::Team;
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of BiCGStab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BicgstabParams {
    /// The largest number of iterations; each costs two applications of AᴴA.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖².
    pub damping: f64,
    /// Which Hermitian system is solved.
    pub system: SystemKind,
}

impl Default for BicgstabParams {
    fn default() -> Self {
        BicgstabParams { max_iter: 30, damping: 0.0, system: SystemKind::Normal }
    }
}

/// BiCGStab: on the normal system, argmin ‖A x − y‖² + λ‖x‖². Here for comparison: conjugate gradients need half as much.
///
/// Collective: yes. Cost of a step: two `AᴴA`, two vector reductions, no scalar one (on `AAᴴ`: four). Memory: 6 vectors of
/// the system (x, r, r̂, p, v, t).
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Bicgstab, BicgstabParams, Progress, Solver, drive, stop}};
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
/// let mut bicgstab = Bicgstab::new(&stack, &BicgstabParams::default(), &y, None);
/// drive(&mut bicgstab, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
/// assert!((bicgstab.finish().unwrap().as_slice()[2] - 1.0).abs() < 1e-10);
/// ```
pub struct Bicgstab<H: System> {
    system: H,

    /// The iterate.
    x: Vector<H::Unknown>,
    /// The residual of the system, `b − H x`; within a step also s, that of the half step.
    r: Vector<H::Unknown>,
    /// The shadow residual r̂, the first residual.
    shadow: Vector<H::Unknown>,
    /// The direction.
    p: Vector<H::Unknown>,
    /// `H p`.
    v: Vector<H::Unknown>,
    /// `H s`.
    t: Vector<H::Unknown>,

    iteration: usize,
    /// ⟨r̂, r⟩.
    rho: f64,
    omega: f64,
    /// ‖r‖², and what it was at the start.
    r_squared: f64,
    first_r_squared: f64,
}

impl<H: System> Bicgstab<H> {
    /// A solve of a system.
    pub fn on(system: H) -> Self {
        let [x, r, shadow, p] = std::array::from_fn(|_| system.zeros());
        let [v, t] = std::array::from_fn(|_| system.zeros_to_write());
        Bicgstab {
            system,
            x,
            r,
            shadow,
            p,
            v,
            t,
            iteration: 0,
            rho: 0.0,
            omega: 1.0,
            r_squared: 0.0,
            first_r_squared: 0.0,
        }
    }
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Bicgstab<Normal<'a, X, Y>> {
    /// A solve of the normal system for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &BicgstabParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Bicgstab::on(Normal::new(stack, data, params.damping, first_guess))
    }
}

impl<H: System> Method for Bicgstab<H> {
    fn team(&self) -> Option<&Team> {
        Some(self.system.team())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        self.rho = self.system.start(&mut self.x, &mut self.r)?;
        (self.r_squared, self.first_r_squared) = (self.rho, self.rho);
        self.shadow.copy_from(&self.r);
        self.p.copy_from(&self.r);
        Ok(self.system.progress(self.iteration, None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.rho == 0.0 || self.omega == 0.0 {
            let why = "the residual is orthogonal to the first one, or the stabilising step is zero";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let epsilon = <H::Unknown as Scalar>::Real::EPSILON;
        if self.r_squared <= epsilon * epsilon * self.first_r_squared {
            let why = "only rounding is left of the residual";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        self.system.apply(&self.p, &mut self.v)?;
        let [shadow_v] = self.system.team().dots([(&self.shadow, &self.v)])?;
        if shadow_v == 0.0 {
            let why = "⟨r̂, H p⟩ is zero: the direction leads nowhere";
            return Ok(self.system.progress(self.iteration, Some(why)));
        }
        let alpha = self.rho / shadow_v;
        let before = self.system.along(&self.p, &self.r)?;
        self.r.axpy(-alpha, &self.v); // s
        let after = self.system.along(&self.p, &self.r)?;
        self.system.lowered(alpha * (before + after));
        self.x.axpy(alpha, &self.p);

        self.system.apply(&self.r, &mut self.t)?;
        let [ts, tt, ss] = self.system.team().dots([(&self.t, &self.r), (&self.t, &self.t), (&self.r, &self.r)])?;
        self.omega = if tt == 0.0 { 0.0 } else { ts / tt };
        self.x.axpy(self.omega, &self.r);
        // Re⟨s, s + r⟩ with r = s − ωt
        self.system.lowered(self.omega * (2.0 * ss - self.omega * ts));
        self.r.axpy(-self.omega, &self.t);

        self.r_squared = self.system.measure(&self.x, &self.r)?;
        let [rho] = self.system.team().dots([(&self.shadow, &self.r)])?;
        if self.omega != 0.0 {
            let beta = (rho / self.rho) * (alpha / self.omega);
            self.p.axpy(-self.omega, &self.v);
            self.p.xpby(&self.r, beta);
        }
        self.rho = rho;
        self.iteration += 1;
        Ok(self.system.progress(self.iteration, None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.system.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("r", &mut self.r);
        memory.vector("shadow", &mut self.shadow);
        memory.vector("p", &mut self.p);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("rho", &mut self.rho),
            ("omega", &mut self.omega),
            ("r_squared", &mut self.r_squared),
            ("first_r_squared", &mut self.first_r_squared),
        ]);
    }
}

impl<H: System> Solver<H::Model> for Bicgstab<H> {
    fn finish(self) -> Result<Vector<H::Model>, Error> {
        self.system.finish(self.x)
    }
}
