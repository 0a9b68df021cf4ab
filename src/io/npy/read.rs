//! Reading: a tile, and no more of the file than that.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::axes::file_axes;
use super::element::Element;
use super::header::NpyHeader;
use crate::error::Fault;
use crate::io::nan::{self, NanPolicy, settle};
use crate::io::{COMPLETE, check_tile};
use crate::scalar::Scalar;
use crate::space::{Numbers, Tile};

/// Short gaps between runs are read through the reader's buffer; longer ones are skipped.
const GAP_BYTES: usize = 1 << 13;
/// Long runs are decoded in pieces of this size.
const PIECE_BYTES: usize = 1 << 18;

/// An open npy file whose header makes sense and whose length fits it.
pub(in crate::io) struct NpyFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// Where `reader` stands.
    at: u64,
    header: NpyHeader,
}

impl NpyFile {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let of = path.display();
        let wrong = |error: std::io::Error| Fault::new(format!("cannot read {of}: {error}"));
        let file = File::open(path).map_err(wrong)?;
        let bytes = file.metadata().map_err(wrong)?.len();
        if bytes == 0 {
            return Err(Fault::new(format!("{of} is empty (0 bytes)")).hint(COMPLETE));
        }
        let mut reader = BufReader::with_capacity(GAP_BYTES, file);
        let header = NpyHeader::read(&mut reader, bytes, &of)?;
        Ok(NpyFile { path: path.to_owned(), reader, at: header.first, header })
    }

    /// The sizes of the array's dims.
    pub fn sizes(&self) -> &[usize] {
        &self.header.sizes
    }
    /// What its numbers are.
    pub(super) fn element(&self) -> Element {
        self.header.element
    }

    /// Reads a tile in the precision of the file (integers as f64); all of it must be finite.
    pub fn read_numbers(&mut self, tile: &Tile) -> Result<Numbers, Fault> {
        fn all<S: Scalar>(file: &mut NpyFile, tile: &Tile) -> Result<Vec<S>, Fault> {
            // Checked before the allocation: a tile of another file could ask for any amount.
            let count = tile.shape().len();
            check_tile(tile, &file.header.sizes, count, &file.path.display().to_string())?;
            let mut values = vec![S::default(); count];
            file.read_into(tile, &mut values)?;
            let of = file.path.display().to_string();
            settle(&mut values, NanPolicy::Error, tile, &of, |index| nan::named(tile, index))
                .map_err(|fault| fault.hint("an operator's matrix or diagonal must be finite: correct the file"))?;
            Ok(values)
        }
        Ok(match self.header.element {
            Element::F32 => Numbers::F32(all(self, tile)?),
            Element::ComplexF32 => Numbers::ComplexF32(all(self, tile)?),
            Element::ComplexF64 => Numbers::ComplexF64(all(self, tile)?),
            _ => Numbers::F64(all(self, tile)?),
        })
    }

    /// Reads a tile into `out`, row-major. Values are as the file has them, finite or not.
    pub(super) fn read_into<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        check_tile(tile, &self.header.sizes, out.len(), &self.path.display().to_string())?;
        let element = self.header.element;
        if element.is_complex() && !S::IS_COMPLEX {
            let (of, name) = (self.path.display(), element.name());
            return Err(Fault::new(format!("{of} holds {name}: complex numbers cannot become {}", S::NAME))
                .hint("set model.scalar to \"complex_f32\" or \"complex_f64\""));
        }
        if out.is_empty() {
            return Ok(());
        }
        let axes = file_axes(tile, self.header.fortran);
        let Some((inner, outer)) = axes.split_last() else { return Ok(()) };
        let bytes = element.bytes();
        // Step 1: one run. Otherwise each element is a run; what lies between comes through the reader's buffer.
        let (runs, run) = if inner.step == 1 { (1, inner.count) } else { (inner.count, 1) };
        let mut piece = vec![0; bytes * run.min((PIECE_BYTES / bytes).max(1))];
        for k in 0..outer.iter().map(|axis| axis.count).product::<usize>() {
            let (mut rest, mut from, mut to) = (k, inner.start * inner.file_stride, 0);
            for axis in outer.iter().rev() {
                let at = rest % axis.count;
                rest /= axis.count;
                from += (axis.start + at * axis.step) * axis.file_stride;
                to += at * axis.out_stride;
            }
            for _ in 0..runs {
                let mut left = run;
                self.seek(from)?;
                while left > 0 {
                    let count = left.min(piece.len() / bytes);
                    let piece = &mut piece[..count * bytes];
                    self.fill(piece)?;
                    element.decode(piece, &mut out[to..], inner.out_stride);
                    left -= count;
                    to += count * inner.out_stride;
                }
                from += inner.step * inner.file_stride;
            }
        }
        Ok(())
    }

    /// Goes to an element.
    fn seek(&mut self, element: usize) -> Result<(), Fault> {
        let target = self.header.first + (element * self.header.element.bytes()) as u64;
        let way = target as i64 - self.at as i64; // both are within the file's length
        self.reader.seek_relative(way).map_err(|error| self.wrong(&error))?;
        self.at = target;
        Ok(())
    }

    /// Reads whole elements, little-endian whatever the file is.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(bytes).map_err(|error| self.wrong(&error))?;
        self.at += bytes.len() as u64;
        if self.header.big_endian {
            bytes.chunks_exact_mut(self.header.element.bytes_of_part()).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    fn wrong(&self, error: &std::io::Error) -> Fault {
        Fault::new(format!("cannot read {} near byte {}: {error}", self.path.display(), self.at))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, ArrayD, IxDyn, ShapeBuilder};
    use num_complex::Complex;

    use super::*;
    use crate::io::npy::by_hand::{params, raw};
    use crate::io::write_npy;
    use crate::space::{Selection, Shape};

    #[test]
    fn any_tile_in_either_order_is_what_indexing_gives() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [4, 3, 5];
        let array: ArrayD<f64> = Array::from_iter((0..60).map(f64::from)).into_shape_with_order(IxDyn(&sizes)).unwrap();
        let mut fortran = ArrayD::<f64>::zeros(IxDyn(&sizes).f());
        fortran.assign(&array);
        ndarray_npy::write_npy(folder.path().join("c.npy"), &array).unwrap();
        ndarray_npy::write_npy(folder.path().join("f.npy"), &fortran).unwrap();
        let choices = |size: usize| {
            let mut all = vec![Selection::all(size), Selection { start: size - 1, step: 1, count: 1 }];
            all.push(Selection { start: 1, step: 2, count: (size - 1).div_ceil(2) });
            all.push(Selection { start: 1, step: 1, count: size - 1 });
            all.push(Selection { start: 1, step: 7, count: 1 });
            all.push(Selection { start: 0, step: 1, count: 0 });
            all
        };
        for name in ["c.npy", "f.npy"] {
            let params = params(name, &["a", "b", "c"], NanPolicy::Error);
            let shape = params.header(folder.path()).unwrap().shape;
            for a in choices(4) {
                for b in choices(3) {
                    for c in choices(5) {
                        let tile = Tile::whole(&shape).with(0, a).with(1, b).with(2, c);
                        let want: Vec<f64> = tile.offsets().map(|offset| offset as f64).collect();
                        let mut got = vec![f64::NAN; want.len()];
                        let loaded = params.read(folder.path(), &tile, &mut got).unwrap();
                        assert_eq!(got, want, "{name} {tile:?}");
                        assert_eq!(loaded.numbers, want.len() as u64);
                    }
                }
            }
        }
    }

    #[test]
    fn long_runs_come_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::new([("a", 3), ("b", 100_000)]);
        let values: Vec<f32> = (0..300_000).map(|k| k as f32).collect();
        write_npy(&folder.path().join("a.npy"), &shape, &values).unwrap();
        let params = params("a.npy", &["a", "b"], NanPolicy::Error);
        for selection in [Selection::all(3), Selection { start: 0, step: 2, count: 2 }] {
            let tile = Tile::whole(&shape).with(0, selection);
            let mut got = vec![0f32; tile.shape().len()];
            params.read(folder.path(), &tile, &mut got).unwrap();
            assert!(got.iter().zip(tile.offsets()).all(|(value, offset)| *value == offset as f32));
        }
    }

    #[test]
    fn only_the_tile_is_read() {
        // A file of 8 TiB: sparse, so it costs nothing, unless someone reads it.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.npy");
        raw(&path, "'<f8'", false, "(1048576, 1048576)", &[]);
        let full = 128 + (1u64 << 43);
        if File::options().write(true).open(&path).unwrap().set_len(full).is_err() {
            println!("skipped: the file system has no room for a sparse file of 8 TiB");
            return;
        }
        let params = params("big.npy", &["y", "x"], NanPolicy::Error);
        let shape = params.header(folder.path()).unwrap().shape;
        let tile = Tile::whole(&shape)
            .with(0, Selection { start: 7, step: 1 << 19, count: 2 })
            .with(1, Selection { start: 1 << 19, step: 1, count: 3 });
        let mut out = [1.0f64; 6];
        params.read(folder.path(), &tile, &mut out).unwrap();
        assert_eq!(out, [0.0; 6]);
    }

    #[test]
    fn every_kind_of_number_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let tile = Tile::whole(&Shape::new([("a", 2)]));
        macro_rules! check {
            ($($code:literal $real:ty: $a:expr, $b:expr;)*) => {$(
                for (order, bytes) in [
                    ('<', [<$real>::to_le_bytes($a), <$real>::to_le_bytes($b)].concat()),
                    ('>', [<$real>::to_be_bytes($a), <$real>::to_be_bytes($b)].concat()),
                ] {
                    raw(&path, &format!("'{order}{}'", $code), false, "(2,)", &bytes);
                    let mut out = [f64::NAN; 2];
                    NpyFile::open(&path).unwrap().read_into(&tile, &mut out).unwrap();
                    assert_eq!(out, [$a as f64, $b as f64], "{order}{}", $code);
                }
            )*};
        }
        check! {
            "i1" i8: -128, 127; "i2" i16: -300, 300; "i4" i32: -70_000, 1; "i8" i64: -(1_i64 << 40), 3;
            "u1" u8: 0, 255; "u2" u16: 7, 65_535; "u4" u32: 0, u32::MAX; "u8" u64: 1_u64 << 50, 2;
            "f4" f32: 1.5, -0.25; "f8" f64: 1e300, -1e-300;
        }
        raw(&path, "'|b1'", false, "(2,)", &[0, 1]);
        assert_eq!(NpyFile::open(&path).unwrap().read_numbers(&tile).unwrap(), Numbers::F64(vec![0.0, 1.0]));

        let z = [Complex::new(1.0f32, 2.0), Complex::new(-3.0, 4.5)];
        for order in ['<', '>'] {
            let part = |value: f32| if order == '<' { value.to_le_bytes() } else { value.to_be_bytes() };
            let bytes: Vec<u8> = z.iter().flat_map(|z| [part(z.re), part(z.im)].concat()).collect();
            raw(&path, &format!("'{order}c8'"), false, "(2,)", &bytes);
            assert_eq!(NpyFile::open(&path).unwrap().read_numbers(&tile).unwrap(), Numbers::ComplexF32(z.to_vec()));
        }
        let mut out = [Complex::new(0.0f64, 0.0); 2];
        NpyFile::open(&path).unwrap().read_into(&tile, &mut out).unwrap();
        assert_eq!(out[1], Complex::new(-3.0, 4.5));
        let fault = NpyFile::open(&path).unwrap().read_into(&tile, &mut [0f32; 2]).unwrap_err();
        assert!(fault.text.contains("complex64") && fault.hint.unwrap().contains("model.scalar"));
    }

    #[test]
    fn an_array_without_dims_is_one_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        raw(&path, "'<f8'", false, "()", &7.0f64.to_le_bytes());
        let mut out = [0.0];
        NpyFile::open(&path).unwrap().read_into(&Tile::whole(&Shape::default()), &mut out).unwrap();
        assert_eq!(out, [7.0]);
    }
}
