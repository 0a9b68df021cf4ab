//! Phantoms: known images from which measurements are simulated.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ring::{RingParams, ring_part};
use super::{Data, Header};
use crate::error::Fault;
use crate::physics::ct::Line;
use crate::range::not_negative;
use crate::space::{Selection, Shape, Tile};

/// Which phantom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phantom {
    /// See [`shepp_logan`].
    SheppLogan,
    /// See [`RingParams`].
    Ring,
}

/// What measures a phantom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Projections {
    /// The operator of the term, from the phantom's image on the model's grid.
    #[default]
    Operator,
    /// Exact integrals along rays through its ellipses, whatever the grid; for the CT operators.
    Analytic,
}

/// Measurements that are simulated from a phantom; there is no file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhantomParams {
    /// Which phantom.
    pub name: Phantom,
    /// What measures it.
    #[serde(default)]
    pub projections: Projections,
    /// The standard deviation of white Gaussian noise, relative to the root mean square of the clean measurements.
    #[serde(default)]
    pub noise: f64,
    /// The seed of the noise.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What the ring looks like, of the phantom `ring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingParams>,
    /// Another `data` table: the phantom is measured where that was measured (angles, or u and v of visibilities, come from there),
    /// and with its noise, if it tells one (the coordinate `sigma`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Box<Data>>,
}

fn default_seed() -> u64 {
    1
}

impl PhantomParams {
    /// Checks that the noise is a finite number from 0 on, and the ring.
    pub(super) fn check(&self) -> Result<(), Fault> {
        not_negative("noise", self.noise)
            .map_err(|fault| fault.hint("it is relative to the clean measurements: 0.01 is one percent"))?;
        match (&self.ring, self.name) {
            (Some(_), Phantom::SheppLogan) => {
                Err(Fault::new("`ring` is for the phantom \"ring\", this is \"shepp_logan\"")
                    .hint("set `name = \"ring\"`, or leave `ring` out"))
            }
            (Some(ring), Phantom::Ring) => ring.check(),
            (None, _) => Ok(()),
        }
    }

    /// What the file says whose place the phantom takes, if there is one.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Option<Header>, Fault> {
        self.check()?;
        let Some(like) = &self.like else { return Ok(None) };
        if matches!(**like, Data::Phantom(_)) {
            return Err(Fault::new("`like` is a phantom itself, expected the `data` table of a file")
                .hint("it tells where to measure: like = { format = \"eht-csv\", path = … }"));
        }
        let header = like.header(data_dir)?;
        Ok(header.map(|header| Header { about: format!("simulated, as {}", header.about), ..header }))
    }

    /// Its exact integral along a line, see [`shepp_logan_line_integral`].
    pub fn line_integral(&self, model: &Shape, line: &Line) -> Result<f64, Fault> {
        match self.name {
            Phantom::SheppLogan => shepp_logan_line_integral(model, line),
            Phantom::Ring => Err(Fault::new("`projections`: the ring has no line integrals")
                .hint("leave it out: the phantom's image is then measured by the operator")),
        }
    }

    /// A part of the phantom on a grid of two or three dims.
    pub fn image(&self, part: &Tile) -> Result<Vec<f64>, Fault> {
        match self.name {
            Phantom::SheppLogan => shepp_logan_part(part),
            Phantom::Ring => ring_part(&self.ring.clone().unwrap_or_default(), part),
        }
    }
}

/// An ellipsoid, in half-widths of the image; `tenths` of intensity, because tenths add up without rounding.
struct Ellipsoid {
    tenths: i32,
    semi_axes: [f64; 3],
    centre: [f64; 3],
    degrees: f64,
}

const fn ellipsoid(tenths: i32, semi_axes: [f64; 3], centre: [f64; 3], degrees: f64) -> Ellipsoid {
    Ellipsoid { tenths, semi_axes, centre, degrees }
}

