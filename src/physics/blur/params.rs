//! Blurs as a config describes them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::convolution::Plan;
use super::gaussian::{check, gaussian_reach};
use super::pass::Pass;
use super::window::{BlurWindow, reaches, strips};
use super::{Blur, By, Convolution, GaussianKernel, Kernel, KernelParams, Padding};
use crate::error::Fault;
use crate::operator::Basis;
use crate::physics::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// One number for all dims, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PerDim {
    /// `1.5`
    All(f64),
    /// `[0.0, 1.5, 1.5]`, in the order of the model's dims.
    Each(Vec<f64>),
}

/// By hand, because serde's own reading of an enum without a tag forgets what was expected.
impl<'de> Deserialize<'de> for PerDim {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AllOrEach;
        impl<'de> Visitor<'de> for AllOrEach {
            type Value = PerDim;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, or a list with a number for each dim of the model")
            }
            fn visit_f64<E>(self, number: f64) -> Result<PerDim, E> {
                Ok(PerDim::All(number))
            }
            fn visit_i64<E>(self, number: i64) -> Result<PerDim, E> {
                Ok(PerDim::All(number as f64))
            }
            fn visit_u64<E>(self, number: u64) -> Result<PerDim, E> {
                Ok(PerDim::All(number as f64))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<PerDim, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(PerDim::Each)
            }
        }
        from.deserialize_any(AllOrEach)
    }
}

impl PerDim {
    /// One number for each dim of a model. Fault: a list of another length.
    pub(crate) fn of(&self, key: &str, model: &Shape) -> Result<Vec<f64>, Fault> {
        let dims = model.dims().len();
        match self {
            PerDim::All(number) => Ok(vec![*number; dims]),
            PerDim::Each(numbers) if numbers.len() == dims => Ok(numbers.clone()),
            PerDim::Each(numbers) => Err(Fault::new(format!(
                "`{key}`: expected {dims} numbers, one for each dim of {model}, got {}",
                numbers.len()
            ))
            .hint("give one number for all dims, or a list in the order of model.dims")),
        }
    }
}

/// A kernel, and what lies beyond the edges of the model. The measurements have the model's dims, whatever these are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlurParams {
    /// Makes the kernel a Gaussian with this standard deviation in pixels: one number, or a list with one for each dim of the
    /// model. 0 leaves a dim as it is.
    pub sigma: Option<PerDim>,
    /// The half width of that kernel in pixels, for all dims: it has 2·radius + 1. Default: 4·sigma, rounded up.
    pub radius: Option<usize>,
    /// Any other kernel, instead of `sigma`.
    pub kernel: Option<KernelParams>,
    /// What lies beyond the edges of the model.
    #[serde(default)]
    pub padding: Padding,
    /// How it is computed.
    #[serde(default)]
    pub by: By,
}

impl BlurParams {
    /// σ for each dim, if it is a Gaussian with periodic edges, which has passes of its own.
    fn sigmas(&self, model: &Shape) -> Result<Option<Vec<f64>>, Fault> {
        match (&self.sigma, &self.kernel, self.radius) {
            (Some(sigma), None, radius) => {
                let sigmas = match sigma {
                    PerDim::All(sigma) => vec![*sigma; model.dims().len()],
                    PerDim::Each(sigmas) => sigmas.clone(),
                };
                check(model, &sigmas, radius)?;
                Ok(Some(sigmas).filter(|_| self.has_passes()))
            }
            (None, Some(_), None) => Ok(None),
            (None, Some(_), Some(_)) => Err(Fault::new("`radius` belongs to `sigma`, but the blur has a `kernel`")
                .hint("put it into the kernel's own table, if it has one")),
            (Some(_), Some(_), _) => {
                Err(Fault::new("expected one of `sigma` and `kernel`, got both").hint("remove one of them"))
            }
            (None, None, _) => Err(Fault::new("a blur needs `sigma` or `kernel`")
                .hint("for example `sigma = 1.5`, or `kernel = { kind = \"motion\", length = 9 }`")),
        }
    }
    /// Whether it goes by passes, which can be cut into blocks of the model.
    fn has_passes(&self) -> bool {
        self.sigma.is_some() && self.padding == Padding::Circular && matches!(self.by, By::Auto | By::Separable)
    }

    fn kernel(&self, setting: &Setting) -> Result<Kernel, Fault> {
        match (&self.kernel, &self.sigma) {
            (Some(kernel), _) => kernel.kernel(setting.model, setting.files),
            (None, sigma) => {
                let sigma = sigma.clone().unwrap_or(PerDim::All(0.0)); // `sigmas` has told that there is none
                GaussianKernel { sigma, angle_deg: 0.0, radius: self.radius }.kernel(setting.model)
            }
        }
    }

    fn blur(&self, setting: &Setting) -> Result<How, Fault> {
        match self.sigmas(setting.model)? {
            Some(sigmas) => Ok(How::Passes(sigmas)),
            None => {
                let kernel = self.kernel(setting)?;
                Ok(How::Convolution(Plan::new(setting.model, &kernel, self.padding, self.by)?))
            }
        }
    }

