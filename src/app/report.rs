//! `report.json`: what was done, by whom, how well, how long it took, what was sent.

use serde::Serialize;

use super::forecast::{Forecast, by_kind};
use super::phases::Spread;
use super::watch::Steps;
use crate::comm::{Kind, Team, Through, Traffic};
use crate::operator::Basis;
use crate::solver::{Progress, Status};

/// The report of a job.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether it got where it should.
    pub status: Status,
    /// The rule that stopped it.
    pub stop_rule: &'static str,
    /// Why it did, with the numbers.
    pub stop_reason: String,
    /// Steps done.
    pub iterations: usize,
    /// ‖A x − y‖ / ‖y‖ from iteration 0 on, as the recurrence knows it.
    pub relative_residual: Vec<Option<f64>>,
    /// ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖ from iteration 0 on, of methods that know it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relative_normal_residual: Vec<Option<f64>>,
    /// How far from a minimum, against the start, of methods for data fidelities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relative_optimality: Vec<Option<f64>>,
    /// Σ d_i(A_i x, y_i) + ½ λ‖x‖² from iteration 0 on, where it is finite, of the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objective: Vec<Option<f64>>,
    /// ‖A x − y‖ / ‖y‖ of the result, computed from it.
    pub true_relative_residual: f64,
    /// ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖ of the result, computed from it, of methods for least squares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_relative_normal_residual: Option<f64>,
    /// Σ d_i(A_i x, y_i) + ½ λ‖x‖² of the result, computed from it, of methods for data fidelities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_objective: Option<f64>,
    /// ‖x − x_true‖ / ‖x_true‖, where the measurements were simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
    /// ‖A‖², if the config asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_squared: Option<f64>,
    /// What was kept of the iteration, if anything could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointReport>,
    /// Which pseudo-inverse: that of the stack, or the mean of the operators'.
    pub pseudo_inverse: String,
    /// How many ranks.
    pub ranks: usize,
    /// The host of each rank.
    pub hosts: Vec<String>,
    /// Threads of each rank.
    pub threads: usize,
    /// How many operators of a rank may run at once.
    pub lanes: usize,
    /// How many operators.
    pub operators: usize,
    /// The owner of each operator.
    pub owners: Vec<usize>,
    /// The scalar.
    pub scalar: &'static str,
    /// How contributions were added.
    pub summation: String,
    /// How sums over ranks were made.
    pub reduction: Through,
    /// The basis in which `AᴴA` of all operators was merged into one; nothing where it was applied operator by operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normal_merged: Option<Basis>,
    /// What was read.
    pub data: DataReport,
    /// Seconds of each phase over the ranks.
    pub seconds: serde_json::Map<String, serde_json::Value>,
    /// Seconds in operators of the busiest rank against the mean.
    pub imbalance: f64,
    /// What one iteration took, and whether it sent what was planned.
    pub iteration: IterationReport,
    /// What rank 0 sent.
    pub comm: serde_json::Map<String, serde_json::Value>,
    /// The most memory in use, by rank.
    pub peak_memory_bytes: Vec<u64>,
    /// What the plan foresaw of it.
    pub planned_memory_bytes: Vec<u64>,
    /// The grey window of `x.png`.
    pub window: Option<[f64; 2]>,
    /// The config with all defaults.
    pub config: serde_json::Value,
    /// The version of this program.
    pub version: &'static str,
}

/// What was kept of an iteration.
#[derive(Debug, Serialize)]
pub struct CheckpointReport {
    /// The iteration of the checkpoint that this run went on from.
    pub resumed_after: Option<usize>,
    /// How many checkpoints this run wrote.
    pub written: usize,
    /// For how many seconds that held up the iteration, on rank 0.
    pub seconds: f64,
}

/// What was read.
#[derive(Debug, Serialize)]
pub struct DataReport {
    /// One line for each file.
    pub files: Vec<String>,
    /// Numbers read, over all ranks.
    pub numbers: u64,
    /// Transmissions that were raised to the clamp.
    pub clamped: u64,
    /// Numbers that were not finite and became zero.
    pub not_finite: u64,
}

