//! Computed tomography with parallel rays: line integrals of an image, or of a stack of slices, at many angles.

use std::fmt;
use std::ops::Range;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::joseph::{self, BAND, Instructions, Layout, PAD, Padded, Ray};
use super::{BoxedOperator, Needs, Physics, Setting, threads};
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::scalar::{Real, Scalar};
use crate::space::{Shape, Tile};

/// Angles one by one, or evenly spaced.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Angles {
    /// `[0.0, 0.5, 1.0]`
    List(Vec<f64>),
    /// `{ start = 0.0, stop = 180.0, count = 90 }`
    Range(AngleRange),
}

/// `count` evenly spaced angles from `start` on; `stop` is the one that would come next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AngleRange {
    /// The first angle.
    pub start: f64,
    /// Where the angles end; not itself among them.
    pub stop: f64,
    /// The number of angles.
    pub count: usize,
}

impl Angles {
    /// The angles, in the unit in which they were given.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Angles::List(values) => values.clone(),
            Angles::Range(AngleRange { start, stop, count }) => {
                (0..*count).map(|i| start + (stop - start) * i as f64 / *count as f64).collect()
            }
        }
    }
}

/// By hand, because serde's own reading of an enum without a tag forgets which key of the table was wrong.
impl<'de> Deserialize<'de> for Angles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ListOrRange;
        impl<'de> Visitor<'de> for ListOrRange {
            type Value = Angles;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of angles, or a table { start, stop, count }")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Angles, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Angles::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Angles, A::Error> {
                AngleRange::deserialize(MapAccessDeserializer::new(table)).map(Angles::Range)
            }
        }
        from.deserialize_any(ListOrRange)
    }
}

/// The scan: angles, and where the detector columns are.
///
/// The model is (y, x), or (z, y, x) where each z is one detector row. The measurements are (angle, column), or (angle,
/// row, column). Angles and column count default to those of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParallelCtParams {
    /// Angles in degrees: a list, or `{ start, stop, count }`. Default: those that came with the data.
    pub angles_deg: Option<Angles>,
    /// Angles in radians instead.
    pub angles_rad: Option<Angles>,
    /// The detector column onto which the rotation axis falls, counted from 0; need not be whole. Default: the middle,
    /// (columns − 1)/2.
    pub center: Option<f64>,
    /// The distance between detector columns, in voxels.
    #[serde(default = "one")]
    pub spacing: f64,
    /// The number of detector columns. Default: that of the data.
    pub columns: Option<usize>,
}

fn one() -> f64 {
    1.0
}

impl Default for ParallelCtParams {
    fn default() -> Self {
        ParallelCtParams { angles_deg: None, angles_rad: None, center: None, spacing: one(), columns: None }
    }
}

/// What the parameters mean in a setting.
struct Resolved {
    angles: Vec<f64>,
    detector: Detector,
    range: Shape,
}

impl ParallelCtParams {
    fn resolve(&self, setting: &Setting) -> Result<Resolved, Fault> {
        let size = ImageSize::of(setting.model)?;
        let names: &[&str] = if size.slices.is_some() { &["angle", "row", "column"] } else { &["angle", "column"] };
        // in any order: whoever reads the data puts them into that of the range
        if let Some(data) = setting.data
            && !(data.dims().len() == names.len() && names.iter().all(|name| data.axis(name).is_some()))
        {
            let text =
                format!("data: expected the dims ({}) for the model {}, got {data}", names.join(", "), setting.model);
            return Err(Fault::new(text).hint(match size.slices {
                Some(_) => "a model (z, y, x) needs one detector row for each z",
                None => {
                    "a model (y, x) has one detector row: choose a single row of the data, or make the model (z, y, x)"
                }
            }));
        }
        let columns = match (self.columns, setting.data.and_then(|data| data.size("column"))) {
            (Some(columns), Some(got)) if columns != got => {
                let text = format!("`columns`: expected {got}, the data's `column` size, got {columns}");
                return Err(Fault::new(text).hint("leave `columns` out: it then follows from the data"));
            }
            (Some(columns), _) | (None, Some(columns)) => columns,
            (None, None) => {
                let text = "`columns`: the number of detector columns is not known, there are no data to take it from";
                return Err(Fault::new(text).hint("give it in the operator's table, for example `columns = 724`"));
            }
        };
        if let (Some(slices), Some(rows)) = (size.slices, setting.data.and_then(|data| data.size("row")))
            && rows != slices
        {
            let text = format!("data: expected `row` = {slices}, the model's `z` size, got {rows}");
            return Err(Fault::new(text).hint("each slice z is seen by one detector row: make the two sizes equal"));
        }

        let (key, angles) = self.angles(setting)?;
        if let Some(got) = setting.data.and_then(|data| data.size("angle"))
            && got != angles.len()
        {
            let text = format!("{key}: expected {got} angles, the data's `angle` size, got {}", angles.len());
            return Err(Fault::new(text).hint("give one angle for each projection, in the order of the data"));
        }

        let detector = Detector { columns, center: self.center, spacing: self.spacing };
        let mut sizes = vec![("angle", angles.len()), ("column", columns)];
        if let Some(slices) = size.slices {
            sizes.insert(1, ("row", slices));
        }
        check(&angles, key, detector)?;
        Ok(Resolved { angles, detector, range: Shape::new(sizes) })
    }

    /// The angles in radians, and where they come from.
    fn angles(&self, setting: &Setting) -> Result<(&'static str, Vec<f64>), Fault> {
        match (&self.angles_deg, &self.angles_rad) {
            (Some(_), Some(_)) => Err(Fault::new("expected one of `angles_deg` and `angles_rad`, got both")
                .hint("keep the one whose unit is right and remove the other")),
            (Some(degrees), None) => Ok(("`angles_deg`", degrees.values().into_iter().map(f64::to_radians).collect())),
            (None, Some(radians)) => Ok(("`angles_rad`", radians.values())),
            (None, None) => match setting.angles {
                Some(angles) => Ok(("the angles of the data", angles.to_vec())),
                None => Err(Fault::new("angles: none were given, and none came with the data").hint(
                    "set `angles_deg` (or `angles_rad`) to a list, or to `{ start = 0.0, stop = 180.0, count = 90 }`",
                )),
            },
        }
    }

