//! The product of two real matrices, by BLAS.

use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE};
use ndarray_linalg as _; // links the OpenBLAS whose gemm is called here

use crate::scalar::Real;

/// A row-major matrix in memory, as it is or turned.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, R> {
    pub entries: &'a [R],
    /// The length of its rows in memory.
    pub width: usize,
    pub turned: bool,
}

impl<R> Matrix<'_, R> {
    /// Rows and columns as the product sees them.
    fn size(&self) -> [usize; 2] {
        let rows = self.entries.len() / self.width;
        if self.turned { [self.width, rows] } else { [rows, self.width] }
    }
    fn transpose(&self) -> CBLAS_TRANSPOSE {
        if self.turned { CBLAS_TRANSPOSE::CblasTrans } else { CBLAS_TRANSPOSE::CblasNoTrans }
    }
}

/// `c = a b`, or `c += a b`.
pub(super) fn gemm<R: Real>(a: Matrix<R>, b: Matrix<R>, add: bool, c: &mut [R]) {
    let ([m, k], [inner, n]) = (a.size(), b.size());
    assert!(k == inner && m * n == c.len() && [m, n, k].iter().all(|count| (1..i32::MAX as usize).contains(count)));
    let [m, n, k, lead_a, lead_b] = [m, n, k, a.width, b.width].map(|count| count as i32);
    let (layout, beta) = (CBLAS_LAYOUT::CblasRowMajor, if add { 1.0 } else { 0.0 });
    let (of_a, of_b) = (a.transpose(), b.transpose());
    let (a, b, c) = (a.entries.as_ptr(), b.entries.as_ptr(), c.as_mut_ptr());
    // SAFETY: the sizes are those of the slices (asserted above); each arm casts to the very type that R is, which its name
    // tells (the trait is sealed).
    unsafe {
        match R::NAME {
            "f32" => cblas_sys::cblas_sgemm(
                layout,
                of_a,
                of_b,
                m,
                n,
                k,
                1.0,
                a.cast(),
                lead_a,
                b.cast(),
                lead_b,
                beta as f32,
                c.cast(),
                n,
            ),
            _ => cblas_sys::cblas_dgemm(
                layout,
                of_a,
                of_b,
                m,
                n,
                k,
                1.0,
                a.cast(),
                lead_a,
                b.cast(),
                lead_b,
                beta,
                c.cast(),
                n,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2};

    use super::*;

    #[test]
    fn products_are_those_of_ndarray() {
        fn check<R: Real>() {
            let number = |k: usize| R::from_f64(((k * 7) % 11) as f64 - 5.0);
            let entries: Vec<R> = (0..60).map(number).collect();
            let view = |rows, width| ArrayView2::from_shape((rows, width), &entries[..rows * width]).unwrap();
            for turned_a in [false, true] {
                for turned_b in [false, true] {
                    let a = if turned_a { view(4, 3).reversed_axes() } else { view(3, 4) };
                    let b = if turned_b { view(5, 4).reversed_axes() } else { view(4, 5) };
                    let want: Array2<R> = a.dot(&b);
                    let a = Matrix { entries: &entries[..12], width: if turned_a { 3 } else { 4 }, turned: turned_a };
                    let b = Matrix { entries: &entries[..20], width: if turned_b { 4 } else { 5 }, turned: turned_b };
                    let mut c = vec![R::from_f64(f64::NAN); 15];
                    gemm(a, b, false, &mut c);
                    assert_eq!(c, want.iter().copied().collect::<Vec<_>>());
                    gemm(a, b, true, &mut c);
                    assert_eq!(c, want.iter().map(|entry| *entry + *entry).collect::<Vec<_>>());
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
