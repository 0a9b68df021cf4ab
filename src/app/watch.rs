//! Who looks at an iteration: the display, the stream of events, checkpoints, and a clock and a meter that are read at its ends.

use std::time::Instant;

use serde_json::json;

use super::events::Events;
use super::progress::Display;
use crate::checkpoint::Checkpoints;
use crate::comm::{Kind, Traffic};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::solver::stop::Stop;
use crate::solver::{Keeper, Memory, Observer, Progress, Status};
use crate::stack::Stack;

/// The one observer of a job.
pub struct Watch<'a, 'c, S: Scalar> {
    display: Option<Display>,
    events: Events,
    stack: &'a Stack<S>,
    checkpoints: Option<&'a mut Checkpoints<'c>>,
    first: Option<Reading>,
    last: Option<Reading>,
    /// Seconds of each step, and of it in operators.
    took: Vec<[f64; 2]>,
    /// What checkpoints took and sent so far, which is not the iteration's.
    keeping: Kept,
}

/// What was done about checkpoints.
#[derive(Clone, Copy, Default)]
struct Kept {
    written: usize,
    sent: [Traffic; Kind::ALL.len()],
}

/// What this rank's clock and meter showed after an iteration.
#[derive(Clone, Copy)]
struct Reading {
    iteration: usize,
    at: Instant,
    in_operators: f64,
    sent: [Traffic; Kind::ALL.len()],
    in_keeping: f64,
}

/// What this rank did between the start of an iteration and its last step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Steps {
    /// How many there were.
    pub count: usize,
    /// Seconds of one: the median.
    pub seconds: f64,
    /// Seconds of one in operators: the median.
    pub in_operators: f64,
    /// What all of them sent, by kind.
    pub sent: [Traffic; Kind::ALL.len()],
}

impl<'a, 'c, S: Scalar> Watch<'a, 'c, S> {
    /// Looks at an iteration on a stack.
    pub fn new(
        display: Display,
        events: Events,
        stack: &'a Stack<S>,
        checkpoints: Option<&'a mut Checkpoints<'c>>,
    ) -> Self {
        Watch {
            display: Some(display),
            events,
            stack,
            checkpoints,
            first: None,
            last: None,
            took: Vec::new(),
            keeping: Kept::default(),
        }
    }

    /// What was seen, when the iteration is over. Collective: no.
    pub fn steps(&mut self) -> Steps {
        self.display = None;
        let (Some(first), Some(last)) = (self.first, self.last) else { return Steps::default() };
        Steps {
            count: last.iteration - first.iteration,
            seconds: median(self.took.iter().map(|[all, _]| *all)),
            in_operators: median(self.took.iter().map(|[_, in_operators]| *in_operators)),
            sent: std::array::from_fn(|kind| last.sent[kind].since(first.sent[kind])),
        }
    }

    /// Waits for a checkpoint that is still being written. Collective: yes.
    pub fn end(mut self) -> Result<(), Error> {
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.finish()?;
        }
        self.tell_checkpoints();
        Ok(())
    }

    /// How many checkpoints were written, and for how many seconds that held up the iteration.
    fn cost(&self) -> (usize, f64) {
        self.checkpoints.as_ref().map_or((0, 0.0), |checkpoints| checkpoints.cost())
    }

    fn tell_checkpoints(&mut self) {
        let (written, seconds) = self.cost();
        if written > self.keeping.written {
            self.keeping.written = written;
            let iteration = self.last.map_or(0, |last| last.iteration);
            self.events
                .tell("checkpoint", json!({ "at_iteration": iteration, "written": written, "held_up_s": seconds }));
        }
    }
}

impl<S: Scalar> Observer for Watch<'_, '_, S> {
    fn observe(&mut self, progress: &Progress) {
        if let Some(display) = &mut self.display {
            display.observe(progress);
        }
        self.events.tell("iteration", json!(progress));
        let sent = self.stack.team().meter().all();
        let reading = Reading {
            iteration: progress.iteration,
            at: Instant::now(),
            in_operators: self.stack.seconds().0,
            sent: std::array::from_fn(|kind| sent[kind].since(self.keeping.sent[kind])),
            in_keeping: self.cost().1,
        };
        if let Some(last) = self.last {
            let in_keeping = reading.in_keeping - last.in_keeping;
            let all = reading.at.duration_since(last.at).as_secs_f64() - in_keeping;
            self.took.push([all, reading.in_operators - last.in_operators]);
        }
        self.first.get_or_insert(reading);
        self.last = Some(reading);
    }
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        self.checkpoints.is_some().then_some(self as _)
    }
}

/// Checkpoints keep; what they take and send is counted apart.
impl<S: Scalar> Keeper for Watch<'_, '_, S> {
    fn goes_on(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.goes_on())
    }
    fn restore(&mut self, remember: &mut dyn FnMut(&mut dyn Memory)) -> Result<Option<Vec<Progress>>, Error> {
        self.checkpoints.as_mut().map_or(Ok(None), |checkpoints| checkpoints.restore(remember))
    }
    fn keep(
        &mut self,
        remember: &mut dyn FnMut(&mut dyn Memory),
        history: &[Progress],
    ) -> Result<Option<(Status, Stop)>, Error> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(None) };
        let before = self.stack.team().meter().all();
        let kept = checkpoints.keep(remember, history);
        let after = self.stack.team().meter().all();
        for (sum, (after, before)) in self.keeping.sent.iter_mut().zip(after.into_iter().zip(before)) {
            *sum = sum.and(after.since(before));
        }
        self.tell_checkpoints();
        kept
    }
}

/// The middle one of some numbers; zero of none.
pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = numbers.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
