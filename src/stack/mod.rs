//! Many operators as one, spread over ranks: the subject of the program.
//!
//! `A = [A_0; A_1; …; A_{N−1}]` maps one model `x`, which every rank holds, to N blocks of measurements, each held by the
//! owner of its operator. So `A x` sends nothing, and `Aᴴ y = Σ A_iᴴ y_i` costs one sum of model-length vectors.

mod assign;
mod factory;
mod frame;
mod gather;
mod lanes;
mod listed;
mod measured;
mod member;
mod noisy;
mod parts;
mod plan;
mod rank_matrix;
mod sharing;
mod smooth;
mod tiles;
mod tree;
mod window;

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

pub use assign::Assignment;
use factory::Tell;
pub use factory::{Description, Factory, FromFn};
pub use frame::Frame;
pub use gather::Gather;
pub use listed::Listed;
pub use measured::Measured;
use member::Member;
pub(crate) use member::guarded;
#[cfg(feature = "mpi")]
pub(crate) use member::panic_is_caught;
pub use parts::{Combine, Place};
pub use plan::{BlockPlan, Call, Calls, Entry, Group, NormalKind, Part, PlanOptions, Side, human_bytes};
pub use rank_matrix::ranks_of_tiles;
pub use smooth::{AnyOperator, Points, SmoothFactory, SmoothStack};
pub use tiles::Tiles;

use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::operator::{Basis, DiagonalNormal, LinearOperator};
use crate::scalar::Scalar;
use crate::space::{Vector, dot};

