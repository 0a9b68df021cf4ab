//! `run` and `demo`: read, solve, write.

use std::path::Path;

use super::cli::SolveArgs;
use super::lock::lock;
use super::model::{draw_middle, write_model};
use super::phases::{Phases, peak_memory};
use super::report::{CheckpointReport, DataReport, Histories, Report, seconds, traffic};
use super::resolve::Resolved;
use super::solve::{check_first_guess, solve};
use super::{Context, Ending, Source, checkpoints, read_job, signals, start_threads, with_scalar};
use crate::checkpoint::{Checkpoints, Found};
use crate::comm::{Reduction, Team, Through};
use crate::config::{Job, PseudoInverseMode};
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::scalar::Scalar;
use crate::solver::Status;
use crate::space::{Shape, Vector};
use crate::stack::human_bytes;

/// Does a job. Collective: yes.
pub fn run(context: &Context, source: &Source, args: &SolveArgs) -> Result<Ending, Error> {
    let mut phases = Phases::start();
    let team = Team::new(context.comm.clone());
    let mut job = read_job(context, &team, source, &args.common)?;
    if let Some(folder) = &args.out {
        job.output.folder.clone_from(folder);
    }
    let asks_tolerance = job.solve.tolerance != Default::default();
    team.agree(match args.require_converged && !asks_tolerance {
        true => Err(Fault::new("--require-converged, but the config asks for no tolerance")
            .in_phase(Phase::Config)
            .hint("set one, e.g. --set solve.tolerance.relative_residual=0.01")),
        false => Ok(()),
    })?;
    let writable = if team.rank() == 0 { check_results(&job.output.folder) } else { Ok(()) };
    team.agree(writable.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let locked = match team.rank() {
        0 => lock(&job.output.folder, team.size(), &context.comm.host()).map(Some),
        _ => Ok(None),
    };
    let _lock = team.agree(locked.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let from = checkpoints::begin(&team, &job, args)?;
    let threads = start_threads(context, &job);
    phases.lap("config");

    let resolved = Resolved::open(&team, &job, &args.common)?;
    if from.is_empty() {
        team.agree(check_first_guess(&job).map_err(|fault| fault.in_phase(Phase::Open)))?;
    }
    phases.lap("open");
    let mut team = team.with_seconds_before(from.first().map_or(0.0, |newest| newest.table.seconds()));
    if keeps_state(&job) {
        team = team.with_hand(signals::catch());
    }
    with_scalar!(job, S => solve_and_write::<S>(context, team, &resolved, from, threads, phases, args))
}

/// Whether the state of a job can be kept: the local mean has none between its operators.
fn keeps_state(job: &Job) -> bool {
    job.checkpoint.enabled && job.solve.pseudo_inverse == PseudoInverseMode::Exact
}

/// The files of a result.
const RESULTS: [&str; 4] = ["x.npy", "x.png", "convergence.png", "report.json"];

/// Makes sure, before anything is computed, that all results can be written. Collective: no.
fn check_results(folder: &Path) -> Result<(), Fault> {
    io::atomic::check_writable(folder)?;
    RESULTS.iter().try_for_each(|name| io::atomic::check_replaceable(&folder.join(name)))
}

fn solve_and_write<S: Scalar>(
    context: &Context,
    team: Team,
    resolved: &Resolved,
    from: Vec<Found>,
    threads: usize,
    mut phases: Phases,
    args: &SolveArgs,
) -> Result<Ending, Error> {
    let job = resolved.job;
    let stack = resolved.build::<S>(team)?;
    let team = stack.team();
    phases.lap("build");
    tracing::info!(
        "{} operators on {} rank{}, x {} {}, {} of measurements",
        stack.count(),
        team.size(),
        if team.size() == 1 { "" } else { "s" },
        job.model.dims,
        S::NAME,
        human_bytes((stack.range().len() * size_of::<S>()) as u64),
    );
    if let Some(basis) = stack.plan().merged() {
        tracing::info!("AᴴA of all operators is merged into one, {basis}: its application sends nothing");
    }
    let idle = (0..team.size()).filter(|rank| stack.plan().owned_by(*rank).next().is_none()).count();
    if idle > 0 {
        tracing::warn!("{idle} of {} ranks have no operator: split into more parts, or start fewer ranks", team.size());
    }

    if job.run.reduction == Reduction::Shared && team.size() > 1 && team.through() == Through::Messages {
        tracing::warn!("ranks cannot share memory as run.reduction asks: sums go by messages");
    }

    let measurements = resolved.load(&stack)?;
    phases.lap("load");
    for line in resolved.about_data() {
        tracing::debug!("data {line}");
    }
    if measurements.clamped > 0 {
        tracing::warn!("{} of {} transmissions were raised to the clamp", measurements.clamped, measurements.numbers);
    }
    if measurements.not_finite > 0 {
        tracing::warn!("{} numbers were not finite and became zero", measurements.not_finite);
    }

    let data = checkpoints::checksum(team, &measurements.y)?;
    let resumed = from.first().map(|newest| newest.table.iteration());
    if let Some(newest) = from.first() {
        team.agree(checkpoints::expect_same_data(newest, &data, args.force))?;
        tracing::info!("going on after iteration {}: {}", newest.table.iteration(), newest.path.display());
    }
    let about = team.agree(checkpoints::about(job, &data))?;
    let folder = checkpoints::folder_in(&job.output.folder);
    let mut kept = keeps_state(job).then(|| Checkpoints::new(team, folder, job.checkpoint.clone(), about, from));

    let before_solve = team.meter().all();
    let solved = solve(context, &stack, resolved, &measurements, kept.as_mut())?;
    if solved.ending().0 == Status::Stopped {
        let folder = job.output.folder.display();
        tracing::info!("{}: `stackphys resume {folder}` goes on, on any number of ranks", solved.ending().2);
        return Ok(Ending::Stopped);
    }
    let after_solve = team.meter().all();
    phases.lap("solve");
    let (in_operators, in_sums) = stack.seconds();
    phases.add("operators", in_operators);
    phases.add("sums", in_sums);

    let relative_error = match &measurements.truth {
        Some(truth) => Some(relative_error(team, &solved.x, truth)?),
        None => None,
    };
    let folder = &job.output.folder;
    let iterations = solved.steps().len().saturating_sub(1);
    let (status, stop_rule, stop_reason) = solved.ending();
    let histories = Histories::of(solved.steps());
    write_model(&stack, resolved, &solved.x, &folder.join("x.npy"))?;
    let window = if team.rank() == 0 { draw::<S>(folder, &job.model.dims, &histories).map(Some) } else { Ok(None) };
    let window = team.agree(window.map_err(|fault| fault.in_phase(Phase::Write)))?;
    phases.lap("write");

    let peaks = team.gather_numbers(&[peak_memory() as f64]);
    let spreads = phases.over_ranks(team);
    let report = Report {
        status,
        stop_rule,
        stop_reason,
        iterations,
        relative_residual: histories.relative_residual,
        relative_normal_residual: histories.relative_normal_residual,
        relative_optimality: histories.relative_optimality,
        objective: histories.objective,
        true_relative_residual: solved.true_relative_residual,
        true_relative_normal_residual: solved.true_relative_normal_residual,
        true_objective: solved.true_objective,
        relative_error,
        norm_squared: solved.norm_squared,
        checkpoints: kept.map(|kept| {
            let (written, seconds) = kept.cost();
            CheckpointReport { resumed_after: resumed, written, seconds }
        }),
        pseudo_inverse: name_of(&job.solve.pseudo_inverse),
        ranks: team.size(),
        hosts: team.hosts(),
        threads,
        lanes: stack.plan().lanes(),
        operators: stack.count(),
        owners: stack.plan().owners(),
        scalar: S::NAME,
        summation: name_of(&job.run.summation),
        reduction: team.through(),
        normal_merged: stack.plan().merged(),
        data: DataReport {
            files: resolved.about_data().collect(),
            numbers: measurements.numbers,
            clamped: measurements.clamped,
            not_finite: measurements.not_finite,
        },
        seconds: seconds(spreads),
        comm: traffic(team, &before_solve, &after_solve, iterations - resumed.unwrap_or(0).min(iterations)),
        peak_memory_bytes: peaks.iter().map(|rank| rank[0] as u64).collect(),
        window: window.map(|window| [window.low, window.high]),
        config: serde_json::to_value(job).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let written = if team.rank() == 0 { write_report(folder, &report) } else { Ok(()) };
    team.agree(written.map_err(|fault| fault.in_phase(Phase::Write)))?;
    if team.rank() == 0 {
        checkpoints::mark_finished(folder);
    }
    tell(&report, folder);

    let converged = report.status == Status::Converged;
    Ok(if args.require_converged && !converged { Ending::NotReached } else { Ending::Done })
}

fn relative_error<S: Scalar>(team: &Team, x: &Vector<S>, truth: &Vector<S>) -> Result<f64, Error> {
    let mut difference = x.clone();
    difference.axpy(-1.0, truth);
    let [wrong, all] = team.dots([(&difference, &difference), (truth, truth)])?;
    Ok((wrong / all).sqrt())
}

/// `x.png` and `convergence.png`; returns the grey window of the picture.
fn draw<S: Scalar>(folder: &Path, model: &Shape, histories: &Histories) -> Result<io::Window, Fault> {
    let window = draw_middle::<S>(&folder.join("x.npy"), model, &folder.join("x.png"))?;
    let curves = histories.curves();
    let curves: Vec<(&str, &[f64])> = curves.iter().map(|(name, numbers)| (*name, numbers.as_slice())).collect();
    io::write_convergence(&folder.join("convergence.png"), "Convergence", &curves)?;
    Ok(window)
}

fn write_report(folder: &Path, report: &Report) -> Result<(), Fault> {
    io::atomic::write(&folder.join("report.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, report).map_err(std::io::Error::other)?;
        std::io::Write::write_all(file, b"\n")
    })
}

fn tell(report: &Report, folder: &Path) {
    if matches!(report.status, Status::Breakdown) {
        tracing::warn!("broke down after {} iterations: {}", report.iterations, report.stop_reason);
    } else {
        tracing::info!("stopped after {} iterations: {}", report.iterations, report.stop_reason);
    }
    tracing::info!("relative residual of the result: {:.6}", report.true_relative_residual);
    if let Some(objective) = report.true_objective {
        tracing::info!("objective of the result: {objective:.6e}");
    }
    if let Some(error) = report.relative_error {
        tracing::info!("relative error against the true image: {error:.6}");
    }
    tracing::info!("results: {} (x.npy, x.png, convergence.png, report.json)", folder.display());
}

fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
