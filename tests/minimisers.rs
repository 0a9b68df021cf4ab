//! Methods that minimise a data term, against what is known by other means: dense least squares, conditions of optimality,
//! enumeration. What holds on any number of ranks is among the promises (`common/minimisers.rs`).

mod common;

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::minimisers::{data, least_squares, minimisers, minimisers_for, plain_least_squares, solve, until};
use common::{Boxed, assembled, dense_stack, distance, each_scalar, matrix, random, rows_of, stack_of};
use ndarray::{Array1, Array2, ArrayView1};
use ndarray_linalg::{LeastSquaresSvd, Solve};
use num_complex::Complex;
use stackphys::comm::{Comm, Solo, Summation, Team};
use stackphys::config::{Job, SolveMethod};
use stackphys::operator::Closure;
use stackphys::physics::noise::{self, AnyNoise};
use stackphys::physics::{Dense, Diagonal};
use stackphys::recon::fidelity::{Amplitude, AnyFidelity, Huber, L1, L2, L2Ball, LogPoisson, Poisson, Variance};
use stackphys::recon::{AnyMinimiser, DataTerm, GradientDescentParams, PrimalDualParams, minimise};
use stackphys::solver::{AnyMethod, LandweberParams, Outcome, Progress, Status, stop, with_trouble_rules};
use stackphys::space::Vector;
use stackphys::stack::{Assignment, Description, FromFn, PlanOptions, Stack};
use stackphys::{Scalar, Shape};

fn solo() -> Rc<dyn Comm> {
    Rc::new(Solo)
}

fn stack<S: Scalar>(count: usize, columns: usize) -> Stack<S> {
    dense_stack(&solo(), count, columns, Assignment::Contiguous, Summation::Fast)
}

/// A stack of matrices without negative entries, and all of them as one.
fn bright(count: usize, columns: usize) -> (Stack<f64>, Array2<f64>) {
    let block = move |index: usize| matrix::<f64>(rows_of(index), columns, 100 + index as u64).mapv(f64::abs);
    let stack = stack_of::<f64>(&solo(), count, columns, PlanOptions::default(), |index| {
        Ok(Box::new(Dense::new(Shape::new([("x", columns)]), block(index))?) as Boxed<f64>)
    });
    let blocks: Vec<_> = (0..count).map(block).collect();
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    (stack.unwrap(), ndarray::concatenate(ndarray::Axis(0), &views).unwrap())
}

/// Each fidelity with measurements that it is for, of a bright stack; and by which power of the scale of the data it grows.
fn each_fidelity(stack: &Stack<f64>) -> Vec<(AnyFidelity, Vector<f64>, i32)> {
    let mut image = stack.zero_model();
    image.as_mut_slice().copy_from_slice(&random::<f64>(stack.domain().len(), 3));
    image.as_mut_slice().iter_mut().for_each(|x| *x = x.abs());
    let measured = |noise: AnyNoise| {
        let mut y = stack.zero_data();
        stack.forward_noisy(&image, &mut y, |_| Some(&noise), 5).unwrap();
        y
    };
    let normal = || measured(AnyNoise::Gaussian(noise::Gaussian { sigma: 0.3 }));
    let counts = || measured(AnyNoise::Poisson(noise::Poisson { gain: 0.4 }));
    vec![
        (AnyFidelity::L2(L2 { sigma: 0.7, ..L2::default() }), normal(), 2),
        (AnyFidelity::Huber(Huber { delta: 0.2 }), normal(), 2),
        (AnyFidelity::Poisson(Poisson { gain: 0.4, background: 0.0 }), counts(), 0),
        (AnyFidelity::Poisson(Poisson { gain: 0.4, background: 0.5 }), counts(), 0),
        (AnyFidelity::LogPoisson(LogPoisson { photons: 30.0, mu: 0.3 }), normal(), 0),
        (AnyFidelity::Amplitude(Amplitude {}), normal(), 2),
        (AnyFidelity::L1(L1 {}), normal(), 1),
        (AnyFidelity::L2Ball(L2Ball { radius: 1.1 }), normal(), 2),
    ]
}

/// The same fidelity for data that are so many times larger.
fn scaled(fidelity: &AnyFidelity, by: f64) -> AnyFidelity {
    match fidelity.clone() {
        AnyFidelity::Huber(Huber { delta }) => AnyFidelity::Huber(Huber { delta: delta * by }),
        AnyFidelity::L2Ball(L2Ball { radius }) => AnyFidelity::L2Ball(L2Ball { radius: radius * by }),
        AnyFidelity::Poisson(Poisson { gain, background }) => {
            AnyFidelity::Poisson(Poisson { gain: gain * by, background })
        }
        AnyFidelity::LogPoisson(LogPoisson { photons, mu }) => {
            AnyFidelity::LogPoisson(LogPoisson { photons, mu: mu / by })
        }
        same => same,
    }
}

