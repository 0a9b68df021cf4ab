//! The discrete Fourier transform of real row-major arrays over all their dims, and convolutions by it. Not normalised, not
//! centred: index 0 is the origin, forward sign exp(−2πi…).
//!
//! The spectrum of a real array is its own mirror image, so that along the last dim half of it is enough: ⌊n/2⌋ + 1 of n
//! numbers. That is half the memory and half the work of [`fourier`](crate::fourier), which is for complex arrays.
//!
//! A convolution transforms, multiplies, and transforms back. Along the first dim these are done block by block of
//! neighbouring columns, so that the spectrum goes through the cache once instead of three times. Each line is
//! transformed by itself: the result is the same bit for bit for any number of threads.

use std::sync::Arc;

use ndarray::{ArrayViewMut2, Axis};
use num_complex::Complex;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftNum, FftPlanner};

use crate::scalar::Real;
use crate::threads;

/// Neighbouring columns that are transformed together: one or two cache lines of each row.
const TOGETHER: usize = 16;

/// What a spectrum is multiplied with: one factor for each of its numbers.
#[derive(Clone, Copy)]
pub enum Factors<'a, R> {
    /// Real ones.
    Real(&'a [R]),
    /// Complex ones.
    Complex(&'a [Complex<R>]),
    /// The conjugates of these.
    Conjugate(&'a [Complex<R>]),
    /// Their squared moduli, times a number.
    Power(&'a [Complex<R>], R),
}

/// The transform of real arrays of given sizes, for whoever knows only that `R` is a real number.
pub trait RealFourier<R>: Send + Sync {
    /// The numbers of a spectrum: those of the array with ⌊n/2⌋ + 1 instead of n along the last dim.
    fn spectrum_len(&self) -> usize;
    /// The numbers of scratch on the threads of the caller's pool.
    fn scratch_len(&self) -> usize;
    /// `spectrum = F x`.
    fn transform(&self, x: &[R], spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]);
    /// `out = F* (w ⊙ F x)` with F* the adjoint of F, as many times its inverse as the array has numbers. Or adds it to `out`.
    /// What `spectrum` holds does not matter.
    fn convolve(&self, factors: Factors<R>, data: Data<R>, spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]);
}

/// Input and output of a convolution.
pub struct Data<'a, R> {
    /// The array.
    pub x: &'a [R],
    /// The result.
    pub out: &'a mut [R],
    /// Whether to add to what `out` holds.
    pub add: bool,
}

/// A planned transform. Collective: no.
pub(crate) struct RealTransform<R> {
    sizes: Vec<usize>,
    /// Along the last dim, there and back.
    there: Arc<dyn RealToComplex<R>>,
    back: Arc<dyn ComplexToReal<R>>,
    /// Along the others, there and back.
    plans: Vec<[Arc<dyn Fft<R>>; 2]>,
}

/// What is done to the lines along a dim.
#[derive(Clone, Copy)]
enum Step<'a, R> {
    There,
    Back,
    Convolve(Factors<'a, R>),
}

impl<R: Real + FftNum> RealTransform<R> {
    /// A transform of arrays of the given sizes, slowest dim first; at least one dim, none of size 0.
    pub fn new(sizes: &[usize]) -> Self {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        let last = sizes.last().copied().unwrap_or(1);
        let others = &sizes[..sizes.len().saturating_sub(1)];
        let plans = others.iter().map(|&size| [complex.plan_fft_forward(size), complex.plan_fft_inverse(size)]);
        RealTransform {
            there: real.plan_fft_forward(last),
            back: real.plan_fft_inverse(last),
            plans: plans.collect(),
            sizes: sizes.to_vec(),
        }
    }

    fn last(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }
    /// The numbers of a row of the spectrum.
    fn half(&self) -> usize {
        self.last() / 2 + 1
    }
    fn rows(&self) -> usize {
        self.sizes[..self.sizes.len().saturating_sub(1)].iter().product()
    }

    /// Scratch for a task: a row or a block of columns, and what their transforms need.
    fn scratch_of_task(&self) -> usize {
        let row = self.last().div_ceil(2) + self.there.get_scratch_len().max(self.back.get_scratch_len());
        let column = |(size, [there, back]): (&usize, &[Arc<dyn Fft<R>>; 2])| {
            size * TOGETHER + there.get_inplace_scratch_len().max(back.get_inplace_scratch_len())
        };
        self.sizes.iter().zip(&self.plans).map(column).max().unwrap_or(0).max(row)
    }

    /// Rows of a task.
    fn share(&self) -> usize {
        let count = threads::count();
        if count == 1 { self.rows().max(1) } else { threads::share(self.rows(), count, 1) }
    }

