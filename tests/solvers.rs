//! Methods end as they say: where they should, after as many steps as the rules ask for, and never with success where there
//! was trouble. Answers are compared with dense matrices and with known singular values, never with the recurrence itself.

#[macro_use]
mod common;

use std::rc::Rc;

use common::{Boxed, adjoint_of, distance, matrix, random};
use ndarray::{Array1, Array2};
use ndarray_linalg::LeastSquaresSvd;
use num_complex::Complex;
use stackphys::comm::{Comm, Team, threads};
use stackphys::operator::Closure;
use stackphys::physics::Dense;
use stackphys::solver::{
    Cg, CgParams, Method, NormSquared, NormSquaredEstimate, Outcome, Power, PowerParams, Progress, Status, drive,
    norm_squared, stop, with_trouble_rules,
};
use stackphys::space::Vector;
use stackphys::stack::{Description, FromFn, PlanOptions, Stack};
use stackphys::{Scalar, Shape};

const COLUMNS: usize = 8;

/// A stack of matrices on one process.
fn stack<S: Scalar>(matrices: &[Array2<S>]) -> Stack<S> {
    stack_on(Team::solo(), matrices)
}

fn stack_on<S: Scalar>(team: Team, matrices: &[Array2<S>]) -> Stack<S> {
    let line = Shape::new([("x", matrices[0].ncols())]);
    let factory = FromFn::new(
        matrices.len(),
        |index: usize| Ok(Description::new("matrix", line.clone(), Shape::new([("row", matrices[index].nrows())]))),
        |index: usize| Ok(Box::new(Dense::new(line.clone(), matrices[index].clone())?) as Boxed<S>),
    );
    Stack::build(team, &factory, PlanOptions::default()).unwrap()
}

fn two<S: Scalar>() -> Vec<Array2<S>> {
    vec![matrix(7, COLUMNS, 51), matrix(9, COLUMNS, 52)]
}

fn data<S: Scalar>(stack: &Stack<S>, values: &[S]) -> Vector<S> {
    let mut y = stack.zero_data();
    y.as_mut_slice().copy_from_slice(values);
    y
}

/// Conjugate gradients with the rules that every solve has, and one more.
fn solve<S: Scalar>(
    stack: &Stack<S>,
    y: &[S],
    params: &CgParams,
    guess: Option<&[S]>,
    rules: impl IntoIterator<Item = stop::BoxedRule>,
) -> (Vec<S>, Outcome) {
    let y = data(stack, y);
    let guess = guess.map(|values| {
        let mut x = stack.zero_model();
        x.as_mut_slice().copy_from_slice(values);
        x
    });
    let mut cg = Cg::new(stack, params, &y, guess);
    let outcome = drive(&mut cg, &*with_trouble_rules(rules), &mut |_: &Progress| ()).unwrap();
    assert_eq!(outcome.history.len(), outcome.iterations() + 1);
    assert_eq!(outcome.last().iteration, outcome.iterations(), "a step that was not made does not count");
    (cg.into_solution().as_slice().to_vec(), outcome)
}

#[test]
fn zero_data_need_no_step() {
    fn check<S: Scalar>() {
        for damping in [0.0, 0.5] {
            let stack = stack(&two::<S>());
            let params = CgParams { damping, ..CgParams::default() };
            let (x, outcome) = solve(&stack, &[S::default(); 16], &params, None, [stop::iterations(10)]);
            assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{:?}", outcome.stop);
            assert_eq!(x, [S::default(); COLUMNS]);
            assert_eq!(outcome.last().relative_residual, Some(0.0));
        }
    }
    each_scalar!(check);
}

