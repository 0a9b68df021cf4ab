//! NXtomo: the tomography definition of NeXus, read as line integrals, as [Data Exchange](super::data_exchange) is.
//!
//! All frames stand in one data set, `instrument/detector/data`; `image_key` says which are projections (0), white (1) and dark
//! fields (2), and which are none (3). Their angles are in `sample/rotation_angle`.
//!
//! Source: NeXus International Advisory Committee, application definition NXtomo, <https://manual.nexusformat.org>.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nan::NanPolicy;
use super::{Header, Loaded};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// A tomographic scan in an NXtomo file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NxTomoParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// The group of the scan. Default: the first of entry, entry0000, entry1/tomo_entry that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The detector rows to read, all by default. With one row the dims are (angle, column), otherwise (angle, row, column).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<usize>>,
    /// The least transmission; smaller ones (dead pixels, photon starvation) are raised to it and counted.
    #[serde(default = "super::data_exchange::default_clamp")]
    pub clamp: f64,
    /// What becomes of values that are not finite, such as those of pixels where white equals dark.
    #[serde(default)]
    pub nan: NanPolicy,
}

#[cfg(not(feature = "hdf5"))]
impl NxTomoParams {
    /// A fault: this build has no HDF5.
    pub(super) fn header(&self, _data_dir: &Path) -> Result<Header, Fault> {
        Err(super::data_exchange::no_hdf5(&self.path))
    }
    /// A fault: this build has no HDF5.
    pub(super) fn read<S: Scalar>(&self, _data_dir: &Path, _tile: &Tile, _out: &mut [S]) -> Result<Loaded, Fault> {
        Err(super::data_exchange::no_hdf5(&self.path))
    }
}

#[cfg(feature = "hdf5")]
mod open {
    use super::super::data_exchange::scan::data_set::{data_set, is_there};
    use super::super::data_exchange::scan::{Asked, Frames, Scan, Theta};
    use super::*;

    /// Where beamlines put the scan.
    const ENTRIES: [&str; 3] = ["entry", "entry0000", "entry1/tomo_entry"];

    impl NxTomoParams {
        /// Dims, sizes and angles; reads metadata, the image key and the angles only.
        pub(in crate::io) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
            let (scan, entry) = self.open(data_dir)?;
            let (angles, how) =
                scan.angles(&Theta { name: &format!("{entry}/sample/rotation_angle"), unless_there: false })?;
            Ok(Header { angles: Some(angles), ..Header::new(scan.shape(), scan.about(&how)) })
        }

        /// Reads the angles, rows and columns of a tile as line integrals.
        pub(in crate::io) fn read<S: Scalar>(
            &self,
            data_dir: &Path,
            tile: &Tile,
            out: &mut [S],
        ) -> Result<Loaded, Fault> {
            self.open(data_dir)?.0.read(tile, out)
        }

