//! `run` and `demo`: read, solve, write.

use std::path::Path;

use super::cli::SolveArgs;
use super::given::Given;
use super::phases::{Phases, peak_memory};
use super::progress::Display;
use super::report::{DataReport, Report, history, seconds, traffic};
use super::resolve::{Measurements, Resolved};
use super::{Context, Ending, Source, read_job, start_threads, with_scalar};
use crate::comm::{Reduction, Team, Through};
use crate::config::{Job, PseudoInverseMode, Solve};
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::scalar::Scalar;
use crate::solver::{
    Exact, NormSquaredEstimate, Normal, Outcome, Progress, PseudoInverse, Solution, Start, Status, norm_squared,
    pseudo_inverse, stop, with_trouble_rules,
};
use crate::space::Vector;
use crate::stack::{Stack, human_bytes};

/// Does a job. Collective: yes.
pub fn run(context: &Context, source: &Source, args: &SolveArgs) -> Result<Ending, Error> {
    let mut phases = Phases::start();
    let team = Team::new(context.comm.clone());
    let mut job = read_job(&team, source, &args.common)?;
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
    let threads = start_threads(context, &job);
    phases.lap("config");

    let resolved = Resolved::open(&team, &job, &args.common)?;
    let guess = job.solve.first_guess.as_deref().filter(|path| *path != Path::new(Solve::LOCAL_MEAN));
    let guess = guess.map_or(Ok(()), |path| first_guess(path).check(&job.model.dims));
    team.agree(guess.map_err(|fault| fault.in_phase(Phase::Open)))?;
    phases.lap("open");
    with_scalar!(job, S => solve_and_write::<S>(context, team, &resolved, threads, phases, args))
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

    let before_solve = team.meter().all();
    let (solution, norm) = solve(context, &stack, job, &measurements)?;
    let after_solve = team.meter().all();
    phases.lap("solve");
    let (in_operators, in_sums) = stack.seconds();
    phases.add("operators", in_operators);
    phases.add("sums", in_sums);

    let relative_error = match &measurements.truth {
        Some(truth) => Some(relative_error(team, &solution.x, truth)?),
        None => None,
    };
    let folder = &job.output.folder;
    let steps: &[Progress] = solution.outcome.as_ref().map_or(&[], |outcome| &outcome.history);
    let (status, stop_rule, stop_reason) = ending(&solution);
    let residuals = history(steps, |step| step.relative_residual);
    let normal_residuals = history(steps, |step| step.relative_normal_residual);
    let window = if team.rank() == 0 {
        write_pictures(folder, &solution, &residuals, &normal_residuals).map(Some)
    } else {
        Ok(None)
    };
    let window = team.agree(window.map_err(|fault| fault.in_phase(Phase::Write)))?;
    phases.lap("write");

    let peaks = team.gather_numbers(&[peak_memory() as f64]);
    let spreads = phases.over_ranks(team);
    let report = Report {
        status,
        stop_rule,
        stop_reason,
        iterations: steps.len().saturating_sub(1),
        relative_residual: residuals,
        relative_normal_residual: normal_residuals,
        true_relative_residual: solution.true_relative_residual,
        true_relative_normal_residual: solution.true_relative_normal_residual,
        relative_error,
        norm_squared: norm,
        pseudo_inverse: name_of(&job.solve.pseudo_inverse),
        ranks: team.size(),
        hosts: team.hosts(),
        threads,
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
        comm: traffic(team, &before_solve, &after_solve, steps.len().saturating_sub(1)),
        peak_memory_bytes: peaks.iter().map(|rank| rank[0] as u64).collect(),
        window: window.map(|window| [window.low, window.high]),
        config: serde_json::to_value(job).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let written = if team.rank() == 0 { write_report(folder, &report) } else { Ok(()) };
    team.agree(written.map_err(|fault| fault.in_phase(Phase::Write)))?;
    tell(&report, folder);

    let converged = report.status == Status::Converged;
    Ok(if args.require_converged && !converged { Ending::NotReached } else { Ending::Done })
}

fn first_guess(path: &Path) -> Given<'_> {
    Given { key: "solve.first_guess", path, like: "model" }
}

