//! The inner loops: what the neighbours of a point on the fine grid add up to, and what a point adds to its neighbours.
//!
//! A row of neighbours is one to eight registers of parts (re, im, re, im, …), so the weights along the fastest dim stand
//! twice in theirs. Those of the other dims are spread over all lanes. A tile of the grid is small enough for the fast
//! caches.

use num_complex::Complex;
use pulp::{Simd, WithSimd};

use super::kernel::{LANES, WIDEST};
use crate::physics::blur::lanes::Lanes;
use crate::physics::joseph::Instructions;
use crate::scalar::Real;

/// Registers of a row that are summed at once: more do not fit into the 16 of AVX2 beside what else is needed.
const REGISTERS: usize = 8;

/// The names that `pulp` has for complex numbers in registers, and for products with sums.
pub(super) trait Fused: Lanes {
    /// a·b + c.
    fn fused<V: Simd>(simd: V, a: Self::Register<V>, b: Self::Register<V>, c: Self::Register<V>) -> Self::Register<V>;
    /// One complex number in all pairs of lanes.
    fn pair<V: Simd>(simd: V, value: Complex<Self>) -> Self::Register<V>;
    /// The sum of all pairs of lanes.
    fn sum_of_pairs<V: Simd>(simd: V, pairs: Self::Register<V>) -> Complex<Self>;
}

macro_rules! fused {
    ($number:ty, $register:ident, $pairs:ident, $mul_add:ident, $splat:ident, $sum:ident) => {
        impl Fused for $number {
            #[inline(always)]
            fn fused<V: Simd>(simd: V, a: V::$register, b: V::$register, c: V::$register) -> V::$register {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn pair<V: Simd>(simd: V, value: Complex<Self>) -> V::$register {
                bytemuck::cast(simd.$splat(value))
            }
            #[inline(always)]
            fn sum_of_pairs<V: Simd>(simd: V, pairs: V::$register) -> Complex<Self> {
                simd.$sum(bytemuck::cast(pairs))
            }
        }
    };
}
fused!(f32, f32s, c32s, mul_add_f32s, splat_c32s, reduce_sum_c32s);
fused!(f64, f64s, c64s, mul_add_f64s, splat_c64s, reduce_sum_c64s);

/// Points of one tile of the grid, and where their neighbours lie in it.
#[derive(Clone, Copy)]
pub(super) struct Points<'a, R> {
    /// Neighbours along each dim, and their [`Taps`](super::kernel::Taps).
    pub width: usize,
    pub single: &'a [R],
    pub double: &'a [R],
    /// How many of the dims there are.
    pub dims: usize,
    /// The first neighbour of each point, in complex numbers of the tile.
    pub cells: &'a [u32],
    /// Where each point lies after it, from −1 to 1 for each dim.
    pub places: &'a [R],
    /// Complex numbers of the tile from one plane to the next, and from one row to the next.
    pub steps: [usize; 2],
}

impl<R: Real> Points<'_, R> {
    /// Planes and rows of neighbours.
    fn around(&self) -> [usize; 2] {
        [if self.dims > 2 { self.width } else { 1 }, if self.dims > 1 { self.width } else { 1 }]
    }
    fn place(&self, point: usize, dim: usize) -> R {
        self.places[point * self.dims + dim]
    }
}

/// `out[j] = Σ` over the neighbours of point j of what the tile holds there, times their weights.
pub(super) fn interpolate<R: Real>(
    instructions: Instructions,
    points: Points<'_, R>,
    tile: &[Complex<R>],
    out: &mut [Complex<R>],
) {
    match R::NAME {
        "f32" => run(
            instructions,
            Interpolate::<f32> { points: of(points), tile: parts(tile), out: bytemuck::cast_slice_mut(out) },
        ),
        _ => run(
            instructions,
            Interpolate::<f64> { points: of(points), tile: parts(tile), out: bytemuck::cast_slice_mut(out) },
        ),
    }
}

