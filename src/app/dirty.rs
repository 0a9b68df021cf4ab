//! `dirty`: the dirty image `Aᴴ W y / Σ w` of an interferometer's visibilities, and the dirty beam.

use std::path::Path;

use super::cli::{DirtyArgs, WeightingKind};
use super::model::{draw_middle, write_model};
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, say, start_threads, with_scalar};
use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::physics::Weighting;
use crate::scalar::Scalar;
use crate::space::{Coordinate, Vector};
use crate::stack::Stack;

/// Makes both pictures. Collective: yes.
pub fn dirty(context: &Context, args: &DirtyArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    let weighting = team.agree(weighting(args).map_err(|fault| fault.in_phase(Phase::Config)))?;
    start_threads(context, &job);
    let folder = args.out.as_deref().unwrap_or(&job.output.folder);
    let writable = if team.rank() == 0 { io::atomic::check_writable(folder) } else { Ok(()) };
    team.agree(writable.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let resolved = Resolved::open(&team, &job, &args.job.common)?;
    with_scalar!(job, S => dirty_scalar::<S>(team, &resolved, weighting, folder))
}

fn weighting(args: &DirtyArgs) -> Result<Weighting, Fault> {
    match (args.weighting, args.robust) {
        (WeightingKind::Briggs, robust) => match robust.unwrap_or(0.0) {
            robust if (-2.0..=2.0).contains(&robust) => Ok(Weighting::Briggs(robust)),
            robust => Err(Fault::new(format!("--robust is {robust}, expected a number from -2 to 2"))
                .hint("-2 is nearly uniform, 2 nearly natural")),
        },
        (_, Some(_)) => Err(Fault::new("--robust is for --weighting briggs").hint("leave one of them out")),
        (WeightingKind::Natural, None) => Ok(Weighting::Natural),
        (WeightingKind::Uniform, None) => Ok(Weighting::Uniform),
    }
}

fn dirty_scalar<S: Scalar>(
    team: Team,
    resolved: &Resolved,
    weighting: Weighting,
    folder: &Path,
) -> Result<Ending, Error> {
    let weights = resolved.imaging_weights(weighting).map_err(|fault| fault.in_phase(Phase::Plan));
    let weights = team.agree(weights)?;
    let sum: f64 = weights.iter().flat_map(|weights| &weights.values).sum();
    let stack = resolved.build::<S>(team)?;
    let mut y = resolved.load(&stack)?.y;
    let image = weighted(&stack, resolved, &weights, &mut y, sum)?;
    write(&stack, resolved, &image, folder, "dirty")?;

    // a point of 1 Jy in the centre has V = 1
    let real = Coordinate::new("real", "part", "", vec![1.0, 0.0]);
    each_block(&stack, resolved, &mut y, |_, tile, block| {
        for (y, real) in block.iter_mut().zip(real.of_elements(tile)?) {
            *y = S::from_f64(real);
        }
        Ok(())
    })?;
    let beam = weighted(&stack, resolved, &weights, &mut y, sum)?;
    write(&stack, resolved, &beam, folder, "beam")?;
    if stack.team().rank() == 0 {
        say!("dirty image and beam, {weighting:?} weights: {}/dirty.npy, beam.npy, and pictures", folder.display());
    }
    Ok(Ending::Done)
}

/// `Aᴴ W y / Σ w`; leaves `W y` in `y`. Collective: yes.
fn weighted<S: Scalar>(
    stack: &Stack<S>,
    resolved: &Resolved,
    weights: &[Coordinate],
    y: &mut Vector<S>,
    sum: f64,
) -> Result<Vector<S>, Error> {
    each_block(stack, resolved, y, |place, tile, block| {
        for (y, weight) in block.iter_mut().zip(weights[place].of_elements(tile)?) {
            *y *= S::from_f64(weight / sum);
        }
        Ok(())
    })?;
    let mut image = stack.zero_model();
    stack.adjoint(y, &mut image)?;
    Ok(image)
}

/// Changes each block of this rank, with its term and the part of the measurements. Collective: yes.
fn each_block<S: Scalar>(
    stack: &Stack<S>,
    resolved: &Resolved,
    y: &mut Vector<S>,
    change: impl Fn(usize, &crate::space::Tile, &mut [S]) -> Result<(), Fault>,
) -> Result<(), Error> {
    let changed = resolved.rows().iter().enumerate().try_for_each(|(index, row)| match y.block_slice_mut(index) {
        Some(block) => change(resolved.place_of(index), &row.tile, block),
        None => Ok(()),
    });
    stack.team().agree(changed.map_err(|fault| fault.in_phase(Phase::Load)))
}

/// Writes an image as npy and as a picture. Collective: yes.
fn write<S: Scalar>(
    stack: &Stack<S>,
    resolved: &Resolved,
    x: &Vector<S>,
    folder: &Path,
    name: &str,
) -> Result<(), Error> {
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    write_model(stack, resolved, x, &path("npy"))?;
    let drawn = match stack.team().rank() {
        0 => draw_middle::<S>(&path("npy"), &resolved.job.model.dims, &path("png")).map(|_| ()),
        _ => Ok(()),
    };
    stack.team().agree(drawn.map_err(|fault| fault.in_phase(Phase::Write)))
}
