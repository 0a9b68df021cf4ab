//! The operator: visibilities in small groups, each a product of matrices with the image.

use std::sync::Arc;

use num_complex::Complex;
use rayon::prelude::*;

use super::gemm::{Matrix, gemm};
use super::phases::fill_split;
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Work};
use crate::physics::threads;
use crate::range::positive;
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape, Tile};

/// So many visibilities are computed at once: their factors stay in the second cache.
const GROUP: usize = 64;
/// So many rows of the image are added to at once.
const BAND: usize = 32;

/// `V_k = Σ I[y, x] exp(−2πi(u_k l_x + v_k m_y))` of a real image in Jy per pixel; the two parts of each V are two real numbers.
///
/// With a pixel of width p, `l_x = −(x − ⌊n_x/2⌋) p` and `m_y = −(y − ⌊n_y/2⌋) p`: east is to the left, north is up. A complex image
/// is measured part by part.
///
/// Shapes: (y, x) → (visibility, part = 2). u and v in wavelengths, p in radians. Collective: no. Cost: 4 operations for each
/// visibility and pixel, as products of matrices; the adjoint as much. Memory: 16 bytes a visibility; scratch for 64 of them,
/// 128 (n_x + 2 n_y) numbers a thread. Threads: those of the rayon pool in which it is called; the result is the same bit for bit
/// whatever their number. Faults when built: a model of other dims; u and v of different lengths or not finite; a pixel that is
/// not a positive number.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::Interferometer};
/// let image = Shape::new([("y", 4), ("x", 4)]);
/// let array = Interferometer::<f64>::new(&image, 1e-3, &[0.0, 250.0], &[0.0, 0.0]).unwrap();
/// let mut sky = [0.0; 16];
/// sky[2 * 4 + 1] = 3.0; // one pixel east of the centre (2, 2): l = 1e-3
/// let mut v = [0.0; 4];
/// array.forward(&sky, &mut v, &mut Work::default()).unwrap();
/// // the whole flux; then exp(−2πi · 250 · 1e-3) = −i
/// assert!(v.iter().zip([3.0, 0.0, 0.0, -3.0]).all(|(got, want)| f64::abs(got - want) < 1e-12));
/// ```
///
/// Source: A. R. Thompson, J. M. Moran and G. W. Swenson, *Interferometry and Synthesis in Radio Astronomy*, 3rd edition (2017),
/// section 3.1.
pub struct Interferometer<S> {
    domain: Shape,
    range: Shape,
    /// Columns and rows of the image or of the part of it.
    size: [usize; 2],
    /// The index of the first column and row, counted from the centre.
    first: [f64; 2],
    /// Turns of the phase from one column, and from one row, to the next: u p and v p.
    turns: [Arc<Vec<f64>>; 2],
    scalar: std::marker::PhantomData<S>,
}

/// Numbers of scratch that one thread needs, for columns and rows.
pub(super) fn scratch([columns, rows]: [usize; 2]) -> usize {
    2 * GROUP * (columns + 2 * rows)
}

impl<S: Scalar> Interferometer<S> {
    /// Visibilities of an image (y, x), with the width of a pixel.
    pub fn new(model: &Shape, pixel: f64, u: &[f64], v: &[f64]) -> Result<Self, Fault> {
        Self::on_window(&Tile::whole(model), pixel, u, v)
    }

