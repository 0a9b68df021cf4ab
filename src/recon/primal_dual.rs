//! The primal-dual method of Chambolle and Pock: for every data fidelity that has a proximal map.
//!
//! Reference: A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with applications to
//! imaging", J. Math. Imaging Vis. 40 (2011), algorithm 1 with θ = 1. The proximal map of the conjugate is that of the
//! fidelity by Moreau's identity, `prox_{σF*}(p) = p − σ prox_{F/σ}(p/σ)`. The point `w = prox_{F/σ}(p/σ)` is kept: it is where
//! the dual variable is a gradient of the data term, so `A x − w` tells how far from a solution x is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DataTerm;
use super::data_term::Look;
use super::objective::{Objective, told};
use crate::error::Error;
use crate::range::is_positive;
use crate::scalar::Scalar;
use crate::solver::{Memory, Method, Progress, Solver, norm_squared_for_steps, relative};
use crate::space::Vector;

/// Parameters of the primal-dual method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrimalDualParams {
    /// The largest number of iterations.
    pub max_iter: usize,
    /// λ ≥ 0: adds ½ λ‖x‖² to the data term. With plain least squares that is the λ of the other methods.
    pub damping: f64,
    /// Only x ≥ 0.
    pub non_negative: bool,
    /// The ratio σ/τ of the two steps, against the one that fits the curvature of the data term. More follows the
    /// measurements faster, less the damping.
    pub balance: f64,
}

impl Default for PrimalDualParams {
    fn default() -> Self {
        PrimalDualParams { max_iter: 300, damping: 0.0, non_negative: false, balance: 1.0 }
    }
}

