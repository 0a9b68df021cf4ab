//! The Fourier transform of an image at places that are on no grid: radial and spiral MRI, radio interferometry.
//!
//! Reference: A. H. Barnett, J. F. Magland and L. af Klinteberg, "A parallel nonuniform fast Fourier transform library based on
//! an 'exponential of semicircle' kernel", SIAM J. Sci. Comput. 41 (2019): a fine grid, points sorted by bins, polynomials for
//! the kernel. The kernel here is Kaiser and Bessel's, whose Fourier transform is known in closed form ([`kernel`]).

mod engine;
mod kernel;
mod lanes;
mod toeplitz;

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use engine::Engine;
pub(crate) use toeplitz::Toeplitz;

use super::trajectory::{TrajectoryParams, check_points};
use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::{Real, Scalar};
use crate::space::{Ranges, Shape, Tile};

/// How `AᴴA` of a transform at points is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormalForm {
    /// What is cheaper by the number of operations.
    #[default]
    Auto,
    /// As a convolution on twice the grid.
    Toeplitz,
    /// `A`, then `Aᴴ`.
    Composed,
}

/// How exact a transform at points is, and how it is made so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NufftAccuracy {
    /// The relative error, ‖error‖/‖result‖: 1e-12 to 1e-1; in single precision from 1e-6 on.
    pub accuracy: f64,
    /// The size of the fine grid, as a multiple of the model's: 2.0, or 1.25 for less memory and less accuracy.
    pub oversampling: f64,
    /// How `AᴴA` is applied.
    pub normal: NormalForm,
}

impl Default for NufftAccuracy {
    fn default() -> Self {
        NufftAccuracy { accuracy: 1e-6, oversampling: 2.0, normal: NormalForm::Auto }
    }
}

/// A transform at points, and its normal operator: what all operators on it have in common.
pub(crate) struct Transform<R: Real> {
    pub engine: Engine<R>,
    sizes: Vec<usize>,
    points: Vec<f64>,
    how: NufftAccuracy,
    /// Made when `AᴴA` is applied for the first time.
    toeplitz: OnceLock<Result<Arc<Toeplitz<R>>, Fault>>,
}

impl<R: Real> Transform<R> {
    fn new(model: &Shape, points: Vec<f64>, how: NufftAccuracy) -> Result<Self, Fault> {
        check_points(&points, model)?;
        let sizes = model.sizes();
        let engine = Engine::new(&sizes, &points, how.accuracy, how.oversampling)?;
        Ok(Transform { engine, sizes, points, how, toeplitz: OnceLock::new() })
    }

    /// At the places of samples, as many as these and the model's dims need.
    pub fn of_samples(model: &Shape, samples: &Shape, points: Vec<f64>, how: NufftAccuracy) -> Result<Self, Fault> {
        let (expected, got) = (samples.len() * model.dims().len(), points.len());
        if expected != got {
            let text = format!("nufft: expected {expected} places for {samples} and the model {model}, got {got}");
            return Err(Fault::new(text).hint("one place for each sample and dim"));
        }
        Self::new(model, points, how)
    }

    /// `out += m̄ ⊙ AᴴA (m ⊙ x)`, with `m` = 1 if there is none.
    pub fn normal_add<S: Scalar<Real = R>>(
        &self,
        map: Option<&[S]>,
        x: &[S],
        out: &mut [S],
        work: &mut Work,
    ) -> Result<(), Fault> {
        if let Some(toeplitz) = self.toeplitz()? {
            toeplitz.apply_add(map, x, out, work);
            return Ok(());
        }
        let mut data = work.take::<S>("Ax", self.engine.count());
        self.engine.forward(map, x, &mut data, false, work);
        self.engine.adjoint_add(map, &data, out, work);
        work.give("Ax", data);
        Ok(())
    }

    /// All numbers of the matrix have the same size: the sum of their squares is the number of samples.
    pub fn norm_squared_bound(&self) -> f64 {
        self.engine.count() as f64 * (1.0 + 3.0 * self.how.accuracy).powi(2)
    }

    /// What stands on the diagonal of `AᴴA`, within the accuracy.
    pub fn normal_diagonal(&self) -> f64 {
        self.engine.count() as f64 / self.sizes.iter().product::<usize>() as f64
    }

    /// Whether `AᴴA` is a convolution.
    fn is_toeplitz(how: NufftAccuracy, sizes: &[usize], composed: f64) -> bool {
        match how.normal {
            NormalForm::Toeplitz => true,
            NormalForm::Composed => false,
            NormalForm::Auto => toeplitz::cost(sizes) < 2.0 * composed,
        }
    }

