//! One rank's share of a stack as a stack of its own, that sends nothing: what a rank does between two collective calls.

use std::time::Instant;

use super::resolve::Resolved;
use super::watch::median;
use crate::comm::Team;
use crate::config::SolveMethod;
use crate::error::{Error, Fault, Phase};
use crate::operator::LinearOperator;
use crate::recon::fidelity::AnyFidelity;
use crate::recon::{DataTerm, minimise};
use crate::scalar::Scalar;
use crate::solver::{Observer, Progress, stop};
use crate::space::Shape;
use crate::stack::{BlockPlan, Description, Factory, Stack};

/// The operators of one rank, the blocks of `x` that they read and the rows that they add to, each numbered from zero.
pub struct Share<'a> {
    resolved: &'a Resolved<'a>,
    plan: &'a BlockPlan,
    operators: Vec<usize>,
    columns: Vec<usize>,
    rows: Vec<usize>,
}

impl<'a> Share<'a> {
    /// That of a rank of a plan.
    pub fn of(resolved: &'a Resolved<'a>, plan: &'a BlockPlan, rank: usize) -> Self {
        let sorted = |mut numbers: Vec<usize>| {
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let entries = || plan.owned_by(rank).map(|(_, entry)| entry);
        Share {
            operators: plan.owned_by(rank).map(|(index, _)| index).collect(),
            columns: sorted(entries().flat_map(|entry| entry.description.reads.iter().copied()).collect()),
            rows: sorted(entries().map(|entry| entry.row).collect()),
            resolved,
            plan,
        }
    }
    /// Whether the rank has no operator.
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }

    /// Seconds in operators for a unit of their cost, and seconds in the rest of an iteration for a byte of a vector of the
    /// model: medians over some iterations on random measurements. Collective: no.
    pub fn unit_times<S: Scalar>(&self, steps: usize) -> Result<[f64; 2], Fault> {
        self.steps::<S>(steps).map_err(Error::into_fault)
    }

    fn steps<S: Scalar>(&self, steps: usize) -> Result<[f64; 2], Error> {
        let options = self.resolved.plan_options();
        let team = Team::solo().with_summation(options.summation);
        let stack = Stack::<S>::build(team, self, options)?;
        let y = crate::testing::random(stack.range(), 1, 1);
        let mut clock = Clock { begin: Instant::now(), stack: &stack, read: Vec::new() };
        let rule = stop::iterations(steps + 1);
        let solve = &self.resolved.job.solve;
        match &solve.method {
            SolveMethod::LeastSquares(method) => {
                method.solve(&stack, &y, solve.preconditioner.as_ref(), None, &*rule, &mut clock)?;
            }
            SolveMethod::Minimiser(method) => {
                let term = DataTerm::new(&stack, &y, vec![AnyFidelity::default()])?;
                minimise(&term, method, None, &*rule, &mut clock)?;
            }
            SolveMethod::Formula(_) => {} // no iteration, as told below
        }
        let Clock { read, .. } = clock;
        let took: Vec<[f64; 2]> =
            read.windows(2).skip(1).map(|pair| [0, 1].map(|which| pair[1][which] - pair[0][which])).collect();
        let done = if took.is_empty() {
            Err(Fault::new("no iteration could be measured: the method stops at once").in_phase(Phase::Solve))
        } else {
            Ok(())
        };
        stack.team().agree(done)?;
        let cost: f64 = stack.plan().entries().iter().map(|entry| entry.description.cost).sum();
        let per_cost = median(took.iter().map(|[_, in_operators]| *in_operators)) / cost;
        let rest = median(took.iter().map(|[all, in_operators]| all - in_operators));
        let per_byte = rest / stack.plan().model_bytes(0) as f64;
        Ok([per_cost, per_byte])
    }
}

impl<S: Scalar> Factory<S> for Share<'_> {
    fn count(&self) -> usize {
        self.operators.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        self.columns.iter().map(|column| self.plan.columns()[*column].shape.clone()).collect()
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let entry = &self.plan.entries()[self.operators[index]];
        let of_share = |among: &[usize], number: usize| among.binary_search(&number).unwrap_or_default();
        Ok(Description {
            reads: entry.description.reads.iter().map(|block| of_share(&self.columns, *block)).collect(),
            row: Some(of_share(&self.rows, entry.row)),
            rank: None,
            ..entry.description.clone()
        })
    }
    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<S>>, Fault> {
        Factory::<S>::build(self.resolved, self.operators[index])
    }
}

/// Reads the time, and that in operators, after each step.
struct Clock<'a, S: Scalar> {
    begin: Instant,
    stack: &'a Stack<S>,
    read: Vec<[f64; 2]>,
}

impl<S: Scalar> Observer for Clock<'_, S> {
    fn observe(&mut self, _: &Progress) {
        self.read.push([self.begin.elapsed().as_secs_f64(), self.stack.seconds().0]);
    }
}
