//! What keys and data say of a scan together: the dims of the measurements, how many rows and columns, the angles.

use super::Projector;
use super::grid::expect_model;
use super::operator::RayTransform;
use super::scan::Scan;
use crate::error::Fault;
use crate::physics::{Angles, BoxedOperator, Needs, Setting};
use crate::range::positive;
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile};

/// Whether the model is an image, and the data, if there are any, have dims that go with it. In any order: whoever reads the
/// data puts them into that of the range.
pub(in crate::physics) fn expect_dims(setting: &Setting) -> Result<bool, Fault> {
    let flat = expect_model(setting.model)?;
    let names: &[&str] = if flat { &["angle", "column"] } else { &["angle", "row", "column"] };
    match setting.data {
        Some(data) if !(data.dims().len() == names.len() && names.iter().all(|name| data.axis(name).is_some())) => {
            let (names, model) = (names.join(", "), setting.model);
            let text = format!("data: expected the dims ({names}) for the model {model}, got {data}");
            Err(Fault::new(text).hint(match flat {
                false => "a model (z, y, x) needs one detector row for each z, or the rows of a cone beam",
                true => {
                    "a model (y, x) has one detector row: choose a single row of the data, or make the model (z, y, x)"
                }
            }))
        }
        _ => Ok(flat),
    }
}

/// The number of detector rows or columns, from the key or from the data's dim.
pub(in crate::physics) fn count(key: &str, given: Option<usize>, setting: &Setting, dim: &str) -> Result<usize, Fault> {
    match (given, setting.data.and_then(|data| data.size(dim))) {
        (Some(0), _) => Err(Fault::new(format!("`{key}`: expected at least one detector {dim}, got 0"))
            .hint(format!("give the number of detector {dim}s, or leave it out: it then follows from the data"))),
        (Some(count), Some(got)) if count != got => {
            let text = format!("`{key}`: expected {got}, the data's `{dim}` size, got {count}");
            Err(Fault::new(text).hint(format!("leave `{key}` out: it then follows from the data")))
        }
        (Some(count), _) | (None, Some(count)) => Ok(count),
        (None, None) => {
            let text =
                format!("`{key}`: the number of detector {dim}s is not known, there are no data to take it from");
            Err(Fault::new(text).hint(format!("give it in the operator's table, for example `{key} = 724`")))
        }
    }
}

/// The angles in radians and where they come from: the keys, or the data.
pub(in crate::physics) fn angles(
    degrees: &Option<Angles>,
    radians: &Option<Angles>,
    setting: &Setting,
) -> Result<(&'static str, Vec<f64>), Fault> {
    let (from, angles) = match (degrees, radians) {
        (Some(_), Some(_)) => {
            return Err(Fault::new("expected one of `angles_deg` and `angles_rad`, got both")
                .hint("keep the one whose unit is right and remove the other"));
        }
        (Some(degrees), None) => ("`angles_deg`", degrees.values().into_iter().map(f64::to_radians).collect()),
        (None, Some(radians)) => ("`angles_rad`", radians.values()),
        (None, None) => match setting.angles {
            Some(angles) => ("the angles of the data", angles.to_vec()),
            None => {
                return Err(Fault::new("angles: none were given, and none came with the data").hint(
                    "set `angles_deg` (or `angles_rad`) to a list, or to `{ start = 0.0, stop = 180.0, count = 90 }`",
                ));
            }
        },
    };
    expect_views(from, "angles", angles.len(), setting)?;
    if let Some((i, angle)) = angles.iter().enumerate().find(|(_, angle)| !angle.is_finite()) {
        return Err(Fault::new(format!("{from}: expected finite angles, got {angle} at index {i}"))
            .hint("remove the projections whose angle is not known, or correct the angle"));
    }
    Ok((from, angles))
}

/// As many views as the data have, and at least one.
pub(super) fn expect_views(from: &str, what: &str, views: usize, setting: &Setting) -> Result<(), Fault> {
    match setting.data.and_then(|data| data.size("angle")) {
        Some(got) if got != views => {
            Err(Fault::new(format!("{from}: expected {got} {what}, the data's `angle` size, got {views}"))
                .hint(format!("give one {} for each projection, in the order of the data", what.trim_end_matches('s'))))
        }
        _ if views == 0 => Err(Fault::new(format!("{from}: expected at least one angle, got none"))
            .hint("a list of angles must not be empty; in `{ start, stop, count }` the count must be at least 1")),
        _ => Ok(()),
    }
}

