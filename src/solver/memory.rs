//! What a method must remember from one step to the next, so that it can go on in another run.
//!
//! A method names its state once, in [`Method::remember`](super::Method::remember); that one list is both what is kept and
//! what is put back. What it needs not name: scratch that each step overwrites, parameters, and what follows from the stack
//! and the measurements alone. Numbers are kept bit by bit, so a method that goes on does exactly what it would have done.

use crate::scalar::Scalar;
use crate::space::{Space, Vector};

/// Where a method's state goes to, or comes from. All ranks name the same things in the same order.
///
/// ```
/// use stackphys::solver::{Method, Progress, Memory};
/// struct Halve { value: f64, steps: usize }
/// impl Method for Halve {
///     fn start(&mut self) -> Result<Progress, stackphys::Error> { Ok(Progress::default()) }
///     fn step(&mut self) -> Result<Progress, stackphys::Error> {
///         (self.value, self.steps) = (self.value / 2.0, self.steps + 1);
///         Ok(Progress { iteration: self.steps, value: Some(self.value), ..Progress::default() })
///     }
///     fn remember(&mut self, memory: &mut dyn Memory) {
///         memory.scalar("value", &mut self.value);
///         memory.count("steps", &mut self.steps);
///     }
/// }
/// ```
pub trait Memory {
    /// A vector. Collective: yes.
    fn numbers(&mut self, numbers: Numbers);
    /// Bits that are equal on all ranks. Collective: yes.
    fn bits(&mut self, name: &'static str, bits: &mut u64);
    /// Says that the method cannot be kept.
    fn nothing(&mut self);
}

/// What this rank holds of a vector, as a memory sees it.
pub struct Numbers<'v> {
    /// The method's name for it.
    pub name: &'static str,
    /// The space that it is of.
    pub space: &'v Space,
    /// The scalar.
    pub scalar: &'static str,
    /// Bytes of an element.
    pub width: usize,
    /// The elements that this rank holds.
    pub bytes: &'v mut [u8],
}

impl dyn Memory + '_ {
    /// A vector.
    pub fn vector<S: Scalar>(&mut self, name: &'static str, vector: &mut Vector<S>) {
        let space = &*vector.space().clone();
        let bytes = bytemuck::cast_slice_mut(vector.as_mut_slice());
        self.numbers(Numbers { name, space, scalar: S::NAME, width: size_of::<S>(), bytes });
    }
    /// A number that is equal on all ranks.
    pub fn scalar(&mut self, name: &'static str, number: &mut f64) {
        let mut bits = number.to_bits();
        self.bits(name, &mut bits);
        *number = f64::from_bits(bits);
    }
    /// Several of them.
    pub fn scalars<'n>(&mut self, numbers: impl IntoIterator<Item = (&'static str, &'n mut f64)>) {
        numbers.into_iter().for_each(|(name, number)| self.scalar(name, number));
    }
    /// A number that is not always there.
    pub fn optional(&mut self, name: &'static str, number: &mut Option<f64>) {
        // of all bits that are not a number, one means: none
        const NONE: u64 = u64::MAX;
        let mut bits = number.map_or(NONE, f64::to_bits);
        self.bits(name, &mut bits);
        *number = (bits != NONE).then_some(f64::from_bits(bits));
    }
    /// A count that is equal on all ranks.
    pub fn count(&mut self, name: &'static str, count: &mut usize) {
        let mut bits = *count as u64;
        self.bits(name, &mut bits);
        *count = bits as usize;
    }
}
