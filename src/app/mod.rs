//! The program: arguments as typed → config → objects → results.
//!
//! One file per command; `resolve` makes objects of a config, `progress`, `telemetry` and `report` say what happens.

mod apply;
mod bench;
mod check;
mod checkpoints;
mod cli;
mod convert;
mod dirty;
mod events;
mod forecast;
mod given;
mod info;
mod last_words;
mod list;
mod lock;
mod memory;
mod model;
mod norm;
mod phases;
mod plan;
mod progress;
mod report;
mod resolve;
mod run;
mod scaling;
mod share;
mod signals;
mod simulate;
mod slurm;
mod solve;
mod telemetry;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use cli::{Cli, Command, Common, Speech};
use events::Events;

use crate::comm::{Comm, Lifeline, Solo, Team, lifeline, signs};
use crate::config::Job;
use crate::error::{Error, Fault, Phase};
use crate::physics::joseph::Instructions;

/// How a command ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Done as asked.
    Done,
    /// Finished, but what was required does not hold.
    NotReached,
    /// Stopped when asked to; another run can go on.
    Stopped,
}

/// Runs the program with the process's arguments and returns its exit status: 0 done as asked, 1 finished but what was
/// required does not hold, 2 error, 3 stopped when asked to. Collective: yes, if the process is a rank of several.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // not without the others: a launcher kills the rest as soon as one rank ends with a status, and rank 0 must speak
            return with_world(|_| {
                if launched_rank() == 0 {
                    let _ = usage.print();
                }
                ExitCode::from(if usage.use_stderr() { 2 } else { 0 })
            });
        }
    };
    if let Err(lonely) = refuse_lonely_ranks() {
        eprintln!("{lonely}");
        return ExitCode::from(2);
    }
    let lifeline = Lifeline::start(launched().then(launched_rank), last_words::last_words(&cli.speech));
    let injected = lifeline::inject::plan(launched_rank()).map_err(|fault| fault.in_phase(Phase::Config));
    let starting = signs::during(Phase::Config);
    with_world(|comm| {
        let ended = telemetry::start(&cli.speech, &comm).and_then(|events| {
            join(&lifeline, &comm);
            drop(starting);
            Team::new(comm.clone()).agree(injected)?;
            agree_on_instructions(&comm);
            tell_start(&events, &cli, &comm);
            let ended = dispatch(&cli, &comm, &events, &lifeline);
            let error = ended.as_ref().err().map(ToString::to_string);
            events.tell("end", serde_json::json!({ "status": status(&ended), "error": error }));
            ended
        });
        drop(lifeline); // the work is done: from here on ranks may end in any order
        if let (Err(error), 0) = (&ended, comm.rank()) {
            telemetry::tell_error(&cli.speech, error);
        }
        ExitCode::from(status(&ended))
    })
}

/// The exit status.
fn status(ended: &Result<Ending, Error>) -> u8 {
    match ended {
        Ok(Ending::Done) => 0,
        Ok(Ending::NotReached) => 1,
        Err(_) => 2,
        Ok(Ending::Stopped) => 3,
    }
}

/// The first event. Collective: yes.
fn tell_start(events: &Events, cli: &Cli, comm: &Rc<dyn Comm>) {
    if cli.speech.events.is_some() {
        let hosts = Team::new(comm.clone()).hosts();
        let version = env!("CARGO_PKG_VERSION");
        events.tell("start", serde_json::json!({ "version": version, "ranks": hosts.len(), "hosts": hosts }));
    }
}

/// What every command is given.
struct Context<'a> {
    comm: &'a Rc<dyn Comm>,
    speech: &'a Speech,
    threads: Option<u16>,
    events: &'a Events,
    lifeline: &'a Lifeline,
}

