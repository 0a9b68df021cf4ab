//! Many operators as one, spread over ranks: the subject of the program.
//!
//! `A = [A_0; A_1; …; A_{N−1}]` maps one model `x`, which every rank holds, to N blocks of measurements, each held by the
//! owner of its operator. So `A x` sends nothing, and `Aᴴ y = Σ A_iᴴ y_i` costs one sum of model-length vectors.

mod assign;
mod factory;
mod member;
mod plan;
mod tree;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

pub use assign::Assignment;
pub use factory::{Description, Factory, FromFn};
use member::Member;
pub(crate) use member::guarded;
#[cfg(feature = "mpi")]
pub(crate) use member::panic_is_caught;
pub use plan::{BlockPlan, Entry, PlanOptions, human_bytes};
use tree::Ordered;

use crate::comm::{Summation, Team};
use crate::error::{Error, Fault, Phase};
use crate::operator::{LinearOperator, Work};
use crate::scalar::Scalar;
use crate::space::{Space, Vector, dot};

/// A stack of linear operators over a team of ranks.
///
/// Vectors of the model are replicated: all ranks hold the same numbers. Vectors of the data are cut: each rank holds the
/// blocks of its operators. Any number of ranks gives the same answer: ranks without operators take part in the sums.
///
/// A fault of one operator becomes the same [`Error`] on all ranks, and the stack can be used again.
///
/// ```
/// use stackphys::{comm::Team, physics::Identity, stack::{Description, FromFn, Stack}, Shape};
/// let image = Shape::new([("x", 3)]);
/// let twice = FromFn::new( // [I; I]
///     2,
///     |_| Ok(Description::new("identity", image.clone(), image.clone())),
///     |_| Ok(Box::new(Identity::new(image.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &twice, Default::default()).unwrap();
/// let (mut x, mut out) = (stack.zero_model(), stack.zero_model());
/// x.fill(1.0);
/// stack.normal(&x, &mut out).unwrap();
/// assert_eq!(out.as_slice(), [2.0; 3]); // AᴴA = 2 I
/// ```
pub struct Stack<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    team: Team,
    plan: BlockPlan,
    domain: Arc<Space>,
    range: Arc<Space>,
    members: Vec<Rc<Member<X, Y>>>,
    scratch: RefCell<Scratch<X>>,
    seconds: Seconds,
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

impl<X: Scalar, Y: Scalar<Real = X::Real>> Stack<X, Y> {
    /// Plans the stack, checks that all ranks made the same plan, and builds this rank's operators.
    ///
    /// Collective: yes, a few scalar reductions. Errors: whatever the factory reports on any rank; no operators; members of
    /// different domains; a factory that describes differently on different ranks; a built operator of other shapes than
    /// described.
    pub fn build(team: Team, factory: &dyn Factory<X, Y>, options: PlanOptions) -> Result<Self, Error> {
        let team = team.with_summation(options.summation);
        let describe = |index| factory.describe(index).map_err(|fault| fault.in_operator(index));
        let plan = (0..factory.count())
            .map(describe)
            .collect::<Result<_, _>>()
            .and_then(|members| BlockPlan::new::<X>(members, team.size(), options))
            .map_err(|fault| fault.in_phase(Phase::Plan));
        let plan = team.agree(plan)?;
        Self::build_planned(team, plan, factory)
    }

