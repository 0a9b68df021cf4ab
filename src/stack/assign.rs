//! Who owns which operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How operators are dealt to ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// Runs of neighbours; the first ranks get one more where it does not divide.
    #[default]
    Contiguous,
    /// Operator i on rank i mod P.
    RoundRobin,
    /// Runs of neighbours of about equal cost: the largest share is as small as runs allow.
    ByCost,
}

impl Assignment {
    /// The owner of each operator, for operators of the given costs on `ranks` ranks.
    ///
    /// ```
    /// use stackphys::stack::Assignment;
    /// let costs = [1.0, 1.0, 1.0, 9.0, 1.0];
    /// assert_eq!(Assignment::Contiguous.owners(&costs, 2), [0, 0, 0, 1, 1]);
    /// assert_eq!(Assignment::RoundRobin.owners(&costs, 2), [0, 1, 0, 1, 0]);
    /// assert_eq!(Assignment::ByCost.owners(&costs, 2), [0, 0, 0, 1, 1]);
    /// assert_eq!(Assignment::Contiguous.owners(&[1.0], 3), [0]); // ranks without work are fine
    /// ```
    pub fn owners(self, costs: &[f64], ranks: usize) -> Vec<usize> {
        let count = costs.len();
        match self {
            Assignment::Contiguous => {
                let (each, longer) = (count / ranks, count % ranks);
                (0..ranks).flat_map(|rank| vec![rank; each + usize::from(rank < longer)]).collect()
            }
            Assignment::RoundRobin => (0..count).map(|index| index % ranks).collect(),
            Assignment::ByCost => by_cost(costs, ranks),
        }
    }
}

/// The smallest capacity for which a greedy fill needs no more than `ranks` runs, found by halving.
fn by_cost(costs: &[f64], ranks: usize) -> Vec<usize> {
    let fill = |capacity: f64| -> Vec<usize> {
        let (mut rank, mut load) = (0, 0.0);
        costs
            .iter()
            .map(|cost| {
                if load > 0.0 && load + cost > capacity {
                    (rank, load) = (rank + 1, 0.0);
                }
                load += cost;
                rank
            })
            .collect()
    };
    let fits = |capacity: f64| fill(capacity).last().is_none_or(|last| *last < ranks);
    let (mut low, mut high) = (costs.iter().copied().fold(0.0, f64::max), costs.iter().sum::<f64>());
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if fits(middle) { high = middle } else { low = middle }
    }
    fill(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_cost_balances_and_uses_only_existing_ranks() {
        let costs: Vec<f64> = (0..50).map(|i| f64::from(1 + (i * 7) % 11)).collect();
        for ranks in 1..9 {
            let owners = Assignment::ByCost.owners(&costs, ranks);
            assert!(owners.is_sorted() && owners.iter().all(|owner| *owner < ranks));
            let load = |rank| costs.iter().zip(&owners).filter(|(_, o)| **o == rank).map(|(c, _)| c).sum::<f64>();
            let largest = (0..ranks).map(load).fold(0.0, f64::max);
            let ideal = costs.iter().sum::<f64>() / ranks as f64;
            assert!(largest <= ideal + 11.0, "{ranks} ranks: largest share {largest}, ideal {ideal}");
        }
    }
}