        fn open(&self, data_dir: &Path) -> Result<(Scan<'_>, String), Fault> {
            let NxTomoParams { path, rows, clamp, nan, .. } = self;
            let asked = Asked { path, rows, clamp: *clamp, nan: *nan };
            let file = asked.open(data_dir)?;
            let detector = |entry: &str| format!("{entry}/instrument/detector");
            let found = || ENTRIES.into_iter().find(|entry| is_there(&file, &detector(entry)));
            let entry = self.entry.as_deref().or_else(found).unwrap_or(ENTRIES[0]).trim_matches('/').to_owned();
            let all = Frames::all(&file, &format!("{}/data", detector(&entry)), path)?;
            let (of, name) = (path.display(), format!("{}/image_key", detector(&entry)));
            let keys = data_set(&file, &name, path)?.read_raw::<i64>();
            let keys = keys.map_err(|error| Fault::new(format!("{of}: cannot read `{name}`: {error}")))?;
            if keys.len() != all.count() {
                let text = format!("{of}: `{name}` has {} numbers for {} frames", keys.len(), all.count());
                return Err(
                    Fault::new(text).hint("it says of each frame what it is: 0 projection, 1 white, 2 dark, 3 none")
                );
            }
            let with = |key: i64, what: &str| {
                let which: Vec<usize> = (0..keys.len()).filter(|frame| keys[*frame] == key).collect();
                match which.is_empty() {
                    false => Ok(all.only(which)),
                    true => Err(Fault::new(format!("{of}: `{name}` has no {key}: there is no {what}"))
                        .hint("0 is a projection, 1 a white and 2 a dark field; line integrals themselves are read from npy files")),
                }
            };
            let (views, white, dark) = (with(0, "projection")?, with(1, "white field")?, with(2, "dark field")?);
            Ok((Scan::of(asked, file, views, white, dark)?, entry))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::str::FromStr;

        use hdf5::types::VarLenUnicode;
        use ndarray::{Array1, Array3};

        use super::*;
        use crate::space::Shape;

        /// Frames of 2 rows and 3 columns: dark, white, two projections, a bad one, a projection, white.
        fn file(folder: &Path, entry: &str, keys: &[i32]) -> NxTomoParams {
            let file = hdf5::File::create(folder.join("a.nx")).unwrap();
            let group = entry.split('/').fold((*file).clone(), |group, name| group.create_group(name).unwrap());
            let detector = group.create_group("instrument").unwrap().create_group("detector").unwrap();
            let sample = group.create_group("sample").unwrap();
            let level = [10u16, 210, 110, 60, 9999, 35, 210];
            let data = Array3::from_shape_fn((7, 2, 3), |(frame, ..)| level[frame]);
            detector.new_dataset_builder().with_data(&data).create("data").unwrap();
            detector.new_dataset_builder().with_data(&Array1::from_vec(keys.to_vec())).create("image_key").unwrap();
            let angles = Array1::from_vec(vec![0.0, 0.0, 10.0, 20.0, 30.0, 40.0, 0.0]);
            let angles = sample.new_dataset_builder().with_data(&angles).create("rotation_angle").unwrap();
            let unit = VarLenUnicode::from_str("deg").unwrap();
            angles.new_attr::<VarLenUnicode>().create("units").unwrap().write_scalar(&unit).unwrap();
            toml::from_str("path = 'a.nx'").unwrap()
        }

        #[test]
        fn frames_are_what_the_image_key_says() {
            for entry in ["entry", "entry1/tomo_entry"] {
                let folder = tempfile::tempdir().unwrap();
                let params = file(folder.path(), entry, &[2, 1, 0, 0, 3, 0, 1]);
                let header = params.header(folder.path()).unwrap();
                assert_eq!(header.shape, Shape::new([("angle", 3), ("row", 2), ("column", 3)]));
                let degrees: Vec<f64> = header.angles.unwrap().iter().map(|angle| angle.to_degrees().round()).collect();
                assert_eq!(degrees, [10.0, 20.0, 40.0]);
                let mut y = vec![f64::NAN; 18];
                let loaded = params.read(folder.path(), &Tile::whole(&header.shape), &mut y).unwrap();
                assert_eq!((loaded.numbers, loaded.clamped, loaded.not_finite), (18, 0, 0));
                for (at, value) in y.iter().enumerate() {
                    // (110 − 10) / (210 − 10) and so on
                    let want = [0.5f64, 0.25, 0.125][at / 6];
                    assert!((value + want.ln()).abs() < 1e-12, "{at}: {value}");
                }
            }
        }

        #[test]
        fn files_that_do_not_fit_say_why() {
            let folder = tempfile::tempdir().unwrap();
            let text = |params: NxTomoParams| params.header(folder.path()).unwrap_err().text;
            assert!(text(file(folder.path(), "entry", &[0; 7])).contains("no 1: there is no white field"));
            assert!(text(file(folder.path(), "entry", &[0, 1, 2])).contains("has 3 numbers for 7 frames"));
            let other =
                NxTomoParams { entry: Some("scan".into()), ..file(folder.path(), "entry", &[2, 1, 0, 0, 3, 0, 1]) };
            let text = text(other);
            assert!(text.contains("no data set `scan/instrument/detector/data`"), "{text}");
            assert!(text.contains("entry/instrument/detector/data"), "{text}");
        }
    }
}
