//! What is said while a job runs: the log on standard error, and, where asked for, a log file of each rank and a stream of
//! events. Results go to standard output and to files.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use super::cli::{LogForm, Speech};
use super::events::Events;
use crate::comm::{Comm, Team};
use crate::error::{Error, Fault};

/// Sets up the log of this rank, its log file and the stream of events. Rank 0 speaks on standard error; the others only when
/// asked, with their rank. Collective: yes, a scalar reduction.
pub fn start(speech: &Speech, comm: &Rc<dyn Comm>) -> Result<Events, Error> {
    let rank = comm.rank();
    let file = speech.log_dir.as_deref().map(|folder| log_file(folder, rank)).transpose();
    let events = match &speech.events {
        Some(path) if rank == 0 => Events::to(path),
        _ => Ok(Events::default()),
    };
    let (file, trouble) = file.map_or_else(|fault| (None, Err(fault)), |file| (file, Ok(())));
    let level = match (speech.quiet, speech.verbose) {
        (true, _) => "error",
        (false, 0) => "stackphys=info",
        (false, 1) => "stackphys=debug",
        (false, _) => "trace",
    };
    let speaks = rank == 0 || speech.log_all_ranks;
    let filter =
        EnvFilter::try_from_env("STACKPHYS_LOG").unwrap_or_else(|_| EnvFilter::new(if speaks { level } else { "off" }));
    let console = match speech.log {
        LogForm::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_target(false).with_current_span(false);
            layer.with_span_list(false).with_writer(std::io::stderr).boxed()
        }
        LogForm::Text => {
            let layer = fmt::layer().without_time().with_target(false).with_level(speech.verbose > 0);
            layer.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed()
        }
    };
    let in_file = file.map(|file| {
        let all = EnvFilter::new(if speech.verbose > 1 { "trace" } else { "stackphys=debug" });
        fmt::layer().with_target(false).with_ansi(false).with_writer(Mutex::new(file)).with_filter(all)
    });
    // a second start in one process (tests) keeps the first
    let _ = Registry::default().with(console.with_filter(filter)).with(in_file).try_init();
    Team::new(comm.clone()).agree(trouble.and(events))
}

/// `rank-0003.log` in a folder, which is made.
fn log_file(folder: &Path, rank: usize) -> Result<File, Fault> {
    let path = folder.join(format!("rank-{rank:04}.log"));
    std::fs::create_dir_all(folder).and_then(|()| File::create(&path)).map_err(|why| {
        Fault::new(format!("cannot write the log {}: {why}", path.display()))
            .hint("--log-dir names a folder that may be written on every host")
    })
}

/// Says what went wrong, in the form of the log.
pub fn tell_error(speech: &Speech, error: &Error) {
    match speech.log {
        LogForm::Text => eprintln!("error: {error}"),
        LogForm::Json => {
            let Fault { text, hint, operator, phase } = error.fault();
            tracing::error!(
                text,
                help = hint.as_deref(),
                operator,
                phase = phase.map(tracing::field::display),
                rank = error.rank(),
                "error"
            );
        }
    }
}
