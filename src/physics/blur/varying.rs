//! A blur that is not the same everywhere, as a sum of products: a few kernels, and weights that say where each one counts.
//!
//! J. G. Nagy and D. P. O'Leary, "Restoring images degraded by spatially variant blur", SIAM J. Sci. Comput. 19 (1998); L. Denis
//! et al., "Fast approximations of shift-variant blur", Int. J. Comput. Vis. 115 (2015), compares weights before and after.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolution::Plan;
use super::{By, Convolution, Kernel, KernelParams, Padding};
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::physics::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// Whether weights are those of the model or of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weigh {
    /// `Σ_k h_k ∗ (w_k ⊙ x)`: a weight says how a pixel of the model is blurred.
    #[default]
    Before,
    /// `Σ_k w_k ⊙ (h_k ∗ x)`: a weight says how a pixel of the result gathers.
    After,
}

/// Kernels, and an array with the weights of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaryingBlurParams {
    /// The kernels, each a table as `kernel` of a blur.
    pub kernels: Vec<KernelParams>,
    /// A file with the weights, in the data folder: kernels × the dims of the model (of the result, if they weigh after).
    pub weights: PathBuf,
    /// Whether the weights are those of the model, before it is blurred, or of the result.
    #[serde(default)]
    pub weigh: Weigh,
    /// What lies beyond the edges of the model.
    #[serde(default)]
    pub padding: Padding,
    /// How it is computed.
    #[serde(default)]
    pub by: By,
}

impl VaryingBlurParams {
    fn plans(&self, setting: &Setting) -> Result<Vec<Plan>, Fault> {
        if self.kernels.is_empty() {
            return Err(Fault::new("`kernels` is an empty list").hint("give at least one kernel"));
        }
        let plan = |(place, kernel): (usize, &KernelParams)| {
            let plan = kernel.kernel(setting.model, setting.files);
            plan.and_then(|kernel| Plan::new(setting.model, &kernel, self.padding, self.by))
                .map_err(|fault| Fault { text: format!("`kernels`[{place}]: {}", fault.text), ..fault })
        };
        let plans = self.kernels.iter().enumerate().map(plan).collect::<Result<Vec<_>, _>>()?;
        one_range(&plans)?;
        let weighted = self.weighted(setting, &plans);
        let sizes = setting.files.sizes(&self.weights)?;
        if sizes != weighted.sizes() {
            let text = format!("`weights`: {} has sizes {sizes:?}, expected {weighted}", self.weights.display());
            return Err(Fault::new(text).hint(match self.weigh {
                Weigh::Before => "one image of weights for each kernel, with the sizes of the model",
                Weigh::After => "one image of weights for each kernel, with the sizes of the result",
            }));
        }
        Ok(plans)
    }

    /// The dims of the weights.
    fn weighted(&self, setting: &Setting, plans: &[Plan]) -> Shape {
        let of_one = if self.weigh == Weigh::Before { setting.model } else { plans[0].range() };
        let dims = of_one.dims().iter().map(|dim| (dim.name.clone(), dim.size));
        Shape::new([("kernel".to_owned(), plans.len())].into_iter().chain(dims))
    }
}

/// A fault if the results differ in size, as with `valid` padding and kernels of several sizes.
fn one_range(plans: &[Plan]) -> Result<(), Fault> {
    let first = plans[0].range();
    match plans.iter().map(Plan::range).find(|range| *range != first) {
        Some(other) => Err(Fault::new(format!("`kernels`: the results differ, {first} and {other}"))
            .hint("with `padding = \"valid\"` all kernels must have the same sizes")),
        None => Ok(()),
    }
}

impl Physics for VaryingBlurParams {
    const SUMMARY: &'static str =
        "y = Σ_k h_k ∗ (w_k ⊙ x): a blur that differs from place to place; weights from a file";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        self.plans(setting).map(|plans| plans[0].range().clone())
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let plans = self.plans(setting)?;
        let each: Vec<Needs> = plans.iter().map(Plan::needs::<S>).collect();
        let (weights, real) = (self.weighted(setting, &plans).len() as u64, size_of::<S::Real>() as u64);
        let weighted = (weights / plans.len() as u64) * size_of::<S>() as u64;
        Ok(Needs {
            bytes: each.iter().map(|needs| needs.bytes).sum::<u64>() + weights * real,
            scratch_bytes: each.iter().map(|needs| needs.scratch_bytes).max().unwrap_or(0) + weighted,
            cost: each.iter().map(|needs| needs.cost).sum::<f64>() + weights as f64,
        })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let plans = self.plans(setting)?;
        let weighted = self.weighted(setting, &plans);
        let weights = setting.files.read(&self.weights, &Tile::whole(&weighted))?.into_scalars::<f64>();
        let weights = weights.map_err(|fault| fault.hint("weights must be real"))?;
        Ok(Box::new(VaryingBlur::<S>::planned(plans, &weights, self.weigh)))
    }
}

