//! HDF5 Data Exchange: the format of synchrotron tomography, read as line integrals.
//!
//! A file holds counts (`exchange/data`: angle, row, column), flat fields (`data_white`) and dark fields (`data_dark`: frame,
//! row, column) and the angles (`theta`). What a projector predicts is
//!
//! ```text
//! y = −ln(max((data − dark) / (white − dark), clamp))
//! ```
//!
//! with dark and white averaged over their frames, for each row and column on its own. All of it is computed in f64.
//!
//! Source: De Carlo et al., *Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data*, Journal of
//! Synchrotron Radiation 21 (2014), section 3.

#[cfg(feature = "hdf5")]
pub(super) mod scan;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nan::NanPolicy;
use super::{Header, Loaded};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// A tomographic scan in an HDF5 Data Exchange file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataExchangeParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// The detector rows to read, all by default. With one row the dims are (angle, column), otherwise (angle, row, column).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<usize>>,
    /// The least transmission; smaller ones (dead pixels, photon starvation) are raised to it and counted.
    #[serde(default = "default_clamp")]
    pub clamp: f64,
    /// What becomes of values that are not finite, such as those of pixels where white equals dark.
    #[serde(default)]
    pub nan: NanPolicy,
}

pub(super) fn default_clamp() -> f64 {
    1e-6
}

/// A line for each data set of an HDF5 file: name, sizes, type, unit. No lines where a file's extension is another.
///
/// Collective: no. Cost: metadata only. Faults: a file that is not HDF5; a build without HDF5.
pub fn data_sets(path: &Path) -> Result<Vec<String>, Fault> {
    match super::array::extension(path).as_str() {
        #[cfg(feature = "hdf5")]
        "h5" | "hdf5" | "hdf" | "nx" | "nxs" => scan::data_sets(path),
        #[cfg(not(feature = "hdf5"))]
        "h5" | "hdf5" | "hdf" | "nx" | "nxs" => Err(no_hdf5(path)),
        _ => Ok(Vec::new()),
    }
}

#[cfg(not(feature = "hdf5"))]
pub(super) fn no_hdf5(path: &Path) -> Fault {
    Fault::new(format!("cannot read {}: this build has no HDF5", path.display()))
        .hint("build with --features hdf5 (needs libhdf5-dev)")
}

#[cfg(not(feature = "hdf5"))]
impl DataExchangeParams {
    /// A fault: this build has no HDF5.
    pub(super) fn header(&self, _data_dir: &Path) -> Result<Header, Fault> {
        Err(no_hdf5(&self.path))
    }
    /// A fault: this build has no HDF5.
    pub(super) fn read<S: Scalar>(&self, _data_dir: &Path, _tile: &Tile, _out: &mut [S]) -> Result<Loaded, Fault> {
        Err(no_hdf5(&self.path))
    }
}

#[cfg(feature = "hdf5")]
impl DataExchangeParams {
    /// Dims, sizes and angles; reads metadata and `theta` only.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        let scan = self.open(data_dir)?;
        let theta = scan::Theta { name: "exchange/theta", unless_there: true };
        let (angles, how) = scan.angles(&theta)?;
        let about = scan.about(&how);
        Ok(Header { angles: Some(angles), ..Header::new(scan.shape(), about) })
    }

    /// Reads the angles, rows and columns of a tile as line integrals.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        self.open(data_dir)?.read(tile, out)
    }

    fn open(&self, data_dir: &Path) -> Result<scan::Scan<'_>, Fault> {
        let DataExchangeParams { path, rows, clamp, nan } = self;
        let asked = scan::Asked { path, rows, clamp: *clamp, nan: *nan };
        let file = asked.open(data_dir)?;
        let all = |name: &str| scan::Frames::all(&file, name, path);
        let (views, white, dark) = (all("exchange/data")?, all("exchange/data_white")?, all("exchange/data_dark")?);
        scan::Scan::of(asked, file, views, white, dark)
    }
}

#[cfg(all(test, not(feature = "hdf5")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_hdf5_says_so() {
        let params: DataExchangeParams = toml::from_str("path = 'a.h5'").unwrap();
        let fault = params.header(Path::new(".")).unwrap_err();
        assert!(fault.text.contains("no HDF5") && fault.hint.unwrap().contains("--features hdf5"));
    }
}
