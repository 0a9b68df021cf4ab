//! Margins along one dim: how wide, what lies beyond the edges of the array, and from which parts they are filled.

use crate::error::Fault;

/// What lies beyond the edges of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Zeros.
    Zero,
    /// The other end of the array: it goes on periodically.
    Circular,
    /// The array mirrored at its first and its last sample, which are not repeated: `x[−k] = x[k]`, as `reflect` of NumPy and
    /// PyTorch.
    Reflect,
}

/// The margins of each part along one dim: samples before its first and after its last.
///
/// ```
/// use stackphys::comm::{Beyond, Margin};
/// let margin = Margin::both("y", 2, Beyond::Zero);
/// assert_eq!((margin.before, margin.after), (2, 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Margin {
    /// The name of the dim.
    pub dim: String,
    /// The samples before the first.
    pub before: usize,
    /// The samples after the last.
    pub after: usize,
    /// What they are at the edges of the array.
    pub beyond: Beyond,
}

impl Margin {
    /// Margins of one width on both sides.
    pub fn both(dim: impl Into<String>, width: usize, beyond: Beyond) -> Self {
        Margin { dim: dim.into(), before: width, after: width, beyond }
    }

    /// A dim without margins.
    pub(super) fn none(dim: &str) -> Self {
        Margin::both(dim, 0, Beyond::Zero)
    }

    /// Whether some part has zeros there.
    pub(super) fn may_be_zero(&self) -> bool {
        self.beyond == Beyond::Zero && self.before + self.after > 0
    }

    /// A fault if a dim of so many samples cannot have these margins.
    pub(super) fn check(&self, size: usize) -> Result<(), Fault> {
        let widest = self.before.max(self.after);
        if self.beyond == Beyond::Reflect && widest >= size {
            return Err(Fault::new(format!(
                "dim `{}` of {size} samples: expected margins below {size}, got {widest}, which cannot be reflected",
                self.dim
            ))
            .hint("a mirror shows no more than there is; `Circular` and `Zero` take any width"));
        }
        Ok(())
    }

    /// The sample that one at `place`, which may lie beyond the edges, is a copy of.
    fn source(&self, place: isize, size: usize) -> Option<usize> {
        let end = size as isize;
        let sample = match self.beyond {
            _ if (0..end).contains(&place) => place,
            Beyond::Zero => return None,
            Beyond::Circular => place.rem_euclid(end),
            Beyond::Reflect if place < 0 => -place,
            Beyond::Reflect => 2 * (end - 1) - place,
        };
        Some(sample as usize)
    }

    /// Whence a part with its margins is filled, for parts with these edges; zeros come from nowhere.
    pub(super) fn runs(&self, edges: &[usize], part: usize) -> Vec<Run> {
        let size = edges[edges.len() - 1];
        let own = edges[part] as isize..edges[part + 1] as isize;
        let places = own.start - self.before as isize..own.end + self.after as isize;
        let mut runs: Vec<Run> = Vec::new();
        for (wide, place) in places.enumerate() {
            let Some(sample) = self.source(place, size) else { continue };
            let from = edges.partition_point(|edge| *edge <= sample) - 1;
            let start = sample - edges[from];
            let is_first = place == own.start || place == own.end; // what is a part's own stays one run
            match runs.last_mut().filter(|run| !is_first && run.goes_on(wide, from, start)) {
                Some(run) => {
                    run.step = start as isize - run.last() as isize;
                    run.count += 1;
                }
                None => runs.push(Run { wide, part: from, start, step: 1, count: 1 }),
            }
        }
        runs
    }
}

/// Neighbours along one dim that are copies of neighbours in one part, in the same order or mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins in the part with its margins.
    pub wide: usize,
    /// The part that it is a copy of, along this dim.
    pub part: usize,
    /// The sample of that part that it begins with.
    pub start: usize,
    /// From one sample of that part to the next: 1 or −1.
    pub step: isize,
    pub count: usize,
}

impl Run {
    /// The last sample of the part that it is a copy of.
    fn last(&self) -> usize {
        self.start.wrapping_add_signed(self.step * (self.count as isize - 1))
    }
    fn goes_on(&self, wide: usize, part: usize, start: usize) -> bool {
        let step = start as isize - self.last() as isize;
        let steps_alike = if self.count == 1 { step.abs() == 1 } else { step == self.step };
        steps_alike && self.part == part && self.wide + self.count == wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wide: usize, part: usize, start: usize, step: isize, count: usize) -> Run {
        Run { wide, part, start, step, count }
    }

    #[test]
    fn a_mirror_does_not_repeat_the_edge() {
        // 0 1 2 | 3 4: with margins 2 1 [0 1 2] 3 4 and 2 [3 4] 3 2
        let margin = |before, after| Margin { before, after, ..Margin::both("x", 0, Beyond::Reflect) };
        let first = margin(2, 2).runs(&[0, 3, 5], 0);
        assert_eq!(first, [run(0, 0, 2, -1, 2), run(2, 0, 0, 1, 3), run(5, 1, 0, 1, 2)]);
        let second = margin(1, 2).runs(&[0, 3, 5], 1);
        assert_eq!(second, [run(0, 0, 2, 1, 1), run(1, 1, 0, 1, 2), run(3, 1, 0, 1, 1), run(4, 0, 2, 1, 1)]);
    }

    #[test]
    fn wide_margins_reach_across_several_parts() {
        let line = Margin::both("x", 3, Beyond::Zero).runs(&[0, 1, 2, 5], 2);
        assert_eq!(line, [run(1, 0, 0, 1, 1), run(2, 1, 0, 1, 1), run(3, 2, 0, 1, 3)]);
        let round = Margin::both("x", 5, Beyond::Circular).runs(&[0, 2], 0);
        assert_eq!(round.iter().map(|run| run.count).sum::<usize>(), 12);
    }

    #[test]
    fn nobody_reflects_more_than_there_is() {
        assert!(Margin::both("x", 4, Beyond::Reflect).check(5).is_ok());
        assert!(Margin::both("x", 5, Beyond::Reflect).check(5).is_err());
        assert!(Margin::both("x", 50, Beyond::Circular).check(5).is_ok());
    }
}
