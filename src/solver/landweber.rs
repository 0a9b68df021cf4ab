//! Landweber's iteration: gradient descent with a fixed step. With row and column weights it is SIRT.
//!
//! Reference: L. Landweber, Am. J. Math. 73 (1951); M. Bertero and P. Boccacci, "Introduction to inverse problems in
//! imaging", section 6.1; the weights by A. van der Sluis and H. A. van der Vorst, Linear Algebra Appl. 130 (1990).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Method, Progress};
use super::memory::Memory;
use super::power::{Power, PowerParams};
use super::precondition::Sums;
use super::system::{Solver, relative};
use super::{drive, stop};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// Parameters of Landweber's iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LandweberParams {
    /// The largest number of iterations. In inverse problems this is the regularisation: fewer are smoother.
    pub max_iter: usize,
    /// λ ≥ 0: adds λ‖x‖² to what is minimised. In units of ‖A‖² (of the weighted operator, with weights).
    pub damping: f64,
    /// The step size; the iteration converges below 2/(‖A‖² + λ). Left out: 1/(‖A‖² + λ), by a short power iteration
    /// before the solve; with `weights = "sums"` 1/(1 + λ), which needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Weights of measurements and of the model.
    pub weights: LandweberWeights,
}

impl Default for LandweberParams {
    fn default() -> Self {
        LandweberParams { max_iter: 100, damping: 0.0, step: None, weights: LandweberWeights::None }
    }
}

/// Weights of Landweber's iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LandweberWeights {
    /// x ← x + ω Aᴴ(y − A x).
    #[default]
    None,
    /// SIRT: x ← x + ω C Aᵀ R (y − A x), with R and C one over the row sums A1 and the column sums Aᵀ1 of a non-negative
    /// operator. It minimises the weighted ‖R^½(A x − y)‖².
    Sums,
}

/// Landweber's iteration `x ← x + ω (Aᴴ(y − A x) − λx)`: argmin ‖A x − y‖² + λ‖x‖², slowly. Or SIRT, with weights.
///
/// Collective: yes. Cost of a step: one `A`, one `Aᴴ`, one vector reduction, one scalar one. Memory: 2 vectors of the model
/// (x, gradient); with weights one more, and 2 of the measurements. Cost of the start without a given step: 20 `AᴴA`.
///
/// ```
/// use stackphys::{comm::Team, physics::Diagonal, solver::{Landweber, LandweberParams, Progress, Solver, drive, stop}};
/// use stackphys::{Shape, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 3)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("weights", line.clone(), line.clone())),
///     |_| Ok(Box::new(Diagonal::new([("x", 3)], vec![2.0, 3.0, 4.0])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut y = stack.zero_data();
/// y.fill(4.0);
/// let params = LandweberParams { step: Some(1.0 / 16.0), ..Default::default() };
/// let mut landweber = Landweber::new(&stack, &params, &y, None);
/// drive(&mut landweber, &*stop::iterations(100), &mut |_: &Progress| ()).unwrap();
/// assert!((landweber.finish().unwrap().as_slice()[0] - 2.0).abs() < 1e-10);
/// ```
pub struct Landweber<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    stack: &'a Stack<X, Y>,
    data: &'a Vector<Y>,
    damping: f64,
    step: Option<f64>,
    first_guess: bool,
    wants_weights: bool,
    weights: Option<Weights<X, Y>>,

    /// The iterate.
    x: Vector<X>,
    /// `Aᴴ(A x − y) + λx`, with weights `AᵀR(A x − y) + λx`.
    gradient: Vector<X>,

    iteration: usize,
    omega: f64,
    residual_squared: f64,
    gradient_squared: f64,
    data_norm_squared: f64,
    normal_data_norm_squared: f64,
}

struct Weights<X, Y> {
    /// R, one over the row sums.
    rows: Vector<Y>,
    /// C, one over the column sums.
    columns: Vector<X>,
    /// `R(A x − y)`.
    residual: Vector<Y>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Landweber<'a, X, Y> {
    /// A solve for the measurements `data` from a first guess, or from zero.
    pub fn new(
        stack: &'a Stack<X, Y>,
        params: &LandweberParams,
        data: &'a Vector<Y>,
        first_guess: Option<Vector<X>>,
    ) -> Self {
        Landweber {
            stack,
            data,
            damping: params.damping,
            step: params.step,
            first_guess: first_guess.is_some(),
            wants_weights: params.weights == LandweberWeights::Sums,
            weights: None,
            x: first_guess.unwrap_or_else(|| stack.zero_model()),
            gradient: stack.zero_sum(),
            iteration: 0,
            omega: 0.0,
            residual_squared: 0.0,
            gradient_squared: 0.0,
            data_norm_squared: 0.0,
            normal_data_norm_squared: 0.0,
        }
    }

