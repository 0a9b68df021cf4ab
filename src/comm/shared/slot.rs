//! One rank's part of a segment, as numbers.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

use super::segment::Segment;
use crate::comm::Comm;
use crate::scalar::Scalar;

/// This rank's part of a segment: `lens[rank]` numbers. Others touch it only inside a [`Node`](super::Node)'s sums.
pub(crate) struct Slot<S> {
    segment: Segment,
    node: u64,
    rank: usize,
    lens: Vec<usize>,
    scalar: PhantomData<S>,
}

impl<S: Scalar> Slot<S> {
    /// Slots of `lens[r]` numbers for rank r of `local`, zeroed; the only place that makes any. `None` on all ranks of `all`
    /// if any cannot have it. Collective: yes.
    pub(super) fn new(all: &dyn Comm, local: &dyn Comm, lens: Vec<usize>, node: u64) -> Option<Self> {
        let bytes: Vec<usize> = lens.iter().map(|len| len * size_of::<S>()).collect();
        let segment = Segment::new(all, local, &bytes)?;
        Some(Slot { segment, node, rank: local.rank(), lens, scalar: PhantomData })
    }
}

impl<S> Slot<S> {
    /// Which node it was made for.
    pub(super) fn node(&self) -> u64 {
        self.node
    }
    /// The number of its segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment.id()
    }
    /// Whose slot it is, among the ranks of the host.
    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    fn pointer(&self, rank: usize, range: &Range<usize>) -> *mut S {
        assert!(range.start <= range.end && range.end <= self.lens[rank], "a slot is shorter than that");
        // SAFETY: `new` made the part of each rank at least `lens[rank]` elements long, from a multiple of PAGE on
        unsafe { self.segment.part(rank).cast::<S>().add(range.start) }
    }

    /// Part of a rank's slot.
    ///
    /// # Safety
    ///
    /// No rank writes there while the result lives.
    pub(super) unsafe fn of<'a>(&self, rank: usize, range: Range<usize>) -> &'a [S] {
        // SAFETY: in bounds and aligned, see `pointer`; any bytes are a number (scalars are `Pod`); the caller promises the rest
        unsafe { std::slice::from_raw_parts(self.pointer(rank, &range), range.len()) }
    }

    /// Part of a rank's slot, to be changed.
    ///
    /// # Safety
    ///
    /// Nothing else reads or writes there while the result lives, on any rank.
    pub(super) unsafe fn of_mut<'a>(&self, rank: usize, range: Range<usize>) -> &'a mut [S] {
        // SAFETY: as in `of`
        unsafe { std::slice::from_raw_parts_mut(self.pointer(rank, &range), range.len()) }
    }
}

impl<S> Deref for Slot<S> {
    type Target = [S];
    fn deref(&self) -> &[S] {
        // SAFETY: outside of a sum, which holds the slot by `&mut`, only this rank touches its own slot
        unsafe { self.of(self.rank, 0..self.lens[self.rank]) }
    }
}

impl<S> DerefMut for Slot<S> {
    fn deref_mut(&mut self) -> &mut [S] {
        // SAFETY: as in `deref`, and there is one `Slot` to a rank's part
        unsafe { self.of_mut(self.rank, 0..self.lens[self.rank]) }
    }
}
