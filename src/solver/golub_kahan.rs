//! The bidiagonalisation of Golub and Kahan, on which LSQR and LSMR stand.
//!
//! Reference: G. H. Golub and W. Kahan, SIAM J. Numer. Anal. 2 (1965); as "Bidiag 1" in C. C. Paige and M. A. Saunders,
//! "LSQR: an algorithm for sparse linear equations and sparse least squares", ACM TOMS 8 (1982), section 3.
//!
//! Damping is what it is by definition (their section 2, equation 2.5): the rows `√λ I` below `A`, with zeros below `y`. So
//! a first guess needs nothing special: the right-hand side is `[y − A x₀; −√λ x₀]`.

use super::drive::Progress;
use super::memory::Memory;
use super::system::at_least;
use crate::error::Error;
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// The process on `[A; √λ I]`: β₁u₁ = b, α₁v₁ = Āᴴu₁, then β u′ = Ā v − α u and α v′ = Āᴴu′ − β v.
pub(super) struct Bidiagonalisation<'a, X: Scalar, Y: Scalar<Real = X::Real>> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,

    /// The part of `u` in the space of the measurements, cut over the ranks.
    u: Vector<Y>,
    /// The part of `u` below it, if there is damping.
    u_below: Option<Vector<X>>,
    pub v: Vector<X>,
    /// `A v` and `Aᴴu`.
    av: Vector<Y>,
    ahu: Vector<X>,

    pub alpha: f64,
    pub beta: f64,
    first_alpha: f64,
    first_beta: f64,
    /// The largest α or β after the first β: a lower bound of ‖Ā‖.
    pub largest: f64,
    /// ‖y‖ and ‖Aᴴy‖.
    data_norm: f64,
    normal_data_norm: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Bidiagonalisation<'a, X, Y> {
    pub fn new(stack: &'a Stack<X, Y>, data: &'a Vector<Y>, damping: f64) -> Self {
        Bidiagonalisation {
            stack,
            data,
            damping,
            u: stack.zero_data(),
            u_below: (damping > 0.0).then(|| stack.zero_model()),
            v: stack.zero_model(),
            av: stack.zero_data(),
            ahu: stack.zero_sum(),
            alpha: 0.0,
            beta: 0.0,
            first_alpha: 0.0,
            first_beta: 0.0,
            largest: 0.0,
            data_norm: 0.0,
            normal_data_norm: 0.0,
        }
    }

    /// β₁, α₁ and the first vectors; `x` is the first guess, if there is one, and becomes zero where the data are.
    ///
    /// Collective: yes. Cost: one adjoint, and with a first guess a forward and another adjoint.
    pub fn start(&mut self, x: &mut Vector<X>, has_guess: bool) -> Result<(), Error> {
        self.u.copy_from(self.data);
        self.data_norm = self.stack.team().norm(self.data)?;
        if self.data_norm == 0.0 {
            x.fill(X::default());
            return Ok(());
        }
        if has_guess {
            self.stack.adjoint_unsettled(self.data, &mut self.ahu)?;
            self.normal_data_norm = self.stack.team().norm(&self.ahu)?;
            self.stack.forward_unsettled(x, &mut self.u);
            self.u.xpby(self.data, -1.0);
            if let Some(below) = &mut self.u_below {
                below.copy_from(x);
                below.scale(-self.damping.sqrt());
            }
        }
        self.next_beta()?;
        self.v.fill(X::default());
        self.next_alpha()?;
        self.largest = self.alpha;
        (self.first_alpha, self.first_beta) = (self.alpha, self.beta);
        if !has_guess {
            self.normal_data_norm = self.alpha * self.beta;
        }
        Ok(())
    }

    /// The next β, α, u and v; α is zero where the Krylov space ends. Collective: yes, one scalar reduction and one vector reduction.
    pub fn step(&mut self) -> Result<(), Error> {
        self.stack.forward_unsettled(&self.v, &mut self.av);
        self.u.xpby(&self.av, -self.alpha);
        if let Some(below) = &mut self.u_below {
            below.scale(-self.alpha);
            below.axpy(self.damping.sqrt(), &self.v);
        }
        self.next_beta()?;
        self.next_alpha()?;
        self.largest = at_least(at_least(self.alpha, self.beta), self.largest);
        // what is left is rounding: the Krylov space ends here
        let rounding = Self::ROUNDING * self.largest;
        if rounding.is_finite() && (self.alpha <= rounding || self.beta <= rounding) {
            self.alpha = 0.0;
        }
        Ok(())
    }

    /// The part of a norm below which only rounding is left.
    pub const ROUNDING: f64 = 16.0 * X::Real::EPSILON;

    /// Why no further step can help with the residual, and that of the normal equations, as they are; if so.
    pub fn has_ended(&self, residual: f64, normal_residual: f64) -> Option<&'static str> {
        if self.alpha == 0.0 {
            return Some("the Krylov space is exhausted: no direction is left");
        }
        let is_rounding = residual <= Self::ROUNDING * self.first_beta
            || normal_residual <= X::Real::EPSILON * self.first_alpha * self.first_beta;
        is_rounding.then_some("only rounding is left of the residual")
    }

    fn next_beta(&mut self) -> Result<(), Error> {
        let team = self.stack.team();
        let [mut squared] = team.dots([(&self.u, &self.u)])?;
        if let Some(below) = &self.u_below {
            squared += team.dots([(below, below)])?[0];
        }
        self.beta = squared.sqrt();
        if self.beta != 0.0 {
            self.u.scale(1.0 / self.beta);
            if let Some(below) = &mut self.u_below {
                below.scale(1.0 / self.beta);
            }
        }
        Ok(())
    }

    fn next_alpha(&mut self) -> Result<(), Error> {
        self.stack.adjoint_unsettled(&self.u, &mut self.ahu)?;
        if let Some(below) = &self.u_below {
            self.ahu.axpy(self.damping.sqrt(), below);
        }
        self.v.xpby(&self.ahu, -self.beta);
        self.alpha = self.stack.team().norm(&self.v)?;
        if self.alpha != 0.0 {
            self.v.scale(1.0 / self.alpha);
        }
        Ok(())
    }

    /// ‖x‖² of a vector of the model. Sends nothing.
    pub fn squared(&self, x: &Vector<X>) -> Result<f64, Error> {
        self.stack.team().dots([(x, x)]).map(|[squared]| squared)
    }

    /// What a method on this process reports: its residuals, of `[A; √λ I]` and of the normal equations, and the time.
    pub fn progress(&self, x: &Vector<X>, residual: f64, normal_residual: f64) -> Result<Progress, Error> {
        Ok(Progress {
            relative_residual: Some(self.relative_residual(residual * residual, x)?),
            relative_normal_residual: Some(if normal_residual == 0.0 {
                0.0
            } else {
                normal_residual / self.normal_data_norm
            }),
            seconds: self.stack.team().seconds(),
            ..Progress::default()
        })
    }

    /// ‖A x − y‖ / ‖y‖ from ‖A x − y‖² + λ‖x‖², which is known to a few ε of itself.
    fn relative_residual(&self, objective: f64, x: &Vector<X>) -> Result<f64, Error> {
        if self.data_norm == 0.0 {
            return Ok(0.0);
        }
        if self.damping == 0.0 {
            return Ok(objective.sqrt() / self.data_norm);
        }
        let squared = objective - self.damping * self.squared(x)?;
        let floor = 8.0 * X::Real::EPSILON * objective;
        Ok(at_least(squared, floor).sqrt() / self.data_norm)
    }

    /// What belongs to [`Method::remember`](super::Method::remember).
    pub fn remember(&mut self, memory: &mut dyn Memory) {
        memory.vector("u", &mut self.u);
        if let Some(below) = &mut self.u_below {
            memory.vector("u_below", below);
        }
        memory.vector("v", &mut self.v);
        memory.scalars([("alpha", &mut self.alpha), ("beta", &mut self.beta), ("largest", &mut self.largest)]);
        memory.scalars([("first_alpha", &mut self.first_alpha), ("first_beta", &mut self.first_beta)]);
        memory.scalars([("data_norm", &mut self.data_norm), ("normal_data_norm", &mut self.normal_data_norm)]);
    }
}
