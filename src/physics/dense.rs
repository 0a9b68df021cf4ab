//! A dense matrix, applied by BLAS.

use std::path::PathBuf;

use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE};
use ndarray::Array2;
use ndarray_linalg as _; // links the system's OpenBLAS, whose gemv is called here
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// Bytes of matrix rows that stay in the cache between the two halves of the fused normal operator.
const BLOCK_BYTES: usize = 256 << 10;

/// A matrix in an npy file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DenseParams {
    /// An npy file in the data folder: rows × the number of elements of the model.
    pub path: PathBuf,
}

impl Physics for DenseParams {
    const SUMMARY: &'static str = "y = M x, with a matrix from an npy file";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["row"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let (sizes, columns) = (setting.files.sizes(&self.path)?, setting.model.len());
        match sizes[..] {
            [rows, got] if got == columns => Ok(Shape::new([("row", rows)])),
            _ => Err(Fault::new(format!(
                "`path`: {} has sizes {sizes:?}, expected [rows, {columns}] for the model {}",
                self.path.display(),
                setting.model
            ))
            .hint("a matrix has one row for each measurement and one column for each number of the model")),
        }
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let len = tile.shape().len() * setting.model.len();
        Ok(Needs { bytes: (len * size_of::<S>()) as u64, scratch_bytes: 0, cost: 2.0 * len as f64 })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let columns = setting.model.len();
        let matrix = Shape::new([("row", tile.of().len()), ("column", columns)]);
        let part = Tile::whole(&matrix).with(0, tile.selections()[0]);
        let numbers = setting.files.read(&self.path, &part)?.into_scalars()?;
        Ok(Box::new(Dense::from_rows(setting.model.clone(), numbers)?))
    }
}

/// `y = M x` with a dense matrix; the adjoint is `x = Mᴴ y`.
///
/// Collective: no. Cost: 2 flops per entry (8 for complex ones); the normal operator reads the matrix once. Memory: the
/// matrix. Faults when built: a row length that is not the model's.
///
/// ```
/// use ndarray::array;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::Dense};
/// let matrix = Dense::new(Shape::new([("x", 3)]), array![[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]).unwrap();
/// let mut y = [0.0; 2];
/// matrix.forward(&[1.0, 1.0, 1.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [6.0, 1.0]);
/// ```
pub struct Dense<S> {
    domain: Shape,
    range: Shape,
    /// Row-major.
    entries: Vec<S>,
}

impl<S: Scalar> Dense<S> {
    /// A matrix on vectors of `domain`; the measurements have the one dim `row`.
    pub fn new(domain: Shape, matrix: Array2<S>) -> Result<Self, Fault> {
        let columns = matrix.ncols();
        if columns != domain.len() {
            let want = domain.len();
            return Err(Fault::new(format!("dense: expected rows of {want} entries for {domain}, got {columns}")));
        }
        let (entries, _) = matrix.as_standard_layout().into_owned().into_raw_vec_and_offset();
        Self::from_rows(domain, entries)
    }

    fn from_rows(domain: Shape, entries: Vec<S>) -> Result<Self, Fault> {
        if domain.len() == 0 || entries.is_empty() || !entries.len().is_multiple_of(domain.len()) {
            return Err(Fault::new(format!("dense: {} entries do not make rows for {domain}", entries.len())));
        }
        let range = Shape::new([("row", entries.len() / domain.len())]);
        Ok(Dense { domain, range, entries })
    }
}

