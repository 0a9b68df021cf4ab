//! A volume and detectors that stand along z: all rays of a detector column at once.
//!
//! Such rays share their way through the planes across x or y, see [`joseph::columns`](crate::physics::joseph::columns). For
//! this the voxels of a band of planes are copied so that z is fastest; rays that go fastest along y step through the planes
//! of the image rows, the others through those of the image columns.
//!
//! **Order of sums.** A measurement is summed over bands of [`BAND`] planes in order; a voxel over chunks of views in order, and
//! in a chunk over views and columns in order. None of it depends on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::grid::Grid;
use super::operator::{Pixels, stands_along_z};
use super::scan::{Beam, Scan, View};
use crate::operator::Work;
use crate::physics::joseph::columns::{AdjointColumn, Crossings, ForwardColumn, band_len, can_follow, sums_len};
use crate::physics::joseph::{BAND, Instructions, PAD, Padded};
use crate::physics::threads;
use crate::scalar::{Real, Scalar};
use crate::space::Selection;

/// Columns whose sums are turned into rows together: one cache line of `f32`.
const TOGETHER: usize = 16;
/// Slices that one task adds to, and planes that one task back-projects into or copies.
const SLICES: usize = 16;
const PLANES: usize = 8;
/// Views that the adjoint adds up before it adds them to the volume, at least and at most.
const VIEWS: [usize; 2] = [16, 64];

/// The views of a scan whose detectors stand along z.
pub(super) struct Columns {
    views: Vec<View>,
    /// For rays that go fastest along x, and along y: the views that have such.
    along: [Vec<usize>; 2],
    scale: f64,
    instructions: Instructions,
}

/// One of x and y: the planes across it, and the lines along z in each plane.
#[derive(Clone, Copy)]
struct Axis {
    main: usize,
    planes: usize,
    lines: usize,
    samples: usize,
}

impl Axis {
    fn of(grid: &Grid, main: usize) -> Self {
        Axis { main, planes: grid.sizes[main], lines: grid.sizes[1 - main], samples: grid.sizes[2] }
    }
    fn plane_len<R: Real>(&self) -> usize {
        band_len::<R>(1, self.lines, self.samples)
    }
}

impl Columns {
    /// Those of a scan, if all of its views allow it.
    pub fn of(grid: &Grid, scan: &Scan, rows: Selection, instructions: Instructions) -> Option<Self> {
        let last = (rows.start + rows.count.saturating_sub(1) * rows.step) as f64;
        let mut along = [Vec::new(), Vec::new()];
        if grid.flat || rows.count == 0 {
            return None;
        }
        for (index, view) in scan.views.iter().enumerate() {
            if !stands_along_z(view) {
                return None;
            }
            let mut has = [false; 2];
            for column in 0..scan.columns {
                let (main, crossings) = crossings(grid, view, column, rows);
                has[main] = true;
                let ends = [rows.start as f64, last].map(|row| view.ray(row, column as f64).direction);
                let slopes = [0.0, grid.sizes[main] as f64 - 1.0].map(|p| crossings.slope[0] + crossings.slope[1] * p);
                let steep = ends.iter().any(|d| d[2].abs() > d[0].abs().max(d[1].abs()));
                if steep || !can_follow([slopes[0].min(slopes[1]), slopes[0].max(slopes[1])]) {
                    return None;
                }
            }
            (0..2).filter(|main| has[*main]).for_each(|main| along[main].push(index));
        }
        Some(Columns { views: scan.views.clone(), along, scale: scan.voxel_size, instructions })
    }

    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Views of a chunk of the adjoint.
    fn chunk(&self, grid: &Grid, pixels: &Pixels) -> usize {
        let [least, most] = VIEWS;
        // an eighth of the volume at most, unless it is small
        (grid.len() / 8 / pixels.count().max(1)).clamp(least, most).min(self.views.len().max(1))
    }
    /// Numbers of the three scratch buffers: a band of planes, the sums of columns, the measurements of a chunk of views.
    pub fn scratch<R: Real>(&self, grid: &Grid, pixels: &Pixels, views: usize) -> [usize; 3] {
        let plane = [0, 1].map(|main| Axis::of(grid, main)).map(|axis| axis.planes.min(BAND) * axis.plane_len::<R>());
        let tasks = views.div_ceil(threads::share(views, threads::count(), 1));
        let line = Padded::<R>::stride(pixels.rows.count);
        [
            plane[0].max(plane[1]),
            tasks * TOGETHER * sums_len(pixels.rows.count),
            self.chunk(grid, pixels) * pixels.columns * line,
        ]
    }

