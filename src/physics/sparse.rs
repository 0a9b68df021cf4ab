//! A sparse matrix, in compressed rows.
//!
//! It is held by the crate `sprs`, which makes it from entries in any order, adds those of one place, and cuts rows. (Of the
//! maintained crates it is the one without a linear algebra of its own beside ours: `nalgebra-sparse` brings nalgebra, `faer` its
//! matrices.) The products are loops over rows here: one of them does `AᴴA x` with one pass over the matrix.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sprs::{CsMatI, TriMatI};

use super::{BoxedOperator, Cuts, Needs, Physics, Setting, threads};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Numbers, Ranges, Shape, Tile};

/// A sparse matrix in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SparseParams {
    /// A file in the data folder, with as many columns as the model has numbers: Matrix Market in coordinate format (`.mtx`,
    /// `.mtx.gz`), or what `scipy.sparse.save_npz` writes.
    pub path: PathBuf,
}

/// What the header of a file says of a sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparseSizes {
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
    /// The number of entries, or more.
    pub entries: usize,
    /// Whether entries are complex.
    pub is_complex: bool,
}

/// Entries of a sparse matrix in any order; those of one place count together.
#[derive(Debug, Clone, PartialEq)]
pub struct Triplets {
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
    /// Row and column of each entry.
    pub places: Vec<[usize; 2]>,
    /// As many as places.
    pub values: Numbers,
}

impl Physics for SparseParams {
    const SUMMARY: &'static str = "y = M x, with a sparse matrix from Matrix Market (.mtx, .mtx.gz) or scipy's npz";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["row"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let SparseSizes { rows, columns, .. } = setting.files.sparse_sizes(&self.path)?;
        if columns != setting.model.len() || rows == 0 {
            return Err(Fault::new(format!(
                "`path`: {} is a matrix of {rows} × {columns}, expected {} columns for the model {}",
                self.path.display(),
                setting.model.len(),
                setting.model
            ))
            .hint("a matrix has one row for each measurement and one column for each number of the model"));
        }
        Ok(Shape::new([("row", rows)]))
    }
    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let SparseSizes { rows, entries, is_complex, .. } = setting.files.sparse_sizes(&self.path)?;
        if is_complex && !S::IS_COMPLEX {
            let text = format!("`path`: {} holds complex numbers, model.scalar is {}", self.path.display(), S::NAME);
            return Err(Fault::new(text).hint("set model.scalar to \"complex_f32\" or \"complex_f64\""));
        }
        // before the file is read, entries are thought of as evenly spread over rows
        let of_part = entries as f64 * tile.shape().len() as f64 / rows.max(1) as f64;
        let bytes = of_part * (size_of::<S>() + size_of::<u32>()) as f64;
        let begins = (tile.shape().len() + 1) * size_of::<usize>();
        Ok(Needs { bytes: bytes as u64 + begins as u64, scratch_bytes: 0, cost: 2.0 * of_part })
    }
    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let triplets = setting.files.read_sparse(&self.path, tile.selections()[0])?;
        Ok(Box::new(Sparse::<S>::new(setting.model.clone(), triplets)?))
    }
}

/// `y = M x` with a sparse matrix; the adjoint has the conjugate entries.
///
/// Shapes: the model, as many columns as it has numbers; (row). Collective: no. Cost: 2 flops for each entry (8 for complex
/// ones); the normal operator reads the matrix once. Memory: each entry, 4 bytes more for its column, 8 for each row. Threads:
/// the forward shares rows among those of the rayon pool in which it is called; adjoint and normal add to all of `x` and
/// are done by one (cut the rows, and let lanes do several parts at once). Faults when built: a number of columns that is
/// not that of the model; entries outside.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Sparse, Triplets}, space::Numbers};
/// let values = Numbers::F64(vec![2.0, 3.0, 1.0]);
/// let entries = Triplets { rows: 2, columns: 3, places: vec![[0, 2], [1, 0], [0, 2]], values };
/// let sparse = Sparse::<f64>::new(Shape::new([("x", 3)]), entries).unwrap();
/// let mut y = [0.0; 2];
/// sparse.forward(&[1.0, 1.0, 10.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [30.0, 3.0]);
/// ```
pub struct Sparse<S> {
    domain: Shape,
    range: Shape,
    matrix: CsMatI<S, u32, usize>,
}

