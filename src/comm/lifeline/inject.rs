//! Faults on purpose, for tests: the environment variable `STACKPHYS_INJECT` says what goes wrong, where and when.
//!
//! `rank=1,operator=5,phase=forward,call=3,kind=hang`: rank 1 never returns from its third forward of operator 5. Without
//! `operator` it strikes at the beginning of a phase (`phase=load`), in `solve` also at each step. Without `phase` it
//! strikes in any; `rank` and `call` are 0 and 1 if left out. Nothing of a job without the variable is any different.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Fault, Phase};

/// The name of the variable.
pub const VARIABLE: &str = "STACKPHYS_INJECT";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The operator returns a fault.
    Fault,
    /// A panic.
    Panic,
    /// Never comes back.
    Hang,
    /// The process aborts, as C code does.
    Abort,
    /// The process exits, as C code should not.
    Exit,
    /// The process reads memory that is not there.
    Crash,
    /// The process asks for more memory than there is.
    Memory,
    /// The process is killed from outside.
    Kill,
    /// The process is stopped from outside.
    Stop,
    /// What started the process is killed.
    Launcher,
}

const KINDS: [(&str, Kind); 10] = [
    ("fault", Kind::Fault),
    ("panic", Kind::Panic),
    ("hang", Kind::Hang),
    ("abort", Kind::Abort),
    ("exit", Kind::Exit),
    ("crash", Kind::Crash),
    ("memory", Kind::Memory),
    ("kill", Kind::Kill),
    ("stop", Kind::Stop),
    ("launcher", Kind::Launcher),
];

#[derive(Debug)]
struct Injection {
    rank: usize,
    operator: Option<usize>,
    phase: Option<Phase>,
    call: usize,
    kind: Kind,
    calls: AtomicUsize,
}

static PLANNED: OnceLock<Injection> = OnceLock::new();

/// Plans what the environment asks of this rank. Collective: no. Faults: a text that is not understood.
pub fn plan(rank: usize) -> Result<(), Fault> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    if text.is_empty() {
        return Ok(());
    }
    let injection = parse(&text).map_err(|why| {
        Fault::new(format!("{VARIABLE}={text}: {why}"))
            .hint("it makes faults on purpose, for tests: rank=1,operator=5,phase=forward,call=3,kind=hang")
    })?;
    if injection.rank == rank {
        let _ = PLANNED.set(injection); // a second start in one process keeps the first
    }
    Ok(())
}

fn parse(text: &str) -> Result<Injection, String> {
    let number = |value: &str| value.parse::<usize>().map_err(|_| format!("`{value}` is not a number"));
    let (mut rank, mut operator, mut phase, mut call, mut kind) = (0, None, None, 1, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not key=value"))?;
        match key.trim() {
            "rank" => rank = number(value)?,
            "operator" => operator = Some(number(value)?),
            "call" => call = number(value)?,
            "phase" => {
                let known = serde_json::from_value(value.into()).map_err(|_| format!("there is no phase `{value}`"))?;
                phase = Some(known);
            }
            "kind" => {
                let known = KINDS.iter().find(|(name, _)| *name == value);
                kind = Some(known.ok_or_else(|| format!("there is no kind `{value}`"))?.1);
            }
            other => return Err(format!("unknown key `{other}`")),
        }
    }
    let kind = kind.ok_or("it says no `kind`")?;
    Ok(Injection { rank, operator, phase, call, kind, calls: AtomicUsize::new(0) })
}

/// Where a phase begins. A fault strikes operators only.
pub(super) fn strike_phase(phase: Phase) {
    let _ = strike(phase, None);
}

/// Does what is planned for this place, if anything is and its call has come.
pub(super) fn strike(phase: Phase, operator: Option<usize>) -> Result<(), Fault> {
    match PLANNED.get() {
        None => Ok(()),
        Some(injection) => injection.strike(phase, operator),
    }
}

impl Injection {
    #[cold]
    fn strike(&self, phase: Phase, operator: Option<usize>) -> Result<(), Fault> {
        if self.operator != operator || self.phase.is_some_and(|only| only != phase) {
            return Ok(());
        }
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 != self.call {
            return Ok(());
        }
        match self.kind {
            Kind::Fault => return Err(Fault::new("a fault on purpose")),
            Kind::Panic => panic!("a panic on purpose"),
            Kind::Abort => std::process::abort(),
            Kind::Exit => std::process::exit(7),
            Kind::Memory => drop(std::hint::black_box(Vec::<u8>::with_capacity(isize::MAX as usize))),
            // the first only takes a handler away, which would let the faulty instruction happen again
            Kind::Crash => (0..2).for_each(|_| signal(std::process::id(), libc::SIGSEGV)),
            Kind::Kill => signal(std::process::id(), libc::SIGKILL),
            Kind::Stop => signal(std::process::id(), libc::SIGSTOP),
            Kind::Launcher => signal(std::os::unix::process::parent_id(), libc::SIGKILL),
            Kind::Hang => {}
        }
        match self.kind {
            Kind::Stop | Kind::Launcher => Ok(()), // goes on where it is let
            _ => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
        }
    }
}

fn signal(process: u32, number: i32) {
    // SAFETY: sends a signal; touches no memory of this process
    unsafe { libc::kill(process as libc::pid_t, number) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        let Injection { rank, operator, phase, call, kind, .. } =
            parse("rank=1,operator=5,phase=forward,call=3,kind=hang").unwrap();
        assert_eq!((rank, operator, phase, call, kind), (1, Some(5), Some(Phase::Forward), 3, Kind::Hang));
        let Injection { rank, operator, phase, call, kind, .. } = parse("kind=kill,phase=load").unwrap();
        assert_eq!((rank, operator, phase, call, kind), (0, None, Some(Phase::Load), 1, Kind::Kill));
        for (text, why) in [
            ("", "`` is not key=value"),
            ("rank=x,kind=hang", "`x` is not a number"),
            ("kind=hnag", "there is no kind `hnag`"),
            ("kind=hang,phase=never", "there is no phase `never`"),
            ("rank=1", "it says no `kind`"),
            ("time=1,kind=hang", "unknown key `time`"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
    }

    #[test]
    fn it_strikes_once_at_the_call_that_was_asked_for() {
        let injection = parse("operator=2,phase=adjoint,call=2,kind=fault").unwrap();
        let faults = [
            (Phase::Adjoint, Some(2), false),
            (Phase::Forward, Some(2), false),
            (Phase::Adjoint, Some(1), false),
            (Phase::Adjoint, None, false),
            (Phase::Adjoint, Some(2), true),
            (Phase::Adjoint, Some(2), false),
        ];
        for (phase, operator, strikes) in faults {
            assert_eq!(injection.strike(phase, operator).is_err(), strikes);
        }
    }
}
