//! Operators that use a pool of threads, as those of a rank do.

use std::sync::Arc;

use ndarray::Array2;
use rayon::ThreadPool;
use rayon::prelude::*;
use stackphys::operator::{LinearOperator, Work};
use stackphys::{Fault, Scalar, Shape};

/// `threads` threads, whose names begin with "pool".
pub fn pool(threads: usize) -> Arc<ThreadPool> {
    let name = move |index| format!("pool {index} of {threads}");
    Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().unwrap())
}

/// An operator whose calls run in a pool.
pub struct InPool<A>(pub Arc<ThreadPool>, pub A);

impl<S: Scalar, A: LinearOperator<S>> LinearOperator<S> for InPool<A> {
    fn domain(&self) -> &Shape {
        self.1.domain()
    }
    fn range(&self) -> &Shape {
        self.1.range()
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.0.install(|| self.1.apply_forward(x, y, work))
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.0.install(|| self.1.apply_adjoint(y, x, work))
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.0.install(|| self.1.apply_adjoint_add(y, x, work))
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.0.install(|| self.1.apply_normal_add(x, out, work))
    }
}

/// A dense matrix; each number of a result is a task of the pool.
pub struct Rows<S> {
    domain: Shape,
    range: Shape,
    matrix: Array2<S>,
    trap: bool,
}

impl<S: Scalar> Rows<S> {
    pub fn new(matrix: Array2<S>) -> Self {
        let (rows, columns) = matrix.dim();
        Rows { domain: Shape::new([("x", columns)]), range: Shape::new([("row", rows)]), matrix, trap: false }
    }
    /// The same; the task of number 2 panics if what is given begins with 13.
    pub fn with_trap(self) -> Self {
        Rows { trap: true, ..self }
    }

    fn spring(&self, task: usize, given: &[S]) {
        let thread = std::thread::current();
        let sprung = self.trap && task == 2 && given[0] == S::from_f64(13.0);
        assert!(!sprung, "task 2 went astray on {}", thread.name().unwrap_or("another thread"));
    }
}

impl<S: Scalar> LinearOperator<S> for Rows<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        y.par_iter_mut().enumerate().for_each(|(row, y)| {
            self.spring(row, x);
            *y = self.matrix.row(row).iter().zip(x).fold(S::default(), |sum, (entry, x)| sum + *entry * *x);
        });
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        x.par_iter_mut().enumerate().for_each(|(column, x)| {
            self.spring(column, y);
            *x = self.matrix.column(column).iter().zip(y).fold(S::default(), |sum, (entry, y)| sum + entry.conj() * *y);
        });
        Ok(())
    }
}
