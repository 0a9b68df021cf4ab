//! Where files are: paths in a config are relative to one data folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::{array, sparse};
use crate::error::Fault;
use crate::physics::{Files, SparseSizes, Triplets};
use crate::scalar::Scalar;
use crate::space::{Numbers, Selection, Tile};

/// The full path of an input file: an absolute `path` as it is, any other below `data_dir`.
///
/// Collective: no. Cost: one look at the file system. Faults: there is no such file (with the path that was tried and the
/// data folder), or it is a folder.
///
/// ```
/// use std::path::Path;
/// let fault = stackphys::io::resolve(Path::new("/data"), Path::new("scan.h5")).unwrap_err();
/// assert!(fault.text.contains("/data/scan.h5"));
/// ```
pub fn resolve(data_dir: &Path, path: &Path) -> Result<PathBuf, Fault> {
    if path.as_os_str().is_empty() {
        return Err(Fault::new("`path` is empty").hint("name a file, relative to the data folder"));
    }
    let joined = data_dir.join(path); // an absolute path replaces the folder
    let full = std::path::absolute(&joined).unwrap_or(joined);
    let place = if path.is_absolute() {
        String::new()
    } else {
        let folder = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        format!(" (the data folder is {})", folder.display())
    };
    match fs::metadata(&full) {
        Ok(found) if found.is_dir() => Err(Fault::new(format!("{} is a folder, not a file{place}", full.display()))),
        Ok(_) => Ok(full),
        Err(error) => Err(Fault::new(format!("cannot read {}: {error}{place}", full.display())).hint(
            "set the data folder with --data-dir or STACKPHYS_DATA; scripts/get-data.sh fetches the files of the ready jobs",
        )),
    }
}

/// The arrays that operators name by path, in a data folder. The extension tells the format: npy, npz, cfl, TIFF, PNG, JPEG;
/// mtx and SciPy's npz where a sparse matrix is asked for. An array of several in an npz file is a path, too: `maps.npz/coil`.
///
/// Collective: no. Faults: those of [`resolve`] and of the format's reader; an unknown extension; numbers that are not finite.
///
/// ```
/// use stackphys::{Shape, io::{FilesIn, write_npy}, physics::Files, space::{Numbers, Tile}};
/// let folder = tempfile::tempdir().unwrap();
/// let shape = Shape::new([("x", 3)]);
/// write_npy(&folder.path().join("d.npy"), &shape, &[1.0f32, 2.0, 3.0]).unwrap();
/// let files = FilesIn(folder.path().to_owned());
/// assert_eq!(files.sizes("d.npy".as_ref()).unwrap(), [3]);
/// let all = files.read("d.npy".as_ref(), &Tile::whole(&shape)).unwrap();
/// assert_eq!(all, Numbers::F32(vec![1.0, 2.0, 3.0]));
/// ```
#[derive(Debug, Clone)]
pub struct FilesIn(pub PathBuf);

impl FilesIn {
    /// Reads the part `tile` of an array into `out`. Cost and faults: as of [`read`](Files::read), without a vector of its own.
    pub fn read_into<S: Scalar>(&self, path: &Path, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        array::open(&self.0, path)?.read_finite(tile, out)
    }
}

impl Files for FilesIn {
    fn sizes(&self, path: &Path) -> Result<Vec<usize>, Fault> {
        Ok(array::open(&self.0, path)?.sizes)
    }
    fn read(&self, path: &Path, tile: &Tile) -> Result<Numbers, Fault> {
        array::open(&self.0, path)?.read_numbers(tile)
    }
    fn sparse_sizes(&self, path: &Path) -> Result<SparseSizes, Fault> {
        sparse::sizes(&resolve(&self.0, path)?)
    }
    fn read_sparse(&self, path: &Path, rows: Selection) -> Result<Triplets, Fault> {
        sparse::read(&resolve(&self.0, path)?, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::write_npy;
    use crate::space::{Selection, Shape};

    #[test]
    fn a_missing_file_names_path_folder_and_help() {
        let folder = tempfile::tempdir().unwrap();
        let fault = resolve(folder.path(), Path::new("tooth/tooth.h5")).unwrap_err();
        let full = folder.path().join("tooth/tooth.h5").display().to_string();
        assert!(fault.text.contains(&full) && fault.text.contains("the data folder is"), "{}", fault.text);
        let hint = fault.hint.unwrap();
        for help in ["--data-dir", "STACKPHYS_DATA", "scripts/get-data.sh"] {
            assert!(hint.contains(help), "{hint}");
        }
        let fault = resolve(folder.path(), Path::new("/nowhere/x.npy")).unwrap_err();
        assert!(!fault.text.contains("data folder"), "{}", fault.text);
        assert!(resolve(folder.path(), Path::new(".")).unwrap_err().text.contains("is a folder"));
        assert!(resolve(folder.path(), Path::new("")).unwrap_err().text.contains("empty"));
    }

    #[test]
    fn arrays_keep_their_kind_and_must_be_finite() {
        let folder = tempfile::tempdir().unwrap();
        let files = FilesIn(folder.path().to_owned());
        let shape = Shape::new([("y", 2), ("x", 2)]);
        write_npy(&folder.path().join("a.npy"), &shape, &[1.0f64, f64::NAN, 3.0, 4.0]).unwrap();
        let fault = files.read(Path::new("a.npy"), &Tile::whole(&shape)).unwrap_err();
        assert!(fault.text.contains("y=0, x=1"), "{}", fault.text);
        let second = Tile::whole(&shape).with(0, Selection { start: 1, step: 1, count: 1 });
        assert_eq!(files.read(Path::new("a.npy"), &second).unwrap(), Numbers::F64(vec![3.0, 4.0]));
        let other = Tile::whole(&Shape::new([("y", 2), ("x", 3)]));
        let fault = files.read(Path::new("a.npy"), &other).unwrap_err();
        assert!(fault.text.contains("[2, 2]") && fault.text.contains("[2, 3]"), "{}", fault.text);
    }
}