    /// The step that is sure to converge. Collective: yes.
    fn find_step(&self) -> Result<f64, Error> {
        if let Some(step) = self.step {
            return Ok(step);
        }
        if self.weights.is_some() {
            return Ok(1.0 / (1.0 + self.damping)); // the spectral radius of C Aᵀ R A is at most 1
        }
        // a Rayleigh quotient is below ‖A‖², but 20 steps leave it nowhere near half of it
        let mut power = Power::new(self.stack, &PowerParams::default());
        let rule = stop::any([stop::not_a_number(), stop::breakdown(), stop::iterations(20)]);
        let outcome = drive(&mut power, &*rule, &mut |_: &Progress| ())?;
        let norm_squared = outcome.last().value.unwrap_or(0.0) + self.damping;
        Ok(if norm_squared == 0.0 { 0.0 } else { 1.0 / norm_squared })
    }

    /// The gradient at x, and its norm.
    fn look(&mut self) -> Result<(), Error> {
        let team = self.stack.team();
        match &mut self.weights {
            None => self.residual_squared = self.stack.residual(&self.x, self.data, &mut self.gradient)?,
            Some(Weights { rows, residual, .. }) => {
                self.stack.forward_unsettled(&self.x, residual);
                residual.axpy(-1.0, self.data);
                [self.residual_squared] = team.dots([(&*residual, &*residual)])?;
                multiply(rows, residual);
                self.stack.adjoint_unsettled(residual, &mut self.gradient)?;
            }
        }
        self.gradient.axpy(self.damping, &self.x);
        [self.gradient_squared] = team.dots([(&self.gradient, &self.gradient)])?;
        Ok(())
    }

    fn progress(&self, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration: self.iteration,
            relative_residual: Some(relative(self.residual_squared, self.data_norm_squared)),
            relative_normal_residual: Some(relative(self.gradient_squared, self.normal_data_norm_squared)),
            seconds: self.stack.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Method for Landweber<'_, X, Y> {
    fn prepare(&mut self) -> Result<(), Error> {
        if self.wants_weights {
            let Sums { mut rows, mut columns } = Sums::of(self.stack)?;
            invert(&mut rows);
            invert(&mut columns);
            self.weights = Some(Weights { rows, columns, residual: self.stack.zero_data() });
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Progress, Error> {
        let team = self.stack.team();
        [self.data_norm_squared] = team.dots([(self.data, self.data)])?;
        if self.data_norm_squared == 0.0 {
            self.x.fill(X::default()); // of zero data the solution is zero, whatever the guess
        } else {
            self.omega = self.find_step()?;
        }
        match &mut self.weights {
            None => self.stack.adjoint_unsettled(self.data, &mut self.gradient)?,
            Some(Weights { rows, residual, .. }) => {
                residual.copy_from(self.data);
                multiply(rows, residual);
                self.stack.adjoint_unsettled(residual, &mut self.gradient)?;
            }
        }
        [self.normal_data_norm_squared] = team.dots([(&self.gradient, &self.gradient)])?;
        if self.first_guess {
            self.look()?;
        } else {
            self.gradient.scale(-1.0);
            (self.residual_squared, self.gradient_squared) = (self.data_norm_squared, self.normal_data_norm_squared);
        }
        Ok(self.progress(None))
    }

    fn step(&mut self) -> Result<Progress, Error> {
        if self.omega == 0.0 {
            return Ok(self.progress(Some("the step is zero: the norm of the operator is")));
        }
        if let Some(Weights { columns, .. }) = &self.weights {
            multiply(columns, &mut self.gradient);
        }
        self.x.axpy(-self.omega, &self.gradient);
        self.look()?;
        self.iteration += 1;
        Ok(self.progress(None))
    }

    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.vector("x", &mut self.x);
        memory.vector("gradient", &mut self.gradient);
        memory.count("iteration", &mut self.iteration);
        memory.scalars([
            ("omega", &mut self.omega),
            ("residual_squared", &mut self.residual_squared),
            ("gradient_squared", &mut self.gradient_squared),
            ("data_norm_squared", &mut self.data_norm_squared),
            ("normal_data_norm_squared", &mut self.normal_data_norm_squared),
        ]);
    }
}

/// `to ← by ⊙ to`. Collective: no.
fn multiply<S: Scalar>(by: &Vector<S>, to: &mut Vector<S>) {
    for (to, by) in to.as_mut_slice().iter_mut().zip(by.as_slice()) {
        *to *= *by;
    }
}

/// `of ← 1 / of`, and zero where it is zero: a row or column that nothing crosses. Collective: no.
fn invert<S: Scalar>(of: &mut Vector<S>) {
    for value in of.as_mut_slice() {
        if *value != S::default() {
            *value = S::from_f64(1.0) / *value;
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Solver<X> for Landweber<'_, X, Y> {
    fn finish(self) -> Result<Vector<X>, Error> {
        Ok(self.x)
    }
}
