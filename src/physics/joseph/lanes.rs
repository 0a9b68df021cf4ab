//! The kernels for wide registers, written once over [`Lanes`]: a type that names one instruction set and one number type.
//!
//! A block is up to `LANES` neighbours (rays in the forward direction, pixels in the adjoint one). Their positions lie
//! within `2·LANES` samples of each other, so two loads fetch every sample that the block can need, and permutations of
//! the two registers take the place of a gather. Where neighbours lie too far apart (a detector spacing above about 1.9),
//! blocks use only half of their lanes, or a quarter, …; the lanes left over compute numbers that are not stored.

use super::{AdjointChunk, BAND, CHUNK, ForwardBand, PAD, Padded, ROWS, add_scaled, plain};
use crate::scalar::{Real, Scalar};

/// The widest registers hold this many lanes.
pub(super) const WIDEST: usize = 16;
/// Blocks that the forward kernel handles at once: they share what belongs to the line.
const FORWARD_BLOCKS: usize = 2;
/// Blocks that the adjoint kernel handles at once, at most: their sums stay in registers over a chunk of angles.
const ADJOINT_BLOCKS: usize = 4;
/// Room for the two fractions, of the line and of the block, that add up to a position: each is below 1.
const FRACTIONS: f64 = 2.0;

/// An unsigned fixed-point number, one for each lane: a position within a block.
pub(super) trait Fixed: Copy + Default {
    /// From a number of samples, not negative.
    fn from_samples(samples: f64) -> Self;
    /// So many times the number; what overflows is dropped.
    fn times(self, count: u32) -> Self;
}
impl Fixed for u32 {
    #[inline(always)]
    fn from_samples(samples: f64) -> Self {
        // Through a signed 64-bit number: one instruction, where a saturating unsigned conversion takes several.
        (samples * (1u64 << 27) as f64 + 0.5) as i64 as u32
    }
    #[inline(always)]
    fn times(self, count: u32) -> Self {
        self.wrapping_mul(count)
    }
}
impl Fixed for u64 {
    #[inline(always)]
    fn from_samples(samples: f64) -> Self {
        (samples * (1u64 << 52) as f64 + 0.5) as i64 as u64
    }
    #[inline(always)]
    fn times(self, count: u32) -> Self {
        self.wrapping_mul(u64::from(count))
    }
}

/// One instruction set for one number type.
///
/// # Safety
/// Callers of any method must run on a machine that has the instruction set, inside a function that enables it;
/// `load`, `load_fixed` and `store` need `LANES` valid numbers behind the pointer, aligned as single numbers are.
pub(super) trait Lanes {
    type Number: Real;
    type Fixed: Fixed;
    type Vector: Copy;
    /// A register of fixed-point positions.
    type Positions: Copy;
    /// What `pick` wants: for each lane, the place of a value in two registers.
    type Places: Copy;
    /// Values in a register.
    const LANES: usize;
    /// The unit of what `fraction` returns.
    const UNIT: f64;

