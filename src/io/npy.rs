//! NumPy's npy format: any dims, real, complex, integer and boolean numbers; the format of all our results.
//!
//! The header comes from `ndarray-npy`; the numbers are read here, because a rank wants its tile and not the file.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use ndarray::ArrayViewD;
use ndarray_npy::WriteNpyExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nan::{self, NanPolicy, settle};
use super::{COMPLETE, Header, Loaded, atomic, check_tile, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Numbers, Selection, Shape, Tile};

/// An npy file; its dims have no names in the file, so they get them here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// A name for each dim of the array, slowest first, such as `["coil", "ky", "kx"]`.
    pub dims: Vec<String>,
    /// What becomes of values that are not finite.
    #[serde(default)]
    pub nan: NanPolicy,
}

impl NpyParams {
    /// Dims and sizes; reads the file's header only.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        let file = NpyFile::open(&resolve(data_dir, &self.path)?)?;
        let sizes = file.sizes();
        if sizes.len() != self.dims.len() {
            let (path, dims, named) = (self.path.display(), sizes.len(), self.dims.len());
            return Err(Fault::new(format!(
                "`dims`: {path} has {dims} dims of sizes {sizes:?}, `dims` names {named}: {:?}",
                self.dims
            ))
            .hint("name each dim once, slowest first"));
        }
        if let Some(name) =
            self.dims.iter().enumerate().find_map(|(k, name)| self.dims[..k].contains(name).then_some(name))
        {
            return Err(Fault::new(format!("`dims` names `{name}` twice")).hint("name each dim once, slowest first"));
        }
        let shape = Shape::new(self.dims.iter().cloned().zip(sizes.iter().copied()));
        let about = format!("{}: {shape}, {}", self.path.display(), file.element.name());
        Ok(Header { shape, angles: None, about })
    }

    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        let mut file = NpyFile::open(&resolve(data_dir, &self.path)?)?;
        file.read_into(tile, out)?;
        let of = self.path.display().to_string();
        let not_finite =
            settle(out, self.nan, tile, &of, |index| nan::named(tile, index)).map_err(|fault| fault.hint(nan::HINT))?;
        Ok(Loaded { numbers: out.len() as u64, clamped: 0, not_finite })
    }
}

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

/// What one element of a file is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Element {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    ComplexF32,
    ComplexF64,
}

impl Element {
    /// From NumPy's type string without its byte order.
    fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "b1" => Element::Bool,
            "i1" => Element::I8,
            "i2" => Element::I16,
            "i4" => Element::I32,
            "i8" => Element::I64,
            "u1" => Element::U8,
            "u2" => Element::U16,
            "u4" => Element::U32,
            "u8" => Element::U64,
            "f4" => Element::F32,
            "f8" => Element::F64,
            "c8" => Element::ComplexF32,
            "c16" => Element::ComplexF64,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Element::Bool => "bool",
            Element::I8 => "int8",
            Element::I16 => "int16",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
            Element::U16 => "uint16",
            Element::U32 => "uint32",
            Element::U64 => "uint64",
            Element::F32 => "float32",
            Element::F64 => "float64",
            Element::ComplexF32 => "complex64",
            Element::ComplexF64 => "complex128",
        }
    }

    /// Bytes of one element.
    fn bytes(self) -> usize {
        match self {
            Element::Bool | Element::I8 | Element::U8 => 1,
            Element::I16 | Element::U16 => 2,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 | Element::ComplexF32 => 8,
            Element::ComplexF64 => 16,
        }
    }

    fn is_complex(self) -> bool {
        matches!(self, Element::ComplexF32 | Element::ComplexF64)
    }

    /// Bytes of what has a byte order: a complex number is two of them.
    fn bytes_of_part(self) -> usize {
        if self.is_complex() { self.bytes() / 2 } else { self.bytes() }
    }

    /// Decodes little-endian bytes into every `stride`-th number of `out`.
    fn decode<S: Scalar>(self, bytes: &[u8], out: &mut [S], stride: usize) {
        fn each<S: Scalar, const N: usize>(bytes: &[u8], out: &mut [S], stride: usize, number: impl Fn([u8; N]) -> S) {
            for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out.iter_mut().step_by(stride)) {
                *out = number(*bytes);
            }
        }
        macro_rules! real {
            ($real:ty) => {
                each(bytes, out, stride, |bytes| S::from_f64(<$real>::from_le_bytes(bytes) as f64))
            };
        }
        macro_rules! complex {
            ($real:ty, $half:literal) => {
                each(bytes, out, stride, |bytes: [u8; 2 * $half]| {
                    let (mut re, mut im) = ([0; $half], [0; $half]);
                    re.copy_from_slice(&bytes[..$half]);
                    im.copy_from_slice(&bytes[$half..]);
                    S::from_parts(<$real>::from_le_bytes(re) as f64, <$real>::from_le_bytes(im) as f64)
                })
            };
        }
        match self {
            Element::Bool => each(bytes, out, stride, |[byte]| S::from_f64(f64::from(u8::from(byte != 0)))),
            Element::I8 => real!(i8),
            Element::I16 => real!(i16),
            Element::I32 => real!(i32),
            Element::I64 => real!(i64),
            Element::U8 => real!(u8),
            Element::U16 => real!(u16),
            Element::U32 => real!(u32),
            Element::U64 => real!(u64),
            Element::F32 => real!(f32),
            Element::F64 => real!(f64),
            Element::ComplexF32 => complex!(f32, 4),
            Element::ComplexF64 => complex!(f64, 8),
        }
    }
}

