//! The squared spectral norm `‖A‖²` of a stack: exact by an iteration, or an interval that holds.

use super::drive::{Observer, Outcome, Progress, drive};
use super::lanczos::{self, Ends, Lanczos, LanczosParams, SingularValue};
use super::power::{Power, PowerParams};
use super::stop;
use crate::comm::Team;
use crate::error::{Error, Fault};
use crate::operator::{Apply, LinearOperator, Work};
use crate::scalar::{Real, Scalar};
use crate::stack::{BlockPlan, Group, Stack, guarded};

/// How the squared norm is found.
#[derive(Debug, Clone, PartialEq)]
pub enum NormSquared {
    /// By the power method on the whole stack.
    Exact(PowerParams),
    /// By bidiagonalisation of the whole stack: fewer steps, more memory, a better value.
    Lanczos(LanczosParams),
    /// An interval from the members alone: no vector is sent.
    Bounds,
}

/// What is known of the squared norm.
#[derive(Debug, Clone, PartialEq)]
pub enum NormSquaredEstimate {
    /// A value, the distance within which an eigenvalue of `AᴴA` lies, and how the iteration ended.
    Value {
        /// A Rayleigh or Ritz value, never above `‖A‖²`.
        value: f64,
        /// ‖AᴴA v − λ v‖, or what follows from ‖Aᴴu − σv‖.
        error_bar: f64,
        /// How the iteration ended.
        outcome: Outcome,
    },
    /// `below ≤ ‖A‖² ≤ above`, surely.
    Bounds {
        /// The largest Rayleigh quotient seen of any member or named group: ‖A‖² ≥ ‖A_i v‖² / ‖v‖².
        below: f64,
        /// The sum of rigorous bounds of the members; infinite if a member has none.
        above: f64,
        /// How many members had no bound.
        unbounded: usize,
    },
}

/// The squared norm `‖A‖²` of a stack.
///
/// Collective: yes. Cost of `Exact` and `Lanczos`: that of [`Power`] and [`Lanczos`]. Cost of `Bounds`: ten `A_iᴴ A_i` on each member, one scalar
/// reduction; the interval is as wide as N in the worst case (N equal members are exact at the top, N orthogonal ones at
/// the bottom).
///
/// A member's bound is the analytic one where the operator knows it, or max(A_iᵀ A_i 1) where all entries are real and not
/// negative (the largest row sum of a symmetric matrix bounds its norm).
pub fn norm_squared<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    how: &NormSquared,
    observer: &mut dyn Observer,
) -> Result<NormSquaredEstimate, Error> {
    match how {
        NormSquared::Exact(params) => {
            let rule = stop::any([
                stop::not_a_number(),
                stop::breakdown(),
                stop::relative_change(params.tolerance),
                stop::iterations(params.max_iter),
            ]);
            let mut power = Power::new(stack, params);
            let outcome = drive(&mut power, &*rule, observer)?;
            let value = outcome.last().value.unwrap_or(0.0);
            Ok(NormSquaredEstimate::Value { value, error_bar: power.error_bar(), outcome })
        }
        NormSquared::Lanczos(params) => {
            let mut lanczos = Lanczos::new(stack, params, Ends::Largest);
            let outcome = lanczos::run(&mut lanczos, params, observer)?;
            let SingularValue { value, error_bar } = lanczos.largest();
            // σ ± e, squared
            let error_bar = (2.0 * value + error_bar) * error_bar;
            Ok(NormSquaredEstimate::Value { value: value * value, error_bar, outcome })
        }
        NormSquared::Bounds => bounds(stack),
    }
}

fn bounds<X: Scalar, Y: Scalar<Real = X::Real>>(stack: &Stack<X, Y>) -> Result<NormSquaredEstimate, Error> {
    let team: &Team = stack.team();
    let mut largest = 0.0_f64;
    let plan = stack.plan();
    // of a sum of operators that see the same of x, one alone says nothing: they may cancel
    let alone = |group: &Group| group.operators.iter().all(|index| plan.reads_apart(plan.entries()[*index].row));
    for (place, group) in stack.groups().filter(|(place, _)| alone(&plan.groups()[*place])) {
        match below_of(&group) {
            Ok(below) => largest = largest.max(below),
            Err(fault) => team.note(stack.plan().groups()[place].fault_of(fault)),
        }
    }
    let [largest] = team.max([largest]);
    let above = bounds_of_members(stack)?;
    Ok(NormSquaredEstimate::Bounds {
        below: largest * (1.0 - slack::<X>()),
        above: bound_of_stack(plan, &above),
        unbounded: above.iter().filter(|bound| bound.is_infinite()).count(),
    })
}