    fn rows_there(&self, x: &[R], spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]) {
        let (last, half, each, task) = (self.last(), self.half(), self.share(), self.scratch_of_task());
        let run = |x: &[R], spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]| {
            let (row, scratch) = scratch.split_at_mut(last.div_ceil(2));
            let row = &mut bytemuck::cast_slice_mut::<Complex<R>, R>(row)[..last];
            let scratch = &mut scratch[..self.there.get_scratch_len()];
            for (x, spectrum) in x.chunks_exact(last).zip(spectrum.chunks_exact_mut(half)) {
                row.copy_from_slice(x);
                let done = self.there.process_with_scratch(row, spectrum, scratch);
                debug_assert!(done.is_ok(), "the lengths are those of the plan");
            }
        };
        if threads::count() == 1 {
            return run(x, spectrum, scratch);
        }
        let tasks = x.par_chunks(each * last).zip(spectrum.par_chunks_mut(each * half));
        tasks.zip(scratch.par_chunks_mut(task)).for_each(|((x, spectrum), scratch)| run(x, spectrum, scratch));
    }

    fn rows_back(&self, spectrum: &mut [Complex<R>], out: &mut [R], add: bool, scratch: &mut [Complex<R>]) {
        let (last, half, each, task) = (self.last(), self.half(), self.share(), self.scratch_of_task());
        let run = |spectrum: &mut [Complex<R>], out: &mut [R], scratch: &mut [Complex<R>]| {
            let (row, scratch) = scratch.split_at_mut(last.div_ceil(2));
            let row = &mut bytemuck::cast_slice_mut::<Complex<R>, R>(row)[..last];
            let scratch = &mut scratch[..self.back.get_scratch_len()];
            for (spectrum, out) in spectrum.chunks_exact_mut(half).zip(out.chunks_exact_mut(last)) {
                // of a real array these are real, but for rounding
                spectrum[0].im = R::default();
                if last.is_multiple_of(2) {
                    spectrum[half - 1].im = R::default();
                }
                let to = if add { &mut *row } else { &mut *out };
                let done = self.back.process_with_scratch(spectrum, to, scratch);
                debug_assert!(done.is_ok(), "the lengths are those of the plan");
                if add {
                    crate::space::add(row, out);
                }
            }
        };
        if threads::count() == 1 {
            return run(spectrum, out, scratch);
        }
        let tasks = spectrum.par_chunks_mut(each * half).zip(out.par_chunks_mut(each * last));
        tasks.zip(scratch.par_chunks_mut(task)).for_each(|((spectrum, out), scratch)| run(spectrum, out, scratch));
    }

    /// Transforms the lines along a dim other than the last.
    fn lines(&self, axis: usize, step: Step<R>, spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]) {
        let size = self.sizes[axis];
        let between: usize = self.sizes[axis + 1..self.sizes.len() - 1].iter().product();
        let stride = between * self.half();
        if size == 1 && !matches!(step, Step::Convolve(_)) {
            return;
        }
        let tasks = if threads::count() == 1 { 1 } else { 4 * threads::count() };
        for plane in spectrum.chunks_exact_mut(size * stride) {
            if let Ok(plane) = ArrayViewMut2::from_shape((size, stride), plane) {
                self.columns(axis, step, plane, 0, tasks, scratch);
            }
        }
    }

    /// The columns of a plane from `first` on, in halves on other threads while there are tasks.
    fn columns(
        &self,
        axis: usize,
        step: Step<R>,
        mut plane: ArrayViewMut2<Complex<R>>,
        first: usize,
        tasks: usize,
        scratch: &mut [Complex<R>],
    ) {
        let columns = plane.ncols();
        if tasks > 1 && columns > TOGETHER {
            let middle = (columns / 2).next_multiple_of(TOGETHER).min(columns);
            let (left, right) = plane.split_at(Axis(1), middle);
            let (before, behind) = scratch.split_at_mut(tasks / 2 * self.scratch_of_task());
            rayon::join(
                || self.columns(axis, step, left, first, tasks / 2, before),
                || self.columns(axis, step, right, first + middle, tasks - tasks / 2, behind),
            );
            return;
        }
        let size = self.sizes[axis];
        let [there, back] = &self.plans[axis];
        let (lines, scratch) = scratch.split_at_mut(size * TOGETHER);
        for begin in (0..columns).step_by(TOGETHER) {
            let together = TOGETHER.min(columns - begin);
            let lines = &mut lines[..size * together];
            for (k, row) in plane.rows().into_iter().enumerate() {
                let row = row.to_slice().unwrap_or_default(); // a row lies in one piece
                for (line, value) in row[begin..begin + together].iter().enumerate() {
                    lines[line * size + k] = *value;
                }
            }
            match step {
                Step::There => there.process_with_scratch(lines, scratch_of(there, scratch)),
                Step::Back => back.process_with_scratch(lines, scratch_of(back, scratch)),
                Step::Convolve(factors) => {
                    there.process_with_scratch(lines, scratch_of(there, scratch));
                    let stride = self.spectrum_len() / size; // it is the first dim
                    for line in 0..together {
                        factors.multiply(&mut lines[line * size..][..size], first + begin + line, stride);
                    }
                    back.process_with_scratch(lines, scratch_of(back, scratch));
                }
            }
            for (k, row) in plane.rows_mut().into_iter().enumerate() {
                let row = row.into_slice().unwrap_or_default();
                for (line, value) in row[begin..begin + together].iter_mut().enumerate() {
                    *value = lines[line * size + k];
                }
            }
        }
    }
}

