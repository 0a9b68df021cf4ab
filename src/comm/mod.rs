//! How ranks talk: a small set of collectives, and the team that everybody else uses.
//!
//! [`Comm`] is the set. It has three forms: [`Solo`] (one process, real answers), [`threads`] (N ranks as N threads, for
//! tests) and `mpi` (the only file that names rsmpi). A [`Team`] is the only door to it: it adds agreement on faults, a
//! meter, and the mode of summation. Ranks of one host sum vectors in memory that they share (`shared`). Nothing falls back
//! to the world communicator. Some ranks do a thing of their own in a scope (`scope`). Blocks of vectors are moved between
//! ranks by a [`Transfer`], and parts of an array get margins from their neighbours by a [`Halo`].

mod agree;
mod ends;
mod halo;
mod meter;
#[cfg(feature = "mpi")]
pub mod mpi;
mod scope;
pub(crate) mod shared;
mod solo;
mod spare;
mod team;
pub mod threads;
mod transfer;

use std::ops::Range;
use std::rc::Rc;

pub use halo::{Beyond, Halo, Margin};
pub use meter::{Kind, Meter, Traffic};
pub use shared::NodeCell;
pub use solo::Solo;
pub use team::{Reduction, Summation, Team, Through};
pub use transfer::{Move, Transfer};

use crate::scalar::Scalar;

/// Numbers to send; complex ones travel as pairs of reals.
#[derive(Debug, Clone, Copy)]
pub enum Buf<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// Counts, indices, hashes.
    U64(&'a [u64]),
    /// Text and serialised values.
    U8(&'a [u8]),
}

/// Numbers to receive into, or to combine in place.
#[derive(Debug)]
pub enum BufMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
    /// Counts, indices, hashes.
    U64(&'a mut [u64]),
    /// Text and serialised values.
    U8(&'a mut [u8]),
}

impl Buf<'_> {
    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Buf::F32(values) => size_of_val(*values),
            Buf::F64(values) => size_of_val(*values),
            Buf::U64(values) => size_of_val(*values),
            Buf::U8(values) => values.len(),
        }
    }

    /// Some of the numbers.
    pub fn part(&self, range: Range<usize>) -> Buf<'_> {
        match self {
            Buf::F32(values) => Buf::F32(&values[range]),
            Buf::F64(values) => Buf::F64(&values[range]),
            Buf::U64(values) => Buf::U64(&values[range]),
            Buf::U8(values) => Buf::U8(&values[range]),
        }
    }
}

impl BufMut<'_> {
    /// The same numbers, to be read.
    pub fn as_buf(&self) -> Buf<'_> {
        match self {
            BufMut::F32(values) => Buf::F32(values),
            BufMut::F64(values) => Buf::F64(values),
            BufMut::U64(values) => Buf::U64(values),
            BufMut::U8(values) => Buf::U8(values),
        }
    }

    /// Some of the numbers, to receive into.
    pub fn part_mut(&mut self, range: Range<usize>) -> BufMut<'_> {
        match self {
            BufMut::F32(values) => BufMut::F32(&mut values[range]),
            BufMut::F64(values) => BufMut::F64(&mut values[range]),
            BufMut::U64(values) => BufMut::U64(&mut values[range]),
            BufMut::U8(values) => BufMut::U8(&mut values[range]),
        }
    }
}

/// A message to another rank, or from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The rank that it goes to, or comes from.
    pub rank: usize,
    /// Where its numbers lie in the buffer; a complex one is two.
    pub range: Range<usize>,
}

impl Message {
    /// A message of a range of scalars.
    pub(crate) fn of<S: Scalar>(rank: usize, range: Range<usize>) -> Self {
        let numbers = size_of::<S>() / size_of::<S::Real>();
        Message { rank, range: range.start * numbers..range.end * numbers }
    }
}

/// Elements that go at once in a reduction, a broadcast or a message: what the library needs beside them stays short, and
/// nothing comes near the 2³¹ of a C `int`.
pub(crate) const MESSAGE: usize = 1 << 20;

/// How numbers are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Σ.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// A group of ranks. Every method but `rank`, `size`, `abort`, `node`, `breathe` and `lost` is collective: all ranks of the
/// group call it, in the same order, with matching lengths; `messages` is called by the ranks that it names. Counts are in
/// elements.
///
/// A failure of communication itself is not an error to be handled: it ends the job, with a message.
pub trait Comm {
    /// This rank, from zero.
    fn rank(&self) -> usize;
    /// How many ranks there are.
    fn size(&self) -> usize;
    /// The host that this rank runs on.
    fn host(&self) -> String;
    /// Everybody gets the numbers of `root`.
    fn broadcast(&self, buffer: BufMut, root: usize);
    /// Everybody gets the combination of all ranks' numbers, element by element.
    fn all_reduce(&self, buffer: BufMut, how: Reduce);
    /// All ranks' numbers, in the order of ranks, on `root`, or on everybody if there is none. `receive` is left alone on
    /// the ranks that get nothing.
    fn gather(&self, send: Buf, receive: BufMut, counts: &[usize], root: Option<usize>);
    /// Rank r gets the r-th piece of everybody's `send`, in the order of ranks.
    fn exchange(&self, send: Buf, send_counts: &[usize], receive: BufMut, receive_counts: &[usize]);
    /// Messages between pairs of ranks, all under way at the same time: `to` are taken out of `send`, `from` arrive in
    /// `receive`, in which they lie one behind the other. Several between the same two ranks arrive in the order in which
    /// they are sent. Returns when all have arrived and `send` may be overwritten; nobody waits for a rank that is not named.
    fn messages(&self, send: Buf, to: &[Message], receive: BufMut, from: &[Message]);
    /// Waits for everybody.
    fn barrier(&self);
    /// Ranks of one colour form a group, ordered by `key`; a rank without a colour is in none.
    fn split(&self, colour: Option<usize>, key: usize) -> Option<Rc<dyn Comm>>;
    /// Ends the whole job at once.
    fn abort(&self, status: i32) -> !;

    /// A place for what ranks of one host share in memory. A group that has none always sums by messages. All ranks of a
    /// group answer alike. Collective: no.
    fn node(&self) -> Option<&NodeCell> {
        None
    }
    /// Called now and then while this rank waits for others elsewhere than in this communicator: lets it do its own work,
    /// and ends this rank if the group is lost. Collective: no.
    fn breathe(&self) {}
    /// Called by a rank that panics out of a sequence of collective calls: nobody may wait for it any more. Collective: no.
    fn lost(&self) {}
}
