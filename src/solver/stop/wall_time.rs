//! Stop when the time is up. Rank 0's clock decides for all; it travels with the method's own reductions.

use super::{BoxedRule, Status, Stop, StopRule, stop};
use crate::solver::Progress;

struct WallTime(f64);

/// Stops at the first step boundary after `seconds`, counted from the making of the team.
pub fn wall_time(seconds: f64) -> BoxedRule {
    Box::new(WallTime(seconds))
}

impl StopRule for WallTime {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        if progress.seconds < self.0 {
            return None;
        }
        stop(Status::LimitReached, "wall time", format!("{:.1} s of {:.1} s are used", progress.seconds, self.0))
    }
    fn reads_clock(&self) -> bool {
        true
    }
}