/// Short gaps between runs are read through the reader's buffer; longer ones are skipped.
const GAP_BYTES: usize = 1 << 13;
/// Long runs are decoded in pieces of this size.
const PIECE_BYTES: usize = 1 << 18;
/// Brackets in a header that is well formed nest three deep at most; the parser recurses.
const DEEPEST_HEADER: usize = 16;
/// NumPy's own limit is 10 000 unless the caller trusts the file.
const LONGEST_HEADER: usize = 1 << 20;

/// An open npy file whose header makes sense and whose length fits it.
pub(super) struct NpyFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// Where `reader` stands.
    at: u64,
    /// Where the numbers begin.
    first: u64,
    sizes: Vec<usize>,
    element: Element,
    big_endian: bool,
    fortran: bool,
}

impl NpyFile {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let of = path.display();
        let wrong = |error: std::io::Error| Fault::new(format!("cannot read {of}: {error}"));
        let file = File::open(path).map_err(wrong)?;
        let bytes = file.metadata().map_err(wrong)?.len();
        if bytes == 0 {
            return Err(Fault::new(format!("{of} is empty (0 bytes)")).hint(COMPLETE));
        }
        let mut reader = BufReader::with_capacity(GAP_BYTES, file);
        let head = header_bytes(&mut reader).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                Fault::new(format!("{of} ends within its header: {bytes} bytes in all")).hint(COMPLETE)
            }
            ErrorKind::InvalidData => {
                Fault::new(format!("{of} is not an npy file: {error}")).hint("write one with numpy.save(path, array)")
            }
            _ => wrong(error),
        })?;
        let header = ndarray_npy::npy::header::Header::from_reader(&mut head.as_slice())
            .map_err(|error| Fault::new(format!("{of} has no npy header that can be read: {error}")))?;

        let unsupported = |dtype: &dyn std::fmt::Display| {
            Fault::new(format!("{of} holds elements of type {dtype}, which are not numbers that can be read"))
                .hint("convert them: numpy.save(path, array.astype(\"float32\"))")
        };
        let dtype = &header.type_descriptor;
        let code = dtype.as_string().ok_or_else(|| unsupported(dtype))?;
        let (order, kind) = match code.chars().next() {
            Some(order @ ('<' | '>' | '|' | '=')) => (order, &code[1..]),
            _ => ('=', code.as_str()),
        };
        let element = Element::parse(kind).ok_or_else(|| unsupported(&format!("`{code}`")))?;
        let big_endian = order == '>' || (order == '=' && cfg!(target_endian = "big"));

        let sizes = header.shape;
        let first = head.len() as u64;
        let needed = sizes
            .iter()
            .try_fold(element.bytes() as u64, |product, &size| product.checked_mul(size as u64))
            .and_then(|numbers| numbers.checked_add(first));
        match needed {
            Some(needed) if needed == first => {
                return Err(Fault::new(format!("{of} holds no numbers: its sizes are {sizes:?}")));
            }
            Some(needed) if needed <= bytes => {}
            _ => {
                let needed = needed.map_or("more than 2^64".to_owned(), |needed| needed.to_string());
                return Err(Fault::new(format!(
                    "{of} is truncated: {needed} bytes are needed for sizes {sizes:?} of {}, it has {bytes}",
                    element.name()
                ))
                .hint(COMPLETE));
            }
        }
        let fortran = header.layout.is_fortran();
        Ok(NpyFile { path: path.to_owned(), reader, at: first, first, sizes, element, big_endian, fortran })
    }

    /// The sizes of the array's dims.
    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Reads a tile in the precision of the file (integers as f64); all of it must be finite.
    pub(super) fn read_numbers(&mut self, tile: &Tile) -> Result<Numbers, Fault> {
        fn all<S: Scalar>(file: &mut NpyFile, tile: &Tile) -> Result<Vec<S>, Fault> {
            // Checked before the allocation: a tile of another file could ask for any amount.
            let count = tile.shape().len();
            check_tile(tile, &file.sizes, count, &file.path.display().to_string())?;
            let mut values = vec![S::default(); count];
            file.read_into(tile, &mut values)?;
            let of = file.path.display().to_string();
            settle(&mut values, NanPolicy::Error, tile, &of, |index| nan::named(tile, index))
                .map_err(|fault| fault.hint("an operator's matrix or diagonal must be finite: correct the file"))?;
            Ok(values)
        }
        Ok(match self.element {
            Element::F32 => Numbers::F32(all(self, tile)?),
            Element::ComplexF32 => Numbers::ComplexF32(all(self, tile)?),
            Element::ComplexF64 => Numbers::ComplexF64(all(self, tile)?),
            _ => Numbers::F64(all(self, tile)?),
        })
    }

    /// Reads a tile into `out`, row-major. Values are as the file has them, finite or not.
    fn read_into<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        check_tile(tile, &self.sizes, out.len(), &self.path.display().to_string())?;
        if self.element.is_complex() && !S::IS_COMPLEX {
            let (of, name) = (self.path.display(), self.element.name());
            return Err(Fault::new(format!("{of} holds {name}: complex numbers cannot become {}", S::NAME))
                .hint("set model.scalar to \"complex_f32\" or \"complex_f64\""));
        }
        if out.is_empty() {
            return Ok(());
        }
        let axes = file_axes(tile, self.fortran);
        let Some((inner, outer)) = axes.split_last() else { return Ok(()) };
        let bytes = self.element.bytes();
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
                    self.element.decode(piece, &mut out[to..], inner.out_stride);
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
        let target = self.first + (element * self.element.bytes()) as u64;
        let way = target as i64 - self.at as i64; // both are within the file's length
        self.reader.seek_relative(way).map_err(|error| self.wrong(&error))?;
        self.at = target;
        Ok(())
    }

    /// Reads whole elements, little-endian whatever the file is.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(bytes).map_err(|error| self.wrong(&error))?;
        self.at += bytes.len() as u64;
        if self.big_endian {
            bytes.chunks_exact_mut(self.element.bytes_of_part()).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    fn wrong(&self, error: &std::io::Error) -> Fault {
        Fault::new(format!("cannot read {} near byte {}: {error}", self.path.display(), self.at))
    }
}