    unsafe fn splat(value: Self::Number) -> Self::Vector;
    unsafe fn load(from: *const Self::Number) -> Self::Vector;
    unsafe fn store(to: *mut Self::Number, value: Self::Vector);
    unsafe fn splat_fixed(value: Self::Fixed) -> Self::Positions;
    unsafe fn load_fixed(from: *const Self::Fixed) -> Self::Positions;
    unsafe fn add_fixed(a: Self::Positions, b: Self::Positions) -> Self::Positions;
    /// The integer part of positions.
    unsafe fn places(at: Self::Positions) -> Self::Places;
    /// The next places.
    unsafe fn next(places: Self::Places) -> Self::Places;
    /// The values at the given places of the table `low, high`.
    unsafe fn pick(low: Self::Vector, high: Self::Vector, places: Self::Places) -> Self::Vector;
    /// The fraction of positions, in units of `UNIT`.
    unsafe fn fraction(at: Self::Positions) -> Self::Vector;
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn abs(a: Self::Vector) -> Self::Vector;
    /// `a·b + c`.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `c − a·b`.
    unsafe fn neg_mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// A position as a whole number of samples and a fraction.
#[inline(always)]
pub(super) fn split<F: Fixed>(position: f64) -> (i32, F) {
    // Far outside is outside: this keeps absurd geometries within the integers.
    let position = position.clamp(-5e8, 5e8);
    let whole = position.floor();
    (whole as i32, F::from_samples(position - whole))
}

/// The largest number of lanes, a power of two, whose samples fit into two registers together with `taps` for each lane.
#[inline(always)]
pub(super) fn lanes_that_fit<V: Lanes>(slope: f64, taps: usize) -> Option<usize> {
    let fits =
        |lanes: usize| (lanes - 1) as f64 * slope.abs() + FRACTIONS + (taps - 1) as f64 <= (2 * V::LANES) as f64 - 0.5;
    let mut lanes = V::LANES;
    while !fits(lanes) {
        lanes /= 2;
        if lanes == 0 {
            return None;
        }
    }
    Some(lanes)
}

/// The places of the lanes of a block relative to the leftmost, and the place of the leftmost relative to lane 0.
#[inline(always)]
fn lane_offsets<V: Lanes>(slope: f64, lanes: usize) -> ([V::Fixed; WIDEST], f64) {
    let leftmost = ((lanes - 1) as f64 * slope).min(0.0);
    let mut offsets = [V::Fixed::default(); WIDEST];
    for (lane, offset) in offsets[..lanes].iter_mut().enumerate() {
        *offset = V::Fixed::from_samples(lane as f64 * slope - leftmost);
    }
    (offsets, leftmost)
}

/// Where the band's lines begin for the ray of column 0.
struct LineTable<F> {
    start: [i32; BAND],
    fraction: [F; BAND],
}

/// See [`plain::forward`] for what it computes.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn forward<V: Lanes>(band: ForwardBand<'_, V::Number>) {
    let ForwardBand { ray, image, lines, columns, out, step } = band;
    let range = ray.columns_over(&lines, image.samples, columns);
    let Some(lanes) = lanes_that_fit::<V>(ray.per_column, 2) else {
        return plain::forward(ForwardBand { ray, image, lines, columns, out, step });
    };
    let (offsets, leftmost) = lane_offsets::<V>(ray.per_column, lanes);

    let mut table = LineTable { start: [0; BAND], fraction: [V::Fixed::default(); BAND] };
    let count = lines.len();
    for (r, line) in lines.clone().enumerate() {
        let position = ray.start + ray.per_line * line as f64;
        (table.start[r], table.fraction[r]) = split(position);
    }

    let stride = Padded::<V::Number>::stride(image.samples);
    let values = &image.values[..count * stride];
    let gain = V::Number::from_f64(ray.gain);
    let mut column = range.start;
    while column < range.end {
        let block = |u: usize| split::<V::Fixed>(ray.per_column * (column + u * lanes) as f64 + leftmost);
        let mut sums = [V::Number::default(); FORWARD_BLOCKS * WIDEST];
        let left = range.end - column;
        if left > lanes {
            // SAFETY: the caller's promise; the kernel checks `values` itself.
            unsafe {
                let blocks: [_; FORWARD_BLOCKS] = std::array::from_fn(block);
                forward_blocks::<V, FORWARD_BLOCKS>(
                    values,
                    stride,
                    image.samples,
                    count,
                    &table,
                    &offsets,
                    blocks,
                    &mut sums,
                );
            }
            for u in 0..FORWARD_BLOCKS {
                let used = lanes.min(left.saturating_sub(u * lanes));
                if used > 0 {
                    add_scaled(out, step, column + u * lanes, &sums[u * V::LANES..][..used], gain);
                }
            }
            column += FORWARD_BLOCKS * lanes;
        } else {
            // SAFETY: as above.
            unsafe {
                forward_blocks::<V, 1>(values, stride, image.samples, count, &table, &offsets, [block(0)], &mut sums)
            };
            add_scaled(out, step, column, &sums[..left], gain);
            column += lanes;
        }
    }
}

