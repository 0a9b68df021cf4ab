//! All methods that solve for x, against dense least squares: any scalar, any number of ranks, both ways of summing.

mod common;

use std::rc::Rc;

use common::promises::ct_stack;
use common::{Boxed, adjoint_of, assembled, dense_stack, distance, each_scalar, matrix, rows_of, stack_of};
use ndarray::{Array1, Array2, concatenate};
use ndarray_linalg::{Lapack, LeastSquaresSvd, SVD};
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Solo, Summation, Team, threads};
use stackphys::operator::{Closure, LinearOperator};
use stackphys::physics::{Dense, Diagonal};
use stackphys::solver::{
    AnyMethod, AnyPreconditioner, BicgstabParams, BlockParams, CgParams, CglsParams, ChebyshevParams, Exact,
    FourierParams, Gamma, JacobiParams, LanczosParams, LandweberParams, LandweberWeights, LsmrParams, LsqrParams,
    MinresParams, NormSquared, NormSquaredEstimate, Outcome, Progress, ProxL2Params, PseudoInverse, Start, Status,
    SumsParams, SystemKind, norm_squared, prox_l2, pseudo_inverse, singular_values, stop, with_trouble_rules,
};
use stackphys::space::Vector;
use stackphys::stack::{Assignment, Description, FromFn, PlanOptions, Stack};
use stackphys::{Fault, Scalar, Shape};

const MODES: [(Assignment, Summation); 4] = [
    (Assignment::Contiguous, Summation::Fast),
    (Assignment::RoundRobin, Summation::Fast),
    (Assignment::ByCost, Summation::Ordered),
    (Assignment::Contiguous, Summation::Ordered),
];

fn is_double<S: Scalar>() -> bool {
    S::NAME.ends_with("f64")
}

fn solo() -> Rc<dyn Comm> {
    Rc::new(Solo)
}

/// Every method, ready for singular values between two bounds; those on AAᴴ too if the measurements allow it.
fn methods(damping: f64, [smallest, largest]: [f64; 2], outer: Option<f64>) -> Vec<AnyMethod> {
    let (lower, upper) = (Some(smallest * smallest), Some(largest * largest));
    let on = |system, lower| -> Vec<AnyMethod> {
        vec![
            CgParams { max_iter: 200, damping, system }.into(),
            MinresParams { max_iter: 200, damping, system }.into(),
            BicgstabParams { max_iter: 200, damping, system }.into(),
            ChebyshevParams { max_iter: 3000, damping, system, lower, upper }.into(),
        ]
    };
    let best_step = 2.0 / (smallest * smallest + largest * largest + 2.0 * damping);
    let mut all = on(SystemKind::Normal, lower);
    if let Some(smallest) = outer {
        all.extend(on(SystemKind::ForwardAdjoint, Some(smallest * smallest)));
    }
    all.extend::<[AnyMethod; 4]>([
        CglsParams { max_iter: 200, damping }.into(),
        LsqrParams { max_iter: 200, damping, condition_limit: None }.into(),
        LsmrParams { max_iter: 200, damping, condition_limit: None }.into(),
        LandweberParams { max_iter: 20_000, damping, step: Some(best_step), ..Default::default() }.into(),
    ]);
    all
}

/// The name of a method for messages.
fn named(method: &AnyMethod) -> String {
    let system = if method.system() == Some(SystemKind::ForwardAdjoint) { " on AAᴴ" } else { "" };
    format!("{}{system}, damping {}", method.kind(), method.damping())
}

fn rules(tolerance: f64, method: &AnyMethod) -> stop::BoxedRule {
    with_trouble_rules([
        stop::relative_normal_residual(tolerance),
        stop::relative_system_residual(tolerance),
        stop::iterations(method.most_iterations()),
    ])
}

fn solve<S: Scalar>(
    stack: &Stack<S>,
    y: &Vector<S>,
    method: &AnyMethod,
    guess: Option<Vector<S>>,
    tolerance: f64,
) -> (Vector<S>, Outcome) {
    method.solve(stack, y, None, guess, &*rules(tolerance, method), &mut |_: &Progress| ()).unwrap()
}

fn data<S: Scalar>(stack: &Stack<S>) -> (Vector<S>, Array1<S>) {
    let y = stackphys::testing::random(stack.range(), 5, 9);
    let whole = stack.gather(&y, None).unwrap();
    (y, Array1::from(whole))
}

fn norm<S: Scalar>(values: &Array1<S>) -> f64 {
    values.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt()
}

/// argmin ‖A x − y‖² + λ‖x‖²; without damping the one that is nearest to `from`.
fn expected<S: Scalar + Lapack>(a: &Array2<S>, y: &Array1<S>, damping: f64, from: &Array1<S>) -> Array1<S> {
    let n = a.ncols();
    let below = Array2::from_diag_elem(n, <S as Scalar>::from_f64(f64::sqrt(damping)));
    let extended = concatenate![ndarray::Axis(0), a.clone(), below];
    let start = if damping > 0.0 { Array1::zeros(n) } else { from.clone() };
    let right = concatenate![ndarray::Axis(0), y - &a.dot(&start), Array1::zeros(n)];
    let solution = if damping > 0.0 {
        extended.least_squares(&right).unwrap().solution
    } else {
        a.least_squares(&(y - &a.dot(&start))).unwrap().solution
    };
    start + solution
}

/// The extreme singular values that are not zero.
fn ends<S: Scalar + Lapack>(a: &Array2<S>) -> [f64; 2] {
    let (_, values, _) = a.svd(false, false).unwrap();
    let values: Vec<f64> = values.iter().map(|value| to_f64(*value)).collect();
    let largest = values[0];
    [values.iter().copied().filter(|value| *value > 1e-5 * largest).fold(largest, f64::min), largest]
}

fn to_f64(value: impl std::fmt::Display) -> f64 {
    value.to_string().parse().unwrap()
}

