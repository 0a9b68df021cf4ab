//! The concept of a linear operator: what an implementer writes, and the checked call that everybody else uses.
//!
//! A **leaf** operator maps slices to slices. It knows no communicator, is `Send + Sync`, and tells trouble as a
//! [`Fault`]. Many leaves make a [`Stack`](crate::stack::Stack), which maps distributed vectors and returns
//! [`Error`](crate::Error).
//!
//! Implementers write [`LinearOperator`]; callers use [`Apply`], which checks sizes and which nobody overrides. Operators
//! are made of operators in [`algebra`], and cut into tiles by [`split`]; both go by the names of dims, see [`Role`].

pub mod algebra;
mod apply;
mod closure;
mod deferred;
mod differentiable;
mod dims;
mod gram;
mod normal;
mod pointer;
mod split;
mod work;

use std::sync::Arc;

pub use apply::Apply;
pub use closure::Closure;
pub use deferred::Deferred;
pub use differentiable::{Differentiable, Linear, Point};
pub use dims::{Dims, Role};
pub use gram::{Gram, hilbert_adjoint};
pub use normal::Basis;
pub(crate) use normal::DiagonalNormal;
pub use split::{Cut, Grid, part_of, split, tiled};
pub use work::Work;

use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// An operator that many may hold: compositions and parts share it, so its weights are in memory once.
pub type SharedOperator<X, Y = X> = Arc<dyn LinearOperator<X, Y>>;

/// What is known of an operator beyond its action. Declared by the operator, believed by methods, tested by
/// [`testing`](crate::testing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Structure {
    /// `Aᴴ = A` (needs a domain and a range of one length).
    pub self_adjoint: bool,
    /// All entries of the matrix are real and not negative, so `‖A‖² ≤ max(Aᵀ A 1)`.
    pub non_negative: bool,
    /// `AᴴA` is the identity, as of a unitary Fourier transform.
    pub isometry: bool,
}

/// A linear map `A` from vectors of `X` to vectors of `Y`, and its adjoint.
///
/// Slices are row-major in the order of [`domain`](Self::domain) and [`range`](Self::range), and have just these lengths:
/// the checked call ([`Apply`]) sees to it. The adjoint belongs to the inner product that conjugates its first argument;
/// where the domain is real and the range complex, to its real part: `Re⟨A x, y⟩ = ⟨x, Aᴴ y⟩`.
///
/// An operator in a `Box` or an [`Arc`] is one too. So several members of a stack may share one operator in memory: each call
/// has scratch of its own, and lanes of a stack call several at once.
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

    /// `y += A x`. Worth writing where no temporary is needed.
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        let mut part = work.take::<Y>("A x", y.len());
        let done = self.apply_forward(x, &mut part, work);
        for (sum, term) in y.iter_mut().zip(&part) {
            *sum += *term;
        }
        work.give("A x", part);
        done
    }

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

    /// What errors call it. Left as it is: the name of its type.
    fn name(&self) -> String {
        dims::name_of_type::<Self>()
    }

    /// The dims that are summed inside and stand on neither side, such as those between the members of a chain. A name that
    /// comes with two sizes cannot be cut.
    fn inner_dims(&self) -> Vec<Dim> {
        Vec::new()
    }

    /// The dims in which the operator is diagonal, as pairs of names, of `x` and of `y`: sample k of `y` depends on sample k
    /// of `x` alone. Left as it is: the names that stand on both sides.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        dims::shared_names(self.domain(), self.range())
    }

    /// Whether [`part`](Self::part) can cut it along a dim, before sample `at`. Left as it is: nowhere, all dims must stay
    /// whole.
    fn may_be_cut(&self, _dim: &str, _at: usize) -> bool {
        false
    }

    /// The operator on these ranges alone: of a dim of `x` the columns, of a dim of `y` the rows, of an inner dim the terms
    /// of the sum. For callers there is [`part_of`], which checks: here each range is a true part, lies where the operator
    /// may be cut, and where a dim is one of a [pair](Self::batch_dims), both names are there.
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        let (dim, range) = ranges.iter().next().unwrap_or(("", 0..0));
        Err(split::must_stay_whole(self, dim, range.start))
    }

    /// The operator of which this one is the adjoint, if it holds it.
    fn adjoint_operator(&self) -> Option<SharedOperator<Y, X>> {
        None
    }

    /// `AᴴA` as an operator that is cheaper than `A` and then `Aᴴ`, if there is one. See
    /// [`algebra::normal`](algebra::normal()), also for the names of its dims.
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        None
    }
}
