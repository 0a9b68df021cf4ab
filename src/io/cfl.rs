//! BART's pair of files: `name.hdr` is text with up to 16 sizes, `name.cfl` holds complex64 numbers.
//!
//! BART writes the first dim fastest, we count the slowest first; so its dims from the last to the first are ours as they lie,
//! and nothing is turned. Dims of size 1 are left out. Those that remain are called as BART calls them: x, y, z (readout and
//! the two phase encodings: kx, ky, kz where the array is a k-space, which the file does not say), coil, maps, …
//!
//! Source: `src/misc/io.c` and `src/misc/mri.h` of BART 0.9 (M. Uecker et al., BSD-3); numbers are little-endian on all machines
//! on which it is in use.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::array::{self, ArrayFile, Element, Layout, Raw, is_swapped};
use super::atomic::Pending;
use super::nan::NanPolicy;
use super::{COMPLETE, Header, Loaded, npy, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Dim, Shape, Tile};

/// What BART's dims are, the fastest first.
const DIMS: [&str; 16] = [
    "x", "y", "z", "coil", "maps", "echo", "coeff", "coeff2", "iter", "cshift", "time", "time2", "level", "slice",
    "average", "batch",
];

/// The sample that tells the byte order.
const SAMPLE: usize = 1 << 16;

/// An array of BART.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CflParams {
    /// Either of the two files, in the data folder.
    pub path: PathBuf,
    /// A name for each dim whose size is not 1, slowest first. Left out: BART's own, such as `["coil", "y", "x"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<Vec<String>>,
    /// What becomes of values that are not finite.
    #[serde(default)]
    pub nan: NanPolicy,
}

impl CflParams {
    /// Dims and sizes.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        array::header(&open(&resolve(data_dir, &self.path)?)?, &self.path, self.dims.as_deref())
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        array::read(&mut open(&resolve(data_dir, &self.path)?)?, &self.path, self.nan, tile, out)
    }
}

/// Opens the pair by the path of either.
pub(super) fn open(path: &Path) -> Result<ArrayFile, Fault> {
    let text_path = path.with_extension("hdr");
    let text = std::fs::read_to_string(&text_path).map_err(|error| {
        Fault::new(format!("cannot read {}: {error}", text_path.display()))
            .hint("BART's arrays are two files: the sizes in name.hdr, the numbers in name.cfl; both are needed")
    })?;
    let all = dimensions(&text).map_err(|what| {
        Fault::new(format!("{}: {what}", text_path.display()))
            .hint("below the line `# Dimensions` stand the sizes, such as `180 230 1 8`")
    })?;
    let (names, sizes) = ours(&all);

    let (of, mut file, bytes) = npy::opened(&path.with_extension("cfl")).map_err(|fault| {
        fault.or_hint("BART's arrays are two files: the sizes in name.hdr, the numbers in name.cfl; both are needed")
    })?;
    let needed = all.iter().try_fold(8_u64, |product, &size| product.checked_mul(size as u64));
    if needed != Some(bytes) {
        let needed = needed.map_or("more than 2^64".to_owned(), |needed| needed.to_string());
        let text =
            format!("{of} has {bytes} bytes, the sizes {all:?} in its hdr file need {needed} (8 for each number)");
        return Err(Fault::new(text).hint(format!("do the two files belong together? {COMPLETE}")));
    }
    let mut sample = vec![0; SAMPLE.min(bytes as usize)];
    file.read_exact(&mut sample).map_err(|error| Fault::new(format!("cannot read {of}: {error}")))?;
    if is_swapped(&sample, false) {
        return Err(Fault::new(format!(
            "{of}: the numbers are big-endian, as their sizes tell; expected little-endian"
        ))
        .hint("swap the bytes, e.g. numpy.fromfile(path, \">c8\").astype(\"<c8\").tofile(path)"));
    }
    let layout = Layout { first: 0, sizes, element: Element::ComplexF32, big_endian: false, fortran: false };
    Ok(ArrayFile::raw(of.clone(), names, Raw::in_file(of, file, layout)))
}

/// The sizes in a header, or what is wrong with it.
fn dimensions(text: &str) -> Result<Vec<usize>, String> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "# Dimensions").skip(1);
    let line = lines.next().ok_or("it has no line `# Dimensions` with a line of sizes below")?;
    let size = |word: &str| match word.parse() {
        Ok(size @ 1..) => Ok(size),
        _ => Err(format!("the sizes are `{line}`, of which `{word}` is no whole number from 1 on")),
    };
    let sizes: Vec<usize> = line.split_whitespace().map(size).collect::<Result<_, _>>()?;
    match sizes.len() {
        1..=16 => Ok(sizes),
        count => Err(format!("it has {count} sizes, expected 1 to 16")),
    }
}

/// Our names and sizes, slowest first, of dims that BART counts from the fastest.
fn ours(sizes: &[usize]) -> (Vec<String>, Vec<usize>) {
    let kept = sizes.iter().zip(DIMS).filter(|(size, _)| **size != 1).rev();
    kept.map(|(size, name)| (name.to_owned(), *size)).unzip()
}

