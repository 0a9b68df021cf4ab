//! TIFF images and stacks: one page is (y, x), several pages of one size are (z, y, x).
//!
//! 8, 16, 32 and 64-bit integers and 32 and 64-bit floating-point numbers, in either byte order, packed by LZW, Deflate or
//! PackBits or not; also BigTIFF. Of a stack only the pages that a part needs are unpacked. Values are as the file has them.
//!
//! Source: Adobe, *TIFF revision 6.0* (1992), which the crate `tiff` knows.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::{TiffEncoder, TiffKind, colortype};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::array::{self, ArrayFile, Element, Layout, Raw, Source};
use super::nan::NanPolicy;
use super::{COMPLETE, Header, Loaded, atomic, npy, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// Beyond this a file says BigTIFF.
const SMALL: usize = 1 << 31;

/// A TIFF image or stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TiffParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// A name for each dim, slowest first. Left out: `["y", "x"]`, of several pages `["z", "y", "x"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<Vec<String>>,
    /// What becomes of values that are not finite.
    #[serde(default)]
    pub nan: NanPolicy,
}

impl TiffParams {
    /// Dims and sizes; reads the directory of each page.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        array::header(&open(&resolve(data_dir, &self.path)?)?, &self.path, self.dims.as_deref())
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        array::read(&mut open(&resolve(data_dir, &self.path)?)?, &self.path, self.nan, tile, out)
    }
}

/// The pages of an open file.
pub(super) struct Pages {
    of: String,
    decoder: Decoder<BufReader<File>>,
    count: usize,
    rows: usize,
    columns: usize,
    element: Element,
}

fn wrong(of: &str, error: &TiffError) -> Fault {
    let fault = Fault::new(format!("cannot read {of} as TIFF: {error}"));
    match error {
        TiffError::UnsupportedError(_) => fault.hint("save it without that, e.g. uncompressed and in grey"),
        _ => fault.hint(COMPLETE),
    }
}

/// Opens a file and looks at all its pages.
pub(super) fn open(path: &Path) -> Result<ArrayFile, Fault> {
    let (of, file, bytes) = npy::opened(path)?;
    let wrong = |error: TiffError| wrong(&of, &error);
    // what a page claims to need must be in some proportion to the file; Deflate packs a thousandfold at most
    let most = (bytes as usize).saturating_mul(1100).max(1 << 20);
    let mut limits = Limits::default();
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (most, most);
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(wrong)?.with_limits(limits);
    let (first, mut count) = (page(&mut decoder, &of)?, 1);
    while decoder.more_images() {
        decoder.next_image().map_err(wrong)?;
        let next = page(&mut decoder, &of)?;
        if next != first {
            let say =
                |(rows, columns, element): (usize, usize, Element)| format!("{rows}×{columns} of {}", element.name());
            let text = format!("{of}: page {count} is {}, page 0 is {}", say(next), say(first));
            return Err(Fault::new(text).hint("a stack has pages of one size and type: remove the others (previews?)"));
        }
        count += 1;
    }
    let (rows, columns, element) = first;
    let sizes = if count == 1 { vec![rows, columns] } else { vec![count, rows, columns] };
    let numbers = Source::Pages(Box::new(Pages { of: of.clone(), decoder, count, rows, columns, element }));
    Ok(ArrayFile { of, names: npy::names(&sizes), sizes, element, numbers })
}

/// Rows, columns and type of the page at which a decoder stands.
fn page(decoder: &mut Decoder<BufReader<File>>, of: &str) -> Result<(usize, usize, Element), Fault> {
    let wrong = |error: TiffError| wrong(of, &error);
    let (columns, rows) = decoder.dimensions().map_err(wrong)?;
    let colour = decoder.colortype().map_err(wrong)?;
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(wrong)?;
    let format = formats.and_then(|formats| formats.first().copied()).unwrap_or(1);
    let element = match (colour, format) {
        (ColorType::Gray(8), 1) => Element::U8,
        (ColorType::Gray(16), 1) => Element::U16,
        (ColorType::Gray(32), 1) => Element::U32,
        (ColorType::Gray(64), 1) => Element::U64,
        (ColorType::Gray(8), 2) => Element::I8,
        (ColorType::Gray(16), 2) => Element::I16,
        (ColorType::Gray(32), 2) => Element::I32,
        (ColorType::Gray(64), 2) => Element::I64,
        (ColorType::Gray(32), 3) => Element::F32,
        (ColorType::Gray(64), 3) => Element::F64,
        _ => {
            let text = format!(
                "{of}: its pixels are {colour:?} of sample format {format}, expected grey of 8, 16, 32 or 64 bits"
            );
            return Err(Fault::new(text).hint("convert it to one grey value for each pixel"));
        }
    };
    if rows == 0 || columns == 0 {
        return Err(Fault::new(format!("{of} holds no numbers: a page has {rows}×{columns} pixels")).hint(COMPLETE));
    }
    Ok((rows as usize, columns as usize, element))
}

