//! The discrete Fourier transform of a row-major array over all its dims, in place. Not normalised, not centred: index 0 is
//! the origin, forward sign exp(−2πi…).
//!
//! Lines along the fastest dim are transformed where they lie. Along the others a block of neighbouring lines is turned
//! into consecutive memory first, so that each cache line is fetched once.
//!
//! A [`Plan`] knows which part of the array is not zero (or wanted, on the way back), and leaves out the lines of the rest:
//! a quarter of the work where half of each of two dims is padding. It is shared by threads; what it works in is the
//! caller's. [`Transform`] is a plan with memory of its own.

use std::ops::Range;
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftNum, FftPlanner};

/// Neighbouring lines that are turned together: one or two cache lines of each row.
const TOGETHER: usize = 16;
/// What lies between turned lines: without it those of 2^n numbers would drive each other out of the cache.
const BETWEEN: usize = 8;

/// Which way a [`Transform`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Σ x_k exp(−2πi jk/n).
    There,
    /// Σ x_k exp(+2πi jk/n): n times the inverse.
    Back,
}

/// The transform of arrays of given sizes, for whoever knows only that `R` is a real number.
pub trait Fourier<R>: Send {
    /// Transforms `field` in place.
    fn run(&mut self, field: &mut [Complex<R>], way: Way);
}

/// A planned transform that threads share; for whoever knows only that `R` is a real number.
pub trait Planned<R>: Send + Sync {
    /// The numbers of scratch that a call needs.
    fn scratch(&self) -> usize;
    /// Transforms an array whose part that is not live counts as zero, whatever it holds.
    fn spread(&self, field: &mut [Complex<R>], way: Way, scratch: &mut [Complex<R>]);
    /// Transforms an array to its live part; what is not live holds anything afterwards.
    fn gather(&self, field: &mut [Complex<R>], way: Way, scratch: &mut [Complex<R>]);
    /// `F⁻¹ (w ⊙ F x)` of the live part, for weights in the order of [`turned`](Self::turned), times the number of elements.
    /// There and back along the slowest dim in one go.
    fn filter(&self, field: &mut [Complex<R>], weights: &[R], scratch: &mut [Complex<R>]);
    /// Weights of the elements in the order in which [`filter`](Self::filter) needs them: lines along the slowest dim.
    fn turned(&self, weights: &[R]) -> Vec<R>;
}

/// Which part of one dim is transformed, and how.
#[derive(Debug, Clone, Copy)]
pub struct Along {
    /// The number of samples.
    pub size: usize,
    /// How many of them at the beginning and at the end are not zero.
    pub live: [usize; 2],
    /// Whether there is a transform along this dim.
    pub transformed: bool,
}

impl Along {
    /// All of a dim.
    pub fn whole(size: usize) -> Self {
        Along { size, live: [size, 0], transformed: true }
    }
}

/// A planned transform. Collective: no. Memory: the twiddle factors; scratch for some lines.
pub(crate) struct Plan<R> {
    axes: Vec<Axis<R>>,
    scratch: usize,
}

struct Axis<R> {
    size: usize,
    /// The numbers from one sample to the next.
    stride: usize,
    /// There and back, if any.
    ffts: Option<[Arc<dyn Fft<R>>; 2]>,
    /// The samples that are not zero: a run at the beginning and one at the end.
    live: [Range<usize>; 2],
}

impl<R> Axis<R> {
    fn is_live(&self, at: usize) -> bool {
        self.live.iter().any(|run| run.contains(&at))
    }
}

impl<R: FftNum + Default> Plan<R> {
    /// A transform of arrays of the given dims, slowest first.
    pub fn new(dims: &[Along]) -> Self {
        let mut planner = FftPlanner::new();
        let mut stride: usize = dims.iter().map(|dim| dim.size).product();
        let axis = |&Along { size, live: [first, last], transformed }: &Along| {
            stride = stride.checked_div(size).unwrap_or(0);
            let ffts = transformed.then(|| [planner.plan_fft_forward(size), planner.plan_fft_inverse(size)]);
            Axis { size, stride, ffts, live: [0..first, size - last..size] }
        };
        let axes: Vec<Axis<R>> = dims.iter().map(axis).collect();
        let ffts = axes.iter().flat_map(|axis| &axis.ffts).flatten();
        let own = ffts.map(|fft| fft.get_inplace_scratch_len()).max().unwrap_or(0);
        let longest = axes.iter().rev().skip(1).map(|axis| axis.size).max();
        Plan { scratch: own + longest.map_or(0, |longest| (longest + BETWEEN) * TOGETHER), axes }
    }

    fn along(&self, axis: usize, field: &mut [Complex<R>], way: Way, scratch: &mut [Complex<R>], live: [bool; 2]) {
        if let Some(ffts) = &self.axes[axis].ffts {
            let fft = &ffts[way as usize];
            self.lines(axis, field, scratch, live, |line, scratch| fft.process_with_scratch(line, scratch));
        }
    }