/// The phases as a table.
pub fn seconds(phases: Vec<(&'static str, Spread)>) -> serde_json::Map<String, serde_json::Value> {
    let entry = |(name, spread): (&str, Spread)| (name.to_owned(), serde_json::json!(spread));
    phases.into_iter().map(entry).collect()
}

/// What one iteration took and sent on rank 0.
#[derive(Debug, Serialize)]
pub struct IterationReport {
    /// Seconds of one: the median.
    pub seconds: f64,
    /// Seconds of one in operators: the median.
    pub operators: f64,
    /// Calls and bytes by kind that the plan foresees.
    pub planned: serde_json::Map<String, serde_json::Value>,
    /// Whether every rank sent exactly what is planned for it.
    pub as_planned: bool,
}

impl IterationReport {
    /// Of what was seen on rank 0.
    pub fn of(steps: &Steps, forecast: &Forecast, as_planned: bool) -> Self {
        IterationReport {
            seconds: steps.seconds,
            operators: steps.in_operators,
            planned: by_kind(&forecast.iteration(0)),
            as_planned,
        }
    }
}

/// Calls and bytes by kind: in all, and per iteration, from the start of the first to the end of the last.
pub fn traffic(team: &Team, steps: &Steps) -> serde_json::Map<String, serde_json::Value> {
    let per = |total: u64| total as f64 / steps.count.max(1) as f64;
    let total = team.meter().all();
    let entry = |k: usize| {
        let Traffic { calls, bytes } = steps.sent[k];
        let per_iteration = serde_json::json!({ "calls": per(calls), "bytes": per(bytes) });
        let of_kind = serde_json::json!({ "total": total[k], "per_iteration": per_iteration });
        (Kind::ALL[k].name().to_owned(), of_kind)
    };
    (0..total.len()).map(entry).collect()
}

/// The numbers of each step; nothing of those that the method does not know.
pub struct Histories {
    /// ‖A x − y‖ / ‖y‖.
    pub relative_residual: Vec<Option<f64>>,
    /// ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖.
    pub relative_normal_residual: Vec<Option<f64>>,
    /// How far from a minimum.
    pub relative_optimality: Vec<Option<f64>>,
    /// What is minimised.
    pub objective: Vec<Option<f64>>,
}

impl Histories {
    /// Those of an iteration.
    pub fn of(steps: &[Progress]) -> Self {
        let each = |number: fn(&Progress) -> Option<f64>| -> Vec<Option<f64>> {
            let numbers: Vec<_> = steps.iter().map(number).collect();
            if numbers.iter().all(Option::is_none) { Vec::new() } else { numbers }
        };
        Histories {
            relative_residual: each(|step| step.relative_residual),
            relative_normal_residual: each(|step| step.relative_normal_residual),
            relative_optimality: each(|step| step.relative_optimality),
            objective: each(|step| step.objective),
        }
    }

    /// What there is as curves with their names; the objective against its first value.
    pub fn curves(&self) -> Vec<(&'static str, Vec<f64>)> {
        let first = self.objective.iter().flatten().next().copied().unwrap_or(1.0);
        let all = [
            ("residual |Ax - y| / |y|", &self.relative_residual, 1.0),
            ("normal residual |A*(Ax - y)| / |A*y|", &self.relative_normal_residual, 1.0),
            ("distance from optimality", &self.relative_optimality, 1.0),
            ("objective f(x) / f(x0)", &self.objective, first),
        ];
        let curve = |numbers: &[Option<f64>], unit: f64| {
            numbers.iter().map(|number| number.map_or(f64::NAN, |number| number / unit)).collect()
        };
        let there = all.into_iter().filter(|(_, numbers, _)| !numbers.is_empty());
        there.map(|(name, numbers, unit)| (name, curve(numbers, unit))).collect()
    }
}
