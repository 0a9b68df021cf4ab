//! What a job will need and send, known before anything is built: memory by rank and host, calls and bytes of an iteration,
//! balance, size of a checkpoint. The one home of these numbers: `plan` prints them, `run` compares them with the memory that
//! there is, the report has them beside what was measured.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::resolve::Resolved;
use crate::comm::{Hosts, Kind, Through};
use crate::io::Data;
use crate::solver::StepCalls;
use crate::stack::{BlockPlan, Calls};

/// Bytes that a process needs before it holds any vector: the program, BLAS, fonts. Measured with OpenBLAS and one thread.
const PROCESS_BYTES: u64 = 26_000_000;

/// What MPI adds to that where there are several. Measured with Open MPI 4.1.
const MPI_BYTES: u64 = 11_200_000;

/// What HDF5 adds when a file is read.
const HDF5_BYTES: u64 = 4_000_000;

/// What rank 0 needs to draw the results, when of the method's vectors only the result is left; and what of it does not fit into
/// the memory that these have left.
const PICTURE_BYTES: [u64; 2] = [8_500_000, 5_000_000];

/// A plan on hosts, with what the method adds to it.
pub struct Forecast<'a> {
    resolved: &'a Resolved<'a>,
    /// Who owns what.
    pub plan: &'a BlockPlan,
    /// Which rank is on which host.
    pub hosts: &'a Hosts,
}

/// Bytes that one rank holds at its peak, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RankMemory {
    /// The program itself, and what libraries need.
    pub process: u64,
    /// Vectors of the method.
    pub vectors: u64,
    /// The measurements, what fidelities read beside them, and the true image where they are simulated.
    pub measurements: u64,
    /// The operators.
    pub operators: u64,
    /// Scratch of operators and of sums.
    pub scratch: u64,
    /// Parts of other ranks' vectors that are seen in shared memory while they are summed.
    pub seen: u64,
    /// This rank's share of a checkpoint on its way to the disk.
    pub snapshot: u64,
    /// What drawing the results takes beyond what the method held.
    pub picture: u64,
}

impl RankMemory {
    /// All of it.
    pub fn peak(&self) -> u64 {
        let RankMemory { process, vectors, measurements, operators, scratch, seen, snapshot, picture } = self;
        process + vectors + measurements + operators + scratch + seen + snapshot + picture
    }
}

impl<'a> Forecast<'a> {
    /// Of a job with its plan on such hosts.
    pub fn new(resolved: &'a Resolved<'a>, plan: &'a BlockPlan, hosts: &'a Hosts) -> Self {
        Forecast { resolved, plan, hosts }
    }

    /// Vectors that a solve holds, of the model and of the measurements, its preconditioner's among them.
    pub fn vectors(&self) -> [u64; 2] {
        let [of_model, of_data] = self.resolved.job.solve.method.vectors();
        let by = self.resolved.job.solve.preconditioner.as_ref();
        [of_model + by.map_or(0, |by| 1 + by.model_vectors()), of_data] // 1: M⁻¹r
    }
    /// Vectors that the norm holds, if it is asked for: beside them there is the solution.
    pub fn norm_vectors(&self) -> [u64; 2] {
        let norm = self.resolved.job.norm.as_ref().map(|norm| norm.method.vectors());
        norm.map_or([0, 0], |[of_model, of_data]| [of_model + 1, of_data])
    }
    /// What one iteration asks of the ranks.
    pub fn step(&self) -> StepCalls {
        let solve = &self.resolved.job.solve;
        solve.method.calls(solve.preconditioner.as_ref())
    }
    /// The collective calls of one iteration that a rank takes part in.
    pub fn iteration(&self, rank: usize) -> Calls {
        let mut calls = self.step().on(self.plan, rank, self.hosts);
        let agrees = |kind| matches!(kind, Kind::VectorReduction | Kind::ScalarReduction | Kind::Agreement);
        let job = self.resolved.job;
        let wants_to_know = job.solve.wall_time_s.is_some() || job.keeps_state();
        if wants_to_know && !calls.0.iter().any(|call| agrees(call.kind)) {
            // nothing that the time, and the wish that it stops, could travel with: see `drive`
            calls.add(&self.plan.settle_call(self.hosts), 1);
        }
        calls
    }

