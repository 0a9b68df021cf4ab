//! What `scipy.sparse.save_npz` writes: a zip file of npy arrays, in compressed rows or columns, or as coordinates.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use ndarray::Array1;
use ndarray_npy::{ReadNpyExt, ReadableElement};
use num_complex::Complex;
use zip::ZipArchive;

use super::{place_of, unreadable};
use crate::error::Fault;
use crate::io::COMPLETE;
use crate::physics::{SparseSizes, Triplets};
use crate::space::{Numbers, Selection};

/// How entries are arranged.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Rows,
    Columns,
    Coordinates,
}

struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<File>,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let zip = ZipArchive::new(file).map_err(|error| unreadable(path, &error).hint(COMPLETE))?;
        Ok(Archive { path, zip })
    }

    fn wrong(&self, text: &str) -> Fault {
        Fault::new(format!("{}: {text}", self.path.display()))
            .hint("expected a file that scipy.sparse.save_npz wrote, of a csr, csc or coo matrix")
    }

    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Fault> {
        self.begin(name, u64::MAX)
    }
    /// What an array says of itself before its numbers begin.
    fn head(&mut self, name: &str) -> Result<String, Fault> {
        self.begin(name, 128).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
    fn begin(&mut self, name: &str, most: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let read = match self.zip.by_name(&format!("{name}.npy")) {
            Ok(file) => file.take(most).read_to_end(&mut bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(_) => Ok(bytes),
            Err(why) => Err(self.wrong(&format!("`{name}` cannot be read, {why}"))),
        }
    }

    fn array<T: ReadableElement>(&mut self, name: &str) -> Result<Option<Array1<T>>, Fault> {
        let bytes = self.bytes(name)?;
        Ok(Array1::read_npy(Cursor::new(bytes)).ok())
    }

    /// Whole numbers of either of the widths that SciPy uses.
    fn indices(&mut self, name: &str) -> Result<Vec<usize>, Fault> {
        let narrow = self.array::<i32>(name)?.map(|array| array.iter().map(|at| usize::try_from(*at)).collect());
        let wide = match narrow {
            Some(found) => Some(found),
            None => self.array::<i64>(name)?.map(|array| array.iter().map(|at| usize::try_from(*at)).collect()),
        };
        match wide {
            Some(Ok::<Vec<usize>, _>(indices)) => Ok(indices),
            Some(Err(_)) => Err(self.wrong(&format!("`{name}` holds a negative number"))),
            None => Err(self.wrong(&format!("`{name}` does not hold whole numbers, int32 or int64"))),
        }
    }

    fn values(&mut self) -> Result<Numbers, Fault> {
        let found = if let Some(values) = self.array::<f64>("data")? {
            Some(Numbers::F64(values.to_vec()))
        } else if let Some(values) = self.array::<f32>("data")? {
            Some(Numbers::F32(values.to_vec()))
        } else if let Some(values) = self.array::<Complex<f64>>("data")? {
            Some(Numbers::ComplexF64(values.to_vec()))
        } else if let Some(values) = self.array::<Complex<f32>>("data")? {
            Some(Numbers::ComplexF32(values.to_vec()))
        } else if let Some(values) = self.array::<i64>("data")? {
            Some(Numbers::F64(values.iter().map(|value| *value as f64).collect()))
        } else {
            self.array::<i32>("data")?
                .map(|values| Numbers::F64(values.iter().map(|value| f64::from(*value)).collect()))
        };
        found.ok_or_else(|| {
            self.wrong("`data` holds numbers of another type than float, complex, int32 or int64")
                .hint("convert it with matrix.astype(float)")
        })
    }

    fn layout(&mut self) -> Result<Layout, Fault> {
        // a string of bytes, or of 32-bit characters
        let bytes = self.bytes("format")?;
        let ends: String = bytes.iter().rev().filter(|byte| **byte != 0).take(3).map(|byte| *byte as char).collect();
        match ends.as_str() {
            "rsc" => Ok(Layout::Rows),
            "csc" => Ok(Layout::Columns),
            "ooc" => Ok(Layout::Coordinates),
            _ => {
                let name: String = ends.chars().rev().collect();
                Err(self.wrong(&format!("the format `{name}` is not read")).hint("convert it with matrix.tocsr()"))
            }
        }
    }

    fn shape(&mut self) -> Result<[usize; 2], Fault> {
        match self.indices("shape")?[..] {
            [rows, columns] => Ok([rows, columns]),
            ref other => Err(self.wrong(&format!("`shape` is {other:?}, expected rows and columns"))),
        }
    }
}

pub(super) fn sizes(path: &Path) -> Result<SparseSizes, Fault> {
    let mut archive = Archive::open(path)?;
    let [rows, columns] = archive.shape()?;
    let head = archive.head("data")?;
    let count = head.split_once("'shape': (").and_then(|(_, behind)| behind.split(',').next()?.trim().parse().ok());
    let Some(entries) = count else { return Err(archive.wrong("`data` is no array of one dim")) };
    let is_complex = ["'<c", "'>c"].iter().any(|code| head.contains(code));
    Ok(SparseSizes { rows, columns, entries, is_complex })
}

pub(super) fn read(path: &Path, wanted: Selection) -> Result<Triplets, Fault> {
    let mut archive = Archive::open(path)?;
    let ([rows, columns], layout, values) = (archive.shape()?, archive.layout()?, archive.values()?);
    let entries = values.len();
    let [of_rows, of_columns] = match layout {
        Layout::Coordinates => [archive.indices("row")?, archive.indices("col")?],
        Layout::Rows | Layout::Columns => {
            let (begins, inner) = (archive.indices("indptr")?, archive.indices("indices")?);
            let lines = if layout == Layout::Rows { rows } else { columns };
            let rise = begins.is_sorted() && begins.first() == Some(&0) && begins.last() == Some(&entries);
            if begins.len() != lines + 1 || !rise {
                let text = format!("`indptr` does not divide {entries} entries among {lines} lines");
                return Err(archive.wrong(&text));
            }
            let runs = begins.windows(2).enumerate();
            let outer = runs.flat_map(|(line, run)| std::iter::repeat_n(line, run[1] - run[0])).collect();
            if layout == Layout::Rows { [outer, inner] } else { [inner, outer] }
        }
    };
    if of_rows.len() != entries || of_columns.len() != entries {
        let text = format!("{} row and {} column indices for {entries} entries", of_rows.len(), of_columns.len());
        return Err(archive.wrong(&text));
    }
    if let Some((row, column)) =
        of_rows.iter().zip(&of_columns).find(|(row, column)| **row >= rows || **column >= columns)
    {
        return Err(archive.wrong(&format!("entry ({row}, {column}) lies outside of {rows} × {columns}")));
    }
    let kept: Vec<usize> = (0..entries).filter(|at| place_of(of_rows[*at], wanted).is_some()).collect();
    let places = kept.iter().filter_map(|at| Some([place_of(of_rows[*at], wanted)?, of_columns[*at]])).collect();
    fn some<T: Copy>(values: &[T], kept: &[usize]) -> Vec<T> {
        kept.iter().map(|at| values[*at]).collect()
    }
    let values = match values {
        Numbers::F32(values) => Numbers::F32(some(&values, &kept)),
        Numbers::F64(values) => Numbers::F64(some(&values, &kept)),
        Numbers::ComplexF32(values) => Numbers::ComplexF32(some(&values, &kept)),
        Numbers::ComplexF64(values) => Numbers::ComplexF64(some(&values, &kept)),
    };
    Ok(Triplets { rows: wanted.count, columns, places, values })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use ndarray::array;
    use ndarray_npy::{WritableElement, WriteNpyExt};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    struct Writer(ZipWriter<File>);

    impl Writer {
        fn new(folder: &Path) -> (Self, PathBuf) {
            let path = folder.join("a.npz");
            (Writer(ZipWriter::new(File::create(&path).unwrap())), path)
        }
        fn bytes(&mut self, name: &str, bytes: &[u8]) {
            self.0.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
            self.0.write_all(bytes).unwrap();
        }
        fn array<T: WritableElement>(&mut self, name: &str, values: &Array1<T>) {
            let mut bytes = Vec::new();
            values.write_npy(&mut bytes).unwrap();
            self.bytes(name, &bytes);
        }
    }

    /// [[0, 5, 0], [0, 0, 7], [2, 0, 0], [0, 0, 1]], as SciPy writes it in each format.
    fn written(folder: &Path, layout: &str) -> PathBuf {
        let (mut writer, path) = Writer::new(folder);
        match layout {
            "csr" => {
                writer.array("indices", &array![1_i32, 2, 0, 2]);
                writer.array("indptr", &array![0_i32, 1, 2, 3, 4]);
                writer.array("data", &array![5.0, 7.0, 2.0, 1.0]);
            }
            "csc" => {
                writer.array("indices", &array![2_i64, 0, 1, 3]);
                writer.array("indptr", &array![0_i64, 1, 2, 4]);
                writer.array("data", &array![2.0_f32, 5.0, 7.0, 1.0]);
            }
            _ => {
                writer.array("row", &array![0_i32, 1, 2, 3]);
                writer.array("col", &array![1_i32, 2, 0, 2]);
                writer.array("data", &array![5_i64, 7, 2, 1]);
            }
        }
        // as NumPy stores a string of three bytes
        let header = "{'descr': '|S3', 'fortran_order': False, 'shape': (), }\n";
        let text =
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), layout.as_bytes()];
        writer.bytes("format", &text.concat());
        writer.array("shape", &array![4_i64, 3]);
        writer.0.finish().unwrap();
        path
    }

    #[test]
    fn each_format_gives_the_same_rows() {
        for layout in ["csr", "csc", "coo"] {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), layout);
            let found = super::super::sizes(&path).unwrap();
            assert_eq!([found.rows, found.columns, found.entries], [4, 3, 4]);
            let some = super::super::read(&path, Selection { start: 1, step: 2, count: 2 }).unwrap();
            let values = some.values.into_scalars::<f64>().unwrap();
            let mut entries: Vec<_> = some.places.into_iter().zip(values).collect();
            entries.sort_by_key(|(place, _)| *place);
            assert_eq!(entries, [([0, 2], 7.0), ([1, 2], 1.0)], "{layout}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let fault = super::super::read(&written(folder.path(), "dia"), Selection::all(4)).unwrap_err();
        assert!(fault.text.contains("`dia` is not read"), "{}", fault.text);
        let (mut writer, path) = Writer::new(folder.path());
        writer.array("shape", &array![4_i64, 3]);
        writer.0.finish().unwrap();
        assert!(super::super::sizes(&path).unwrap_err().text.contains("`data` cannot be read"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(super::super::sizes(&path).unwrap_err().hint.unwrap().contains("completely"));
    }
}
