//! PNG and JPEG images as arrays: grey ones are (y, x), others (y, x, channel). Values are as the file has them, 0 to 255 or to
//! 65 535; the first row is at the top. A picture is unpacked as a whole.
//!
//! Source: the crates `png` and `zune-jpeg`.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use png::Transformations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::array::{self, ArrayFile, Element, Layout, Raw};
use super::nan::NanPolicy;
use super::{COMPLETE, Header, Loaded, npy, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// A PNG or JPEG image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// A name for each dim, slowest first. Left out: `["y", "x"]`, with colours `["y", "x", "channel"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<Vec<String>>,
}

impl PictureParams {
    /// Dims and sizes.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        array::header(&open(&resolve(data_dir, &self.path)?)?, &self.path, self.dims.as_deref())
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        array::read(&mut open(&resolve(data_dir, &self.path)?)?, &self.path, NanPolicy::Error, tile, out)
    }
}

/// The marker at the end of a JPEG, and among how many bytes it is looked for.
const END: [u8; 2] = [0xff, 0xd9];
const LAST: usize = 1 << 12;

/// Opens and unpacks a picture.
pub(super) fn open(path: &Path) -> Result<ArrayFile, Fault> {
    let (of, mut file, _) = npy::opened(path)?;
    let unpacked = match array::extension(path).as_str() {
        "png" => unpack_png(BufReader::new(file)).map_err(|error| error.to_string()),
        _ => {
            let mut packed = Vec::new();
            let read = file.read_to_end(&mut packed).map_err(|error| error.to_string());
            // the decoder makes up what is missing at the end
            let ends = packed.windows(2).rev().take(LAST).any(|two| *two == END);
            read.and_then(|_| if ends { Ok(()) } else { Err("it has no end-of-image marker".to_owned()) })
                .and_then(|()| unpack_jpeg(packed).map_err(|error| format!("{error:?}")))
        }
    };
    let (layout, bytes) =
        unpacked.map_err(|why| Fault::new(format!("cannot read {of} as a picture: {why}")).hint(COMPLETE))?;
    let all = ["y", "x", "channel"];
    let names = array::names(&all[..layout.sizes.len()]);
    Ok(ArrayFile::raw(of.clone(), names, Raw::in_memory(of, bytes, layout)))
}

fn layout([rows, columns, channels]: [usize; 3], element: Element) -> Layout {
    let sizes = if channels == 1 { vec![rows, columns] } else { vec![rows, columns, channels] };
    Layout { first: 0, sizes, element, big_endian: true, fortran: false }
}

fn unpack_png(file: BufReader<std::fs::File>) -> Result<(Layout, Vec<u8>), png::DecodingError> {
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(Transformations::EXPAND); // palettes become colours, fewer than 8 bits 8
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or(png::DecodingError::LimitsExceeded)?];
    let info = reader.next_frame(&mut pixels)?;
    pixels.truncate(info.buffer_size());
    let element = if info.bit_depth == png::BitDepth::Sixteen { Element::U16 } else { Element::U8 };
    Ok((layout([info.height as usize, info.width as usize, info.color_type.samples()], element), pixels))
}