/// The sums over a band of lines for `U` blocks of rays; block `u` is written to `sums[u·LANES..]`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
#[allow(clippy::too_many_arguments)] // a loop body with a name
unsafe fn forward_blocks<V: Lanes, const U: usize>(
    values: &[V::Number],
    stride: usize,
    samples: usize,
    count: usize,
    table: &LineTable<V::Fixed>,
    offsets: &[V::Fixed; WIDEST],
    blocks: [(i32, V::Fixed); U],
    sums: &mut [V::Number; FORWARD_BLOCKS * WIDEST],
) {
    const { assert!(U <= FORWARD_BLOCKS && V::LANES <= WIDEST && 2 * V::LANES <= PAD) };
    let limit = (samples + PAD) as i32;
    assert!(stride >= samples + 2 * PAD && values.len() >= count * stride && count <= BAND);
    // SAFETY: `first` lies in 0..=samples + PAD, and 2·LANES ≤ PAD numbers from there lie inside the line, which ends at
    // samples + 2·PAD or later; `offsets` and `sums` have WIDEST ≥ LANES numbers for each block.
    unsafe {
        let offsets = V::load_fixed(offsets.as_ptr());
        let places = blocks.map(|(_, fraction)| V::add_fixed(offsets, V::splat_fixed(fraction)));
        let zero = V::splat(V::Number::default());
        let (mut level, mut slope) = ([zero; U], [zero; U]);
        let mut line = values.as_ptr();
        for r in 0..count {
            let fraction = V::splat_fixed(*table.fraction.get_unchecked(r));
            for u in 0..U {
                let first = (table.start.get_unchecked(r) + blocks[u].0 + PAD as i32).clamp(0, limit) as usize;
                let at = V::add_fixed(places[u], fraction);
                let (low, high) = (V::load(line.add(first)), V::load(line.add(first + V::LANES)));
                let place = V::places(at);
                let left = V::pick(low, high, place);
                let right = V::pick(low, high, V::next(place));
                level[u] = V::add(level[u], left);
                slope[u] = V::mul_add(V::fraction(at), V::sub(right, left), slope[u]);
            }
            line = line.wrapping_add(stride);
        }
        let unit = V::splat(V::Number::from_f64(V::UNIT));
        for u in 0..U {
            V::store(sums.as_mut_ptr().add(u * V::LANES), V::mul_add(slope[u], unit, level[u]));
        }
    }
}

/// What the adjoint kernel knows of each angle of a chunk, of each row, and of each block of pixels.
struct AngleTable<N, F> {
    /// The weight at distance 0; its fall with the distance, in units of the fraction; and see `adjoint_blocks`.
    weights: [[N; 3]; CHUNK],
    offsets: [[F; WIDEST]; CHUNK],
    leftmost: [f64; CHUNK],
    row_start: [[i32; CHUNK]; ROWS],
    row_fraction: [[F; CHUNK]; ROWS],
    block_start: [[i32; ADJOINT_BLOCKS]; CHUNK],
    block_fraction: [[F; ADJOINT_BLOCKS]; CHUNK],
}

/// See [`plain::adjoint`] for what it computes. `U` blocks are handled at once.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn adjoint<V: Lanes, const U: usize>(chunk: AdjointChunk<'_, V::Number>) {
    let Some(lanes) = lanes_that_fit::<V>(chunk.steepest, chunk.taps) else {
        return plain::adjoint(chunk);
    };
    let AdjointChunk { rays, sinogram, rows, columns, taps, out, layout, .. } = chunk;
    let wide = rays.iter().all(|ray| ray.width >= 1.0);

    let mut table = AngleTable {
        weights: [[V::Number::default(); 3]; CHUNK],
        offsets: [[V::Fixed::default(); WIDEST]; CHUNK],
        leftmost: [0.0; CHUNK],
        row_start: [[0; CHUNK]; ROWS],
        row_fraction: [[V::Fixed::default(); CHUNK]; ROWS],
        block_start: [[0; ADJOINT_BLOCKS]; CHUNK],
        block_fraction: [[V::Fixed::default(); ADJOINT_BLOCKS]; CHUNK],
    };
    for (angle, ray) in rays.iter().enumerate() {
        (table.offsets[angle], table.leftmost[angle]) = lane_offsets::<V>(ray.right, lanes);
        let fall = ray.gain * ray.width;
        // Rays at least one sample apart: the taps are the columns ⌊t⌋ and ⌊t⌋ + 1. Else: all from the first above t − 1/w,
        // found as ⌊t + shift⌋ with shift = 1 − 1/w.
        let (shift, weights) = if wide {
            (0.0, [ray.gain, fall * V::UNIT, ray.gain - fall])
        } else {
            let shift = 1.0 - ray.width.recip();
            (shift, [ray.gain, fall, shift])
        };
        table.weights[angle] = weights.map(V::Number::from_f64);
        for (r, row) in rows.clone().enumerate() {
            let position = ray.corner + shift + ray.down * row as f64;
            (table.row_start[r][angle], table.row_fraction[r][angle]) = split(position);
        }
    }

    let mut column = 0;
    while column < columns {
        let blocks = if columns - column > lanes { U } else { 1 };
        for (angle, ray) in rays.iter().enumerate() {
            for u in 0..blocks {
                let position = ray.right * (column + u * lanes) as f64 + table.leftmost[angle];
                (table.block_start[angle][u], table.block_fraction[angle][u]) = split(position);
            }
        }
        for r in 0..rows.len() {
            let mut sums = [V::Number::default(); ADJOINT_BLOCKS * WIDEST];
            // SAFETY: the caller's promise; the kernel checks the sinogram itself.
            unsafe {
                match (wide, blocks) {
                    (true, 1) => adjoint_blocks::<V, 1, true>(&sinogram, rays.len(), taps, &table, r, &mut sums),
                    (true, _) => adjoint_blocks::<V, U, true>(&sinogram, rays.len(), taps, &table, r, &mut sums),
                    (false, 1) => adjoint_blocks::<V, 1, false>(&sinogram, rays.len(), taps, &table, r, &mut sums),
                    (false, _) => adjoint_blocks::<V, U, false>(&sinogram, rays.len(), taps, &table, r, &mut sums),
                }
            }
            let out = &mut out[layout.first + r * layout.lines..][..(columns - 1) * layout.step + 1];
            for u in 0..blocks {
                let first = column + u * lanes;
                let used = lanes.min(columns.saturating_sub(first));
                if used > 0 {
                    add_scaled(out, layout.step, first, &sums[u * V::LANES..][..used], V::Number::from_f64(1.0));
                }
            }
        }
        column += blocks * lanes;
    }
}

