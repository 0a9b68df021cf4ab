//! The same operator under other names of its dims, or with dims of size 1 beside its own.

use std::sync::Arc;

use super::normal;
use crate::error::Fault;
use crate::operator::dims::place;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work, part_of};
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// An operator whose dims have other names. Made by [`renamed`](renamed()).
pub struct Renamed<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    of: SharedOperator<X, Y>,
    domain: Side,
    range: Side,
}

/// The dims of one side, and of each the place among those of the operator inside; none for a dim of size 1 that was added.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Side {
    pub shape: Shape,
    pub axes: Vec<Option<usize>>,
}

impl Side {
    /// Other names for the dims of a shape.
    fn named<N: AsRef<str>>(of: &Shape, names: impl IntoIterator<Item = N>) -> Self {
        let dims = of.dims().iter().zip(names).map(|(dim, name)| (name.as_ref().to_owned(), dim.size));
        Side { shape: Shape::new(dims), axes: (0..of.dims().len()).map(Some).collect() }
    }
    /// A shape as it is.
    pub fn same(of: &Shape) -> Self {
        Self::named(of, of.names())
    }
    /// A shape with a new dim of size 1.
    pub fn with(of: &Shape, name: &str, index: usize) -> Self {
        let mut dims: Vec<(String, usize)> = of.dims().iter().map(|dim| (dim.name.clone(), dim.size)).collect();
        let mut axes: Vec<Option<usize>> = (0..dims.len()).map(Some).collect();
        dims.insert(index, (name.to_owned(), 1));
        axes.insert(index, None);
        Side { shape: Shape::new(dims), axes }
    }

    /// The name inside of a dim, if it is there.
    fn inside<'a>(&self, of: &'a Shape, name: &str) -> Option<&'a str> {
        let axis = self.axes[self.shape.axis(name)?]?;
        of.names().nth(axis)
    }
    /// The name outside of a dim of the operator inside.
    fn outside(&self, of: &Shape, name: &str) -> Option<&str> {
        let axis = of.axis(name)?;
        self.shape.names().nth(self.axes.iter().position(|inside| *inside == Some(axis))?)
    }
    /// The same dims, with the sizes that a part of the operator inside has.
    fn resized(&self, of: &Shape) -> Self {
        let size = |axis: &Option<usize>| axis.map_or(1, |axis| of.dims()[axis].size);
        let dims = self.shape.names().map(str::to_owned).zip(self.axes.iter().map(size));
        Side { shape: Shape::new(dims), axes: self.axes.clone() }
    }
}

/// The same operator with other names for the dims of `x` and of `y`, in their order.
///
/// Collective: no. Cost and memory: none. Faults: another number of names than dims; a name twice on one side.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{SharedOperator, algebra::renamed}, physics::Dense};
/// let a: SharedOperator<f64> = Arc::new(Dense::new(Shape::new([("x", 2)]), ndarray::array![[1.0, 2.0]]).unwrap());
/// assert_eq!(renamed(&a, &["x"], &["view"]).unwrap().range(), &Shape::new([("view", 1)]));
/// ```
pub fn renamed<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
    domain: &[&str],
    range: &[&str],
) -> Result<SharedOperator<X, Y>, Fault> {
    let check = |side: &str, shape: &Shape, names: &[&str]| {
        let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
        match twice {
            Some((_, name)) => Err(Fault::new(format!("Renamed: `{name}` comes twice among the names of the {side}"))),
            None if names.len() != shape.dims().len() => {
                let want = shape.dims().len();
                Err(Fault::new(format!("Renamed: expected {want} names for the {side} {shape}, got {names:?}")))
            }
            None => Ok(()),
        }
    };
    check("domain", operator.domain(), domain)?;
    check("range", operator.range(), range)?;
    let (domain, range) = (Side::named(operator.domain(), domain), Side::named(operator.range(), range));
    Ok(with_sides(operator.clone(), domain, range))
}

/// The same operator with the names of `range` for the dims of `y`.
pub(super) fn with_range<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: SharedOperator<X, Y>,
    range: &Shape,
) -> SharedOperator<X, Y> {
    let (domain, range) = (Side::same(operator.domain()), Side::named(operator.range(), range.names()));
    with_sides(operator, domain, range)
}

pub(super) fn with_sides<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: SharedOperator<X, Y>,
    domain: Side,
    range: Side,
) -> SharedOperator<X, Y> {
    if domain.shape == *operator.domain() && range.shape == *operator.range() {
        return operator;
    }
    Arc::new(Renamed { of: operator, domain, range })
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Renamed<X, Y> {
    /// The name by which the operator inside knows a dim, if it plays the same part there.
    fn inside(&self, dim: &str) -> Option<String> {
        let here = place(self, dim).ok()?;
        let inside = match (&here.input, &here.output) {
            (Some(name), _) => self.domain.inside(self.of.domain(), name)?,
            (None, Some(name)) => self.range.inside(self.of.range(), name)?,
            (None, None) => dim,
        };
        place(&self.of, inside).is_ok_and(|at| at.role == here.role).then(|| inside.to_owned())
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Renamed<X, Y> {
    fn domain(&self) -> &Shape {
        &self.domain.shape
    }
    fn range(&self) -> &Shape {
        &self.range.shape
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_forward(x, y, work)
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_adjoint(y, x, work)
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_forward_add(x, y, work)
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_adjoint_add(y, x, work)
    }
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_normal_add(x, out, work)
    }
    fn structure(&self) -> Structure {
        self.of.structure()
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        self.of.norm_squared_bound()
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        self.of.normal_diagonal()
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        self.of.normal_spectrum(basis)
    }
    fn name(&self) -> String {
        self.of.name()
    }
    fn inner_dims(&self) -> Vec<Dim> {
        let mut dims = Vec::new();
        super::add_inner(&mut dims, self.of.inner_dims(), self.domain(), self.range());
        dims
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let outside = |[a, b]: [String; 2]| {
            let a = self.domain.outside(self.of.domain(), &a)?;
            let b = self.range.outside(self.of.range(), &b)?;
            Some([a.to_owned(), b.to_owned()])
        };
        let added = |side: &Side, name: &str| side.shape.axis(name).is_some_and(|axis| side.axes[axis].is_none());
        // an operator is diagonal in a dim of size 1 that both sides have
        let single = self.domain().names().filter(|name| added(&self.domain, name) && added(&self.range, name));
        let single = single.map(|name| [name.to_owned(), name.to_owned()]);
        self.of.batch_dims().into_iter().filter_map(outside).chain(single).collect()
    }
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        self.inside(dim).is_some_and(|inside| self.of.may_be_cut(&inside, at))
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        let inside = ranges.iter().filter_map(|(dim, range)| Some((self.inside(dim)?, range)));
        let part = part_of(&self.of, &Ranges::new(inside))?;
        let (domain, range) = (self.domain.resized(part.domain()), self.range.resized(part.range()));
        Ok(with_sides(part, domain, range))
    }
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        let merged = normal::merged(&self.of)?;
        let range = Side { shape: normal::range_of(self), axes: self.domain.axes.clone() };
        Some(with_sides(merged, self.domain.clone(), range))
    }
}
