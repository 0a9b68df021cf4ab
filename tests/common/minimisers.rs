//! Promises of the methods that minimise a data term: on any number of ranks they find the minimum, send what they say, and
//! fail together. Part of the list in `promises.rs`; `tests/minimisers.rs` has what needs one process only.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView1};
use ndarray_linalg::{Lapack, LeastSquaresSvd};
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Solo, Summation};
use stackphys::operator::Closure;
use stackphys::recon::fidelity::{AnyFidelity, Huber, L1, L2, L2Ball, LogPoisson, Variance};
use stackphys::recon::{AnyMinimiser, DataTerm, GradientDescentParams, Loss, PrimalDualParams, minimise};
use stackphys::solver::{Outcome, Progress, Status, stop, with_trouble_rules};
use stackphys::space::Vector;
use stackphys::stack::{Assignment, PlanOptions, Stack};
use stackphys::{Fault, Scalar, Shape};

use super::*;

const MODES: [(Assignment, Summation); 4] = [
    (Assignment::Contiguous, Summation::Fast),
    (Assignment::RoundRobin, Summation::Fast),
    (Assignment::ByCost, Summation::Ordered),
    (Assignment::Contiguous, Summation::Ordered),
];

/// Both methods.
pub fn minimisers(damping: f64, non_negative: bool) -> [AnyMinimiser; 2] {
    [
        GradientDescentParams { max_iter: 20_000, damping, non_negative, step: None }.into(),
        PrimalDualParams { max_iter: 20_000, damping, non_negative, balance: 0.3 }.into(),
    ]
}

/// Those of them that can use a fidelity.
pub fn minimisers_for(fidelity: &AnyFidelity, damping: f64, non_negative: bool) -> Vec<AnyMinimiser> {
    let all = minimisers(damping, non_negative).into_iter();
    all.filter(|method| fidelity.is_smooth() || method.kind() == "primal_dual").collect()
}

pub fn until(tolerance: f64, method: &AnyMinimiser) -> stop::BoxedRule {
    with_trouble_rules([stop::relative_optimality(tolerance), stop::iterations(method.most_iterations())])
}

/// A minimum up to a tolerance, and how it was reached.
pub fn solve<S: Scalar>(
    term: &DataTerm<S>,
    method: &AnyMinimiser,
    guess: Option<Vector<S>>,
    tolerance: f64,
) -> (Vector<S>, Outcome) {
    method.solve(term, guess, &*until(tolerance, method), &mut |_: &Progress| ()).unwrap()
}

/// Measurements of a stack, the same on any number of ranks, and all of them in order.
pub fn data<S: Scalar>(stack: &Stack<S>) -> (Vector<S>, Array1<S>) {
    let y = stackphys::testing::random(stack.range(), 5, 9);
    let whole = stack.gather(&y, None).unwrap();
    (y, Array1::from(whole))
}

/// argmin ‖A x − y‖² + λ‖x‖²; without damping the one that is nearest to `from`.
pub fn least_squares<S: Scalar + Lapack>(a: &Array2<S>, y: &Array1<S>, damping: f64, from: &Array1<S>) -> Array1<S> {
    let n = a.ncols();
    if damping == 0.0 {
        return from + &a.least_squares(&(y - &a.dot(from))).unwrap().solution;
    }
    let below = Array2::from_diag_elem(n, <S as Scalar>::from_f64(f64::sqrt(damping)));
    let extended = ndarray::concatenate![ndarray::Axis(0), a.clone(), below];
    let right = ndarray::concatenate![ndarray::Axis(0), y.clone(), Array1::zeros(n)];
    extended.least_squares(&right).unwrap().solution
}

/// With plain least squares both are what conjugate gradients find.
pub fn minimisers_of_plain_least_squares_find_its_solution(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar + Lapack>(comm: &Rc<dyn Comm>) {
        for mode in MODES {
            plain_least_squares::<S>(comm, mode, (7, 6), 1.7);
        }
    }
    check::<f64>(comm);
    check::<Complex<f32>>(comm);
    check::<f32>(comm);
    check::<Complex<f64>>(comm);
}

