//! One operator after another.

use std::sync::Arc;

use super::{adjoint, normal, renamed};
use crate::error::Fault;
use crate::operator::dims::place;
use crate::operator::{LinearOperator, Role, SharedOperator, Structure, Work, part_of};
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// `B A`: first `A`, then `B`, whose domain is the range of `A`. The numbers in between may be of a third kind.
///
/// The dims in between are inner ones unless they reach through to a side; along them tiles are summed. Collective: no.
/// Cost: that of `A` and `B`, and a vector of scratch for what lies in between (two of the range of `A` in the normal
/// operator, which uses that of `B`).
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{Dims, Role, SharedOperator, algebra::Compose}, physics::Dense};
/// let dense = |m, n, size: [usize; 2]| -> SharedOperator<f64> {
///     let (weights, domain) = (Shape::new([(m, size[0]), (n, size[1])]), Shape::new([(n, size[1])]));
///     Arc::new(Dense::named(weights, vec![1.0; size[0] * size[1]], domain, &[m]).unwrap())
/// };
/// let chain = Compose::new(dense("k", "n", [3, 2]), dense("m", "k", [4, 3])).unwrap();
/// assert_eq!((chain.dims(), chain.role("k").unwrap()), (vec!["n".into(), "m".into(), "k".into()], Role::Inner));
/// ```
pub struct Compose<X: Scalar, M: Scalar<Real = X::Real> = X, Y: Scalar<Real = X::Real> = X> {
    first: SharedOperator<X, M>,
    then: SharedOperator<M, Y>,
}

/// `… A_1 A_0`: the members one after another, the first of the list first.
///
/// Collective: no. Cost: that of the members, and a vector of scratch for each place between two. Faults: no members; a
/// member that reads other dims than the one before it writes, or other sizes of them.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Apply, SharedOperator, Work, algebra::compose};
/// use stackphys::physics::Diagonal;
/// let by = |factor| -> SharedOperator<f64> { Arc::new(Diagonal::new([("x", 1)], vec![factor]).unwrap()) };
/// let mut y = [0.0];
/// compose(vec![by(2.0), by(3.0), by(7.0)]).unwrap().forward(&[1.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [42.0]);
/// ```
pub fn compose<S: Scalar>(members: Vec<SharedOperator<S>>) -> Result<SharedOperator<S>, Fault> {
    for (index, pair) in members.windows(2).enumerate() {
        check(&pair[0], &pair[1], index)?;
    }
    let mut backwards = members.into_iter().rev();
    let last = backwards.next().ok_or_else(|| super::no_members("Compose"))?;
    // from the last one on, so that normal operators fold from the outside in
    Ok(backwards.fold(last, |then, first| Arc::new(Compose { first, then })))
}

impl<X: Scalar, M: Scalar<Real = X::Real>, Y: Scalar<Real = X::Real>> Compose<X, M, Y> {
    /// `then · first`. Faults: as of [`compose`](compose()).
    pub fn new(first: SharedOperator<X, M>, then: SharedOperator<M, Y>) -> Result<Self, Fault> {
        check(&first, &then, 0)?;
        Ok(Compose { first, then })
    }

    /// Under which names the two see a dim of the whole. `None`: they disagree on what it is.
    fn seen(&self, dim: &str) -> Option<[Option<String>; 2]> {
        let here = place(self, dim).ok()?;
        let (in_first, in_then) = (|dim: &str| place(&self.first, dim).ok(), |dim: &str| place(&self.then, dim).ok());
        match (here.role, here.input, here.output) {
            (Role::Inner, ..) => {
                let (first, then) = (in_first(dim), in_then(dim));
                let roles = [first.map(|at| at.role), then.map(|at| at.role)];
                let own = || Some(dim.to_owned());
                match roles {
                    [Some(Role::Out), Some(Role::In)] => Some([own(), own()]),
                    [Some(Role::Inner), None] => Some([own(), None]),
                    [None, Some(Role::Inner)] => Some([None, own()]),
                    _ => None,
                }
            }
            (Role::Out, _, Some(output)) => {
                let then = in_then(&output)?;
                match then.input {
                    Some(between) => (in_first(&between)?.role == Role::Out).then_some([Some(between), Some(output)]),
                    None => Some([None, Some(output)]),
                }
            }
            (role, Some(input), _) => {
                let first = in_first(&input)?;
                match first.output {
                    Some(between) => (in_then(&between)?.role == role).then_some([Some(input), Some(between)]),
                    None => Some([Some(input), None]),
                }
            }
            _ => None,
        }
    }
}

