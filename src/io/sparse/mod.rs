//! Sparse matrices: which format a file is in.

mod matrix_market;
mod scipy;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::Fault;
use crate::physics::{SparseSizes, Triplets};
use crate::space::Selection;

/// What a file begins with.
enum Format {
    MatrixMarket,
    Gzip,
    Zip,
}

fn format_of(path: &Path) -> Result<Format, Fault> {
    let mut begin = [0; 4];
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let got = file.read(&mut begin).map_err(|error| unreadable(path, &error))?;
    match &begin[..got] {
        [0x1f, 0x8b, ..] => Ok(Format::Gzip),
        b"PK\x03\x04" => Ok(Format::Zip),
        b"%%Ma" => Ok(Format::MatrixMarket),
        [] => Err(Fault::new(format!("{} is empty (0 bytes)", path.display())).hint(super::COMPLETE)),
        _ => Err(Fault::new(format!("{} holds no sparse matrix in a format that is known", path.display()))
            .hint("Matrix Market (.mtx, .mtx.gz) and scipy.sparse.save_npz (.npz) are read")),
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(format!("cannot read {}: {error}", path.display()))
}

/// Rows, columns and entries of a matrix, from its header.
pub(super) fn sizes(path: &Path) -> Result<SparseSizes, Fault> {
    match format_of(path)? {
        Format::Zip => scipy::sizes(path),
        format => matrix_market::sizes(path, matches!(format, Format::Gzip)),
    }
}

/// Some rows of a matrix. The whole file is gone through; only these are kept.
pub(super) fn read(path: &Path, rows: Selection) -> Result<Triplets, Fault> {
    match format_of(path)? {
        Format::Zip => scipy::read(path, rows),
        format => matrix_market::read(path, matches!(format, Format::Gzip), rows),
    }
}

/// The place of a row among those that are wanted.
fn place_of(row: usize, rows: Selection) -> Option<usize> {
    let behind = row.checked_sub(rows.start)?;
    let step = rows.step.max(1);
    (behind.is_multiple_of(step) && behind / step < rows.count).then_some(behind / step)
}