    /// The convolution that `AᴴA` is, if it is cheaper.
    pub fn toeplitz(&self) -> Result<Option<&Arc<Toeplitz<R>>>, Fault> {
        let count = self.engine.count();
        let needs = Engine::<R>::needs(&self.sizes, count, self.how.accuracy, self.how.oversampling)?;
        if !Self::is_toeplitz(self.how, &self.sizes, needs.cost) {
            return Ok(None);
        }
        let make = || Toeplitz::new(&self.sizes, &self.points, None, self.how.accuracy).map(Arc::new);
        self.toeplitz.get_or_init(make).as_ref().map(Some).map_err(Clone::clone)
    }

    /// The places of some of the samples.
    pub fn points_of(&self, tile: &Tile) -> Vec<f64> {
        let dims = self.sizes.len();
        tile.offsets().flat_map(|sample| self.points[sample * dims..(sample + 1) * dims].to_vec()).collect()
    }

    pub fn how(&self) -> NufftAccuracy {
        self.how
    }

    /// What a transform at so many points needs, for vectors of complex numbers.
    pub fn needs(sizes: &[usize], count: usize, how: NufftAccuracy) -> Result<Needs, Fault> {
        let of = Engine::<R>::needs(sizes, count, how.accuracy, how.oversampling)?;
        let doubled: usize = toeplitz::doubled(sizes).iter().product();
        let convolution = if Self::is_toeplitz(how, sizes, of.cost) { doubled } else { 0 };
        let bytes = of.bytes + count * sizes.len() * size_of::<f64>() + convolution * size_of::<R>();
        let field = 2 * convolution * size_of::<R>();
        Ok(Needs { bytes: bytes as u64, scratch_bytes: of.scratch_bytes.max(field) as u64, cost: of.cost })
    }
}

/// A fault unless a scalar is complex.
pub(in crate::physics) fn expect_complex<S: Scalar>(what: &str) -> Result<(), Fault> {
    if S::IS_COMPLEX {
        return Ok(());
    }
    Err(Fault::new(format!("{what}: expected a complex model, it is {}", S::NAME))
        .hint("set model.scalar to \"complex_f32\" or \"complex_f64\": Fourier transforms are complex"))
}

/// A Fourier transform at the places of a trajectory. The measurements are (sample) or (spoke, sample).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NufftParams {
    /// Where the samples lie.
    pub trajectory: TrajectoryParams,
    /// `{ accuracy, oversampling, normal }`
    #[serde(default)]
    pub nufft: NufftAccuracy,
}

impl Physics for NufftParams {
    const SUMMARY: &'static str =
        "the Fourier transform at the places of a trajectory (NUFFT), with a requested accuracy";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["spoke", "sample"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let shape = self.trajectory.shape(setting)?;
        Engine::<f64>::needs(&setting.model.sizes(), 0, self.nufft.accuracy, self.nufft.oversampling)?;
        Ok(shape)
    }
    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        expect_complex::<S>("nufft")?;
        Transform::<S::Real>::needs(&setting.model.sizes(), tile.shape().len(), self.nufft)
    }
    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let points = self.trajectory.points(setting, tile)?;
        Ok(Box::new(Nufft::new(setting.model, tile.shape(), points, self.nufft)?))
    }
}

/// `y_j = N^(−½) Σ_n x_n exp(−2πi k_j·(n − ⌊N/2⌋))`: the centred unitary Fourier transform of an image, at places k_j in cycles
/// per sample. What others call type 2; the adjoint is type 1, with the opposite sign.
///
/// To a relative error that was asked for (`‖error‖/‖result‖` where all frequencies of the model are alike; an image that has
/// nothing but its highest ones gets up to three times that); the adjoint is that of the very same approximation, to rounding.
/// `AᴴA` is a convolution on twice the grid where that costs less ([`NormalForm`]), made when first asked for; it is the true one
/// within the accuracy, not that of the approximation.
///
/// Shapes: a model of 1 to 3 dims → one number for each place, in dims of any names. Collective: no. Cost: a Fourier transform
/// of a grid `oversampling` times as fine along each dim, without what is zero, and for each place as many neighbours as the
/// accuracy needs digits and one, along each dim. Memory: some 40 bytes for each place, the convolution (2^dims models of
/// real numbers); scratch for the fine grid. Threads: those of the rayon pool in which it is called, for the places, not for the
/// Fourier transforms; the result is the same bit for bit whatever their number. Faults when built: a real scalar; other than
/// 1 to 3 dims; a place that is not finite or beyond ±½; an accuracy that the scalar or the oversampling cannot reach.
///
/// ```
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{Nufft, NufftAccuracy}};
/// let line = Shape::new([("x", 4)]);
/// let places = vec![0.0, 0.3];
/// let nufft = Nufft::<Complex<f64>>::new(&line, Shape::new([("sample", 2)]), places, NufftAccuracy::default()).unwrap();
/// let mut y = [Complex::default(); 2];
/// nufft.forward(&[1.0, 2.0, 3.0, 4.0].map(Complex::from), &mut y, &mut Work::default()).unwrap();
/// assert!((y[0] - 5.0).norm() < 1e-5); // the sum of all, over √4
/// ```
///
/// Source: Barnett, Magland and af Klinteberg, SIAM J. Sci. Comput. 41 (2019), sections 3 and 5.
pub struct Nufft<S: Scalar> {
    domain: Shape,
    range: Shape,
    transform: Transform<S::Real>,
}

