//! When to stop: each rule is an object that looks at [`Progress`] and says "go on" or "stop because". Rules combine with
//! [`any`] and [`all`]; the one that acted is named in the report.

mod broken;
mod combine;
mod condition;
mod iterations;
mod tolerance;
mod wall_time;

pub use broken::{breakdown, not_a_number};
pub use combine::{all, any};
pub use condition::condition_limit;
pub use iterations::iterations;
use serde::Serialize;
pub use tolerance::{
    relative_change, relative_error_bar, relative_normal_residual, relative_optimality, relative_residual,
    relative_system_residual,
};
pub use wall_time::wall_time;

use super::drive::Progress;

/// What an iteration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A tolerance was reached, or the residual is exactly zero.
    Converged,
    /// As many iterations, or as much time, as asked for.
    LimitReached,
    /// The method cannot go on, for a reason that the stop names.
    Breakdown,
    /// A number that is not finite appeared.
    NotANumber,
    /// Somebody asked for it; the state was kept, and another run can go on from there.
    Stopped,
}

/// The rule that stopped an iteration, and why in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The rule's name.
    pub rule: &'static str,
    /// The reason, with the numbers.
    pub reason: String,
}

/// A rule that may stop an iteration.
pub trait StopRule {
    /// `None` to go on.
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)>;

    /// The number of iterations after which the rule surely stops, if it knows one.
    fn most_iterations(&self) -> Option<usize> {
        None
    }
    /// Whether the rule looks at [`Progress::seconds`]. The clock travels with reductions, so a step that sends nothing
    /// must ask for it.
    fn reads_clock(&self) -> bool {
        false
    }
}

/// A rule of any kind.
pub type BoxedRule = Box<dyn StopRule>;

fn stop(status: Status, rule: &'static str, reason: impl Into<String>) -> Option<(Status, Stop)> {
    Some((status, Stop { rule, reason: reason.into() }))
}
