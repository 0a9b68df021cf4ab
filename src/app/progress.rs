//! Progress of an iteration: a bar on a terminal, a line now and then elsewhere, an object per iteration in JSON.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::cli::{LogForm, Speech};
use crate::solver::{Observer, Progress};

/// How long nothing is said where there is no terminal.
const SILENCE: Duration = Duration::from_secs(5);

/// Shows progress in the form that fits who is watching. Silent on ranks that do not speak.
pub struct Display {
    form: Form,
    most: usize,
    told: Instant,
}

enum Form {
    Silent,
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Display {
    /// For an iteration of at most `most` steps on this rank.
    pub fn new(speech: &Speech, rank: usize, most: usize) -> Self {
        let form = match speech {
            _ if rank > 0 || speech.quiet => Form::Silent,
            Speech { log: LogForm::Json, .. } => Form::Json,
            _ if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::new(most as u64);
                let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {eta} left");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                Form::Bar(bar)
            }
            _ => Form::Lines,
        };
        Display { form, most, told: Instant::now() }
    }
}

impl Observer for Display {
    fn observe(&mut self, progress: &Progress) {
        let Progress { iteration, relative_residual, relative_normal_residual, value, seconds, .. } = progress;
        let Progress { objective, relative_optimality, .. } = progress;
        match &self.form {
            Form::Silent => {}
            Form::Bar(bar) => {
                bar.set_position(*iteration as u64);
                bar.set_message(words(progress));
            }
            Form::Lines if words(progress).is_empty() => {} // nothing is known yet
            Form::Lines => {
                let tenth = self.most.div_ceil(10).max(1);
                if iteration % tenth == 0 || *iteration == self.most || self.told.elapsed() > SILENCE {
                    self.told = Instant::now();
                    tracing::info!("iteration {iteration:>4}/{}  {}", self.most, words(progress));
                }
            }
            Form::Json => {
                tracing::info!(
                    iteration,
                    relative_residual,
                    relative_normal_residual,
                    objective,
                    relative_optimality,
                    value,
                    seconds,
                    "iteration"
                );
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn words(progress: &Progress) -> String {
    let Progress { relative_residual, relative_normal_residual, objective, relative_optimality, value, .. } = progress;
    let part = |name: &str, number: &Option<f64>| number.map(|number| format!("{name} {number:.4e}"));
    let parts = [
        part("residual", relative_residual),
        part("normal residual", relative_normal_residual),
        part("objective", objective),
        part("optimality", relative_optimality),
        part("‖A‖²", value),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
