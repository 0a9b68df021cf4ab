//! Downsampling: a low-pass filter, of which every n-th pixel is kept. Super-resolution is its inverse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::along::{Along, Product, Side, around};
use super::{BoxedOperator, Cuts, Needs, Padding, PerDim, Physics, Setting};
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// The low-pass filter, a function of the distance in pixels of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The mean of the pixels that one pixel of the result covers.
    #[default]
    Box,
    /// A triangle, 1 − |t|.
    Bilinear,
    /// Keys' cubic convolution with a = −1/2.
    Bicubic,
    /// sinc(t) sinc(t/3): a sinc in a window.
    Lanczos,
    /// A Gaussian with a standard deviation of half a pixel of the result.
    Gaussian,
}

impl Filter {
    /// How far it reaches.
    fn reach(self) -> f64 {
        match self {
            Filter::Box => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic | Filter::Gaussian => 2.0,
            Filter::Lanczos => 3.0,
        }
    }
    fn at(self, t: f64) -> f64 {
        let t = t.abs();
        let sinc = |t: f64| if t == 0.0 { 1.0 } else { (std::f64::consts::PI * t).sin() / (std::f64::consts::PI * t) };
        match self {
            _ if t >= self.reach() => 0.0,
            Filter::Box => 1.0,
            Filter::Bilinear => 1.0 - t,
            Filter::Bicubic if t <= 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
            Filter::Bicubic => ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0,
            Filter::Lanczos => sinc(t) * sinc(t / 3.0),
            Filter::Gaussian => (-2.0 * t * t).exp(),
        }
    }
}

/// A factor for each dim, and the filter before. The measurements have the model's dims, with smaller sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DownsampleParams {
    /// How many pixels become one: a whole number, or a list with one for each dim of the model; 1 leaves a dim as it is. It
    /// must divide the size.
    pub factor: PerDim,
    /// The low-pass filter.
    #[serde(default)]
    pub filter: Filter,
    /// What lies beyond the edges of the model; not `valid`.
    #[serde(default = "reflect")]
    pub padding: Padding,
}

fn reflect() -> Padding {
    Padding::Reflect
}

impl DownsampleParams {
    fn factors(&self, model: &Shape) -> Result<Vec<usize>, Fault> {
        let factors = self.factor.of("factor", model)?;
        if let Some(wrong) = factors.iter().find(|factor| !(factor.fract() == 0.0 && **factor >= 1.0)) {
            return Err(Fault::new(format!("`factor`: expected a whole number from 1 on, got {wrong}"))
                .hint("so many pixels become one; 1 leaves a dim as it is"));
        }
        Ok(factors.into_iter().map(|factor| factor as usize).collect())
    }
}

impl Physics for DownsampleParams {
    const SUMMARY: &'static str = "a low-pass filter, then every n-th pixel: box, bilinear, bicubic, lanczos, gaussian";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        check(setting.model, &self.factors(setting.model)?, self.padding)
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let operator = Downsample::<S>::new(setting.model, &self.factors(setting.model)?, self.filter, self.padding)?;
        let passes = &operator.passes;
        Ok(Needs {
            bytes: passes.0.iter().map(Along::bytes).sum::<usize>() as u64,
            scratch_bytes: (2 * passes.scratch() * size_of::<S::Real>()) as u64,
            cost: 2.0 * passes.0.iter().map(Along::products).sum::<f64>(),
        })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let factors = self.factors(setting.model)?;
        Ok(Box::new(Downsample::<S>::new(setting.model, &factors, self.filter, self.padding)?))
    }
}

fn check(model: &Shape, factors: &[usize], padding: Padding) -> Result<Shape, Fault> {
    if padding == Padding::Valid {
        return Err(Fault::new("`padding` is \"valid\", which a downsampling does not have")
            .hint("take reflect, replicate, zero or circular"));
    }
    if factors.len() != model.dims().len() || factors.contains(&0) {
        return Err(Fault::new(format!("`factor`: expected one from 1 on for each dim of {model}, got {factors:?}")));
    }
    let fits = |(dim, factor): (&crate::space::Dim, &usize)| match dim.size.is_multiple_of(*factor) {
        true => Ok((dim.name.clone(), dim.size / factor)),
        false => {
            Err(Fault::new(format!("`factor`: {factor} does not divide {}, the size of dim `{}`", dim.size, dim.name))
                .hint("choose a model whose sizes are multiples of the factor"))
        }
    };
    Ok(Shape::new(model.dims().iter().zip(factors).map(fits).collect::<Result<Vec<_>, _>>()?))
}

