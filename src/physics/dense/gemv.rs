//! The product of a matrix, or its adjoint, with a vector, by BLAS.

use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE};
use ndarray_linalg as _; // links the system's OpenBLAS, whose gemv is called here

use crate::scalar::Scalar;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// `to += M from`.
    Forward,
    /// `to += Mᴴ from`.
    Adjoint,
}

/// Rows of entries that begin `stride` apart.
pub(super) struct Matrix<'a, S> {
    pub entries: &'a [S],
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
}

/// `to += M from` or `Mᴴ from`; each vector comes with the distance between its elements.
pub(super) fn gemv<S: Scalar>(
    matrix: Matrix<'_, S>,
    side: Side,
    (from, from_step): (&[S], usize),
    (to, to_step): (&mut [S], usize),
) {
    let Matrix { entries, rows, columns, stride } = matrix;
    let (reads, writes) = if side == Side::Forward { (columns, rows) } else { (rows, columns) };
    let fits = |len: usize, count: usize, step: usize, last: usize| count > 0 && len >= (count - 1) * step + last;
    assert!(stride >= columns && fits(entries.len(), rows, stride, columns));
    assert!(
        from_step > 0 && to_step > 0 && fits(from.len(), reads, from_step, 1) && fits(to.len(), writes, to_step, 1)
    );
    let counts = [rows, columns, stride, from_step, to_step];
    assert!(counts.iter().all(|count| *count <= i32::MAX as usize), "BLAS counts in C ints");
    let [m, n, lead, from_step, to_step] = counts.map(|count| count as i32);
    let one = S::from_f64(1.0);
    let layout = CBLAS_LAYOUT::CblasRowMajor;
    let transpose = match side {
        Side::Forward => CBLAS_TRANSPOSE::CblasNoTrans,
        Side::Adjoint if S::IS_COMPLEX => CBLAS_TRANSPOSE::CblasConjTrans,
        Side::Adjoint => CBLAS_TRANSPOSE::CblasTrans,
    };
    let (a, x, y) = (entries.as_ptr(), from.as_ptr(), to.as_mut_ptr());
    /// All four have the same arguments, but for the factors: real ones come by value, complex ones by pointer.
    macro_rules! call {
        ($gemv:ident, $factor:expr) => {
            cblas_sys::$gemv(
                layout,
                transpose,
                m,
                n,
                $factor,
                a.cast(),
                lead,
                x.cast(),
                from_step,
                $factor,
                y.cast(),
                to_step,
            )
        };
    }
    // SAFETY: the pointers cover what the counts and steps reach (asserted above); each arm casts them to the very type that
    // S is, which its name tells (the trait is sealed), complex being pairs of reals on both sides.
    unsafe {
        match S::NAME {
            "f32" => call!(cblas_sgemv, one.re() as f32),
            "f64" => call!(cblas_dgemv, one.re()),
            "complex_f32" => call!(cblas_cgemv, (&raw const one).cast()),
            _ => call!(cblas_zgemv, (&raw const one).cast()),
        }
    }
}
