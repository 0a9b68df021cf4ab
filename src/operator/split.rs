//! Cutting an operator into a grid of tiles along named dims, and putting tiles together again.
//!
//! Each dim is cut and glued by its [`Role`](super::Role): tiles along a batch dim are the blocks of a block diagonal, along
//! a dim of `y` they lie one below the other, along a dim of `x` side by side, and along an inner dim they are summed. A
//! grid knows the ranges of its tiles; the operators themselves are made one by one, so that a rank makes its own only.
//! (After `split_linop` and `create_batched_linop` of the package torch-named-linops.)

use std::ops::Range;
use std::sync::Arc;

use super::algebra::{Concat, Sum};
use super::dims::{Place, place, sizes};
use super::{Dims, LinearOperator, Role, SharedOperator};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape, Tile, is_partition};

/// How one dim is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Into runs of this many samples; the last one may be shorter.
    Chunks(usize),
    /// At these edges: 0, rising, up to the size.
    Edges(Vec<usize>),
}

impl Cut {
    fn edges(&self, size: usize, operator: &str, dim: &str) -> Result<Vec<usize>, Fault> {
        match self {
            _ if size == 0 => Err(Fault::new(format!("{operator}: dim `{dim}` has no samples to cut"))),
            Cut::Chunks(0) => {
                Err(Fault::new(format!("{operator}: expected chunks of dim `{dim}` of at least 1, got 0"))
                    .hint(format!("a chunk is a number of samples; `{dim}` has {size}")))
            }
            Cut::Chunks(chunk) => Ok((0..size).step_by(*chunk).chain([size]).collect()),
            Cut::Edges(edges) => {
                if is_partition(edges, size) {
                    return Ok(edges.clone());
                }
                Err(Fault::new(format!(
                    "{operator}: edges of dim `{dim}`: expected a partition of 0..{size}, got {edges:?}"
                ))
                .hint(format!("edges begin with 0, rise, and end with the size, as in [0, {size}]")))
            }
        }
    }
}

/// Cuts an operator along named dims, in the order given: the grid has one axis for each.
///
/// Where an operator pairs two dims (as a CT scan of a volume pairs the slice `z` with the detector row), either name cuts
/// both.
///
/// Collective: no. Cost: no operator is applied, none is made. Faults: a dim that is not there, comes twice, has no one
/// size, or must stay whole; a chunk of 0; edges that are no partition.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{Cut, SharedOperator, split}, physics::Dense};
/// let weights = Shape::new([("m", 3), ("n", 7)]);
/// let a: SharedOperator<f64> =
///     Arc::new(Dense::named(weights, vec![1.0; 21], Shape::new([("n", 7)]), &["m"]).unwrap());
/// let grid = split(&a, &[("n", Cut::Chunks(2)), ("m", Cut::Edges(vec![0, 1, 3]))]).unwrap();
/// assert_eq!(grid.extents(), [4, 2]);
/// let last = grid.operator(&[3, 1]).unwrap();
/// assert_eq!((last.domain().len(), last.range().len()), (1, 2));
/// let whole = grid.assemble(grid.operators().unwrap()).unwrap();
/// assert_eq!((whole.domain(), whole.range()), (a.domain(), a.range()));
/// ```
pub fn split<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
    cuts: &[(impl AsRef<str>, Cut)],
) -> Result<Grid<X, Y>, Fault> {
    let mut axes: Vec<Axis> = Vec::with_capacity(cuts.len());
    for (dim, cut) in cuts {
        let dim = dim.as_ref();
        let at = place(operator, dim)?;
        let size = size_of(operator, dim)?;
        if let Some(other) = axes.iter().find(|axis| axis.dim == dim || (at.role == Role::Batch && axis.at == at)) {
            let text = format!("{}: dim `{dim}` is cut twice", operator.name());
            return Err(Fault::new(text).hint(if other.dim == dim {
                "name each dim once; for cuts within cuts, see `operator::tiled`".to_owned()
            } else {
                format!("the operator is diagonal in it and `{}`, and a cut of one cuts both: name one", other.dim)
            }));
        }
        let edges = cut.edges(size, &operator.name(), dim)?;
        check_edges(operator, dim, &edges)?;
        axes.push(Axis { dim: dim.to_owned(), at, edges });
    }
    Ok(Grid { operator: operator.clone(), axes })
}