    /// The angles of a part, with all the rest.
    fn part(&self, setting: &Setting, tile: &Tile) -> Result<Resolved, Fault> {
        let mut resolved = self.resolve(setting)?;
        if let Some(selection) = tile.selection("angle") {
            let all = resolved.angles;
            let angle = |i| {
                all.get(i).copied().ok_or_else(|| {
                    Fault::new(format!("tile: expected angles below {}, got {}", all.len(), tile.of()))
                        .hint("cut the operator's own range")
                })
            };
            resolved.angles = selection.iter().map(angle).collect::<Result<_, _>>()?;
        }
        Ok(resolved)
    }
}

impl Physics for ParallelCtParams {
    const SUMMARY: &'static str = "line integrals along parallel rays (X-ray CT), Joseph's interpolation";
    const MAY_BE_CUT: &'static [&'static str] = &["angle"];

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        self.resolve(setting).map(|resolved| resolved.range)
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let Resolved { angles, detector, .. } = self.part(setting, tile)?;
        let size = ImageSize::of(setting.model)?;
        let rays = rays(&angles, size, detector);
        let numbers: usize = scratch::<S::Real>(&rays, size, detector.columns).into_iter().sum();
        // Six operations for each sample of each ray: its place, its weight, the interpolation, the sum.
        let samples: f64 = rays
            .iter()
            .map(|ray| {
                let (lines, across) = size.lines_and_samples(ray);
                let reached = (across as f64 / ray.width).min(detector.columns as f64);
                lines as f64 * reached
            })
            .sum();
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        Ok(Needs {
            bytes: (rays.len() * size_of::<Ray>()) as u64,
            scratch_bytes: (numbers * size_of::<S::Real>()) as u64,
            cost: 6.0 * samples * (parts * size.slices.unwrap_or(1)) as f64,
        })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let Resolved { angles, detector, .. } = self.part(setting, tile)?;
        Ok(Box::new(ParallelCt::new(setting.model, &angles, detector)?))
    }
}

/// Where the detector columns are.
///
/// ```
/// use stackphys::physics::Detector;
/// let shifted = Detector { center: Some(360.0), ..Detector::new(724) };
/// assert_eq!(shifted.spacing, 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detector {
    /// How many there are.
    pub columns: usize,
    /// The column onto which the rotation axis falls; the middle, (columns − 1)/2, if it is not given.
    pub center: Option<f64>,
    /// The distance between columns, in voxels.
    pub spacing: f64,
}

impl Detector {
    /// Columns one voxel apart, with the rotation axis in the middle.
    pub fn new(columns: usize) -> Self {
        Detector { columns, center: None, spacing: 1.0 }
    }

    fn center(&self) -> f64 {
        self.center.unwrap_or((self.columns as f64 - 1.0) / 2.0)
    }
}

/// What is wrong with a geometry, if anything.
fn check(angles: &[f64], angles_from: &str, detector: Detector) -> Result<(), Fault> {
    let Detector { columns, spacing, .. } = detector;
    if angles.is_empty() {
        return Err(Fault::new(format!("{angles_from}: expected at least one angle, got none"))
            .hint("a list of angles must not be empty; in `{ start, stop, count }` the count must be at least 1"));
    }
    if let Some((i, angle)) = angles.iter().enumerate().find(|(_, angle)| !angle.is_finite()) {
        return Err(Fault::new(format!("{angles_from}: expected finite angles, got {angle} at index {i}"))
            .hint("remove the projections whose angle is not known, or correct the angle"));
    }
    if columns == 0 {
        return Err(Fault::new("`columns`: expected at least one detector column, got 0")
            .hint("give the number of detector columns, or leave it out: it then follows from the data"));
    }
    if !(spacing.is_finite() && spacing > 0.0) {
        return Err(Fault::new(format!("`spacing`: expected a positive number of voxels, got {spacing}"))
            .hint("it is the distance between detector columns divided by the voxel size; 1 if the two are equal"));
    }
    let (center, last) = (detector.center(), columns - 1);
    if !(0.0..=last as f64).contains(&center) {
        return Err(Fault::new(format!(
            "`center`: expected a column on the detector, 0 to {last}, got {center}"
        ))
        .hint(
            "it is a column index counted from 0; was it measured from the other side, from the middle of the detector, \
             in millimetres, or before the columns were binned?",
        ));
    }
    Ok(())
}

/// The image, or the slices of a volume.
#[derive(Debug, Clone, Copy)]
struct ImageSize {
    slices: Option<usize>,
    rows: usize,
    columns: usize,
}

impl ImageSize {
    fn of(model: &Shape) -> Result<Self, Fault> {
        let names: Vec<&str> = model.names().collect();
        let sizes = model.sizes();
        match (names.as_slice(), sizes.as_slice()) {
            (["y", "x"], &[rows, columns]) => Ok(ImageSize { slices: None, rows, columns }),
            (["z", "y", "x"], &[slices, rows, columns]) => Ok(ImageSize { slices: Some(slices), rows, columns }),
            _ => Err(Fault::new(format!("model: expected the dims (y, x) or (z, y, x), got {model}"))
                .hint("set model.dims = { y = …, x = … }, or { z = …, y = …, x = … } for a volume; the order counts")),
        }
    }

    /// The lines that the rays of an angle step through, and the samples of each.
    fn lines_and_samples(&self, ray: &Ray) -> (usize, usize) {
        if ray.along_rows { (self.rows, self.columns) } else { (self.columns, self.rows) }
    }
}