/// Intensity, semi-axes and centre along (x, y, z), counter-clockwise turn in the x-y plane.
const SHEPP_LOGAN: [Ellipsoid; 10] = [
    ellipsoid(10, [0.69, 0.92, 0.81], [0.0, 0.0, 0.0], 0.0),
    ellipsoid(-8, [0.6624, 0.874, 0.78], [0.0, -0.0184, 0.0], 0.0),
    ellipsoid(-2, [0.11, 0.31, 0.22], [0.22, 0.0, 0.0], -18.0),
    ellipsoid(-2, [0.16, 0.41, 0.28], [-0.22, 0.0, 0.0], 18.0),
    ellipsoid(1, [0.21, 0.25, 0.41], [0.0, 0.35, -0.15], 0.0),
    ellipsoid(1, [0.046, 0.046, 0.05], [0.0, 0.1, 0.25], 0.0),
    ellipsoid(1, [0.046, 0.046, 0.05], [0.0, -0.1, 0.25], 0.0),
    ellipsoid(1, [0.046, 0.023, 0.05], [-0.08, -0.605, 0.0], 0.0),
    ellipsoid(1, [0.023, 0.023, 0.02], [0.0, -0.606, 0.0], 0.0),
    ellipsoid(1, [0.023, 0.046, 0.02], [0.06, -0.605, 0.0], 0.0),
];

/// Sub-samples per pixel and direction.
const SUB: usize = 4;

/// The modified Shepp-Logan phantom on a grid (y, x) or (z, y, x), with values from 0 to 1.
///
/// The image spans [−1, 1] along each dim, from edge to edge; x grows with the column, y falls with the row, z grows with
/// the slice. Each pixel is the mean of 4×4 points. In three dims the ellipses become ellipsoids (with semi-axes and
/// heights along z, and no tilt against the z axis), and a slice is sampled at its centre.
///
/// Collective: no. Cost: 16 points per pixel. Faults: a shape of other than two or three dims.
///
/// ```
/// use stackphys::{Shape, io::shepp_logan};
/// let image = shepp_logan(&Shape::new([("y", 64), ("x", 64)])).unwrap();
/// assert_eq!(image[0], 0.0); // air
/// assert_eq!(image[32 * 64 + 32], 0.2); // brain
/// ```
///
/// Source: Shepp and Logan, IEEE Trans. Nucl. Sci. 21 (1974), with the contrast of Toft, *The Radon Transform* (1996), annex
/// B; semi-axes along z after Kak and Slaney, *Principles of Computerized Tomographic Imaging* (1988), table 3.2, in the
/// form that Schabel's `phantom3d` made usual.
pub fn shepp_logan(shape: &Shape) -> Result<Vec<f64>, Fault> {
    shepp_logan_part(&Tile::whole(shape))
}

