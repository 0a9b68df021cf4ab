//! Convolution with any kernel and padding, by shifted sums or by Fourier transforms.
//!
//! The image is put on a larger grid, as its padding goes on beyond its edges; there the convolution has no edges. Its adjoint
//! puts the data on a grid with zeros around, correlates, and adds what lies beyond the edges to the pixels that it is a
//! copy of.

use std::sync::Arc;

use bytemuck::cast_slice_mut;
use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extension::{Extension, Line};
use super::kernel::fits;
use super::taps::Stages;
use super::{Kernel, Padding};
use crate::error::Fault;
use crate::fourier::{Fourier as _, Transform, Way};
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::physics::Needs;
use crate::real_fourier::{Data, Factors, RealFourier, RealTransform, fast_size};
use crate::scalar::{Real, Scalar};
use crate::space::{Ranges, Shape};

/// What a number of a Fourier transform costs for each doubling of their count, there and back, in products of a shifted sum.
/// (Measured: 1024² numbers in `f32` and in `f64`, one thread.)
const TRANSFORM: f64 = 6.0;

/// The way in which a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The one that is estimated to cost least.
    #[default]
    Auto,
    /// One sum over the kernel for each pixel.
    Direct,
    /// One sum along each dim, for kernels that are a product of one for each.
    Separable,
    /// Fourier transforms.
    Fft,
}

/// What is decided before anything is made.
pub(super) struct Plan {
    kernel: Kernel,
    padding: Padding,
    domain: Shape,
    range: Shape,
    /// How the image lies in its grid, and the result in its own.
    image: Vec<Line>,
    result: Vec<Line>,
    /// The kernels of shifted sums, one after the other; none where it goes by Fourier transforms.
    sums: Vec<Kernel>,
    /// Products for one image, as many as would take as long.
    products: f64,
}

impl Plan {
    /// For a kernel on the last dims of a model.
    pub fn new(model: &Shape, kernel: &Kernel, padding: Padding, by: By) -> Result<Self, Fault> {
        fits(model, kernel.sizes())?;
        let kernel = kernel.clone().without_leading_ones();
        let batch = model.dims().len() - kernel.sizes().len();
        let valid = padding == Padding::Valid;
        let mut dims: Vec<(String, usize)> = model.dims().iter().map(|dim| (dim.name.clone(), dim.size)).collect();
        for ((_, size), n) in dims[batch..].iter_mut().zip(kernel.sizes()).filter(|_| valid) {
            *size = *size + 1 - n;
        }
        let (domain, range) = (model.clone(), Shape::new(dims));
        let lines = |grid: &dyn Fn(usize) -> usize, fourier: bool| -> (Vec<Line>, Vec<Line>) {
            let sizes = model.sizes()[batch..].to_vec();
            let of = |((size, n), center): ((usize, &usize), &usize)| {
                let outside =
                    if valid || (fourier && padding == Padding::Circular) { [0, 0] } else { [n - 1 - center, *center] };
                let [before, behind] = outside;
                let image = Line { size, before, behind, grid: grid(size + before + behind) };
                let after = if valid { size + 1 - n } else { size };
                let zeros = if fourier { 0 } else { n - 1 };
                let on_grid = if fourier { image.grid } else { after + 2 * zeros };
                (image, Line { size: after, before: zeros, behind: zeros, grid: on_grid })
            };
            sizes.into_iter().zip(kernel.sizes()).zip(kernel.center()).map(of).unzip()
        };
        let pixels: usize = range.sizes()[batch..].iter().product();
        let (padded, padded_result) = lines(&|size| size, false);
        let direct = pixels as f64 * kernel.weights().iter().filter(|weight| **weight != 0.0).count() as f64;
        let factors = kernel.factors().map(without_ones);
        let separable = factors.as_ref().map_or(f64::INFINITY, |factors| {
            let grown: usize = padded.iter().map(|line| line.grid).product();
            grown as f64 * factors.iter().map(|factor| factor.weights().len() as f64).sum::<f64>()
        });
        let fast: fn(usize) -> usize = if padding == Padding::Circular { |size| size } else { fast_size };
        let (grid, grid_result) = lines(&fast, true);
        let numbers = grid.iter().map(|line| line.grid).product::<usize>() as f64;
        let fft = TRANSFORM * numbers * numbers.log2().max(1.0);
        let by = match by {
            By::Auto if separable <= direct.min(fft) => By::Separable,
            By::Auto if direct <= fft => By::Direct,
            By::Auto => By::Fft,
            asked => asked,
        };
        let (image, result, sums, products) = match by {
            By::Fft | By::Auto => (grid, grid_result, Vec::new(), fft),
            By::Direct => (padded, padded_result, vec![kernel.clone()], direct),
            By::Separable => {
                let Some(factors) = factors else {
                    return Err(Fault::new("`by` is \"separable\", but the kernel is no product of one for each dim")
                        .hint("leave `by` out, or take \"direct\" or \"fft\""));
                };
                (padded, padded_result, factors, separable)
            }
        };
        Ok(Plan { kernel, padding, domain, range, image, result, sums, products })
    }

