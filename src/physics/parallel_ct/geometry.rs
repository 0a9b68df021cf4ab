//! Where everything is: the image, the detector, the rays.

use crate::error::Fault;
use crate::physics::joseph::Ray;
use crate::space::{Shape, Tile};

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

    pub(super) fn center(&self) -> f64 {
        self.center.unwrap_or((self.columns as f64 - 1.0) / 2.0)
    }
}

/// What is wrong with a geometry, if anything.
pub(super) fn check(angles: &[f64], angles_from: &str, detector: Detector) -> Result<(), Fault> {
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

/// The image, or the slices of a volume; or a window on them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageSize {
    pub slices: Option<usize>,
    pub rows: usize,
    pub columns: usize,
}

impl ImageSize {
    pub fn of(model: &Shape) -> Result<Self, Fault> {
        let names: Vec<&str> = model.names().collect();
        let sizes = model.sizes();
        match (names.as_slice(), sizes.as_slice()) {
            (["y", "x"], &[rows, columns]) => Ok(ImageSize { slices: None, rows, columns }),
            (["z", "y", "x"], &[slices, rows, columns]) => Ok(ImageSize { slices: Some(slices), rows, columns }),
            _ => Err(Fault::new(format!("model: expected the dims (y, x) or (z, y, x), got {model}"))
                .hint("set model.dims = { y = …, x = … }, or { z = …, y = …, x = … } for a volume; the order counts")),
        }
    }

    /// The shape of the measurements.
    pub fn range(self, angles: usize, columns: usize) -> Shape {
        match self.slices {
            None => Shape::new([("angle", angles), ("column", columns)]),
            Some(slices) => Shape::new([("angle", angles), ("row", slices), ("column", columns)]),
        }
    }
    /// The lines that the rays of an angle step through, and the samples of each.
    pub fn lines_and_samples(&self, ray: &Ray) -> (usize, usize) {
        if ray.along_rows { (self.rows, self.columns) } else { (self.columns, self.rows) }
    }
}

/// The part of a model that an operator sees: its size, and where it lies in the whole image.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub size: ImageSize,
    image: ImageSize,
    first_row: usize,
    first_column: usize,
}

impl View {
    /// Faults: a model that is no image or volume; a part of it that is not a run of neighbours along each dim.
    pub fn of(window: &Tile) -> Result<Self, Fault> {
        let (image, size) = (ImageSize::of(window.of())?, ImageSize::of(&window.shape())?);
        if let Some(gap) = window.selections().iter().find(|selection| selection.step > 1) {
            let text = format!("part of the model: expected neighbouring samples, got every {}th", gap.step);
            return Err(Fault::new(text).hint("cut the model into contiguous blocks"));
        }
        let first = |dim| window.selection(dim).map_or(0, |selection| selection.start);
        Ok(View { size, image, first_row: first("y"), first_column: first("x") })
    }

    /// The rays of each angle.
    pub fn rays(&self, angles: &[f64], detector: Detector) -> Vec<Ray> {
        let View { image: ImageSize { rows, columns, .. }, first_row, first_column, .. } = *self;
        let ray = |angle: &f64| Ray::new(*angle, rows, columns, detector.center(), detector.spacing);
        angles.iter().map(|angle| ray(angle).seen_from(first_row, first_column)).collect()
    }
}