    /// Calls `change` with each line along an axis, of those of the live part of the slower ones; whether what
    /// is not live along the axis itself is zero before, and not wanted after.
    fn lines(
        &self,
        axis: usize,
        field: &mut [Complex<R>],
        scratch: &mut [Complex<R>],
        [pad, cut]: [bool; 2],
        mut change: impl FnMut(&mut [Complex<R>], &mut [Complex<R>]),
    ) {
        let (slower, here) = (&self.axes[..axis], &self.axes[axis]);
        let Axis { size, stride, .. } = *here;
        if size * stride == 0 {
            return;
        }
        let padding = here.live[0].end..here.live[1].start;
        let apart = size + BETWEEN;
        let (turned, scratch) = scratch.split_at_mut(if stride == 1 { 0 } else { apart * TOGETHER });
        for (outer, block) in field.chunks_exact_mut(size * stride).enumerate() {
            let mut rest = outer;
            let is_live = slower.iter().rev().all(|slower| {
                let at = rest % slower.size;
                rest /= slower.size;
                slower.is_live(at)
            });
            if !is_live {
                continue;
            }
            if stride == 1 {
                if pad {
                    block[padding.clone()].fill(Complex::default());
                }
                change(block, scratch);
                continue;
            }
            for first in (0..stride).step_by(TOGETHER) {
                let together = TOGETHER.min(stride - first);
                let wanted = |only: bool| if only { here.live.clone() } else { [0..size, size..size] };
                for k in wanted(pad).into_iter().flatten() {
                    let row = &block[k * stride + first..][..together];
                    for (value, row) in turned[k..].iter_mut().step_by(apart).zip(row) {
                        *value = *row;
                    }
                }
                for line in turned.chunks_exact_mut(apart).take(together) {
                    if pad {
                        line[padding.clone()].fill(Complex::default());
                    }
                    change(&mut line[..size], scratch);
                }
                for k in wanted(cut).into_iter().flatten() {
                    let row = &mut block[k * stride + first..][..together];
                    for (value, line) in row.iter_mut().zip(turned[k..].iter().step_by(apart)) {
                        *value = *line;
                    }
                }
            }
        }
    }
}

impl<R: FftNum + Default> Planned<R> for Plan<R> {
    fn scratch(&self) -> usize {
        self.scratch
    }

    fn spread(&self, field: &mut [Complex<R>], way: Way, scratch: &mut [Complex<R>]) {
        for axis in (0..self.axes.len()).rev() {
            self.along(axis, field, way, scratch, [true, false]);
        }
    }

    fn gather(&self, field: &mut [Complex<R>], way: Way, scratch: &mut [Complex<R>]) {
        for axis in 0..self.axes.len() {
            self.along(axis, field, way, scratch, [false, true]);
        }
    }

    fn filter(&self, field: &mut [Complex<R>], weights: &[R], scratch: &mut [Complex<R>]) {
        let Some(slowest) = self.axes.first() else { return };
        for axis in (1..self.axes.len()).rev() {
            self.along(axis, field, Way::There, scratch, [true, false]);
        }
        let mut weights = weights.chunks_exact(slowest.size.max(1));
        self.lines(0, field, scratch, [true, true], |line, scratch| {
            if let Some([there, _]) = &slowest.ffts {
                there.process_with_scratch(line, scratch);
            }
            for (value, weight) in line.iter_mut().zip(weights.next().unwrap_or_default()) {
                *value = value.scale(*weight);
            }
            if let Some([_, back]) = &slowest.ffts {
                back.process_with_scratch(line, scratch);
            }
        });
        for axis in 1..self.axes.len() {
            self.along(axis, field, Way::Back, scratch, [false, true]);
        }
    }

    fn turned(&self, weights: &[R]) -> Vec<R> {
        let (size, stride) = self.axes.first().map_or((1, 1), |axis| (axis.size, axis.stride));
        (0..stride).flat_map(|line| (0..size).map(move |k| weights[k * stride + line])).collect()
    }
}

/// The next number without prime factors above 5: a fast size for Fourier transforms.
pub(crate) fn fast_size(least: usize) -> usize {
    let fast = |size: &usize| {
        let mut rest = *size;
        for prime in [2, 3, 5] {
            while rest.is_multiple_of(prime) {
                rest /= prime;
            }
        }
        rest == 1
    };
    (least.max(1)..).find(fast).unwrap_or(least)
}

/// Operations of a Fourier transform of a grid of which only `live` samples of each dim are not zero.
pub(crate) fn cost(sizes: &[usize], live: &[usize]) -> f64 {
    let along = |axis: usize| {
        let lines = live[..axis].iter().chain(&sizes[axis + 1..]).product::<usize>();
        5.0 * (lines * sizes[axis]) as f64 * (sizes[axis].max(2) as f64).log2()
    };
    (0..sizes.len()).map(along).sum()
}

/// A transform with what it works in.
pub(crate) struct Transform<R> {
    plan: Plan<R>,
    scratch: Vec<Complex<R>>,
}

