//! What pictures with letters are drawn on: a buffer that is finer than the file, with a font that is compiled in.

use std::error::Error;
use std::path::Path;
use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use super::{atomic, png};
use crate::error::Fault;

pub(super) const WIDTH: u32 = 900;
pub(super) const HEIGHT: u32 = 540;
/// Drawn so many times larger, then averaged: plotters places letters and dots on whole pixels.
pub(super) const FINER: u32 = 2;
/// Colours that stay apart for colour-blind eyes. Source: Okabe and Ito, *Color Universal Design* (2008).
pub(super) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(80, 80, 80),
];
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
pub(super) const GRID: RGBColor = RGBColor(216, 216, 216);

/// The font is compiled in, so a picture looks the same on a cluster node without fonts.
const FONT: &str = "stackphys";
static FONT_IS_THERE: LazyLock<bool> =
    LazyLock::new(|| register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok());

/// The canvas, FINER times as wide and high as the file.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Letters of a height in pixels of the file.
pub(super) fn letters(size: i32) -> TextStyle<'static> {
    (FONT, size * FINER as i32).into_font().color(&INK)
}

/// Writes what `draw` draws as a PNG of 900×540 pixels. Faults: the folder cannot be written.
pub(super) fn paint(path: &Path, draw: impl FnOnce(&Area) -> Result<(), Box<dyn Error>>) -> Result<(), Fault> {
    let wrong = |reason: String| Fault::new(format!("cannot draw {}: {reason}", path.display()));
    if !*FONT_IS_THERE {
        return Err(wrong("the font is damaged".to_owned()));
    }
    let mut fine = vec![255; (3 * WIDTH * FINER * HEIGHT * FINER) as usize];
    let drawn = || -> Result<(), Box<dyn Error>> {
        let area = BitMapBackend::with_buffer(&mut fine, (WIDTH * FINER, HEIGHT * FINER)).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        Ok(area.present()?)
    };
    drawn().map_err(|error| wrong(error.to_string()))?;
    let pixels = averaged(&fine);
    atomic::write(path, |file| png::encode(file, WIDTH, HEIGHT, ::png::ColorType::Rgb, &pixels))
}

/// The mean of each FINER × FINER pixels.
fn averaged(fine: &[u8]) -> Vec<u8> {
    let finer = FINER as usize;
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let mut pixels = Vec::with_capacity(3 * width * height);
    for row in 0..height {
        for column in 0..width {
            for colour in 0..3 {
                let at =
                    |k: usize| 3 * ((row * finer + k / finer) * width * finer + column * finer + k % finer) + colour;
                let sum: u32 = (0..finer * finer).map(|k| u32::from(fine[at(k)])).sum();
                pixels.push((sum / (FINER * FINER)) as u8);
            }
        }
    }
    pixels
}

/// A text of one line that fits.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
