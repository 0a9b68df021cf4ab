//! Joseph's projector on real slices: the hot loops of [`ParallelCt`](super::ParallelCt).
//!
//! A ray that is steeper than 45° steps through image rows, one sample per row, interpolated between two columns; a
//! flatter one steps through columns. "Line" below is a row or a column, whichever the ray steps through, and "sample" is
//! a place along it. For all rays of one angle the weight of pixel `(j, i)` in the measurement of detector column `k` is
//!
//! ```text
//! g · max(0, 1 − w·|k − t|)    t = (x cosθ + y sinθ) / spacing + center,   g = 1 / max(|cosθ|, |sinθ|),   w = g·spacing
//! ```
//!
//! where `t` is the detector coordinate of the pixel: a hat function, continuous everywhere. So the adjoint, gathered per
//! pixel, needs no case distinction at all, and no rounding of a position can move a weight by more than that rounding.
//!
//! **Positions** are affine along a line, along the detector, and from line to line. Each is computed in `f64`, once for
//! each line and once for each block of neighbours, split into an integer and a fraction, and the fraction goes on as a
//! fixed-point number (27 bits for `f32`, 52 for `f64`). Adding the parts is exact, the integer bits are the index into
//! two registers of neighbouring values, the rest is the interpolation weight.
//!
//! **Borders.** Images and sinograms are first copied into lines with `PAD` zeros on both sides. The place where a
//! block is loaded is clamped into the padded line, which changes nothing (it moves from zeros to zeros) and makes
//! every load lie inside the buffer whatever the geometry.
//!
//! **Order of sums.** A measurement is summed over bands of `BAND` lines in order, a pixel over chunks of `CHUNK`
//! angles in order. Neither depends on how the work is dealt to threads, so neither does any bit of the result.
//!
//! Source: P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging
//! 1(3), 1982.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::scalar::Real;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod columns;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod plain;

/// Zeros on each side of a padded line: as many as the widest pair of registers holds.
pub(super) const PAD: usize = 32;
/// Image lines that are padded (or transposed) at a time, and that the forward kernel visits for all angles of an operator
/// while they stay in the L2 cache. So no copy of the whole image is made.
pub(super) const BAND: usize = 32;
/// Angles that the adjoint kernel adds up in registers before it adds them to the image.
pub(super) const CHUNK: usize = 32;
/// Image rows that share a visit to the sinogram rows of a chunk.
const ROWS: usize = 32;

/// The instruction set that the kernels use, in rising order of speed.
///
/// Results differ between sets in the last bits, so ranks of one job agree on the lowest that all of them have.
///
/// ```
/// use stackphys::physics::joseph::Instructions;
/// let best = Instructions::detect();
/// assert!(best.supported() && Instructions::Plain.supported());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// Plain Rust on any machine: the reference for the others.
    Plain,
    /// x86-64 with AVX2 and FMA: 8 numbers of `f32`, 4 of `f64` at a time.
    Avx2,
    /// x86-64 with AVX-512 F and DQ: 16 numbers of `f32`, 8 of `f64` at a time.
    Avx512,
}

/// What [`Instructions::limit`] set; all sets are allowed at first.
static LIMIT: AtomicU8 = AtomicU8::new(Instructions::Avx512 as u8);

impl Instructions {
    /// All sets, in rising order.
    pub const ALL: [Instructions; 3] = [Instructions::Plain, Instructions::Avx2, Instructions::Avx512];

    /// Whether this machine has the set.
    pub fn supported(self) -> bool {
        match self {
            Instructions::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The highest set that this machine has and that [`limit`](Self::limit) allows. The processor is asked once.
    pub fn detect() -> Self {
        let limit = LIMIT.load(Ordering::Relaxed);
        let allowed = Self::ALL.into_iter().rev().filter(|set| *set as u8 <= limit);
        allowed.into_iter().find(|set| set.supported()).unwrap_or(Instructions::Plain)
    }

    /// Makes all operators of this process that are built from now on use no set above `highest`.
    ///
    /// For a job whose ranks run on unlike machines: each tells what it has, and all limit themselves to the lowest.
    ///
    /// ```
    /// use stackphys::physics::joseph::Instructions;
    /// Instructions::limit(Instructions::Plain);
    /// assert_eq!(Instructions::detect(), Instructions::Plain);
    /// # Instructions::limit(Instructions::Avx512);
    /// ```
    pub fn limit(highest: Self) {
        LIMIT.store(highest as u8, Ordering::Relaxed);
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instructions::Plain => "plain",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        })
    }
}

