//! Numbers as a file holds them, before the job's scalar is known.

use num_complex::Complex;

use crate::error::Fault;
use crate::scalar::Scalar;

/// A buffer of one of the four scalars.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision (and integers, converted).
    F64(Vec<f64>),
    /// Complex in single precision (NumPy's `complex64`).
    ComplexF32(Vec<Complex<f32>>),
    /// Complex in double precision (NumPy's `complex128`).
    ComplexF64(Vec<Complex<f64>>),
}

impl Numbers {
    /// How many numbers.
    #[allow(clippy::len_without_is_empty)] // a file without numbers is refused where it is read
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(values) => values.len(),
            Numbers::F64(values) => values.len(),
            Numbers::ComplexF32(values) => values.len(),
            Numbers::ComplexF64(values) => values.len(),
        }
    }

    /// The numbers as another scalar. Complex numbers do not become real ones: that is a fault.
    pub fn into_scalars<S: Scalar>(self) -> Result<Vec<S>, Fault> {
        fn convert<From: Scalar, S: Scalar>(values: Vec<From>) -> Result<Vec<S>, Fault> {
            if From::IS_COMPLEX && !S::IS_COMPLEX {
                return Err(Fault::new(format!("complex numbers cannot become {}", S::NAME))
                    .hint("set model.scalar to \"complex_f32\" or \"complex_f64\""));
            }
            if From::NAME == S::NAME {
                return Ok(bytemuck::allocation::cast_vec(values)); // the same type: no copy
            }
            Ok(values.into_iter().map(|value| S::from_parts(value.re(), value.im())).collect())
        }
        match self {
            Numbers::F32(values) => convert(values),
            Numbers::F64(values) => convert(values),
            Numbers::ComplexF32(values) => convert(values),
            Numbers::ComplexF64(values) => convert(values),
        }
    }
}
