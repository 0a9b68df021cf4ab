//! What the test files share: the table of all operators, stacks to test with, and the promises that hold on any ranks.
#![allow(dead_code)] // each test file uses its part

/// Runs a generic function for the four scalars.
macro_rules! each_scalar {
    ($function:ident $(, $argument:expr)*) => {{
        $function::<f32>($($argument),*);
        $function::<f64>($($argument),*);
        $function::<num_complex::Complex<f32>>($($argument),*);
        $function::<num_complex::Complex<f64>>($($argument),*);
    }};
}

#[allow(unused_imports)] // as above
pub(crate) use each_scalar;

pub mod agreement;
pub mod blocks;
pub mod checkpoints;
pub mod compositions;
pub mod forms;
pub mod halos;
pub mod hilbert;
pub mod lanes;
pub mod minimisers;
pub mod planned;
pub mod program;
pub mod promises;
pub mod reference;
pub mod threaded;
pub mod ways;

use std::rc::Rc;
use std::sync::OnceLock;

use ndarray::{Array1, Array2};
use stackphys::comm::{Comm, Reduction, Summation, Team};
use stackphys::operator::{Closure, LinearOperator};
use stackphys::physics::{Blur, Dense, Detector, Diagonal, Identity, Padding, ParallelCt};
use stackphys::random::Stream;
use stackphys::stack::{Assignment, Description, FromFn, PlanOptions, Stack};
use stackphys::{Fault, Scalar, Shape};

/// How the stacks of the tests sum over ranks; a test may set it once for its process.
pub static REDUCTION: OnceLock<Reduction> = OnceLock::new();

pub type Boxed<S> = Box<dyn LinearOperator<S>>;

/// The table of all operators: name, and one with sizes that all differ.
pub fn operators<S: Scalar>() -> Vec<(&'static str, Boxed<S>)> {
    let leaves: Vec<(&'static str, Boxed<S>)> = vec![
        ("identity", Box::new(Identity::new(Shape::new([("y", 5), ("x", 7)])))),
        ("diagonal", Box::new(Diagonal::new([("y", 4), ("x", 6)], random(24, 3)).unwrap())),
        ("dense", Box::new(dense::<S>(11, 13, 4))),
        ("parallel_ct", Box::new(small_ct::<S>(&[0.1, 0.9, 1.7, 2.6, 3.0]))),
        ("blur", Box::new(small_blur::<S>())),
        ("closure", Box::new(shifted_sum::<S>(9))),
    ];
    let made_of_them =
        compositions::all::<S>().into_iter().map(|(name, operator)| (name, Box::new(operator) as Boxed<S>));
    leaves.into_iter().chain(made_of_them).collect()
}

/// Standard normal numbers of a stream.
pub fn random<S: Scalar>(len: usize, stream: u64) -> Vec<S> {
    let mut values = vec![S::default(); len];
    Stream::new(2026, stream).fill_normal(0, &mut values);
    values
}

/// A random matrix as an array.
pub fn matrix<S: Scalar>(rows: usize, columns: usize, stream: u64) -> Array2<S> {
    Array2::from_shape_vec((rows, columns), random(rows * columns, stream)).unwrap()
}

pub fn dense<S: Scalar>(rows: usize, columns: usize, stream: u64) -> Dense<S> {
    Dense::new(Shape::new([("x", columns)]), matrix(rows, columns, stream)).unwrap()
}

/// An off-centre scan of a small oblong image.
pub fn small_ct<S: Scalar>(angles: &[f64]) -> ParallelCt<S> {
    let model = Shape::new([("y", 17), ("x", 22)]);
    ParallelCt::new(&model, angles, detector()).unwrap()
}

/// A blur of a small volume; along y the kernel is longer than the volume.
pub fn small_blur<S: Scalar>() -> Blur<S> {
    let model = Shape::new([("z", 3), ("y", 5), ("x", 8)]);
    Blur::gaussian(&model, &[0.7, 2.5, 1.1], None, Padding::Circular).unwrap()
}

