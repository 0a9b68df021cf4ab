//! Preconditioners: fixed maps `M⁻¹` that are nearly `(AᴴA + λI)⁻¹` and much cheaper. One file each.
//!
//! A preconditioner changes how fast conjugate gradients get to the solution, never which solution. It is found once,
//! before the solve.

mod block;
mod fourier;
mod jacobi;
mod sums;

pub use block::BlockParams;
pub use fourier::FourierParams;
pub use jacobi::JacobiParams;
pub use sums::{Sums, SumsParams};

use crate::comm::Team;
use crate::error::Error;
use crate::kinds::kinds;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// A Hermitian, positive definite map `M⁻¹`, the same in every step.
pub trait Preconditioner<S: Scalar> {
    /// `z = M⁻¹ r`. Collective: yes, though most send nothing.
    fn apply(&mut self, r: &Vector<S>, z: &mut Vector<S>) -> Result<(), Error>;
}

kinds! {
    /// A preconditioner, with its parameters.
    pub enum AnyPreconditioner by "kind" {
        "jacobi" => Jacobi(JacobiParams),
        "sums" => Sums(SumsParams),
        "fourier" => Fourier(FourierParams),
        "block" => Block(BlockParams),
    }
}

impl AnyPreconditioner {
    /// Name and one line for each, for `stackphys list preconditioners`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] = &[
        ("jacobi", "the diagonal of AᴴA, where operators know it; estimated with random signs otherwise"),
        ("sums", "the sums AᵀA1 of the rows of AᵀA, for operators without negative entries"),
        ("fourier", "a convolution with the response of AᴴA to a pulse in the middle, undone by FFT"),
        ("block", "each operator's own (AᴴA + μI)⁻¹ by a few Chebyshev steps, added up (additive Schwarz)"),
    ];

    /// The preconditioner for `AᴴA + λI`. Collective: yes; see the parameters for the cost.
    pub fn build<'a, X: Scalar, Y: Scalar<Real = X::Real>>(
        &self,
        stack: &'a Stack<X, Y>,
        damping: f64,
    ) -> Result<Box<dyn Preconditioner<X> + 'a>, Error> {
        Ok(match self {
            Self::Jacobi(params) => Box::new(jacobi::jacobi(stack, params, damping)?),
            Self::Sums(SumsParams {}) => Box::new(sums::sums(stack, damping)?),
            Self::Fourier(params) => Box::new(fourier::Fourier::new(stack, params, damping)?),
            Self::Block(params) => Box::new(block::Block::new(stack, params, damping)?),
        })
    }

    /// Vectors of the model that it holds.
    pub fn model_vectors(&self) -> u64 {
        match self {
            Self::Jacobi(_) | Self::Sums(_) => 1,
            Self::Fourier(_) => 4, // a spectrum and a complex field, in f64
            Self::Block(_) => 3,
        }
    }
    /// Vector reductions of one application.
    pub fn vector_reductions(&self) -> u64 {
        u64::from(matches!(self, Self::Block(_)))
    }
}

/// `z = r ⊘ d`, element by element.
struct Diagonal<X> {
    /// One over d.
    inverse: Vector<X>,
}

impl<X: Scalar> Diagonal<X> {
    /// From `d ≥ 0`. What is below `floor` of the largest counts as that; a diagonal of zeros as ones. Collective: yes, one
    /// scalar reduction.
    fn new(team: &Team, mut d: Vector<X>, floor: f64) -> Self {
        let [largest] = team.max([d.as_slice().iter().map(|d| d.re()).fold(0.0, f64::max)]);
        for d in d.as_mut_slice() {
            let kept = super::system::at_least(d.re(), floor * largest);
            *d = X::from_f64(if largest == 0.0 { 1.0 } else { 1.0 / kept });
        }
        Diagonal { inverse: d }
    }
}

impl<X: Scalar> Preconditioner<X> for Diagonal<X> {
    fn apply(&mut self, r: &Vector<X>, z: &mut Vector<X>) -> Result<(), Error> {
        for ((z, r), d) in z.as_mut_slice().iter_mut().zip(r.as_slice()).zip(self.inverse.as_slice()) {
            *z = *d * *r;
        }
        Ok(())
    }
}