/// `y = Σ_k h_k ∗ (w_k ⊙ x)`, or `Σ_k w_k ⊙ (h_k ∗ x)`, with real weights `w_k` and kernels `h_k`.
///
/// Weights that sum to 1 in each pixel fade from one kernel to the next.
///
/// Collective: no. Cost: that of one [`Convolution`] for each kernel. Memory: their weights or spectra, and the weights of all
/// pixels; scratch for one of them and a vector. Faults when built: those of the convolutions; weights of another number than
/// kernels times pixels; with `Valid` padding kernels of several sizes.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{By, Kernel, Padding, VaryingBlur, Weigh}};
/// let kernels = [vec![0.0, 1.0, 0.0], vec![0.5, 0.0, 0.5]].map(|w| Kernel::new(vec![3], None, w).unwrap());
/// let weights = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]; // sharp at the left, blurred at the right
/// let line = Shape::new([("x", 4)]);
/// let blur = VaryingBlur::<f64>::new(&line, &kernels, &weights, Weigh::Before, Padding::Zero, By::Auto).unwrap();
/// let mut y = [0.0; 4];
/// blur.forward(&[2.0, 0.0, 6.0, 0.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [2.0, 3.0, 0.0, 3.0]);
/// ```
pub struct VaryingBlur<S: Scalar> {
    terms: Vec<Convolution<S>>,
    /// Those of each kernel, one after the other.
    weights: Vec<S::Real>,
    weigh: Weigh,
}

impl<S: Scalar> VaryingBlur<S> {
    /// A blur of a model, with one array of weights for each kernel.
    pub fn new(
        model: &Shape,
        kernels: &[Kernel],
        weights: &[f64],
        weigh: Weigh,
        padding: Padding,
        by: By,
    ) -> Result<Self, Fault> {
        let plans: Vec<Plan> =
            kernels.iter().map(|kernel| Plan::new(model, kernel, padding, by)).collect::<Result<_, _>>()?;
        let Some(first) = plans.first() else { return Err(Fault::new("a blur needs at least one kernel")) };
        one_range(&plans)?;
        let pixels = if weigh == Weigh::Before { model.len() } else { first.range().len() };
        if weights.len() != plans.len() * pixels {
            let (want, got) = (plans.len() * pixels, weights.len());
            return Err(Fault::new(format!("a varying blur: expected {want} weights, got {got}")));
        }
        Ok(Self::planned(plans, weights, weigh))
    }

    fn planned(plans: Vec<Plan>, weights: &[f64], weigh: Weigh) -> Self {
        let terms = plans.into_iter().map(Convolution::planned).collect();
        VaryingBlur { terms, weights: weights.iter().map(|weight| S::Real::from_f64(*weight)).collect(), weigh }
    }

    fn pixels(&self) -> usize {
        self.weights.len() / self.terms.len()
    }
    fn terms(&self) -> impl Iterator<Item = (&Convolution<S>, &[S::Real])> {
        self.terms.iter().zip(self.weights.chunks_exact(self.pixels()))
    }

    /// `to += Σ_k map_k (w_k ⊙ from)`.
    fn weigh_first(&self, from: &[S], to: &mut [S], work: &mut Work, map: Map<S>) -> Result<(), Fault> {
        let mut weighted = work.take::<S>("weighted", self.pixels());
        let done = self.terms().try_for_each(|(term, weights)| {
            for ((weighted, from), weight) in weighted.iter_mut().zip(from).zip(weights) {
                *weighted = from.scale(*weight);
            }
            map(term, &weighted, to, work)
        });
        work.give("weighted", weighted);
        done
    }
    /// `to += Σ_k w_k ⊙ (map_k from)`.
    fn weigh_last(&self, from: &[S], to: &mut [S], work: &mut Work, map: Map<S>) -> Result<(), Fault> {
        let mut mapped = work.take::<S>("weighted", self.pixels());
        let done = self.terms().try_for_each(|(term, weights)| {
            map(term, from, &mut mapped, work)?;
            for ((to, mapped), weight) in to.iter_mut().zip(&mapped).zip(weights) {
                *to += mapped.scale(*weight);
            }
            Ok(())
        });
        work.give("weighted", mapped);
        done
    }
}