/// `y[i] = Σ_p h((p − c_i)/f) x[p]` along each dim, with `c_i = f i + (f − 1)/2` the middle of the `f` pixels that become pixel
/// `i`, and weights that sum to 1.
///
/// Shapes: the model; the same dims with sizes divided by their factors. Collective: no. Cost: 2 flops for each weight and
/// pixel, dim by dim. Memory: the weights of a line of each dim; scratch for two vectors, if several dims are downsampled.
/// Faults when built: a factor that does not divide the size; `Padding::Valid`.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Downsample, Filter, Padding}};
/// let line = Shape::new([("x", 6)]);
/// let coarse = Downsample::<f64>::new(&line, &[3], Filter::Box, Padding::Reflect).unwrap();
/// let mut y = [0.0; 2];
/// coarse.forward(&[1.0, 2.0, 6.0, 0.0, 0.0, 3.0], &mut y, &mut Work::default()).unwrap();
/// assert!((y[0] - 3.0).abs() < 1e-15 && (y[1] - 1.0).abs() < 1e-15);
/// ```
///
/// Source: R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29 (1981); the places of
/// pixels and the widened filter are those of MATLAB's `imresize`.
pub struct Downsample<S: Scalar> {
    domain: Shape,
    range: Shape,
    passes: Product<S::Real>,
    factors: Vec<usize>,
}

impl<S: Scalar> Downsample<S> {
    /// A downsampling of a model, with a factor for each of its dims.
    pub fn new(model: &Shape, factors: &[usize], filter: Filter, padding: Padding) -> Result<Self, Fault> {
        let range = check(model, factors, padding)?;
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let mut sizes = model.sizes();
        let mut passes = Vec::new();
        for (axis, factor) in factors.iter().enumerate().filter(|(_, factor)| **factor > 1) {
            passes.push(Along::new(around(&sizes, axis, parts), entries(sizes[axis], *factor, filter, padding)));
            sizes[axis] /= factor;
        }
        Ok(Downsample { domain: model.clone(), range, passes: Product(passes), factors: factors.to_vec() })
    }

    fn apply(&self, side: Side, from: &[S], to: &mut [S], add: bool, work: &mut Work) {
        let len = self.passes.scratch();
        let (mut first, mut second) = (work.take("resampled 1", len), work.take("resampled 2", len));
        self.passes.run(side, S::as_reals(from), S::as_reals_mut(to), add, [&mut first, &mut second]);
        work.give("resampled 2", second);
        work.give("resampled 1", first);
    }
}

/// The weights of each pixel of the result, of a line.
fn entries(size: usize, factor: usize, filter: Filter, padding: Padding) -> Vec<Vec<(usize, f64)>> {
    let wide = factor as f64;
    let reach = (filter.reach() * wide + 0.5 * (wide - 1.0)).ceil() as isize;
    let taps: Vec<(isize, f64)> = (-reach..=reach)
        .map(|p| (p, filter.at((p as f64 - 0.5 * (wide - 1.0)) / wide)))
        .filter(|(_, weight)| *weight != 0.0)
        .collect();
    let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
    let row = |i: usize| {
        let entry = |(p, weight): &(isize, f64)| Some((padding.sample((i * factor) as isize + p, size)?, weight / sum));
        taps.iter().filter_map(entry).collect()
    };
    (0..size / factor).map(row).collect()
}

