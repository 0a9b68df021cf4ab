//! The solve of a job: where it starts, which rules stop it, the method, and what is true of its answer.

use super::given::Given;
use super::resolve::{Measurements, Resolved};
use crate::checkpoint::{Found, read_vector};
use crate::config::{FirstGuess, Job, PseudoInverseMode, Solve, SolveMethod};
use crate::error::{Error, Fault, Phase};
use crate::recon::{AnyFormula, DataTerm, Loss, Minimum, minimise};
use crate::scalar::Scalar;
use crate::solver::{
    AnyMethod, Exact, NormSquaredEstimate, Normal, Observer, Outcome, Progress, PseudoInverse, Solution, Start, Status,
    norm_squared, pseudo_inverse, stop, true_residuals, with_trouble_rules,
};
use crate::space::Vector;
use crate::stack::Stack;

/// The answer of a job.
pub struct Solved<S> {
    /// The same on all ranks.
    pub x: Vector<S>,
    /// How the iteration ended; the local mean has none that is global, a formula none at all.
    pub outcome: Option<Outcome>,
    /// What it is, where there is no outcome.
    pub approximation: &'static str,
    /// ‖A x − y‖ / ‖y‖, computed from x.
    pub true_relative_residual: f64,
    /// ‖Aᴴ(A x − y) + λx‖ / ‖Aᴴ y‖, computed from x; of methods for least squares.
    pub true_relative_normal_residual: Option<f64>,
    /// What was minimised, computed from x; of methods for data fidelities, where it is finite.
    pub true_objective: Option<f64>,
    /// ‖A‖², if the config asks for it.
    pub norm_squared: Option<f64>,
}

impl<S> Solved<S> {
    /// Where the method stood at the start and after each step.
    pub fn steps(&self) -> &[Progress] {
        self.outcome.as_ref().map_or(&[], |outcome| &outcome.history)
    }

    /// Status, rule and reason of the end.
    pub fn ending(&self) -> (Status, &'static str, String) {
        match &self.outcome {
            Some(Outcome { status, stop, .. }) => (*status, stop.rule, stop.reason.clone()),
            None => {
                let normal_residual = self.true_relative_normal_residual.unwrap_or(f64::NAN);
                let reason = format!("an approximation; its global normal residual is {normal_residual:.3e} of ‖Aᴴy‖");
                (Status::LimitReached, self.approximation, reason)
            }
        }
    }
}

impl<S> From<Solution<S>> for Solved<S> {
    fn from(solution: Solution<S>) -> Self {
        Solved {
            x: solution.x,
            outcome: solution.outcome,
            approximation: "local mean",
            true_relative_residual: solution.true_relative_residual,
            true_relative_normal_residual: Some(solution.true_relative_normal_residual),
            true_objective: None,
            norm_squared: None,
        }
    }
}

impl<S> From<Minimum<S>> for Solved<S> {
    fn from(minimum: Minimum<S>) -> Self {
        Solved {
            x: minimum.x,
            outcome: Some(minimum.outcome),
            approximation: "",
            true_relative_residual: minimum.true_relative_residual,
            true_relative_normal_residual: None,
            true_objective: minimum.true_objective,
            norm_squared: None,
        }
    }
}

/// Makes sure that a first guess that the config names is there and fits. Collective: no.
pub fn check_first_guess(job: &Job) -> Result<(), Fault> {
    named_guess(job).map_or(Ok(()), |guess| guess.check(&job.model.dims))
}

fn named_guess(job: &Job) -> Option<Given<'_>> {
    match &job.solve.first_guess {
        Some(FirstGuess::Path(path)) => Some(Given { key: "solve.first_guess", path, like: "model" }),
        _ => None,
    }
}

