//! Normal operators `AᴴA` that are diagonal: in the basis of the model itself, or in Fourier's.
//!
//! Sums of such operators are as cheap as one: their weights add. So the members of a stack that share a basis are merged
//! into one, and where all do, an application sends nothing. (A convolution with circular boundaries is diagonal in
//! Fourier's basis: P. C. Hansen, J. G. Nagy and D. P. O'Leary, "Deblurring images", SIAM 2006, section 4.2.)

use std::fmt;

use num_complex::Complex;
use serde::{Deserialize, Serialize};

use crate::fourier::{Fourier, Way};
use crate::real_fourier::{Data, Factors, RealFourier, half};
use crate::scalar::{Real, Scalar};

/// A basis in which `AᴴA` is diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// That of the model's elements: `AᴴA x = w ⊙ x`.
    Model,
    /// That of the discrete Fourier transform over all dims of the model, index 0 as the origin: `AᴴA x = F⁻¹(w ⊙ F x)`.
    Fourier,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Basis::Model => "diagonal",
            Basis::Fourier => "diagonal in Fourier space",
        })
    }
}

impl Basis {
    /// Bytes that a normal operator in this basis holds for a model of `len` elements: weights, and of Fourier's the spectrum.
    pub(crate) fn bytes(self, len: usize, real_bytes: u64, is_complex: bool) -> u64 {
        let reals = match self {
            Basis::Model => len,
            Basis::Fourier if is_complex => 3 * len,
            Basis::Fourier => 3 * len / 2, // one half is the mirror image of the other
        };
        reals as u64 * real_bytes
    }
}

/// `AᴴA` by its weights, its eigenvalues, in a basis.
pub(crate) struct DiagonalNormal<X: Scalar> {
    weights: Vec<X::Real>,
    field: Vec<Complex<X::Real>>,
    by: By<X::Real>,
}

/// What leads to the basis and back.
enum By<R> {
    Nothing,
    Real { transform: Box<dyn RealFourier<R>>, scratch: Vec<Complex<R>> },
    Complex(Box<dyn Fourier<R>>),
}

impl<X: Scalar> DiagonalNormal<X> {
    /// From weights on a model of the given sizes; only their real parts count. Those of a real `AᴴA` in Fourier's basis are
    /// the same for a wave and its opposite.
    pub fn new(basis: Basis, sizes: &[usize], weights: &[X]) -> Self {
        let len = weights.len();
        let scale = if basis == Basis::Fourier { 1.0 / len as f64 } else { 1.0 }; // there and back
        let mut weights: Vec<_> = weights.iter().map(|weight| X::Real::from_f64(weight.re() * scale)).collect();
        let by = match basis {
            Basis::Model => By::Nothing,
            Basis::Fourier if X::IS_COMPLEX || len == 0 => By::Complex(X::Real::fourier(sizes)),
            Basis::Fourier => {
                weights = half(sizes, &weights);
                By::Real { transform: X::Real::real_fourier(sizes), scratch: Vec::new() }
            }
        };
        let spectrum = if basis == Basis::Fourier { weights.len() } else { 0 };
        DiagonalNormal { weights, field: vec![Complex::default(); spectrum], by }
    }

    /// `out = AᴴA x`. Collective: no.
    pub fn apply(&mut self, x: &[X], out: &mut [X]) {
        let DiagonalNormal { weights, field, by } = self;
        match by {
            By::Nothing => {
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weights) {
                    *out = x.scale(*weight);
                }
            }
            By::Real { transform, scratch } => {
                scratch.resize(transform.scratch_len(), Complex::default()); // the threads are known only here
                let data = Data { x: X::as_reals(x), out: X::as_reals_mut(out), add: false };
                transform.convolve(Factors::Real(weights), data, field, scratch);
            }
            By::Complex(transform) => {
                for (field, x) in field.iter_mut().zip(x) {
                    *field = x.to_complex();
                }
                transform.run(field, Way::There);
                for (field, weight) in field.iter_mut().zip(weights) {
                    *field = Complex::new(field.re * *weight, field.im * *weight);
                }
                transform.run(field, Way::Back);
                for (out, field) in out.iter_mut().zip(field.iter()) {
                    *out = X::from_complex(*field);
                }
            }
        }
    }
}