fn scratch_of<'a, R: FftNum>(plan: &Arc<dyn Fft<R>>, scratch: &'a mut [Complex<R>]) -> &'a mut [Complex<R>] {
    &mut scratch[..plan.get_inplace_scratch_len()]
}

impl<R: Real + FftNum> Factors<'_, R> {
    /// Multiplies numbers with the factors from `first` on, `stride` apart.
    fn multiply(self, values: &mut [Complex<R>], first: usize, stride: usize) {
        fn each<R: Copy, F: Copy>(
            values: &mut [Complex<R>],
            factors: &[F],
            stride: usize,
            times: impl Fn(Complex<R>, F) -> Complex<R>,
        ) {
            for (value, factor) in values.iter_mut().zip(factors.iter().step_by(stride)) {
                *value = times(*value, *factor);
            }
        }
        match self {
            Factors::Real(factors) => each(values, &factors[first..], stride, |value, by| value.scale(by)),
            Factors::Complex(factors) => each(values, &factors[first..], stride, |value, by| value * by),
            Factors::Conjugate(factors) => each(values, &factors[first..], stride, |value, by| value * by.conj()),
            Factors::Power(factors, scale) => {
                each(values, &factors[first..], stride, |value, by| {
                    value.scale((by.re * by.re + by.im * by.im) * scale)
                });
            }
        }
    }
}

impl<R: Real + FftNum> RealFourier<R> for RealTransform<R> {
    fn spectrum_len(&self) -> usize {
        self.rows() * self.half()
    }
    fn scratch_len(&self) -> usize {
        let rows = if self.rows() == 0 { 1 } else { self.rows().div_ceil(self.share()) };
        rows.max(if threads::count() == 1 { 1 } else { 4 * threads::count() }) * self.scratch_of_task()
    }
    fn transform(&self, x: &[R], spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]) {
        self.rows_there(x, spectrum, scratch);
        for axis in (0..self.plans.len()).rev() {
            self.lines(axis, Step::There, spectrum, scratch);
        }
    }
    fn convolve(&self, factors: Factors<R>, data: Data<R>, spectrum: &mut [Complex<R>], scratch: &mut [Complex<R>]) {
        self.rows_there(data.x, spectrum, scratch);
        for axis in (1..self.plans.len()).rev() {
            self.lines(axis, Step::There, spectrum, scratch);
        }
        match self.plans.len() {
            0 => factors.multiply(spectrum, 0, 1),
            _ => self.lines(0, Step::Convolve(factors), spectrum, scratch),
        }
        for axis in 1..self.plans.len() {
            self.lines(axis, Step::Back, spectrum, scratch);
        }
        self.rows_back(spectrum, data.out, data.add, scratch);
    }
}

/// Of numbers for each wave of arrays of the given sizes those that a spectrum of real arrays has.
pub(crate) fn half<T: Copy>(sizes: &[usize], of_all: &[T]) -> Vec<T> {
    let last = sizes.last().copied().unwrap_or(1);
    of_all.chunks(last).flat_map(|row| row[..last / 2 + 1].iter().copied()).collect()
}

