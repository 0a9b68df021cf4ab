//! Fan beam: a point source, an image, one row of detector columns.
//!
//! Source: A. C. Kak and M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, section 3.4.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Projector;
use super::scan::{Orbit, Scan, View};
use super::sizes::{self, Lengths, ray_physics};
use crate::error::Fault;
use crate::physics::{Angles, Setting};

/// What a row of detector columns is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectorShape {
    /// A straight line, at right angles to the central ray.
    #[default]
    Flat,
    /// An arc around the source.
    Arc,
}

/// A fan-beam scan: source and detector go round the image, opposite each other.
///
/// The model is (y, x), the measurements are (angle, column). At angle θ the source stands at (sin θ, −cos θ) times its
/// distance, and columns grow along (cos θ, sin θ): column and x grow alike at angle 0. Lengths are in voxels; with `voxel_size`
/// they are in its unit, and so are the integrals along rays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FanCtParams {
    /// Angles in degrees: a list, or `{ start, stop, count }`. Default: those that came with the data.
    pub angles_deg: Option<Angles>,
    /// Angles in radians instead.
    pub angles_rad: Option<Angles>,
    /// From the source to the axis of rotation.
    pub source_to_center: f64,
    /// From the axis of rotation to the detector, along the central ray.
    pub center_to_detector: f64,
    /// Whether the columns stand on a line or on an arc.
    #[serde(default)]
    pub detector: DetectorShape,
    /// The detector column onto which the rotation axis falls, counted from 0; need not be whole. Default: the middle,
    /// (columns − 1)/2.
    pub center: Option<f64>,
    /// The distance between detector columns, on the detector.
    #[serde(default = "one")]
    pub spacing: f64,
    /// The number of detector columns. Default: that of the data.
    pub columns: Option<usize>,
    /// The size of a voxel, in the unit of the other lengths. Default: lengths are in voxels.
    pub voxel_size: Option<f64>,
    /// How a ray is summed.
    #[serde(default)]
    pub projector: Projector,
}

fn one() -> f64 {
    1.0
}

impl FanCtParams {
    fn resolve(&self, setting: &Setting) -> Result<Scan, Fault> {
        if !sizes::expect_dims(setting)? {
            return Err(Fault::new(format!(
                "model: a fan beam sees one slice, expected the dims (y, x), got {}",
                setting.model
            ))
            .hint("for a volume use the operator `cone_ct`, or one job for each slice"));
        }
        let columns = sizes::count("columns", self.columns, setting, "column")?;
        let (_, angles) = sizes::angles(&self.angles_deg, &self.angles_rad, setting)?;
        let lengths = Lengths::of(self.voxel_size)?;
        let source = lengths.voxels("source_to_center", self.source_to_center)?;
        let detector = lengths.voxels("center_to_detector", self.center_to_detector)?;
        let spacing = lengths.voxels("spacing", self.spacing)?;
        let (at, arc) = ([0.0, sizes::center("center", self.center, columns)?], self.detector == DetectorShape::Arc);
        let view = |angle: &f64| View::of_orbit(*angle, Some(source), detector, at, [1.0, spacing], arc);
        let scan = Scan {
            views: angles.iter().map(view).collect(),
            rows: None,
            columns,
            voxel_size: lengths.voxel_size,
            orbit: Some(Orbit { angles, source: Some(source), detector, spacing }),
        };
        scan.check(setting, "`source_to_center`")?;
        Ok(scan)
    }
}

ray_physics!(FanCtParams, "line integrals along a fan of rays from a point source, in one slice (X-ray CT)");