/// Adds `values[j]` times their weights to the neighbours of point j.
pub(super) fn spread<R: Real>(
    instructions: Instructions,
    points: Points<'_, R>,
    values: &[Complex<R>],
    tile: &mut [Complex<R>],
) {
    match R::NAME {
        "f32" => run(
            instructions,
            Spread::<f32> {
                points: of(points),
                values: bytemuck::cast_slice(values),
                tile: bytemuck::cast_slice_mut(tile),
            },
        ),
        _ => run(
            instructions,
            Spread::<f64> {
                points: of(points),
                values: bytemuck::cast_slice(values),
                tile: bytemuck::cast_slice_mut(tile),
            },
        ),
    }
}

/// Numbers of the type `R` by the name of the type that they have.
fn parts<From: Real, To: Real>(values: &[Complex<From>]) -> &[To] {
    bytemuck::cast_slice(values)
}

fn of<'a, From: Real, To: Real>(points: Points<'a, From>) -> Points<'a, To> {
    let Points { width, single, double, dims, cells, places, steps } = points;
    let [single, double, places] = [single, double, places].map(bytemuck::cast_slice);
    Points { width, single, double, dims, cells, places, steps }
}

/// Something that there is in plain Rust, too.
trait Plain {
    fn plain(self);
}

fn run<T: Plain + WithSimd<Output = ()>>(instructions: Instructions, what: T) {
    #[cfg(target_arch = "x86_64")]
    if instructions >= Instructions::Avx2
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, what);
    }
    let _ = instructions;
    what.plain();
}

struct Interpolate<'a, R> {
    points: Points<'a, R>,
    tile: &'a [R],
    out: &'a mut [Complex<R>],
}

struct Spread<'a, R> {
    points: Points<'a, R>,
    values: &'a [Complex<R>],
    tile: &'a mut [R],
}

/// Calls a function with the constant that a number is, from 1 to [`REGISTERS`].
macro_rules! with_constant {
    ($number:expr, $function:ident::<$v:ident, $r:ident>($($argument:expr),*)) => {
        match $number {
            1 => $function::<$v, $r, 1>($($argument),*),
            2 => $function::<$v, $r, 2>($($argument),*),
            3 => $function::<$v, $r, 3>($($argument),*),
            4 => $function::<$v, $r, 4>($($argument),*),
            5 => $function::<$v, $r, 5>($($argument),*),
            6 => $function::<$v, $r, 6>($($argument),*),
            7 => $function::<$v, $r, 7>($($argument),*),
            _ => $function::<$v, $r, REGISTERS>($($argument),*),
        }
    };
}

impl<R: Fused> WithSimd for Interpolate<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let lanes = size_of::<R::Register<V>>() / size_of::<R>();
        with_constant!((2 * self.points.width).div_ceil(lanes), interpolate_with::<V, R>(simd, self));
    }
}

impl<R: Fused> WithSimd for Spread<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let lanes = size_of::<R::Register<V>>() / size_of::<R>();
        with_constant!((2 * self.points.width).div_ceil(lanes), spread_with::<V, R>(simd, self));
    }
}

#[inline(always)]
fn interpolate_with<V: Simd, R: Fused, const N: usize>(simd: V, task: Interpolate<R>) {
    let Interpolate { points, tile, out } = task;
    let length = N * size_of::<R::Register<V>>() / size_of::<R>();
    let [planes, rows] = points.around();
    let [plane, row] = points.steps.map(|step| 2 * step);
    let (mut in_z, mut in_y) = ([R::from_f64(1.0); WIDEST], [R::from_f64(1.0); WIDEST]);
    for (point, out) in out.iter_mut().enumerate() {
        outer_weights(simd, &points, point, &mut in_z, &mut in_y);
        let first = 2 * points.cells[point] as usize;
        let mut sums = [R::splat(simd, R::default()); N];
        for (z, in_z) in in_z[..planes].iter().enumerate() {
            for (y, in_y) in in_y[..rows].iter().enumerate() {
                let weight = R::splat(simd, *in_z * *in_y);
                let neighbours = R::registers::<V>(&tile[first + z * plane + y * row..][..length]).0;
                for n in 0..N {
                    sums[n] = R::fused(simd, weight, neighbours[n], sums[n]);
                }
            }
        }
        let in_x = inner_weights::<V, R, N>(simd, &points, point);
        let mut sum = R::times(simd, in_x[0], sums[0]);
        for n in 1..N {
            sum = R::fused(simd, in_x[n], sums[n], sum);
        }
        *out = R::sum_of_pairs(simd, sum);
    }
}