/// What rounding may have done to computed quotients and row sums.
fn slack<X: Scalar>() -> f64 {
    16.0 * X::Real::EPSILON
}

/// A bound of ‖A‖² from one of each ‖A_i‖²: their sum; where operators are summed that see the same of x, the square of the
/// sum of their norms.
fn bound_of_stack(plan: &BlockPlan, of_members: &[f64]) -> f64 {
    let rows = plan.rows().iter().enumerate().map(|(row, part)| {
        let bounds = part.operators.iter().map(|index| of_members[*index]);
        if plan.reads_apart(row) { bounds.sum() } else { bounds.map(f64::sqrt).sum::<f64>().powi(2) }
    });
    rows.sum()
}

/// A bound of ‖A_i‖² for each member, infinite where there is none. Collective: yes, one scalar reduction.
fn bounds_of_members<X: Scalar, Y: Scalar<Real = X::Real>>(stack: &Stack<X, Y>) -> Result<Vec<f64>, Error> {
    let mut bounds = vec![0.0; stack.count()];
    for (index, operator) in stack.local_operators() {
        match guarded(|| above_of(operator)) {
            Ok(bound) => bounds[index] = bound.unwrap_or(f64::INFINITY) * (1.0 + slack::<X>()),
            Err(fault) => stack.team().note(fault.in_operator(index)),
        }
    }
    stack.team().sum_in_place(&mut bounds)?; // one owner each: the others add zero, so the same on all ranks
    Ok(bounds)
}

/// A number that ‖A‖² hardly exceeds, for the steps of a method: the sum of the members' bounds, which it never exceeds, or
/// a tenth more than what 30 steps of the power method see, whichever is less.
///
/// Collective: yes. Cost: 30 `AᴴA`, and one `A_iᴴA_i` of members without negative entries.
pub(crate) fn norm_squared_for_steps<X: Scalar, Y: Scalar<Real = X::Real>>(stack: &Stack<X, Y>) -> Result<f64, Error> {
    let certain = bound_of_stack(stack.plan(), &bounds_of_members(stack)?);
    let mut power = Power::new(stack, &PowerParams::default());
    let rule = stop::any([stop::not_a_number(), stop::breakdown(), stop::iterations(30)]);
    let outcome = drive(&mut power, &*rule, &mut |_: &Progress| ())?;
    Ok(certain.min(1.1 * outcome.last().value.unwrap_or(0.0)))
}

/// A number that ‖A‖² of a stack on one rank hardly exceeds: the sum of its operators' bounds, where they have some, or half
/// more than what a short power iteration sees.
pub(super) fn group_bound<X: Scalar, Y: Scalar<Real = X::Real>>(group: &Stack<X, Y>) -> Result<f64, Fault> {
    let seen = below_of(group)?;
    let mut above = 0.0;
    for (_, operator) in group.local_operators() {
        above += guarded(|| above_of(operator))?.unwrap_or(f64::INFINITY);
    }
    Ok(above.min(1.5 * seen))
}

/// The largest Rayleigh quotient that a short power iteration of a stack on one rank sees.
fn below_of<X: Scalar, Y: Scalar<Real = X::Real>>(group: &Stack<X, Y>) -> Result<f64, Fault> {
    let mut power = Power::new(group, &PowerParams::default());
    let mut largest = 0.0_f64;
    let mut look = |progress: &Progress| largest = largest.max(progress.value.unwrap_or(0.0));
    let rule = stop::any([stop::breakdown(), stop::not_a_number(), stop::iterations(10)]);
    drive(&mut power, &*rule, &mut look).map_err(Error::into_fault)?;
    Ok(largest)
}

fn above_of<X: Scalar, Y: Scalar<Real = X::Real>>(operator: &dyn LinearOperator<X, Y>) -> Result<Option<f64>, Fault> {
    let analytic = operator.norm_squared_bound();
    if !operator.structure().non_negative {
        return Ok(analytic);
    }
    let ones = vec![X::from_f64(1.0); operator.domain().len()];
    let mut row_sums = vec![X::default(); ones.len()];
    operator.normal_add(&ones, &mut row_sums, &mut Work::default())?;
    let largest = row_sums.iter().map(|sum| sum.re()).fold(0.0, f64::max);
    Ok(Some(analytic.map_or(largest, |analytic| analytic.min(largest))))
}
