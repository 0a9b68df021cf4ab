//! The scan as a config describes it, and what that means for a model and its data.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::angles::Angles;
use super::geometry::{Detector, ImageSize, View, check};
use super::operator::{ParallelCt, scratch};
use crate::error::Fault;
use crate::operator::algebra::Scale;
use crate::physics::ct::sizes::{self, Lengths};
use crate::physics::ct::{Orbit, Projector, Scan, View as RayView};
use crate::physics::joseph::Ray;
use crate::physics::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// The scan: angles, and where the detector columns are.
///
/// The model is (y, x), or (z, y, x) where each z is one detector row. The measurements are (angle, column), or (angle,
/// row, column). Angles and column count default to those of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParallelCtParams {
    /// Angles in degrees: a list, or `{ start, stop, count }`. Default: those that came with the data.
    pub angles_deg: Option<Angles>,
    /// Angles in radians instead.
    pub angles_rad: Option<Angles>,
    /// The detector column onto which the rotation axis falls, counted from 0; need not be whole. Default: the middle,
    /// (columns − 1)/2.
    pub center: Option<f64>,
    /// The distance between detector columns: in voxels, or in the unit of `voxel_size`.
    #[serde(default = "one")]
    pub spacing: f64,
    /// The number of detector columns. Default: that of the data.
    pub columns: Option<usize>,
    /// The size of a voxel; integrals along rays are then in its unit. Default: lengths are in voxels.
    pub voxel_size: Option<f64>,
    /// How a ray is summed.
    #[serde(default)]
    pub projector: Projector,
}

fn one() -> f64 {
    1.0
}

impl Default for ParallelCtParams {
    fn default() -> Self {
        ParallelCtParams {
            angles_deg: None,
            angles_rad: None,
            center: None,
            spacing: one(),
            columns: None,
            voxel_size: None,
            projector: Projector::default(),
        }
    }
}

/// What the parameters mean in a setting.
struct Resolved {
    angles: Vec<f64>,
    detector: Detector,
    voxel_size: f64,
    range: Shape,
}

impl ParallelCtParams {
    fn resolve(&self, setting: &Setting) -> Result<Resolved, Fault> {
        sizes::expect_dims(setting)?;
        let size = ImageSize::of(setting.model)?;
        let columns = sizes::count("columns", self.columns, setting, "column")?;
        if let (Some(slices), Some(rows)) = (size.slices, setting.data.and_then(|data| data.size("row")))
            && rows != slices
        {
            let text = format!("data: expected `row` = {slices}, the model's `z` size, got {rows}");
            return Err(Fault::new(text).hint("each slice z is seen by one detector row: make the two sizes equal"));
        }
        let (key, angles) = sizes::angles(&self.angles_deg, &self.angles_rad, setting)?;
        let voxel_size = Lengths::of(self.voxel_size)?.voxel_size;
        let detector = Detector { columns, center: self.center, spacing: self.spacing / voxel_size };
        check(&angles, key, detector)?;
        let range = size.range(angles.len(), columns);
        Ok(Resolved { angles, detector, voxel_size, range })
    }

    /// The angles of a part, with all the rest.
    fn part(&self, setting: &Setting, tile: &Tile) -> Result<Resolved, Fault> {
        let mut resolved = self.resolve(setting)?;
        if let Some(selection) = tile.selection("angle") {
            let all = resolved.angles;
            let angle = |i| {
                all.get(i).copied().ok_or_else(|| {
                    Fault::new(format!("tile: expected angles below {}, got {}", all.len(), tile.of()))
                        .hint("cut the operator's own range")
                })
            };
            resolved.angles = selection.iter().map(angle).collect::<Result<_, _>>()?;
        }
        Ok(resolved)
    }
}

impl Resolved {
    /// The same as rays in space: detector row and slice are one.
    fn scan(self, model: &Shape) -> Result<Scan, Fault> {
        let Resolved { angles, detector: Detector { columns, spacing, .. }, voxel_size, .. } = self;
        let rows = ImageSize::of(model)?.slices;
        let at = [rows.map_or(0.0, |rows| (rows as f64 - 1.0) / 2.0), self.detector.center()];
        let view = |angle: &f64| RayView::of_orbit(*angle, None, 0.0, at, [1.0, spacing], false);
        let views = angles.iter().map(view).collect();
        let orbit = Some(Orbit { angles, source: None, detector: 0.0, spacing });
        Ok(Scan { views, rows, columns, voxel_size, orbit })
    }
}

