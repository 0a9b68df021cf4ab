//! Cone beam: a point source, a volume, a flat panel.
//!
//! Source: L. A. Feldkamp, L. C. Davis and J. W. Kress, "Practical cone-beam algorithm", J. Opt. Soc. Am. A 1(6), 1984, for the
//! geometry; names of the detector's turns after TIGRE (Biguri et al., Biomed. Phys. Eng. Express 2, 2016).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Projector;
use super::scan::{Orbit, Scan, Vec3, View};
use super::sizes::{self, Lengths, ray_physics};
use crate::error::Fault;
use crate::physics::{Angles, Setting};

/// A cone-beam scan: source and flat panel go round the volume in a circle, opposite each other.
///
/// The model is (z, y, x), the measurements are (angle, row, column). At angle θ the source stands at (sin θ, −cos θ, 0) times
/// its distance, columns grow along (cos θ, sin θ, 0) and rows along (0, 0, 1): at angle 0 column and row grow with x and z.
/// Lengths are in voxels; with `voxel_size` they are in its unit, and so are the integrals along rays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConeCtParams {
    /// Angles in degrees: a list, or `{ start, stop, count }`. Default: those that came with the data.
    pub angles_deg: Option<Angles>,
    /// Angles in radians instead.
    pub angles_rad: Option<Angles>,
    /// From the source to the axis of rotation.
    pub source_to_center: f64,
    /// From the axis of rotation to the detector, along the central ray.
    pub center_to_detector: f64,
    /// The detector column onto which the rotation axis falls, counted from 0; need not be whole. Default: the middle,
    /// (columns − 1)/2.
    pub center: Option<f64>,
    /// The detector row onto which the plane of the orbit falls. Default: the middle, (rows − 1)/2.
    pub center_row: Option<f64>,
    /// The distance between detector columns, on the detector.
    #[serde(default = "one")]
    pub spacing: f64,
    /// The distance between detector rows. Default: `spacing`.
    pub row_spacing: Option<f64>,
    /// The number of detector columns. Default: that of the data.
    pub columns: Option<usize>,
    /// The number of detector rows. Default: that of the data.
    pub rows: Option<usize>,
    /// In-plane tilt in degrees: the panel turned about the central ray, columns towards rows.
    #[serde(default)]
    pub roll_deg: f64,
    /// Out-of-plane tilt in degrees: the panel turned about the direction of its columns, rows towards the ray's direction.
    #[serde(default)]
    pub pitch_deg: f64,
    /// Out-of-plane tilt in degrees: the panel turned about the direction of its rows, the ray's direction towards columns.
    #[serde(default)]
    pub yaw_deg: f64,
    /// The size of a voxel, in the unit of the other lengths. Default: lengths are in voxels.
    pub voxel_size: Option<f64>,
    /// How a ray is summed.
    #[serde(default)]
    pub projector: Projector,
}

fn one() -> f64 {
    1.0
}

impl ConeCtParams {
    fn resolve(&self, setting: &Setting) -> Result<Scan, Fault> {
        if sizes::expect_dims(setting)? {
            let text = format!("model: a cone beam sees a volume, expected the dims (z, y, x), got {}", setting.model);
            return Err(Fault::new(text).hint("for one slice use the operator `fan_ct`"));
        }
        let columns = sizes::count("columns", self.columns, setting, "column")?;
        let rows = sizes::count("rows", self.rows, setting, "row")?;
        let (_, angles) = sizes::angles(&self.angles_deg, &self.angles_rad, setting)?;
        let lengths = Lengths::of(self.voxel_size)?;
        let source = lengths.voxels("source_to_center", self.source_to_center)?;
        let detector = lengths.voxels("center_to_detector", self.center_to_detector)?;
        let spacing = lengths.voxels("spacing", self.spacing)?;
        let row_spacing = lengths.voxels("row_spacing", self.row_spacing.unwrap_or(self.spacing))?;
        let at = [sizes::center("center_row", self.center_row, rows)?, sizes::center("center", self.center, columns)?];
        let turns = [("roll_deg", self.roll_deg), ("pitch_deg", self.pitch_deg), ("yaw_deg", self.yaw_deg)];
        if let Some((key, turn)) = turns.into_iter().find(|(_, turn)| !(turn.is_finite() && turn.abs() < 89.0)) {
            return Err(Fault::new(format!("`{key}`: expected a turn between −89 and 89 degrees, got {turn}"))
                .hint("it is the misalignment of the panel, 0 where it stands straight"));
        }
        let is_straight = turns.iter().all(|(_, turn)| *turn == 0.0);
        let view = |angle: &f64| {
            let view = View::of_orbit(*angle, Some(source), detector, at, [row_spacing, spacing], false);
            if is_straight { view } else { self.turned(view, *angle) }
        };
        let scan = Scan {
            views: angles.iter().map(view).collect(),
            rows: Some(rows),
            columns,
            voxel_size: lengths.voxel_size,
            orbit: is_straight.then_some(Orbit { angles, source: Some(source), detector, spacing }),
        };
        scan.check(setting, "`source_to_center`")?;
        Ok(scan)
    }

    /// The panel turned about the point that the central ray meets.
    fn turned(&self, view: View, angle: f64) -> View {
        let (sin, cos) = angle.sin_cos();
        let (across, ray, up) = ([cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]);
        // turns a towards b
        let turn = |of: Vec3, a: Vec3, b: Vec3, degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let part = |along: Vec3| of[0] * along[0] + of[1] * along[1] + of[2] * along[2];
            let (on_a, on_b) = (part(a), part(b));
            let (to_a, to_b) = (cos * on_a - sin * on_b - on_a, sin * on_a + cos * on_b - on_b);
            std::array::from_fn(|k| of[k] + to_a * a[k] + to_b * b[k])
        };
        let all = |of: Vec3| {
            let rolled = turn(of, across, up, self.roll_deg);
            let pitched = turn(rolled, up, ray, self.pitch_deg);
            turn(pitched, ray, across, self.yaw_deg)
        };
        View { row: all(view.row), column: all(view.column), ..view }
    }
}

ray_physics!(ConeCtParams, "line integrals from a point source through a volume to a flat panel (X-ray CT)");
