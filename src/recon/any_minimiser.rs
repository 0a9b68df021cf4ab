//! The registry of methods that minimise a data term: what a config can name, and the one place that starts them.

use super::DataTerm;
use super::gradient_descent::{GradientDescent, GradientDescentParams};
use super::primal_dual::{PrimalDual, PrimalDualParams};
use crate::error::Error;
use crate::kinds::kinds;
use crate::scalar::Scalar;
use crate::solver::stop::StopRule;
use crate::solver::{Observer, Outcome, Solver, StepCalls, StepMessages, drive};
use crate::space::Vector;

kinds! {
    /// A method that minimises a data term, with its parameters.
    pub enum AnyMinimiser by "kind" {
        "gradient_descent" => GradientDescent(GradientDescentParams),
        "primal_dual" => PrimalDual(PrimalDualParams),
    }
}

impl From<GradientDescentParams> for AnyMinimiser {
    fn from(params: GradientDescentParams) -> Self {
        AnyMinimiser::GradientDescent(params)
    }
}

impl From<PrimalDualParams> for AnyMinimiser {
    fn from(params: PrimalDualParams) -> Self {
        AnyMinimiser::PrimalDual(params)
    }
}

impl AnyMinimiser {
    /// Name and one line for each method, for `stackphys list methods`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] = &[
        ("gradient_descent", "smooth fidelities: Barzilai-Borwein steps with a line search; may keep x ≥ 0"),
        ("primal_dual", "all fidelities, by their proximal maps (Chambolle-Pock); may keep x ≥ 0"),
    ];

    /// The largest number of iterations.
    pub fn most_iterations(&self) -> usize {
        match self {
            Self::GradientDescent(params) => params.max_iter,
            Self::PrimalDual(params) => params.max_iter,
        }
    }
    /// λ: half of it is how much ‖x‖² counts.
    pub fn damping(&self) -> f64 {
        match self {
            Self::GradientDescent(params) => params.damping,
            Self::PrimalDual(params) => params.damping,
        }
    }
    /// Whether only x ≥ 0 is allowed.
    pub fn non_negative(&self) -> bool {
        match self {
            Self::GradientDescent(params) => params.non_negative,
            Self::PrimalDual(params) => params.non_negative,
        }
    }
    /// Vectors that a solve holds: of the model, and of the measurements (beside the data).
    pub fn vectors(&self) -> [u64; 2] {
        match self {
            Self::GradientDescent(_) => [4, 1],
            Self::PrimalDual(_) => [3, 4],
        }
    }
    /// Of these, the vectors that a checkpoint keeps.
    pub fn kept_vectors(&self) -> [u64; 2] {
        match self {
            Self::GradientDescent(_) => [2, 0],
            Self::PrimalDual(_) => [1, 3],
        }
    }
    /// What one step asks of the ranks; a trial that gradient descent takes back asks for one `A x` and one sum of numbers more.
    pub fn calls(&self) -> StepCalls {
        let damped = self.damping() > 0.0;
        let step = StepCalls { adjoints: 1, forwards: 1, row_numbers: &[3], settles: 1, ..StepCalls::default() };
        match self {
            Self::GradientDescent(params) => {
                // the slope, ‖x‖² where it is in the objective, the gradient's length, the step's
                let model_dots: &[u64] = match (damped, params.non_negative) {
                    (false, false) => &[2, 1, 2],
                    (true, false) => &[2, 1, 1, 2],
                    (false, true) => &[2, 2],
                    (true, true) => &[2, 1, 2],
                };
                StepCalls { model_dots, ..step }
            }
            Self::PrimalDual(_) => {
                let model_dots: &[u64] = if damped { &[1, 3] } else { &[3] };
                StepCalls { model_dots, ..step }
            }
        }
    }
    /// What one step sends where every rank holds all of `x`.
    pub fn messages(&self) -> StepMessages {
        self.calls().messages()
    }

    /// Minimises a data term. Collective: yes. Cost and errors: those of the method.
    pub fn solve<X: Scalar, Y: Scalar<Real = X::Real>>(
        &self,
        term: &DataTerm<X, Y>,
        first_guess: Option<Vector<X>>,
        rule: &dyn StopRule,
        observer: &mut dyn Observer,
    ) -> Result<(Vector<X>, Outcome), Error> {
        match self {
            Self::GradientDescent(params) => run(GradientDescent::new(term, params, first_guess), rule, observer),
            Self::PrimalDual(params) => run(PrimalDual::new(term, params, first_guess), rule, observer),
        }
    }
}

fn run<X>(
    mut method: impl Solver<X>,
    rule: &dyn StopRule,
    observer: &mut dyn Observer,
) -> Result<(Vector<X>, Outcome), Error> {
    let outcome = drive(&mut method, rule, observer)?;
    Ok((method.finish()?, outcome))
}