/// What an angle means for the loops: positions as affine functions, in `f64`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ray {
    /// Whether the rays step through image rows (else through columns).
    pub along_rows: bool,
    /// Where the ray of column 0 meets line 0, in samples.
    start: f64,
    /// How far that moves from one detector column to the next.
    per_column: f64,
    /// How far it moves from one line to the next: at most 1.
    per_line: f64,
    /// The detector coordinate of pixel (0, 0).
    corner: f64,
    /// How far that moves from one image row to the next.
    down: f64,
    /// How far it moves from one image column to the next.
    right: f64,
    /// `g`: the length of a ray between two lines.
    pub gain: f64,
    /// `w`: the distance between neighbouring rays on a line, in samples.
    pub width: f64,
}

impl Ray {
    /// The constants of one angle (radians) for an image of `rows` × `columns` and a detector whose column `center` sees
    /// the image centre.
    pub fn new(angle: f64, rows: usize, columns: usize, center: f64, spacing: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        let (middle_row, middle_column) = ((rows as f64 - 1.0) / 2.0, (columns as f64 - 1.0) / 2.0);
        let along_rows = sin.abs() <= cos.abs();
        let gain = if along_rows { cos.abs().recip() } else { sin.abs().recip() };
        // Row j lies at y = middle_row − j and column i at x = i − middle_column; the ray is x cosθ + y sinθ = (k − c)·h.
        let (start, per_column, per_line) = if along_rows {
            (middle_column - (center * spacing + middle_row * sin) / cos, spacing / cos, sin / cos)
        } else {
            (middle_row + (center * spacing - middle_column * cos) / sin, -spacing / sin, cos / sin)
        };
        let (down, right) = (-sin / spacing, cos / spacing);
        let corner = center - middle_row * down - middle_column * right;
        let width = gain * spacing;
        Ray { along_rows, start, per_column, per_line, corner, down, right, gain, width }
    }

    /// The same rays for the part of the image that begins at a row and a column.
    pub fn seen_from(self, row: usize, column: usize) -> Self {
        let (row, column) = (row as f64, column as f64);
        let (lines, samples) = if self.along_rows { (row, column) } else { (column, row) };
        Ray {
            start: self.start + self.per_line * lines - samples,
            corner: self.corner + self.down * row + self.right * column,
            ..self
        }
    }

    /// The columns whose rays touch a line of `samples` pixels anywhere in the band of lines, at most `count`.
    fn columns_over(&self, lines: &Range<usize>, samples: usize, count: usize) -> Range<usize> {
        let last = lines.end.saturating_sub(1);
        let [a, b] = [lines.start, last].map(|line| self.start + self.per_line * line as f64);
        let edges = [-1.0 - a, -1.0 - b, samples as f64 - a, samples as f64 - b].map(|gap| gap / self.per_column);
        let low = edges.into_iter().fold(f64::INFINITY, f64::min).floor().max(0.0) as usize;
        let high = edges.into_iter().fold(-1.0, f64::max).ceil() + 1.0;
        low.min(count)..(high as usize).clamp(low.min(count), count)
    }
}

/// Lines of numbers with [`PAD`] zeros on both sides.
#[derive(Clone, Copy)]
pub(super) struct Padded<'a, R> {
    values: &'a [R],
    samples: usize,
}

impl<'a, R: Real> Padded<'a, R> {
    /// The distance from one padded line to the next: an odd number of cache lines, because neighbouring lines a power
    /// of two apart would fight for the same few places of the cache.
    pub fn stride(samples: usize) -> usize {
        let cache_line = 64 / size_of::<R>();
        ((samples + 2 * PAD).div_ceil(cache_line) | 1) * cache_line
    }
    /// How many numbers padded lines take.
    pub fn len(lines: usize, samples: usize) -> usize {
        lines * Self::stride(samples)
    }
    /// Padded lines that [`pad`], [`pad_transposed`] or a forward projection filled.
    pub fn new(values: &'a [R], lines: usize, samples: usize) -> Self {
        assert_eq!(values.len(), Self::len(lines, samples));
        Padded { values, samples }
    }
    /// The numbers of one line, without its zeros.
    fn line(&self, line: usize) -> &'a [R] {
        &self.values[line * Self::stride(self.samples) + PAD..][..self.samples]
    }
    /// The same with one zero on each side.
    fn line_between_zeros(&self, line: usize) -> &'a [R] {
        &self.values[line * Self::stride(self.samples) + PAD - 1..][..self.samples + 2]
    }
}

