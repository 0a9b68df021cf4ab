//! Exact lengths: the image is constant in each voxel.
//!
//! The ray is followed from voxel to voxel. Each crossing is computed from the index of the voxel's face, never from the
//! crossing before, so that no error adds up along the ray.
//!
//! Source: R. L. Siddon, "Fast calculation of the exact radiological path for a three-dimensional CT array", Medical Physics
//! 12(2), 1985; the walk is that of J. Amanatides and A. Woo, "A fast voxel traversal algorithm for ray tracing",
//! Eurographics 1987.

use super::grid::Grid;
use super::scan::{Line, norm};

/// Calls `visit(place in memory, length)` for each voxel of a grid on a line, which is given in its voxels.
#[inline(always)]
pub(super) fn walk(grid: &Grid, line: &Line, mut visit: impl FnMut(usize, f64)) {
    let Line { origin, direction } = *line;
    let length = norm(direction);
    // Where the line is inside of all pairs of faces.
    let (mut enter, mut leave) = (f64::NEG_INFINITY, f64::INFINITY);
    for axis in 0..3 {
        let faces = [-0.5, grid.sizes[axis] as f64 - 0.5];
        if direction[axis] == 0.0 {
            // on a face it belongs to the voxel behind it, once
            if !(faces[0]..faces[1]).contains(&origin[axis]) {
                return;
            }
            continue;
        }
        let [a, b] = faces.map(|face| (face - origin[axis]) / direction[axis]);
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    if enter >= leave {
        return;
    }
    let strides = grid.strides();
    let (mut voxel, mut place) = ([0_isize; 3], 0_isize);
    let mut next = [f64::INFINITY; 3];
    let mut step = [0_isize; 3];
    let mut shift = [0.0; 3];
    for axis in 0..3 {
        let last = grid.sizes[axis] as isize - 1;
        // where the line enters, it is on a face: a little behind it says which voxel that is
        let at = origin[axis] + direction[axis] * enter;
        let at = if direction[axis] < 0.0 { (at + 0.5).ceil() - 1.0 } else { (at + 0.5).floor() };
        voxel[axis] = (at as isize).clamp(0, last);
        place += voxel[axis] * strides[axis] as isize;
        if direction[axis] != 0.0 {
            step[axis] = if direction[axis] > 0.0 { 1 } else { -1 };
            shift[axis] = 0.5 * step[axis] as f64 - origin[axis];
            next[axis] = (voxel[axis] as f64 + shift[axis]) / direction[axis];
        }
    }
    let mut now = enter;
    loop {
        let axis = if next[0] <= next[1] && next[0] <= next[2] {
            0
        } else if next[1] <= next[2] {
            1
        } else {
            2
        };
        let until = next[axis];
        if until > now {
            visit(place as usize, (until.min(leave) - now) * length);
            now = until;
        }
        voxel[axis] += step[axis];
        if voxel[axis] < 0 || voxel[axis] >= grid.sizes[axis] as isize || now >= leave {
            return;
        }
        place += step[axis] * strides[axis] as isize;
        next[axis] = (voxel[axis] as f64 + shift[axis]) / direction[axis];
    }
}