fn with_damping(method: &AnyMinimiser, damping: f64) -> AnyMinimiser {
    match method.clone() {
        AnyMinimiser::GradientDescent(params) => GradientDescentParams { damping, ..params }.into(),
        AnyMinimiser::PrimalDual(params) => PrimalDualParams { damping, ..params }.into(),
    }
}

/// `Aᵀ∇d(A x, y) + λx` by dense arithmetic.
fn dense_gradient(fidelity: &AnyFidelity, a: &Array2<f64>, y: &[f64], damping: f64, x: &Array1<f64>) -> Array1<f64> {
    let mut u = a.dot(x).to_vec();
    fidelity.gradient(&mut u, y).unwrap();
    a.t().dot(&Array1::from(u)) + damping * x
}

fn norm(values: &Array1<f64>) -> f64 {
    values.dot(values).sqrt()
}

#[test]
fn smooth_fidelities_are_minimised_over_all_x_and_over_x_from_0_on() {
    for (count, columns) in [(7, 6), (3, 30)] {
        let (stack, a) = bright(count, columns);
        for (fidelity, y, _) in each_fidelity(&stack) {
            if !fidelity.is_smooth() || matches!(fidelity, AnyFidelity::Amplitude(_)) {
                continue;
            }
            let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
            for (damping, non_negative) in [(0.0, true), (0.5, true), (0.5, false)] {
                if !non_negative && matches!(fidelity, AnyFidelity::Poisson(_)) {
                    continue; // its minimum may be at the border of what can be counted
                }
                for method in minimisers(damping, non_negative) {
                    let (x, outcome) = solve(&term, &method, None, 1e-10);
                    let of = format!("{} {fidelity:?} λ {damping} x ≥ 0: {non_negative}", method.kind());
                    assert_eq!(outcome.status, Status::Converged, "{of}: {:?}", outcome.stop);
                    let x = Array1::from(x.as_slice().to_vec());
                    let gradient = dense_gradient(&fidelity, &a, y.as_slice(), damping, &x);
                    let start = dense_gradient(&fidelity, &a, y.as_slice(), damping, &Array1::from_elem(columns, 0.1));
                    let tolerance = 1e-7 * norm(&start);
                    if non_negative {
                        // x ≥ 0, ∇f ≥ 0, and one of both is zero: of a convex f the minimum
                        assert!(x.iter().all(|x| *x >= 0.0), "{of} {x}");
                        assert!(gradient.iter().all(|g| *g > -tolerance), "{of} {gradient}");
                        let both = x.iter().zip(&gradient).map(|(x, g)| x.min(g.abs())).fold(0.0, f64::max);
                        assert!(both < tolerance, "{of} {both:.1e}");
                    } else {
                        assert!(norm(&gradient) < tolerance, "{of} {:.1e}", norm(&gradient));
                    }
                }
            }
        }
    }
}

#[test]
fn plain_least_squares_have_the_nearest_of_many_solutions() {
    fn check<S: Scalar + ndarray_linalg::Lapack>() {
        // more rows than columns and no exact solution, or fewer and many
        for (count, columns) in [(7, 6), (2, 19)] {
            for damping in [0.0, 1.7] {
                plain_least_squares::<S>(&solo(), (Assignment::Contiguous, Summation::Fast), (count, columns), damping);
            }
        }
    }
    check::<f32>();
    check::<f64>();
    check::<Complex<f32>>();
    check::<Complex<f64>>();
}

#[test]
fn constraints_bind_somewhere_and_bend_the_answer() {
    let stack = stack::<f64>(7, 6);
    let (y, whole) = data(&stack);
    let a = assembled::<f64>(7, 6);
    let free = least_squares(&a, &whole, 0.0, &Array1::zeros(6));
    assert!(free.iter().any(|x| *x < -1e-3) && free.iter().any(|x| *x > 1e-3), "{free}");
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::default()]).unwrap();
    let [descent, primal_dual] = minimisers(0.0, true).map(|method| solve(&term, &method, None, 1e-12).0);
    let x = Array1::from(descent.as_slice().to_vec());
    assert!(distance(primal_dual.as_slice(), &x) < 1e-9);
    // those that are not held at zero solve the problem that only has them
    let kept: Vec<usize> = (0..6).filter(|k| x[*k] > 0.0).collect();
    let part = a.select(ndarray::Axis(1), &kept).least_squares(&whole).unwrap().solution;
    let got: Vec<f64> = kept.iter().map(|k| x[*k]).collect();
    assert!(distance(&got, &part) < 1e-9);
    let clipped = free.mapv(|x| x.max(0.0));
    assert!(distance(x.as_slice().unwrap(), &clipped) > 1e-3, "a clipped solution is not the constrained one");
}

