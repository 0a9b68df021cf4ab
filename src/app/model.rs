//! `x` from and to files: block by block, so that no rank needs room for more than it holds and one block.

use std::path::{Path, PathBuf};

use super::given::Given;
use super::resolve::Resolved;
use crate::comm::signs;
use crate::error::{Error, Fault, Phase};
use crate::io::{self, FilesIn, NpyInParts};
use crate::physics::Files;
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile, Vector};
use crate::stack::Stack;

/// What this rank holds of an `x` that the user gave. Collective: no.
pub fn read_model<S: Scalar>(stack: &Stack<S>, resolved: &Resolved, given: &Given) -> Result<Vector<S>, Fault> {
    let mut x = stack.zero_model();
    for (index, window) in resolved.windows().iter().enumerate() {
        if let Some(block) = x.block_slice_mut(index) {
            given.read(window, block)?;
        }
    }
    Ok(x)
}

/// Writes `x` as one npy file of the model's shape, by rank 0. Collective: yes, one gather for each block.
pub fn write_model<S: Scalar>(stack: &Stack<S>, resolved: &Resolved, x: &Vector<S>, path: &Path) -> Result<(), Error> {
    let sign = signs::during(Phase::Write);
    let team = stack.team();
    let in_write = |fault: Fault| fault.in_phase(Phase::Write);
    let file = match team.rank() {
        0 => NpyInParts::create(path, &resolved.job.model.dims).map(Some),
        _ => Ok(None),
    };
    let mut file = team.agree(file.map_err(in_write))?;
    let mut written = Ok(());
    for (index, window) in resolved.windows().iter().enumerate() {
        sign.again();
        let block = stack.model_block_on_rank_0(x, index);
        if let (Some(file), Ok(())) = (&mut file, &written) {
            written = file.write(window, &block);
        }
    }
    let written = written.and_then(|()| file.map_or(Ok(()), NpyInParts::finish));
    team.agree(written.map_err(in_write))
}

/// Draws the middle slice of an npy file of a shape, of a line a strip. Collective: no.
pub fn draw_middle<S: Scalar>(npy: &Path, shape: &Shape, png: &Path) -> Result<io::Window, Fault> {
    let sizes = shape.sizes();
    let (rows, columns) = match sizes[..] {
        [.., rows, columns] => (rows, columns),
        [columns] => (1, columns),
        [] => (1, 1),
    };
    let mut middle = Tile::whole(shape);
    for (axis, size) in sizes.iter().enumerate().take(sizes.len().saturating_sub(2)) {
        middle = middle.with(axis, Selection { start: size / 2, step: 1, count: 1 });
    }
    let slice = FilesIn(PathBuf::new()).read(npy, &middle)?.into_scalars::<S>()?;
    io::write_image(png, &slice, rows, columns)
}
