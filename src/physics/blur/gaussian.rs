//! Gaussian blur with periodic edges.
//!
//! A Gaussian is the product of one along each dim, so the blur is one pass along each dim. A pass of a few dozen
//! neighbours takes less time than a Fourier transform, and knows no grid size that is slow.

use std::marker::PhantomData;

use super::Padding;
use super::pass::Pass;
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, Structure, Work};
use crate::scalar::{Real, Scalar};
use crate::space::Shape;
use crate::threads;

/// The kernel ends where this many standard deviations do, if nobody says otherwise: less than 1e-4 of a Gaussian lies
/// farther out.
const REACH: f64 = 4.0;
/// The largest half width of a kernel: beyond any image.
const LARGEST_RADIUS: usize = 1 << 20;

/// How far a kernel reaches.
pub(super) fn gaussian_reach(sigma: f64, radius: Option<usize>) -> usize {
    if sigma == 0.0 { 0 } else { radius.unwrap_or((REACH * sigma).ceil() as usize) }
}

/// `y[i] = Σ_j k[j] x[i − j]` with a Gaussian `k[j] ∝ exp(−½ Σ_d (j_d/σ_d)²)` that sums to 1, periodic at the edges.
///
/// The kernel is symmetric, so the adjoint is the same blur. It may be larger than the model: it then goes round the
/// circle, more than once if need be. Complex vectors are blurred part by part.
///
/// Shapes: the model's dims on both sides, any number of them. Collective: no. Cost: one pass for each dim with σ > 0, three
/// operations for each pair of neighbours; the adjoint the same. Memory: the kernel; scratch for one vector (two if three
/// dims or more are blurred) and some 100 KB for each task of a thread. Threads: those of the rayon pool in which it is
/// called; the result is the same bit for bit whatever their number and the instruction set. Faults when built: a number
/// of σ that is not that of the dims, a negative or infinite σ, a radius above 2²⁰.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Blur, Padding}};
/// let line = Shape::new([("x", 5)]);
/// let blur = Blur::<f64>::gaussian(&line, &[0.8], Some(1), Padding::Circular).unwrap();
/// let mut y = [0.0; 5];
/// blur.forward(&[1.0, 0.0, 0.0, 0.0, 0.0], &mut y, &mut Work::default()).unwrap();
/// let beside = (-0.5 / 0.64_f64).exp();
/// let whole = 1.0 + 2.0 * beside;
/// assert_eq!(y, [1.0 / whole, beside / whole, 0.0, 0.0, beside / whole]);
/// ```
pub struct Blur<S: Scalar> {
    pub(super) shape: Shape,
    /// Along the dims with σ > 0, the last first.
    pub(super) passes: Vec<Pass<S::Real>>,
    scalar: PhantomData<S>,
}

impl<S: Scalar> Blur<S> {
    /// A Gaussian blur of a model, with a σ in pixels for each of its dims, and kernels of 2·radius + 1 pixels: by default
    /// ⌈4σ⌉.
    pub fn gaussian(model: &Shape, sigmas: &[f64], radius: Option<usize>, padding: Padding) -> Result<Self, Fault> {
        if padding != Padding::Circular {
            return Err(Fault::new("this blur has periodic edges only").hint("see `Convolution` for other paddings"));
        }
        check(model, sigmas, radius)?;
        let sizes = model.sizes();
        let around = |dims: &[usize]| -> usize { dims.iter().product() };
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let mut passes = Vec::new();
        for axis in (0..sizes.len()).rev().filter(|axis| sigmas[*axis] > 0.0 && model.len() > 0) {
            let radius = gaussian_reach(sigmas[axis], radius);
            // A weight below ε² is lost beside the others even if its pixel is 1/ε times as bright as theirs.
            let least = S::Real::EPSILON.powi(2);
            let weights = in_a_circle(&gaussian(sigmas[axis], radius), sizes[axis], least);
            let sizes = [around(&sizes[..axis]), sizes[axis], around(&sizes[axis + 1..]) * parts];
            passes.push(Pass::new(sizes, &weights));
        }
        Ok(Blur { shape: model.clone(), passes, scalar: PhantomData })
    }