/// One application of a term.
type Map<S> = fn(&Convolution<S>, &[S], &mut [S], &mut Work) -> Result<(), Fault>;

impl<S: Scalar> LinearOperator<S> for VaryingBlur<S> {
    fn domain(&self) -> &Shape {
        self.terms[0].domain()
    }
    fn range(&self) -> &Shape {
        self.terms[0].range()
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        y.fill(S::default());
        self.apply_forward_add(x, y, work)
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        match self.weigh {
            Weigh::Before => self.weigh_first(x, y, work, |term, x, y, work| term.apply_forward_add(x, y, work)),
            Weigh::After => self.weigh_last(x, y, work, |term, x, y, work| term.apply_forward(x, y, work)),
        }
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        match self.weigh {
            Weigh::Before => self.weigh_last(y, x, work, |term, y, x, work| term.apply_adjoint(y, x, work)),
            Weigh::After => self.weigh_first(y, x, work, |term, y, x, work| term.apply_adjoint_add(y, x, work)),
        }
    }
    fn structure(&self) -> Structure {
        let non_negative = self.terms.iter().all(|term| term.structure().non_negative)
            && self.weights.iter().all(|weight| weight.re() >= 0.0);
        Structure { non_negative, ..Structure::default() }
    }
    /// `(Σ_k max|w_k| ‖h_k‖)²`.
    fn norm_squared_bound(&self) -> Option<f64> {
        let of_term = |(term, weights): (&Convolution<S>, &[S::Real])| {
            let largest = weights.iter().map(|weight| weight.re().abs()).fold(0.0, f64::max);
            Some(largest * term.norm_squared_bound()?.sqrt())
        };
        Some(self.terms().map(of_term).sum::<Option<f64>>()?.powi(2))
    }
    /// None, though names may be the same on both sides: weights and neighbours differ from place to place.
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Apply;
    use crate::random::Stream;
    use crate::testing::{dot_test, structure_test};

    /// Against a matrix made of what the weights and kernels say of each pair of pixels.
    #[test]
    fn each_pair_of_pixels_has_its_weight() {
        let (n, kernels) = (9, [vec![0.2, 0.5, 0.3], vec![1.0, -2.0, 0.5]]);
        let model = Shape::new([("x", n)]);
        let mut weights = vec![0.0; 2 * n];
        Stream::new(1, 1).fill_normal(0, &mut weights);
        let of = kernels.clone().map(|weights| Kernel::new(vec![3], None, weights).unwrap());
        for (weigh, padding, by) in [
            (Weigh::Before, Padding::Zero, By::Auto),
            (Weigh::Before, Padding::Circular, By::Fft),
            (Weigh::After, Padding::Circular, By::Direct),
            (Weigh::After, Padding::Zero, By::Fft),
        ] {
            let blur = VaryingBlur::<f64>::new(&model, &of, &weights, weigh, padding, by).unwrap();
            for column in 0..n {
                let mut unit = vec![0.0; n];
                unit[column] = 1.0;
                let mut y = vec![f64::NAN; n];
                blur.forward(&unit, &mut y, &mut Work::default()).unwrap();
                for (row, got) in y.into_iter().enumerate() {
                    let mut want = 0.0;
                    for (k, kernel) in kernels.iter().enumerate() {
                        let weight = weights[k * n + if weigh == Weigh::Before { column } else { row }];
                        for (j, h) in kernel.iter().enumerate() {
                            let from = row as isize + 1 - j as isize;
                            let wraps = padding == Padding::Circular;
                            let from = if wraps { from.rem_euclid(n as isize) } else { from };
                            want += if from == column as isize { weight * h } else { 0.0 };
                        }
                    }
                    assert!((got - want).abs() < 1e-14, "{weigh:?} {padding:?} ({row}, {column}): {got}, not {want}");
                }
            }
            assert!(dot_test(&blur, 3).unwrap().passes::<f64>());
            structure_test(&blur, 3).unwrap();
        }
        assert!(VaryingBlur::<f64>::new(&model, &of, &weights[1..], Weigh::After, Padding::Zero, By::Auto).is_err());
    }
}
