//! How ranks of one host add their vectors.
//!
//! * Short vectors: post the numbers, wait, add everybody's in the order of ranks. One turn.
//! * Long ones: post the offer, wait. If all offer the same segment, each rank adds its slice of all slots, in the order
//!   of ranks (or as the ordered tree wants), and writes the sum into that slice of all slots; post, wait. Two turns.
//!   If not, all see the same offers, and all go by messages (or, if nobody has a slot and the numbers fit, by posts).
//! * Several nodes: between these two steps and the last wait, the leaders reduce by messages what their nodes have.

use std::ops::Range;

use super::buffer::Buffer;
use super::node::Node;
use super::post::ROOM;
use super::slot::Slot;
use crate::comm::spare::Spare;
use crate::comm::{BufMut, Comm, Reduce};
use crate::scalar::{Real, Scalar};
use crate::space::{SPARE, add_both};

/// Elements of a slice are dealt in units of this, so that two ranks rarely write to one cache line.
const UNIT: usize = 16;
/// Elements that are added at a time, so that partial sums stay in the nearest cache.
const BLOCK: usize = 512;

/// A vector that could be summed in place is short if all ranks together have no more real numbers of it than this: then
/// every rank reads all posts, in one turn instead of two. Measured on 2 ranks: both take 0.21 µs at 32 each.
const SHORT: usize = 64;
/// A vector that could not is short up to this, and if it fits into a post. On 2 ranks 512 each take 1.1 µs and 1.2 µs by
/// messages, 1024 take 5.4 and 4.6.
const SHORT_OUTSIDE: usize = 1024;

/// Offered by a rank whose vector lies in no segment of this node.
const OUTSIDE: u64 = 0;

/// How a sum that is not short is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Messages,
    /// The numbers are in the posts.
    Posts,
    /// All ranks' slots are of one segment.
    InPlace,
}

/// All ranks' slots over a piece of this rank's slice, while a sum is under way.
pub(crate) struct Leaves<'a, S> {
    out: &'a Slot<S>,
    more: Option<&'a Slot<S>>,
    len: usize,
    range: Range<usize>,
}

impl<S: Scalar> Leaves<'_, S> {
    /// Vector `k` of a rank: its `out` for 0, then those of `more`.
    pub fn leaf(&self, rank: usize, k: usize) -> &[S] {
        let Range { start, end } = self.range;
        match (k, self.more) {
            // SAFETY: made only between the first wait and the second post, within this rank's slice, and nothing is
            // written there while it lives
            (0, _) => unsafe { self.out.of(rank, start..end) },
            (_, Some(more)) => {
                let at = (k - 1) * self.len;
                // SAFETY: as above; nobody writes into `more` during a sum
                unsafe { more.of(rank, at + start..at + end) }
            }
            (_, None) => panic!("a rank has no vector {k}"),
        }
    }
}

impl Node {
    /// Bytes that this rank sends to other hosts in a sum of `len` elements.
    pub fn bytes_sent<S: Scalar>(&self, len: usize) -> usize {
        let agreement = if self.is_short::<S>(len) { 0 } else { size_of::<u64>() };
        match self.leaders {
            Some(_) => size_of::<S>() * len + size_of::<S::Real>() * SPARE + agreement,
            None => 0,
        }
    }
    fn is_short<S: Scalar>(&self, len: usize) -> bool {
        len * reals_per::<S>() * self.most <= SHORT
    }

