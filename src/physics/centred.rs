//! The centred unitary Fourier transform, with an image that is multiplied before and a mask after: what Fourier sampling
//! and Cartesian MRI have in common.
//!
//! Index ⌊n/2⌋ is the origin on both sides. Shifts by half a dim are phases on the other side, so nothing is moved: `p_n =
//! exp(2πi ⌊N/2⌋ n/N)` before and after the transform that has its origin at index 0. The phases before are part of the
//! image's factors (of a coil map), those after of the mask.

use std::f64::consts::TAU;

use num_complex::Complex;

use crate::fourier::{self, Along, Planned, Way};
use crate::operator::Work;
use crate::scalar::{Real, Scalar, complex_mut};

/// `y = after ⊙ F (before ⊙ x)` for any number of `before`. Memory: one and a half models.
pub(super) struct Centred<S: Scalar> {
    plan: Box<dyn Planned<S::Real>>,
    after: Vec<S>,
    /// |after|² over the number of elements, as the plan wants them.
    weights: Vec<S::Real>,
}

/// `exp(2πi ⌊N/2⌋ n/N)` for all elements, over the dims that are transformed, times `factor`.
fn phases<S: Scalar>(dims: &[(usize, bool)], factor: Complex<f64>) -> Vec<S> {
    let mut all = vec![factor];
    for &(size, transformed) in dims {
        let phase = |n: usize| match transformed {
            true => Complex::from_polar(1.0, TAU * (size / 2 * n % size) as f64 / size as f64),
            false => Complex::from(1.0),
        };
        let along: Vec<_> = (0..size).map(phase).collect();
        all = all.iter().flat_map(|slower| along.iter().map(move |phase| slower * phase)).collect();
    }
    all.into_iter().map(|phase| S::from_parts(phase.re, phase.im)).collect()
}

impl<S: Scalar> Centred<S> {
    /// Over the dims that say so, with the samples of a mask: one for each element of the transformed dims, in their order.
    pub fn new(dims: &[(usize, bool)], mask: Option<&[bool]>) -> Self {
        let along: Vec<Along> =
            dims.iter().map(|&(size, transformed)| Along { transformed, ..Along::whole(size) }).collect();
        let transformed = || dims.iter().filter(|dim| dim.1).map(|dim| dim.0);
        let elements: usize = transformed().product();
        // the constant part of both shifts, and the unitary factor
        let turns: f64 = transformed().map(|size| ((size / 2) * (size / 2) % size.max(1)) as f64 / size as f64).sum();
        let factor = Complex::from_polar(1.0 / (elements.max(1) as f64).sqrt(), -TAU * turns);
        let mut after: Vec<S> = phases(dims, factor);
        if let Some(mask) = mask {
            for (offset, after) in after.iter_mut().enumerate() {
                let (mut rest, mut at, mut stride) = (offset, 0, 1);
                for &(size, transformed) in dims.iter().rev() {
                    if transformed {
                        at += rest % size * stride;
                        stride *= size;
                    }
                    rest /= size;
                }
                if !mask[at] {
                    *after = S::default();
                }
            }
        }
        let plan = <S::Real as Real>::fourier_plan(&along);
        let power: Vec<S::Real> = after
            .iter()
            .map(|after| {
                <S::Real as Scalar>::from_f64(if *after == S::default() { 0.0 } else { 1.0 / elements as f64 })
            })
            .collect();
        let weights = plan.turned(&power);
        Centred { plan, after, weights }
    }

    /// The factors of an image that is taken as it is.
    pub fn before(dims: &[(usize, bool)]) -> Vec<S> {
        phases(dims, Complex::from(1.0))
    }

    /// The mean of the mask.
    pub fn sampled(&self) -> f64 {
        let taken = self.after.iter().filter(|after| **after != S::default()).count();
        taken as f64 / self.after.len().max(1) as f64
    }

    pub fn is_sampled(&self, element: usize) -> bool {
        self.after[element] != S::default()
    }

    /// `y = after ⊙ F (before ⊙ x)`.
    pub fn forward(&self, before: &[S], x: &[S], y: &mut [S], work: &mut Work) {
        times(y, before, x);
        let mut scratch = work.take::<S>("fourier scratch", self.plan.scratch());
        self.plan.spread(complex_mut(y), Way::There, complex_mut(&mut scratch));
        work.give("fourier scratch", scratch);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || y.iter_mut().zip(&self.after).for_each(|(y, after)| *y *= *after),
        );
    }

    /// `x += conj(before) ⊙ Fᴴ (conj(after) ⊙ y)`.
    pub fn adjoint_add(&self, before: &[S], y: &[S], x: &mut [S], work: &mut Work) {
        let mut field = work.take::<S>("fourier field", y.len());
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((field, y), after) in field.iter_mut().zip(y).zip(&self.after) {
                    *field = after.conj() * *y;
                }
            },
        );
        let mut scratch = work.take::<S>("fourier scratch", self.plan.scratch());
        self.plan.spread(complex_mut(&mut field), Way::Back, complex_mut(&mut scratch));
        work.give("fourier scratch", scratch);
        add_conjugate_times(x, before, &field);
        work.give("fourier field", field);
    }

    /// `out += conj(before) ⊙ Fᴴ (|after|² ⊙ F (before ⊙ x))`: one pair of transforms, and nothing of the data.
    pub fn normal_add(&self, before: &[S], x: &[S], out: &mut [S], work: &mut Work) {
        let mut field = work.take::<S>("fourier field", x.len());
        times(&mut field, before, x);
        let mut scratch = work.take::<S>("fourier scratch", self.plan.scratch());
        self.plan.filter(complex_mut(&mut field), &self.weights, complex_mut(&mut scratch));
        work.give("fourier scratch", scratch);
        add_conjugate_times(out, before, &field);
        work.give("fourier field", field);
    }

    /// Bytes of `after` and the weights, of scratch, and operations of one transform.
    pub fn needs(dims: &[(usize, bool)]) -> (usize, usize, f64) {
        let sizes: Vec<usize> = dims.iter().map(|dim| dim.0).collect();
        let len: usize = sizes.iter().product();
        let lines = 16 * sizes.iter().copied().max().unwrap_or(0);
        (len * (size_of::<S>() + size_of::<S::Real>()), (len + lines) * size_of::<S>(), fourier::cost(&sizes, &sizes))
    }
}

/// `out = a ⊙ b`, in the widest registers that there are: they change no bit.
fn times<S: Scalar>(out: &mut [S], a: &[S], b: &[S]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = *a * *b;
            }
        },
    );
}

/// `out += conj(a) ⊙ b`.
fn add_conjugate_times<S: Scalar>(out: &mut [S], a: &[S], b: &[S]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out += a.conj() * *b;
            }
        },
    );
}
