//! What one step of a method asks of the ranks. Each method has its line in [`AnyMethod::calls`](super::AnyMethod::calls); a plan
//! turns these into collective calls with their bytes.

use std::fmt;

use crate::comm::Hosts;
use crate::stack::{BlockPlan, Calls, Side};

/// What one step of a method asks of the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCalls {
    /// `AᴴA x`.
    pub normals: u64,
    /// `Aᴴ y`.
    pub adjoints: u64,
    /// `A x`.
    pub forwards: u64,
    /// Inner products of vectors of the model: of each call how many at once.
    pub model_dots: &'static [u64],
    /// The same of the measurements.
    pub data_dots: &'static [u64],
    /// Sums of some numbers for each block of measurements: of each call how many.
    pub row_numbers: &'static [u64],
    /// Times that an `x` that is cut is settled by itself.
    pub settles: u64,
}

impl StepCalls {
    /// What is sent where every rank holds all of `x`.
    pub fn messages(&self) -> StepMessages {
        StepMessages {
            vector_reductions: self.normals + self.adjoints,
            scalar_reductions: (self.data_dots.len() + self.row_numbers.len()) as u64,
        }
    }

    /// The collective calls that a rank of a plan takes part in. Collective: no.
    pub fn on(&self, plan: &BlockPlan, rank: usize, hosts: &Hosts) -> Calls {
        let mut calls = Calls::default();
        calls.add(&plan.normal_calls(rank, hosts), self.normals);
        calls.add(&plan.adjoint_calls(rank, hosts), self.adjoints);
        calls.add(&plan.forward_calls(rank, hosts), self.forwards);
        for products in self.model_dots {
            calls.add(&plan.dots_call(Side::Model, *products, hosts), 1);
        }
        for products in self.data_dots {
            calls.add(&plan.dots_call(Side::Data, *products, hosts), 1);
        }
        for numbers in self.row_numbers {
            calls.add(&plan.row_numbers_call(*numbers, hosts), 1);
        }
        calls.add(&plan.settle_blocks_call(hosts), self.settles);
        calls
    }
}

/// What one step of a method sends where every rank holds all of `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMessages {
    /// Sums of a vector of the model over the ranks.
    pub vector_reductions: u64,
    /// Sums of a few numbers over the ranks.
    pub scalar_reductions: u64,
}

impl fmt::Display for StepMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64, of: &str| match number {
            0 => format!("no {of}"),
            1 => format!("one {of}"),
            more => format!("{more} {of}s"),
        };
        let vectors = count(self.vector_reductions, "sum");
        write!(f, "{vectors} of a model vector, {}", count(self.scalar_reductions, "scalar reduction"))
    }
}