/// Which numbers of a buffer make one image or one sinogram: `at(line, sample) = first + line·lines + sample·step`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Where sample 0 of line 0 is.
    pub first: usize,
    /// From one line to the next.
    pub lines: usize,
    /// From one sample to the next: 1, or 2 for a part of complex numbers.
    pub step: usize,
}

/// Copies lines into a padded buffer and writes its zeros.
pub(super) fn pad<R: Real>(from: &[R], layout: Layout, samples: usize, to: &mut [R]) {
    for (line, padded) in to.chunks_exact_mut(Padded::<R>::stride(samples)).enumerate() {
        let from = &from[layout.first + line * layout.lines..];
        padded[..PAD].fill(R::default());
        padded[PAD + samples..].fill(R::default());
        let inner = &mut padded[PAD..PAD + samples];
        if layout.step == 1 {
            inner.copy_from_slice(&from[..samples]);
        } else {
            for (to, from) in inner.iter_mut().zip(from.iter().step_by(layout.step)) {
                *to = *from;
            }
        }
    }
}

/// Like [`pad`], with rows and columns of the `lines` × `samples` image exchanged.
pub(super) fn pad_transposed<R: Real>(from: &[R], layout: Layout, lines: usize, samples: usize, to: &mut [R]) {
    /// A cache line of `f32`: tiles of this size are read and written in whole cache lines.
    const TILE: usize = 16;
    let stride = Padded::<R>::stride(lines);
    for padded in to.chunks_exact_mut(stride) {
        padded[..PAD].fill(R::default());
        padded[PAD + lines..].fill(R::default());
    }
    for first_line in (0..lines).step_by(TILE) {
        let height = TILE.min(lines - first_line);
        for first_sample in (0..samples).step_by(TILE) {
            let width = TILE.min(samples - first_sample);
            let at = layout.first + first_line * layout.lines + first_sample * layout.step;
            if layout.step == 1 && height == TILE && width == TILE {
                let mut tile = [[R::default(); TILE]; TILE];
                for (line, row) in tile.iter_mut().enumerate() {
                    row.copy_from_slice(&from[at + line * layout.lines..][..TILE]);
                }
                for sample in 0..TILE {
                    let column: [R; TILE] = std::array::from_fn(|line| tile[line][sample]);
                    to[(first_sample + sample) * stride + PAD + first_line..][..TILE].copy_from_slice(&column);
                }
            } else {
                for sample in 0..width {
                    for line in 0..height {
                        to[(first_sample + sample) * stride + PAD + first_line + line] =
                            from[at + line * layout.lines + sample * layout.step];
                    }
                }
            }
        }
    }
}

/// `out[first·step], out[(first+1)·step], … += gain · values`, as far as `out` goes.
#[inline(always)]
fn add_scaled<R: Real>(out: &mut [R], step: usize, first: usize, values: &[R], gain: R) {
    if step == 1 {
        for (sum, value) in out[first..].iter_mut().zip(values) {
            *sum += gain * *value;
        }
    } else {
        for (sum, value) in out[first * step..].iter_mut().step_by(step).zip(values) {
            *sum += gain * *value;
        }
    }
}

/// The same memory as another type of number. The caller has compared the types; a wrong one panics, it reads nothing.
#[cfg(target_arch = "x86_64")]
fn cast<From: Real, To: Real>(values: &[From]) -> &[To] {
    debug_assert_eq!(From::NAME, To::NAME);
    bytemuck::cast_slice(values)
}

/// See [`cast`].
#[cfg(target_arch = "x86_64")]
fn cast_mut<From: Real, To: Real>(values: &mut [From]) -> &mut [To] {
    debug_assert_eq!(From::NAME, To::NAME);
    bytemuck::cast_slice_mut(values)
}

/// Adds the projection of one band of lines at one angle to `out`, whose `columns` measurements lie `step` apart.
struct ForwardBand<'a, R> {
    ray: &'a Ray,
    /// The lines of the band alone.
    image: Padded<'a, R>,
    /// Which lines of the image they are.
    lines: Range<usize>,
    columns: usize,
    out: &'a mut [R],
    step: usize,
}

/// Adds the back-projection of one chunk of angles to a few image rows.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // the plain kernel finds its taps without help
struct AdjointChunk<'a, R> {
    rays: &'a [Ray],
    /// One line for each ray.
    sinogram: Padded<'a, R>,
    /// The rows of the image that `out` starts with.
    rows: Range<usize>,
    /// Pixels in a row.
    columns: usize,
    /// How many detector columns see one pixel at most.
    taps: usize,
    /// The steepest slope of a detector coordinate along an image row, over all angles of the operator.
    steepest: f64,
    out: &'a mut [R],
    layout: Layout,
}

