//! What is said while a job runs: the log on standard error. Results go to standard output and to files.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::cli::{LogForm, Speech};
use crate::error::{Error, Fault};

/// Sets up the log of this rank. Rank 0 speaks; the others only when asked, with their rank.
pub fn start(speech: &Speech, rank: usize) {
    let speaks = rank == 0 || speech.log_all_ranks;
    let level = match (speaks, speech.quiet, speech.verbose) {
        (false, ..) => "off",
        (true, true, _) => "error",
        (true, false, 0) => "stackphys=info",
        (true, false, 1) => "stackphys=debug",
        (true, false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("STACKPHYS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let registry = tracing_subscriber::registry().with(filter);
    // a second start in one process (tests) keeps the first
    let _ = match speech.log {
        LogForm::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_target(false).with_current_span(false);
            registry.with(layer.with_span_list(false).with_writer(std::io::stderr)).try_init()
        }
        LogForm::Text => {
            let layer = fmt::layer().without_time().with_target(false).with_level(speech.verbose > 0);
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr)).try_init()
        }
    };
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
