//! A dense operator: a matrix, or an array of weights with named dims, applied by BLAS where that pays.

mod gemv;
mod indices;
mod nest;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewD, IxDyn, Slice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::algebra::range_of_normal;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape, Tile};
use indices::{Index, Indices};
use nest::{Nest, visit};

/// A matrix in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DenseParams {
    /// An array in the data folder (npy, npz, cfl, TIFF, …): rows × the number of elements of the model.
    pub path: PathBuf,
}

impl Physics for DenseParams {
    const SUMMARY: &'static str = "y = M x, with a matrix from a file";
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

/// `y[b, m] = Σ_n W[b, m, n] x[b, n]` with an array of weights; the adjoint has the conjugate weights.
///
/// The names of the dims say what is summed: one of `x` and the weights is (n), one of `y` and the weights is a row index
/// (m), one of all three is a batch index (b), and one of `x` and `y` alone is broadcast: all its samples get the same
/// weights. A plain matrix has rows and columns only.
///
/// Collective: no. Cost: 2 flops per weight and broadcast sample (8 for complex ones); the normal operator reads the weights
/// once where it has one matrix for each batch index. Memory: the weights, which parts along broadcast dims share. Faults
/// when built: sizes that do not fit; a dim that is in one place only.
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
    /// Row-major in the order of those indices that have weights.
    weights: Arc<Vec<S>>,
    indices: Indices,
    nest: Nest,
    /// It is a Gram matrix.
    self_adjoint: bool,
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

    pub(super) fn from_rows(domain: Shape, entries: Vec<S>) -> Result<Self, Fault> {
        if domain.len() == 0 || entries.is_empty() || !entries.len().is_multiple_of(domain.len()) {
            return Err(Fault::new(format!("dense: {} entries do not make rows for {domain}", entries.len())));
        }
        let rows = entries.len() / domain.len();
        let indices = Indices::of_matrix(rows, &domain);
        Ok(Self::from_indices(domain, Shape::new([("row", rows)]), Arc::new(entries), indices))
    }

    /// An array of weights on vectors of `domain`, with the dims of `y` by name. A dim of the weights of size 1 is broadcast
    /// where `x` has more samples.
    ///
    /// ```
    /// use stackphys::{Shape, operator::{Apply, Work}, physics::Dense};
    /// // two coils see one image: y[c, x] = W[c, x] x[x]
    /// let coils = Shape::new([("c", 2), ("x", 3)]);
    /// let weights = vec![1.0, 1.0, 1.0, 0.0, 1.0, 2.0];
    /// let seen = Dense::named(coils, weights, Shape::new([("x", 3)]), &["c", "x"]).unwrap();
    /// let mut y = [0.0; 6];
    /// seen.forward(&[5.0, 6.0, 7.0], &mut y, &mut Work::default()).unwrap();
    /// assert_eq!(y, [5.0, 6.0, 7.0, 0.0, 6.0, 14.0]);
    /// ```
    pub fn named(weights: Shape, entries: Vec<S>, domain: Shape, range: &[&str]) -> Result<Self, Fault> {
        if entries.len() != weights.len() || entries.is_empty() || domain.len() == 0 {
            let (want, got) = (weights.len(), entries.len());
            let text = format!("dense: expected {want} weights for {weights} on {domain}, and at least one, got {got}");
            return Err(Fault::new(text));
        }
        let (indices, range) = Indices::of_names(&weights, &domain, range)?;
        let order = indices.matrix_order();
        if order.is_sorted() || !indices.make_matrices() {
            return Ok(Self::from_indices(domain, range, Arc::new(entries), indices));
        }
        let entries = in_order(&entries, &indices.sizes(), &order);
        Ok(Self::from_indices(domain, range, Arc::new(entries), indices.in_order(&order)))
    }

    fn from_indices(domain: Shape, range: Shape, weights: Arc<Vec<S>>, indices: Indices) -> Self {
        let nest = Nest::new(indices.loops(&domain, &range));
        Dense { domain, range, weights, indices, nest, self_adjoint: false }
    }

    /// Sums of a function of the weights, each at a place that follows from the places in `x` and in `y`.
    fn totals(&self, len: usize, at: impl Fn([usize; 2]) -> usize, value: impl Fn(S) -> f64) -> Vec<f64> {
        let mut totals = vec![0.0; len];
        let loops = self.indices.loops(&self.domain, &self.range);
        visit(&loops, [0; 3], &mut |[w, x, y]| totals[at([x, y])] += value(self.weights[w]));
        totals
    }
}

/// Weights with their axes in another order.
fn in_order<S: Scalar>(weights: &[S], sizes: &[usize], order: &[usize]) -> Vec<S> {
    match ArrayViewD::from_shape(IxDyn(sizes), weights) {
        Ok(view) => view.permuted_axes(IxDyn(order)).iter().copied().collect(),
        Err(_) => weights.to_vec(), // the sizes are those of the weights
    }
}

