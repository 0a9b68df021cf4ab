//! Analytic inversion: filtered back-projection of parallel and fan beams, and its extension to cone beams by Feldkamp,
//! Davis and Kress (FDK).
//!
//! ```text
//! x = Σ_θ w_θ / U² · (h ∗ (cosine · y_θ)) where the voxel's shadow falls,   U = depth of the voxel / depth of the axis
//! ```
//!
//! with w the part of the turn that a view stands for (halved over a full turn, in which each ray comes twice), h the ramp
//! filter at the axis, and the filtered view interpolated between pixels. For parallel rays cosine and U are 1. Exact for
//! parallel rays and fans up to sampling; for a cone in the plane of the orbit, and the farther from it the less.
//!
//! Each part of the measurements is inverted by itself and the results are summed, since all of it is linear.
//!
//! Source: A. C. Kak and M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, sections 3.3, 3.4.1 (arc), 3.4.2
//! (flat) and 3.6 (cone); L. A. Feldkamp, L. C. Davis and J. W. Kress, J. Opt. Soc. Am. A 1(6), 1984.

use std::f64::consts::{PI, TAU};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filter::{Filter, Ramp};
use super::grid::Grid;
use super::scan::{Orbit, Scan, View, dot, norm};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Selection, Tile};

/// A gap between neighbouring angles is a hole in the scan if it is so many times the mean gap …
const HOLE: f64 = 4.0;
/// … and wider than this, in radians: few views are no fault.
const LEAST_HOLE: f64 = 10.0 * PI / 180.0;

/// Filtered back-projection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FbpParams {
    /// The filter along detector columns.
    #[serde(default)]
    pub filter: Filter,
}

impl FbpParams {
    /// Whether a scan can be inverted so. Faults: a geometry that is no circular orbit with a straight detector; angles that
    /// do not cover a half turn (parallel) or a full one (fan, cone).
    ///
    /// Collective: no. Cost: that of sorting the angles.
    pub fn check(&self, scan: &Scan) -> Result<(), Fault> {
        weights(scan).map(|_| ())
    }

    /// Adds to `x`, a part of the model, what a part of the measurements gives.
    ///
    /// `tile` is a part of the scan's measurements with whole columns and neighbouring rows, `y` its numbers. Collective: no.
    /// Cost: a Fourier transform of each detector row there and back, and some 30 operations for each voxel and view. Memory:
    /// the filtered measurements. Threads: those of the rayon pool in which it is called, with the same bits for any number.
    /// Faults: those of [`check`](Self::check); a tile that leaves out columns, or rows in between.
    pub fn invert_add<S: Scalar>(
        &self,
        scan: &Scan,
        window: &Tile,
        tile: &Tile,
        y: &[S],
        x: &mut [S],
    ) -> Result<(), Fault> {
        let (orbit, weights) = weights(scan)?;
        let grid = Grid::of(window)?;
        let views = tile.selection("angle").unwrap_or(Selection::all(scan.views.len()));
        let rows = tile.selection("row").unwrap_or(Selection::all(scan.rows.unwrap_or(1)));
        if tile.selection("column").is_some_and(|columns| columns != Selection::all(scan.columns)) || rows.step > 1 {
            return Err(Fault::new("filtered back-projection needs whole detector columns and neighbouring rows")
                .hint("split along `angle`"));
        }
        let views: Vec<(&View, f64)> = views.iter().map(|view| (&scan.views[view], weights[view])).collect();
        let filtered = self.filtered(scan, orbit, &views, rows, y);
        let of_view = rows.count * scan.columns;
        let of_line = grid.sizes[0];
        let band = Band { first: rows.start, count: rows.count, all: scan.rows, columns: scan.columns };
        let lines = x.par_chunks_mut(of_line.max(1)).enumerate();
        lines.for_each(|(line, x)| {
            for ((view, _), filtered) in views.iter().zip(filtered.chunks(of_view)) {
                let at = |column: usize| grid.place(column, line % grid.sizes[1], line / grid.sizes[1]);
                let shadows = Shadows::of(view, at(0), at(1));
                for (column, x) in x.iter_mut().enumerate() {
                    if let Some((row, along, weight)) = shadows.at(column) {
                        *x += band.interpolated(filtered, row, along).scale(S::Real::from_f64(weight));
                    }
                }
            }
        });
        Ok(())
    }

