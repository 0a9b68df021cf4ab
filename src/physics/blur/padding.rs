//! What lies beyond the edges of an image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What lies beyond the edges of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The other end of the model: it goes on periodically.
    #[default]
    Circular,
    /// Nothing is assumed: the result has only those pixels whose neighbours are all in the model, n − k + 1 of n.
    Valid,
    /// Zeros.
    Zero,
    /// The last pixel, again and again.
    Replicate,
    /// The model's mirror image; the last pixel is the mirror and does not come twice (NumPy's `reflect`).
    Reflect,
}

impl Padding {
    /// Which of `size` samples stands at place `at`, which may lie beyond the edges; `None`: a zero.
    pub(crate) fn sample(self, at: isize, size: usize) -> Option<usize> {
        let last = size as isize - 1;
        match self {
            Padding::Circular => Some(at.rem_euclid(size as isize) as usize),
            Padding::Replicate => Some(at.clamp(0, last) as usize),
            Padding::Reflect => {
                let around = at.rem_euclid((2 * last).max(1));
                Some(around.min(2 * last - around).max(0) as usize)
            }
            Padding::Valid | Padding::Zero => (0..=last).contains(&at).then_some(at as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `numpy.pad([0, 1, 2, 3], 5, mode=…)` has it.
    #[test]
    fn samples_are_those_of_numpy_pad() {
        let padded = |padding: Padding, size: usize| -> Vec<i32> {
            (-5..size as isize + 5).map(|at| padding.sample(at, size).map_or(-1, |sample| sample as i32)).collect()
        };
        assert_eq!(padded(Padding::Circular, 4), [3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0]);
        assert_eq!(padded(Padding::Replicate, 4), [0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]);
        assert_eq!(padded(Padding::Reflect, 4), [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(padded(Padding::Zero, 4), [-1, -1, -1, -1, -1, 0, 1, 2, 3, -1, -1, -1, -1, -1]);
        assert_eq!(padded(Padding::Reflect, 1), [0; 11]);
    }
}
