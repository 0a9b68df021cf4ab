//! `plan`: who owns what, what it takes, what an iteration sends. Allocates nothing.

use std::path::Path;

use super::cli::PlanArgs;
use super::resolve::Resolved;
use super::{Context, Ending, read_config, read_job, say, with_scalar};
use crate::comm::Team;
use crate::error::{Error, Phase};
use crate::io::{self, Data, TilePicture};
use crate::scalar::Scalar;
use crate::stack::{BlockPlan, Entry, Part, human_bytes};

/// Bytes that a rank needs before it holds any vector: the program, MPI, BLAS, fonts. Measured: the release build under
/// Open MPI 4.1 and OpenBLAS with one thread.
const PROCESS_BYTES: u64 = 28_000_000;

/// What HDF5 adds to that when a file is read.
const HDF5_BYTES: u64 = 4_000_000;

/// What rank 0 needs on top to draw and write the results.
const PICTURE_BYTES: u64 = 2_000_000;

/// Prints the plan. Collective: yes, but meant for one process.
pub fn plan(context: &Context, args: &PlanArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    let ranks = args.ranks.map_or(team.size(), |ranks| ranks as usize);
    let resolved = Resolved::open_for(&team, &job, &args.job.common, ranks)?;
    with_scalar!(job, S => print::<S>(&team, &resolved, ranks, args.png.as_deref()))
}

fn print<S: Scalar>(team: &Team, resolved: &Resolved, ranks: usize, png: Option<&Path>) -> Result<Ending, Error> {
    let plan = team.agree(resolved.plan::<S>(ranks).map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let drawn = match png {
        Some(file) if team.rank() == 0 => io::write_tiles(file, &picture(&plan)),
        _ => Ok(()),
    };
    team.agree(drawn.map_err(|fault| fault.in_phase(Phase::Write)))?;
    if team.rank() > 0 {
        return Ok(Ending::Done);
    }
    for line in resolved.about_data() {
        say!("data {line}");
    }
    say!("{plan}");
    let method = &resolved.job.solve.method;
    let preconditioner = resolved.job.solve.preconditioner.as_ref();
    let [mut of_model, of_data] = method.vectors();
    let mut messages = method.messages();
    let shares = (0..ranks).any(|rank| plan.reduction(rank).0 > 0 || plan.forward_sends(rank).0 > 0);
    if (plan.merged().is_some() && method.applies_normal()) || !shares {
        messages.vector_reductions = 0;
    }
    let mut name = method.kind().to_owned();
    if let Some(by) = preconditioner {
        of_model += 1 + by.model_vectors(); // M⁻¹r
        messages.vector_reductions += by.vector_reductions();
        name = format!("{name} with preconditioner {}", by.kind());
    }
    let and_of_data = if of_data == 0 { String::new() } else { format!(" and {of_data} of the measurements") };
    say!(
        "\nmethod {name}: {of_model} vectors of the model{and_of_data}, at most {} iterations",
        method.most_iterations()
    );
    let mut norm_vectors = [0, 0];
    if let Some(norm) = &resolved.job.norm {
        norm_vectors = norm.method.vectors();
        let kind = norm.method.kind();
        say!("norm by {kind}, after the solve: {} vectors of the model at most, beside the solution", norm_vectors[0]);
        norm_vectors[0] += 1;
    }
    match plan.columns().len() {
        1 => say!("one iteration: {messages}; forward: nothing is sent"),
        _ => say!(
            "one iteration: the sums above of blocks that ranks share, and 2 to 6 scalar reductions, since x is cut"
        ),
    }
    say!("the sums of ranks of one host, no more than its cores, are made in shared memory: nothing is sent\n");
    say!(
        "{:>8}  {:>12} {:>12} {:>12} {:>12} {:>12}",
        "rank",
        "vectors",
        "measurements",
        "operators",
        "scratch",
        "peak memory"
    );
    let hdf5 = resolved.job.terms.iter().any(|term| matches!(term.data, Some(Data::DataExchange(_))));
    let process = PROCESS_BYTES + if hdf5 { HDF5_BYTES } else { 0 };
    for rank in 0..ranks {
        let bytes = |[model, data]: [u64; 2]| model * plan.model_bytes(rank) + data * plan.data_bytes(rank);
        let vectors = bytes([of_model, of_data]).max(bytes(norm_vectors));
        let data = plan.data_bytes(rank) + resolved.fidelity_bytes(&plan, rank);
        say!(
            "{rank:>8}  {:>12} {:>12} {:>12} {:>12} {:>12}",
            human_bytes(vectors),
            human_bytes(data),
            human_bytes(plan.operator_bytes(rank)),
            human_bytes(plan.scratch_bytes(rank)),
            human_bytes(process + if rank == 0 { PICTURE_BYTES } else { 0 } + peak_bytes(&plan, vectors + data, rank)),
        );
    }
    let idle = (0..ranks).filter(|rank| plan.owned_by(*rank).next().is_none()).count();
    if idle > 0 {
        say!("\n{idle} of {ranks} ranks have no operator: split into more parts, or start fewer ranks");
    }
    say!("\nplan hash {:016x}", plan.hash());
    Ok(Ending::Done)
}

/// The plan as a matrix: a column for each block of `x`, a row for each block of measurements.
fn picture(plan: &BlockPlan) -> TilePicture {
    let band = |(index, part): (usize, &Part)| {
        let sizes: Vec<String> = part.shape.sizes().iter().map(usize::to_string).collect();
        (format!("{index}: {}", sizes.join("×")), part.shape.len())
    };
    let columns = plan.columns().len();
    let reads = |entry: &Entry| match entry.description.reads.as_slice() {
        [] => (0..columns).collect(),
        some => some.to_vec(),
    };
    let tiles = plan
        .entries()
        .iter()
        .flat_map(|entry| reads(entry).into_iter().map(move |column| [entry.row, column, entry.owner]));
    let owner = |rank| {
        let count = plan.owned_by(rank).count();
        let bytes = human_bytes(plan.model_bytes(rank) + plan.data_bytes(rank));
        format!("rank {rank}: {count} operator{}, x and y {bytes}", if count == 1 { "" } else { "s" })
    };
    let (count, ranks) = (plan.entries().len(), plan.ranks());
    TilePicture {
        title: format!("{count} operators on {ranks} rank{}", if ranks == 1 { "" } else { "s" }),
        columns: plan.columns().iter().enumerate().map(band).collect(),
        rows: plan.rows().iter().enumerate().map(band).collect(),
        tiles: tiles.collect(),
        owners: (0..ranks).map(owner).collect(),
    }
}

fn peak_bytes(plan: &BlockPlan, vectors: u64, rank: usize) -> u64 {
    vectors + plan.operator_bytes(rank) + plan.scratch_bytes(rank)
}
