//! What the user wrote: the TOML grammar of a job, as plain structs. No objects are made here.
//!
//! [`Job`] is the root and names the tables; each table has a file of its own. A `{ kind = "…" }` table is the
//! parameter struct of the very thing it names: [`AnyPhysics`], [`Data`](crate::io::Data),
//! [`AnyFidelity`](crate::recon::fidelity::AnyFidelity), [`AnyMethod`](crate::solver::AnyMethod). The doc comments of all these fields are what `stackphys schema` prints, so they
//! are written for the user.
//!
//! A job is read in steps, one file each: `load` (parse, then in order) → `set` (overrides) → the structs → `each`
//! (`count = N` makes N operators) → `check` (ranges). Whatever goes wrong, `place` finds the line and the nearest key.
//!
//! ```
//! use stackphys::config::Job;
//! let text = r#"
//!     version = 1
//!     [model]
//!     dims = { y = 8, x = 8 }
//!     [[terms]]
//!     name = "image"
//!     operator = { kind = "diagonal", valeu = 2.0 }
//! "#;
//! let fault = Job::from_toml(text, "job.toml", &[]).unwrap_err();
//! assert_eq!(fault.text, "job.toml:7: terms.image.operator: unknown key `valeu`");
//! assert!(fault.hint.unwrap().starts_with("did you mean `value`?"));
//! ```

mod check;
mod cut;
mod each;
mod first_guess;
mod load;
mod model;
mod norm;
mod normal;
mod output;
mod place;
mod ranks;
mod run;
mod schema;
mod set;
mod solve;
mod term;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cut::Cut;
pub use first_guess::FirstGuess;
pub use model::{Model, ScalarKind};
pub use norm::{Norm, NormMethod};
pub use normal::Normal;
pub use output::Output;
pub use ranks::{Matrix, RankGrid, Ranks};
pub use run::Run;
pub use schema::schema;
pub use solve::{PseudoInverseMode, Solve, SolveMethod, Tolerances};
pub use term::Term;

use crate::checkpoint::When;
pub use crate::comm::Limits;
pub use crate::physics::AnyPhysics;

/// A reconstruction job: what is sought (`model`), what was measured (`terms`), how to solve it and where to put it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The version of this grammar. This program reads version 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What `x` is: its dimensions and its numbers.
    pub model: Model,
    /// Cuts `x` into blocks along named dimensions of the model, so that a rank holds only those that its operators read:
    /// `z = { parts = 4 }`. Operators are cut with it: of a dimension that the measurements have too (a slice and its
    /// detector row), each block has measurements of its own; of others, what the blocks give is summed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, Cut>,
    /// The data terms. Their operators are stacked in the order written: `A = [A_0; A_1; …]`.
    #[serde(deserialize_with = "term::with_operators")]
    #[schemars(length(min = 1))]
    pub terms: Vec<Term>,
    /// How to solve for `x`.
    #[serde(default)]
    pub solve: Solve,
    /// Where this table stands, the job also computes the squared spectral norm of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// How the normal operator `AᴴA` is applied.
    #[serde(default)]
    pub normal: Normal,
    /// Which rank takes which operator. Left out: `run.assignment` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Ranks>,
    /// How the work is spread and summed. Never changes the mathematics; the number of ranks comes from `mpirun`.
    #[serde(default)]
    pub run: Run,
    /// When the state of the iteration is kept, so that `stackphys resume` can go on from it: in `checkpoints/` of the folder
    /// of results, the newest two. SIGUSR1 and SIGTERM keep it at once and stop the job with exit status 3.
    #[serde(default)]
    pub checkpoint: When,
    /// How long things may take before the job is ended as stuck.
    #[serde(default)]
    pub limits: Limits,
    /// Where the results go.
    #[serde(default)]
    pub output: Output,
}

impl Job {
    /// The version of the grammar that this program reads.
    pub const VERSION: u32 = 1;

    /// Whether the state of an iteration is kept: the local mean has none between its operators.
    pub fn keeps_state(&self) -> bool {
        self.checkpoint.enabled && self.solve.pseudo_inverse == PseudoInverseMode::Exact
    }

    /// The operators in the order of the stack, each with its term, before any of them is split.
    pub fn operators(&self) -> impl Iterator<Item = (&Term, &AnyPhysics)> {
        self.terms.iter().flat_map(|term| term.operators.iter().map(move |operator| (term, operator)))
    }
}