#[inline(always)]
fn spread_with<V: Simd, R: Fused, const N: usize>(simd: V, task: Spread<R>) {
    let Spread { points, values, tile } = task;
    let length = N * size_of::<R::Register<V>>() / size_of::<R>();
    let [planes, rows] = points.around();
    let [plane, row] = points.steps.map(|step| 2 * step);
    let (mut in_z, mut in_y) = ([R::from_f64(1.0); WIDEST], [R::from_f64(1.0); WIDEST]);
    for (point, value) in values.iter().enumerate() {
        outer_weights(simd, &points, point, &mut in_z, &mut in_y);
        let first = 2 * points.cells[point] as usize;
        let value = R::pair(simd, *value);
        let mut along = inner_weights::<V, R, N>(simd, &points, point);
        for along in &mut along {
            *along = R::times(simd, *along, value);
        }
        for (z, in_z) in in_z[..planes].iter().enumerate() {
            for (y, in_y) in in_y[..rows].iter().enumerate() {
                let weight = R::splat(simd, *in_z * *in_y);
                let neighbours = R::registers_mut::<V>(&mut tile[first + z * plane + y * row..][..length]).0;
                for n in 0..N {
                    neighbours[n] = R::fused(simd, weight, along[n], neighbours[n]);
                }
            }
        }
    }
}

/// Weights along the fastest dim, each twice.
#[inline(always)]
fn inner_weights<V: Simd, R: Fused, const N: usize>(simd: V, points: &Points<R>, point: usize) -> [R::Register<V>; N] {
    let length = N * size_of::<R::Register<V>>() / size_of::<R>();
    let place = R::splat(simd, points.place(point, points.dims - 1));
    let mut rows = points.double.chunks_exact((2 * points.width).next_multiple_of(LANES));
    let mut weights = [R::splat(simd, R::default()); N];
    if let Some(highest) = rows.next() {
        let row = R::registers::<V>(&highest[..length]).0;
        weights[..N].copy_from_slice(&row[..N]);
    }
    for row in rows {
        let row = R::registers::<V>(&row[..length]).0;
        for n in 0..N {
            weights[n] = R::fused(simd, weights[n], place, row[n]);
        }
    }
    weights
}

/// Weights along the other dims; those of a dim that there is not stay 1.
#[inline(always)]
fn outer_weights<V: Simd, R: Fused>(
    simd: V,
    points: &Points<R>,
    point: usize,
    in_z: &mut [R; WIDEST],
    in_y: &mut [R; WIDEST],
) {
    let lanes = size_of::<R::Register<V>>() / size_of::<R>();
    let along = |dim: usize, weights: &mut [R; WIDEST]| {
        let place = R::splat(simd, points.place(point, dim));
        let used = points.width.div_ceil(lanes);
        for (at, weights) in R::registers_mut::<V>(weights).0.iter_mut().take(used).enumerate() {
            let mut rows = points.single.chunks_exact(points.width.next_multiple_of(LANES));
            let register = |row: &[R]| R::registers::<V>(&row[at * lanes..][..lanes]).0[0];
            let mut value = rows.next().map_or(R::splat(simd, R::default()), register);
            for row in rows {
                value = R::fused(simd, value, place, register(row));
            }
            *weights = value;
        }
    };
    if points.dims > 1 {
        along(points.dims - 2, in_y);
    }
    if points.dims > 2 {
        along(0, in_z);
    }
}

