//! The identity `y = x`: measurements of the image itself, or a Tikhonov term.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape, Tile};

/// The identity has no parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityParams {}

impl Physics for IdentityParams {
    const SUMMARY: &'static str = "y = x";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::All;
    const NORMAL: Option<Basis> = Some(Basis::Model);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        Ok(setting.model.clone())
    }
    fn contributes(&self, setting: &Setting, _tile: &Tile) -> Result<Vec<Tile>, Fault> {
        Ok(vec![setting.window()])
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        Ok(Needs { bytes: 0, scratch_bytes: 0, cost: setting.window().shape().len() as f64 })
    }
    fn build<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        Ok(Box::new(Identity::new(setting.window().shape())))
    }
}

/// `y = x`.
///
/// Collective: no. Cost: one copy. Memory: none.
///
/// ```
/// use stackphys::{Shape, operator::{Apply, Work}, physics::Identity};
/// let same = Identity::new(Shape::new([("x", 2)]));
/// let mut y = [0.0; 2];
/// same.forward(&[3.0, 4.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [3.0, 4.0]);
/// ```
pub struct Identity {
    shape: Shape,
}

impl Identity {
    /// The identity on vectors of a shape.
    pub fn new(shape: Shape) -> Self {
        Identity { shape }
    }
}

impl<S: Scalar> LinearOperator<S> for Identity {
    fn domain(&self) -> &Shape {
        &self.shape
    }
    fn range(&self) -> &Shape {
        &self.shape
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        y.copy_from_slice(x);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        x.copy_from_slice(y);
        Ok(())
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        for (sum, term) in x.iter_mut().zip(y) {
            *sum += *term;
        }
        Ok(())
    }
    fn apply_forward_add(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply_adjoint_add(x, y, work)
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.apply_adjoint_add(x, out, work)
    }
    fn structure(&self) -> Structure {
        Structure { self_adjoint: true, non_negative: true, isometry: true }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(1.0)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(vec![1.0; self.shape.len()])
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let diagonal = || LinearOperator::<S>::normal_diagonal(self);
        (basis == Basis::Model).then(diagonal).flatten()
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.shape.axis(dim).is_some()
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        Ok(Arc::new(Identity::new(ranges.shape(&self.shape))))
    }
}
