//! Which part of a shape: for each named dimension that is cut, a start, a step and a count.
//!
//! Cutting is along named dimensions, contiguous (step 1) or interleaved (step = number of parts). A tile is the key
//! that factory, readers and writers share, so each rank builds, reads and writes just its part.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Shape;

/// How the samples of a dimension are dealt into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Part p holds samples p, p + parts, p + 2·parts, …: each part sees the whole range.
    Interleaved,
    /// Part p holds a run of neighbours; the first parts are one longer where it does not divide.
    #[default]
    Contiguous,
}

/// Samples `start, start + step, …` of one dimension, `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selection {
    /// The first sample.
    pub start: usize,
    /// The distance from one sample to the next.
    pub step: usize,
    /// The number of samples.
    pub count: usize,
}

impl Selection {
    /// All of a dimension.
    pub fn all(size: usize) -> Self {
        Selection { start: 0, step: 1, count: size }
    }

    /// Part `part` of `parts` of a dimension of `size` samples.
    ///
    /// ```
    /// use stackphys::space::{Order, Selection};
    /// let second = Selection::part(7, 1, 3, Order::Interleaved);
    /// assert_eq!(second.iter().collect::<Vec<_>>(), [1, 4]);
    /// let first = Selection::part(7, 0, 3, Order::Contiguous);
    /// assert_eq!(first.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn part(size: usize, part: usize, parts: usize, order: Order) -> Self {
        match order {
            Order::Interleaved => {
                Selection { start: part, step: parts, count: size.saturating_sub(part).div_ceil(parts) }
            }
            Order::Contiguous => {
                let (each, longer) = (size / parts, size % parts);
                Selection { start: part * each + part.min(longer), step: 1, count: each + usize::from(part < longer) }
            }
        }
    }

    /// The selected samples in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let Selection { start, step, count } = *self;
        (0..count).map(move |k| start + k * step)
    }
}

/// A part of a shape: one [`Selection`] for each dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tile {
    whole: Shape,
    selections: Vec<Selection>,
}

impl Tile {
    /// All of a shape.
    pub fn whole(shape: &Shape) -> Self {
        let selections = shape.dims().iter().map(|dim| Selection::all(dim.size)).collect();
        Tile { whole: shape.clone(), selections }
    }

    /// The same tile with another selection along the dimension `axis`.
    pub fn with(mut self, axis: usize, selection: Selection) -> Self {
        self.selections[axis] = selection;
        self
    }

    /// The shape that this is a part of.
    pub fn of(&self) -> &Shape {
        &self.whole
    }
    /// One selection for each dimension, in order.
    pub fn selections(&self) -> &[Selection] {
        &self.selections
    }
    /// The selection along a named dimension.
    pub fn selection(&self, name: &str) -> Option<Selection> {
        self.whole.axis(name).map(|axis| self.selections[axis])
    }
    /// The shape of the part.
    pub fn shape(&self) -> Shape {
        Shape::new(self.whole.dims().iter().zip(&self.selections).map(|(dim, s)| (dim.name.clone(), s.count)))
    }

    /// The places in the whole of what the part has, as runs of neighbours, in the part's order.
    ///
    /// ```
    /// use stackphys::space::{Selection, Shape, Tile};
    /// let image = Tile::whole(&Shape::new([("y", 3), ("x", 4)]));
    /// let middle = image.clone().with(1, Selection { start: 1, step: 1, count: 2 });
    /// assert_eq!(middle.runs().collect::<Vec<_>>(), [1..3, 5..7, 9..11]);
    /// assert_eq!(image.runs().count(), 1);
    /// ```
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        // whole dims at the end, and one more that is cut into neighbours, lie side by side
        let sizes = self.whole.sizes();
        let whole = |axis: &usize| self.selections[*axis] == Selection::all(sizes[*axis]);
        let cut = (0..sizes.len()).rev().find(|axis| !whole(axis));
        let from = match cut {
            None => 0,
            Some(axis) if self.selections[axis].step == 1 => axis,
            Some(axis) => axis + 1,
        };
        let len: usize = self.selections[from..].iter().map(|selection| selection.count).product();
        let mut firsts = self.clone();
        firsts.selections[from..].iter_mut().for_each(|selection| selection.count = selection.count.min(1));
        let starts: Vec<usize> = firsts.offsets().collect();
        starts.into_iter().map(move |start| start..start + len)
    }

    /// The place of each element of the part in the whole (row-major), in the part's order.
    pub fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        let sizes = self.whole.sizes();
        let counts: Vec<usize> = self.selections.iter().map(|s| s.count).collect();
        (0..counts.iter().product::<usize>()).map(move |mut k| {
            let (mut offset, mut stride) = (0, 1);
            for axis in (0..counts.len()).rev() {
                let Selection { start, step, .. } = self.selections[axis];
                offset += (start + (k % counts[axis]) * step) * stride;
                k /= counts[axis];
                stride *= sizes[axis];
            }
            offset
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_each_sample_once() {
        for size in [0, 1, 5, 12, 181] {
            for parts in 1..8 {
                for order in [Order::Interleaved, Order::Contiguous] {
                    let mut seen = vec![0; size];
                    for part in 0..parts {
                        for sample in Selection::part(size, part, parts, order).iter() {
                            seen[sample] += 1;
                        }
                    }
                    assert!(seen.iter().all(|&n| n == 1), "{size} in {parts} {order:?}: {seen:?}");
                }
            }
        }
    }

    #[test]
    fn offsets_are_row_major() {
        let shape = Shape::new([("a", 3), ("b", 4)]);
        let tile = Tile::whole(&shape).with(0, Selection { start: 0, step: 2, count: 2 });
        assert_eq!(tile.offsets().collect::<Vec<_>>(), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(tile.shape(), Shape::new([("a", 2), ("b", 4)]));
    }
}
