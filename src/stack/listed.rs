//! The members of a stack from a list of operators, and a matrix that says which of them reads which block of `x`.
//!
//! (The vector of operators with a distribution matrix of the package regpy.)

use ndarray::Array2;

use super::{Description, Factory};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator};
use crate::scalar::Scalar;
use crate::space::Shape;

/// A factory of operators that are there, each of which reads some blocks of `x`.
///
/// Where row `i` of the distribution matrix is true in column `j`, operator `i` reads block `j`: a lone block as it is, of
/// several their numbers one after the other. In the adjoint the operators' contributions to a block are added. Each
/// operator has a block of measurements of its own, unless it is told to [add to](Self::adding_to) a row.
///
/// Collective: no; build the [`Stack`](super::Stack) of it. Operators that a rank does not own should be cheap to have: see
/// [`Deferred`](crate::operator::Deferred).
///
/// ```
/// use std::sync::Arc;
/// use ndarray::array;
/// use stackphys::operator::SharedOperator;
/// use stackphys::stack::{Listed, Stack};
/// use stackphys::{Shape, comm::Team, physics::Dense};
/// let line = |size| Shape::new([("x", size)]);
/// let of = |matrix: ndarray::Array2<f64>| -> SharedOperator<f64> {
///     Arc::new(Dense::new(line(matrix.ncols()), matrix).unwrap())
/// };
/// let operators = vec![of(array![[1.0, 2.0, 3.0]]), of(array![[4.0]])]; // x0 and x1; x1 alone
/// let listed = Listed::new(vec![line(2), line(1)], operators, &array![[true, true], [false, true]]).unwrap();
/// let stack = Stack::build(Team::solo(), &listed, Default::default()).unwrap();
/// let (mut x, mut y) = (stack.zero_model(), stack.zero_data());
/// x.as_mut_slice().copy_from_slice(&[1.0, 1.0, 10.0]);
/// stack.forward(&x, &mut y).unwrap();
/// assert_eq!(y.as_slice(), [33.0, 40.0]);
/// ```
pub struct Listed<'a, X: Scalar, Y: Scalar<Real = X::Real> = X> {
    blocks: Vec<Shape>,
    operators: Vec<SharedOperator<X, Y>>,
    reads: Vec<Vec<usize>>,
    rows: Option<Vec<usize>>,
    ranks: Option<Vec<usize>>,
    tell: super::Tell<'a>,
}

impl<'a, X: Scalar, Y: Scalar<Real = X::Real>> Listed<'a, X, Y> {
    /// Operators on blocks of `x`, with a row of the matrix for each operator and a column for each block.
    ///
    /// Faults: another number of rows, or of columns; a row without blocks; a lone block of another shape than the operator's
    /// domain; several that have another number of numbers than it.
    pub fn new(blocks: Vec<Shape>, operators: Vec<SharedOperator<X, Y>>, matrix: &Array2<bool>) -> Result<Self, Fault> {
        let fits = |what: &str, of: &str, want: usize, got: usize| {
            if got == want {
                return Ok(());
            }
            let shape = matrix.shape();
            Err(Fault::new(format!("distribution matrix: expected {want} {what}, got {got}, in the shape {shape:?}"))
                .hint(format!("it has one of its {what} for each {of}")))
        };
        fits("rows", "operator", operators.len(), matrix.nrows())?;
        fits("columns", "block of x", blocks.len(), matrix.ncols())?;
        let reads_of = |(operator, row): (usize, ndarray::ArrayView1<'_, bool>)| -> Result<Vec<usize>, Fault> {
            let reads: Vec<usize> = (0..blocks.len()).filter(|block| row[*block]).collect();
            expect_reads(&blocks, &*operators[operator], operator, &reads)
                .map_err(|fault| fault.in_operator(operator))?;
            Ok(reads)
        };
        let reads = matrix.rows().into_iter().enumerate().map(reads_of).collect::<Result<_, _>>()?;
        Ok(Listed { blocks, operators, reads, rows: None, ranks: None, tell: Box::new(|_, described| described) })
    }

    /// The same with a rank for each operator. Fault: another number of ranks; one that is not there is told by the plan.
    pub fn on_ranks(mut self, ranks: Vec<usize>) -> Result<Self, Fault> {
        self.expect_each(ranks.len(), "ranks")?;
        self.ranks = Some(ranks);
        Ok(self)
    }

    /// The same with the row of measurements that each operator adds to, from zero without gaps: those that name the same
    /// one are summed. Fault: another number of rows; what else does not fit is told by the plan.
    pub fn adding_to(mut self, rows: Vec<usize>) -> Result<Self, Fault> {
        self.expect_each(rows.len(), "rows of measurements")?;
        self.rows = Some(rows);
        Ok(self)
    }

    /// The same with what else is known of an operator by its index: a name, bytes, cost, a group. Alike on all ranks.
    pub fn telling(mut self, tell: impl Fn(usize, Description) -> Description + 'a) -> Self {
        self.tell = Box::new(tell);
        self
    }

    fn expect_each(&self, got: usize, what: &str) -> Result<(), Fault> {
        let want = self.operators.len();
        if got == want {
            return Ok(());
        }
        Err(Fault::new(format!("list of operators: expected {want} {what}, one for each operator, got {got}")))
    }
}

/// A fault if an operator cannot read these blocks, as row `i` of the matrix says.
fn expect_reads<X: Scalar, Y: Scalar<Real = X::Real>>(
    blocks: &[Shape],
    operator: &dyn LinearOperator<X, Y>,
    i: usize,
    reads: &[usize],
) -> Result<(), Fault> {
    let (name, domain) = (operator.name(), operator.domain());
    match reads {
        [] => {
            let count = blocks.len();
            Err(Fault::new(format!(
                "distribution matrix: row {i} has no block, so operator {i} ({name}) reads nothing"
            ))
            .hint(format!("every operator reads at least one of the {count} blocks of x")))
        }
        [j] => {
            blocks[*j].expect(domain, &format!("distribution matrix at ({i}, {j}): domain of operator {i} ({name})"))
        }
        several => {
            let joined: usize = several.iter().map(|block| blocks[*block].len()).sum();
            if joined == domain.len() {
                return Ok(());
            }
            let parts: Vec<String> = several.iter().map(|j| format!("({i}, {j}) {}", blocks[*j])).collect();
            let (parts, numbers) = (parts.join(", "), domain.len());
            Err(Fault::new(format!(
                "distribution matrix: row {i} joins the blocks at {parts}, which have {joined} numbers, but the domain \
                 {domain} of operator {i} ({name}) has {numbers}"
            ))
            .hint("the domain of an operator that reads several blocks joins them in order"))
        }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Factory<X, Y> for Listed<'_, X, Y> {
    fn count(&self) -> usize {
        self.operators.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        self.blocks.clone()
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let operator = &self.operators[index];
        let name = format!("{} {index}", operator.name());
        let described = Description {
            reads: self.reads[index].clone(),
            row: self.rows.as_ref().map(|rows| rows[index]),
            rank: self.ranks.as_ref().map(|ranks| ranks[index]),
            ..Description::new(name, operator.domain().clone(), operator.range().clone())
        };
        Ok((self.tell)(index, described))
    }
    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<X, Y>>, Fault> {
        Ok(Box::new(self.operators[index].clone()))
    }
}
