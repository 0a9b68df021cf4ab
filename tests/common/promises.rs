//! What holds on any number of ranks. Each promise is a function of a communicator; `tests/distribution.rs` runs the list
//! on 1 to 4 threads, `tests/mpi.rs` runs it again under real `mpirun`.

use std::rc::Rc;

use ndarray::Array1;
use ndarray_linalg::{LeastSquaresSvd, SVD};
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Reduction, Solo, Summation, Team, Through};
use stackphys::operator::Closure;
use stackphys::physics::noise::{self, AnyNoise};
use stackphys::physics::{Identity, Intensity, ParallelCt};
use stackphys::recon::fidelity::{Amplitude, AnyFidelity, Huber, L1, L2, L2Ball};
use stackphys::recon::{DataTerm, Loss};
use stackphys::solver::{
    Cg, CgParams, Method, NormSquared, NormSquaredEstimate, PowerParams, Progress, PseudoInverse, drive, norm_squared,
    pseudo_inverse, stop,
};
use stackphys::space::{Order, Selection};
use stackphys::stack::{AnyOperator, Assignment, Description, FromFn, Gather, PlanOptions, SmoothStack, Stack};
use stackphys::testing::stack_dot_tests;
use stackphys::{Fault, Scalar, Shape};

use super::minimisers::{
    a_fault_in_the_middle_of_a_minimiser, a_step_of_a_minimiser_sends_one_vector,
    minimisers_in_ordered_mode_have_the_bits_of_one_process, minimisers_of_plain_least_squares_find_its_solution,
    the_gradient_at_a_minimum_is_zero, what_minimisers_cannot_do_is_told,
};
use super::*;

/// A name, and what holds.
pub type Promise = (&'static str, fn(&Rc<dyn Comm>));

/// All promises by name.
pub const ALL: &[Promise] = &[
    ("a stack equals its dense matrix", a_stack_equals_its_dense_matrix),
    ("dot tests of stacks", dot_tests_of_stacks),
    ("gather keeps the order of operators", gather_keeps_the_order_of_operators),
    ("three ways to gather give the same bits", three_ways_to_gather_give_the_same_bits),
    ("a gather into too little room is the same error on all ranks", a_gather_into_too_little_room_is_refused),
    ("a smooth stack is its members", a_smooth_stack_is_its_members),
    ("shared numbers reach every rank", shared_numbers_reach_every_rank),
    ("noise does not depend on the ranks", noise_does_not_depend_on_the_ranks),
    ("a data term is the sum of its operators'", a_data_term_is_the_sum_of_its_operators),
    ("a gradient costs one vector reduction", a_gradient_costs_one_vector_reduction),
    ("minimisers of plain least squares find its solution", minimisers_of_plain_least_squares_find_its_solution),
    ("the gradient at a minimum is zero", the_gradient_at_a_minimum_is_zero),
    (
        "minimisers in ordered mode have the bits of one process",
        minimisers_in_ordered_mode_have_the_bits_of_one_process,
    ),
    ("a step of a minimiser sends one vector", a_step_of_a_minimiser_sends_one_vector),
    ("a fault in the middle of a minimiser", a_fault_in_the_middle_of_a_minimiser),
    ("what minimisers cannot do is told", what_minimisers_cannot_do_is_told),
    ("ordered sums have the same bits as one process", ordered_sums_have_the_same_bits_as_one_process),
    ("two identities have squared norm 2", two_identities_have_squared_norm_2),
    ("bounds of the squared norm hold", bounds_of_the_squared_norm_hold),
    ("the exact pseudo-inverse is the least-squares solution", the_exact_pseudo_inverse_is_least_squares),
    ("damping is Tikhonov's", damping_is_tikhonovs),
    ("the local mean is its definition", the_local_mean_is_its_definition),
    ("an iteration sends one vector and no scalar", an_iteration_sends_one_vector_and_no_scalar),
    ("two stacks at once", two_stacks_at_once),
    ("rank 0 tells all", rank_0_tells_all),
    ("wall time stops all ranks at the same step", wall_time_stops_all_ranks_at_the_same_step),
];

const MODES: [(Assignment, Summation); 5] = [
    (Assignment::Contiguous, Summation::Fast),
    (Assignment::RoundRobin, Summation::Fast),
    (Assignment::ByCost, Summation::Ordered),
    (Assignment::Contiguous, Summation::Ordered),
    (Assignment::RoundRobin, Summation::Ordered),
];

/// What rounding may do to results of some size.
pub fn tolerance<S: Scalar>() -> f64 {
    if S::NAME.ends_with("f64") { 1e-12 } else { 2e-5 }
}

fn a_stack_equals_its_dense_matrix(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for count in [1, 2, 7] {
            let columns = 13;
            let whole = assembled::<S>(count, columns);
            let adjoint = adjoint_of(&whole);
            for (assignment, summation) in MODES {
                let stack = dense_stack::<S>(comm, count, columns, assignment, summation);
                let mut x = stack.zero_model();
                x.as_mut_slice().copy_from_slice(&random::<S>(columns, 1));
                let x_array = Array1::from(x.as_slice().to_vec());
                let y_array = whole.dot(&x_array);

                let mut y = stack.zero_data();
                y.fill(S::from_parts(f64::NAN, f64::NAN));
                stack.forward(&x, &mut y).unwrap();
                assert!(distance(&stack.gather(&y, None).unwrap(), &y_array) < tolerance::<S>());

                let mut back = stack.zero_model();
                for out in [true, false] {
                    back.fill(S::from_parts(f64::NAN, f64::NAN));
                    if out { stack.adjoint(&y, &mut back) } else { stack.normal(&x, &mut back) }.unwrap();
                    assert!(distance(back.as_slice(), &adjoint.dot(&y_array)) < tolerance::<S>());
                }

                let mut gram = stack.zero_data();
                stack.forward_adjoint(&y, &mut gram).unwrap();
                let expected = whole.dot(&adjoint.dot(&y_array));
                assert!(distance(&stack.gather(&gram, None).unwrap(), &expected) < tolerance::<S>());
            }
        }
    }
    each_scalar!(check, comm);
}

