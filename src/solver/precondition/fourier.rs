//! A preconditioner that is diagonal in Fourier space: `AᴴA` as a convolution.
//!
//! Reference: N. H. Clinthorne et al., "Preconditioning methods for improved convergence rates in iterative reconstruction",
//! IEEE TMI 12 (1993); T. F. Chan, "An optimal circulant preconditioner for Toeplitz systems", SIAM J. Sci. Stat. Comput. 9
//! (1988). The response of `AᴴA` to a unit pulse in the middle of the model is taken for its response everywhere.

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preconditioner;
use crate::error::Error;
use crate::fourier::{Fourier as _, Transform, Way};
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of the preconditioner in Fourier space.
///
/// Cost: one AᴴA and one vector reduction before the solve; two fast Fourier transforms of the model in a step, on every
/// rank. Nothing is sent in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FourierParams {
    /// The smallest part of the largest value of the spectrum that any value counts as.
    pub floor: f64,
}

impl Default for FourierParams {
    fn default() -> Self {
        FourierParams { floor: 0.01 }
    }
}

pub(super) struct Fourier {
    transform: Transform<f64>,
    /// One over the spectrum of `AᴴA + λI`, and over the number of elements.
    inverse: Vec<f64>,
    field: Vec<Complex<f64>>,
}

impl Fourier {
    pub(super) fn new<X: Scalar, Y: Scalar<Real = X::Real>>(
        stack: &Stack<X, Y>,
        params: &FourierParams,
        damping: f64,
    ) -> Result<Self, Error> {
        stack.expect_whole_model("the preconditioner `fourier`")?;
        let sizes = stack.plan().domain().sizes();
        let len: usize = sizes.iter().product();
        let middle = sizes.iter().fold(0, |offset, size| offset * size + size / 2);
        let (mut pulse, mut response) = (stack.zero_model(), stack.zero_model());
        pulse.as_mut_slice()[middle] = X::from_f64(1.0);
        stack.normal(&pulse, &mut response)?;

        // the middle becomes the origin
        let mut field = vec![Complex::default(); len];
        for (offset, value) in response.as_slice().iter().enumerate() {
            let (mut rest, mut to, mut stride) = (offset, 0, 1);
            for size in sizes.iter().rev() {
                to += (rest % size + size - size / 2) % size * stride;
                (rest, stride) = (rest / size, stride * size);
            }
            field[to] = Complex::new(value.re(), value.im());
        }
        let mut transform = Transform::new(&sizes);
        transform.run(&mut field, Way::There);
        // the spectrum of a Hermitian map is real; that of a positive one is not negative
        let largest = field.iter().map(|value| value.re).fold(0.0, f64::max);
        let spectrum =
            field.iter().map(|value| super::super::system::at_least(value.re, params.floor * largest) + damping);
        let inverse = spectrum.map(|value| if value == 0.0 { 1.0 } else { 1.0 / value } / len as f64).collect();
        Ok(Fourier { transform, inverse, field })
    }
}

impl<X: Scalar> Preconditioner<X> for Fourier {
    fn apply(&mut self, r: &Vector<X>, z: &mut Vector<X>) -> Result<(), Error> {
        for (to, value) in self.field.iter_mut().zip(r.as_slice()) {
            *to = Complex::new(value.re(), value.im());
        }
        self.transform.run(&mut self.field, Way::There);
        for (value, inverse) in self.field.iter_mut().zip(&self.inverse) {
            *value *= inverse;
        }
        self.transform.run(&mut self.field, Way::Back);
        for (to, value) in z.as_mut_slice().iter_mut().zip(&self.field) {
            *to = X::from_parts(value.re, value.im);
        }
        Ok(())
    }
}
