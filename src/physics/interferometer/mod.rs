//! Radio interferometry: visibilities of an image of the sky, `V(u, v) = Σ I(l, m) exp(−2πi(ul + vm))`.
//!
//! u and v are in wavelengths, l grows to the east and m to the north, in radians. Pixels are square. North is up and east is to
//! the left, as astronomers look at the sky: l falls with the column and m with the row, and both are zero at index ⌊n/2⌋.
//!
//! The sum is direct, but not pixel by pixel: `exp(−2πi(ul + vm))` is a factor of the column times one of the row, so for some
//! visibilities at once it is a product of matrices, by BLAS.
//!
//! Source: A. R. Thompson, J. M. Moran and G. W. Swenson, *Interferometry and Synthesis in Radio Astronomy*, 3rd edition (2017),
//! sections 3.1 (the two-dimensional case, for small images) and 10.2 (weights).

mod gemm;
mod operator;
mod params;
mod phases;
mod weights;

pub use operator::Interferometer;
pub use params::InterferometerParams;
pub use weights::Weighting;