fn dot_tests_of_stacks(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (assignment, summation) in MODES {
            let dense = dense_stack::<S>(comm, 5, 12, assignment, summation);
            let ct = ct_stack::<S>(comm, 5, PlanOptions { assignment, summation, ..PlanOptions::default() });
            for stack in [dense, ct] {
                for (what, test) in stack_dot_tests(&stack, 3).unwrap() {
                    assert!(test.passes::<S>(), "{what} {} {assignment:?} {summation:?}: {test:?}", S::NAME);
                }
            }
        }
    }
    each_scalar!(check, comm);
}

/// A small scan dealt into `count` interleaved operators.
pub fn ct_stack<S: Scalar>(comm: &Rc<dyn Comm>, count: usize, options: PlanOptions) -> Stack<S> {
    let model = Shape::new([("y", 17), ("x", 22)]);
    let angles: Vec<f64> = (0..23).map(|k| f64::from(k) * 0.13).collect();
    let part = |index| -> Vec<f64> {
        Selection::part(angles.len(), index, count, Order::Interleaved).iter().map(|k| angles[k]).collect()
    };
    let factory = FromFn::new(
        count,
        |index| {
            let range = Shape::new([("angle", part(index).len()), ("column", 31)]);
            Ok(Description::new(format!("angles {index}"), model.clone(), range))
        },
        |index| Ok(Box::new(ParallelCt::new(&model, &part(index), detector())?) as Boxed<S>),
    );
    let reduction = REDUCTION.get().copied().unwrap_or_default();
    Stack::build(Team::new(comm.clone()), &factory, PlanOptions { reduction, ..options }).unwrap()
}

fn gather_keeps_the_order_of_operators(comm: &Rc<dyn Comm>) {
    for assignment in [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost] {
        let stack = dense_stack::<f32>(comm, 6, 4, assignment, Summation::Fast);
        let mut y = stack.zero_data();
        let mut expected = Vec::new();
        for index in 0..6 {
            let values: Vec<f32> = (0..rows_of(index)).map(|row| (100 * index + row) as f32).collect();
            if let Some(block) = y.block_slice_mut(index) {
                block.copy_from_slice(&values);
            }
            expected.extend(values);
        }
        assert_eq!(stack.gather(&y, None).unwrap(), expected);
        let root = comm.size() - 1;
        let on_root = stack.gather(&y, Some(root)).unwrap();
        assert_eq!(on_root, if comm.rank() == root { expected } else { Vec::new() });
    }
}

