//! One pass of a separable blur: a symmetric correlation along one dim, with periodic edges.
//!
//! The array is seen as `outer × samples × inner` real numbers, with the pass along `samples`; the parts of complex numbers
//! count to `inner`. Output rows (of `inner` numbers) are made in **tiles**: the input that a tile needs is first copied
//! into a small scratch with the neighbours of its edges on both sides, taken from the other end of the array where it
//! ends. So the inner loop has no edges, and its rows lie close together, not a power of two apart where they would
//! fight for the same few places of the cache. In a tile, number `i` of the output is
//!
//! ```text
//! w_0 t[i] + Σ_k w_k (t[i − k·s] + t[i + k·s])      s = the tile's width
//! ```
//!
//! whatever the dim: along the last one the width is 1 (2 for complex numbers), along others a block of columns.
//!
//! The sum of each output number goes over k in order, by one multiplication and two additions for each pair. That is as
//! fast as fused multiplications without the symmetry, and no instruction set rounds it otherwise: the result is the same
//! bit for bit on all of them, for any tiles and any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::Correlate;
use crate::scalar::Real;
use crate::threads;

/// Bytes of the widest row of a tile: one block of AVX2's registers, and 2·radius + 1 rows of it stay in the L1 cache for
/// radii up to some 60.
const WIDTH: usize = 256;
/// Bytes of a tile without its edges: with them it stays in the L2 cache.
const TILE: usize = 128 << 10;
/// Tiles are at least this many rows high, for the neighbours on both sides are copied as well.
const LEAST_ROWS: usize = 64;

/// The weights along one dim of an array, and the sizes around it.
pub(super) struct Pass<R> {
    outer: usize,
    samples: usize,
    inner: usize,
    /// Of distance 0, 1, …; each of the others counts on both sides.
    weights: Vec<R>,
}

impl<R: Real> Pass<R> {
    /// A pass along `samples` of `outer × samples × inner` real numbers. At most samples/2 + 1 weights.
    pub fn new([outer, samples, inner]: [usize; 3], weights: &[f64]) -> Self {
        assert!(!weights.is_empty() && weights.len() <= samples / 2 + 1, "a kernel longer than the dim");
        Pass { outer, samples, inner, weights: weights.iter().map(|w| R::from_f64(*w)).collect() }
    }

    /// The distance of the farthest neighbour that counts.
    pub fn radius(&self) -> usize {
        self.weights.len() - 1
    }
    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
    }
    /// What the pass multiplies each of the `samples` waves along its dim with: its eigenvalues.
    pub fn response(&self) -> Vec<f64> {
        let turn = std::f64::consts::TAU / self.samples as f64;
        let of_wave = |wave: usize| {
            let pair = |(k, weight): (usize, &R)| 2.0 * weight.re() * (turn * ((wave * k) % self.samples) as f64).cos();
            self.weights[0].re() + self.weights.iter().enumerate().skip(1).map(pair).sum::<f64>()
        };
        (0..self.samples).map(of_wave).collect()
    }
    /// The wave along its dim of real number `index` of a Fourier transform.
    pub fn wave(&self, index: usize) -> usize {
        index / self.inner % self.samples
    }
    /// Σ|w| over the whole kernel, as it was rounded: the norm of the pass.
    pub fn norm(&self) -> f64 {
        let twice: f64 = self.weights[1..].iter().map(|w| 2.0 * w.re().abs()).sum();
        self.weights[0].re().abs() + twice
    }
    /// Σw² over the whole kernel. The farthest neighbours on both sides may be one and the same.
    pub fn column_squared(&self) -> f64 {
        let one = |(k, w): (usize, &R)| {
            let w = w.re();
            if k > 0 && 2 * k == self.samples { 4.0 * w * w } else { 2.0 * w * w }
        };
        let beside: f64 = self.weights.iter().enumerate().skip(1).map(one).sum();
        self.weights[0].re().powi(2) + beside
    }

    /// The numbers of scratch that [`run`](Self::run) takes on a number of threads.
    pub fn scratch(&self, threads: usize) -> usize {
        self.rows().div_ceil(self.rows_of_task(threads)) * self.scratch_of_task()
    }

    /// `to ← K from`, or `to ← to + K from`. The threads are those of the rayon pool in which it is called.
    pub fn run(&self, from: &[R], to: &mut [R], add: bool, scratch: &mut [R]) {
        let (each, threads) = (self.rows_of_task(threads::count()), threads::count());
        let scratch = &mut scratch[..self.scratch(threads)];
        if threads == 1 {
            return self.rows_from(0, from, to, add, scratch);
        }
        let tasks = to.par_chunks_mut(each * self.inner).zip(scratch.par_chunks_mut(self.scratch_of_task()));
        tasks.enumerate().for_each(|(task, (to, tile))| self.rows_from(task * each, from, to, add, tile));
    }

    fn rows(&self) -> usize {
        self.outer * self.samples
    }
    fn rows_of_task(&self, threads: usize) -> usize {
        if threads == 1 { self.rows() } else { threads::share(self.rows(), threads, 1) }
    }
    fn width(&self) -> usize {
        self.inner.min(WIDTH / size_of::<R>())
    }
    fn height(&self) -> usize {
        (TILE / size_of::<R>() / self.width()).max(LEAST_ROWS).min(self.samples)
    }
    fn scratch_of_task(&self) -> usize {
        (self.height() + 2 * self.radius()) * self.width()
    }

    /// Output rows from `first` on, as many as `to` holds.
    fn rows_from(&self, first: usize, from: &[R], to: &mut [R], add: bool, tile: &mut [R]) {
        let Pass { samples, inner, .. } = *self;
        let count = to.len() / inner;
        let mut done = 0;
        while done < count {
            let (plane, row) = ((first + done) / samples, (first + done) % samples);
            let from = &from[plane * samples * inner..][..samples * inner];
            let rows = row..row + self.height().min(samples - row).min(count - done);
            let to = &mut to[done * inner..][..rows.len() * inner];
            for start in (0..inner).step_by(self.width()) {
                let columns = start..(start + self.width()).min(inner);
                let step = columns.len();
                let tile = &mut tile[..(rows.len() + 2 * self.radius()) * step];
                self.copy(from, rows.clone(), columns, tile);
                // rows that are all columns wide follow one another: they are one long row
                let (length, every) = if step == inner { (to.len(), to.len()) } else { (step, inner) };
                let (weights, tile, out) = (&*self.weights, &*tile, &mut to[start..]);
                Correlate { weights, step, tile, out, length, every, add }.run();
            }
            done += rows.len();
        }
    }

    /// Copies some columns of the rows and of their neighbours on both sides, which follow one another in a circle.
    fn copy(&self, from: &[R], rows: Range<usize>, columns: Range<usize>, tile: &mut [R]) {
        let (radius, samples) = (self.radius(), self.samples);
        let before = radius.saturating_sub(rows.start);
        let behind = (rows.end + radius).saturating_sub(samples);
        let runs = [samples - before..samples, (rows.start + before) - radius..rows.end + radius - behind, 0..behind];
        let mut at = 0;
        for run in runs {
            if columns.len() == self.inner {
                let run = &from[run.start * self.inner..run.end * self.inner];
                tile[at..at + run.len()].copy_from_slice(run);
                at += run.len();
                continue;
            }
            for row in run {
                let row = &from[row * self.inner..][columns.clone()];
                tile[at..at + row.len()].copy_from_slice(row);
                at += row.len();
            }
        }
    }
}
