//! Visibilities of an interferometer, whatever file they come from: dims (visibility, part), a part being real or imaginary.
//!
//! Two real numbers for each, because what is imaged is real: a job with a real `x` has real measurements. Where each was
//! measured (u and v, in wavelengths) and its standard deviation (of either part) are coordinates along `visibility`.

use std::path::Path;

use num_complex::Complex;

use super::{Header, Loaded, check_tile};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Coordinate, Shape, Tile};

/// All visibilities of a file, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Visibilities {
    /// In wavelengths.
    pub u: Vec<f64>,
    pub v: Vec<f64>,
    /// In Jy.
    pub value: Vec<Complex<f64>>,
    /// Of the real and of the imaginary part, in Jy.
    pub sigma: Vec<f64>,
    /// How many the file marks as not to be used; they are left out.
    pub flagged: usize,
}

impl Visibilities {
    fn shape(&self) -> Shape {
        Shape::new([("visibility", self.value.len()), ("part", 2)])
    }

    /// What the file says of itself.
    pub fn header(self, path: &Path) -> Result<Header, Fault> {
        let (shape, of) = (self.shape(), path.display());
        if self.value.is_empty() {
            return Err(Fault::new(format!("{of}: there is no visibility, {} are flagged", self.flagged))
                .hint("a weight of zero or below marks a visibility as not to be used"));
        }
        let longest = self.u.iter().zip(&self.v).map(|(u, v)| u.hypot(*v)).fold(0.0, f64::max);
        let flagged =
            if self.flagged > 0 { format!(", {} flagged ones left out", self.flagged) } else { String::new() };
        let about = format!("{of}: {shape} in Jy, baselines up to {:.3} Gλ{flagged}", longest / 1e9);
        let along = |name, unit, values| Coordinate::new(name, "visibility", unit, values);
        Ok(Header {
            coordinates: vec![
                along("u", "wavelengths", self.u),
                along("v", "wavelengths", self.v),
                along("sigma", "Jy", self.sigma),
            ],
            ..Header::new(shape, about)
        })
    }

    /// The numbers of a tile.
    pub fn read<S: Scalar>(&self, path: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        check_tile(tile, &self.shape().sizes(), out.len(), &path.display().to_string())?;
        for (out, at) in out.iter_mut().zip(tile.offsets()) {
            let value = self.value[at / 2];
            *out = S::from_f64(if at % 2 == 0 { value.re } else { value.im });
        }
        Ok(Loaded { numbers: out.len() as u64, ..Loaded::default() })
    }
}
