//! Checkpoints: the state of an iteration on disk, from which another run goes on, on any number of ranks.
//!
//! A checkpoint is one file. It holds the method's vectors in the order of their blocks (*index* order, whoever held them),
//! the method's numbers bit by bit, the steps so far, and a table that says where everything is, with a checksum for every
//! piece. With ordered summation a job that goes on ends in the same bits as one that was never interrupted.
//!
//! * Each rank writes its share of the pieces: those of blocks that it alone holds, and a part of what all hold.
//! * Writing is off the critical path: a copy of the share is made between two steps, and a thread writes it.
//! * A file has a temporary name until all shares and the table are on the disk; then it is renamed. The newest two are
//!   kept, so one that is damaged leaves another.
//!
//! [`Checkpoints`] is a [`Keeper`](crate::solver::Keeper): hand it to the loop by an observer. `file` is the form on disk,
//! `pieces` says who writes what, `snapshot` and `restore` are the two memories that a method's state goes through.

mod file;
mod keep;
mod pieces;
mod restore;
mod snapshot;
mod writer;

pub use file::{Found, Table, VectorEntry, find, remove_leftovers};
pub use keep::{Checkpoints, When};
