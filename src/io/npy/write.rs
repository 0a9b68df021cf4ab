//! Writing: all of an array at once, or part after part.

use std::io::{self, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::Path;

use ndarray::ArrayViewD;
use ndarray_npy::{WriteNpyExt, write_zeroed_npy};

use crate::error::Fault;
use crate::io::atomic::{self, Pending};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// Writes numbers of a shape, row-major, as an npy file that NumPy opens with the same sizes and type.
///
/// Collective: no. Cost: one pass. Faults: another count of numbers than the shape has; the folder cannot be written.
///
/// ```
/// use stackphys::{Shape, io::write_npy};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("x.npy");
/// write_npy(&path, &Shape::new([("y", 2), ("x", 2)]), &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
/// let back: ndarray::Array2<f32> = ndarray_npy::read_npy(&path).unwrap();
/// assert_eq!(back[[1, 0]], 3.0);
/// ```
pub fn write_npy<S: Scalar>(path: &Path, shape: &Shape, values: &[S]) -> Result<(), Fault> {
    let array = ArrayViewD::from_shape(shape.sizes(), values).map_err(|_| {
        let (len, got) = (shape.len(), values.len());
        Fault::new(format!("{}: expected {len} numbers for {shape}, got {got}", path.display()))
    })?;
    atomic::write(path, |file| array.write_npy(file).map_err(std::io::Error::other))
}

/// An npy file that is written part after part; only one part is in memory at a time.
///
/// Collective: no. Cost: one pass. What no part covers is zero.
///
/// ```
/// use stackphys::{Shape, io::NpyInParts, space::{Selection, Tile}};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("x.npy");
/// let whole = Tile::whole(&Shape::new([("y", 2), ("x", 3)]));
/// let mut file = NpyInParts::<f32>::create(&path, whole.of()).unwrap();
/// file.write(&whole.clone().with(1, Selection { start: 1, step: 1, count: 2 }), &[1.0, 2.0, 3.0, 4.0]).unwrap();
/// file.finish().unwrap();
/// let back: ndarray::Array2<f32> = ndarray_npy::read_npy(&path).unwrap();
/// assert_eq!(back, ndarray::array![[0.0, 1.0, 2.0], [0.0, 3.0, 4.0]]);
/// ```
pub struct NpyInParts<S> {
    file: Pending,
    /// Where the numbers begin.
    start: u64,
    scalar: PhantomData<S>,
}

impl<S: Scalar> NpyInParts<S> {
    /// Begins a file. Faults: as of [`write_npy`].
    pub fn create(path: &Path, shape: &Shape) -> Result<Self, Fault> {
        let mut file = Pending::begin(path)?;
        let mut start = 0;
        file.fill(|file| {
            let file = file.get_ref();
            write_zeroed_npy::<S, _>(file, shape.sizes()).map_err(io::Error::other)?;
            start = file.metadata()?.len() - (shape.len() * size_of::<S>()) as u64;
            Ok(())
        })?;
        Ok(NpyInParts { file, start, scalar: PhantomData })
    }

    /// Writes the numbers of one part. Faults: another count of numbers than the part has; a full disk.
    pub fn write(&mut self, part: &Tile, values: &[S]) -> Result<(), Fault> {
        let shape = part.shape();
        if shape.len() != values.len() {
            let (len, got) = (shape.len(), values.len());
            return Err(Fault::new(format!("part of an npy file: expected {len} numbers for {shape}, got {got}")));
        }
        let start = self.start;
        self.file.fill(|file| {
            let mut rest = values;
            for run in part.runs() {
                let (numbers, after) = rest.split_at(run.len());
                file.seek(SeekFrom::Start(start + (run.start * size_of::<S>()) as u64))?;
                file.write_all(bytemuck::cast_slice(numbers))?;
                rest = after;
            }
            Ok(())
        })
    }

    /// Puts the file into its place. Faults: a full disk.
    pub fn finish(self) -> Result<(), Fault> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::io::NanPolicy;
    use crate::io::npy::by_hand::params;
    use crate::space::Tile;

    #[test]
    fn what_is_written_is_read_back() {
        fn check<S: Scalar>(values: &[S], name: &str) {
            let folder = tempfile::tempdir().unwrap();
            let shape = Shape::new([("y", 2), ("x", 3)]);
            write_npy(&folder.path().join("a.npy"), &shape, values).unwrap();
            let params = params("a.npy", &["y", "x"], NanPolicy::Error);
            let header = params.header(folder.path()).unwrap();
            assert_eq!(header.shape, shape);
            assert_eq!(header.about, format!("a.npy: (y=2, x=3), {name}"));
            let mut back = [S::default(); 6];
            params.read(folder.path(), &Tile::whole(&shape), &mut back).unwrap();
            assert_eq!(back, values);
        }
        check(&[1.0f32, 2.5, -3.0, 1e-30, 5.0, 6.0], "float32");
        check(&[1.0f64, 2.5, -3.0, 1e-300, 5.0, 6.0], "float64");
        check(&[Complex::new(1.0f32, -1.0); 6], "complex64");
        check(&[Complex::new(1.0f64, -1.0); 6], "complex128");
        let fault = write_npy(Path::new("/tmp/none.npy"), &Shape::new([("x", 2)]), &[1.0]).unwrap_err();
        assert!(fault.text.contains("expected 2 numbers for (x=2), got 1"), "{}", fault.text);
    }
}