/// The smallest size from `least` on that is a product of 2, 3, 5 and 7 and even: fast to transform.
pub(crate) fn fast_size(least: usize) -> usize {
    let smooth = |mut size: usize| {
        for prime in [2, 3, 5, 7] {
            while size.is_multiple_of(prime) {
                size /= prime;
            }
        }
        size == 1
    };
    (least.max(1)..).find(|size| *size <= 2 || (size.is_multiple_of(2) && smooth(*size))).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fourier::{Fourier, Transform, Way};
    use crate::random::Stream;

    const SIZES: &[&[usize]] =
        &[&[1], &[2], &[7], &[12], &[3, 4], &[5, 9], &[40, 1], &[1, 6], &[37, 75], &[3, 4, 5], &[2, 3, 50, 6]];

    fn random(len: usize, stream: u64) -> Vec<f64> {
        let mut values = vec![0.0; len];
        Stream::new(3, stream).fill_normal(0, &mut values);
        values
    }

    /// Against the transform of complex arrays, which is tested against the defining sum.
    #[test]
    fn it_is_half_of_the_complex_transform() {
        for sizes in SIZES {
            let len = sizes.iter().product();
            let x = random(len, 1);
            let mut all: Vec<Complex<f64>> = x.iter().map(|x| Complex::new(*x, 0.0)).collect();
            Transform::new(sizes).run(&mut all, Way::There);
            let want = half(sizes, &all);
            let plan = RealTransform::<f64>::new(sizes);
            let mut got = vec![Complex::default(); plan.spectrum_len()];
            plan.transform(&x, &mut got, &mut vec![Complex::default(); plan.scratch_len()]);
            assert_eq!(got.len(), want.len());
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).norm() < 1e-11), "{sizes:?}");
        }
    }

    #[test]
    fn a_convolution_is_the_sum_round_the_circle_and_its_adjoint_goes_the_other_way() {
        for sizes in SIZES {
            let len: usize = sizes.iter().product();
            let (x, kernel, before) = (random(len, 2), random(len, 3), random(len, 4));
            let index = |mut at: usize| {
                let mut index = vec![0; sizes.len()];
                for (index, size) in index.iter_mut().zip(*sizes).rev() {
                    (*index, at) = (at % size, at / size);
                }
                index
            };
            let shifted = |i: usize, j: usize, back: bool| {
                let places = index(i).into_iter().zip(index(j)).zip(*sizes);
                places.fold(0, |at, ((i, j), size)| at * size + if back { i + size - j } else { i + j } % size)
            };
            let plan = RealTransform::<f64>::new(sizes);
            let mut spectrum = vec![Complex::default(); plan.spectrum_len()];
            let mut scratch = vec![Complex::default(); plan.scratch_len()];
            plan.transform(&kernel, &mut spectrum, &mut scratch);
            let factors: Vec<_> = spectrum.iter().map(|factor| factor / len as f64).collect();
            let power: Vec<f64> = factors.iter().map(|factor| factor.norm_sqr() * len as f64).collect();
            let run = |factors, add: bool| {
                let mut spectrum = vec![Complex::new(f64::NAN, 0.0); plan.spectrum_len()];
                let mut out = if add { before.clone() } else { vec![f64::NAN; len] };
                let data = Data { x: &x, out: &mut out, add };
                plan.convolve(factors, data, &mut spectrum, &mut vec![Complex::default(); plan.scratch_len()]);
                out
            };
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-10 * len as f64);
            let sum = |x: &[f64], back: bool| -> Vec<f64> {
                (0..len).map(|i| (0..len).map(|j| kernel[j] * x[shifted(i, j, back)]).sum()).collect()
            };
            let forward = run(Factors::Complex(&factors), false);
            assert!(close(&forward, &sum(&x, true)), "{sizes:?}");
            assert!(close(&run(Factors::Conjugate(&factors), false), &sum(&x, false)), "{sizes:?}");
            let twice = sum(&sum(&x, true), false);
            assert!(close(&run(Factors::Real(&power), false), &twice), "{sizes:?}");
            assert!(close(&run(Factors::Power(&factors, len as f64), false), &twice), "{sizes:?}");
            let added: Vec<f64> = forward.iter().zip(&before).map(|(a, b)| a + b).collect();
            assert!(close(&run(Factors::Complex(&factors), true), &added), "{sizes:?}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for sizes in SIZES.iter().copied().chain([&[130, 260][..], &[300], &[9, 70, 80]]) {
            let len = sizes.iter().product();
            let (x, plan) = (random(len, 5), RealTransform::<f64>::new(sizes));
            let run = |count| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
                pool.install(|| {
                    let mut spectrum = vec![Complex::default(); plan.spectrum_len()];
                    let mut scratch = vec![Complex::default(); plan.scratch_len()];
                    plan.transform(&x, &mut spectrum, &mut scratch);
                    let factors = spectrum.clone();
                    let mut out = x.clone();
                    let data = Data { x: &x, out: &mut out, add: true };
                    plan.convolve(Factors::Complex(&factors), data, &mut spectrum, &mut scratch);
                    (factors, out)
                })
            };
            let one = run(1);
            assert!((2..4).all(|count| run(count) == one), "{sizes:?}");
        }
    }

    #[test]
    fn fast_sizes_are_even_and_smooth() {
        assert_eq!([1, 2, 3, 11, 97, 1055, 2049].map(fast_size), [1, 2, 4, 12, 98, 1080, 2058]);
    }
}