    /// `y += A x`.
    pub fn project_add<S: Scalar>(&self, grid: &Grid, pixels: &Pixels, x: &[S], y: &mut [S], work: &mut Work) {
        let [band_len, sums_len, _] = self.scratch::<S::Real>(grid, pixels, self.views.len());
        let mut band = work.take::<S::Real>("ct planes", band_len);
        let mut sums = work.take::<S::Real>("ct columns", sums_len);
        let (x, y, parts) = (S::as_reals(x), S::as_reals_mut(y), if S::IS_COMPLEX { 2 } else { 1 });
        for part in 0..parts {
            for main in [1, 0].into_iter().filter(|main| !self.along[*main].is_empty()) {
                let axis = Axis::of(grid, main);
                for first in (0..axis.planes).step_by(BAND) {
                    let planes = first..(first + BAND).min(axis.planes);
                    let band = &mut band[..planes.len() * axis.plane_len::<S::Real>()];
                    gather(grid, axis, planes.clone(), &x[part..], parts, band);
                    self.project_band(grid, pixels, (axis, planes, band), &mut y[part..], parts, &mut sums);
                }
            }
        }
        work.give("ct columns", sums);
        work.give("ct planes", band);
    }

    fn project_band<R: Real>(
        &self,
        grid: &Grid,
        pixels: &Pixels,
        (axis, planes, band): (Axis, Range<usize>, &[R]),
        y: &mut [R],
        step: usize,
        sums: &mut [R],
    ) {
        let of_view = pixels.count() * step;
        let each = threads::share(self.views.len(), threads::count(), 1);
        let room = TOGETHER * sums_len(pixels.rows.count);
        let add = |((views, y), sums): ((&[View], &mut [R]), &mut [R])| {
            for (view, y) in views.iter().zip(y.chunks_mut(of_view)) {
                self.project_view(grid, pixels, view, (axis, planes.clone(), band), y, step, sums);
            }
        };
        match threads::count() {
            1 => self.views.chunks(each).zip(y.chunks_mut(each * of_view)).zip(sums.chunks_mut(room)).for_each(add),
            _ => self
                .views
                .par_chunks(each)
                .zip(y.par_chunks_mut(each * of_view))
                .zip(sums.par_chunks_mut(room))
                .for_each(add),
        }
    }

    #[allow(clippy::too_many_arguments)] // a loop body with a name
    fn project_view<R: Real>(
        &self,
        grid: &Grid,
        pixels: &Pixels,
        view: &View,
        (axis, planes, band): (Axis, Range<usize>, &[R]),
        y: &mut [R],
        step: usize,
        sums: &mut [R],
    ) {
        let rows = pixels.rows.count;
        let room = sums_len(rows);
        for first in (0..pixels.columns).step_by(TOGETHER) {
            let columns = first..(first + TOGETHER).min(pixels.columns);
            let mut used = [false; TOGETHER];
            for (column, sums) in columns.clone().zip(sums.chunks_mut(room)) {
                let (main, crossings) = crossings(grid, view, column, pixels.rows);
                used[column - first] = main == axis.main;
                if main == axis.main {
                    sums.fill(R::default());
                    let Axis { lines, samples, .. } = axis;
                    let planes = planes.clone();
                    ForwardColumn { crossings: &crossings, band, planes, lines, samples, rows, sums }
                        .run(self.instructions);
                }
            }
            let gains: [Gain; TOGETHER] = std::array::from_fn(|at| {
                Gain::of(view, (first + at).min(pixels.columns - 1), axis.main, pixels.rows, self.scale)
            });
            for (row, y) in y.chunks_mut(pixels.columns * step).enumerate() {
                for column in columns.clone().filter(|column| used[column - first]) {
                    let at = column - first;
                    y[column * step] += R::from_f64(gains[at].at(row)) * sums[at * room + row];
                }
            }
        }
    }

