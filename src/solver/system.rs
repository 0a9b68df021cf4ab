//! The Hermitian, positive semi-definite system `H v = b` that a method solves.
//!
//! Two come from `min ‖A x − y‖² + λ‖x‖²`. [`Normal`] is the default: its vectors are those of the model, which every rank
//! holds, so inner products send nothing. [`ForwardAdjoint`] is chosen by name only (`system = "forward_adjoint"`): its
//! vectors are those of the measurements, cut over the ranks, and an inner product is a scalar reduction.
//!
//! All coefficients of the methods here are real, in complex spaces too: of a Hermitian system ⟨r₀, p(H) r₀⟩ is real for
//! every real polynomial p, so the real part that [`Team::dots`] gives is the whole inner product.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::Progress;
use super::memory::Memory;
use crate::comm::Team;
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// Which Hermitian system is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemKind {
    /// (AᴴA + λI) x = Aᴴy: the unknown is the model, which every rank holds.
    #[default]
    Normal,
    /// (AAᴴ + λI) u = y, then x = Aᴴu: the unknown has the size of the measurements. Without damping it needs measurements
    /// that some x explains exactly.
    ForwardAdjoint,
}

/// A Hermitian, positive semi-definite system `H v = b`, and what its solution means for `x`.
pub trait System {
    /// The scalar of `v`.
    type Unknown: Scalar;
    /// The scalar of `x`.
    type Model: Scalar;

    /// The ranks that work on it.
    fn team(&self) -> &Team;
    /// A zero vector of the space of `v`.
    fn zeros(&self) -> Vector<Self::Unknown>;
    /// The same for what [`apply`](Self::apply) writes: in memory that ranks share, where a sum over ranks goes there.
    /// Collective: yes.
    fn zeros_to_write(&self) -> Vector<Self::Unknown> {
        self.zeros()
    }
    /// Sets `v` to the first guess and `r` to `b − H v`; returns `‖r‖²`. Collective: yes.
    fn start(&mut self, v: &mut Vector<Self::Unknown>, r: &mut Vector<Self::Unknown>) -> Result<f64, Error>;
    /// `out = H v`. Collective: yes, one reduction of a vector of the model.
    fn apply(&mut self, v: &Vector<Self::Unknown>, out: &mut Vector<Self::Unknown>) -> Result<(), Error>;
    /// Takes note of the iterate `v` with the residual `r`; returns `‖r‖²`.
    ///
    /// Collective: as [`Team::dots`], in one call.
    fn measure(&mut self, v: &Vector<Self::Unknown>, r: &Vector<Self::Unknown>) -> Result<f64, Error>;
    /// Where the last measured iterate stands. Collective: no.
    fn progress(&self, iteration: usize, breakdown: Option<&'static str>) -> Progress;
    /// What belongs to [`Method::remember`](super::Method::remember). Collective: yes.
    fn remember(&mut self, memory: &mut dyn Memory);
    /// `x` from `v`. Collective: yes.
    fn finish(self, v: Vector<Self::Unknown>) -> Result<Vector<Self::Model>, Error>;

    /// Re⟨d, r⟩ for [`lowered`](Self::lowered); zero, at no cost, where nobody asks for the objective.
    fn along(&self, _d: &Vector<Self::Unknown>, _r: &Vector<Self::Unknown>) -> Result<f64, Error> {
        Ok(0.0)
    }
    /// Tells that the objective ⟨v, H v⟩ − 2 Re⟨b, v⟩ went down. A step `d` that turns the residual `r` into `r′` lowers it
    /// by Re⟨d, r + r′⟩.
    fn lowered(&mut self, _by: f64) {}
}

/// A method that ends in an `x`.
pub trait Solver<X>: super::Method {
    /// The solution. Collective: only with `system = "forward_adjoint"`, then one vector reduction.
    fn finish(self) -> Result<Vector<X>, Error>;
}

/// √(part / whole) of squared norms. A zero part is zero whatever the whole; NaN stays NaN.
pub(crate) fn relative(part_squared: f64, whole_squared: f64) -> f64 {
    if part_squared == 0.0 { 0.0 } else { (part_squared / whole_squared).sqrt() }
}

/// The larger of two numbers, NaN if the first is.
pub(super) fn at_least(number: f64, floor: f64) -> f64 {
    if number < floor { floor } else { number }
}

/// The normal system `(AᴴA + λI) x = Aᴴy` of a stack.
///
/// The residual of the data is never formed. A method tells by how much each step lowers the objective
/// `f(x) = ‖A x − y‖² + λ‖x‖²`, so `‖A x − y‖² = f − λ‖x‖²` is known in `f64` for nothing (for conjugate gradients:
/// Hestenes and Stiefel 1952, theorem 6:1 and equation 6:2). Its rounding errors are of the size ε‖y‖², or ε f(x₀) if that
/// is more, which limits what this residual can show: below [`residual_resolution`](Self::residual_resolution) (times
/// √(f(x₀)/‖y‖²)) it is reported as that.
pub struct Normal<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,
    first_guess: Option<Vector<X>>,

