//! The normal operator `AᴴA` as an operator.

use std::sync::Arc;

use super::{Compose, adjoint, renamed};
use crate::error::Fault;
use crate::operator::dims::{next_unused, place};
use crate::operator::{LinearOperator, Role, SharedOperator, Structure, Work, part_of};
use crate::physics::Identity;
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// `AᴴA` by what `A` does. Made by [`normal`](normal()).
pub struct Normal<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    of: SharedOperator<X, Y>,
    range: Shape,
}

/// `AᴴA`: merged where the operator knows how ([`LinearOperator::normal_operator`]), the identity of an isometry.
///
/// A name on both sides means that the operator is diagonal in it. So of `A` from (b, n) to (b, m) it goes from (b, n) to
/// (b, n1): names that `A` does not share get the next number that is free. The dims of `y` become inner ones.
///
/// Collective: no. Cost: that of the normal operator of `A`. Making it applies nothing; a dense matrix makes its Gram matrix.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{SharedOperator, algebra::normal}, physics::Dense};
/// let (weights, domain) = (Shape::new([("b", 2), ("m", 3), ("n", 4)]), Shape::new([("b", 2), ("n", 4)]));
/// let a: SharedOperator<f64> = Arc::new(Dense::named(weights, vec![1.0; 24], domain, &["b", "m"]).unwrap());
/// assert_eq!(normal(&a).range().to_string(), "(b=2, n1=4)");
/// ```
pub fn normal<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &SharedOperator<X, Y>) -> SharedOperator<X> {
    merged(operator).unwrap_or_else(|| plain(operator))
}

/// `AᴴA` by what `A` does.
pub(super) fn plain<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &SharedOperator<X, Y>) -> SharedOperator<X> {
    Arc::new(Normal { range: range_of(operator), of: operator.clone() })
}

/// `AᴴA` where it is cheaper than by what `A` does.
pub(super) fn merged<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
) -> Option<SharedOperator<X>> {
    let identity = operator.structure().isometry.then(|| Arc::new(Identity::new(operator.domain().clone())) as _);
    identity.or_else(|| operator.normal_operator())
}

/// The range of `AᴴA`: the domain of `A`, with the next free number for names in which `A` is not diagonal.
pub(crate) fn range_of<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &(impl LinearOperator<X, Y> + ?Sized)) -> Shape {
    let (domain, range) = (operator.domain(), operator.range());
    let (pairs, inner) = (operator.batch_dims(), operator.inner_dims());
    let mut new: Vec<(String, usize)> = Vec::with_capacity(domain.dims().len());
    for Dim { name, size } in domain.dims() {
        let taken = |next: &str| {
            let inside = inner.iter().any(|dim| dim.name == next);
            let used = new.iter().any(|(used, _)| used == next);
            domain.axis(next).is_some() || range.axis(next).is_some() || inside || used
        };
        let batch = pairs.iter().any(|[a, _]| a == name);
        new.push((if batch { name.clone() } else { next_unused(name, taken) }, *size));
    }
    Shape::new(new)
}

/// A normal operator under the names that another form of it would have; one that is diagonal in all dims keeps its own.
pub(super) fn named<X: Scalar>(operator: SharedOperator<X>, range: &Shape) -> SharedOperator<X> {
    let diagonal = operator.domain() == operator.range() && operator.batch_dims().len() == range.dims().len();
    if diagonal { operator } else { renamed::with_range(operator, range) }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Normal<X, Y> {
    /// The name in `A` of a dim of the range.
    fn name_in_domain(&self, name: &str) -> Option<&str> {
        let axis = self.range.axis(name)?;
        self.of.domain().names().nth(axis)
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X> for Normal<X, Y> {
    fn domain(&self) -> &Shape {
        self.of.domain()
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[X], y: &mut [X], work: &mut Work) -> Result<(), Fault> {
        y.fill(X::default());
        self.of.apply_normal_add(x, y, work)
    }
    fn apply_adjoint(&self, y: &[X], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.apply_forward(y, x, work)
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_normal_add(x, y, work)
    }
    fn apply_adjoint_add(&self, y: &[X], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_normal_add(y, x, work)
    }
    fn structure(&self) -> Structure {
        let of = self.of.structure();
        Structure { self_adjoint: true, non_negative: of.non_negative, isometry: of.isometry }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        self.of.norm_squared_bound().map(|bound| bound * bound)
    }
    fn name(&self) -> String {
        format!("Normal of {}", self.of.name())
    }
    /// The dims of `y` that are not of `x`. Inner dims of `A` are not: a square of a sum is no sum of squares.
    fn inner_dims(&self) -> Vec<Dim> {
        let of = |dim: &&Dim| place(&self.of, &dim.name).is_ok_and(|at| at.role == Role::Out);
        let mut dims = Vec::new();
        super::add_inner(&mut dims, self.of.range().dims().iter().filter(of).cloned(), self.domain(), &self.range);
        dims
    }
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        let Ok(here) = place(self, dim) else { return false };
        let of = if here.role == Role::Out { self.name_in_domain(dim).unwrap_or(dim) } else { dim };
        let role = match here.role {
            Role::Out => Role::In,
            Role::Inner => Role::Out,
            role => role,
        };
        place(&self.of, of).is_ok_and(|at| at.role == role) && self.of.may_be_cut(of, at)
    }
    /// Of columns `j` and rows `i` it is `A_iᴴ A_j`.
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X>, Fault> {
        let (mut columns, mut rows) = (Ranges::default(), Ranges::default());
        for (dim, range) in ranges.iter() {
            match place(self, dim)?.role {
                Role::In => {
                    columns.set(dim, range);
                }
                Role::Out => {
                    rows.set(self.name_in_domain(dim).unwrap_or(dim), range);
                }
                Role::Batch | Role::Inner => {
                    columns.set(dim, range.clone());
                    rows.set(dim, range);
                }
            }
        }
        let of_columns = part_of(&self.of, &columns)?;
        let range = ranges.shape(&self.range);
        if rows == columns {
            return Ok(renamed::with_range(normal(&of_columns), &range));
        }
        let both = Compose::new(of_columns, adjoint(&part_of(&self.of, &rows)?))?;
        Ok(renamed::with_range(Arc::new(both), &range))
    }
}