    /// What it computes by.
    pub fn by(&self) -> By {
        match self.sums.len() {
            0 => By::Fft,
            1 if self.sums[0] == self.kernel => By::Direct,
            _ => By::Separable,
        }
    }
    /// The dims of the result.
    pub fn range(&self) -> &Shape {
        &self.range
    }

    fn batch(&self) -> usize {
        self.domain.sizes()[..self.domain.dims().len() - self.image.len()].iter().product()
    }

    /// Memory and cost.
    pub fn needs<S: Scalar>(&self) -> Needs {
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let real = size_of::<S::Real>();
        let numbers = |lines: &[Line]| lines.iter().map(|line| line.grid).product::<usize>();
        let maps = Extension::bytes(&self.image) + Extension::bytes(&self.result);
        let (held, scratch) = if self.sums.is_empty() {
            let last = self.image.last().map_or(1, |line| line.grid);
            let spectrum = numbers(&self.image) / last * (last / 2 + 1) * 2;
            (spectrum * real, (2 * numbers(&self.image) + spectrum) * real)
        } else {
            let [forward, adjoint] = self.stages::<S>();
            let [a, b] = [forward.scratch(), adjoint.scratch()];
            let made = a[0].max(b[0]) + a[1].max(b[1]);
            let grids = numbers(&self.image) + numbers(&self.result);
            (forward.bytes() + adjoint.bytes(), (grids * parts + made) * real)
        };
        Needs {
            bytes: (maps + held) as u64,
            scratch_bytes: scratch as u64,
            cost: 2.0 * self.products * (parts * self.batch()) as f64,
        }
    }

    fn stages<S: Scalar>(&self) -> [Stages<S::Real>; 2] {
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let sizes = |lines: &[Line]| lines.iter().map(|line| line.grid).collect::<Vec<_>>();
        let reversed: Vec<Kernel> = self.sums.iter().map(Kernel::reversed).collect();
        [Stages::new(&self.sums, &sizes(&self.image), parts), Stages::new(&reversed, &sizes(&self.result), parts)]
    }

    /// The transform of the kernel on the grid, where its first weight stands as many places before the origin as the image's
    /// first pixel needs, divided by the number of grid points.
    fn spectrum<R: Real>(&self) -> Vec<Complex<R>> {
        let grid: Vec<usize> = self.image.iter().map(|line| line.grid).collect();
        let transform = RealTransform::<f64>::new(&grid);
        let mut spectrum = vec![Complex::default(); transform.spectrum_len()];
        let mut scratch = vec![Complex::default(); transform.scratch_len()];
        transform.transform(&self.on_grid(&grid), &mut spectrum, &mut scratch);
        let scale = 1.0 / grid.iter().product::<usize>() as f64;
        let rounded = |z: &Complex<f64>| Complex::new(R::from_f64(z.re * scale), R::from_f64(z.im * scale));
        spectrum.iter().map(rounded).collect()
    }

