//! A vector: a shared space and one contiguous buffer of what this rank holds.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn};

use super::{Shape, Space};
use crate::comm::shared::{Buffer, Slot};
use crate::random::Stream;
use crate::scalar::Scalar;

/// Elements behind the visible ones that travel with a reduction: whether any rank has a fault, whether any was asked to stop,
/// rank 0's clock (`comm::Spare`).
pub(crate) const SPARE: usize = 3;

/// Numbers of a [`Space`], as far as this rank holds them. One contiguous buffer; blocks are views into it.
///
/// Collective: no. Memory: the local length (and three spare elements, so that agreement rides on reductions for nothing).
/// A vector that sums over ranks are made into may lie in memory that ranks share
/// ([`Team::zero_sum`](crate::comm::Team::zero_sum)); a clone of it does not.
///
/// ```
/// use stackphys::{Shape, space::{Space, Vector}};
/// let mut x = Vector::<f64>::zeros(&Space::replicated(Shape::new([("y", 2), ("x", 3)])));
/// x.as_mut_slice()[4] = 7.0;
/// assert_eq!(x.block(0).unwrap()[[1, 1]], 7.0);
/// ```
#[derive(Debug, Clone)]
pub struct Vector<S> {
    space: Arc<Space>,
    buffer: Buffer<S>,
}

impl<S: Scalar> Vector<S> {
    /// The zero vector of a space.
    pub fn zeros(space: &Arc<Space>) -> Self {
        Vector { space: space.clone(), buffer: Buffer::Own(vec![S::default(); space.local_len() + SPARE]) }
    }
    /// The vector of a space in a zeroed slot of its length and [`SPARE`].
    pub(crate) fn in_slot(space: &Arc<Space>, slot: Slot<S>) -> Self {
        assert_eq!(slot.len(), space.local_len() + SPARE, "the slot does not fit the space");
        Vector { space: space.clone(), buffer: Buffer::Shared(slot) }
    }

    /// The space that this is a vector of.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }
    /// All numbers that this rank holds.
    pub fn as_slice(&self) -> &[S] {
        &self.buffer[..self.buffer.len() - SPARE]
    }
    /// All numbers that this rank holds, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [S] {
        let end = self.buffer.len() - SPARE;
        &mut self.buffer[..end]
    }
    /// The numbers with the spare elements behind them, for a reduction.
    pub(crate) fn with_spare_mut(&mut self) -> &mut Buffer<S> {
        &mut self.buffer
    }

    /// The numbers of one block, if it is here.
    pub fn block_slice(&self, index: usize) -> Option<&[S]> {
        self.space.local(index).map(|range| &self.buffer[range])
    }
    /// The numbers of one block, to be changed, if it is here.
    pub fn block_slice_mut(&mut self, index: usize) -> Option<&mut [S]> {
        self.space.local(index).map(|range| &mut self.buffer[range])
    }
    /// One block as an array of its shape, if it is here.
    pub fn block(&self, index: usize) -> Option<ArrayViewD<'_, S>> {
        let shape = sizes(&self.space.blocks()[index].shape);
        self.block_slice(index).and_then(|slice| ArrayViewD::from_shape(shape, slice).ok())
    }
    /// One block as an array of its shape, to be changed, if it is here.
    pub fn block_mut(&mut self, index: usize) -> Option<ArrayViewMutD<'_, S>> {
        let shape = sizes(&self.space.blocks()[index].shape);
        self.block_slice_mut(index).and_then(|slice| ArrayViewMutD::from_shape(shape, slice).ok())
    }

    /// Sets all numbers.
    pub fn fill(&mut self, value: S) {
        self.as_mut_slice().fill(value);
    }
    /// Sets all numbers to standard normal ones, drawn by the place among all elements of the space: the same on any number
    /// of ranks, and on all ranks that hold a block.
    pub fn fill_normal(&mut self, stream: &Stream) {
        let space = self.space.clone();
        let mut start = 0;
        for (index, block) in space.blocks().iter().enumerate() {
            if let Some(values) = self.block_slice_mut(index) {
                stream.fill_normal(start, values);
            }
            start += block.shape.len() as u64;
        }
    }
    /// Copies the numbers of another vector of the same space.
    pub fn copy_from(&mut self, other: &Vector<S>) {
        debug_assert!(self.space.same(&other.space));
        self.as_mut_slice().copy_from_slice(other.as_slice());
    }
    /// `self ← self + a·x`.
    pub fn axpy(&mut self, a: f64, x: &Vector<S>) {
        debug_assert!(self.space.same(&x.space));
        super::blas::axpy(a, x.as_slice(), self.as_mut_slice());
    }
    /// `self ← x + b·self`.
    pub fn xpby(&mut self, x: &Vector<S>, b: f64) {
        debug_assert!(self.space.same(&x.space));
        super::blas::xpby(x.as_slice(), b, self.as_mut_slice());
    }
    /// `self ← a·self`.
    pub fn scale(&mut self, a: f64) {
        super::blas::scale(a, self.as_mut_slice());
    }

    /// Re⟨self, other⟩ over what this rank holds of the blocks `which`.
    pub(crate) fn dot_blocks(&self, other: &Vector<S>, which: Range<usize>) -> f64 {
        which
            .filter_map(|index| self.space.local(index))
            .map(|range| super::blas::dot(&self.buffer[range.clone()], &other.buffer[range]))
            .sum()
    }
}

fn sizes(shape: &Shape) -> IxDyn {
    IxDyn(&shape.sizes())
}
