//! The rays of one column of a detector that stands along z, through a volume: the hot loops of cone-beam CT.
//!
//! Seen from above, all rays of a column are one line. Where it crosses a plane, it passes between two lines of voxels that
//! run along z. These two are mixed once for all rays of the column; along the mixed line the rays of the rows `n` stand
//! evenly spaced, at `z = start + slope·n`. So what is left of Joseph's four neighbours in a plane is an interpolation in one
//! dim, as in [`lanes`](super::lanes), with the positions in fixed-point numbers and pairs of registers as tables. The weight
//! of voxel z in the measurement of row n is `gain(n) · mix · max(0, 1 − |z − start − slope·n|)`, written for the adjoint as
//! `max(0, 1 − slope·|n − t|)` with `t = (z − start) / slope`.
//!
//! A position differs from the exact one by 16 · 2⁻²⁸ samples at most for `f32`, and by 8 · 2⁻⁵³ for `f64`.

use std::ops::Range;

use super::lanes::{Fixed, Lanes, WIDEST, lanes_that_fit, split};
use super::{Instructions, PAD, Padded};
use crate::scalar::{Real, Scalar};

/// Where the rays of one column cross the planes `p`: all of it affine in p.
#[derive(Debug, Clone, Copy)]
pub(in crate::physics) struct Crossings {
    /// Between which lines: value at plane 0 and change from plane to plane.
    pub line: [f64; 2],
    /// The z of row 0, likewise.
    pub start: [f64; 2],
    /// From row to row, likewise; positive.
    pub slope: [f64; 2],
}

/// What the rays of a column cross in one plane.
struct Crossing {
    /// The line below, counted from the line of zeros before the first.
    below: usize,
    /// How much of the line above.
    part: f64,
    start: f64,
    slope: f64,
}

impl Crossings {
    fn at(&self, plane: usize, lines: usize) -> Option<Crossing> {
        let at = |[value, change]: [f64; 2]| value + change * plane as f64;
        let place = at(self.line) + 1.0;
        let inside = 0.0 < place && place < lines as f64 + 1.0;
        let below = place.max(0.0) as usize;
        inside.then(|| Crossing { below, part: place - below as f64, start: at(self.start), slope: at(self.slope) })
    }
    /// The least and the largest slope in some planes.
    fn slopes(&self, planes: &Range<usize>) -> [f64; 2] {
        let [a, b] = [planes.start, planes.end.saturating_sub(1)].map(|p| self.slope[0] + self.slope[1] * p as f64);
        [a.min(b), a.max(b)]
    }
}

impl Crossing {
    /// The rows whose rays touch a line of `samples` voxels.
    fn rows(&self, samples: usize, rows: usize) -> Range<usize> {
        within([-1.0, samples as f64].map(|z| (z - self.start) / self.slope), rows)
    }
    /// The voxels of a line that the rays of some rows touch.
    fn voxels(&self, samples: usize, rows: usize) -> Range<usize> {
        within([self.start - 1.0, self.start + self.slope * (rows as f64 - 1.0) + 1.0], samples)
    }
}

/// The whole numbers below `count` between two bounds, a little generously.
fn within([low, high]: [f64; 2], count: usize) -> Range<usize> {
    let end = (high.ceil() + 1.0).clamp(0.0, count as f64) as usize;
    (low.floor().max(0.0) as usize).min(end)..end
}

/// Planes of padded lines along z, with a line of zeros before and after the lines of each plane.
pub(in crate::physics) fn band_len<R: Real>(planes: usize, lines: usize, samples: usize) -> usize {
    planes * (lines + 2) * Padded::<R>::stride(samples)
}
/// Room for the sums of a column: blocks write whole registers.
pub(in crate::physics) fn sums_len(rows: usize) -> usize {
    rows.next_multiple_of(WIDEST)
}

/// Adds to `sums[n]` what the rays of row n meet in some planes; without their gain.
pub(in crate::physics) struct ForwardColumn<'a, R> {
    pub crossings: &'a Crossings,
    /// See [`band_len`].
    pub band: &'a [R],
    /// Which planes these are.
    pub planes: Range<usize>,
    pub lines: usize,
    pub samples: usize,
    pub rows: usize,
    pub sums: &'a mut [R],
}

/// Adds to some planes what the rays of a column give back.
pub(in crate::physics) struct AdjointColumn<'a, R> {
    pub crossings: &'a Crossings,
    /// A padded line: of each row the measurement times its gain.
    pub measured: &'a [R],
    pub rows: usize,
    pub planes: Range<usize>,
    pub lines: usize,
    pub samples: usize,
    pub band: &'a mut [R],
}

