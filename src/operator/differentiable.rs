//! Smooth operators: a value, and derivatives at a point that cannot go stale.
//!
//! `point()` makes an opaque slot that is reused; `linearize(x, value, &mut point)` writes the value and fills the slot with
//! what the derivatives need; `jvp` and `vjp_add` take `&point`. A derivative at an old point is a borrow error, not a
//! wrong number. (A derivative that borrows the slot, or that owns its intermediates, was tried and is worse: the first does
//! not fit into a struct of a method, the second allocates per call.)

use std::any::Any;

use super::{LinearOperator, Work};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Shape;

/// What an operator remembers of the point at which it was linearised. Opaque, reused, owned by the caller.
pub struct Point(Box<dyn Any + Send + Sync>);

impl Point {
    /// A slot that holds values of type `T`.
    pub fn new<T: Any + Send + Sync>(slot: T) -> Self {
        Point(Box::new(slot))
    }
    /// What the slot holds. Fault: it was made by another operator.
    pub fn get<T: Any>(&self) -> Result<&T, Fault> {
        self.0.downcast_ref().ok_or_else(wrong_point)
    }
    /// What the slot holds, to be filled. Fault: it was made by another operator.
    pub fn get_mut<T: Any>(&mut self) -> Result<&mut T, Fault> {
        self.0.downcast_mut().ok_or_else(wrong_point)
    }
}

fn wrong_point() -> Fault {
    Fault::new("a point of another operator was given").hint("make it with `point()` of the operator that uses it")
}

/// A differentiable map `F` from vectors of `X` to vectors of `Y`.
///
/// Slices have the lengths of [`domain`](Self::domain) and [`range`](Self::range). The derivative is real-linear; its
/// adjoint belongs to `Re⟨·,·⟩`, so that maps such as |u|² of complex `u` have one. Collective: no.
///
/// A linear operator is differentiable by way of [`Linear`]; a blanket implementation would forbid generic wrappers.
pub trait Differentiable<X: Scalar, Y: Scalar<Real = X::Real> = X>: Send + Sync {
    /// The shape of `x`.
    fn domain(&self) -> &Shape;
    /// The shape of `F(x)`.
    fn range(&self) -> &Shape;
    /// A slot for [`linearize`](Self::linearize) to fill.
    fn point(&self) -> Point;

    /// `value = F(x)`. Overwrites `value`.
    fn evaluate(&self, x: &[X], value: &mut [Y], work: &mut Work) -> Result<(), Fault>;
    /// `value = F(x)`, and fills `at` with what the derivatives at `x` need.
    fn linearize(&self, x: &[X], value: &mut [Y], at: &mut Point, work: &mut Work) -> Result<(), Fault>;
    /// `dy = F′(x) dx`. Overwrites `dy`.
    fn jvp(&self, at: &Point, dx: &[X], dy: &mut [Y], work: &mut Work) -> Result<(), Fault>;
    /// `dx += F′(x)* dy`.
    fn vjp_add(&self, at: &Point, dy: &[Y], dx: &mut [X], work: &mut Work) -> Result<(), Fault>;
}

/// A linear operator as a smooth one: its derivative is itself everywhere.
pub struct Linear<A>(pub A);

impl<X: Scalar, Y: Scalar<Real = X::Real>, A: LinearOperator<X, Y>> Differentiable<X, Y> for Linear<A> {
    fn domain(&self) -> &Shape {
        self.0.domain()
    }
    fn range(&self) -> &Shape {
        self.0.range()
    }
    fn point(&self) -> Point {
        Point::new(())
    }
    fn evaluate(&self, x: &[X], value: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_forward(x, value, work)
    }
    fn linearize(&self, x: &[X], value: &mut [Y], _at: &mut Point, work: &mut Work) -> Result<(), Fault> {
        self.0.apply_forward(x, value, work)
    }
    fn jvp(&self, _at: &Point, dx: &[X], dy: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_forward(dx, dy, work)
    }
    fn vjp_add(&self, _at: &Point, dy: &[Y], dx: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_adjoint_add(dy, dx, work)
    }
}
