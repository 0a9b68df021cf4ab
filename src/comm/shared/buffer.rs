//! Where the numbers of a vector are: in memory of its own, or in memory that ranks share.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::slot::Slot;

/// Numbers of a vector: its own, or this rank's part of a shared segment. A copy is always its own.
pub(crate) enum Buffer<S> {
    Own(Vec<S>),
    Shared(Slot<S>),
}

impl<S> Deref for Buffer<S> {
    type Target = [S];
    fn deref(&self) -> &[S] {
        match self {
            Buffer::Own(values) => values,
            Buffer::Shared(slot) => slot,
        }
    }
}

impl<S> DerefMut for Buffer<S> {
    fn deref_mut(&mut self) -> &mut [S] {
        match self {
            Buffer::Own(values) => values,
            Buffer::Shared(slot) => slot,
        }
    }
}

impl<S: Clone> Clone for Buffer<S> {
    fn clone(&self) -> Self {
        Buffer::Own(self.to_vec())
    }
}

impl<S: fmt::Debug> fmt::Debug for Buffer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
