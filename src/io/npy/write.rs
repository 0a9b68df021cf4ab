//! Writing: all of an array at once.

use std::path::Path;

use ndarray::ArrayViewD;
use ndarray_npy::WriteNpyExt;

use crate::error::Fault;
use crate::io::atomic;
use crate::scalar::Scalar;
use crate::space::Shape;

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