    /// The numbers of scratch on so many threads: what the first passes made, twice, and tiles.
    pub(super) fn scratch(&self, threads: usize) -> [usize; 3] {
        let len = self.shape.len() * if S::IS_COMPLEX { 2 } else { 1 };
        let tiles = self.passes.iter().map(|pass| pass.scratch(threads)).max().unwrap_or(0);
        [if self.passes.len() > 1 { len } else { 0 }, if self.passes.len() > 2 { len } else { 0 }, tiles]
    }

    /// `to ← A from`, or `to ← to + A from`.
    pub(super) fn apply(&self, from: &[S], to: &mut [S], add: bool, work: &mut Work) {
        let (from, to) = (S::as_reals(from), S::as_reals_mut(to));
        let Some((last, passes)) = self.passes.split_last() else {
            return if add { crate::space::add(from, to) } else { to.copy_from_slice(from) };
        };
        let [first, second, tiles] = self.scratch(threads::count());
        let (mut made, mut next) = (work.take("blur 1", first), work.take("blur 2", second));
        let mut tiles = work.take("blur tiles", tiles);
        if let Some((first, passes)) = passes.split_first() {
            first.run(from, &mut made, false, &mut tiles);
            for pass in passes {
                pass.run(&made, &mut next, false, &mut tiles);
                std::mem::swap(&mut made, &mut next);
            }
            last.run(&made, to, add, &mut tiles);
        } else {
            last.run(from, to, add, &mut tiles);
        }
        work.give("blur tiles", tiles);
        work.give("blur 2", next);
        work.give("blur 1", made);
    }
}

/// What is wrong with a kernel, if anything.
pub(super) fn check(model: &Shape, sigmas: &[f64], radius: Option<usize>) -> Result<(), Fault> {
    let dims = model.dims().len();
    if sigmas.len() != dims {
        return Err(Fault::new(format!(
            "`sigma`: expected {dims} numbers, one for each dim of {model}, got {}",
            sigmas.len()
        ))
        .hint("give one number for all dims, or a list in the order of model.dims; 0 leaves a dim as it is"));
    }
    if let Some((dim, sigma)) =
        model.dims().iter().zip(sigmas).find(|(_, sigma)| !(sigma.is_finite() && **sigma >= 0.0))
    {
        return Err(Fault::new(format!(
            "`sigma`: expected a finite number of pixels from 0 on, got {sigma} for dim `{}`",
            dim.name
        ))
        .hint("it is the standard deviation of the Gaussian; the full width at half its height is 2.355 of them"));
    }
    let widest = radius.map_or(REACH * sigmas.iter().copied().fold(0.0, f64::max), |radius| radius as f64);
    if widest > LARGEST_RADIUS as f64 {
        return Err(Fault::new(format!("`radius`: expected at most {LARGEST_RADIUS} pixels, got {widest}")).hint(
            "a kernel that wide leaves nothing but the mean: is `sigma` given in pixels? set `radius` to cut it",
        ));
    }
    Ok(())
}

/// The weights of distance 0 to `radius` of a Gaussian that sums to 1 over both sides.
fn gaussian(sigma: f64, radius: usize) -> Vec<f64> {
    let heights: Vec<f64> = (0..=radius).map(|j| (-0.5 * (j as f64 / sigma).powi(2)).exp()).collect();
    let whole = heights[0] + 2.0 * heights[1..].iter().sum::<f64>();
    heights.into_iter().map(|height| height / whole).collect()
}

/// The same kernel on a circle of `size` pixels, where neighbours farther than half of it are nearer the other way round.
/// Each weight but the first still counts on both sides, even where these meet, opposite to the middle. Ends with the last
/// weight from `least` on.
fn in_a_circle(weights: &[f64], size: usize, least: f64) -> Vec<f64> {
    let mut folded = vec![0.0; (size / 2).min(weights.len() - 1) + 1];
    for (distance, weight) in weights.iter().enumerate() {
        let place = (distance % size).min(size - distance % size);
        let both_sides_meet = place == 0 && distance > 0;
        folded[place] += if both_sides_meet { 2.0 * weight } else { *weight };
    }
    let seen = folded.iter().rposition(|weight| *weight >= least).unwrap_or(0);
    folded.truncate(seen + 1);
    folded
}

