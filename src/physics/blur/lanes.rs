//! The inner loop of a [`Pass`](super::pass::Pass): a row of output as a weighted sum of shifted rows, in the registers of
//! the machine.
//!
//! Written with `pulp`'s registers by name, not as loops over arrays: the compiler turns such loops into code as fast as
//! this, or up to twenty times slower, by how long the arrays are. On one core of a 2.6 GHz Zen 4, 31 weights along one dim
//! of 1024² `f32` take 1.0 ms so, 2.5 ms without wider instructions than every x86-64 has; two loads and two additions
//! each cycle, which is the limit, would be 0.8 ms.

use pulp::Simd;

use crate::scalar::Real;

/// Registers of output that are summed at once: with the weight and a pair of neighbours they fit into the 16 of AVX2.
const REGISTERS: usize = 8;

/// The names that `pulp` has for a type of numbers.
pub(in crate::physics) trait Lanes: Real {
    /// A register of them.
    type Register<V: Simd>: Copy;
    /// As many registers as fill, and the rest.
    fn registers<V: Simd>(values: &[Self]) -> (&[Self::Register<V>], &[Self]);
    /// The same, to be changed.
    fn registers_mut<V: Simd>(values: &mut [Self]) -> (&mut [Self::Register<V>], &mut [Self]);
    /// One number in all lanes.
    fn splat<V: Simd>(simd: V, value: Self) -> Self::Register<V>;
    /// a + b.
    fn plus<V: Simd>(simd: V, a: Self::Register<V>, b: Self::Register<V>) -> Self::Register<V>;
    /// a·b.
    fn times<V: Simd>(simd: V, a: Self::Register<V>, b: Self::Register<V>) -> Self::Register<V>;
}

macro_rules! lanes {
    ($number:ty, $register:ident, $registers:ident, $registers_mut:ident, $splat:ident, $add:ident, $mul:ident) => {
        impl Lanes for $number {
            type Register<V: Simd> = V::$register;
            #[inline(always)]
            fn registers<V: Simd>(values: &[Self]) -> (&[V::$register], &[Self]) {
                V::$registers(values)
            }
            #[inline(always)]
            fn registers_mut<V: Simd>(values: &mut [Self]) -> (&mut [V::$register], &mut [Self]) {
                V::$registers_mut(values)
            }
            #[inline(always)]
            fn splat<V: Simd>(simd: V, value: Self) -> V::$register {
                simd.$splat(value)
            }
            #[inline(always)]
            fn plus<V: Simd>(simd: V, a: V::$register, b: V::$register) -> V::$register {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn times<V: Simd>(simd: V, a: V::$register, b: V::$register) -> V::$register {
                simd.$mul(a, b)
            }
        }
    };
}
lanes!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, add_f32s, mul_f32s);
lanes!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, add_f64s, mul_f64s);

/// Rows of output from the rows of a tile: `out[i] ← w_0 t[r·s + i] + Σ_k w_k (t[(r − k)·s + i] + t[(r + k)·s + i])` with
/// the weights `w_0` to `w_r`.
pub(super) struct Correlate<'a, R> {
    pub weights: &'a [R],
    /// `s`: the distance of neighbours in the tile.
    pub step: usize,
    /// Rows of `length` numbers, with the neighbours of the first and the last.
    pub tile: &'a [R],
    /// Rows of `length` numbers, one `every` so many.
    pub out: &'a mut [R],
    pub length: usize,
    pub every: usize,
    /// Whether to add to what `out` holds.
    pub add: bool,
}

impl<R: Real> Correlate<'_, R> {
    /// With the widest registers that this machine has. The sum goes over k in order, whatever these are: the same bits on
    /// all machines.
    pub fn run(self) {
        match R::NAME {
            "f32" => pulp::Arch::new().dispatch(self.of::<f32>()),
            _ => pulp::Arch::new().dispatch(self.of::<f64>()),
        }
    }
}

impl<'a, R: Real> Correlate<'a, R> {
    /// The same with the name of the type that `R` is.
    fn of<To: Real>(self) -> Correlate<'a, To> {
        let Correlate { weights, step, tile, out, length, every, add } = self;
        let (weights, tile) = (bytemuck::cast_slice(weights), bytemuck::cast_slice(tile));
        Correlate { weights, step, tile, out: bytemuck::cast_slice_mut(out), length, every, add }
    }
}

