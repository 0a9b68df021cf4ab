//! An array that the user hands over beside the job: what `apply` is to be applied to, or a first guess.

use std::path::{Path, PathBuf};

use crate::error::Fault;
use crate::io::{self, FilesIn};
use crate::physics::Files;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// A path to an array, in any format that operators read, and the key or option by which the user gave it. It starts from the current folder: such an array
/// belongs to the run, not to the measurements.
pub struct Given<'a> {
    /// The key or option.
    pub key: &'static str,
    /// The file.
    pub path: &'a Path,
    /// What must have the same sizes: the model, or the measurements.
    pub like: &'static str,
}

impl Given<'_> {
    /// Makes sure that there is an array with the sizes of `shape`; reads its header only. Collective: no.
    pub fn check(&self, shape: &Shape) -> Result<(), Fault> {
        let Given { key, path, like } = self;
        let of = path.display();
        std::fs::metadata(io::split_entry(path).0).map_err(|why| {
            Fault::new(format!("{key}: cannot read {of}: {why}")).hint("its path starts from the current folder")
        })?;
        let sizes = FilesIn(PathBuf::new()).sizes(path).map_err(|fault| self.blamed(fault))?;
        if sizes == shape.sizes() {
            return Ok(());
        }
        let expected = shape.sizes();
        Err(Fault::new(format!("{key}: expected sizes {expected:?}, those of the {like} {shape}, {of} has {sizes:?}"))
            .hint(format!("the array must have the sizes of the {like}")))
    }

    /// Reads a part of the array. Collective: no. Faults: those of [`check`](Self::check) and of the reader.
    pub fn read<S: Scalar>(&self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        self.check(tile.of())?;
        FilesIn(PathBuf::new()).read_into(self.path, tile, out).map_err(|fault| self.blamed(fault))
    }

    fn blamed(&self, mut fault: Fault) -> Fault {
        fault.text = format!("{}: {}", self.key, fault.text);
        fault
    }
}
