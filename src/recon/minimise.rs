//! The minimum of a data term, and how good it is.

use super::DataTerm;
use super::any_minimiser::AnyMinimiser;
use super::objective::{Objective, told};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::solver::stop::StopRule;
use crate::solver::{Observer, Outcome, Status, relative};
use crate::space::Vector;

/// A minimum and how good it is.
#[derive(Debug, Clone)]
pub struct Minimum<X> {
    /// Where it is, the same on all ranks.
    pub x: Vector<X>,
    /// How the iteration ended.
    pub outcome: Outcome,
    /// ‖A x − y‖ / ‖y‖, computed from x itself.
    pub true_relative_residual: f64,
    /// Σ d_i(A_i x, y_i) + ½ λ‖x‖², computed from x itself; none if it is infinite.
    pub true_objective: Option<f64>,
}

/// Minimises `Σ d_i(A_i x, y_i) + ½ λ‖x‖²` with a method of your choice, from a first guess or from where it starts without.
///
/// Collective: yes. Cost: that of the method, then one `A` and one scalar reduction for what is true at the end. Errors: those
/// of the method.
///
/// ```
/// use stackphys::recon::{DataTerm, GradientDescentParams, PrimalDualParams, fidelity::{AnyFidelity, Huber}, minimise};
/// use stackphys::solver::{Progress, stop};
/// use stackphys::{Shape, comm::Team, physics::Identity};
/// use stackphys::stack::{Description, FromFn, Stack};
/// let line = Shape::new([("x", 1)]);
/// let factory = FromFn::new(
///     3,
///     |_| Ok(Description::new("measured again", line.clone(), line.clone())),
///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.as_mut_slice().copy_from_slice(&[1.0, 2.0, 50.0]);
/// let huber = AnyFidelity::Huber(Huber { delta: 1.0 });
/// let term = DataTerm::new(&stack, &y, vec![huber]).unwrap();
/// let rule = stop::any([stop::relative_optimality(1e-9), stop::iterations(500)]);
/// for method in [GradientDescentParams::default().into(), PrimalDualParams::default().into()] {
///     let minimum = minimise(&term, &method, None, &*rule, &mut |_: &Progress| ()).unwrap();
///     assert!((minimum.x.as_slice()[0] - 2.0).abs() < 1e-6); // the outlier pulls with a force of δ, no more
/// }
/// ```
pub fn minimise<X: Scalar, Y: Scalar<Real = X::Real>>(
    term: &DataTerm<X, Y>,
    method: &AnyMinimiser,
    first_guess: Option<Vector<X>>,
    rule: &dyn StopRule,
    observer: &mut dyn Observer,
) -> Result<Minimum<X>, Error> {
    let (x, outcome) = method.solve(term, first_guess, rule, observer)?;
    if outcome.status == Status::Stopped {
        return Ok(Minimum { x, outcome, true_relative_residual: f64::NAN, true_objective: None }); // whoever asked waits
    }
    let mut objective = Objective::new(term, method.damping(), method.non_negative());
    objective.start(Ok(()))?;
    let mut predicted = term.stack().zero_data();
    term.stack().forward_unsettled(&x, &mut predicted);
    let look = objective.look(&x, &predicted, None)?;
    let true_relative_residual = relative(look.residual_squared, objective.data_norm_squared);
    Ok(Minimum { x, outcome, true_relative_residual, true_objective: told(look.value) })
}