impl<S: Scalar> LinearOperator<S> for Blur<S> {
    fn domain(&self) -> &Shape {
        &self.shape
    }
    fn range(&self) -> &Shape {
        &self.shape
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(x, y, false, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(y, x, false, work);
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(x, y, true, work);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(y, x, true, work);
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure { self_adjoint: true, non_negative: true, ..Structure::default() }
    }
    /// A circulant matrix that is not negative has the norm that it has on constants: the sum of its kernel.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.passes.iter().map(|pass| pass.norm().powi(2)).product())
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let squared = self.passes.iter().map(Pass::column_squared).product();
        Some(vec![squared; self.shape.len()])
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        if basis != Basis::Fourier {
            return None;
        }
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let mut spectrum = vec![1.0; self.shape.len()];
        for pass in &self.passes {
            let response = pass.response();
            for (index, value) in spectrum.iter_mut().enumerate() {
                *value *= response[pass.wave(index * parts)].powi(2);
            }
        }
        Some(spectrum)
    }
    /// None, though the names are the same on both sides: a pixel depends on its neighbours.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::Apply;
    use crate::random::Stream;

    const CIRCULAR: Padding = Padding::Circular;

    fn random<S: Scalar>(len: usize, stream: u64) -> Vec<S> {
        let mut values = vec![S::default(); len];
        Stream::new(5, stream).fill_normal(0, &mut values);
        values
    }

    fn norm<S: Scalar>(values: &[S]) -> f64 {
        values.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt()
    }

    /// ‖a − b‖ / ‖b‖.
    fn distance<S: Scalar>(a: &[S], b: &[S]) -> f64 {
        assert_eq!(a.len(), b.len());
        norm(&a.iter().zip(b).map(|(a, b)| *a - *b).collect::<Vec<S>>()) / norm(b)
    }

    fn forward<S: Scalar>(blur: &Blur<S>, x: &[S]) -> Vec<S> {
        let mut y = vec![S::from_parts(f64::NAN, f64::NAN); x.len()];
        blur.forward(x, &mut y, &mut Work::default()).unwrap();
        y
    }

