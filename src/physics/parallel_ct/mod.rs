//! Computed tomography with parallel rays: line integrals of an image, or of a stack of slices, at many angles.
//!
//! The parameters say in words what [`geometry`] checks and counts; the [`operator`] deals planes, bands of lines and rays
//! to the loops of [`joseph`](super::joseph).

mod angles;
mod geometry;
mod operator;
mod params;

pub use angles::{AngleRange, Angles};
pub use geometry::Detector;
pub use operator::ParallelCt;
pub use params::ParallelCtParams;
