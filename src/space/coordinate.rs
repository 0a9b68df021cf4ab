//! What is known of each sample along a dim: where it was measured, or how uncertain it is.

use serde::{Deserialize, Serialize};

use super::Tile;
use crate::error::Fault;

/// Numbers along a named dim that came with measurements: u and v of visibilities, their standard deviation sigma, …
///
/// ```
/// use stackphys::space::{Coordinate, Selection, Shape, Tile};
/// let sigma = Coordinate::new("sigma", "visibility", "Jy", vec![0.1, 0.2, 0.3]);
/// let y = Tile::whole(&Shape::new([("visibility", 3), ("part", 2)]));
/// let odd = y.with(0, Selection { start: 0, step: 2, count: 2 });
/// assert_eq!(sigma.of_samples(&odd).unwrap(), [0.1, 0.3]);
/// assert_eq!(sigma.of_elements(&odd).unwrap(), [0.1, 0.1, 0.3, 0.3]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// What it is: `u`, `sigma`, …
    pub name: String,
    /// The dim along which it is given.
    pub dim: String,
    /// The unit of its numbers.
    pub unit: String,
    /// One number for each sample of the dim.
    pub values: Vec<f64>,
}

impl Coordinate {
    /// Numbers along a dim.
    pub fn new(name: &str, dim: &str, unit: &str, values: Vec<f64>) -> Self {
        Coordinate { name: name.to_owned(), dim: dim.to_owned(), unit: unit.to_owned(), values }
    }

    /// The numbers of a tile's samples along the dim. Fault: a tile without that dim, or of another size.
    pub fn of_samples(&self, tile: &Tile) -> Result<Vec<f64>, Fault> {
        match (tile.selection(&self.dim), tile.of().size(&self.dim)) {
            (Some(selection), Some(size)) if size == self.values.len() => {
                Ok(selection.iter().map(|at| self.values[at]).collect())
            }
            _ => {
                let (name, dim, count) = (&self.name, &self.dim, self.values.len());
                Err(Fault::new(format!(
                    "`{name}` has {count} numbers along `{dim}`, the measurements are {}",
                    tile.of()
                )))
            }
        }
    }

    /// One number for each element of a tile: that of its sample along the dim. Faults: as of [`of_samples`](Self::of_samples).
    pub fn of_elements(&self, tile: &Tile) -> Result<Vec<f64>, Fault> {
        let along = self.of_samples(tile)?;
        let (shape, axis) = (tile.shape(), tile.of().axis(&self.dim).unwrap_or(0));
        let inner: usize = shape.sizes()[axis + 1..].iter().product();
        Ok((0..shape.len()).map(|at| along[at / inner % along.len()]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Shape;

    #[test]
    fn a_number_belongs_to_all_elements_of_its_sample() {
        let along_b = Coordinate::new("s", "b", "", vec![1.0, 2.0, 3.0]);
        let tile = Tile::whole(&Shape::new([("a", 2), ("b", 3), ("c", 2)]));
        let twice = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        assert_eq!(along_b.of_elements(&tile).unwrap(), [twice, twice].concat());
        for other in [Shape::new([("a", 2)]), Shape::new([("b", 4)])] {
            let fault = along_b.of_samples(&Tile::whole(&other)).unwrap_err();
            assert!(fault.text.contains("`s` has 3 numbers along `b`"), "{}", fault.text);
        }
    }
}
