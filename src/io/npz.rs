//! NumPy's npz archives: several npy arrays in a zip file, each with a name.
//!
//! An array that is stored as it is (`numpy.savez`) is read where it lies, a part as a part. A compressed one
//! (`numpy.savez_compressed`) is unpacked into memory as a whole.
//!
//! Source: `numpy.lib.npyio`, and PKWARE's APPNOTE for zip, which the crate `zip` knows.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayViewD;
use ndarray_npy::WriteNpyExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::array::{self, ArrayFile, Raw};
use super::nan::NanPolicy;
use super::npy::{self, header};
use super::{COMPLETE, Header, Loaded, atomic, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// One array of an npz file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpzParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// The name of the array, the keyword of `numpy.savez`. May be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// A name for each dim of the array, slowest first.
    pub dims: Vec<String>,
    /// What becomes of values that are not finite.
    #[serde(default)]
    pub nan: NanPolicy,
}

impl NpzParams {
    fn open(&self, data_dir: &Path) -> Result<ArrayFile, Fault> {
        open(&resolve(data_dir, &self.path)?, self.entry.as_deref())
    }
    /// Dims and sizes; reads the archive's table and the array's header only.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        array::header(&self.open(data_dir)?, &self.path, Some(&self.dims))
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        array::read(&mut self.open(data_dir)?, &self.path, self.nan, tile, out)
    }
}

type Archive<'a> = ZipArchive<BufReader<&'a File>>;

fn archive<'a>(of: &str, file: &'a File) -> Result<Archive<'a>, Fault> {
    ZipArchive::new(BufReader::new(file)).map_err(|error| {
        Fault::new(format!("{of} is not an npz file that can be read: {error}"))
            .hint(format!("numpy.savez writes one; {COMPLETE}"))
    })
}

/// The names of the arrays in an archive, without the `.npy` that each has there.
fn entries(archive: &Archive) -> Vec<String> {
    let names = (0..archive.len()).filter_map(|at| archive.name_for_index(at)?.ok());
    names.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect()
}

/// The names of the arrays in a file.
pub(super) fn names(path: &Path) -> Result<Vec<String>, Fault> {
    let (of, file, _) = npy::opened(path)?;
    archive(&of, &file).map(|archive| entries(&archive))
}

/// Opens an array by its name, or the only one.
pub(super) fn open(path: &Path, entry: Option<&str>) -> Result<ArrayFile, Fault> {
    let (file_name, file, bytes) = npy::opened(path)?;
    let mut archive = archive(&file_name, &file)?;
    let known = entries(&archive);
    let name = match (entry, known.as_slice()) {
        (Some(entry), _) if known.iter().any(|name| name == entry) => entry,
        (None, [only]) => only,
        _ => {
            let has = if known.is_empty() { "no arrays".to_owned() } else { format!("`{}`", known.join("`, `")) };
            let asked = entry.map_or("the name of one of its arrays".to_owned(), |entry| format!("an array `{entry}`"));
            return Err(Fault::new(format!("{file_name}: expected {asked}, it has {has}"))
                .hint("name one: `entry = \"…\"` in a `data` table, file.npz/NAME where a path is asked for"));
        }
    };
    let of = format!("{file_name}/{name}");
    let wrong = |error: &dyn std::fmt::Display| Fault::new(format!("cannot read {of}: {error}")).hint(COMPLETE);
    let mut packed = archive.by_name(&format!("{name}.npy")).map_err(|error| wrong(&error))?;
    let size = packed.size();
    let raw = match (packed.compression(), packed.data_start()) {
        (CompressionMethod::Stored, Some(start)) if start.checked_add(size).is_some_and(|end| end <= bytes) => {
            drop(packed);
            let mut reader = BufReader::new(&file);
            reader.seek(SeekFrom::Start(start)).map_err(|error| wrong(&error))?;
            let mut layout = header::layout(&mut reader, size, &of)?;
            layout.first += start;
            drop(archive);
            Raw::in_file(of.clone(), file, layout)
        }
        _ => {
            let mut unpacked = Vec::new();
            packed.read_to_end(&mut unpacked).map_err(|error| wrong(&error))?;
            let layout = header::layout(&mut unpacked.as_slice(), unpacked.len() as u64, &of)?;
            Raw::in_memory(of.clone(), unpacked, layout)
        }
    };
    Ok(ArrayFile::raw(of, npy::names(&raw.layout.sizes), raw))
}

