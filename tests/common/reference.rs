//! The tests of the distributed module of DeepInverse (`tests/test_distributed.py`), one promise for each, on its own stack
//! of circular Gaussian blurs, but of *values*: against the serial operators and the dense matrix, with one `x` for all
//! ranks. And those it lacks: the factory's calls, unequal shapes, ranks without work in every scalar, no operators.

use std::cell::RefCell;
use std::rc::Rc;

use ndarray::{Array1, Array2};
use ndarray_linalg::LeastSquaresSvd;
use num_complex::Complex;
use stackphys::comm::{Comm, Solo, Summation, Team};
use stackphys::operator::{Apply, Basis, Work};
use stackphys::physics::noise::{AnyNoise, Gaussian};
use stackphys::physics::{Blur, Padding};
use stackphys::recon::DataTerm;
use stackphys::recon::fidelity::{AnyFidelity, Huber, L2};
use stackphys::solver::{
    CgParams, NormSquared, NormSquaredEstimate, PowerParams, Progress, PseudoInverse, norm_squared, pseudo_inverse,
    stop,
};
use stackphys::space::Vector;
use stackphys::stack::{Combine, Description, FromFn, Gather, Place, PlanOptions, Stack};
use stackphys::testing::{random as random_vector, stack_dot_tests};
use stackphys::{Scalar, Shape};

use super::promises::Promise;
use super::*;

/// These promises by name: that of the reference's test.
pub const ALL: &[Promise] = &[
    ("reference: distribute_physics", distribute_physics),
    ("reference: consistency_single_vs_multiprocess", consistency_single_vs_multiprocess),
    ("reference: adjoint_operations", adjoint_operations),
    ("reference: gather_false_operations", gather_false_operations),
    ("reference: compute_norm, compute_norm_local_vs_global", compute_norm),
    ("reference: a_dagger, a_dagger_local_vs_global", a_dagger),
    ("reference: empty_local_set", empty_local_set),
    ("reference: context_local_indices, and the factory's calls", context_local_indices),
    ("reference: context_collectives", context_collectives),
    ("reference: distribute_data_fidelity, data_fidelity_vs_stacked", data_fidelity_vs_stacked),
    ("reference: data_fidelity_different_fidelities", data_fidelity_different_fidelities),
    ("reference: merged blurs", merged_blurs),
    ("reference: unequal shapes in every gather and scalar", unequal_shapes),
];

fn image() -> Shape {
    Shape::new([("y", 12), ("x", 10)])
}

fn blur<S: Scalar>(index: usize) -> Blur<S> {
    let sigma = 1.0 + 0.5 * index as f64;
    Blur::gaussian(&image(), &[sigma, sigma], None, Padding::Circular).unwrap()
}

/// The reference's standard stack: blurs of σ = 1.0, 1.5, 2.0, …
fn standard<S: Scalar>(comm: &Rc<dyn Comm>, count: usize, options: PlanOptions) -> Stack<S> {
    let factory = FromFn::new(
        count,
        |index| Ok(Description::new(format!("blur {index}"), image(), image())),
        |index| Ok(Box::new(blur::<S>(index)) as Boxed<S>),
    );
    Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

/// The matrix of one blur, column by column.
fn matrix_of(index: usize) -> Array2<f64> {
    let (operator, len) = (blur::<f64>(index), image().len());
    let mut matrix = Array2::zeros((len, len));
    let mut work = Work::default();
    for column in 0..len {
        let (mut unit, mut response) = (vec![0.0; len], vec![0.0; len]);
        unit[column] = 1.0;
        operator.forward(&unit, &mut response, &mut work).unwrap();
        matrix.column_mut(column).assign(&Array1::from(response));
    }
    matrix
}

fn whole(count: usize) -> Array2<f64> {
    let blocks: Vec<_> = (0..count).map(matrix_of).collect();
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).unwrap()
}