#[test]
fn an_exact_first_guess_needs_no_step() {
    fn check<S: Scalar>() {
        let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-4 };
        let stack = stack(&two::<S>());
        let x: Vec<S> = random(COLUMNS, 5);
        let whole = ndarray::concatenate![ndarray::Axis(0), two::<S>()[0], two::<S>()[1]];
        let y = whole.dot(&Array1::from(x.clone()));
        let rules = [stop::relative_normal_residual(tolerance), stop::iterations(30)];
        let (same, outcome) = solve(&stack, y.as_slice().unwrap(), &CgParams::default(), Some(&x), rules);
        assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{outcome:?}");
        assert_eq!(same, x);
        // one that is not exact does need steps
        let rules = [stop::relative_normal_residual(tolerance), stop::iterations(30)];
        let half: Vec<S> = x.iter().map(|x| S::from_f64(0.5) * *x).collect();
        let (found, outcome) = solve(&stack, y.as_slice().unwrap(), &CgParams::default(), Some(&half), rules);
        assert!(outcome.iterations() > 2 && outcome.status == Status::Converged, "{:?}", outcome.stop);
        assert!(distance(&found, &Array1::from(x)) < 1e2 * tolerance);
    }
    each_scalar!(check);
}

#[test]
fn the_scale_of_the_data_changes_nothing() {
    fn check<S: Scalar>() {
        let stack = stack(&two::<S>());
        let y: Vec<S> = random(16, 6);
        let reach = |scale: f64| {
            let y: Vec<S> = y.iter().map(|y| S::from_f64(scale) * *y).collect();
            let params = CgParams { damping: 0.3, ..CgParams::default() };
            let (x, outcome) = solve(&stack, &y, &params, None, [stop::relative_normal_residual(3e-3)]);
            let x: Array1<S> = x.into_iter().map(|x| S::from_f64(1.0 / scale) * x).collect();
            (x, outcome)
        };
        let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-4 };
        let (expected, plain) = reach(1.0);
        assert!(plain.iterations() >= 3, "{plain:?}");
        for scale in [1e-8, 1e8] {
            let (x, outcome) = reach(scale);
            assert_eq!((outcome.iterations(), outcome.status), (plain.iterations(), Status::Converged), "{scale}");
            assert!(distance(x.as_slice().unwrap(), &expected) < tolerance, "{scale} {}", S::NAME);
            for (a, b) in outcome.history.iter().zip(&plain.history) {
                let (a, b) = (a.relative_residual.unwrap(), b.relative_residual.unwrap());
                assert!((a / b - 1.0).abs() < 10.0 * tolerance, "{scale} {}: {a}, {b}", S::NAME);
            }
        }
    }
    each_scalar!(check);
}

#[test]
fn the_residual_of_each_step_is_the_true_one() {
    let matrices = two::<Complex<f64>>();
    let (stack, y) = (stack(&matrices), random::<Complex<f64>>(16, 7));
    let whole = ndarray::concatenate![ndarray::Axis(0), matrices[0], matrices[1]];
    let y_array = Array1::from(y.clone());
    let norm = |v: &Array1<Complex<f64>>| v.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
    for steps in 0..6 {
        let (x, outcome) = solve(&stack, &y, &CgParams::default(), None, [stop::iterations(steps)]);
        assert_eq!((outcome.iterations(), outcome.status), (steps, Status::LimitReached));
        let residual = whole.dot(&Array1::from(x)) - &y_array;
        let adjoint = adjoint_of(&whole);
        let normal = norm(&adjoint.dot(&residual)) / norm(&adjoint.dot(&y_array));
        let last = outcome.last();
        assert!((last.relative_residual.unwrap() / (norm(&residual) / norm(&y_array)) - 1.0).abs() < 1e-12);
        assert!((last.relative_normal_residual.unwrap() / normal - 1.0).abs() < 1e-9, "{steps}");
    }
}

/// A matrix, with an adjoint that is some number of times the right one.
fn with_adjoint_times(factor: f64) -> Stack<f64> {
    let forward = matrix::<f64>(9, COLUMNS, 61);
    let backward = adjoint_of(&forward) * factor;
    stack_of_closure(
        9,
        move |x, y| y.copy_from_slice(forward.dot(&ndarray::ArrayView1::from(x)).as_slice().unwrap()),
        move |y, x| x.copy_from_slice(backward.dot(&ndarray::ArrayView1::from(y)).as_slice().unwrap()),
    )
}