fn three_ways_to_gather_give_the_same_bits(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (count, assignment) in [(1, Assignment::Contiguous), (6, Assignment::RoundRobin), (7, Assignment::ByCost)] {
            let stack = dense_stack::<S>(comm, count, 4, assignment, Summation::Fast);
            let mut y = stackphys::testing::random::<S>(stack.range(), 3, 1);
            if let Some(block) = y.block_slice_mut(count - 1) {
                block[0] = S::from_parts(f64::NAN, 1e-40); // what a careless serialisation would lose
            }
            let root = comm.size() - 1;
            for root in [None, Some(0), Some(root)] {
                let [a, b, c] = [Gather::Concatenated, Gather::Broadcast, Gather::Objects]
                    .map(|how| bytes(&stack.gather_by(how, &y, root).unwrap()));
                assert!(a == b && a == c);
                let mut into = vec![S::from_parts(f64::NAN, f64::NAN); stack.gathered_len(root)];
                for how in [Gather::Broadcast, Gather::Objects, Gather::Concatenated] {
                    into.fill(S::from_parts(f64::NAN, f64::NAN));
                    stack.gather_into(how, &y, root, &mut into).unwrap();
                    assert!(bytes(&into) == a, "{how:?} into memory that is there");
                }
                let here = root.is_none_or(|root| root == comm.rank());
                assert_eq!(a.len(), if here { stack.range().len() * size_of::<S>() } else { 0 });
            }
            let block = stack.block_everywhere(&y, count - 1).unwrap();
            assert_eq!(block.len(), rows_of(count - 1));
            assert!(stack.block_everywhere(&y, count).is_err());
        }
    }
    each_scalar!(check, comm);
}

fn a_gather_into_too_little_room_is_refused(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<f64>(comm, 6, 4, Assignment::Contiguous, Summation::Fast);
    let y = stackphys::testing::random::<f64>(stack.range(), 3, 1);
    let last = comm.size() - 1;
    for how in [Gather::Concatenated, Gather::Broadcast, Gather::Objects] {
        let wanted = stack.gathered_len(None);
        let mut into = vec![0.0; wanted - usize::from(comm.rank() == last)];
        let told = stack.gather_into(how, &y, None, &mut into).unwrap_err().to_string();
        let expected = format!("gather: expected room for {wanted} numbers on this rank, got {}", wanted - 1);
        assert!(told.contains(&expected), "{told}");
        let told = stack.gather_by(how, &y, Some(comm.size())).unwrap_err().to_string();
        assert!(told.contains(&format!("there is no rank {}", comm.size())), "{told}");
        assert_eq!(stack.gather_by(how, &y, Some(last)).unwrap().len(), stack.gathered_len(Some(last)));
    }
}

/// Linear and smooth members in turn: `[B_0 x; |B_1 x|²; B_2 x; …]`.
pub fn mixed_stack<S: Scalar>(
    comm: &Rc<dyn Comm>,
    count: usize,
    columns: usize,
    options: PlanOptions,
) -> SmoothStack<S> {
    let factory = FromFn::new(
        count,
        |index| {
            let (domain, range) = (Shape::new([("x", columns)]), Shape::new([("row", rows_of(index))]));
            Ok(Description::new(format!("block {index}"), domain, range))
        },
        |index| {
            let matrix = dense::<S>(rows_of(index), columns, 100 + index as u64);
            Ok(match index % 2 {
                0 => AnyOperator::Linear(Box::new(matrix)),
                _ => AnyOperator::Smooth(Box::new(Intensity(matrix))),
            })
        },
    );
    SmoothStack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

fn a_smooth_stack_is_its_members(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let (count, columns) = (5, 6);
        for (assignment, summation) in MODES {
            let options = PlanOptions { assignment, summation, ..PlanOptions::default() };
            let stack = mixed_stack::<S>(comm, count, columns, options);
            let (x, h) =
                (stackphys::testing::random(stack.domain(), 1, 1), stackphys::testing::random(stack.domain(), 1, 2));
            let v = stackphys::testing::random::<S>(stack.range(), 1, 3);
            let (mut value, mut slope, mut pulled) = (stack.zero_data(), stack.zero_data(), stack.zero_model());
            let mut at = stack.points();
            for _ in 0..2 {
                stack.linearize(&x, &mut value, &mut at).unwrap(); // slots are used again
            }
            stack.jvp(&at, &h, &mut slope).unwrap();
            stack.vjp(&at, &v, &mut pulled).unwrap();
            let mut again = stack.zero_data();
            stack.forward(&x, &mut again).unwrap();
            let [value, slope, v, again] = [&value, &slope, &v, &again].map(|y| stack.gather(y, None).unwrap());
            assert_eq!(bytes(&value), bytes(&again));

            // by hand, with the dense blocks
            let (x, h) = (Array1::from(x.as_slice().to_vec()), Array1::from(h.as_slice().to_vec()));
            let mut start = 0;
            let mut expected = Array1::<S>::zeros(columns);
            for index in 0..count {
                let block = matrix::<S>(rows_of(index), columns, 100 + index as u64);
                let (bx, bh) = (block.dot(&x), block.dot(&h));
                let range = start..start + rows_of(index);
                start = range.end;
                let (own_value, own_slope, weight) = match index % 2 {
                    0 => (bx.clone(), bh, Array1::from(v[range.clone()].to_vec())),
                    _ => (
                        bx.mapv(|z| S::from_f64(z.modulus_squared())),
                        ndarray::Zip::from(&bx).and(&bh).map_collect(|z, h| S::from_f64(2.0 * (z.conj() * *h).re())),
                        ndarray::Zip::from(&bx)
                            .and(&Array1::from(v[range.clone()].to_vec()))
                            .map_collect(|z, v| *z * S::from_f64(2.0 * v.re())),
                    ),
                };
                assert!(distance(&value[range.clone()], &own_value) < tolerance::<S>());
                assert!(distance(&slope[range], &own_slope) < tolerance::<S>());
                expected += &adjoint_of(&block).dot(&weight);
            }
            assert!(distance(pulled.as_slice(), &expected) < tolerance::<S>());
        }
    }
    each_scalar!(check, comm);
}

