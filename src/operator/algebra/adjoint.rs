//! The adjoint of an operator as an operator.

use std::sync::Arc;

use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work, part_of};
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// `Aᴴ`: domain and range change places. Made by [`adjoint`](adjoint()).
pub struct Adjoint<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    of: SharedOperator<X, Y>,
}

/// `Aᴴ`. The adjoint of an adjoint is the operator itself.
///
/// Collective: no. Cost: that of `A`; its normal operator `AAᴴ` needs one vector of the domain of `A`.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{Dims, SharedOperator, algebra::adjoint}, physics::Dense};
/// let a: SharedOperator<f64> = Arc::new(Dense::new(Shape::new([("x", 3)]), ndarray::array![[1.0, 2.0, 3.0]]).unwrap());
/// let back = adjoint(&a);
/// assert_eq!((back.domain(), back.range()), (a.range(), a.domain()));
/// assert!(Arc::ptr_eq(&adjoint(&back), &a));
/// ```
pub fn adjoint<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &SharedOperator<X, Y>) -> SharedOperator<Y, X> {
    operator.adjoint_operator().unwrap_or_else(|| Arc::new(Adjoint { of: operator.clone() }))
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<Y, X> for Adjoint<X, Y> {
    fn domain(&self) -> &Shape {
        self.of.range()
    }
    fn range(&self) -> &Shape {
        self.of.domain()
    }
    fn apply_forward(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_adjoint(y, x, work)
    }
    fn apply_adjoint(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_forward(x, y, work)
    }
    fn apply_forward_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_forward_add(x, y, work)
    }
    fn structure(&self) -> Structure {
        let of = self.of.structure();
        // of a square isometry the adjoint is the inverse
        Structure { isometry: of.isometry && self.domain().len() == self.range().len(), ..of }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        self.of.norm_squared_bound()
    }
    fn name(&self) -> String {
        format!("Adjoint of {}", self.of.name())
    }
    fn inner_dims(&self) -> Vec<Dim> {
        self.of.inner_dims()
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        self.of.batch_dims().into_iter().map(|[a, b]| [b, a]).collect()
    }
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        self.of.may_be_cut(dim, at)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<Y, X>, Fault> {
        Ok(adjoint(&part_of(&self.of, ranges)?))
    }
    fn adjoint_operator(&self) -> Option<SharedOperator<X, Y>> {
        Some(self.of.clone())
    }
}
