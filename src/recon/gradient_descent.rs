//! Gradient descent for smooth data fidelities, projected onto x ≥ 0 if asked; no Lipschitz constant is needed.
//!
//! Reference: E. G. Birgin, J. M. Martínez and M. Raydan, "Nonmonotone spectral projected gradient methods on convex sets",
//! SIAM J. Optim. 10 (2000), algorithm SPG2: the step of J. Barzilai and J. M. Borwein, IMA J. Numer. Anal. 8 (1988), and the
//! non-monotone line search of L. Grippo, F. Lampariello and S. Lucidi, SIAM J. Numer. Anal. 23 (1986). Their absolute
//! limits of the step are left out, so that the scale of the data changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DataTerm;
use super::data_term::Look;
use super::objective::{Objective, told};
use crate::error::{Error, Fault};
use crate::scalar::{Real, Scalar};
use crate::solver::{Memory, Method, Progress, Solver, relative};
use crate::space::Vector;

/// Parameters of gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradientDescentParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds ½ λ‖x‖² to the data term. With plain least squares that is the λ of the other methods.
    pub damping: f64,
    /// Only x ≥ 0.
    pub non_negative: bool,
    /// The step size τ of x ← P(x − τ∇f(x)), without a line search; it converges below 2 over the largest curvature of f.
    /// Left out: steps by Barzilai and Borwein with a line search, which need no such knowledge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
}

impl Default for GradientDescentParams {
    fn default() -> Self {
        GradientDescentParams { max_iter: 100, damping: 0.0, non_negative: false, step: None }
    }
}

/// So many values of f are remembered: a step need not lower the last, only the largest of them. The authors take ten; with
/// fewer the residual is smoother, which is better where stopping early is the regularisation.
const MEMORY: usize = 4;

/// The part of the promised decrease that a step must bring.
const DECREASE: f64 = 1e-4;