fn shared_numbers_reach_every_rank(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    // longer than one message
    let numbers = team.share(|| Ok((0..(1 << 20) + 3).map(|k| Complex::new(k as f32, -1.0)).collect())).unwrap();
    assert_eq!((numbers.len(), numbers[1 << 20]), ((1 << 20) + 3, Complex::new((1 << 20) as f32, -1.0)));
    assert!(team.share::<f64>(|| Ok(Vec::new())).unwrap().is_empty());
    assert!(team.share::<f64>(|| Err(Fault::new("no maps"))).unwrap_err().to_string().contains("no maps"));
}

fn noise_does_not_depend_on_the_ranks(comm: &Rc<dyn Comm>) {
    let noisy = |comm: &Rc<dyn Comm>, assignment| {
        let stack = dense_stack::<Complex<f32>>(comm, 5, 4, assignment, Summation::Fast);
        let (x, mut y) = (stackphys::testing::random(stack.domain(), 1, 1), stack.zero_data());
        let noise = AnyNoise::Gaussian(noise::Gaussian { sigma: 0.5 });
        stack.forward_noisy(&x, &mut y, |index| (index != 2).then_some(&noise), 11).unwrap();
        bytes(&stack.gather(&y, None).unwrap())
    };
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    assert_eq!(noisy(comm, Assignment::RoundRobin), noisy(&alone, Assignment::Contiguous));
    // an operator whose noise cannot be drawn is told
    let stack = dense_stack::<f64>(comm, 5, 4, Assignment::Contiguous, Summation::Fast);
    let (x, mut y) = (stackphys::testing::random(stack.domain(), 1, 1), stack.zero_data());
    let counts = AnyNoise::Poisson(noise::Poisson { gain: 1.0 });
    let error = stack.forward_noisy(&x, &mut y, |index| (index == 3).then_some(&counts), 1).unwrap_err();
    assert_eq!(error.fault().operator, Some(3));
}