impl Pages {
    /// Reads a tile that was checked, page after page.
    pub fn read_into<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        let selections = tile.selections();
        let (pages, [rows, columns]) = match *selections {
            [pages, rows, columns] => (pages.iter().collect(), [rows, columns]),
            [rows, columns] => (vec![0], [rows, columns]),
            _ => return Err(Fault::new(format!("{}: a tile of {} dims", self.of, selections.len()))),
        };
        let sizes = vec![self.rows, self.columns];
        let on_page = Tile::whole(&Shape::new([("y", self.rows), ("x", self.columns)])).with(0, rows).with(1, columns);
        let layout =
            Layout { first: 0, sizes, element: self.element, big_endian: cfg!(target_endian = "big"), fortran: false };
        for (page, out) in pages.into_iter().zip(out.chunks_mut(rows.count * columns.count)) {
            debug_assert!(page < self.count);
            let bytes = self.unpacked(page)?;
            Raw::in_memory(self.of.clone(), bytes, layout.clone()).read_into(&on_page, out)?;
        }
        Ok(())
    }

    /// The numbers of a page, in this machine's byte order.
    fn unpacked(&mut self, page: usize) -> Result<Vec<u8>, Fault> {
        self.decoder.seek_to_image(page).map_err(|error| wrong(&self.of, &error))?;
        let values = self.decoder.read_image().map_err(|error| wrong(&self.of, &error))?;
        macro_rules! bytes {
            ($($kind:ident)+) => {
                match values {
                    DecodingResult::U8(values) => values,
                    DecodingResult::F16(values) => values.iter().flat_map(|value| value.to_bits().to_ne_bytes()).collect(),
                    $(DecodingResult::$kind(values) => bytemuck::cast_slice(&values).to_vec(),)+
                }
            };
        }
        let bytes: Vec<u8> = bytes!(U16 U32 U64 I8 I16 I32 I64 F32 F64);
        let needed = self.rows * self.columns * self.element.bytes();
        if bytes.len() != needed {
            let text = format!("{}: page {page} holds {} bytes, its size needs {needed}", self.of, bytes.len());
            return Err(Fault::new(text).hint(COMPLETE));
        }
        Ok(bytes)
    }
}

/// Writes an image (y, x), or a stack of pages (z, y, x), as 32-bit floating-point numbers; of `f64` as 64-bit ones.
///
/// Collective: no. Cost: one pass. Faults: another number of dims; complex numbers; the folder cannot be written.
pub(super) fn write<S: Scalar>(path: &Path, shape: &Shape, values: &[S]) -> Result<(), Fault> {
    let of = path.display();
    if S::IS_COMPLEX {
        return Err(Fault::new(format!("{of}: TIFF has no complex numbers"))
            .hint("write npy, npz or cfl, or the magnitude as PNG"));
    }
    let (rows, columns) = match shape.sizes()[..] {
        [rows, columns] | [_, rows, columns] => (rows, columns),
        _ => {
            return Err(Fault::new(format!(
                "{of}: a TIFF file holds 2 dims (y, x) or 3 (z, y, x), the array is {shape}"
            ))
            .hint("write npy or npz"));
        }
    };
    let (Ok(height @ 1..), Ok(width @ 1..)) = (u32::try_from(rows), u32::try_from(columns)) else {
        return Err(Fault::new(format!("{of}: a page cannot have {rows}×{columns} pixels")));
    };
    let pages = values.chunks(rows * columns);
    atomic::write(path, |file| {
        let written = match size_of_val(values) < SMALL {
            true => TiffEncoder::new(file).and_then(|encoder| encode(encoder, [width, height], pages)),
            false => TiffEncoder::new_big(file).and_then(|encoder| encode(encoder, [width, height], pages)),
        };
        written.map_err(std::io::Error::other)
    })
}