/// Writes one array under a name, as `numpy.savez` would. Collective: no. Faults: as of [`write_npy`](super::write_npy).
pub(super) fn write<S: Scalar>(path: &Path, name: &str, shape: &Shape, values: &[S]) -> Result<(), Fault> {
    let array = ArrayViewD::from_shape(shape.sizes(), values)
        .map_err(|why| Fault::new(format!("{}: the numbers do not make {shape}: {why}", path.display())))?;
    atomic::write(path, |file| {
        let mut archive = ZipWriter::new(file);
        let as_it_is = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        archive.start_file(format!("{name}.npy"), as_it_is).map_err(std::io::Error::other)?;
        array.write_npy(&mut archive).map_err(std::io::Error::other)?;
        archive.finish().map_err(std::io::Error::other)?.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Numbers, Selection};

    /// Two arrays, `a` as it is and `deep/b` packed, as NumPy writes them.
    fn two(path: &Path) {
        let mut archive = ZipWriter::new(File::create(path).unwrap());
        let write = |archive: &mut ZipWriter<File>, name: &str, how, values: Vec<f64>| {
            archive.start_file(name, SimpleFileOptions::default().compression_method(how)).unwrap();
            let columns = values.len() / 2;
            ndarray::Array2::from_shape_vec((2, columns), values).unwrap().write_npy(archive).unwrap();
        };
        write(&mut archive, "a.npy", CompressionMethod::Stored, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        write(&mut archive, "deep/b.npy", CompressionMethod::Deflated, vec![7.0, 8.0, 9.0, 10.0]);
        archive.finish().unwrap();
    }

    #[test]
    fn arrays_are_read_by_name_packed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.npz");
        two(&path);
        assert_eq!(names(&path).unwrap(), ["a", "deep/b"]);
        for (name, columns, want) in [("two.npz/a", 3, vec![4.0, 5.0, 6.0]), ("two.npz/deep/b", 2, vec![9.0, 10.0])] {
            let mut file = array::open(folder.path(), Path::new(name)).unwrap();
            assert_eq!(file.sizes, [2, columns]);
            let second =
                Tile::whole(&Shape::new([("y", 2), ("x", columns)])).with(0, Selection { start: 1, step: 1, count: 1 });
            assert_eq!(file.read_numbers(&second).unwrap(), Numbers::F64(want));
        }
        for (name, says) in [("two.npz", "the name of one of its arrays"), ("two.npz/c", "an array `c`")] {
            let fault = array::open(folder.path(), Path::new(name)).err().unwrap();
            assert!(fault.text.contains(says) && fault.text.contains("`a`, `deep/b`"), "{}", fault.text);
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_a_short_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.npz");
        let shape = Shape::new([("y", 2), ("x", 50)]);
        let values: Vec<f32> = (0..100).map(|k| k as f32).collect();
        write(&path, "image", &shape, &values).unwrap();
        let params =
            NpzParams { path: "one.npz".into(), entry: None, dims: array::names(&["y", "x"]), nan: NanPolicy::Error };
        assert_eq!(params.header(folder.path()).unwrap().about, "one.npz: (y=2, x=50), float32");
        let mut back = [0f32; 100];
        params.read(folder.path(), &Tile::whole(&shape), &mut back).unwrap();
        assert_eq!(back.as_slice(), values);
        let whole = std::fs::read(&path).unwrap();
        for keep in [3, 100, whole.len() - 1] {
            std::fs::write(&path, &whole[..keep]).unwrap();
            let fault = params.header(folder.path()).unwrap_err();
            assert!(fault.text.contains("not an npz file") && fault.hint.unwrap().contains("copied"), "{}", fault.text);
        }
    }
}
