//! What every stack has, linear or smooth: a team, a plan, spaces, scratch, and the sum over operators.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::measured::expect;
use super::sharing::Sharing;
use super::tree::Ordered;
use super::window::Window;
use super::{BlockPlan, Description};
use crate::comm::{Summation, Team};
use crate::error::{Error, Fault, Phase};
use crate::operator::Work;
use crate::scalar::Scalar;
use crate::space::{Shape, Space, Vector, add};

/// The part of a stack that does not know what its operators can do. [`Stack`](super::Stack) and
/// [`SmoothStack`](super::SmoothStack) lend its methods.
pub struct Frame<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    team: Team,
    plan: BlockPlan,
    domain: Arc<Space>,
    range: Arc<Space>,
    /// This rank's operators among all, rising; what of `x` each of them reads, and to what of the measurements it adds.
    local: Vec<usize>,
    reads: Vec<Window>,
    writes: Vec<Window>,
    scratch: RefCell<Scratch<X, Y>>,
    seconds: Seconds,
    data: PhantomData<Y>,
}

struct Scratch<X, Y> {
    work: Work,
    sums: Sums<X>,
    /// Where blocks of measurements are the sums of several operators'.
    rows: Option<Sharing<Y>>,
    /// One number for each block of measurements.
    numbers: Vec<f64>,
}

