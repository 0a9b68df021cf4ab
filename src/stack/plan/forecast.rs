//! What follows from a plan: bytes on each rank; calls and bytes of each sum, of which `calls` tells more.

use std::ops::Range;

use super::super::{Description, lanes, tree};
use super::{BlockPlan, Part};
use crate::comm::{Hosts, MESSAGE, Reduction, Summation, Traffic};
use crate::space::SPARE;

impl BlockPlan {
    /// Bytes of one vector of the model on a rank.
    pub fn model_bytes(&self, rank: usize) -> u64 {
        (self.held(&self.columns, rank) + SPARE) as u64 * self.scalar_bytes
    }
    /// Bytes of the measurements on a rank.
    pub fn data_bytes(&self, rank: usize) -> u64 {
        self.held(&self.rows, rank) as u64 * self.scalar_bytes
    }
    /// Numbers that a rank holds of some blocks.
    fn held(&self, parts: &[Part], rank: usize) -> usize {
        let here = parts.iter().filter(|part| part.ranks.binary_search(&rank).is_ok());
        here.map(|part| part.shape.len()).sum()
    }
    /// Bytes of the operators of one rank, once built, and of the normal operator that they are merged into.
    pub fn operator_bytes(&self, rank: usize) -> u64 {
        let is_complex = self.real_bytes() < self.scalar_bytes;
        let merged = self.merged.map_or(0, |basis| basis.bytes(self.domain.len(), self.real_bytes(), is_complex));
        merged + self.owned_by(rank).map(|(_, entry)| entry.description.bytes).sum::<u64>()
    }
    pub(super) fn real_bytes(&self) -> u64 {
        if self.scalar.starts_with("complex") { self.scalar_bytes / 2 } else { self.scalar_bytes }
    }
    /// Bytes of scratch of one rank: for each of its lanes the largest measurement block and what operators ask for, and what a
    /// sum over operators needs beside its result.
    pub fn scratch_bytes(&self, rank: usize) -> u64 {
        let here: Vec<&Description> = self.owned_by(rank).map(|(_, entry)| &entry.description).collect();
        let largest =
            |of: &[&Description], bytes: fn(&Description) -> u64| of.iter().map(|d| bytes(d)).max().unwrap_or(0);
        let of_lane = |run: Range<usize>| {
            let block = largest(&here[run.clone()], |description| description.range.len() as u64) * self.scalar_bytes;
            block + largest(&here[run], |description| description.scratch_bytes)
        };
        self.lane_runs(rank).into_iter().map(of_lane).sum::<u64>() + self.sum_bytes(rank)
    }

    /// The operators of each lane of a rank, by their places among the rank's.
    fn lane_runs(&self, rank: usize) -> Vec<Range<usize>> {
        lanes::runs(&self.owned_by(rank).map(|(_, entry)| entry.description.cost).collect::<Vec<_>>(), self.lanes)
    }

    fn sum_bytes(&self, rank: usize) -> u64 {
        if self.columns.len() > 1 {
            return self.block_sum_bytes(rank);
        }
        let message = |elements: usize| self.domain.len().min(elements) as u64 * self.scalar_bytes;
        let runs = self.lane_runs(rank);
        if !self.ordered {
            // the first lane adds to the result
            let of_lanes = (runs.len() as u64 - 1) * self.model_bytes(rank);
            return of_lanes + if self.ranks > 1 { message(MESSAGE) } else { 0 };
        }
        let subtrees = tree::subtrees(&self.owners());
        let mine = subtrees.iter().filter(|subtree| subtree.owner == rank);
        let log2 = |count: usize| count.next_power_of_two().trailing_zeros();
        let depth = if runs.len() == 1 {
            mine.clone().map(|subtree| log2(subtree.len())).max().unwrap_or(0)
        } else {
            // a sum for each node of a lane, partial ones below it, and above
            let operators: Vec<usize> = self.owned_by(rank).map(|(index, _)| index).collect();
            let lane_of = |index| {
                let place = operators.binary_search(&index).unwrap_or_default();
                runs.partition_point(|run| run.end <= place)
            };
            let nodes = tree::nodes_of_lanes(&operators, mine.clone(), lane_of);
            let of_lane = |lane| nodes.iter().filter(move |node| node.owner == lane).map(|node| log2(node.len())).max();
            let below: u32 = (0..runs.len()).filter_map(of_lane).sum();
            nodes.len() as u32 + below + log2(nodes.len()).saturating_sub(1)
        };
        if self.ranks == 1 {
            return u64::from(depth) * self.model_bytes(rank);
        }
        let to_send = mine.count() as u64;
        let to_combine = subtrees.len().div_ceil(self.ranks) as u64;
        // the first subtree's sum lies in the result
        (to_send.saturating_sub(1) + u64::from(depth)) * self.model_bytes(rank)
            + (to_send + to_combine + 1) * message(tree::CHUNK)
    }

    /// What sums of blocks need beside their result: ordered ones the sum and the depth of the tree for each block.
    fn block_sum_bytes(&self, rank: usize) -> u64 {
        if !self.ordered {
            return 0;
        }
        let depth = |part: &Part| u64::from(part.operators.len().next_power_of_two().trailing_zeros());
        let of_block = |part: &Part| (1 + depth(part)) * part.shape.len() as u64 * self.scalar_bytes;
        self.columns.iter().filter(|part| part.ranks.binary_search(&rank).is_ok()).map(of_block).sum()
    }

    /// Calls of one `A x` by messages, and bytes that one rank puts into them: none, unless operators of several ranks add to
    /// the same measurements.
    pub fn forward_sends(&self, rank: usize) -> (u64, u64) {
        let Traffic { calls, bytes } = self.forward_calls(rank, &self.by_messages()).total();
        (calls, bytes)
    }

    /// Calls that the sum of one model-length vector takes by messages, and bytes that one rank puts into them. In memory
    /// that the ranks share it is one call and no bytes: see [`Frame::reduction`](crate::stack::Frame::reduction). Of an `x` that is
    /// cut the sums of the blocks that the rank shares with others.
    pub fn reduction(&self, rank: usize) -> (u64, u64) {
        let Traffic { calls, bytes } = self.adjoint_calls(rank, &self.by_messages()).total();
        (calls, bytes)
    }

    fn by_messages(&self) -> Hosts {
        Hosts::even(self.ranks, 1, 1, Reduction::Messages, Summation::Fast)
    }
}
