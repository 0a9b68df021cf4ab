//! The collective calls that a rank takes part in when the stack of a plan is applied: exactly those that the meter counts.
//!
//! They follow from the plan and from the hosts alone. [`StepCalls`](crate::solver::StepCalls) says how often a method asks
//! for each; a model of the network says how long one takes (`src/app/scaling.rs`).

use super::super::tree;
use super::{BlockPlan, Part};
use crate::comm::{Hosts, Kind, Through, Traffic};
use crate::space::SPARE;

/// Bytes of a number that is summed by itself.
const F64: u64 = size_of::<f64>() as u64;

/// A collective call as one rank sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub kind: Kind,
    /// Bytes that this rank puts in: what its meter counts.
    pub bytes: u64,
    /// Bytes that the ranks make together: of the vector that is summed, or of all that a rank gets.
    pub length: u64,
    /// How many ranks take part.
    pub ranks: usize,
    /// On how many hosts they are.
    pub hosts: usize,
    /// Whether ranks of a host meet in memory.
    pub through: Through,
    /// How often.
    pub times: u64,
}

impl Call {
    fn times(self, times: u64) -> Self {
        Call { times: self.times * times, ..self }
    }
}

/// Calls, some of them several times over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls(pub Vec<Call>);

impl Calls {
    /// Adds others, each so often.
    pub fn add(&mut self, other: &Calls, times: u64) {
        self.0.extend(other.0.iter().map(|call| call.times(times)).filter(|call| call.times > 0));
    }
    /// Calls and bytes by kind, as a meter counts them.
    pub fn traffic(&self) -> [Traffic; Kind::ALL.len()] {
        let mut all = [Traffic::default(); Kind::ALL.len()];
        for call in &self.0 {
            let of_kind = &mut all[call.kind as usize];
            of_kind.calls += call.times;
            of_kind.bytes += call.times * call.bytes;
        }
        all
    }
    /// Calls and bytes of all kinds.
    pub fn total(&self) -> Traffic {
        self.traffic().into_iter().fold(Traffic::default(), Traffic::and)
    }
}

/// One side of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Vectors like `x`.
    Model,
    /// Vectors like the measurements.
    Data,
}

impl BlockPlan {
    /// Calls of one `Aᴴ y`.
    pub fn adjoint_calls(&self, rank: usize, hosts: &Hosts) -> Calls {
        match self.columns.len() {
            1 => self.whole_sum(rank, hosts),
            _ => self.block_sums(&self.columns, rank, hosts),
        }
    }
    /// Calls of one `A x`: none, unless operators of several ranks add to the same measurements.
    pub fn forward_calls(&self, rank: usize, hosts: &Hosts) -> Calls {
        if self.has_rows_in_order() { Calls::default() } else { self.block_sums(&self.rows, rank, hosts) }
    }
    /// Calls of one `AᴴA x`.
    pub fn normal_calls(&self, rank: usize, hosts: &Hosts) -> Calls {
        if self.merged.is_some() {
            return Calls::default();
        }
        let mut calls = self.forward_calls(rank, hosts);
        calls.add(&self.adjoint_calls(rank, hosts), 1);
        calls
    }
    /// The call of so many inner products at once.
    pub fn dots_call(&self, side: Side, products: u64, hosts: &Hosts) -> Calls {
        let parts = if side == Side::Model { &self.columns } else { &self.rows };
        let alone = |part: &Part| part.ranks.len() == self.ranks;
        // measurements of one operator are on its owner, also where there is one rank only
        let replicated = match side {
            Side::Model => parts.iter().all(alone),
            Side::Data => parts.iter().all(|part| alone(part) && self.ranks > 1),
        };
        match replicated {
            true => Calls::default(),
            false => self.numbers_call(products * if self.ordered { parts.len() as u64 } else { 1 }, hosts),
        }
    }
    /// The call of so many numbers for each block of measurements.
    pub fn row_numbers_call(&self, numbers: u64, hosts: &Hosts) -> Calls {
        self.numbers_call(numbers * self.rows.len() as u64, hosts)
    }
    /// The call of the settling of an `x` that is cut.
    pub fn settle_blocks_call(&self, hosts: &Hosts) -> Calls {
        if self.columns.len() == 1 { Calls::default() } else { self.settle_call(hosts) }
    }
    /// The call in which all ranks agree that all is well.
    pub fn settle_call(&self, hosts: &Hosts) -> Calls {
        Calls(vec![settling(&(0..self.ranks).collect::<Vec<_>>(), hosts)])
    }

    /// A sum of a few numbers of all ranks. Alone nothing is put in.
    fn numbers_call(&self, numbers: u64, hosts: &Hosts) -> Calls {
        let bytes = if self.ranks == 1 { 0 } else { (numbers + SPARE as u64) * F64 };
        Calls(vec![Call {
            kind: Kind::ScalarReduction,
            bytes,
            length: bytes,
            ranks: self.ranks,
            hosts: hosts.count(),
            through: Through::Messages,
            times: 1,
        }])
    }