fn rays(angles: &[f64], size: ImageSize, detector: Detector) -> Vec<Ray> {
    let ray = |angle: &f64| Ray::new(*angle, size.rows, size.columns, detector.center(), detector.spacing);
    angles.iter().map(ray).collect()
}

/// The numbers in each scratch buffer: a padded band of lines, and the padded sinogram of one slice.
fn scratch<R: Real>(rays: &[Ray], size: ImageSize, columns: usize) -> [usize; 2] {
    let band = |lines: usize, samples| Padded::<R>::len(lines.min(BAND), samples);
    [band(size.rows, size.columns).max(band(size.columns, size.rows)), Padded::<R>::len(rays.len(), columns)]
}

/// `y[θ, k] = ∫ x along the ray x cosθ + y sinθ = (k − center)·spacing`, by Joseph's method; slice by slice for volumes.
///
/// Row index grows with −y and column index with +x, the rotation axis is in the middle of the image, lengths are in
/// voxels. The weights are those of ASTRA's `linear` projector. The adjoint has the same weights. Complex images are
/// projected part by part.
///
/// Shapes: (y, x) → (angle, column), or (z, y, x) → (angle, row, column) with a row for each z. Collective: no.
/// Cost: about six operations for each ray and each row or column that it crosses; the adjoint as much again.
/// Memory: 72 bytes an angle; scratch for 32 padded lines and the padded sinogram of one slice. Threads: those of the rayon
/// pool in which it is called; the result is the same bit for bit whatever their number. Faults when built: wrong model
/// dims, no or infinite angles, no columns, a spacing that is not positive, a centre outside the detector.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Detector, ParallelCt}};
/// let image = Shape::new([("y", 2), ("x", 3)]);
/// let scan = ParallelCt::<f64>::new(&image, &[0.0], Detector::new(3)).unwrap();
/// let mut sinogram = [0.0; 3];
/// scan.forward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut sinogram, &mut Work::default()).unwrap();
/// assert_eq!(sinogram, [5.0, 7.0, 9.0]); // at angle 0 the rays run down the columns
/// ```
///
/// Source: see [`joseph`].
pub struct ParallelCt<S: Scalar> {
    domain: Shape,
    range: Shape,
    size: ImageSize,
    /// Detector columns.
    columns: usize,
    rays: Vec<Ray>,
    /// What [`scratch`] said.
    scratch: [usize; 2],
    instructions: Instructions,
    scalar: std::marker::PhantomData<S>,
}

impl<S: Scalar> ParallelCt<S> {
    /// Projections of a model (y, x) or (z, y, x) at angles in radians.
    pub fn new(model: &Shape, angles: &[f64], detector: Detector) -> Result<Self, Fault> {
        let size = ImageSize::of(model)?;
        // A part of a stack may be left without angles; a scan may not, which `ParallelCtParams` sees to.
        if !angles.is_empty() {
            check(angles, "angles", detector)?;
        }
        let rays = rays(angles, size, detector);
        let mut range = vec![("angle", angles.len()), ("column", detector.columns)];
        if let Some(slices) = size.slices {
            range.insert(1, ("row", slices));
        }
        Ok(ParallelCt {
            domain: model.clone(),
            range: Shape::new(range),
            size,
            columns: detector.columns,
            scratch: scratch::<S::Real>(&rays, size, detector.columns),
            rays,
            instructions: Instructions::detect(),
            scalar: std::marker::PhantomData,
        })
    }

    /// The same operator on a certain instruction set. Fault: this machine does not have it.
    pub fn with_instructions(mut self, instructions: Instructions) -> Result<Self, Fault> {
        if !instructions.supported() {
            let best = Instructions::detect();
            return Err(Fault::new(format!("instruction set: expected one that this machine has, got {instructions}"))
                .hint(format!("use {best}, or leave the choice to the program")));
        }
        self.instructions = instructions;
        Ok(self)
    }

    /// The instruction set that this operator uses.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// The real images in a vector of the domain, and the sinograms of the range that belong to them: one for each
    /// slice, and for each part of a complex number.
    fn planes(&self) -> impl Iterator<Item = (Layout, Layout)> + use<S> {
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let slices = self.size.slices.unwrap_or(1);
        let (row, image, sinogram) =
            (self.size.columns * parts, self.size.rows * self.size.columns * parts, self.columns * parts);
        (0..slices).flat_map(move |z| {
            (0..parts).map(move |part| {
                let image = Layout { first: z * image + part, lines: row, step: parts };
                (image, Layout { first: z * sinogram + part, lines: slices * sinogram, step: parts })
            })
        })
    }

    /// Whether there is nothing to add up: a part without angles, a model without pixels.
    fn is_empty(&self) -> bool {
        self.domain.len() == 0 || self.range.len() == 0
    }

    /// Adds the projection of the plane `image` of `x` to the plane `sinogram` of `out`. `band` is scratch.
    fn project_add(&self, x: &[S::Real], image: Layout, band: &mut [S::Real], out: &mut [S::Real], sinogram: Layout) {
        let ImageSize { rows, columns, .. } = self.size;
        for along_rows in [true, false] {
            if !self.rays.iter().any(|ray| ray.along_rows == along_rows) {
                continue;
            }
            let (lines, samples) = if along_rows { (rows, columns) } else { (columns, rows) };
            for first in (0..lines).step_by(BAND) {
                let lines = first..(first + BAND).min(lines);
                let band = &mut band[..Padded::<S::Real>::len(lines.len(), samples)];
                if along_rows {
                    let image = Layout { first: image.first + first * image.lines, ..image };
                    joseph::pad(x, image, columns, band);
                } else {
                    let image = Layout { first: image.first + first * image.step, ..image };
                    joseph::pad_transposed(x, image, rows, lines.len(), band);
                }
                let band = Padded::new(band, lines.len(), samples);
                self.project_band(along_rows, (band, lines), out, sinogram);
            }
        }
    }