    /// The views, weighted and filtered row by row.
    fn filtered<S: Scalar>(
        &self,
        scan: &Scan,
        orbit: &Orbit,
        views: &[(&View, f64)],
        rows: Selection,
        y: &[S],
    ) -> Vec<S> {
        // from one column to the next, where the filter is applied: at the axis; on an arc, as an angle
        let arc = scan.views.first().is_some_and(|view| view.arc);
        let spacing = match orbit.source {
            None => orbit.spacing,
            Some(source) if arc => orbit.spacing / (source + orbit.detector),
            Some(source) => orbit.spacing * source / (source + orbit.detector),
        };
        let mut filtered = vec![S::default(); y.len()];
        let columns = scan.columns;
        let jobs = filtered.par_chunks_mut(rows.count * columns).zip(y.par_chunks(rows.count * columns)).zip(views);
        jobs.for_each_init(
            || Ramp::<S::Real>::new(self.filter, columns, spacing, arc),
            |ramp, ((out, y), (view, weight))| {
                for ((row, out), y) in rows.iter().zip(out.chunks_mut(columns)).zip(y.chunks(columns)) {
                    let cosine = |column: usize| match orbit.source {
                        None => 1.0,
                        Some(source) => {
                            let ray = view.ray(row as f64, column as f64).direction;
                            let central = view.ray(view.at[0], view.at[1]).direction;
                            let cosine = dot(ray, central) / (norm(ray) * norm(central));
                            if arc { cosine * source } else { cosine }
                        }
                    };
                    let weight = weight / scan.voxel_size;
                    let line = y.iter().enumerate();
                    let line = line.map(|(column, y)| y.scale(S::Real::from_f64(weight * cosine(column))).to_complex());
                    for (out, value) in out.iter_mut().zip(ramp.run(line)) {
                        *out = S::from_complex(*value);
                    }
                }
            },
        );
        filtered
    }
}

/// What part of the turn each view stands for: half of the gaps to its neighbours.
fn weights(scan: &Scan) -> Result<(&Orbit, Vec<f64>), Fault> {
    let Some(orbit) = &scan.orbit else {
        return Err(Fault::new("filtered back-projection needs a circular orbit and a detector that stands straight")
            .hint("use an iterative method, such as \"cg\": it takes any geometry"));
    };
    // over a full turn of parallel rays each comes twice, from both sides: what counts is the angle in a half turn
    let turn = if orbit.source.is_some() { TAU } else { PI };
    let angles: Vec<f64> = orbit.angles.iter().map(|angle| angle.rem_euclid(turn)).collect();
    let count = angles.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| angles[*a].total_cmp(&angles[*b]));
    let gaps: Vec<f64> = (0..count)
        .map(|k| match k + 1 {
            next if next < count => angles[order[next]] - angles[order[k]],
            _ => angles[order[0]] + turn - angles[order[k]],
        })
        .collect();
    let widest = gaps.iter().copied().fold(0.0, f64::max);
    if widest > (HOLE * turn / count as f64).max(LEAST_HOLE) {
        let (need, degrees) = (turn.to_degrees(), widest.to_degrees());
        return Err(Fault::new(format!(
            "filtered back-projection: expected angles that cover {need:.0}°, there is a gap of {degrees:.1}°"
        ))
        .hint(match orbit.source {
            None => "use an iterative method, such as \"cg\", for limited angles",
            Some(_) => "short scans of fan and cone beams are not supported: use an iterative method, such as \"cg\"",
        }));
    }
    let mut weights = vec![0.0; count];
    for (k, view) in order.into_iter().enumerate() {
        let both = gaps[k] + gaps[(k + count - 1) % count];
        // rays of a fan or a cone come twice in a full turn
        weights[view] = both / if orbit.source.is_some() { 4.0 } else { 2.0 };
    }
    Ok((orbit, weights))
}

