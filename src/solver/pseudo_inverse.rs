//! The pseudo-inverse `A†y` of a stack: exact by an iteration, or the honest local approximation.

use super::any_method::AnyMethod;
use super::drive::{Observer, Outcome, Progress};
use super::precondition::AnyPreconditioner;
use super::stop::{self, StopRule};
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::{Group, Measured, Stack};

/// How the pseudo-inverse is applied.
#[derive(Debug, Clone, PartialEq)]
pub enum PseudoInverse {
    /// argmin ‖A x − y‖² + λ‖x‖² over the whole stack.
    Exact(Exact),
    /// The mean over the operators of their own pseudo-inverses, `1/N Σ A_i† y_i`, or over groups of operators that the
    /// [plan](crate::stack::BlockPlan::groups) names. An approximation: it is not the least-squares solution unless all agree.
    LocalMean(AnyMethod),
}

/// How the exact pseudo-inverse is applied. A method alone makes one: `CgParams::default().into()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    /// The method.
    pub method: AnyMethod,
    /// What makes it faster; for conjugate gradients on the normal system only.
    pub preconditioner: Option<AnyPreconditioner>,
    /// Where it starts if no first guess is given.
    pub start: Start,
}

/// Where an exact solve starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At zero.
    #[default]
    Zero,
    /// At the local mean by the same method, which costs as much as the solve itself but one vector reduction in all.
    LocalMean,
}

impl<M: Into<AnyMethod>> From<M> for Exact {
    fn from(method: M) -> Self {
        Exact { method: method.into(), preconditioner: None, start: Start::Zero }
    }
}

/// A solution and how good it is.
#[derive(Debug, Clone)]
pub struct Solution<X> {
    /// The solution, the same on all ranks.
    pub x: Vector<X>,
    /// How the iteration ended; the local mean has none that is global.
    pub outcome: Option<Outcome>,
    /// ‖A x − y‖ / ‖y‖, computed from the solution itself; not a number if the solve was asked to stop.
    pub true_relative_residual: f64,
    /// ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖, computed from the solution itself; likewise.
    pub true_relative_normal_residual: f64,
    /// How many groups of operators have fewer measurements than x has elements, if each was solved by itself: their own
    /// solutions then say little, and the mean may be far from the solution of all.
    pub underdetermined: usize,
}

/// Applies the pseudo-inverse of a stack to measurements in any form ([`Measured`]).
///
/// Collective: yes. Cost of `Exact`: that of the method. Cost of `LocalMean`: as much work, but one vector reduction in
/// all. Either way two more vector reductions for the true residuals at the end.
///
/// ```
/// use stackphys::{comm::Team, physics::Identity, solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop}};
/// use stackphys::{Shape, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new(
///     2,
///     |_| Ok(Description::new("identity", line.clone(), line.clone())),
///     |_| Ok(Box::new(stackphys::physics::Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.block_slice_mut(0).unwrap().copy_from_slice(&[1.0, 2.0]);
/// y.block_slice_mut(1).unwrap().copy_from_slice(&[3.0, 4.0]);
/// let how = PseudoInverse::Exact(CgParams::default().into());
/// let rule = stop::any([stop::relative_normal_residual(1e-12), stop::iterations(9)]);
/// let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap();
/// assert_eq!(solution.x.as_slice(), [2.0, 3.0]); // the mean of the two measurements
/// ```
pub fn pseudo_inverse<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    y: &(impl Measured<Y> + ?Sized),
    how: &PseudoInverse,
    first_guess: Option<Vector<X>>,
    rule: &dyn StopRule,
    observer: &mut dyn Observer,
) -> Result<Solution<X>, Error> {
    let y = &*stack.team().agree(y.on(stack.range(), "y").map_err(|fault| fault.in_phase(Phase::Solve)))?;
    let mut underdetermined = 0;
    let mut mean = |method: &AnyMethod| {
        underdetermined = warned_underdetermined(stack);
        local_mean(stack, y, method, rule)
    };
    let goes_on = observer.keeper().is_some_and(|keeper| keeper.goes_on());
    let (x, outcome, method) = match how {
        PseudoInverse::Exact(Exact { method, preconditioner, start }) => {
            let guess = match (first_guess, start) {
                (None, Start::LocalMean) if !goes_on => Some(mean(method)?),
                (guess, _) => guess,
            };
            let (x, outcome) = method.solve(stack, y, preconditioner.as_ref(), guess, rule, observer)?;
            (x, Some(outcome), method)
        }
        PseudoInverse::LocalMean(method) => (mean(method)?, None, method),
    };
    let was_stopped = outcome.as_ref().is_some_and(|outcome| outcome.status == stop::Status::Stopped);
    let (residual, normal_residual) = match was_stopped {
        true => (f64::NAN, f64::NAN), // there is no time: whoever asked waits
        false => true_residuals(stack, &x, y, method.damping())?,
    };
    Ok(Solution {
        x,
        outcome,
        true_relative_residual: residual,
        true_relative_normal_residual: normal_residual,
        underdetermined,
    })
}

