//! Runs of samples of named dimensions: the part of an operator that is wanted, what a tile of it reads and writes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::{Selection, Shape, Tile};

/// For some named dimensions a run of samples, half-open; a dimension without one is whole.
///
/// ```
/// use stackphys::{Shape, space::Ranges};
/// let ranges = Ranges::new([("angle", 2..5)]);
/// let sinogram = Shape::new([("angle", 12), ("column", 47)]);
/// assert_eq!(ranges.shape(&sinogram), Shape::new([("angle", 3), ("column", 47)]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ranges {
    named: BTreeMap<String, Range<usize>>,
}

impl Ranges {
    /// Ranges by name; where a name comes twice, the last counts.
    pub fn new<N: Into<String>>(ranges: impl IntoIterator<Item = (N, Range<usize>)>) -> Self {
        Ranges { named: ranges.into_iter().map(|(name, range)| (name.into(), range)).collect() }
    }

    /// The run of a dimension, if it has one.
    pub fn get(&self, name: &str) -> Option<Range<usize>> {
        self.named.get(name).cloned()
    }
    /// Sets the run of a dimension, and returns the one it had.
    pub fn set(&mut self, name: impl Into<String>, range: Range<usize>) -> Option<Range<usize>> {
        self.named.insert(name.into(), range)
    }
    /// The same ranges without those of one dimension.
    pub fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.named.remove(name);
        rest
    }
    /// Names and runs, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.named.iter().map(|(name, range)| (name.as_str(), range.clone()))
    }
    /// Whether all dimensions are whole.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The part of a shape: of its own dimensions, those that have a run are cut.
    pub fn tile(&self, shape: &Shape) -> Tile {
        let dims = shape.dims().iter().enumerate();
        dims.fold(Tile::whole(shape), |tile, (axis, dim)| match self.get(&dim.name) {
            Some(range) => tile.with(axis, Selection { start: range.start, step: 1, count: range.len() }),
            None => tile,
        })
    }
    /// The shape of that part.
    pub fn shape(&self, shape: &Shape) -> Shape {
        self.tile(shape).shape()
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (place, (name, range)) in self.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{name} {}..{}", range.start, range.end)?;
        }
        f.write_str("]")
    }
}
