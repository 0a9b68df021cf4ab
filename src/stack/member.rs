//! One operator of a stack, as its owner calls it: guarded against panics, counted, timed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::comm::signs;
use crate::error::{Fault, Phase};
use crate::operator::{Apply, LinearOperator, Work};
use crate::scalar::Scalar;

/// How many guarded calls are running in this process. Process-wide, since a panic may start on a thread of the pool.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

/// Whether a panic that starts now is caught and becomes a fault. The hook that ends the job asks this.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))] // without MPI there is no such hook
pub(crate) fn panic_is_caught() -> bool {
    GUARDED.load(Ordering::SeqCst) > 0
}

/// Runs `call`; a panic becomes a fault.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    GUARDED.fetch_add(1, Ordering::SeqCst);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    GUARDED.fetch_sub(1, Ordering::SeqCst);
    outcome.unwrap_or_else(|panic| Err(Fault::new(format!("panicked: {}", text_of(&*panic)))))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// How often a member was applied, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub calls: AtomicU64,
    pub nanoseconds: AtomicU64,
}

/// An operator with its index in the stack.
pub(crate) struct Member<X: Scalar, Y: Scalar<Real = X::Real>> {
    pub index: usize,
    pub name: String,
    pub operator: Arc<dyn LinearOperator<X, Y>>,
    pub counters: Counters,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Member<X, Y> {
    pub fn new(index: usize, name: String, operator: Box<dyn LinearOperator<X, Y>>) -> Self {
        Member { index, name, operator: operator.into(), counters: Counters::default() }
    }

    /// The same operator as member `index` of another stack.
    pub fn at(&self, index: usize) -> Self {
        Member { index, name: self.name.clone(), operator: self.operator.clone(), counters: Counters::default() }
    }

    pub fn forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.call(Phase::Forward, |operator| operator.forward(x, y, work))
    }
    pub fn adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.call(Phase::Adjoint, |operator| operator.adjoint_add(y, x, work))
    }
    pub fn normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.call(Phase::Normal, |operator| operator.normal_add(x, out, work))
    }

    /// A fault names this member and the phase, also if it was a panic; its text says which operator by name, too.
    fn call(
        &self,
        phase: Phase,
        action: impl FnOnce(&dyn LinearOperator<X, Y>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let begin = Instant::now();
        let done = guarded(|| signs::call(phase, self.index, || action(&*self.operator))).map_err(|mut fault| {
            fault.text = format!("`{}`: {}", self.name, fault.text);
            fault.in_operator(self.index).in_phase(phase)
        });
        let Counters { calls, nanoseconds } = &self.counters;
        calls.fetch_add(1, Ordering::Relaxed);
        nanoseconds.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }
}