impl<S: Scalar> Nufft<S> {
    /// A transform at places: for each number of the range as many as the model has dims, in their order.
    pub fn new(model: &Shape, range: Shape, places: Vec<f64>, how: NufftAccuracy) -> Result<Self, Fault> {
        expect_complex::<S>("nufft")?;
        let transform = Transform::of_samples(model, &range, places, how)?;
        Ok(Nufft { domain: model.clone(), range, transform })
    }
}

impl<S: Scalar> LinearOperator<S> for Nufft<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.transform.engine.forward(None, x, y, false, work);
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.transform.engine.forward(None, x, y, true, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.transform.engine.adjoint_add(None, y, x, work);
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.transform.normal_add(None, x, out, work)
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.transform.norm_squared_bound())
    }
    /// Within the accuracy.
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![self.transform.normal_diagonal(); self.domain.len()])
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.range.axis(dim).is_some()
    }
    /// None: a frequency depends on the whole image, even if a name of the range is one of the model.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new()
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let points = self.transform.points_of(&ranges.tile(&self.range));
        Ok(Arc::new(Nufft::new(&self.domain, ranges.shape(&self.range), points, self.transform.how)?))
    }
    fn normal_operator(&self) -> Option<SharedOperator<S>> {
        let toeplitz = self.transform.toeplitz().ok().flatten()?;
        Some(Arc::new(ToeplitzNormal::new(self.domain.clone(), toeplitz.clone())))
    }
}

/// `AᴴWA` of a transform at points as an operator: a convolution on twice the grid, by one pair of Fourier transforms.
///
/// `W` are weights of the samples, such as those that make up for their density. Self-adjoint. Shapes: a model of 1 to 3 dims
/// on both sides; the dims of the result have the next free number. Collective: no. Cost: two Fourier transforms of twice the
/// grid, without what is zero. Memory: 2^dims models of real numbers; scratch for twice that. Faults when built: those of
/// [`Nufft`]; another number of weights than of samples.
///
/// ```
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::ToeplitzNormal};
/// let line = Shape::new([("x", 2)]);
/// let normal = ToeplitzNormal::<Complex<f64>>::of_samples(&line, &[0.0], Some(&[3.0]), 1e-9).unwrap();
/// let mut out = [Complex::default(); 2];
/// normal.forward(&[1.0, 0.0].map(Complex::from), &mut out, &mut Work::default()).unwrap();
/// assert!(out.iter().all(|out| (out - 1.5).norm() < 1e-6)); // W is 3, and N is 2
/// ```
pub struct ToeplitzNormal<S: Scalar> {
    domain: Shape,
    range: Shape,
    toeplitz: Arc<Toeplitz<S::Real>>,
}

impl<S: Scalar> ToeplitzNormal<S> {
    fn new(domain: Shape, toeplitz: Arc<Toeplitz<S::Real>>) -> Self {
        let names = domain.dims().iter().map(|dim| (format!("{}1", dim.name), dim.size));
        ToeplitzNormal { range: Shape::new(names), domain, toeplitz }
    }

    /// From the places of the samples, and their weights if there are any.
    pub fn of_samples(model: &Shape, places: &[f64], weights: Option<&[f64]>, accuracy: f64) -> Result<Self, Fault> {
        expect_complex::<S>("nufft")?;
        check_points(places, model)?;
        let count = places.len() / model.dims().len().max(1);
        if let Some(weights) = weights
            && weights.len() != count
        {
            return Err(Fault::new(format!(
                "nufft: expected {count} weights, one for each sample, got {}",
                weights.len()
            ))
            .hint("a weight belongs to a sample, not to a dim of its place"));
        }
        let toeplitz = Toeplitz::new(&model.sizes(), places, weights, accuracy)?;
        Ok(Self::new(model.clone(), Arc::new(toeplitz)))
    }
}

impl<S: Scalar> LinearOperator<S> for ToeplitzNormal<S> {
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
        self.toeplitz.apply_add(None, x, y, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply_forward(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply_forward_add(y, x, work)
    }
    fn structure(&self) -> Structure {
        Structure { self_adjoint: true, ..Structure::default() }
    }
}
