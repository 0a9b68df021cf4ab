//! An array as measurements: its dims get names, and what is not finite follows a policy.

use std::path::Path;

use super::ArrayFile;
use crate::error::Fault;
use crate::io::nan::{self, NanPolicy, settle};
use crate::io::{Header, Loaded};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// What a file says of itself, with the names of a config, or its own.
pub(in crate::io) fn header(file: &ArrayFile, path: &Path, dims: Option<&[String]>) -> Result<Header, Fault> {
    let names = dims.unwrap_or(&file.names);
    check_names(names, &file.sizes, path)?;
    let shape = Shape::new(names.iter().cloned().zip(file.sizes.iter().copied()));
    let about = format!("{}: {shape}, {}", path.display(), file.element.name());
    Ok(Header::new(shape, about))
}

/// A fault unless there is one name for each dim, each once.
fn check_names(names: &[String], sizes: &[usize], path: &Path) -> Result<(), Fault> {
    if sizes.len() != names.len() {
        let (path, dims, named) = (path.display(), sizes.len(), names.len());
        return Err(Fault::new(format!(
            "`dims`: {path} has {dims} dims of sizes {sizes:?}, `dims` names {named}: {names:?}"
        ))
        .hint("name each dim once, slowest first"));
    }
    match names.iter().enumerate().find(|(k, name)| names[..*k].contains(name)) {
        Some((_, name)) => {
            Err(Fault::new(format!("`dims` names `{name}` twice")).hint("name each dim once, slowest first"))
        }
        None => Ok(()),
    }
}

/// Reads a tile; faults call the file by the path that the config has.
pub(in crate::io) fn read<S: Scalar>(
    file: &mut ArrayFile,
    path: &Path,
    nan: NanPolicy,
    tile: &Tile,
    out: &mut [S],
) -> Result<Loaded, Fault> {
    file.read_into(tile, out)?;
    let of = path.display().to_string();
    let not_finite =
        settle(out, nan, tile, &of, |index| nan::named(tile, index)).map_err(|fault| fault.hint(nan::HINT))?;
    Ok(Loaded { numbers: out.len() as u64, clamped: 0, not_finite })
}
