//! The members of a stack as the tiles of one operator that is cut along named dims.
//!
//! The blocks of `x` are the tiles of `x`, the blocks of measurements those of `y`; both follow from the ranges alone, and so
//! does every description. A tile is built by its owner, and by nobody else.

use ndarray::ArrayD;

use super::{Description, Factory, ranks_of_tiles};
use crate::error::Fault;
use crate::operator::{Cut, Grid, LinearOperator, Role, tiled};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile, Tiling};

/// A factory of the tiles of a [`Grid`].
///
/// Tiles along a dim of `y` are rows, those along a dim of `x` or an inner dim are summed in their row, those along a batch
/// dim make a block diagonal. A rank holds only the blocks of `x` and of the measurements that its tiles read and write.
///
/// Collective: no; build the [`Stack`](super::Stack) of it. Cost: no operator is made before the stack is built.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Cut, SharedOperator, split};
/// use stackphys::stack::{Stack, Tiles};
/// use stackphys::{Shape, comm::Team, physics::Dense};
/// let weights = Shape::new([("m", 3), ("n", 4)]);
/// let w: SharedOperator<f64> =
///     Arc::new(Dense::named(weights, (0..12).map(f64::from).collect(), Shape::new([("n", 4)]), &["m"]).unwrap());
/// let tiles = Tiles::new(split(&w, &[("m", Cut::Chunks(2)), ("n", Cut::Chunks(1))]).unwrap());
/// let stack = Stack::build(Team::solo(), &tiles, Default::default()).unwrap();
/// let (mut x, mut y) = (stack.zero_model(), stack.zero_data());
/// tiles.columns().unwrap().scatter(&[1.0, 0.0, 0.0, 1.0], &mut x).unwrap();
/// stack.forward(&x, &mut y).unwrap();
/// let mut whole = [0.0; 3];
/// tiles.rows().unwrap().gather(&y, &mut whole).unwrap();
/// assert_eq!(whole, [3.0, 11.0, 19.0]);
/// ```
pub struct Tiles<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    grid: Grid<X, Y>,
    ranks: Option<ArrayD<usize>>,
    within: Vec<Vec<(String, Cut)>>,
    tell: super::Tell<'a>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Tiles<'a, X, Y> {
    /// The tiles of a grid, in its order.
    pub fn new(grid: Grid<X, Y>) -> Self {
        Tiles { grid, ranks: None, within: Vec::new(), tell: Box::new(|_, described| described) }
    }

    /// The same on the ranks that a rank matrix says, of `ranks`: see [`ranks_of_tiles`], also for the faults.
    pub fn on_ranks(mut self, matrix: &ArrayD<usize>, ranks: usize) -> Result<Self, Fault> {
        self.ranks = Some(ranks_of_tiles(matrix, &self.grid.extents(), ranks)?);
        Ok(self)
    }

    /// The same with each tile cut again on its own rank: see [`tiled`], whose faults come when the tile is built.
    pub fn tiled_within(mut self, specs: Vec<Vec<(String, Cut)>>) -> Self {
        self.within = specs;
        self
    }

    /// The same with what else is known of a tile by its number: a name, bytes, cost, a group. Alike on all ranks.
    pub fn telling(mut self, tell: impl Fn(usize, Description) -> Description + 'a) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// The grid.
    pub fn grid(&self) -> &Grid<X, Y> {
        &self.grid
    }

    /// The tiles of `x`, in the order of its blocks.
    pub fn columns(&self) -> Result<Tiling, Fault> {
        self.side(is_of_x, |index| self.grid.input(index))
    }
    /// The tiles of `y`, in the order of the blocks of measurements.
    pub fn rows(&self) -> Result<Tiling, Fault> {
        self.side(is_of_y, |index| self.grid.output(index))
    }

    /// The different tiles of one side: those at the beginning of all axes that are not of it.
    fn side(
        &self,
        is_of_side: fn(Role) -> bool,
        tile: impl Fn(&[usize]) -> Result<Tile, Fault>,
    ) -> Result<Tiling, Fault> {
        let extents = self.grid.extents();
        let of_side: Vec<bool> = self.grid.dims().map(|(_, role)| is_of_side(role)).collect();
        let count = extents.iter().zip(&of_side).filter(|(_, chosen)| **chosen).map(|(extent, _)| extent).product();
        let tiles = (0..count).map(|number| tile(&unravel(number, &extents, &of_side)));
        Tiling::new(tiles.collect::<Result<_, _>>()?)
    }

    /// The number of a tile among those of one side.
    fn place(&self, index: &[usize], is_of_side: fn(Role) -> bool) -> usize {
        let axes = index.iter().zip(self.grid.extents()).zip(self.grid.dims());
        let of_side = axes.filter(|(_, (_, role))| is_of_side(*role));
        of_side.fold(0, |number, ((at, extent), _)| number * extent + at)
    }

    fn index(&self, number: usize) -> Vec<usize> {
        let extents = self.grid.extents();
        unravel(number, &extents, &vec![true; extents.len()])
    }
}

fn is_of_x(role: Role) -> bool {
    matches!(role, Role::Batch | Role::In)
}
fn is_of_y(role: Role) -> bool {
    matches!(role, Role::Batch | Role::Out)
}

/// The index of tile `number` along the axes that are chosen, row-major; zero along the others.
fn unravel(mut number: usize, extents: &[usize], chosen: &[bool]) -> Vec<usize> {
    let mut index = vec![0; extents.len()];
    for axis in (0..extents.len()).rev().filter(|axis| chosen[*axis]) {
        index[axis] = number % extents[axis];
        number /= extents[axis];
    }
    index
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Factory<X, Y> for Tiles<'_, X, Y> {
    fn count(&self) -> usize {
        self.grid.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        // the index of a tile of the grid is one of the grid
        self.columns().map(|columns| columns.shapes().collect()).unwrap_or_default()
    }
    fn describe(&self, number: usize) -> Result<Description, Fault> {
        let index = self.index(number);
        let ranges = self.grid.ranges(&index)?;
        let (domain, range) = (ranges.shape(self.grid.whole().domain()), ranges.shape(self.grid.whole().range()));
        let described = Description {
            reads: vec![self.place(&index, is_of_x)],
            row: Some(self.place(&index, is_of_y)),
            rank: self.ranks.as_ref().map(|ranks| ranks[index.as_slice()]),
            ..Description::new(format!("{} {ranges}", self.grid.whole().name()), domain, range)
        };
        Ok((self.tell)(number, described))
    }
    fn build(&self, number: usize) -> Result<Box<dyn LinearOperator<X, Y>>, Fault> {
        let tile = self.grid.operator(&self.index(number))?;
        Ok(Box::new(tiled(&tile, &self.within)?))
    }
}
