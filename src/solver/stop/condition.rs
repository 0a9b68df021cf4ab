//! Stop when the system looks too ill-conditioned to go on.

use super::{BoxedRule, Status, Stop, StopRule, stop};
use crate::solver::Progress;

struct ConditionLimit(f64);

/// Stops when the method's estimate of the condition number is above `limit`.
pub fn condition_limit(limit: f64) -> BoxedRule {
    Box::new(ConditionLimit(limit))
}

impl StopRule for ConditionLimit {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        let condition = progress.condition.filter(|condition| *condition > self.0)?;
        let reason = format!("the condition number is estimated as {condition:.3e}, above {:.3e}", self.0);
        stop(Status::LimitReached, "condition limit", reason)
    }
}