impl<S: Scalar> LinearOperator<S> for Dense<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        gemv(&self.entries, x.len(), Side::Forward, x, y, false);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        gemv(&self.entries, x.len(), Side::Adjoint, y, x, false);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        gemv(&self.entries, x.len(), Side::Adjoint, y, x, true);
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let columns = x.len();
        let rows = (BLOCK_BYTES / size_of_val(x)).clamp(1, self.range.len());
        let mut data = work.take::<S>("rows of M x", rows);
        for block in self.entries.chunks(rows * columns) {
            let data = &mut data[..block.len() / columns];
            gemv(block, columns, Side::Forward, x, data, false);
            gemv(block, columns, Side::Adjoint, data, out, true);
        }
        work.give("rows of M x", data);
        Ok(())
    }
    fn structure(&self) -> Structure {
        let non_negative = self.entries.iter().all(|entry| entry.im() == 0.0 && entry.re() >= 0.0);
        Structure { non_negative, ..Structure::default() }
    }
    /// The smaller of ‖M‖²_F and ‖M‖₁ ‖M‖_∞; both bound the squared spectral norm.
    fn norm_squared_bound(&self) -> Option<f64> {
        let columns = self.domain.len();
        let (mut frobenius, mut widest_row) = (0.0, 0.0_f64);
        let mut column_sums = vec![0.0; columns];
        for row in self.entries.chunks(columns) {
            let mut row_sum = 0.0;
            for (entry, column_sum) in row.iter().zip(&mut column_sums) {
                let squared = entry.modulus_squared();
                frobenius += squared;
                row_sum += squared.sqrt();
                *column_sum += squared.sqrt();
            }
            widest_row = widest_row.max(row_sum);
        }
        let widest_column = column_sums.iter().copied().fold(0.0, f64::max);
        Some(frobenius.min(widest_column * widest_row))
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let mut squares = vec![0.0; self.domain.len()];
        for row in self.entries.chunks(squares.len()) {
            squares.iter_mut().zip(row).for_each(|(square, entry)| *square += entry.modulus_squared());
        }
        Some(squares)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// `to = M from`.
    Forward,
    /// `to = Mᴴ from`.
    Adjoint,
}

/// `to ← M from` or `Mᴴ from`, or added to what `to` holds. The lengths belong together: the checked call saw to it.
fn gemv<S: Scalar>(entries: &[S], columns: usize, side: Side, from: &[S], to: &mut [S], add: bool) {
    let rows = entries.len() / columns;
    let (reads, writes) = if side == Side::Forward { (columns, rows) } else { (rows, columns) };
    assert!(entries.len() == rows * columns && from.len() == reads && to.len() == writes);
    assert!(rows <= i32::MAX as usize && columns <= i32::MAX as usize, "BLAS counts in C ints");
    let (m, n) = (rows as i32, columns as i32);
    let (one, beta) = (S::from_f64(1.0), S::from_f64(if add { 1.0 } else { 0.0 }));
    let layout = CBLAS_LAYOUT::CblasRowMajor;
    let transpose = match side {
        Side::Forward => CBLAS_TRANSPOSE::CblasNoTrans,
        Side::Adjoint if S::IS_COMPLEX => CBLAS_TRANSPOSE::CblasConjTrans,
        Side::Adjoint => CBLAS_TRANSPOSE::CblasTrans,
    };
    if !add {
        to.fill(S::default()); // a reference BLAS multiplies what is there by zero, and NaN·0 is NaN
    }
    let (a, x, y) = (entries.as_ptr(), from.as_ptr(), to.as_mut_ptr());
    // SAFETY: the pointers cover rows·columns, `reads` and `writes` elements (asserted above); each arm casts them to the
    // very type that S is, which its name tells (the trait is sealed), complex being pairs of reals on both sides.
    unsafe {
        match S::NAME {
            "f32" => cblas_sys::cblas_sgemv(
                layout,
                transpose,
                m,
                n,
                one.re() as f32,
                a.cast(),
                n,
                x.cast(),
                1,
                beta.re() as f32,
                y.cast(),
                1,
            ),
            "f64" => cblas_sys::cblas_dgemv(
                layout,
                transpose,
                m,
                n,
                one.re(),
                a.cast(),
                n,
                x.cast(),
                1,
                beta.re(),
                y.cast(),
                1,
            ),
            "complex_f32" => {
                let (one, beta) = (&raw const one, &raw const beta);
                cblas_sys::cblas_cgemv(
                    layout,
                    transpose,
                    m,
                    n,
                    one.cast(),
                    a.cast(),
                    n,
                    x.cast(),
                    1,
                    beta.cast(),
                    y.cast(),
                    1,
                );
            }
            _ => {
                let (one, beta) = (&raw const one, &raw const beta);
                cblas_sys::cblas_zgemv(
                    layout,
                    transpose,
                    m,
                    n,
                    one.cast(),
                    a.cast(),
                    n,
                    x.cast(),
                    1,
                    beta.cast(),
                    y.cast(),
                    1,
                );
            }
        }
    }
}
