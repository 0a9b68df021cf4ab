//! Which elements of a file are read: the dims of a tile in the order of the file.

use crate::space::{Selection, Tile};

/// What is read along one dim of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub start: usize,
    pub step: usize,
    pub count: usize,
    size: usize,
    /// Elements of the file from one index to the next.
    pub file_stride: usize,
    /// Elements of the output from one selected index to the next.
    pub out_stride: usize,
}

/// The dims in the order of the file, slowest first; those that are read without gaps are merged into one.
pub(super) fn file_axes(tile: &Tile, fortran: bool) -> Vec<Axis> {
    let mut out_stride = 1;
    let mut axes: Vec<Axis> = Vec::new();
    for (dim, &Selection { start, step, count }) in tile.of().dims().iter().zip(tile.selections()).rev() {
        axes.push(Axis { start, step, count, size: dim.size, file_stride: 0, out_stride });
        out_stride *= count;
    }
    if !fortran {
        axes.reverse();
    }
    let mut merged: Vec<Axis> = Vec::new(); // fastest first
    let mut file_stride = 1;
    for &slower in axes.iter().rev() {
        let slower = Axis { file_stride, ..slower };
        file_stride *= slower.size;
        match merged.last_mut() {
            // A dim of one selected index has no step; a whole fast dim continues at the slower one's next index.
            Some(faster)
                if faster.count == faster.size
                    && faster.step == 1
                    && (slower.step == 1 || slower.count == 1)
                    && (slower.out_stride == faster.out_stride * faster.count || slower.count == 1) =>
            {
                faster.start = slower.start * faster.size;
                faster.count *= slower.count;
                faster.size *= slower.size;
            }
            _ => merged.push(slower),
        }
    }
    if merged.is_empty() {
        // An array of no dims holds one number.
        merged.push(Axis { start: 0, step: 1, count: 1, size: 1, file_stride: 1, out_stride: 1 });
    }
    merged.reverse();
    merged
}