/// The exact integral of the phantom along a line: Σ of its ellipses' values times the lengths of their chords, in voxels.
///
/// The line is that of a scan of a model of this shape: in voxels from its middle, y upwards. In two dims it must lie in the
/// plane. The ellipses are those of [`shepp_logan`], without a grid. Collective: no. Cost: some 20 operations for each of ten
/// ellipses. Faults: a shape of other than two or three dims.
///
/// ```
/// use stackphys::{Shape, io::shepp_logan_line_integral, physics::ct::Line};
/// let line = Line { origin: [0.0, 0.0, 0.0], direction: [0.0, 1.0, 0.0] };
/// let image = Shape::new([("y", 100), ("x", 100)]);
/// // skull 2·0.92, brain −0.8·2·0.874, and the two small ellipses that stand on the line, in half-widths of 50 pixels
/// let chords = 2.0 * (0.92 - 0.8 * 0.874 + 0.1 * 0.25 + 0.1 * 2.0 * 0.046 + 0.1 * 0.023);
/// assert!((shepp_logan_line_integral(&image, &line).unwrap() - 50.0 * chords).abs() < 1e-9);
/// ```
pub fn shepp_logan_line_integral(model: &Shape, line: &Line) -> Result<f64, Fault> {
    let half = |name: &str| model.size(name).map(|size| size as f64 / 2.0);
    let (Some(x), Some(y), z) = (half("x"), half("y"), half("z")) else { return Err(not_a_model(model)) };
    if model.dims().len() != if z.is_some() { 3 } else { 2 } {
        return Err(not_a_model(model));
    }
    let in_half_widths = |[a, b, c]: [f64; 3]| [a / x, b / y, z.map_or(0.0, |z| c / z)];
    let (origin, direction) = (in_half_widths(line.origin), in_half_widths(line.direction));
    let length = line.direction.iter().map(|part| part * part).sum::<f64>().sqrt();
    let chord = |ellipsoid: &Ellipsoid| {
        // in units of the semi-axes it is a ball: |o + t d|² = 1
        let (sin, cos) = ellipsoid.degrees.to_radians().sin_cos();
        let [a, b, c] = ellipsoid.semi_axes;
        let to_ball = |[x, y, z]: [f64; 3]| [(cos * x + sin * y) / a, (cos * y - sin * x) / b, z / c];
        // without z there is one slice, and an ellipsoid is the ellipse in its middle
        let middle = if z.is_some() { ellipsoid.centre[2] } else { origin[2] };
        let [x, y, _] = ellipsoid.centre;
        let (o, d) = (to_ball([origin[0] - x, origin[1] - y, origin[2] - middle]), to_ball(direction));
        let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let (along, square) = (dot(o, d), dot(d, d));
        let rest = along * along - square * (dot(o, o) - 1.0);
        f64::from(ellipsoid.tenths) / 10.0 * 2.0 * rest.max(0.0).sqrt() / square
    };
    Ok(length * SHEPP_LOGAN.iter().map(chord).sum::<f64>())
}

fn not_a_model(shape: &Shape) -> Fault {
    Fault::new(format!("the phantom has two dims (y, x) or three (z, y, x), the model is {shape}"))
}

/// A part of the image of a whole shape.
fn shepp_logan_part(part: &Tile) -> Result<Vec<f64>, Fault> {
    let (sizes, selections) = (part.of().sizes(), part.selections());
    let (slices, [rows, columns]) = match sizes[..] {
        [rows, columns] => (None, [rows, columns]),
        [slices, rows, columns] => (Some(slices), [rows, columns]),
        _ => return Err(not_a_model(part.of())),
    };
    let [in_rows, in_columns] = [selections[sizes.len() - 2], selections[sizes.len() - 1]];
    let in_slices = slices.map_or(Selection::all(1), |_| selections[0]);
    let mut image = Vec::with_capacity(part.shape().len());
    for slice in in_slices.iter() {
        let z = slices.map(|slices| place(slice as f64 + 0.5, slices));
        let ellipses: Vec<_> = SHEPP_LOGAN.iter().filter_map(|ellipsoid| Ellipse::cut(ellipsoid, z)).collect();
        for row in in_rows.iter() {
            for column in in_columns.iter() {
                let mut tenths = 0;
                for sub_row in 0..SUB {
                    let y = -place(row as f64 + (sub_row as f64 + 0.5) / SUB as f64, rows);
                    for sub_column in 0..SUB {
                        let x = place(column as f64 + (sub_column as f64 + 0.5) / SUB as f64, columns);
                        tenths += ellipses.iter().filter(|e| e.holds(x, y)).map(|e| e.tenths).sum::<i32>();
                    }
                }
                image.push(f64::from(tenths) / (10 * SUB * SUB) as f64);
            }
        }
    }
    Ok(image)
}

/// A distance from the first edge, in samples, as a coordinate from −1 to 1.
fn place(samples: f64, size: usize) -> f64 {
    2.0 * samples / size as f64 - 1.0
}

/// An ellipsoid in one slice.
struct Ellipse {
    tenths: i32,
    centre: [f64; 2],
    /// cos φ / a, sin φ / a; cos φ / b, sin φ / b
    rows: [[f64; 2]; 2],
}

