//! The derivative of a smooth operator at a point, as a linear operator.

use std::sync::Arc;

use crate::error::Fault;
use crate::operator::{Differentiable, LinearOperator, Point, Work};
use crate::scalar::Scalar;
use crate::space::Shape;

/// `F′(x)`, with what is needed of the point inside: it stays the derivative at that point whatever is done with `F`.
///
/// Collective: no. Cost: one linearisation when made, then that of `jvp` and `vjp`. Faults: a point of another length.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Apply, Work, algebra::Derivative};
/// use stackphys::physics::{Identity, Intensity};
/// use stackphys::Shape;
/// let square = Arc::new(Intensity(Identity::new(Shape::new([("x", 1)])))); // x²
/// let at_3 = Derivative::<f64>::at(square, &[3.0]).unwrap();
/// let mut dy = [0.0];
/// at_3.forward(&[1.0], &mut dy, &mut Work::default()).unwrap();
/// assert_eq!(dy, [6.0]);
/// ```
pub struct Derivative<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    of: Arc<dyn Differentiable<X, Y>>,
    at: Point,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Derivative<X, Y> {
    /// The derivative at `x`.
    pub fn at(of: Arc<dyn Differentiable<X, Y>>, x: &[X]) -> Result<Self, Fault> {
        let (want, got) = (of.domain().len(), x.len());
        if want != got {
            return Err(Fault::new(format!(
                "derivative: expected a point of {want} numbers for {}, got {got}",
                of.domain()
            )));
        }
        let (mut at, mut value) = (of.point(), vec![Y::default(); of.range().len()]);
        of.linearize(x, &mut value, &mut at, &mut Work::default())?;
        Ok(Derivative { of, at })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Derivative<X, Y> {
    fn domain(&self) -> &Shape {
        self.of.domain()
    }
    fn range(&self) -> &Shape {
        self.of.range()
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.jvp(&self.at, x, y, work)
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        x.fill(X::default());
        self.of.vjp_add(&self.at, y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.vjp_add(&self.at, y, x, work)
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new() // a smooth operator does not say in which dims it is diagonal
    }
}
