//! An array that is cut into a grid of parts along named dims, each a block of a vector.
//!
//! Parts are numbered row by row, as elements of an array are. Ranks take runs of them; so with as many ranks as parts the
//! ranks form the same grid.

use std::ops::Range;
use std::sync::Arc;

use super::{Block, Order, Placement, Selection, Shape, Space, Tile};
use crate::error::Fault;

/// A grid of parts of an array. Parts need not be equal, but none is empty.
///
/// Collective: no. Faults when made: a dim that the array does not have, that comes twice, or that is empty; more parts than
/// samples, or none; edges that are no partition.
///
/// ```
/// use stackphys::{Shape, space::Partition};
/// let image = Shape::new([("y", 5), ("x", 6)]);
/// let parts = Partition::even(&image, &[("y", 2), ("x", 3)]).unwrap();
/// assert_eq!(parts.count(), 6);
/// assert_eq!(parts.ranges(4), [3..5, 2..4]); // the second row of the grid, its middle
/// assert_eq!(parts.shape(4), Shape::new([("y", 2), ("x", 2)]));
/// assert_eq!(parts.owners(4), [0, 0, 1, 1, 2, 3]);
/// let parts = Partition::at(&image, &[("x", &[0, 1, 6])]).unwrap();
/// assert_eq!(parts.ranges(1), [0..5, 1..6]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    whole: Shape,
    /// Of each dim: where its parts begin, and the end of the last.
    edges: Vec<Vec<usize>>,
}

impl Partition {
    /// Parts of about equal size: so many along each of some dims, the first ones longer by one where it does not divide.
    pub fn even(whole: &Shape, parts: &[(&str, usize)]) -> Result<Self, Fault> {
        Self::along(whole, parts, |dim, size, parts| {
            if *parts == 0 || *parts > size {
                return Err(Fault::new(format!("dim `{dim}` of {whole}: expected 1 to {size} parts, got {parts}"))
                    .hint("every part has at least one sample"));
            }
            let begin = |part| Selection::part(size, part, *parts, Order::Contiguous).start;
            Ok((0..*parts).map(begin).chain([size]).collect())
        })
    }

    /// Parts with given edges along some dims: 0, where each further part begins, and the size.
    pub fn at(whole: &Shape, edges: &[(&str, &[usize])]) -> Result<Self, Fault> {
        Self::along(whole, edges, |dim, size, edges| {
            if is_partition(edges, size) {
                return Ok(edges.to_vec());
            }
            Err(Fault::new(format!("dim `{dim}` of {whole}: expected edges that rise from 0 to {size}, got {edges:?}"))
                .hint("give where each part begins, and the size of the dim at the end"))
        })
    }

    fn along<T>(
        whole: &Shape,
        cuts: &[(&str, T)],
        edges_of: impl Fn(&str, usize, &T) -> Result<Vec<usize>, Fault>,
    ) -> Result<Self, Fault> {
        if let Some(dim) = whole.dims().iter().find(|dim| dim.size == 0) {
            return Err(Fault::new(format!("dim `{}` of {whole} has no samples that could be cut", dim.name)));
        }
        let mut edges: Vec<Vec<usize>> = whole.sizes().into_iter().map(|size| vec![0, size]).collect();
        for (place, (dim, cut)) in cuts.iter().enumerate() {
            if cuts[..place].iter().any(|(before, _)| before == dim) {
                return Err(Fault::new(format!("dim `{dim}` is cut twice")));
            }
            let axis = whole.axis(dim).ok_or_else(|| Fault::new(format!("there is no dim `{dim}` in {whole}")))?;
            edges[axis] = edges_of(dim, whole.dims()[axis].size, cut)?;
        }
        Ok(Partition { whole: whole.clone(), edges })
    }