/// Minimises ½‖A x − y‖² + ½ λ‖x‖² of a stack with so many operators and columns, from zero and from elsewhere.
pub fn plain_least_squares<S: Scalar + Lapack>(
    comm: &Rc<dyn Comm>,
    (assignment, summation): (Assignment, Summation),
    (count, columns): (usize, usize),
    damping: f64,
) {
    let (tolerance, right) = if S::NAME.ends_with("f64") { (1e-12, 1e-10) } else { (1e-5, 4e-3) };
    let stack = dense_stack::<S>(comm, count, columns, assignment, summation);
    let (y, whole) = data(&stack);
    let a = assembled::<S>(count, columns);
    let term = DataTerm::new(&stack, &y, vec![AnyFidelity::default()]).unwrap();
    for guess in [stack.zero_model(), stackphys::testing::random(stack.domain(), 6, 9)] {
        let want = least_squares(&a, &whole, damping, &Array1::from(guess.as_slice().to_vec()));
        for method in minimisers(damping, false) {
            let (x, outcome) = solve(&term, &method, Some(guess.clone()), tolerance);
            let of = format!("{} λ {damping} {count}×{columns} {}", method.kind(), S::NAME);
            assert_eq!(outcome.status, Status::Converged, "{of}: {:?}", outcome.stop);
            let wrong = distance(x.as_slice(), &want);
            assert!(wrong < right, "{of}: {wrong:.1e} after {}", outcome.iterations());
        }
    }
}

/// With another fidelity for each operator the gradient of the sum is zero: by dense arithmetic, in one piece.
pub fn the_gradient_at_a_minimum_is_zero(comm: &Rc<dyn Comm>) {
    type C = Complex<f64>;
    let (count, columns) = (5, 6);
    let variance = |index: usize| Variance::Numbers((0..rows_of(index)).map(|row| 0.5 + row as f64).collect());
    let each = vec![
        AnyFidelity::L2(L2 { sigma: 0.8, ..L2::default() }),
        AnyFidelity::Huber(Huber { delta: 0.5 }),
        AnyFidelity::Huber(Huber { delta: 0.1 }),
        AnyFidelity::L2(L2 { sigma: 2.0, variance: Some(variance(3)) }),
        AnyFidelity::Huber(Huber { delta: 2.0 }),
    ];
    for (assignment, summation) in MODES {
        let stack = dense_stack::<C>(comm, count, columns, assignment, summation);
        let (y, whole) = data(&stack);
        // variances on their owner only
        let mut mine = each.clone();
        if stack.local_indices().binary_search(&3).is_err() {
            mine[3] = AnyFidelity::L2(L2 { sigma: 2.0, variance: Some(Variance::File("elsewhere.npy".into())) });
        }
        for (loss, damping) in [(Loss::Sum, 0.0), (Loss::Mean, 0.4)] {
            let term = DataTerm::new(&stack, &y, mine.clone()).unwrap().with_loss(loss);
            let weight = if loss == Loss::Mean { 1.0 / count as f64 } else { 1.0 };
            for method in minimisers(damping, false) {
                let rule = until(1e-11, &method);
                let minimum = minimise(&term, &method, None, &*rule, &mut |_: &Progress| ()).unwrap();
                let x = Array1::from(minimum.x.as_slice().to_vec());
                let (mut value, mut gradient, mut start) = (0.0, Array1::<C>::zeros(columns), 0);
                for (index, fidelity) in each.iter().enumerate() {
                    let block = matrix::<C>(rows_of(index), columns, 100 + index as u64);
                    let own = &whole.as_slice().unwrap()[start..start + rows_of(index)];
                    start += rows_of(index);
                    let mut u = block.dot(&x).to_vec();
                    value += weight * fidelity.gradient(&mut u, own).unwrap();
                    gradient += &(adjoint_of(&block).dot(&Array1::from(u)) * C::new(weight, 0.0));
                }
                let size = |v: &Array1<C>| v.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
                gradient += &(&x * C::new(damping, 0.0));
                value += 0.5 * damping * size(&x).powi(2);
                let of = format!("{} {loss:?}: {:?}", method.kind(), minimum.outcome.stop);
                assert!(size(&gradient) < 1e-8, "{of} {:.1e}", size(&gradient));
                assert!((minimum.true_objective.unwrap() / value - 1.0).abs() < 1e-12, "{of}");
                let told = minimum.outcome.last().objective.unwrap();
                assert!((told / value - 1.0).abs() < 1e-10, "{of}");
            }
        }
    }
}