    /// `buffer ← Σ` over all ranks of all but its last [`SPARE`] elements. `None` if the vector is not short and not all
    /// ranks offer a slot of one segment: then nothing has changed, and all ranks get `None`. Collective: yes.
    pub fn sum<S: Scalar>(&self, comm: &dyn Comm, buffer: &mut Buffer<S>, spare: Spare) -> Option<Spare> {
        let len = buffer.len() - SPARE;
        if self.is_short::<S>(len) {
            return Some(self.sum_short(comm, buffer, spare));
        }
        let (way, spare) = self.offer(comm, buffer, spare);
        match (way, buffer) {
            (Way::Posts, buffer) => self.posts.add_up(&mut S::as_reals_mut(buffer)[..len * reals_per::<S>()]),
            (Way::InPlace, Buffer::Shared(slot)) => {
                self.add_slices(slot, len);
                self.posts.pass();
                self.posts.wait(comm);
                if self.hosts > 1 {
                    return Some(self.between_hosts(comm, slot, spare));
                }
            }
            (Way::InPlace, Buffer::Own(_)) | (Way::Messages, _) => return None,
        }
        Some(spare)
    }

    /// As [`sum`](Self::sum) on one host, but `top(leaves, sum)` says how the slots of all ranks are combined, a piece of
    /// the vector at a time. Leaf (r, 0) is rank r's `out`, leaf (r, k) the k-th vector of its `more`.
    pub fn combine<S: Scalar>(
        &self,
        comm: &dyn Comm,
        out: &mut Buffer<S>,
        more: &mut Buffer<S>,
        spare: Spare,
        top: impl FnMut(&Leaves<S>, &mut [S]),
    ) -> Option<Spare> {
        let len = out.len() - SPARE;
        let (Way::InPlace, spare) = self.offer(comm, out, spare) else { return None };
        let Buffer::Shared(out) = out else { return None };
        let more = if let Buffer::Shared(slot) = more { Some(&*slot) } else { None };
        self.combine_slices(out, more, len, top);
        self.posts.pass();
        self.posts.wait(comm);
        Some(spare)
    }

    /// First turn of a sum that is not short: everybody's offer, and the way that follows from all of them.
    fn offer<S: Scalar>(&self, comm: &dyn Comm, buffer: &Buffer<S>, spare: Spare) -> (Way, Spare) {
        let segment = match buffer {
            Buffer::Shared(slot) if slot.node() == self.id => slot.segment(),
            _ => OUTSIDE,
        };
        let numbers = &S::as_reals(buffer)[..(buffer.len() - SPARE) * reals_per::<S>()];
        let may_post = self.hosts == 1 && numbers.len() * self.most <= SHORT_OUTSIDE && numbers.len() <= ROOM;
        let posted = if may_post && segment == OUTSIDE { numbers } else { &[] };
        self.posts.post(segment, spare, posted);
        self.posts.wait(comm);
        let spare = self.posts.spare();
        let way = match self.posts.offers().all(|offer| offer == segment) {
            true if segment != OUTSIDE => Way::InPlace,
            true if may_post => Way::Posts,
            _ => Way::Messages,
        };
        if self.hosts == 1 {
            return (way, spare);
        }
        // in place only if all hosts can
        let mut able = [u64::from(way == Way::InPlace)];
        if let Some(leaders) = &self.leaders {
            leaders.all_reduce(BufMut::U64(&mut able), Reduce::Min);
        }
        self.posts.post::<f64>(able[0], spare, &[]);
        self.posts.wait(comm);
        let leaders_word = self.posts.offers().next();
        (if leaders_word == Some(1) { Way::InPlace } else { Way::Messages }, spare)
    }

    /// Second step of a long sum: the sum of this rank's slice of all slots, in all of them.
    fn add_slices<S: Scalar>(&self, slot: &mut Slot<S>, len: usize) {
        let (rank, ranks) = (self.local.rank(), self.local.size());
        if ranks == 2 {
            let slice = slice(len, ranks, rank);
            // SAFETY: between the first wait and the second post; slice `rank` of both slots, which do not overlap
            let (a, b) = unsafe { (slot.of_mut(0, slice.clone()), slot.of_mut(1, slice)) };
            add_both(a, b);
            return;
        }
        self.combine_slices(slot, None, len, |leaves, sum| {
            sum.copy_from_slice(leaves.leaf(0, 0));
            (1..ranks).for_each(|rank| crate::space::add(leaves.leaf(rank, 0), sum));
        });
    }

