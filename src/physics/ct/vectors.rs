//! Any geometry, given view by view in 12 numbers, as ASTRA's `cone_vec` and `parallel3d_vec`.
//!
//! Source: W. van Aarle et al., "Fast and flexible X-ray tomography using the ASTRA toolbox", Optics Express 24(22), 2016.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Projector;
use super::scan::{Beam, Scan, View};
use super::sizes::{self, Lengths, ray_physics};
use crate::error::Fault;
use crate::physics::Setting;
use crate::space::{Shape, Tile};

/// Where rays come from, in a geometry given view by view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeamKind {
    /// From a point: the first numbers of a view are its place.
    #[default]
    Cone,
    /// From far away: the first numbers of a view are the direction of the rays.
    Parallel,
}

/// One row of numbers for each view: in the config, or in an npy file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Vectors {
    /// An array in a file, of sizes (views, 12), or (views, 6), in the data folder.
    Path(PathBuf),
    /// `[[…], […]]`
    List(Vec<Vec<f64>>),
}

/// By hand, because serde's own reading of an enum without a tag forgets what was expected.
impl<'de> Deserialize<'de> for Vectors {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct PathOrList;
        impl<'de> Visitor<'de> for PathOrList {
            type Value = Vectors;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the path of an array, or a list with a list of numbers for each view")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Vectors, E> {
                PathBuf::deserialize(StrDeserializer::new(path)).map(Vectors::Path)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vectors, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Vectors::List)
            }
        }
        from.deserialize_any(PathOrList)
    }
}

/// A scan of any geometry.
///
/// A model (z, y, x) has measurements (angle, row, column) and takes 12 numbers a view: the source (or the direction of the
/// rays), the middle of the detector, the way from one column to the next, the way from one row to the next, each as x, y, z.
/// A model (y, x) has measurements (angle, column) and takes 6, each as x, y, without rows: those of ASTRA's `fanflat_vec`
/// and `parallel_vec`. The origin is the middle of the model; x and z grow with the index, y falls with it. ASTRA's 3D kernels
/// let y grow with the index: change the sign of the y of vectors that were made for those, or turn the volume. Lengths are in
/// voxels; with `voxel_size` they are in its unit, and so are the integrals along rays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorCtParams {
    /// The numbers of all views: an npy file in the data folder, or a list of lists.
    pub vectors: Vectors,
    /// Whether rays come from a point or are parallel.
    #[serde(default)]
    pub beam: BeamKind,
    /// The number of detector columns. Default: that of the data.
    pub columns: Option<usize>,
    /// The number of detector rows. Default: that of the data.
    pub rows: Option<usize>,
    /// The size of a voxel, in the unit of the vectors. Default: lengths are in voxels.
    pub voxel_size: Option<f64>,
    /// How a ray is summed.
    #[serde(default)]
    pub projector: Projector,
}

impl VectorCtParams {
    fn resolve(&self, setting: &Setting) -> Result<Scan, Fault> {
        let flat = sizes::expect_dims(setting)?;
        let columns = sizes::count("columns", self.columns, setting, "column")?;
        let rows = match flat {
            true => None,
            false => Some(sizes::count("rows", self.rows, setting, "row")?),
        };
        let numbers = self.numbers(setting, if flat { 6 } else { 12 })?;
        sizes::expect_views("`vectors`", "views", numbers.len(), setting)?;
        let lengths = Lengths::of(self.voxel_size)?;
        let at = [rows.map_or(0.0, |rows| (rows as f64 - 1.0) / 2.0), (columns as f64 - 1.0) / 2.0];
        let view = |view: &Vec<f64>| {
            let vector = |k: usize| -> [f64; 3] {
                let z = |z: f64| if flat { 0.0 } else { z };
                let each = if flat { 2 } else { 3 };
                let v = &view[k * each..][..each];
                [v[0], v[1], z(v[each - 1])].map(|length| length / lengths.voxel_size)
            };
            let row = if flat { [0.0, 0.0, 1.0] } else { vector(3) };
            let beam = match self.beam {
                BeamKind::Cone => Beam::Source(vector(0)),
                BeamKind::Parallel => Beam::Along(vector(0)),
            };
            View { beam, place: vector(1), at, row, column: vector(2), arc: false }
        };
        let views = numbers.iter().map(view).collect();
        let scan = Scan { views, rows, columns, voxel_size: lengths.voxel_size, orbit: None };
        scan.check(setting, "`vectors`")?;
        Ok(scan)
    }

    fn numbers(&self, setting: &Setting, each: usize) -> Result<Vec<Vec<f64>>, Fault> {
        let hint =
            "a volume takes source, detector, column step and row step in x, y, z; an image the first three in x, y";
        let wrong = |what: String| Fault::new(format!("`vectors`: {what}")).hint(hint);
        match &self.vectors {
            Vectors::List(views) => match views.iter().position(|view| view.len() != each) {
                Some(at) => Err(wrong(format!("expected {each} numbers a view, got {} in view {at}", views[at].len()))),
                None => Ok(views.clone()),
            },
            Vectors::Path(path) => {
                let sizes = setting.files.sizes(path)?;
                let [views, got] = sizes[..] else {
                    return Err(wrong(format!("expected two dims, (views, {each}), {} has {sizes:?}", path.display())));
                };
                if got != each {
                    return Err(wrong(format!("expected {each} numbers a view, {} has {sizes:?}", path.display())));
                }
                let whole = Tile::whole(&Shape::new([("view", views), ("number", each)]));
                let numbers: Vec<f64> = setting.files.read(path, &whole)?.into_scalars()?;
                Ok(numbers.chunks(each).map(<[f64]>::to_vec).collect())
            }
        }
    }
}

ray_physics!(VectorCtParams, "line integrals of any geometry, in 12 numbers a view (X-ray CT)");
