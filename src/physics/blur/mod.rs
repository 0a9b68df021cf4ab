//! Blur `y = k ∗ x`: what a lens, a detector, a motion or a low-pass filter does to an image.
//!
//! A kernel comes from a few parameters or from a file (`kernel`), what lies beyond the edges of the image is a choice
//! (`padding`). A Gaussian with periodic edges has a way of its own (`gaussian`); all others are a [`Convolution`], which goes by
//! shifted sums or by Fourier transforms, whichever costs less. Several of these with weights make a blur that is not the same
//! everywhere (`varying`).

mod convolution;
mod extension;
mod gaussian;
mod kernel;
pub(in crate::physics) mod lanes;
mod padding;
mod params;
mod pass;
mod shapes;
mod taps;
mod varying;
mod window;

pub use self::convolution::{By, Convolution};
pub use self::gaussian::Blur;
pub use self::kernel::{Kernel, KernelParams};
pub use self::padding::Padding;
pub use self::params::{BlurParams, PerDim};
pub use self::shapes::{AiryKernel, BoxKernel, DiscKernel, FileKernel, GaussianKernel, MotionKernel};
pub use self::varying::{VaryingBlur, VaryingBlurParams, Weigh};
