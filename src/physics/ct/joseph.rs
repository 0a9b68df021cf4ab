//! One sample in each plane that a ray crosses, interpolated between its neighbours: two in an image, four in a volume.
//!
//! The planes are those across the axis along which the ray goes fastest. What lies outside of the grid counts as zero, so the
//! sums over the parts of a grid add up to that over the whole.
//!
//! Source: P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging 1(3),
//! 1982.

use std::ops::Range;

use super::grid::Grid;
use super::scan::{Line, norm};

/// The axis along which a direction goes fastest, of x and y in an image.
pub(super) fn main_axis(direction: [f64; 3]) -> usize {
    let [x, y, z] = direction.map(f64::abs);
    if z > x.max(y) {
        2
    } else if y >= x {
        1
    } else {
        0
    }
}

/// Calls `visit(place in memory, weight)` for each voxel of a grid near a line, which is given in its voxels.
#[inline(always)]
pub(super) fn walk(grid: &Grid, line: &Line, visit: impl FnMut(usize, f64)) {
    if grid.flat { in_image(grid, line, visit) } else { in_volume(grid, line, visit) }
}

/// The planes `0..count` in which `start + slope·plane` lies between two bounds, a little generously.
fn planes_within(start: f64, slope: f64, bounds: [f64; 2], count: usize) -> Range<usize> {
    if slope == 0.0 {
        return if (bounds[0]..=bounds[1]).contains(&start) { 0..count } else { 0..0 };
    }
    let [a, b] = bounds.map(|bound| (bound - start) / slope);
    let first = a.min(b).floor().max(0.0) as usize;
    let end = (a.max(b).ceil() + 1.0).clamp(0.0, count as f64) as usize;
    first.min(end)..end
}

/// A position, counted from −1, as the whole number below it and the rest. Only for those above 0.
#[inline(always)]
fn split(place: f64) -> (usize, f64) {
    let below = place as usize; // conversion rounds towards zero
    (below, place - below as f64)
}

#[inline(always)]
fn in_image(grid: &Grid, line: &Line, mut visit: impl FnMut(usize, f64)) {
    let Line { origin, direction } = *line;
    let main = main_axis([direction[0], direction[1], 0.0]);
    let across = 1 - main;
    let (strides, count, size) = (grid.strides(), grid.sizes[main], grid.sizes[across]);
    let slope = direction[across] / direction[main];
    let start = origin[across] - slope * origin[main];
    let gain = norm(direction) / direction[main].abs();
    let end = size as f64;
    for plane in planes_within(start, slope, [-1.0, end], count) {
        // compared as it is split: a position just below the end may be rounded onto it
        let position = start + slope * plane as f64 + 1.0;
        if !(0.0 < position && position < end + 1.0) {
            continue;
        }
        let (below, rest) = split(position);
        let place = plane * strides[main] + below * strides[across];
        if below > 0 {
            visit(place - strides[across], gain * (1.0 - rest));
        }
        if below < size {
            visit(place, gain * rest);
        }
    }
}

#[inline(always)]
fn in_volume(grid: &Grid, line: &Line, mut visit: impl FnMut(usize, f64)) {
    let Line { origin, direction } = *line;
    let main = main_axis(direction);
    let [b, c] = [[1, 2], [0, 2], [0, 1]][main];
    let (strides, count, sizes) = (grid.strides(), grid.sizes[main], [grid.sizes[b], grid.sizes[c]]);
    let slopes = [b, c].map(|axis| direction[axis] / direction[main]);
    let starts = [origin[b] - slopes[0] * origin[main], origin[c] - slopes[1] * origin[main]];
    let gain = norm(direction) / direction[main].abs();
    let ends = sizes.map(|size| size as f64);
    let [one, two] = [0, 1].map(|k| planes_within(starts[k], slopes[k], [-1.0, ends[k]], count));
    for plane in one.start.max(two.start)..one.end.min(two.end) {
        let at = [starts[0] + slopes[0] * plane as f64 + 1.0, starts[1] + slopes[1] * plane as f64 + 1.0];
        if !(0.0 < at[0] && at[0] < ends[0] + 1.0 && 0.0 < at[1] && at[1] < ends[1] + 1.0) {
            continue;
        }
        let ((left, right_part), (low, high_part)) = (split(at[0]), split(at[1]));
        let place = plane * strides[main] + left * strides[b] + low * strides[c];
        let left_part = gain * (1.0 - right_part);
        let (right_part, low_part) = (gain * right_part, 1.0 - high_part);
        if left > 0 && low > 0 {
            visit(place - strides[b] - strides[c], left_part * low_part);
        }
        if left < sizes[0] && low > 0 {
            visit(place - strides[c], right_part * low_part);
        }
        if left > 0 && low < sizes[1] {
            visit(place - strides[b], left_part * high_part);
        }
        if left < sizes[0] && low < sizes[1] {
            visit(place, right_part * high_part);
        }
    }
}
