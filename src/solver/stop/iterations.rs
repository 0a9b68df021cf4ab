//! Stop after a number of steps.

use super::{BoxedRule, Status, Stop, StopRule, stop};
use crate::solver::Progress;

struct Iterations(usize);

/// Stops after `most` steps; zero is allowed.
pub fn iterations(most: usize) -> BoxedRule {
    Box::new(Iterations(most))
}

impl StopRule for Iterations {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        if progress.iteration < self.0 {
            return None;
        }
        stop(Status::LimitReached, "iterations", format!("{} iterations done, as many as asked for", self.0))
    }
    fn most_iterations(&self) -> Option<usize> {
        Some(self.0)
    }
}
