//! Bringing measurements together: three ways, the same values bit for bit.
//!
//! Shapes are known from the plan, so no metadata travels.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Frame;
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::space::Vector;

/// How measurements are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gather {
    /// One gather with exact, unequal counts. The fewest messages.
    #[default]
    Concatenated,
    /// Operator by operator from its owner: the least memory, for very unequal sizes.
    Broadcast,
    /// Each rank's blocks serialised with their indices: for few, small, odd things.
    Objects,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Frame<X, Y> {
    /// All measurements in the order of operators, on `root`, or on all ranks if there is none; empty elsewhere.
    ///
    /// Collective: yes, one gather with exact counts, and one scalar reduction. Memory: a new vector of all measurements where
    /// they arrive; [`gather_into`](Self::gather_into) fills one that is there.
    pub fn gather(&self, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        self.gather_by(Gather::Concatenated, y, root)
    }

    /// As [`gather`](Self::gather), in a way that is chosen.
    ///
    /// Collective: yes; one gather (`concatenated`), one broadcast for each operator (`broadcast`), or two broadcasts for
    /// each rank (`objects`).
    pub fn gather_by(&self, how: Gather, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        let mut all = vec![Y::default(); self.gathered_len(root)];
        self.gather_into(how, y, root, &mut all)?;
        Ok(all)
    }

    /// As [`gather_by`](Self::gather_by), into numbers that are there: all measurements where they arrive, none elsewhere.
    ///
    /// To gather again and again: the pages of a new vector cost more than the numbers in it. Collective: as `gather_by`.
    /// Memory: none with contiguous ownership, else all measurements once more where they arrive. Errors: `into` of another
    /// length than [`gathered_len`](Self::gathered_len), on any rank.
    pub fn gather_into(&self, how: Gather, y: &Vector<Y>, root: Option<usize>, into: &mut [Y]) -> Result<(), Error> {
        let fits = self.expect_data(y, "y").and_then(|()| self.expect_gathered(into.len(), root));
        self.team().agree(fits)?;
        match how {
            Gather::Concatenated => self.concatenated(y, root, into),
            Gather::Broadcast => self.broadcast(y, root, into),
            Gather::Objects => return self.objects(y, into),
        }
        Ok(())
    }

    /// How many numbers a gather brings to this rank: all measurements or none. Collective: no.
    pub fn gathered_len(&self, root: Option<usize>) -> usize {
        if root.is_none_or(|root| root == self.team().rank()) { self.range().len() } else { 0 }
    }

    fn expect_gathered(&self, got: usize, root: Option<usize>) -> Result<(), Fault> {
        if let Some(root) = root.filter(|root| *root >= self.team().size()) {
            let text = format!("gather: there is no rank {root}, the stack is spread over {}", self.team().size());
            return Err(Fault::new(text).hint("ranks are counted from 0; `None` gathers on all"));
        }
        let want = self.gathered_len(root);
        if got == want {
            return Ok(());
        }
        Err(Fault::new(format!("gather: expected room for {want} numbers on this rank, got {got}"))
            .hint("`gathered_len` says how many arrive where"))
    }

    /// The measurements of one operator, on all ranks. Collective: yes, one broadcast, and one scalar reduction.
    pub fn block_everywhere(&self, y: &Vector<Y>, index: usize) -> Result<Vec<Y>, Error> {
        let there = index < self.blocks();
        let missing =
            || Fault::new(format!("there is no block {index} of measurements, the stack has {}", self.blocks()));
        self.team().agree(if there { self.expect_data(y, "y") } else { Err(missing()) })?;
        let mut block = vec![Y::default(); self.plan().rows()[index].shape.len()];
        self.block_from_owner(y, index, &mut block);
        Ok(block)
    }

    /// One block of `x` on rank 0; nothing elsewhere. Collective: yes, one gather, where rank 0 does not hold it.
    pub(crate) fn model_block_on_rank_0<'x>(&self, x: &'x Vector<X>, index: usize) -> Cow<'x, [X]> {
        let block = &self.domain().blocks()[index];
        let (owner, rank) = (block.placement.owner(), self.team().rank());
        let own = x.block_slice(index).unwrap_or_default();
        if owner == 0 {
            return if rank == 0 { own.into() } else { Cow::default() };
        }
        let mut counts = vec![0; self.team().size()];
        counts[owner] = block.shape.len();
        let mut here = vec![X::default(); if rank == 0 { block.shape.len() } else { 0 }];
        self.team().gather(if rank == owner { own } else { &[] }, &mut here, &counts, Some(0));
        here.into()
    }

    fn block_from_owner(&self, y: &Vector<Y>, index: usize, block: &mut [Y]) {
        if let Some(own) = y.block_slice(index) {
            block.copy_from_slice(own);
        }
        self.team().broadcast(block, self.range().blocks()[index].placement.owner());
    }

    /// The blocks of a vector that has one for each operator, on its owner, in the order of operators.
    pub(super) fn concatenated<S: Scalar>(&self, y: &Vector<S>, root: Option<usize>, into: &mut [S]) {
        let blocks = || y.space().blocks().iter().map(|block| (block.placement.owner(), block.shape.len()));
        let mut counts = vec![0; self.team().size()];
        for (owner, len) in blocks() {
            counts[owner] += len;
        }
        if blocks().is_sorted_by_key(|(owner, _)| owner) {
            // the order of ranks is the order of operators
            return self.team().gather(&self.spoken_for(y), into, &counts, root);
        }
        let mut by_rank = vec![S::default(); into.len()];
        self.team().gather(&self.spoken_for(y), &mut by_rank, &counts, root);
        if into.is_empty() {
            return;
        }
        let mut next: Vec<usize> = counts.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
        let mut rest = into;
        for (owner, len) in blocks() {
            let (block, after) = rest.split_at_mut(len);
            block.copy_from_slice(&by_rank[next[owner]..][..len]);
            next[owner] += len;
            rest = after;
        }
    }

    /// The blocks that this rank speaks for, of those that it holds.
    fn spoken_for<'y, S: Scalar>(&self, y: &'y Vector<S>) -> Cow<'y, [S]> {
        let rank = self.team().rank();
        let blocks = || y.space().blocks().iter().enumerate().filter(|(_, block)| block.placement.holds(rank));
        if blocks().all(|(_, block)| block.placement.owner() == rank) {
            return y.as_slice().into();
        }
        let owned = blocks().filter(|(_, block)| block.placement.owner() == rank);
        owned.flat_map(|(index, _)| y.block_slice(index).unwrap_or_default()).copied().collect()
    }

    fn broadcast(&self, y: &Vector<Y>, root: Option<usize>, into: &mut [Y]) {
        let mut passing = Vec::new(); // what a rank sees that gets nothing
        let mut rest = into;
        for (index, row) in self.plan().rows().iter().enumerate() {
            let len = row.shape.len();
            if self.gathered_len(root) == 0 {
                passing.resize(len, Y::default());
                self.block_from_owner(y, index, &mut passing);
                continue;
            }
            let (block, after) = rest.split_at_mut(len);
            self.block_from_owner(y, index, block);
            rest = after;
        }
    }

    fn objects(&self, y: &Vector<Y>, into: &mut [Y]) -> Result<(), Error> {
        let own = || -> Vec<(usize, Vec<[u64; 2]>)> {
            let blocks = self
                .local_blocks()
                .filter(|block| self.speaks_for(*block))
                .filter_map(|block| Some((block, y.block_slice(block)?)));
            blocks.map(|(index, block)| (index, block.iter().map(bits).collect())).collect()
        };
        let mut blocks = Vec::new();
        for rank in 0..self.team().size() {
            blocks.extend(self.team().from_rank(rank, || Ok(own()))?);
        }
        blocks.sort_by_key(|(index, _)| *index);
        let numbers = blocks.into_iter().flat_map(|(_, block)| block).map(from_bits);
        for (into, number) in into.iter_mut().zip(numbers) {
            *into = number;
        }
        Ok(())
    }
}

/// The bits of both parts as `f64`: a text carries them exactly, whatever the number is.
fn bits<S: Scalar>(value: &S) -> [u64; 2] {
    [value.re().to_bits(), value.im().to_bits()]
}

fn from_bits<S: Scalar>([re, im]: [u64; 2]) -> S {
    S::from_parts(f64::from_bits(re), f64::from_bits(im))
}