impl<R: Real> ForwardColumn<'_, R> {
    /// Not for [`Instructions::Plain`]: there is a plain projector for all scans.
    pub fn run(self, instructions: Instructions) {
        match (instructions, R::NAME) {
            (Instructions::Avx512, "f32") => super::avx512::forward_column_f32(self.of()),
            (Instructions::Avx512, _) => super::avx512::forward_column_f64(self.of()),
            (_, "f32") => super::avx2::forward_column_f32(self.of()),
            _ => super::avx2::forward_column_f64(self.of()),
        }
    }
}
impl<'a, R: Real> ForwardColumn<'a, R> {
    fn of<To: Real>(self) -> ForwardColumn<'a, To> {
        let ForwardColumn { crossings, band, planes, lines, samples, rows, sums } = self;
        let (band, sums) = (super::cast(band), super::cast_mut(sums));
        ForwardColumn { crossings, band, planes, lines, samples, rows, sums }
    }
}

impl<R: Real> AdjointColumn<'_, R> {
    /// See [`ForwardColumn::run`].
    pub fn run(self, instructions: Instructions) {
        match (instructions, R::NAME) {
            (Instructions::Avx512, "f32") => super::avx512::adjoint_column_f32(self.of()),
            (Instructions::Avx512, _) => super::avx512::adjoint_column_f64(self.of()),
            (_, "f32") => super::avx2::adjoint_column_f32(self.of()),
            _ => super::avx2::adjoint_column_f64(self.of()),
        }
    }
}
impl<'a, R: Real> AdjointColumn<'a, R> {
    fn of<To: Real>(self) -> AdjointColumn<'a, To> {
        let AdjointColumn { crossings, measured, rows, planes, lines, samples, band } = self;
        let (measured, band) = (super::cast(measured), super::cast_mut(band));
        AdjointColumn { crossings, measured, rows, planes, lines, samples, band }
    }
}

/// Whether blocks of some lanes can follow such slopes at all; else the plain projector must do.
pub(in crate::physics) fn can_follow(slopes: [f64; 2]) -> bool {
    // the fewest lanes of all sets are 4: what one lane can reach there, it can everywhere
    slopes[0] > 0.0 && slopes[1].is_finite() && 2.0 + taps_of(slopes[0]) as f64 <= 7.0
}

/// The rows whose rays pass within one voxel of a voxel: an open interval of length 2/slope holds as many whole numbers.
fn taps_of(least_slope: f64) -> usize {
    (2.0 / least_slope).ceil().clamp(2.0, 1e6) as usize
}

/// The places of the lanes of a block, from a number that is the same in all: wrapping, since a block may be off the line.
#[inline(always)]
fn offsets<V: Lanes>(slope: f64) -> [V::Fixed; WIDEST] {
    let one = V::Fixed::from_samples(slope);
    std::array::from_fn(|lane| one.times(lane as u32))
}

/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn forward<V: Lanes>(column: ForwardColumn<'_, V::Number>) {
    const { assert!(V::LANES <= WIDEST && 2 * V::LANES <= PAD) };
    let ForwardColumn { crossings, band, planes, lines, samples, rows, sums } = column;
    let Some(lanes) = lanes_that_fit::<V>(crossings.slopes(&planes)[1], 2) else { return };
    let stride = Padded::<V::Number>::stride(samples);
    assert!(sums.len() >= sums_len(rows) && band.len() >= planes.len() * (lines + 2) * stride);
    let limit = (samples + PAD) as i32;
    for (place, plane) in planes.enumerate() {
        let Some(crossing) = crossings.at(plane, lines) else { continue };
        let touched = crossing.rows(samples, rows);
        let offsets = offsets::<V>(crossing.slope);
        let low_line = &band[(place * (lines + 2) + crossing.below) * stride..][..2 * stride];
        // SAFETY: `first` lies in 0..=samples + PAD, and 2·LANES ≤ PAD numbers from there lie inside either line, which ends
        // at samples + 2·PAD or later; `sums` has room for whole blocks of up to WIDEST numbers.
        unsafe {
            let offsets = V::load_fixed(offsets.as_ptr());
            let part = V::splat(V::Number::from_f64(crossing.part));
            let unit = V::splat(V::Number::from_f64(V::UNIT));
            let mut row = touched.start / lanes * lanes;
            while row < touched.end {
                let (whole, fraction) = split::<V::Fixed>(crossing.start + crossing.slope * row as f64);
                let first = (whole + PAD as i32).clamp(0, limit) as usize;
                let at = V::add_fixed(offsets, V::splat_fixed(fraction));
                let mixed = |from: usize| {
                    let below = V::load(low_line.as_ptr().add(from));
                    let above = V::load(low_line.as_ptr().add(stride + from));
                    V::mul_add(part, V::sub(above, below), below)
                };
                let (low, high) = (mixed(first), mixed(first + V::LANES));
                let place = V::places(at);
                let left = V::pick(low, high, place);
                let right = V::pick(low, high, V::next(place));
                let weight = V::fraction(at);
                let value =
                    V::mul_add(weight, V::mul_add(unit, V::sub(right, left), V::splat(V::Number::default())), left);
                let sum = sums.as_mut_ptr().add(row);
                if lanes == V::LANES {
                    V::store(sum, V::add(V::load(sum), value));
                } else {
                    let mut values = [V::Number::default(); WIDEST];
                    V::store(values.as_mut_ptr(), value);
                    for (sum, value) in sums[row..].iter_mut().zip(&values[..lanes]) {
                        *sum += *value;
                    }
                }
                row += lanes;
            }
        }
    }
}