/// The operator on these ranges alone: see [`LinearOperator::part`]. All of it is the operator itself.
///
/// Collective: no. Cost: a copy of the weights of the part, where there are any. Faults: as of [`split`](split()); a range
/// that is empty or reaches beyond the size.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{operator::{Apply, SharedOperator, Work, part_of}, physics::Diagonal, space::Ranges};
/// let d: SharedOperator<f64> = Arc::new(Diagonal::new([("x", 4)], vec![1.0, 2.0, 3.0, 4.0]).unwrap());
/// let part = part_of(&d, &Ranges::new([("x", 1..3)])).unwrap();
/// let mut y = [0.0; 2];
/// part.forward(&[1.0, 1.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [2.0, 3.0]);
/// ```
pub fn part_of<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
    ranges: &Ranges,
) -> Result<SharedOperator<X, Y>, Fault> {
    let mut complete = Ranges::default();
    for (dim, range) in ranges.iter() {
        let at = place(operator, dim)?;
        let size = size_of(operator, dim)?;
        if range.is_empty() || range.end > size {
            let (start, end) = (range.start, range.end);
            let text =
                format!("{}: expected a range within 0..{size} for dim `{dim}`, got {start}..{end}", operator.name());
            return Err(Fault::new(text));
        }
        check_edges(operator, dim, &[range.start, range.end])?;
        let both = [at.input, at.output];
        for name in if at.role == Role::Inner { vec![dim.to_owned()] } else { both.into_iter().flatten().collect() } {
            if let Some(other) = complete.set(name, range.clone()).filter(|other| *other != range) {
                let text = format!("{}: dim `{dim}` has the ranges {other:?} and {range:?} at once", operator.name());
                return Err(
                    Fault::new(text).hint("the operator is diagonal in a pair of dims: give one range for both")
                );
            }
        }
    }
    let whole = |(dim, range): (&str, Range<usize>)| range.start == 0 && operator.size(dim) == Some(range.end);
    let cut = Ranges::new(complete.iter().filter(|cut| !whole(cut.clone())));
    if cut.is_empty() {
        return Ok(operator.clone());
    }
    let part = operator.part(&cut)?;
    let expect = |shape: &Shape, got: &Shape, side: &str| {
        cut.shape(shape).expect(got, &format!("{side} of the part {cut} of {}", operator.name()))
    };
    expect(operator.domain(), part.domain(), "domain")?;
    expect(operator.range(), part.range(), "range")?;
    Ok(part)
}

/// The operator made of its own tiles: cut by the first of `specs`, each tile by those that follow, and put together.
///
/// Collective: no. Faults: as of [`split`](split()).
///
/// ```
/// use std::sync::Arc;
/// use stackphys::{Shape, operator::{Cut, SharedOperator, tiled}, physics::Identity};
/// let same: SharedOperator<f32> = Arc::new(Identity::new(Shape::new([("y", 4), ("x", 9)])));
/// let halves_of_halves = tiled(&same, &[vec![("y", Cut::Chunks(2))], vec![("x", Cut::Chunks(5))]]).unwrap();
/// assert_eq!(halves_of_halves.range(), same.range());
/// ```
pub fn tiled<X: Scalar, Y: Scalar<Real = X::Real>, N: AsRef<str>>(
    operator: &SharedOperator<X, Y>,
    specs: &[Vec<(N, Cut)>],
) -> Result<SharedOperator<X, Y>, Fault> {
    let Some((outer, inner)) = specs.split_first() else { return Ok(operator.clone()) };
    let grid = split(operator, outer)?;
    let tiles = grid.operators()?.iter().map(|tile| tiled(tile, inner)).collect::<Result<_, _>>()?;
    grid.assemble(tiles)
}

/// An operator cut into tiles; they are numbered row-major, the last axis fastest. Made by [`split`](split()).
///
/// Collective: no.
pub struct Grid<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    operator: SharedOperator<X, Y>,
    axes: Vec<Axis>,
}

/// A dim that is cut.
struct Axis {
    dim: String,
    at: Place,
    edges: Vec<usize>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Grid<X, Y> {
    /// The operator that is cut.
    pub fn whole(&self) -> &SharedOperator<X, Y> {
        &self.operator
    }
    /// The number of tiles along each axis.
    pub fn extents(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.edges.len() - 1).collect()
    }
    /// The number of tiles.
    #[allow(clippy::len_without_is_empty)] // a grid has at least one tile
    pub fn len(&self) -> usize {
        self.extents().iter().product()
    }
    /// The dim of each axis, and its role.
    pub fn dims(&self) -> impl Iterator<Item = (&str, Role)> {
        self.axes.iter().map(|axis| (axis.dim.as_str(), axis.at.role))
    }
    /// The index along each axis of each tile, in the order of the tiles.
    pub fn indices(&self) -> impl Iterator<Item = Vec<usize>> + use<X, Y> {
        let extents = self.extents();
        (0..extents.iter().product()).map(move |mut tile: usize| {
            let mut index = vec![0; extents.len()];
            for (at, extent) in index.iter_mut().zip(&extents).rev() {
                *at = tile % extent;
                tile /= extent;
            }
            index
        })
    }

