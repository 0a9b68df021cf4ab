//! Named dimensions with sizes, and ordered lists of them.
//!
//! Names are the common key of everything: data are matched to operators by them, splitting and gluing follow from
//! them. Order is the order in memory, slowest first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// A named extent, such as `angle = 181`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dim {
    /// The name: `y`, `x`, `angle`, `column`, …
    pub name: String,
    /// The number of samples.
    pub size: usize,
}

/// An ordered list of named dimensions, slowest first; row-major in memory.
///
/// ```
/// use stackphys::Shape;
/// let sinogram = Shape::new([("angle", 181), ("column", 640)]);
/// assert_eq!(sinogram.len(), 181 * 640);
/// assert_eq!(sinogram.size("column"), Some(640));
/// assert_eq!(sinogram.to_string(), "(angle=181, column=640)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Shape {
    dims: Vec<Dim>,
}

impl Shape {
    /// A shape from names and sizes.
    pub fn new<N: Into<String>>(dims: impl IntoIterator<Item = (N, usize)>) -> Self {
        Shape { dims: dims.into_iter().map(|(name, size)| Dim { name: name.into(), size }).collect() }
    }

    /// The dimensions in order.
    pub fn dims(&self) -> &[Dim] {
        &self.dims
    }
    /// The number of elements: the product of the sizes.
    #[allow(clippy::len_without_is_empty)] // a shape of no dims holds one number; "empty" would be misread
    pub fn len(&self) -> usize {
        self.dims.iter().map(|dim| dim.size).product()
    }
    /// The sizes in order, as `ndarray` wants them.
    pub fn sizes(&self) -> Vec<usize> {
        self.dims.iter().map(|dim| dim.size).collect()
    }
    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dims.iter().map(|dim| dim.name.as_str())
    }
    /// The size of a named dimension.
    pub fn size(&self, name: &str) -> Option<usize> {
        self.dims.iter().find(|dim| dim.name == name).map(|dim| dim.size)
    }
    /// The place of a named dimension in the order.
    pub fn axis(&self, name: &str) -> Option<usize> {
        self.dims.iter().position(|dim| dim.name == name)
    }

    /// A fault that says which dimension differs, if `got` is not this shape.
    pub fn expect(&self, got: &Shape, of: &str) -> Result<(), Fault> {
        if self == got {
            return Ok(());
        }
        let differs = self.dims.iter().zip(&got.dims).find(|(a, b)| a != b);
        let detail = match differs {
            Some((a, b)) if a.name == b.name => format!("; dim `{}` should be {}, got {}", a.name, a.size, b.size),
            Some((a, b)) => format!("; where `{}` should be there is `{}`", a.name, b.name),
            None => format!("; {} dims expected, got {}", self.dims.len(), got.dims.len()),
        };
        Err(Fault::new(format!("{of}: expected shape {self}, got {got}{detail}")))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (place, dim) in self.dims.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{}={}", dim.name, dim.size)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_the_dim() {
        let want = Shape::new([("y", 4), ("x", 5)]);
        let fault = want.expect(&Shape::new([("y", 4), ("x", 6)]), "image").unwrap_err();
        assert!(fault.text.contains("dim `x` should be 5, got 6"), "{}", fault.text);
        let fault = want.expect(&Shape::new([("y", 4)]), "image").unwrap_err();
        assert!(fault.text.contains("2 dims expected, got 1"), "{}", fault.text);
    }
}
