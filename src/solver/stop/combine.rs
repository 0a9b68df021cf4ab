//! Rules out of rules.

use super::{BoxedRule, Status, Stop, StopRule};
use crate::solver::Progress;

struct Any(Vec<BoxedRule>);
struct All(Vec<BoxedRule>);

/// Stops when one of the rules does. The first in the list that acts is named.
pub fn any(rules: impl IntoIterator<Item = BoxedRule>) -> BoxedRule {
    Box::new(Any(rules.into_iter().collect()))
}

/// Stops when all of the rules do. All are named; the status is that of the first. No rules at all never stop.
pub fn all(rules: impl IntoIterator<Item = BoxedRule>) -> BoxedRule {
    Box::new(All(rules.into_iter().collect()))
}

impl StopRule for Any {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        self.0.iter().find_map(|rule| rule.check(progress))
    }
    fn most_iterations(&self) -> Option<usize> {
        self.0.iter().filter_map(|rule| rule.most_iterations()).min()
    }
    fn reads_clock(&self) -> bool {
        self.0.iter().any(|rule| rule.reads_clock())
    }
}

impl StopRule for All {
    fn check(&self, progress: &Progress) -> Option<(Status, Stop)> {
        let stops: Option<Vec<_>> = self.0.iter().map(|rule| rule.check(progress)).collect();
        let stops = stops?;
        let (status, first) = stops.first()?;
        let reasons: Vec<&str> = stops.iter().map(|(_, stop)| stop.reason.as_str()).collect();
        Some((
            *status,
            Stop { rule: if stops.len() == 1 { first.rule } else { "all of several" }, reason: reasons.join("; ") },
        ))
    }
    fn most_iterations(&self) -> Option<usize> {
        let known: Option<Vec<_>> = self.0.iter().map(|rule| rule.most_iterations()).collect();
        known.and_then(|known| known.into_iter().max())
    }
    fn reads_clock(&self) -> bool {
        self.0.iter().any(|rule| rule.reads_clock())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{breakdown, iterations, not_a_number, relative_residual, wall_time};
    use super::*;

    fn at(iteration: usize, residual: f64, seconds: f64) -> Progress {
        Progress { iteration, relative_residual: Some(residual), seconds, ..Progress::default() }
    }

    #[test]
    fn any_names_the_rule_that_acted() {
        let rule = any([relative_residual(1e-3), iterations(5), wall_time(9.0)]);
        assert!(rule.check(&at(4, 0.1, 0.0)).is_none());
        assert_eq!(rule.check(&at(4, 1e-4, 0.0)).unwrap().1.rule, "relative residual");
        assert_eq!(rule.check(&at(5, 1e-4, 0.0)).unwrap().0, Status::Converged); // the first in the list
        assert_eq!(rule.check(&at(5, 0.1, 0.0)).unwrap().1.rule, "iterations");
        assert_eq!(rule.check(&at(1, 0.1, 9.5)).unwrap().1.rule, "wall time");
        assert_eq!(rule.most_iterations(), Some(5));
    }

    #[test]
    fn all_waits_for_the_last() {
        let rule = all([relative_residual(1e-3), iterations(5)]);
        assert!(rule.check(&at(5, 0.1, 0.0)).is_none());
        assert!(rule.check(&at(4, 0.0, 0.0)).is_none());
        assert_eq!(rule.check(&at(5, 0.0, 0.0)).unwrap().0, Status::Converged);
        assert!(all([]).check(&at(5, 0.0, 0.0)).is_none());
    }

    #[test]
    fn trouble_is_told() {
        let rule = any([not_a_number(), breakdown(), relative_residual(0.5)]);
        assert_eq!(rule.check(&at(1, f64::NAN, 0.0)).unwrap().0, Status::NotANumber);
        let broken = Progress { breakdown: Some("because"), ..at(1, 0.1, 0.0) };
        assert_eq!(rule.check(&broken).unwrap().0, Status::Breakdown);
    }
}
