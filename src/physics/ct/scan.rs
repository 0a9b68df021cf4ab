//! Where source and detector stand in each view.

use crate::error::Fault;
use crate::physics::Setting;
use crate::space::{Selection, Tile};

/// A place or a direction: (x, y, z) in voxels.
pub(crate) type Vec3 = [f64; 3];

pub(crate) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
pub(crate) fn norm(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}
fn add(a: Vec3, by: f64, b: Vec3) -> Vec3 {
    [a[0] + by * b[0], a[1] + by * b[1], a[2] + by * b[2]]
}
fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Where rays come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Beam {
    /// A point.
    Source([f64; 3]),
    /// All in this direction.
    Along([f64; 3]),
}

/// One view: the beam and the detector. Lengths in voxels, from the middle of the volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Where rays come from.
    pub beam: Beam,
    /// A point of the detector …
    pub place: [f64; 3],
    /// … and the (row, column) that is there. Neither need be whole, or on the detector.
    pub at: [f64; 2],
    /// From one detector row to the next.
    pub row: [f64; 3],
    /// From one detector column to the next, at `place`.
    pub column: [f64; 3],
    /// Whether columns stand on an arc around the source, `column` apart along it.
    pub arc: bool,
}

/// A line in space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// A point of it.
    pub origin: [f64; 3],
    /// Its direction, of any length.
    pub direction: [f64; 3],
}

impl View {
    /// A view of a standard orbit: at an angle in radians, with the source, if there is one, this far from the middle.
    pub fn of_orbit(
        angle: f64,
        source: Option<f64>,
        detector: f64,
        at: [f64; 2],
        spacing: [f64; 2],
        arc: bool,
    ) -> Self {
        let (sin, cos) = angle.sin_cos();
        View {
            beam: match source {
                Some(distance) => Beam::Source([sin * distance, -cos * distance, 0.0]),
                None => Beam::Along([-sin, cos, 0.0]),
            },
            place: [-sin * detector, cos * detector, 0.0],
            at,
            row: [0.0, 0.0, spacing[0]],
            column: [cos * spacing[1], sin * spacing[1], 0.0],
            arc,
        }
    }

    /// Where a pixel of the detector is.
    pub fn pixel(&self, row: f64, column: f64) -> [f64; 3] {
        let (down, along) = (row - self.at[0], column - self.at[1]);
        let place = match (self.arc, self.beam) {
            (true, Beam::Source(source)) => {
                let radius = add(self.place, -1.0, source);
                let pitch = norm(self.column);
                let (sin, cos) = (along * pitch / norm(radius)).sin_cos();
                let across = sin * norm(radius) / pitch;
                add(add(source, cos, radius), across, self.column)
            }
            _ => add(self.place, along, self.column),
        };
        add(place, down, self.row)
    }

    /// The ray of a pixel; its direction leads from the source to the detector.
    pub fn ray(&self, row: f64, column: f64) -> Line {
        let pixel = self.pixel(row, column);
        match self.beam {
            Beam::Source(source) => Line { origin: source, direction: add(pixel, -1.0, source) },
            Beam::Along(direction) => Line { origin: pixel, direction },
        }
    }

