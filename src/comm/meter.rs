//! What was sent: calls and bytes by kind. Tests assert it, the report prints it.

use std::cell::Cell;
use std::time::Instant;

use serde::Serialize;

/// What a collective was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A sum of vectors.
    VectorReduction,
    /// A sum, maximum or minimum of a few numbers.
    ScalarReduction,
    /// Parts brought together.
    Gather,
    /// Parts exchanged between pairs, by all ranks together.
    Exchange,
    /// A message from this rank to another one.
    Message,
    /// One rank's numbers given to all.
    Broadcast,
    /// Faults: a settled call, or the slow path after a raised flag.
    Agreement,
    /// Waiting for each other.
    Barrier,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::VectorReduction,
        Kind::ScalarReduction,
        Kind::Gather,
        Kind::Exchange,
        Kind::Message,
        Kind::Broadcast,
        Kind::Agreement,
        Kind::Barrier,
    ];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::VectorReduction => "vector_reduction",
            Kind::ScalarReduction => "scalar_reduction",
            Kind::Gather => "gather",
            Kind::Exchange => "exchange",
            Kind::Message => "message",
            Kind::Broadcast => "broadcast",
            Kind::Agreement => "agreement",
            Kind::Barrier => "barrier",
        }
    }
}

/// Calls and bytes of one kind. Bytes are those that this rank put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// How often.
    pub calls: u64,
    /// How much.
    pub bytes: u64,
}

impl Traffic {
    /// What came since an earlier reading.
    pub fn since(self, before: Traffic) -> Traffic {
        Traffic { calls: self.calls - before.calls, bytes: self.bytes - before.bytes }
    }
    /// Both together.
    pub fn and(self, other: Traffic) -> Traffic {
        Traffic { calls: self.calls + other.calls, bytes: self.bytes + other.bytes }
    }
}

/// A counter of calls and bytes for each [`Kind`]. A team of one rank sends nothing and counts what it would have called.
#[derive(Debug, Default)]
pub struct Meter {
    counts: [Cell<Traffic>; Kind::ALL.len()],
    seconds: Cell<f64>,
}

/// Adds the time until it is dropped to that of a meter.
pub(super) struct Clock<'m> {
    meter: &'m Meter,
    begin: Instant,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        self.meter.seconds.set(self.meter.seconds.get() + self.begin.elapsed().as_secs_f64());
    }
}

impl Meter {
    pub(super) fn count(&self, kind: Kind, bytes: usize) {
        let cell = &self.counts[kind as usize];
        let Traffic { calls, bytes: before } = cell.get();
        cell.set(Traffic { calls: calls + 1, bytes: before + bytes as u64 });
    }
    /// What is done while the result lives is on the clock of calls.
    pub(super) fn clock(&self) -> Clock<'_> {
        Clock { meter: self, begin: Instant::now() }
    }

    /// Seconds of this rank in collective calls, in which it also waits for the others.
    pub fn seconds(&self) -> f64 {
        self.seconds.get()
    }

    /// What was sent of one kind so far.
    pub fn of(&self, kind: Kind) -> Traffic {
        self.counts[kind as usize].get()
    }

    /// What was sent so far, of all kinds.
    pub fn all(&self) -> [Traffic; Kind::ALL.len()] {
        Kind::ALL.map(|kind| self.of(kind))
    }
}