    /// As [`build`](Self::build), with a plan that was made before.
    pub fn build_planned(team: Team, plan: BlockPlan, factory: &dyn Factory<X, Y>) -> Result<Self, Error> {
        // two numbers of 32 bits: an f64 holds them exactly
        let hash = plan.hash();
        let halves = [(hash >> 32) as f64, (hash & 0xffff_ffff) as f64];
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
                guarded(|| factory.build(index))
                    .and_then(|operator| {
                        let Description { name, domain, range, .. } = &entry.description;
                        domain.expect(operator.domain(), &format!("domain of `{name}` as built"))?;
                        range.expect(operator.range(), &format!("range of `{name}` as built"))?;
                        Ok(Rc::new(Member::new(index, name.clone(), operator)))
                    })
                    .map_err(|fault| fault.in_operator(index).in_phase(Phase::Build))
            })
            .collect::<Result<Vec<_>, _>>();
        let members = team.agree(members)?;
        Ok(Self::assemble(team, plan, members))
    }

    fn assemble(team: Team, plan: BlockPlan, members: Vec<Rc<Member<X, Y>>>) -> Self {
        let ordered = Ordered::new(&plan.owners());
        Stack {
            domain: Space::replicated(plan.domain().clone()),
            range: Space::new(plan.data_blocks(), team.rank()),
            team,
            plan,
            members,
            scratch: RefCell::new(Scratch { work: Work::default(), ordered, numbers: Vec::new() }),
            seconds: Seconds::default(),
        }
    }

    /// Each of this rank's operators as a stack of its own, for one rank. Collective: no.
    pub(crate) fn alone(&self) -> impl Iterator<Item = (usize, Stack<X, Y>)> + '_ {
        self.members.iter().map(|member| {
            let description = self.plan.entries()[member.index].description.clone();
            let options = PlanOptions { summation: self.team.summation(), ..PlanOptions::default() };
            let plan = BlockPlan::new::<X>(vec![description], 1, options).unwrap_or_else(|_| self.plan.clone());
            let team = Team::solo().with_summation(self.team.summation());
            let first = Rc::new(member.at(0));
            (member.index, Self::assemble(team, plan, vec![first]))
        })
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
    /// A zero vector of the model.
    pub fn zero_model(&self) -> Vector<X> {
        Vector::zeros(&self.domain)
    }
    /// A zero vector of the data; it holds this rank's blocks.
    pub fn zero_data(&self) -> Vector<Y> {
        Vector::zeros(&self.range)
    }
    /// This rank's operators with their index. Collective: no.
    pub fn local_operators(&self) -> impl Iterator<Item = (usize, &dyn LinearOperator<X, Y>)> {
        self.members.iter().map(|member| (member.index, &*member.operator))
    }
    /// Seconds that this rank spent in operators, and in sums over ranks.
    pub fn seconds(&self) -> (f64, f64) {
        (self.seconds.operators.get(), self.seconds.sums.get())
    }

    /// `y = A x`. Collective: yes, one scalar reduction, which settles.
    pub fn forward(&self, x: &Vector<X>, y: &mut Vector<Y>) -> Result<(), Error> {
        self.forward_unsettled(x, y);
        self.team.settle()
    }

    /// `y = A x`; a fault stays pending until the next agreement. Collective: no; sends nothing.
    pub fn forward_unsettled(&self, x: &Vector<X>, y: &mut Vector<Y>) {
        let _span = tracing::trace_span!("forward").entered();
        let begin = Instant::now();
        let work = &mut self.scratch.borrow_mut().work;
        if let Err(fault) = self.expect(x.space(), &self.domain, "x").and(self.expect(y.space(), &self.range, "y")) {
            self.team.note(fault.in_phase(Phase::Forward));
            return;
        }
        for (member, block) in self.members.iter().zip(self.blocks()) {
            let out = &mut y.as_mut_slice()[block];
            if let Err(fault) = member.forward(x.as_slice(), out, work) {
                out.fill(Y::default());
                self.team.note(fault);
            }
        }
        add_seconds(&self.seconds.operators, begin);
    }

    /// `x = Aᴴ y = Σ A_iᴴ y_i`. Collective: yes, one vector reduction, which settles.
    pub fn adjoint(&self, y: &Vector<Y>, x: &mut Vector<X>) -> Result<(), Error> {
        let fits = self.expect(y.space(), &self.range, "y").map_err(|fault| fault.in_phase(Phase::Adjoint));
        self.sum_over_members(x, fits, |member, out, work| {
            let block = self.range.local(member.index).unwrap_or_default();
            member.adjoint_add(&y.as_slice()[block], out, work)
        })
    }

    /// `out = Aᴴ A x = Σ A_iᴴ A_i x`. Collective: yes, one vector reduction, which settles.
    pub fn normal(&self, x: &Vector<X>, out: &mut Vector<X>) -> Result<(), Error> {
        let fits = self.expect(x.space(), &self.domain, "x").map_err(|fault| fault.in_phase(Phase::Normal));
        self.sum_over_members(out, fits, |member, out, work| member.normal_add(x.as_slice(), out, work))
    }

    /// `out = A Aᴴ y`. Collective: yes, one vector reduction and one scalar one. Memory: one vector of the model.
    pub fn forward_adjoint(&self, y: &Vector<Y>, out: &mut Vector<Y>) -> Result<(), Error> {
        let mut x = self.zero_model();
        self.adjoint(y, &mut x)?;
        self.forward(&x, out)
    }

    /// `normal = Aᴴ(A x − y)`, and returns `‖A x − y‖²`, without a vector of the data.
    ///
    /// Collective: yes, one vector reduction and one scalar one. Memory: the largest block of one operator.
    pub fn residual(&self, x: &Vector<X>, y: &Vector<Y>, normal: &mut Vector<X>) -> Result<f64, Error> {
        let fits = self.expect(x.space(), &self.domain, "x").and(self.expect(y.space(), &self.range, "y"));
        let mut squared = std::mem::take(&mut self.scratch.borrow_mut().numbers);
        squared.clear();
        squared.resize(self.count(), 0.0);
        self.sum_over_members(normal, fits.map_err(|fault| fault.in_phase(Phase::Normal)), |member, out, work| {
            let data = &y.as_slice()[self.range.local(member.index).unwrap_or_default()];
            let mut residual = work.take::<Y>("A x − y", data.len());
            let done = member.forward(x.as_slice(), &mut residual, work);
            for (residual, data) in residual.iter_mut().zip(data) {
                *residual -= *data;
            }
            squared[member.index] = dot(&residual, &residual);
            let done = done.and_then(|()| member.adjoint_add(&residual, out, work));
            work.give("A x − y", residual);
            done
        })?;
        self.team.sum_in_place(&mut squared)?; // one owner each: exact, so the same bits on any number of ranks
        let sum = squared.iter().sum();
        self.scratch.borrow_mut().numbers = squared;
        Ok(sum)
    }

    /// `out ← Σ` over all operators of what `add_term(index, out)` adds, with `index` among all operators.
    ///
    /// Collective: yes, one vector reduction, which settles.
    pub(crate) fn sum_over_operators(
        &self,
        out: &mut Vector<X>,
        mut add_term: impl FnMut(usize, &mut [X]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        self.sum_over_members(out, Ok(()), |member, out, _| add_term(member.index, out))
    }

    fn sum_over_members(
        &self,
        out: &mut Vector<X>,
        fits: Result<(), Fault>,
        mut add_term: impl FnMut(&Member<X, Y>, &mut [X], &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let _span = tracing::trace_span!("sum over operators").entered();
        let begin = Instant::now();
        let fits = fits.and(self.expect(out.space(), &self.domain, "the result"));
        let may_run = fits.is_ok();
        if let Err(fault) = fits {
            self.team.note(fault);
        }
        let Scratch { work, ordered, .. } = &mut *self.scratch.borrow_mut();
        if !may_run {
            // the lengths that the others reduce follow from the plan, not from what was passed here
            return self.join_sum(ordered);
        }
        match self.team.summation() {
            Summation::Fast => {
                out.fill(X::default());
                for member in &self.members {
                    if let Err(fault) = add_term(member, out.as_mut_slice(), work) {
                        self.team.note(fault);
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
                    let local = self.members.binary_search_by_key(&index, |member| member.index).unwrap_or_default();
                    let done = add_term(&self.members[local], sum, work);
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

    /// Takes part in a sum with nothing but a pending fault.
    fn join_sum(&self, ordered: &mut Ordered<X>) -> Result<(), Error> {
        let mut nothing = self.zero_model();
        match self.team.summation() {
            Summation::Fast => self.team.sum_vector(&mut nothing),
            Summation::Ordered => ordered.sum(&self.team, &mut nothing, |_, _| Ok(())),
        }
    }

    /// All measurements in the order of operators, on `root`, or on all ranks if there is none; empty elsewhere.
    ///
    /// Collective: yes, one gather with exact counts, and one scalar reduction. Memory: all measurements twice where they
    /// arrive.
    pub fn gather(&self, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        self.team.agree(self.expect(y.space(), &self.range, "y"))?;
        let mut counts = vec![0; self.team.size()];
        for entry in self.plan.entries() {
            counts[entry.owner] += entry.description.range.len();
        }
        let gets = root.is_none_or(|root| root == self.team.rank());
        let mut by_rank = vec![Y::default(); if gets { self.range.len() } else { 0 }];
        self.team.gather(y.as_slice(), &mut by_rank, &counts, root);
        if !gets || self.plan.owners().is_sorted() {
            return Ok(by_rank); // the order of ranks is the order of operators
        }
        let mut next: Vec<usize> = counts.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
        let mut in_order = Vec::with_capacity(by_rank.len());
        for entry in self.plan.entries() {
            let at = &mut next[entry.owner];
            in_order.extend_from_slice(&by_rank[*at..*at + entry.description.range.len()]);
            *at += entry.description.range.len();
        }
        Ok(in_order)
    }

    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.members.iter().filter_map(|member| self.range.local(member.index))
    }

    fn expect(&self, got: &Space, want: &Space, what: &str) -> Result<(), Fault> {
        if got.same(want) {
            return Ok(());
        }
        let (want, got) = (want.len(), got.len());
        Err(Fault::new(format!("{what} is a vector of another space: expected {want} numbers in all, got {got}"))
            .hint("make vectors of the model with `zero_model`, of the data with `zero_data`, of this stack"))
    }
}

fn add_seconds(to: &Cell<f64>, since: Instant) {
    to.set(to.get() + since.elapsed().as_secs_f64());
}