/// How many groups of operators have fewer measurements than x has elements. Collective: no; the plan says so, rank 0 warns.
fn warned_underdetermined<X: Scalar, Y: Scalar<Real = X::Real>>(stack: &Stack<X, Y>) -> usize {
    let elements = stack.domain().len();
    let (entries, groups) = (stack.plan().entries(), stack.plan().groups());
    let measurements =
        |group: &Group| group.operators.iter().map(|index| entries[*index].description.range.len()).sum::<usize>();
    let count = groups.iter().filter(|group| measurements(group) < elements).count();
    if count > 0 && stack.team().rank() == 0 {
        tracing::warn!(
            "local mean: {count} of {} {} have fewer measurements than x has elements ({elements}); the mean of their own \
             solutions may be far from the solution of all",
            groups.len(),
            if groups.len() == entries.len() { "operators" } else { "groups of operators" },
        );
    }
    count
}

fn local_mean<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    y: &Vector<Y>,
    method: &AnyMethod,
    rule: &dyn StopRule,
) -> Result<Vector<X>, Error> {
    stack.expect_whole_model("the local mean")?;
    // nothing is sent inside these solves, so members may stop at different steps, by their own rank's clock too
    let groups = stack.plan().groups();
    let solve = |place: usize, group: &Stack<X, Y>, out: &mut [X]| -> Result<(), Fault> {
        let mut own = group.zero_data();
        for (to, from) in groups[place].operators.iter().enumerate() {
            let (Some(to), Some(block)) = (own.block_slice_mut(to), y.block_slice(stack.plan().entries()[*from].row))
            else {
                return Err(Fault::new("the measurements are not on this rank").in_operator(*from));
            };
            to.copy_from_slice(block);
        }
        let solved = method.solve(group, &own, None, None, rule, &mut |_: &Progress| ());
        let (x, _) = solved.map_err(|error| groups[place].fault_of(error.into_fault()))?;
        crate::space::add(x.as_slice(), out);
        Ok(())
    };
    let here: Vec<_> = stack.groups().collect();
    let mut mean = stack.zero_sum();
    stack.sum_over_groups(&mut mean, |place, out| {
        let found = here.binary_search_by_key(&place, |(place, _)| *place);
        found.map_or(Ok(()), |local| solve(place, &here[local].1, out))
    })?;
    mean.scale(1.0 / groups.len() as f64);
    Ok(mean)
}

/// ‖A x − y‖ / ‖y‖ and ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖. Zero data have zero residuals by x = 0, infinite ones otherwise.
pub(crate) fn true_residuals<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    x: &Vector<X>,
    y: &Vector<Y>,
    damping: f64,
) -> Result<(f64, f64), Error> {
    let team = stack.team();
    let mut normal = stack.zero_sum();
    let residual_squared = stack.residual(x, y, &mut normal)?;
    normal.axpy(damping, x);
    let [data_squared] = team.dots([(y, y)])?;
    let [normal_squared] = team.dots([(&normal, &normal)])?;
    stack.adjoint(y, &mut normal)?;
    let [normal_data_squared] = team.dots([(&normal, &normal)])?;
    let ratio = super::system::relative;
    Ok((ratio(residual_squared, data_squared), ratio(normal_squared, normal_data_squared)))
}

/// The rules that every solve needs whatever else is asked: trouble first.
pub fn with_trouble_rules(rules: impl IntoIterator<Item = stop::BoxedRule>) -> stop::BoxedRule {
    let [residual, optimality] = [stop::relative_normal_residual(0.0), stop::relative_optimality(0.0)];
    let trouble = [stop::not_a_number(), residual, optimality, stop::breakdown()];
    stop::any(trouble.into_iter().chain(rules))
}