#[test]
fn variances_weigh_each_measurement() {
    fn check<S: Scalar + ndarray_linalg::Lapack>() {
        let stack = stack::<S>(2, 6);
        let (y, whole) = data(&stack);
        let variances: Vec<f64> = (0..whole.len()).map(|j| 0.1 + (j % 5) as f64).collect();
        let (first, second) = variances.split_at(rows_of(0));
        let fidelity =
            |numbers: &[f64]| AnyFidelity::L2(L2 { sigma: 1.5, variance: Some(Variance::Numbers(numbers.to_vec())) });
        let term = DataTerm::new(&stack, &y, vec![fidelity(first), fidelity(second)]).unwrap();
        let weights = Array1::from(variances.clone()).mapv(|v| <S as Scalar>::from_f64(1.0 / (1.5 * v.sqrt())));
        let mut a = assembled::<S>(2, 6);
        a.rows_mut().into_iter().zip(&weights).for_each(|(mut row, weight)| row.mapv_inplace(|entry| entry * *weight));
        let want = least_squares(&a, &(&whole * &weights), 0.3, &Array1::zeros(6));
        let (tolerance, right) = if S::NAME.ends_with("f64") { (1e-12, 1e-9) } else { (1e-5, 1e-3) };
        for method in minimisers(0.3, false) {
            let (x, outcome) = solve(&term, &method, None, tolerance);
            let wrong = distance(x.as_slice(), &want);
            assert!(wrong < right, "{} {} {wrong:.1e} {:?}", method.kind(), S::NAME, outcome.stop);
        }
    }
    check::<f32>();
    check::<f64>();
    check::<Complex<f32>>();
    check::<Complex<f64>>();
}

#[test]
fn least_absolute_differences_are_those_of_the_best_corner() {
    // a minimum of Σ|A x − y| lies where as many measurements as x has elements are met exactly
    for columns in [2, 3] {
        let stack = stack::<f64>(2, columns);
        let (y, whole) = data(&stack);
        let a = assembled::<f64>(2, columns);
        let value = |x: &Array1<f64>| (a.dot(x) - &whole).iter().map(|r| r.abs()).sum::<f64>();
        let mut best: (f64, Array1<f64>) = (f64::INFINITY, Array1::zeros(columns));
        for rows in subsets(a.nrows(), columns) {
            let corner = a.select(ndarray::Axis(0), &rows).solve(&whole.select(ndarray::Axis(0), &rows)).unwrap();
            if value(&corner) < best.0 {
                best = (value(&corner), corner);
            }
        }
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::L1(L1 {})]).unwrap();
        for balance in [0.1, 1.0, 10.0] {
            let method = PrimalDualParams { max_iter: 20_000, balance, ..Default::default() }.into();
            let minimum = minimise(&term, &method, None, &*until(1e-10, &method), &mut |_: &Progress| ()).unwrap();
            assert_eq!(minimum.outcome.status, Status::Converged, "{:?}", minimum.outcome.stop);
            assert!(distance(minimum.x.as_slice(), &best.1) < 1e-8);
            assert!((minimum.true_objective.unwrap() / best.0 - 1.0).abs() < 1e-9);
        }
    }
}

/// All choices of `few` among `many`.
fn subsets(many: usize, few: usize) -> Vec<Vec<usize>> {
    if few == 0 {
        return vec![Vec::new()];
    }
    let last = few - 1..many;
    last.flat_map(|last| {
        subsets(last, few - 1).into_iter().map(move |mut chosen| {
            chosen.push(last);
            chosen
        })
    })
    .collect()
}

#[test]
fn complex_differences_of_least_size_cannot_be_improved() {
    type C = Complex<f64>;
    let stack = stack::<C>(3, 4);
    let (y, _) = data(&stack);
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::L1(L1 {})]).unwrap();
    let [_, method] = minimisers(0.2, false);
    let (x, outcome) = solve(&term, &method, None, 1e-10);
    assert_eq!(outcome.status, Status::Converged);
    let value = |x: &Vector<C>| term.value(x).unwrap() + 0.1 * x.as_slice().iter().map(|x| x.norm_sqr()).sum::<f64>();
    let at = value(&x);
    for trial in 0..300 {
        let step = stackphys::testing::random::<C>(stack.domain(), 20 + trial, 1);
        let mut moved = x.clone();
        moved.axpy(10f64.powi(-((trial % 7) as i32)), &step);
        assert!(value(&moved) > at - 1e-9 * at, "{trial}");
    }
}