/// Onto which pixels the voxels of a line along x fall.
enum Shadows<'a> {
    /// Of a plane: the homogeneous coordinates are affine along the line.
    Plane { start: [f64; 3], change: [f64; 3] },
    /// Each by itself.
    Arc { view: &'a View, first: [f64; 3], change: [f64; 3] },
}

impl<'a> Shadows<'a> {
    fn of(view: &'a View, first: [f64; 3], second: [f64; 3]) -> Self {
        let change: [f64; 3] = std::array::from_fn(|k| second[k] - first[k]);
        if view.arc {
            return Shadows::Arc { view, first, change };
        }
        let homogeneous = |point: [f64; 3]| match view.shadow(point) {
            // way to the detector as a part of the way to the axis: both are affine in the point
            Some(([row, column], depth)) => {
                let axis = view.shadow([0.0; 3]).map_or(1.0, |(_, depth)| depth);
                let u = depth / axis;
                [row * u, column * u, u]
            }
            None => [f64::NAN; 3],
        };
        let (start, next) = (homogeneous(first), homogeneous(second));
        Shadows::Plane { start, change: std::array::from_fn(|k| next[k] - start[k]) }
    }

    /// Row, column, and 1/U² of a voxel; on an arc, 1/L².
    fn at(&self, column: usize) -> Option<(f64, f64, f64)> {
        let k = column as f64;
        match self {
            Shadows::Plane { start, change } => {
                let u = start[2] + k * change[2];
                let per_u = u.recip();
                (u > 0.0)
                    .then(|| ((start[0] + k * change[0]) * per_u, (start[1] + k * change[1]) * per_u, per_u * per_u))
            }
            Shadows::Arc { view, first, change } => {
                let point = std::array::from_fn(|axis| first[axis] + k * change[axis]);
                let ([row, column], depth) = view.shadow(point)?;
                let far = depth * norm(view.ray(view.at[0], view.at[1]).direction);
                Some((row, column, far.powi(-2)))
            }
        }
    }
}

/// Some rows of a detector.
struct Band {
    first: usize,
    count: usize,
    /// All rows; none where there is one row for one slice.
    all: Option<usize>,
    columns: usize,
}

impl Band {
    /// The filtered view between pixels; beyond the outermost pixels it is zero. Rows that another part has count as zero.
    fn interpolated<S: Scalar>(&self, view: &[S], row: f64, column: f64) -> S {
        let zero = S::default();
        if !(column >= 0.0 && column <= (self.columns - 1) as f64) {
            return zero;
        }
        let (left, rest) = (column as usize, column.fract());
        let between = |row: usize| {
            let line = &view[row * self.columns..][..self.columns];
            let right = line[(left + 1).min(self.columns - 1)];
            line[left].scale(S::Real::from_f64(1.0 - rest)) + right.scale(S::Real::from_f64(rest))
        };
        let Some(all) = self.all else { return between(0) };
        // half a pixel beyond the outermost rows' middles is still on them
        if !(row >= -0.5 && row <= all as f64 - 0.5) {
            return zero;
        }
        let row = row.clamp(0.0, (all - 1) as f64);
        let (above, rest) = (row as usize, row.fract());
        let mut sum = zero;
        for (row, part) in [(above, 1.0 - rest), (above + 1, rest)] {
            if part > 0.0 && (self.first..self.first + self.count).contains(&row) {
                sum += between(row - self.first).scale(S::Real::from_f64(part));
            }
        }
        sum
    }
}