    /// Onto which (row, column) a point falls, and how far it is from the source as a part of the way to the detector (of the
    /// way to its middle, for a flat one); 1 for parallel rays. `None` where it does not fall onto the detector's plane.
    pub fn shadow(&self, point: [f64; 3]) -> Option<([f64; 2], f64)> {
        let normal = cross(self.row, self.column);
        let (origin, direction) = match self.beam {
            Beam::Source(source) => (source, add(point, -1.0, source)),
            Beam::Along(direction) => (point, direction),
        };
        if let (true, Beam::Source(source)) = (self.arc, self.beam) {
            let radius = add(self.place, -1.0, source);
            let (far, pitch) = (norm(radius), norm(self.column));
            let [along, across] = [dot(direction, radius) / far, dot(direction, self.column) / pitch];
            let depth = along.hypot(across) / far;
            let down = dot(direction, self.row) / dot(self.row, self.row) / depth;
            return (depth > 0.0).then(|| ([down + self.at[0], across.atan2(along) * far / pitch + self.at[1]], depth));
        }
        let slope = dot(normal, direction);
        let way = dot(normal, add(self.place, -1.0, origin)) / slope;
        if !way.is_finite() || (matches!(self.beam, Beam::Source(_)) && way <= 0.0) {
            return None;
        }
        let on = add(add(origin, way, direction), -1.0, self.place);
        // the part along each of two directions that need not be at right angles
        let square = dot(normal, normal);
        let down = dot(cross(on, self.column), normal) / square;
        let along = dot(cross(self.row, on), normal) / square;
        let depth = if matches!(self.beam, Beam::Source(_)) { way.recip() } else { 1.0 };
        Some(([down + self.at[0], along + self.at[1]], depth))
    }

    /// What of the detector, seen from the rays, is not finite or has no size.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let beam = match self.beam {
            Beam::Source(source) => source,
            Beam::Along(direction) => direction,
        };
        let numbers = [beam, self.place, self.row, self.column].concat();
        if numbers.iter().chain(&self.at).any(|number| !number.is_finite()) {
            return Err("not all numbers are finite");
        }
        let normal = cross(self.row, self.column);
        if norm(normal) <= 1e-9 * norm(self.row) * norm(self.column) || norm(normal) == 0.0 {
            return Err("the directions of rows and columns are zero or parallel: the detector has no area");
        }
        let towards = match self.beam {
            Beam::Source(source) => add(self.place, -1.0, source),
            Beam::Along(direction) => direction,
        };
        if !self.arc && dot(normal, towards).abs() <= 1e-9 * norm(normal) * norm(towards) {
            return Err("the rays run along the detector's plane");
        }
        Ok(())
    }
}

/// What a standard orbit is: what analytic inversion needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Orbit {
    /// The angle of each view, in radians.
    pub angles: Vec<f64>,
    /// From the source to the axis of rotation; none for parallel rays.
    pub source: Option<f64>,
    /// From the axis to the detector.
    pub detector: f64,
    /// From one column to the next.
    pub spacing: f64,
}

/// The geometry of all rays of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// One for each angle.
    pub views: Vec<View>,
    /// Detector rows; none where the model is one slice.
    pub rows: Option<usize>,
    /// Detector columns.
    pub columns: usize,
    /// The voxel size: what an integral along a ray in voxels is multiplied by.
    pub voxel_size: f64,
    /// What is known of it as an orbit, if it is one.
    pub orbit: Option<Orbit>,
}

impl Scan {
    /// The ray of each element of a part of the measurements, in the part's order.
    pub fn rays(&self, tile: &Tile) -> impl Iterator<Item = Line> {
        let selection = |dim, all| tile.selection(dim).unwrap_or(Selection::all(all));
        let views = selection("angle", self.views.len());
        let (rows, columns) = (selection("row", self.rows.unwrap_or(1)), selection("column", self.columns));
        let pixels = move |view| rows.iter().flat_map(move |row| columns.iter().map(move |column| (view, row, column)));
        views.iter().flat_map(pixels).map(|(view, row, column)| self.views[view].ray(row as f64, column as f64))
    }

    /// Whether a source stands inside the volume, or anything is not a number.
    pub(super) fn check(&self, setting: &Setting, from: &str) -> Result<(), Fault> {
        for (index, view) in self.views.iter().enumerate() {
            view.check().map_err(|why| {
                Fault::new(format!("{from}: view {index}: {why}"))
                    .hint("a view is source (or direction), middle of the detector, from one column to the next, from one row to the next")
            })?;
            let half = half_sizes(setting);
            let Beam::Source(source) = view.beam else { continue };
            if source.iter().zip(half).all(|(at, half)| at.abs() < half) {
                let [x, y, z] = source;
                return Err(Fault::new(format!(
                    "{from}: expected the source outside of the object, in view {index} it is at x = {x:.1}, y = {y:.1}, z = {z:.1} \
                     voxels from the middle of {}",
                    setting.model
                ))
                .hint("are distances and `voxel_size` in the same unit? without `voxel_size` lengths are in voxels"));
            }
        }
        Ok(())
    }