    fn on_grid(&self, grid: &[usize]) -> Vec<f64> {
        let origin: Vec<usize> = match self.padding {
            Padding::Circular => self.kernel.center().to_vec(),
            _ => self.kernel.sizes().iter().map(|n| n - 1).collect(),
        };
        let strides = self.kernel.strides();
        let mut on_grid = vec![0.0; grid.iter().product()];
        for (at, weight) in self.kernel.weights().iter().enumerate() {
            let place = (0..grid.len()).fold(0, |place, axis| {
                let j = at / strides[axis] % self.kernel.sizes()[axis];
                place * grid[axis] + (j + grid[axis] - origin[axis]) % grid[axis]
            });
            on_grid[place] += weight;
        }
        on_grid
    }
}

/// Kernels of several weights, with the single weights of the others in the first of them.
fn without_ones(factors: Vec<Kernel>) -> Vec<Kernel> {
    let (ones, mut others): (Vec<_>, Vec<_>) = factors.into_iter().partition(|factor| factor.weights().len() == 1);
    let scale: f64 = ones.iter().map(|one| one.weights()[0]).product();
    match others.first_mut() {
        Some(first) => *first = first.scaled(scale),
        None => others.extend(ones.into_iter().next().map(|one| one.scaled(scale / one.weights()[0]))),
    }
    others
}

/// `y[i] = Σ_j k[j] x[i − j + c]` with a kernel `k` around its centre `c`, in the last dims of a model; in the others each
/// sample by itself.
///
/// A true convolution: the kernel is what one bright pixel becomes. What `x` is beyond its edges is the [`Padding`]; with
/// `Valid` the result is smaller than the model. Complex vectors are blurred part by part.
///
/// Collective: no. Cost: by shifted sums 2 flops for each pixel and weight (of a kernel that is a product: of one along each
/// dim), by Fourier transforms some 12 log₂ n for each pixel of a grid of n; the adjoint the same, the normal operator both, or
/// with periodic edges and Fourier transforms one pair of them. Memory: weights, or half a complex field; scratch for two grids
/// and the spectrum. Threads: those of the rayon pool in which it is called; the result is the same bit for bit whatever
/// their number. Faults when built: a kernel larger than the model; `By::Separable` for a kernel that is no product.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{By, Convolution, Kernel, Padding}};
/// let kernel = Kernel::new(vec![3], None, vec![0.0, 0.5, 0.25]).unwrap();
/// let line = Shape::new([("x", 4)]);
/// let blur = Convolution::<f64>::new(&line, &kernel, Padding::Zero, By::Auto).unwrap();
/// let mut y = [0.0; 4];
/// blur.forward(&[4.0, 0.0, 0.0, 8.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [2.0, 1.0, 0.0, 4.0]);
/// ```
///
/// Source: P. C. Hansen, J. G. Nagy and D. P. O'Leary, "Deblurring images", SIAM 2006, chapter 3.
pub struct Convolution<S: Scalar> {
    domain: Shape,
    range: Shape,
    of_one: Arc<OfOne<S>>,
}

/// The convolution of one image; parts along other dims share it.
struct OfOne<S: Scalar> {
    plan: Plan,
    image: Option<Extension>,
    result: Option<Extension>,
    /// Numbers of one image and one result, and of their grids.
    lens: [usize; 2],
    grids: [usize; 2],
    engine: Engine<S::Real>,
}

enum Engine<R> {
    Sums([Stages<R>; 2]),
    Fourier { transform: Box<dyn RealFourier<R>>, spectrum: Vec<Complex<R>> },
}

impl<S: Scalar> Convolution<S> {
    /// A convolution on vectors of a model.
    pub fn new(model: &Shape, kernel: &Kernel, padding: Padding, by: By) -> Result<Self, Fault> {
        Ok(Self::planned(Plan::new(model, kernel, padding, by)?))
    }

