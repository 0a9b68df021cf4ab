//! Two kinds of trouble, and a wall between them.
//!
//! A [`Fault`] is one rank's trouble: a file it could not read, an operator that failed, a shape that does not fit. An
//! [`Error`] is the same on all ranks. Only [`Team`](crate::comm::Team) turns the first into the second, by an agreement
//! in which all ranks take part. `Fault` does not implement `std::error::Error` and `Error` converts from nothing, so a
//! stray `?` between two collectives, which would leave the other ranks waiting, does not compile:
//!
//! ```compile_fail
//! fn stray(local: Result<(), stackphys::Fault>) -> Result<(), Box<dyn std::error::Error>> {
//!     local?; // the other ranks would wait for ever
//!     Ok(())
//! }
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was being done when something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading and checking what the user wrote.
    Config,
    /// Opening files and reading their headers.
    Open,
    /// Making the block plan.
    Plan,
    /// Building operators.
    Build,
    /// Reading measurements.
    Load,
    /// Applying an operator.
    Forward,
    /// Applying an adjoint, of a derivative too.
    Adjoint,
    /// Applying a normal operator.
    Normal,
    /// Linearising an operator at a point.
    Linearize,
    /// Applying a derivative.
    Derivative,
    /// Iterating.
    Solve,
    /// Writing or reading a checkpoint.
    Checkpoint,
    /// Writing results.
    Write,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Config => "config",
            Phase::Open => "open",
            Phase::Plan => "plan",
            Phase::Build => "build",
            Phase::Load => "load",
            Phase::Forward => "forward",
            Phase::Adjoint => "adjoint",
            Phase::Normal => "normal",
            Phase::Linearize => "linearize",
            Phase::Derivative => "derivative",
            Phase::Solve => "solve",
            Phase::Checkpoint => "checkpoint",
            Phase::Write => "write",
        })
    }
}

/// One rank's trouble: what, in which operator and phase, and what to do about it.
///
/// Collective: no. It becomes an [`Error`] in the next agreement of the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong: where, expected, got.
    pub text: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The index of the operator in the stack, where one is to blame.
    pub operator: Option<usize>,
    /// What was being done; filled in by whoever calls.
    pub phase: Option<Phase>,
}

impl Fault {
    /// A fault from a sentence that says where, expected and got.
    pub fn new(text: impl Into<String>) -> Self {
        Fault { text: text.into(), hint: None, operator: None, phase: None }
    }

    /// Adds what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the user can do, unless an inner call did already.
    pub fn or_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Names the operator, unless an inner call did already.
    pub fn in_operator(mut self, index: usize) -> Self {
        self.operator.get_or_insert(index);
        self
    }

    /// Names the phase, unless an inner call did already.
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.phase.get_or_insert(phase);
        self
    }
}

/// Trouble that all ranks know of, in the same words.
///
/// Where several ranks had a fault, it is the one with the lowest operator index, then the lowest rank; `ranks` counts
/// them. It can be made only by an agreement of the team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    rank: usize,
    ranks: usize,
    team: usize,
}

impl Error {
    pub(crate) fn agreed(fault: Fault, rank: usize, ranks: usize, team: usize) -> Self {
        Error { fault, rank, ranks, team }
    }

    /// The fault that was reported.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
    /// The rank that reported it.
    pub fn rank(&self) -> usize {
        self.rank
    }
    /// How many ranks had a fault.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// This error of a sub-team, as a fault of a member of the parent team.
    pub fn into_fault(self) -> Fault {
        self.fault
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { text, hint, operator, phase } = &self.fault;
        if let Some(phase) = phase {
            write!(f, "{phase}: ")?;
        }
        if let Some(operator) = operator {
            write!(f, "operator {operator}: ")?;
        }
        write!(f, "{text}")?;
        if self.team > 1 && self.ranks < self.team {
            write!(f, " (on rank {} of {}", self.rank, self.team)?;
            if self.ranks > 1 {
                write!(f, "; {} ranks had a fault", self.ranks)?;
            }
            write!(f, ")")?;
        }
        if let Some(hint) = hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