#[test]
fn the_shortest_x_in_a_ball_is_that_of_tikhonov() {
    for columns in [2, 5] {
        let stack = stack::<f64>(1, columns);
        let (y, whole) = data(&stack);
        let a = assembled::<f64>(1, columns);
        let best = least_squares(&a, &whole, 0.0, &Array1::zeros(columns));
        let least = norm(&(a.dot(&best) - &whole));
        let radius = 0.5 * (least + norm(&whole));
        // of the damped solutions the one whose residual is the radius
        let (mut low, mut high): (f64, f64) = (1e-9, 1e9);
        for _ in 0..200 {
            let middle = (low * high).sqrt();
            let residual = norm(&(a.dot(&least_squares(&a, &whole, middle, &Array1::zeros(columns))) - &whole));
            if residual < radius { low = middle } else { high = middle }
        }
        let want = least_squares(&a, &whole, low, &Array1::zeros(columns));
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::L2Ball(L2Ball { radius })]).unwrap();
        for damping in [1e-3, 1.0, 1e3] {
            let [_, method] = minimisers(damping, false); // any damping: it only asks for the shortest
            let (x, outcome) = solve(&term, &method, None, 1e-10);
            assert_eq!(outcome.status, Status::Converged, "{:?}", outcome.stop);
            assert!(distance(x.as_slice(), &want) < 1e-8, "{damping}: {:.1e}", distance(x.as_slice(), &want));
        }
    }
}

#[test]
fn each_operator_has_a_ball_of_its_own() {
    let (count, columns, damping) = (3, 7, 0.5);
    let stack = stack::<f64>(count, columns);
    let (y, whole) = data(&stack);
    let blocks: Vec<_> = (0..count).map(|index| matrix::<f64>(rows_of(index), columns, 100 + index as u64)).collect();
    let starts = [0, rows_of(0), rows_of(0) + rows_of(1)];
    let own = |index: usize| whole.slice(ndarray::s![starts[index]..starts[index] + rows_of(index)]);
    // a little more than what the best fit leaves; the last does not bind
    let best = least_squares(&assembled::<f64>(count, columns), &whole, 0.0, &Array1::zeros(columns));
    let left = |index: usize| norm(&(blocks[index].dot(&best) - own(index)));
    let radii = [1.2 * left(0), 1.1 * left(1), 50.0];
    let balls = radii.map(|radius| AnyFidelity::L2Ball(L2Ball { radius })).to_vec();
    let term = DataTerm::new(&stack, &y, balls).unwrap();
    let [_, method] = minimisers(damping, false);
    let (x, outcome) = solve(&term, &method, None, 1e-11);
    assert_eq!(outcome.status, Status::Converged, "{:?}", outcome.stop);
    let x = Array1::from(x.as_slice().to_vec());
    // λx = − Σ μ_i A_iᵀ(A_i x − y_i) with μ_i ≥ 0, and μ_i = 0 where the ball does not bind
    let mut pulls = Array2::<f64>::zeros((columns, count));
    for (index, radius) in radii.into_iter().enumerate() {
        let residual = blocks[index].dot(&x) - own(index);
        assert!(norm(&residual) < radius * (1.0 + 1e-8), "{index}: {}", norm(&residual));
        assert!(index == 2 || norm(&residual) > radius * (1.0 - 1e-8), "{index}: {}", norm(&residual));
        pulls.column_mut(index).assign(&-blocks[index].t().dot(&residual));
    }
    let multipliers = pulls.least_squares(&(damping * &x)).unwrap().solution;
    assert!(norm(&(pulls.dot(&multipliers) - damping * &x)) < 1e-8 * norm(&x));
    assert!(multipliers[0] > 1e-6 && multipliers[1] > 1e-6 && multipliers[2].abs() < 1e-8, "{multipliers}");
}

