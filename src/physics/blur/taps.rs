//! A convolution by shifted sums, without edges: each number of the result is a weighted sum of numbers of a larger array.
//!
//! A kernel that is a product of one for each dim goes in stages, one along each dim: 2·31 products for each pixel instead of
//! 31². In a stage the rows of the result are as long as they can be: a dim that the stage leaves alone lies within them.

use rayon::prelude::*;

use super::Kernel;
use super::lanes::Taps;
use crate::scalar::Real;
use crate::threads;

/// Stages from a larger array to a smaller one.
#[derive(Debug, Clone)]
pub(super) struct Stages<R> {
    stages: Vec<Stage<R>>,
}

#[derive(Debug, Clone)]
struct Stage<R> {
    weights: Vec<R>,
    /// How far each weight's number lies behind the first one.
    offsets: Vec<usize>,
    /// Sizes of the slow dims before and after, over which rows are counted.
    slow: Vec<[usize; 2]>,
    /// Length of a row before and after.
    row: [usize; 2],
    /// Numbers before and after.
    len: [usize; 2],
}

impl<R: Real> Stages<R> {
    /// `out[i] = Σ_j k[j] from[i + (n − 1 − j)]` for kernels of n weights, one after the other, on an array of the given sizes;
    /// complex numbers are `parts = 2` reals.
    pub fn new(kernels: &[Kernel], sizes: &[usize], parts: usize) -> Self {
        let mut sizes = sizes.to_vec();
        let stage = |kernel: &Kernel| {
            let after: Vec<usize> = sizes.iter().zip(kernel.sizes()).map(|(size, n)| size + 1 - n).collect();
            let stage = Stage::new(kernel, &sizes, &after, parts);
            sizes = after;
            stage
        };
        Stages { stages: kernels.iter().map(stage).collect() }
    }

    /// Numbers of scratch: what the first stages make, by turns in the second and in the first.
    pub fn scratch(&self) -> [usize; 2] {
        let made = &self.stages[..self.stages.len().saturating_sub(1)];
        [1, 0].map(|first| made.iter().skip(first).step_by(2).map(|stage| stage.len[1]).max().unwrap_or(0))
    }
    /// Bytes that weights and offsets take.
    pub fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| size_of_val(&*stage.weights) + size_of_val(&*stage.offsets)).sum()
    }
    /// `to ← K from`, or `to ← to + K from`.
    pub fn run(&self, from: &[R], to: &mut [R], add: bool, [mut made, mut next]: [&mut [R]; 2]) {
        let Some((last, first)) = self.stages.split_last() else { return };
        let mut is_made = false;
        for stage in first {
            let len = stage.len;
            let from = if is_made { &made[..len[0]] } else { from };
            stage.run(from, &mut next[..len[1]], false);
            std::mem::swap(&mut made, &mut next);
            is_made = true;
        }
        last.run(if is_made { &made[..last.len[0]] } else { from }, to, add);
    }
}

impl<R: Real> Stage<R> {
    fn new(kernel: &Kernel, before: &[usize], after: &[usize], parts: usize) -> Self {
        let strides = |sizes: &[usize]| {
            let mut strides = vec![parts; sizes.len()];
            for axis in (1..sizes.len()).rev() {
                strides[axis - 1] = strides[axis] * sizes[axis];
            }
            strides
        };
        let (stride, of_kernel) = (strides(before), kernel.strides());
        let mut taps: Vec<(usize, f64)> = Vec::new();
        for (at, weight) in kernel.weights().iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let behind = |axis: usize| kernel.sizes()[axis] - 1 - at / of_kernel[axis] % kernel.sizes()[axis];
            taps.push(((0..before.len()).map(|axis| behind(axis) * stride[axis]).sum(), *weight));
        }
        taps.sort_unstable_by_key(|(offset, _)| *offset);
        // a row ends where sizes differ: what follows is alike in both arrays
        let last = (0..before.len()).rev().find(|axis| before[*axis] != after[*axis]).unwrap_or(0);
        let row = |sizes: &[usize]| sizes[last..].iter().product::<usize>() * parts;
        let len = |sizes: &[usize]| sizes.iter().product::<usize>() * parts;
        Stage {
            weights: taps.iter().map(|(_, weight)| R::from_f64(*weight)).collect(),
            offsets: taps.iter().map(|(offset, _)| *offset).collect(),
            slow: before[..last].iter().zip(&after[..last]).map(|(before, after)| [*before, *after]).collect(),
            row: [row(before), row(after)],
            len: [len(before), len(after)],
        }
    }

    /// Where the row of the larger array begins with which a row of the result begins.
    fn begin(&self, mut row: usize) -> usize {
        let (mut begin, mut stride) = (0, self.row[0]);
        for [before, after] in self.slow.iter().rev() {
            begin += row % after * stride;
            (row, stride) = (row / after, stride * before);
        }
        begin
    }

    fn run(&self, from: &[R], to: &mut [R], add: bool) {
        let count = threads::count();
        // pieces of rows where there are few rows
        let rows = to.len() / self.row[1].max(1);
        let piece = if count > 1 && rows < 4 * count { threads::share(self.row[1], count, 64) } else { self.row[1] };
        let pieces = self.row[1].div_ceil(piece.max(1));
        let one = |row: usize, first: usize, to: &mut [R]| {
            let from = &from[self.begin(row) + first..];
            Taps { weights: &self.weights, offsets: &self.offsets, from, out: to, add }.run();
        };
        if count == 1 {
            to.chunks_exact_mut(self.row[1]).enumerate().for_each(|(row, to)| one(row, 0, to));
        } else if pieces > 1 {
            for (row, to) in to.chunks_exact_mut(self.row[1]).enumerate() {
                to.par_chunks_mut(piece).enumerate().for_each(|(at, to)| one(row, at * piece, to));
            }
        } else {
            let each = threads::share(rows, count, 1);
            to.par_chunks_mut(each * self.row[1]).enumerate().for_each(|(task, to)| {
                to.chunks_exact_mut(self.row[1]).enumerate().for_each(|(row, to)| one(task * each + row, 0, to));
            });
        }
    }
}