impl<R: FftNum + Default> Transform<R> {
    /// A transform of arrays of the given sizes, slowest dim first.
    pub fn new(sizes: &[usize]) -> Self {
        let plan = Plan::new(&sizes.iter().map(|size| Along::whole(*size)).collect::<Vec<_>>());
        Transform { scratch: vec![Complex::default(); plan.scratch()], plan }
    }
}

impl<R: FftNum + Default> Fourier<R> for Transform<R> {
    fn run(&mut self, field: &mut [Complex<R>], way: Way) {
        self.plan.spread(field, way, &mut self.scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the defining sum, for sizes with and without a rest of lines, and of 1.
    #[test]
    fn it_is_the_defining_sum() {
        for sizes in [vec![5], vec![3, 4], vec![7, 19], vec![2, 1, 35], vec![3, 5, 4]] {
            let len: usize = sizes.iter().product();
            let field: Vec<_> = (0..len).map(|k| Complex::new((k as f64 * 0.7).sin(), (k as f64).cos())).collect();
            let index = |mut offset: usize| {
                let mut found = vec![0; sizes.len()];
                for (found, size) in found.iter_mut().zip(&sizes).rev() {
                    (*found, offset) = (offset % size, offset / size);
                }
                found
            };
            for (way, sign) in [(Way::There, -1.0), (Way::Back, 1.0)] {
                let mut transformed = field.clone();
                Transform::new(&sizes).run(&mut transformed, way);
                for (j, got) in transformed.iter().enumerate() {
                    let phase = |k: usize| -> f64 {
                        index(j).iter().zip(index(k)).zip(&sizes).map(|((j, k), n)| (j * k) as f64 / *n as f64).sum()
                    };
                    let term = |k: usize| field[k] * Complex::from_polar(1.0, sign * std::f64::consts::TAU * phase(k));
                    let want: Complex<f64> = (0..len).map(term).sum();
                    assert!((got - want).norm() < 1e-11, "{sizes:?} {way:?} {j}: {got} {want}");
                }
            }
        }
    }

    fn numbers(len: usize) -> Vec<Complex<f64>> {
        (0..len).map(|k| Complex::new((k as f64 * 1.3).sin(), (k as f64 * 0.4).cos())).collect()
    }

    /// What is not live is zero before, and left out after: against the transform of the whole.
    #[test]
    fn a_padded_plan_is_the_plan_with_zeros() {
        for dims in [vec![(9, [2, 3])], vec![(6, [1, 2]), (40, [0, 7])], vec![(4, [2, 1]), (5, [5, 0]), (6, [1, 1])]] {
            let along: Vec<_> = dims.iter().map(|&(size, live)| Along { size, live, transformed: true }).collect();
            let sizes: Vec<usize> = dims.iter().map(|dim| dim.0).collect();
            let len: usize = sizes.iter().product();
            let is_live = |mut offset: usize| {
                dims.iter().rev().all(|&(size, [first, last])| {
                    let at = offset % size;
                    offset /= size;
                    at < first || at >= size - last
                })
            };
            let plan = Plan::<f64>::new(&along);
            let mut scratch = vec![Complex::default(); plan.scratch()];
            let (mut zeroed, mut got) = (numbers(len), numbers(len));
            (0..len).filter(|k| !is_live(*k)).for_each(|k| zeroed[k] = Complex::default());
            let mut whole = Transform::new(&sizes);
            let spectrum = |field: &[Complex<f64>], whole: &mut Transform<f64>, way| {
                let mut field = field.to_vec();
                whole.run(&mut field, way);
                field
            };
            let close = |got: &[Complex<f64>], want: &[Complex<f64>], of: &dyn Fn(usize) -> bool| {
                assert!((0..len).filter(|k| of(*k)).all(|k| (got[k] - want[k]).norm() < 1e-11), "{dims:?}");
            };
            plan.spread(&mut got, Way::There, &mut scratch);
            let there = spectrum(&zeroed, &mut whole, Way::There);
            close(&got, &there, &|_| true);
            let mut got = numbers(len);
            plan.gather(&mut got, Way::Back, &mut scratch);
            close(&got, &spectrum(&numbers(len), &mut whole, Way::Back), &is_live);
            let weights: Vec<f64> = (0..len).map(|k| 1.0 + (k % 7) as f64).collect();
            let mut got = numbers(len);
            plan.filter(&mut got, &plan.turned(&weights), &mut scratch);
            let filtered: Vec<_> = there.iter().zip(&weights).map(|(value, weight)| value * weight).collect();
            close(&got, &spectrum(&filtered, &mut whole, Way::Back), &is_live);
        }
    }

    /// A dim that is not transformed is a batch.
    #[test]
    fn dims_may_be_left_out() {
        let along = [Along { transformed: false, ..Along::whole(3) }, Along::whole(5)];
        let plan = Plan::<f64>::new(&along);
        let (mut got, mut want) = (numbers(15), numbers(15));
        plan.spread(&mut got, Way::There, &mut vec![Complex::default(); plan.scratch()]);
        want.chunks_mut(5).for_each(|row| Transform::new(&[5]).run(row, Way::There));
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).norm() < 1e-12));
    }
}