fn a_data_term_is_the_sum_of_its_operators(comm: &Rc<dyn Comm>) {
    type C = Complex<f64>;
    let (count, columns) = (5, 6);
    let each = vec![
        AnyFidelity::L2(L2 { sigma: 0.3, ..L2::default() }),
        AnyFidelity::L1(L1 {}),
        AnyFidelity::Huber(Huber { delta: 0.5 }),
        AnyFidelity::L2(L2 { sigma: 2.0, ..L2::default() }),
        AnyFidelity::Amplitude(Amplitude {}),
    ];
    for (assignment, summation) in MODES {
        let stack = dense_stack::<C>(comm, count, columns, assignment, summation);
        let x = stackphys::testing::random::<C>(stack.domain(), 1, 1);
        let y = stackphys::testing::random::<C>(stack.range(), 1, 2);
        let whole = stack.gather(&y, None).unwrap();
        for fidelities in [each.clone(), vec![each[2].clone()]] {
            let term = DataTerm::new(&stack, &y, fidelities.clone()).unwrap();
            let (mut value, mut gradient, mut start) = (0.0, Array1::<C>::zeros(columns), 0);
            for index in 0..count {
                let block = matrix::<C>(rows_of(index), columns, 100 + index as u64);
                let own = &whole[start..start + rows_of(index)];
                start += rows_of(index);
                let mut u = block.dot(&Array1::from(x.as_slice().to_vec())).to_vec();
                value += term.fidelity(index).value(&u, own).unwrap();
                term.fidelity(index).gradient(&mut u, own).unwrap();
                gradient += &adjoint_of(&block).dot(&Array1::from(u));
            }
            let mut out = stack.zero_model();
            assert!((term.value(&x).unwrap() / value - 1.0).abs() < 1e-12);
            assert!((term.gradient(&x, &mut out).unwrap() / value - 1.0).abs() < 1e-12);
            assert!(distance(out.as_slice(), &gradient) < 1e-12);
            let mean = DataTerm::new(&stack, &y, fidelities).unwrap().with_loss(Loss::Mean);
            assert!((mean.gradient(&x, &mut out).unwrap() * count as f64 / value - 1.0).abs() < 1e-12);
            assert!(distance(out.as_slice(), &(gradient / C::new(count as f64, 0.0))) < 1e-12);
        }
        // the proximal map is that of each block
        let term = DataTerm::new(&stack, &y, each.clone()).unwrap();
        let mut v = stackphys::testing::random::<C>(stack.range(), 1, 3);
        let before = stack.gather(&v, None).unwrap();
        term.prox_of_measurements(&mut v, 0.7).unwrap();
        let (after, mut start) = (stack.gather(&v, None).unwrap(), 0);
        for (index, fidelity) in each.iter().enumerate() {
            let range = start..start + rows_of(index);
            start = range.end;
            let mut own = before[range.clone()].to_vec();
            fidelity.prox(&mut own, &whole[range.clone()], 0.7).unwrap();
            assert_eq!(own, after[range]);
        }
        // what does not fit, and what has no gradient
        assert!(DataTerm::new(&stack, &y, each[..2].to_vec()).is_err());
        let ball = DataTerm::new(&stack, &y, vec![AnyFidelity::L2Ball(L2Ball { radius: 1.0 })]).unwrap();
        let error = ball.gradient(&x, &mut stack.zero_model()).unwrap_err();
        assert_eq!(error.fault().operator, Some(0));
    }
}

fn a_gradient_costs_one_vector_reduction(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<f32>(comm, 5, 6, Assignment::Contiguous, Summation::Fast);
    let y = stackphys::testing::random::<f32>(stack.range(), 1, 2);
    let (x, mut out) = (stackphys::testing::random::<f32>(stack.domain(), 1, 1), stack.zero_sum());
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::default()]).unwrap();
    let before = stack.team().meter().all();
    term.gradient(&x, &mut out).unwrap();
    let after = stack.team().meter().all();
    let calls = |kind: Kind| after[kind as usize].calls - before[kind as usize].calls;
    assert_eq!((calls(Kind::VectorReduction), calls(Kind::ScalarReduction)), (1, 1));
    assert_eq!((calls(Kind::Gather), calls(Kind::Broadcast), calls(Kind::Agreement)), (0, 0, 0));
    // and a forward to local parts nothing
    let mut local = stack.zero_data();
    stack.forward_unsettled(&x, &mut local);
    assert_eq!(stack.team().meter().all(), after);
}

fn ordered_sums_have_the_same_bits_as_one_process(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let alone: Rc<dyn Comm> = Rc::new(Solo);
        for count in [1, 2, 3, 7, 8, 12] {
            for assignment in [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost] {
                let solve = |comm: &Rc<dyn Comm>, assignment| {
                    let stack = dense_stack::<S>(comm, count, 10, assignment, Summation::Ordered);
                    let mut y = stack.zero_data();
                    for index in 0..count {
                        if let Some(block) = y.block_slice_mut(index) {
                            block.copy_from_slice(&random::<S>(rows_of(index), 50 + index as u64));
                        }
                    }
                    let params = CgParams { damping: 0.1, ..CgParams::default() };
                    let how = PseudoInverse::Exact(params.into());
                    let rule = stop::iterations(5);
                    let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap();
                    let outcome = solution.outcome.unwrap();
                    let residuals: Vec<_> =
                        outcome.history.iter().map(|p| p.relative_residual.map(f64::to_bits)).collect();
                    (bytes(solution.x.as_slice()), residuals, solution.true_relative_residual.to_bits())
                };
                assert_eq!(solve(comm, assignment), solve(&alone, Assignment::Contiguous), "{count} {assignment:?}");
            }
        }
    }
    each_scalar!(check, comm);
}