impl<R: Lanes> pulp::WithSimd for Correlate<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Correlate { weights, step, tile, out, length, every, add } = self;
        for (row, out) in out.chunks_mut(every).enumerate() {
            correlate(simd, weights, step, &tile[row * length..], &mut out[..length], add);
        }
    }
}

#[inline(always)]
fn correlate<V: Simd, R: Lanes>(simd: V, weights: &[R], step: usize, tile: &[R], out: &mut [R], add: bool) {
    let lanes = size_of::<R::Register<V>>() / size_of::<R>();
    let (full, rest) = R::registers_mut::<V>(out);
    let (blocks, single) = full.as_chunks_mut::<REGISTERS>();
    let mut at = 0;
    for out in blocks {
        block::<V, R, REGISTERS>(simd, weights, step, &tile[at..], out, add);
        at += REGISTERS * lanes;
    }
    for out in single {
        block::<V, R, 1>(simd, weights, step, &tile[at..], std::array::from_mut(out), add);
        at += lanes;
    }
    for out in R::registers_mut::<pulp::Scalar>(rest).0 {
        block::<pulp::Scalar, R, 1>(pulp::Scalar, weights, step, &tile[at..], std::array::from_mut(out), add);
        at += 1;
    }
}

#[inline(always)]
fn block<V: Simd, R: Lanes, const N: usize>(
    simd: V,
    weights: &[R],
    step: usize,
    tile: &[R],
    out: &mut [R::Register<V>; N],
    add: bool,
) {
    let radius = weights.len() - 1;
    let length = N * size_of::<R::Register<V>>() / size_of::<R>();
    let row = |at: usize| R::registers::<V>(&tile[at * step..][..length]).0;
    let (weight, middle) = (R::splat(simd, weights[0]), row(radius));
    let mut sum = [weight; N];
    for n in 0..N {
        sum[n] = R::times(simd, weight, middle[n]);
    }
    for (k, weight) in weights.iter().enumerate().skip(1) {
        let (weight, left, right) = (R::splat(simd, *weight), row(radius - k), row(radius + k));
        for n in 0..N {
            sum[n] = R::plus(simd, sum[n], R::times(simd, weight, R::plus(simd, left[n], right[n])));
        }
    }
    for n in 0..N {
        out[n] = if add { R::plus(simd, out[n], sum[n]) } else { sum[n] };
    }
}

/// A row of output from shifted rows: `out[i] ← Σ_k w_k from[i + offset_k]`, for any weights.
pub(in crate::physics) struct Taps<'a, R> {
    pub weights: &'a [R],
    /// As many as weights.
    pub offsets: &'a [usize],
    pub from: &'a [R],
    pub out: &'a mut [R],
    /// Whether to add to what `out` holds.
    pub add: bool,
}

impl<R: Real> Taps<'_, R> {
    /// With the widest registers that this machine has; the sum goes over k in order, whatever these are.
    pub fn run(self) {
        match R::NAME {
            "f32" => pulp::Arch::new().dispatch(self.of::<f32>()),
            _ => pulp::Arch::new().dispatch(self.of::<f64>()),
        }
    }
}

impl<'a, R: Real> Taps<'a, R> {
    /// The same with the name of the type that `R` is.
    fn of<To: Real>(self) -> Taps<'a, To> {
        let Taps { weights, offsets, from, out, add } = self;
        let (weights, from) = (bytemuck::cast_slice(weights), bytemuck::cast_slice(from));
        Taps { weights, offsets, from, out: bytemuck::cast_slice_mut(out), add }
    }
}

impl<R: Lanes> pulp::WithSimd for Taps<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Taps { weights, offsets, from, out, add } = self;
        let lanes = size_of::<R::Register<V>>() / size_of::<R>();
        let (full, rest) = R::registers_mut::<V>(out);
        let (blocks, single) = full.as_chunks_mut::<REGISTERS>();
        let mut at = 0;
        for out in blocks {
            shifted::<V, R, REGISTERS>(simd, weights, offsets, &from[at..], out, add);
            at += REGISTERS * lanes;
        }
        for out in single {
            shifted::<V, R, 1>(simd, weights, offsets, &from[at..], std::array::from_mut(out), add);
            at += lanes;
        }
        for out in R::registers_mut::<pulp::Scalar>(rest).0 {
            shifted::<pulp::Scalar, R, 1>(pulp::Scalar, weights, offsets, &from[at..], std::array::from_mut(out), add);
            at += 1;
        }
    }
}

