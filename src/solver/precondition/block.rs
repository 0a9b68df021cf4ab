//! The block preconditioner: the sum over the operators of their own `(A_iᴴA_i + μ_i I)⁻¹`.
//!
//! Reference: B. Smith, P. Bjørstad and W. Gropp, "Domain decomposition", Cambridge 1996, section 1.3 (additive Schwarz,
//! here with the operators as the overlapping parts); Chebyshev's polynomial for each part as in Y. Saad, "Iterative methods
//! for sparse linear systems", 2nd edition, section 12.3.2: of fixed degree, so the map is linear, Hermitian and positive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preconditioner;
use crate::error::Error;
use crate::operator::{Apply, Work};
use crate::scalar::Scalar;
use crate::solver::chebyshev::Coefficients;
use crate::solver::norm_squared::member_bound;
use crate::space::{Vector, add};
use crate::stack::{Stack, guarded};

/// Parameters of the block preconditioner.
///
/// Cost of a step: `steps` − 1 applications of AᴴA, all on the rank that owns the operator, and one vector reduction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockParams {
    /// Steps of Chebyshev's iteration for each operator.
    pub steps: usize,
    /// μ_i = λ + shift · ‖A_i‖²: what keeps the inverse of a single operator, which may see only a part of x, finite.
    pub shift: f64,
}

impl Default for BlockParams {
    fn default() -> Self {
        BlockParams { steps: 6, shift: 0.05 }
    }
}

pub(super) struct Block<'a, X: Scalar, Y: Scalar<Real = X::Real>> {
    stack: &'a Stack<X, Y>,
    steps: usize,
    /// Of each operator of this rank: its index, μ, and the interval of its eigenvalues.
    members: Vec<(usize, f64, [f64; 2])>,
    work: Work,
    /// Of one operator at a time: its residual, its step, `(A_iᴴA_i + μI)` of that.
    r: Vector<X>,
    d: Vector<X>,
    q: Vector<X>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Block<'a, X, Y> {
    pub(super) fn new(stack: &'a Stack<X, Y>, params: &BlockParams, damping: f64) -> Result<Self, Error> {
        let mut members = Vec::new();
        for (index, alone) in stack.alone() {
            match member_bound(&alone) {
                Ok(norm_squared) => {
                    let mu = damping + params.shift * norm_squared;
                    members.push((index, mu, [mu, norm_squared + mu]));
                }
                Err(fault) => stack.team().note(fault.in_operator(index)),
            }
        }
        stack.team().settle()?;
        let [r, d, q] = std::array::from_fn(|_| stack.zero_model());
        Ok(Block { stack, steps: params.steps, members, work: Work::default(), r, d, q })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Preconditioner<X> for Block<'_, X, Y> {
    fn apply(&mut self, input: &Vector<X>, z: &mut Vector<X>) -> Result<(), Error> {
        let Block { stack, steps, members, work, r, d, q } = self;
        stack.sum_over_operators(z, |index, sum| {
            let Ok(local) = members.binary_search_by_key(&index, |(index, ..)| *index) else { return Ok(()) };
            let (_, mu, bounds) = members[local];
            let operator = stack.local_operators().nth(local).map(|(_, operator)| operator);
            let Some(operator) = operator.filter(|_| bounds[1] > 0.0) else { return Ok(()) };
            let mut coefficients = Coefficients::new(bounds);
            r.copy_from(input);
            for step in 0..*steps {
                let [of_d, of_r] = if step == 0 { [0.0, coefficients.first()] } else { coefficients.next() };
                d.scale(of_d);
                d.axpy(of_r, r);
                add(d.as_slice(), sum);
                if step + 1 < *steps {
                    q.fill(X::default());
                    guarded(|| operator.normal_add(d.as_slice(), q.as_mut_slice(), work))
                        .map_err(|fault| fault.in_operator(index))?;
                    q.axpy(mu, d);
                    r.axpy(-1.0, q);
                }
            }
            Ok(())
        })
    }
}