impl<S: Scalar> Sparse<S> {
    /// A matrix from its entries; the measurements have the one dim `row`.
    pub fn new(domain: Shape, triplets: Triplets) -> Result<Self, Fault> {
        let Triplets { rows, columns, places, values } = triplets;
        let wrong = |text: String| Err(Fault::new(format!("sparse: {text}")));
        if columns != domain.len() {
            return wrong(format!("expected {} columns for {domain}, got {columns}", domain.len()));
        }
        if places.len() != values.len() || places.iter().any(|[row, column]| *row >= rows || *column >= columns) {
            return wrong(format!("{} entries do not fit {rows} rows and {columns} columns", values.len()));
        }
        if rows.max(columns) > u32::MAX as usize {
            return wrong(format!("{rows} rows and {columns} columns, expected at most {}", u32::MAX));
        }
        let values = values.into_scalars::<S>()?;
        let of = |axis: usize| places.iter().map(|place| place[axis] as u32).collect();
        let matrix = TriMatI::from_triplets((rows, columns), of(0), of(1), values).to_csr();
        Ok(Sparse { domain, range: Shape::new([("row", rows)]), matrix })
    }

    /// Columns and entries of each row.
    fn rows(&self) -> impl Iterator<Item = (&[u32], &[S])> {
        (0..self.range.len()).map(|row| self.row(row))
    }
    fn row(&self, row: usize) -> (&[u32], &[S]) {
        let begins = self.matrix.indptr();
        let run = begins.outer_inds_sz(row);
        (&self.matrix.indices()[run.clone()], &self.matrix.data()[run])
    }

    /// Sums of a function of the entries of each column.
    fn column_sums(&self, of: impl Fn(S) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.domain.len()];
        for (column, entry) in self.matrix.indices().iter().zip(self.matrix.data()) {
            sums[*column as usize] += of(*entry);
        }
        sums
    }
}

/// A row of the matrix times `x`.
fn product<S: Scalar>((columns, entries): (&[u32], &[S]), x: &[S]) -> S {
    columns.iter().zip(entries).map(|(column, entry)| *entry * x[*column as usize]).sum()
}

/// `x += y` times the conjugate of a row of the matrix.
fn add_row<S: Scalar>((columns, entries): (&[u32], &[S]), y: S, x: &mut [S]) {
    for (column, entry) in columns.iter().zip(entries) {
        x[*column as usize] += entry.conj() * y;
    }
}