/// Magic string, version, length and dictionary of a header, looked over before a parser sees them.
fn header_bytes(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let invalid = |text: &str| std::io::Error::new(ErrorKind::InvalidData, text);
    let mut head = vec![0; 10];
    // One byte at first: a short file that is no npy file should be told apart from a truncated one.
    reader.read_exact(&mut head[..1])?;
    if head[0] != 0x93 {
        return Err(invalid("it does not begin with \\x93NUMPY"));
    }
    reader.read_exact(&mut head[1..])?;
    if &head[..6] != b"\x93NUMPY" {
        return Err(invalid("it does not begin with \\x93NUMPY"));
    }
    let mut length = usize::from(u16::from_le_bytes([head[8], head[9]]));
    if head[6] >= 2 {
        let mut high = [0; 2];
        reader.read_exact(&mut high)?;
        head.extend(high);
        length |= usize::from(u16::from_le_bytes(high)) << 16;
    }
    if length > LONGEST_HEADER {
        return Err(invalid(&format!("it promises a header of {length} bytes")));
    }
    let prefix = head.len();
    head.resize(prefix + length, 0);
    reader.read_exact(&mut head[prefix..])?;
    let mut depth = 0usize;
    for byte in &head[prefix..] {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST_HEADER {
            return Err(invalid("the brackets of its header nest too deep"));
        }
    }
    Ok(head)
}