    /// The sum of a vector that every rank holds.
    fn whole_sum(&self, rank: usize, hosts: &Hosts) -> Calls {
        let (len, through) = (self.domain.len(), hosts.through());
        let vector = len as u64 * self.scalar_bytes;
        let with_spare = vector + SPARE as u64 * self.real_bytes();
        let reduction = |bytes, length| Call {
            kind: Kind::VectorReduction,
            bytes,
            length,
            ranks: self.ranks,
            hosts: hosts.count(),
            through,
            times: 1,
        };
        match through {
            Through::Shared => Calls(vec![reduction(0, vector)]),
            Through::SharedAndMessages => {
                // what leaders put in; a vector that fits into the posts of a host needs no agreement on the way
                let reals = len * (self.scalar_bytes / self.real_bytes()) as usize;
                let agreement = if crate::comm::is_short_in_memory(reals, hosts.most()) { 0 } else { F64 };
                let bytes = if hosts.leads(rank) { with_spare + agreement } else { 0 };
                Calls(vec![reduction(bytes, with_spare)])
            }
            Through::Messages if !self.ordered => Calls(vec![reduction(with_spare, with_spare)]),
            Through::Messages => {
                let all: Vec<usize> = (0..self.ranks).collect();
                self.ordered_sum(len, &tree::subtrees(&self.owners()), rank, &all, hosts)
            }
        }
    }

    /// An ordered sum by messages among some ranks: chunk by chunk an exchange and a gather, then the settling.
    fn ordered_sum(
        &self,
        len: usize,
        subtrees: &[tree::Subtree],
        rank: usize,
        ranks: &[usize],
        hosts: &Hosts,
    ) -> Calls {
        let mut calls = Vec::new();
        let place = ranks.binary_search(&rank).unwrap_or_default();
        let mine = subtrees.iter().filter(|subtree| subtree.owner == rank).count() as u64;
        let chunks = if ranks.len() == 1 { 0 } else { len.div_ceil(tree::CHUNK) };
        for chunk in 0..chunks {
            let numbers = (len - chunk * tree::CHUNK).min(tree::CHUNK);
            let whole = numbers as u64 * self.scalar_bytes;
            let slice = tree::slice(numbers, ranks.len(), place).len() as u64 * self.scalar_bytes;
            let call = |kind, bytes, length| Call {
                kind,
                bytes,
                length,
                ranks: ranks.len(),
                hosts: hosts.among(ranks),
                through: Through::Messages,
                times: 1,
            };
            calls.push(call(Kind::Exchange, mine * whole, subtrees.len() as u64 * slice));
            calls.push(call(Kind::Gather, slice, whole));
        }
        calls.push(settling(ranks, hosts));
        Calls(calls)
    }

    /// The sums that complete the blocks of one side of the stack, among the ranks that share them.
    fn block_sums(&self, parts: &[Part], rank: usize, hosts: &Hosts) -> Calls {
        let mut calls = Calls::default();
        let mut at = 0;
        while at < parts.len() {
            let ranks = &parts[at].ranks;
            // fast sums: neighbours that the same ranks share go in one call
            let run = if self.ordered { 1 } else { parts[at..].iter().take_while(|part| part.ranks == *ranks).count() };
            if ranks.len() > 1 && ranks.binary_search(&rank).is_ok() {
                calls.add(&self.block_sum(&parts[at..at + run], rank, hosts), 1);
            }
            at += run;
        }
        calls
    }

    /// The sum of neighbours that the same ranks share.
    fn block_sum(&self, run: &[Part], rank: usize, hosts: &Hosts) -> Calls {
        let ranks = &run[0].ranks;
        let numbers: usize = run.iter().map(|part| part.shape.len()).sum();
        if self.ordered {
            let owners: Vec<usize> = self.entries.iter().map(|entry| entry.owner).collect();
            return self.ordered_sum(numbers, &tree::subtrees_of(&run[0].operators, &owners), rank, ranks, hosts);
        }
        let bytes = numbers as u64 * self.scalar_bytes;
        Calls(vec![Call {
            kind: Kind::VectorReduction,
            bytes,
            length: bytes,
            ranks: ranks.len(),
            hosts: hosts.among(ranks),
            through: Through::Messages,
            times: 1,
        }])
    }
}

/// The few bytes on which some ranks agree.
fn settling(ranks: &[usize], hosts: &Hosts) -> Call {
    let bytes = SPARE as u64 * F64;
    let hosts = hosts.among(ranks);
    Call {
        kind: Kind::Agreement,
        bytes,
        length: bytes,
        ranks: ranks.len(),
        hosts,
        through: Through::Messages,
        times: 1,
    }
}
