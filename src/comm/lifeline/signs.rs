//! Signs of life: what this process is doing, in a few atomic words that its watch reads now and then.
//!
//! Whoever does something *shows* it: the phase of the job, the operator that a thread has called, that the rank waits for
//! others. A word holds what is shown and a turn that grows with each change. So a sign costs two stores (no clock, no lock,
//! no allocation), and it is the watch that says since when: as long as it has seen the same turn. The words belong to the
//! process, since a thread of the pool may show a sign; ranks that are threads of one process write over each other's, and
//! nobody watches those.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::inject;
use crate::error::{Fault, Phase};

/// Threads of a process that can show an operator each; more share the signs of others.
const THREADS: usize = 128;

/// What is shown and the turn, in the lower and the upper half. A line of the cache each, for threads do not share them.
#[repr(align(64))]
struct Word(AtomicU64);

static PHASE: Word = Word(AtomicU64::new(0));
static WAITS: Word = Word(AtomicU64::new(0));
static CALLS: [Word; THREADS] = [const { Word(AtomicU64::new(0)) }; THREADS];
/// Threads that have shown an operator.
static CALLERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CALLER: usize = CALLERS.fetch_add(1, Ordering::Relaxed) % THREADS;
}

const NOTHING: u32 = 0;
const PHASES: [Phase; 13] = [
    Phase::Config,
    Phase::Open,
    Phase::Plan,
    Phase::Build,
    Phase::Load,
    Phase::Forward,
    Phase::Adjoint,
    Phase::Normal,
    Phase::Linearize,
    Phase::Derivative,
    Phase::Solve,
    Phase::Checkpoint,
    Phase::Write,
];
/// Bits of a phase; those of an operator are behind them. Operators with larger numbers are shown without one.
const PHASE_BITS: u32 = 4;

fn code(phase: Phase, operator: Option<usize>) -> u32 {
    let operator = operator.and_then(|index| u32::try_from(index + 1).ok()).filter(|one| *one < 1 << (32 - PHASE_BITS));
    (phase as u32 + 1) | (operator.unwrap_or(0) << PHASE_BITS)
}

fn decode(code: u32) -> (Option<Phase>, Option<usize>) {
    let phase = (code & ((1 << PHASE_BITS) - 1)) as usize;
    let operator = (code >> PHASE_BITS) as usize;
    (phase.checked_sub(1).and_then(|phase| PHASES.get(phase).copied()), operator.checked_sub(1))
}

impl Word {
    /// Shows something else, or the same once more; returns what was shown before.
    fn show(&self, what: u32) -> u32 {
        let before = self.0.load(Ordering::Relaxed); // one writer each
        self.0.store(((before >> 32) + 1) << 32 | u64::from(what), Ordering::Relaxed);
        before as u32
    }
}

/// Something that this process is doing until this is dropped.
#[must_use = "what is shown ends when this is dropped"]
pub(crate) struct Sign {
    word: &'static Word,
    shown: u32,
    before: u32,
}

impl Sign {
    fn new(word: &'static Word, shown: u32) -> Self {
        Sign { word, shown, before: word.show(shown) }
    }

    /// Says that it goes on: a time limit starts anew.
    pub fn again(&self) {
        self.word.show(self.shown);
        if let (Some(phase), None) = decode(self.shown) {
            inject::strike_phase(phase);
        }
    }
}

impl Drop for Sign {
    fn drop(&mut self) {
        self.word.show(self.before);
    }
}

/// Shows a phase of the job. Collective: no.
pub(crate) fn during(phase: Phase) -> Sign {
    let sign = Sign::new(&PHASE, code(phase, None));
    inject::strike_phase(phase);
    sign
}

/// Shows that this rank waits for others. Collective: no.
pub(crate) fn waiting() -> Sign {
    Sign::new(&WAITS, 1)
}

/// Shows the call of an operator, and does it. Collective: no.
pub(crate) fn call<T>(phase: Phase, operator: usize, action: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let _sign = Sign::new(&CALLS[CALLER.with(|caller| *caller)], code(phase, Some(operator)));
    inject::strike(phase, Some(operator))?;
    action()
}

/// What a process is doing, and for how long already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Doing {
    pub phase: Option<Phase>,
    /// The operator that has been at work for the longest time.
    pub operator: Option<usize>,
    /// Whether it waits for others in a collective call.
    pub waits: bool,
    /// Seconds since anything has changed; of an operator since it was called.
    pub seconds: f64,
}

/// Reads the words of this process, by a clock of the caller's.
pub(super) struct Reader {
    seen: Vec<(u64, f64)>,
}

impl Reader {
    pub fn new() -> Self {
        Reader { seen: vec![(0, 0.0); THREADS + 2] }
    }

    pub fn read(&mut self, now: f64) -> Doing {
        let mut latest = 0.0_f64;
        for (word, (value, since)) in [&PHASE, &WAITS].into_iter().chain(&CALLS).zip(&mut self.seen) {
            let shown = word.0.load(Ordering::Relaxed);
            if shown != *value {
                (*value, *since) = (shown, now);
            }
            latest = latest.max(*since);
        }
        let [phase, waits, calls @ ..] = &self.seen[..] else { return Doing::default() };
        let at_work = calls.iter().filter(|(value, _)| *value as u32 != NOTHING);
        if let Some((value, since)) = at_work.min_by(|a, b| a.1.total_cmp(&b.1)) {
            let (phase, operator) = decode(*value as u32);
            return Doing { phase, operator, waits: false, seconds: now - since };
        }
        let waits_here = waits.0 as u32 != NOTHING;
        let since = if waits_here { waits.1 } else { latest };
        Doing { phase: decode(phase.0 as u32).0, operator: None, waits: waits_here, seconds: now - since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_phase_and_operator() {
        for (number, phase) in PHASES.into_iter().enumerate() {
            assert_eq!(phase as usize, number);
            for operator in [None, Some(0), Some(5), Some((1 << 28) - 2)] {
                assert_eq!(decode(code(phase, operator)), (Some(phase), operator));
            }
            assert_eq!(decode(code(phase, Some((1 << 28) - 1))), (Some(phase), None)); // too large to be shown
        }
        assert_eq!(decode(NOTHING), (None, None));
    }

    #[test]
    fn a_word_counts_its_turns_and_a_sign_gives_back_what_was_shown() {
        static WORD: Word = Word(AtomicU64::new(u64::MAX << 32 | 3)); // the last turn
        let outer = Sign::new(&WORD, 7);
        assert_eq!(WORD.0.load(Ordering::Relaxed), 7);
        let inner = Sign::new(&WORD, 8);
        drop(inner);
        assert_eq!(WORD.0.load(Ordering::Relaxed), 2 << 32 | 7);
        drop(outer);
        assert_eq!(WORD.0.load(Ordering::Relaxed), 3 << 32 | 3);
    }
}
