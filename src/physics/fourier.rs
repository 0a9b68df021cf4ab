//! The centred unitary Fourier transform over some dims of the model, with a mask of what was sampled.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::centred::Centred;
use super::nufft::expect_complex;
use super::sampling::SamplingParams;
use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape, Tile};

/// Over which dims, and which samples. Of a dim `y` the transform is `ky`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FourierParams {
    /// The dims that are transformed. Default: all of the model.
    pub dims: Option<Vec<String>>,
    /// Which samples there are, over the dims that are transformed. Default: all.
    pub mask: Option<SamplingParams>,
}

impl FourierParams {
    /// The sizes of the transformed dims.
    fn transformed(&self, model: &Shape) -> Result<Vec<(usize, bool)>, Fault> {
        let names = || self.dims.iter().flatten();
        if let Some(name) = names().find(|name| model.axis(name).is_none()) {
            return Err(Fault::new(format!("`dims`: there is no dim `{name}`, the model is {model}"))
                .hint("name dims of the model, or leave `dims` out for all"));
        }
        let chosen = |name: &str| self.dims.is_none() || names().any(|dim| dim == name);
        Ok(model.dims().iter().map(|dim| (dim.size, chosen(&dim.name))).collect())
    }

    fn samples(&self, setting: &Setting, dims: &[(usize, bool)]) -> Result<Option<Vec<bool>>, Fault> {
        let sizes: Vec<usize> = dims.iter().filter(|dim| dim.1).map(|dim| dim.0).collect();
        self.mask.as_ref().map(|mask| mask.samples(&sizes, setting.files)).transpose()
    }
}

impl Physics for FourierParams {
    const SUMMARY: &'static str = "the centred unitary Fourier transform over chosen dims, with a mask of samples";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const NORMAL: Option<Basis> = Some(Basis::Fourier);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let dims = self.transformed(setting.model)?;
        if let Some(mask) = &self.mask {
            mask.check(&dims.iter().filter(|dim| dim.1).map(|dim| dim.0).collect::<Vec<_>>(), setting.files)?;
        }
        Ok(range_of(setting.model, &dims))
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        expect_complex::<S>("fourier")?;
        let (bytes, scratch, cost) = Centred::<S>::needs(&self.transformed(setting.model)?);
        let before = setting.model.len() * size_of::<S>();
        Ok(Needs { bytes: (bytes + before) as u64, scratch_bytes: scratch as u64, cost })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let dims = self.transformed(setting.model)?;
        let mask = self.samples(setting, &dims)?;
        let names: Vec<&str> =
            setting.model.names().zip(&dims).filter(|(_, dim)| dim.1).map(|(name, _)| name).collect();
        Ok(Box::new(Fourier::new(setting.model, &names, mask.as_deref())?))
    }
}

/// The names of the transform.
fn range_of(model: &Shape, dims: &[(usize, bool)]) -> Shape {
    let name = |(name, dim): (&str, &(usize, bool))| (if dim.1 { format!("k{name}") } else { name.to_owned() }, dim.0);
    Shape::new(model.names().zip(dims).map(name))
}

/// `y_k = m_k N^(−½) Σ_n x_n exp(−2πi Σ_d (k_d − c_d)(n_d − c_d)/N_d)` with c = ⌊N/2⌋, over some dims; the others are a batch.
///
/// Without a mask it is unitary. What the mask `m` leaves out is zero, of the adjoint too.
///
/// Shapes: the model's dims → the same, with a `k` before the names of those that are transformed. Collective: no. Cost: a fast
/// Fourier transform, and two products for each number; `AᴴA` a pair of transforms in one go. Memory: two and a half models;
/// scratch for one. Threads: one. Faults when built: a real scalar, a dim that the model does not have, a mask of another size or
/// without samples.
///
/// ```
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::Fourier};
/// let line = Shape::new([("x", 4)]);
/// let fourier = Fourier::<Complex<f64>>::new(&line, &["x"], None).unwrap();
/// let mut y = [Complex::default(); 4];
/// fourier.forward(&[Complex::from(1.0); 4], &mut y, &mut Work::default()).unwrap();
/// assert!((y[2] - 2.0).norm() < 1e-15 && y[0].norm() < 1e-15); // frequency 0 is in the middle
/// ```
pub struct Fourier<S: Scalar> {
    domain: Shape,
    range: Shape,
    dims: Vec<(usize, bool)>,
    mask: Option<Vec<bool>>,
    centred: Centred<S>,
    before: Vec<S>,
}

impl<S: Scalar> Fourier<S> {
    /// Over the named dims of a model, with the samples of a mask over these.
    pub fn new(model: &Shape, names: &[&str], mask: Option<&[bool]>) -> Result<Self, Fault> {
        expect_complex::<S>("fourier")?;
        let params = FourierParams { dims: Some(names.iter().map(|name| (*name).to_owned()).collect()), mask: None };
        let dims = params.transformed(model)?;
        let elements: usize = dims.iter().filter(|dim| dim.1).map(|dim| dim.0).product();
        if let Some(mask) = mask {
            super::sampling::check_samples(mask, elements)?;
        }
        Ok(Fourier {
            range: range_of(model, &dims),
            domain: model.clone(),
            centred: Centred::new(&dims, mask),
            before: Centred::before(&dims),
            mask: mask.map(<[bool]>::to_vec),
            dims,
        })
    }
}

impl<S: Scalar> LinearOperator<S> for Fourier<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.centred.forward(&self.before, x, y, work);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.centred.adjoint_add(&self.before, y, x, work);
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        if self.mask.is_none() {
            crate::space::add(x, out);
        } else {
            self.centred.normal_add(&self.before, x, out, work);
        }
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure {
            isometry: self.mask.as_ref().is_none_or(|mask| mask.iter().all(|taken| *taken)),
            ..Structure::default()
        }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(1.0)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![self.centred.sampled(); self.domain.len()])
    }
    /// The mask, with frequency 0 at the beginning.
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let at_origin = |offset: usize| {
            let (mut rest, mut at, mut stride) = (offset, 0, 1);
            for &(size, transformed) in self.dims.iter().rev() {
                at += (rest % size + if transformed { size / 2 } else { 0 }) % size * stride;
                (rest, stride) = (rest / size, stride * size);
            }
            f64::from(u8::from(self.centred.is_sampled(at)))
        };
        (basis == Basis::Fourier).then(|| (0..self.domain.len()).map(at_origin).collect())
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.domain.axis(dim).is_some_and(|axis| !self.dims[axis].1)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let names = self.domain.names().zip(&self.dims).filter(|(_, dim)| dim.1);
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        Ok(Arc::new(Fourier::new(&ranges.shape(&self.domain), &names, self.mask.as_deref())?))
    }
}
