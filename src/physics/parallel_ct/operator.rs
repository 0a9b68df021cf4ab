//! The projector: planes of an image or volume, padded band by band and shared among threads.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::geometry::{Detector, ImageSize, View, check};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work};
use crate::physics::joseph::{self, BAND, Instructions, Layout, PAD, Padded, Ray};
use crate::physics::threads;
use crate::scalar::{Real, Scalar};
use crate::space::{Ranges, Shape, Tile};

/// The numbers in each scratch buffer: a padded band of lines, and the padded sinogram of one slice.
pub(super) fn scratch<R: Real>(rays: &[Ray], size: ImageSize, columns: usize) -> [usize; 2] {
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
    pub(super) scratch: [usize; 2],
    instructions: Instructions,
    scalar: std::marker::PhantomData<S>,
}

impl<S: Scalar> ParallelCt<S> {
    /// Projections of a model (y, x) or (z, y, x) at angles in radians.
    pub fn new(model: &Shape, angles: &[f64], detector: Detector) -> Result<Self, Fault> {
        Self::on_window(&Tile::whole(model), angles, detector)
    }

    /// Projections of a part of a model, of neighbouring samples along each dim: those of the whole model where all
    /// outside of that part is zero. So the projections of the parts of a model add up to those of the whole.
    pub fn on_window(window: &Tile, angles: &[f64], detector: Detector) -> Result<Self, Fault> {
        let view = View::of(window)?;
        let size = view.size;
        // A part of a stack may be left without angles; a scan may not, which `ParallelCtParams` sees to.
        if !angles.is_empty() {
            check(angles, "angles", detector)?;
        }
        let rays = view.rays(angles, detector);
        Ok(ParallelCt {
            domain: window.shape(),
            range: size.range(angles.len(), detector.columns),
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
        y.fill(S::default());
        self.apply_forward_add(x, y, work)
    }

    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let mut band = work.take::<S::Real>("ct band", self.scratch[0]);
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

    /// Each slice of a volume is seen by one detector row.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        self.size.slices.map(|_| ["z".to_owned(), "row".to_owned()]).into_iter().collect()
    }

    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        dim == "angle" || (self.size.slices.is_some() && ["z", "row"].contains(&dim))
    }

    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let rays = self.rays[ranges.get("angle").unwrap_or(0..self.rays.len())].to_vec();
        let slices = self.size.slices.map(|all| ranges.get("row").map_or(all, |rows| rows.len()));
        let size = ImageSize { slices, ..self.size };
        Ok(Arc::new(ParallelCt {
            domain: ranges.shape(&self.domain),
            range: ranges.shape(&self.range),
            size,
            columns: self.columns,
            scratch: scratch::<S::Real>(&rays, size, self.columns),
            rays,
            instructions: self.instructions,
            scalar: std::marker::PhantomData,
        }))
    }
}