impl<R: Real> Points<'_, R> {
    /// The weights along a dim in plain Rust.
    fn weights(&self, point: usize, dim: usize) -> [R; WIDEST] {
        let mut weights = [R::default(); WIDEST];
        let place = self.place(point, dim);
        for row in self.single.chunks_exact(self.width.next_multiple_of(LANES)) {
            for (weight, coefficient) in weights.iter_mut().zip(row) {
                *weight = *weight * place + *coefficient;
            }
        }
        weights
    }

    /// Calls `each` with the place in the tile and the weight of each neighbour, in plain Rust.
    fn neighbours(&self, point: usize, mut each: impl FnMut(usize, R)) {
        let one = [R::from_f64(1.0); WIDEST];
        let [planes, rows] = self.around();
        let in_x = self.weights(point, self.dims - 1);
        let in_y = if self.dims > 1 { self.weights(point, self.dims - 2) } else { one };
        let in_z = if self.dims > 2 { self.weights(point, 0) } else { one };
        for (z, in_z) in in_z[..planes].iter().enumerate() {
            for (y, in_y) in in_y[..rows].iter().enumerate() {
                let first = self.cells[point] as usize + z * self.steps[0] + y * self.steps[1];
                for (x, in_x) in in_x[..self.width].iter().enumerate() {
                    each(first + x, *in_z * *in_y * *in_x);
                }
            }
        }
    }
}

impl<R: Fused> Plain for Interpolate<'_, R> {
    fn plain(self) {
        for (point, out) in self.out.iter_mut().enumerate() {
            let (mut re, mut im) = (R::default(), R::default());
            self.points.neighbours(point, |at, weight| {
                re += weight * self.tile[2 * at];
                im += weight * self.tile[2 * at + 1];
            });
            *out = Complex::new(re, im);
        }
    }
}

impl<R: Fused> Plain for Spread<'_, R> {
    fn plain(self) {
        for (point, value) in self.values.iter().enumerate() {
            self.points.neighbours(point, |at, weight| {
                self.tile[2 * at] += weight * value.re;
                self.tile[2 * at + 1] += weight * value.im;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Kernel;
    use super::*;
    use crate::random::Stream;

    fn random<R: Real>(len: usize, stream: u64) -> Vec<Complex<R>> {
        let stream = Stream::new(3, stream);
        let pair = |k: usize| stream.normal_pair(k as u64);
        (0..len).map(|k| Complex::new(R::from_f64(pair(k).0), R::from_f64(pair(k).1))).collect()
    }

    #[test]
    fn registers_give_what_plain_loops_do() {
        fn check<R: Fused>(limit: f64) {
            for width in 2..=WIDEST {
                let taps = Kernel::of_width(width, 2.0).taps::<R>();
                for dims in 1..=3 {
                    let steps = [40 * 40, 40];
                    let tile = random::<R>([40, 1600, 64_000][dims - 1], 1);
                    let count = 9;
                    let stream = Stream::new(4, 1);
                    let cell = |k: usize| {
                        (0..dims).fold(0, |cell, dim| 40 * cell + (stream.uniform((3 * k + dim) as u64) * 15.0) as u32)
                    };
                    let cells: Vec<u32> = (0..count).map(cell).collect();
                    let places: Vec<R> =
                        (0..count * dims).map(|k| R::from_f64(2.0 * stream.uniform(1000 + k as u64) - 1.0)).collect();
                    let (single, double) = (&taps.single, &taps.double);
                    let points = Points { width, single, double, dims, cells: &cells, places: &places, steps };
                    let values = random::<R>(count, 2);
                    let both = [Instructions::detect(), Instructions::Plain].map(|instructions| {
                        let mut out = values.clone();
                        interpolate(instructions, points, &tile, &mut out);
                        let mut spread_to = tile.clone();
                        spread(instructions, points, &values, &mut spread_to);
                        out.extend(spread_to);
                        out
                    });
                    let worst =
                        both[0].iter().zip(&both[1]).map(|(a, b)| (a.re - b.re).re().abs() + (a.im - b.im).re().abs());
                    let worst = worst.fold(0.0, f64::max);
                    assert!(
                        worst < limit * (width as f64).powi(dims as i32 - 1),
                        "{} {width} {dims}: {worst:e}",
                        R::NAME
                    );
                }
            }
        }
        check::<f32>(3e-6);
        check::<f64>(5e-15);
    }
}
