//! Stop when the method says that it cannot go on, or when a number is not finite. Told, not repaired.

use super::{BoxedRule, Status, Stop, StopRule, stop};
use crate::solver::Progress;

struct Breakdown;
struct NotANumber;

/// Stops when the method reports a breakdown.
pub fn breakdown() -> BoxedRule {
    Box::new(Breakdown)
}

/// Stops when a residual, value or objective is not finite.
pub fn not_a_number() -> BoxedRule {
    Box::new(NotANumber)
}

impl StopRule for Breakdown {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        progress.breakdown.and_then(|why| stop(Status::Breakdown, "breakdown", why))
    }
}

impl StopRule for NotANumber {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        let bad = progress.numbers().find(|number| !number.is_finite())?;
        let reason = format!(
            "a residual or the objective became {bad} in iteration {}: the operator or the data hold such numbers",
            progress.iteration
        );
        stop(Status::NotANumber, "not a number", reason)
    }
}