#[test]
fn amplitudes_give_the_field_back_up_to_its_phase() {
    fn check<S: Scalar>() {
        let stack = stack::<S>(7, 4);
        let truth = stackphys::testing::random::<S>(stack.domain(), 8, 8);
        let mut field = stack.zero_data();
        stack.forward(&truth, &mut field).unwrap();
        let mut y = field.clone();
        y.as_mut_slice().iter_mut().for_each(|y| *y = S::from_f64(y.modulus_squared().sqrt()));
        let mut near = truth.clone();
        near.axpy(0.2, &stackphys::testing::random(stack.domain(), 9, 8));
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Amplitude(Amplitude {})]).unwrap();
        let (tolerance, right) = if S::NAME.ends_with("f64") { (1e-11, 1e-9) } else { (1e-5, 1e-3) };
        for method in minimisers(0.0, false) {
            let (x, outcome) = solve(&term, &method, Some(near.clone()), tolerance);
            let mut predicted = stack.zero_data();
            stack.forward(&x, &mut predicted).unwrap();
            let amplitudes: Vec<f64> = predicted.as_slice().iter().map(|u| u.modulus_squared().sqrt()).collect();
            let want = Array1::from(y.as_slice().iter().map(|y| y.re()).collect::<Vec<_>>());
            let wrong = distance(&amplitudes, &want);
            assert!(wrong < right, "{} {} {wrong:.1e}: {:?}", method.kind(), S::NAME, outcome.stop);
        }
        // at zero its gradient is zero, but that is no place to stay
        let method = GradientDescentParams { max_iter: 200, ..Default::default() }.into();
        let (x, outcome) = solve(&term, &method, None, tolerance);
        assert!(outcome.iterations() > 1 && x.as_slice().iter().any(|x| *x != S::default()), "{:?}", outcome.stop);
        let values: Vec<f64> = outcome.history.iter().map(|step| step.objective.unwrap()).collect();
        let at_zero = term.value(&stack.zero_model()).unwrap();
        assert!(values[values.len() - 1] < 0.5 * values[0].min(at_zero), "{at_zero} {values:?}");
    }
    each_scalar!(check);
}

#[test]
fn the_scale_of_the_data_changes_nothing() {
    let (stack, _) = bright(5, 8);
    for (fidelity, y, power) in each_fidelity(&stack) {
        for method in minimisers_for(&fidelity, 0.1, true) {
            let reach = |scale: f64| {
                let mut y = y.clone();
                y.scale(scale);
                let term = DataTerm::new(&stack, &y, vec![scaled(&fidelity, scale)]).unwrap();
                let method = with_damping(&method, 0.1 * scale.powi(power - 2));
                let (mut x, outcome) = solve(&term, &method, None, 1e-9);
                x.scale(1.0 / scale);
                (Array1::from(x.as_slice().to_vec()), outcome)
            };
            let (x, outcome) = reach(1.0);
            let of = format!("{} {fidelity:?}", method.kind());
            assert!(outcome.iterations() > 2 && outcome.status == Status::Converged, "{of} {:?}", outcome.stop);
            // powers of two change no digit, others the last ones, which may change the number of steps
            for scale in [2f64.powi(-27), 2f64.powi(27)] {
                let (other, steps) = reach(scale);
                assert_eq!(steps.iterations(), outcome.iterations(), "{of} {scale}");
                assert!(distance(other.as_slice().unwrap(), &x) < 1e-9, "{of} {scale}");
                let told = |outcome: &Outcome| outcome.last().relative_optimality.unwrap();
                assert!((told(&steps) / told(&outcome) - 1.0).abs() < 1e-3, "{of} {scale}");
            }
            for scale in [1e-8, 1e8] {
                let (other, steps) = reach(scale);
                assert_eq!(steps.status, Status::Converged, "{of} {scale} {:?}", steps.stop);
                assert!(distance(other.as_slice().unwrap(), &x) < 1e-6, "{of} {scale}");
            }
        }
    }
}

#[test]
fn zero_data_need_no_step_and_give_zero() {
    let (stack, _) = bright(3, 5);
    for (fidelity, ..) in each_fidelity(&stack) {
        if matches!(fidelity, AnyFidelity::Poisson(Poisson { background, .. }) if background > 0.0) {
            continue; // below
        }
        for damping in [0.0, 0.5] {
            for method in minimisers_for(&fidelity, damping, true) {
                for has_guess in [false, true] {
                    let y = stack.zero_data();
                    let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
                    let guess = has_guess.then(|| stackphys::testing::random(stack.domain(), 6, 9));
                    let (x, outcome) = solve(&term, &method, guess, 1e-9);
                    let of = format!("{} {fidelity:?} {damping} {has_guess}", method.kind());
                    assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{of} {outcome:?}");
                    assert_eq!(x.as_slice(), [0.0; 5], "{of}");
                    assert_eq!(outcome.last().relative_residual, Some(0.0), "{of}");
                }
            }
        }
    }
    // no counts, but some expected: the proximal map moves first
    let y = stack.zero_data();
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Poisson(Poisson { gain: 1.0, background: 2.0 })]).unwrap();
    for method in minimisers(0.0, true) {
        let (x, outcome) = solve(&term, &method, None, 1e-9);
        assert_eq!(outcome.status, Status::Converged, "{} {outcome:?}", method.kind());
        assert!(x.as_slice().iter().all(|x| *x == 0.0), "{} {:?}", method.kind(), x.as_slice());
    }
}

