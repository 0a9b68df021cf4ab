//! NumPy's npy format: any dims, real, complex, integer and boolean numbers; the format of all our results.
//!
//! The header's dictionary is parsed by `ndarray-npy`; the numbers are read here, because a rank wants its tile and not the
//! file.

mod axes;
#[cfg(test)]
mod by_hand;
mod element;
mod header;
mod read;
mod write;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use read::NpyFile;
pub use write::{NpyInParts, write_npy};

use super::nan::{self, NanPolicy, settle};
use super::{Header, Loaded, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// An npy file; its dims have no names in the file, so they get them here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// A name for each dim of the array, slowest first, such as `["coil", "ky", "kx"]`.
    pub dims: Vec<String>,
    /// What becomes of values that are not finite.
    #[serde(default)]
    pub nan: NanPolicy,
}

impl NpyParams {
    /// Dims and sizes; reads the file's header only.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        let file = NpyFile::open(&resolve(data_dir, &self.path)?)?;
        let sizes = file.sizes();
        if sizes.len() != self.dims.len() {
            let (path, dims, named) = (self.path.display(), sizes.len(), self.dims.len());
            return Err(Fault::new(format!(
                "`dims`: {path} has {dims} dims of sizes {sizes:?}, `dims` names {named}: {:?}",
                self.dims
            ))
            .hint("name each dim once, slowest first"));
        }
        if let Some(name) =
            self.dims.iter().enumerate().find_map(|(k, name)| self.dims[..k].contains(name).then_some(name))
        {
            return Err(Fault::new(format!("`dims` names `{name}` twice")).hint("name each dim once, slowest first"));
        }
        let shape = Shape::new(self.dims.iter().cloned().zip(sizes.iter().copied()));
        let about = format!("{}: {shape}, {}", self.path.display(), file.element().name());
        Ok(Header { shape, angles: None, about })
    }

    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        let mut file = NpyFile::open(&resolve(data_dir, &self.path)?)?;
        file.read_into(tile, out)?;
        let of = self.path.display().to_string();
        let not_finite =
            settle(out, self.nan, tile, &of, |index| nan::named(tile, index)).map_err(|fault| fault.hint(nan::HINT))?;
        Ok(Loaded { numbers: out.len() as u64, clamped: 0, not_finite })
    }
}

#[cfg(test)]
mod tests {
    use super::by_hand::params;
    use super::*;
    use crate::space::Selection;

    #[test]
    fn values_that_are_not_finite_follow_the_policy() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::new([("a", 3), ("b", 2)]);
        let values = [1.0, 2.0, 3.0, f64::NAN, f64::INFINITY, 1e300];
        write_npy(&folder.path().join("a.npy"), &shape, &values).unwrap();
        let tile = Tile::whole(&shape).with(0, Selection { start: 1, step: 1, count: 2 });
        let strict = params("a.npy", &["a", "b"], NanPolicy::Error);
        let fault = strict.read(folder.path(), &tile, &mut [0f64; 4]).unwrap_err();
        assert!(fault.text.contains("2 of the 4") && fault.text.contains("a=1, b=1"), "{}", fault.text);
        assert!(fault.hint.unwrap().contains("data.nan = \"zero\""));
        let lenient = params("a.npy", &["a", "b"], NanPolicy::Zero);
        let mut out = [0f64; 4];
        assert_eq!(lenient.read(folder.path(), &tile, &mut out).unwrap().not_finite, 2);
        assert_eq!(out, [3.0, 0.0, 0.0, 1e300]);
        // What f32 cannot hold is not finite either.
        assert_eq!(lenient.read(folder.path(), &tile, &mut [0f32; 4]).unwrap().not_finite, 3);
    }

    #[test]
    fn names_must_fit_the_array() {
        let folder = tempfile::tempdir().unwrap();
        write_npy(&folder.path().join("a.npy"), &Shape::new([("a", 2), ("b", 2)]), &[0.0; 4]).unwrap();
        let fault = params("a.npy", &["a"], NanPolicy::Error).header(folder.path()).unwrap_err();
        assert!(fault.text.contains("has 2 dims") && fault.text.contains("names 1"), "{}", fault.text);
        let fault = params("a.npy", &["a", "a"], NanPolicy::Error).header(folder.path()).unwrap_err();
        assert!(fault.text.contains("`a` twice"), "{}", fault.text);
    }
}
