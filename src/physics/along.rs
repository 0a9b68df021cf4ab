//! Small sparse matrices along one dim of an array, the same for all others: differences, resampling, wavelets.

use rayon::prelude::*;

use super::blur::lanes::Taps;
use crate::scalar::Real;
use crate::threads;

/// From so many numbers in a row on, registers are worth their call.
const ROW: usize = 8;

/// One matrix, and the sizes around the dim that it acts on; complex numbers count to `inner`.
#[derive(Debug, Clone)]
pub(super) struct Along<R> {
    outer: usize,
    inner: usize,
    forward: Rows<R>,
    adjoint: Rows<R>,
}

/// The entries of a matrix row by row.
#[derive(Debug, Clone)]
struct Rows<R> {
    columns: usize,
    /// Where the entries of each row begin, and the end of the last.
    begins: Vec<usize>,
    weights: Vec<R>,
    /// Columns, times the numbers from one to the next.
    offsets: Vec<usize>,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    Forward,
    Adjoint,
}

impl<R: Real> Rows<R> {
    fn new(columns: usize, inner: usize, rows: &[Vec<(usize, f64)>]) -> Self {
        let mut made = Rows { columns, begins: vec![0], weights: Vec::new(), offsets: Vec::new() };
        for row in rows {
            let mut row = row.clone();
            row.sort_unstable_by_key(|(column, _)| *column);
            for (column, weight) in row {
                made.weights.push(R::from_f64(weight));
                made.offsets.push(column * inner);
            }
            made.begins.push(made.weights.len());
        }
        made
    }
    fn count(&self) -> usize {
        self.begins.len() - 1
    }

    /// Rows of the result from `first` on, counted over all of `outer`.
    fn run<const ADD: bool>(&self, inner: usize, first: usize, from: &[R], to: &mut [R]) {
        let count = self.count();
        for (row, to) in (first..).zip(to.chunks_exact_mut(inner)) {
            let (outer, row) = (row / count, row % count);
            let entries = self.begins[row]..self.begins[row + 1];
            let (weights, offsets) = (&self.weights[entries.clone()], &self.offsets[entries]);
            let from = &from[outer * self.columns * inner..][..self.columns * inner];
            if inner >= ROW {
                Taps { weights, offsets, from, out: to, add: ADD }.run();
                continue;
            }
            for (at, to) in to.iter_mut().enumerate() {
                let mut sum = if ADD { *to } else { R::default() };
                for (weight, offset) in weights.iter().zip(offsets) {
                    sum += *weight * from[offset + at];
                }
                *to = sum;
            }
        }
    }
}

impl<R: Real> Along<R> {
    /// From the entries of each row, as pairs of column and weight; those of one column are added.
    pub fn new([outer, columns, inner]: [usize; 3], rows: Vec<Vec<(usize, f64)>>) -> Self {
        let mut rows = rows;
        let mut transposed = vec![Vec::new(); columns];
        for (place, row) in rows.iter_mut().enumerate() {
            row.sort_unstable_by_key(|(column, _)| *column);
            row.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0.0 };
                same
            });
            row.iter().for_each(|(column, weight)| transposed[*column].push((place, *weight)));
        }
        let adjoint = Rows::new(rows.len(), inner, &transposed);
        Along { outer, inner, forward: Rows::new(columns, inner, &rows), adjoint }
    }

    fn rows(&self, side: Side) -> &Rows<R> {
        if side == Side::Forward { &self.forward } else { &self.adjoint }
    }
    /// The numbers that it makes.
    pub fn makes(&self, side: Side) -> usize {
        self.outer * self.rows(side).count() * self.inner
    }
    /// Bytes of both matrices.
    pub fn bytes(&self) -> usize {
        let of =
            |rows: &Rows<R>| size_of_val(&*rows.begins) + size_of_val(&*rows.weights) + size_of_val(&*rows.offsets);
        of(&self.forward) + of(&self.adjoint)
    }
    /// Products of one application.
    pub fn products(&self) -> f64 {
        (self.forward.weights.len() * self.outer * self.inner) as f64
    }
    /// Σ w² of each column.
    pub fn column_squares(&self) -> Vec<f64> {
        let squares =
            |entries: &[usize]| self.adjoint.weights[entries[0]..entries[1]].iter().map(|w| w.re().powi(2)).sum();
        self.adjoint.begins.windows(2).map(squares).collect()
    }
    /// `‖M‖₁ ‖M‖_∞`, which `‖M‖²` does not exceed.
    pub fn norm_squared_bound(&self) -> f64 {
        let largest = |rows: &Rows<R>| {
            let sum =
                |entries: &[usize]| rows.weights[entries[0]..entries[1]].iter().map(|w| w.re().abs()).sum::<f64>();
            rows.begins.windows(2).map(sum).fold(0.0, f64::max)
        };
        largest(&self.forward) * largest(&self.adjoint)
    }
    /// Whether no weight is negative.
    pub fn is_non_negative(&self) -> bool {
        self.forward.weights.iter().all(|weight| weight.re() >= 0.0)
    }

    /// `to ← M from`, or `to ← to + M from`; or the same with the transposed matrix. The threads are those of the rayon pool in
    /// which it is called; they change no bit.
    pub fn run(&self, side: Side, from: &[R], to: &mut [R], add: bool) {
        let (rows, inner) = (self.rows(side), self.inner);
        let run = |first: usize, to: &mut [R]| match add {
            true => rows.run::<true>(inner, first, from, to),
            false => rows.run::<false>(inner, first, from, to),
        };
        let count = threads::count();
        if count == 1 || to.len() < 1 << 14 {
            return run(0, to);
        }
        let each = threads::share(to.len() / inner, count, 1);
        to.par_chunks_mut(each * inner).enumerate().for_each(|(task, to)| run(task * each, to));
    }
}

/// Matrices along several dims, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Product<R>(pub Vec<Along<R>>);

impl<R: Real> Product<R> {
    /// Numbers of scratch, for either way.
    pub fn scratch(&self) -> usize {
        let made = [Side::Forward, Side::Adjoint].map(|side| self.0.iter().map(|along| along.makes(side)).max());
        if self.0.len() > 1 { made.into_iter().flatten().max().unwrap_or(0) } else { 0 }
    }

    /// `to ← M from`, or `to ← to + M from`; with two pieces of scratch. The adjoint takes the matrices in reverse.
    pub fn run(&self, side: Side, from: &[R], to: &mut [R], add: bool, scratch: [&mut [R]; 2]) {
        let count = self.0.len();
        let along = |step: usize| &self.0[if side == Side::Forward { step } else { count - 1 - step }];
        let [mut made, mut next] = scratch;
        let mut len = None;
        for step in 0..count {
            let along = along(step);
            let source = len.map_or(from, |len| &made[..len]);
            if step + 1 == count {
                along.run(side, source, to, add);
            } else {
                let makes = along.makes(side);
                along.run(side, source, &mut next[..makes], false);
                std::mem::swap(&mut made, &mut next);
                len = Some(makes);
            }
        }
        if count == 0 {
            if add { crate::space::add(from, to) } else { to.copy_from_slice(from) }
        }
    }
}

/// The sizes before, of and after a dim; complex numbers count to the last.
pub(super) fn around(sizes: &[usize], axis: usize, parts: usize) -> [usize; 3] {
    let product = |sizes: &[usize]| sizes.iter().product::<usize>();
    [product(&sizes[..axis]), sizes[axis], product(&sizes[axis + 1..]) * parts]
}