/// Gradient descent `x ← P(x − τ∇f(x))`: argmin Σ d_i(A_i x, y_i) + ½ λ‖x‖², over x ≥ 0 if asked.
///
/// For fidelities that have a gradient; [`PrimalDual`](super::PrimalDual) does without. It starts from a first guess, or
/// from zero; where the data term is infinite there (counts without background) or flat (amplitudes), from the one constant
/// image that predicts measurements of the size of the data. A step that leads out of the domain of the data term is taken
/// back by half.
///
/// Its relative optimality is ‖∇f(x)‖, without the parts that x ≥ 0 forbids to follow, against that at the start without a
/// guess. Of plain least squares that is the relative normal residual.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction and one scalar one; each trial that is taken back
/// costs another `A` and another scalar reduction. Memory: 4 vectors of the model (x, trial, gradient, direction) and one of
/// the measurements. Errors: a fidelity without a gradient; `non_negative` of a complex model.
///
/// ```
/// use stackphys::recon::{DataTerm, GradientDescent, GradientDescentParams, fidelity::{AnyFidelity, Poisson}};
/// use stackphys::solver::{Progress, Solver, drive, stop};
/// use stackphys::{Shape, comm::Team, physics::Diagonal};
/// use stackphys::stack::{Description, FromFn, Stack};
/// let line = Shape::new([("x", 3)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
///     |_| Ok(Box::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 4.0])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut counts = stack.zero_data();
/// counts.as_mut_slice().copy_from_slice(&[3.0, 0.0, 8.0]);
/// let term = DataTerm::new(&stack, &counts, vec![AnyFidelity::Poisson(Poisson::default())]).unwrap();
/// let params = GradientDescentParams { non_negative: true, ..Default::default() };
/// let mut descent = GradientDescent::new(&term, &params, None);
/// let rule = stop::any([stop::relative_optimality(1e-9), stop::iterations(100)]);
/// drive(&mut descent, &*rule, &mut |_: &Progress| ()).unwrap();
/// let x = descent.finish().unwrap();
/// assert!(x.as_slice().iter().zip([3.0, 0.0, 2.0]).all(|(x, expected)| (x - expected).abs() < 1e-7));
/// ```
pub struct GradientDescent<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    objective: Objective<'a, X, Y>,
    fixed_step: Option<f64>,
    first_guess: Option<Vector<X>>,

    /// The iterate.
    x: Vector<X>,
    /// `x + α d`.
    trial: Vector<X>,
    /// `∇f(x)`.
    gradient: Vector<X>,
    /// `d = P(x − τ∇f(x)) − x`.
    direction: Vector<X>,
    /// What x or the trial predicts; then the gradients of the fidelities there.
    predicted: Vector<Y>,

    iteration: usize,
    tau: f64,
    /// At x.
    look: Look,
    /// The last values of f.
    recent: [f64; MEMORY],
    optimality_squared: f64,
    optimality_squared_at_start: f64,
    relative_change: Option<f64>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> GradientDescent<'a, X, Y> {
    /// A descent for a data term from a first guess, or from where the method starts without one.
    pub fn new(term: &'a DataTerm<'a, X, Y>, params: &GradientDescentParams, first_guess: Option<Vector<X>>) -> Self {
        let stack = term.stack();
        GradientDescent {
            objective: Objective::new(term, params.damping, params.non_negative),
            fixed_step: params.step,
            first_guess,
            x: stack.zero_model(),
            trial: stack.zero_model(),
            gradient: stack.zero_sum(),
            direction: stack.zero_model(),
            predicted: stack.zero_data(),
            iteration: 0,
            tau: 0.0,
            look: Look::default(),
            recent: [f64::NEG_INFINITY; MEMORY],
            optimality_squared: 0.0,
            optimality_squared_at_start: 0.0,
            relative_change: None,
        }
    }

    /// f and its gradient at x. Where f is infinite there is no gradient.
    fn arrive(&mut self) -> Result<(), Error> {
        self.objective.term.stack().forward_unsettled(&self.x, &mut self.predicted);
        self.look = self.objective.look(&self.x, &self.predicted, None)?;
        if self.look.value == f64::INFINITY { Ok(()) } else { self.differentiate() }
    }

    /// The gradient at x, which predicts `predicted`.
    fn differentiate(&mut self) -> Result<(), Error> {
        let Objective { term, damping, non_negative, .. } = &self.objective;
        term.gradient_of(&mut self.predicted, &mut self.gradient)?;
        self.gradient.axpy(*damping, &self.x);
        let mut allowed = &self.gradient;
        if *non_negative {
            // the trial is made anew before it is looked at
            self.trial.copy_from(&self.gradient);
            for (g, x) in self.trial.as_mut_slice().iter_mut().zip(self.x.as_slice()) {
                *g = if x.re() <= 0.0 && g.re() > 0.0 { X::default() } else { *g };
            }
            allowed = &self.trial;
        }
        [self.optimality_squared] = term.stack().team().dots([(allowed, allowed)])?;
        Ok(())
    }

    /// Goes to where the method starts without a first guess.
    fn go_to_start(&mut self) -> Result<(), Error> {
        let Objective { term, data_norm_squared, .. } = &self.objective;
        let is_flat = *data_norm_squared > 0.0 && term.fidelities().iter().any(|fidelity| fidelity.is_flat_at_zero());
        let (stack, data_norm) = (term.stack(), data_norm_squared.sqrt());
        if !is_flat {
            self.arrive()?;
        }
        if is_flat || self.look.value == f64::INFINITY {
            self.x.fill(X::from_f64(1.0));
            stack.forward_unsettled(&self.x, &mut self.predicted);
            let norm = stack.team().norm(&self.predicted)?;
            self.x.scale(if norm == 0.0 { 0.0 } else { data_norm / norm });
            self.arrive()?;
        }
        Ok(())
    }

    /// A first step that surely is long enough: it moves what is predicted by as much as the data.
    fn first_step(&mut self) -> Result<f64, Error> {
        let stack = self.objective.term.stack();
        stack.forward_unsettled(&self.gradient, &mut self.predicted);
        let [moved] = stack.team().dots([(&self.predicted, &self.predicted)])?;
        Ok(1.0 / (self.objective.relative_to_data(moved) + self.objective.damping))
    }

    /// How long a part of the direction to go: α, or why there is none. Leaves the trial and what it predicts.
    fn search(&mut self, slope: f64) -> Result<Result<f64, &'static str>, Error> {
        let ceiling = self.recent.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut alpha = 1.0;
        loop {
            self.trial.copy_from(&self.x);
            self.trial.axpy(alpha, &self.direction);
            self.objective.term.stack().forward_unsettled(&self.trial, &mut self.predicted);
            let look = self.objective.look(&self.trial, &self.predicted, None)?;
            let (before, after) = (self.look.value, look.value);
            let enough = ceiling + DECREASE * alpha * slope + self.rounding();
            if after <= enough || after.is_nan() || (self.fixed_step.is_some() && after.is_finite()) {
                self.look = look;
                return Ok(Ok(alpha));
            }
            if self.fixed_step.is_some() {
                return Ok(Err(
                    "the step leads out of the domain of the data term: make `step` smaller, or leave it out",
                ));
            }
            // to the minimum of the parabola through what is known, within reason
            let parabola = -0.5 * alpha * slope / (after - before - alpha * slope);
            alpha *= if after.is_finite() { parabola.clamp(0.1, 0.5) } else { 0.5 };
            if alpha < X::Real::EPSILON {
                return Ok(Err(match after.is_finite() {
                    true => "no step lowers the objective: only rounding is left",
                    false => "every step leads out of the domain of the data term: its minimum is at the border",
                }));
            }
        }
    }

    /// What rounding may do to f: that of `A x` in this precision, times the slope of the fidelities, which is about f over
    /// the residual.
    fn rounding(&self) -> f64 {
        let Look { value, residual_squared, .. } = self.look;
        let inverse =
            if residual_squared == 0.0 { 0.0 } else { (self.objective.data_norm_squared / residual_squared).sqrt() };
        16.0 * X::Real::EPSILON * value * (1.0 + inverse)
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration: self.iteration,
            relative_residual: self.objective.relative_residual(&self.look),
            objective: told(self.look.value),
            relative_optimality: Some(relative(self.optimality_squared, self.optimality_squared_at_start)),
            relative_change: self.relative_change,
            seconds: self.objective.term.stack().team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for GradientDescent<'_, X, Y> {
    fn start(&mut self) -> Result<Progress, Error> {
        let rough = self.objective.term.fidelities().iter().find(|fidelity| !fidelity.is_smooth());
        self.objective.start(rough.map_or(Ok(()), |rough| Err(no_gradient(rough.kind()))))?;
        self.go_to_start()?;
        let has_start = self.look.value != f64::INFINITY;
        self.optimality_squared_at_start = self.optimality_squared;
        // a start that is a minimum is the answer, whatever the guess: that of zero data
        let is_minimum = has_start && self.optimality_squared == 0.0;
        if let Some(guess) = self.first_guess.take().filter(|_| !is_minimum) {
            self.x = guess;
            self.objective.project(&mut self.x);
            self.arrive()?;
            if !has_start {
                self.optimality_squared_at_start = self.optimality_squared;
            }
        }
        if self.look.value == f64::INFINITY {
            let why = "the data term is infinite at the start: give a first guess that predicts possible measurements";
            return Ok(Progress { relative_optimality: None, ..self.progress(Some(why)) });
        }
        self.recent[0] = self.look.value;
        self.tau = match self.fixed_step {
            Some(step) => step,
            None => self.first_step()?,
        };
        Ok(self.progress(None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.optimality_squared == 0.0 {
            return Ok(self.progress(Some("the gradient is zero")));
        }
        let team = self.objective.term.stack().team();
        self.direction.copy_from(&self.gradient);
        self.direction.scale(-self.tau);
        if self.objective.non_negative {
            for (d, x) in self.direction.as_mut_slice().iter_mut().zip(self.x.as_slice()) {
                *d = if d.re() < -x.re() { -*x } else { *d };
            }
        }
        let [slope, length_squared] =
            team.dots([(&self.gradient, &self.direction), (&self.direction, &self.direction)])?;
        let alpha = match self.search(slope)? {
            Ok(alpha) => alpha,
            Err(why) => return Ok(self.progress(Some(why))),
        };
        std::mem::swap(&mut self.x, &mut self.trial);
        self.differentiate()?;
        let [slope_there, x_squared] = team.dots([(&self.gradient, &self.direction), (&self.x, &self.x)])?;
        if self.fixed_step.is_none() {
            // ⟨s, s⟩ / ⟨s, Δ∇f⟩ of the step s = α d; where f is not convex along it, far
            let bend = slope_there - slope;
            self.tau = if bend > 0.0 { alpha * length_squared / bend } else { 10.0 * self.tau };
        }
        self.relative_change = Some(relative(alpha * alpha * length_squared, x_squared));
        self.iteration += 1;
        self.recent[self.iteration % MEMORY] = self.look.value;
        Ok(self.progress(None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        self.objective.remember(memory);
        self.look.remember(memory);
        memory.vector("x", &mut self.x);
        memory.vector("gradient", &mut self.gradient);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("tau", &mut self.tau),
            ("optimality_squared", &mut self.optimality_squared),
            ("optimality_squared_at_start", &mut self.optimality_squared_at_start),
        ]);
        memory.scalars(self.recent.iter_mut().map(|value| ("recent", value)));
        memory.optional("relative_change", &mut self.relative_change);
    }
}

/// What is wrong with a fidelity for this method.
pub(crate) fn no_gradient(kind: &str) -> Fault {
    Fault::new(format!("the fidelity `{kind}` has no gradient everywhere, which gradient descent needs"))
        .hint("use method = { kind = \"primal_dual\" }")
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for GradientDescent<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