/// Ordered sums: the same bits and the same history as one process, for each fidelity.
pub fn minimisers_in_ordered_mode_have_the_bits_of_one_process(comm: &Rc<dyn Comm>) {
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    let run = |comm: &Rc<dyn Comm>, assignment| -> Vec<(Vec<u8>, Vec<Option<u64>>)> {
        let stack = dense_stack::<f64>(comm, 7, 6, assignment, Summation::Ordered);
        let (y, _) = data(&stack);
        let fidelities = [
            AnyFidelity::Huber(Huber { delta: 0.5 }),
            AnyFidelity::LogPoisson(LogPoisson { photons: 10.0, mu: 0.3 }),
            AnyFidelity::L1(L1 {}),
            AnyFidelity::L2Ball(L2Ball { radius: 3.0 }),
        ];
        let mut all = Vec::new();
        for fidelity in fidelities {
            let term = DataTerm::new(&stack, &y, vec![fidelity.clone()]).unwrap();
            for method in minimisers_for(&fidelity, 0.1, true) {
                let rule = stop::iterations(12);
                let (x, outcome) = method.solve(&term, None, &*rule, &mut |_: &Progress| ()).unwrap();
                let numbers = |p: &Progress| {
                    [p.relative_residual, p.objective, p.relative_optimality, p.relative_change]
                        .map(|n| n.map(f64::to_bits))
                };
                all.push((bytes(x.as_slice()), outcome.history.iter().flat_map(numbers).collect()));
            }
        }
        all
    };
    let expected = run(&alone, Assignment::Contiguous);
    assert_eq!(expected.len(), 6);
    for assignment in [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost] {
        assert!(run(comm, assignment) == expected, "{assignment:?}");
    }
}

/// One sum of a model vector in a step and one of a few numbers; gradient descent that searches sends one of the latter more
/// for each trial that it takes back.
pub fn a_step_of_a_minimiser_sends_one_vector(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let stack = dense_stack::<S>(comm, 7, 300, Assignment::Contiguous, Summation::Fast);
        let (y, _) = data(&stack);
        let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.5 })]).unwrap();
        let fixed = GradientDescentParams { step: Some(1e-3), ..Default::default() };
        let searching = GradientDescentParams::default();
        for (method, searches) in
            [(AnyMinimiser::from(fixed), false), (searching.into(), true), (PrimalDualParams::default().into(), false)]
        {
            let mut seen = Vec::new();
            let mut look = |_: &Progress| seen.push(stack.team().meter().all().map(|kind| kind.calls));
            let steps = 15;
            method.solve(&term, None, &*stop::iterations(steps), &mut look).unwrap();
            let told = method.messages();
            assert_eq!((told.vector_reductions, told.scalar_reductions), (1, 1));
            let mut scalars = 0;
            for pair in seen.windows(2) {
                for kind in Kind::ALL {
                    let calls = pair[1][kind as usize] - pair[0][kind as usize];
                    let of = format!("{} {kind:?}: {calls}", method.kind());
                    match kind {
                        Kind::VectorReduction => assert_eq!(calls, 1, "{of}"),
                        Kind::ScalarReduction => assert!(calls == 1 || (searches && calls > 1), "{of}"),
                        _ => assert_eq!(calls, 0, "{of}"),
                    }
                }
                scalars += pair[1][Kind::ScalarReduction as usize] - pair[0][Kind::ScalarReduction as usize];
            }
            assert!(scalars < 2 * steps as u64, "{} {scalars}", method.kind());
        }
    }
    each_scalar!(check, comm);
}

