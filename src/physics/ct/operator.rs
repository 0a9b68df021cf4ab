//! The projector of any scan: rays are summed one by one, or, where it can be done, detector column by column.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::columns::Columns;
use super::grid::Grid;
use super::joseph;
use super::scan::{Beam, Line, Scan, View};
use super::{Projector, siddon};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work};
use crate::physics::joseph::Instructions;
use crate::physics::{Needs, threads};
use crate::scalar::Scalar;
use crate::space::{Ranges, Selection, Shape, Tile};

/// Into how many slabs a volume is cut for the adjoint, at most: fixed, so that sums do not depend on the number of threads.
const SLABS: usize = 16;

/// `y[view, row, column] = ∫ x along the ray of that pixel`, by one of two projectors; the adjoint has the same weights.
///
/// Shapes: (y, x) → (angle, column), or (z, y, x) → (angle, row, column). Geometry: that of a [`Scan`], lengths in voxels; the
/// result is in voxels times the scan's `voxel_size`. A ray is the whole line through source and pixel. Complex images are
/// projected part by part. Collective: no.
///
/// Cost: about 20 operations for each voxel that Joseph's rays pass in a volume (10 in an image), and for each that a ray crosses
/// by Siddon's, several times as many in time where a detector does not stand along z, since such rays are followed one by one;
/// the adjoint the same. Memory: some 200 bytes a view. Scratch: for detectors along z, 32 planes of the volume and, for the
/// adjoint, up to 64 views; nothing otherwise. Threads: those of the rayon pool in which it is called; the result is the same
/// bit for bit whatever their number. Faults when built: wrong model dims; a view that is not one.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, space::Tile};
/// use stackphys::physics::ct::{Projector, RayTransform, Scan, View};
/// // a source 100 voxels away, and three detector columns just as far behind the object
/// let view = View::of_orbit(0.0, Some(100.0), 100.0, [0.0, 1.0], [1.0, 2.0], false);
/// let scan = Scan { views: vec![view], rows: None, columns: 3, voxel_size: 1.0, orbit: None };
/// let image = Tile::whole(&Shape::new([("y", 2), ("x", 3)]));
/// let fan = RayTransform::<f64>::new(&image, scan, Projector::Joseph).unwrap();
/// let mut y = [0.0; 3];
/// fan.forward(&[1.0; 6], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y[1], 2.0); // the middle ray runs down the middle column
/// ```
///
/// Source: see the files of the projectors, `joseph.rs` and `siddon.rs`.
pub struct RayTransform<S: Scalar> {
    domain: Shape,
    range: Shape,
    grid: Grid,
    scan: Scan,
    /// The detector rows of the range.
    rows: Selection,
    projector: Projector,
    #[cfg(target_arch = "x86_64")]
    columns: Option<Columns>,
    scalar: PhantomData<S>,
}

/// What is summed along the rays of a view.
pub(super) struct Pixels {
    pub rows: Selection,
    pub columns: usize,
}

impl Pixels {
    /// How many of a view.
    pub fn count(&self) -> usize {
        self.rows.count * self.columns
    }
}

impl<S: Scalar> RayTransform<S> {
    /// Projections of a part of a model, of neighbouring samples along each dim: those of the whole model where all outside of
    /// that part is zero.
    pub fn new(window: &Tile, scan: Scan, projector: Projector) -> Result<Self, Fault> {
        let rows = Selection::all(scan.rows.unwrap_or(1));
        Self::on_rows(window, scan, rows, projector)
    }

    /// The same for some rows of the detector.
    pub fn on_rows(window: &Tile, scan: Scan, rows: Selection, projector: Projector) -> Result<Self, Fault> {
        Self::with_instructions(window, scan, rows, projector, Instructions::detect())
    }