fn stack_of_closure(
    rows: usize,
    forward: impl Fn(&[f64], &mut [f64]) + Send + Sync + Clone + 'static,
    adjoint: impl Fn(&[f64], &mut [f64]) + Send + Sync + Clone + 'static,
) -> Stack<f64> {
    let shapes = || (Shape::new([("x", COLUMNS)]), Shape::new([("row", rows)]));
    let factory = FromFn::new(
        1,
        |_| Ok(Description::new("closure", shapes().0, shapes().1)),
        |_| {
            let (forward, adjoint) = (forward.clone(), adjoint.clone());
            let (domain, range) = shapes();
            Ok(Box::new(Closure::new(
                domain,
                range,
                move |x: &[f64], y: &mut [f64]| {
                    forward(x, y);
                    Ok(())
                },
                move |y: &[f64], x: &mut [f64]| {
                    adjoint(y, x);
                    Ok(())
                },
            )) as Boxed<f64>)
        },
    );
    Stack::build(Team::solo(), &factory, PlanOptions::default()).unwrap()
}

#[test]
fn an_adjoint_of_the_wrong_sign_is_a_breakdown() {
    let stack = with_adjoint_times(-1.0);
    let (x, outcome) = solve(&stack, &random::<f64>(9, 8), &CgParams::default(), None, [stop::iterations(30)]);
    assert_eq!((outcome.iterations(), outcome.status), (0, Status::Breakdown));
    assert!(outcome.stop.reason.contains("the adjoint is not the operator's"), "{:?}", outcome.stop);
    assert_eq!(x, [0.0; COLUMNS], "nothing was done");
    assert_eq!(outcome.stop.rule, "breakdown");
}

#[test]
fn a_breakdown_ends_the_loop_whatever_the_rules() {
    let stack = with_adjoint_times(-1.0);
    let y = data(&stack, &random::<f64>(9, 8));
    let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
    let mut seen = Vec::new();
    let rule = stop::relative_residual(1e-9); // knows of no breakdown
    let outcome = drive(&mut cg, &*rule, &mut |progress: &Progress| seen.push(progress.iteration)).unwrap();
    assert_eq!(outcome.status, Status::Breakdown);
    assert_eq!((outcome.iterations(), outcome.history.len()), (0, 1));
    assert_eq!(seen, [0], "each iteration is observed once");
}

#[test]
fn not_a_number_in_an_operator_is_never_success() {
    // from the third application on, one number is bad
    for bad in [f64::NAN, f64::INFINITY] {
        for in_forward in [true, false] {
            let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let forward = matrix::<f64>(9, COLUMNS, 61);
            let backward = adjoint_of(&forward);
            let spoil = move |out: &mut [f64]| {
                if calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 3 {
                    out[1] = bad;
                }
            };
            let spoil_too = spoil.clone();
            let stack = stack_of_closure(
                9,
                move |x, y| {
                    y.copy_from_slice(forward.dot(&ndarray::ArrayView1::from(x)).as_slice().unwrap());
                    if in_forward {
                        spoil(y);
                    }
                },
                move |y, x| {
                    x.copy_from_slice(backward.dot(&ndarray::ArrayView1::from(y)).as_slice().unwrap());
                    if !in_forward {
                        spoil_too(x);
                    }
                },
            );
            let rules = [stop::relative_residual(1e-9), stop::relative_normal_residual(1e-9), stop::iterations(30)];
            let (_, outcome) = solve(&stack, &random::<f64>(9, 8), &CgParams::default(), None, rules);
            assert_eq!(outcome.status, Status::NotANumber, "{bad} {in_forward}: {:?}", outcome.stop);
            assert!((1..6).contains(&outcome.iterations()), "{outcome:?}");
        }
    }
}

#[test]
fn not_a_number_in_the_data_is_never_success() {
    fn check<S: Scalar>() {
        let stack = stack(&two::<S>());
        let mut y: Vec<S> = random(16, 9);
        y[3] = S::from_f64(f64::NAN);
        let rules = [stop::relative_residual(0.5), stop::iterations(30)];
        let (_, outcome) = solve(&stack, &y, &CgParams::default(), None, rules);
        assert_eq!((outcome.status, outcome.iterations()), (Status::NotANumber, 0));
    }
    each_scalar!(check);
}