    /// σ and radius of a blur for each dim of a model.
    type Case<'a> = (&'a [(&'a str, usize)], &'a [f64], Option<usize>);

    /// One to four dims; kernels shorter than the model, just as long, and many times as long; dims of one pixel; dims
    /// that stay as they are.
    const CASES: &[Case] = &[
        (&[("x", 9)], &[1.2], None),
        (&[("x", 9)], &[1.2], Some(4)),
        (&[("x", 8)], &[1.2], Some(4)),
        (&[("x", 8)], &[3.0], Some(3)),
        (&[("x", 5)], &[2.5], Some(33)),
        (&[("x", 4)], &[2.5], Some(34)),
        (&[("x", 1)], &[2.5], None),
        (&[("x", 2)], &[0.4], Some(1)),
        (&[("y", 6), ("x", 11)], &[0.7, 1.9], None),
        (&[("y", 6), ("x", 11)], &[0.0, 1.9], None),
        (&[("y", 6), ("x", 11)], &[1.9, 0.0], Some(2)),
        (&[("y", 6), ("x", 11)], &[0.0, 0.0], None),
        (&[("z", 3), ("y", 1), ("x", 7)], &[0.8, 2.0, 1.1], None),
        (&[("z", 4), ("y", 5), ("x", 6)], &[2.2, 0.3, 1.4], Some(9)),
        (&[("t", 2), ("z", 3), ("y", 4), ("x", 5)], &[0.6, 0.7, 0.0, 0.8], None),
    ];

    fn wide<S: Scalar>(values: &[S]) -> Vec<Complex<f64>> {
        values.iter().map(|value| Complex::new(value.re(), value.im())).collect()
    }

    /// y[i] = Σ_j k[j] x[i − j] for all whole j within the radius, as it stands in the textbook.
    fn by_definition((dims, sigmas, radius): &Case, x: &[Complex<f64>]) -> Vec<Complex<f64>> {
        let sizes: Vec<usize> = dims.iter().map(|(_, size)| *size).collect();
        let radii: Vec<i64> = sigmas
            .iter()
            .map(|sigma| if *sigma == 0.0 { 0 } else { radius.map_or((4.0 * sigma).ceil() as i64, |r| r as i64) })
            .collect();
        let all = |lows: &[i64], highs: &[i64]| -> Vec<Vec<i64>> {
            lows.iter().zip(highs).fold(vec![vec![]], |so_far, (low, high)| {
                let with = |index: &Vec<i64>, i: i64| index.iter().copied().chain([i]).collect();
                so_far.iter().flat_map(|index| (*low..=*high).map(move |i| with(index, i))).collect()
            })
        };
        let kernel = |j: &[i64]| -> f64 {
            let part = |(j, sigma): (&i64, &f64)| if *sigma > 0.0 { -0.5 * (*j as f64 / sigma).powi(2) } else { 0.0 };
            j.iter().zip(*sigmas).map(part).sum::<f64>().exp()
        };
        let offsets = all(&radii.iter().map(|r| -r).collect::<Vec<_>>(), &radii);
        let whole: f64 = offsets.iter().map(|j| kernel(j)).sum();
        let pixels = all(&vec![0; sizes.len()], &sizes.iter().map(|size| *size as i64 - 1).collect::<Vec<_>>());
        let place = |index: &[i64], j: &[i64]| -> usize {
            let wrapped =
                index.iter().zip(j).zip(&sizes).map(|((i, j), size)| (i - j).rem_euclid(*size as i64) as usize);
            wrapped.zip(&sizes).fold(0, |place, (i, size)| place * size + i)
        };
        let sum = |i: &Vec<i64>| -> Complex<f64> { offsets.iter().map(|j| x[place(i, j)] * (kernel(j) / whole)).sum() };
        pixels.iter().map(sum).collect()
    }

    fn shape(dims: &[(&str, usize)]) -> Shape {
        Shape::new(dims.iter().copied())
    }

    #[test]
    fn it_is_the_convolution_with_a_gaussian() {
        fn check<S: Scalar>(limit: f64) {
            for case in CASES {
                let (dims, sigmas, radius) = case;
                let blur = Blur::<S>::gaussian(&shape(dims), sigmas, *radius, CIRCULAR).unwrap();
                let x = random::<S>(shape(dims).len(), 1);
                let got = distance(&wide(&forward(&blur, &x)), &by_definition(case, &wide(&x)));
                assert!(got < limit, "{} {case:?}: {got:e}", S::NAME);
            }
        }
        check::<f32>(3e-7);
        check::<f64>(1e-14);
        check::<Complex<f32>>(3e-7);
        check::<Complex<f64>>(1e-14);
    }

    /// Sizes beyond one tile: rows in bands, columns in blocks, a long line.
    fn large() -> Vec<(Shape, Vec<f64>)> {
        vec![
            (shape(&[("x", 40_011)]), vec![2.0]),
            (shape(&[("y", 301), ("x", 203)]), vec![3.0, 0.9]),
            (shape(&[("z", 5), ("y", 70), ("x", 90)]), vec![0.5, 1.7, 2.6]),
            (shape(&[("y", 600), ("x", 3)]), vec![11.0, 1.0]),
        ]
    }

    #[test]
    fn large_models_are_put_together_from_tiles() {
        for (model, sigmas) in large() {
            let blur = Blur::<f64>::gaussian(&model, &sigmas, None, CIRCULAR).unwrap();
            let x = random::<f64>(model.len(), 2);
            let sizes = model.sizes();
            // dim by dim and number by number
            let mut want = x.clone();
            for axis in 0..sizes.len() {
                let (weights, inner) = (
                    gaussian(sigmas[axis], (4.0 * sigmas[axis]).ceil() as usize),
                    sizes[axis + 1..].iter().product::<usize>(),
                );
                let from = want.clone();
                for (at, want) in want.iter_mut().enumerate() {
                    let place = at / inner % sizes[axis];
                    let neighbour = |j: i64| {
                        let other = (place as i64 + j).rem_euclid(sizes[axis] as i64) as usize;
                        from[at + other * inner - place * inner]
                    };
                    *want = weights[0] * from[at];
                    for (j, weight) in weights.iter().enumerate().skip(1) {
                        *want += weight * (neighbour(j as i64) + neighbour(-(j as i64)));
                    }
                }
            }
            let got = distance(&forward(&blur, &x), &want);
            assert!(got < 1e-14, "{model}: {got:e}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for (model, sigmas) in large() {
            let blur = Blur::<Complex<f32>>::gaussian(&model, &sigmas, None, CIRCULAR).unwrap();
            let x = random::<Complex<f32>>(model.len(), 3);
            let all = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let mut normal = x.clone();
                    blur.normal_add(&x, &mut normal, &mut Work::default()).unwrap();
                    (forward(&blur, &x), normal)
                })
            };
            let one = all(1);
            for threads in [2, 3] {
                assert!(one == all(threads), "{model} {threads} threads");
            }
        }
    }

    #[test]
    fn complex_numbers_are_blurred_part_by_part_bit_for_bit() {
        for (model, sigmas) in large() {
            let (re, im) = (random::<f32>(model.len(), 4), random::<f32>(model.len(), 5));
            let both: Vec<_> = re.iter().zip(&im).map(|(re, im)| Complex::new(*re, *im)).collect();
            let real = Blur::<f32>::gaussian(&model, &sigmas, None, CIRCULAR).unwrap();
            let got = forward(&Blur::gaussian(&model, &sigmas, None, CIRCULAR).unwrap(), &both);
            assert!(got.iter().map(|value| value.re).eq(forward(&real, &re)));
            assert!(got.iter().map(|value| value.im).eq(forward(&real, &im)));
        }
    }

    #[test]
    fn adding_is_adding() {
        for (dims, sigmas, radius) in CASES {
            let blur = Blur::<f64>::gaussian(&shape(dims), sigmas, *radius, CIRCULAR).unwrap();
            let (x, before) = (random::<f64>(shape(dims).len(), 6), random::<f64>(shape(dims).len(), 7));
            let mut got = before.clone();
            blur.adjoint_add(&x, &mut got, &mut Work::default()).unwrap();
            let want: Vec<f64> = forward(&blur, &x).iter().zip(&before).map(|(y, before)| before + y).collect();
            assert!(got == want, "{dims:?}");
        }
    }

    #[test]
    fn the_declared_norm_is_that_of_constants_and_the_declared_diagonal_that_of_the_columns() {
        for (dims, sigmas, radius) in CASES {
            let blur = Blur::<f32>::gaussian(&shape(dims), sigmas, *radius, CIRCULAR).unwrap();
            let len = shape(dims).len();
            let bound = blur.norm_squared_bound().unwrap();
            assert!((bound - 1.0).abs() < 1e-6, "{dims:?}: {bound}");
            let ones = forward(&blur, &vec![1.0; len]);
            assert!(ones.iter().all(|y| (f64::from(*y) - bound.sqrt()).abs() < 1e-6), "{dims:?}");
            let diagonal = blur.normal_diagonal().unwrap();
            assert_eq!(diagonal.len(), len);
            for k in [0, len / 2, len - 1] {
                let mut unit = vec![0.0; len];
                unit[k] = 1.0;
                let column = norm(&forward(&blur, &unit)).powi(2);
                assert!(
                    (column / diagonal[k] - 1.0).abs() < 1e-5,
                    "{dims:?}: column {k} {column}, not {}",
                    diagonal[k]
                );
            }
        }
    }

    #[test]
    fn weights_that_cannot_be_seen_are_left_out() {
        let line = shape(&[("x", 1000)]);
        let single = Blur::<f32>::gaussian(&line, &[1.0], Some(15), CIRCULAR).unwrap();
        let double = Blur::<f64>::gaussian(&line, &[1.0], Some(15), CIRCULAR).unwrap();
        assert_eq!((single.passes[0].radius(), double.passes[0].radius()), (7, 11));
        let x = random::<f32>(1000, 8);
        let exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        assert!(distance(&wide(&forward(&single, &x)), &wide(&forward(&double, &exact))) < 1e-7);
        // what goes round the circle is folded: a kernel of any length costs no more than the dim
        let long = Blur::<f64>::gaussian(&shape(&[("x", 7)]), &[1e4], None, CIRCULAR).unwrap();
        assert_eq!(long.passes[0].radius(), 3);
        let mean = forward(&long, &[7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(mean.iter().all(|y| (y - 1.0).abs() < 1e-6), "{mean:?}");
    }

    #[test]
    fn an_empty_model_stays_empty() {
        let blur = Blur::<f32>::gaussian(&shape(&[("y", 0), ("x", 5)]), &[1.0, 1.0], None, CIRCULAR).unwrap();
        assert!(forward(&blur, &[]).is_empty());
    }
}
