//! The discrete Fourier transform of a row-major array over all its dims, in place. Not normalised, not centred: index 0 is
//! the origin, forward sign exp(−2πi…).
//!
//! Lines along the fastest dim are transformed where they lie. Along the others a block of neighbouring lines is turned
//! into consecutive memory first, so that each cache line is fetched once.

use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftNum, FftPlanner};

/// Neighbouring lines that are turned together: one or two cache lines of each row.
const TOGETHER: usize = 16;

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

/// A planned transform with its scratch. Collective: no. Memory: a few lines.
pub(crate) struct Transform<R> {
    sizes: Vec<usize>,
    /// For each dim, there and back.
    plans: Vec<[Arc<dyn Fft<R>>; 2]>,
    lines: Vec<Complex<R>>,
    scratch: Vec<Complex<R>>,
}

impl<R: FftNum + Default> Transform<R> {
    /// A transform of arrays of the given sizes, slowest dim first.
    pub fn new(sizes: &[usize]) -> Self {
        let mut planner = FftPlanner::new();
        let plans: Vec<[Arc<dyn Fft<R>>; 2]> =
            sizes.iter().map(|&size| [planner.plan_fft_forward(size), planner.plan_fft_inverse(size)]).collect();
        let scratch = plans.iter().flatten().map(|plan| plan.get_inplace_scratch_len()).max().unwrap_or(0);
        let longest = sizes.iter().rev().skip(1).copied().max().unwrap_or(0);
        Transform {
            sizes: sizes.to_vec(),
            plans,
            lines: vec![Complex::default(); longest * TOGETHER],
            scratch: vec![Complex::default(); scratch],
        }
    }
}

impl<R: FftNum + Default> Fourier<R> for Transform<R> {
    fn run(&mut self, field: &mut [Complex<R>], way: Way) {
        let mut stride = 1;
        for (&size, plans) in self.sizes.iter().zip(&self.plans).rev() {
            let plan = &plans[way as usize];
            if stride == 1 {
                plan.process_with_scratch(field, &mut self.scratch);
            } else if size > 1 {
                for block in field.chunks_mut(size * stride) {
                    for first in (0..stride).step_by(TOGETHER) {
                        let together = TOGETHER.min(stride - first);
                        let lines = &mut self.lines[..size * together];
                        for (k, row) in block.chunks(stride).enumerate() {
                            for (line, value) in row[first..first + together].iter().enumerate() {
                                lines[line * size + k] = *value;
                            }
                        }
                        plan.process_with_scratch(lines, &mut self.scratch);
                        for (k, row) in block.chunks_mut(stride).enumerate() {
                            for (line, value) in row[first..first + together].iter_mut().enumerate() {
                                *value = lines[line * size + k];
                            }
                        }
                    }
                }
            }
            stride *= size;
        }
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
}