fn two_identities_have_squared_norm_2(comm: &Rc<dyn Comm>) {
    let image = Shape::new([("x", 9)]);
    let factory = FromFn::new(
        2,
        |_| Ok(Description::new("identity", image.clone(), image.clone())),
        |_| Ok(Box::new(Identity::new(image.clone())) as Boxed<f64>),
    );
    let stack = Stack::build(Team::new(comm.clone()), &factory, PlanOptions::default()).unwrap();
    let (value, _, _) = exact_norm(&stack);
    assert!((value - 2.0).abs() < 1e-12, "{value}");
    let (below, above) = norm_bounds(&stack);
    assert!((below - 1.0).abs() < 1e-12 && (above - 2.0).abs() < 1e-12, "[{below}, {above}]");
}

fn exact_norm<S: Scalar>(stack: &Stack<S>) -> (f64, f64, usize) {
    let params = PowerParams { max_iter: 2000, tolerance: 1e-13, ..PowerParams::default() };
    match norm_squared(stack, &NormSquared::Exact(params), &mut |_: &Progress| ()).unwrap() {
        NormSquaredEstimate::Value { value, error_bar, outcome } => (value, error_bar, outcome.iterations()),
        other => panic!("{other:?}"),
    }
}

fn norm_bounds<S: Scalar>(stack: &Stack<S>) -> (f64, f64) {
    match norm_squared(stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap() {
        NormSquaredEstimate::Bounds { below, above, .. } => (below, above),
        other => panic!("{other:?}"),
    }
}

fn bounds_of_the_squared_norm_hold(comm: &Rc<dyn Comm>) {
    for (count, columns) in [(1, 4), (3, 10), (7, 13)] {
        let (_, singular, _) = assembled::<Complex<f64>>(count, columns).svd(false, false).unwrap();
        let largest = singular[0] * singular[0];
        let stack = dense_stack::<Complex<f64>>(comm, count, columns, Assignment::Contiguous, Summation::Fast);
        let (value, error_bar, _) = exact_norm(&stack);
        assert!((value - largest).abs() < 1e-6 * largest, "{value} against {largest}");
        assert!(error_bar < 1e-3 * largest);
        let (below, above) = norm_bounds(&stack);
        assert!(below <= largest && largest <= above, "{below} ≤ {largest} ≤ {above}");
        assert!(below > 0.0 && above < 20.0 * largest);
    }
    fn ct<S: Scalar>(comm: &Rc<dyn Comm>) {
        let stack = ct_stack::<S>(comm, 5, PlanOptions::default());
        let (value, _, _) = exact_norm(&stack);
        let (below, above) = norm_bounds(&stack);
        assert!(below <= value && value <= above, "{below} ≤ {value} ≤ {above}");
    }
    each_scalar!(ct, comm);
}

/// Measurements of a dense stack: random, so inconsistent, and the same on any number of ranks.
pub fn random_data<S: Scalar>(stack: &Stack<S>) -> (stackphys::space::Vector<S>, Array1<S>) {
    let y = stackphys::testing::random(stack.range(), 5, 9);
    let whole = stack.gather(&y, None).unwrap();
    (y, Array1::from(whole))
}

fn until_exact(params: CgParams) -> (PseudoInverse, stop::BoxedRule) {
    let rule = stop::any([stop::relative_normal_residual(1e-14), stop::iterations(params.max_iter)]);
    (PseudoInverse::Exact(params.into()), rule)
}

fn the_exact_pseudo_inverse_is_least_squares(comm: &Rc<dyn Comm>) {
    for (assignment, summation) in MODES {
        let stack = dense_stack::<Complex<f64>>(comm, 7, 6, assignment, summation);
        let (y, whole) = random_data(&stack);
        let expected = assembled::<Complex<f64>>(7, 6).least_squares(&whole).unwrap().solution;
        let (how, rule) = until_exact(CgParams { max_iter: 60, ..CgParams::default() });
        let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap();
        assert!(distance(solution.x.as_slice(), &expected) < 1e-10);
        assert!(solution.true_relative_normal_residual < 1e-12);
        // the residual of the recurrence is the true one
        let outcome = solution.outcome.unwrap();
        let last = outcome.last().relative_residual.unwrap();
        assert!((last / solution.true_relative_residual - 1.0).abs() < 1e-10);

        // an exact first guess costs no step
        let rule = stop::any([stop::relative_normal_residual(1e-10), stop::iterations(60)]);
        let again = pseudo_inverse(&stack, &y, &how, Some(solution.x.clone()), &*rule, &mut |_: &Progress| ()).unwrap();
        assert_eq!(again.outcome.unwrap().iterations(), 0);
    }
}

fn damping_is_tikhonovs(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<Complex<f64>>(comm, 4, 6, Assignment::Contiguous, Summation::Fast);
    let (y, whole) = random_data(&stack);
    let damping = 3.7;
    // min ‖A x − y‖² + λ‖x‖² is a least-squares problem with √λ I below A
    let matrix = assembled::<Complex<f64>>(4, 6);
    let below = ndarray::Array2::from_diag_elem(6, Complex::new(f64::sqrt(damping), 0.0));
    let extended = ndarray::concatenate![ndarray::Axis(0), matrix, below];
    let data = ndarray::concatenate![ndarray::Axis(0), whole, Array1::zeros(6)];
    let expected = extended.least_squares(&data).unwrap().solution;
    let (how, rule) = until_exact(CgParams { max_iter: 60, damping, ..CgParams::default() });
    for first_guess in [false, true] {
        let guess = first_guess.then(|| stackphys::testing::random(stack.domain(), 6, 9));
        let solution = pseudo_inverse(&stack, &y, &how, guess, &*rule, &mut |_: &Progress| ()).unwrap();
        assert!(distance(solution.x.as_slice(), &expected) < 1e-10);
        assert!(solution.true_relative_normal_residual < 1e-12);
        let last = solution.outcome.unwrap().last().relative_residual.unwrap();
        assert!((last / solution.true_relative_residual - 1.0).abs() < 1e-10);
    }
}

fn the_local_mean_is_its_definition(comm: &Rc<dyn Comm>) {
    for (count, summation) in [(2, Summation::Fast), (5, Summation::Fast), (5, Summation::Ordered)] {
        let stack = dense_stack::<Complex<f64>>(comm, count, 2, Assignment::RoundRobin, summation);
        let (y, whole) = random_data(&stack);
        let mut mean = Array1::<Complex<f64>>::zeros(2);
        let mut start = 0;
        for index in 0..count {
            let block = matrix::<Complex<f64>>(rows_of(index), 2, 100 + index as u64);
            let own = whole.slice(ndarray::s![start..start + rows_of(index)]).to_owned();
            start += rows_of(index);
            mean += &block.least_squares(&own).unwrap().solution;
        }
        mean /= Complex::new(count as f64, 0.0);
        let rule = stop::any([stop::relative_normal_residual(1e-14), stop::iterations(30)]);
        let how = PseudoInverse::LocalMean(CgParams::default().into());
        let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap();
        assert!(distance(solution.x.as_slice(), &mean) < 1e-10);
        // its global normal residual is reported, and is not small
        let matrix = assembled::<Complex<f64>>(count, 2);
        let adjoint = adjoint_of(&matrix);
        let norm = |v: Array1<Complex<f64>>| v.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
        let expected = norm(adjoint.dot(&(matrix.dot(&mean) - &whole))) / norm(adjoint.dot(&whole));
        assert!((solution.true_relative_normal_residual / expected - 1.0).abs() < 1e-8);
        assert!(expected > 1e-3);
    }
}

fn an_iteration_sends_one_vector_and_no_scalar(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>, columns: usize, reduction: Reduction) {
        let options = PlanOptions { reduction, ..PlanOptions::default() };
        let build = |index| Ok(Box::new(dense::<S>(rows_of(index), columns, 100 + index as u64)) as Boxed<S>);
        let stack = stack_of::<S>(comm, 7, columns, options, build).unwrap();
        let (y, _) = random_data(&stack);
        let mut cg = Cg::new(&stack, &CgParams { damping: 0.5, ..CgParams::default() }, &y, None);
        cg.start().unwrap();
        for _ in 0..3 {
            let before = stack.team().meter().all();
            cg.step().unwrap();
            let after = stack.team().meter().all();
            for (kind, (before, after)) in Kind::ALL.into_iter().zip(before.into_iter().zip(after)) {
                let expected = u64::from(kind == Kind::VectorReduction);
                assert_eq!(after.calls - before.calls, expected, "{kind:?}");
            }
            let sent = stack.team().meter().of(Kind::VectorReduction).bytes - before[0].bytes;
            assert_eq!((1, sent), stack.reduction());
            match stack.team().through() {
                Through::Messages => assert_eq!((1, sent), stack.plan().reduction(comm.rank())),
                Through::Shared => assert_eq!(sent, 0),
                Through::SharedAndMessages => assert!(sent == 0 || sent >= stack.plan().reduction(comm.rank()).1),
            }
        }
    }
    for columns in [13, 300] {
        for reduction in [Reduction::Auto, Reduction::Messages, Reduction::Shared] {
            each_scalar!(check, comm, columns, reduction);
        }
    }
}