    /// The range of each dim that is cut. Fault: an index that is not of this grid.
    pub fn ranges(&self, index: &[usize]) -> Result<Ranges, Fault> {
        let extents = self.extents();
        if index.len() != extents.len() || index.iter().zip(&extents).any(|(at, extent)| at >= extent) {
            let text = format!(
                "{}: expected the index of a tile of the grid {extents:?}, got {index:?}",
                self.operator.name()
            );
            return Err(Fault::new(text));
        }
        let mut ranges = Ranges::default();
        for (axis, at) in self.axes.iter().zip(index) {
            let range = axis.edges[*at]..axis.edges[at + 1];
            for name in [&axis.at.input, &axis.at.output].into_iter().flatten().chain([&axis.dim]) {
                ranges.set(name, range.clone());
            }
        }
        Ok(ranges)
    }
    /// The part of `x` that a tile reads. Fault: an index that is not of this grid.
    pub fn input(&self, index: &[usize]) -> Result<Tile, Fault> {
        Ok(self.ranges(index)?.tile(self.operator.domain()))
    }
    /// The part of `y` that a tile writes. Fault: an index that is not of this grid.
    pub fn output(&self, index: &[usize]) -> Result<Tile, Fault> {
        Ok(self.ranges(index)?.tile(self.operator.range()))
    }
    /// Makes the operator of a tile. Cost and faults: as of [`part_of`].
    pub fn operator(&self, index: &[usize]) -> Result<SharedOperator<X, Y>, Fault> {
        part_of(&self.operator, &self.ranges(index)?)
    }
    /// Makes the operators of all tiles, in order.
    pub fn operators(&self) -> Result<Vec<SharedOperator<X, Y>>, Fault> {
        self.indices().map(|index| self.operator(&index)).collect()
    }

    /// The whole from its tiles, in order: folds the grid from the last axis to the first, each by its role. The tiles may be
    /// others than [`operators`](Self::operators) makes, of the same shapes.
    ///
    /// Faults: another number of tiles; tiles whose shapes do not fit together.
    pub fn assemble(&self, mut tiles: Vec<SharedOperator<X, Y>>) -> Result<SharedOperator<X, Y>, Fault> {
        if tiles.len() != self.len() {
            let (name, want, got) = (self.operator.name(), self.len(), tiles.len());
            let text = format!("{name}: expected {want} tiles for the grid {:?}, got {got}", self.extents());
            return Err(Fault::new(text));
        }
        for axis in self.axes.iter().rev() {
            let lines = tiles.chunks(axis.edges.len() - 1);
            tiles = lines.map(|line| axis.glue(line)).collect::<Result<_, _>>()?;
        }
        Ok(tiles.swap_remove(0))
    }
}

impl Axis {
    fn glue<X: Scalar, Y: Scalar<Real = X::Real>>(
        &self,
        tiles: &[SharedOperator<X, Y>],
    ) -> Result<SharedOperator<X, Y>, Fault> {
        if let [only] = tiles {
            return Ok(only.clone());
        }
        if self.at.role == Role::Inner {
            return Ok(Arc::new(Sum::new(tiles.to_vec())?));
        }
        Ok(Arc::new(Concat::new(tiles.to_vec(), self.at.input.as_deref(), self.at.output.as_deref())?))
    }
}

/// The one size of a dim that is there.
fn size_of<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &SharedOperator<X, Y>, dim: &str) -> Result<usize, Fault> {
    operator.size(dim).ok_or_else(|| {
        let several = sizes(operator, dim).iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
        Fault::new(format!(
            "{}: the size of dim `{dim}` is not known, the name stands for sizes {several}",
            operator.name()
        ))
        .hint("only a dim of one size can be cut: give different dims different names")
    })
}

/// A fault if the operator may not be cut at one of these edges.
fn check_edges<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
    dim: &str,
    edges: &[usize],
) -> Result<(), Fault> {
    let size = operator.size(dim).unwrap_or(0);
    let mut inside = edges.iter().filter(|at| (1..size).contains(*at));
    inside.find(|at| !operator.may_be_cut(dim, **at)).map_or(Ok(()), |at| Err(must_stay_whole(operator, dim, *at)))
}

/// The fault of a cut along a dim that must stay whole there.
pub(super) fn must_stay_whole<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &(impl LinearOperator<X, Y> + ?Sized),
    dim: &str,
    at: usize,
) -> Fault {
    let cuts_of =
        |dim: &str| operator.size(dim).map_or(0, |size| (1..size).filter(|at| operator.may_be_cut(dim, *at)).count());
    let name = operator.name();
    let text = match cuts_of(dim) {
        0 => format!("{name}: dim `{dim}` must stay whole"),
        _ => {
            format!("{name}: dim `{dim}` must stay whole around {at}, where it lies inside a member that cannot be cut")
        }
    };
    let may: Vec<String> = operator.dims().into_iter().filter(|other| other != dim && cuts_of(other) > 0).collect();
    Fault::new(text).hint(match may.is_empty() {
        true => "none of its other dims may be cut either".to_owned(),
        false => format!("it may be cut along `{}`", may.join("`, `")),
    })
}
