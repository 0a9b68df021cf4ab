//! A shape cut into tiles: an array of all numbers as the blocks of a vector, and back. Pure: no rank asks another.

use super::{Shape, Tile, Vector};
use crate::error::Fault;
use crate::scalar::Scalar;

/// Tiles of one shape, as the blocks of a vector.
///
/// Collective: no. Cost: one pass over the numbers.
///
/// ```
/// use stackphys::space::{Block, Placement, Ranges, Space, Tiling, Vector};
/// use stackphys::Shape;
/// let image = Shape::new([("y", 2), ("x", 3)]);
/// let tiling = Tiling::new([0..2, 2..3].map(|x| Ranges::new([("x", x)]).tile(&image)).into()).unwrap();
/// let blocks = tiling.shapes().map(|shape| Block { shape, placement: Placement::Everywhere });
/// let mut vector = Vector::zeros(&Space::new(blocks.collect(), 0));
/// tiling.scatter(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut vector).unwrap();
/// assert_eq!(vector.block_slice(0).unwrap(), [1.0, 2.0, 4.0, 5.0]);
/// assert_eq!(vector.block_slice(1).unwrap(), [3.0, 6.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tiling {
    tiles: Vec<Tile>,
}

impl Tiling {
    /// The tiles in the order of the blocks. Faults: no tiles; tiles of different shapes.
    pub fn new(tiles: Vec<Tile>) -> Result<Self, Fault> {
        let Some(first) = tiles.first() else { return Err(Fault::new("tiling: expected at least one tile, got none")) };
        for (index, tile) in tiles.iter().enumerate() {
            first.of().expect(tile.of(), &format!("tiling: what tile {index} is a part of"))?;
        }
        Ok(Tiling { tiles })
    }

    /// The shape that is cut.
    pub fn of(&self) -> &Shape {
        self.tiles[0].of()
    }
    /// The tiles in order.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }
    /// The shapes of the tiles in order.
    pub fn shapes(&self) -> impl ExactSizeIterator<Item = Shape> + '_ {
        self.tiles.iter().map(Tile::shape)
    }

    /// Fills the blocks that this rank holds with their numbers of `whole`. Faults: another number of numbers; a vector with
    /// other blocks.
    pub fn scatter<S: Scalar>(&self, whole: &[S], vector: &mut Vector<S>) -> Result<(), Fault> {
        self.expect(whole.len(), vector)?;
        for (index, tile) in self.tiles.iter().enumerate() {
            for (to, place) in vector.block_slice_mut(index).unwrap_or_default().iter_mut().zip(tile.offsets()) {
                *to = whole[place];
            }
        }
        Ok(())
    }

    /// Writes the blocks that this rank holds to their places in `whole`; the rest is left as it is. Faults: as of
    /// [`scatter`](Self::scatter).
    pub fn gather<S: Scalar>(&self, vector: &Vector<S>, whole: &mut [S]) -> Result<(), Fault> {
        self.expect(whole.len(), vector)?;
        for (index, tile) in self.tiles.iter().enumerate() {
            for (from, place) in vector.block_slice(index).unwrap_or_default().iter().zip(tile.offsets()) {
                whole[place] = *from;
            }
        }
        Ok(())
    }

    /// The array of all numbers, from those of all blocks one after the other, as
    /// [`Frame::gather`](crate::stack::Frame::gather) brings them. Fault: another number of numbers.
    pub fn join<S: Scalar>(&self, blocks: &[S]) -> Result<Vec<S>, Fault> {
        let places = self.tiles.iter().flat_map(Tile::offsets);
        let count: usize = self.shapes().map(|shape| shape.len()).sum();
        if blocks.len() != count {
            return Err(Fault::new(format!("tiling: expected {count} numbers for all blocks, got {}", blocks.len())));
        }
        let mut whole = vec![S::default(); self.of().len()];
        places.zip(blocks).for_each(|(place, number)| whole[place] = *number);
        Ok(whole)
    }

    fn expect<S: Scalar>(&self, got: usize, vector: &Vector<S>) -> Result<(), Fault> {
        if got != self.of().len() {
            return Err(Fault::new(format!(
                "tiling: expected {} numbers for {}, got {got}",
                self.of().len(),
                self.of()
            )));
        }
        let blocks = vector.space().blocks();
        if blocks.len() != self.tiles.len() {
            let (want, got) = (self.tiles.len(), blocks.len());
            return Err(Fault::new(format!(
                "tiling: expected a vector of {want} blocks, one for each tile, got {got}"
            )));
        }
        let mut pairs = self.shapes().zip(blocks).enumerate();
        pairs.try_for_each(|(index, (shape, block))| {
            shape.expect(&block.shape, &format!("tiling: block {index} of the vector"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Block, Placement, Ranges, Space};

    #[test]
    fn there_and_back() {
        let shape = Shape::new([("a", 3), ("b", 4), ("c", 5)]);
        let tile = |a, c| Ranges::new([("a", a), ("c", c)]).tile(&shape);
        let tiling = Tiling::new(vec![tile(0..1, 0..2), tile(0..1, 2..5), tile(1..3, 0..2), tile(1..3, 2..5)]).unwrap();
        let numbers: Vec<f64> = (0..60).map(f64::from).collect();
        let mut back = vec![f64::NAN; 60];
        for rank in 0..2 {
            let place = |(index, shape)| Block { shape, placement: Placement::On(index % 2) };
            let mut vector = Vector::zeros(&Space::new(tiling.shapes().enumerate().map(place).collect(), rank));
            tiling.scatter(&numbers, &mut vector).unwrap();
            assert_eq!(vector.as_slice()[0], [0.0, 2.0][rank]);
            tiling.gather(&vector, &mut back).unwrap();
            assert_eq!(back.iter().filter(|number| number.is_nan()).count(), [36, 0][rank]);
        }
        assert_eq!(back, numbers);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let shape = Shape::new([("a", 3)]);
        let halves = [0..1, 1..3].map(|a| Ranges::new([("a", a)]).tile(&shape));
        let tiling = Tiling::new(halves.to_vec()).unwrap();
        let text = |outcome: Result<(), Fault>| outcome.unwrap_err().text;
        let vector = |sizes: &[usize]| {
            let block = |size: &usize| Block { shape: Shape::new([("a", *size)]), placement: Placement::Everywhere };
            Vector::<f64>::zeros(&Space::new(sizes.iter().map(block).collect(), 0))
        };
        assert!(text(tiling.scatter(&[0.0; 4], &mut vector(&[1, 2]))).contains("expected 3 numbers for (a=3), got 4"));
        assert!(text(tiling.scatter(&[0.0; 3], &mut vector(&[3]))).contains("expected a vector of 2 blocks"));
        assert!(text(tiling.gather(&vector(&[2, 1]), &mut [0.0; 3])).contains("dim `a` should be 1, got 2"));
        assert!(tiling.join(&[0.0; 4]).unwrap_err().text.contains("expected 3 numbers for all blocks, got 4"));
        assert!(Tiling::new(Vec::new()).unwrap_err().text.contains("at least one tile"));
        let other = Tile::whole(&Shape::new([("b", 3)]));
        assert!(Tiling::new(vec![halves[0].clone(), other]).unwrap_err().text.contains("what tile 1 is a part of"));
    }
}
