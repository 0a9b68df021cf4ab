//! A `[[terms]]` table: measurements, and the operators that predict them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{AnyPhysics, Cut, each};
use crate::io::Data;
use crate::kinds::PATH_MARK;
use crate::physics::noise::AnyNoise;
use crate::recon::fidelity::AnyFidelity;

/// A data term: measurements, and the operators that predict them from `x`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// A name of your choice, by which errors, reports and `--set terms.NAME.…` speak of this term.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The measurements. May be left out where none are needed, as in `plan`, `check`, `norm` and `apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The forward model. With `count = N`, a value `{ each = [v0, v1, …] }` takes the N values in turn, and
    /// `{ linspace = [a, b] }` takes N evenly spaced numbers from a to b, both included.
    #[schemars(with = "AnyPhysics")]
    pub operator: toml::Table,
    /// The forward models that `operator` and `count` stand for.
    #[serde(skip)]
    pub operators: Vec<AnyPhysics>,
    /// The noise of measurements that are simulated: by `simulate`, and where the data are a phantom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<AnyNoise>,
    /// How far predicted measurements are from measured ones; for the methods `gradient_descent` and `primal_dual`. Left
    /// out: least squares, ½‖A x − y‖².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<AnyFidelity>,
    /// Cuts each operator into smaller ones along named dimensions of its measurements: `{ angle = { parts = 12 } }`,
    /// `{ angle = { chunk = 15 } }` or `{ angle = { edges = [0, 60, 181] } }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub split: BTreeMap<String, Cut>,
    /// Puts the operators of this term, split or not, into this many groups of neighbours. A group stays on one rank; the
    /// local mean and the block preconditioner solve it as one. Left out: each operator is a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub groups: Option<usize>,
    /// Makes this many operators of this one table. Left out: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<usize>,
}

impl Term {
    /// The keys of the table, for `--set` paths that leave out the only term.
    pub(super) const KEYS: [&str; 8] = ["name", "data", "operator", "noise", "fidelity", "split", "groups", "count"];
}

/// Reads the terms, then makes each one's operators, which needs two of its keys at once.
pub(super) fn with_operators<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Term>, D::Error> {
    let mut terms = Vec::<Term>::deserialize(from)?;
    for (place, term) in terms.iter_mut().enumerate() {
        let in_term = |message| serde::de::Error::custom(format!("[{place}].operator{PATH_MARK}{message}"));
        term.operators = each::operators(&term.operator, term.count).map_err(in_term)?;
        // A resolved config shows the defaults as well; where the index matters, what was written says more.
        if let ([only], None) = (term.operators.as_slice(), term.count) {
            term.operator = toml::Table::try_from(only).map_err(|error| in_term(error.to_string()))?;
        }
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_the_struct() {
        let schema = schemars::schema_for!(Term);
        let keys: Vec<&String> = schema.get("properties").unwrap().as_object().unwrap().keys().collect();
        assert_eq!(keys, Term::KEYS);
    }
}