/// The primal-dual method: argmin Σ d_i(A_i x, y_i) + ½ λ‖x‖², over x ≥ 0 if asked.
///
/// `q ← prox_{σF*}(q + σ A x̄)`, `x₊ ← prox_{τG}(x − τ Aᴴq)`, `x̄ ← 2x₊ − x`, with σ τ ‖A‖² ≤ 1. The dual variable `q` is cut over
/// the ranks like the measurements. It converges for convex fidelities; of the others (amplitude) it finds a point that no
/// small change improves, or none, and which one depends on the start.
///
/// Its relative optimality is the larger of ‖x − x₊‖ / τ against the largest ‖Aᴴq‖ or λ‖x‖ so far, and of ‖A x − w‖ against ‖y‖: where
/// both are zero, x is a minimum. The objective is not told while it is infinite; the residual of the iterates is.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, one scalar one. Memory: 3 vectors of the model (x,
/// its change, `Aᴴq`) and 4 of the measurements (q, w, `A x` twice). Cost of the start: 31 `AᴴA` at most. Errors:
/// `non_negative` of a complex model.
///
/// ```
/// use stackphys::recon::{DataTerm, PrimalDual, PrimalDualParams, fidelity::{AnyFidelity, L1}};
/// use stackphys::solver::{Progress, Solver, drive, stop};
/// use stackphys::{Shape, comm::Team, physics::Identity};
/// use stackphys::stack::{Description, FromFn, Stack};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new(
///     3,
///     |_| Ok(Description::new("measured again", line.clone(), line.clone())),
///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.as_mut_slice().copy_from_slice(&[1.0, 5.0, 2.0, 99.0, 3.0, 6.0]);
/// let term = DataTerm::new(&stack, &y, vec![AnyFidelity::L1(L1 {})]).unwrap();
/// let mut method = PrimalDual::new(&term, &PrimalDualParams::default(), None);
/// let rule = stop::any([stop::relative_optimality(1e-9), stop::iterations(300)]);
/// drive(&mut method, &*rule, &mut |_: &Progress| ()).unwrap();
/// let x = method.finish().unwrap(); // the median of each
/// assert!((x.as_slice()[0] - 2.0).abs() < 1e-6 && (x.as_slice()[1] - 6.0).abs() < 1e-6);
/// ```
pub struct PrimalDual<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    objective: Objective<'a, X, Y>,
    balance: f64,

    /// The iterate.
    x: Vector<X>,
    /// By how much the last step changed it.
    change: Vector<X>,
    /// `Aᴴq`.
    pulled: Vector<X>,
    /// The dual variable.
    q: Vector<Y>,
    /// `A x̄`; then where q is a gradient of the data term.
    w: Vector<Y>,
    /// `A x`.
    predicted: Vector<Y>,
    /// The same for the next x.
    predicted_next: Vector<Y>,

    iteration: usize,
    sigma: f64,
    tau: f64,
    look: Look,
    /// The largest ‖Aᴴq‖² or ‖λx‖² so far.
    largest_pull_squared: f64,
    relative_optimality: Option<f64>,
    relative_change: Option<f64>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> PrimalDual<'a, X, Y> {
    /// A run for a data term from a first guess, or from zero.
    pub fn new(term: &'a DataTerm<'a, X, Y>, params: &PrimalDualParams, first_guess: Option<Vector<X>>) -> Self {
        let stack = term.stack();
        let [q, w, predicted, predicted_next] = std::array::from_fn(|_| stack.zero_data());
        PrimalDual {
            objective: Objective::new(term, params.damping, params.non_negative),
            balance: params.balance,
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            change: stack.zero_model(),
            pulled: stack.zero_sum(),
            q,
            w,
            predicted,
            predicted_next,
            iteration: 0,
            sigma: 0.0,
            tau: 0.0,
            look: Look::default(),
            largest_pull_squared: 0.0,
            relative_optimality: None,
            relative_change: None,
        }
    }

    /// σ and τ with σ τ ‖A‖² ≤ 1 and, for a balance of 1, σ the curvature of the data term: q and A x then come along at the
    /// same pace whatever the units of the data.
    fn find_steps(&mut self) -> Result<(), Error> {
        let Objective { term, damping, .. } = &self.objective;
        let norm_squared = norm_squared_for_steps(term.stack())?;
        let steepness = term.steepness(&mut self.w)?;
        // a ball has no curvature, only the damping has; and without that any will do
        let candidates = [self.objective.relative_to_data(steepness), damping / norm_squared, 1.0];
        let curvature = candidates.into_iter().find(|curvature| is_positive(*curvature)).unwrap_or(1.0);
        self.sigma = curvature * self.balance.sqrt();
        self.tau = 1.0 / (self.sigma * norm_squared);
        Ok(())
    }

    /// `x ← prox_{τG}(x − τ Aᴴq)`, and by how much that changed x.
    fn descend(&mut self) {
        self.change.copy_from(&self.x);
        self.x.axpy(-self.tau, &self.pulled);
        self.x.scale(1.0 / (1.0 + self.tau * self.objective.damping));
        self.objective.project(&mut self.x);
        self.change.xpby(&self.x, -1.0);
    }

    /// How far x and q are from optimal, where the relative gradient in x is known.
    fn assess(&mut self, gradient: f64) {
        let distance = self.objective.relative_to_data(self.look.distance_squared);
        // a maximum would lose NaN
        self.relative_optimality = Some(if distance <= gradient { gradient } else { distance + 0.0 * gradient });
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration: self.iteration,
            relative_residual: self.objective.relative_residual(&self.look),
            objective: told(self.look.value),
            relative_optimality: self.relative_optimality,
            relative_change: self.relative_change,
            seconds: self.objective.term.stack().team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for PrimalDual<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        self.objective.start(Ok(()))?;
        self.find_steps()?;
        let term = self.objective.term;
        if self.objective.data_norm_squared == 0.0 {
            self.x.fill(X::default()); // nothing is known of the size of x
        }
        self.objective.project(&mut self.x);
        term.stack().forward_unsettled(&self.x, &mut self.predicted);
        self.w.copy_from(&self.predicted);
        term.prox_unsettled(&mut self.w, 1.0 / self.sigma);
        self.look = self.objective.look(&self.x, &self.predicted, Some(&self.w))?;
        // with q = 0 and nothing to compare with, the slope of the damping is all or nothing
        let [x_squared] = term.stack().team().dots([(&self.x, &self.x)])?;
        self.assess(if self.objective.damping * x_squared > 0.0 { 1.0 } else { 0.0 });
        self.w.copy_from(&self.predicted);
        Ok(self.progress(None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.tau == f64::INFINITY {
            return Ok(self.progress(Some("the norm of the operator is zero")));
        }
        let (term, sigma) = (self.objective.term, self.sigma);
        let (stack, team) = (term.stack(), term.stack().team());
        self.q.axpy(sigma, &self.w);
        self.w.copy_from(&self.q);
        self.w.scale(1.0 / sigma);
        term.prox_unsettled(&mut self.w, 1.0 / sigma);
        self.q.axpy(-sigma, &self.w);

        stack.adjoint(&self.q, &mut self.pulled)?;
        self.descend();

        stack.forward_unsettled(&self.x, &mut self.predicted_next);
        self.look = self.objective.look(&self.x, &self.predicted_next, Some(&self.w))?;
        self.w.copy_from(&self.predicted);
        self.w.xpby(&self.predicted_next, -1.0);
        self.w.axpy(1.0, &self.predicted_next);
        std::mem::swap(&mut self.predicted, &mut self.predicted_next);

        let [change_squared, x_squared, pull_squared] =
            team.dots([(&self.change, &self.change), (&self.x, &self.x), (&self.pulled, &self.pulled)])?;
        let damping_squared = self.objective.damping * self.objective.damping;
        self.largest_pull_squared = self.largest_pull_squared.max(pull_squared).max(damping_squared * x_squared);
        self.assess(relative(change_squared / (self.tau * self.tau), self.largest_pull_squared));
        self.relative_change = Some(relative(change_squared, x_squared));
        self.iteration += 1;
        Ok(self.progress(None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.objective.remember(memory);
        self.look.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("q", &mut self.q);
        memory.vector("w", &mut self.w);
        memory.vector("predicted", &mut self.predicted);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("sigma", &mut self.sigma),
            ("tau", &mut self.tau),
            ("largest_pull_squared", &mut self.largest_pull_squared),
        ]);
        memory.optional("relative_optimality", &mut self.relative_optimality);
        memory.optional("relative_change", &mut self.relative_change);
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for PrimalDual<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