    /// The array that is cut.
    pub fn whole(&self) -> &Shape {
        &self.whole
    }
    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.grid().product()
    }
    /// Of one dim: where its parts begin, and the end of the last.
    pub fn edges(&self, axis: usize) -> &[usize] {
        &self.edges[axis]
    }
    fn grid(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.edges.iter().map(|edges| edges.len() - 1)
    }

    /// The place of a part in the grid, one index for each dim.
    pub fn place(&self, part: usize) -> Vec<usize> {
        let mut rest = part;
        let backwards = self.grid().rev().map(|parts| {
            let index = rest % parts;
            rest /= parts;
            index
        });
        let mut place: Vec<usize> = backwards.collect();
        place.reverse();
        place
    }
    /// The number of the part at a place in the grid.
    pub fn part(&self, place: &[usize]) -> usize {
        self.grid().zip(place).fold(0, |part, (parts, index)| part * parts + index)
    }
    /// What of each dim belongs to a part.
    pub fn ranges(&self, part: usize) -> Vec<Range<usize>> {
        let place = self.place(part);
        self.edges.iter().zip(place).map(|(edges, index)| edges[index]..edges[index + 1]).collect()
    }
    /// The shape of a part.
    pub fn shape(&self, part: usize) -> Shape {
        self.tile(part).shape()
    }
    /// A part as what factories, readers and writers take.
    pub fn tile(&self, part: usize) -> Tile {
        let ranges = self.ranges(part).into_iter().enumerate();
        ranges.fold(Tile::whole(&self.whole), |tile, (axis, range)| {
            tile.with(axis, Selection { start: range.start, step: 1, count: range.len() })
        })
    }

    /// The owner of each part, on so many ranks: runs of parts, the first ranks get one more where it does not divide.
    pub fn owners(&self, ranks: usize) -> Vec<usize> {
        let count = |rank| Selection::part(self.count(), rank, ranks, Order::Contiguous).count;
        (0..ranks).flat_map(|rank| std::iter::repeat_n(rank, count(rank))).collect()
    }
    /// The space of vectors with one block for each part, on its owner, as seen from one of so many ranks.
    pub fn space(&self, rank: usize, ranks: usize) -> Arc<Space> {
        let block = |(part, owner)| Block { shape: self.shape(part), placement: Placement::On(owner) };
        Space::new(self.owners(ranks).into_iter().enumerate().map(block).collect(), rank)
    }
}

/// Whether edges cut `0..size` into parts that are not empty: 0, rising, up to the size.
pub(crate) fn is_partition(edges: &[usize], size: usize) -> bool {
    edges.len() > 1 && edges[0] == 0 && edges[edges.len() - 1] == size && edges.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_each_element_once() {
        let volume = Shape::new([("z", 5), ("y", 4), ("x", 7)]);
        for partition in [
            Partition::even(&volume, &[("x", 3), ("z", 2)]).unwrap(),
            Partition::at(&volume, &[("z", &[0, 1, 5]), ("y", &[0, 3, 4]), ("x", &[0, 1, 2, 7])]).unwrap(),
            Partition::even(&volume, &[]).unwrap(),
        ] {
            let mut seen = vec![0; volume.len()];
            for part in 0..partition.count() {
                assert_eq!(partition.part(&partition.place(part)), part);
                partition.tile(part).offsets().for_each(|offset| seen[offset] += 1);
            }
            assert!(seen.iter().all(|times| *times == 1), "{partition:?}");
            for ranks in 1..9 {
                let owners = partition.owners(ranks);
                assert!(owners.len() == partition.count() && owners.is_sorted());
            }
        }
    }

    #[test]
    fn what_is_no_partition_is_told() {
        let image = Shape::new([("y", 5), ("x", 6)]);
        let even = |parts: &[(&str, usize)]| Partition::even(&image, parts).unwrap_err().text;
        assert_eq!(even(&[("z", 2)]), "there is no dim `z` in (y=5, x=6)");
        assert_eq!(even(&[("y", 2), ("y", 2)]), "dim `y` is cut twice");
        let empty = Partition::even(&Shape::new([("y", 5), ("x", 0)]), &[]).unwrap_err().text;
        assert_eq!(empty, "dim `x` of (y=5, x=0) has no samples that could be cut");
        assert_eq!(even(&[("y", 6)]), "dim `y` of (y=5, x=6): expected 1 to 5 parts, got 6");
        assert_eq!(even(&[("x", 0)]), "dim `x` of (y=5, x=6): expected 1 to 6 parts, got 0");
        for edges in [&[0, 3, 3, 6][..], &[0, 3, 5], &[1, 6], &[0, 7], &[0], &[], &[6]] {
            let text = Partition::at(&image, &[("x", edges)]).unwrap_err().text;
            assert_eq!(text, format!("dim `x` of (y=5, x=6): expected edges that rise from 0 to 6, got {edges:?}"));
        }
    }
}