#[test]
fn every_method_solves_least_squares_on_any_ranks() {
    fn check<S: Scalar + Lapack>(comm: &Rc<dyn Comm>) {
        let (tolerance, right) = if is_double::<S>() { (1e-13, 1e-10) } else { (2e-5, 4e-3) };
        // (7, 6) has more rows than columns and no exact solution, (2, 19) has many
        for (mode, (count, columns)) in [(7, 6), (2, 19), (7, 6), (2, 19)].into_iter().enumerate() {
            let (assignment, summation) = MODES[mode];
            let stack = dense_stack::<S>(comm, count, columns, assignment, summation);
            let whole = assembled::<S>(count, columns);
            let (y, y_array) = data(&stack);
            for damping in [0.0, 1.7] {
                for has_guess in [false, true] {
                    let mut guess = stack.zero_model();
                    if has_guess {
                        guess = stackphys::testing::random(stack.domain(), 6, 9);
                    }
                    let start = Array1::from(guess.as_slice().to_vec());
                    let want = expected(&whole, &y_array, damping, &start);
                    let bounds = ends(&whole);
                    let wide = whole.nrows() <= columns;
                    let outer = if wide { Some(bounds[0]) } else { (damping > 0.0).then_some(0.0) };
                    for method in methods(damping, bounds, outer) {
                        let of = format!("{} {} {count}×{columns} guess {has_guess}", named(&method), S::NAME);
                        let guess = has_guess.then(|| guess.clone());
                        let (x, outcome) = solve(&stack, &y, &method, guess, tolerance);
                        assert_eq!(outcome.status, Status::Converged, "{of}: {:?} {:?}", outcome.stop, outcome.last());
                        let wrong = distance(x.as_slice(), &want);
                        assert!(wrong < right, "{of}: {wrong:.1e} after {}", outcome.iterations());
                        // what it says of the residual is so
                        let true_residual =
                            norm(&(whole.dot(&Array1::from(x.as_slice().to_vec())) - &y_array)) / norm(&y_array);
                        let told = outcome.last().relative_residual.unwrap();
                        let floor = if is_double::<S>() { 1e-6 } else { 1e-2 };
                        assert!((told - true_residual).abs() < floor, "{of}: {told} {true_residual}");
                    }
                }
            }
        }
    }
    for ranks in 1..=4 {
        threads::run(ranks, |comm| {
            let comm = &comm;
            check::<f64>(comm);
            check::<Complex<f32>>(comm);
            check::<f32>(comm);
            check::<Complex<f64>>(comm);
        });
    }
}

#[test]
fn ordered_sums_give_the_same_bits_on_any_ranks() {
    let run = |comm: &Rc<dyn Comm>, assignment| -> Vec<Vec<u8>> {
        let stack = dense_stack::<Complex<f64>>(comm, 7, 9, assignment, Summation::Ordered);
        let (y, _) = data(&stack);
        let all = methods(0.3, [0.5, 9.0], Some(0.0));
        all.iter()
            .map(|method| {
                let rule = stop::iterations(6);
                let (x, _) = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
                common::bytes(x.as_slice())
            })
            .collect()
    };
    let alone = run(&solo(), Assignment::Contiguous);
    for ranks in 2..=4 {
        for assignment in [Assignment::Contiguous, Assignment::RoundRobin] {
            for others in threads::run(ranks, |comm| run(&comm, assignment)) {
                assert!(others == alone, "{ranks} {assignment:?}");
            }
        }
    }
}

#[test]
fn zero_data_need_no_step_and_give_zero() {
    fn check<S: Scalar>() {
        let stack = dense_stack::<S>(&solo(), 3, 5, Assignment::Contiguous, Summation::Fast);
        for damping in [0.0, 0.5] {
            for has_guess in [false, true] {
                for method in methods(damping, [1.0, 9.0], Some(1.0)) {
                    let guess = has_guess.then(|| stackphys::testing::random(stack.domain(), 6, 9));
                    let (x, outcome) = solve(&stack, &stack.zero_data(), &method, guess, 1e-9);
                    let of = format!("{} {} {has_guess}", named(&method), S::NAME);
                    assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{of} {outcome:?}");
                    assert!(x.as_slice().iter().all(|x| *x == S::default()), "{of}");
                    assert_eq!(outcome.last().relative_residual, Some(0.0), "{of}");
                }
            }
        }
    }
    each_scalar!(check);
}