    pub(super) fn planned(plan: Plan) -> Self {
        let numbers = |lines: &[Line]| lines.iter().map(|line| line.grid).product::<usize>();
        let pixels = |lines: &[Line]| lines.iter().map(|line| line.size).product::<usize>();
        let engine = match plan.by() {
            By::Fft => {
                let grid: Vec<usize> = plan.image.iter().map(|line| line.grid).collect();
                Engine::Fourier { transform: S::Real::real_fourier(&grid), spectrum: plan.spectrum() }
            }
            _ => Engine::Sums(plan.stages::<S>()),
        };
        let of_one = OfOne {
            image: Extension::new(&plan.image, plan.padding),
            result: Extension::new(&plan.result, Padding::Zero),
            lens: [pixels(&plan.image), pixels(&plan.result)],
            grids: [numbers(&plan.image), numbers(&plan.result)],
            engine,
            plan,
        };
        let (domain, range) = (of_one.plan.domain.clone(), of_one.plan.range.clone());
        Convolution { domain, range, of_one: Arc::new(of_one) }
    }

    /// What it computes by.
    pub fn by(&self) -> By {
        self.of_one.plan.by()
    }

    fn each(&self, side: Side, from: &[S], to: &mut [S], add: bool, work: &mut Work) {
        let [image, result] = self.of_one.lens;
        let [reads, writes] = match side {
            Side::Forward => [image, result],
            Side::Adjoint => [result, image],
            Side::Normal => [image, image],
        };
        for (from, to) in from.chunks_exact(reads).zip(to.chunks_exact_mut(writes)) {
            match &self.of_one.engine {
                Engine::Sums(stages) => self.of_one.by_sums(stages, side, from, to, add, work),
                Engine::Fourier { transform, spectrum } => {
                    let parts: &[Part] = if S::IS_COMPLEX { &[Part::Re, Part::Im] } else { &[Part::Re] };
                    if !add {
                        to.fill(S::default());
                    }
                    for part in parts {
                        self.of_one.by_fourier(&**transform, spectrum, side, *part, from, to, work);
                    }
                }
            }
        }
    }

    /// Whether `AᴴA` is a convolution too.
    fn is_circular_fourier(&self) -> bool {
        self.of_one.plan.padding == Padding::Circular && self.by() == By::Fft
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Forward,
    Adjoint,
    Normal,
}

/// Which part of complex numbers; real ones have the first only.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Re,
    Im,
}

impl Part {
    fn of<S: Scalar>(self, value: S) -> S::Real {
        S::Real::from_f64(if self == Part::Re { value.re() } else { value.im() })
    }
    fn add<S: Scalar>(self, to: &mut S, value: S::Real) {
        *to += if self == Part::Re { S::from_parts(value.re(), 0.0) } else { S::from_parts(0.0, value.re()) };
    }
}

impl<S: Scalar> OfOne<S> {
    fn by_sums(&self, stages: &[Stages<S::Real>; 2], side: Side, from: &[S], to: &mut [S], add: bool, work: &mut Work) {
        let (is_forward, stages) = (side == Side::Forward, &stages[usize::from(side == Side::Adjoint)]);
        let [of_from, of_to] = if is_forward { [&self.image, &None] } else { [&self.result, &self.image] };
        let grids = if is_forward { self.grids } else { [self.grids[1], self.grids[0]] };
        let mut larger = work.take::<S>("blur grid", if of_from.is_some() { grids[0] } else { 0 });
        let mut copies = work.take::<S>("blur copies", if of_to.is_some() { grids[1] } else { 0 });
        let [first, second] = stages.scratch();
        let (mut first, mut second) = (work.take("blur stage 1", first), work.take("blur stage 2", second));
        let on_grid = match of_from {
            Some(extension) => {
                extension.extend(from, &mut larger, |value| value);
                &larger[..]
            }
            None => from,
        };
        let on_grid = S::as_reals(on_grid);
        match of_to {
            None => stages.run(on_grid, S::as_reals_mut(to), add, [&mut first, &mut second]),
            Some(extension) => {
                stages.run(on_grid, S::as_reals_mut(&mut copies), false, [&mut first, &mut second]);
                if !add {
                    to.fill(S::default());
                }
                extension.fold(&copies, to, |to, value| *to += value);
            }
        }
        work.give("blur stage 2", second);
        work.give("blur stage 1", first);
        work.give("blur copies", copies);
        work.give("blur grid", larger);
    }

