//! The loops of a dense operator: over its weights, and the numbers of `x` and of `y` that each weight joins.

use super::gemv::{Matrix, Side, gemv};
use crate::scalar::Scalar;

/// Weights of one matrix from which on a call of BLAS is cheaper than plain loops (measured).
const BLAS_FROM: usize = 64;

/// Bytes of matrix rows that stay in the cache between the two halves of the fused normal operator.
const BLOCK_BYTES: usize = 256 << 10;

/// Whether matrices of this size are worth a call of BLAS.
pub(super) fn pays(rows: usize, columns: usize) -> bool {
    rows > 1 && columns > 1 && rows * columns >= BLAS_FROM
}

/// One loop: its turns, and how far each one moves in the weights, in `x` and in `y`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loop {
    pub size: usize,
    pub w: usize,
    pub x: usize,
    pub y: usize,
}

impl Loop {
    fn moves(&self) -> usize {
        self.w + self.x + self.y
    }
    /// The two loops as one, if the turns of the inner one fill a turn of this one.
    fn with_inner(&self, inner: &Loop) -> Option<Loop> {
        let Loop { size, w, x, y } = *inner;
        (self.w == w * size && self.x == x * size && self.y == y * size)
            .then(|| Loop { size: self.size * size, ..*inner })
    }
}

/// The loops, outermost first, those that move least inside.
pub(super) struct Nest {
    outer: Vec<Loop>,
    inner: Inner,
}

enum Inner {
    Line(Loop),
    Matrix { rows: Loop, columns: Loop },
}

impl Nest {
    /// From loops in any order.
    pub fn new(mut loops: Vec<Loop>) -> Self {
        loops.retain(|turn| turn.size != 1);
        loops.sort_by_key(|turn| std::cmp::Reverse(turn.moves()));
        let mut outer: Vec<Loop> = Vec::with_capacity(loops.len());
        for turn in loops {
            match outer.last().and_then(|last| last.with_inner(&turn)) {
                Some(both) => {
                    outer.pop();
                    outer.push(both);
                }
                None => outer.push(turn),
            }
        }
        let rows = outer.iter().rposition(|turn| turn.w > 0 && turn.x == 0);
        let columns = outer.iter().rposition(|turn| turn.w == 1 && turn.y == 0);
        if let (Some(rows), Some(columns)) = (rows, columns)
            && pays(outer[rows].size, outer[columns].size)
            && outer[rows].w >= outer[columns].size
        {
            let inner = Inner::Matrix { rows: outer[rows], columns: outer[columns] };
            outer.remove(rows.max(columns));
            outer.remove(rows.min(columns));
            return Nest { outer, inner };
        }
        let line = outer.pop().unwrap_or(Loop { size: 1, w: 0, x: 0, y: 0 });
        Nest { outer, inner: Inner::Line(line) }
    }

    /// `y += W x`.
    pub fn forward_add<S: Scalar>(&self, weights: &[S], from: &[S], to: &mut [S]) {
        visit(&self.outer, [0; 3], &mut |[w, x, y]| {
            let (weights, from, to) = (&weights[w..], &from[x..], &mut to[y..]);
            match &self.inner {
                Inner::Line(at) => line(at.size, (weights, at.w), (from, at.x), (to, at.y), |weight| weight),
                Inner::Matrix { rows, columns } => {
                    gemv(matrix(weights, rows, columns), Side::Forward, (from, columns.x), (to, rows.y));
                }
            }
        });
    }

    /// `x += Wᴴ y`.
    pub fn adjoint_add<S: Scalar>(&self, weights: &[S], from: &[S], to: &mut [S]) {
        visit(&self.outer, [0; 3], &mut |[w, x, y]| {
            let (weights, from, to) = (&weights[w..], &from[y..], &mut to[x..]);
            match &self.inner {
                Inner::Line(at) => line(at.size, (weights, at.w), (from, at.y), (to, at.x), |weight| weight.conj()),
                Inner::Matrix { rows, columns } => {
                    gemv(matrix(weights, rows, columns), Side::Adjoint, (from, rows.y), (to, columns.x));
                }
            }
        });
    }

