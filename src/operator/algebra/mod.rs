//! Operators made of operators: one composition per file.
//!
//! Members are shared ([`SharedOperator`]): one that is used twice has its weights in memory once, and
//! scratch belongs to the call. Names and sizes of dims are checked when a composition is built.
//!
//! | Composition | What it is |
//! | --- | --- |
//! | [`adjoint`](adjoint()) | `Aᴴ` |
//! | [`Scale`] | `c A` |
//! | [`Sum`] | `Σ A_i` |
//! | [`compose`](compose()), [`Compose`] | `… A_1 A_0` |
//! | [`Concat`] | `[A_0; A_1]`, `[A_0 A_1]` or block diagonal, along dims that are there |
//! | [`stacked`](stacked()) | the same along a new dim |
//! | [`normal`](normal()) | `AᴴA`, merged where a member knows how |
//! | [`renamed`](renamed()) | other names of dims |
//! | [`Derivative`] | `F′(x)` of a smooth operator |
//! | [`Zero`] | `0` |
//!
//! ```
//! use std::sync::Arc;
//! use stackphys::operator::{Apply, SharedOperator, Work, algebra::{Sum, adjoint, compose}};
//! use stackphys::physics::{Dense, Identity};
//! use stackphys::Shape;
//! let line = Shape::new([("x", 2)]);
//! let a: SharedOperator<f64> = Arc::new(Dense::new(line.clone(), ndarray::array![[1.0, 2.0]]).unwrap());
//! // AᴴA + I
//! let damped = Sum::new(vec![compose(vec![a.clone(), adjoint(&a)]).unwrap(), Arc::new(Identity::new(line))]).unwrap();
//! let mut y = [0.0; 2];
//! damped.forward(&[1.0, 1.0], &mut y, &mut Work::default()).unwrap();
//! assert_eq!(y, [4.0, 7.0]);
//! ```

mod adjoint;
mod compose;
mod concat;
mod derivative;
mod normal;
mod renamed;
mod scale;
mod stacked;
mod sum;
mod zero;

pub use adjoint::{Adjoint, adjoint};
pub use compose::{Compose, compose};
pub use concat::Concat;
pub use derivative::Derivative;
pub(crate) use normal::range_of as range_of_normal;
pub use normal::{Normal, normal};
pub use renamed::{Renamed, renamed};
pub use scale::Scale;
pub use stacked::stacked;
pub use sum::Sum;
pub use zero::Zero;

use super::SharedOperator;
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Dim, Shape};

fn no_members(name: &str) -> Fault {
    Fault::new(format!("{name}: expected at least one member, got none"))
}

/// The inner dims of all members, each name and size once, without names that stand on a side.
fn inner_dims_of<'a, X: Scalar, Y: Scalar<Real = X::Real>>(
    members: impl Iterator<Item = &'a SharedOperator<X, Y>>,
    domain: &Shape,
    range: &Shape,
) -> Vec<Dim> {
    let mut dims = Vec::new();
    members.for_each(|member| add_inner(&mut dims, member.inner_dims(), domain, range));
    dims
}

/// Adds dims to a list of inner ones, each name and size once, without names that stand on a side.
fn add_inner(dims: &mut Vec<Dim>, more: impl IntoIterator<Item = Dim>, domain: &Shape, range: &Shape) {
    for dim in more {
        let outside = domain.axis(&dim.name).is_some() || range.axis(&dim.name).is_some();
        if !outside && !dims.contains(&dim) {
            dims.push(dim);
        }
    }
}

/// The pairs of dims in which all members are diagonal.
fn batch_dims_of<'a, X: Scalar, Y: Scalar<Real = X::Real>>(
    mut members: impl Iterator<Item = &'a SharedOperator<X, Y>>,
) -> Vec<[String; 2]> {
    let mut pairs = members.next().map(|first| first.batch_dims()).unwrap_or_default();
    for member in members {
        let others = member.batch_dims();
        pairs.retain(|pair| others.contains(pair));
    }
    pairs
}