    /// What part of the shadow of the largest ellipse (the cylinder, in a volume) that fits into the model is off the
    /// detector: the largest over all views, across the columns and across the rows.
    pub(crate) fn truncation(&self, setting: &Setting) -> [f64; 2] {
        let [x, y, z] = half_sizes(setting);
        let mut most = [0.0_f64; 2];
        for view in &self.views {
            let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
            for step in 0..64 {
                let (sin, cos) = (f64::from(step) * std::f64::consts::TAU / 64.0).sin_cos();
                for z in [-z, z] {
                    let Some((at, _)) = view.shadow([x * cos, y * sin, z]) else { continue };
                    for axis in 0..2 {
                        low[axis] = low[axis].min(at[axis]);
                        high[axis] = high[axis].max(at[axis]);
                    }
                }
            }
            for (axis, count) in [self.rows.unwrap_or(1), self.columns].into_iter().enumerate() {
                let seen = high[axis].min(count as f64 - 0.5) - low[axis].max(-0.5);
                let off = 1.0 - seen.max(0.0) / (high[axis] - low[axis]);
                most[axis] = most[axis].max(if off.is_finite() { off } else { 0.0 });
            }
        }
        [if self.rows.is_some() { most[0] } else { 0.0 }, most[1]]
    }
}

/// Half the extent of the model along x, y and z; a single slice is thin.
fn half_sizes(setting: &Setting) -> Vec3 {
    let half = |name| setting.model.size(name).map_or(0.5, |size| size as f64 / 2.0);
    [half("x"), half("y"), half("z")]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any point falls onto the pixel whose ray goes through it.
    #[test]
    fn a_shadow_is_where_the_ray_through_a_point_ends() {
        let mut views = Vec::new();
        for angle in [0.0, 0.7, 2.9, 4.4] {
            for source in [None, Some(40.0)] {
                for arc in [false, true] {
                    let view = View::of_orbit(angle, source, 25.0, [3.5, 7.2], [1.3, 0.8], arc && source.is_some());
                    views.push(view);
                    let leaning = View { row: [0.1, -0.2, 1.1], column: [0.9, 0.3, 0.2], ..view };
                    views.extend((!arc).then_some(leaning));
                }
            }
        }
        for view in views {
            for (row, column) in [(0.0, 0.0), (2.0, 9.0), (6.0, 3.5)] {
                let Line { origin, direction } = view.ray(row, column);
                for way in [0.4, 1.0] {
                    let (at, depth) = view.shadow(add(origin, way, direction)).unwrap();
                    assert!((at[0] - row).abs() < 1e-9 && (at[1] - column).abs() < 1e-9, "{view:?}: {at:?}");
                    let want = if matches!(view.beam, Beam::Source(_)) { way } else { 1.0 };
                    assert!((depth - want).abs() < 1e-9, "{view:?}: {depth}, not {want}");
                }
            }
        }
    }

    /// On an arc all pixels are as far from the source, and as far from each other along it.
    #[test]
    fn an_arc_is_around_the_source() {
        let view = View::of_orbit(0.6, Some(50.0), 30.0, [0.0, 10.0], [1.0, 1.5], true);
        let directions: Vec<Vec3> = (0..30).map(|column| view.ray(0.0, f64::from(column)).direction).collect();
        for pair in directions.windows(2) {
            assert!((norm(pair[0]) - 80.0).abs() < 1e-12);
            let angle = (dot(pair[0], pair[1]) / 6400.0).acos();
            assert!((angle - 1.5 / 80.0).abs() < 1e-9, "{angle}");
        }
    }
}