impl<R: Real> ForwardBand<'_, R> {
    fn run(self, instructions: Instructions) {
        #[cfg(target_arch = "x86_64")]
        if instructions != Instructions::Plain {
            // All sets of x86-64 share their source; what differs is the type that names the registers.
            return match (instructions, R::NAME) {
                (Instructions::Avx512, "f32") => avx512::forward_f32(self.of()),
                (Instructions::Avx512, _) => avx512::forward_f64(self.of()),
                (_, "f32") => avx2::forward_f32(self.of()),
                _ => avx2::forward_f64(self.of()),
            };
        }
        let _ = instructions;
        plain::forward(self);
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a, R: Real> ForwardBand<'a, R> {
    fn of<To: Real>(self) -> ForwardBand<'a, To> {
        let ForwardBand { ray, image, lines, columns, out, step } = self;
        let image = Padded { values: cast(image.values), samples: image.samples };
        ForwardBand { ray, image, lines, columns, out: cast_mut(out), step }
    }
}

impl<R: Real> AdjointChunk<'_, R> {
    fn run(self, instructions: Instructions) {
        #[cfg(target_arch = "x86_64")]
        if instructions != Instructions::Plain {
            return match (instructions, R::NAME) {
                (Instructions::Avx512, "f32") => avx512::adjoint_f32(self.of()),
                (Instructions::Avx512, _) => avx512::adjoint_f64(self.of()),
                (_, "f32") => avx2::adjoint_f32(self.of()),
                _ => avx2::adjoint_f64(self.of()),
            };
        }
        let _ = instructions;
        plain::adjoint(self);
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a, R: Real> AdjointChunk<'a, R> {
    fn of<To: Real>(self) -> AdjointChunk<'a, To> {
        let AdjointChunk { rays, sinogram, rows, columns, taps, steepest, out, layout } = self;
        let sinogram = Padded { values: cast(sinogram.values), samples: sinogram.samples };
        AdjointChunk { rays, sinogram, rows, columns, taps, steepest, out: cast_mut(out), layout }
    }
}

/// Adds the projection of one band of lines, at those of the given angles whose rays step along such lines.
///
/// `band` holds the padded lines `lines` of the image, or of its transpose; `out` one line for each angle.
pub(super) fn forward_add<R: Real>(
    instructions: Instructions,
    rays: &[Ray],
    along_rows: bool,
    (band, lines): (Padded<'_, R>, Range<usize>),
    columns: usize,
    out: &mut [R],
    layout: Layout,
) {
    for (angle, ray) in rays.iter().enumerate().filter(|(_, ray)| ray.along_rows == along_rows) {
        let out = &mut out[layout.first + angle * layout.lines..][..(columns - 1) * layout.step + 1];
        ForwardBand { ray, image: band, lines: lines.clone(), columns, out, step: layout.step }.run(instructions);
    }
}

/// Adds the back-projection of a padded sinogram, one line for each angle, to some rows of an image.
///
/// `out` starts at the row `rows.start` of an image of `columns` columns.
pub(super) fn adjoint_add<R: Real>(
    instructions: Instructions,
    rays: &[Ray],
    sinogram: Padded<'_, R>,
    rows: Range<usize>,
    columns: usize,
    out: &mut [R],
    layout: Layout,
) {
    // An open interval of length 2/w holds at most ⌈2/w⌉ whole numbers.
    let narrowest = rays.iter().map(|ray| ray.width).fold(f64::INFINITY, f64::min);
    let taps = ((2.0 / narrowest).ceil().max(2.0)) as usize;
    let steepest = rays.iter().map(|ray| ray.right.abs()).fold(0.0, f64::max);
    let stride = Padded::<R>::stride(sinogram.samples);
    for first in (0..rays.len()).step_by(CHUNK) {
        let count = CHUNK.min(rays.len() - first);
        let part = Padded::new(&sinogram.values[first * stride..][..count * stride], count, sinogram.samples);
        for row in rows.clone().step_by(ROWS) {
            let from = (row - rows.start) * layout.lines;
            AdjointChunk {
                rays: &rays[first..][..count],
                sinogram: part,
                rows: row..(row + ROWS).min(rows.end),
                columns,
                taps,
                steepest,
                out: &mut out[from..],
                layout,
            }
            .run(instructions);
        }
    }
}