    /// Visibilities of a part of an image, of neighbouring pixels along each dim: those of the whole image where all outside of
    /// that part is zero.
    pub fn on_window(window: &Tile, pixel: f64, u: &[f64], v: &[f64]) -> Result<Self, Fault> {
        let model = window.of();
        let (&[rows, columns], &[in_rows, in_columns]) = (&model.sizes()[..], window.selections()) else {
            return Err(Fault::new(format!("interferometer: expected an image (y, x), got {model}"))
                .hint("set model.dims = { y = …, x = … }"));
        };
        if in_rows.step > 1 || in_columns.step > 1 {
            return Err(Fault::new("interferometer: expected neighbouring pixels, got some with gaps between them")
                .hint("cut the model into contiguous blocks"));
        }
        positive("pixel", pixel)?;
        if u.len() != v.len() || u.iter().chain(v).any(|number| !number.is_finite()) {
            let text = format!(
                "interferometer: expected finite u and v, as many of one as of the other, got {} and {}",
                u.len(),
                v.len()
            );
            return Err(Fault::new(text));
        }
        let turns = |of: &[f64]| Arc::new(of.iter().map(|baseline| baseline * pixel).collect::<Vec<_>>());
        Ok(Interferometer {
            domain: window.shape(),
            range: Shape::new([("visibility", u.len()), ("part", 2)]),
            size: [in_columns.count, in_rows.count],
            first: [in_columns.start as f64 - (columns / 2) as f64, in_rows.start as f64 - (rows / 2) as f64],
            turns: [turns(u), turns(v)],
            scalar: std::marker::PhantomData,
        })
    }

    fn visibilities(&self) -> usize {
        self.turns[0].len()
    }
    fn is_empty(&self) -> bool {
        self.domain.len() == 0 || self.range.len() == 0
    }

    /// Scratch for so many threads: numbers of the image's precision, and a row of phases.
    fn take(&self, threads: usize, work: &mut Work) -> (Vec<S::Real>, Vec<Complex<f64>>) {
        let longest = self.size[0].max(self.size[1]);
        (work.take("radio group", threads * scratch(self.size)), work.take("radio row", threads * longest))
    }

    /// The factors of the columns and of the rows of a group, in the first two parts of `scratch`, and the third part.
    fn factors<'s>(
        &self,
        group: std::ops::Range<usize>,
        row: &mut [Complex<f64>],
        scratch: &'s mut [S::Real],
    ) -> [&'s mut [S::Real]; 3] {
        let ([columns, rows], count) = (self.size, group.len());
        let (east, rest) = scratch.split_at_mut(2 * count * columns);
        let (north, rest) = rest.split_at_mut(2 * count * rows);
        fill_split(&self.turns[0][group.clone()], self.first[0], &mut row[..columns], east);
        fill_split(&self.turns[1][group], self.first[1], &mut row[..rows], north);
        [east, north, &mut rest[..2 * count * rows]]
    }

    /// The visibilities of one real image: two numbers for each, `step` apart from one visibility to the next, from `first` on.
    fn measure(&self, image: &[S::Real], out: &mut [S::Real], [first, between, step]: [usize; 3], work: &mut Work) {
        let threads = threads::count();
        let (mut scratch, mut row) = self.take(threads, work);
        let [columns, rows] = self.size;
        let each = self.visibilities().div_ceil(GROUP).div_ceil(threads) * GROUP;
        let (per_thread, longest) = (scratch.len() / threads, row.len() / threads);
        out.par_chunks_mut(each * step)
            .zip(scratch.par_chunks_mut(per_thread))
            .zip(row.par_chunks_mut(longest))
            .enumerate()
            .for_each(|(thread, ((out, scratch), row))| {
                for (group, out) in out.chunks_mut(GROUP * step).enumerate() {
                    let start = thread * each + group * GROUP;
                    let count = out.len() / step;
                    let [east, north, sums] = self.factors(start..start + count, row, scratch);
                    // Σ over columns, for each row: real parts, then imaginary parts
                    let image = Matrix { entries: image, width: columns, turned: true };
                    gemm(Matrix { entries: east, width: columns, turned: false }, image, false, sums);
                    let half = count * rows;
                    for (k, out) in out.chunks_mut(step).enumerate() {
                        let part = |of: &'_ [S::Real], from: usize, row: usize| of[from + k * rows + row].re();
                        let mut sum = Complex::new(0.0, 0.0);
                        for row in 0..rows {
                            sum += Complex::new(part(sums, 0, row), part(sums, half, row))
                                * Complex::new(part(north, 0, row), part(north, half, row));
                        }
                        out[first] = S::Real::from_f64(sum.re);
                        out[first + between] = S::Real::from_f64(sum.im);
                    }
                }
            });
        work.give("radio group", scratch);
        work.give("radio row", row);
    }

    /// Adds to one real image what the adjoint makes of visibilities that lie as in [`measure`](Self::measure).
    fn image_add(
        &self,
        values: &[S::Real],
        [first, between, step]: [usize; 3],
        image: &mut [S::Real],
        work: &mut Work,
    ) {
        let threads = threads::count();
        let (mut scratch, mut row) = self.take(threads, work);
        let [columns, rows] = self.size;
        let each = rows.div_ceil(BAND).div_ceil(threads) * BAND;
        let (per_thread, longest) = (scratch.len() / threads, row.len() / threads);
        image
            .par_chunks_mut(each * columns)
            .zip(scratch.par_chunks_mut(per_thread))
            .zip(row.par_chunks_mut(longest))
            .enumerate()
            .for_each(|(thread, ((image, scratch), row))| {
                for (group, values) in values.chunks(GROUP * step).enumerate() {
                    let (start, count) = (group * GROUP, values.len() / step);
                    let [east, north, turned] = self.factors(start..start + count, row, scratch);
                    let half = count * rows;
                    for (band, image) in image.chunks_mut(BAND * columns).enumerate() {
                        let (top, height) = (thread * each + band * BAND, image.len() / columns);
                        // the conjugate factors of these rows, times the visibilities
                        let turned = &mut turned[..2 * count * height];
                        let (real, imaginary) = turned.split_at_mut(count * height);
                        for (k, values) in values.chunks(step).enumerate() {
                            let v = Complex::new(values[first].re(), values[first + between].re());
                            for row in 0..height {
                                let at = k * rows + top + row;
                                let z = v * Complex::new(north[at].re(), -north[half + at].re());
                                real[k * height + row] = S::Real::from_f64(z.re);
                                imaginary[k * height + row] = S::Real::from_f64(z.im);
                            }
                        }
                        let turned = Matrix { entries: turned, width: height, turned: true };
                        gemm(turned, Matrix { entries: east, width: columns, turned: false }, true, image);
                    }
                }
            });
        work.give("radio group", scratch);
        work.give("radio row", row);
    }
}