/// Writes a pair of files. Dims that have one of BART's names go to their place; if one has not, or the order is another, they
/// become its first ones.
///
/// Collective: no. Cost: one pass. Faults: more than 16 dims; the folder cannot be written.
pub(super) fn write(path: &Path, shape: &Shape, values: &[Complex<f32>]) -> Result<(), Fault> {
    let mut sizes = [1; 16];
    let place = |dim: &Dim| DIMS.iter().position(|known| *known == dim.name);
    let places: Option<Vec<usize>> = shape.dims().iter().rev().map(place).collect();
    let places = match places {
        Some(places) if places.is_sorted_by(|a, b| a < b) => places,
        _ => (0..shape.dims().len()).collect(),
    };
    for (place, dim) in places.iter().zip(shape.dims().iter().rev()) {
        *sizes.get_mut(*place).ok_or_else(|| {
            Fault::new(format!("{}: {shape} has more dims than the 16 of a cfl file", path.display()))
        })? = dim.size;
    }
    let sizes = sizes.map(|size| size.to_string()).join(" ");
    let [mut numbers, mut header] =
        [Pending::begin(&path.with_extension("cfl"))?, Pending::begin(&path.with_extension("hdr"))?];
    numbers.fill(|file| {
        values.iter().try_for_each(|z| {
            file.write_all(&z.re.to_le_bytes())?;
            file.write_all(&z.im.to_le_bytes())
        })
    })?;
    header.fill(|file| writeln!(file, "# Dimensions\n{sizes}\n# Creator\nstackphys {}", env!("CARGO_PKG_VERSION")))?;
    numbers.finish()?;
    header.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Numbers, Selection};

    fn params(path: &str) -> CflParams {
        CflParams { path: path.into(), dims: None, nan: NanPolicy::Error }
    }

    /// Three coils of an image of 5 columns (fastest) and 2 rows; the number at (coil, y, x) is 100 coil + 10 y + i x.
    fn by_hand(folder: &Path, header: &str, big_endian: bool) {
        let mut bytes = Vec::new();
        for coil in 0..3 {
            for y in 0..2 {
                for x in 0..5 {
                    for part in [(100 * coil + 10 * y + 1) as f32, x as f32 + 0.5] {
                        bytes.extend(if big_endian { part.to_be_bytes() } else { part.to_le_bytes() });
                    }
                }
            }
        }
        std::fs::write(folder.join("a.cfl"), bytes).unwrap();
        std::fs::write(folder.join("a.hdr"), header).unwrap();
    }

    const HEADER: &str =
        "# Dimensions\n5 2 1 3 1 1 1 1 1 1 1 1 1 1 1 1 \n# Command\nfft 7 in out \n# Files\n >out <in \n";

    #[test]
    fn dims_have_barts_names_and_a_part_is_read() {
        let folder = tempfile::tempdir().unwrap();
        by_hand(folder.path(), HEADER, false);
        for name in ["a.cfl", "a.hdr"] {
            let header = params(name).header(folder.path()).unwrap();
            assert_eq!(header.about, format!("{name}: (coil=3, y=2, x=5), complex64"));
            let some = Selection { start: 1, step: 2, count: 2 };
            let tile = Tile::whole(&header.shape).with(0, Selection { start: 2, step: 1, count: 1 }).with(2, some);
            let mut out = [Complex::default(); 4];
            params(name).read(folder.path(), &tile, &mut out).unwrap();
            let z = |re, im| Complex::new(re, im);
            assert_eq!(out, [z(201.0, 1.5), z(201.0, 3.5), z(211.0, 1.5), z(211.0, 3.5)]);
        }
        let fault = params("a.cfl").read(
            folder.path(),
            &Tile::whole(&Shape::new([("coil", 3), ("y", 2), ("x", 5)])),
            &mut [0f32; 30],
        );
        assert!(fault.unwrap_err().text.contains("complex"));
    }

    #[test]
    fn files_that_do_not_fit_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let text = |header: &str, big_endian| {
            by_hand(folder.path(), header, big_endian);
            params("a.cfl").header(folder.path()).unwrap_err().text
        };
        let text_of = |header| text(header, false);
        assert!(
            text_of("# Dimensions\n5 2 1 4\n")
                .contains("has 240 bytes, the sizes [5, 2, 1, 4] in its hdr file need 320")
        );
        assert!(text_of("# Dimensions\n5 2 1 2\n").contains("need 160"));
        assert!(text_of("# Dimensions\n5 two\n").contains("`two` is no whole number"));
        assert!(text_of("# Dimensions\n5 0\n").contains("`0` is no whole number"));
        assert!(text_of("5 2 1 3\n").contains("no line `# Dimensions`"));
        assert!(text_of(&format!("# Dimensions\n{}\n", "1 ".repeat(17))).contains("17 sizes"));
        assert!(text(HEADER, true).contains("big-endian"));
        std::fs::remove_file(folder.path().join("a.hdr")).unwrap();
        let fault = params("a.cfl").header(folder.path()).unwrap_err();
        assert!(fault.text.contains("a.hdr") && fault.hint.unwrap().contains("two files"), "{}", fault.text);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<Complex<f32>> = (0..24).map(|k| Complex::new(k as f32, -0.5)).collect();
        for (shape, header) in [
            (Shape::new([("coil", 4), ("y", 3), ("x", 2)]), "2 3 1 4 1 1 1 1 1 1 1 1 1 1 1 1"),
            (Shape::new([("coil", 4), ("ky", 3), ("kx", 2)]), "2 3 4 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ] {
            let path = folder.path().join("b.cfl");
            write(&path, &shape, &values).unwrap();
            let text = std::fs::read_to_string(folder.path().join("b.hdr")).unwrap();
            assert_eq!(text.lines().nth(1), Some(header));
            let mut file = open(&path).unwrap();
            let tile = Tile::whole(&Shape::new(shape.dims().iter().map(|dim| (dim.name.clone(), dim.size))));
            assert_eq!(file.sizes, [4, 3, 2]);
            assert_eq!(file.read_numbers(&tile).unwrap(), Numbers::ComplexF32(values.clone()));
        }
    }
}