/// What is read along one dim of the file.
#[derive(Debug, Clone, Copy)]
struct Axis {
    start: usize,
    step: usize,
    count: usize,
    size: usize,
    /// Elements of the file from one index to the next.
    file_stride: usize,
    /// Elements of the output from one selected index to the next.
    out_stride: usize,
}

/// The dims in the order of the file, slowest first; those that are read without gaps are merged into one.
fn file_axes(tile: &Tile, fortran: bool) -> Vec<Axis> {
    let mut out_stride = 1;
    let mut axes: Vec<Axis> = Vec::new();
    for (dim, &Selection { start, step, count }) in tile.of().dims().iter().zip(tile.selections()).rev() {
        axes.push(Axis { start, step, count, size: dim.size, file_stride: 0, out_stride });
        out_stride *= count;
    }
    if !fortran {
        axes.reverse();
    }
    let mut merged: Vec<Axis> = Vec::new(); // fastest first
    let mut file_stride = 1;
    for &slower in axes.iter().rev() {
        let slower = Axis { file_stride, ..slower };
        file_stride *= slower.size;
        match merged.last_mut() {
            // A dim of one selected index has no step; a whole fast dim continues at the slower one's next index.
            Some(faster)
                if faster.count == faster.size
                    && faster.step == 1
                    && (slower.step == 1 || slower.count == 1)
                    && (slower.out_stride == faster.out_stride * faster.count || slower.count == 1) =>
            {
                faster.start = slower.start * faster.size;
                faster.count *= slower.count;
                faster.size *= slower.size;
            }
            _ => merged.push(slower),
        }
    }
    if merged.is_empty() {
        // An array of no dims holds one number.
        merged.push(Axis { start: 0, step: 1, count: 1, size: 1, file_stride: 1, out_stride: 1 });
    }
    merged.reverse();
    merged
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, ArrayD, IxDyn, ShapeBuilder};
    use num_complex::Complex;

    use super::*;

    fn params(path: &str, dims: &[&str], nan: NanPolicy) -> NpyParams {
        NpyParams { path: path.into(), dims: dims.iter().map(|&name| name.to_owned()).collect(), nan }
    }

    /// A file of any type string, as NumPy writes it.
    fn raw(path: &Path, descr: &str, fortran: bool, sizes: &str, data: &[u8]) {
        let fortran = if fortran { "True" } else { "False" };
        let mut dict = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {sizes}, }}");
        while (10 + dict.len() + 1) % 64 != 0 {
            dict.push(' ');
        }
        dict.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend(data);
        std::fs::write(path, bytes).unwrap();
    }

    fn text_of(path: &Path) -> String {
        match NpyFile::open(path) {
            Ok(_) => "opened".to_owned(),
            Err(fault) => fault.text,
        }
    }

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

    #[test]
    fn an_array_without_dims_is_one_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        raw(&path, "'<f8'", false, "()", &7.0f64.to_le_bytes());
        let mut out = [0.0];
        NpyFile::open(&path).unwrap().read_into(&Tile::whole(&Shape::default()), &mut out).unwrap();
        assert_eq!(out, [7.0]);
    }

    #[test]
    fn values_that_are_not_finite_follow_the_policy() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape::new([("a", 3), ("b", 2)]);
        let values = [1.0, 2.0, 3.0, f64::NAN, f64::INFINITY, 1e300];
        write_npy(&folder.path().join("a.npy"), &shape, &values).unwrap();
        let tile = Tile::whole(&shape).with(0, Selection { start: 1, step: 1, count: 2 });
        let strict = params("a.npy", &["a", "b"], NanPolicy::Error);
        let fault = strict.read(folder.path(), &tile, &mut [0f64; 4]).unwrap_err();
        assert!(fault.text.contains("2 of the 4") && fault.text.contains("a=1, b=1"), "{}", fault.text);
        assert!(fault.hint.unwrap().contains("data.nan = \"zero\""));
        let lenient = params("a.npy", &["a", "b"], NanPolicy::Zero);
        let mut out = [0f64; 4];
        assert_eq!(lenient.read(folder.path(), &tile, &mut out).unwrap().not_finite, 2);
        assert_eq!(out, [3.0, 0.0, 0.0, 1e300]);
        // What f32 cannot hold is not finite either.
        assert_eq!(lenient.read(folder.path(), &tile, &mut [0f32; 4]).unwrap().not_finite, 3);
    }

    #[test]
    fn names_must_fit_the_array() {
        let folder = tempfile::tempdir().unwrap();
        write_npy(&folder.path().join("a.npy"), &Shape::new([("a", 2), ("b", 2)]), &[0.0; 4]).unwrap();
        let fault = params("a.npy", &["a"], NanPolicy::Error).header(folder.path()).unwrap_err();
        assert!(fault.text.contains("has 2 dims") && fault.text.contains("names 1"), "{}", fault.text);
        let fault = params("a.npy", &["a", "a"], NanPolicy::Error).header(folder.path()).unwrap_err();
        assert!(fault.text.contains("`a` twice"), "{}", fault.text);
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let opening = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            text_of(&path)
        };
        assert!(opening(b"").contains("is empty"));
        assert!(opening(b"x").contains("not an npy file"));
        assert!(opening(b"PK\x03\x04 a zip file, as numpy.savez writes").contains("not an npy file"));
        assert!(opening(b"\x93NUM").contains("ends within its header"));
        assert!(opening(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("promises a header of"));
        assert!(opening(b"\x93NUMPY\x09\x00\x03\x00\x00\x00{}\n").contains("no npy header"));
        let mut deep = b"\x93NUMPY\x01\x00\x40\x9c".to_vec();
        deep.extend([b'('; 40_000]);
        assert!(opening(&deep).contains("nest too deep"));

        let of = |descr: &str, sizes: &str, data: &[u8]| {
            raw(&path, descr, false, sizes, data);
            text_of(&path)
        };
        let text = of("'<f8'", "(2, 2)", &[0; 31]);
        assert!(
            text.contains("truncated") && text.contains("160 bytes are needed") && text.contains("has 159"),
            "{text}"
        );
        assert!(of("'<f8'", "(4294967296, 4294967296, 2)", &[]).contains("truncated"));
        assert!(of("'<f8'", "(2, 0)", &[]).contains("no numbers"));
        assert!(of("'<f8'", "(-2,)", &[]).contains("no npy header"));
        assert!(of("'<f2'", "(1,)", &[0; 2]).contains("`<f2`"));
        assert!(of("'|O'", "(1,)", &[0; 8]).contains("`|O`"));
        assert!(of("'é'", "(1,)", &[0; 8]).contains("no npy header"));
        assert!(of("''", "(1,)", &[0; 8]).contains("not numbers"));
        assert!(of("[('a', '<f4'), ('b', '<f4')]", "(1,)", &[0; 8]).contains("not numbers"));
    }

    #[test]
    fn no_flipped_byte_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let shape = Shape::new([("a", 2), ("b", 3)]);
        write_npy(&path, &shape, &[1.0f32; 6]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for k in 0..good.len() {
            for value in [0, b'9', b'(', b'>', b'\'', good[k] ^ 1, good[k] ^ 0x80] {
                let mut bad = good.clone();
                bad[k] = value;
                std::fs::write(&path, bad).unwrap();
                if let Ok(mut file) = NpyFile::open(&path) {
                    let _ = file.read_numbers(&Tile::whole(&shape));
                }
            }
        }
    }
}