impl Physics for ParallelCtParams {
    const SUMMARY: &'static str = "line integrals along parallel rays (X-ray CT)";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["angle"]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::Along(&["z", "y", "x"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        self.resolve(setting).map(|resolved| resolved.range)
    }

    /// A slice is seen by its own detector row only.
    fn contributes(&self, setting: &Setting, tile: &Tile) -> Result<Vec<Tile>, Fault> {
        Ok(vec![match (tile.of().axis("row"), setting.window().selection("z")) {
            (Some(row), Some(slices)) => tile.clone().with(row, slices),
            _ => tile.clone(),
        }])
    }

    fn scan(&self, setting: &Setting) -> Result<Option<Scan>, Fault> {
        self.resolve(setting)?.scan(setting.model).map(Some)
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        if self.projector == Projector::Siddon {
            return sizes::needs::<S>(setting, self.resolve(setting)?.scan(setting.model)?, tile, self.projector);
        }
        let Resolved { angles, detector, .. } = self.part(setting, tile)?;
        let view = View::of(&setting.window())?;
        let (size, rays) = (view.size, view.rays(&angles, detector));
        let numbers: usize = scratch::<S::Real>(&rays, size, detector.columns).into_iter().sum();
        // Six operations for each sample of each ray: its place, its weight, the interpolation, the sum.
        let samples: f64 = rays
            .iter()
            .map(|ray| {
                let (lines, across) = size.lines_and_samples(ray);
                let reached = (across as f64 / ray.width).min(detector.columns as f64);
                lines as f64 * reached
            })
            .sum();
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        Ok(Needs {
            bytes: (rays.len() * size_of::<Ray>()) as u64,
            scratch_bytes: (numbers * size_of::<S::Real>()) as u64,
            cost: 6.0 * samples * (parts * size.slices.unwrap_or(1)) as f64,
        })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        if self.projector == Projector::Siddon {
            return sizes::build(setting, self.resolve(setting)?.scan(setting.model)?, tile, self.projector);
        }
        let Resolved { angles, detector, voxel_size, .. } = self.part(setting, tile)?;
        let in_voxels = ParallelCt::on_window(&setting.window(), &angles, detector)?;
        Ok(match voxel_size {
            1.0 => Box::new(in_voxels),
            _ => Box::new(Scale::new(S::from_f64(voxel_size), Arc::new(in_voxels))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Apply, Work};
    use crate::physics::NoFiles;

    /// The text and the hint of the fault for parameters, model dims, data dims and angles of the data.
    fn fault(text: &str, model: &[(&str, usize)], data: &[(&str, usize)], angles: Option<&[f64]>) -> String {
        let (model, data) = (Shape::new(model.iter().copied()), Shape::new(data.iter().copied()));
        let data = (!data.dims().is_empty()).then_some(&data);
        let setting = Setting { data, angles, ..Setting::new(&model, &NoFiles) };
        let fault = toml::from_str::<ParallelCtParams>(text).unwrap().range(&setting).unwrap_err();
        format!("{} | {}", fault.text, fault.hint.expect("what to do"))
    }

    #[test]
    fn faults_say_what_is_wrong_and_what_to_do() {
        const IMAGE: &[(&str, usize)] = &[("y", 4), ("x", 5)];
        const VOLUME: &[(&str, usize)] = &[("z", 2), ("y", 4), ("x", 5)];
        const DATA: &[(&str, usize)] = &[("angle", 3), ("column", 7)];
        let three = "angles_deg = [0, 1, 2]\n";
        type Case<'a> = (&'a str, &'a [(&'a str, usize)], &'a [(&'a str, usize)], Option<&'a [f64]>, &'a str, &'a str);
        let cases: &[Case] = &[
            ("", IMAGE, DATA, None, "angles: none were given", "set `angles_deg`"),
            (
                "angles_deg = []\ncolumns = 7",
                IMAGE,
                &[],
                None,
                "expected at least one angle, got none",
                "must not be empty",
            ),
            ("angles_deg = [0]\nangles_rad = [0]", IMAGE, DATA, None, "got both", "keep the one"),
            ("angles_rad = [0, nan, 1]", IMAGE, DATA, None, "got NaN at index 1", "correct the angle"),
            ("", IMAGE, DATA, Some(&[0.0, 1.0, f64::INFINITY]), "the angles of the data: expected finite", "correct"),
            (
                "angles_deg = [0, 1]",
                IMAGE,
                DATA,
                None,
                "expected 3 angles, the data's `angle` size, got 2",
                "one angle for each projection",
            ),
            (
                "",
                IMAGE,
                DATA,
                Some(&[0.0]),
                "the angles of the data: expected 3 angles",
                "one angle for each projection",
            ),
            (three, IMAGE, &[], None, "there are no data to take it from", "columns = 724"),
            ("angles_deg = [0]\ncolumns = 0", IMAGE, &[], None, "at least one detector column, got 0", "leave it out"),
            (
                "angles_deg = [0, 1, 2]\ncolumns = 8",
                IMAGE,
                DATA,
                None,
                "expected 7, the data's `column` size, got 8",
                "leave",
            ),
            (
                "angles_deg = [0, 1, 2]\nspacing = 0",
                IMAGE,
                DATA,
                None,
                "positive number of voxels, got 0",
                "voxel size",
            ),
            (
                "angles_deg = [0, 1, 2]\nspacing = inf",
                IMAGE,
                DATA,
                None,
                "positive number of voxels, got inf",
                "voxel size",
            ),
            ("angles_deg = [0, 1, 2]\ncenter = 6.5", IMAGE, DATA, None, "0 to 6, got 6.5", "from the other side"),
            ("angles_deg = [0, 1, 2]\ncenter = -1", IMAGE, DATA, None, "0 to 6, got -1", "millimetres"),
            ("angles_deg = [0, 1, 2]\ncenter = nan", IMAGE, DATA, None, "0 to 6, got NaN", "millimetres"),
            (
                three,
                &[("x", 4), ("y", 5)],
                DATA,
                None,
                "expected the dims (y, x) or (z, y, x), got (x=4, y=5)",
                "order",
            ),
            (
                three,
                IMAGE,
                &[("angle", 3), ("row", 1), ("column", 7)],
                None,
                "expected the dims (angle, column)",
                "single row",
            ),
            (three, VOLUME, DATA, None, "expected the dims (angle, row, column)", "one detector row for each z"),
            (
                three,
                VOLUME,
                &[("angle", 3), ("row", 5), ("column", 7)],
                None,
                "expected `row` = 2, the model's `z` size, got 5",
                "equal",
            ),
        ];
        for (text, model, data, angles, want, hint) in cases {
            let got = fault(text, model, data, *angles);
            let (left, right) = got.split_once(" | ").unwrap();
            assert!(left.contains(want) && right.contains(hint), "{text}: {got}");
        }
    }

    #[test]
    fn scratch_is_what_needs_says() {
        let model = Shape::new([("y", 70), ("x", 54)]);
        let angles = ndarray::Array1::linspace(0.0, 3.0, 9).to_vec();
        let setting = Setting { angles: Some(&angles), ..Setting::new(&model, &NoFiles) };
        let params = ParallelCtParams { columns: Some(81), ..ParallelCtParams::default() };
        let range = params.range(&setting).unwrap();
        let needs = params.needs::<f64>(&setting, &Tile::whole(&range)).unwrap();
        let a = ParallelCt::<f64>::new(&model, &angles, Detector::new(81)).unwrap();
        assert_eq!(needs.scratch_bytes, 8 * a.scratch.iter().sum::<usize>() as u64);
        let mut work = Work::default();
        let x = vec![1.0; model.len()];
        a.normal_add(&x, &mut x.clone(), &mut work).unwrap();
        for (name, len) in ["ct band", "ct sinogram"].into_iter().zip(a.scratch) {
            let buffer = work.take::<f64>(name, len);
            assert!(buffer.len() == len && buffer.capacity() == len, "{name}");
        }
    }
}