#[test]
fn an_exact_first_guess_costs_no_step() {
    fn check<S: Scalar + Lapack>() {
        let tolerance = if is_double::<S>() { 1e-11 } else { 1e-3 };
        for (count, columns) in [(7, 6), (2, 13)] {
            let stack = dense_stack::<S>(&solo(), count, columns, Assignment::Contiguous, Summation::Fast);
            let (y, y_array) = data(&stack);
            let whole = assembled::<S>(count, columns);
            for damping in [0.0, 2.0] {
                let want = expected(&whole, &y_array, damping, &Array1::zeros(columns));
                let outer = (damping > 0.0 || count == 2).then_some(1.0);
                for method in methods(damping, [1.0, 9.0], outer) {
                    let mut guess = stack.zero_model();
                    guess.as_mut_slice().copy_from_slice(want.as_slice().unwrap());
                    let (x, outcome) = solve(&stack, &y, &method, Some(guess), tolerance);
                    let of = format!("{} {} {count}", named(&method), S::NAME);
                    assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{of} {outcome:?}");
                    assert!(distance(x.as_slice(), &want) < tolerance, "{of}");
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
    check::<Complex<f32>>();
    check::<Complex<f64>>();
}

#[test]
fn the_scale_of_the_data_changes_nothing() {
    fn check<S: Scalar + Lapack>() {
        let stack = dense_stack::<S>(&solo(), 2, 13, Assignment::Contiguous, Summation::Fast);
        let (y, _) = data(&stack);
        let bounds = ends(&assembled::<S>(2, 13));
        let (tolerance, same): (f64, f64) = if is_double::<S>() { (1e-6, 1e-9) } else { (3e-3, 1e-3) };
        for method in methods(0.4, bounds, Some(bounds[0])) {
            let reach = |scale: f64| {
                let mut y = y.clone();
                y.scale(scale);
                let (mut x, outcome) = solve(&stack, &y, &method, None, tolerance);
                x.scale(1.0 / scale);
                (Array1::from(x.as_slice().to_vec()), outcome)
            };
            let (x, outcome) = reach(1.0);
            assert!(outcome.iterations() > 2 && outcome.status == Status::Converged, "{} {outcome:?}", named(&method));
            // in single precision by powers of two: other factors change the last bits of the data, and may change a count
            for scale in if is_double::<S>() { [1e-8, 1e8] } else { [2f64.powi(-27), 2f64.powi(27)] } {
                let (scaled, other) = reach(scale);
                let of = format!("{} {} {scale}", named(&method), S::NAME);
                assert_eq!(other.iterations(), outcome.iterations(), "{of}");
                // BiCGStab makes much of the last bits
                let same = if matches!(method, AnyMethod::Bicgstab(_)) { same.max(100.0 * tolerance) } else { same };
                assert!(distance(scaled.as_slice().unwrap(), &x) < same, "{of}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
    check::<Complex<f32>>();
    check::<Complex<f64>>();
}

#[test]
fn a_step_sends_what_it_says() {
    let table = [
        ("cg", SystemKind::Normal, (1, 0)),
        ("cg", SystemKind::ForwardAdjoint, (1, 2)),
        ("cgls", SystemKind::Normal, (1, 1)),
        ("lsqr", SystemKind::Normal, (1, 1)),
        ("lsmr", SystemKind::Normal, (1, 1)),
        ("minres", SystemKind::Normal, (1, 0)),
        ("minres", SystemKind::ForwardAdjoint, (1, 3)),
        ("bicgstab", SystemKind::Normal, (2, 0)),
        ("bicgstab", SystemKind::ForwardAdjoint, (2, 4)),
        ("chebyshev", SystemKind::Normal, (1, 0)),
        ("chebyshev", SystemKind::ForwardAdjoint, (1, 1)),
        ("landweber", SystemKind::Normal, (1, 1)),
    ];
    for ranks in 1..=4 {
        threads::run(ranks, |comm| {
            let stack = dense_stack::<f64>(&comm, 7, 13, Assignment::Contiguous, Summation::Fast);
            let (y, _) = data(&stack);
            for damping in [0.0, 0.7] {
                for method in methods(damping, [1.0, 9.0], Some(1.0)) {
                    let mut seen = Vec::new();
                    let mut look = |_: &Progress| seen.push(stack.team().meter().all().map(|kind| kind.calls));
                    let rule = stop::iterations(4);
                    let (_, outcome) = method.solve(&stack, &y, None, None, &*rule, &mut look).unwrap();
                    assert_eq!(outcome.iterations(), 4);
                    let system = method.system().unwrap_or_default();
                    let (_, _, (vectors, scalars)) =
                        table.iter().find(|(kind, of, _)| (*kind, *of) == (method.kind(), system)).unwrap();
                    let told = method.messages();
                    assert_eq!((told.vector_reductions, told.scalar_reductions), (*vectors, *scalars));
                    for pair in seen.windows(2) {
                        for (kind, (before, after)) in Kind::ALL.into_iter().zip(pair[0].iter().zip(pair[1])) {
                            let want = match kind {
                                Kind::VectorReduction => *vectors,
                                Kind::ScalarReduction => *scalars,
                                _ => 0,
                            };
                            assert_eq!(after - before, want, "{} {kind:?}", named(&method));
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn not_a_number_is_never_success() {
    fn check<S: Scalar>() {
        let stack = dense_stack::<S>(&solo(), 3, 5, Assignment::Contiguous, Summation::Fast);
        let (mut y, _) = data(&stack);
        y.as_mut_slice()[3] = S::from_f64(f64::NAN);
        for method in methods(0.0, [1.0, 9.0], Some(1.0)) {
            let (_, outcome) = solve(&stack, &y, &method, None, 1e-3);
            let ending = (outcome.status, outcome.iterations());
            assert_eq!(ending, (Status::NotANumber, 0), "{} {}: {:?}", named(&method), S::NAME, outcome.stop);
        }
    }
    each_scalar!(check);
    // an operator that begins to give such numbers in the middle
    for bad in [f64::NAN, f64::INFINITY] {
        for method in methods(0.2, [1.0, 9.0], Some(1.0)) {
            let stack = stack_of::<f64>(&solo(), 2, 8, PlanOptions::default(), |index| {
                let forward = matrix::<f64>(rows_of(index), 8, 40 + index as u64);
                let adjoint = adjoint_of(&forward);
                let calls = std::sync::atomic::AtomicUsize::new(0);
                Ok(Box::new(Closure::<f64>::new(
                    Shape::new([("x", 8)]),
                    Shape::new([("row", rows_of(index))]),
                    move |x, y| {
                        y.copy_from_slice(forward.dot(&ndarray::ArrayView1::from(x)).as_slice().unwrap());
                        if calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 4 {
                            y[1] = bad;
                        }
                        Ok(())
                    },
                    move |y, x| {
                        x.copy_from_slice(adjoint.dot(&ndarray::ArrayView1::from(y)).as_slice().unwrap());
                        Ok(())
                    },
                )) as Boxed<f64>)
            })
            .unwrap();
            let (y, _) = data(&stack);
            let rule = with_trouble_rules([stop::iterations(60)]);
            let (_, outcome) = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
            assert_eq!(outcome.status, Status::NotANumber, "{} {bad}: {:?}", named(&method), outcome.stop);
        }
    }
}

#[test]
fn a_fault_is_the_same_error_on_all_ranks_in_every_method() {
    threads::run(3, |comm| {
        for in_forward in [true, false] {
            for method in methods(0.2, [1.0, 9.0], Some(1.0)) {
                let stack = stack_of::<f64>(&comm, 4, 8, PlanOptions::default(), |index| {
                    let forward = matrix::<f64>(rows_of(index), 8, 40 + index as u64);
                    let adjoint = adjoint_of(&forward);
                    let calls = std::sync::atomic::AtomicUsize::new(0);
                    let refuse = move |now: bool| {
                        let call = if now { calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) } else { 0 };
                        if index == 2 && call == 3 { Err(Fault::new("the beam is gone")) } else { Ok(()) }
                    };
                    let refuse = std::sync::Arc::new(refuse);
                    let refuse_too = refuse.clone();
                    Ok(Box::new(Closure::<f64>::new(
                        Shape::new([("x", 8)]),
                        Shape::new([("row", rows_of(index))]),
                        move |x, y| {
                            y.copy_from_slice(forward.dot(&ndarray::ArrayView1::from(x)).as_slice().unwrap());
                            refuse(in_forward)
                        },
                        move |y, x| {
                            x.copy_from_slice(adjoint.dot(&ndarray::ArrayView1::from(y)).as_slice().unwrap());
                            refuse_too(!in_forward)
                        },
                    )) as Boxed<f64>)
                })
                .unwrap();
                let (y, _) = data(&stack);
                let rule = stop::iterations(9);
                let solved = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ());
                let error = solved.map(|(_, outcome)| outcome.stop).expect_err(&named(&method));
                assert_eq!(error.fault().operator, Some(2), "{}: {error}", named(&method));
                assert!(error.fault().text.contains("the beam is gone"), "{error}");
                // usable afterwards
                method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
            }
        }
    });
}

#[test]
fn a_config_names_every_method_and_its_ranges() {
    use stackphys::config::Job;
    let text = "version = 1\nmodel.dims = { x = 2 }\n[[terms]]\nname = \"a\"\noperator = { kind = \"identity\" }\n";
    let load = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Job::from_toml(text, "job.toml", &sets)
    };
    for kind in AnyMethod::KINDS {
        let set = format!("solve.method={{ kind = \"{kind}\", max_iter = 7, damping = 0.5 }}");
        let method = load(&[&set]).unwrap().solve.method;
        assert_eq!((method.kind(), method.most_iterations(), method.damping()), (*kind, 7, 0.5));
        assert!(AnyMethod::SUMMARIES.iter().any(|(name, _)| name == kind));
        let fault = load(&[&set.replace("0.5", "-1.0")]).unwrap_err();
        assert!(fault.text.contains("solve.method.damping: must be zero or a positive number"), "{}", fault.text);
        let fault = load(&[&set.replace('7', "0")]).unwrap_err();
        assert!(fault.text.contains("solve.method.max_iter: must be at least 1, got 0"), "{}", fault.text);
        // and it is written as it is read
        let written = serde_json::to_value(&method).unwrap();
        assert_eq!(written["kind"], *kind);
    }
    for kind in AnyPreconditioner::KINDS {
        let set = format!("solve.preconditioner.kind={kind}");
        assert_eq!(load(&[&set]).unwrap().solve.preconditioner.unwrap().kind(), *kind);
        assert!(AnyPreconditioner::SUMMARIES.iter().any(|(name, _)| name == kind));
    }
    for (sets, text) in [
        (&["solve.method={ kind = \"lsqr\", condition_limit = -3 }"][..], "solve.method.condition_limit: must be"),
        (&["solve.method={ kind = \"landweber\", step = 0.0 }"], "solve.method.step: must be a positive number"),
        (&["solve.method={ kind = \"chebyshev\", lower = 3.0, upper = 2.0 }"], "solve.method.lower: must be at most"),
        (&["solve.method={ kind = \"chebyshev\", lower = 0.0 }"], "solve.method.lower: must be positive where"),
        (&["solve.method.kind=cgls", "solve.preconditioner.kind=jacobi"], "`cgls` cannot use it"),
        (&["solve.preconditioner={ kind = \"block\", steps = 0 }"], "solve.preconditioner.steps: must be at least 1"),
        (&["solve.preconditioner={ kind = \"block\", shift = 0.0 }"], "solve.preconditioner.shift: must be a positive"),
        (
            &["solve.preconditioner={ kind = \"jacobi\", probes = 0 }"],
            "solve.preconditioner.probes: must be at least 1",
        ),
        (
            &["solve.preconditioner={ kind = \"fourier\", floor = 0.0 }"],
            "solve.preconditioner.floor: must be a positive",
        ),
        (&["solve.tolerance.relative_system_residual=0.1"], "does not know this number"),
        (&["norm.method={ kind = \"lanczos\", max_iter = 0 }"], "norm.method.max_iter: must be at least 1"),
    ] {
        let fault = load(sets).unwrap_err();
        assert!(fault.text.contains(text), "{sets:?}: {}", fault.text);
    }
}

#[test]
fn a_zero_operator_is_told() {
    let zero = stack_of::<f64>(&solo(), 2, 5, PlanOptions::default(), |index| {
        Ok(Box::new(Dense::new(Shape::new([("x", 5)]), Array2::zeros((rows_of(index), 5)))?) as Boxed<f64>)
    })
    .unwrap();
    let (y, _) = data(&zero);
    for method in methods(0.0, [1.0, 9.0], Some(1.0)) {
        let (x, outcome) = solve(&zero, &y, &method, None, 1e-9);
        assert_eq!(x.as_slice(), [0.0; 5], "{}", named(&method));
        if method.system() == Some(SystemKind::ForwardAdjoint) {
            assert_ne!(outcome.status, Status::Converged, "{}", named(&method)); // nothing explains y
        } else {
            assert_eq!((outcome.iterations(), outcome.status), (0, Status::Converged), "{}", named(&method));
        }
    }
    let found = singular_values(&zero, &LanczosParams::default(), &mut |_: &Progress| ()).unwrap();
    assert_eq!(found.largest.value, 0.0);
}

#[test]
fn stepping_past_convergence_divides_by_nothing() {
    // three distinct singular values: exact after three steps, then 197 more
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
        for method in methods(0.0, [1.0, 4.0], Some(1.0)) {
            let rule = stop::iterations(200); // no rule looks at residuals
            let (x, outcome) = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
            let wrong = distance(x.as_slice(), &want);
            let right = if is_double::<S>() { 1e-9 } else { 1e-4 };
            let slow = matches!(method, AnyMethod::Landweber(_));
            assert!(wrong < if slow { 1e-3 } else { right }, "{} {} {wrong}: {outcome:?}", named(&method), S::NAME);
            assert_ne!(outcome.status, Status::NotANumber, "{}", named(&method));
        }
    }
    each_scalar!(check);
}

#[test]
fn too_many_steps_on_a_singular_system_spoil_nothing() {
    fn check<S: Scalar + Lapack>() {
        let right = if is_double::<S>() { 1e-5 } else { 0.2 };
        for seed in 0..20 {
            for rank in [1, 2, 4] {
                let (tall, wide) = (matrix::<S>(10, rank, 200 + seed), matrix::<S>(rank, 8, 300 + seed));
                let deficient = tall.dot(&wide);
                let any = Array1::from(common::random::<S>(8, 400 + seed));
                let y_array = deficient.dot(&any);
                let want = wide.least_squares(&wide.dot(&any)).unwrap().solution; // the shortest
                let line = Shape::new([("x", 8)]);
                let factory = FromFn::new(
                    1,
                    |_| Ok(Description::new("deficient", line.clone(), Shape::new([("row", 10)]))),
                    |_| Ok(Box::new(Dense::new(line.clone(), deficient.clone())?) as Boxed<S>),
                );
                let stack = Stack::<S>::build(Team::solo(), &factory, Default::default()).unwrap();
                let mut y = stack.zero_data();
                y.as_mut_slice().copy_from_slice(y_array.as_slice().unwrap());
                let bounds = ends(&deficient);
                if bounds[1] > 30.0 * bounds[0] {
                    continue; // not a matter of singularity
                }
                for method in methods(0.0, bounds, Some(bounds[0])) {
                    let rule = with_trouble_rules([stop::iterations(300)]);
                    let (x, outcome) = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
                    let wrong = distance(x.as_slice(), &want);
                    let slow = matches!(method, AnyMethod::Landweber(_) | AnyMethod::Chebyshev(_));
                    let right = if slow { 0.5 } else { right };
                    let of = format!("{} {} seed {seed} rank {rank}", named(&method), S::NAME);
                    assert!(wrong < right, "{of}: {wrong:.1e} after {}, {:?}", outcome.iterations(), outcome.stop);
                    assert_ne!(outcome.status, Status::NotANumber, "{of}");
                }
            }
        }
    }
    check::<f64>();
    check::<Complex<f64>>();
    check::<f32>();
    check::<Complex<f32>>();
}

#[test]
fn the_residuals_of_each_step_are_the_true_ones() {
    let stack = dense_stack::<Complex<f64>>(&solo(), 3, 8, Assignment::Contiguous, Summation::Fast);
    let (y, y_array) = data(&stack);
    let whole = assembled::<Complex<f64>>(3, 8);
    let adjoint = adjoint_of(&whole);
    for damping in [0.0, 1.3] {
        for method in methods(damping, ends(&whole), (damping > 0.0).then_some(0.0)) {
            for steps in 0..7 {
                for guess in [None, Some(stackphys::testing::random(stack.domain(), 6, 9))] {
                    let rule = stop::iterations(steps);
                    let (x, outcome) = method.solve(&stack, &y, None, guess, &*rule, &mut |_: &Progress| ()).unwrap();
                    let x = Array1::from(x.as_slice().to_vec());
                    let residual = whole.dot(&x) - &y_array;
                    let normal = adjoint.dot(&residual) + &x * Complex::new(damping, 0.0);
                    let last = outcome.last();
                    let (residual, normal) =
                        (norm(&residual) / norm(&y_array), norm(&normal) / norm(&adjoint.dot(&y_array)));
                    let of = format!("{} step {steps}", named(&method));
                    assert!(
                        (last.relative_residual.unwrap() / residual - 1.0).abs() < 1e-9,
                        "{of} {last:?} {residual}"
                    );
                    if let Some(told) = last.relative_normal_residual {
                        assert!((told - normal).abs() < 1e-10, "{of} {told} {normal}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_condition_limit_stops_lsqr_and_lsmr() {
    let spread: Vec<f64> = (0..12).map(|k| 10f64.powf(-f64::from(k) * 0.5)).collect();
    let line = Shape::new([("x", 12)]);
    let factory = FromFn::new(
        1,
        |_| Ok(Description::new("spread", line.clone(), line.clone())),
        |_| Ok(Box::new(Diagonal::new([("x", 12)], spread.clone())?) as Boxed<f64>),
    );
    let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
    let (y, _) = data(&stack);
    for scale in [1e-8, 1.0, 1e8] {
        let mut y = y.clone();
        y.scale(scale);
        for limit in [None, Some(50.0)] {
            let methods: [AnyMethod; 2] = [
                LsqrParams { max_iter: 60, condition_limit: limit, ..Default::default() }.into(),
                LsmrParams { max_iter: 60, condition_limit: limit, ..Default::default() }.into(),
            ];
            for method in methods {
                let (_, outcome) = solve(&stack, &y, &method, None, 1e-10);
                let condition = outcome.last().condition.unwrap();
                if limit.is_some() {
                    let ending = (outcome.stop.rule, outcome.status);
                    assert_eq!(ending, ("condition limit", Status::LimitReached), "{}", named(&method));
                    assert!(condition > 50.0 && outcome.iterations() < 10, "{condition}");
                } else {
                    assert!(condition > 1e3, "{} {condition}", named(&method));
                }
            }
        }
    }
}

#[test]
fn the_proximal_map_is_the_dense_one() {
    fn check<S: Scalar + Lapack>(comm: &Rc<dyn Comm>) {
        let right = if is_double::<S>() { 1e-10 } else { 2e-4 };
        for (gamma, summation) in [
            (Gamma::One(0.8), Summation::Fast),
            (Gamma::Each(vec![2.0, 0.0, 0.5, 7.0]), Summation::Ordered),
            (Gamma::One(0.0), Summation::Fast),
        ] {
            let stack = dense_stack::<S>(comm, 4, 6, Assignment::RoundRobin, summation);
            let (y, y_array) = data(&stack);
            let z: Vector<S> = stackphys::testing::random(stack.domain(), 6, 10);
            // √γ_i A_i and √γ_i y_i above I and z
            let mut a = assembled::<S>(4, 6);
            let mut right_side = y_array.clone();
            let mut start = 0;
            for index in 0..4 {
                let gamma = match &gamma {
                    Gamma::One(gamma) => *gamma,
                    Gamma::Each(gammas) => gammas[index],
                };
                for row in start..start + rows_of(index) {
                    a.row_mut(row).mapv_inplace(|entry| entry * <S as Scalar>::from_f64(gamma.sqrt()));
                    right_side[row] *= <S as Scalar>::from_f64(gamma.sqrt());
                }
                start += rows_of(index);
            }
            let a = concatenate![ndarray::Axis(0), a, Array2::eye(6)];
            let right_side = concatenate![ndarray::Axis(0), right_side, Array1::from(z.as_slice().to_vec())];
            let want = a.least_squares(&right_side).unwrap().solution;
            let tolerance = if is_double::<S>() { 1e-13 } else { 1e-5 };
            let params = ProxL2Params { gamma: gamma.clone(), max_iter: 60, tolerance };
            let none = &mut |_: &Progress| ();
            let (x, outcome) = prox_l2(&stack, &y, &z, &params, None, none).unwrap();
            assert!(distance(x.as_slice(), &want) < right, "{gamma:?} {:?}", outcome.stop);
            assert_eq!(outcome.status, Status::Converged);
            // a warm start at the solution costs nothing, another one does not change the answer
            let looser = ProxL2Params { tolerance: 100.0 * tolerance, ..params.clone() };
            let (_, outcome) = prox_l2(&stack, &y, &z, &looser, Some(x), none).unwrap();
            assert_eq!(outcome.iterations(), 0);
            let far = stackphys::testing::random(stack.domain(), 60, 10);
            let (x, _) = prox_l2(&stack, &y, &z, &params, Some(far), none).unwrap();
            assert!(distance(x.as_slice(), &want) < right);
        }
        let stack = dense_stack::<S>(comm, 2, 4, Assignment::Contiguous, Summation::Fast);
        let (y, z) = (stack.zero_data(), stack.zero_model());
        for wrong in [Gamma::One(-1.0), Gamma::Each(vec![1.0]), Gamma::One(f64::NAN)] {
            let params = ProxL2Params { gamma: wrong, ..Default::default() };
            let error = prox_l2(&stack, &y, &z, &params, None, &mut |_: &Progress| ()).unwrap_err();
            assert!(error.to_string().contains("γ: expected 2 numbers that are not negative"), "{error}");
        }
    }
    for ranks in 1..=3 {
        threads::run(ranks, |comm| {
            check::<f64>(&comm);
            check::<Complex<f64>>(&comm);
            check::<f32>(&comm);
        });
    }
}

#[test]
fn lanczos_knows_the_condition_number() {
    fn check<S: Scalar + Lapack>(comm: &Rc<dyn Comm>) {
        let right = if is_double::<S>() { 1e-8 } else { 1e-3 };
        for (count, columns) in [(7, 6), (3, 12), (2, 40), (12, 30)] {
            let stack = dense_stack::<S>(comm, count, columns, Assignment::Contiguous, Summation::Fast);
            let (_, values, _) = assembled::<S>(count, columns).svd(false, false).unwrap();
            let (largest, smallest) = (to_f64(values[0]), to_f64(values[values.len() - 1]));
            let params = LanczosParams { tolerance: if is_double::<S>() { 1e-7 } else { 1e-4 }, ..Default::default() };
            let found = singular_values(&stack, &params, &mut |_: &Progress| ()).unwrap();
            let (condition, error_bar) = found.condition_number();
            let of = format!("{} {count} {columns}: {found:?}", S::NAME);
            assert!((condition / (largest / smallest) - 1.0).abs() < 1e-3, "{of} {}", largest / smallest);
            assert!(error_bar < 1e-2 * condition, "{of}");
            assert!((found.largest.value - largest).abs() <= found.largest.error_bar + right * largest, "{of}");
            assert!((found.smallest.value - smallest).abs() <= found.smallest.error_bar + right * largest, "{of}");
            match norm_squared(&stack, &NormSquared::Lanczos(params), &mut |_: &Progress| ()).unwrap() {
                NormSquaredEstimate::Value { value, error_bar, outcome } => {
                    assert!((value / (largest * largest) - 1.0).abs() < right, "{value}");
                    assert!(error_bar < 1e-3 * value && outcome.status == Status::Converged, "{outcome:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for ranks in 1..=3 {
        threads::run(ranks, |comm| {
            check::<f64>(&comm);
            check::<Complex<f64>>(&comm);
            check::<f32>(&comm);
            check::<Complex<f32>>(&comm);
        });
    }
}

#[test]
fn lanczos_says_when_it_has_not_seen_enough() {
    let stack = dense_stack::<f64>(&solo(), 12, 30, Assignment::Contiguous, Summation::Fast);
    let (_, values, _) = assembled::<f64>(12, 30).svd(false, false).unwrap();
    let params = LanczosParams { max_iter: 8, tolerance: 1e-9, ..Default::default() };
    let found = singular_values(&stack, &params, &mut |_: &Progress| ()).unwrap();
    assert_eq!(found.outcome.status, Status::LimitReached);
    let (condition, _) = found.condition_number();
    assert!(condition < values[0] / values[29] * (1.0 + 1e-12), "a lower bound");
    // the error bar holds: some singular value is this near
    for end in [found.largest, found.smallest] {
        let nearest = values.iter().map(|value| (value - end.value).abs()).fold(f64::INFINITY, f64::min);
        assert!(nearest <= end.error_bar * (1.0 + 1e-9), "{end:?} {nearest}");
    }
}

fn preconditioners() -> Vec<AnyPreconditioner> {
    vec![
        AnyPreconditioner::Jacobi(JacobiParams::default()),
        AnyPreconditioner::Sums(SumsParams {}),
        AnyPreconditioner::Fourier(FourierParams::default()),
        AnyPreconditioner::Block(BlockParams::default()),
    ]
}

#[test]
fn a_preconditioner_is_fixed_hermitian_and_positive() {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) -> Vec<f64> {
        let stack = ct_stack::<S>(comm, 5, PlanOptions::default());
        let [a, b] = [11, 12].map(|seed| stackphys::testing::random::<S>(stack.domain(), seed, 3));
        let (mut ma, mut mb) = (stack.zero_model(), stack.zero_model());
        let mut numbers = Vec::new();
        for preconditioner in preconditioners() {
            for damping in [0.0, 4.0] {
                let mut m = preconditioner.build(&stack, damping).unwrap();
                m.apply(&a, &mut ma).unwrap();
                m.apply(&b, &mut mb).unwrap();
                let [left, right, aa, bb] = stack.team().dots([(&ma, &b), (&a, &mb), (&ma, &a), (&mb, &b)]).unwrap();
                let tolerance = if is_double::<S>() { 1e-12 } else { 1e-5 };
                let of = format!("{} {}", preconditioner.kind(), S::NAME);
                assert!((left - right).abs() < tolerance * (aa * bb).sqrt(), "{of}: {left} {right}");
                assert!(aa > 0.0 && bb > 0.0, "{of}");
                let before = ma.clone();
                m.apply(&a, &mut ma).unwrap();
                assert_eq!(before.as_slice(), ma.as_slice(), "{of}");
                numbers.push(aa);
            }
        }
        numbers
    }
    let alone = check::<f64>(&solo());
    for ranks in 1..=3 {
        let by_rank = threads::run(ranks, |comm| {
            check::<f32>(&comm);
            check::<Complex<f64>>(&comm);
            check::<f64>(&comm)
        });
        for numbers in by_rank {
            for (a, b) in numbers.iter().zip(&alone) {
                assert!((a / b - 1.0).abs() < 1e-9, "the number of ranks does not matter");
            }
        }
    }
}

#[test]
fn preconditioned_conjugate_gradients_get_to_the_same_place() {
    for ranks in [1, 3] {
        threads::run(ranks, |comm| {
            let stack = ct_stack::<f64>(&comm, 5, PlanOptions::default());
            let (y, _) = data(&stack);
            let method = AnyMethod::from(CgParams { max_iter: 2000, damping: 5.0, ..Default::default() });
            let (want, plain) = solve(&stack, &y, &method, None, 1e-13);
            let want = Array1::from(want.as_slice().to_vec());
            for by in preconditioners() {
                let rule = rules(1e-12, &method);
                let (x, outcome) = method.solve(&stack, &y, Some(&by), None, &*rule, &mut |_: &Progress| ()).unwrap();
                assert_eq!(outcome.status, Status::Converged, "{} {:?}", by.kind(), outcome.stop);
                assert!(distance(x.as_slice(), &want) < 1e-9, "{}", by.kind());
                if matches!(by, AnyPreconditioner::Fourier(_)) {
                    let (with, without) = (outcome.iterations(), plain.iterations());
                    assert!(3 * with < 2 * without, "{by:?} {with} {without}");
                }
            }
        });
    }
}

#[test]
fn jacobi_knows_the_diagonal_and_estimates_it_otherwise() {
    // columns of very different sizes: what Jacobi is for
    let scales: Vec<f64> = (0..60).map(|k| 10f64.powf(0.05 * f64::from(k))).collect();
    let scaled = |index: usize| {
        let mut a = matrix::<f64>(40, 60, 200 + index as u64);
        for (column, scale) in scales.iter().enumerate() {
            a.column_mut(column).mapv_inplace(|entry| entry * scale);
        }
        a
    };
    let build = |hides: bool| {
        let line = Shape::new([("x", 60)]);
        let factory = FromFn::new(
            3,
            |_| Ok(Description::new("scaled", line.clone(), Shape::new([("row", 40)]))),
            |index| {
                let dense = Dense::new(line.clone(), scaled(index))?;
                Ok(if hides { Box::new(Hides(dense)) as Boxed<f64> } else { Box::new(dense) })
            },
        );
        Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap()
    };
    let whole = concatenate![ndarray::Axis(0), scaled(0), scaled(1), scaled(2)];
    let diagonal: Vec<f64> = whole.columns().into_iter().map(|column| column.dot(&column)).collect();
    let apply = |stack: &Stack<f64>, probes| {
        let mut ones = stack.zero_model();
        ones.fill(1.0);
        let mut out = stack.zero_model();
        let params = JacobiParams { probes, ..Default::default() };
        AnyPreconditioner::Jacobi(params).build(stack, 3.0).unwrap().apply(&ones, &mut out).unwrap();
        out.as_slice().iter().map(|inverse| 1.0 / inverse).collect::<Vec<f64>>()
    };
    for (got, want) in apply(&build(false), 1).iter().zip(&diagonal) {
        assert!((got / (want + 3.0) - 1.0).abs() < 1e-12);
    }
    let largest = diagonal.iter().copied().fold(0.0, f64::max);
    for (got, want) in apply(&build(true), 20_000).iter().zip(&diagonal).filter(|(_, want)| **want > 0.05 * largest) {
        assert!((got / want - 1.0).abs() < 0.2, "{got} {want}");
    }
    let (stack, method) = (build(false), AnyMethod::from(CgParams { max_iter: 500, ..Default::default() }));
    let (y, _) = data(&stack);
    let (_, plain) = solve(&stack, &y, &method, None, 1e-10);
    let jacobi = AnyPreconditioner::Jacobi(JacobiParams::default());
    let (_, outcome) =
        method.solve(&stack, &y, Some(&jacobi), None, &*rules(1e-10, &method), &mut |_: &Progress| ()).unwrap();
    let (with, without) = (outcome.iterations(), plain.iterations());
    assert!(2 * with < without, "{with} {without}");
}

/// A matrix that does not tell its diagonal.
struct Hides(Dense<f64>);

impl LinearOperator<f64> for Hides {
    fn domain(&self) -> &Shape {
        LinearOperator::<f64>::domain(&self.0)
    }
    fn range(&self) -> &Shape {
        LinearOperator::<f64>::range(&self.0)
    }
    fn apply_forward(&self, x: &[f64], y: &mut [f64], work: &mut stackphys::operator::Work) -> Result<(), Fault> {
        self.0.apply_forward(x, y, work)
    }
    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], work: &mut stackphys::operator::Work) -> Result<(), Fault> {
        self.0.apply_adjoint(y, x, work)
    }
}

#[test]
fn sums_are_refused_for_operators_with_signs() {
    threads::run(2, |comm| {
        let stack = dense_stack::<f64>(&comm, 3, 5, Assignment::Contiguous, Summation::Fast);
        let error = AnyPreconditioner::Sums(SumsParams {}).build(&stack, 0.0).err().unwrap();
        assert!(error.to_string().contains("only where no entry is negative"), "{error}");
        let sirt = LandweberParams { weights: LandweberWeights::Sums, ..Default::default() };
        let (y, _) = data(&stack);
        let rule = stop::iterations(2);
        let solved = AnyMethod::from(sirt).solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ());
        assert!(solved.is_err());
        // a preconditioner for a method that cannot use it
        let by = AnyPreconditioner::Block(BlockParams::default());
        let method = AnyMethod::from(LsqrParams::default());
        let solved = method.solve(&stack, &y, Some(&by), None, &*rule, &mut |_: &Progress| ());
        assert!(solved.unwrap_err().to_string().contains("`lsqr` cannot be preconditioned"));
    });
}

#[test]
fn sirt_is_its_formula() {
    let stack = ct_stack::<f64>(&solo(), 5, PlanOptions::default());
    let (y, _) = data(&stack);
    let params = LandweberParams { weights: LandweberWeights::Sums, step: Some(1.3), ..Default::default() };
    let method = AnyMethod::from(params);
    let (x, outcome) = method.solve(&stack, &y, None, None, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap();
    let invert = |values: &mut [f64]| {
        values.iter_mut().for_each(|value| *value = if *value == 0.0 { 0.0 } else { 1.0 / *value })
    };
    let (mut columns, mut rows, mut ones) = (stack.zero_model(), stack.zero_data(), stack.zero_data());
    columns.fill(1.0);
    stack.forward(&columns, &mut rows).unwrap();
    ones.fill(1.0);
    stack.adjoint(&ones, &mut columns).unwrap();
    invert(rows.as_mut_slice());
    invert(columns.as_mut_slice());
    let mut by_hand = stack.zero_model();
    for _ in 0..3 {
        let mut residual = stack.zero_data();
        stack.forward(&by_hand, &mut residual).unwrap();
        for ((residual, y), row) in residual.as_mut_slice().iter_mut().zip(y.as_slice()).zip(rows.as_slice()) {
            *residual = row * (y - *residual);
        }
        let mut back = stack.zero_model();
        stack.adjoint(&residual, &mut back).unwrap();
        for ((x, back), column) in by_hand.as_mut_slice().iter_mut().zip(back.as_slice()).zip(columns.as_slice()) {
            *x += 1.3 * column * back;
        }
    }
    assert!(distance(x.as_slice(), &Array1::from(by_hand.as_slice().to_vec())) < 1e-12);
    let normal: Vec<f64> = outcome.history.iter().map(|step| step.relative_normal_residual.unwrap()).collect();
    assert!(normal.windows(2).all(|pair| pair[1] < pair[0]), "{normal:?}");
}

#[test]
fn the_local_mean_works_with_any_method_and_can_start_the_exact_solve() {
    threads::run(3, |comm| {
        let stack = dense_stack::<f64>(&comm, 5, 3, Assignment::Contiguous, Summation::Fast);
        let (y, y_array) = data(&stack);
        let mut mean = Array1::<f64>::zeros(3);
        let mut start = 0;
        for index in 0..5 {
            let own = y_array.slice(ndarray::s![start..start + rows_of(index)]).to_owned();
            start += rows_of(index);
            mean += &matrix::<f64>(rows_of(index), 3, 100 + index as u64).least_squares(&own).unwrap().solution;
        }
        mean /= 5.0;
        let whole = assembled::<f64>(5, 3);
        let want = expected(&whole, &y_array, 0.0, &Array1::zeros(3));
        let rule = stop::any([stop::relative_normal_residual(1e-12), stop::iterations(5000)]);
        let none = &mut |_: &Progress| ();
        for method in [
            AnyMethod::from(CgParams::default()),
            CglsParams::default().into(),
            LsqrParams::default().into(),
            LsmrParams::default().into(),
            MinresParams::default().into(),
        ] {
            let how = PseudoInverse::LocalMean(method.clone());
            let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, none).unwrap();
            assert!(distance(solution.x.as_slice(), &mean) < 1e-9, "{}", named(&method));
            assert_eq!(solution.underdetermined, 0); // all have 3 rows or more
            let exact = Exact { start: Start::LocalMean, ..Exact::from(method.clone()) };
            let how = PseudoInverse::Exact(exact);
            let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, none).unwrap();
            assert!(distance(solution.x.as_slice(), &want) < 1e-9, "{}", named(&method));
            assert!(solution.true_relative_normal_residual < 1e-11);
            // it did start there
            let first = solution.outcome.unwrap().history[0].relative_normal_residual.unwrap();
            let at_mean = norm(&whole.t().dot(&(whole.dot(&mean) - &y_array))) / norm(&whole.t().dot(&y_array));
            assert!((first / at_mean - 1.0).abs() < 1e-6, "{first} {at_mean}");
        }
        // members with 3, 8, 6, 4, 9 rows
        let stack = dense_stack::<f64>(&comm, 5, 7, Assignment::Contiguous, Summation::Fast);
        let (y, _) = data(&stack);
        let how = PseudoInverse::LocalMean(CgParams::default().into());
        let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, none).unwrap();
        assert_eq!(solution.underdetermined, 3);
    });
}

/// What the systems that we learn from get wrong, each as a test of its own.
mod as_others_do_not {
    use super::*;

    /// A square stack of two operators, and measurements that fit exactly.
    fn square() -> (Stack<f64>, Vector<f64>, Array2<f64>, Array1<f64>) {
        let stack = dense_stack::<f64>(&solo(), 2, 11, Assignment::Contiguous, Summation::Fast);
        let (y, y_array) = data(&stack);
        (stack, y, assembled::<f64>(2, 11), y_array)
    }

    #[test]
    fn gamma_and_the_centre_are_not_dropped_for_square_operators() {
        let (stack, y, a, y_array) = square();
        let z: Vector<f64> = stackphys::testing::random(stack.domain(), 6, 10);
        let gamma = 0.37;
        let extended = concatenate![ndarray::Axis(0), &a * f64::sqrt(gamma), Array2::eye(11)];
        let right = concatenate![ndarray::Axis(0), &y_array * f64::sqrt(gamma), Array1::from(z.as_slice().to_vec())];
        let want = extended.least_squares(&right).unwrap().solution;
        let params = ProxL2Params { gamma: Gamma::One(gamma), max_iter: 200, tolerance: 1e-13 };
        let (x, _) = prox_l2(&stack, &y, &z, &params, None, &mut |_: &Progress| ()).unwrap();
        assert!(distance(x.as_slice(), &want) < 1e-10);
        // nor is the damping, by any method
        let want = expected(&a, &y_array, 0.9, &Array1::zeros(11));
        for method in methods(0.9, ends(&a), Some(0.0)) {
            let (x, _) = solve(&stack, &y, &method, None, 1e-13);
            assert!(distance(x.as_slice(), &want) < 1e-9, "{}", named(&method));
        }
    }

    #[test]
    fn lsqr_of_a_stack_takes_the_euclidean_norm() {
        let stack = dense_stack::<f64>(&solo(), 4, 8, Assignment::Contiguous, Summation::Fast);
        let (y, y_array) = data(&stack);
        let want = expected(&assembled::<f64>(4, 8), &y_array, 0.0, &Array1::zeros(8));
        for method in [AnyMethod::from(LsqrParams::default()), LsmrParams::default().into()] {
            let rule = stop::iterations(8); // exact needs as many as there are columns
            let (x, _) = method.solve(&stack, &y, None, None, &*rule, &mut |_: &Progress| ()).unwrap();
            assert!(distance(x.as_slice(), &want) < 1e-9, "{}", named(&method));
        }
    }

    #[test]
    fn forward_adjoint_ends_with_the_adjoint() {
        let (stack, y, a, y_array) = square();
        let want = a.least_squares(&y_array).unwrap().solution;
        let system = SystemKind::ForwardAdjoint;
        for method in [
            AnyMethod::from(CgParams { max_iter: 2000, system, ..Default::default() }),
            MinresParams { max_iter: 2000, system, ..Default::default() }.into(),
        ] {
            let (x, outcome) = solve(&stack, &y, &method, None, 1e-13);
            let wrong = distance(x.as_slice(), &want);
            assert!(wrong < 1e-6, "{} {wrong} {:?}", named(&method), outcome.stop);
        }
    }

    #[test]
    fn conjugate_gradients_hold_no_constant_that_knows_the_scale() {
        let (stack, y, a, y_array) = square();
        let want = expected(&a, &y_array, 0.5, &Array1::zeros(11));
        for scale in [1e-12, 1e-6, 1e-4, 1.0, 1e12] {
            let mut y = y.clone();
            y.scale(scale);
            let method = AnyMethod::from(CgParams { max_iter: 100, damping: 0.5, ..Default::default() });
            let (mut x, outcome) = solve(&stack, &y, &method, None, 1e-12);
            x.scale(1.0 / scale);
            assert!(distance(x.as_slice(), &want) < 1e-10, "{scale} {outcome:?}");
        }
    }

    #[test]
    fn tolerances_are_relative_and_not_squared() {
        let (stack, y, a, y_array) = square();
        let adjoint = adjoint_of(&a);
        for tolerance in [1e-2, 1e-5] {
            for method in methods(0.3, ends(&a), None) {
                let mut steps = Vec::new();
                for scale in [1.0, 1e-4, 1e4] {
                    let mut y = y.clone();
                    y.scale(scale);
                    let (mut x, outcome) = solve(&stack, &y, &method, None, tolerance);
                    x.scale(1.0 / scale);
                    let x = Array1::from(x.as_slice().to_vec());
                    let normal = adjoint.dot(&(a.dot(&x) - &y_array)) + 0.3 * &x;
                    let truly = norm(&normal) / norm(&adjoint.dot(&y_array));
                    assert!(truly <= tolerance * (1.0 + 1e-6), "{} {truly}", named(&method));
                    assert_eq!(outcome.stop.rule, "relative normal residual");
                    steps.push(outcome.iterations());
                }
                assert_eq!(steps, [steps[0]; 3], "{}", named(&method));
            }
        }
    }

    #[test]
    fn damping_is_the_square_of_damp_with_a_first_guess_too() {
        let (stack, y, a, y_array) = square();
        let damp: f64 = 3.0;
        let want = expected(&a, &y_array, damp * damp, &Array1::zeros(11));
        let adjoint = adjoint_of(&a);
        for method in methods(damp * damp, ends(&a), Some(0.0)) {
            let guess = stackphys::testing::random(stack.domain(), 6, 9);
            let start = Array1::from(guess.as_slice().to_vec());
            let (x, outcome) = solve(&stack, &y, &method, Some(guess), 1e-13);
            assert!(distance(x.as_slice(), &want) < 1e-10, "{}", named(&method));
            if let Some(first) = outcome.history[0].relative_normal_residual {
                let normal = adjoint.dot(&(a.dot(&start) - &y_array)) + damp * damp * &start;
                let truly = norm(&normal) / norm(&adjoint.dot(&y_array));
                assert!((first / truly - 1.0).abs() < 1e-12, "{} {first} {truly}", named(&method));
            }
        }
    }

    #[test]
    fn cgls_tells_the_residual_and_not_the_normal_one() {
        let stack = dense_stack::<f64>(&solo(), 4, 8, Assignment::Contiguous, Summation::Fast);
        let (y, y_array) = data(&stack);
        let a = assembled::<f64>(4, 8);
        let (x, outcome) = solve(&stack, &y, &CglsParams::default().into(), None, 1e-12);
        let truly = norm(&(a.dot(&Array1::from(x.as_slice().to_vec())) - &y_array)) / norm(&y_array);
        assert!((outcome.last().relative_residual.unwrap() / truly - 1.0).abs() < 1e-12);
        assert!(truly > 0.1);
    }

    #[test]
    fn success_is_not_told_of_numbers_that_are_none() {
        let (stack, mut y, ..) = square();
        y.as_mut_slice()[0] = f64::NAN;
        for method in methods(0.0, [1.0, 9.0], Some(1.0)) {
            let (_, outcome) = solve(&stack, &y, &method, None, 0.5);
            assert_eq!(outcome.status, Status::NotANumber, "{}", named(&method));
        }
    }

    #[test]
    fn the_wrong_adjoint_is_not_success() {
        let forward = matrix::<f64>(9, 8, 61);
        let wrong = adjoint_of(&forward) * -1.0;
        let factory = FromFn::new(
            1,
            |_| Ok(Description::new("closure", Shape::new([("x", 8)]), Shape::new([("row", 9)]))),
            |_| {
                let (forward, wrong) = (forward.clone(), wrong.clone());
                Ok(Box::new(Closure::<f64>::new(
                    Shape::new([("x", 8)]),
                    Shape::new([("row", 9)]),
                    move |x, y| {
                        y.copy_from_slice(forward.dot(&ndarray::ArrayView1::from(x)).as_slice().unwrap());
                        Ok(())
                    },
                    move |y, x| {
                        x.copy_from_slice(wrong.dot(&ndarray::ArrayView1::from(y)).as_slice().unwrap());
                        Ok(())
                    },
                )) as Boxed<f64>)
            },
        );
        let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
        let (y, _) = data(&stack);
        let (x, outcome) = solve(&stack, &y, &CgParams::default().into(), None, 1e-9);
        assert_eq!((outcome.iterations(), outcome.status), (0, Status::Breakdown));
        assert!(outcome.stop.reason.contains("the adjoint is not the operator's"));
        assert_eq!(x.as_slice(), [0.0; 8]);
    }
}