#[test]
fn an_exact_first_guess_costs_gradient_descent_no_step() {
    let (stack, _) = bright(5, 6);
    for (fidelity, y, _) in each_fidelity(&stack).into_iter().filter(|(fidelity, ..)| fidelity.is_smooth()) {
        let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
        let [method, _] = minimisers(0.1, true);
        let (x, outcome) = solve(&term, &method, None, 1e-10);
        assert!(outcome.iterations() > 2, "{fidelity:?}");
        let (again, outcome) = solve(&term, &method, Some(x.clone()), 1e-9);
        assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{fidelity:?} {:?}", outcome.stop);
        assert_eq!(again.as_slice(), x.as_slice());
    }
}

#[test]
fn a_given_step_is_landwebers() {
    fn check<S: Scalar>() {
        let stack = stack::<S>(3, 8);
        let (y, _) = data(&stack);
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::default()]).unwrap();
        let (step, damping, rule) = (Some(0.01), 0.7, stop::iterations(25));
        let none = &mut |_: &Progress| ();
        let descent: AnyMinimiser = GradientDescentParams { step, damping, ..Default::default() }.into();
        let landweber: AnyMethod = LandweberParams { step, damping, ..Default::default() }.into();
        let (x, ours) = descent.solve(&term, None, &*rule, none).unwrap();
        let (want, theirs) = landweber.solve(&stack, &y, None, None, &*rule, none).unwrap();
        let right = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-4 };
        assert!(distance(x.as_slice(), &Array1::from(want.as_slice().to_vec())) < right);
        for (ours, theirs) in ours.history.iter().zip(&theirs.history) {
            let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() / b.unwrap() - 1.0).abs() < 10.0 * right;
            assert!(near(ours.relative_residual, theirs.relative_residual), "{ours:?} {theirs:?}");
            assert!(near(ours.relative_optimality, theirs.relative_normal_residual), "{ours:?} {theirs:?}");
        }
    }
    each_scalar!(check);
}

#[test]
fn what_leads_out_of_the_domain_is_taken_back_or_told() {
    let (stack, _) = bright(4, 5);
    let counts = AnyFidelity::Poisson(Poisson { gain: 0.4, background: 0.0 });
    let (_, y, _) = each_fidelity(&stack).into_iter().find(|(fidelity, ..)| *fidelity == counts).unwrap();
    let term = DataTerm::new(&stack, &y, vec![counts]).unwrap();
    assert_eq!(term.value(&stack.zero_model()).unwrap(), f64::INFINITY, "zero explains no counts");
    let solve = |params: GradientDescentParams, guess: Option<f64>| {
        let guess = guess.map(|value| {
            let mut x = stack.zero_model();
            x.fill(value);
            x
        });
        AnyMinimiser::from(params).solve(&term, guess, &*stop::iterations(30), &mut |_: &Progress| ()).unwrap()
    };
    // without the constraint steps lead to negative rates now and then
    let free = GradientDescentParams { damping: 0.1, ..Default::default() };
    let (x, outcome) = solve(free.clone(), None);
    assert!(term.value(&x).unwrap().is_finite() && outcome.status != Status::NotANumber);
    assert!(outcome.history.iter().all(|step| step.objective.is_some_and(f64::is_finite)));
    let (_, outcome) = solve(free.clone(), Some(-1.0));
    assert_eq!((outcome.status, outcome.iterations()), (Status::Breakdown, 0));
    assert!(outcome.stop.reason.contains("infinite at the start"), "{:?}", outcome.stop);
    assert_eq!(outcome.last().objective, None);
    let (x, outcome) = solve(GradientDescentParams { step: Some(1e3), ..free }, Some(100.0));
    assert_eq!((outcome.status, outcome.iterations()), (Status::Breakdown, 0));
    assert!(outcome.stop.reason.contains("make `step` smaller"), "{:?}", outcome.stop);
    assert_eq!(x.as_slice(), [100.0; 5]);
}