    /// The same on a certain instruction set, which this machine must have.
    pub fn with_instructions(
        window: &Tile,
        scan: Scan,
        rows: Selection,
        projector: Projector,
        instructions: Instructions,
    ) -> Result<Self, Fault> {
        let grid = Grid::of(window)?;
        if grid.flat != scan.rows.is_none() {
            let (model, rows) = (window.of(), scan.rows.map_or("one row".to_owned(), |rows| format!("{rows} rows")));
            return Err(Fault::new(format!("a scan of {rows} does not fit the model {model}"))
                .hint("an image (y, x) is seen by one row, a volume (z, y, x) by several"));
        }
        for (index, view) in scan.views.iter().enumerate() {
            view.check().map_err(|why| Fault::new(format!("view {index}: {why}")))?;
        }
        let angles = ("angle", scan.views.len());
        let range = match grid.flat {
            true => Shape::new([angles, ("column", scan.columns)]),
            false => Shape::new([angles, ("row", rows.count), ("column", scan.columns)]),
        };
        if !instructions.supported() {
            return Err(Fault::new(format!("instruction set: this machine does not have {instructions}")));
        }
        Ok(RayTransform {
            domain: window.shape(),
            range,
            grid,
            rows,
            projector,
            #[cfg(target_arch = "x86_64")]
            columns: (projector == Projector::Joseph && instructions != Instructions::Plain)
                .then(|| Columns::of(&grid, &scan, rows, instructions))
                .flatten(),
            scan,
            scalar: PhantomData,
        })
    }

