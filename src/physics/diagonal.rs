//! A diagonal operator `y = d ⊙ x`: weights, masks, apodisation.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::{Real, Scalar};
use crate::space::{Ranges, Shape, Tile};

/// The diagonal: one number for all elements, or a file with the model's sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagonalParams {
    /// One factor for all elements.
    pub value: Option<f64>,
    /// An array (npy, npz, cfl, TIFF, …) with one factor for each element, in the data folder.
    pub path: Option<PathBuf>,
}

impl Physics for DiagonalParams {
    const SUMMARY: &'static str = "y = d ⊙ x, with one number or a file as d";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::All;
    const NORMAL: Option<Basis> = Some(Basis::Model);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        match (self.value, &self.path) {
            (Some(value), None) if !value.is_finite() => {
                Err(Fault::new(format!("`value` is {value}, expected a finite number"))
                    .hint("correct it in the operator's table"))
            }
            (Some(_), None) => Ok(setting.model.clone()),
            (None, Some(path)) => {
                let sizes = setting.files.sizes(path)?;
                if sizes != setting.model.sizes() {
                    let text =
                        format!("`path`: {} has sizes {sizes:?}, the model is {}", path.display(), setting.model);
                    return Err(Fault::new(text).hint("a diagonal has one number for each number of the model"));
                }
                Ok(setting.model.clone())
            }
            _ => Err(Fault::new("a diagonal operator needs either `value` or `path`")
                .hint("for example `value = 2.0`, or `path = \"weights.npy\"`")),
        }
    }

    fn contributes(&self, setting: &Setting, _tile: &Tile) -> Result<Vec<Tile>, Fault> {
        Ok(vec![setting.window()])
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let len = setting.window().shape().len();
        Ok(Needs { bytes: (len * size_of::<S>()) as u64, scratch_bytes: 0, cost: len as f64 })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let diagonal = match &self.path {
            Some(path) => setting.files.read(path, tile)?.into_scalars()?,
            None => vec![S::from_f64(self.value.unwrap_or(1.0)); tile.shape().len()],
        };
        Ok(Box::new(Diagonal { shape: tile.shape(), diagonal }))
    }
}

/// `y = d ⊙ x`, element by element; the adjoint multiplies with the conjugate of `d`.
///
/// Collective: no. Cost: one product per element. Memory: `d`. Faults when built: `d` of another length than the shape.
///
/// ```
/// use stackphys::{operator::{Apply, Work}, physics::Diagonal};
/// let mask = Diagonal::new([("x", 3)], vec![1.0, 0.0, 1.0]).unwrap();
/// let mut y = [0.0; 3];
/// mask.forward(&[5.0, 6.0, 7.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [5.0, 0.0, 7.0]);
/// ```
pub struct Diagonal<S> {
    shape: Shape,
    diagonal: Vec<S>,
}

impl<S: Scalar> Diagonal<S> {
    /// A diagonal operator on vectors of the given dims.
    pub fn new<N: Into<String>>(dims: impl IntoIterator<Item = (N, usize)>, diagonal: Vec<S>) -> Result<Self, Fault> {
        let shape = Shape::new(dims);
        if shape.len() != diagonal.len() {
            let (len, got) = (shape.len(), diagonal.len());
            return Err(Fault::new(format!("diagonal: expected {len} numbers for {shape}, got {got}")));
        }
        Ok(Diagonal { shape, diagonal })
    }
}

impl<S: Scalar> LinearOperator<S> for Diagonal<S> {
    fn domain(&self) -> &Shape {
        &self.shape
    }
    fn range(&self) -> &Shape {
        &self.shape
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for ((y, x), d) in y.iter_mut().zip(x).zip(&self.diagonal) {
            *y = *d * *x;
        }
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for ((x, y), d) in x.iter_mut().zip(y).zip(&self.diagonal) {
            *x = d.conj() * *y;
        }
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for ((y, x), d) in y.iter_mut().zip(x).zip(&self.diagonal) {
            *y += *d * *x;
        }
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for ((x, y), d) in x.iter_mut().zip(y).zip(&self.diagonal) {
            *x += d.conj() * *y;
        }
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for ((out, x), d) in out.iter_mut().zip(x).zip(&self.diagonal) {
            *out += d.conj() * *d * *x;
        }
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure {
            self_adjoint: self.diagonal.iter().all(|d| d.im() == 0.0),
            non_negative: self.diagonal.iter().all(|d| d.im() == 0.0 && d.re() >= 0.0),
            isometry: self.diagonal.iter().all(|d| (d.modulus_squared() - 1.0).abs() <= 4.0 * S::Real::EPSILON),
        }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.diagonal.iter().map(|d| d.modulus_squared()).fold(0.0, f64::max))
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(self.diagonal.iter().map(|d| d.modulus_squared()).collect())
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let diagonal = || LinearOperator::<S>::normal_diagonal(self);
        (basis == Basis::Model).then(diagonal).flatten()
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.shape.axis(dim).is_some()
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let tile = ranges.tile(&self.shape);
        let diagonal = tile.offsets().map(|offset| self.diagonal[offset]).collect();
        Ok(Arc::new(Diagonal { shape: tile.shape(), diagonal }))
    }
    fn normal_operator(&self) -> Option<SharedOperator<S>> {
        let squared = |d: &S| S::from_f64(d.modulus_squared());
        let diagonal = self.diagonal.iter().map(squared).collect();
        Some(Arc::new(Diagonal { shape: self.shape.clone(), diagonal }))
    }
}
