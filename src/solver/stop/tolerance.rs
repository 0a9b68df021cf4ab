//! Stop when a relative number is small enough. Tolerances are relative, so scaling the data changes nothing.

use super::{BoxedRule, Status, Stop, StopRule, stop};
use crate::solver::Progress;

struct Tolerance {
    rule: &'static str,
    of: fn(&Progress) -> Option<f64>,
    tolerance: f64,
}

/// Stops when ‖A x − y‖ ≤ `tolerance` · ‖y‖.
pub fn relative_residual(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance { rule: "relative residual", of: |progress| progress.relative_residual, tolerance })
}

/// Stops when ‖Aᴴ(A x − y) + λ x‖ ≤ `tolerance` · ‖Aᴴ y‖. Zero stops only at an exact solution.
pub fn relative_normal_residual(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance {
        rule: "relative normal residual",
        of: |progress| progress.relative_normal_residual,
        tolerance,
    })
}

/// Stops when ‖b − H v‖ ≤ `tolerance` · ‖b‖ in the Hermitian system that is solved, where it is not the normal one.
pub fn relative_system_residual(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance {
        rule: "relative system residual",
        of: |progress| progress.relative_system_residual,
        tolerance,
    })
}

/// Stops when the distance from optimality is at most `tolerance` of that at the start. Zero stops only at an exact minimum.
pub fn relative_optimality(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance { rule: "relative optimality", of: |progress| progress.relative_optimality, tolerance })
}

/// Stops when the error bar of the sought value is at most `tolerance` of it.
pub fn relative_error_bar(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance { rule: "relative error bar", of: |progress| progress.relative_error_bar, tolerance })
}

/// Stops when the sought value, or x, changes by no more than `tolerance` of itself in a step.
pub fn relative_change(tolerance: f64) -> BoxedRule {
    Box::new(Tolerance { rule: "relative change", of: |progress| progress.relative_change, tolerance })
}

impl StopRule for Tolerance {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        let number = (self.of)(progress).filter(|number| *number <= self.tolerance)?;
        stop(Status::Converged, self.rule, format!("{} {number:.3e} is at most {:.3e}", self.rule, self.tolerance))
    }
}