impl<S: Scalar> LinearOperator<S> for Sparse<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let count = threads::count();
        if count == 1 {
            y.iter_mut().zip(self.rows()).for_each(|(y, row)| *y = product(row, x));
            return Ok(());
        }
        let each = threads::share(y.len(), count, 1);
        y.par_chunks_mut(each).enumerate().for_each(|(task, y)| {
            y.iter_mut().enumerate().for_each(|(row, y)| *y = product(self.row(task * each + row), x));
        });
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        y.iter_mut().zip(self.rows()).for_each(|(y, row)| *y += product(row, x));
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        y.iter().zip(self.rows()).for_each(|(y, row)| add_row(row, *y, x));
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        self.rows().for_each(|row| add_row(row, product(row, x), out));
        Ok(())
    }
    fn structure(&self) -> Structure {
        let non_negative = self.matrix.data().iter().all(|entry| entry.im() == 0.0 && entry.re() >= 0.0);
        Structure { non_negative, ..Structure::default() }
    }
    /// `‖M‖₁ ‖M‖_∞`.
    fn norm_squared_bound(&self) -> Option<f64> {
        let size = |entry: S| entry.modulus_squared().sqrt();
        let columns = self.column_sums(size).into_iter().fold(0.0, f64::max);
        let rows = self.rows().map(|(_, entries)| entries.iter().map(|entry| size(*entry)).sum()).fold(0.0, f64::max);
        Some(columns * rows)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(self.column_sums(|entry| entry.modulus_squared()))
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        dim == "row"
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let rows = ranges.get("row").unwrap_or(0..self.range.len());
        let matrix = self.matrix.slice_outer(rows.clone()).to_owned();
        Ok(Arc::new(Sparse { domain: self.domain.clone(), range: Shape::new([("row", rows.len())]), matrix }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Apply, part_of};
    use crate::random::Stream;
    use crate::testing::{dot_test, structure_test};

    /// One entry in four of a matrix, some of them twice; and the same as a dense matrix.
    fn random<S: Scalar>(rows: usize, columns: usize) -> (Triplets, Vec<S>) {
        let (choice, mut numbers) = (Stream::new(4, 1), vec![num_complex::Complex::<f64>::default(); rows * columns]);
        Stream::new(4, 2).fill_normal(0, &mut numbers);
        let mut dense = vec![S::default(); rows * columns];
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for at in (0..rows * columns).rev().filter(|at| choice.uniform(*at as u64) < 0.25) {
            for _ in 0..1 + at % 2 {
                places.push([at / columns, at % columns]);
                values.push(if S::IS_COMPLEX { numbers[at] } else { numbers[at].re.into() });
                dense[at] += S::from_parts(numbers[at].re, numbers[at].im);
            }
        }
        let values = match S::IS_COMPLEX {
            true => Numbers::ComplexF64(values),
            false => Numbers::F64(values.into_iter().map(|value| value.re).collect()),
        };
        (Triplets { rows, columns, places, values }, dense)
    }

    #[test]
    fn it_is_the_dense_matrix_whole_and_in_parts() {
        fn check<S: Scalar>(tolerance: f64) {
            let (rows, columns) = (17, 12);
            let (triplets, dense) = random::<S>(rows, columns);
            let domain = Shape::new([("y", 3), ("x", 4)]);
            let sparse: SharedOperator<S> = Arc::new(Sparse::new(domain, triplets).unwrap());
            assert!(dot_test(&sparse, 1).unwrap().passes::<S>());
            structure_test(&sparse, 1).unwrap();
            let mut x = vec![S::default(); columns];
            Stream::new(4, 3).fill_normal(0, &mut x);
            let want: Vec<S> =
                dense.chunks(columns).map(|row| row.iter().zip(&x).map(|(a, x)| *a * *x).sum()).collect();
            for (part, rows) in
                [(sparse.clone(), 0..17), (part_of(&sparse, &Ranges::new([("row", 5..11)])).unwrap(), 5..11)]
            {
                for threads in [1, 2] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut y = vec![S::from_f64(f64::NAN); rows.len()];
                    pool.install(|| part.forward(&x, &mut y, &mut Work::default())).unwrap();
                    let close = |(a, b): (&S, &S)| (*a - *b).modulus_squared().sqrt() < tolerance;
                    assert!(y.iter().zip(&want[rows.clone()]).all(close));
                }
            }
            let diagonal = sparse.normal_diagonal().unwrap();
            let squares: f64 = (0..rows).map(|row| dense[row * columns + 5].modulus_squared()).sum();
            assert!((diagonal[5] - squares).abs() < tolerance);
        }
        check::<f64>(1e-13);
        check::<num_complex::Complex<f32>>(1e-5);
    }

    #[test]
    fn entries_must_fit() {
        let triplets =
            |places: Vec<[usize; 2]>| Triplets { rows: 2, columns: 3, places, values: Numbers::F64(vec![1.0]) };
        let fault =
            |domain: usize, places| Sparse::<f64>::new(Shape::new([("x", domain)]), triplets(places)).err().unwrap();
        assert!(fault(4, vec![[0, 0]]).text.contains("expected 4 columns for (x=4), got 3"));
        assert!(fault(3, vec![[2, 0]]).text.contains("do not fit 2 rows and 3 columns"));
        assert!(fault(3, vec![]).text.contains("do not fit"));
        let complex = Triplets { values: Numbers::ComplexF64(vec![Default::default()]), ..triplets(vec![[0, 0]]) };
        assert!(Sparse::<f64>::new(Shape::new([("x", 3)]), complex).err().unwrap().text.contains("complex"));
    }
}