fn encode<'a, S: Scalar, K: TiffKind>(
    mut encoder: TiffEncoder<&mut BufWriter<File>, K>,
    [width, height]: [u32; 2],
    pages: impl Iterator<Item = &'a [S]>,
) -> Result<(), TiffError>
where
    BufWriter<File>: Write + Seek,
{
    for page in pages {
        match S::NAME {
            "f32" => encoder.write_image::<colortype::Gray32Float>(width, height, bytemuck::cast_slice(page))?,
            _ => encoder.write_image::<colortype::Gray64Float>(width, height, bytemuck::cast_slice(page))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Numbers, Selection};

    /// Pages of 3 × 2 pixels of unsigned 16 bits, byte by byte as TIFF 6.0 has it: each directory of eight entries before its strip.
    fn by_hand(big_endian: bool, pages: &[[u16; 6]], bits: u16) -> Vec<u8> {
        let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut file = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        file.extend(short(42));
        file.extend(long(8));
        const DIRECTORY: usize = 2 + 9 * 12 + 4;
        for (at, page) in pages.iter().enumerate() {
            let strip = file.len() + DIRECTORY;
            file.extend(short(9));
            // width, height, bits, no compression, black is zero, strip offset, samples, rows per strip, strip bytes
            for (tag, value) in [
                (256, 2),
                (257, 3),
                (258, u32::from(bits)),
                (259, 1),
                (262, 1),
                (273, strip as u32),
                (277, 1),
                (278, 3),
                (279, 12),
            ] {
                file.extend(short(tag));
                file.extend(short(4)); // LONG
                file.extend(long(1));
                file.extend(long(value));
            }
            let next = if at + 1 < pages.len() { strip + 12 } else { 0 };
            file.extend(long(next as u32));
            page.iter().for_each(|value| file.extend(short(*value)));
        }
        file
    }

    fn params(path: &str) -> TiffParams {
        TiffParams { path: path.into(), dims: None, nan: NanPolicy::Error }
    }

    #[test]
    fn both_byte_orders_are_read_page_by_page() {
        let folder = tempfile::tempdir().unwrap();
        let pages = [[1, 2, 300, 4, 5, 60_000], [7, 8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 18]];
        for big_endian in [false, true] {
            std::fs::write(folder.path().join("a.tif"), by_hand(big_endian, &pages, 16)).unwrap();
            let header = params("a.tif").header(folder.path()).unwrap();
            assert_eq!(header.about, "a.tif: (z=3, y=3, x=2), uint16");
            let tile = Tile::whole(&header.shape)
                .with(0, Selection { start: 0, step: 2, count: 2 })
                .with(1, Selection { start: 1, step: 1, count: 2 })
                .with(2, Selection { start: 1, step: 1, count: 1 });
            let mut out = [0f32; 4];
            params("a.tif").read(folder.path(), &tile, &mut out).unwrap();
            assert_eq!(out, [4.0, 60_000.0, 16.0, 18.0]);
            std::fs::write(folder.path().join("b.tiff"), by_hand(big_endian, &pages[..1], 16)).unwrap();
            let mut file = open(&folder.path().join("b.tiff")).unwrap();
            let all = file.read_numbers(&Tile::whole(&Shape::new([("y", 3), ("x", 2)]))).unwrap();
            assert_eq!(all, Numbers::F64(pages[0].map(f64::from).to_vec()));
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        fn check<S: Scalar>(values: Vec<S>, wrap: fn(Vec<S>) -> Numbers) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c.tif");
            for shape in [Shape::new([("z", 2), ("y", 3), ("x", 4)]), Shape::new([("y", 6), ("x", 4)])] {
                write(&path, &shape, &values).unwrap();
                let mut file = open(&path).unwrap();
                assert_eq!(file.sizes, shape.sizes());
                assert_eq!(file.read_numbers(&Tile::whole(&shape)).unwrap(), wrap(values.clone()));
            }
        }
        check((0..24).map(|k| k as f32 * 0.1 - 1.0).collect(), Numbers::F32);
        check((0..24).map(|k| f64::from(k) * 1e-200 - 1.0).collect(), Numbers::F64);
        let shape = Shape::new([("x", 2)]);
        assert!(write(Path::new("/tmp/no.tif"), &shape, &[1.0, 2.0]).unwrap_err().text.contains("(x=2)"));
        let z = [num_complex::Complex::new(1.0, 2.0); 2];
        assert!(write(Path::new("/tmp/no.tif"), &shape, &z).unwrap_err().text.contains("complex"));
    }

    #[test]
    fn damaged_and_unsupported_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let opening = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let read = |mut file: ArrayFile| {
                let shape = Shape::new(file.sizes.iter().map(|size| ("d", *size)));
                file.read_numbers(&Tile::whole(&shape)).err()
            };
            open(&path).map_or_else(Some, read).map(|fault| (fault.text, fault.hint.unwrap_or_default()))
        };
        let good = by_hand(false, &[[1; 6], [2; 6]], 16);
        assert_eq!(opening(&good), None);
        for keep in [2, 20, 60, good.len() - 13, good.len() - 3] {
            let (text, hint) = opening(&good[..keep]).unwrap();
            assert!(text.contains("as TIFF") && hint.contains("copied"), "{keep}: {text} {hint}");
        }
        let (text, _) = opening(b"II\x2a\x07 another version").unwrap();
        assert!(text.contains("as TIFF"), "{text}");
        let (text, hint) = opening(&by_hand(false, &[[1; 6]], 4)).unwrap();
        assert!(text.contains("Gray(4)") && hint.contains("grey"), "{text}");
        // no flipped byte panics, or asks for all memory
        for at in 0..good.len() {
            for value in [0, 0xff, good[at] ^ 0x80] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = opening(&bad);
            }
        }
    }
}
