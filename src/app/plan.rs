//! `plan`: who owns what, what it takes, what an iteration sends. Allocates nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cli::PlanArgs;
use super::forecast::Forecast;
use super::resolve::Resolved;
use super::scaling::{Model, Prediction};
use super::{Context, Ending, cores_of_host, read_config, read_job, say, with_scalar};
use crate::comm::{Hosts, Kind, Team, Through, Traffic};
use crate::error::{Error, Fault, Phase};
use crate::io::{self, TilePicture};
use crate::scalar::Scalar;
use crate::stack::{BlockPlan, Entry, Part, human_bytes};

/// Prints the plan. Collective: yes, but meant for one process.
pub fn plan(context: &Context, args: &PlanArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    let ranks = args.ranks.map_or(team.size(), |ranks| ranks as usize);
    let resolved = Resolved::open_for(&team, &job, &args.job.common, ranks)?;
    with_scalar!(job, S => print::<S>(&team, &resolved, ranks, args))
}

fn print<S: Scalar>(team: &Team, resolved: &Resolved, ranks: usize, args: &PlanArgs) -> Result<Ending, Error> {
    let plan = team.agree(resolved.plan::<S>(ranks).map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let drawn = match &args.png {
        Some(file) if team.rank() == 0 => io::write_tiles(file, &picture(&plan)),
        _ => Ok(()),
    };
    team.agree(drawn.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let run = &resolved.job.run;
    let per_node = args.ranks_per_node.map_or(ranks, |ranks| ranks as usize);
    let hosts = Hosts::even(ranks, per_node, cores_of_host(), run.reduction, run.summation);
    let forecast = Forecast::new(resolved, &plan, &hosts);
    let scale = match &args.model {
        Some(path) => Some(team.from_rank_0(|| Scale::of::<S>(path, resolved, ranks, per_node))?),
        None => None,
    };
    if team.rank() > 0 {
        return Ok(Ending::Done);
    }
    if args.json {
        let mut all = forecast.to_json();
        if let (Some(scale), Some(all)) = (&scale, all.as_object_mut()) {
            all.insert("scale".into(), serde_json::json!(scale));
        }
        say!("{all:#}");
        return Ok(Ending::Done);
    }
    for line in resolved.about_data() {
        say!("data {line}");
    }
    say!("{plan}");
    tell_method(&forecast, resolved);
    tell_iteration(&forecast);
    tell_memory(&forecast);
    if forecast.idle() > 0 {
        let idle = forecast.idle();
        say!("\n{idle} of {ranks} ranks have no operator: split into more parts, or start fewer ranks");
    }
    if let Some(scale) = &scale {
        scale.tell();
    }
    say!("\nplan hash {:016x}", plan.hash());
    Ok(Ending::Done)
}

/// The time of an iteration on more and more ranks.
#[derive(Serialize, Deserialize)]
struct Scale {
    measured: String,
    hosts: Vec<String>,
    config: String,
    rows: Vec<ScaleRow>,
}

#[derive(Serialize, Deserialize)]
struct ScaleRow {
    ranks: usize,
    nodes: usize,
    seconds: f64,
    #[serde(flatten)]
    parts: Prediction,
    /// The time of the first row's ranks together, over that of these together.
    efficiency: f64,
}

impl Scale {
    /// For 1, 2, 4 … ranks, and for as many as are asked for. Collective: no.
    fn of<S: Scalar>(path: &Path, resolved: &Resolved, ranks: usize, per_node: usize) -> Result<Self, Fault> {
        let model = Model::read(path)?;
        let run = &resolved.job.run;
        let mut counts: Vec<usize> = (0..).map(|k| 1 << k).take_while(|count| *count < ranks).collect();
        counts.push(ranks);
        let mut rows: Vec<ScaleRow> = Vec::new();
        for count in counts {
            let plan = match resolved.plan::<S>(count) {
                Ok(plan) => plan,
                Err(_) if count < ranks => continue, // [ranks] wants more of them
                Err(fault) => return Err(fault.in_phase(Phase::Plan)),
            };
            let ranks = count;
            let hosts = Hosts::even(ranks, per_node, model.cores, run.reduction, run.summation);
            let parts = model.predict(&Forecast::new(resolved, &plan, &hosts), run.threads.unwrap_or(1))?;
            let seconds = parts.seconds();
            let work = |ranks: usize, seconds: f64| ranks as f64 * seconds;
            let efficiency = rows.first().map_or(1.0, |row| work(row.ranks, row.seconds) / work(ranks, seconds));
            rows.push(ScaleRow { ranks, nodes: hosts.count(), seconds, parts, efficiency });
        }
        let config = model.operators.map_or(String::new(), |operators| operators.config);
        Ok(Scale { measured: model.measured, hosts: model.hosts, config, rows })
    }

    fn tell(&self) {
        let mut hosts = self.hosts.clone();
        hosts.dedup();
        say!(
            "\na prediction, from messages measured on {} of {} and operators of {}:",
            self.measured,
            hosts.join(", "),
            self.config
        );
        say!(
            "{:>8} {:>6} {:>14} {:>12} {:>12} {:>12} {:>11}",
            "ranks",
            "nodes",
            "one iteration",
            "operators",
            "vectors",
            "messages",
            "efficiency"
        );
        for ScaleRow { ranks, nodes, seconds, parts, efficiency } in &self.rows {
            let Prediction { operators, vectors, messages, crowded } = *parts;
            let [seconds, operators, vectors, messages] = [*seconds, operators, vectors, messages].map(human_seconds);
            let mark = if crowded { " *" } else { "" };
            let efficiency = 100.0 * efficiency;
            say!(
                "{ranks:>8} {nodes:>6} {seconds:>14} {operators:>12} {vectors:>12} {messages:>12} {efficiency:>10.1}%{mark}"
            );
        }
        if self.rows.iter().any(|row| row.parts.crowded) {
            say!("* more threads than cores: operators take turns, and messages take longer than is said here");
        }
    }
}

/// Seconds as a person reads them.
fn human_seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn tell_method(forecast: &Forecast, resolved: &Resolved) {
    let solve = &resolved.job.solve;
    let [of_model, of_data] = forecast.vectors();
    let with = solve.preconditioner.as_ref().map_or(String::new(), |by| format!(" with preconditioner {}", by.kind()));
    let and_of_data = if of_data == 0 { String::new() } else { format!(" and {of_data} of the measurements") };
    say!(
        "\nmethod {}{with}: {of_model} vectors of the model{and_of_data}, at most {} iterations",
        solve.method.kind(),
        solve.method.most_iterations()
    );
    if let Some(norm) = &resolved.job.norm {
        let [of_model, _] = norm.method.vectors();
        let kind = norm.method.kind();
        say!("norm by {kind}, after the solve: {of_model} vectors of the model at most, beside the solution");
    }
}

/// What one iteration sends: in words, and by kind on the ranks that send least and most.
fn tell_iteration(forecast: &Forecast) {
    let (plan, step) = (forecast.plan, forecast.step());
    if plan.columns().len() == 1 {
        let mut messages = step.messages();
        if plan.merged().is_some() {
            messages.vector_reductions -= step.normals;
        }
        say!("one iteration: {messages}; forward: nothing is sent");
    }
    let ranks = plan.ranks();
    if ranks > 1 {
        let all: Vec<_> = (0..ranks).map(|rank| forecast.iteration(rank).traffic()).collect();
        for kind in Kind::ALL {
            let of_kind = || all.iter().map(|traffic| traffic[kind as usize]);
            let range = |of: fn(Traffic) -> u64| {
                let ends = || of_kind().map(of);
                (ends().min().unwrap_or(0), ends().max().unwrap_or(0))
            };
            let (calls, bytes) = (range(|traffic| traffic.calls), range(|traffic| traffic.bytes));
            if calls.1 > 0 {
                let name = kind.name().replace('_', " ");
                say!("{name:>20}: {} on each rank, {} put in", ends(calls, u64::to_string), ends(bytes, human));
            }
        }
        let through = match forecast.hosts.through() {
            Through::Messages => "by messages",
            Through::Shared => "in memory that they share: nothing is sent",
            Through::SharedAndMessages => "in shared memory on each node, then by messages between nodes",
        };
        say!("sums of vectors that every rank holds are made {through}");
    }
    say!("balance: the busiest rank has {:.2} times the mean cost of operators", forecast.balance());
    match forecast.checkpoint_bytes() {
        0 => say!("no checkpoints\n"),
        bytes => say!("a checkpoint takes {} on the disk\n", human_bytes(bytes)),
    }
}

fn human(bytes: &u64) -> String {
    human_bytes(*bytes)
}

/// One number, or two with what lies between.
fn ends((least, most): (u64, u64), show: impl Fn(&u64) -> String) -> String {
    if least == most { show(&least) } else { format!("{} to {}", show(&least), show(&most)) }
}

fn tell_memory(forecast: &Forecast) {
    say!(
        "{:>8}  {:>12} {:>12} {:>12} {:>12} {:>12}",
        "rank",
        "vectors",
        "measurements",
        "operators",
        "scratch",
        "peak memory"
    );
    for rank in 0..forecast.plan.ranks() {
        let memory = forecast.memory(rank);
        say!(
            "{rank:>8}  {:>12} {:>12} {:>12} {:>12} {:>12}",
            human_bytes(memory.vectors),
            human_bytes(memory.measurements),
            human_bytes(memory.operators),
            human_bytes(memory.scratch + memory.seen + memory.snapshot),
            human_bytes(memory.peak()),
        );
    }
    let hosts = forecast.hosts;
    if hosts.ranks() > 1 {
        let bytes: Vec<u64> = (0..hosts.count()).map(|host| forecast.host_bytes(host)).collect();
        let (least, most) = (bytes.iter().min().unwrap_or(&0), bytes.iter().max().unwrap_or(&0));
        let count = hosts.count();
        let nodes = if count == 1 { "one node".to_owned() } else { format!("each of {count} nodes") };
        let most_ranks = hosts.most();
        say!("\nmemory of {nodes} with {most_ranks} ranks: {} at the peak", ends((*least, *most), human));
    }
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
