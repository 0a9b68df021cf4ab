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
use stackphys::physics::ct::{Projector, RayTransform, Scan, View};
use stackphys::physics::{
    Blur, Boundary, By, CartesianMri, Convolution, Dense, Detector, Diagonal, Differences, Downsample, Entries, Filter,
    Fourier, Gradient, Identity, Interferometer, Kernel, NonCartesianMri, Nufft, NufftAccuracy, Padding, ParallelCt,
    RandomProjection, Sparse, Triplets, VaryingBlur, Wavelet, Weigh,
};
use stackphys::random::Stream;
use stackphys::space::{Numbers, Tile};
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
        ("fan_ct", Box::new(small_rays::<S>(Projector::Siddon, None))),
        ("cone_ct", Box::new(small_rays::<S>(Projector::Joseph, Some(6)))),
        ("blur", Box::new(small_blur::<S>())),
        ("blur, direct", Box::new(small_convolution::<S>(Padding::Reflect, By::Direct))),
        ("blur, separable", Box::new(small_box::<S>())),
        ("blur, fft", Box::new(small_convolution::<S>(Padding::Circular, By::Fft))),
        ("blur, fft, valid", Box::new(small_convolution::<S>(Padding::Valid, By::Fft))),
        ("varying_blur", Box::new(small_varying_blur::<S>())),
        ("downsample", Box::new(small_downsample::<S>())),
        ("gradient", Box::new(small_gradient::<S>())),
        ("wavelet", Box::new(small_wavelet::<S>())),
        ("random_projection", Box::new(small_projection::<S>(Entries::Gaussian))),
        ("random_projection, signs", Box::new(small_projection::<S>(Entries::Signs))),
        ("sparse", Box::new(small_sparse::<S>())),
        ("interferometer", Box::new(small_array::<S>())),
        ("closure", Box::new(shifted_sum::<S>(9))),
    ];
    let leaves = leaves.into_iter().chain(complex_operators());
    let made_of_them =
        compositions::all::<S>().into_iter().map(|(name, operator)| (name, Box::new(operator) as Boxed<S>));
    leaves.chain(made_of_them).collect()
}

/// Those for complex models only.
fn complex_operators<S: Scalar>() -> Vec<(&'static str, Boxed<S>)> {
    if !S::IS_COMPLEX {
        return Vec::new();
    }
    let mask: Vec<bool> = (0..42).map(|k| k % 3 != 1).collect();
    let image = Shape::new([("y", 6), ("x", 7)]);
    let mri = CartesianMri::new(&image, random::<S>(3 * 42, 51), Some(&mask)).unwrap();
    vec![
        (
            "fourier",
            Box::new(Fourier::<S>::new(&Shape::new([("t", 3), ("y", 4), ("x", 5)]), &["y", "x"], None).unwrap()),
        ),
        ("fourier masked", Box::new(Fourier::<S>::new(&image, &["y", "x"], Some(&mask)).unwrap())),
        ("nufft", Box::new(small_nufft::<S>())),
        ("mri", Box::new(mri)),
        ("mri radial", Box::new(small_radial_mri::<S>())),
    ]
}

/// The best that the scalar can.
pub fn exact<S: Scalar>() -> NufftAccuracy {
    NufftAccuracy { accuracy: if S::NAME.ends_with("f64") { 1e-12 } else { 1e-6 }, ..NufftAccuracy::default() }
}

/// Places from −½ to ½.
pub fn places(len: usize, stream: u64) -> Vec<f64> {
    let stream = Stream::new(2026, stream);
    (0..len).map(|k| stream.uniform(k as u64) - 0.5).collect()
}

pub fn small_nufft<S: Scalar>() -> Nufft<S> {
    let (image, range) = (Shape::new([("y", 8), ("x", 5)]), Shape::new([("spoke", 7), ("sample", 3)]));
    Nufft::new(&image, range, places(42, 52), exact::<S>()).unwrap()
}