/// A column or row onto which the axis, or the source, falls; the middle, if none is given. It need not be on the detector: a
/// detector may stand to one side.
pub(super) fn center(key: &str, given: Option<f64>, count: usize) -> Result<f64, Fault> {
    let center = given.unwrap_or((count as f64 - 1.0) / 2.0);
    match center.is_finite() && (-(count as f64)..=2.0 * count as f64).contains(&center) {
        true => Ok(center),
        false => {
            Err(Fault::new(format!("`{key}`: expected an index near the detector's 0 to {}, got {center}", count - 1))
                .hint("it is an index counted from 0, not a length: a shift s in length is (count − 1)/2 + s/spacing"))
        }
    }
}

/// Lengths of a table in voxels: divided by its `voxel_size`, if it has one.
#[derive(Clone, Copy)]
pub(in crate::physics) struct Lengths {
    pub voxel_size: f64,
}

impl Lengths {
    pub fn of(voxel_size: Option<f64>) -> Result<Self, Fault> {
        let voxel_size = voxel_size.unwrap_or(1.0);
        positive("voxel_size", voxel_size).map_err(|fault| fault.hint("give it in the unit of the other lengths"))?;
        Ok(Lengths { voxel_size })
    }
    /// A length that must be positive, in voxels.
    pub fn voxels(&self, key: &str, length: f64) -> Result<f64, Fault> {
        positive(key, length).map_err(|fault| {
            fault.hint(
                "it is a length, in voxels or in the unit of `voxel_size`; source and detector are on opposite sides",
            )
        })?;
        Ok(length / self.voxel_size)
    }
}

/// The shape of all measurements of a scan.
pub(super) fn range(scan: &Scan) -> Shape {
    let (angle, column) = (("angle", scan.views.len()), ("column", scan.columns));
    match scan.rows {
        None => Shape::new([angle, column]),
        Some(rows) => Shape::new([angle, ("row", rows), column]),
    }
}

/// The projector of a part of the measurements.
pub(in crate::physics) fn transform<S: Scalar>(
    setting: &Setting,
    mut scan: Scan,
    tile: &Tile,
    projector: Projector,
) -> Result<RayTransform<S>, Fault> {
    let views = tile.selection("angle").unwrap_or(Selection::all(scan.views.len()));
    scan.views = views.iter().map(|view| scan.views[view]).collect();
    scan.orbit = None;
    let rows = tile.selection("row").unwrap_or(Selection::all(scan.rows.unwrap_or(1)));
    RayTransform::on_rows(&setting.window(), scan, rows, projector)
}

/// `Physics` for parameters that make a scan.
macro_rules! ray_physics {
    ($params:ty, $summary:literal) => {
        impl $crate::physics::Physics for $params {
            const SUMMARY: &'static str = $summary;
            const MAY_BE_CUT: $crate::physics::Cuts = $crate::physics::Cuts::Along(&["angle", "row"]);
            const MODEL_MAY_BE_CUT: $crate::physics::Cuts = $crate::physics::Cuts::Along(&["z", "y", "x"]);

            fn range(&self, setting: &Setting) -> Result<$crate::space::Shape, Fault> {
                self.resolve(setting).map(|scan| $crate::physics::ct::sizes::range(&scan))
            }
            fn needs<S: $crate::Scalar>(
                &self,
                setting: &Setting,
                tile: &$crate::space::Tile,
            ) -> Result<$crate::physics::Needs, Fault> {
                $crate::physics::ct::sizes::needs::<S>(setting, self.resolve(setting)?, tile, self.projector)
            }
            fn build<S: $crate::Scalar>(
                &self,
                setting: &Setting,
                tile: &$crate::space::Tile,
            ) -> Result<$crate::physics::BoxedOperator<S>, Fault> {
                $crate::physics::ct::sizes::build::<S>(setting, self.resolve(setting)?, tile, self.projector)
            }
            fn scan(&self, setting: &Setting) -> Result<Option<$crate::physics::ct::Scan>, Fault> {
                self.resolve(setting).map(Some)
            }
        }
    };
}
pub(super) use ray_physics;

/// What [`transform`] needs.
pub(in crate::physics) fn needs<S: Scalar>(
    setting: &Setting,
    scan: Scan,
    tile: &Tile,
    projector: Projector,
) -> Result<Needs, Fault> {
    transform::<S>(setting, scan, tile, projector).map(|transform| transform.needs())
}

/// What [`transform`] makes, in a box.
pub(in crate::physics) fn build<S: Scalar>(
    setting: &Setting,
    scan: Scan,
    tile: &Tile,
    projector: Projector,
) -> Result<BoxedOperator<S>, Fault> {
    transform::<S>(setting, scan, tile, projector).map(|transform| Box::new(transform) as BoxedOperator<S>)
}
