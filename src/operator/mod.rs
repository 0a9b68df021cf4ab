//! The concept of a linear operator: what an implementer writes, and the checked call that everybody else uses.
//!
//! A **leaf** operator maps slices to slices. It knows no communicator, is `Send + Sync`, and tells trouble as a
//! [`Fault`]. Many leaves make a [`Stack`](crate::stack::Stack), which maps distributed vectors and returns
//! [`Error`](crate::Error).
//!
//! Implementers write [`LinearOperator`]; callers use [`Apply`], which checks sizes and which nobody overrides.

mod apply;
mod closure;
mod differentiable;
mod normal;
mod pointer;
mod work;

pub use apply::Apply;
pub use closure::Closure;
pub use differentiable::{Differentiable, Linear, Point};
pub use normal::Basis;
pub(crate) use normal::DiagonalNormal;
pub use work::Work;

use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Shape;

/// What is known of an operator beyond its action. Declared by the operator, believed by methods, tested by
/// [`testing`](crate::testing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Structure {
    /// `Aᴴ = A` (needs equal domain and range).
    pub self_adjoint: bool,
    /// All entries of the matrix are real and not negative, so `‖A‖² ≤ max(Aᵀ A 1)`.
    pub non_negative: bool,
}

/// A linear map `A` from vectors of `X` to vectors of `Y`, and its adjoint.
///
/// Slices are row-major in the order of [`domain`](Self::domain) and [`range`](Self::range), and have just these lengths:
/// the checked call ([`Apply`]) sees to it. The adjoint belongs to the inner product that conjugates its first argument;
/// where the domain is real and the range complex, to its real part: `Re⟨A x, y⟩ = ⟨x, Aᴴ y⟩`.
///
/// An operator in a `Box` or an [`Arc`](std::sync::Arc) is one too. So several members of a stack may share one operator in
/// memory: each call has scratch of its own, and lanes of a stack call several at once.
///
/// Collective: no. To add an operator of your own, see `docs/add-an-operator.md`.
pub trait LinearOperator<X: Scalar, Y: Scalar<Real = X::Real> = X>: Send + Sync {
    /// The shape of `x`.
    fn domain(&self) -> &Shape;
    /// The shape of `y`.
    fn range(&self) -> &Shape;

    /// `y = A x`. Overwrites `y`, whatever it holds.
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault>;

    /// `x = Aᴴ y`. Overwrites `x`, whatever it holds.
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault>;

    /// `x += Aᴴ y`. Worth writing where no temporary is needed: a stack of N then needs one accumulator, not N.
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let mut part = work.take::<X>("Aᴴy", x.len());
        let done = self.apply_adjoint(y, &mut part, work);
        for (sum, term) in x.iter_mut().zip(&part) {
            *sum += *term;
        }
        work.give("Aᴴy", part);
        done
    }

    /// `out += Aᴴ A x`. Worth writing where it is cheaper than a forward and an adjoint.
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let mut data = work.take::<Y>("Ax", self.range().len());
        let done = self.apply_forward(x, &mut data, work).and_then(|()| self.apply_adjoint_add(&data, out, work));
        work.give("Ax", data);
        done
    }

    /// What is known of this operator.
    fn structure(&self) -> Structure {
        Structure::default()
    }

    /// A number that `‖A‖²` surely does not exceed, if one is known without applying the operator.
    fn norm_squared_bound(&self) -> Option<f64> {
        None
    }

    /// The diagonal of `AᴴA`, if it is known without applying the operator: the squared norms of the columns of A.
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        None
    }

    /// The eigenvalues of `AᴴA`, if it is diagonal in a basis: one for each element of the model. A member whose
    /// [`Description`](crate::stack::Description) names the basis must know them.
    fn normal_spectrum(&self, _basis: Basis) -> Option<Vec<f64>> {
        None
    }
}
