//! From one format of arrays to another.

use std::path::Path;

use num_complex::Complex;

use super::array::{extension, open, split_entry, unknown};
use super::{cfl, npz, png, tiff, write_npy};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Numbers, Shape, Tile};

/// The extensions that can be written.
const WRITTEN: &str = "npy, npz, cfl, tif, tiff, png";
/// What NumPy calls an array in an npz file that nobody has named.
const UNNAMED: &str = "arr_0";

/// Reads the array of one file and writes it as another, in the formats that the extensions tell; returns a line about it.
///
/// Integers become `f64`. A cfl file holds complex numbers in single precision, TIFF real ones of two or three dims, PNG grey
/// values of two: `window` says what is black and what is white, otherwise the 0.5th and the 99.5th percentile are; of complex
/// numbers it shows the magnitude. The file appears whole or not at all.
///
/// Collective: no. Cost: the array in memory. Faults: those of the formats; an unknown extension; an array that the format cannot
/// hold; numbers that are not finite.
///
/// ```
/// use stackphys::{Shape, io::{convert, write_npy}};
/// let folder = tempfile::tempdir().unwrap();
/// let path = |name| folder.path().join(name);
/// write_npy(&path("a.npy"), &Shape::new([("y", 2), ("x", 2)]), &[0.0f32, 1.0, 2.0, 3.0]).unwrap();
/// convert(&path("a.npy"), &path("a.tif"), None).unwrap();
/// convert(&path("a.tif"), &path("b.npy"), None).unwrap();
/// assert_eq!(std::fs::read(path("a.npy")).unwrap(), std::fs::read(path("b.npy")).unwrap());
/// ```
pub fn convert(from: &Path, to: &Path, window: Option<[f64; 2]>) -> Result<String, Fault> {
    let (out, entry) = split_entry(to);
    if !WRITTEN.split(", ").any(|known| known == extension(&out)) {
        return Err(unknown(&out, &extension(&out), WRITTEN));
    }
    if window.is_some() && extension(&out) != "png" {
        return Err(Fault::new(format!("--window is for png, {} is another format", out.display()))
            .hint("leave it out: the numbers are written as they are"));
    }
    if let Some([low, high]) = window.filter(|[low, high]| !(low.is_finite() && high.is_finite() && low < high)) {
        return Err(Fault::new(format!("--window: expected LOW below HIGH, got {low} and {high}"))
            .hint("black is LOW, white is HIGH, e.g. --window 0 1"));
    }
    let mut array = open(Path::new(""), from)?;
    let shape = Shape::new(array.names.iter().cloned().zip(array.sizes.iter().copied()));
    let numbers = array.read_numbers(&Tile::whole(&shape))?;
    let entry = entry.unwrap_or_else(|| UNNAMED.to_owned());
    let extra = match &numbers {
        Numbers::F32(values) => write(&out, &entry, &shape, values, window)?,
        Numbers::F64(values) => write(&out, &entry, &shape, values, window)?,
        Numbers::ComplexF32(values) => write(&out, &entry, &shape, values, window)?,
        Numbers::ComplexF64(values) => write(&out, &entry, &shape, values, window)?,
    };
    Ok(format!("{}: {shape}, {}{extra}", to.display(), array.element.name()))
}

/// Writes an array in the format of an extension; says what was lost.
fn write<S: Scalar>(
    path: &Path,
    entry: &str,
    shape: &Shape,
    values: &[S],
    window: Option<[f64; 2]>,
) -> Result<String, Fault> {
    match extension(path).as_str() {
        "npy" => write_npy(path, shape, values)?,
        "npz" => npz::write(path, entry, shape, values)?,
        "tif" | "tiff" => tiff::write(path, shape, values)?,
        "cfl" => {
            let single: Vec<_> = values.iter().map(|z| Complex::new(z.re() as f32, z.im() as f32)).collect();
            cfl::write(path, shape, &single)?;
            return Ok(" → complex64".to_owned());
        }
        _ => {
            let [rows, columns] = shape.sizes()[..] else {
                return Err(Fault::new(format!("{}: a PNG shows 2 dims, the array is {shape}", path.display()))
                    .hint("write a TIFF stack, or choose a slice beforehand"));
            };
            let shown = png::write_in_window(path, values, [rows, columns], window)?;
            return Ok(format!(" → grey, black {} and white {}", shown.low, shown.high));
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_through_all_formats_gives_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let values: Vec<f32> = (0..24).map(|k| (k as f32 * 0.7).sin()).collect();
        write_npy(&path("0.npy"), &Shape::new([("z", 2), ("y", 3), ("x", 4)]), &values).unwrap();
        for (from, to) in [("0.npy", "1.npz/volume"), ("1.npz/volume", "2.tif"), ("2.tif", "3.npz"), ("3.npz", "4.npy")]
        {
            convert(&path(from), &path(to), None).unwrap();
        }
        assert_eq!(std::fs::read(path("4.npy")).unwrap(), std::fs::read(path("0.npy")).unwrap());
        let line = convert(&path("0.npy"), &path("5.cfl"), None).unwrap();
        assert!(line.ends_with("5.cfl: (z=2, y=3, x=4), float32 → complex64"), "{line}");
        convert(&path("5.hdr"), &path("6.npy"), None).unwrap();
        let complex: ndarray::Array3<Complex<f32>> = ndarray_npy::read_npy(path("6.npy")).unwrap();
        assert_eq!(complex.dim(), (2, 3, 4));
        assert!(complex.iter().zip(&values).all(|(z, value)| z.re == *value && z.im == 0.0));
    }

    #[test]
    fn a_picture_has_the_window_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_npy(&path("a.npy"), &Shape::new([("y", 1), ("x", 4)]), &[-1.0, 0.0, 1.0, 4.0]).unwrap();
        let line = convert(&path("a.npy"), &path("a.png"), Some([0.0, 2.0])).unwrap();
        assert!(line.ends_with("black 0 and white 2"), "{line}");
        convert(&path("a.png"), &path("b.npy"), None).unwrap();
        let back: ndarray::Array2<f64> = ndarray_npy::read_npy(path("b.npy")).unwrap();
        assert_eq!(back, ndarray::array![[0.0, 0.0, 128.0, 255.0]]);
    }

    #[test]
    fn what_cannot_be_is_said_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_npy(&path("a.npy"), &Shape::new([("z", 2), ("y", 1), ("x", 2)]), &[1.0; 4]).unwrap();
        let text = |to: &str, window| convert(&path("a.npy"), &path(to), window).unwrap_err().text;
        assert!(text("a.jpg", None).contains("npy, npz, cfl, tif, tiff, png; it has the extension `jpg`"));
        assert!(text("a.png", None).contains("2 dims"));
        assert!(text("b.npy", Some([0.0, 1.0])).contains("--window is for png"));
        assert!(text("a.png", Some([1.0, 1.0])).contains("LOW below HIGH"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