fn two_stacks_at_once(comm: &Rc<dyn Comm>) {
    for summation in [Summation::Fast, Summation::Ordered] {
        for reduction in [Reduction::Auto, Reduction::Messages, Reduction::Shared] {
            let options = PlanOptions { summation, reduction, ..PlanOptions::default() };
            let stack = |factor: f64| {
                stack_of::<f64>(comm, 7, 300, options, move |index| {
                    let mut matrix = matrix::<f64>(rows_of(index), 300, 100 + index as u64);
                    matrix *= factor;
                    Ok(Box::new(Dense::new(Shape::new([("x", 300)]), matrix).unwrap()) as Boxed<f64>)
                })
                .unwrap()
            };
            let (one, two) = (stack(1.0), stack(2.0));
            let x = stackphys::testing::random(one.domain(), 1, 1);
            let (mut a, mut b) = (one.zero_sum(), two.zero_sum());
            let (mut c, mut swapped) = (one.zero_sum(), one.zero_model());
            for _ in 0..20 {
                one.normal(&x, &mut a).unwrap();
                two.normal(&x, &mut b).unwrap();
                two.normal(&x, &mut c).unwrap(); // made by the other stack
                one.normal(&x, &mut swapped).unwrap(); // lives in no segment
                let near = |k: usize| (4.0 * a.as_slice()[k] - b.as_slice()[k]).abs() < 1e-9 * b.as_slice()[k].abs();
                assert!((0..300).all(near));
                assert_eq!(b.as_slice(), c.as_slice());
                assert!(summation == Summation::Fast || a.as_slice() == swapped.as_slice());
            }
            drop(one);
            two.normal(&x, &mut c).unwrap();
            assert_eq!(b.as_slice(), c.as_slice());
        }
    }
}

