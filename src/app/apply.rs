//! `apply`: one application of the stack to an npy file, in the natural shapes.

use std::path::{Path, PathBuf};

use super::cli::{ApplyArgs, What};
use super::given::Given;
use super::model::{read_model, write_model};
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, start_threads, with_scalar};
use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Applies the stack once. Collective: yes.
pub fn apply(context: &Context, args: &ApplyArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    start_threads(context, &job);
    check_writable(&team, &args.output)?;
    let resolved = Resolved::open(&team, &job, &args.job.common)?;
    with_scalar!(job, S => apply_scalar::<S>(team, &resolved, args))
}

fn apply_scalar<S: Scalar>(team: Team, resolved: &Resolved, args: &ApplyArgs) -> Result<Ending, Error> {
    let stack = resolved.build::<S>(team)?;
    let team = stack.team();
    let in_load = |fault: Fault| fault.in_phase(Phase::Load);
    match args.what {
        What::Forward => {
            let x = team.agree(read_model(&stack, resolved, &input(&args.input, "model")).map_err(in_load))?;
            let mut y = stack.zero_data();
            stack.forward(&x, &mut y)?;
            write_data(&stack, resolved, &y, &args.output)?;
        }
        What::Adjoint => {
            let y = team.agree(read_data(&stack, resolved, &args.input).map_err(in_load))?;
            let mut x = stack.zero_model();
            stack.adjoint(&y, &mut x)?;
            write_model(&stack, resolved, &x, &args.output)?;
        }
        What::Normal => {
            let x = team.agree(read_model(&stack, resolved, &input(&args.input, "model")).map_err(in_load))?;
            let mut out = stack.zero_model();
            stack.normal(&x, &mut out)?;
            write_model(&stack, resolved, &out, &args.output)?;
        }
    }
    Ok(Ending::Done)
}

/// Makes sure that a file can be written, before anything is computed. Collective: yes.
pub fn check_writable(team: &Team, file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable = if team.rank() == 0 { io::atomic::check_writable(folder) } else { Ok(()) };
    team.agree(writable.map_err(|fault| fault.in_phase(Phase::Write)))
}

/// This rank's blocks from files in the natural shape of each operator. Collective: no.
fn read_data<S: Scalar>(stack: &Stack<S>, resolved: &Resolved, path: &Path) -> Result<Vector<S>, Fault> {
    let mut y = stack.zero_data();
    for (file, rows) in files(resolved, path) {
        for index in rows {
            let tile = &resolved.rows()[index].tile;
            if let Some(block) = y.block_slice_mut(index) {
                input(&file, "measurements").read(tile, block)?;
            }
        }
    }
    Ok(y)
}

/// All blocks, put together in the natural shape of each operator, by rank 0.
pub fn write_data<S: Scalar>(stack: &Stack<S>, resolved: &Resolved, y: &Vector<S>, path: &Path) -> Result<(), Error> {
    let all = stack.gather(y, Some(0))?;
    let write = || {
        for (file, rows) in files(resolved, path) {
            let whole = resolved.rows()[rows[0]].tile.of();
            let mut values = vec![S::default(); whole.len()];
            for index in rows {
                let tile = &resolved.rows()[index].tile;
                let block = &all[stack.plan().rows()[index].start..];
                for (offset, value) in tile.offsets().zip(block) {
                    values[offset] = *value;
                }
            }
            io::write_npy(&file, whole, &values)?;
        }
        Ok(())
    };
    let written = if stack.team().rank() == 0 { write() } else { Ok(()) };
    stack.team().agree(written.map_err(|fault: Fault| fault.in_phase(Phase::Write)))
}

pub fn input<'a>(path: &'a Path, like: &'static str) -> Given<'a> {
    Given { key: "--in", path, like }
}

/// The file of each operator, and the blocks that its measurements were cut into: `Y.npy`, or `Y.NAME.npy` where there are several.
fn files(resolved: &Resolved, path: &Path) -> Vec<(PathBuf, Vec<usize>)> {
    let operators = resolved.operator_names();
    let several = operators.len() > 1;
    operators
        .into_iter()
        .map(|(name, rows)| {
            let file = path.with_extension(format!("{}.npy", name.replace(' ', "_")));
            (if several { file } else { path.to_owned() }, rows)
        })
        .collect()
}
