//! The four numbers that vectors are made of: `f32`, `f64`, and their complex pairs.
//!
//! Norms, tolerances, step sizes and histories are `f64` for all four, so nothing above the vectors needs a type
//! parameter for them. Sums of `f32` data accumulate in `f64`.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{AddAssign, MulAssign, Neg, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};
use ndarray_npy::{ReadableElement, WritableElement};
use num_complex::Complex;

use crate::comm::{Buf, BufMut};
use crate::fourier::{Along, Fourier, Plan, Planned, Transform};
use crate::real_fourier::{RealFourier, RealTransform};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for num_complex::Complex<f32> {}
    impl Sealed for num_complex::Complex<f64> {}
}

/// A number that a vector may hold. Sealed: `f32`, `f64`, `Complex<f32>`, `Complex<f64>`.
pub trait Scalar:
    sealed::Sealed
    + LinalgScalar
    + ScalarOperand
    + ReadableElement
    + WritableElement
    + bytemuck::Pod
    + Send
    + Sync
    + Debug
    + Display
    + Default
    + PartialEq
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    /// `Self` for real numbers, the type of the two parts for complex ones.
    type Real: Real;
    /// The name that configs, reports and errors use.
    const NAME: &'static str;
    /// Whether there is an imaginary part.
    const IS_COMPLEX: bool;

    /// A number from its parts; the imaginary one is dropped by real types.
    fn from_parts(re: f64, im: f64) -> Self;
    /// A real number.
    fn from_f64(re: f64) -> Self {
        Self::from_parts(re, 0.0)
    }
    /// The complex conjugate.
    fn conj(self) -> Self;
    /// The real part.
    fn re(self) -> f64;
    /// The imaginary part, zero for real types.
    fn im(self) -> f64;
    /// The product with a real number.
    fn scale(self, by: Self::Real) -> Self;
    /// |z|².
    fn modulus_squared(self) -> f64 {
        self.re() * self.re() + self.im() * self.im()
    }
    /// The same number as a complex one.
    fn to_complex(self) -> Complex<Self::Real>;
    /// A number from a complex one; real types drop the imaginary part.
    fn from_complex(z: Complex<Self::Real>) -> Self;
    /// Whether both parts are finite.
    fn is_finite(self) -> bool {
        self.re().is_finite() && self.im().is_finite()
    }

    /// The same memory as real numbers; a complex one is a pair (re, im).
    fn as_reals(values: &[Self]) -> &[Self::Real] {
        bytemuck::cast_slice(values)
    }
    /// The same memory as real numbers, to be changed.
    fn as_reals_mut(values: &mut [Self]) -> &mut [Self::Real] {
        bytemuck::cast_slice_mut(values)
    }
    /// The same memory as a buffer that can be sent.
    fn buf(values: &[Self]) -> Buf<'_> {
        Self::Real::real_buf(Self::as_reals(values))
    }
    /// The same memory as a buffer that can be received into.
    fn buf_mut(values: &mut [Self]) -> BufMut<'_> {
        Self::Real::real_buf_mut(Self::as_reals_mut(values))
    }
}

/// A real [`Scalar`]: `f32` or `f64`.
pub trait Real: Scalar<Real = Self> + PartialOrd {
    /// The distance from 1 to the next larger number.
    const EPSILON: f64;

    /// The Fourier transform of complex arrays of these numbers.
    #[doc(hidden)]
    fn fourier(sizes: &[usize]) -> Box<dyn Fourier<Self>>;
    /// The Fourier transform of real arrays of these numbers.
    #[doc(hidden)]
    fn real_fourier(sizes: &[usize]) -> Box<dyn RealFourier<Self>>;
    /// The Fourier transform of complex arrays, as a plan that threads share.
    #[doc(hidden)]
    fn fourier_plan(dims: &[Along]) -> Box<dyn Planned<Self>>;
    /// Real numbers as a buffer that can be sent.
    fn real_buf(values: &[Self]) -> Buf<'_>;
    /// Real numbers as a buffer that can be received into.
    fn real_buf_mut(values: &mut [Self]) -> BufMut<'_>;
}

macro_rules! real_scalar {
    ($real:ty, $name:literal, $variant:ident) => {
        impl Scalar for $real {
            type Real = $real;
            const NAME: &'static str = $name;
            const IS_COMPLEX: bool = false;

            fn from_parts(re: f64, _im: f64) -> Self {
                re as $real
            }
            fn conj(self) -> Self {
                self
            }
            fn re(self) -> f64 {
                f64::from(self)
            }
            fn im(self) -> f64 {
                0.0
            }
            fn scale(self, by: $real) -> Self {
                self * by
            }
            fn to_complex(self) -> Complex<$real> {
                Complex::new(self, 0.0)
            }
            fn from_complex(z: Complex<$real>) -> Self {
                z.re
            }
        }

        impl Real for $real {
            const EPSILON: f64 = <$real>::EPSILON as f64;

            fn fourier(sizes: &[usize]) -> Box<dyn Fourier<Self>> {
                Box::new(Transform::new(sizes))
            }
            fn real_fourier(sizes: &[usize]) -> Box<dyn RealFourier<Self>> {
                Box::new(RealTransform::new(sizes))
            }
            fn fourier_plan(dims: &[Along]) -> Box<dyn Planned<Self>> {
                Box::new(Plan::new(dims))
            }
            fn real_buf(values: &[Self]) -> Buf<'_> {
                Buf::$variant(values)
            }
            fn real_buf_mut(values: &mut [Self]) -> BufMut<'_> {
                BufMut::$variant(values)
            }
        }

        impl Scalar for Complex<$real> {
            type Real = $real;
            const NAME: &'static str = concat!("complex_", $name);
            const IS_COMPLEX: bool = true;

            fn from_parts(re: f64, im: f64) -> Self {
                Complex::new(re as $real, im as $real)
            }
            fn conj(self) -> Self {
                Complex::conj(&self)
            }
            fn re(self) -> f64 {
                f64::from(self.re)
            }
            fn im(self) -> f64 {
                f64::from(self.im)
            }
            fn scale(self, by: $real) -> Self {
                Complex::scale(&self, by)
            }
            fn to_complex(self) -> Self {
                self
            }
            fn from_complex(z: Self) -> Self {
                z
            }
        }
    };
}

real_scalar!(f32, "f32", F32);
real_scalar!(f64, "f64", F64);

/// The same memory as complex numbers. The scalar must be complex: operators that use this are made for no other.
pub(crate) fn complex<S: Scalar>(values: &[S]) -> &[Complex<S::Real>] {
    bytemuck::cast_slice(values)
}
/// The same memory as complex numbers, to be changed.
pub(crate) fn complex_mut<S: Scalar>(values: &mut [S]) -> &mut [Complex<S::Real>] {
    bytemuck::cast_slice_mut(values)
}