/// The sums over a chunk of angles for `U` blocks of pixels of one row; block `u` is written to `sums[u·LANES..]`.
///
/// `WIDE`: all rays lie at least one sample apart, so with f the fraction of t the two weights are
/// max(0, g − g·w·f) and max(0, (g − g·w) + g·w·f). Else there are `taps` of them, max(0, g − g·w·|f − (m + shift)|).
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn adjoint_blocks<V: Lanes, const U: usize, const WIDE: bool>(
    sinogram: &Padded<'_, V::Number>,
    angles: usize,
    taps: usize,
    table: &AngleTable<V::Number, V::Fixed>,
    r: usize,
    sums: &mut [V::Number; ADJOINT_BLOCKS * WIDEST],
) {
    const { assert!(U <= ADJOINT_BLOCKS && V::LANES <= WIDEST && 2 * V::LANES <= PAD) };
    let stride = Padded::<V::Number>::stride(sinogram.samples);
    let limit = (sinogram.samples + PAD) as i32;
    assert!(angles <= CHUNK && r < ROWS && sinogram.values.len() >= angles * stride);
    let (row_start, row_fraction) = (&table.row_start[r], &table.row_fraction[r]);
    // SAFETY: `first` lies in 0..=samples + PAD, and 2·LANES ≤ PAD numbers from there lie inside the line, which ends at
    // samples + 2·PAD or later; the tables have CHUNK entries and `sums` has WIDEST ≥ LANES numbers for each block.
    unsafe {
        let zero = V::splat(V::Number::default());
        let mut sum = [zero; U];
        let mut line = sinogram.values.as_ptr();
        for angle in 0..angles {
            let row = V::splat_fixed(*row_fraction.get_unchecked(angle));
            let row = V::add_fixed(V::load_fixed(table.offsets.get_unchecked(angle).as_ptr()), row);
            let [gain, fall, third] = *table.weights.get_unchecked(angle);
            let (gain, fall) = (V::splat(gain), V::splat(fall));
            for (u, sum) in sum.iter_mut().enumerate() {
                let first = row_start.get_unchecked(angle) + table.block_start.get_unchecked(angle).get_unchecked(u);
                let first = (first + PAD as i32).clamp(0, limit) as usize;
                let at = V::add_fixed(row, V::splat_fixed(*table.block_fraction.get_unchecked(angle).get_unchecked(u)));
                let (low, high) = (V::load(line.add(first)), V::load(line.add(first + V::LANES)));
                let mut place = V::places(at);
                let fraction = V::fraction(at);
                if WIDE {
                    let weight = V::max(V::neg_mul_add(fraction, fall, gain), zero);
                    *sum = V::mul_add(weight, V::pick(low, high, place), *sum);
                    let weight = V::max(V::mul_add(fraction, fall, V::splat(third)), zero);
                    *sum = V::mul_add(weight, V::pick(low, high, V::next(place)), *sum);
                } else {
                    let unit = V::splat(V::Number::from_f64(V::UNIT));
                    let mut distance = V::mul_add(fraction, unit, V::sub(zero, V::splat(third)));
                    for _ in 0..taps {
                        let weight = V::max(V::neg_mul_add(V::abs(distance), fall, gain), zero);
                        *sum = V::mul_add(weight, V::pick(low, high, place), *sum);
                        place = V::next(place);
                        distance = V::sub(distance, V::splat(V::Number::from_f64(1.0)));
                    }
                }
            }
            line = line.wrapping_add(stride);
        }
        for (u, sum) in sum.into_iter().enumerate() {
            V::store(sums.as_mut_ptr().add(u * V::LANES), sum);
        }
    }
}
