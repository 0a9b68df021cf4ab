//! Curves of how a method converged.

use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use super::canvas::{Area, COLOURS, FINER, GRID, HEIGHT, INK, WIDTH, letters, paint, shortened};
use crate::error::Fault;

const FINE_GRID: RGBColor = RGBColor(240, 240, 240);
/// Up to so many points each gets a dot.
const DOTTED: usize = 60;
/// More decades than this get a label only at every second, third, … one.
const LABELLED_DECADES: i32 = 10;
/// Up to so many decades are divided by finer lines.
const DIVIDED_DECADES: i32 = 4;

/// Writes curves over the iteration as a PNG of 900×540 pixels, with a logarithmic vertical axis.
///
/// The first value of a series is that of iteration 0. Values that are not positive and finite have no place on the axis:
/// the curve has a gap there and the legend says how many.
///
/// Collective: no. Cost: milliseconds. Faults: the folder cannot be written.
///
/// ```
/// use stackphys::io::write_convergence;
/// let folder = tempfile::tempdir().unwrap();
/// let residuals = [1.0, 0.3, 0.05, 0.007];
/// write_convergence(&folder.path().join("cg.png"), "tooth", &[("CG, relative residual", &residuals)]).unwrap();
/// ```
pub fn write_convergence(path: &Path, title: &str, series: &[(&str, &[f64])]) -> Result<(), Fault> {
    paint(path, |area| draw(area, title, series))
}

fn draw(area: &Area, title: &str, series: &[(&str, &[f64])]) -> Result<(), Box<dyn std::error::Error>> {
    let longest = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let last = longest.saturating_sub(1).max(1);
    let finer = FINER as i32;
    let sample = move |colour: &RGBColor, (x, y)| {
        PathElement::new([(x, y), (x + 24 * finer, y)], colour.stroke_width(2 * FINER))
    };

    let below = area.margin(12 * FINER, 0, 0, 0).titled(&shortened(title, 80), letters(24))?;
    let mut chart = ChartBuilder::on(&below)
        .margin(16 * finer)
        .margin_right(28 * finer)
        .x_label_area_size(52 * finer)
        .y_label_area_size(84 * finer)
        .build_cartesian_2d(0..last, Decades(decades(series)))?;
    let mut mesh = chart.configure_mesh();
    // One curve names the axis; several have a legend.
    let axis_label = match series {
        [(label, values)] => legend_label(label, values),
        _ => String::new(),
    };
    mesh.x_desc("iteration")
        .y_desc(axis_label)
        .axis_desc_style(letters(18))
        .label_style(letters(16))
        .x_labels(11)
        .set_all_tick_mark_size(4 * finer)
        .bold_line_style(GRID.stroke_width(FINER))
        .light_line_style(FINE_GRID.stroke_width(FINER))
        .axis_style(INK.stroke_width(FINER))
        .disable_x_mesh()
        .draw()?;

    for ((label, values), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2 * FINER);
        // A series without a single point still has its line in the legend.
        chart
            .draw_series(LineSeries::new(std::iter::empty::<(usize, f64)>(), style))?
            .label(legend_label(label, values))
            .legend(move |at| sample(colour, at));
        for piece in pieces(values) {
            // A point between two gaps has no line.
            if values.len() <= DOTTED || piece.len() == 1 {
                chart.draw_series(piece.iter().map(|&point| Circle::new(point, 3 * finer, colour.filled())))?;
            }
            chart.draw_series(LineSeries::new(piece, style))?;
        }
    }
    match series.len() {
        0 => {
            let middle = ((WIDTH * FINER) as i32 / 2 - 30 * finer, (HEIGHT * FINER) as i32 / 2 - 30 * finer);
            area.draw(&Text::new("no data", middle, letters(22)))?;
        }
        1 => {}
        _ => chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID.stroke_width(FINER))
            .label_font(letters(16))
            .legend_area_size(30 * finer)
            .margin(10 * finer)
            .draw()?,
    }
    Ok(())
}

fn has_place(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// The whole decades that hold all values; never none, so that one point has an axis.
fn decades(series: &[(&str, &[f64])]) -> Range<i32> {
    let logs =
        series.iter().flat_map(|(_, values)| *values).filter(|value| has_place(**value)).map(|value| value.log10());
    let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
    if low > high {
        return -1..0;
    }
    let (low, high) = (low.floor() as i32, high.ceil() as i32);
    if low == high { low - 1..high } else { low..high }
}

/// A vertical axis in log10, with labels at whole decades. (plotters' own has no labels below 2e-16.)
struct Decades(Range<i32>);

impl Ranged for Decades {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, log: &f64, (bottom, top): (i32, i32)) -> i32 {
        let part = (log - f64::from(self.0.start)) / f64::from(self.0.end - self.0.start);
        bottom + (part * f64::from(top - bottom)).round() as i32
    }
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let Range { start, end } = self.0;
        let within = |digits: &[u8]| -> Vec<f64> {
            let decade = |decade| digits.iter().map(move |digit| f64::from(decade) + f64::from(*digit).log10());
            (start..end).flat_map(decade).chain([f64::from(end)]).collect()
        };
        match (end - start, hint.weight().allow_light_points()) {
            (..=DIVIDED_DECADES, true) => within(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (1, false) => within(&[1, 2, 5]),
            (all, _) => {
                let every = (all + LABELLED_DECADES - 1) / LABELLED_DECADES;
                (start..=end).filter(|decade| decade % every == 0).map(f64::from).collect()
            }
        }
    }
    fn range(&self) -> Range<f64> {
        f64::from(self.0.start)..f64::from(self.0.end)
    }
}

