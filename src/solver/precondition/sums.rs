//! Sums of rows and columns of an operator whose entries are real and not negative: the weights of SIRT.
//!
//! Reference: A. van der Sluis and H. A. van der Vorst, "SIRT- and CG-type methods for the iterative solution of sparse
//! linear least-squares problems", Linear Algebra Appl. 130 (1990), section 2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Diagonal;
use crate::error::{Error, Fault};
use crate::scalar::{Real, Scalar};
use crate::space::Vector;
use crate::stack::Stack;

/// No parameters. Every operator must have real entries that are not negative.
///
/// Cost: one AᴴA, one vector reduction. Nothing is sent in a step. It is an upper bound of AᵀA, so preconditioned
/// eigenvalues are at most 1.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SumsParams {}

/// The sums of the rows and of the columns of a non-negative operator.
pub struct Sums<X, Y> {
    /// `A 1`, cut over the ranks as the measurements are.
    pub rows: Vector<Y>,
    /// `Aᵀ 1`.
    pub columns: Vector<X>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Sums<X, Y> {
    /// The sums of a stack. Collective: yes, one vector reduction and one scalar one. Faults: an operator that does not say
    /// that its entries are real and not negative.
    pub fn of(stack: &Stack<X, Y>) -> Result<Self, Error> {
        must_be_non_negative(stack)?;
        let (mut rows, mut columns) = (stack.zero_data(), stack.zero_model());
        columns.fill(X::from_f64(1.0));
        stack.forward_unsettled(&columns, &mut rows);
        let mut ones = stack.zero_data();
        ones.fill(Y::from_f64(1.0));
        stack.adjoint_unsettled(&ones, &mut columns)?;
        Ok(Sums { rows, columns })
    }
}

pub(super) fn sums<X: Scalar, Y: Scalar<Real = X::Real>>(
    stack: &Stack<X, Y>,
    damping: f64,
) -> Result<Diagonal<X>, Error> {
    must_be_non_negative(stack)?;
    let (mut ones, mut sums) = (stack.zero_model(), stack.zero_model());
    ones.fill(X::from_f64(1.0));
    stack.normal(&ones, &mut sums)?;
    sums.axpy(damping, &ones);
    Ok(Diagonal::new(stack.team(), sums, X::Real::EPSILON))
}

fn must_be_non_negative<X: Scalar, Y: Scalar<Real = X::Real>>(stack: &Stack<X, Y>) -> Result<(), Error> {
    let signed = stack.local_operators().find(|(_, operator)| !operator.structure().non_negative);
    stack.team().agree(signed.map_or(Ok(()), |(index, _)| {
        Err(Fault::new("sums of rows and columns are weights only where no entry is negative or complex")
            .in_operator(index)
            .hint("use the preconditioner \"jacobi\", or no weights"))
    }))
}
