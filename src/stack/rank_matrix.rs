//! Which rank takes which tile of a grid: a small matrix of ranks, spread over the grid. Pure: no rank asks another.
//!
//! (The device matrix of the package torch-named-linops, with ranks for devices.)

use ndarray::{ArrayD, Dimension, IxDyn};

use crate::error::Fault;

/// The rank of each tile of a grid, from a matrix of ranks.
///
/// Axes are matched from the last one on. An axis that the matrix lacks, or of which it has one entry, is repeated; a shorter
/// one is repeated in turn, a longer one is cut off. Only along an axis of a single tile more entries than one fit nothing:
/// such a list was meant for another axis.
///
/// Collective: no. Faults: more axes than the grid has; several entries for a single tile; no entries; a rank that is not
/// there.
///
/// ```
/// use ndarray::{ArrayD, array};
/// use stackphys::stack::ranks_of_tiles;
/// let in_turn = ranks_of_tiles(&array![0, 1].into_dyn(), &[4], 2).unwrap();
/// assert_eq!(in_turn, array![0, 1, 0, 1].into_dyn());
/// let rows = ranks_of_tiles(&array![[0], [1]].into_dyn(), &[4, 3], 2).unwrap();
/// assert_eq!(rows, array![[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]].into_dyn());
/// ```
pub fn ranks_of_tiles(matrix: &ArrayD<usize>, grid: &[usize], ranks: usize) -> Result<ArrayD<usize>, Fault> {
    let shape = matrix.shape();
    let wrong = |why: &str, hint: &str| {
        let text = format!("rank matrix: expected a shape that fits the grid of tiles {grid:?}, got {shape:?}: {why}");
        Err(Fault::new(text).hint(hint))
    };
    if matrix.is_empty() {
        return wrong("it has no entries", "give at least one rank, as in [0]");
    }
    let Some(added) = grid.len().checked_sub(shape.len()) else {
        return wrong(
            "it has more axes than the grid",
            "the grid has one axis for each dim that is cut, in their order",
        );
    };
    if let Some(axis) = (added..grid.len()).find(|axis| grid[*axis] == 1 && shape[axis - added] > 1) {
        let why =
            format!("axis {axis} of the grid has a single tile, but there are {} ranks for it", shape[axis - added]);
        return wrong(&why, "for an axis before the last one write a column, as in [[0], [1], [2]]");
    }
    if let Some((index, rank)) = matrix.indexed_iter().find(|(_, rank)| **rank >= ranks) {
        let (last, index) = (ranks.saturating_sub(1), index.slice());
        return Err(Fault::new(format!("rank matrix: expected ranks from 0 to {last}, got {rank} at {index:?}"))
            .hint("start as many ranks as the matrix names, or name fewer"));
    }
    Ok(ArrayD::from_shape_fn(IxDyn(grid), |tile| {
        let index: Vec<usize> = shape.iter().enumerate().map(|(axis, size)| tile[added + axis] % size).collect();
        matrix[IxDyn(&index)]
    }))
}