    /// The rows that the fused normal operator takes at once, if each matrix has columns of its own: then `WᴴW x` is made
    /// matrix by matrix.
    pub fn rows_at_once<S>(&self) -> Option<usize> {
        let Inner::Matrix { rows, columns } = &self.inner else { return None };
        let of_batch = self.outer.iter().all(|turn| turn.x > 0 && turn.y > 0);
        of_batch.then(|| (BLOCK_BYTES / (columns.size * size_of::<S>())).clamp(1, rows.size))
    }

    /// `out += WᴴW x`, with scratch for [`rows_at_once`](Self::rows_at_once): each row is read once from memory.
    pub fn normal_add<S: Scalar>(&self, weights: &[S], from: &[S], out: &mut [S], data: &mut [S]) {
        let Inner::Matrix { rows, columns } = &self.inner else { return };
        visit(&self.outer, [0; 3], &mut |[w, x, _]| {
            for first in (0..rows.size).step_by(data.len()) {
                let block = Loop { size: data.len().min(rows.size - first), ..*rows };
                let data = &mut data[..block.size];
                let matrix = || matrix(&weights[w + first * rows.w..], &block, columns);
                data.fill(S::default());
                gemv(matrix(), Side::Forward, (&from[x..], columns.x), (data, 1));
                gemv(matrix(), Side::Adjoint, (data, 1), (&mut out[x..], columns.x));
            }
        });
    }
}

fn matrix<'a, S>(weights: &'a [S], rows: &Loop, columns: &Loop) -> Matrix<'a, S> {
    Matrix { entries: weights, rows: rows.size, columns: columns.size, stride: rows.w }
}

/// Calls `body` with the places in the weights, in `x` and in `y` of each turn of all loops.
pub(super) fn visit(loops: &[Loop], [w, x, y]: [usize; 3], body: &mut impl FnMut([usize; 3])) {
    let Some((outer, inner)) = loops.split_first() else { return body([w, x, y]) };
    for turn in 0..outer.size {
        visit(inner, [w + turn * outer.w, x + turn * outer.x, y + turn * outer.y], body);
    }
}

/// The innermost loop, `to += W from`; each slice comes with the distance between its turns.
fn line<S: Scalar>(
    size: usize,
    (weights, dw): (&[S], usize),
    (from, df): (&[S], usize),
    (to, dt): (&mut [S], usize),
    change: impl Fn(S) -> S,
) {
    match (dw, df, dt) {
        (1, 1, 1) => {
            for ((to, from), weight) in to[..size].iter_mut().zip(from).zip(weights) {
                *to += change(*weight) * *from;
            }
        }
        (1, 0, 1) => {
            let from = from[0];
            for (to, weight) in to[..size].iter_mut().zip(weights) {
                *to += change(*weight) * from;
            }
        }
        (0, 1, 1) => {
            let weight = change(weights[0]);
            for (to, from) in to[..size].iter_mut().zip(from) {
                *to += weight * *from;
            }
        }
        (1, 1, 0) => to[0] += weights[..size].iter().zip(from).map(|(weight, from)| change(*weight) * *from).sum(),
        _ => {
            for turn in 0..size {
                to[turn * dt] += change(weights[turn * dw]) * from[turn * df];
            }
        }
    }
}

/// How far a step along each axis moves in a row-major array.
pub(super) fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(size: usize, w: usize, x: usize, y: usize) -> Loop {
        Loop { size, w, x, y }
    }

    #[test]
    fn loops_that_fill_each_other_are_one() {
        // a matrix of 40 rows on a model of 5 × 7
        let nest = Nest::new(vec![turn(40, 35, 0, 1), turn(5, 7, 7, 0), turn(7, 1, 1, 0)]);
        assert!(nest.outer.is_empty());
        let Inner::Matrix { rows, columns } = nest.inner else { panic!("large enough for BLAS") };
        assert_eq!((rows, columns), (turn(40, 35, 0, 1), turn(35, 1, 1, 0)));
    }

    #[test]
    fn what_moves_least_is_innermost() {
        // coils (c=3, p=10) on an image (p=10): element by element, not coil by coil
        let nest = Nest::new(vec![turn(3, 10, 0, 10), turn(10, 1, 1, 1)]);
        assert_eq!(nest.outer, [turn(3, 10, 0, 10)]);
        assert!(matches!(nest.inner, Inner::Line(line) if line == turn(10, 1, 1, 1)));
    }
}
