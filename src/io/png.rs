//! Grey pictures of results, to look at; the numbers themselves are in npy files.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::atomic;
use crate::error::Fault;
use crate::scalar::Scalar;

/// Which values a picture shows as black and as white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Black, and all below.
    pub low: f64,
    /// White, and all above.
    pub high: f64,
    /// How many values are not finite; they are shown in mid grey.
    pub not_finite: usize,
}

/// The part of the values that is left out at either end of the window.
const TAIL: f64 = 0.005;
const MID_GREY: u8 = 128;

/// Writes an image as an 8-bit grey PNG and returns the grey window.
///
/// The window runs from the 0.5th to the 99.5th percentile, so that a few outliers do not turn the picture black; where
/// these are equal, from the least value to the largest; a constant image is mid grey. Of complex numbers it shows the
/// magnitude. The first row is at the top.
///
/// Collective: no. Cost: one pass, one selection. Faults: another count of values than rows × columns; no pixels; the
/// folder cannot be written.
///
/// ```
/// use stackphys::io::write_image;
/// let folder = tempfile::tempdir().unwrap();
/// let window = write_image(&folder.path().join("x.png"), &[0.0, 1.0, 2.0, 3.0], 2, 2).unwrap();
/// assert_eq!((window.low, window.high), (0.0, 3.0));
/// ```
pub fn write_image<S: Scalar>(path: &Path, values: &[S], rows: usize, columns: usize) -> Result<Window, Fault> {
    write_in_window(path, values, [rows, columns], None)
}

/// The same with black and white as asked for.
pub(super) fn write_in_window<S: Scalar>(
    path: &Path,
    values: &[S],
    [rows, columns]: [usize; 2],
    window: Option<[f64; 2]>,
) -> Result<Window, Fault> {
    let of = path.display();
    if rows.checked_mul(columns) != Some(values.len()) {
        let got = values.len();
        return Err(Fault::new(format!("{of}: expected {rows}×{columns} values, got {got}")));
    }
    let (Ok(height @ 1..), Ok(width @ 1..)) = (u32::try_from(rows), u32::try_from(columns)) else {
        return Err(Fault::new(format!("{of}: a picture cannot have {rows}×{columns} pixels")));
    };
    let (grey, window) = grey(values, window);
    atomic::write(path, |file| encode(file, width, height, png::ColorType::Grayscale, &grey))?;
    Ok(window)
}

/// Encodes 8-bit pixels.
pub(super) fn encode(
    file: &mut BufWriter<File>,
    width: u32,
    height: u32,
    colour: png::ColorType,
    pixels: &[u8],
) -> io::Result<()> {
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(pixels).and_then(|()| writer.finish()).map_err(io::Error::other)
}

fn grey<S: Scalar>(values: &[S], asked: Option<[f64; 2]>) -> (Vec<u8>, Window) {
    let shown = |value: &S| if S::IS_COMPLEX { value.modulus_squared().sqrt() } else { value.re() };
    let mut finite: Vec<f64> = values.iter().filter(|value| value.is_finite()).map(shown).collect();
    let not_finite = values.len() - finite.len();
    let (low, high) = asked.map_or_else(|| window(&mut finite), <[f64; 2]>::into);
    let grey = values.iter().map(|value| {
        if !value.is_finite() || low == high {
            return MID_GREY;
        }
        // Halves: the difference of two large numbers may overflow.
        let part = (shown(value) / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        (part.clamp(0.0, 1.0) * 255.0).round() as u8
    });
    (grey.collect(), Window { low, high, not_finite })
}

fn window(finite: &mut [f64]) -> (f64, f64) {
    let Some(last) = finite.len().checked_sub(1) else { return (0.0, 0.0) };
    let mut at = |part: f64| *finite.select_nth_unstable_by((part * last as f64).round() as usize, f64::total_cmp).1;
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    if low < high { (low, high) } else { (at(0.0), at(1.0)) }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;

    fn pixels(path: &Path) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Eight));
        (info.width, info.height, pixels)
    }

    fn picture<S: Scalar>(values: &[S], rows: usize, columns: usize) -> (Window, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let window = write_image(&path, values, rows, columns).unwrap();
        let (width, height, pixels) = pixels(&path);
        assert_eq!((height as usize, width as usize), (rows, columns));
        (window, pixels)
    }

    #[test]
    fn grey_grows_with_the_value() {
        let (window, pixels) = picture(&[-1.0f32, 0.0, 1.0, 3.0, 2.0, -1.0], 2, 3);
        assert_eq!(window, Window { low: -1.0, high: 3.0, not_finite: 0 });
        assert_eq!(pixels, [0, 64, 128, 255, 191, 0]);
    }

    #[test]
    fn outliers_do_not_set_the_window() {
        let mut values: Vec<f64> = (0..10_000).map(|k| f64::from(k % 100)).collect();
        values[5000] = 1e30;
        values[5001] = f64::NAN;
        values[5002] = f64::NEG_INFINITY;
        let (window, pixels) = picture(&values, 100, 100);
        assert_eq!(window, Window { low: 0.0, high: 99.0, not_finite: 2 });
        assert_eq!(pixels[5000..5003], [255, MID_GREY, MID_GREY]);
    }

    #[test]
    fn images_of_one_value_and_few_pixels_are_shown() {
        assert_eq!(picture(&[5.0f64; 4], 2, 2).1, [MID_GREY; 4]);
        assert_eq!(picture(&[f64::NAN; 2], 1, 2), (Window { low: 0.0, high: 0.0, not_finite: 2 }, vec![MID_GREY; 2]));
        let mut sparse = vec![0.0f32; 2000];
        sparse[7] = 2.0;
        let (window, pixels) = picture(&sparse, 40, 50);
        assert_eq!((window.high, pixels[7], pixels[8]), (2.0, 255, 0));
        assert_eq!(picture(&[-f64::MAX, 0.0, f64::MAX], 1, 3).1, [0, 128, 255]);
    }

    #[test]
    fn complex_numbers_show_their_magnitude() {
        let values = [Complex::new(0.0f32, 0.0), Complex::new(-3.0, 4.0), Complex::new(0.0, -10.0)];
        let (window, pixels) = picture(&values, 1, 3);
        assert_eq!((window.high, pixels), (10.0, vec![0, 128, 255]));
    }

    #[test]
    fn pictures_without_pixels_are_refused() {
        let path = Path::new("/tmp/none.png");
        assert!(write_image(path, &[1.0; 3], 2, 2).unwrap_err().text.contains("expected 2×2 values, got 3"));
        assert!(write_image(path, &[0.0; 0], 0, 2).unwrap_err().text.contains("0×2"));
    }
}
