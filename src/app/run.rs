//! `run` and `demo`: read, solve, write.

use std::path::Path;

use super::checkpoints::{self, Begin};
use super::cli::SolveArgs;
use super::forecast::Forecast;
use super::last_words::results_in;
use super::lock::lock;
use super::memory;
use super::model::{draw_middle, write_model};
use super::phases::{Phases, peak_memory};
use super::progress::Display;
use super::report::{CheckpointReport, DataReport, Histories, IterationReport, Report, seconds, traffic};
use super::resolve::Resolved;
use super::solve::{check_first_guess, solve};
use super::watch::{Steps, Watch};
use super::{Context, Ending, Source, read_job, signals, start_threads, with_scalar};
use crate::checkpoint::{Checkpoints, Found};
use crate::comm::{Hosts, Reduction, Team, Through, Traffic, signs};
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::scalar::Scalar;
use crate::solver::Status;
use crate::space::{Shape, Vector};
use crate::stack::human_bytes;

/// Does a job. Collective: yes.
pub fn run(context: &Context, source: &Source, args: &SolveArgs) -> Result<Ending, Error> {
    let mut phases = Phases::start(context.events);
    let team = Team::new(context.comm.clone());
    let mut job = read_job(context, &team, source, &args.common)?;
    if let Some(folder) = &args.out {
        job.output.folder.clone_from(folder);
    }
    let hand = job.keeps_state().then(signals::catch); // as early as that is known
    let asks_tolerance = job.solve.tolerance != Default::default();
    team.agree(match args.require_converged && !asks_tolerance {
        true => Err(Fault::new("--require-converged, but the config asks for no tolerance")
            .in_phase(Phase::Config)
            .hint("set one, e.g. --set solve.tolerance.relative_residual=0.01")),
        false => Ok(()),
    })?;
    let writable = if team.rank() == 0 { check_results(&job.output.folder) } else { Ok(()) };
    results_in(&job.output.folder, team.rank());
    team.agree(writable.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let locked = match team.rank() {
        0 => lock(&job.output.folder, team.size(), &context.comm.host()).map(Some),
        _ => Ok(None),
    };
    let _lock = team.agree(locked.map_err(|fault| fault.in_phase(Phase::Write)))?;
    let begin = checkpoints::begin(&team, &job, args)?;
    let threads = start_threads(context, &job);
    phases.lap("config");

    let resolved = Resolved::open(&team, &job, &args.common)?;
    if begin.is_anew() {
        team.agree(check_first_guess(&job).map_err(|fault| fault.in_phase(Phase::Open)))?;
    }
    phases.lap("open");
    let mut team = team.with_seconds_before(begin.from.first().map_or(0.0, |newest| newest.table.seconds()));
    if let Some(hand) = hand {
        team = team.with_hand(hand);
    }
    with_scalar!(job, S => solve_and_write::<S>(context, team, &resolved, begin, threads, phases, args))
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
    mut begin: Begin,
    threads: usize,
    mut phases: Phases,
    args: &SolveArgs,
) -> Result<Ending, Error> {
    let job = resolved.job;
    let team = team.with_summation(job.run.summation).with_reduction(job.run.reduction);
    let plan = team.agree(resolved.plan::<S>(team.size()).map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let names = team.hosts();
    let hosts = Hosts::named(&names, team.through());
    if !args.ignore_memory {
        memory::check(&team, &Forecast::new(resolved, &plan, &hosts), &names)?;
    }
    let stack = resolved.build_planned::<S>(team, plan)?;
    let team = stack.team();
    let forecast = Forecast::new(resolved, stack.plan(), &hosts);
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
    let idle = forecast.idle();
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
    team.agree(begin.expect_data(&data, args.force))?;
    begin.set_aside(team, &job.output.folder)?;
    let Begin { from, iterate } = begin;
    let resumed = from.first().map(|newest| newest.table.iteration());
    if let Some(newest) = from.first() {
        tracing::info!("going on after iteration {}: {}", newest.table.iteration(), newest.path.display());
    }
    if let Some(Found { path, .. }) = &iterate {
        tracing::warn!("the job is another one: starting anew from the iterate of {}", path.display());
    }
    let about = team.agree(checkpoints::about(job, &data))?;
    let folder = checkpoints::folder_in(&job.output.folder);
    // a state is put back by who keeps it, also where nothing is kept any more
    let goes_on = resumed.is_some();
    let mut kept =
        (job.keeps_state() || goes_on).then(|| Checkpoints::new(team, folder, job.checkpoint.clone(), about, from));

    let display = Display::new(context.speech, team.rank(), job.solve.method.most_iterations());
    let mut watch = Watch::new(display, context.events.clone(), &stack, kept.as_mut());
    let (operators_before, sums_before) = stack.seconds();
    let calls_before = team.meter().seconds();
    let solving = signs::during(Phase::Solve);
    let solved = solve(&stack, resolved, &measurements, iterate.as_ref(), &mut watch)?;
    drop(solving);
    let steps = watch.steps();
    if solved.ending().0 == Status::Stopped {
        let folder = job.output.folder.display();
        tracing::info!("{}: `stackphys resume {folder}` goes on, on any number of ranks", solved.ending().2);
        return Ok(Ending::Stopped);
    }
    phases.lap("solve");
    let (in_operators, in_sums) = stack.seconds();
    phases.add("operators", in_operators - operators_before);
    phases.add("sums", in_sums - sums_before);
    phases.add("messages", team.meter().seconds() - calls_before);
    let as_planned = sent_as_planned(team, &forecast, &steps);

    let relative_error = match &measurements.truth {
        Some(truth) => Some(relative_error(team, &solved.x, truth)?),
        None => None,
    };
    let _writing = signs::during(Phase::Write);
    let folder = &job.output.folder;
    let iterations = solved.steps().len().saturating_sub(1);
    let (status, stop_rule, stop_reason) = solved.ending();
    let histories = Histories::of(solved.steps());
    write_model(&stack, resolved, &solved.x, &folder.join("x.npy"))?;
    let window = if team.rank() == 0 { draw::<S>(folder, &job.model.dims, &histories).map(Some) } else { Ok(None) };
    let window = team.agree(window.map_err(|fault| fault.in_phase(Phase::Write)))?;
    watch.end()?; // the last checkpoint was written beside the results
    phases.lap("write");

    let peaks = team.gather_numbers(&[peak_memory() as f64]);
    let mut spreads = phases.over_ranks(team);
    let spread = |name: &str| spreads.iter().find(|(known, _)| *known == name).map(|(_, spread)| *spread);
    let imbalance = spread("operators").map_or(1.0, |spread| spread.imbalance());
    spreads.extend(spread("messages").map(|messages| ("waiting", messages.waiting())));
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
        imbalance,
        iteration: IterationReport::of(&steps, &forecast, as_planned),
        comm: traffic(team, &steps),
        peak_memory_bytes: peaks.iter().map(|rank| rank[0] as u64).collect(),
        planned_memory_bytes: (0..team.size()).map(|rank| forecast.memory(rank).peak()).collect(),
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
    context.events.tell(
        "result",
        serde_json::json!({
            "status": report.status,
            "stop_rule": report.stop_rule,
            "stop_reason": report.stop_reason,
            "iterations": report.iterations,
            "true_relative_residual": report.true_relative_residual,
            "folder": folder,
        }),
    );

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

/// Whether every rank sent in each iteration what the plan says. Collective: yes, one scalar reduction.
fn sent_as_planned(team: &Team, forecast: &Forecast, steps: &Steps) -> bool {
    let planned = forecast.iteration(team.rank()).traffic();
    let count = steps.count as u64;
    let same = |(planned, sent): (&Traffic, &Traffic)| {
        (planned.calls * count, planned.bytes * count) == (sent.calls, sent.bytes)
    };
    let here = planned.iter().zip(&steps.sent).all(same);
    team.min([f64::from(u8::from(here))]) == [1.0]
}

fn tell(report: &Report, folder: &Path) {
    for (name, spread) in &report.seconds {
        let number = |what: &str| spread[what].as_f64().unwrap_or(f64::NAN);
        let [min, mean, max] = ["min", "mean", "max"].map(number);
        tracing::debug!("{name:>10}: {min:9.3} {mean:9.3} {max:9.3} s (least, mean and most of a rank)");
    }
    let IterationReport { seconds, .. } = report.iteration;
    tracing::debug!(
        "an iteration took {seconds:.3e} s; the busiest rank {:.2} times the mean in operators",
        report.imbalance
    );
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