fn dispatch(cli: &Cli, comm: &Rc<dyn Comm>, events: &Events, lifeline: &Lifeline) -> Result<Ending, Error> {
    let context = &Context { comm, speech: &cli.speech, threads: cli.threads, events, lifeline };
    match &cli.command {
        Command::Run(args) => run::run(context, &read_config(&args.config), &args.solve),
        Command::Resume(args) => run::run(context, &|| checkpoints::config_in(&args.folder), &args.as_run()),
        Command::Demo(args) => run::run(context, &embedded_demo, args),
        Command::Plan(args) => plan::plan(context, args),
        Command::Slurm(args) => slurm::slurm(context, args),
        Command::Check(args) => check::check(context, args),
        Command::Norm(args) => norm::norm(context, args),
        Command::Apply(args) => apply::apply(context, args),
        Command::Simulate(args) => simulate::simulate(context, args),
        Command::Bench(args) => bench::bench(context, args),
        Command::Dirty(args) => dirty::dirty(context, args),
        Command::Info(args) => info::info(context, args),
        Command::Convert(args) => convert::convert(context, args),
        Command::List(args) => Ok(list::list(comm.rank(), args)),
        Command::Schema => Ok(list::schema(comm.rank())),
    }
}

/// Connects the watches of all ranks. Collective: yes.
fn join(lifeline: &Lifeline, comm: &Rc<dyn Comm>) {
    let unwatched = lifeline.join(&**comm);
    if comm.rank() == 0 && !unwatched.is_empty() {
        tracing::warn!(
            "ranks {unwatched:?} cannot reach rank 0 beside MPI (a firewall?): if one of them dies, only the launcher notices"
        );
    }
}

/// Where a config comes from: its name for errors, and its text.
type Source<'a> = dyn Fn() -> Result<(String, String), Fault> + 'a;

fn read_config(path: &Path) -> impl Fn() -> Result<(String, String), Fault> + '_ {
    move || {
        let text = std::fs::read_to_string(path).map_err(|why| {
            Fault::new(format!("cannot read the config {}: {why}", path.display()))
                .hint("ready jobs are in configs/; `stackphys demo` needs none")
        })?;
        Ok((path.display().to_string(), text))
    }
}

fn embedded_demo() -> Result<(String, String), Fault> {
    Ok(("configs/demo.toml".into(), include_str!("../../configs/demo.toml").into()))
}

/// The job of a config with what `--set` and `--threads` overrule. Collective: yes; rank 0 reads.
fn read_job(context: &Context, team: &Team, source: &Source, common: &Common) -> Result<Job, Error> {
    let _sign = signs::during(Phase::Config);
    let parse = |(name, text): &(String, String)| {
        Job::from_toml(text, name, &common.set)
            .map_err(|fault| fault.or_hint("`stackphys schema` says what each key may be").in_phase(Phase::Config))
    };
    let written = team.from_rank_0(|| {
        let written = source().map_err(|fault| fault.in_phase(Phase::Config))?;
        parse(&written).map(|_| written) // all ranks would find the same trouble: one tells
    })?;
    let mut job = team.agree(parse(&written))?;
    job.run.threads = context.threads.map(usize::from).or(job.run.threads);
    context.lifeline.limit(&job.limits);
    Ok(job)
}

/// Makes this thread and `threads − 1` others the pool of this rank; warns, once, if a host has fewer cores than threads.
/// Collective: yes.
fn start_threads(context: &Context, job: &Job) -> usize {
    let threads = job.run.threads.unwrap_or(1);
    // `use_current_thread`, since calls into a pool from outside allocate; a second start in one process keeps the first
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    let threads = rayon::current_num_threads();
    let team = Team::new(context.comm.clone());
    let cores: Vec<usize> =
        team.gather_numbers(&[cores_of_host() as f64]).iter().map(|rank| rank[0] as usize).collect();
    if let Some((host, ranks, cores)) = crowded(&team.hosts(), &cores, threads)
        && team.rank() == 0
    {
        let ranks = format!("{ranks} rank{}", if ranks == 1 { "" } else { "s" });
        tracing::warn!("{ranks} × {threads} threads on {host}, which has {cores} cores: they will wait for each other");
    }
    threads
}