#[test]
fn not_a_number_is_a_status() {
    let (stack, _) = bright(3, 5);
    for (fidelity, mut y, _) in each_fidelity(&stack) {
        y.as_mut_slice()[3] = f64::NAN;
        for method in minimisers_for(&fidelity, 0.1, true) {
            let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
            let (_, outcome) = solve(&term, &method, None, 1e-3);
            let ending = (outcome.status, outcome.iterations());
            assert_eq!(ending, (Status::NotANumber, 0), "{} {fidelity:?} {:?}", method.kind(), outcome.stop);
        }
    }
    // an operator that begins to give such numbers in the middle, and goes on
    for (bad, of_descent) in [(f64::NAN, Status::NotANumber), (f64::INFINITY, Status::Breakdown)] {
        for (method, expected) in minimisers(0.2, false).into_iter().zip([of_descent, Status::NotANumber]) {
            let calls = std::sync::Arc::new(AtomicUsize::new(0));
            let stack = stack_of::<f64>(&solo(), 2, 8, PlanOptions::default(), |index| {
                let forward = matrix::<f64>(rows_of(index), 8, 40 + index as u64);
                let adjoint = forward.t().to_owned();
                let calls = calls.clone();
                Ok(Box::new(Closure::<f64>::new(
                    Shape::new([("x", 8)]),
                    Shape::new([("row", rows_of(index))]),
                    move |x, y| {
                        y.copy_from_slice(forward.dot(&ArrayView1::from(x)).as_slice().unwrap());
                        if calls.fetch_add(1, Ordering::SeqCst) > 80 {
                            y[1] = bad;
                        }
                        Ok(())
                    },
                    move |y, x| {
                        x.copy_from_slice(adjoint.dot(&ArrayView1::from(y)).as_slice().unwrap());
                        Ok(())
                    },
                )) as Boxed<f64>)
            })
            .unwrap();
            let (y, _) = data(&stack);
            let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.1 })]).unwrap();
            let rule = with_trouble_rules([stop::iterations(500)]);
            let (x, outcome) = method.solve(&term, None, &*rule, &mut |_: &Progress| ()).unwrap();
            assert_eq!(outcome.status, expected, "{} {bad}: {:?}", method.kind(), outcome.stop);
            // a step that cannot be taken is not taken
            assert!(expected == Status::NotANumber || x.as_slice().iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn a_zero_operator_is_told() {
    let zero = stack_of::<f64>(&solo(), 2, 5, PlanOptions::default(), |index| {
        Ok(Box::new(Dense::new(Shape::new([("x", 5)]), Array2::zeros((rows_of(index), 5)))?) as Boxed<f64>)
    })
    .unwrap();
    let (y, _) = data(&zero);
    let term = DataTerm::new(&zero, &y, vec![AnyFidelity::default()]).unwrap();
    let [descent, primal_dual] = minimisers(0.0, false).map(|method| solve(&term, &method, None, 1e-9));
    assert_eq!((descent.1.status, descent.1.iterations()), (Status::Converged, 0));
    assert_eq!((primal_dual.1.status, primal_dual.1.iterations()), (Status::Breakdown, 0));
    assert!(primal_dual.1.stop.reason.contains("the norm of the operator is zero"));
    assert_eq!((descent.0.as_slice(), primal_dual.0.as_slice()), ([0.0; 5].as_slice(), [0.0; 5].as_slice()));
}

#[test]
fn stepping_past_convergence_divides_by_nothing() {
    fn check<S: Scalar>() {
        let line = Shape::new([("x", 6)]);
        let weights = [1.0, 2.0, 4.0, 1.0, 2.0, 4.0];
        let factory = FromFn::new(
            1,
            |_| Ok(Description::new("weights", line.clone(), line.clone())),
            |_| Ok(Box::new(Diagonal::new([("x", 6)], weights.map(S::from_f64).to_vec())?) as Boxed<S>),
        );
        let stack = Stack::<S>::build(Team::solo(), &factory, Default::default()).unwrap();
        let mut y = stack.zero_data();
        y.fill(S::from_f64(4.0));
        let want = Array1::from(weights.map(|weight| S::from_f64(4.0 / weight)).to_vec());
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Huber(Huber { delta: 1.0 })]).unwrap();
        for method in minimisers(0.0, false) {
            let rule = stop::iterations(3000); // no rule looks at optimality
            let (x, outcome) = method.solve(&term, None, &*rule, &mut |_: &Progress| ()).unwrap();
            let wrong = distance(x.as_slice(), &want);
            let right = if S::NAME.ends_with("f64") { 1e-9 } else { 1e-4 };
            assert!(wrong < right, "{} {} {wrong:.1e} {:?}", method.kind(), S::NAME, outcome.stop);
            assert_ne!(outcome.status, Status::NotANumber, "{}", method.kind());
        }
    }
    each_scalar!(check);
}