fn check<X: Scalar, M: Scalar<Real = X::Real>, Y: Scalar<Real = X::Real>>(
    first: &SharedOperator<X, M>,
    then: &SharedOperator<M, Y>,
    index: usize,
) -> Result<(), Fault> {
    let (gives, reads) = (first.range(), then.domain());
    if gives == reads {
        return Ok(());
    }
    let (first, then) =
        (format!("member {index} ({})", first.name()), format!("member {} ({})", index + 1, then.name()));
    if !gives.names().eq(reads.names()) {
        return Err(Fault::new(format!("Compose: {then} reads {reads}, but {first} gives {gives}")).hint(
            "the dims must have the same names in the same order; `operator::algebra::renamed` gives other names",
        ));
    }
    let mut dims = gives.dims().iter().zip(reads.dims());
    let (name, gives, reads) = dims
        .find(|(gives, reads)| gives != reads)
        .map_or(("", 0, 0), |(gives, reads)| (gives.name.as_str(), gives.size, reads.size));
    Err(Fault::new(format!("Compose: conflicting sizes of dim `{name}`: {first} gives {gives}, {then} reads {reads}")))
}

impl<X: Scalar, M: Scalar<Real = X::Real>, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Compose<X, M, Y> {
    fn domain(&self) -> &Shape {
        self.first.domain()
    }
    fn range(&self) -> &Shape {
        self.then.range()
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        let mut between = work.take::<M>("between", self.first.range().len());
        let done = self.first.apply_forward(x, &mut between, work);
        let done = done.and_then(|()| self.then.apply_forward(&between, y, work));
        work.give("between", between);
        done
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let mut between = work.take::<M>("between", self.first.range().len());
        let done = self.then.apply_adjoint(y, &mut between, work);
        let done = done.and_then(|()| self.first.apply_adjoint(&between, x, work));
        work.give("between", between);
        done
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        let mut between = work.take::<M>("between", self.first.range().len());
        let done = self.first.apply_forward(x, &mut between, work);
        let done = done.and_then(|()| self.then.apply_forward_add(&between, y, work));
        work.give("between", between);
        done
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let mut between = work.take::<M>("between", self.first.range().len());
        let done = self.then.apply_adjoint(y, &mut between, work);
        let done = done.and_then(|()| self.first.apply_adjoint_add(&between, x, work));
        work.give("between", between);
        done
    }
    /// `Aᴴ (BᴴB) A`, with the normal operator of `B`.
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let len = self.first.range().len();
        let (mut between, mut normal) = (work.take::<M>("between", len), work.take::<M>("BᴴB between", len));
        normal.fill(M::default());
        let done = self.first.apply_forward(x, &mut between, work);
        let done = done.and_then(|()| self.then.apply_normal_add(&between, &mut normal, work));
        let done = done.and_then(|()| self.first.apply_adjoint_add(&normal, out, work));
        work.give("BᴴB between", normal);
        work.give("between", between);
        done
    }
    fn structure(&self) -> Structure {
        let (first, then) = (self.first.structure(), self.then.structure());
        Structure {
            self_adjoint: false,
            non_negative: first.non_negative && then.non_negative,
            isometry: first.isometry && then.isometry,
        }
    }
    /// `‖B A‖ ≤ ‖B‖ ‖A‖`.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.first.norm_squared_bound()? * self.then.norm_squared_bound()?)
    }
    fn inner_dims(&self) -> Vec<Dim> {
        let (domain, range) = (self.domain(), self.range());
        let mut dims = Vec::new();
        // what is paired with a dim of a side is that dim
        let reaches = |name: &str| {
            self.first.batch_dims().iter().any(|[_, b]| b == name)
                || self.then.batch_dims().iter().any(|[a, _]| a == name)
        };
        let between = self.first.range().dims().iter().filter(|dim| !reaches(&dim.name)).cloned();
        super::add_inner(&mut dims, between, domain, range);
        super::add_inner(&mut dims, self.first.inner_dims(), domain, range);
        super::add_inner(&mut dims, self.then.inner_dims(), domain, range);
        dims
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let then = self.then.batch_dims();
        let through = |[a, between]: [String; 2]| {
            let [_, b] = then.iter().find(|[first, _]| *first == between)?;
            Some([a, b.clone()])
        };
        self.first.batch_dims().into_iter().filter_map(through).collect()
    }
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        self.seen(dim).is_some_and(|[first, then]| {
            first.is_none_or(|dim| self.first.may_be_cut(&dim, at))
                && then.is_none_or(|dim| self.then.may_be_cut(&dim, at))
        })
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        let (mut of_first, mut of_then) = (Ranges::default(), Ranges::default());
        for (dim, range) in ranges.iter() {
            let [first, then] = self.seen(dim).unwrap_or_default();
            first.map(|dim| of_first.set(dim, range.clone()));
            then.map(|dim| of_then.set(dim, range.clone()));
        }
        Ok(Arc::new(Compose::new(part_of(&self.first, &of_first)?, part_of(&self.then, &of_then)?)?))
    }
    /// An outermost isometry falls away; a merged normal operator takes the middle.
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        if self.then.structure().isometry {
            return Some(normal::named(normal(&self.first), &normal::range_of(self)));
        }
        let middle = renamed::with_range(self.then.normal_operator()?, self.then.domain());
        let back = Arc::new(Compose { first: middle, then: adjoint(&self.first) });
        let whole = Arc::new(Compose { first: self.first.clone(), then: back });
        Some(normal::named(whole, &normal::range_of(self)))
    }
}