fn rank_0_tells_all(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let told: Vec<String> = team.from_rank_0(|| Ok(vec!["tooth".into(), "brain".into()])).unwrap();
    assert_eq!(told, ["tooth", "brain"]);
    let error = team.from_rank_0::<u32>(|| Err(Fault::new("no such file").hint("look elsewhere"))).unwrap_err();
    assert_eq!(error.fault().hint.as_deref(), Some("look elsewhere"));
}

fn wall_time_stops_all_ranks_at_the_same_step(comm: &Rc<dyn Comm>) {
    let rank = comm.rank() as u64;
    let stack = stack_of::<f64>(comm, 4, 4, PlanOptions::default(), |index| {
        Ok(Box::new(Closure::<f64>::new(
            Shape::new([("x", 4)]),
            Shape::new([("row", rows_of(index))]),
            move |x, y| {
                std::thread::sleep(std::time::Duration::from_millis(3 + rank));
                y.fill(x[index]);
                Ok(())
            },
            move |y, x| {
                x.fill(0.0);
                x[index] = y.iter().sum();
                Ok(())
            },
        )) as Boxed<f64>)
    })
    .unwrap();
    let mut power = stackphys::solver::Power::new(&stack, &PowerParams::default());
    let begin = stack.team().seconds();
    let rule = stop::any([stop::wall_time(begin + 0.15), stop::iterations(10_000)]);
    let outcome = drive(&mut power, &*rule, &mut |_: &Progress| ()).unwrap();
    assert_eq!(outcome.stop.rule, "wall time");
    let steps = outcome.iterations() as f64;
    let team = stack.team();
    assert_eq!(team.max([steps]), team.min([steps]));
}
/// The promises of all files.
pub fn all() -> impl Iterator<Item = &'static Promise> {
    use super::{agreement, blocks, checkpoints, forms, halos, hilbert, lanes, planned, reference, ways};
    let lists = [
        ALL,
        planned::ALL,
        forms::ALL,
        blocks::ALL,
        lanes::ALL,
        ways::ALL,
        halos::ALL,
        hilbert::ALL,
        reference::ALL,
        agreement::ALL,
        checkpoints::ALL,
    ];
    assert!(lists.iter().all(|list| !list.is_empty()), "a list of promises is empty");
    lists.into_iter().flatten()
}

/// Keeps all promises on the ranks of a real launcher. A broken one panics on some rank, which ends the job: its name stands
/// in the log.
pub fn hold(comm: &Rc<dyn Comm>) {
    for (name, promise) in all() {
        if comm.rank() == 0 {
            println!("promise: {name}");
        }
        promise(comm);
        comm.barrier();
    }
    if comm.rank() == 0 {
        println!("all {} promises hold on {} ranks", all().count(), comm.size());
    }
}