    /// ‖A x − y‖² + λ‖x‖², and its largest value: ‖y‖² or that of the first guess.
    objective: f64,
    largest_objective: f64,
    x_norm_squared: f64,
    residual_norm_squared: f64,
    data_norm_squared: f64,
    normal_data_norm_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Normal<'a, X, Y> {
    /// The system for the measurements `data`, with λ = `damping`.
    pub fn new(stack: &'a Stack<X, Y>, data: &'a Vector<Y>, damping: f64, first_guess: Option<Vector<X>>) -> Self {
        Normal {
            stack,
            data,
            damping,
            first_guess,
            objective: 0.0,
            largest_objective: 0.0,
            x_norm_squared: 0.0,
            residual_norm_squared: 0.0,
            data_norm_squared: 0.0,
            normal_data_norm_squared: 0.0,
        }
    }

    /// The smallest relative residual that the recurrence can tell from zero in this precision.
    pub fn residual_resolution() -> f64 {
        (8.0 * X::Real::EPSILON).sqrt()
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> System for Normal<'_, X, Y> {
    type Unknown = X;
    type Model = X;

    fn team(&self) -> &Team {
        self.stack.team()
    }
    fn zeros(&self) -> Vector<X> {
        self.stack.zero_model()
    }
    fn zeros_to_write(&self) -> Vector<X> {
        self.stack.zero_sum()
    }

    fn start(&mut self, x: &mut Vector<X>, r: &mut Vector<X>) -> Result<f64, Error> {
        let (stack, team) = (self.stack, self.stack.team());
        [self.data_norm_squared] = team.dots([(self.data, self.data)])?;
        self.objective = self.data_norm_squared;
        stack.adjoint_unsettled(self.data, r)?;
        [self.normal_data_norm_squared] = team.dots([(&*r, &*r)])?;
        // of zero data the solution is zero, whatever the guess
        match self.first_guess.take().filter(|_| self.data_norm_squared != 0.0) {
            Some(guess) => {
                *x = guess;
                let residual_squared = stack.residual(x, self.data, r)?;
                r.scale(-1.0); // Aᴴ(y − A x)
                r.axpy(-self.damping, x);
                let [x_squared] = team.dots([(&*x, &*x)])?;
                self.objective = residual_squared + self.damping * x_squared;
            }
            None => x.fill(X::default()),
        }
        self.largest_objective = at_least(self.objective, self.data_norm_squared);
        self.measure(x, r)
    }

    fn apply(&mut self, x: &Vector<X>, out: &mut Vector<X>) -> Result<(), Error> {
        self.stack.normal_unsettled(x, out)?;
        if self.damping > 0.0 {
            out.axpy(self.damping, x);
        }
        Ok(())
    }

    fn measure(&mut self, x: &Vector<X>, r: &Vector<X>) -> Result<f64, Error> {
        if self.damping > 0.0 {
            [self.residual_norm_squared, self.x_norm_squared] = self.team().dots([(r, r), (x, x)])?;
        } else {
            [self.residual_norm_squared] = self.team().dots([(r, r)])?;
        }
        Ok(self.residual_norm_squared)
    }

    fn progress(&self, iteration: usize, breakdown: Option<&'static str>) -> Progress {
        let data_residual_squared = self.objective - self.damping * self.x_norm_squared;
        Progress {
            iteration,
            relative_residual: Some(if self.data_norm_squared == 0.0 {
                0.0
            } else {
                let floor = 8.0 * X::Real::EPSILON * self.largest_objective;
                (at_least(data_residual_squared, floor) / self.data_norm_squared).sqrt()
            }),
            relative_normal_residual: Some(relative(self.residual_norm_squared, self.normal_data_norm_squared)),
            seconds: self.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.scalars([("objective", &mut self.objective), ("largest_objective", &mut self.largest_objective)]);
        memory.scalars([("x_norm_squared", &mut self.x_norm_squared)]);
        memory.scalars([("residual_norm_squared", &mut self.residual_norm_squared)]);
        memory.scalars([("data_norm_squared", &mut self.data_norm_squared)]);
        memory.scalars([("normal_data_norm_squared", &mut self.normal_data_norm_squared)]);
    }

    fn finish(self, x: Vector<X>) -> Result<Vector<X>, Error> {
        Ok(x)
    }

    fn along(&self, d: &Vector<X>, r: &Vector<X>) -> Result<f64, Error> {
        self.team().dots([(d, r)]).map(|[product]| product)
    }
    fn lowered(&mut self, by: f64) {
        self.objective -= by;
    }
}

/// The system `(AAᴴ + λI) u = y` with `x = Aᴴu`: the shortest solution without damping, Tikhonov's with it.
///
/// Conjugate gradients on it are Craig's method, also called CGNE (Y. Saad, "Iterative methods for sparse linear systems",
/// 2nd edition, section 8.3.2). The residual of the data is `r + λu`, known from the vectors themselves; that of the normal
/// equations is `Aᴴr`, which would cost an adjoint and is not told: ask for a small relative system residual instead.
///
/// A first guess x₀ starts from `u = (y − A x₀)/λ`, if that is better than zero. Without damping it seeks `x₀ + Aᴴu`, the
/// solution that is nearest to x₀.
pub struct ForwardAdjoint<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,
    /// x₀; kept for the end where there is no damping.
    first_guess: Option<Vector<X>>,

    /// `Aᴴu`.
    x: Vector<X>,
    residual_norm_squared: f64,
    /// ‖A x − y‖² = ‖r + λu‖².
    data_residual_norm_squared: f64,
    data_norm_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> ForwardAdjoint<'a, X, Y> {
    /// The system for the measurements `data`, with λ = `damping`.
    pub fn new(stack: &'a Stack<X, Y>, data: &'a Vector<Y>, damping: f64, first_guess: Option<Vector<X>>) -> Self {
        ForwardAdjoint {
            stack,
            data,
            damping,
            first_guess,
            x: stack.zero_sum(),
            residual_norm_squared: 0.0,
            data_residual_norm_squared: 0.0,
            data_norm_squared: 0.0,
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> System for ForwardAdjoint<'_, X, Y> {
    type Unknown = Y;
    type Model = X;

    fn team(&self) -> &Team {
        self.stack.team()
    }
    fn zeros(&self) -> Vector<Y> {
        self.stack.zero_data()
    }

    fn start(&mut self, u: &mut Vector<Y>, r: &mut Vector<Y>) -> Result<f64, Error> {
        let team = self.stack.team();
        [self.data_norm_squared] = team.dots([(self.data, self.data)])?;
        u.fill(Y::default());
        r.copy_from(self.data);
        if self.data_norm_squared == 0.0 {
            self.first_guess = None; // the solution is zero
        }
        if let Some(guess) = &self.first_guess {
            self.stack.forward_unsettled(guess, r);
            r.xpby(self.data, -1.0); // y − A x₀
            if self.damping > 0.0 {
                u.copy_from(r);
                u.scale(1.0 / self.damping);
                self.first_guess = None;
                let mut applied = self.zeros();
                self.apply(u, &mut applied)?;
                applied.xpby(self.data, -1.0); // y − H u
                let [with_guess] = self.team().dots([(&applied, &applied)])?;
                let is_better = with_guess < self.data_norm_squared;
                r.copy_from(if is_better { &applied } else { self.data });
                if !is_better {
                    u.fill(Y::default());
                }
            }
        }
        self.measure(u, r)
    }

    fn apply(&mut self, u: &Vector<Y>, out: &mut Vector<Y>) -> Result<(), Error> {
        self.stack.adjoint_unsettled(u, &mut self.x)?;
        self.stack.forward_unsettled(&self.x, out);
        if self.damping > 0.0 {
            out.axpy(self.damping, u);
        }
        Ok(())
    }

    fn measure(&mut self, u: &Vector<Y>, r: &Vector<Y>) -> Result<f64, Error> {
        if self.damping > 0.0 {
            let [rr, ru, uu] = self.team().dots([(r, r), (r, u), (u, u)])?;
            self.residual_norm_squared = rr;
            self.data_residual_norm_squared = at_least(rr + self.damping * (2.0 * ru + self.damping * uu), 0.0);
        } else {
            let [rr] = self.team().dots([(r, r)])?;
            (self.residual_norm_squared, self.data_residual_norm_squared) = (rr, rr);
        }
        Ok(self.residual_norm_squared)
    }

    fn progress(&self, iteration: usize, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration,
            relative_residual: Some(relative(self.data_residual_norm_squared, self.data_norm_squared)),
            relative_normal_residual: (self.residual_norm_squared == 0.0).then_some(0.0),
            relative_system_residual: Some(relative(self.residual_norm_squared, self.data_norm_squared)),
            seconds: self.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.scalars([("residual_norm_squared", &mut self.residual_norm_squared)]);
        memory.scalars([("data_residual_norm_squared", &mut self.data_residual_norm_squared)]);
        memory.scalars([("data_norm_squared", &mut self.data_norm_squared)]);
        let mut guesses = usize::from(self.first_guess.is_some());
        memory.count("first_guesses", &mut guesses);
        self.first_guess = (guesses > 0).then(|| {
            let mut guess = self.first_guess.take().unwrap_or_else(|| self.stack.zero_model());
            memory.vector("first_guess", &mut guess);
            guess
        });
    }

    fn finish(mut self, u: Vector<Y>) -> Result<Vector<X>, Error> {
        self.stack.adjoint_unsettled(&u, &mut self.x)?;
        if let Some(guess) = &self.first_guess {
            self.x.axpy(1.0, guess);
        }
        Ok(self.x)
    }
}
