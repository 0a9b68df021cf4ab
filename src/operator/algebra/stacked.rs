//! Operators put together along a dim that is new.

use super::Concat;
use super::renamed::{Side, with_sides};
use crate::error::Fault;
use crate::operator::SharedOperator;
use crate::scalar::Scalar;
use crate::space::Shape;

/// Members as the slices of a new dim, given by its name and its place among the others, of `x`, of `y` or of both.
///
/// `y[i] = A_i x` with a new dim of `y` alone; `y = Σ A_i x[i]` with one of `x` alone; `y[i] = A_i x[i]` with both. It is the
/// [`Concat`] of the members with a dim of size 1 more.
///
/// Collective: no. Cost: as of [`Concat`]. Faults: no members; no new dim; a name that is there already; a place that is
/// not; members of different shapes.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{SharedOperator, algebra::stacked};
/// use stackphys::{Shape, physics::Identity};
/// let same: SharedOperator<f64> = Arc::new(Identity::new(Shape::new([("y", 2), ("x", 3)])));
/// let two = stacked(vec![same.clone(), same], None, Some(("view", 1))).unwrap();
/// let concat: SharedOperator<f64> = Arc::new(two);
/// assert_eq!(concat.range().to_string(), "(y=2, view=2, x=3)");
/// ```
pub fn stacked<X: Scalar, Y: Scalar<Real = X::Real>>(
    members: Vec<SharedOperator<X, Y>>,
    input: Option<(&str, usize)>,
    output: Option<(&str, usize)>,
) -> Result<Concat<X, Y>, Fault> {
    if input.is_none() && output.is_none() {
        return Err(Fault::new("stacked: expected a new dim of the input, of the output, or of both, got none"));
    }
    let with_dims = |(index, member): (usize, SharedOperator<X, Y>)| {
        let side = |shape: &Shape, new: Option<(&str, usize)>, side: &str| match new {
            None => Ok(Side::same(shape)),
            Some((name, _)) if shape.axis(name).is_some() => {
                let text = format!("stacked: dim `{name}` is there already, in the {side} {shape} of member {index}");
                Err(Fault::new(format!("{text} ({})", member.name())).hint("`Concat` joins along dims that are there"))
            }
            Some((name, place)) if place > shape.dims().len() => {
                let (last, of) = (shape.dims().len(), format!("the {side} {shape} of member {index}"));
                Err(Fault::new(format!("stacked: expected a place of `{name}` from 0 to {last} in {of}, got {place}")))
            }
            Some((name, place)) => Ok(Side::with(shape, name, place)),
        };
        let domain = side(member.domain(), input, "domain")?;
        let range = side(member.range(), output, "range")?;
        Ok(with_sides(member, domain, range))
    };
    let members = members.into_iter().enumerate().map(with_dims).collect::<Result<_, _>>()?;
    Concat::new(members, input.map(|(name, _)| name), output.map(|(name, _)| name))
}