    /// Whether whole detector columns are projected at once.
    pub fn by_columns(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.columns.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// What is known before it is built.
    pub fn needs(&self) -> Needs {
        let rays: f64 = (self.scan.views.len() * self.pixels().count()) as f64;
        let [x, y, z] = self.grid.sizes.map(|size| size as f64);
        // planes that a ray crosses, and the operations in each
        let (planes, each) = match (self.projector, self.grid.flat) {
            (Projector::Joseph, true) => (x.max(y), 10.0),
            (Projector::Joseph, false) => (x.max(y), if self.by_columns() { 8.0 } else { 30.0 }),
            (Projector::Siddon, true) => (x + y, 10.0),
            (Projector::Siddon, false) => (x + y + z, 15.0),
        };
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        #[cfg(target_arch = "x86_64")]
        let scratch = self.columns.as_ref().map_or(0, |columns| {
            columns.scratch::<S::Real>(&self.grid, &self.pixels(), self.scan.views.len()).into_iter().sum()
        });
        #[cfg(not(target_arch = "x86_64"))]
        let scratch = 0;
        Needs {
            bytes: (self.scan.views.len() * size_of::<View>()) as u64,
            scratch_bytes: (scratch * size_of::<S::Real>()) as u64,
            cost: rays * planes * each * f64::from(parts),
        }
    }

    fn pixels(&self) -> Pixels {
        Pixels { rows: self.rows, columns: self.scan.columns }
    }

    /// Calls `visit(place, weight)` for each voxel of a grid near the ray of a pixel.
    #[inline(always)]
    fn walk(&self, grid: &Grid, line: Line, visit: impl FnMut(usize, f64)) {
        let line = grid.line(line);
        match self.projector {
            Projector::Joseph => joseph::walk(grid, &line, visit),
            Projector::Siddon => siddon::walk(grid, &line, visit),
        }
    }

    /// Adds the projections of the rays of some views, one by one. Sums in f64.
    fn project(&self, views: Range<usize>, x: &[S], y: &mut [S]) {
        let (columns, scale) = (self.scan.columns, self.scan.voxel_size);
        let pixels = self.scan.views[views].iter().flat_map(|view| self.rows.iter().map(move |row| (view, row)));
        for ((view, row), y) in pixels.zip(y.chunks_mut(columns)) {
            for (column, y) in y.iter_mut().enumerate() {
                let (mut re, mut im) = (0.0, 0.0);
                self.walk(&self.grid, view.ray(row as f64, column as f64), |place, weight| {
                    re += weight * x[place].re();
                    if S::IS_COMPLEX {
                        im += weight * x[place].im();
                    }
                });
                *y += S::from_parts(scale * re, scale * im);
            }
        }
    }

    /// Adds what the rays of all views give back to a slab of the volume.
    fn back_project(&self, slab: &Grid, y: &[S], x: &mut [S]) {
        let (columns, scale) = (self.scan.columns, self.scan.voxel_size);
        let of_view = self.pixels().count();
        for (view, y) in self.scan.views.iter().zip(y.chunks(of_view)) {
            let seen = rows_that_see(view, slab, self.rows);
            for row in seen {
                for (column, y) in y[row * columns..][..columns].iter().enumerate() {
                    let line = view.ray((self.rows.start + row * self.rows.step) as f64, column as f64);
                    let y = y.scale(S::Real::from_f64(scale));
                    self.walk(slab, line, |place, weight| x[place] += y.scale(S::Real::from_f64(weight)));
                }
            }
        }
    }
}

/// The rows, counted among those that are selected, whose rays may pass a box of voxels.
fn rows_that_see(view: &View, grid: &Grid, rows: Selection) -> Range<usize> {
    if grid.flat {
        return 0..rows.count;
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for corner in grid.corners() {
        match view.shadow(corner) {
            Some(([row, _], _)) if !view.arc => (low, high) = (low.min(row), high.max(row)),
            _ => return 0..rows.count,
        }
    }
    let place = |row: f64| (row - rows.start as f64) / rows.step.max(1) as f64;
    let first = (place(low).floor().max(0.0) as usize).min(rows.count);
    first..(place(high).ceil() + 1.0).clamp(first as f64, rows.count as f64) as usize
}

impl<S: Scalar> LinearOperator<S> for RayTransform<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }

    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        y.fill(S::default());
        self.apply_forward_add(x, y, work)
    }

    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if x.is_empty() || y.is_empty() {
            return Ok(());
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(columns) = &self.columns {
            columns.project_add::<S>(&self.grid, &self.pixels(), x, y, work);
            return Ok(());
        }
        let _ = work;
        let views = self.scan.views.len();
        let threads = threads::count();
        if threads == 1 {
            self.project(0..views, x, y);
            return Ok(());
        }
        let each = threads::share(views, threads, 1);
        y.par_chunks_mut(each * self.pixels().count()).enumerate().for_each(|(part, y)| {
            let first = part * each;
            self.project(first..(first + each).min(views), x, y);
        });
        Ok(())
    }

    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }

    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if x.is_empty() || y.is_empty() {
            return Ok(());
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(columns) = &self.columns {
            columns.back_project_add::<S>(&self.grid, &self.pixels(), y, x, work);
            return Ok(());
        }
        let _ = work;
        let axis = self.grid.slowest();
        let size = self.grid.sizes[axis];
        let each = size.div_ceil(SLABS);
        let add = |(part, x): (usize, &mut [S])| {
            let first = part * each;
            self.back_project(&self.grid.slab(first, each.min(size - first)), y, x);
        };
        let slabs = each * self.grid.strides()[axis];
        match threads::count() {
            1 => x.chunks_mut(slabs).enumerate().for_each(add),
            _ => x.par_chunks_mut(slabs).enumerate().for_each(add),
        }
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure { non_negative: true, ..Structure::default() }
    }

    /// No dim of the volume is one of the detector.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new()
    }

    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        ["angle", "row"].contains(&dim)
    }

    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let views = ranges.get("angle").unwrap_or(0..self.scan.views.len());
        let scan = Scan { views: self.scan.views[views].to_vec(), ..self.scan.clone() };
        let Selection { start, step, count } = self.rows;
        let rows = match ranges.get("row") {
            Some(rows) => Selection { start: start + rows.start * step, step, count: rows.len() },
            None => Selection { start, step, count },
        };
        #[cfg(target_arch = "x86_64")]
        let columns = self.columns.as_ref().map(Columns::instructions);
        #[cfg(target_arch = "x86_64")]
        let columns = columns.and_then(|instructions| Columns::of(&self.grid, &scan, rows, instructions));
        Ok(Arc::new(RayTransform {
            domain: self.domain.clone(),
            range: ranges.shape(&self.range),
            grid: self.grid,
            scan,
            rows,
            projector: self.projector,
            #[cfg(target_arch = "x86_64")]
            columns,
            scalar: PhantomData,
        }))
    }
}

/// Whether all rays of a view lie in planes along z if they have the same column, and rows are evenly spaced along z.
pub(super) fn stands_along_z(view: &View) -> bool {
    let level = view.row[0] == 0.0 && view.row[1] == 0.0 && view.row[2] > 0.0 && view.column[2] == 0.0;
    level
        && match view.beam {
            Beam::Source(_) => true,
            Beam::Along(direction) => direction[2] == 0.0,
        }
}
