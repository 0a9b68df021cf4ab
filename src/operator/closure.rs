//! An operator from two functions: the shortest way to bring a model of one's own.

use super::{LinearOperator, Work};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Shape;

type Action<From, To> = Box<dyn Fn(&[From], &mut [To]) -> Result<(), Fault> + Send + Sync>;

/// A linear operator whose action and adjoint are closures; each overwrites its output.
///
/// Nothing checks that the two belong together: run [`testing::dot_test`](crate::testing::dot_test) on it.
///
/// ```
/// use stackphys::{Shape, operator::Closure, testing};
/// let line = Shape::new([("x", 4)]);
/// let shift = Closure::<f64>::new(
///     line.clone(),
///     line,
///     |x, y| { y[0] = 0.0; y[1..].copy_from_slice(&x[..3]); Ok(()) },
///     |y, x| { x[3] = 0.0; x[..3].copy_from_slice(&y[1..]); Ok(()) },
/// );
/// assert!(testing::dot_test(&shift, 1).unwrap().ratio < 1e-14);
/// ```
pub struct Closure<X: Scalar, Y: Scalar = X> {
    domain: Shape,
    range: Shape,
    forward: Action<X, Y>,
    adjoint: Action<Y, X>,
}

impl<X: Scalar, Y: Scalar> Closure<X, Y> {
    /// An operator from `domain` to `range` with the given action and adjoint.
    pub fn new(
        domain: Shape,
        range: Shape,
        forward: impl Fn(&[X], &mut [Y]) -> Result<(), Fault> + Send + Sync + 'static,
        adjoint: impl Fn(&[Y], &mut [X]) -> Result<(), Fault> + Send + Sync + 'static,
    ) -> Self {
        Closure { domain, range, forward: Box::new(forward), adjoint: Box::new(adjoint) }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Closure<X, Y> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], _work: &mut Work) -> Result<(), Fault> {
        (self.forward)(x, y)
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], _work: &mut Work) -> Result<(), Fault> {
        (self.adjoint)(y, x)
    }
}