/// How sums over operators are made.
#[allow(clippy::large_enum_variant)] // one for each stack
enum Sums<X> {
    /// Every rank holds all of `x`: one reduction, or one ordered sum.
    Whole(Ordered<X>),
    /// Each rank holds blocks of `x`: among those that share a block.
    Blocks(Sharing<X>),
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
        blocks: Vec<Shape>,
        count: usize,
        describe: impl Fn(usize) -> Result<Description, Fault>,
        options: super::PlanOptions,
    ) -> Result<BlockPlan, Error> {
        let members = (0..count).map(|index| describe(index).map_err(|fault| fault.in_operator(index)));
        let plan = members
            .collect::<Result<_, _>>()
            .and_then(|members| BlockPlan::with_blocks::<X>(blocks, members, team.size(), options))
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

    /// Collective: where blocks are shared by some of the ranks; then a split for each set of ranks that shares some.
    pub(super) fn new(team: Team, plan: BlockPlan) -> Self {
        let owners = plan.owners();
        let domain = Space::new(plan.model_blocks(), team.rank());
        let range = Space::new(plan.data_blocks(), team.rank());
        let entries = || plan.owned_by(team.rank());
        let columns = plan.columns().len();
        let scratch = Scratch {
            work: Work::default(),
            sums: match plan.columns() {
                [_] => Sums::Whole(Ordered::new(&owners)),
                columns => Sums::Blocks(Sharing::new(&team, columns, &domain, &owners)),
            },
            rows: plan.sums_in_rows().then(|| Sharing::new(&team, plan.rows(), &range, &owners)),
            numbers: Vec::new(),
        };
        Frame {
            local: entries().map(|(index, _)| index).collect(),
            reads: entries().map(|(_, entry)| Window::new(&entry.description.reads_of(columns), &domain)).collect(),
            writes: entries().map(|(_, entry)| Window::new(&[entry.row], &range)).collect(),
            domain,
            range,
            team,
            plan,
            scratch: RefCell::new(scratch),
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
    /// The space of the measurements: one block for each operator, or for each row of operators.
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
    /// How many blocks of measurements there are: as many as operators, or as rows of operators that are summed.
    pub fn blocks(&self) -> usize {
        self.plan.rows().len()
    }
    /// The blocks of measurements that this rank holds, rising: those of its operators.
    pub fn local_blocks(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.range.blocks().len()).filter(|block| self.range.local(*block).is_some())
    }
    /// Whether it is this rank that speaks for a block of measurements, of all that hold it.
    pub(crate) fn speaks_for(&self, block: usize) -> bool {
        self.range.blocks()[block].placement.owner() == self.team.rank()
    }
    /// What one of this rank's operators adds to, by its place among them. Collective: no.
    pub(super) fn row<'y>(&self, local: usize, y: &'y Vector<Y>) -> &'y [Y] {
        y.block_slice(self.plan.entries()[self.local[local]].row).unwrap_or_default()
    }
    /// Hands what one of this rank's operators reads to `read`, by its place among them. Collective: no.
    pub(super) fn read<T>(
        &self,
        local: usize,
        x: &Vector<X>,
        work: &mut Work,
        read: impl FnOnce(&[X], &mut Work) -> T,
    ) -> T {
        self.reads[local].read(x.as_slice(), work, read)
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

    /// Fills the block of each operator of this rank; a fault empties the block and is noted. Collective: no; where blocks are
    /// sums of several operators' among the ranks that share them.
    ///
    /// `fill(argument, local, block, work)` is told the place among this rank's operators.
    pub(super) fn fill_blocks<A>(
        &self,
        y: &mut Vector<Y>,
        argument: Result<A, Fault>,
        mut fill: impl FnMut(&A, usize, &mut [Y], &mut Work) -> Result<(), Fault>,
    ) {
        let argument = argument.and_then(|argument| self.expect_data(y, "y").map(|()| argument));
        let Scratch { rows, work, .. } = &mut *self.scratch.borrow_mut();
        let Some(rows) = rows else { return self.fill(y, argument, work, fill) };
        let begin = Instant::now();
        let in_operators = Cell::new(0.0);
        let add_term = |argument: &A, local: usize, row: &mut [Y], work: &mut Work| {
            let begin = Instant::now();
            let mut given = work.take("what an operator adds to its row", row.len());
            let filled = fill(argument, local, &mut given, work);
            if filled.is_ok() {
                add(&given, row);
            }
            work.give("what an operator adds to its row", given);
            add_seconds(&in_operators, begin);
            filled
        };
        let (mut nothing, mut add_term) = (None, add_term);
        let y = match &argument {
            Ok(_) => y,
            Err(fault) => {
                self.team.note(fault.clone());
                nothing.insert(self.zero_data())
            }
        };
        let summed = rows.sum(&self.team, y, &self.local, &self.writes, work, |local, row, work| {
            argument.as_ref().map_or(Ok(()), |argument| add_term(argument, local, row, work))
        });
        if let Err(error) = summed {
            self.team.note(error.into_fault());
        }
        self.count_seconds(in_operators.get(), begin);
    }

    /// Adds the time since `begin` to that of operators and of sums.
    fn count_seconds(&self, in_operators: f64, begin: Instant) {
        self.seconds.operators.set(self.seconds.operators.get() + in_operators);
        self.seconds.sums.set(self.seconds.sums.get() + begin.elapsed().as_secs_f64() - in_operators);
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
        let work = &mut self.scratch.borrow_mut().work;
        self.fill(parts, fits, work, |argument, local, block, work| {
            block.fill(X::default());
            add_part(argument, local, block, work)
        });
        self.team.settle()
    }

    fn fill<S: Scalar, A>(
        &self,
        y: &mut Vector<S>,
        argument: Result<A, Fault>,
        work: &mut Work,
        mut fill: impl FnMut(&A, usize, &mut [S], &mut Work) -> Result<(), Fault>,
    ) {
        let begin = Instant::now();
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
    /// Collective: yes, one vector reduction, which settles; of an `x` that is cut one for each set of ranks that shares
    /// blocks, which does not.
    pub(super) fn sum_over_local<A>(
        &self,
        out: &mut Vector<X>,
        argument: Result<A, Fault>,
        mut add_term: impl FnMut(&A, usize, &mut [X], &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let _span = tracing::trace_span!("sum over operators").entered();
        let begin = Instant::now();
        let argument = argument.and_then(|argument| self.expect_model(out, "the result").map(|()| argument));
        let mut nothing = None;
        let out = match &argument {
            Ok(_) => out,
            Err(fault) => {
                self.team.note(fault.clone());
                // the lengths that the others reduce follow from the plan, not from what was passed here
                nothing.insert(self.zero_model())
            }
        };
        let Scratch { work, sums, .. } = &mut *self.scratch.borrow_mut();
        let in_operators = Cell::new(0.0);
        let mut add_term = |local: usize, out: &mut [X], work: &mut Work| {
            let begin = Instant::now();
            let done = argument.as_ref().map_or(Ok(()), |argument| add_term(argument, local, out, work));
            add_seconds(&in_operators, begin);
            done
        };
        let summed = match (sums, self.team.summation()) {
            (Sums::Whole(_), Summation::Fast) => {
                out.fill(X::default());
                for local in 0..self.local.len() {
                    if let Err(fault) = add_term(local, out.as_mut_slice(), work) {
                        self.team.note(fault.in_operator(self.local[local]));
                    }
                }
                self.team.sum_vector(out)
            }
            (Sums::Whole(ordered), Summation::Ordered) => ordered.sum(&self.team, out, |index, sum| {
                let local = self.local.binary_search(&index).unwrap_or_default();
                add_term(local, sum, work)
            }),
            (Sums::Blocks(columns), _) => columns.sum(&self.team, out, &self.local, &self.reads, work, add_term),
        };
        self.count_seconds(in_operators.get(), begin);
        summed
    }

    /// Settles where sums over operators do not. Collective: only of an `x` that is cut, then one scalar reduction.
    pub(super) fn settle_blocks(&self) -> Result<(), Error> {
        if self.plan.columns().len() == 1 { Ok(()) } else { self.team.settle() }
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

    /// A zero for each block of measurements, in memory that is used again.
    pub(super) fn take_numbers(&self) -> Vec<f64> {
        let mut numbers = std::mem::take(&mut self.scratch.borrow_mut().numbers);
        numbers.clear();
        numbers.resize(self.plan.rows().len(), 0.0);
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