/// The solution, and the squared norm if the config asks for it.
fn solve<S: Scalar>(
    context: &Context,
    stack: &Stack<S>,
    job: &Job,
    measurements: &Measurements<S>,
) -> Result<(Solution<S>, Option<f64>), Error> {
    let team = stack.team();
    let start_at_mean = job.solve.first_guess.as_deref() == Some(Path::new(Solve::LOCAL_MEAN));
    let guess = match &job.solve.first_guess {
        Some(path) if !start_at_mean => {
            let read = super::apply::read_model(stack, &first_guess(path));
            Some(team.agree(read.map_err(|fault| fault.in_phase(Phase::Load)))?)
        }
        _ => None,
    };
    let method = job.solve.method.clone();
    let most = method.most_iterations();
    let has_floor = method.residual_has_a_floor();
    let how = match job.solve.pseudo_inverse {
        PseudoInverseMode::Exact => PseudoInverse::Exact(Exact {
            method,
            preconditioner: job.solve.preconditioner.clone(),
            start: if start_at_mean { Start::LocalMean } else { Start::Zero },
        }),
        PseudoInverseMode::LocalMean => PseudoInverse::LocalMean(method),
    };
    let tolerance = &job.solve.tolerance;
    let floor = if has_floor { Normal::<S>::residual_resolution() } else { 0.0 };
    if let Some(asked) = tolerance.relative_residual.filter(|asked| *asked < floor) {
        tracing::warn!(
            "a relative residual of {asked:.1e} cannot be told from {floor:.1e} in {}: that rule will not stop the solve; \
             use f64, the method \"cgls\", or a tolerance on the normal residual",
            S::NAME
        );
    }
    let begin = team.seconds();
    let rules = [
        tolerance.relative_residual.map(stop::relative_residual),
        tolerance.relative_normal_residual.map(stop::relative_normal_residual),
        tolerance.relative_system_residual.map(stop::relative_system_residual),
        job.solve.wall_time_s.map(|seconds| stop::wall_time(begin + seconds)),
        Some(stop::iterations(most)),
    ];
    let rule = with_trouble_rules(rules.into_iter().flatten());
    let mut display = Display::new(context.speech, team.rank(), most);
    let solution = pseudo_inverse(stack, &measurements.y, &how, guess, &*rule, &mut display)?;
    drop(display);
    if let Some(Outcome { status: Status::NotANumber, stop, .. }) = &solution.outcome {
        team.agree(Err(Fault::new(&stop.reason).in_phase(Phase::Solve)))?;
    }
    let norm = match &job.norm {
        Some(norm) => match norm_squared(stack, &norm.method.clone().into(), &mut |_: &Progress| ())? {
            NormSquaredEstimate::Value { value, .. } => Some(value),
            NormSquaredEstimate::Bounds { .. } => None,
        },
        None => None,
    };
    Ok((solution, norm))
}

fn relative_error<S: Scalar>(team: &Team, x: &Vector<S>, truth: &Vector<S>) -> Result<f64, Error> {
    let mut difference = x.clone();
    difference.axpy(-1.0, truth);
    let [wrong, all] = team.dots([(&difference, &difference), (truth, truth)])?;
    Ok((wrong / all).sqrt())
}

fn ending<S>(solution: &Solution<S>) -> (Status, &'static str, String) {
    match &solution.outcome {
        Some(Outcome { status, stop, .. }) => (*status, stop.rule, stop.reason.clone()),
        None => {
            let normal_residual = solution.true_relative_normal_residual;
            let reason = format!("an approximation; its global normal residual is {normal_residual:.3e} of ‖Aᴴy‖");
            (Status::LimitReached, "local mean", reason)
        }
    }
}

/// `x.npy`, `x.png` and `convergence.png`; returns the grey window of the picture.
fn write_pictures<S: Scalar>(
    folder: &Path,
    solution: &Solution<S>,
    residuals: &[Option<f64>],
    normal_residuals: &[Option<f64>],
) -> Result<io::Window, Fault> {
    let x = solution.x.as_slice();
    let shape = &solution.x.space().blocks()[0].shape;
    io::write_npy(&folder.join("x.npy"), shape, x)?;
    // of a volume the middle slice, of a line a strip
    let sizes = shape.sizes();
    let (rows, columns) = match sizes[..] {
        [.., rows, columns] => (rows, columns),
        [columns] => (1, columns),
        [] => (1, 1),
    };
    let slices = x.len() / (rows * columns);
    let middle = &x[slices / 2 * rows * columns..][..rows * columns];
    let window = io::write_image(&folder.join("x.png"), middle, rows, columns)?;
    let plain = |numbers: &[Option<f64>]| -> Vec<f64> { numbers.iter().map(|n| n.unwrap_or(f64::NAN)).collect() };
    let (residuals, normal_residuals) = (plain(residuals), plain(normal_residuals));
    io::write_convergence(
        &folder.join("convergence.png"),
        "Convergence",
        &[("residual |Ax - y| / |y|", &residuals), ("normal residual |A*(Ax - y)| / |A*y|", &normal_residuals)],
    )?;
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
    if let Some(error) = report.relative_error {
        tracing::info!("relative error against the true image: {error:.6}");
    }
    tracing::info!("results: {} (x.npy, x.png, convergence.png, report.json)", folder.display());
}

fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
