//! What the methods of this folder minimise: `f(x) = Σ d_i(A_i x, y_i) + ½ λ‖x‖²`, over all x or over x ≥ 0.
//!
//! With the fidelity ½‖A x − y‖² its minimum is that of ‖A x − y‖² + λ‖x‖², so λ means the same as in the methods of
//! [`solver`](crate::solver).

use super::DataTerm;
use super::data_term::Look;
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::solver::Memory;
use crate::space::Vector;

/// A data term, with damping and a constraint.
pub(super) struct Objective<'a, X: Scalar, Y: Scalar<Real = X::Real>> {
    pub term: &'a DataTerm<'a, X, Y>,
    pub damping: f64,
    pub non_negative: bool,
    /// ‖y‖².
    pub data_norm_squared: f64,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Objective<'a, X, Y> {
    pub fn new(term: &'a DataTerm<'a, X, Y>, damping: f64, non_negative: bool) -> Self {
        Objective { term, damping, non_negative, data_norm_squared: 0.0 }
    }

    /// Agrees that the method may begin, and measures the data. Collective: yes, two scalar reductions.
    pub fn start(&mut self, may_begin: Result<(), Fault>) -> Result<(), Error> {
        let team = self.term.stack().team();
        team.agree(may_begin.and_then(|()| match self.non_negative && X::IS_COMPLEX {
            true => Err(Fault::new(format!("`non_negative` is for real models, the job is {}", X::NAME))),
            false => Ok(()),
        }))?;
        [self.data_norm_squared] = team.dots([(self.term.measured(), self.term.measured())])?;
        Ok(())
    }

    /// What belongs to [`Method::remember`](crate::solver::Method::remember).
    pub fn remember(&mut self, memory: &mut dyn Memory) {
        memory.scalar("data_norm_squared", &mut self.data_norm_squared);
    }

    /// The objective at `x`, which predicts `predicted`, and what else these say. Collective: yes, one scalar reduction,
    /// which settles.
    pub fn look(&self, x: &Vector<X>, predicted: &Vector<Y>, from: Option<&Vector<Y>>) -> Result<Look, Error> {
        let mut look = self.term.look(predicted, from)?;
        if self.damping > 0.0 {
            let [x_squared] = self.term.stack().team().dots([(x, x)])?;
            look.value += 0.5 * self.damping * x_squared;
        }
        Ok(look)
    }

    /// ‖A x − y‖ / ‖y‖; unknown of zero data that are not predicted.
    pub fn relative_residual(&self, look: &Look) -> Option<f64> {
        let known = look.residual_squared == 0.0 || self.data_norm_squared != 0.0;
        known.then(|| crate::solver::relative(look.residual_squared, self.data_norm_squared))
    }

    /// A norm against ‖y‖, from its square; of zero data, as it is.
    pub fn relative_to_data(&self, squared: f64) -> f64 {
        let whole = if self.data_norm_squared == 0.0 { 1.0 } else { self.data_norm_squared };
        crate::solver::relative(squared, whole)
    }

    /// The nearest x that is allowed. Collective: no.
    pub fn project(&self, x: &mut Vector<X>) {
        if self.non_negative {
            for x in x.as_mut_slice().iter_mut().filter(|x| x.re() < 0.0) {
                *x = X::default();
            }
        }
    }
}

/// The value for a report: infinite ones are not told, NaN is.
pub(super) fn told(value: f64) -> Option<f64> {
    Some(value).filter(|value| *value != f64::INFINITY)
}
