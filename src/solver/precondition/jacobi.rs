//! Jacobi's preconditioner: the diagonal of `AᴴA + λI`.
//!
//! Reference: Y. Saad, "Iterative methods for sparse linear systems", 2nd edition, section 10.2; the estimate by C. Bekas, E.
//! Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", Appl. Numer. Math. 57 (2007), section 2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Diagonal;
use crate::error::Error;
use crate::operator::{Apply, LinearOperator, Work};
use crate::random::Stream;
use crate::scalar::{Real, Scalar};
use crate::stack::{Stack, guarded};

/// The first of the streams of random numbers that signs are drawn from; each operator has its own.
const SIGNS: u64 = 0x7369_676e << 32;

/// The smallest part of the largest entry that an estimated one counts as: it may be far below the truth.
const ESTIMATE_FLOOR: f64 = 0.02;

/// Parameters of Jacobi's preconditioner.
///
/// Cost: for operators that know their diagonal nothing, for others `probes` applications of their AᴴA; one vector
/// reduction in all. Nothing is sent in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JacobiParams {
    /// How many vectors of random signs an operator that does not know its diagonal is asked with.
    pub probes: usize,
    /// The seed of the random signs.
    pub seed: u64,
}

impl Default for JacobiParams {
    fn default() -> Self {
        JacobiParams { probes: 32, seed: 1 }
    }
}

pub(super) fn jacobi<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    params: &JacobiParams,
    damping: f64,
) -> Result<Diagonal<X>, Error> {
    let operators: Vec<_> = stack.local_operators().collect();
    let mut diagonal = stack.zero_model();
    let mut estimated = false;
    stack.sum_over_operators(&mut diagonal, |index, sum| {
        let Ok(local) = operators.binary_search_by_key(&index, |(index, _)| *index) else { return Ok(()) };
        let operator = operators[local].1;
        guarded(|| {
            let known = operator.normal_diagonal();
            estimated |= known.is_none();
            for (sum, entry) in sum.iter_mut().zip(known.map_or_else(|| estimate(operator, params, index), Ok)?) {
                *sum += X::from_f64(entry);
            }
            Ok(())
        })
        .map_err(|fault| fault.in_operator(index))
    })?;
    for entry in diagonal.as_mut_slice() {
        *entry += X::from_f64(damping);
    }
    let [estimated] = stack.team().max([f64::from(u8::from(estimated))]);
    Ok(Diagonal::new(stack.team(), diagonal, if estimated > 0.0 { ESTIMATE_FLOOR } else { X::Real::EPSILON }))
}

/// The mean of v ⊙ AᴴA v over random signs v.
fn estimate<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &dyn LinearOperator<X, Y>,
    params: &JacobiParams,
    index: usize,
) -> Result<Vec<f64>, crate::Fault> {
    let (len, mut work) = (operator.domain().len(), Work::default());
    let (mut signs, mut normal, mut sum) = (vec![X::default(); len], vec![X::default(); len], vec![0.0; len]);
    let stream = Stream::new(params.seed, SIGNS + index as u64);
    for probe in 0..params.probes {
        stream.fill_normal((probe * len) as u64, &mut signs);
        signs.iter_mut().for_each(|sign| *sign = X::from_f64(sign.re().signum()));
        normal.fill(X::default());
        operator.normal_add(&signs, &mut normal, &mut work)?;
        for ((sum, sign), normal) in sum.iter_mut().zip(&signs).zip(&normal) {
            *sum += sign.re() * normal.re() / params.probes as f64;
        }
    }
    Ok(sum)
}
