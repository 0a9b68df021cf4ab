//! Computed tomography with rays of any kind: fan, cone, and geometries that are given view by view.
//!
//! A [`Scan`] says where source and detector stand in each view; its parameters in a config are those of `fan.rs`, `cone.rs`
//! and `vectors.rs`, and of `parallel_ct`. All else is written once for all scans: the operator sums along rays, by the weights
//! of `joseph.rs` or `siddon.rs`, whole detector columns at once where they stand along z (`columns.rs`); `fbp.rs` inverts it.
//!
//! **Axes.** The origin is the middle of the volume. x grows with the column index of an image, y falls with the row index
//! and z grows with the slice index. In a standard orbit the source stands at `(sin θ, −cos θ, 0)` times its distance, the
//! detector opposite, its columns along `(cos θ, sin θ, 0)` and its rows along `(0, 0, 1)`: detector column and row grow with
//! x and z at angle 0. So a slice z of `parallel_ct` and a detector row belong together here, too. This is ASTRA's geometry;
//! only, ASTRA's own 3D kernels let the row index of a slice grow with +y, so that its volumes are ours with y reversed.

#[cfg(target_arch = "x86_64")]
mod columns;
mod cone;
mod fan;
mod fbp;
mod filter;
mod grid;
mod joseph;
mod operator;
mod scan;
mod siddon;
pub(super) mod sizes;
mod vectors;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cone::ConeCtParams;
pub use fan::{DetectorShape, FanCtParams};
pub use fbp::FbpParams;
pub use filter::Filter;
pub use operator::RayTransform;
pub use scan::{Beam, Line, Orbit, Scan, View};
pub use vectors::{BeamKind, VectorCtParams, Vectors};

/// How a ray is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Projector {
    /// One sample in each plane that the ray crosses, interpolated between its neighbours; the image is continuous.
    #[default]
    Joseph,
    /// The exact length in each voxel; the image is constant in each voxel.
    Siddon,
}
