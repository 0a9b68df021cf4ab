//! A stack as a matrix of tiles, each in the colour of its owner.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::canvas::{Area, COLOURS, FINER, GRID, INK, letters, paint, shortened};
use crate::error::Fault;

/// A matrix of tiles: who owns which.
#[derive(Debug, Clone, Default)]
pub struct TilePicture {
    /// The line at the top.
    pub title: String,
    /// What stands over each column, and how wide it is beside the others.
    pub columns: Vec<(String, usize)>,
    /// What stands before each row, and how high it is beside the others.
    pub rows: Vec<(String, usize)>,
    /// Row, column and owner of each tile.
    pub tiles: Vec<[usize; 3]>,
    /// What the legend says of each owner.
    pub owners: Vec<String>,
}

/// Where the matrix lies in the picture, in pixels of the file: left, top, right, bottom.
const MATRIX: [i32; 4] = [170, 112, 600, 520];
/// Columns and rows that are narrower have no letters.
const NARROW: f64 = 15.0;
/// More owners are counted, not named.
const NAMED: usize = 16;

/// Writes the matrix as a PNG of 900×540 pixels: `y` from top to bottom, `x` from left to right.
///
/// Collective: no. Cost: milliseconds; more for more than 10⁵ tiles. Faults: the folder cannot be written.
///
/// ```
/// use stackphys::io::{TilePicture, write_tiles};
/// let picture = TilePicture {
///     title: "two operators on a shared block".into(),
///     columns: vec![("x 0".into(), 3), ("x 1".into(), 1)],
///     rows: vec![("y 0".into(), 2), ("y 1".into(), 2)],
///     tiles: vec![[0, 0, 0], [0, 1, 0], [1, 1, 1]],
///     owners: vec!["rank 0".into(), "rank 1".into()],
/// };
/// let folder = tempfile::tempdir().unwrap();
/// write_tiles(&folder.path().join("plan.png"), &picture).unwrap();
/// ```
pub fn write_tiles(path: &Path, picture: &TilePicture) -> Result<(), Fault> {
    paint(path, |area| draw(area, picture))
}

fn draw(area: &Area, picture: &TilePicture) -> Result<(), Box<dyn Error>> {
    let fine = |pixels: f64| (pixels * f64::from(FINER)).round() as i32;
    let say = |text: &str, x: f64, y: f64, size: i32| {
        area.draw(&Text::new(text.to_owned(), (fine(x), fine(y)), letters(size)))
    };
    say(&picture.title, 24.0, 18.0, 22)?;
    let [left, top, right, bottom] = MATRIX.map(f64::from);
    say("x", (left + right) / 2.0, top - 48.0, 18)?;
    say("y", 24.0, (top + bottom) / 2.0, 18)?;
    let across = edges(&picture.columns, left, right);
    let down = edges(&picture.rows, top, bottom);
    area.draw(&Rectangle::new(
        [(fine(left), fine(top)), (fine(right), fine(bottom))],
        RGBColor(246, 246, 246).filled(),
    ))?;

    // between tiles a line of the background, where there is room for one
    let room = |edges: &[f64]| edges.windows(2).all(|pair| pair[1] - pair[0] > 4.0);
    let gap = if room(&across) && room(&down) { 0.5 } else { 0.0 };
    // several tiles in one place lie side by side
    let mut in_place = std::collections::HashMap::<[usize; 2], (usize, usize)>::new();
    for [row, column, _] in &picture.tiles {
        in_place.entry([*row, *column]).or_default().1 += 1;
    }
    for [row, column, owner] in &picture.tiles {
        let Some((before, count)) = in_place.get_mut(&[*row, *column]) else { continue };
        let width = (across[column + 1] - across[*column]) / *count as f64;
        let from = across[*column] + width * *before as f64;
        *before += 1;
        let corners =
            [(fine(from + gap), fine(down[*row] + gap)), (fine(from + width - gap), fine(down[row + 1] - gap))];
        area.draw(&Rectangle::new(corners, colour(*owner).filled()))?;
    }

    area.draw(&Rectangle::new([(fine(left), fine(top)), (fine(right), fine(bottom))], GRID.stroke_width(FINER)))?;
    for (at, (label, _)) in picture.columns.iter().enumerate() {
        let width = across[at + 1] - across[at];
        // letters are half as wide as high
        let fits = (width / 7.0) as usize;
        if width > NARROW {
            say(&shortened(label, fits), across[at] + 2.0, top - 22.0, 14)?;
        }
    }
    for (at, (label, _)) in picture.rows.iter().enumerate() {
        let height = down[at + 1] - down[at];
        if height > NARROW {
            say(&shortened(label, 18), 44.0, (down[at] + down[at + 1]) / 2.0 - 7.0, 14)?;
        }
    }

    let mut y = top;
    for (owner, label) in picture.owners.iter().enumerate().take(NAMED) {
        area.draw(&Rectangle::new(
            [(fine(right + 24.0), fine(y)), (fine(right + 38.0), fine(y + 14.0))],
            colour(owner).filled(),
        ))?;
        say(label, right + 46.0, y, 14)?;
        y += 24.0;
    }
    if picture.owners.len() > NAMED {
        let more = format!("… {} more", picture.owners.len() - NAMED);
        area.draw(&Text::new(more, (fine(right + 46.0), fine(y)), letters(14).color(&INK)))?;
    }
    Ok(())
}

/// Where columns or rows begin and end, by their share of the whole; each gets a little.
fn edges(bands: &[(String, usize)], from: f64, to: f64) -> Vec<f64> {
    let all: usize = bands.iter().map(|(_, size)| size).sum();
    let least = all as f64 / (4.0 * bands.len().max(1) as f64);
    let sizes: Vec<f64> = bands.iter().map(|(_, size)| (*size as f64).max(least).max(f64::MIN_POSITIVE)).collect();
    let total: f64 = sizes.iter().sum();
    let mut at = 0.0;
    let mut edges = vec![from];
    for size in sizes {
        at += size;
        edges.push(from + (to - from) * at / total);
    }
    edges
}

/// The first colours stay apart for all eyes; with more owners, neighbours do.
fn colour(owner: usize) -> RGBColor {
    if let Some(colour) = COLOURS.get(owner) {
        return *colour;
    }
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let (r, g, b) = HSLColor((owner as f64 * GOLDEN).fract(), 0.55, 0.5).to_rgba().rgb();
    RGBColor(r, g, b)
}