#[test]
fn a_rank_deficient_consistent_system_has_the_shortest_solution() {
    let (tall, wide) = (matrix::<Complex<f64>>(10, 3, 71), matrix::<Complex<f64>>(3, COLUMNS, 72));
    let deficient = tall.dot(&wide); // rank 3 of 8
    let any = Array1::from(random::<Complex<f64>>(COLUMNS, 73));
    let y = deficient.dot(&any);
    let expected = wide.least_squares(&wide.dot(&any)).unwrap().solution; // the shortest with the same three numbers
    let stack = stack(std::slice::from_ref(&deficient));
    let rules = || [stop::relative_normal_residual(1e-12), stop::iterations(50)];
    let (x, outcome) = solve(&stack, y.as_slice().unwrap(), &CgParams::default(), None, rules());
    assert_eq!(outcome.status, Status::Converged, "{:?}", outcome.stop);
    assert!(outcome.iterations() <= 6, "{}", outcome.iterations());
    assert!(distance(&x, &expected) < 1e-9, "{}", distance(&x, &expected));
    // going on and on spoils nothing: it ends where only rounding is left
    let (x, outcome) = solve(&stack, y.as_slice().unwrap(), &CgParams::default(), None, [stop::iterations(400)]);
    assert_ne!(outcome.status, Status::NotANumber, "{:?}", outcome.stop);
    assert!(outcome.iterations() < 20, "{:?}", outcome.stop);
    assert!(distance(&x, &expected) < 1e-9, "{:?}", outcome.stop);
}

#[test]
fn too_many_iterations_never_blow_up() {
    fn check<S: Scalar>() {
        let tolerance = if S::NAME.ends_with("f64") { 1e-8 } else { 1e-2 };
        for seed in 0..20 {
            for rank in [1, 2, 4] {
                let (tall, wide) = (matrix::<S>(10, rank, 200 + seed), matrix::<S>(rank, COLUMNS, 300 + seed));
                let any = Array1::from(random::<S>(COLUMNS, 400 + seed));
                let deficient = tall.dot(&wide);
                let y = deficient.dot(&any);
                let stack = stack(std::slice::from_ref(&deficient));
                let (x, outcome) =
                    solve(&stack, y.as_slice().unwrap(), &CgParams::default(), None, [stop::iterations(300)]);
                let predicted = deficient.dot(&Array1::from(x.clone()));
                let wrong = distance(predicted.as_slice().unwrap(), &y);
                assert!(wrong < tolerance, "{} seed {seed} rank {rank}: {wrong:e} {:?}", S::NAME, outcome.stop);
                let size = |v: &[S]| v.iter().map(|v| v.modulus_squared()).sum::<f64>().sqrt();
                assert!(size(&x) < 1.01 * size(any.as_slice().unwrap()), "{}: not the shortest", S::NAME);
            }
        }
    }
    each_scalar!(check);
}

#[test]
fn a_residual_below_its_resolution_never_stops_a_solve() {
    fn check<S: Scalar>() {
        let floor = stackphys::solver::Normal::<S>::residual_resolution();
        let stack = stack(&two::<S>());
        let whole = ndarray::concatenate![ndarray::Axis(0), two::<S>()[0], two::<S>()[1]];
        let y = whole.dot(&Array1::from(random::<S>(COLUMNS, 5)));
        let y = y.as_slice().unwrap();
        let rules = [stop::relative_residual(0.5 * floor), stop::iterations(25)];
        let (_, outcome) = solve(&stack, y, &CgParams::default(), None, rules);
        assert_ne!(outcome.stop.rule, "relative residual", "{}: {:?}", S::NAME, outcome.stop);
        for progress in &outcome.history {
            let residual = progress.relative_residual.unwrap();
            assert!(residual >= floor, "{} {residual}", S::NAME);
        }
        // above it, the rule stops, and the residual is truly that small
        let rules = [stop::relative_residual(4.0 * floor), stop::iterations(25)];
        let (x, outcome) = solve(&stack, y, &CgParams::default(), None, rules);
        assert_eq!((outcome.stop.rule, outcome.status), ("relative residual", Status::Converged), "{}", S::NAME);
        let predicted = whole.dot(&Array1::from(x));
        let truly = distance(predicted.as_slice().unwrap(), &Array1::from(y.to_vec()));
        assert!(truly <= 4.1 * floor, "{}: {truly} > {floor}", S::NAME);
    }
    each_scalar!(check);
}

