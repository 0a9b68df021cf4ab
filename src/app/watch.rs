//! Who looks at an iteration: the display, the stream of events, and a clock and a meter that are read at its ends.

use std::time::Instant;

use serde_json::json;

use super::events::Events;
use super::progress::Display;
use crate::comm::{Kind, Traffic};
use crate::scalar::Scalar;
use crate::solver::{Observer, Progress};
use crate::stack::Stack;

/// The one observer of a job.
pub struct Watch<'a, S: Scalar> {
    display: Display,
    events: Events,
    stack: &'a Stack<S>,
    first: Option<Reading>,
    last: Option<Reading>,
}

/// What this rank's clock and meter showed after an iteration.
#[derive(Clone, Copy)]
struct Reading {
    iteration: usize,
    at: Instant,
    in_operators: f64,
    sent: [Traffic; Kind::ALL.len()],
}

/// What this rank did between the start of an iteration and its last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// How many there were.
    pub count: usize,
    /// Seconds of all of them.
    pub seconds: f64,
    /// Of these, seconds in operators.
    pub in_operators: f64,
    /// What was sent, by kind.
    pub sent: [Traffic; Kind::ALL.len()],
}

impl<'a, S: Scalar> Watch<'a, S> {
    /// Looks at an iteration on a stack.
    pub fn new(display: Display, events: Events, stack: &'a Stack<S>) -> Self {
        Watch { display, events, stack, first: None, last: None }
    }

    /// What was seen. Collective: no.
    pub fn steps(&self) -> Steps {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Steps { count: 0, seconds: 0.0, in_operators: 0.0, sent: Default::default() };
        };
        let between = |kind: usize| Traffic {
            calls: last.sent[kind].calls - first.sent[kind].calls,
            bytes: last.sent[kind].bytes - first.sent[kind].bytes,
        };
        Steps {
            count: last.iteration - first.iteration,
            seconds: last.at.duration_since(first.at).as_secs_f64(),
            in_operators: last.in_operators - first.in_operators,
            sent: std::array::from_fn(between),
        }
    }
}

impl<S: Scalar> Observer for Watch<'_, S> {
    fn observe(&mut self, progress: &Progress) {
        self.display.observe(progress);
        self.events.tell("iteration", json!(progress));
        let reading = Reading {
            iteration: progress.iteration,
            at: Instant::now(),
            in_operators: self.stack.seconds().0,
            sent: self.stack.team().meter().all(),
        };
        self.first.get_or_insert(reading);
        self.last = Some(reading);
    }
}