/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn adjoint<V: Lanes>(column: AdjointColumn<'_, V::Number>) {
    const { assert!(V::LANES <= WIDEST && 2 * V::LANES <= PAD) };
    let AdjointColumn { crossings, measured, rows, planes, lines, samples, band } = column;
    let least = crossings.slopes(&planes)[0];
    let taps = taps_of(least);
    let Some(lanes) = lanes_that_fit::<V>(least.recip(), taps) else { return };
    let stride = Padded::<V::Number>::stride(samples);
    assert!(measured.len() >= rows + 2 * PAD && band.len() >= planes.len() * (lines + 2) * stride);
    let limit = (rows + PAD) as i32;
    for (place, plane) in planes.enumerate() {
        let Some(crossing) = crossings.at(plane, lines) else { continue };
        let touched = crossing.voxels(samples, rows);
        let per_voxel = crossing.slope.recip();
        let offsets = offsets::<V>(per_voxel);
        // The taps are the rows from the first above t − 1/slope on, found as ⌊t + shift⌋ with shift = 1 − 1/slope; with
        // two taps and slopes from 1 on ⌊t⌋ is that row, too.
        let shift = 1.0 - per_voxel.max(1.0);
        let pair = &mut band[(place * (lines + 2) + crossing.below) * stride..][..2 * stride];
        // SAFETY: `first` lies in 0..=rows + PAD, and 2·LANES ≤ PAD numbers from there lie inside `measured`; a block of the
        // lines begins inside of them, and LANES ≤ PAD numbers follow.
        unsafe {
            let offsets = V::load_fixed(offsets.as_ptr());
            let zero = V::splat(V::Number::default());
            let one = V::splat(V::Number::from_f64(1.0));
            let slope = V::splat(V::Number::from_f64(crossing.slope));
            let unit = V::splat(V::Number::from_f64(V::UNIT));
            let minus_shift = V::splat(V::Number::from_f64(-shift));
            let parts = [1.0 - crossing.part, crossing.part].map(|part| V::splat(V::Number::from_f64(part)));
            let mut voxel = touched.start / lanes * lanes;
            while voxel < touched.end {
                let (whole, fraction) = split::<V::Fixed>((voxel as f64 - crossing.start) * per_voxel + shift);
                let first = (whole + PAD as i32).clamp(0, limit) as usize;
                let at = V::add_fixed(offsets, V::splat_fixed(fraction));
                let low = V::load(measured.as_ptr().add(first));
                let high = V::load(measured.as_ptr().add(first + V::LANES));
                let mut place = V::places(at);
                let mut distance = V::mul_add(V::fraction(at), unit, minus_shift);
                let mut sum = zero;
                for _ in 0..taps {
                    let weight = V::max(V::neg_mul_add(V::abs(distance), slope, one), zero);
                    sum = V::mul_add(weight, V::pick(low, high, place), sum);
                    place = V::next(place);
                    distance = V::sub(distance, one);
                }
                for (line, part) in parts.into_iter().enumerate() {
                    let out = &mut pair[line * stride + PAD + voxel..];
                    if lanes == V::LANES {
                        V::store(out.as_mut_ptr(), V::mul_add(part, sum, V::load(out.as_ptr())));
                    } else {
                        let mut values = [V::Number::default(); WIDEST];
                        V::store(values.as_mut_ptr(), V::mul_add(part, sum, zero));
                        for (out, value) in out.iter_mut().zip(&values[..lanes]) {
                            *out += *value;
                        }
                    }
                }
                voxel += lanes;
            }
        }
    }
}
