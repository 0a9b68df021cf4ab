//! The sum of operators.

use std::sync::Arc;

use crate::error::Fault;
use crate::operator::dims::place;
use crate::operator::{Dims, LinearOperator, SharedOperator, Structure, Work, part_of};
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// `Σ A_i`, added in the order of the members.
///
/// Collective: no. Cost: that of the members, each of which adds to one output. Faults when built: no members; members of
/// different shapes.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Apply, SharedOperator, Work, algebra::Sum};
/// use stackphys::physics::Diagonal;
/// let d: SharedOperator<f64> = Arc::new(Diagonal::new([("x", 2)], vec![1.0, 2.0]).unwrap());
/// let twice = Sum::new(vec![d.clone(), d]).unwrap(); // holds the diagonal once
/// let mut y = [0.0; 2];
/// twice.forward(&[1.0, 1.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [2.0, 4.0]);
/// ```
pub struct Sum<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    members: Vec<SharedOperator<X, Y>>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Sum<X, Y> {
    /// The sum of members that all have the shapes of the first.
    pub fn new(members: Vec<SharedOperator<X, Y>>) -> Result<Self, Fault> {
        let Some(first) = members.first() else { return Err(super::no_members("Sum")) };
        for (index, member) in members.iter().enumerate() {
            let of = |side: &str| format!("Sum: {side} of member {index} ({})", member.name());
            first.domain().expect(member.domain(), &of("domain"))?;
            first.range().expect(member.range(), &of("range"))?;
        }
        Ok(Sum { members })
    }

    /// The members in order.
    pub fn members(&self) -> &[SharedOperator<X, Y>] {
        &self.members
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Sum<X, Y> {
    fn domain(&self) -> &Shape {
        self.members[0].domain()
    }
    fn range(&self) -> &Shape {
        self.members[0].range()
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        let (first, rest) = (&self.members[0], &self.members[1..]);
        first.apply_forward(x, y, work)?;
        rest.iter().try_for_each(|member| member.apply_forward_add(x, y, work))
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let (first, rest) = (&self.members[0], &self.members[1..]);
        first.apply_adjoint(y, x, work)?;
        rest.iter().try_for_each(|member| member.apply_adjoint_add(y, x, work))
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.members.iter().try_for_each(|member| member.apply_forward_add(x, y, work))
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.members.iter().try_for_each(|member| member.apply_adjoint_add(y, x, work))
    }
    fn structure(&self) -> Structure {
        let all = |flag: fn(Structure) -> bool| self.members.iter().all(|member| flag(member.structure()));
        let alone = self.members.len() == 1;
        Structure {
            self_adjoint: all(|of| of.self_adjoint),
            non_negative: all(|of| of.non_negative),
            isometry: alone && all(|of| of.isometry),
        }
    }
    /// `‖Σ A_i‖ ≤ Σ ‖A_i‖`.
    fn norm_squared_bound(&self) -> Option<f64> {
        let norms = self.members.iter().map(|member| member.norm_squared_bound().map(f64::sqrt));
        norms.sum::<Option<f64>>().map(|norm| norm * norm)
    }
    fn inner_dims(&self) -> Vec<Dim> {
        super::inner_dims_of(self.members.iter(), self.domain(), self.range())
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        super::batch_dims_of(self.members.iter())
    }
    /// Where all members may: what is left whole in one of them would be added for each tile.
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        let here = place(self, dim).ok();
        let same_in = |member: &SharedOperator<X, Y>| here.is_some() && place(member, dim).ok() == here;
        self.size(dim).is_some() && self.members.iter().all(|member| same_in(member) && member.may_be_cut(dim, at))
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        let parts = self.members.iter().map(|member| part_of(member, ranges));
        Ok(Arc::new(Sum::new(parts.collect::<Result<_, _>>()?)?))
    }
}