fn array(vector: &Vector<f64>) -> Array1<f64> {
    Array1::from(vector.as_slice().to_vec())
}

fn every_mode() -> impl Iterator<Item = PlanOptions> {
    [Summation::Fast, Summation::Ordered].into_iter().flat_map(|summation| {
        [Assignment::Contiguous, Assignment::RoundRobin].map(|assignment| PlanOptions {
            assignment,
            summation,
            ..PlanOptions::default()
        })
    })
}

fn distribute_physics(comm: &Rc<dyn Comm>) {
    for options in every_mode() {
        let stack = standard::<f64>(comm, 4, options);
        let x = random_vector(stack.domain(), 42, 1);
        let mut y = stack.zero_data();
        stack.forward(&x, &mut y).unwrap();
        let expected = whole(4).dot(&array(&x));
        for how in [Gather::Concatenated, Gather::Broadcast, Gather::Objects] {
            assert!(distance(&stack.gather_by(how, &y, None).unwrap(), &expected) < 1e-12);
        }
    }
}

fn consistency_single_vs_multiprocess(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
        let noise = AnyNoise::Gaussian(Gaussian { sigma: 0.01 });
        let run = |comm: &Rc<dyn Comm>| {
            let stack = standard::<S>(comm, 4, PlanOptions::default());
            let x = random_vector(stack.domain(), 42, 1);
            let (mut y, mut back) = (stack.zero_data(), stack.zero_model());
            stack.forward_noisy(&x, &mut y, |_| Some(&noise), 5).unwrap();
            stack.adjoint(&y, &mut back).unwrap();
            (stack.gather(&y, None).unwrap(), back.as_slice().to_vec())
        };
        let (y, back) = run(comm);
        let (expected_y, expected_back) = run(&(Rc::new(Solo) as Rc<dyn Comm>));
        assert_eq!(bytes(&y), bytes(&expected_y)); // measurements, noise included, do not depend on the ranks at all
        assert!(distance(&back, &Array1::from(expected_back)) < tolerance);
    }
    each_scalar!(check, comm);
}

fn adjoint_operations(comm: &Rc<dyn Comm>) {
    let dense = whole(3);
    for options in every_mode() {
        let stack = standard::<f64>(comm, 3, options);
        let (x, y) = (random_vector(stack.domain(), 42, 1), random_vector(stack.range(), 42, 2));
        let all_y = Array1::from(stack.gather(&y, None).unwrap());
        let (mut out, mut data) = (stack.zero_model(), stack.zero_data());
        stack.adjoint(&y, &mut out).unwrap();
        assert!(distance(out.as_slice(), &dense.t().dot(&all_y)) < 1e-12);
        stack.normal(&x, &mut out).unwrap();
        assert!(distance(out.as_slice(), &dense.t().dot(&dense.dot(&array(&x)))) < 1e-12);
        stack.forward_adjoint(&y, &mut data).unwrap();
        let expected = dense.dot(&dense.t().dot(&all_y));
        assert!(distance(&stack.gather(&data, None).unwrap(), &expected) < 1e-12);
        assert!(stack_dot_tests(&stack, 1).unwrap().iter().all(|(_, test)| test.ratio < 1e-12));
        // the three reductions of one set of contributions
        let mut parts = stack.zero_parts();
        stack.adjoint_parts(&y, &mut parts).unwrap();
        let sum = dense.t().dot(&all_y);
        assert!(distance(&stack.collect(&parts, Combine::Sum, Place::Everywhere).unwrap(), &sum) < 1e-12);
        assert!(distance(&stack.collect(&parts, Combine::Mean, Place::Everywhere).unwrap(), &(sum / 3.0)) < 1e-12);
        let apart = stack.collect(&parts, Combine::Apart, Place::Everywhere).unwrap();
        for (index, part) in apart.chunks(image().len()).enumerate() {
            let own = all_y.slice(ndarray::s![index * image().len()..(index + 1) * image().len()]);
            assert!(distance(part, &matrix_of(index).t().dot(&own)) < 1e-12);
        }
    }
}