impl<S: Scalar> LinearOperator<S> for Downsample<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(Side::Forward, x, y, false, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(Side::Adjoint, y, x, false, work);
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(Side::Forward, x, y, true, work);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply(Side::Adjoint, y, x, true, work);
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure { non_negative: self.passes.0.iter().all(Along::is_non_negative), ..Structure::default() }
    }
    /// The product of those of the dims.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.passes.0.iter().map(Along::norm_squared_bound).product())
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let (sizes, mut diagonal) = (self.domain.sizes(), vec![1.0; self.domain.len()]);
        let axes = (0..sizes.len()).filter(|axis| self.factors[*axis] > 1);
        for (axis, along) in axes.zip(&self.passes.0) {
            let (squares, [_, size, inner]) = (along.column_squares(), around(&sizes, axis, 1));
            diagonal.iter_mut().enumerate().for_each(|(at, value)| *value *= squares[at / inner % size]);
        }
        Some(diagonal)
    }
    /// The dims that keep their size.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let kept = self.domain.names().zip(&self.factors).filter(|(_, factor)| **factor == 1);
        kept.map(|(name, _)| [name.to_owned(), name.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::Apply;
    use crate::testing::{dot_test, structure_test};

    const FILTERS: [Filter; 5] = [Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos, Filter::Gaussian];

    /// A straight line stays one, and its pixels are where they should be: a filter of weights that sum to 1 and lie evenly
    /// about the middle leaves a linear function as it is.
    #[test]
    fn a_slope_stays_where_it_is() {
        for filter in FILTERS {
            for factor in [2, 3, 5] {
                let (size, n) = (30 * factor, 30);
                let model = Shape::new([("y", size), ("x", 4)]);
                let coarse = Downsample::<f64>::new(&model, &[factor, 1], filter, Padding::Replicate).unwrap();
                let x: Vec<f64> = (0..model.len()).map(|at| (at / 4) as f64 + 10.0 * (at % 4) as f64).collect();
                let mut y = vec![f64::NAN; n * 4];
                coarse.forward(&x, &mut y, &mut Work::default()).unwrap();
                for (at, got) in y.iter().enumerate().skip(4 * 4).take(4 * 22) {
                    let middle = (factor * (at / 4)) as f64 + 0.5 * (factor - 1) as f64;
                    assert!((got - middle - 10.0 * (at % 4) as f64).abs() < 1e-11, "{filter:?} {factor} {at}: {got}");
                }
            }
        }
    }

    /// MATLAB's `imresize` of the ramp's squares by ½: the cubic filter, twice as wide, at middles between pixels.
    #[test]
    fn filters_have_the_weights_of_their_papers() {
        let weights = |filter: Filter, factor: usize| -> Vec<f64> {
            let row = &entries(100, factor, filter, Padding::Zero)[10];
            row.iter().map(|(_, weight)| *weight).collect()
        };
        // Keys (1981), a = −1/2, at ±¼, ±¾, ±5/4, ±7/4, over 2
        let cubic = [-3.0, -9.0, 29.0, 111.0].map(|weight| weight / 256.0);
        let cubic: Vec<f64> = cubic.iter().chain(cubic.iter().rev()).copied().collect();
        assert!(weights(Filter::Bicubic, 2).iter().zip(&cubic).all(|(a, b)| (a - b).abs() < 1e-15));
        assert!(
            weights(Filter::Bilinear, 2).iter().zip([1.0, 3.0, 3.0, 1.0]).all(|(a, b)| (a - b / 8.0).abs() < 1e-15)
        );
        assert_eq!(weights(Filter::Box, 4), [0.25; 4]);
        assert_eq!(weights(Filter::Lanczos, 2).len(), 12);
    }

    #[test]
    fn adjoint_and_what_is_declared_hold() {
        let model = Shape::new([("z", 3), ("y", 8), ("x", 12)]);
        for filter in FILTERS {
            for padding in [Padding::Circular, Padding::Zero, Padding::Replicate, Padding::Reflect] {
                for factors in [[1, 1, 1], [1, 2, 3], [3, 4, 2], [1, 8, 1]] {
                    let coarse = Downsample::<Complex<f64>>::new(&model, &factors, filter, padding).unwrap();
                    assert!(
                        dot_test(&coarse, 1).unwrap().passes::<Complex<f64>>(),
                        "{filter:?} {padding:?} {factors:?}"
                    );
                    structure_test(&coarse, 1).unwrap();
                    let coarse = Downsample::<f64>::new(&model, &factors, filter, padding).unwrap();
                    let mut unit = vec![0.0; model.len()];
                    unit[101] = 1.0;
                    let mut column = vec![0.0; model.len()];
                    coarse.normal_add(&unit, &mut column, &mut Work::default()).unwrap();
                    let known = coarse.normal_diagonal().unwrap()[101];
                    assert!((column[101] - known).abs() < 1e-14, "{filter:?} {padding:?} {factors:?}: {known}");
                }
            }
        }
        for (factors, padding, says) in [
            ([1, 3, 1], Padding::Zero, "3 does not divide 8, the size of dim `y`"),
            ([1, 0, 1], Padding::Zero, "one from 1 on"),
            ([1, 2, 1], Padding::Valid, "\"valid\""),
        ] {
            let fault = Downsample::<f64>::new(&model, &factors, Filter::Box, padding).err().unwrap();
            assert!(fault.text.contains(says), "{}", fault.text);
        }
    }
}