#[test]
fn what_is_told_of_each_step_is_true() {
    let (stack, a) = bright(5, 8);
    for (fidelity, y, _) in each_fidelity(&stack) {
        let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
        let measured = Array1::from(y.as_slice().to_vec());
        for method in minimisers_for(&fidelity, 0.4, true) {
            let (mut before, mut steps) = (None, 0);
            for iterations in 0..6 {
                let rule = stop::iterations(iterations);
                let (x, outcome) = method.solve(&term, None, &*rule, &mut |_: &Progress| ()).unwrap();
                let of = format!("{} {fidelity:?} step {iterations}", method.kind());
                let last = outcome.last();
                assert_eq!(last.iteration, iterations, "{of} {:?}", outcome.stop);
                let mut own = 0.0;
                for index in 0..stack.count() {
                    let mut u = stack.zero_data();
                    stack.forward(&x, &mut u).unwrap();
                    own += fidelity.value(u.block_slice(index).unwrap(), y.block_slice(index).unwrap()).unwrap();
                }
                let x = Array1::from(x.as_slice().to_vec());
                let value = own + 0.2 * x.dot(&x);
                match last.objective {
                    Some(told) => assert!((told / value - 1.0).abs() < 1e-10, "{of} {told} {value}"),
                    None => assert_eq!(value, f64::INFINITY, "{of}"),
                }
                let residual = norm(&(a.dot(&x) - &measured)) / norm(&measured);
                assert!((last.relative_residual.unwrap() / residual - 1.0).abs() < 1e-10, "{of}");
                if let Some(before) = before.replace(x.clone()) {
                    let change = norm(&(&x - &before)) / norm(&x);
                    assert!((last.relative_change.unwrap() - change).abs() < 1e-10 * change.max(1.0), "{of} {change}");
                    steps += 1;
                }
            }
            assert_eq!(steps, 5);
        }
    }
}

#[test]
fn a_small_change_stops_if_asked() {
    let stack = stack::<f64>(5, 6);
    let (y, _) = data(&stack);
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.3 })]).unwrap();
    for method in minimisers(0.1, false) {
        let rule = with_trouble_rules([stop::relative_change(1e-6), stop::iterations(5000)]);
        let (_, outcome) = method.solve(&term, None, &*rule, &mut |_: &Progress| ()).unwrap();
        assert_eq!((outcome.status, outcome.stop.rule), (Status::Converged, "relative change"), "{}", method.kind());
        assert!(outcome.last().relative_optimality.unwrap() < 1e-3, "{} {:?}", method.kind(), outcome.last());
    }
}

#[test]
fn a_config_names_every_minimiser_and_its_ranges() {
    let text = "version = 1\nmodel.dims = { x = 2 }\n[[terms]]\nname = \"a\"\noperator = { kind = \"identity\" }\n";
    let load = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Job::from_toml(text, "job.toml", &sets)
    };
    assert_eq!(load(&[]).unwrap().solve.method.kind(), "cg");
    for kind in AnyMinimiser::KINDS {
        let set = format!("solve.method={{ kind = \"{kind}\", max_iter = 7, damping = 0.5, non_negative = true }}");
        let job = load(&[&set]).unwrap();
        let method = &job.solve.method;
        assert_eq!((method.kind(), method.most_iterations(), method.damping()), (*kind, 7, 0.5));
        assert!(AnyMinimiser::SUMMARIES.iter().any(|(name, _)| name == kind));
        let SolveMethod::Minimiser(minimiser) = method else { panic!("{method:?}") };
        assert!(minimiser.non_negative());
        assert_eq!(Job::from_toml(&toml::to_string(&job).unwrap(), "again", &[]).unwrap(), job);
        let fault = load(&[&set.replace("0.5", "-1.0")]).unwrap_err();
        assert!(fault.text.contains("solve.method.damping: must be zero or a positive number"), "{}", fault.text);
        let fault = load(&[&set.replace("damping", "dampign")]).unwrap_err();
        assert!(fault.hint.unwrap().starts_with("did you mean `damping`?"));
        for fidelity in AnyFidelity::KINDS {
            let keys = match *fidelity {
                "huber" => ", delta = 0.1",
                "l2" => ", variance = 'v.npy'",
                "l2_ball" => ", radius = 2",
                "log_poisson" => ", photons = 100.0",
                _ => "",
            };
            let fidelity = format!("fidelity={{ kind = \"{fidelity}\"{keys} }}");
            match load(&[&set, &fidelity]) {
                Ok(job) => assert_eq!(Job::from_toml(&toml::to_string(&job).unwrap(), "again", &[]).unwrap(), job),
                Err(fault) => {
                    assert_eq!(*kind, "gradient_descent", "{fault:?}");
                    assert!(fault.text.contains("has no gradient everywhere"), "{}", fault.text);
                }
            }
        }
    }
    let descent = "solve.method={ kind = \"gradient_descent\", step = 0.0 }";
    assert!(load(&[descent]).unwrap_err().text.contains("solve.method.step: must be a positive number"));
    let primal_dual = "solve.method={ kind = \"primal_dual\", balance = -1.0 }";
    assert!(load(&[primal_dual]).unwrap_err().text.contains("solve.method.balance: must be a positive number"));
}
