//! How long things may take before somebody looks into it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signs::Doing;
use crate::error::{Fault, Phase};
use crate::range::is_not_negative;

/// Longest times, in seconds; 0 is no limit. Whoever passes one ends the job with one message that names the rank, its host,
/// the operator and the phase. A rank that waits for others passes no limit: it is the others that are late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A rank may give no sign of life for so long: then it was stopped, its host has died, or the network is cut. 0 or at
    /// least 3, since ranks give one each second. Set it to 0 to look into a rank with a debugger.
    pub silence_s: f64,
    /// Reading the config, headers of data files, making the plan.
    pub open_s: f64,
    /// Building one operator.
    pub build_s: f64,
    /// Reading the measurements of a rank.
    pub load_s: f64,
    /// One call of one operator.
    pub operator_s: f64,
    /// What a rank may do on its own in an iteration: between two operators, or between two sums.
    pub iteration_s: f64,
    /// Writing results, or waiting for a checkpoint.
    pub write_s: f64,
    /// All ranks may wait for each other for so long: then nobody computes, and messages do not arrive.
    pub network_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            silence_s: 30.0,
            open_s: 600.0,
            build_s: 3600.0,
            load_s: 3600.0,
            operator_s: 3600.0,
            iteration_s: 3600.0,
            write_s: 3600.0,
            network_s: 600.0,
        }
    }
}

/// Beats come once a second, so less than this says nothing.
const LEAST_SILENCE: f64 = 3.0;

impl Limits {
    /// Each limit with its key.
    fn all(&self) -> [(&'static str, f64); 8] {
        [
            ("silence_s", self.silence_s),
            ("open_s", self.open_s),
            ("build_s", self.build_s),
            ("load_s", self.load_s),
            ("operator_s", self.operator_s),
            ("iteration_s", self.iteration_s),
            ("write_s", self.write_s),
            ("network_s", self.network_s),
        ]
    }

    /// Collective: no. Faults: a limit that is no time; it is named first, in backquotes.
    pub fn check(&self) -> Result<(), Fault> {
        for (key, limit) in self.all() {
            if !is_not_negative(limit) {
                return Err(Fault::new(format!("`{key}` must be zero or a positive number, got {limit}"))
                    .hint("it is in seconds; 0 is no limit"));
            }
        }
        if self.silence_s > 0.0 && self.silence_s < LEAST_SILENCE {
            let text = format!("`silence_s` must be 0 or at least {LEAST_SILENCE}, got {}", self.silence_s);
            return Err(Fault::new(text).hint("ranks give a sign of life once a second; 0 is no limit"));
        }
        Ok(())
    }

    /// The limit of what a rank is doing, with its key. None where there is none, and for one that waits.
    pub(super) fn of(&self, doing: &Doing) -> Option<(&'static str, f64)> {
        let key = match (doing.phase?, doing.operator) {
            _ if doing.waits => return None,
            (Phase::Build, _) => "build_s",
            (_, Some(_)) => "operator_s",
            (Phase::Config | Phase::Open | Phase::Plan, None) => "open_s",
            (Phase::Load, None) => "load_s",
            (Phase::Checkpoint | Phase::Write, None) => "write_s",
            (_, None) => "iteration_s",
        };
        self.all().into_iter().find(|(name, limit)| *name == key && *limit > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_has_no_limit() {
        let limits = Limits { operator_s: 2.0, load_s: 0.0, ..Limits::default() };
        let doing = |phase, operator, waits| Doing { phase: Some(phase), operator, waits, seconds: 0.0 };
        assert_eq!(limits.of(&doing(Phase::Forward, Some(5), false)), Some(("operator_s", 2.0)));
        assert_eq!(limits.of(&doing(Phase::Build, Some(5), false)), Some(("build_s", 3600.0)));
        assert_eq!(limits.of(&doing(Phase::Solve, None, false)), Some(("iteration_s", 3600.0)));
        assert_eq!(limits.of(&doing(Phase::Solve, None, true)), None);
        assert_eq!(limits.of(&doing(Phase::Load, None, false)), None); // switched off
        assert_eq!(limits.of(&Doing::default()), None); // between phases
    }

    #[test]
    fn limits_are_times() {
        for (silence_s, write_s, says) in [
            (1.0, 1.0, "`silence_s` must be 0 or at least 3, got 1"),
            (0.0, -1.0, "`write_s` must be zero or a positive number, got -1"),
            (f64::NAN, 1.0, "`silence_s` must be zero or a positive number, got NaN"),
            (30.0, f64::INFINITY, "`write_s` must be zero or a positive number, got inf"),
        ] {
            let fault = Limits { silence_s, write_s, ..Limits::default() }.check().unwrap_err();
            assert_eq!(fault.text, says);
        }
        Limits { silence_s: 0.0, ..Limits::default() }.check().unwrap();
    }
}