    fn project_band(
        &self,
        along_rows: bool,
        band: (Padded<'_, S::Real>, Range<usize>),
        out: &mut [S::Real],
        sinogram: Layout,
    ) {
        let add = |rays: &[Ray], out: &mut [S::Real]| {
            joseph::forward_add(self.instructions, rays, along_rows, band.clone(), self.columns, out, sinogram);
        };
        let threads = threads::count();
        if threads == 1 {
            return add(&self.rays, out);
        }
        let each = threads::share(self.rays.len(), threads, 1);
        out.par_chunks_mut(each * sinogram.lines)
            .zip(self.rays.par_chunks(each))
            .for_each(|(out, rays)| add(rays, out));
    }

    /// Adds the back-projection of the padded sinogram to the plane `image` of `out`.
    fn back_project(&self, sinogram: &[S::Real], out: &mut [S::Real], image: Layout) {
        let ImageSize { rows, columns, .. } = self.size;
        let sinogram = Padded::new(sinogram, self.rays.len(), self.columns);
        // From here on the plane's part of `out` alone: whole rows, of which `part` is the first number that counts.
        let part = image.first % image.step;
        let out = &mut out[image.first - part..][..rows * image.lines];
        let image = Layout { first: part, ..image };
        let add = |rows: Range<usize>, out: &mut [S::Real]| {
            joseph::adjoint_add(self.instructions, &self.rays, sinogram, rows, columns, out, image);
        };
        let threads = threads::count();
        if threads == 1 {
            return add(0..rows, out);
        }
        let each = threads::share(rows, threads, 8);
        out.par_chunks_mut(each * image.lines).enumerate().for_each(|(band, out)| {
            let first = band * each;
            add(first..(first + each).min(rows), out);
        });
    }
}

impl<S: Scalar> LinearOperator<S> for ParallelCt<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }

    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            y.fill(S::default());
            return Ok(());
        }
        let mut band = work.take::<S::Real>("ct band", self.scratch[0]);
        y.fill(S::default());
        let (x, y) = (S::as_reals(x), S::as_reals_mut(y));
        for (image, sinogram) in self.planes() {
            self.project_add(x, image, &mut band, y, sinogram);
        }
        work.give("ct band", band);
        Ok(())
    }

    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }

    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let mut padded = work.take::<S::Real>("ct sinogram", self.scratch[1]);
        let (x, y) = (S::as_reals_mut(x), S::as_reals(y));
        for (image, sinogram) in self.planes() {
            joseph::pad(y, sinogram, self.columns, &mut padded);
            self.back_project(&padded, x, image);
        }
        work.give("ct sinogram", padded);
        Ok(())
    }

    /// Slice by slice: the projection goes straight into the padded sinogram that the adjoint reads.
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let mut band = work.take::<S::Real>("ct band", self.scratch[0]);
        let mut padded = work.take::<S::Real>("ct sinogram", self.scratch[1]);
        let stride = Padded::<S::Real>::stride(self.columns);
        let (x, out) = (S::as_reals(x), S::as_reals_mut(out));
        for (image, _) in self.planes() {
            padded.fill(S::Real::default());
            self.project_add(x, image, &mut band, &mut padded, Layout { first: PAD, lines: stride, step: 1 });
            self.back_project(&padded, out, image);
        }
        work.give("ct sinogram", padded);
        work.give("ct band", band);
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure { non_negative: true, ..Structure::default() }
    }

    /// `‖A‖² ≤ ‖A‖_∞ ‖A‖₁`, both bounded by the geometry: a ray gets at most `g` from each line, and a pixel gives to
    /// the detector columns of one angle at most what it gives when it falls just onto one of them.
    fn norm_squared_bound(&self) -> Option<f64> {
        let mut row = 0.0_f64;
        let mut column = 0.0;
        for ray in &self.rays {
            row = row.max(ray.gain * self.size.lines_and_samples(ray).0 as f64);
            let neighbours = ray.width.recip().floor();
            column += ray.gain * (1.0 + 2.0 * neighbours - ray.width * neighbours * (neighbours + 1.0));
        }
        Some(row * column)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;
    use std::path::{Path, PathBuf};

    use ndarray::{Array1, ArrayD};
    use num_complex::Complex;

    use super::*;
    use crate::operator::Apply;
    use crate::physics::{AnyPhysics, Files};
    use crate::space::{Numbers, Order, Selection};

    /// Numbers in −1..1 that depend on the seed and the place only.
    fn random<S: Scalar>(seed: u64, len: usize) -> Vec<S> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..len).map(|_| S::from_parts(next(), next())).collect()
    }

    fn norm<S: Scalar>(values: &[S]) -> f64 {
        values.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt()
    }

    /// `‖a − b‖ / ‖b‖`.
    fn distance<S: Scalar>(a: &[S], b: &[S]) -> f64 {
        assert_eq!(a.len(), b.len());
        let difference: Vec<S> = a.iter().zip(b).map(|(a, b)| *a - *b).collect();
        // Where rays a mile apart all miss the image, both are zero.
        norm(&difference) / norm(b).max(1e-300)
    }

    fn inner<S: Scalar>(a: &[S], b: &[S]) -> Complex<f64> {
        let wide = |value: &S| Complex::new(value.re(), value.im());
        a.iter().zip(b).map(|(a, b)| wide(a).conj() * wide(b)).sum()
    }

    fn nan<S: Scalar>(len: usize) -> Vec<S> {
        vec![S::from_parts(f64::NAN, f64::NAN); len]
    }

    fn forward<S: Scalar>(a: &ParallelCt<S>, x: &[S]) -> Vec<S> {
        let mut y = nan(LinearOperator::<S>::range(a).len());
        a.forward(x, &mut y, &mut Work::default()).unwrap();
        y
    }

    fn adjoint<S: Scalar>(a: &ParallelCt<S>, y: &[S]) -> Vec<S> {
        let mut x = nan(LinearOperator::<S>::domain(a).len());
        a.adjoint(y, &mut x, &mut Work::default()).unwrap();
        x
    }

    /// `|⟨A x, y⟩ − ⟨x, Aᴴ y⟩| / (‖A x‖ ‖y‖)`.
    fn dot_ratio<S: Scalar>(a: &ParallelCt<S>) -> f64 {
        let x = random::<S>(1, a.domain.len());
        let y = random::<S>(2, a.range.len());
        let (ax, ahy) = (forward(a, &x), adjoint(a, &y));
        (inner(&ax, &y) - inner(&x, &ahy)).norm() / (norm(&ax) * norm(&y)).max(1e-300)
    }

    fn sets() -> impl Iterator<Item = Instructions> {
        Instructions::ALL.into_iter().filter(|set| set.supported())
    }

    fn image(rows: usize, columns: usize) -> Shape {
        Shape::new([("y", rows), ("x", columns)])
    }

    /// Multiples of 45°, angles beside them, negative ones and such above a full turn.
    fn angles() -> Vec<f64> {
        let mut degrees: Vec<f64> = (0..9).map(|i| 45.0 * i as f64).collect();
        degrees.extend([0.01, 44.9, 45.1, 89.99, 90.001, 137.3, 212.0, 305.7, -17.0, -90.0, -271.5, 400.0, 765.0]);
        degrees.extend((0..40).map(|i| 4.517 * i as f64)); // more than a chunk
        degrees.into_iter().map(f64::to_radians).collect()
    }

    /// Geometries of all kinds: size, columns, centre, spacing.
    fn geometries() -> Vec<(Shape, Detector)> {
        let mut all = Vec::new();
        for (rows, columns, detectors) in
            [(1, 1, 1), (7, 5, 9), (16, 16, 23), (33, 47, 60), (64, 40, 30), (90, 131, 170)]
        {
            for spacing in [0.05, 0.4, 0.7, 1.0, 1.3, 3.7, 40.0] {
                let last = detectors as f64 - 1.0;
                for center in [None, Some(0.3 * last), Some(last)] {
                    all.push((image(rows, columns), Detector { columns: detectors, center, spacing }));
                }
            }
        }
        all
    }

    #[test]
    fn the_adjoint_is_the_adjoint() {
        let (mut worst_single, mut worst_double) = (0.0_f64, 0.0_f64);
        for set in sets() {
            for (model, detector) in geometries() {
                let steep = detector.spacing.max(1.0); // so many times faster do weights change with positions
                let single = ParallelCt::<f32>::new(&model, &angles(), detector).unwrap();
                let double = ParallelCt::<f64>::new(&model, &angles(), detector).unwrap();
                let single = dot_ratio(&single.with_instructions(set).unwrap());
                let double = dot_ratio(&double.with_instructions(set).unwrap());
                assert!(
                    single < 1e-6 * steep && double < 1e-14 * steep,
                    "{set} {model} {detector:?}: {single:e} {double:e}"
                );
                (worst_single, worst_double) = (worst_single.max(single), worst_double.max(double));
            }
        }
        println!("worst dot ratios: f32 {worst_single:e}, f64 {worst_double:e}");
        for set in sets() {
            let model = Shape::new([("z", 3), ("y", 21), ("x", 18)]);
            let single = ParallelCt::<Complex<f32>>::new(&model, &angles(), Detector::new(25)).unwrap();
            let double = ParallelCt::<Complex<f64>>::new(&model, &angles(), Detector::new(25)).unwrap();
            assert!(dot_ratio(&single.with_instructions(set).unwrap()) < 1e-6);
            assert!(dot_ratio(&double.with_instructions(set).unwrap()) < 1e-14);
        }
    }

    #[test]
    fn the_adjoint_is_the_adjoint_at_full_size() {
        let turn: Vec<f64> = (0..720).map(|i| i as f64 * PI / 720.0).collect();
        let single = ParallelCt::<f32>::new(&image(512, 512), &turn, Detector::new(724)).unwrap();
        let double = ParallelCt::<f64>::new(&image(512, 512), &turn, Detector::new(724)).unwrap();
        let (single, double) = (dot_ratio(&single), dot_ratio(&double));
        println!("dot ratios at 512×512×720: f32 {single:e}, f64 {double:e}");
        assert!(single < 1e-7 && double < 1e-14);
    }

    #[test]
    fn instruction_sets_agree() {
        fn worst<S: Scalar>(limit: f64) {
            let mut worst = 0.0_f64;
            for (model, detector) in geometries() {
                let plain = ParallelCt::<S>::new(&model, &angles(), detector).unwrap();
                let plain = plain.with_instructions(Instructions::Plain).unwrap();
                let x = random::<S>(3, plain.domain.len());
                let y = random::<S>(4, plain.range.len());
                let (ax, ahy) = (forward(&plain, &x), adjoint(&plain, &y));
                // The rounding of positions grows with them, and weights change with positions in proportion to the
                // spacing. Off centre, most rays miss the image, and the same rounding meets smaller sums.
                let scale = detector.spacing.max(detector.spacing.recip());
                let limit = limit * scale * if detector.center.is_some() { 3.0 } else { 1.0 };
                for set in sets() {
                    let fast =
                        ParallelCt::<S>::new(&model, &angles(), detector).unwrap().with_instructions(set).unwrap();
                    let differ = distance(&forward(&fast, &x), &ax).max(distance(&adjoint(&fast, &y), &ahy));
                    assert!(differ <= limit, "{set} {model} {detector:?}: {differ:e}");
                    worst = worst.max(differ);
                }
            }
            println!("{}: instruction sets differ by {worst:e}", S::NAME);
        }
        worst::<f32>(1e-6);
        worst::<f64>(3e-14); // a position of 200 samples is rounded by that much
    }

    /// A dense matrix from the textbook's rule, written without any of the code above.
    #[test]
    fn it_is_josephs_method() {
        let (rows, columns) = (6, 9);
        let detector = Detector { columns: 13, center: Some(5.3), spacing: 0.9 };
        let angles = angles();
        let a = ParallelCt::<f64>::new(&image(rows, columns), &angles, detector).unwrap();
        let x = random::<f64>(5, rows * columns);
        let pixel = |row: f64, column: f64| {
            let inside = row >= 0.0 && row < rows as f64 && column >= 0.0 && column < columns as f64;
            if inside { x[row as usize * columns + column as usize] } else { 0.0 }
        };
        let mut want = Vec::new();
        for angle in &angles {
            let (sin, cos) = angle.sin_cos();
            for k in 0..detector.columns {
                let s = (k as f64 - 5.3) * 0.9;
                let mut sum = 0.0;
                if sin.abs() <= cos.abs() {
                    for row in 0..rows {
                        let y = (rows as f64 - 1.0) / 2.0 - row as f64;
                        let column = (s - y * sin) / cos + (columns as f64 - 1.0) / 2.0;
                        let (left, row) = (column.floor(), row as f64);
                        sum += (1.0 - (column - left)) * pixel(row, left) + (column - left) * pixel(row, left + 1.0);
                    }
                    want.push(sum / cos.abs());
                } else {
                    for column in 0..columns {
                        let x = column as f64 - (columns as f64 - 1.0) / 2.0;
                        let row = (rows as f64 - 1.0) / 2.0 - (s - x * cos) / sin;
                        let (upper, column) = (row.floor(), column as f64);
                        sum +=
                            (1.0 - (row - upper)) * pixel(upper, column) + (row - upper) * pixel(upper + 1.0, column);
                    }
                    want.push(sum / sin.abs());
                }
            }
        }
        assert!(distance(&forward(&a, &x), &want) < 1e-14);
    }

    fn golden(name: &str) -> Option<ArrayD<f32>> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
        let folder = std::env::var_os("STACKPHYS_GOLDEN").map_or(beside, PathBuf::from);
        ndarray_npy::read_npy(folder.join(name)).ok()
    }

    #[test]
    fn it_agrees_with_astra() {
        let (Some(phantom), Some(sinogram)) = (golden("shepp128.npy"), golden("shepp128_sino_linear_90x183.npy"))
        else {
            println!("skipped: no golden files; set STACKPHYS_GOLDEN to their folder");
            return;
        };
        let turn: Vec<f64> = (0..90).map(|i| i as f64 * PI / 90.0).collect();
        let want = sinogram.as_slice().unwrap();
        for set in sets() {
            let a = ParallelCt::<f32>::new(&image(128, 128), &turn, Detector::new(183)).unwrap();
            let got = forward(&a.with_instructions(set).unwrap(), phantom.as_slice().unwrap());
            let differ = distance(&got, want);
            println!("{set}: differs from ASTRA by {differ:e}"); // 1.2e-5 even for Joseph's rule in f64: ASTRA's rounding
            assert!(differ < 2e-5, "{set}: {differ:e}");
        }
    }

    #[test]
    fn a_disc_projects_to_chords_and_mass_is_kept() {
        let (size, radius, spacing) = (200, 60.0, 0.8);
        let disc: Vec<f64> = (0..size * size)
            .map(|i| {
                let (y, x) = ((i / size) as f64 - 99.5 + 7.0, (i % size) as f64 - 99.5 - 12.0);
                if x * x + y * y <= radius * radius { 1.0 } else { 0.0 }
            })
            .collect();
        let mass: f64 = disc.iter().sum();
        let turn: Vec<f64> = (0..24).map(|i| i as f64 * PI / 12.0 + 0.1).collect();
        let detector = Detector { columns: 400, center: Some(190.0), spacing };
        let a = ParallelCt::<f64>::new(&image(size, size), &turn, detector).unwrap();
        let y = forward(&a, &disc);
        for (angle, row) in turn.iter().zip(y.chunks(400)) {
            let kept = row.iter().sum::<f64>() * spacing;
            assert!((kept / mass - 1.0).abs() < 0.01, "angle {angle}: mass {kept}, image {mass}");
            // The disc is 12 to the right and 7 up.
            let middle = 12.0 * angle.cos() + 7.0 * angle.sin();
            for (k, value) in row.iter().enumerate() {
                let s = (k as f64 - 190.0) * spacing - middle;
                let chord = 2.0 * (radius * radius - s * s).max(0.0).sqrt();
                if s.abs() < 50.0 {
                    assert!((value / chord - 1.0).abs() < 0.05, "angle {angle}, column {k}: {value}, chord {chord}");
                } else if s.abs() > radius + 2.0 {
                    assert_eq!(*value, 0.0);
                }
            }
        }
    }

    struct NoFiles;
    impl Files for NoFiles {
        fn sizes(&self, _: &Path) -> Result<Vec<usize>, Fault> {
            Err(Fault::new("no files"))
        }
        fn read(&self, _: &Path, _: &Tile) -> Result<Numbers, Fault> {
            Err(Fault::new("no files"))
        }
    }

    fn params(text: &str) -> AnyPhysics {
        toml::from_str(&format!("kind = \"parallel_ct\"\n{text}")).unwrap()
    }

    #[test]
    fn parts_are_rows_of_the_whole_bit_for_bit() {
        let model = image(70, 54);
        let setting = Setting { model: &model, data: None, angles: None, files: &NoFiles };
        let params = params("angles_deg = { start = -20, stop = 200, count = 75 }\ncolumns = 81\ncenter = 38.5");
        let range = params.range(&setting).unwrap();
        assert_eq!(range, Shape::new([("angle", 75), ("column", 81)]));
        let x = random::<f32>(6, model.len());
        let mut work = Work::default();
        let mut whole = nan::<f32>(range.len());
        let all = params.build::<f32>(&setting, &Tile::whole(&range)).unwrap();
        all.forward(&x, &mut whole, &mut work).unwrap();
        for order in [Order::Interleaved, Order::Contiguous] {
            for part in 0..4 {
                let tile = Tile::whole(&range).with(0, Selection::part(75, part, 4, order));
                let operator = params.build::<f32>(&setting, &tile).unwrap();
                let mut got = nan::<f32>(tile.shape().len());
                operator.forward(&x, &mut got, &mut work).unwrap();
                let want: Vec<f32> = tile.offsets().map(|at| whole[at]).collect();
                assert_eq!(*operator.range(), tile.shape());
                assert!(got == want);
                let needs = params.needs::<f32>(&setting, &tile).unwrap();
                assert_eq!(needs.bytes, (tile.shape().sizes()[0] * size_of::<Ray>()) as u64);
                assert!(needs.cost > 0.0 && needs.scratch_bytes > 0);
            }
        }
        let nothing = Tile::whole(&range).with(0, Selection { start: 0, step: 1, count: 0 });
        let operator = params.build::<f32>(&setting, &nothing).unwrap();
        let mut image = nan::<f32>(model.len());
        operator.adjoint(&[], &mut image, &mut work).unwrap();
        assert!(image.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn volumes_are_slices_and_complex_numbers_are_parts_bit_for_bit() {
        let detector = Detector { columns: 50, center: Some(20.0), spacing: 0.9 };
        let volume = Shape::new([("z", 3), ("y", 40), ("x", 35)]);
        let whole = ParallelCt::<f32>::new(&volume, &angles(), detector).unwrap();
        let slice = ParallelCt::<f32>::new(&image(40, 35), &angles(), detector).unwrap();
        let x = random::<f32>(7, volume.len());
        let y = random::<f32>(8, whole.range.len());
        let (ax, ahy) = (forward(&whole, &x), adjoint(&whole, &y));
        for z in 0..3 {
            let x = &x[z * 1400..][..1400];
            let row =
                |y: &[f32]| -> Vec<f32> { y.chunks(150).flat_map(|angle| angle[z * 50..][..50].to_vec()).collect() };
            assert!(row(&ax) == forward(&slice, x));
            assert!(ahy[z * 1400..][..1400] == adjoint(&slice, &row(&y)));
        }

        let complex = ParallelCt::<Complex<f32>>::new(&volume, &angles(), detector).unwrap();
        let other = random::<f32>(9, volume.len());
        let both: Vec<Complex<f32>> = x.iter().zip(&other).map(|(re, im)| Complex::new(*re, *im)).collect();
        let got = forward(&complex, &both);
        assert!(got.iter().map(|value| value.re).eq(ax.iter().copied()));
        assert!(got.iter().map(|value| value.im).eq(forward(&whole, &other)));
        let back = adjoint(&complex, &got);
        assert!(back.iter().map(|value| value.re).eq(adjoint(&whole, &ax)));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let volume = Shape::new([("z", 2), ("y", 75), ("x", 61)]);
        let a = ParallelCt::<Complex<f32>>::new(&volume, &angles(), Detector::new(90)).unwrap();
        let x = random::<Complex<f32>>(10, volume.len());
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let y = forward(&a, &x);
                let mut normal = x.clone();
                a.normal_add(&x, &mut normal, &mut Work::default()).unwrap();
                (adjoint(&a, &y), y, normal)
            })
        };
        let one = all(1);
        for threads in [2, 3] {
            assert!(one == all(threads), "{threads} threads");
        }
    }

    #[test]
    fn the_normal_operator_is_the_adjoint_of_the_forward() {
        for model in [image(30, 41), Shape::new([("z", 2), ("y", 30), ("x", 41)])] {
            let a = ParallelCt::<f32>::new(&model, &angles(), Detector::new(47)).unwrap();
            let x = random::<f32>(11, model.len());
            let start = random::<f32>(12, model.len());
            let (mut got, mut want) = (start.clone(), start);
            let mut work = Work::default();
            // Another operator has left its numbers in the scratch.
            let other = ParallelCt::<f32>::new(&image(60, 60), &angles(), Detector::new(90)).unwrap();
            other.normal_add(&random(13, 3600), &mut nan(3600), &mut work).unwrap();
            a.normal_add(&x, &mut got, &mut work).unwrap();
            a.adjoint_add(&forward(&a, &x), &mut want, &mut Work::default()).unwrap();
            assert!(got == want);
        }
    }

    #[test]
    fn structure_and_bound_hold() {
        for (model, detector) in geometries() {
            let a = ParallelCt::<f64>::new(&model, &angles(), detector).unwrap();
            assert!(LinearOperator::<f64>::structure(&a).non_negative);
            let mut x = vec![1.0; model.len()];
            let mut estimate = 0.0;
            for _ in 0..20 {
                let next = adjoint(&a, &forward(&a, &x));
                estimate = norm(&next) / norm(&x).max(1e-300);
                x = next.into_iter().map(|value| value / estimate.max(1e-300)).collect();
                assert!(x.iter().all(|value| *value >= 0.0));
            }
            let bound = LinearOperator::<f64>::norm_squared_bound(&a).unwrap();
            assert!(estimate <= bound * (1.0 + 1e-12), "{model} {detector:?}: {estimate} > {bound}");
        }
    }

    #[test]
    fn angles_are_read_in_all_forms() {
        let list = params("angles_deg = [0, 90.0]");
        let AnyPhysics::ParallelCt(list) = list else { panic!("{list:?}") };
        assert_eq!(list.angles_deg, Some(Angles::List(vec![0.0, 90.0])));
        assert_eq!(list.spacing, 1.0);
        let range = Angles::Range(AngleRange { start: 0.0, stop: 180.0, count: 4 });
        assert_eq!(range.values(), [0.0, 45.0, 90.0, 135.0]);
        let back: ParallelCtParams = toml::from_str(&toml::to_string(&list).unwrap()).unwrap();
        assert_eq!(back, list);

        let wrong = |text: &str| toml::from_str::<ParallelCtParams>(text).unwrap_err().to_string();
        assert!(wrong("angles_deg = { start = 0, stop = 1, number = 3 }").contains("unknown field `number`"));
        assert!(wrong("angles_deg = 3").contains("a list of angles, or a table { start, stop, count }"));
        assert!(wrong("centre = 3.0").contains("unknown field `centre`"));
    }

    /// The text and the hint of the fault for parameters, model dims, data dims and angles of the data.
    fn fault(text: &str, model: &[(&str, usize)], data: &[(&str, usize)], angles: Option<&[f64]>) -> String {
        let (model, data) = (Shape::new(model.iter().copied()), Shape::new(data.iter().copied()));
        let data = (!data.dims().is_empty()).then_some(&data);
        let setting = Setting { model: &model, data, angles, files: &NoFiles };
        let fault = params(text).range(&setting).unwrap_err();
        format!("{} | {}", fault.text, fault.hint.expect("what to do"))
    }

    #[test]
    fn faults_say_what_is_wrong_and_what_to_do() {
        const IMAGE: &[(&str, usize)] = &[("y", 4), ("x", 5)];
        const VOLUME: &[(&str, usize)] = &[("z", 2), ("y", 4), ("x", 5)];
        const DATA: &[(&str, usize)] = &[("angle", 3), ("column", 7)];
        let three = "angles_deg = [0, 1, 2]\n";
        type Case<'a> = (&'a str, &'a [(&'a str, usize)], &'a [(&'a str, usize)], Option<&'a [f64]>, &'a str, &'a str);
        let cases: &[Case] = &[
            ("", IMAGE, DATA, None, "angles: none were given", "set `angles_deg`"),
            (
                "angles_deg = []\ncolumns = 7",
                IMAGE,
                &[],
                None,
                "expected at least one angle, got none",
                "must not be empty",
            ),
            ("angles_deg = [0]\nangles_rad = [0]", IMAGE, DATA, None, "got both", "keep the one"),
            ("angles_rad = [0, nan, 1]", IMAGE, DATA, None, "got NaN at index 1", "correct the angle"),
            ("", IMAGE, DATA, Some(&[0.0, 1.0, f64::INFINITY]), "the angles of the data: expected finite", "correct"),
            (
                "angles_deg = [0, 1]",
                IMAGE,
                DATA,
                None,
                "expected 3 angles, the data's `angle` size, got 2",
                "one angle for each",
            ),
            ("", IMAGE, DATA, Some(&[0.0]), "the angles of the data: expected 3 angles", "one angle for each"),
            (three, IMAGE, &[], None, "there are no data to take it from", "columns = 724"),
            ("angles_deg = [0]\ncolumns = 0", IMAGE, &[], None, "at least one detector column, got 0", "leave it out"),
            (
                "angles_deg = [0, 1, 2]\ncolumns = 8",
                IMAGE,
                DATA,
                None,
                "expected 7, the data's `column` size, got 8",
                "leave",
            ),
            (
                "angles_deg = [0, 1, 2]\nspacing = 0",
                IMAGE,
                DATA,
                None,
                "positive number of voxels, got 0",
                "voxel size",
            ),
            (
                "angles_deg = [0, 1, 2]\nspacing = inf",
                IMAGE,
                DATA,
                None,
                "positive number of voxels, got inf",
                "voxel size",
            ),
            ("angles_deg = [0, 1, 2]\ncenter = 6.5", IMAGE, DATA, None, "0 to 6, got 6.5", "from the other side"),
            ("angles_deg = [0, 1, 2]\ncenter = -1", IMAGE, DATA, None, "0 to 6, got -1", "millimetres"),
            ("angles_deg = [0, 1, 2]\ncenter = nan", IMAGE, DATA, None, "0 to 6, got NaN", "millimetres"),
            (
                three,
                &[("x", 4), ("y", 5)],
                DATA,
                None,
                "expected the dims (y, x) or (z, y, x), got (x=4, y=5)",
                "order",
            ),
            (
                three,
                IMAGE,
                &[("angle", 3), ("row", 1), ("column", 7)],
                None,
                "expected the dims (angle, column)",
                "single row",
            ),
            (three, VOLUME, DATA, None, "expected the dims (angle, row, column)", "one detector row for each z"),
            (
                three,
                VOLUME,
                &[("angle", 3), ("row", 5), ("column", 7)],
                None,
                "expected `row` = 2, the model's `z` size, got 5",
                "equal",
            ),
        ];
        for (text, model, data, angles, want, hint) in cases {
            let got = fault(text, model, data, *angles);
            let (left, right) = got.split_once(" | ").unwrap();
            assert!(left.contains(want) && right.contains(hint), "{text}: {got}");
        }
        if let Some(missing) = Instructions::ALL.into_iter().find(|set| !set.supported()) {
            let a = ParallelCt::<f32>::new(&image(2, 2), &[0.0], Detector::new(2)).unwrap();
            assert!(a.with_instructions(missing).err().unwrap().text.contains("that this machine has"));
        }
    }

    #[test]
    fn scratch_is_what_needs_says() {
        let model = image(70, 54);
        let angles = Array1::linspace(0.0, 3.0, 9).to_vec();
        let setting = Setting { model: &model, data: None, angles: Some(&angles), files: &NoFiles };
        let params = params("columns = 81");
        let range = params.range(&setting).unwrap();
        let needs = params.needs::<f64>(&setting, &Tile::whole(&range)).unwrap();
        let a = ParallelCt::<f64>::new(&model, &angles, Detector::new(81)).unwrap();
        assert_eq!(needs.scratch_bytes, 8 * a.scratch.iter().sum::<usize>() as u64);
        let mut work = Work::default();
        let x = vec![1.0; model.len()];
        a.normal_add(&x, &mut x.clone(), &mut work).unwrap();
        for (name, len) in ["ct band", "ct sinogram"].into_iter().zip(a.scratch) {
            let buffer = work.take::<f64>(name, len);
            assert!(buffer.len() == len && buffer.capacity() == len, "{name}");
        }
    }
}
