//! What every stack has, linear or smooth: a team, a plan, spaces, scratch, and the sum over operators.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::measured::expect;
use super::tree::Ordered;
use super::{BlockPlan, Description};
use crate::comm::{Summation, Team};
use crate::error::{Error, Fault, Phase};
use crate::operator::Work;
use crate::scalar::Scalar;
use crate::space::{Space, Vector};

/// The part of a stack that does not know what its operators can do. [`Stack`](super::Stack) and
/// [`SmoothStack`](super::SmoothStack) lend its methods.
pub struct Frame<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    team: Team,
    plan: BlockPlan,
    domain: Arc<Space>,
    range: Arc<Space>,
    /// This rank's operators among all, rising.
    local: Vec<usize>,
    scratch: RefCell<Scratch<X>>,
    seconds: Seconds,
    data: PhantomData<Y>,
}

struct Scratch<X> {
    work: Work,
    ordered: Ordered<X>,
    /// One number for each operator.
    numbers: Vec<f64>,
}

/// Where the time of a stack went, on this rank.
#[derive(Debug, Default)]
struct Seconds {
    operators: Cell<f64>,
    sums: Cell<f64>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Frame<X, Y> {
    /// The plan of a factory's members, agreed on. Collective: yes.
    pub(super) fn plan_of(
        team: &Team,
        count: usize,
        describe: impl Fn(usize) -> Result<Description, Fault>,
        options: super::PlanOptions,
    ) -> Result<BlockPlan, Error> {
        let members = (0..count).map(|index| describe(index).map_err(|fault| fault.in_operator(index)));
        let plan = members
            .collect::<Result<_, _>>()
            .and_then(|members| BlockPlan::new::<X>(members, team.size(), options))
            .map_err(|fault| fault.in_phase(Phase::Plan));
        team.agree(plan)
    }

    /// Checks that all ranks made the same plan, and builds this rank's members by `build`. Collective: yes.
    pub(super) fn build_members<M>(
        team: &Team,
        plan: &BlockPlan,
        mut build: impl FnMut(usize, &Description) -> Result<M, Fault>,
    ) -> Result<Vec<M>, Error> {
        // two numbers of 32 bits: an f64 holds them exactly
        let hash = plan.hash();
        let reduction = f64::from(team.reduction() as u8);
        let halves = [(hash >> 32) as f64, (hash & 0xffff_ffff) as f64, reduction];
        let same = team.max(halves) == team.min(halves);
        let differs = || {
            Fault::new("ranks made different plans")
                .in_phase(Phase::Plan)
                .hint("the factory's `describe` must answer alike on all ranks")
        };
        team.agree(if same { Ok(()) } else { Err(differs()) })?;
        let members = plan
            .owned_by(team.rank())
            .map(|(index, entry)| {
                super::guarded(|| build(index, &entry.description))
                    .map_err(|fault| fault.in_operator(index).in_phase(Phase::Build))
            })
            .collect::<Result<Vec<_>, _>>();
        let members = team.agree(members)?;
        team.through(); // finds out who shares a host, here where all ranks are together
        Ok(members)
    }

    pub(super) fn new(team: Team, plan: BlockPlan) -> Self {
        let ordered = Ordered::new(&plan.owners());
        Frame {
            domain: Space::replicated(plan.domain().clone()),
            range: Space::new(plan.data_blocks(), team.rank()),
            local: plan.owned_by(team.rank()).map(|(index, _)| index).collect(),
            team,
            plan,
            scratch: RefCell::new(Scratch { work: Work::default(), ordered, numbers: Vec::new() }),
            seconds: Seconds::default(),
            data: PhantomData,
        }
    }

    /// The ranks that this stack is spread over.
    pub fn team(&self) -> &Team {
        &self.team
    }
    /// Who owns what.
    pub fn plan(&self) -> &BlockPlan {
        &self.plan
    }
    /// The space of `x`.
    pub fn domain(&self) -> &Arc<Space> {
        &self.domain
    }
    /// The space of the measurements: one block for each operator.
    pub fn range(&self) -> &Arc<Space> {
        &self.range
    }
    /// How many operators there are, over all ranks.
    pub fn count(&self) -> usize {
        self.plan.entries().len()
    }
    /// This rank's operators among all, rising.
    pub fn local_indices(&self) -> &[usize] {
        &self.local
    }
    /// A zero vector of the model.
    pub fn zero_model(&self) -> Vector<X> {
        Vector::zeros(&self.domain)
    }
    /// A zero vector of the model to sum over operators into, in memory that ranks share where that can be had
    /// ([`Team::zero_sum`]): `adjoint` and `normal` into it are several times as fast. Collective: yes.
    pub fn zero_sum(&self) -> Vector<X> {
        self.team.zero_sum(&self.domain)
    }
    /// A zero vector of the data; it holds this rank's blocks.
    pub fn zero_data(&self) -> Vector<Y> {
        Vector::zeros(&self.range)
    }
    /// Calls that one sum over operators into a [`zero_sum`](Self::zero_sum) takes, and bytes that this rank puts into
    /// them: what the plan says by messages, nothing in shared memory. Collective: no.
    pub fn reduction(&self) -> (u64, u64) {
        match self.team.shared_bytes::<X>(self.domain.len()) {
            Some(bytes) => (1, bytes as u64),
            None => self.plan.reduction(self.team.rank()),
        }
    }
    /// Seconds that this rank spent in operators, and in sums over ranks.
    pub fn seconds(&self) -> (f64, f64) {
        (self.seconds.operators.get(), self.seconds.sums.get())
    }

    /// Does `action` on the clock of the operators. Collective: no.
    pub(super) fn in_operators(&self, action: impl FnOnce()) {
        let begin = Instant::now();
        action();
        add_seconds(&self.seconds.operators, begin);
    }

    /// Fills the block of each operator of this rank; a fault empties the block and is noted. Collective: no.
    ///
    /// `fill(argument, local, block, work)` is told the place among this rank's operators.
    pub(super) fn fill_blocks<A>(
        &self,
        y: &mut Vector<Y>,
        argument: Result<A, Fault>,
        fill: impl FnMut(&A, usize, &mut [Y], &mut Work) -> Result<(), Fault>,
    ) {
        self.fill(y, argument.and_then(|argument| self.expect_data(y, "y").map(|()| argument)), fill);
    }

    /// Fills a vector of parts by what `add_part(argument, local, block, work)` adds to zeros. Collective: yes, one scalar
    /// reduction, which settles.
    pub(super) fn fill_parts<A>(
        &self,
        parts: &mut Vector<X>,
        argument: Result<A, Fault>,
        mut add_part: impl FnMut(&A, usize, &mut [X], &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let expected = self.parts_space();
        let fits = argument.and_then(|argument| expect(parts.space(), &expected, "the result").map(|()| argument));
        self.fill(parts, fits, |argument, local, block, work| {
            block.fill(X::default());
            add_part(argument, local, block, work)
        });
        self.team.settle()
    }

    fn fill<S: Scalar, A>(
        &self,
        y: &mut Vector<S>,
        argument: Result<A, Fault>,
        mut fill: impl FnMut(&A, usize, &mut [S], &mut Work) -> Result<(), Fault>,
    ) {
        let begin = Instant::now();
        let work = &mut self.scratch.borrow_mut().work;
        let argument = match argument {
            Ok(argument) => argument,
            Err(fault) => return self.team.note(fault),
        };
        for (local, index) in self.local.iter().enumerate() {
            let Some(block) = y.block_slice_mut(*index) else { continue };
            if let Err(fault) = fill(&argument, local, block, work) {
                block.fill(S::default());
                self.team.note(fault.in_operator(*index));
            }
        }
        add_seconds(&self.seconds.operators, begin);
    }

    /// `out ← Σ` over all operators of what `add_term(argument, local, out, work)` adds, with the place among this rank's
    /// operators. A fault instead of an argument takes part in the sum.
    ///
    /// Collective: yes, one vector reduction, which settles.
    pub(super) fn sum_over_local<A>(
        &self,
        out: &mut Vector<X>,
        argument: Result<A, Fault>,
        mut add_term: impl FnMut(&A, usize, &mut [X], &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let _span = tracing::trace_span!("sum over operators").entered();
        let begin = Instant::now();
        let argument = argument.and_then(|argument| self.expect_model(out, "the result").map(|()| argument));
        let Scratch { work, ordered, .. } = &mut *self.scratch.borrow_mut();
        let argument = match argument {
            Ok(argument) => argument,
            Err(fault) => {
                self.team.note(fault);
                // the lengths that the others reduce follow from the plan, not from what was passed here
                return self.join_sum(ordered);
            }
        };
        match self.team.summation() {
            Summation::Fast => {
                out.fill(X::default());
                for local in 0..self.local.len() {
                    if let Err(fault) = add_term(&argument, local, out.as_mut_slice(), work) {
                        self.team.note(fault.in_operator(self.local[local]));
                    }
                }
                add_seconds(&self.seconds.operators, begin);
                let begin = Instant::now();
                let summed = self.team.sum_vector(out);
                add_seconds(&self.seconds.sums, begin);
                summed
            }
            Summation::Ordered => {
                let in_operators = Cell::new(0.0);
                let summed = ordered.sum(&self.team, out, |index, sum| {
                    let begin = Instant::now();
                    let local = self.local.binary_search(&index).unwrap_or_default();
                    let done = add_term(&argument, local, sum, work);
                    add_seconds(&in_operators, begin);
                    done
                });
                let all = begin.elapsed().as_secs_f64();
                self.seconds.operators.set(self.seconds.operators.get() + in_operators.get());
                self.seconds.sums.set(self.seconds.sums.get() + all - in_operators.get());
                summed
            }
        }
    }

    /// `out ← Σ` over all operators of what `add_term(index, out)` adds, with the index among all operators.
    ///
    /// Collective: yes, one vector reduction, which settles.
    pub(crate) fn sum_over_operators(
        &self,
        out: &mut Vector<X>,
        mut add_term: impl FnMut(usize, &mut [X]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        self.sum_over_local(out, Ok(()), |(), local, out, _| add_term(self.local[local], out))
    }

    /// Takes part in a sum with nothing but a pending fault.
    fn join_sum(&self, ordered: &mut Ordered<X>) -> Result<(), Error> {
        let mut nothing = self.zero_model();
        match self.team.summation() {
            Summation::Fast => self.team.sum_vector(&mut nothing),
            Summation::Ordered => ordered.sum(&self.team, &mut nothing, |_, _| Ok(())),
        }
    }

    /// A zero for each operator, in memory that is used again.
    pub(super) fn take_numbers(&self) -> Vec<f64> {
        let mut numbers = std::mem::take(&mut self.scratch.borrow_mut().numbers);
        numbers.clear();
        numbers.resize(self.count(), 0.0);
        numbers
    }
    /// Gives that memory back.
    pub(super) fn give_numbers(&self, numbers: Vec<f64>) {
        self.scratch.borrow_mut().numbers = numbers;
    }

    /// A fault if a vector is not one of the model.
    pub(super) fn expect_model(&self, x: &Vector<X>, what: &str) -> Result<(), Fault> {
        expect(x.space(), &self.domain, what)
    }
    /// A fault if a vector is not one of the data.
    pub(crate) fn expect_data(&self, y: &Vector<Y>, what: &str) -> Result<(), Fault> {
        expect(y.space(), &self.range, what)
    }
}

fn add_seconds(to: &Cell<f64>, since: Instant) {
    to.set(to.get() + since.elapsed().as_secs_f64());
}
