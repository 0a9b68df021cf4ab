//! What every stack has, linear or smooth: a team, a plan, spaces, lanes with scratch, and the sum over operators.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Lanes, Terms};
use super::measured::expect;
use super::sharing::Sharing;
use super::tree::Ordered;
use super::window::Window;
use super::{BlockPlan, Description};
use crate::comm::{Summation, Team, signs};
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
    views: Views,
    scratch: RefCell<Scratch<X, Y>>,
    /// Seconds that this rank spent in sums over ranks.
    in_sums: Cell<f64>,
    data: PhantomData<Y>,
}

/// What each operator of this rank sees of vectors, by its place among them. Lanes ask it.
pub(super) struct Views {
    reads: Vec<Window>,
    writes: Vec<Window>,
    /// The block of measurements that it adds to.
    rows: Vec<usize>,
}

struct Scratch<X, Y> {
    lanes: Lanes,
    sums: Sums<X>,
    /// Where blocks of measurements are the sums of several operators', or stand in another order than these.
    rows: Option<Sharing<Y>>,
    /// One number for each block of measurements.
    numbers: Vec<f64>,
}

/// How sums over operators are made.
enum Sums<X> {
    /// Every rank holds all of `x`: one reduction, of what lanes have added, or one ordered sum.
    Whole { of_lanes: Vec<Vec<X>>, ordered: Box<Ordered<X>> },
    /// Each rank holds blocks of `x`: among those that share a block.
    Blocks(Sharing<X>),
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
                super::guarded(|| signs::call(Phase::Build, index, || build(index, &entry.description)))
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
        let local: Vec<usize> = entries().map(|(index, _)| index).collect();
        let costs: Vec<f64> = entries().map(|(_, entry)| entry.description.cost).collect();
        let scratch = Scratch {
            lanes: Lanes::new(&local, &costs, plan.lanes()),
            sums: match plan.columns() {
                [_] => Sums::Whole { of_lanes: Vec::new(), ordered: Box::new(Ordered::new(&owners)) },
                columns => Sums::Blocks(Sharing::new(&team, columns, &domain, &owners)),
            },
            rows: (!plan.has_rows_in_order()).then(|| Sharing::new(&team, plan.rows(), &range, &owners)),
            numbers: Vec::new(),
        };
        Frame {
            views: Views {
                reads: entries().map(|(_, entry)| Window::new(&entry.description.reads_of(columns), &domain)).collect(),
                writes: entries().map(|(_, entry)| Window::new(&[entry.row], &range)).collect(),
                rows: entries().map(|(_, entry)| entry.row).collect(),
            },
            local,
            domain,
            range,
            team,
            plan,
            scratch: RefCell::new(scratch),
            in_sums: Cell::default(),
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
    /// How many of this rank's operators run at once. Collective: no.
    pub fn lanes(&self) -> usize {
        self.scratch.borrow().lanes.count()
    }
    /// What each of this rank's operators sees of vectors.
    pub(super) fn views(&self) -> &Views {
        &self.views
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
    /// Seconds that this rank spent in operators, all lanes at once, and in sums over ranks.
    pub fn seconds(&self) -> (f64, f64) {
        (self.scratch.borrow().lanes.seconds(), self.in_sums.get())
    }

    /// Does `action` on the clock of the operators. Collective: no.
    pub(super) fn in_operators(&self, action: impl FnOnce()) {
        self.scratch.borrow_mut().lanes.timed(|_| action());
    }

    /// Fills the block of each operator of this rank; a fault empties the block and is noted. Collective: no; where blocks are
    /// sums of several operators' among the ranks that share them.
    ///
    /// `fill(argument, local, block, work)` is told the place among this rank's operators; lanes call it at once.
    pub(super) fn fill_blocks<A: Sync>(
        &self,
        y: &mut Vector<Y>,
        argument: Result<A, Fault>,
        fill: impl Fn(&A, usize, &mut [Y], &mut Work) -> Result<(), Fault> + Sync,
    ) {
        let argument = argument.and_then(|argument| self.expect_data(y, "y").map(|()| argument));
        let Scratch { rows, lanes, .. } = &mut *self.scratch.borrow_mut();
        let Some(rows) = rows else { return self.fill(y, argument, lanes, fill) };
        let add_term = |argument: &A, local: usize, row: &mut [Y], work: &mut Work| {
            let mut given = work.take("what an operator adds to its row", row.len());
            let filled = fill(argument, local, &mut given, work);
            if filled.is_ok() {
                add(&given, row);
            }
            work.give("what an operator adds to its row", given);
            filled
        };
        let mut nothing = None;
        let y = match &argument {
            Ok(_) => y,
            Err(fault) => {
                self.team.note(fault.clone());
                nothing.insert(self.zero_data())
            }
        };
        let terms = |local: usize, row: &mut [Y], work: &mut Work| {
            argument.as_ref().map_or(Ok(()), |argument| add_term(argument, local, row, work))
        };
        let summed = self.on_the_clock(lanes, |lanes| {
            rows.sum(&self.team, y, &self.local, &self.views.writes, lanes, Terms::AtOnce(&terms))
        });
        if let Err(error) = summed {
            self.team.note(error.into_fault());
        }
    }

    /// Adds what `sum` takes beside its operators to the time of sums.
    fn on_the_clock<T>(&self, lanes: &mut Lanes, sum: impl FnOnce(&mut Lanes) -> T) -> T {
        let (begin, before) = (Instant::now(), lanes.seconds());
        let done = sum(lanes);
        let in_operators = lanes.seconds() - before;
        self.in_sums.set(self.in_sums.get() + begin.elapsed().as_secs_f64() - in_operators);
        done
    }

    /// Fills a vector of parts by what `add_part(argument, local, block, work)` adds to zeros. Collective: yes, one scalar
    /// reduction, which settles.
    pub(super) fn fill_parts<A: Sync>(
        &self,
        parts: &mut Vector<X>,
        argument: Result<A, Fault>,
        add_part: impl Fn(&A, usize, &mut [X], &mut Work) -> Result<(), Fault> + Sync,
    ) -> Result<(), Error> {
        let expected = self.parts_space();
        let fits = argument.and_then(|argument| expect(parts.space(), &expected, "the result").map(|()| argument));
        let lanes = &mut self.scratch.borrow_mut().lanes;
        self.fill(parts, fits, lanes, |argument, local, block, work| {
            block.fill(X::default());
            add_part(argument, local, block, work)
        });
        self.team.settle()
    }

    /// Fills the blocks of a vector that has one for each operator, on its owner.
    fn fill<S: Scalar, A: Sync>(
        &self,
        y: &mut Vector<S>,
        argument: Result<A, Fault>,
        lanes: &mut Lanes,
        fill: impl Fn(&A, usize, &mut [S], &mut Work) -> Result<(), Fault> + Sync,
    ) {
        let argument = match argument {
            Ok(argument) => argument,
            Err(fault) => return self.team.note(fault),
        };
        let (space, operators) = (y.space().clone(), &self.local);
        let block = |local: usize| space.local(*operators.get(local)?);
        let begin = |local: usize| block(local).map_or(0, |block| block.start);
        lanes.run(
            &self.team,
            y.as_mut_slice(),
            |lane| begin(lane.first),
            |lane, blocks| {
                let start = begin(lane.first);
                lane.each(|local, work| {
                    let Some(block) = block(local) else { return Ok(()) };
                    let block = &mut blocks[block.start - start..block.end - start];
                    let filled = fill(&argument, local, block, work);
                    if filled.is_err() {
                        block.fill(S::default());
                    }
                    filled
                });
            },
        );
    }

    /// `out ← Σ` over all operators of what `add_term(argument, local, out, work)` adds, with the place among this rank's
    /// operators; lanes call it at once. A fault instead of an argument takes part in the sum.
    ///
    /// Collective: yes, one vector reduction, which settles; of an `x` that is cut one for each set of ranks that shares
    /// blocks, which does not.
    pub(super) fn sum_over_local<A: Sync>(
        &self,
        out: &mut Vector<X>,
        argument: Result<A, Fault>,
        add_term: impl Fn(&A, usize, &mut [X], &mut Work) -> Result<(), Fault> + Sync,
    ) -> Result<(), Error> {
        let argument = argument.and_then(|argument| self.expect_model(out, "the result").map(|()| argument));
        match &argument {
            Ok(argument) => self.sum_terms(
                out,
                Terms::AtOnce(&|local, out: &mut [X], work: &mut Work| add_term(argument, local, out, work)),
            ),
            Err(fault) => {
                self.team.note(fault.clone());
                // the lengths that the others reduce follow from the plan, not from what was passed here
                self.sum_terms(&mut self.zero_model(), Terms::AtOnce(&|_, _: &mut [X], _: &mut Work| Ok(())))
            }
        }
    }

    /// `out ← Σ` over all operators of what the terms are.
    fn sum_terms(&self, out: &mut Vector<X>, terms: Terms<X>) -> Result<(), Error> {
        let _span = tracing::trace_span!("sum over operators").entered();
        let Scratch { lanes, sums, .. } = &mut *self.scratch.borrow_mut();
        let Frame { team, local, views: Views { reads, .. }, .. } = self;
        self.on_the_clock(lanes, |lanes| match (sums, team.summation()) {
            (Sums::Whole { of_lanes, .. }, Summation::Fast) => {
                out.fill(X::default());
                lanes.add(team, reads, out.as_mut_slice(), of_lanes, terms);
                team.sum_vector(out)
            }
            (Sums::Whole { ordered, .. }, Summation::Ordered) => ordered.sum_terms(team, out, local, lanes, terms),
            (Sums::Blocks(columns), _) => columns.sum(team, out, local, reads, lanes, terms),
        })
    }

    /// Settles where sums over operators do not. Collective: only of an `x` that is cut, then one scalar reduction.
    pub(super) fn settle_blocks(&self) -> Result<(), Error> {
        if self.plan.columns().len() == 1 { Ok(()) } else { self.team.settle() }
    }

    /// `out ← Σ` over all operators of what `add_term(index, out)` adds, with the index among all operators, one after the
    /// other.
    ///
    /// Collective: yes, one vector reduction, which settles.
    pub(crate) fn sum_over_operators(
        &self,
        out: &mut Vector<X>,
        mut add_term: impl FnMut(usize, &mut [X]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let mut add_term = |local: usize, out: &mut [X], _: &mut Work| add_term(self.local[local], out);
        match self.expect_model(out, "the result") {
            Ok(()) => self.sum_terms(out, Terms::OneByOne(&mut add_term)),
            Err(fault) => {
                self.team.note(fault);
                self.sum_terms(&mut self.zero_model(), Terms::OneByOne(&mut |_, _, _| Ok(())))
            }
        }
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

    /// An error where `x` is cut into blocks or measurements are sums of several operators', for what takes each operator by
    /// itself. Collective: yes; it follows from the plan, so nothing is sent unless it is an error.
    pub(crate) fn expect_whole_model(&self, what: &str) -> Result<(), Error> {
        let blocks = self.plan.columns().len();
        if blocks == 1 && !self.plan.sums_in_rows() {
            return Ok(());
        }
        let text = match blocks {
            1 => format!("{what} takes each operator by itself, here several add to the same measurements"),
            _ => format!("{what} is of the whole of x, here x is cut into {blocks} blocks"),
        };
        self.team.agree(Err(Fault::new(text).in_phase(Phase::Solve).hint("leave it out")))
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

impl Views {
    /// Hands what an operator reads to `read`. Collective: no.
    pub fn read<S: Scalar, T>(
        &self,
        local: usize,
        x: &[S],
        work: &mut Work,
        read: impl FnOnce(&[S], &mut Work) -> T,
    ) -> T {
        self.reads[local].read(x, work, read)
    }
    /// Which block of measurements an operator adds to. Collective: no.
    pub fn row_of(&self, local: usize) -> usize {
        self.rows[local]
    }
    /// The numbers of that block. Collective: no.
    pub fn row<'y, S>(&self, local: usize, y: &'y [S]) -> &'y [S] {
        self.writes[local].slice(y)
    }
}
