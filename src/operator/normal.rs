//! Normal operators `AᴴA` that are diagonal: in the basis of the model itself, or in Fourier's.
//!
//! Sums of such operators are as cheap as one: their weights add. So the members of a stack that share a basis are merged
//! into one, and where all do, an application sends nothing. (A convolution with circular boundaries is diagonal in
//! Fourier's basis: P. C. Hansen, J. G. Nagy and D. P. O'Leary, "Deblurring images", SIAM 2006, section 4.2.)

use std::fmt;

use num_complex::Complex;
use serde::{Deserialize, Serialize};

use crate::fourier::{Fourier, Way};
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
    /// Bytes that a normal operator in this basis holds for a model of `len` elements.
    pub(crate) fn bytes(self, len: usize, real_bytes: u64) -> u64 {
        let reals = match self {
            Basis::Model => 1,
            Basis::Fourier => 3, // weights, and a complex field
        };
        reals * len as u64 * real_bytes
    }
}

/// `AᴴA` by its weights, its eigenvalues, in a basis.
pub(crate) struct DiagonalNormal<X: Scalar> {
    weights: Vec<X::Real>,
    fourier: Option<InFourier<X::Real>>,
}

/// The transform, and what it works in.
type InFourier<R> = (Box<dyn Fourier<R>>, Vec<Complex<R>>);

impl<X: Scalar> DiagonalNormal<X> {
    /// From weights on a model of the given sizes; only their real parts count.
    pub fn new(basis: Basis, sizes: &[usize], weights: &[X]) -> Self {
        let len = weights.len();
        let (fourier, scale) = match basis {
            Basis::Model => (None, 1.0),
            Basis::Fourier => {
                let field = vec![Complex::new(X::Real::default(), X::Real::default()); len];
                (Some((X::Real::fourier(sizes), field)), 1.0 / len as f64) // there and back
            }
        };
        let weights = weights.iter().map(|weight| X::Real::from_f64(weight.re() * scale)).collect();
        DiagonalNormal { weights, fourier }
    }

    /// `out = AᴴA x`. Collective: no.
    pub fn apply(&mut self, x: &[X], out: &mut [X]) {
        let Some((transform, field)) = &mut self.fourier else {
            for ((out, x), weight) in out.iter_mut().zip(x).zip(&self.weights) {
                *out = x.scale(*weight);
            }
            return;
        };
        for (field, x) in field.iter_mut().zip(x) {
            *field = x.to_complex();
        }
        transform.run(field, Way::There);
        for (field, weight) in field.iter_mut().zip(&self.weights) {
            *field = Complex::new(field.re * *weight, field.im * *weight);
        }
        transform.run(field, Way::Back);
        for (out, field) in out.iter_mut().zip(field.iter()) {
            *out = X::from_complex(*field);
        }
    }
}
