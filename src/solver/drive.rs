//! The one loop of all methods: stop rules first, then observers, then a step.
//!
//! Stop rules see only numbers that are equal on all ranks, so all ranks stop at the same step. They are asked before the
//! first step too: an exact first guess costs no step.

use serde::{Deserialize, Serialize};

use super::memory::Memory;
use super::stop::{self, Status, Stop, StopRule};
use crate::comm::Team;
use crate::error::Error;

/// Where a method stands after a step. All numbers are equal on all ranks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done so far.
    pub iteration: usize,
    /// ‖A x − y‖ / ‖y‖, where the method knows it.
    pub relative_residual: Option<f64>,
    /// ‖Aᴴ(A x − y) + λ x‖ / ‖Aᴴ y‖, where the method knows it.
    pub relative_normal_residual: Option<f64>,
    /// ‖b − H v‖ / ‖b‖ of the Hermitian system, where that is not the residual of the normal equations.
    pub relative_system_residual: Option<f64>,
    /// What is minimised, where the method knows it and where it is finite.
    pub objective: Option<f64>,
    /// How far the iterate is from the conditions of a minimum, as a part of the same at the start: see the method.
    pub relative_optimality: Option<f64>,
    /// An estimate of the condition number of A, where the method makes one.
    pub condition: Option<f64>,
    /// The number that is sought, for methods that seek one (the squared norm).
    pub value: Option<f64>,
    /// |change of the value| / |value| in this step; of a method that seeks x by its objective, ‖change of x‖ / ‖x‖.
    pub relative_change: Option<f64>,
    /// The error bar of the sought value, as a part of it.
    pub relative_error_bar: Option<f64>,
    /// Seconds since the team was made, by rank 0's clock.
    pub seconds: f64,
    /// Why the method cannot go on, if it cannot.
    #[serde(skip_deserializing)] // a method that broke down does not go on
    pub breakdown: Option<&'static str>,
}

impl Progress {
    /// The numbers that a stop rule may look at.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> {
        let residuals = [self.relative_residual, self.relative_normal_residual, self.relative_system_residual];
        residuals.into_iter().chain([self.value, self.objective, self.relative_optimality]).flatten()
    }
}

/// An iterative method. See [`Cg`](super::Cg) for the pattern.
pub trait Method {
    /// Makes what follows from the stack alone, before the start or before a state is put back. Collective: yes.
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Prepares the first iterate. Collective: yes.
    fn start(&mut self) -> Result<Progress, Error>;
    /// Does one step. Collective: yes.
    fn step(&mut self) -> Result<Progress, Error>;
    /// The ranks that work on it, for a method whose step may send nothing: it then asks them for the time.
    fn team(&self) -> Option<&Team> {
        None
    }
    /// Names all that a step needs of the steps before: [`Memory`] keeps it, or puts it back into a method that was made in
    /// the same way and not started. Collective: yes.
    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.nothing();
    }
}

/// Something that looks at each step and may not stop it: a progress bar, a log, a history.
pub trait Observer {
    /// Called after the start and after each step, on every rank. Must not communicate.
    fn observe(&mut self, progress: &Progress);
    /// One that also keeps the state of the method.
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        None
    }
}

impl<F: FnMut(&Progress)> Observer for F {
    fn observe(&mut self, progress: &Progress) {
        self(progress);
    }
}

/// Keeps the state of an iteration, so that another run can go on from there. All ranks have one.
pub trait Keeper {
    /// Whether there is a state to go on from. Equal on all ranks.
    fn goes_on(&self) -> bool;
    /// Puts back what was kept, if there is something, and returns the steps that led there. `remember` hands a memory to
    /// the method. Collective: yes.
    fn restore(&mut self, remember: &mut dyn FnMut(&mut dyn Memory)) -> Result<Option<Vec<Progress>>, Error>;
    /// Called after the start and after each step that went well, with all steps so far: keeps the state if that is due.
    /// Returns why to stop, if somebody asked for it, alike on all ranks. Collective: yes.
    fn keep(
        &mut self,
        remember: &mut dyn FnMut(&mut dyn Memory),
        history: &[Progress],
    ) -> Result<Option<(Status, Stop)>, Error>;
}

/// How an iteration ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Whether it got where it should.
    pub status: Status,
    /// The rule that stopped it, and why, in words.
    pub stop: Stop,
    /// Where it stood at the start and after each step.
    pub history: Vec<Progress>,
}

impl Outcome {
    /// Steps done.
    pub fn iterations(&self) -> usize {
        self.history.len() - 1
    }
    /// Where it stood at the end.
    pub fn last(&self) -> &Progress {
        &self.history[self.history.len() - 1]
    }
}

/// Runs a method until a rule stops it, or until it breaks down: a method that cannot go on ends whatever the rules say. Where
/// the observer has a [`Keeper`] with a state, it goes on from there.
/// A step that broke down before it changed the iterate does not count: its progress takes the place of the last one.
///
/// Collective: yes. Cost: that of the method's steps; the loop itself sends nothing, but the time, where a rule or a keeper reads the
/// clock and the step sent nothing that it could travel with. Errors: those of the method. That a
/// tolerance was not reached is no error: see [`Outcome::status`].
///
/// ```
/// use stackphys::solver::{Method, Progress, drive, stop};
/// struct Halve(f64, usize);
/// impl Method for Halve {
///     fn start(&mut self) -> Result<Progress, stackphys::Error> { Ok(self.progress()) }
///     fn step(&mut self) -> Result<Progress, stackphys::Error> { self.0 /= 2.0; self.1 += 1; Ok(self.progress()) }
/// }
/// impl Halve {
///     fn progress(&self) -> Progress {
///         Progress { iteration: self.1, relative_residual: Some(self.0), ..Progress::default() }
///     }
/// }
/// let rule = stop::any([stop::relative_residual(0.2), stop::iterations(10)]);
/// let outcome = drive(&mut Halve(1.0, 0), &*rule, &mut |_: &Progress| ()).unwrap();
/// assert_eq!((outcome.iterations(), outcome.stop.rule), (3, "relative residual"));
/// ```
pub fn drive(
    method: &mut (impl Method + ?Sized),
    rule: &dyn StopRule,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut history = Vec::with_capacity(rule.most_iterations().unwrap_or(0).min(1 << 16) + 1);
    method.prepare()?;
    let restored = match observer.keeper() {
        Some(keeper) => keeper.restore(&mut |memory| method.remember(memory))?,
        None => None,
    };
    let mut progress = match restored.and_then(|mut steps| steps.pop().map(|last| (steps, last))) {
        Some((steps, last)) => {
            history.extend(steps);
            last
        }
        None => method.start()?,
    };
    loop {
        let is_new = history.last().is_none_or(|last: &Progress| last.iteration < progress.iteration);
        if is_new {
            observer.observe(&progress);
        } else {
            history.pop();
        }
        let stop = rule.check(&progress).or_else(|| stop::breakdown().check(&progress));
        history.push(progress);
        let went_well = !matches!(stop, Some((Status::Breakdown | Status::NotANumber, _)));
        let asked = match observer.keeper().filter(|_| went_well) {
            Some(keeper) => keeper.keep(&mut |memory| method.remember(memory), &history)?,
            None => None,
        };
        if let Some((status, stop)) = stop.or(asked) {
            return Ok(Outcome { status, stop, history });
        }
        let sent = method.team().map(Team::agreements);
        progress = method.step()?;
        if (rule.reads_clock() || observer.keeper().is_some())
            && let Some(team) = method.team().filter(|team| sent == Some(team.agreements()))
        {
            team.settle()?;
            progress.seconds = team.seconds();
        }
    }
}