    /// `x += Aᴴ y`.
    pub fn back_project_add<S: Scalar>(&self, grid: &Grid, pixels: &Pixels, y: &[S], x: &mut [S], work: &mut Work) {
        let [band_len, _, measured_len] = self.scratch::<S::Real>(grid, pixels, self.views.len());
        let mut band = work.take::<S::Real>("ct planes", band_len);
        let mut measured = work.take::<S::Real>("ct measured", measured_len);
        let (y, x, parts) = (S::as_reals(y), S::as_reals_mut(x), if S::IS_COMPLEX { 2 } else { 1 });
        let chunk = self.chunk(grid, pixels);
        for part in 0..parts {
            for main in [1, 0] {
                let axis = Axis::of(grid, main);
                for views in self.along[main].chunks(chunk) {
                    self.turn(pixels, views, main, &y[part..], parts, &mut measured);
                    for first in (0..axis.planes).step_by(BAND) {
                        let planes = first..(first + BAND).min(axis.planes);
                        let band = &mut band[..planes.len() * axis.plane_len::<S::Real>()];
                        self.back_project_band(grid, pixels, views, &measured, (axis, planes.clone(), &mut *band));
                        scatter_add(grid, axis, planes, band, &mut x[part..], parts);
                    }
                }
            }
        }
        work.give("ct measured", measured);
        work.give("ct planes", band);
    }

    /// The measurements of some views times their gains, a padded line for each column.
    fn turn<R: Real>(&self, pixels: &Pixels, views: &[usize], main: usize, y: &[R], step: usize, out: &mut [R]) {
        let stride = Padded::<R>::stride(pixels.rows.count);
        let turn = |(index, out): (&usize, &mut [R])| {
            let (view, y) = (&self.views[*index], &y[index * pixels.count() * step..]);
            for first in (0..pixels.columns).step_by(TOGETHER) {
                let columns = first..(first + TOGETHER).min(pixels.columns);
                for column in columns.clone() {
                    let line = &mut out[column * stride..][..stride];
                    line[..PAD].fill(R::default());
                    line[PAD + pixels.rows.count..].fill(R::default());
                    let gain = Gain::of(view, column, main, pixels.rows, self.scale);
                    for (row, out) in line[PAD..][..pixels.rows.count].iter_mut().enumerate() {
                        *out = R::from_f64(gain.at(row)) * y[(row * pixels.columns + column) * step];
                    }
                }
            }
        };
        let len = pixels.columns * stride;
        match threads::count() {
            1 => views.iter().zip(out.chunks_mut(len)).for_each(turn),
            _ => views.par_iter().zip(out.par_chunks_mut(len)).for_each(turn),
        }
    }

    fn back_project_band<R: Real>(
        &self,
        grid: &Grid,
        pixels: &Pixels,
        views: &[usize],
        measured: &[R],
        (axis, planes, band): (Axis, Range<usize>, &mut [R]),
    ) {
        let stride = Padded::<R>::stride(pixels.rows.count);
        let add = |(group, band): (usize, &mut [R])| {
            band.fill(R::default());
            let first = planes.start + group * PLANES;
            let planes = first..(first + PLANES).min(planes.end);
            for (index, measured) in views.iter().zip(measured.chunks(pixels.columns * stride)) {
                for (column, measured) in measured.chunks(stride).enumerate() {
                    let (main, crossings) = crossings(grid, &self.views[*index], column, pixels.rows);
                    if main == axis.main {
                        let Axis { lines, samples, .. } = axis;
                        let (rows, planes, crossings) = (pixels.rows.count, planes.clone(), &crossings);
                        AdjointColumn { crossings, measured, rows, planes, lines, samples, band: &mut *band }
                            .run(self.instructions);
                    }
                }
            }
        };
        let len = PLANES * axis.plane_len::<R>();
        match threads::count() {
            1 => band.chunks_mut(len).enumerate().for_each(add),
            _ => band.par_chunks_mut(len).enumerate().for_each(add),
        }
    }
}

/// Along which of x and y the rays of a column go fastest, and where they cross the planes across it.
fn crossings(grid: &Grid, view: &View, column: usize, rows: Selection) -> (usize, Crossings) {
    let line = grid.line(view.ray(rows.start as f64, column as f64));
    let step = view.row[2] * rows.step as f64;
    let [x, y, z] = line.direction;
    let main = usize::from(y.abs() >= x.abs());
    let (begin, speed) = (line.origin[main], line.direction[main]);
    let across = line.direction[1 - main] / speed;
    let line_at = [line.origin[1 - main] - across * begin, across];
    let crossings = match view.beam {
        // at plane p the rays have gone the part (p − begin) / speed of the way to the detector
        Beam::Source(_) => Crossings {
            line: line_at,
            start: [line.origin[2] - z / speed * begin, z / speed],
            slope: [-step / speed * begin, step / speed],
        },
        Beam::Along(_) => Crossings { line: line_at, start: [line.origin[2], 0.0], slope: [step, 0.0] },
    };
    (main, crossings)
}