pub fn small_radial_mri<S: Scalar>() -> NonCartesianMri<S> {
    let (image, samples) = (Shape::new([("y", 5), ("x", 6)]), Shape::new([("spoke", 4), ("sample", 9)]));
    NonCartesianMri::new(&image, random::<S>(2 * 30, 53), samples, places(72, 54), exact::<S>()).unwrap()
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

/// A fan beam through a small image, or a cone beam through a small volume; the detector is off centre.
pub fn small_rays<S: Scalar>(projector: Projector, rows: Option<usize>) -> RayTransform<S> {
    let model = [("z", 4), ("y", 7), ("x", 9)];
    let model = Shape::new(model.into_iter().skip(usize::from(rows.is_none())));
    let middle = [if rows.is_some() { 2.3 } else { 0.0 }, 6.4]; // an image lies in the plane of its rays
    let view = |angle: &f64| View::of_orbit(*angle, Some(30.0), 20.0, middle, [1.8, 1.6], false);
    let scan =
        Scan { views: [0.1, 1.3, 2.9].iter().map(view).collect(), rows, columns: 13, voxel_size: 0.7, orbit: None };
    RayTransform::new(&Tile::whole(&model), scan, projector).unwrap()
}

/// A blur of a small volume; along y the kernel is longer than the volume.
pub fn small_blur<S: Scalar>() -> Blur<S> {
    let model = Shape::new([("z", 3), ("y", 5), ("x", 8)]);
    Blur::gaussian(&model, &[0.7, 2.5, 1.1], None, Padding::Circular).unwrap()
}

/// A kernel without any symmetry.
fn small_kernel(stream: u64) -> Kernel {
    Kernel::new(vec![3, 4], Some(vec![2, 1]), random(12, stream)).unwrap()
}

pub fn small_convolution<S: Scalar>(padding: Padding, by: By) -> Convolution<S> {
    let model = Shape::new([("z", 2), ("y", 5), ("x", 7)]);
    Convolution::new(&model, &small_kernel(40), padding, by).unwrap()
}

/// A mean over 3 × 5 pixels.
pub fn small_box<S: Scalar>() -> Convolution<S> {
    let kernel = Kernel::new(vec![3, 5], None, vec![1.0 / 15.0; 15]).unwrap();
    Convolution::new(&Shape::new([("y", 6), ("x", 7)]), &kernel, Padding::Replicate, By::Separable).unwrap()
}

pub fn small_varying_blur<S: Scalar>() -> VaryingBlur<S> {
    let (model, kernels) = (Shape::new([("y", 6), ("x", 7)]), [small_kernel(41), small_kernel(42)]);
    VaryingBlur::new(&model, &kernels, &random(2 * 42, 43), Weigh::Before, Padding::Zero, By::Auto).unwrap()
}

pub fn small_downsample<S: Scalar>() -> Downsample<S> {
    let model = Shape::new([("z", 2), ("y", 9), ("x", 10)]);
    Downsample::new(&model, &[1, 3, 2], Filter::Bicubic, Padding::Reflect).unwrap()
}

pub fn small_gradient<S: Scalar>() -> Gradient<S> {
    let model = Shape::new([("z", 3), ("y", 4), ("x", 5)]);
    Gradient::new(&model, &["x", "z"], Differences::Forward, Boundary::Neumann).unwrap()
}

pub fn small_wavelet<S: Scalar>() -> Wavelet<S> {
    Wavelet::new(&Shape::new([("y", 8), ("x", 12)]), &["y", "x"], "db3", 2).unwrap()
}

pub fn small_projection<S: Scalar>(entries: Entries) -> RandomProjection<S> {
    RandomProjection::new(&Shape::new([("y", 3), ("x", 5)]), 11, entries, 6)
}

/// A third of the entries of a matrix.
pub fn small_sparse<S: Scalar>() -> Sparse<S> {
    let places: Vec<[usize; 2]> = (0..13 * 15).step_by(3).map(|at| [at / 15, (at * 7) % 15]).collect();
    let numbers = random::<f64>(places.len(), 44);
    let values = match S::IS_COMPLEX {
        true => Numbers::ComplexF64(random(places.len(), 45)),
        false => Numbers::F64(numbers),
    };
    Sparse::new(Shape::new([("y", 3), ("x", 5)]), Triplets { rows: 13, columns: 15, places, values }).unwrap()
}

/// An interferometer of seven baselines on a small oblong image.
pub fn small_array<S: Scalar>() -> Interferometer<S> {
    let [u, v] = [random::<f64>(7, 21), random(7, 22)];
    Interferometer::new(&Shape::new([("y", 6), ("x", 11)]), 0.1, &u, &v).unwrap()
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