    /// How far a Gaussian with passes reaches along each dim.
    fn reach(&self, sigmas: &[f64]) -> Vec<usize> {
        sigmas.iter().map(|sigma| gaussian_reach(*sigma, self.radius)).collect()
    }

    /// That blur of the setting's window on a part of the result.
    fn on_window<S: Scalar>(&self, sigmas: &[f64], window: &Tile, tile: &Tile) -> Result<BlurWindow<S>, Fault> {
        let blur = |shape: &Shape| Blur::gaussian(shape, sigmas, self.radius, Padding::Circular);
        BlurWindow::new(window, tile, &self.reach(sigmas), blur)
    }
}

/// A Gaussian by passes, or any convolution.
enum How {
    Passes(Vec<f64>),
    Convolution(Plan),
}

impl Physics for BlurParams {
    const SUMMARY: &'static str =
        "y = k ∗ x, with a kernel k that is a Gaussian, a motion, an Airy disc, … or from a file";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::All;
    const NORMAL: Option<Basis> = Some(Basis::Fourier);

    fn normal(&self) -> Option<Basis> {
        (self.padding == Padding::Circular).then_some(Basis::Fourier)
    }
    fn model_may_be_cut(&self) -> Cuts {
        if self.has_passes() { Cuts::All } else { Cuts::Along(&[]) }
    }

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        match self.blur(setting)? {
            How::Passes(_) => Ok(setting.model.clone()),
            How::Convolution(plan) => Ok(plan.range().clone()),
        }
    }

    /// A strip around each edge of a block, and what lies between strips.
    fn contributes(&self, setting: &Setting, tile: &Tile) -> Result<Vec<Tile>, Fault> {
        let Some(sigmas) = self.sigmas(setting.model)? else { return Ok(vec![tile.clone()]) };
        let (window, reach) = (setting.window(), self.reach(&sigmas));
        let mut tiles = vec![tile.clone()];
        for (axis, dim) in setting.model.dims().iter().enumerate() {
            let edges = setting.edges(axis);
            if edges.len() <= 2 {
                continue;
            }
            let strips = strips(&edges, reach[axis]).ok_or_else(|| {
                let (name, least) = (&dim.name, 2 * reach[axis]);
                let text =
                    format!("blocks of dim `{name}`: expected at least {least} samples in each, edges are {edges:?}");
                Fault::new(text).hint("twice the reach of the kernel: cut into fewer blocks, or set `radius`")
            })?;
            let here = window.selections()[axis];
            let touched: Vec<_> =
                strips.into_iter().filter(|strip| reaches(here, *strip, dim.size, reach[axis])).collect();
            let cut = |tile: Tile| touched.iter().map(move |strip| tile.clone().with(axis, *strip)).collect::<Vec<_>>();
            tiles = tiles.into_iter().flat_map(cut).collect();
        }
        Ok(tiles)
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let sigmas = match self.blur(setting)? {
            How::Convolution(plan) => return Ok(plan.needs::<S>()),
            How::Passes(sigmas) => sigmas,
        };
        let window = setting.part().map(|window| self.on_window::<S>(&sigmas, window, tile)).transpose()?;
        let beside = window.as_ref().map_or(0, BlurWindow::bytes);
        let is_part = window.is_some();
        let blur = match window {
            Some(window) => window.into_blur(),
            None => Blur::<S>::gaussian(setting.model, &sigmas, self.radius, Padding::Circular)?,
        };
        let numbers = blur.shape.len() * if S::IS_COMPLEX { 2 } else { 1 };
        let around = if is_part { 2 * numbers } else { 0 };
        // Two additions and a product for each pair of neighbours.
        let flops: usize = blur.passes.iter().map(|pass| 1 + 3 * pass.radius()).sum();
        let [first, second, tiles] = blur.scratch(1);
        Ok(Needs {
            bytes: (blur.passes.iter().map(Pass::bytes).sum::<usize>() + beside) as u64,
            scratch_bytes: ((around + first + second + tiles) * size_of::<S::Real>()) as u64,
            cost: (numbers * flops) as f64,
        })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        Ok(match (self.blur(setting)?, setting.part()) {
            (How::Convolution(plan), _) => Box::new(Convolution::<S>::planned(plan)),
            (How::Passes(sigmas), Some(window)) => Box::new(self.on_window::<S>(&sigmas, window, tile)?),
            (How::Passes(sigmas), None) => {
                Box::new(Blur::<S>::gaussian(setting.model, &sigmas, self.radius, Padding::Circular)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::{Apply, Work};
    use crate::physics::{AnyPhysics, NoFiles};
    use crate::random::Stream;

    fn shape(dims: &[(&str, usize)]) -> Shape {
        Shape::new(dims.iter().copied())
    }

    fn random<S: Scalar>(len: usize, stream: u64) -> Vec<S> {
        let mut values = vec![S::default(); len];
        Stream::new(5, stream).fill_normal(0, &mut values);
        values
    }

    fn params(text: &str) -> Result<AnyPhysics, String> {
        toml::from_str(&format!("kind = \"blur\"\n{text}")).map_err(|error| error.to_string())
    }

    #[test]
    fn sigma_is_read_in_all_forms() {
        let sigma = |text: &str| match params(text) {
            Ok(AnyPhysics::Blur(blur)) => {
                let back: BlurParams = toml::from_str(&toml::to_string(&blur).unwrap()).unwrap();
                assert_eq!(back, blur);
                Ok((blur.sigma, blur.radius))
            }
            Ok(other) => panic!("{other:?}"),
            Err(text) => Err(text),
        };
        assert_eq!(sigma("sigma = 2"), Ok((Some(PerDim::All(2.0)), None)));
        assert_eq!(sigma("sigma = 0.5\nradius = 3\npadding = \"circular\""), Ok((Some(PerDim::All(0.5)), Some(3))));
        assert_eq!(sigma("sigma = [0, 1.5]"), Ok((Some(PerDim::Each(vec![0.0, 1.5])), None)));
        for (text, says) in [
            ("sigma = \"2\"", "expected a number, or a list with a number for each dim of the model"),
            ("sigma = [1, true]", "expected f64"),
            ("sigma = 1\nradius = 1.5", "expected usize"),
            ("sigma = 1\nradius = -1", "expected usize"),
            (
                "sigma = 1\npadding = \"mirror\"",
                "unknown variant `mirror`, expected one of `circular`, `valid`, `zero`",
            ),
            ("sigma = 1\nwidth = 3", "unknown field `width`"),
        ] {
            let got = sigma(text).unwrap_err();
            assert!(got.contains(says), "{text}: {got}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong_and_what_to_do() {
        let model = shape(&[("y", 4), ("x", 5)]);
        let setting = Setting::new(&model, &NoFiles);
        for (text, says, hint) in [
            ("sigma = [1.0]", "expected 2 numbers, one for each dim of (y=4, x=5), got 1", "for all dims"),
            ("sigma = -1.0", "from 0 on, got -1 for dim `y`", "standard deviation"),
            ("sigma = [1.0, nan]", "from 0 on, got NaN for dim `x`", "standard deviation"),
            ("sigma = inf", "from 0 on, got inf for dim `y`", "standard deviation"),
            ("sigma = 1e6", "at most 1048576 pixels, got 4000000", "in pixels"),
            ("sigma = 1.0\nradius = 2000000", "at most 1048576 pixels, got 2000000", "in pixels"),
            ("", "needs `sigma` or `kernel`", "sigma = 1.5"),
            (
                "sigma = 1.0\nkernel = { kind = \"box\", width = 3 }",
                "one of `sigma` and `kernel`, got both",
                "remove one",
            ),
            ("radius = 1\nkernel = { kind = \"box\", width = 3 }", "`radius` belongs to `sigma`", "own table"),
            (
                "kernel = { kind = \"box\", width = 6 }",
                "larger than the image: 7 pixels along dim `y`, which has 4",
                "smaller",
            ),
            (
                "sigma = 1.0\npadding = \"valid\"",
                "larger than the image: 9 pixels along dim `y`, which has 4",
                "smaller",
            ),
            ("kernel = { kind = \"motion\", length = -1 }", "`length` is -1", "length of the way"),
        ] {
            let fault = params(text).unwrap().range(&setting).unwrap_err();
            let told = fault.hint.expect("what to do");
            assert!(fault.text.contains(says) && told.contains(hint), "{text}: {} | {told}", fault.text);
        }
    }

    #[test]
    fn scratch_is_what_needs_says() {
        let model = shape(&[("z", 4), ("y", 70), ("x", 300)]);
        let setting = Setting::new(&model, &NoFiles);
        let params = params("sigma = 1.5").unwrap();
        assert_eq!(params.range(&setting).unwrap(), model);
        let needs = params.needs::<Complex<f64>>(&setting, &Tile::whole(&model)).unwrap();
        let blur = params.build::<Complex<f64>>(&setting, &Tile::whole(&model)).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let held = pool.install(|| {
            let mut work = Work::default();
            let mut y = vec![Complex::default(); model.len()];
            blur.forward(&random(model.len(), 9), &mut y, &mut work).unwrap();
            let mut held = 0;
            for name in ["blur 1", "blur 2", "blur tiles"] {
                held += work.take::<f64>(name, 0).capacity() * 8;
            }
            held as u64
        });
        assert_eq!(needs.scratch_bytes, held);
        // radius 6 in all dims, but z has 4 slices: its kernel is folded to two neighbours on each side
        assert_eq!(needs.bytes, 8 * (7 + 7 + 3));
        assert_eq!(needs.cost, (2 * model.len() * (3 + 3 * (6 + 6 + 2))) as f64);
    }
}