/// Not of the reference: where every blur says that it is diagonal in Fourier space, they are merged, and nothing changes.
fn merged_blurs(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let factory = FromFn::new(
            3,
            |index| {
                let normal = Some(Basis::Fourier);
                Ok(Description { normal, ..Description::new(format!("blur {index}"), image(), image()) })
            },
            |index| Ok(Box::new(blur::<S>(index)) as Boxed<S>),
        );
        let merged = Stack::build(Team::new(comm.clone()), &factory, PlanOptions::default()).unwrap();
        let members = standard::<S>(comm, 3, PlanOptions::default());
        let x = random_vector(merged.domain(), 42, 1);
        let (mut a, mut b) = (merged.zero_model(), members.zero_model());
        merged.normal(&x, &mut a).unwrap();
        members.normal(&x, &mut b).unwrap();
        let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-6 };
        assert!(distance(a.as_slice(), &Array1::from(b.as_slice().to_vec())) < tolerance);
        assert!(stack_dot_tests(&merged, 1).unwrap().iter().all(|(_, test)| test.passes::<S>()));
    }
    each_scalar!(check, comm);
}

fn gather_false_operations(comm: &Rc<dyn Comm>) {
    let stack = standard::<f64>(comm, 3, PlanOptions::default());
    let x = random_vector(stack.domain(), 42, 1);
    let mut y = stack.zero_data();
    let before = stack.team().meter().all();
    stack.forward_unsettled(&x, &mut y);
    assert_eq!(stack.team().meter().all(), before, "local measurements cost no message");
    for index in 0..3 {
        let here = stack.local_indices().contains(&index);
        assert_eq!(y.block_slice(index).is_some(), here);
        if let Some(block) = y.block_slice(index) {
            assert!(distance(block, &matrix_of(index).dot(&array(&x))) < 1e-12);
        }
    }
    // local results of an operator that sums: this rank's share; the shares of all ranks are the whole
    let mut parts = stack.zero_parts();
    stack.adjoint_parts(&y, &mut parts).unwrap();
    let mut shares = stack.collect(&parts, Combine::Sum, Place::Here).unwrap();
    stack.team().sum_in_place(&mut shares).unwrap();
    let mut whole = stack.zero_model();
    stack.adjoint(&y, &mut whole).unwrap();
    assert!(distance(&shares, &array(&whole)) < 1e-13);
}

fn compute_norm(comm: &Rc<dyn Comm>) {
    // every blur keeps a constant image and makes nothing larger: ‖A‖² is the number of blurs
    for options in every_mode() {
        let stack = standard::<f64>(comm, 3, options);
        let params = PowerParams { tolerance: 1e-14, max_iter: 2000, ..PowerParams::default() };
        let exact = norm_squared(&stack, &NormSquared::Exact(params), &mut |_: &Progress| ()).unwrap();
        let NormSquaredEstimate::Value { value, .. } = exact else { panic!("{exact:?}") };
        assert!((value - 3.0).abs() < 1e-9, "{value}");
        let local = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap();
        let NormSquaredEstimate::Bounds { below, above, unbounded } = local else { panic!("{local:?}") };
        assert!(below <= 3.0 && (3.0..3.0 + 1e-12).contains(&above) && unbounded == 0, "{local:?}");
    }
}