/// U diag(s) V with reflections U and V, so that the singular values are known.
fn with_singular_values<S: Scalar>(values: &[f64]) -> Array2<S> {
    let reflection = |stream| {
        let v = matrix::<S>(values.len(), 1, stream);
        let squared: f64 = v.iter().map(|v| v.modulus_squared()).sum();
        Array2::<S>::eye(values.len()) - v.dot(&adjoint_of(&v)) * S::from_f64(2.0 / squared)
    };
    let diagonal = Array2::from_diag(&values.iter().map(|value| S::from_f64(*value)).collect::<Array1<S>>());
    reflection(81).dot(&diagonal).dot(&reflection(82))
}

fn value_of<S: Scalar>(stack: &Stack<S>, params: PowerParams) -> (f64, f64, Outcome) {
    match norm_squared(stack, &NormSquared::Exact(params), &mut |_: &Progress| ()).unwrap() {
        NormSquaredEstimate::Value { value, error_bar, outcome } => (value, error_bar, outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_power_method_finds_the_largest_singular_value() {
    fn check<S: Scalar>() {
        let double = S::NAME.ends_with("f64");
        let (tolerance, right) = if double { (1e-14, 1e-12) } else { (1e-7, 1e-5) };
        // the second from below zero, two equal ones, and one much smaller than the others' scale
        for (values, scale) in
            [(vec![7.0, -3.0, 2.0, 1.0, 0.5], 1.0), (vec![5.0, 5.0, 1.0], 1.0), (vec![2.0, 1.0], 1e-8)]
        {
            let values: Vec<f64> = values.iter().map(|value| value * scale).collect();
            let stack = stack(&[with_singular_values::<S>(&values)]);
            let params = PowerParams { max_iter: 500, tolerance, seed: 3 };
            let (value, error_bar, outcome) = value_of(&stack, params);
            let known = values[0] * values[0];
            assert!((value / known - 1.0).abs() < right, "{} {value}, not {known}", S::NAME);
            assert!(error_bar < 1e-2 * known, "{} {error_bar}", S::NAME);
            assert_eq!(outcome.status, Status::Converged, "{:?}", outcome.stop);
            // Rayleigh quotients only grow, and never pass the norm
            let seen: Vec<f64> = outcome.history.iter().filter_map(|step| step.value).collect();
            assert_eq!(seen.len(), outcome.iterations());
            assert!(seen.windows(2).all(|pair| pair[1] >= pair[0] * (1.0 - right)), "{seen:?}");
            assert!(seen.iter().all(|value| *value <= known * (1.0 + right)), "{seen:?}");
        }
        let twice = vec![with_singular_values::<S>(&[3.0, 1.0]); 2];
        let (value, ..) = value_of(&stack(&twice), PowerParams { max_iter: 500, tolerance, seed: 3 });
        assert!((value / 18.0 - 1.0).abs() < right, "{value}");
    }
    each_scalar!(check);
}

#[test]
fn the_norm_of_zero_is_zero() {
    fn check<S: Scalar>() {
        let stack = stack(&[Array2::<S>::zeros((4, 3)), Array2::<S>::zeros((2, 3))]);
        let (value, error_bar, outcome) = value_of(&stack, PowerParams::default());
        assert_eq!((value, error_bar), (0.0, 0.0));
        assert_eq!((outcome.iterations(), outcome.status), (1, Status::Breakdown));
        assert!(outcome.stop.reason.contains("zero"), "{:?}", outcome.stop);
        let bounds = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap();
        assert_eq!(bounds, NormSquaredEstimate::Bounds { below: 0.0, above: 0.0, unbounded: 0 });
        // and nothing can be found out from its measurements
        let (x, outcome) = solve(&stack, &random::<S>(6, 1), &CgParams::default(), None, [stop::iterations(9)]);
        assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{:?}", outcome.stop);
        assert_eq!(x, [S::default(); 3]);
        assert_eq!(outcome.last().relative_residual, Some(1.0));
    }
    each_scalar!(check);
}

#[test]
fn a_seed_decides_the_run_on_any_ranks() {
    fn values(comm: &Rc<dyn Comm>, seed: u64) -> Vec<u64> {
        let stack = stack_on(Team::new(comm.clone()), &two::<f64>());
        let params = PowerParams { max_iter: 6, tolerance: 1e-15, seed };
        let (_, _, outcome) = value_of(&stack, params);
        assert_eq!(outcome.status, Status::LimitReached);
        outcome.history.iter().filter_map(|step| step.value.map(f64::to_bits)).collect()
    }
    let mut by_ranks = Vec::new();
    for ranks in 1..=4 {
        let on_ranks = threads::run(ranks, |comm| {
            let first = values(&comm, 4);
            assert_eq!(first.len(), 6);
            assert_eq!(first, values(&comm, 4), "the same seed, the same bits");
            assert_ne!(first[0], values(&comm, 5)[0], "another seed, another start");
            first
        });
        assert!(on_ranks.windows(2).all(|pair| pair[0] == pair[1]), "all ranks see the same numbers");
        by_ranks.push(on_ranks[0].clone());
    }
    for other in &by_ranks {
        for (a, b) in other.iter().zip(&by_ranks[0]) {
            assert!((f64::from_bits(*a) / f64::from_bits(*b) - 1.0).abs() < 1e-12, "other ranks draw other vectors");
        }
    }
}

#[test]
fn observers_see_every_step_once() {
    let stack = stack(&two::<f32>());
    let y = data(&stack, &random::<f32>(16, 2));
    let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
    let mut seen = Vec::new();
    let outcome =
        drive(&mut cg, &*stop::iterations(5), &mut |progress: &Progress| seen.push(progress.clone())).unwrap();
    assert_eq!(seen, outcome.history);
    assert_eq!(seen.iter().map(|step| step.iteration).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(seen.windows(2).all(|pair| pair[0].seconds <= pair[1].seconds));
    let mut power = Power::new(&stack, &PowerParams::default());
    let mut seen = 0;
    let outcome = drive(&mut power, &*stop::iterations(3), &mut |_: &Progress| seen += 1).unwrap();
    assert_eq!((seen, outcome.history.len(), outcome.iterations()), (4, 4, 3));
}

#[test]
fn no_iterations_is_a_limit_too() {
    let stack = stack(&two::<f64>());
    let y = data(&stack, &random::<f64>(16, 2));
    let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
    let outcome = drive(&mut cg, &*stop::iterations(0), &mut |_: &Progress| ()).unwrap();
    assert_eq!((outcome.iterations(), outcome.status), (0, Status::LimitReached));
}

/// A method that only counts, and halves its residual.
struct Halves {
    iteration: usize,
}

impl Method for Halves {
    fn start(&mut self) -> Result<Progress, stackphys::Error> {
        let residual = Some(0.5_f64.powi(self.iteration as i32));
        Ok(Progress { iteration: self.iteration, relative_residual: residual, ..Progress::default() })
    }
    fn step(&mut self) -> Result<Progress, stackphys::Error> {
        self.iteration += 1;
        self.start()
    }
}

#[test]
fn rules_combine_by_any_and_all() {
    let run = |rule: stop::BoxedRule| {
        let outcome = drive(&mut Halves { iteration: 0 }, &*rule, &mut |_: &Progress| ()).unwrap();
        (outcome.iterations(), outcome.stop.rule, outcome.status)
    };
    let residual = |tolerance| stop::relative_residual(tolerance);
    let (limit, reached) = (Status::LimitReached, Status::Converged);
    for (rule, expected) in [
        (stop::any([residual(0.3), stop::iterations(9)]), (2, "relative residual", reached)),
        (stop::any([residual(1e-9), stop::iterations(9)]), (9, "iterations", limit)),
        (stop::all([residual(0.3), stop::iterations(9)]), (9, "all of several", reached)),
        (stop::all([stop::iterations(9), residual(0.3)]), (9, "all of several", limit)),
        (stop::all([stop::iterations(2), residual(0.1)]), (4, "all of several", limit)),
        (stop::all([residual(0.25)]), (2, "relative residual", reached)), // exactly the tolerance is reached
        (stop::any([stop::all([]), stop::iterations(3)]), (3, "iterations", limit)), // no rules never stop
        (stop::any([stop::wall_time(0.0), stop::iterations(3)]), (0, "wall time", limit)),
        (stop::any([stop::relative_normal_residual(1.0), stop::iterations(3)]), (3, "iterations", limit)), // not known
    ] {
        assert_eq!(run(rule), expected);
    }
}
