//! The operator that maps everything to zero.

use std::sync::Arc;

use super::normal;
use crate::error::Fault;
use crate::operator::dims::place;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape};

/// `y = 0`, and `x = 0` of the adjoint. What a block diagonal is off its diagonal.
///
/// Collective: no. Cost: one pass over the output. Memory: none.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work, algebra::Zero}};
/// let nothing = Zero::new(Shape::new([("x", 4)]), Shape::new([("row", 3)]));
/// let mut y = [7.0; 3];
/// nothing.forward(&[1.0; 4], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [0.0; 3]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Zero {
    domain: Shape,
    range: Shape,
}

impl Zero {
    /// The zero from vectors of `domain` to those of `range`.
    pub fn new(domain: Shape, range: Shape) -> Self {
        Zero { domain, range }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Zero {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, _x: &[X], y: &mut [Y], _work: &mut Work) -> Result<(), Fault> {
        y.fill(Y::default());
        Ok(())
    }
    fn apply_adjoint(&self, _y: &[Y], x: &mut [X], _work: &mut Work) -> Result<(), Fault> {
        x.fill(X::default());
        Ok(())
    }
    fn apply_forward_add(&self, _x: &[X], _y: &mut [Y], _work: &mut Work) -> Result<(), Fault> {
        Ok(())
    }
    fn apply_adjoint_add(&self, _y: &[Y], _x: &mut [X], _work: &mut Work) -> Result<(), Fault> {
        Ok(())
    }
    fn apply_normal_add(&self, _x: &[X], _out: &mut [X], _work: &mut Work) -> Result<(), Fault> {
        Ok(())
    }
    fn structure(&self) -> Structure {
        let square = self.domain.len() == self.range.len();
        Structure { self_adjoint: square, non_negative: true, isometry: self.domain.len() == 0 }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(0.0)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![0.0; self.domain.len()])
    }
    fn normal_spectrum(&self, _basis: Basis) -> Option<Vec<f64>> {
        Some(vec![0.0; self.domain.len()])
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        place::<X, Y>(self, dim).is_ok()
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        Ok(Arc::new(Zero::new(ranges.shape(&self.domain), ranges.shape(&self.range))))
    }
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        let range = normal::range_of::<X, Y>(self);
        Some(Arc::new(Zero::new(self.domain.clone(), range)))
    }
}