fn a_dagger(comm: &Rc<dyn Comm>) {
    let damping = 0.1; // a blur alone hides too much to be undone in 16 digits
    let damped = |matrix: &Array2<f64>, y: &Array1<f64>| {
        // least squares of [A; √λ I], not a solve of the normal equations: OpenBLAS's threaded LU overruns the small stacks
        // of threads that are ranks
        let below = f64::sqrt(damping) * Array2::<f64>::eye(image().len());
        let augmented = ndarray::concatenate![ndarray::Axis(0), *matrix, below];
        let data = ndarray::concatenate![ndarray::Axis(0), *y, Array1::zeros(image().len())];
        augmented.least_squares(&data).unwrap().solution
    };
    let stack = standard::<f64>(comm, 3, PlanOptions::default());
    let y = random_vector(stack.range(), 42, 2);
    let all_y = Array1::from(stack.gather(&y, None).unwrap());
    let method = CgParams { damping, max_iter: 200, ..CgParams::default() };
    let rule = stop::any([stop::relative_normal_residual(1e-14), stop::iterations(200)]);
    let of = |how: &PseudoInverse| pseudo_inverse(&stack, &y, how, None, &*rule, &mut |_: &Progress| ()).unwrap();
    let global = of(&PseudoInverse::Exact(method.clone().into()));
    let exact = damped(&whole(3), &all_y);
    assert!(distance(global.x.as_slice(), &exact) < 1e-12);
    let local = of(&PseudoInverse::LocalMean(method.into()));
    let own = |index: usize| {
        damped(
            &matrix_of(index),
            &all_y.slice(ndarray::s![index * image().len()..(index + 1) * image().len()]).to_owned(),
        )
    };
    let mean = (own(0) + own(1) + own(2)) / 3.0;
    assert!(distance(local.x.as_slice(), &mean) < 1e-12);
    assert!(distance(local.x.as_slice(), &exact) > 0.01 && local.true_relative_normal_residual > 0.01);
}

fn empty_local_set(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for options in every_mode() {
            let stack = standard::<S>(comm, 1, options); // all ranks but one have nothing
            let x = random_vector(stack.domain(), 42, 1);
            let (mut y, mut back, mut normal) = (stack.zero_data(), stack.zero_model(), stack.zero_model());
            stack.forward(&x, &mut y).unwrap();
            stack.adjoint(&y, &mut back).unwrap();
            stack.normal(&x, &mut normal).unwrap();
            let serial = blur::<S>(0);
            let (mut work, mut ax) = (Work::default(), vec![S::default(); x.as_slice().len()]);
            serial.forward(x.as_slice(), &mut ax, &mut work).unwrap();
            assert_eq!(bytes(&stack.gather(&y, None).unwrap()), bytes(&ax));
            let mut expected = vec![S::default(); ax.len()];
            serial.adjoint(&ax, &mut expected, &mut work).unwrap();
            let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-6 };
            let expected = Array1::from(expected);
            assert!(distance(back.as_slice(), &expected) < tolerance);
            assert!(distance(normal.as_slice(), &expected) < tolerance);
        }
    }
    each_scalar!(check, comm);
}

fn context_local_indices(comm: &Rc<dyn Comm>) {
    for options in every_mode() {
        let built = RefCell::new(Vec::new());
        let factory = FromFn::new(
            10,
            |index| Ok(Description::new(format!("blur {index}"), image(), image())),
            |index| {
                built.borrow_mut().push(index);
                Ok(Box::new(blur::<f32>(index)) as Boxed<f32>)
            },
        );
        let stack = Stack::build(Team::new(comm.clone()), &factory, options).unwrap();
        assert_eq!(*built.borrow(), stack.local_indices(), "built once each, in rising order, and no others");
        let mut owners = [0.0; 10];
        stack.local_indices().iter().for_each(|index| owners[*index] += 1.0);
        assert_eq!(stack.team().sum(owners).unwrap(), [1.0; 10]);
    }
}

fn context_collectives(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (rank, ranks) = (team.rank() as f64, team.size() as f64);
    let own = [rank + 1.0, 2.0, 3.0];
    assert_eq!(team.sum(own).unwrap(), [ranks * (ranks + 1.0) / 2.0, 2.0 * ranks, 3.0 * ranks]);
    assert_eq!(team.max(own), [ranks, 2.0, 3.0]);
    assert_eq!(team.min(own), [1.0, 2.0, 3.0]);
    assert_eq!(team.from_rank_0(|| Ok(own)).unwrap(), [1.0, 2.0, 3.0]);
    let everybody: Vec<Vec<f64>> = (0..team.size()).map(|rank| vec![rank as f64 + 1.0, 2.0, 3.0]).collect();
    assert_eq!(team.gather_numbers(&own), everybody);
}