impl<S: Scalar> LinearOperator<S> for Dense<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        y.fill(S::default());
        self.apply_forward_add(x, y, work)
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        self.nest.forward_add(&self.weights, x, y);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        self.nest.adjoint_add(&self.weights, y, x);
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let fused = self.nest.rows_at_once::<S>();
        let mut data = work.take::<S>("W x", fused.unwrap_or(self.range.len()));
        if fused.is_some() {
            self.nest.normal_add(&self.weights, x, out, &mut data);
        } else {
            data.fill(S::default());
            self.nest.forward_add(&self.weights, x, &mut data);
            self.nest.adjoint_add(&self.weights, &data, out);
        }
        work.give("W x", data);
        Ok(())
    }
    fn structure(&self) -> Structure {
        let non_negative = self.weights.iter().all(|entry| entry.im() == 0.0 && entry.re() >= 0.0);
        Structure { non_negative, self_adjoint: self.self_adjoint, ..Structure::default() }
    }
    /// The smaller of ‖W‖₁ ‖W‖_∞ and the largest ‖W_b‖²_F over the batch; both bound the squared spectral norm.
    fn norm_squared_bound(&self) -> Option<f64> {
        let largest = |totals: Vec<f64>| totals.into_iter().fold(0.0, f64::max);
        let size = |entry: S| entry.modulus_squared().sqrt();
        let columns = largest(self.totals(self.domain.len(), |[x, _]| x, size));
        let rows = largest(self.totals(self.range.len(), |[_, y]| y, size));
        // each matrix of a batch that is slowest is a run; otherwise all of them together
        let slowest = self.indices.weighted().is_sorted_by_key(|index| !index.is_batch());
        let matrices = if slowest { self.indices.count(Index::is_batch) } else { 1 };
        let runs = self.weights.len() / matrices;
        let squares = self.weights.chunks(runs).map(|run| run.iter().map(|entry| entry.modulus_squared()).sum());
        Some(largest(squares.collect()).min(columns * rows))
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(self.totals(self.domain.len(), |[x, _]| x, |entry| entry.modulus_squared()))
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let name = |shape: &Shape, axis: usize| shape.dims()[axis].name.clone();
        let pair = |index: &Index| Some([name(&self.domain, index.x?), name(&self.range, index.y?)]);
        self.indices.0.iter().filter_map(pair).collect()
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.domain.axis(dim).is_some() || self.range.axis(dim).is_some()
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let range_of = |index: &Index| -> Range<usize> {
            let of_x = index.x.and_then(|axis| ranges.get(&self.domain.dims()[axis].name));
            let of_y = || index.y.and_then(|axis| ranges.get(&self.range.dims()[axis].name));
            of_x.or_else(of_y).unwrap_or(0..index.size)
        };
        let cuts: Vec<Range<usize>> = self.indices.weighted().map(range_of).collect();
        let sizes = self.indices.sizes();
        let whole = cuts.iter().zip(&sizes).all(|(cut, size)| cut.len() == *size);
        let weights = match ArrayViewD::from_shape(IxDyn(&sizes), &self.weights) {
            Ok(view) if !whole => {
                let part = view.slice_each_axis(|axis| Slice::from(cuts[axis.axis.index()].clone()));
                Arc::new(part.iter().copied().collect())
            }
            _ => self.weights.clone(),
        };
        let indices = self.indices.0.iter().map(|index| Index { size: range_of(index).len(), ..*index });
        let (domain, range) = (ranges.shape(&self.domain), ranges.shape(&self.range));
        Ok(Arc::new(Self::from_indices(domain, range, weights, Indices(indices.collect()))))
    }
    /// The Gram matrix `Σ_m W̄[b, m, n1] W[b, m, n]`, if it is not larger than the weights.
    fn normal_operator(&self) -> Option<SharedOperator<S>> {
        let [batch, rows, columns] =
            [Index::is_batch, Index::is_row, Index::is_column].map(|of| self.indices.count(of));
        if columns > rows {
            return None;
        }
        let order = self.indices.matrix_order();
        let sorted = in_order(&self.weights, &self.indices.sizes(), &order);
        let mut gram = Vec::with_capacity(batch * columns * columns);
        for matrix in sorted.chunks(rows * columns) {
            let matrix = ArrayView2::from_shape((rows, columns), matrix).ok()?;
            gram.extend(matrix.t().mapv(|entry| entry.conj()).dot(&matrix));
        }

        // the range has the dims of the domain in its order: a batch index stays, a column index becomes a row index, too
        let indices = self.indices.in_order(&order).0;
        let (columns, batch): (Vec<Index>, Vec<Index>) =
            indices.into_iter().filter(|index| !index.is_row()).partition(|index| index.is_column());
        let batch = batch.into_iter().map(|index| Index { y: index.x, ..index });
        let rows = columns.iter().map(|index| Index { y: index.x, x: None, ..*index });
        let indices = Indices(batch.chain(rows).chain(columns.iter().copied()).collect());
        let gram = Self::from_indices(self.domain.clone(), range_of_normal(self), Arc::new(gram), indices);
        Some(Arc::new(Dense { self_adjoint: true, ..gram }))
    }
}
