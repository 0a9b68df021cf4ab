//! The block preconditioner: the sum over groups of operators of their own `(A_gᴴA_g + μ_g I)⁻¹`. Groups are named in the plan;
//! an operator without a group is one by itself.
//!
//! Reference: B. Smith, P. Bjørstad and W. Gropp, "Domain decomposition", Cambridge 1996, section 1.3 (additive Schwarz,
//! here with the groups as the overlapping parts); Chebyshev's polynomial for each part as in Y. Saad, "Iterative methods
//! for sparse linear systems", 2nd edition, section 12.3.2: of fixed degree, so the map is linear, Hermitian and positive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preconditioner;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::solver::chebyshev::Coefficients;
use crate::solver::norm_squared::group_bound;
use crate::space::{Vector, add};
use crate::stack::Stack;

/// Parameters of the block preconditioner.
///
/// Cost of a step: `steps` − 1 applications of AᴴA, all on the rank that owns the group, and one vector reduction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockParams {
    /// Steps of Chebyshev's iteration for each group of operators.
    pub steps: usize,
    /// μ_g = λ + shift · ‖A_g‖²: what keeps the inverse of a single group, which may see only a part of x, finite.
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
    groups: Vec<Part<X, Y>>,
    /// Of one group at a time: its residual, its step, `(A_gᴴA_g + μI)` of that.
    r: Vector<X>,
    d: Vector<X>,
    q: Vector<X>,
}

/// A group of this rank.
struct Part<X: Scalar, Y: Scalar<Real = X::Real>> {
    /// Its place in the plan.
    place: usize,
    stack: Stack<X, Y>,
    mu: f64,
    /// The interval of its eigenvalues.
    bounds: [f64; 2],
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Block<'a, X, Y> {
    pub(super) fn new(stack: &'a Stack<X, Y>, params: &BlockParams, damping: f64) -> Result<Self, Error> {
        stack.expect_whole_model("the preconditioner `block`")?;
        let mut groups = Vec::new();
        for (place, group) in stack.groups() {
            match group_bound(&group) {
                Ok(norm_squared) => {
                    let mu = damping + params.shift * norm_squared;
                    groups.push(Part { place, stack: group, mu, bounds: [mu, norm_squared + mu] });
                }
                Err(fault) => stack.team().note(stack.plan().groups()[place].fault_of(fault)),
            }
        }
        stack.team().settle()?;
        let [r, d, q] = std::array::from_fn(|_| stack.zero_model());
        Ok(Block { stack, steps: params.steps, groups, r, d, q })
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Preconditioner<X> for Block<'_, X, Y> {
    fn apply(&mut self, input: &Vector<X>, z: &mut Vector<X>) -> Result<(), Error> {
        let Block { stack, steps, groups, r, d, q } = self;
        stack.sum_over_groups(z, |place, sum| {
            let Ok(local) = groups.binary_search_by_key(&place, |group| group.place) else { return Ok(()) };
            let Part { stack: group, mu, bounds, .. } = &groups[local];
            if bounds[1] == 0.0 {
                return Ok(());
            }
            let mut coefficients = Coefficients::new(*bounds);
            r.copy_from(input);
            for step in 0..*steps {
                let [of_d, of_r] = if step == 0 { [0.0, coefficients.first()] } else { coefficients.next() };
                d.scale(of_d);
                d.axpy(of_r, r);
                add(d.as_slice(), sum);
                if step + 1 < *steps {
                    group.normal(d, q).map_err(|error| stack.plan().groups()[place].fault_of(error.into_fault()))?;
                    q.axpy(*mu, d);
                    r.axpy(-1.0, q);
                }
            }
            Ok(())
        })
    }
}