    /// As [`add_slices`](Self::add_slices), with another way to combine.
    fn combine_slices<S: Scalar>(
        &self,
        out: &mut Slot<S>,
        more: Option<&Slot<S>>,
        len: usize,
        mut top: impl FnMut(&Leaves<S>, &mut [S]),
    ) {
        let slice = slice(len, self.local.size(), self.local.rank());
        let mut sum = [S::default(); BLOCK];
        for start in slice.clone().step_by(BLOCK) {
            let range = start..(start + BLOCK).min(slice.end);
            let sum = &mut sum[..range.len()];
            top(&Leaves { out, more, len, range: range.clone() }, sum);
            for rank in 0..self.local.size() {
                // SAFETY: between the first wait and the second post; within this rank's slice, and `Leaves` is gone
                unsafe { out.of_mut(rank, range.clone()) }.copy_from_slice(sum);
            }
        }
    }

    /// Third step, with several hosts: the leaders reduce their slots, and everybody takes over its leader's.
    fn between_hosts<S: Scalar>(&self, comm: &dyn Comm, slot: &mut Slot<S>, spare: Spare) -> Spare {
        let spare = self.leaders.as_deref().map_or(spare, |leaders| reduce_with_spare::<S>(leaders, slot, spare));
        self.posts.post::<f64>(0, spare, &[]);
        self.posts.wait(comm);
        let spare = self.posts.spare_of_leader();
        if self.leaders.is_none() {
            let all = 0..slot.len();
            // SAFETY: after the leaders' step everybody reads the leader's slot, whose owner waits, and writes its own
            let (from, to) = unsafe { (slot.of(0, all.clone()), slot.of_mut(slot.rank(), all)) };
            to.copy_from_slice(from);
        }
        self.posts.pass();
        self.posts.wait(comm);
        spare
    }

    fn sum_short<S: Scalar>(&self, comm: &dyn Comm, buffer: &mut [S], spare: Spare) -> Spare {
        let len = (buffer.len() - SPARE) * reals_per::<S>();
        self.posts.post(0, spare, &S::as_reals(buffer)[..len]);
        self.posts.wait(comm);
        let spare = self.posts.spare();
        self.posts.add_up(&mut S::as_reals_mut(buffer)[..len]);
        if self.hosts == 1 {
            return spare;
        }
        let spare = self.leaders.as_deref().map_or(spare, |leaders| reduce_with_spare(leaders, buffer, spare));
        self.posts.post(0, spare, &S::as_reals(buffer)[..len]);
        self.posts.wait(comm);
        self.posts.of_leader(&mut S::as_reals_mut(buffer)[..len]);
        self.posts.spare_of_leader()
    }
}

/// A sum by messages of a buffer, with the spare words behind it.
fn reduce_with_spare<S: Scalar>(comm: &dyn Comm, buffer: &mut [S], spare: Spare) -> Spare {
    let buffer = S::as_reals_mut(buffer);
    let at = buffer.len() - SPARE * reals_per::<S>();
    buffer[at..at + SPARE].copy_from_slice(&spare.words());
    comm.all_reduce(S::Real::real_buf_mut(&mut buffer[..at + SPARE]), Reduce::Sum);
    Spare::of_words(std::array::from_fn(|word| buffer[at + word]))
}

const fn reals_per<S: Scalar>() -> usize {
    size_of::<S>() / size_of::<S::Real>()
}

/// The slice of a vector that a rank combines.
fn slice(len: usize, ranks: usize, rank: usize) -> Range<usize> {
    let units = len.div_ceil(UNIT);
    let at = |rank: usize| (units * rank / ranks * UNIT).min(len);
    at(rank)..at(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_a_vector_once() {
        for len in [0, 1, 15, 16, 17, 100, 1 << 20] {
            for ranks in 1..6 {
                let all: Vec<_> = (0..ranks).map(|rank| slice(len, ranks, rank)).collect();
                assert_eq!((all[0].start, all[ranks - 1].end), (0, len));
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }
}