/// A stack of linear operators over a team of ranks.
///
/// Vectors of the model are replicated: all ranks hold the same numbers. Vectors of the data are cut: each rank holds the
/// blocks of its operators. Any number of ranks gives the same answer: ranks without operators take part in the sums.
///
/// Operators of a rank run at once in as many lanes as [`PlanOptions::lanes`] says, on the pool of threads in which the stack
/// is called.
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
    frame: Frame<X, Y>,
    members: Vec<Member<X, Y>>,
    /// `AᴴA` of all members of all ranks as one, where the plan merges them.
    merged: Option<RefCell<DiagonalNormal<X>>>,
    /// Measurements on the way from `A` to `Aᴴ`, where they must be complete in between.
    data: RefCell<Option<Vector<Y>>>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Deref for Stack<X, Y> {
    type Target = Frame<X, Y>;
    fn deref(&self) -> &Frame<X, Y> {
        &self.frame
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Stack<X, Y> {
    /// Plans the stack, checks that all ranks made the same plan, and builds this rank's operators.
    ///
    /// Collective: yes, a few scalar reductions. Errors: whatever the factory reports on any rank; no operators; members of
    /// different domains; a factory that describes differently on different ranks; a built operator of other shapes than
    /// described.
    pub fn build(team: Team, factory: &dyn Factory<X, Y>, options: PlanOptions) -> Result<Self, Error> {
        let team = team.with_summation(options.summation).with_reduction(options.reduction);
        let plan =
            Frame::<X, Y>::plan_of(&team, factory.blocks(), factory.count(), |index| factory.describe(index), options)?;
        Self::build_planned(team, plan, factory)
    }

    /// As [`build`](Self::build), with a plan that was made before.
    pub fn build_planned(team: Team, plan: BlockPlan, factory: &dyn Factory<X, Y>) -> Result<Self, Error> {
        let members = Frame::<X, Y>::build_members(&team, &plan, |index, described| {
            let operator = factory.build(index)?;
            described.expect_built(operator.domain(), operator.range())?;
            Ok(Member::new(index, described.name.clone(), operator))
        })?;
        let mut stack = Stack { frame: Frame::new(team, plan), members, merged: None, data: RefCell::default() };
        if let Some(basis) = stack.plan().merged() {
            stack.merged = Some(RefCell::new(stack.merge(basis)?));
        }
        Ok(stack)
    }

    /// The sum of all members' `AᴴA`. Collective: yes, one vector reduction.
    fn merge(&self, basis: Basis) -> Result<DiagonalNormal<X>, Error> {
        let mut weights = self.zero_sum();
        let members = &self.members;
        self.sum_over_local(&mut weights, Ok(()), |(), local, sum, _| {
            let member = &members[local];
            let spectrum = guarded(|| {
                let known = member.operator.normal_spectrum(basis).filter(|known| known.len() == sum.len());
                known.ok_or_else(|| {
                    Fault::new(format!(
                        "`{}` is described as having an AᴴA that is {basis}, but it does not know it",
                        member.name
                    ))
                    .hint("see `LinearOperator::normal_spectrum`")
                })
            });
            let spectrum = spectrum.map_err(|fault| fault.in_phase(Phase::Build))?;
            for (sum, weight) in sum.iter_mut().zip(spectrum) {
                *sum += X::from_f64(weight);
            }
            Ok(())
        })?;
        Ok(DiagonalNormal::new(basis, &self.plan().domain().sizes(), weights.as_slice()))
    }

    /// The plan of some operators of one rank by themselves, on the blocks of `x` that they read.
    fn plan_of_group(&self, operators: &[usize], options: PlanOptions) -> Result<BlockPlan, Fault> {
        let (entries, columns) = (self.plan().entries(), self.plan().columns());
        let reads = |index: &usize| entries[*index].description.reads_of(columns.len());
        let mut blocks: Vec<usize> = operators.iter().flat_map(reads).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let descriptions = operators.iter().map(|index| {
            let of_group = |block| blocks.binary_search(&block).unwrap_or_default();
            let reads = reads(index).into_iter().map(of_group).collect();
            Description { reads, row: None, rank: None, ..entries[*index].description.clone() }
        });
        let shapes = blocks.iter().map(|block| columns[*block].shape.clone()).collect();
        BlockPlan::with_blocks::<X>(shapes, descriptions.collect(), 1, options)
    }

    /// Each of this rank's groups of operators as a stack of its own, for one rank, with its place in
    /// [`BlockPlan::groups`]. Collective: no.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (usize, Stack<X, Y>)> + '_ {
        let entries = self.plan().entries();
        let here = |operators: &[usize]| entries[operators[0]].owner == self.team().rank();
        let groups = self.plan().groups().iter().enumerate();
        groups.filter(move |(_, group)| here(&group.operators)).map(move |(place, group)| {
            let summation = self.team().summation();
            let options = PlanOptions { summation, lanes: self.plan().lanes(), ..PlanOptions::default() };
            let plan = self.plan_of_group(&group.operators, options).unwrap_or_else(|_| self.plan().clone());
            let team = Team::solo().with_summation(summation).with_clock_of(self.team());
            let member = |(to, index): (usize, &usize)| {
                let local = self.local_indices().binary_search(index).ok()?;
                Some(self.members[local].at(to))
            };
            let members = group.operators.iter().enumerate().filter_map(member).collect();
            (place, Stack { frame: Frame::new(team, plan), members, merged: None, data: RefCell::default() })
        })
    }

    /// `out ← Σ` over all groups of what `add_group(place, out)` adds, with the place in [`BlockPlan::groups`].
    ///
    /// Collective: yes, one vector reduction, which settles.
    pub(crate) fn sum_over_groups(
        &self,
        out: &mut Vector<X>,
        mut add_group: impl FnMut(usize, &mut [X]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let groups = self.plan().groups();
        // a group adds where its first operator would
        let place_of = |first: usize| groups.binary_search_by_key(&first, |group| group.operators[0]).ok();
        self.sum_over_operators(out, |index, sum| place_of(index).map_or(Ok(()), |place| add_group(place, sum)))
    }

    /// This rank's operators with their index. Collective: no.
    pub fn local_operators(&self) -> impl Iterator<Item = (usize, &dyn LinearOperator<X, Y>)> {
        self.members.iter().map(|member| (member.index, &*member.operator))
    }

    /// `y = A x`. Collective: yes, one scalar reduction, which settles.
    pub fn forward(&self, x: &Vector<X>, y: &mut Vector<Y>) -> Result<(), Error> {
        self.forward_unsettled(x, y);
        self.team().settle()
    }

    /// `y = A x`; a fault stays pending until the next agreement. Collective: no; sends nothing.
    pub fn forward_unsettled(&self, x: &Vector<X>, y: &mut Vector<Y>) {
        let _span = tracing::trace_span!("forward").entered();
        let fits = self.expect_model(x, "x").map_err(|fault| fault.in_phase(Phase::Forward));
        let (members, views, x) = (&self.members, self.views(), x.as_slice());
        self.fill_blocks(y, fits, |(), local, block, work| {
            views.read(local, x, work, |x, work| members[local].forward(x, block, work))
        });
    }

    /// `x = Aᴴ y = Σ A_iᴴ y_i`, of measurements in any form ([`Measured`]). Collective: yes, one vector reduction, which
    /// settles.
    pub fn adjoint(&self, y: &(impl Measured<Y> + ?Sized), x: &mut Vector<X>) -> Result<(), Error> {
        self.adjoint_unsettled(y, x)?;
        self.settle_blocks()
    }

    /// `x = Aᴴ y`; of an `x` that is cut a fault stays pending until the next agreement. For methods.
    pub fn adjoint_unsettled(&self, y: &(impl Measured<Y> + ?Sized), x: &mut Vector<X>) -> Result<(), Error> {
        let y = y.on(self.range(), "y").map_err(|fault| fault.in_phase(Phase::Adjoint));
        let (members, views) = (&self.members, self.views());
        self.sum_over_local(x, y, |y, local, out, work| {
            members[local].adjoint_add(views.row(local, y.as_slice()), out, work)
        })
    }

    /// `out = Aᴴ A x = Σ A_iᴴ A_i x`. Collective: yes, one vector reduction, which settles; where the plan has
    /// [merged](BlockPlan::merged) the members, one scalar one.
    pub fn normal(&self, x: &Vector<X>, out: &mut Vector<X>) -> Result<(), Error> {
        self.normal_unsettled(x, out)?;
        if self.merged.is_some() { self.team().settle() } else { self.settle_blocks() }
    }

    /// `out = Aᴴ A x`; where the plan has merged the members, it sends nothing and a fault stays pending. For methods.
    pub fn normal_unsettled(&self, x: &Vector<X>, out: &mut Vector<X>) -> Result<(), Error> {
        let fits = self.expect_model(x, "x").map_err(|fault| fault.in_phase(Phase::Normal));
        let Some(merged) = &self.merged else {
            if self.plan().sums_in_rows() {
                return self.through_rows(x, out, fits, |_, _| Ok(()));
            }
            let (members, views, x) = (&self.members, self.views(), x.as_slice());
            return self.sum_over_local(out, fits, |(), local, out, work| {
                views.read(local, x, work, |x, work| members[local].normal_add(x, out, work))
            });
        };
        match fits.and(self.expect_model(out, "the result")) {
            Ok(()) => self.in_operators(|| merged.borrow_mut().apply(x.as_slice(), out.as_mut_slice())),
            Err(fault) => self.team().note(fault),
        }
        Ok(())
    }

    /// `out = A Aᴴ y`. Collective: yes, one vector reduction and one scalar one. Memory: one vector of the model.
    pub fn forward_adjoint(&self, y: &(impl Measured<Y> + ?Sized), out: &mut Vector<Y>) -> Result<(), Error> {
        let mut x = self.zero_model();
        self.adjoint(y, &mut x)?;
        self.forward(&x, out)
    }

    /// `out = Σ A_iᴴ g_i(A_i x)`: each block of `A x` is handed to `change(index, block)`, which turns it into what the
    /// adjoint is applied to and returns a number; the result is the sum of these numbers over all operators.
    ///
    /// So a gradient needs no vector of the data. Collective: yes, one vector reduction and one scalar one. Memory: the
    /// largest block of one operator, for each lane; lanes call `change` at once.
    pub fn forward_then_adjoint(
        &self,
        x: &Vector<X>,
        out: &mut Vector<X>,
        change: impl Fn(usize, &mut [Y]) -> Result<f64, Fault> + Sync,
    ) -> Result<f64, Error> {
        self.change_between(x, out, Ok(()), change)
    }

    /// `out = Aᴴ g(A x)` where blocks of measurements are sums of several operators': each is complete before it is changed.
    fn through_rows(
        &self,
        x: &Vector<X>,
        out: &mut Vector<X>,
        fits: Result<(), Fault>,
        mut change: impl FnMut(usize, &mut [Y]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let mut data = self.data.take().unwrap_or_else(|| self.zero_data());
        if let Err(fault) = fits {
            self.team().note(fault);
        }
        self.forward_unsettled(x, &mut data);
        for block in self.local_blocks().collect::<Vec<_>>() {
            if let Some(Err(fault)) = data.block_slice_mut(block).map(|numbers| change(block, numbers)) {
                self.team().note(fault.in_phase(Phase::Normal));
            }
        }
        let done = self.adjoint_unsettled(&data, out);
        self.data.replace(Some(data));
        done
    }

    /// As [`forward_then_adjoint`](Self::forward_then_adjoint), unless something else does not fit.
    fn change_between(
        &self,
        x: &Vector<X>,
        out: &mut Vector<X>,
        fits: Result<(), Fault>,
        change: impl Fn(usize, &mut [Y]) -> Result<f64, Fault> + Sync,
    ) -> Result<f64, Error> {
        let fits = self.expect_model(x, "x").and(fits).map_err(|fault| fault.in_phase(Phase::Normal));
        let (range, rank) = (&**self.range(), self.team().rank());
        let numbers = Mutex::new(self.take_numbers());
        let change = |block: usize, data: &mut [Y]| {
            let number = change(block, data)?;
            // of all that hold a block one speaks
            if range.blocks()[block].placement.owner() == rank {
                numbers.lock().unwrap_or_else(PoisonError::into_inner)[block] = number;
            }
            Ok(())
        };
        let done = if self.plan().sums_in_rows() {
            self.through_rows(x, out, fits, change)
        } else {
            let (members, views, x) = (&self.members, self.views(), x.as_slice());
            self.sum_over_local(out, fits, |(), local, out, work| {
                let member = &members[local];
                let mut data = work.take::<Y>("A x", member.operator.range().len());
                let done = views
                    .read(local, x, work, |x, work| member.forward(x, &mut data, work))
                    .and_then(|()| change(views.row_of(local), &mut data))
                    .and_then(|()| member.adjoint_add(&data, out, work));
                work.give("A x", data);
                done
            })
        };
        let mut numbers = numbers.into_inner().unwrap_or_else(PoisonError::into_inner);
        // one owner each: exact, so the same bits on any number of ranks
        let done = done.and_then(|()| self.team().sum_in_place(&mut numbers));
        let sum = numbers.iter().sum();
        self.give_numbers(numbers);
        done.map(|()| sum)
    }

    /// `normal = Aᴴ(A x − y)`, and returns `‖A x − y‖²`, without a vector of the data.
    ///
    /// Collective: yes, one vector reduction and one scalar one. Memory: the largest block of one operator.
    pub fn residual(&self, x: &Vector<X>, y: &Vector<Y>, normal: &mut Vector<X>) -> Result<f64, Error> {
        self.change_between(x, normal, self.expect_data(y, "y"), |index, data| {
            for (residual, measured) in data.iter_mut().zip(y.block_slice(index).unwrap_or_default()) {
                *residual -= *measured;
            }
            Ok(dot(data, data))
        })
    }
}
