//! The proximal map of a least-squares term: `argmin ½ Σ γ_i ‖A_i x − y_i‖² + ½ ‖x − z‖²`.
//!
//! Reference: N. Parikh and S. Boyd, "Proximal algorithms", Found. Trends Optim. 1 (2014), section 6.1.1. Its optimality
//! condition `(Σ γ_i A_iᴴA_i + I) x = Σ γ_i A_iᴴy_i + z` is solved by conjugate gradients.

use super::drive::{Observer, Outcome, Progress, drive};
use super::memory::Memory;
use super::system::{System, relative};
use super::{Cg, Solver, stop, with_trouble_rules};
use crate::comm::Team;
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::space::Vector;
use crate::stack::Stack;

/// How much each operator's data count against the distance from the centre.
#[derive(Debug, Clone, PartialEq)]
pub enum Gamma {
    /// One γ ≥ 0 for all operators.
    One(f64),
    /// γ_i ≥ 0 for each operator of the stack, in its order.
    Each(Vec<f64>),
}

/// Parameters of the proximal map.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxL2Params {
    /// The weight of the data.
    pub gamma: Gamma,
    /// The largest number of iterations.
    pub max_iter: usize,
    /// Stops when the residual of the optimality condition is at most this part of its right-hand side.
    pub tolerance: f64,
}

impl Default for ProxL2Params {
    fn default() -> Self {
        ProxL2Params { gamma: Gamma::One(1.0), max_iter: 50, tolerance: 1e-6 }
    }
}

/// `argmin ½ Σ γ_i ‖A_i x − y_i‖² + ½ ‖x − z‖²`, from a warm start or from `z`, and how the iteration ended.
///
/// Collective: yes. Cost: `Σ γ_i A_iᴴy_i` once, then one `A`, one `Aᴴ` and one vector reduction per iteration. Memory: 5
/// vectors of the model and one of the measurements. Faults: a negative γ, or not one for each operator.
///
/// ```
/// use stackphys::{comm::Team, physics::Identity, solver::{Gamma, Progress, ProxL2Params, prox_l2}};
/// use stackphys::{Shape, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new(
///     1,
///     |_| Ok(Description::new("identity", line.clone(), line.clone())),
///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let (mut y, mut z) = (stack.zero_data(), stack.zero_model());
/// y.fill(4.0);
/// z.fill(1.0);
/// let params = ProxL2Params { gamma: Gamma::One(2.0), ..Default::default() };
/// let (x, _) = prox_l2(&stack, &y, &z, &params, None, &mut |_: &Progress| ()).unwrap();
/// assert_eq!(x.as_slice(), [3.0, 3.0]); // (γ y + z) / (γ + 1)
/// ```
pub fn prox_l2<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    y: &Vector<Y>,
    z: &Vector<X>,
    params: &ProxL2Params,
    warm_start: Option<Vector<X>>,
    observer: &mut dyn Observer,
) -> Result<(Vector<X>, Outcome), Error> {
    let gammas = match &params.gamma {
        Gamma::One(gamma) => vec![*gamma; stack.blocks()],
        Gamma::Each(gammas) => gammas.clone(),
    };
    let fits = gammas.len() == stack.blocks() && gammas.iter().all(|gamma| gamma.is_finite() && *gamma >= 0.0);
    stack.team().agree(if fits {
        Ok(())
    } else {
        let text = format!("γ: expected {} numbers that are not negative, got {gammas:?}", stack.blocks());
        Err(Fault::new(text))
    })?;
    let rules = [stop::relative_normal_residual(params.tolerance), stop::iterations(params.max_iter)];
    let mut cg = Cg::on(ProxSystem {
        stack,
        y,
        z,
        gammas,
        warm_start,
        weighted: stack.zero_data(),
        residual_norm_squared: 0.0,
        right_hand_side_squared: 0.0,
    });
    let outcome = drive(&mut cg, &*with_trouble_rules(rules), observer)?;
    Ok((cg.finish()?, outcome))
}

/// `(Σ γ_i A_iᴴA_i + I) x = Σ γ_i A_iᴴy_i + z`.
struct ProxSystem<'a, X: Scalar, Y: Scalar<Real = X::Real>> {
    stack: &'a Stack<X, Y>,
    y: &'a Vector<Y>,
    z: &'a Vector<X>,
    gammas: Vec<f64>,
    warm_start: Option<Vector<X>>,
    /// A vector of the measurements, weighted by γ.
    weighted: Vector<Y>,
    residual_norm_squared: f64,
    right_hand_side_squared: f64,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> ProxSystem<'_, X, Y> {
    /// `out = Σ γ_i A_iᴴ w_i` of what `weighted` holds.
    fn weighted_adjoint(&mut self, out: &mut Vector<X>) -> Result<(), Error> {
        for (index, gamma) in self.gammas.iter().enumerate() {
            if let Some(block) = self.weighted.block_slice_mut(index) {
                let gamma = Y::from_f64(*gamma);
                block.iter_mut().for_each(|value| *value *= gamma);
            }
        }
        self.stack.adjoint_unsettled(&self.weighted, out)
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> System for ProxSystem<'_, X, Y> {
    type Unknown = X;
    type Model = X;

    fn team(&self) -> &Team {
        self.stack.team()
    }
    fn zeros(&self) -> Vector<X> {
        self.stack.zero_model()
    }
    fn zeros_to_write(&self) -> Vector<X> {
        self.stack.zero_sum()
    }
    fn start(&mut self, x: &mut Vector<X>, r: &mut Vector<X>) -> Result<f64, Error> {
        self.weighted.copy_from(self.y);
        self.weighted_adjoint(r)?;
        r.axpy(1.0, self.z);
        [self.right_hand_side_squared] = self.team().dots([(&*r, &*r)])?;
        match self.warm_start.take() {
            Some(guess) => *x = guess,
            None => x.copy_from(self.z),
        }
        self.stack.forward_unsettled(x, &mut self.weighted);
        self.weighted.xpby(self.y, -1.0);
        self.weighted_adjoint(r)?;
        r.axpy(1.0, self.z);
        r.axpy(-1.0, x);
        self.measure(x, r)
    }
    fn apply(&mut self, x: &Vector<X>, out: &mut Vector<X>) -> Result<(), Error> {
        self.stack.forward_unsettled(x, &mut self.weighted);
        self.weighted_adjoint(out)?;
        out.axpy(1.0, x);
        Ok(())
    }
    fn measure(&mut self, _x: &Vector<X>, r: &Vector<X>) -> Result<f64, Error> {
        [self.residual_norm_squared] = self.team().dots([(r, r)])?;
        Ok(self.residual_norm_squared)
    }
    fn progress(&self, iteration: usize, breakdown: Option<&'static str>) -> Progress {
        Progress {
            iteration,
            relative_normal_residual: Some(relative(self.residual_norm_squared, self.right_hand_side_squared)),
            seconds: self.team().seconds(),
            breakdown,
            ..Progress::default()
        }
    }
    fn remember(&mut self, memory: &mut dyn Memory) {
        memory.nothing(); // an inner solve: it begins anew
    }
    fn finish(self, x: Vector<X>) -> Result<Vector<X>, Error> {
        Ok(x)
    }
}