    /// What a rank holds at its peak.
    pub fn memory(&self, rank: usize) -> RankMemory {
        let (plan, job) = (self.plan, self.resolved.job);
        let hdf5 = job.terms.iter().any(|term| matches!(term.data, Some(Data::DataExchange(_) | Data::NxTomo(_))));
        let simulated = job.terms.iter().any(|term| matches!(term.data, Some(Data::Phantom(_))));
        let truth = if simulated { plan.model_bytes(rank) } else { 0 };
        let bytes = |[model, data]: [u64; 2]| model * plan.model_bytes(rank) + data * plan.data_bytes(rank);
        let neighbours = self.hosts.ranks_of(self.hosts.of(rank)).count();
        let shares = neighbours > 1 && self.hosts.through() != Through::Messages;
        let mut memory = RankMemory {
            process: PROCESS_BYTES + if plan.ranks() > 1 { MPI_BYTES } else { 0 } + if hdf5 { HDF5_BYTES } else { 0 },
            vectors: bytes(self.vectors()).max(bytes(self.norm_vectors())),
            measurements: plan.data_bytes(rank) + self.resolved.fidelity_bytes(plan, rank) + truth,
            operators: plan.operator_bytes(rank),
            scratch: plan.scratch_bytes(rank),
            // a rank adds up its slice of everybody's vector
            seen: if shares { plan.model_bytes(rank) } else { 0 },
            snapshot: self.checkpoint_bytes().div_ceil(plan.ranks() as u64),
            picture: 0,
        };
        if rank == 0 {
            let solving = memory.vectors + memory.scratch + memory.seen + memory.snapshot;
            let [all, at_least] = PICTURE_BYTES;
            memory.picture = (plan.model_bytes(rank) + all).saturating_sub(solving).max(at_least);
        }
        memory
    }
    /// What the ranks of a host hold together at their peak.
    pub fn host_bytes(&self, host: usize) -> u64 {
        self.hosts.ranks_of(host).map(|rank| self.memory(rank).peak()).sum()
    }
    /// What the vectors of a checkpoint take on the disk; zero where none are written.
    pub fn checkpoint_bytes(&self) -> u64 {
        if !self.resolved.job.keeps_state() {
            return 0;
        }
        let [of_model, of_data] = self.resolved.job.solve.method.kept_vectors();
        let numbers = |parts: &[crate::stack::Part]| parts.iter().map(|part| part.shape.len() as u64).sum::<u64>();
        (of_model * numbers(self.plan.columns()) + of_data * numbers(self.plan.rows())) * self.plan.scalar_bytes()
    }
    /// The cost of the operators of each rank.
    pub fn costs(&self) -> Vec<f64> {
        let mut costs = vec![0.0; self.plan.ranks()];
        self.plan.entries().iter().for_each(|entry| costs[entry.owner] += entry.description.cost);
        costs
    }
    /// The cost of the operators of the busiest rank against the mean over ranks.
    pub fn balance(&self) -> f64 {
        let costs = self.costs();
        let (most, sum) = costs.iter().fold((0.0_f64, 0.0), |(most, sum), cost| (most.max(*cost), sum + cost));
        if sum == 0.0 { 1.0 } else { most * costs.len() as f64 / sum }
    }
    /// Ranks without operators.
    pub fn idle(&self) -> usize {
        let mut busy = vec![false; self.plan.ranks()];
        self.plan.entries().iter().for_each(|entry| busy[entry.owner] = true);
        busy.iter().filter(|busy| !**busy).count()
    }

    /// All of it for programs: `plan --json`.
    pub fn to_json(&self) -> Value {
        let ranks = (0..self.plan.ranks()).map(|rank| {
            let memory = self.memory(rank);
            json!({
                "host": self.hosts.of(rank),
                "operators": self.plan.owned_by(rank).count(),
                "memory": memory,
                "peak_memory_bytes": memory.peak(),
                "per_iteration": by_kind(&self.iteration(rank)),
            })
        });
        json!({
            "operators": self.plan.entries().len(),
            "ranks": ranks.collect::<Vec<_>>(),
            "hosts": (0..self.hosts.count()).map(|host| json!({ "peak_memory_bytes": self.host_bytes(host) })).collect::<Vec<_>>(),
            "reduction": self.hosts.through(),
            "balance": self.balance(),
            "idle_ranks": self.idle(),
            "checkpoint_bytes": self.checkpoint_bytes(),
            "hash": format!("{:016x}", self.plan.hash()),
        })
    }
}

/// Calls and bytes by kind, as the report has them; kinds that are not there are left out.
pub fn by_kind(calls: &Calls) -> Map<String, Value> {
    let traffic = calls.traffic();
    let there = Kind::ALL.into_iter().zip(traffic).filter(|(_, traffic)| traffic.calls > 0);
    there.map(|(kind, traffic)| (kind.name().to_owned(), json!(traffic))).collect()
}
