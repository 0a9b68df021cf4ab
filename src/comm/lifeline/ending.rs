//! Why a job was ended before its time, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::signs::Doing;
use crate::error::{Fault, Phase};

/// A process of the job, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Its rank.
    pub rank: usize,
    /// The host that it runs on.
    pub host: String,
    /// Its number there.
    pub process: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} on host {} (process {})", self.rank, self.host, self.process)
    }
}

/// Why the job was ended from outside of its own sequence of calls: a rank that is dead, silent or stuck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// The rank to blame.
    pub who: Who,
    /// What is wrong with it; the operator and the phase where they are known.
    pub fault: Fault,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ending { who, fault: Fault { text, hint, operator, phase } } = self;
        if let Some(phase) = phase {
            write!(f, "{phase}: ")?;
        }
        if let Some(operator) = operator {
            write!(f, "operator {operator}: ")?;
        }
        write!(f, "{who} {text}")?;
        hint.iter().try_for_each(|hint| write!(f, "\n  help: {hint}"))
    }
}

impl Ending {
    fn new(who: Who, doing: Option<&Doing>, text: String, hint: &str) -> Self {
        let fault = Fault {
            text,
            hint: Some(hint.to_owned()),
            operator: doing.and_then(|doing| doing.operator),
            phase: doing.and_then(|doing| doing.phase),
        };
        Ending { who, fault }
    }

    /// Passed the limit of what it does.
    pub(super) fn stuck(who: Who, doing: &Doing, (key, limit): (&str, f64)) -> Self {
        let what = match doing.operator {
            Some(_) => "has not come back from this call",
            None => "has shown no progress",
        };
        let text = format!("{what} for {}; limits.{key} allows {}", seconds(doing.seconds), seconds(limit));
        let hint = format!("if it may take that long, raise limits.{key}; 0 is no limit");
        Ending::new(who, Some(doing), text, &hint)
    }

    /// Has gone without a goodbye; what it last said, and how long before.
    pub(super) fn dead(who: Who, last: Option<(&Doing, f64)>) -> Self {
        let last = last.map(|(doing, ago)| format!("; {} before it was {}", seconds(ago), in_words(doing)));
        let text = format!("ended without a word{}", last.unwrap_or_default());
        let hint = "it was killed or it crashed, the launcher's own lines may tell by which signal: 9 is often the system \
                    out of memory (`stackphys plan` says what a rank needs), 6 and 11 are defects of native code";
        Ending::new(who, None, text, hint)
    }

    /// Says nothing any more, nor do `others`.
    pub(super) fn silent(who: Who, others: &[usize], last: Option<&Doing>, silence: f64, limit: f64) -> Self {
        let mut text = format!("has given no sign of life for {}", seconds(silence));
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(usize::to_string).collect();
            text += &format!(", nor has rank {}", others.join(", "));
        }
        text += &format!("; limits.silence_s allows {}", seconds(limit));
        if let Some(doing) = last {
            text += &format!("; before that it was {}", in_words(doing));
        }
        let hint = "it was stopped, its host has died or hangs, or the network to it is cut; with a debugger at work set \
                    limits.silence_s = 0";
        Ending::new(who, None, text, hint)
    }

    /// Everybody waits, nobody works.
    pub(super) fn all_wait(who: Who, ranks: usize, doing: &Doing, limit: f64) -> Self {
        let text = format!(
            "and all others of {ranks} ranks have waited for each other for {}; limits.network_s allows {}",
            seconds(doing.seconds),
            seconds(limit)
        );
        let hint = "messages between ranks do not arrive: is the network that MPI uses cut, or a firewall in the way? If one \
                    sum may take that long, raise limits.network_s";
        Ending::new(who, Some(doing), text, hint)
    }

    /// What started it has gone.
    pub(super) fn without_launcher(who: Who, doing: &Doing) -> Self {
        let hint = "mpirun, srun or what else started the ranks was killed; the job has ended with it";
        Ending::new(who, Some(&Doing { operator: None, ..*doing }), "has lost its launcher".into(), hint)
    }

    /// The ranks have not found together.
    pub(super) fn not_started(who: Who, limit: f64) -> Self {
        let text = format!("has waited for {} for MPI to start; {} allows that", seconds(limit), super::START_VARIABLE);
        let hint = "a rank never arrived: its node is down, or it cannot reach the others. Try `mpirun hostname` first";
        Ending::new(who, None, text, hint)
    }

    /// The ranks do not get apart.
    pub(super) fn not_ended(who: Who, limit: f64) -> Self {
        let text = format!("has done its work, but MPI has not ended for {}", seconds(limit));
        let hint = "all results that the log names are written; another rank was killed, or the network is cut";
        Ending::new(who, None, text, hint)
    }
}

fn in_words(doing: &Doing) -> String {
    let phase = doing.phase.map(|phase: Phase| phase.to_string());
    match (phase, doing.operator) {
        (Some(phase), Some(operator)) => format!("in operator {operator} ({phase})"),
        (Some(phase), None) if doing.waits => format!("waiting for others ({phase})"),
        (Some(phase), None) => format!("at work ({phase})"),
        (None, _) => "between two phases".to_owned(),
    }
}

/// `0.3 s`, `31 s`.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{} s", (seconds * 10.0).round() / 10.0) } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_rank_host_operator_phase_and_time() {
        let who = Who { rank: 1, host: "node7".into(), process: 4711 };
        let doing = Doing { phase: Some(Phase::Forward), operator: Some(5), waits: false, seconds: 2.26 };
        let stuck = Ending::stuck(who.clone(), &doing, ("operator_s", 2.0)).to_string();
        let (first, help) = stuck.split_once("\n  help: ").unwrap();
        assert_eq!(
            first,
            "forward: operator 5: rank 1 on host node7 (process 4711) has not come back from this call for 2.3 s; \
             limits.operator_s allows 2 s"
        );
        assert_eq!(help, "if it may take that long, raise limits.operator_s; 0 is no limit");
        let dead = Ending::dead(who.clone(), Some((&doing, 0.4))).to_string();
        let says =
            "rank 1 on host node7 (process 4711) ended without a word; 0.4 s before it was in operator 5 (forward)\n";
        assert!(dead.starts_with(says), "{dead}"); // what it was last seen doing is not what killed it
        let silent = Ending::silent(who, &[2, 3], None, 31.2, 30.0).to_string();
        assert!(
            silent.contains("no sign of life for 31 s, nor has rank 2, 3; limits.silence_s allows 30 s"),
            "{silent}"
        );
    }
}