impl ValueFormatter<f64> for Decades {
    fn format_ext(&self, log: &f64) -> String {
        let decade = (log + 1e-9).floor();
        let digit = 10f64.powf(log - decade).round();
        match decade as i32 {
            decade @ -2..3 => format!("{}", digit * 10f64.powi(decade)),
            decade => format!("{digit}e{decade}"),
        }
    }
}

/// The points of a curve between its gaps.
fn pieces(values: &[f64]) -> Vec<Vec<(usize, f64)>> {
    let points: Vec<_> = values.iter().copied().enumerate().collect();
    points
        .split(|(_, value)| !has_place(*value))
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.iter().map(|(k, value)| (*k, value.log10())).collect())
        .collect()
}

fn legend_label(label: &str, values: &[f64]) -> String {
    let label = shortened(label, 60);
    match values.iter().filter(|value| !has_place(**value)).count() {
        _ if values.is_empty() => format!("{label} (no values)"),
        0 => label,
        hidden => format!("{label} ({hidden} not positive or not finite)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a plot; it also stays in `STACKPHYS_LOOK`, where that is set, for a human to look at.
    fn plot(name: &str, title: &str, series: &[(&str, &[f64])]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::env::var_os("STACKPHYS_LOOK").map_or_else(|| folder.path().to_owned(), Into::into);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        write_convergence(&path, title, series).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = ::png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (WIDTH, HEIGHT));
        pixels
    }

    fn count(pixels: &[u8], colour: RGBColor) -> usize {
        pixels.as_chunks::<3>().0.iter().filter(|pixel| **pixel == [colour.0, colour.1, colour.2]).count()
    }

    #[test]
    fn curves_have_their_colours() {
        let cg: Vec<f64> = (0..31).map(|k| f64::exp(-0.2 * f64::from(k))).collect();
        let lsqr: Vec<f64> = (0..31).map(|k| f64::exp(-0.17 * f64::from(k)) * (1.0 + 0.3 * f64::from(k % 2))).collect();
        let pixels = plot(
            "two.png",
            "tooth, row 0: 12 operators on 4 ranks",
            &[("CG, relative residual", &cg), ("LSQR, relative residual", &lsqr)],
        );
        assert!(count(&pixels, COLOURS[0]) > 300 && count(&pixels, COLOURS[1]) > 500);
    }

    #[test]
    fn long_and_deep_curves_are_drawn() {
        let long: Vec<f64> = (0..5000).map(|k| f64::powf(10.0, -0.005 * f64::from(k))).collect();
        let pixels = plot("long.png", "5000 iterations over 25 decades", &[("FISTA", &long)]);
        assert!(count(&pixels, COLOURS[0]) > 300);
        let extreme = [f64::MAX, 1.0, f64::MIN_POSITIVE, 5e-324];
        assert!(count(&plot("extreme.png", "all that f64 holds", &[("all", &extreme)]), COLOURS[0]) > 300);
    }

    #[test]
    fn gaps_single_points_and_nothing_are_drawn() {
        let gaps = [1.0, 0.1, 0.0, 0.01, f64::NAN, 0.001, 0.0005, f64::INFINITY, -1.0];
        let pixels =
            plot("gaps.png", "zeros, NaN, infinity", &[("gaps", &gaps), ("nothing", &[]), ("zeros", &[0.0, 0.0])]);
        assert!(count(&pixels, COLOURS[0]) > 100);
        assert!(count(&plot("one.png", "one point", &[("start", &[0.3])]), COLOURS[0]) > 10);
        assert!(count(&plot("flat.png", "", &[("flat", &[1.0, 1.0, 1.0])]), COLOURS[0]) > 100);
        plot("empty.png", "no series", &[]);
        plot("none.png", "series without values", &[("none", &[])]);
        let title = "a title that is much longer than any picture is wide, and has a line\nbreak; ".repeat(3);
        plot("title.png", &title, &[(&title, &[1.0, 0.5])]);
        let many: Vec<(&str, &[f64])> = vec![("a curve", &[1.0, 0.5, 0.1]); 12];
        plot("many.png", "twelve curves", &many);
    }

    #[test]
    fn the_axis_holds_all_values() {
        assert_eq!(decades(&[("a", &[1.0, 0.02])]), -2..0);
        assert_eq!(decades(&[("a", &[1.0])]), -1..0);
        assert_eq!(decades(&[("a", &[3.0, 0.0, f64::NAN])]), 0..1);
        assert_eq!(decades(&[]), -1..0);
        use plotters::coord::ranged1d::BoldPoints;
        assert_eq!(Decades(-3..0).key_points(BoldPoints(9)), [-3.0, -2.0, -1.0, 0.0]);
        assert_eq!(Decades(-25..0).key_points(BoldPoints(9)).len(), 9);
        let labels = |axis: Decades| -> Vec<_> {
            axis.key_points(BoldPoints(9)).iter().map(|log| axis.format_ext(log)).collect()
        };
        assert_eq!(labels(Decades(-1..0)), ["0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(Decades(-4..3)), ["1e-4", "1e-3", "0.01", "0.1", "1", "10", "100", "1e3"]);
        assert_eq!(labels(Decades(-324..309)).len(), 10);
    }
}