impl<S: Scalar> LinearOperator<S> for Interferometer<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }

    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            y.fill(S::default());
            return Ok(());
        }
        let (x, y) = (S::as_reals(x), S::as_reals_mut(y));
        if !S::IS_COMPLEX {
            self.measure(x, y, [0, 1, 2], work);
            return Ok(());
        }
        let mut image = work.take::<S::Real>("radio image", x.len() / 2);
        for part in 0..2 {
            image.iter_mut().zip(x.iter().skip(part).step_by(2)).for_each(|(to, from)| *to = *from);
            self.measure(&image, y, [part, 2, 4], work);
        }
        work.give("radio image", image);
        Ok(())
    }

    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }

    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let (x, y) = (S::as_reals_mut(x), S::as_reals(y));
        if !S::IS_COMPLEX {
            self.image_add(y, [0, 1, 2], x, work);
            return Ok(());
        }
        let mut image = work.take::<S::Real>("radio image", x.len() / 2);
        for part in 0..2 {
            image.fill(S::Real::default());
            self.image_add(y, [part, 2, 4], &mut image, work);
            x.iter_mut().skip(part).step_by(2).zip(&image).for_each(|(to, from)| *to += *from);
        }
        work.give("radio image", image);
        Ok(())
    }

    /// The squared Frobenius norm: the two parts of each visibility and pixel are a cosine and a sine.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some((self.visibilities() * self.domain.len()) as f64)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![self.visibilities() as f64; self.domain.len()])
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        ["visibility", "y", "x"].contains(&dim)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let kept = ranges.get("visibility").unwrap_or(0..self.visibilities());
        let start = |dim: &str| ranges.get(dim).map_or(0, |range| range.start) as f64;
        let (domain, range) = (ranges.shape(&self.domain), ranges.shape(&self.range));
        let turns = |of: &Arc<Vec<f64>>| match kept.len() == of.len() {
            true => of.clone(),
            false => Arc::new(of[kept.clone()].to_vec()),
        };
        Ok(Arc::new(Interferometer {
            size: [domain.sizes()[1], domain.sizes()[0]],
            first: [self.first[0] + start("x"), self.first[1] + start("y")],
            turns: [turns(&self.turns[0]), turns(&self.turns[1])],
            domain,
            range,
            scalar: std::marker::PhantomData,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Apply;
    use crate::random::Stream;

    fn numbers<S: Scalar>(len: usize, stream: u64) -> Vec<S> {
        let mut values = vec![S::default(); len];
        Stream::new(7, stream).fill_normal(0, &mut values);
        values
    }

    /// The defining sum, with a complex exponential for each visibility and pixel.
    #[test]
    fn it_is_the_defining_sum() {
        fn check<S: Scalar>(most: f64) {
            // more visibilities than a group, more rows than a band; baselines up to half a turn and beyond
            let (rows, columns, count, pixel) = (37, 22, 150, 2.5e-11);
            let model = Shape::new([("y", rows), ("x", columns)]);
            let (mut u, mut v) = (numbers::<f64>(count, 1), numbers::<f64>(count, 2));
            u.iter_mut().chain(&mut v).for_each(|baseline| *baseline *= 1e10);
            let operator = Interferometer::<S>::new(&model, pixel, &u, &v).unwrap();
            let x = numbers::<S>(model.len(), 3);
            let mut y = vec![S::from_f64(f64::NAN); 2 * count];
            operator.forward(&x, &mut y, &mut Work::default()).unwrap();
            let mut worst = 0.0_f64;
            for (k, got) in y.chunks(2).enumerate() {
                let mut want = [Complex::new(0.0, 0.0); 2];
                for (at, x) in x.iter().enumerate() {
                    let (row, column) = ((at / columns) as f64, (at % columns) as f64);
                    let (l, m) = (-(column - 11.0) * pixel, -(row - 18.0) * pixel);
                    let phase = -std::f64::consts::TAU * (u[k] * l + v[k] * m);
                    let z = Complex::new(x.re(), x.im());
                    want[0] += z * phase.cos();
                    want[1] += z * phase.sin();
                }
                for (got, want) in got.iter().zip(want) {
                    worst = worst.max((Complex::new(got.re(), got.im()) - want).norm());
                }
            }
            assert!(worst < most, "{}: {worst}", S::NAME);
        }
        check::<f64>(1e-11);
        check::<Complex<f64>>(1e-11);
        check::<f32>(2e-4);
        check::<Complex<f32>>(2e-4);
    }

    #[test]
    fn threads_change_nothing() {
        let model = Shape::new([("y", 70), ("x", 33)]);
        let (u, v) = (numbers::<f64>(500, 1), numbers::<f64>(500, 2));
        let operator = Interferometer::<f32>::new(&model, 0.1, &u, &v).unwrap();
        let (x, y) = (numbers::<f32>(model.len(), 3), numbers::<f32>(1000, 4));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut of_x, mut of_y, mut work) = (vec![0.0; 1000], vec![0.0; model.len()], Work::default());
                operator.forward(&x, &mut of_x, &mut work).unwrap();
                operator.adjoint(&y, &mut of_y, &mut work).unwrap();
                (of_x, of_y)
            })
        };
        let alone = run(1);
        for threads in [2, 3, 5] {
            assert!(run(threads) == alone, "{threads} threads gave other bits");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let image = Shape::new([("y", 4), ("x", 4)]);
        let text =
            |model: &Shape, pixel, u: &[f64]| Interferometer::<f64>::new(model, pixel, u, &[0.0]).err().unwrap().text;
        assert!(text(&Shape::new([("x", 4)]), 1.0, &[0.0]).contains("(x=4)"));
        assert!(text(&image, 0.0, &[0.0]).contains("`pixel` is 0"));
        assert!(text(&image, 1.0, &[0.0, 1.0]).contains("2 and 1"));
        assert!(text(&image, 1.0, &[f64::NAN]).contains("finite"));
    }
}