    /// Adds one part to what `to` holds.
    #[allow(clippy::too_many_arguments)] // the transform and its spectrum are two fields of one variant
    fn by_fourier(
        &self,
        transform: &dyn RealFourier<S::Real>,
        spectrum: &[Complex<S::Real>],
        side: Side,
        part: Part,
        from: &[S],
        to: &mut [S],
        work: &mut Work,
    ) {
        let len = self.grids[0];
        let mut field = work.take::<S::Real>("blur spectrum", 2 * transform.spectrum_len());
        let mut scratch = work.take::<S::Real>("blur lines", 2 * transform.scratch_len());
        let factors = match side {
            Side::Forward => Factors::Complex(spectrum),
            Side::Adjoint => Factors::Conjugate(spectrum),
            // each of the two has been divided by the number of grid points
            Side::Normal => Factors::Power(spectrum, S::Real::from_f64(len as f64)),
        };
        let [of_from, of_to] = match side {
            Side::Forward => [&self.image, &self.result],
            Side::Adjoint | Side::Normal => [&self.result, &self.image],
        };
        if let (None, None, false) = (of_from, of_to, S::IS_COMPLEX) {
            let data = Data { x: S::as_reals(from), out: S::as_reals_mut(to), add: true };
            transform.convolve(factors, data, cast_slice_mut(&mut field), cast_slice_mut(&mut scratch));
        } else {
            let mut x = work.take::<S::Real>("blur grid, real", len);
            let mut out = work.take::<S::Real>("blur grid, blurred", len);
            match of_from {
                Some(extension) => extension.extend(from, &mut x, |value| part.of(value)),
                None => x.iter_mut().zip(from).for_each(|(x, value)| *x = part.of(*value)),
            }
            let data = Data { x: &x, out: &mut out, add: false };
            transform.convolve(factors, data, cast_slice_mut(&mut field), cast_slice_mut(&mut scratch));
            match of_to {
                Some(extension) => extension.fold(&out, to, |to, value| part.add(to, value)),
                None => to.iter_mut().zip(&out).for_each(|(to, value)| part.add(to, *value)),
            }
            work.give("blur grid, blurred", out);
            work.give("blur grid, real", x);
        }
        work.give("blur lines", scratch);
        work.give("blur spectrum", field);
    }
}

