//! Random projections, as of compressed sensing: measurements with random weights, drawn from a seed.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Dense, Needs, Physics, Setting, threads};
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile};

/// The stream of random numbers that projections are drawn from.
const PROJECTION: u64 = 0x7072_6f6a;

/// Entries that are drawn at a time: they stay in the cache until they are used.
const BLOCK: usize = 4096;

/// The distribution of the entries, before they are divided by the root of the number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entries {
    /// The standard normal distribution; with complex scalars its complex form.
    #[default]
    Gaussian,
    /// 1 or −1 with equal chances (Rademacher).
    Signs,
}

/// A matrix with random entries. It is the same on any number of ranks, and its rows may be cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomProjectionParams {
    /// The number of measurements.
    pub rows: usize,
    /// The distribution of the entries.
    #[serde(default)]
    pub entries: Entries,
    /// The seed.
    #[serde(default = "one")]
    pub seed: u64,
    /// Whether the matrix is kept in memory. Default: its entries are drawn anew in each application.
    #[serde(default)]
    pub stored: bool,
}

fn one() -> u64 {
    1
}

impl Physics for RandomProjectionParams {
    const SUMMARY: &'static str =
        "y = M x, with random entries from a seed, gaussian or signs; drawn as needed, or stored";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["row"]);

    fn range(&self, _setting: &Setting) -> Result<Shape, Fault> {
        if self.rows == 0 {
            return Err(Fault::new("`rows` is 0, expected a number from 1 on").hint("it is the number of measurements"));
        }
        Ok(Shape::new([("row", self.rows)]))
    }
    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let entries = tile.shape().len() * setting.model.len();
        Ok(match self.stored {
            true => Needs { bytes: (entries * size_of::<S>()) as u64, scratch_bytes: 0, cost: 2.0 * entries as f64 },
            // some 30 ns for each normal number, as long as a hundred products
            false => Needs { bytes: 0, scratch_bytes: (BLOCK * size_of::<S>()) as u64, cost: 100.0 * entries as f64 },
        })
    }
    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let projection =
            RandomProjection::<S>::rows(setting.model, self.rows, tile.selections()[0], self.entries, self.seed);
        Ok(if self.stored { Box::new(projection.stored()?) } else { Box::new(projection) })
    }
}

/// `y[r] = Σ_n M[r, n] x[n]` with independent entries of variance 1 / rows, so that `E‖M x‖² = ‖x‖²`.
///
/// An entry depends on the seed and on its own place in the whole matrix. Entries are drawn when they are needed, some 30 ns
/// for a Gaussian one and less than 1 ns for a sign; [`stored`](Self::stored) keeps them.
///
/// Shapes: the model; (row). Collective: no. Memory: none; scratch for some thousand entries for each task of a thread. Threads:
/// those of the rayon pool in which it is called; they change no bit.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Entries, RandomProjection}};
/// let signs = RandomProjection::<f64>::new(&Shape::new([("x", 5)]), 4, Entries::Signs, 1);
/// let mut y = [0.0; 4];
/// signs.forward(&[0.0, 0.0, 1.0, 0.0, 0.0], &mut y, &mut Work::default()).unwrap();
/// assert!(y.iter().all(|entry| entry.abs() == 0.5));
/// ```
///
/// Source: D. Achlioptas, "Database-friendly random projections", J. Comput. Syst. Sci. 66 (2003).
pub struct RandomProjection<S> {
    domain: Shape,
    range: Shape,
    /// Which rows of the whole matrix.
    rows: Selection,
    entries: Entries,
    stream: Stream,
    scale: S,
}

impl<S: Scalar> RandomProjection<S> {
    /// All rows of a projection.
    pub fn new(domain: &Shape, rows: usize, entries: Entries, seed: u64) -> Self {
        Self::rows(domain, rows, Selection::all(rows), entries, seed)
    }

    fn rows(domain: &Shape, of: usize, rows: Selection, entries: Entries, seed: u64) -> Self {
        RandomProjection {
            domain: domain.clone(),
            range: Shape::new([("row", rows.count)]),
            rows,
            entries,
            stream: Stream::new(seed, PROJECTION),
            scale: S::from_f64(1.0 / (of as f64).sqrt()),
        }
    }

    /// The same with its entries in memory.
    pub fn stored(&self) -> Result<Dense<S>, Fault> {
        let columns = self.domain.len();
        let mut entries = vec![S::default(); self.rows.count * columns];
        for (row, entries) in entries.chunks_exact_mut(columns).enumerate() {
            self.draw(row, 0, entries);
            entries.iter_mut().for_each(|entry| *entry *= self.scale);
        }
        Dense::from_rows(self.domain.clone(), entries)
    }

    /// Entries of a row of this part from a column on, before they are scaled.
    fn draw(&self, row: usize, column: usize, entries: &mut [S]) {
        let first = ((self.rows.start + row * self.rows.step) * self.domain.len() + column) as u64;
        match self.entries {
            Entries::Gaussian => self.stream.fill_normal(first, entries),
            Entries::Signs => self.stream.fill_signs(first, entries),
        }
    }

