//! Bringing measurements together: three ways, the same values bit for bit.
//!
//! Shapes are known from the plan, so no metadata travels.

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
    /// Collective: yes, one gather with exact counts, and one scalar reduction. Memory: all measurements twice where they
    /// arrive.
    pub fn gather(&self, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        self.gather_by(Gather::Concatenated, y, root)
    }

    /// As [`gather`](Self::gather), in a way that is chosen.
    ///
    /// Collective: yes; one gather (`concatenated`), one broadcast for each operator (`broadcast`), or two broadcasts for
    /// each rank (`objects`).
    pub fn gather_by(&self, how: Gather, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        self.team().agree(self.expect_data(y, "y"))?;
        match how {
            Gather::Concatenated => Ok(self.concatenated(y, root)),
            Gather::Broadcast => Ok(self.broadcast(y, root)),
            Gather::Objects => self.objects(y, root),
        }
    }

    /// The measurements of one operator, on all ranks. Collective: yes, one broadcast, and one scalar reduction.
    pub fn block_everywhere(&self, y: &Vector<Y>, index: usize) -> Result<Vec<Y>, Error> {
        let there = index < self.count();
        let missing = || Fault::new(format!("there is no operator {index}, the stack has {}", self.count()));
        self.team().agree(if there { self.expect_data(y, "y") } else { Err(missing()) })?;
        Ok(self.block_from_owner(y, index))
    }

    fn block_from_owner(&self, y: &Vector<Y>, index: usize) -> Vec<Y> {
        let entry = &self.plan().entries()[index];
        let own = y.block_slice(index).map(<[Y]>::to_vec);
        let mut block = own.unwrap_or_else(|| vec![Y::default(); entry.description.range.len()]);
        self.team().broadcast(&mut block, entry.owner);
        block
    }

    fn gets(&self, root: Option<usize>) -> bool {
        root.is_none_or(|root| root == self.team().rank())
    }

    /// The blocks of a vector that has one for each operator, on its owner, in the order of operators.
    pub(super) fn concatenated<S: Scalar>(&self, y: &Vector<S>, root: Option<usize>) -> Vec<S> {
        let blocks = || self.plan().entries().iter().zip(y.space().blocks());
        let mut counts = vec![0; self.team().size()];
        for (entry, block) in blocks() {
            counts[entry.owner] += block.shape.len();
        }
        let mut by_rank = vec![S::default(); if self.gets(root) { y.space().len() } else { 0 }];
        self.team().gather(y.as_slice(), &mut by_rank, &counts, root);
        if !self.gets(root) || self.plan().owners().is_sorted() {
            return by_rank; // the order of ranks is the order of operators
        }
        let mut next: Vec<usize> = counts.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
        let mut in_order = Vec::with_capacity(by_rank.len());
        for (entry, block) in blocks() {
            let at = &mut next[entry.owner];
            in_order.extend_from_slice(&by_rank[*at..*at + block.shape.len()]);
            *at += block.shape.len();
        }
        in_order
    }

    fn broadcast(&self, y: &Vector<Y>, root: Option<usize>) -> Vec<Y> {
        let mut all = Vec::with_capacity(if self.gets(root) { self.range().len() } else { 0 });
        for index in 0..self.count() {
            let block = self.block_from_owner(y, index);
            if self.gets(root) {
                all.extend(block);
            }
        }
        all
    }

    fn objects(&self, y: &Vector<Y>, root: Option<usize>) -> Result<Vec<Y>, Error> {
        let own = || -> Vec<(usize, Vec<[u64; 2]>)> {
            let blocks = self.local_indices().iter().filter_map(|index| Some((*index, y.block_slice(*index)?)));
            blocks.map(|(index, block)| (index, block.iter().map(bits).collect())).collect()
        };
        let mut blocks = Vec::new();
        for rank in 0..self.team().size() {
            blocks.extend(self.team().from_rank(rank, || Ok(own()))?);
        }
        if !self.gets(root) {
            return Ok(Vec::new());
        }
        blocks.sort_by_key(|(index, _)| *index);
        Ok(blocks.into_iter().flat_map(|(_, block)| block).map(from_bits).collect())
    }
}

/// The bits of both parts as `f64`: a text carries them exactly, whatever the number is.
fn bits<S: Scalar>(value: &S) -> [u64; 2] {
    [value.re().to_bits(), value.im().to_bits()]
}

fn from_bits<S: Scalar>([re, im]: [u64; 2]) -> S {
    S::from_parts(f64::from_bits(re), f64::from_bits(im))
}