/// The lengths of the rays of a column between two planes: √(a + (b + c·row)²).
#[derive(Clone, Copy)]
struct Gain {
    level_squared: f64,
    rise: f64,
    per_row: f64,
}

impl Gain {
    fn of(view: &View, column: usize, main: usize, rows: Selection, scale: f64) -> Self {
        let [x, y, z] = view.ray(rows.start as f64, column as f64).direction;
        let speed = (if main == 0 { x.abs() } else { y.abs() }) / scale;
        let per_row = if matches!(view.beam, Beam::Source(_)) { view.row[2] * rows.step as f64 } else { 0.0 };
        Gain { level_squared: (x * x + y * y) / (speed * speed), rise: z / speed, per_row: per_row / speed }
    }
    fn at(&self, row: usize) -> f64 {
        (self.level_squared + (self.rise + self.per_row * row as f64).powi(2)).sqrt()
    }
}

/// Copies planes of a volume into padded lines along z, and writes their zeros.
fn gather<R: Real>(grid: &Grid, axis: Axis, planes: Range<usize>, x: &[R], step: usize, band: &mut [R]) {
    let Axis { main, lines, samples, .. } = axis;
    let [of_plane, of_line] = [grid.strides()[main] * step, grid.strides()[1 - main] * step];
    let of_sample = grid.strides()[2] * step;
    let stride = Padded::<R>::stride(samples);
    let copy = |(group, band): (usize, &mut [R])| {
        let plane_len = axis.plane_len::<R>();
        for plane in band.chunks_mut(plane_len) {
            plane[..stride].fill(R::default());
            plane[plane_len - stride..].fill(R::default());
            for line in plane.chunks_mut(stride) {
                line[..PAD].fill(R::default());
                line[PAD + samples..].fill(R::default());
            }
        }
        let (count, from) = (band.len() / plane_len, (planes.start + group * PLANES) * of_plane);
        for_each_tile(main, count, lines, samples, |plane, line, sample| {
            band[plane * plane_len + (line + 1) * stride + PAD + sample] =
                x[from + plane * of_plane + line * of_line + sample * of_sample];
        });
    };
    let len = PLANES * axis.plane_len::<R>();
    match threads::count() {
        1 => band.chunks_mut(len).enumerate().for_each(copy),
        _ => band.par_chunks_mut(len).enumerate().for_each(copy),
    }
}

/// Adds padded lines along z to the planes of a volume.
fn scatter_add<R: Real>(grid: &Grid, axis: Axis, planes: Range<usize>, band: &[R], x: &mut [R], step: usize) {
    let Axis { main, lines, samples, .. } = axis;
    let [of_plane, of_line] = [grid.strides()[main] * step, grid.strides()[1 - main] * step];
    let of_sample = grid.strides()[2] * step;
    let stride = Padded::<R>::stride(samples);
    let plane_len = axis.plane_len::<R>();
    let add = |(group, x): (usize, &mut [R])| {
        let first = group * SLICES;
        let count = SLICES.min(samples - first);
        for_each_tile(main, planes.len(), lines, count, |plane, line, sample| {
            x[(planes.start + plane) * of_plane + line * of_line + sample * of_sample] +=
                band[plane * plane_len + (line + 1) * stride + PAD + first + sample];
        });
    };
    match threads::count() {
        1 => x.chunks_mut(SLICES * of_sample).enumerate().for_each(add),
        _ => x.par_chunks_mut(SLICES * of_sample).enumerate().for_each(add),
    }
}

/// All of (plane, line, sample), in tiles that are a few cache lines in either order of memory.
#[inline(always)]
fn for_each_tile(main: usize, planes: usize, lines: usize, samples: usize, mut visit: impl FnMut(usize, usize, usize)) {
    const TILE: usize = 16;
    // x, which lies side by side in the volume, counts planes or lines
    let (rows, columns) = if main == 0 { (lines, planes) } else { (planes, lines) };
    for row in 0..rows {
        for column in (0..columns).step_by(TILE) {
            for sample in (0..samples).step_by(TILE) {
                for sample in sample..(sample + TILE).min(samples) {
                    for column in column..(column + TILE).min(columns) {
                        match main {
                            0 => visit(column, row, sample),
                            _ => visit(row, column, sample),
                        }
                    }
                }
            }
        }
    }
}