fn unpack_jpeg(packed: Vec<u8>) -> Result<(Layout, Vec<u8>), zune_jpeg::errors::DecodeErrors> {
    let strict = DecoderOptions::default().set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(std::io::Cursor::new(packed), strict);
    decoder.decode_headers()?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(strict.jpeg_set_out_colorspace(colours));
    let pixels = decoder.decode()?;
    let (columns, rows) = decoder.dimensions().unwrap_or_default();
    Ok((layout([rows, columns, if is_grey { 1 } else { 3 }], Element::U8), pixels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Numbers, Selection, Shape};

    fn png(colour: png::ColorType, depth: png::BitDepth, size: [u32; 2], bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, size[0], size[1]);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
        writer.finish().unwrap();
        file
    }

    fn read(folder: &Path, name: &str, bytes: &[u8]) -> Result<(String, Vec<f64>), Fault> {
        std::fs::write(folder.join(name), bytes).unwrap();
        let params = PictureParams { path: name.into(), dims: None };
        let header = params.header(folder)?;
        let mut out = vec![0.0; header.shape.len()];
        params.read(folder, &Tile::whole(&header.shape), &mut out)?;
        Ok((header.about, out))
    }

    #[test]
    fn png_keeps_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let (grey, rgb) = (png::ColorType::Grayscale, png::ColorType::Rgb);
        let (about, values) =
            read(folder.path(), "a.png", &png(grey, png::BitDepth::Eight, [3, 2], &[0, 1, 2, 253, 254, 255])).unwrap();
        assert_eq!((about.as_str(), values), ("a.png: (y=2, x=3), uint8", vec![0.0, 1.0, 2.0, 253.0, 254.0, 255.0]));
        let (about, values) =
            read(folder.path(), "b.png", &png(grey, png::BitDepth::Sixteen, [2, 1], &[1, 0, 255, 255])).unwrap();
        assert_eq!((about.as_str(), values), ("b.png: (y=1, x=2), uint16", vec![256.0, 65_535.0]));
        let (_, values) = read(folder.path(), "c.png", &png(grey, png::BitDepth::One, [3, 1], &[0b1010_0000])).unwrap();
        assert_eq!(values, [255.0, 0.0, 255.0]);
        let colours = png(rgb, png::BitDepth::Eight, [2, 1], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(read(folder.path(), "d.png", &colours).unwrap().0, "d.png: (y=1, x=2, channel=3), uint8");
        let green = Tile::whole(&Shape::new([("y", 1), ("x", 2), ("channel", 3)]))
            .with(2, Selection { start: 1, step: 1, count: 1 });
        let numbers = array::open(folder.path(), Path::new("d.png")).unwrap().read_numbers(&green).unwrap();
        assert_eq!(numbers, Numbers::F64(vec![2.0, 5.0]));
        for keep in [10, colours.len() / 2] {
            let fault = read(folder.path(), "e.png", &colours[..keep]).unwrap_err();
            assert!(fault.text.contains("as a picture") && fault.hint.unwrap().contains("copied"), "{}", fault.text);
        }
    }

    /// Made by Pillow 13 from a ramp, with its own values of the pixels.
    #[test]
    fn jpeg_has_the_values_that_another_decoder_gives() {
        let folder = tempfile::tempdir().unwrap();
        let from_hex = |hex: &str| -> Vec<u8> {
            hex.as_bytes()
                .chunks(2)
                .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
                .collect()
        };
        let near = |got: &[f64], want: &[u8]| {
            let away = got.iter().zip(want).map(|(got, want)| (got - f64::from(*want)).abs()).fold(0.0, f64::max);
            assert!(got.len() == want.len() && away <= 2.0, "{got:?} {want:?}"); // decoders may round differently
        };
        let grey = from_hex(GREY);
        let (about, values) = read(folder.path(), "a.jpg", &grey).unwrap();
        assert_eq!(about, "a.jpg: (y=5, x=9), uint8");
        near(&values, &GREY_PIXELS);
        let (about, values) = read(folder.path(), "b.jpeg", &from_hex(COLOUR)).unwrap();
        assert_eq!(about, "b.jpeg: (y=2, x=3, channel=3), uint8");
        near(&values, &COLOUR_PIXELS);
        for keep in [1, 100, grey.len() - 12] {
            let fault = read(folder.path(), "c.jpg", &grey[..keep]).unwrap_err();
            assert!(fault.text.contains("as a picture"), "{keep}: {}", fault.text);
        }
    }

    const GREY: &str = "\
        ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202020205040403\
        04060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc0000b08000500090101\
        1100ffc4001500010100000000000000000000000000000609ffc40020100000030901000000000000000000000000010708\
        09182324435253d1a3ffda0008010100003f002aeee62449a864e360ba28741224da7c0ba3ffd9";
    #[rustfmt::skip]
    const GREY_PIXELS: [u8; 45] = [10, 25, 40, 55, 70, 85, 100, 115, 130, 30, 44, 60, 74, 90, 104, 120, 134, 150, 51, 65, 81, 95, 111, 125, 141, 155, 170, 70, 84, 100, 114, 130, 144, 160, 174, 190, 90, 105, 120, 135, 150, 165, 180, 195, 210];
    const COLOUR: &str = "\
        ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202020205040403\
        04060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affdb004301020202020202\
        050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\
        0a0a0a0a0a0a0a0affc00011080002000303011100021101031101ffc40014000100000000000000000000000000000006ff\
        c4001e10000101090000000000000000000000000104000306081724354352ffc40015010101000000000000000000000000\
        00000708ffc4002211000004040700000000000000000000000001030405061632022224515261d1ffda000c030100021103\
        11003f00652e685150f86acdd6346b1d16259a20705a81c6993bb861f055539aaa550ef31dfbf443ffd9";
    #[rustfmt::skip]
    const COLOUR_PIXELS: [u8; 18] = [202, 17, 31, 203, 77, 29, 197, 140, 33, 200, 20, 109, 202, 79, 108, 196, 143, 112];
}
