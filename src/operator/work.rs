//! Scratch memory that is named, initialised and reused, so that nothing allocates after the first iteration.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use crate::scalar::Scalar;

/// Scratch for the operators of one lane: each buffer has a name, is made (zeroed) when first asked for, and is kept.
///
/// A buffer is taken out and given back, so two can be used at once. What it holds when taken is what its last user left
/// there.
///
/// ```
/// use stackphys::operator::Work;
/// let mut work = Work::default();
/// let temporary = work.take::<f32>("A x", 100);
/// assert_eq!(temporary.len(), 100);
/// work.give("A x", temporary); // the next `take` allocates nothing
/// ```
#[derive(Default)]
pub struct Work {
    buffers: HashMap<(&'static str, TypeId), Box<dyn Any + Send + Sync>>,
}

impl Work {
    /// Takes the buffer `name`, made `len` long; new elements are zero.
    pub fn take<S: Scalar>(&mut self, name: &'static str, len: usize) -> Vec<S> {
        let slot = self.buffers.entry((name, TypeId::of::<S>())).or_insert_with(|| Box::new(Vec::<S>::new()));
        let mut buffer = slot.downcast_mut::<Vec<S>>().map(std::mem::take).unwrap_or_default();
        buffer.resize(len, S::default());
        buffer
    }

    /// Gives a buffer back under its name.
    pub fn give<S: Scalar>(&mut self, name: &'static str, buffer: Vec<S>) {
        if let Some(slot) = self.buffers.get_mut(&(name, TypeId::of::<S>())).and_then(|slot| slot.downcast_mut()) {
            *slot = buffer;
        }
    }
}