/// The answer, and the squared norm if the config asks for it. Collective: yes.
pub fn solve<S: Scalar>(
    stack: &Stack<S>,
    resolved: &Resolved,
    measurements: &Measurements<S>,
    iterate: Option<&Found>,
    observer: &mut dyn Observer,
) -> Result<Solved<S>, Error> {
    let (team, job) = (stack.team(), resolved.job);
    let goes_on = observer.keeper().is_some_and(|keeper| keeper.goes_on());
    let named = named_guess(job).filter(|_| !goes_on);
    let guess = match (iterate, named) {
        (Some(found), _) => {
            let mut x = stack.zero_model();
            read_vector(team, found, "x", &mut x)?;
            Some(x)
        }
        (None, Some(given)) => {
            let read = super::model::read_model(stack, resolved, &given);
            Some(team.agree(read.map_err(|fault| fault.in_phase(Phase::Load)))?)
        }
        (None, None) => match &job.solve.first_guess {
            Some(FirstGuess::Formula(formula)) if !goes_on => Some(by_formula(stack, resolved, measurements, formula)?),
            _ => None,
        },
    };
    let mut solved: Solved<S> = match &job.solve.method {
        SolveMethod::LeastSquares(method) => {
            warn_of_floor::<S>(job, method);
            let rule = rules(job, team.seconds());
            let how = how(job, method.clone());
            pseudo_inverse(stack, &measurements.y, &how, guess, &*rule, observer)?.into()
        }
        SolveMethod::Minimiser(method) => {
            let term = data_term(stack, resolved, measurements)?;
            let rule = rules(job, team.seconds());
            minimise(&term, method, guess, &*rule, observer)?.into()
        }
        SolveMethod::Formula(formula) => {
            let x = by_formula(stack, resolved, measurements, formula)?;
            let (residual, normal_residual) = true_residuals(stack, &x, &measurements.y, 0.0)?;
            Solved {
                x,
                outcome: None,
                approximation: formula.kind(),
                true_relative_residual: residual,
                true_relative_normal_residual: Some(normal_residual),
                true_objective: None,
                norm_squared: None,
            }
        }
    };
    if let Some(Outcome { status: Status::NotANumber, stop, .. }) = &solved.outcome {
        team.agree(Err(Fault::new(&stop.reason).in_phase(Phase::Solve)))?;
    }
    let was_stopped = solved.outcome.as_ref().is_some_and(|outcome| outcome.status == Status::Stopped);
    if let Some(norm) = job.norm.as_ref().filter(|_| !was_stopped) {
        solved.norm_squared = match norm_squared(stack, &norm.method.clone().into(), &mut |_: &Progress| ())? {
            NormSquaredEstimate::Value { value, .. } => Some(value),
            NormSquaredEstimate::Bounds { .. } => None,
        };
    }
    Ok(solved)
}

/// What a formula gives: the sum of what it makes of each operator's measurements. Collective: yes, one vector reduction.
fn by_formula<S: Scalar>(
    stack: &Stack<S>,
    resolved: &Resolved,
    measurements: &Measurements<S>,
    formula: &AnyFormula,
) -> Result<Vector<S>, Error> {
    let mut x = stack.zero_sum();
    stack.sum_over_operators(&mut x, |index, sum| {
        let row = stack.plan().entries()[index].row;
        let block = measurements.y.block_slice(row);
        let block = block.ok_or_else(|| Fault::new("the measurements are not on this rank").in_operator(index))?;
        resolved.invert_add(formula, index, block, sum)
    })?;
    Ok(x)
}

/// The fidelities of the terms on the stack. Collective: yes.
fn data_term<'a, S: Scalar>(
    stack: &'a Stack<S>,
    resolved: &Resolved,
    measurements: &'a Measurements<S>,
) -> Result<DataTerm<'a, S>, Error> {
    let term = DataTerm::new(stack, &measurements.y, resolved.fidelities(stack)?)?;
    Ok(match resolved.job.solve.loss {
        Loss::Sum => term,
        // over the operators of the config: into how many parts they are cut changes nothing
        Loss::Mean => term.with_weight(1.0 / resolved.job.operators().count() as f64),
    })
}

/// All rules of a config; trouble is looked for first.
fn rules(job: &Job, begin: f64) -> stop::BoxedRule {
    let Solve { tolerance, wall_time_s, method, .. } = &job.solve;
    let rules = [
        tolerance.relative_residual.map(stop::relative_residual),
        tolerance.relative_normal_residual.map(stop::relative_normal_residual),
        tolerance.relative_optimality.map(stop::relative_optimality),
        tolerance.relative_change.map(stop::relative_change),
        tolerance.relative_system_residual.map(stop::relative_system_residual),
        wall_time_s.map(|seconds| stop::wall_time(begin + seconds)),
        Some(stop::iterations(method.most_iterations())),
    ];
    with_trouble_rules(rules.into_iter().flatten())
}

fn how(job: &Job, method: AnyMethod) -> PseudoInverse {
    let at_mean = job.solve.first_guess == Some(FirstGuess::LocalMean);
    match job.solve.pseudo_inverse {
        PseudoInverseMode::Exact => PseudoInverse::Exact(Exact {
            method,
            preconditioner: job.solve.preconditioner.clone(),
            start: if at_mean { Start::LocalMean } else { Start::Zero },
        }),
        PseudoInverseMode::LocalMean => PseudoInverse::LocalMean(method),
    }
}

/// Warns of a tolerance that the method's residual cannot reach in this precision.
fn warn_of_floor<S: Scalar>(job: &Job, method: &AnyMethod) {
    let floor = if method.residual_has_a_floor() { Normal::<S>::residual_resolution() } else { 0.0 };
    if let Some(asked) = job.solve.tolerance.relative_residual.filter(|asked| *asked < floor) {
        tracing::warn!(
            "a relative residual of {asked:.1e} cannot be told from {floor:.1e} in {}: that rule will not stop the solve; \
             use f64, the method \"cgls\", or a tolerance on the normal residual",
            S::NAME
        );
    }
}