#[inline(always)]
fn shifted<V: Simd, R: Lanes, const N: usize>(
    simd: V,
    weights: &[R],
    offsets: &[usize],
    from: &[R],
    out: &mut [R::Register<V>; N],
    add: bool,
) {
    let length = N * size_of::<R::Register<V>>() / size_of::<R>();
    let mut sum = [R::splat(simd, R::default()); N];
    for (weight, offset) in weights.iter().zip(offsets) {
        let (weight, row) = (R::splat(simd, *weight), R::registers::<V>(&from[*offset..][..length]).0);
        for n in 0..N {
            sum[n] = R::plus(simd, sum[n], R::times(simd, weight, row[n]));
        }
    }
    for n in 0..N {
        out[n] = if add { R::plus(simd, out[n], sum[n]) } else { sum[n] };
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;

    /// What it computes, number by number, in the same order.
    fn plain<R: Real>(weights: &[R], step: usize, tile: &[R], i: usize) -> R {
        let middle = i + (weights.len() - 1) * step;
        let mut sum = weights[0] * tile[middle];
        for (k, weight) in weights.iter().enumerate().skip(1) {
            sum += *weight * (tile[middle - k * step] + tile[middle + k * step]);
        }
        sum
    }

    fn number<R: Real>(i: usize) -> R {
        R::from_f64((i as f64 * 0.618_034).fract() - 0.4)
    }

    /// Rows of some lengths, some apart, with what is between them.
    fn all_registers_give_the_same_bits<R: Lanes>() {
        for (radius, step) in [(0, 1), (1, 1), (2, 3), (15, 1), (7, 2), (3, 64)] {
            let weights: Vec<R> = (0..=radius).map(|k| R::from_f64(1.0 / (k + 1) as f64)).collect();
            for length in [1, 2, 7, 8, 15, 16, 31, 64, 67, 130, 203] {
                let (rows, every) = (3, length + length % 5);
                let tile: Vec<R> = (0..rows * length + 2 * radius * step).map(number).collect();
                let before: Vec<R> = (0..rows * every).map(|i| number(7 * i + 1)).collect();
                for add in [false, true] {
                    let run = |how: &dyn Fn(Correlate<R>)| {
                        let mut out = before.clone();
                        how(Correlate { weights: &weights, step, tile: &tile, out: &mut out, length, every, add });
                        out
                    };
                    let widest = run(&|correlate| correlate.run());
                    for (at, got) in widest.iter().enumerate() {
                        let (row, column) = (at / every, at % every);
                        let sum = || plain(&weights, step, &tile, row * length + column);
                        let want = match (column < length, add) {
                            (false, _) => before[at],
                            (true, false) => sum(),
                            (true, true) => before[at] + sum(),
                        };
                        assert!(*got == want, "{} {radius} {step} {length} {add}: {at}", R::NAME);
                    }
                    assert!(run(&|correlate| correlate.with_simd(pulp::Scalar)) == widest);
                }
            }
        }
    }

    fn shifted_sums_have_the_same_bits<R: Lanes>() {
        let weights: Vec<R> = [0.3, -1.7, 0.01, 2.0].map(R::from_f64).to_vec();
        let offsets = [0, 3, 64, 65];
        for length in [1, 2, 7, 8, 31, 64, 67, 203] {
            let from: Vec<R> = (0..length + 65).map(number).collect();
            for add in [false, true] {
                let before: Vec<R> = (0..length).map(|i| number(7 * i + 1)).collect();
                let [mut widest, mut single] = [before.clone(), before.clone()];
                Taps { weights: &weights, offsets: &offsets, from: &from, out: &mut widest, add }.run();
                let taps = Taps { weights: &weights, offsets: &offsets, from: &from, out: &mut single, add };
                taps.with_simd(pulp::Scalar);
                for (i, got) in widest.iter().enumerate() {
                    let mut sum = R::default();
                    for (weight, offset) in weights.iter().zip(offsets) {
                        sum += *weight * from[i + offset];
                    }
                    let want = if add { before[i] + sum } else { sum };
                    assert!(*got == want, "{} {length} {add}: {i}", R::NAME);
                }
                assert!(widest == single);
            }
        }
    }

    #[test]
    fn all_registers_give_the_same_bits_as_plain_loops() {
        shifted_sums_have_the_same_bits::<f32>();
        shifted_sums_have_the_same_bits::<f64>();
        all_registers_give_the_same_bits::<f32>();
        all_registers_give_the_same_bits::<f64>();
    }
}