fn data_fidelity_vs_stacked(comm: &Rc<dyn Comm>) {
    let stack = standard::<f64>(comm, 3, PlanOptions::default());
    let (x, y) = (random_vector(stack.domain(), 42, 1), random_vector(stack.range(), 42, 2)); // y is not A x
    let all_y = Array1::from(stack.gather(&y, None).unwrap());
    let residual = whole(3).dot(&array(&x)) - &all_y;
    let value = 0.5 * residual.dot(&residual);
    let gradient = whole(3).t().dot(&residual);
    let one = AnyFidelity::L2(L2 { sigma: 1.0, ..L2::default() });
    for fidelities in [vec![one.clone()], vec![one; 3]] {
        let term = DataTerm::new(&stack, &y, fidelities).unwrap();
        assert!((term.value(&x).unwrap() / value - 1.0).abs() < 1e-12);
        let mut out = stack.zero_model();
        assert!((term.gradient(&x, &mut out).unwrap() / value - 1.0).abs() < 1e-12);
        assert!(distance(out.as_slice(), &gradient) < 1e-12);
    }
}

fn data_fidelity_different_fidelities(comm: &Rc<dyn Comm>) {
    let stack = standard::<f64>(comm, 2, PlanOptions::default());
    let (x, y) = (random_vector(stack.domain(), 42, 1), random_vector(stack.range(), 42, 2));
    let (all_y, len) = (Array1::from(stack.gather(&y, None).unwrap()), image().len());
    let part =
        |index: usize| matrix_of(index).dot(&array(&x)) - all_y.slice(ndarray::s![index * len..(index + 1) * len]);
    let delta = 0.3;
    let huber = |r: f64| if r.abs() <= delta { 0.5 * r * r } else { delta * (r.abs() - 0.5 * delta) };
    let value = 0.5 * part(0).dot(&part(0)) + part(1).iter().map(|r| huber(*r)).sum::<f64>();
    let gradient = matrix_of(0).t().dot(&part(0)) + matrix_of(1).t().dot(&part(1).mapv(|r| r.clamp(-delta, delta)));
    let fidelities = vec![AnyFidelity::L2(L2 { sigma: 1.0, ..L2::default() }), AnyFidelity::Huber(Huber { delta })];
    let term = DataTerm::new(&stack, &y, fidelities).unwrap();
    let mut out = stack.zero_model();
    assert!((term.gradient(&x, &mut out).unwrap() / value - 1.0).abs() < 1e-12);
    assert!(distance(out.as_slice(), &gradient) < 1e-12);
}

fn unequal_shapes(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for count in [1, 3, 6] {
            let stack = dense_stack::<S>(comm, count, 5, Assignment::RoundRobin, Summation::Fast);
            let x = random_vector(stack.domain(), 42, 1);
            let mut y = stack.zero_data();
            stack.forward(&x, &mut y).unwrap();
            let expected = assembled::<S>(count, 5).dot(&Array1::from(x.as_slice().to_vec()));
            let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
            for how in [Gather::Concatenated, Gather::Broadcast, Gather::Objects] {
                let gathered = stack.gather_by(how, &y, Some(0)).unwrap();
                if comm.rank() == 0 {
                    assert!(distance(&gathered, &expected) < tolerance);
                } else {
                    assert!(gathered.is_empty());
                }
            }
        }
    }
    each_scalar!(check, comm);
    let none = stack_of::<Complex<f32>>(comm, 0, 5, PlanOptions::default(), |_| unreachable!()).err().unwrap();
    assert!(none.to_string().contains("the stack has no operators"), "{none}");
}