    /// `y = M x` of some rows.
    fn forward_rows(&self, first: usize, x: &[S], y: &mut [S], drawn: &mut [S]) {
        for (row, y) in (first..).zip(y) {
            let mut sum = S::default();
            for (block, x) in x.chunks(BLOCK).enumerate() {
                let drawn = &mut drawn[..x.len()];
                self.draw(row, block * BLOCK, drawn);
                sum += drawn.iter().zip(x).map(|(entry, x)| *entry * *x).sum();
            }
            *y = sum * self.scale;
        }
    }
    /// `x += Mᴴ y` of some columns.
    fn adjoint_columns(&self, first: usize, y: &[S], x: &mut [S], drawn: &mut [S]) {
        for (block, x) in x.chunks_mut(BLOCK).enumerate() {
            let drawn = &mut drawn[..x.len()];
            for (row, y) in y.iter().enumerate() {
                self.draw(row, first + block * BLOCK, drawn);
                let y = *y * self.scale;
                for (x, entry) in x.iter_mut().zip(drawn.iter()) {
                    *x += entry.conj() * y;
                }
            }
        }
    }
}

impl<S: Scalar> LinearOperator<S> for RandomProjection<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let count = threads::count();
        let each = if count == 1 { y.len().max(1) } else { threads::share(y.len(), count, 1) };
        let block = BLOCK.min(x.len());
        let mut drawn = work.take::<S>("drawn", y.len().div_ceil(each) * block);
        if count == 1 {
            self.forward_rows(0, x, y, &mut drawn);
        } else if block > 0 {
            let tasks = y.par_chunks_mut(each).zip(drawn.par_chunks_mut(block)).enumerate();
            tasks.for_each(|(task, (y, drawn))| self.forward_rows(task * each, x, y, drawn));
        }
        work.give("drawn", drawn);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        let count = threads::count();
        let each = if count == 1 { x.len().max(1) } else { threads::share(x.len(), count, BLOCK) };
        let block = BLOCK.min(x.len());
        let mut drawn = work.take::<S>("drawn", x.len().div_ceil(each) * block);
        if count == 1 {
            self.adjoint_columns(0, y, x, &mut drawn);
        } else if block > 0 {
            let tasks = x.par_chunks_mut(each).zip(drawn.par_chunks_mut(block)).enumerate();
            tasks.for_each(|(task, (x, drawn))| self.adjoint_columns(task * each, y, x, drawn));
        }
        work.give("drawn", drawn);
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure::default()
    }
    /// Of signs the Frobenius norm, which is known.
    fn norm_squared_bound(&self) -> Option<f64> {
        let squares = self.scale.modulus_squared() * (self.rows.count * self.domain.len()) as f64;
        (self.entries == Entries::Signs).then_some(squares)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let column = self.scale.modulus_squared() * self.rows.count as f64;
        (self.entries == Entries::Signs).then(|| vec![column; self.domain.len()])
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::Apply;
    use crate::testing::{dot_test, structure_test};

    #[test]
    fn drawn_and_stored_are_the_same_on_any_threads_and_in_parts() {
        fn check<S: Scalar>(tolerance: f64) {
            for (entries, columns) in [(Entries::Gaussian, 37), (Entries::Signs, 5000)] {
                let domain = Shape::new([("x", columns)]);
                let whole = RandomProjection::<S>::new(&domain, 29, entries, 3);
                assert!(dot_test(&whole, 1).unwrap().passes::<S>());
                structure_test(&whole, 1).unwrap();
                let (mut x, mut work) = (vec![S::default(); columns], Work::default());
                Stream::new(1, 1).fill_normal(0, &mut x);
                let all = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| {
                        let (mut y, mut work) = (vec![S::default(); 29], Work::default());
                        let mut back = x.clone();
                        whole.forward(&x, &mut y, &mut work).unwrap();
                        whole.adjoint_add(&y, &mut back, &mut work).unwrap();
                        (y, back)
                    })
                };
                let (y, back) = all(1);
                assert!(all(2) == (y.clone(), back.clone()) && all(3) == (y.clone(), back));
                let mut stored = vec![S::default(); 29];
                whole.stored().unwrap().forward(&x, &mut stored, &mut work).unwrap();
                let apart = |(a, b): (&S, &S)| (*a - *b).modulus_squared().sqrt();
                assert!(y.iter().zip(&stored).map(apart).fold(0.0, f64::max) < tolerance);
                let rows = Selection { start: 1, step: 3, count: 9 };
                let part = RandomProjection::<S>::rows(&domain, 29, rows, entries, 3);
                let mut some = vec![S::default(); 9];
                part.forward(&x, &mut some, &mut work).unwrap();
                assert!(some.iter().zip(rows.iter()).all(|(got, row)| *got == y[row]));
            }
        }
        check::<f64>(1e-12);
        check::<Complex<f32>>(1e-4);
    }

    /// E‖M x‖² = ‖x‖², and entries are uncorrelated.
    #[test]
    fn lengths_are_kept_on_average() {
        for entries in [Entries::Gaussian, Entries::Signs] {
            let (rows, columns) = (4000, 30);
            let projection = RandomProjection::<f64>::new(&Shape::new([("x", columns)]), rows, entries, 8);
            let mut x = vec![0.0; columns];
            Stream::new(2, 1).fill_normal(0, &mut x);
            let mut y = vec![0.0; rows];
            projection.forward(&x, &mut y, &mut Work::default()).unwrap();
            let [ny, nx] = [&y, &x].map(|v| v.iter().map(|v| v * v).sum::<f64>());
            assert!((ny / nx - 1.0).abs() < 4.0 * (2.0 / rows as f64).sqrt(), "{entries:?}: {}", ny / nx);
        }
    }
}