impl<S: Scalar> LinearOperator<S> for Convolution<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.each(Side::Forward, x, y, false, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.each(Side::Adjoint, y, x, false, work);
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.each(Side::Forward, x, y, true, work);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.each(Side::Adjoint, y, x, true, work);
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.is_circular_fourier() {
            self.each(Side::Normal, x, out, true, work);
            return Ok(());
        }
        let mut data = work.take::<S>("blurred", self.range.len());
        self.each(Side::Forward, x, &mut data, false, work);
        self.each(Side::Adjoint, &data, out, true, work);
        work.give("blurred", data);
        Ok(())
    }
    fn structure(&self) -> Structure {
        let kernel = &self.of_one.plan.kernel;
        // by Fourier transforms what should be zero is a little more or less
        let exact = self.by() != By::Fft;
        let keeps_size = matches!(self.of_one.plan.padding, Padding::Circular | Padding::Zero);
        Structure {
            self_adjoint: keeps_size && *kernel == kernel.reversed(),
            non_negative: exact && kernel.weights().iter().all(|weight| *weight >= 0.0),
            isometry: false,
        }
    }
    /// `(Σ|k|)²` (Young's inequality), times the most copies that a pixel has in the padded image.
    fn norm_squared_bound(&self) -> Option<f64> {
        let plan = &self.of_one.plan;
        let sum: f64 = plan.kernel.weights().iter().map(|weight| weight.abs()).sum();
        let copies = match plan.padding {
            Padding::Circular | Padding::Valid | Padding::Zero => 1,
            Padding::Replicate | Padding::Reflect => Extension::copies(&plan.image, plan.padding),
        };
        Some(sum * sum * copies as f64)
    }
    /// Known where all columns are alike: with periodic edges.
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let plan = &self.of_one.plan;
        let squares: f64 = plan.kernel.weights().iter().map(|weight| weight * weight).sum();
        (plan.padding == Padding::Circular).then(|| vec![squares; self.domain.len()])
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let plan = &self.of_one.plan;
        if basis != Basis::Fourier || plan.padding != Padding::Circular {
            return None;
        }
        let sizes: Vec<usize> = plan.image.iter().map(|line| line.size).collect();
        let mut field: Vec<_> = plan.on_grid(&sizes).into_iter().map(|weight| Complex::new(weight, 0.0)).collect();
        Transform::new(&sizes).run(&mut field, Way::There);
        let of_one: Vec<f64> = field.iter().map(Complex::norm_sqr).collect();
        Some(of_one.repeat(self.domain.len() / of_one.len()))
    }
    /// The dims that the kernel does not have.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let count = self.domain.dims().len() - self.of_one.plan.image.len();
        self.domain.names().take(count).map(|name| [name.to_owned(), name.to_owned()]).collect()
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        let count = self.domain.dims().len() - self.of_one.plan.image.len();
        self.domain.names().take(count).any(|name| name == dim)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let (domain, range) = (ranges.shape(&self.domain), ranges.shape(&self.range));
        Ok(Arc::new(Convolution { domain, range, of_one: self.of_one.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Apply;
    use crate::random::Stream;
    use crate::testing::{dot_test, structure_test};

    const PADDINGS: [Padding; 5] =
        [Padding::Circular, Padding::Valid, Padding::Zero, Padding::Replicate, Padding::Reflect];

    fn random<S: Scalar>(len: usize, stream: u64) -> Vec<S> {
        let mut values = vec![S::default(); len];
        Stream::new(9, stream).fill_normal(0, &mut values);
        values
    }

    /// Sizes of the model and of the kernel, its centre, whether it is a product.
    type Case<'a> = (&'a [usize], &'a [usize], &'a [usize], bool);
    const CASES: &[Case] = &[
        (&[7], &[3], &[1], true),
        (&[8], &[4], &[3], true),
        (&[5], &[5], &[0], true),
        (&[6, 11], &[3, 5], &[1, 2], false),
        (&[6, 11], &[3, 5], &[2, 0], true),
        (&[9, 4], &[4, 4], &[1, 2], false),
        (&[2, 7, 9], &[3, 2], &[1, 1], false),
        (&[2, 7, 9], &[1, 5], &[0, 2], true),
        (&[3, 4, 5], &[3, 1, 3], &[1, 0, 1], true),
        (&[3, 4, 5], &[2, 3, 3], &[0, 1, 2], false),
    ];

    fn model(sizes: &[usize]) -> Shape {
        Shape::new(["t", "z", "y", "x"][4 - sizes.len()..].iter().copied().zip(sizes.iter().copied()))
    }

    fn kernel((_, sizes, center, product): &Case) -> Kernel {
        let len = sizes.iter().product();
        let weights: Vec<f64> = if *product {
            let lines: Vec<Vec<f64>> = sizes.iter().enumerate().map(|(axis, n)| random(*n, 50 + axis as u64)).collect();
            let mut weights = vec![1.0];
            for line in &lines {
                weights = weights.iter().flat_map(|w| line.iter().map(move |l| w * l)).collect();
            }
            weights
        } else {
            random(len, 60)
        };
        Kernel::new(sizes.to_vec(), Some(center.to_vec()), weights).unwrap()
    }

    /// y[i] = Σ_j k[j] x̃[i − j + c], the sum over all offsets as it stands in the textbook, with x̃ from NumPy's rules.
    fn by_definition(case: &Case, kernel: &Kernel, padding: Padding, x: &[f64], range: &Shape) -> Vec<f64> {
        let (sizes, n, center, _) = *case;
        let batch = sizes.len() - n.len();
        let indices = |sizes: &[usize]| -> Vec<Vec<isize>> {
            sizes.iter().fold(vec![vec![]], |all, size| {
                let with = |index: &Vec<isize>, i: usize| index.iter().copied().chain([i as isize]).collect();
                all.iter().flat_map(|index| (0..*size).map(move |i| with(index, i))).collect()
            })
        };
        let beyond = |at: isize, size: usize| -> Option<isize> {
            let size = size as isize;
            match padding {
                _ if (0..size).contains(&at) => Some(at),
                Padding::Valid => panic!("valid stays inside"),
                Padding::Zero => None,
                Padding::Circular => Some((at + 10 * size) % size),
                Padding::Replicate => Some(if at < 0 { 0 } else { size - 1 }),
                Padding::Reflect => Some(if at < 0 { -at } else { 2 * (size - 1) - at }),
            }
        };
        let value = |i: &Vec<isize>| -> f64 {
            let of = |(j, weight): (Vec<isize>, &f64)| -> f64 {
                let mut place = 0;
                for axis in 0..sizes.len() {
                    let at = match axis.checked_sub(batch) {
                        None => i[axis],
                        // the first pixel that has all its neighbours stands at place n − 1 − c
                        Some(of) if padding == Padding::Valid => i[axis] + n[of] as isize - 1 - j[of],
                        Some(of) => i[axis] - j[of] + center[of] as isize,
                    };
                    let Some(at) = beyond(at, sizes[axis]) else { return 0.0 };
                    place = place * sizes[axis] + at as usize;
                }
                weight * x[place]
            };
            indices(n).into_iter().zip(kernel.weights()).map(of).sum()
        };
        indices(&range.sizes()).iter().map(value).collect()
    }

    #[test]
    fn it_is_the_sum_over_the_kernel_by_all_ways_and_paddings() {
        fn check<S: Scalar>(tolerance: f64) {
            let mut ways = std::collections::BTreeSet::new();
            for case in CASES {
                let (model, kernel) = (model(case.0), kernel(case));
                for padding in PADDINGS {
                    for by in [By::Auto, By::Direct, By::Separable, By::Fft] {
                        if by == By::Separable && !case.3 {
                            let fault = Convolution::<S>::new(&model, &kernel, padding, by).err().unwrap();
                            assert!(fault.text.contains("separable"), "{fault:?}");
                            continue;
                        }
                        let blur = Convolution::<S>::new(&model, &kernel, padding, by).unwrap();
                        ways.insert(format!("{:?}", blur.by()));
                        let x = random::<S>(model.len(), 1);
                        let parts = |values: &[S]| -> [Vec<f64>; 2] {
                            [values.iter().map(|v| v.re()).collect(), values.iter().map(|v| v.im()).collect()]
                        };
                        let mut y = vec![S::from_parts(f64::NAN, f64::NAN); blur.range().len()];
                        blur.forward(&x, &mut y, &mut Work::default()).unwrap();
                        for (x, y) in parts(&x).iter().zip(parts(&y)) {
                            let want = by_definition(case, &kernel, padding, x, blur.range());
                            let scale = want.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
                            let close = want.iter().zip(&y).all(|(a, b)| (a - b).abs() < tolerance * scale);
                            assert!(close, "{} {case:?} {padding:?} {by:?}: {y:?}, not {want:?}", S::NAME);
                        }
                        for seed in 1..3 {
                            let test = dot_test(&blur, seed).unwrap();
                            assert!(test.passes::<S>(), "{case:?} {padding:?} {by:?} {test:?}");
                            structure_test(&blur, seed)
                                .unwrap_or_else(|why| panic!("{case:?} {padding:?} {by:?}: {why:?}"));
                        }
                    }
                }
            }
            assert_eq!(ways.len(), 3, "{ways:?}");
        }
        check::<f64>(1e-12);
        check::<f32>(1e-5);
        check::<Complex<f64>>(1e-12);
        check::<Complex<f32>>(1e-5);
    }

    #[test]
    fn what_is_declared_of_the_normal_operator_holds() {
        for case in CASES {
            let (model, kernel) = (model(case.0), kernel(case));
            for by in [By::Direct, By::Fft] {
                let blur = Convolution::<f64>::new(&model, &kernel, Padding::Circular, by).unwrap();
                let (diagonal, spectrum) =
                    (blur.normal_diagonal().unwrap(), blur.normal_spectrum(Basis::Fourier).unwrap());
                let mut unit = vec![0.0; model.len()];
                unit[model.len() / 2] = 1.0;
                let mut column = vec![0.0; model.len()];
                blur.normal_add(&unit, &mut column, &mut Work::default()).unwrap();
                assert!((column[model.len() / 2] - diagonal[0]).abs() < 1e-12 * diagonal[0]);
                // through the spectrum
                let mut field: Vec<_> = unit.iter().map(|x| Complex::new(*x, 0.0)).collect();
                let mut transform = Transform::new(&model.sizes());
                transform.run(&mut field, Way::There);
                field.iter_mut().zip(&spectrum).for_each(|(z, w)| *z *= w / model.len() as f64);
                transform.run(&mut field, Way::Back);
                assert!(
                    field.iter().zip(&column).all(|(z, x)| (z - x).norm() < 1e-12 * diagonal[0]),
                    "{case:?} {by:?}"
                );
            }
            for padding in &PADDINGS[1..] {
                let blur = Convolution::<f64>::new(&model, &kernel, *padding, By::Auto).unwrap();
                assert!(blur.normal_spectrum(Basis::Fourier).is_none() && blur.normal_diagonal().is_none());
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let model = Shape::new([("y", 90), ("x", 130)]);
        let weights = random::<f64>(7 * 9, 3);
        let line = random::<f64>(9, 4);
        let product: Vec<f64> = (0..63).map(|at| line[at / 9] * line[at % 9]).collect();
        for (by, weights) in [(By::Direct, &weights), (By::Separable, &product), (By::Fft, &weights)] {
            let kernel = Kernel::new(vec![7, 9], None, weights.clone()).unwrap();
            for padding in PADDINGS {
                let blur = Convolution::<f32>::new(&model, &kernel, padding, by).unwrap();
                let x = random::<f32>(model.len(), 5);
                let all = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| {
                        let (mut y, mut normal) = (vec![0.0; blur.range().len()], x.clone());
                        let mut work = Work::default();
                        blur.forward(&x, &mut y, &mut work).unwrap();
                        blur.normal_add(&x, &mut normal, &mut work).unwrap();
                        (y, normal)
                    })
                };
                let one = all(1);
                assert!((2..5).all(|threads| all(threads) == one), "{by:?} {padding:?}");
            }
        }
    }

    #[test]
    fn the_cheaper_way_is_taken() {
        let model = Shape::new([("y", 200), ("x", 200)]);
        let by = |n: usize, product: bool| {
            let weights = if product { vec![1.0; n * n] } else { random(n * n, 8) };
            let kernel = Kernel::new(vec![n, n], None, weights).unwrap();
            Convolution::<f32>::new(&model, &kernel, Padding::Reflect, By::Auto).unwrap().by()
        };
        assert_eq!([by(3, false), by(31, false), by(31, true)], [By::Direct, By::Fft, By::Separable]);
    }
}