/// A fault of one operator in the middle ends all ranks with the same error, and the stack can be used again.
pub fn a_fault_in_the_middle_of_a_minimiser(comm: &Rc<dyn Comm>) {
    for in_forward in [true, false] {
        // the primal-dual method first looks for ‖A‖
        for (method, when) in minimisers(0.2, false).into_iter().zip([8, 40]) {
            let stack = stack_of::<f64>(comm, 4, 8, PlanOptions::default(), |index| {
                let forward = matrix::<f64>(rows_of(index), 8, 40 + index as u64);
                let adjoint = forward.t().to_owned();
                let calls = std::sync::Arc::new(AtomicUsize::new(0));
                let refuse = move |counts: bool| {
                    let fails = counts && index == 2 && calls.fetch_add(1, Ordering::SeqCst) == when;
                    if fails { Err(Fault::new("the beam is gone")) } else { Ok(()) }
                };
                let refuse_too = refuse.clone();
                Ok(Box::new(Closure::<f64>::new(
                    Shape::new([("x", 8)]),
                    Shape::new([("row", rows_of(index))]),
                    move |x, y| {
                        y.copy_from_slice(forward.dot(&ArrayView1::from(x)).as_slice().unwrap());
                        refuse(in_forward)
                    },
                    move |y, x| {
                        x.copy_from_slice(adjoint.dot(&ArrayView1::from(y)).as_slice().unwrap());
                        refuse_too(!in_forward)
                    },
                )) as Boxed<f64>)
            })
            .unwrap();
            let (y, _) = data(&stack);
            let term = DataTerm::new(&stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.5 })]).unwrap();
            let rule = stop::iterations(80);
            let solve = || method.solve(&term, None, &*rule, &mut |_: &Progress| ());
            let error = solve().map(|(_, outcome)| outcome.stop).expect_err(method.kind());
            assert_eq!(error.fault().operator, Some(2), "{}: {error}", method.kind());
            assert!(error.fault().text.contains("the beam is gone"), "{error}");
            solve().unwrap();
        }
    }
}

/// What a method or a fidelity cannot do is the same error on all ranks, also on those without operators.
pub fn what_minimisers_cannot_do_is_told(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<Complex<f64>>(comm, 3, 4, Assignment::Contiguous, Summation::Fast);
    let (y, _) = data(&stack);
    let rule = stop::iterations(2);
    let error = |fidelity: AnyFidelity, method: AnyMinimiser| {
        let term = DataTerm::new(&stack, &y, vec![fidelity]).unwrap();
        method.solve(&term, None, &*rule, &mut |_: &Progress| ()).err().unwrap().to_string()
    };
    let [descent, primal_dual] = minimisers(0.0, false);
    let text = error(AnyFidelity::L1(L1 {}), descent.clone());
    assert!(text.contains("`l1` has no gradient everywhere") && text.contains("primal_dual"), "{text}");
    let counts = AnyFidelity::LogPoisson(LogPoisson { photons: 1.0, mu: 1.0 });
    for method in [descent, primal_dual] {
        let text = error(counts.clone(), method);
        assert!(text.contains("operator 0: ") && text.contains("`log_poisson` is for real measurements"), "{text}");
    }
    for method in minimisers(0.0, true) {
        let text = error(AnyFidelity::default(), method);
        assert!(text.contains("`non_negative` is for real models, the job is complex_f64"), "{text}");
    }
    let with = |variance| vec![AnyFidelity::L2(L2 { variance: Some(variance), ..L2::default() })];
    for (variance, says) in [
        (Variance::File("v.npy".into()), "operator 0: `variance`: v.npy was not read"),
        (Variance::Numbers(vec![1.0; 3]), "operator 1: `variance`: expected 8 numbers, as many as measurements, got 3"),
        (Variance::Numbers(vec![1.0, -1.0, 1.0]), "`variance` is -1, expected a finite number above 0"),
    ] {
        let error = DataTerm::new(&stack, &y, with(variance)).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}
