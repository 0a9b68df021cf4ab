//! Scratch memory that is named, initialised and reused, so that nothing allocates after the first iteration.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use crate::scalar::Scalar;

/// Scratch for the operators of one lane: each buffer has a name, is made (zeroed) when first asked for, and is kept.
///
/// A buffer is taken out and given back, so two can be used at once, also two of one name: a container and its member may
/// use the same. What it holds when taken is what its last user left there.
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
    /// For each name and scalar the `Vec<Vec<S>>` of those that nobody has taken; the last one given is the next one taken,
    /// so that nested users get back the one that has grown to their length.
    buffers: HashMap<(&'static str, TypeId), Box<dyn Any + Send + Sync>>,
}

impl Work {
    /// Takes the buffer `name`, made `len` long; new elements are zero.
    pub fn take<S: Scalar>(&mut self, name: &'static str, len: usize) -> Vec<S> {
        let slot = self.buffers.entry((name, TypeId::of::<S>())).or_insert_with(|| Box::new(Vec::<Vec<S>>::new()));
        let mut buffer = slot.downcast_mut::<Vec<Vec<S>>>().and_then(Vec::pop).unwrap_or_default();
        buffer.resize(len, S::default());
        buffer
    }

    /// Gives a buffer back under its name.
    pub fn give<S: Scalar>(&mut self, name: &'static str, buffer: Vec<S>) {
        let slot = self.buffers.get_mut(&(name, TypeId::of::<S>()));
        if let Some(free) = slot.and_then(|slot| slot.downcast_mut::<Vec<Vec<S>>>()) {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_users_of_one_name_get_their_own_buffers_back() {
        let mut work = Work::default();
        let mut addresses = Vec::new();
        for _ in 0..3 {
            let outer = work.take::<f64>("x", 10);
            let inner = work.take::<f64>("x", 1000);
            addresses.push((outer.as_ptr(), inner.as_ptr()));
            assert_ne!(outer.as_ptr(), inner.as_ptr());
            work.give("x", inner);
            work.give("x", outer);
        }
        assert!(addresses.iter().all(|pair| *pair == addresses[0]));
    }
}
