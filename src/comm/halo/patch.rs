//! A box of numbers that is in two places: inside a part, and inside a part with margins or a message.

use crate::scalar::Scalar;
use crate::space::add;

/// Where a box lies in a buffer: its first number, and how far apart neighbours are along each dim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    start: usize,
    strides: Vec<isize>,
}

impl Place {
    /// A box inside a row-major array that begins at `at`: where it begins along each dim, and in which direction it goes.
    pub fn inside(at: usize, sizes: &[usize], begins: impl Iterator<Item = (usize, isize)>) -> Self {
        let mut place = Place { start: at, strides: strides(sizes) };
        for (stride, (begin, step)) in place.strides.iter_mut().zip(begins) {
            place.start += begin * stride.unsigned_abs();
            *stride *= step;
        }
        place
    }

    /// A box on its own.
    pub fn packed(at: usize, counts: &[usize]) -> Self {
        Place { start: at, strides: strides(counts) }
    }
}

/// How far apart neighbours are along each dim of a row-major array.
fn strides(sizes: &[usize]) -> Vec<isize> {
    (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product::<usize>() as isize).collect()
}

/// The same box in two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    pub counts: Vec<usize>,
    /// Inside a part, or in a message from another rank.
    pub narrow: Place,
    /// Inside a part with margins, or in a message to another rank.
    pub wide: Place,
}

impl Patch {
    /// Copies from the narrow place to the wide one.
    pub fn widen<S: Scalar>(&self, narrow: &[S], wide: &mut [S]) {
        self.each_row(|n, w, count| wide[w..w + count].copy_from_slice(&narrow[n..n + count]));
    }
    /// Copies from the wide place to the narrow one.
    pub fn narrow<S: Scalar>(&self, wide: &[S], narrow: &mut [S]) {
        self.each_row(|n, w, count| narrow[n..n + count].copy_from_slice(&wide[w..w + count]));
    }
    /// Adds what is in the wide place to the narrow one.
    pub fn narrow_add<S: Scalar>(&self, wide: &[S], narrow: &mut [S]) {
        self.each_row(|n, w, count| add(&wide[w..w + count], &mut narrow[n..n + count]));
    }

    /// Visits numbers that are neighbours in both places: where they begin in each, and how many.
    fn each_row(&self, mut visit: impl FnMut(usize, usize, usize)) {
        rows(
            &self.counts,
            (self.narrow.start, &self.narrow.strides),
            (self.wide.start, &self.wide.strides),
            &mut visit,
        );
    }
}

fn rows(counts: &[usize], a: (usize, &[isize]), b: (usize, &[isize]), visit: &mut impl FnMut(usize, usize, usize)) {
    let ((a, a_strides), (b, b_strides)) = (a, b);
    match counts {
        [] => visit(a, b, 1),
        [count] if (a_strides[0], b_strides[0]) == (1, 1) => visit(a, b, *count),
        [count, inner @ ..] => {
            for k in 0..*count as isize {
                let a = (a.wrapping_add_signed(k * a_strides[0]), &a_strides[1..]);
                let b = (b.wrapping_add_signed(k * b_strides[0]), &b_strides[1..]);
                rows(inner, a, b, visit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_copied_mirrored_and_added() {
        // rows 1, 0 and columns 1..3 of a 2×4 array, into the middle of a 4×4 array
        let patch = Patch {
            counts: vec![2, 2],
            narrow: Place::inside(1, &[2, 4], [(1, -1), (1, 1)].into_iter()),
            wide: Place::inside(0, &[4, 4], [(1, 1), (1, 1)].into_iter()),
        };
        let narrow: Vec<f64> = (0..9).map(f64::from).collect(); // the array begins at 1: 1 2 3 4 / 5 6 7 8
        let mut wide = vec![0.0; 16];
        patch.widen(&narrow, &mut wide);
        assert_eq!(wide[4..12], [0.0, 6.0, 7.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
        let mut back = vec![1.0; 9];
        patch.narrow_add(&wide, &mut back);
        assert_eq!(back, [1.0, 1.0, 3.0, 4.0, 1.0, 1.0, 7.0, 8.0, 1.0]);
        patch.narrow(&wide, &mut back);
        assert_eq!(back, [1.0, 1.0, 2.0, 3.0, 1.0, 1.0, 6.0, 7.0, 1.0]);
    }
}