impl Ellipse {
    /// The cut at height z, or the plain ellipse of the two-dimensional phantom.
    fn cut(from: &Ellipsoid, z: Option<f64>) -> Option<Self> {
        let [a, b, c] = from.semi_axes;
        let scale = match z {
            Some(z) => 1.0 - ((z - from.centre[2]) / c).powi(2),
            None => 1.0,
        };
        if scale <= 0.0 {
            return None;
        }
        let (sin, cos) = from.degrees.to_radians().sin_cos();
        let (a, b) = (a * scale.sqrt(), b * scale.sqrt());
        let [x, y, _] = from.centre;
        Some(Ellipse { tenths: from.tenths, centre: [x, y], rows: [[cos / a, sin / a], [-sin / b, cos / b]] })
    }

    fn holds(&self, x: f64, y: f64) -> bool {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        self.rows.iter().map(|row| (row[0] * x + row[1] * y).powi(2)).sum::<f64>() <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_table() {
        let n = 200;
        let image = shepp_logan(&Shape::new([("y", n), ("x", n)])).unwrap();
        let at = |x: f64, y: f64| {
            let (row, column) = ((1.0 - y) / 2.0 * n as f64, (x + 1.0) / 2.0 * n as f64);
            image[row as usize * n + column as usize]
        };
        assert_eq!(at(-0.95, 0.95), 0.0);
        assert_eq!(at(0.0, 0.9), 1.0); // skull
        assert_eq!(at(0.0, -0.3), 0.2); // brain
        assert_eq!(at(0.22, 0.0), 0.0); // a ventricle
        assert_eq!(at(-0.22, 0.0), 0.0);
        assert_eq!(at(0.0, 0.45), 0.3); // the large tumour is above, where y grows
        assert_eq!(at(0.0, -0.45), 0.2);
        assert_eq!(at(-0.32, 0.33), 0.0); // the wider ventricle is at the left and leans to the left, up
        assert_eq!(at(0.32, -0.25), 0.2);
        assert!(image.iter().all(|value| (0.0..=1.0).contains(value)));
        // The integral: areas of the ellipses times their intensities, pixels of area 4/n².
        let sum: f64 = image.iter().sum::<f64>() * 4.0 / (n * n) as f64;
        let want: f64 = SHEPP_LOGAN
            .iter()
            .map(|e| f64::from(e.tenths) / 10.0 * std::f64::consts::PI * e.semi_axes[0] * e.semi_axes[1])
            .sum();
        assert!((sum - want).abs() < 2e-3 * want, "{sum} {want}");
    }

    #[test]
    fn three_dims_hold_the_volume_of_the_ellipsoids() {
        let image = shepp_logan(&Shape::new([("z", 60), ("y", 50), ("x", 40)])).unwrap();
        assert!(image.iter().all(|value| (0.0..=1.0).contains(value)));
        let sum: f64 = image.iter().sum::<f64>() * 8.0 / image.len() as f64;
        let want: f64 = SHEPP_LOGAN
            .iter()
            .map(|e| {
                f64::from(e.tenths) / 10.0 * 4.0 / 3.0 * std::f64::consts::PI * e.semi_axes.iter().product::<f64>()
            })
            .sum();
        assert!((sum - want).abs() < 0.01 * want, "{sum} {want}");
    }

    #[test]
    fn a_part_is_cut_from_the_whole() {
        let shape = Shape::new([("z", 6), ("y", 9), ("x", 8)]);
        let run = |start, count| Selection { start, step: 1, count };
        let part = Tile::whole(&shape).with(0, run(2, 3)).with(1, run(4, 5)).with(2, run(1, 6));
        let (whole, own) = (shepp_logan(&shape).unwrap(), shepp_logan_part(&part).unwrap());
        assert_eq!(own, part.offsets().map(|at| whole[at]).collect::<Vec<_>>());
    }

    #[test]
    fn other_shapes_are_refused() {
        assert!(shepp_logan(&Shape::new([("x", 4)])).unwrap_err().text.contains("(x=4)"));
        assert!(shepp_logan(&Shape::new([("y", 0), ("x", 4)])).unwrap().is_empty());
    }
}
