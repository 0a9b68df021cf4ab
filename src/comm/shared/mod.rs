//! Sums inside one node, in place, in memory that its ranks share. The only folder with `unsafe` for it.
//!
//! Ranks of one host map one file without a name ([`segment`]). A [`Slot`] is one rank's part of it and is what a
//! [`Vector`](crate::space::Vector) that is summed into lives in. How the ranks meet is in [`post`], how they add in
//! [`sum`], who they are in [`node`].
//!
//! **In place, not copied.** On 2 ranks a sum of 2¹⁸ `f64` that fills, sums and then uses the vector took 0.13 ms in
//! place; with ordinary vectors and copies into and out of the segment 0.42 to 0.45 ms at best (2²²: 4.2 against 10 to
//! 12 ms), which is what the library takes too. So only vectors that live in a segment are summed here; others are short
//! enough to fit into a post, or go by messages.
//!
//! **Why this is sound.** Before its first post of a sum and after its last wait, a rank touches its own slots only.
//! Between them it is inside a method that holds its slots by `&mut`, so no other reference of this rank to them lives;
//! and there rank r reads and writes slice r alone, of all slots (after the leaders' step: all read the leader's slot,
//! each writes its own). So no two ranks touch the same number without a post (release) and a wait (acquire) between, and
//! the memory model's happens-before holds across processes as it does across threads. To the compiler what other ranks
//! write comes from outside: every rank has a mapping of its own, and reads it through pointers that are made after the
//! wait. Posts themselves are atomics throughout.

mod buffer;
mod facts;
mod node;
mod post;
mod segment;
mod slot;
mod sum;
#[cfg(test)]
mod tests;

pub(crate) use buffer::Buffer;
#[cfg(feature = "mpi")]
pub(super) use facts::{FACTS, cores, facts};
pub(crate) use node::Node;
pub use node::NodeCell;
pub(crate) use slot::Slot;
pub(crate) use sum::{Leaves, is_short};
