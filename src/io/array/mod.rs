//! Arrays of numbers in files of any format: one way to open them, by the extension of the name, and to read a part.
//!
//! A format gives sizes, the type of its numbers, names for its dims, and where the numbers are: one after another in the
//! file, in memory (what had to be unpacked), or page by page. All the rest is done here.

mod axes;
mod byte_order;
mod element;
mod named;
mod raw;

use std::path::{Path, PathBuf};

pub(super) use byte_order::is_swapped;
pub(super) use element::Element;
pub(super) use named::{header, read};
pub(super) use raw::{Layout, Raw};

use super::nan::{self, NanPolicy, settle};
use super::tiff::Pages;
use super::{cfl, check_tile, npy, npz, picture, resolve, tiff};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Numbers, Tile};

/// The extensions of arrays, for faults.
const KNOWN: &str = "npy, npz, cfl (with hdr), tif, tiff, png, jpg, jpeg";

/// An open file that holds one array; its header makes sense and fits its length.
pub(super) struct ArrayFile {
    /// What faults call it.
    pub of: String,
    pub sizes: Vec<usize>,
    pub element: Element,
    /// What its dims are called, if nobody says otherwise.
    pub names: Vec<String>,
    pub numbers: Source,
}

/// Where the numbers are.
pub(super) enum Source {
    Raw(Raw),
    Pages(Box<Pages>),
}

/// A path as a config has it, such as `maps.npz/coil`: the file, and the name of an array inside it.
pub(crate) fn split_entry(path: &Path) -> (PathBuf, Option<String>) {
    let archive = path.ancestors().skip(1).find(|above| extension(above) == "npz");
    match archive.and_then(|archive| Some((archive, path.strip_prefix(archive).ok()?.to_str()?))) {
        Some((archive, entry)) if !entry.is_empty() => (archive.to_owned(), Some(entry.to_owned())),
        _ => (path.to_owned(), None),
    }
}

/// The extension in small letters, or nothing.
pub(super) fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Opens the array that a path names, in the format that its extension tells.
pub(super) fn open(data_dir: &Path, path: &Path) -> Result<ArrayFile, Fault> {
    let (file, entry) = split_entry(path);
    let full = resolve(data_dir, &file)?;
    match extension(&full).as_str() {
        "npy" => npy::open(&full),
        "npz" => npz::open(&full, entry.as_deref()),
        "cfl" | "hdr" => cfl::open(&full),
        "tif" | "tiff" => tiff::open(&full),
        "png" | "jpg" | "jpeg" => picture::open(&full),
        other => Err(unknown(&full, other, KNOWN)),
    }
}

/// The fault of an extension that is not among those that are known.
pub(super) fn unknown(path: &Path, extension: &str, known: &str) -> Fault {
    let got = if extension.is_empty() { "no extension".to_owned() } else { format!("the extension `{extension}`") };
    Fault::new(format!("{}: expected a file of the format {known}; it has {got}", path.display()))
        .hint("the extension tells the format: rename the file, or convert it")
}

impl ArrayFile {
    /// Numbers that lie one after another.
    pub fn raw(of: String, names: Vec<String>, raw: Raw) -> Self {
        let Layout { sizes, element, .. } = &raw.layout;
        ArrayFile { of, sizes: sizes.clone(), element: *element, names, numbers: Source::Raw(raw) }
    }

    /// Reads a tile in the precision of the file (integers as f64); all of it must be finite.
    pub fn read_numbers(&mut self, tile: &Tile) -> Result<Numbers, Fault> {
        fn all<S: Scalar>(file: &mut ArrayFile, tile: &Tile) -> Result<Vec<S>, Fault> {
            // Checked before the allocation: a tile of another file could ask for any amount.
            let count = tile.shape().len();
            check_tile(tile, &file.sizes, count, &file.of)?;
            let mut values = vec![S::default(); count];
            file.read_finite(tile, &mut values)?;
            Ok(values)
        }
        Ok(match self.element {
            Element::F32 => Numbers::F32(all(self, tile)?),
            Element::ComplexF32 => Numbers::ComplexF32(all(self, tile)?),
            Element::ComplexF64 => Numbers::ComplexF64(all(self, tile)?),
            _ => Numbers::F64(all(self, tile)?),
        })
    }

    /// Reads a tile into `out`; all of it must be finite.
    pub fn read_finite<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        self.read_into(tile, out)?;
        settle(out, NanPolicy::Error, tile, &self.of, |index| nan::named(tile, index))
            .map(|_| ())
            .map_err(|fault| fault.hint("the array must be finite: correct the file"))
    }

    /// Reads a tile into `out`, row-major. Values are as the file has them, finite or not.
    pub fn read_into<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        check_tile(tile, &self.sizes, out.len(), &self.of)?;
        if self.element.is_complex() && !S::IS_COMPLEX {
            let (of, name) = (&self.of, self.element.name());
            return Err(Fault::new(format!("{of} holds {name}: complex numbers cannot become {}", S::NAME))
                .hint("set model.scalar to \"complex_f32\" or \"complex_f64\""));
        }
        if out.is_empty() {
            return Ok(());
        }
        match &mut self.numbers {
            Source::Raw(raw) => raw.read_into(tile, out),
            Source::Pages(pages) => pages.read_into(tile, out),
        }
    }
}

/// Names of dims from text.
pub(super) fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_in_an_archive_has_a_path() {
        let split = |path: &str| {
            let (file, entry) = split_entry(Path::new(path));
            (file.display().to_string(), entry.unwrap_or_default())
        };
        assert_eq!(split("a/maps.npz/coil"), ("a/maps.npz".into(), "coil".into()));
        assert_eq!(split("maps.npz/group/coil"), ("maps.npz".into(), "group/coil".into()));
        assert_eq!(split("maps.npz"), ("maps.npz".into(), "".into()));
        assert_eq!(split("a/b.npy"), ("a/b.npy".into(), "".into()));
    }

    #[test]
    fn an_unknown_extension_lists_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        for (name, got) in [("a.xyz", "the extension `xyz`"), ("a", "no extension")] {
            std::fs::write(folder.path().join(name), "?").unwrap();
            let fault = open(folder.path(), Path::new(name)).err().unwrap();
            assert!(fault.text.contains(KNOWN) && fault.text.contains(got), "{}", fault.text);
        }
    }
}
