//! NumPy's npy format: any dims, real, complex, integer and boolean numbers; the format of all our results.
//!
//! The header's dictionary is parsed by `ndarray-npy`; the numbers are read here, because a rank wants its tile and not the
//! file.

#[cfg(test)]
pub(super) mod by_hand;
pub(super) mod header;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use write::{NpyInParts, write_npy};

use super::array::{self, ArrayFile, Raw};
use super::nan::NanPolicy;
use super::{COMPLETE, Header, Loaded, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

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
        array::header(&open(&resolve(data_dir, &self.path)?)?, &self.path, Some(&self.dims))
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        array::read(&mut open(&resolve(data_dir, &self.path)?)?, &self.path, self.nan, tile, out)
    }
}

/// Opens a file and reads its header.
pub(super) fn open(path: &Path) -> Result<ArrayFile, Fault> {
    let (of, file, bytes) = opened(path)?;
    let layout = header::layout(&mut BufReader::new(&file), bytes, &of)?;
    let names = names(&layout.sizes);
    Ok(ArrayFile::raw(of.clone(), names, Raw::in_file(of, file, layout)))
}

/// An open file that is not empty: what faults call it, and its bytes.
pub(super) fn opened(path: &Path) -> Result<(String, File, u64), Fault> {
    let of = path.display().to_string();
    let wrong = |error: std::io::Error| Fault::new(format!("cannot read {of}: {error}"));
    let file = File::open(path).map_err(wrong)?;
    let bytes = file.metadata().map_err(wrong)?.len();
    if bytes == 0 {
        return Err(Fault::new(format!("{of} is empty (0 bytes)")).hint(COMPLETE));
    }
    Ok((of, file, bytes))
}

/// What dims are called where the file does not say: as images and volumes.
pub(super) fn names(sizes: &[usize]) -> Vec<String> {
    let last = ["w", "z", "y", "x"];
    let name = |back: usize| last.len().checked_sub(back).map_or(format!("dim{back}"), |at| last[at].to_owned());
    (1..=sizes.len()).rev().map(name).collect()
}