/// The first host with fewer cores than threads: its name, its ranks and its cores.
fn crowded<'h>(hosts: &'h [String], cores: &[usize], threads: usize) -> Option<(&'h str, usize, usize)> {
    hosts.iter().zip(cores).find_map(|(host, cores)| {
        let ranks = hosts.iter().filter(|other| *other == host).count();
        (ranks * threads > *cores).then_some((host.as_str(), ranks, *cores))
    })
}

/// The processors of this host, whatever this process is bound to.
fn cores_of_host() -> usize {
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processors = listed.lines().filter(|line| line.starts_with("processor")).count();
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.max(allowed)
}

#[cfg(feature = "mpi")]
fn with_world(body: impl FnOnce(Rc<dyn Comm>) -> ExitCode) -> ExitCode {
    match launched().then(crate::comm::mpi::Session::start).flatten() {
        Some(session) => body(session.world()), // MPI ends when the session is dropped, after the body
        None => body(Rc::new(Solo)),
    }
}

#[cfg(not(feature = "mpi"))]
fn with_world(body: impl FnOnce(Rc<dyn Comm>) -> ExitCode) -> ExitCode {
    body(Rc::new(Solo))
}

/// All ranks use the instructions that all of them have, so that the same sums round in the same way. Collective: yes.
fn agree_on_instructions(comm: &Rc<dyn Comm>) {
    let here = Instructions::ALL.iter().position(|set| *set == Instructions::detect()).unwrap_or(0);
    let [everywhere] = Team::new(comm.clone()).min([here as f64]);
    Instructions::limit(Instructions::ALL[everywhere as usize]);
}

/// Several processes that do not know of each other would each do the whole job, and overwrite each other's results.
fn refuse_lonely_ranks() -> Result<(), &'static str> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let several = |names: &[&str]| names.iter().filter_map(|name| number(name)).any(|count| count > 1);
    if !cfg!(feature = "mpi") && several(&["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]) {
        return Err("error: started by mpirun as several ranks, but this build has no MPI\n  \
                    help: build with `cargo build --release --features mpi`, or start one process");
    }
    let in_a_step = number("SLURM_STEP_NUM_TASKS").is_some_and(|tasks| tasks > 1);
    if cfg!(feature = "mpi") && in_a_step && !launched() {
        return Err("error: srun started several tasks without MPI: each would do the whole job\n  \
                    help: use `srun --mpi=pmix`, or `mpirun` inside the job");
    }
    Ok(())
}

#[cfg(feature = "mpi")]
use crate::comm::mpi::launched;
#[cfg(not(feature = "mpi"))]
fn launched() -> bool {
    false
}

/// This rank as the launcher's environment tells it, before MPI is started.
fn launched_rank() -> usize {
    let names = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"];
    names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok()).unwrap_or(0)
}

/// Prints a line of results. A reader that has gone away (`| head`) is no trouble of ours, so it does not panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
use say;

/// Calls `$body` with the scalar of a job as the type `$scalar`.
macro_rules! with_scalar {
    ($job:expr, $scalar:ident => $body:expr) => {
        match $job.model.scalar {
            $crate::config::ScalarKind::F32 => {
                type $scalar = f32;
                $body
            }
            $crate::config::ScalarKind::F64 => {
                type $scalar = f64;
                $body
            }
            $crate::config::ScalarKind::ComplexF32 => {
                type $scalar = num_complex::Complex<f32>;
                $body
            }
            $crate::config::ScalarKind::ComplexF64 => {
                type $scalar = num_complex::Complex<f64>;
                $body
            }
        }
    };
}
use with_scalar;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_crowded_by_its_own_ranks_only() {
        let hosts = ["a", "b", "b", "b"].map(String::from);
        assert_eq!(crowded(&hosts, &[2, 6, 6, 6], 2), None);
        assert_eq!(crowded(&hosts, &[2, 4, 4, 4], 2), Some(("b", 3, 4))); // not the host of rank 0
        assert_eq!(crowded(&hosts, &[2, 6, 6, 6], 3), Some(("a", 1, 2)));
    }
}
