//! Any number of ranks gives the same answer: every promise on 1 to 4 ranks, which are threads here.
//!
//! Faults and budgets are among the promises; `tests/mpi.rs` runs the same list under real `mpirun`.

mod common;

use common::promises;
use stackphys::comm::threads;

#[test]
fn promises_hold_on_any_number_of_ranks() {
    for ranks in 1..=4 {
        for (name, promise) in promises::all() {
            println!("{ranks} ranks: {name}");
            threads::run(ranks, |comm| promise(&comm));
        }
    }
}