/// Blurs of one small image, each twice as wide as the one before.
pub fn blur_stack<S: Scalar>(comm: &Rc<dyn Comm>, count: usize, options: PlanOptions) -> Stack<S> {
    let model = Shape::new([("y", 9), ("x", 14)]);
    let factory = FromFn::new(
        count,
        |index| Ok(Description::new(format!("blur {index}"), model.clone(), model.clone())),
        |index| {
            let sigma = 0.4 * f64::powi(2.0, index as i32);
            Ok(Box::new(Blur::gaussian(&model, &[sigma, sigma], None, Padding::Circular)?) as Boxed<S>)
        },
    );
    Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

pub fn detector() -> Detector {
    Detector { columns: 31, center: Some(13.3), spacing: 0.9 }
}

/// A rectangular operator from closures: y_k = x_k + i·x_{k+1} (the factor is real for real scalars).
pub fn shifted_sum<S: Scalar>(n: usize) -> Closure<S> {
    let factor = S::from_parts(0.5, 2.0);
    Closure::new(
        Shape::new([("x", n)]),
        Shape::new([("pair", n - 1)]),
        move |x, y| {
            for (k, y) in y.iter_mut().enumerate() {
                *y = x[k] + factor * x[k + 1];
            }
            Ok(())
        },
        move |y, x| {
            x.fill(S::default());
            for (k, y) in y.iter().enumerate() {
                x[k] += *y;
                x[k + 1] += factor.conj() * *y;
            }
            Ok(())
        },
    )
}

/// The rows of the members of [`dense_stack`]: all different.
pub fn rows_of(index: usize) -> usize {
    3 + (index * 5) % 7
}

/// A stack of `count` random matrices with unequal numbers of rows.
pub fn dense_stack<S: Scalar>(
    comm: &Rc<dyn Comm>,
    count: usize,
    columns: usize,
    assignment: Assignment,
    summation: Summation,
) -> Stack<S> {
    stack_of(comm, count, columns, PlanOptions { assignment, summation, ..PlanOptions::default() }, move |index| {
        Ok(Box::new(dense::<S>(rows_of(index), columns, 100 + index as u64)) as Boxed<S>)
    })
    .unwrap()
}

/// A stack of `count` members with `rows_of(i)` rows, built by a function.
pub fn stack_of<S: Scalar>(
    comm: &Rc<dyn Comm>,
    count: usize,
    columns: usize,
    options: PlanOptions,
    build: impl Fn(usize) -> Result<Boxed<S>, Fault>,
) -> Result<Stack<S>, stackphys::Error> {
    let factory = FromFn::new(
        count,
        |index| {
            let (domain, range) = (Shape::new([("x", columns)]), Shape::new([("row", rows_of(index))]));
            let cost = rows_of(index) as f64;
            Ok(Description { cost, ..Description::new(format!("block {index}"), domain, range) })
        },
        build,
    );
    let asked = Some(options.reduction).filter(|reduction| *reduction != Reduction::Auto);
    let reduction = asked.or(REDUCTION.get().copied()).unwrap_or_default();
    Stack::build(Team::new(comm.clone()), &factory, PlanOptions { reduction, ..options })
}

/// The matrix of [`dense_stack`].
pub fn assembled<S: Scalar>(count: usize, columns: usize) -> Array2<S> {
    let blocks: Vec<_> = (0..count).map(|index| matrix::<S>(rows_of(index), columns, 100 + index as u64)).collect();
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).unwrap()
}

pub fn adjoint_of<S: Scalar>(matrix: &Array2<S>) -> Array2<S> {
    matrix.t().mapv(|entry| entry.conj())
}

/// ‖a − b‖ / ‖b‖.
pub fn distance<S: Scalar>(a: &[S], b: &Array1<S>) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (*a - *b).modulus_squared()).sum();
    let size: f64 = b.iter().map(|b| b.modulus_squared()).sum();
    (difference / size).sqrt()
}

pub fn bytes<S: Scalar>(values: &[S]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}
