//! Agreement and lifetime, on any number of ranks: sums that do not depend on who is first, shared operators, threads,
//! lists that do not fit, faults, scopes. The number in a name is that of a row in the project's table of behaviours.
//!
//! `tests/distribution.rs` and `tests/mpi.rs` run them as they run the promises.

use std::collections::HashSet;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ndarray::{Array1, ArrayView1};
use num_complex::Complex;
use stackphys::comm::{Comm, Solo, Summation, Team};
use stackphys::error::Phase;
use stackphys::operator::{Apply, Closure, Differentiable, LinearOperator, Point, Work};
use stackphys::physics::Identity;
use stackphys::physics::noise::AnyNoise;
use stackphys::recon::DataTerm;
use stackphys::recon::fidelity::AnyFidelity;
use stackphys::solver::{Cg, CgParams, Progress, Solver, drive, stop};
use stackphys::space::{Space, Vector};
use stackphys::stack::{AnyOperator, Assignment, Description, FromFn, PlanOptions, SmoothStack, Stack};
use stackphys::{Error, Fault, Scalar, Shape};

use super::promises::{Promise, random_data, tolerance};
use super::threaded::{InPool, Rows, pool};
use super::*;

/// All of them by name.
pub const ALL: &[Promise] = &[
    ("T12 an ordered sum does not depend on who is first", t12_an_ordered_sum_does_not_depend_on_who_is_first),
    ("T13 a shared operator is in memory once", t13_a_shared_operator_is_in_memory_once),
    ("T13 calls of a shared operator do not meet", t13_calls_of_a_shared_operator_do_not_meet),
    ("T14 the adjoint through threads is the sequential one", t14_the_adjoint_through_threads_is_the_sequential_one),
    ("T15 lists must match", t15_lists_must_match),
    ("T15 no operators are refused", t15_no_operators_are_refused),
    ("T16 a panic in a pool thread is the member's error", t16_a_panic_in_a_pool_thread_is_the_members_error),
    ("R7 a vector of another space is refused", r7_a_vector_of_another_space_is_refused),
    ("R8 a fault is the same error on all ranks", r8_a_fault_is_the_same_error_on_all_ranks),
    ("R8 of two faults the lowest operator is told", r8_of_two_faults_the_lowest_operator_is_told),
    ("R8 a fault in a derivative is the same error", r8_a_fault_in_a_derivative_is_the_same_error),
    ("R8 a factory that fails on one index", r8_a_factory_that_fails_on_one_index),
    ("R8 a factory that describes differently", r8_a_factory_that_describes_differently),
    ("R9 after an error all works again", r9_after_an_error_all_works_again),
    ("R9 after a fault in the middle of a solve", r9_after_a_fault_in_the_middle_of_a_solve),
    ("R13 scopes close inside out, each once", r13_scopes_close_inside_out_each_once),
    ("R13 scopes one after the other", r13_scopes_one_after_the_other),
    ("R13 an error of a scope is everybody's", r13_an_error_of_a_scope_is_everybodys),
    ("R13 nothing outlives a scope", r13_nothing_outlives_a_scope),
    ("R13 a stack on half of the ranks", r13_a_stack_on_half_of_the_ranks),
];

const ASSIGNMENTS: [Assignment; 3] = [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost];
const SUMMATIONS: [Summation; 2] = [Summation::Fast, Summation::Ordered];

/// The shape of a model, and that of measurements.
fn line(count: usize) -> Shape {
    Shape::new([("x", count)])
}
fn rows(count: usize) -> Shape {
    Shape::new([("row", count)])
}

/// Options with which a stack sums as this process was asked to, and a team that does so.
fn asked() -> PlanOptions {
    PlanOptions { reduction: REDUCTION.get().copied().unwrap_or_default(), ..PlanOptions::default() }
}
fn team_of(comm: &Rc<dyn Comm>) -> Team {
    Team::new(comm.clone()).with_reduction(asked().reduction)
}

/// The numbers 0 to 7 in an order that depends on `turn`.
fn shuffled(turn: u64) -> [usize; 8] {
    let keys = random::<f64>(8, 1000 + turn);
    let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
    order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    order
}

fn t12_an_ordered_sum_does_not_depend_on_who_is_first(comm: &Rc<dyn Comm>) {
    const RUNS: u64 = 50;
    // what each member adds: numbers of which some vanish beside others, and numbers whose sum is rounded
    const VALUES: [f64; 8] = [1e16, 1.0, -1e16, 1e16, 1.0, -1e16, 1e16, 1.0];
    let values: [[f64; 8]; 8] = std::array::from_fn(|index| {
        let rounded = random::<f64>(4, 900 + index as u64);
        std::array::from_fn(|k| if k < 4 { VALUES[(index + k) % 8] } else { rounded[k - 4] })
    });
    let bits = |sum: [f64; 8]| sum.map(f64::to_bits);
    let add = |a: [f64; 8], b: [f64; 8]| std::array::from_fn(|k| a[k] + b[k]);
    let [a, b, c, d, e, f, g, h] = values;
    let expected = bits(add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h))));
    // they tell: added as the members are done, or one after the other, the sum is another one
    let in_order = |order: [usize; 8]| bits(order.iter().fold([0.0; 8], |sum, index| add(sum, values[*index])));
    let sums: HashSet<_> = (0..RUNS).map(|run| in_order(shuffled(run))).collect();
    assert!(sums.len() > 10 && !sums.contains(&expected) && in_order([0, 1, 2, 3, 4, 5, 6, 7]) != expected);

    let nap = |place: usize| std::thread::sleep(Duration::from_micros(30 * place as u64));
    let turn = Arc::new(AtomicU64::new(0));
    for assignment in ASSIGNMENTS {
        let options = PlanOptions { assignment, summation: Summation::Ordered, ..asked() };
        let stack = stack_of::<f64>(comm, 8, 8, options, |index| {
            let turn = turn.clone();
            Ok(Box::new(Closure::<f64>::new(
                line(8),
                rows(rows_of(index)),
                |_, y| {
                    y.fill(0.0);
                    Ok(())
                },
                move |y, x| {
                    nap(shuffled(turn.load(Ordering::SeqCst))[index]);
                    x.copy_from_slice(&values[index].map(|value| y[0] * value));
                    Ok(())
                },
            )) as Boxed<f64>)
        })
        .unwrap();
        let (mut y, mut x) = (stack.zero_data(), stack.zero_sum());
        y.fill(1.0);
        for run in 0..RUNS {
            turn.store(run, Ordering::SeqCst);
            nap(shuffled(RUNS + run)[comm.rank()]);
            stack.adjoint(&y, &mut x).unwrap();
            let sum: Vec<u64> = x.as_slice().iter().map(|number| number.to_bits()).collect();
            assert_eq!(sum, expected, "run {run}, {assignment:?}");
        }
    }
}

/// `[A; A; …]` with one A in memory.
fn stack_of_one<S: Scalar>(
    comm: &Rc<dyn Comm>,
    count: usize,
    operator: &Arc<impl LinearOperator<S> + 'static>,
) -> Stack<S> {
    let (domain, range) = (operator.domain().clone(), operator.range().clone());
    let factory = FromFn::new(
        count,
        |_| Ok(Description::new("shared", domain.clone(), range.clone())),
        |_| Ok(Box::new(operator.clone()) as Boxed<S>),
    );
    Stack::build(Team::new(comm.clone()), &factory, asked()).unwrap()
}

fn t13_a_shared_operator_is_in_memory_once(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let table: [(&str, Boxed<S>); 2] =
            [("dense", Box::new(dense::<S>(5, 4, 7))), ("closure", Box::new(shifted_sum::<S>(6)))];
        for (name, operator) in table {
            let operator = Arc::new(operator);
            let stack = stack_of_one(comm, 2, &operator);
            assert_eq!(Arc::strong_count(&operator), 1 + stack.local_indices().len(), "{name}");

            let x = stackphys::testing::random::<S>(stack.domain(), 1, 1);
            let (mut y, mut out) = (stack.zero_data(), stack.zero_model());
            stack.forward(&x, &mut y).unwrap();
            let (mut work, mut once) = (Work::default(), vec![S::default(); operator.range().len()]);
            operator.forward(x.as_slice(), &mut once, &mut work).unwrap();
            let both = [once.as_slice(), &once].concat();
            assert_eq!(stack.gather(&y, None).unwrap(), both, "{name}");

            // Aᴴ(A x) + Aᴴ(A x) = 2 AᴴA x, in two ways
            let mut back = vec![S::default(); operator.domain().len()];
            operator.adjoint(&once, &mut back, &mut work).unwrap();
            let twice: Array1<S> = back.iter().map(|number| *number + *number).collect();
            stack.adjoint(&y, &mut out).unwrap();
            assert!(distance(out.as_slice(), &twice) < tolerance::<S>(), "{name}");
            stack.normal(&x, &mut out).unwrap();
            assert!(distance(out.as_slice(), &twice) < tolerance::<S>(), "{name}");
        }
    }
    each_scalar!(check, comm);
}

fn t13_calls_of_a_shared_operator_do_not_meet(_: &Rc<dyn Comm>) {
    fn check<S: Scalar>() {
        let table = operators::<S>();
        assert!(table.len() >= 5, "the table of operators is not empty");
        for (name, operator) in table {
            let operator: Arc<Boxed<S>> = Arc::new(operator);
            // all that it does, for the vectors of one caller
            let all = |caller: u64, work: &mut Work| {
                let (domain, range) = (operator.domain().len(), operator.range().len());
                let (x, y) = (random::<S>(domain, 40 + caller), random::<S>(range, 50 + caller));
                let (mut out, mut back, mut normal) =
                    (vec![S::default(); range], vec![S::default(); domain], vec![S::default(); domain]);
                operator.forward(&x, &mut out, work).unwrap();
                operator.adjoint_add(&y, &mut back, work).unwrap();
                operator.normal_add(&x, &mut normal, work).unwrap();
                [bytes(&out), bytes(&back), bytes(&normal)]
            };
            let alone: Vec<_> = (0..4).map(|caller| all(caller, &mut Work::default())).collect();
            std::thread::scope(|threads| {
                for (caller, alone) in alone.iter().enumerate() {
                    let all = &all;
                    threads.spawn(move || {
                        let mut work = Work::default();
                        for _ in 0..20 {
                            assert_eq!(all(caller as u64, &mut work), *alone, "{name}, caller {caller}");
                        }
                    });
                }
            });
        }
    }
    each_scalar!(check);
}

fn t14_the_adjoint_through_threads_is_the_sequential_one(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        const MEMBERS: usize = 5;
        // rectangular, 4 × 3: a forward in the place of an adjoint does not fit
        let block = |index: usize| matrix::<S>(4, 3, 200 + index as u64);
        let build = |threads: usize, summation: Summation| {
            let pool = pool(threads);
            let (domain, range) = (line(3), rows(4));
            let factory = FromFn::new(
                MEMBERS,
                |index| Ok(Description::new(format!("block {index}"), domain.clone(), range.clone())),
                |index| Ok(Box::new(InPool(pool.clone(), Rows::new(block(index)))) as Boxed<S>),
            );
            let options = PlanOptions { summation, ..asked() };
            Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
        };
        for summation in SUMMATIONS {
            let results = [1, 4].map(|threads| {
                let stack: Stack<S> = build(threads, summation);
                let x = stackphys::testing::random::<S>(stack.domain(), 1, 1);
                let y = stackphys::testing::random::<S>(stack.range(), 1, 2);
                let (mut out, mut back, mut normal) = (stack.zero_data(), stack.zero_model(), stack.zero_model());
                stack.forward(&x, &mut out).unwrap();
                stack.adjoint(&y, &mut back).unwrap();
                stack.normal(&x, &mut normal).unwrap();

                let blocks = (0..MEMBERS).map(block);
                let whole = blocks.reduce(|a, b| ndarray::concatenate![ndarray::Axis(0), a, b]).unwrap();
                let y = Array1::from(stack.gather(&y, None).unwrap());
                let x = Array1::from(x.as_slice().to_vec());
                let adjoint = adjoint_of(&whole);
                assert!(distance(&stack.gather(&out, None).unwrap(), &whole.dot(&x)) < tolerance::<S>());
                assert!(distance(back.as_slice(), &adjoint.dot(&y)) < tolerance::<S>());
                assert!(distance(normal.as_slice(), &adjoint.dot(&whole.dot(&x))) < tolerance::<S>());
                [bytes(out.as_slice()), bytes(back.as_slice()), bytes(normal.as_slice())]
            });
            assert_eq!(results[0], results[1], "{summation:?}");
        }
        // a forward model of the library, whose threads are those of the pool that it is called in
        let [one, four] = [1, 4].map(|threads| {
            let ct = InPool(pool(threads), small_ct::<S>(&[0.1, 0.9, 1.7, 2.6, 3.0]));
            let y = random::<S>(ct.range().len(), 3);
            let mut back = vec![S::default(); ct.domain().len()];
            ct.adjoint_add(&y, &mut back, &mut Work::default()).unwrap();
            bytes(&back)
        });
        assert_eq!(one, four);
    }
    each_scalar!(check, comm);
}

/// A fault that all ranks are told of in the same words, within a second.
fn told<T>(team: &Team, call: impl FnOnce() -> Result<T, Error>) -> Error {
    team.barrier();
    let begin = Instant::now();
    let error = call().err().expect("this call goes wrong");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{error} after {took:?}");
    let mine = (error.to_string(), error.rank(), error.ranks());
    assert_eq!(team.from_rank_0(|| Ok(mine.clone())).unwrap(), mine, "ranks were told different things");
    error
}

fn t15_lists_must_match(comm: &Rc<dyn Comm>) {
    for summation in SUMMATIONS {
        let stack = |count| dense_stack::<f64>(comm, count, 4, Assignment::Contiguous, summation);
        let (three, two) = (stack(3), stack(2));
        let x = stackphys::testing::random(three.domain(), 1, 1);
        let (good, mut out) = (stackphys::testing::random(three.range(), 1, 2), three.zero_model());
        // two inputs for three members, or a bare one of the right length, which all ranks hold
        let bare = Space::replicated(Shape::new([("row", three.range().len())]));
        for (mut y, got) in [(two.zero_data(), 2), (Vector::zeros(&bare), 1)] {
            let team = three.team();
            let least_squares = || vec![AnyFidelity::default()];
            let term = DataTerm::new(&three, &good, least_squares()).unwrap();
            let clean = |_| None::<&AnyNoise>;
            let mut errors = vec![
                told(team, || three.adjoint(&y, &mut out)),
                told(team, || three.residual(&x, &y, &mut out)),
                told(team, || three.gather(&y, None)),
                told(team, || three.block_everywhere(&y, 2)),
                told(team, || term.value_of(&y)),
            ];
            let error = told(team, || DataTerm::new(&three, &y, least_squares()));
            assert!(error.to_string().contains("the measurements are not of this stack"), "{error}");
            errors.push(told(team, || three.forward(&x, &mut y)));
            errors.push(told(team, || three.forward_noisy(&x, &mut y, clean, 1)));
            errors.push(told(team, || term.prox_of_measurements(&mut y, 1.0)));
            let mut other = three.zero_data();
            errors.push(told(team, || three.forward_adjoint(&y, &mut other)));
            for error in errors {
                let says = format!("is a vector of another space: expected 3 blocks, got {got}");
                assert!(error.to_string().contains(&says), "{error}");
            }
        }
        // two fidelities for three operators
        let team = three.team();
        let error = told(team, || DataTerm::new(&three, &good, vec![AnyFidelity::default(); 2]));
        assert!(error.to_string().contains("expected one fidelity, or 3"), "{error}");
        three.adjoint(&good, &mut out).unwrap();
    }
    // the same of smooth members, and the points of another stack
    let smooth = |count: usize| {
        let line = line(3);
        let factory = FromFn::new(
            count,
            |_| Ok(Description::new("identity", line.clone(), line.clone())),
            |_| Ok(AnyOperator::Linear(Box::new(Identity::new(line.clone())) as Boxed<f64>)),
        );
        let options = PlanOptions { assignment: Assignment::RoundRobin, ..asked() };
        SmoothStack::build(Team::new(comm.clone()), &factory, options).unwrap()
    };
    let (three, two) = (smooth(3), smooth(2));
    let (team, x, mut out) = (three.team(), three.zero_model(), three.zero_model());
    let (mut at, mut y, mut other) = (three.points(), three.zero_data(), two.zero_data());
    for error in [
        told(team, || three.forward(&x, &mut other)),
        told(team, || three.linearize(&x, &mut other, &mut at)),
        told(team, || three.jvp(&at, &x, &mut other)),
        told(team, || three.vjp(&at, &other, &mut out)),
    ] {
        assert!(error.to_string().contains("expected 3 blocks, got 2"), "{error}");
    }
    let error = told(team, || three.linearize(&x, &mut y, &mut two.points()));
    assert!(error.to_string().contains("the points are of another stack"), "{error}");
    three.linearize(&x, &mut y, &mut at).unwrap();
}

fn t15_no_operators_are_refused(comm: &Rc<dyn Comm>) {
    let built = stack_of::<f32>(comm, 0, 4, asked(), |_| Err(Fault::new("never asked")));
    assert!(built.err().unwrap().to_string().contains("the stack has no operators"));
    let none = FromFn::new(
        0,
        |_| Err(Fault::new("never asked")),
        |_| -> Result<AnyOperator<f64>, Fault> { Err(Fault::new("never asked")) },
    );
    let built = SmoothStack::build(Team::new(comm.clone()), &none, asked());
    assert!(built.err().unwrap().to_string().contains("the stack has no operators"));
}

fn t16_a_panic_in_a_pool_thread_is_the_members_error(comm: &Rc<dyn Comm>) {
    let pool = pool(3);
    let block = |index: usize| matrix::<f64>(4, 3, 300 + index as u64);
    for summation in SUMMATIONS {
        let (domain, range) = (line(3), rows(4));
        let factory = FromFn::new(
            3,
            |index| Ok(Description::new(format!("block {index}"), domain.clone(), range.clone())),
            |index| {
                let rows = Rows::new(block(index));
                Ok(Box::new(InPool(pool.clone(), if index == 1 { rows.with_trap() } else { rows })) as Boxed<f64>)
            },
        );
        let options = PlanOptions { summation, ..asked() };
        let stack = Stack::build(Team::new(comm.clone()), &factory, options).unwrap();
        let mut x = stackphys::testing::random::<f64>(stack.domain(), 1, 1);
        let good = x.clone();
        x.as_mut_slice()[0] = 13.0;
        let (mut y, mut out) = (stack.zero_data(), stack.zero_model());
        for _ in 0..3 {
            y.fill(f64::NAN);
            let error = told(stack.team(), || stack.forward(&x, &mut y));
            assert_eq!((error.fault().operator, error.fault().phase), (Some(1), Some(Phase::Forward)));
            assert!(error.to_string().contains("`block 1`: panicked: task 2 went astray on pool"), "{error}");
            // the others have finished, and nothing half-done is left of the one
            for index in 0..3 {
                let whole = block(index).dot(&ArrayView1::from(x.as_slice()));
                match y.block_slice(index) {
                    Some(block) if index == 1 => assert_eq!(block, [0.0; 4]),
                    Some(block) => assert!(distance(block, &whole) < 1e-12),
                    None => (),
                }
            }
            let error = told(stack.team(), || stack.normal(&x, &mut out));
            assert_eq!((error.fault().operator, error.fault().phase), (Some(1), Some(Phase::Normal)));
            y.fill(13.0);
            let error = told(stack.team(), || stack.adjoint(&y, &mut out));
            assert_eq!((error.fault().operator, error.fault().phase), (Some(1), Some(Phase::Adjoint)));

            // stack and pool are good for more
            stack.normal(&good, &mut out).unwrap();
            let expected = (0..3).map(|index| {
                let block = block(index);
                block.t().dot(&block.dot(&ArrayView1::from(good.as_slice())))
            });
            assert!(distance(out.as_slice(), &expected.reduce(|a, b| a + b).unwrap()) < 1e-12);
        }
    }
}

fn r7_a_vector_of_another_space_is_refused(comm: &Rc<dyn Comm>) {
    for summation in SUMMATIONS {
        let stack = dense_stack::<f64>(comm, 2, 4, Assignment::Contiguous, summation);
        let other = dense_stack::<f64>(comm, 3, 5, Assignment::Contiguous, summation);
        let (team, last) = (stack.team(), comm.size() - 1);
        let (mut y, mut out) = (stack.zero_data(), stack.zero_model());
        for everywhere in [true, false] {
            let wrong = everywhere || comm.rank() == last;
            let rank = if everywhere { 0 } else { last };
            let x = if wrong { other.zero_model() } else { stack.zero_model() };
            for error in [
                told(team, || stack.forward(&x, &mut y)),
                told(team, || stack.normal(&x, &mut out)),
                told(team, || stack.residual(&x, &y, &mut out)),
            ] {
                assert!(error.to_string().contains("x is a vector of another space: expected 4 numbers in all, got 5"));
                assert_eq!(error.rank(), rank, "{error}");
            }
            // three parts for two operators; a result that does not fit
            let three = if wrong { other.zero_data() } else { stack.zero_data() };
            let error = told(team, || stack.adjoint(&three, &mut out));
            assert!(error.to_string().contains("y is a vector of another space: expected 2 blocks, got 3"), "{error}");
            let mut long = if wrong { other.zero_model() } else { stack.zero_model() };
            let error = told(team, || stack.adjoint(&y, &mut long));
            assert!(error.to_string().contains("the result is a vector of another space"), "{error}");
            // and a good call after each
            let good = stackphys::testing::random::<f64>(stack.domain(), 1, 1);
            stack.forward(&good, &mut y).unwrap();
            let whole = assembled::<f64>(2, 4).dot(&ArrayView1::from(good.as_slice()));
            assert!(distance(&stack.gather(&y, None).unwrap(), &whole) < 1e-12);
        }
        // as many blocks and numbers, but not the same
        let blocks = stack.plan().data_blocks().into_iter().rev().collect();
        let y = Vector::<f64>::zeros(&Space::new(blocks, comm.rank()));
        let error = told(team, || stack.adjoint(&y, &mut out));
        assert!(error.to_string().contains("expected (row=3) in block 0, got (row=8)"), "{error}");
    }
}

/// A stack of 8 members. Those in `bad` fault when the first element of what they are given says so.
fn faulty_stack(comm: &Rc<dyn Comm>, options: PlanOptions, bad: &'static [usize]) -> Stack<f64> {
    stack_of::<f64>(comm, 8, 4, options, |index| {
        let is_bad = bad.contains(&index);
        let refuse = move |marker: f64, phase: &str| {
            if is_bad && marker == 13.0 { Err(Fault::new(format!("{phase} trouble in {index}"))) } else { Ok(()) }
        };
        Ok(Box::new(Closure::<f64>::new(
            line(4),
            rows(rows_of(index)),
            move |x, y| {
                y.fill(x[0]);
                refuse(x[0], "forward")
            },
            move |y, x| {
                x.fill(y[0]);
                refuse(y[0], "adjoint")
            },
        )) as Boxed<f64>)
    })
    .unwrap()
}

fn r8_a_fault_is_the_same_error_on_all_ranks(comm: &Rc<dyn Comm>) {
    let mut owners = HashSet::new();
    for (summation, assignment) in SUMMATIONS.into_iter().flat_map(|s| ASSIGNMENTS.map(|a| (s, a))) {
        let stack = faulty_stack(comm, PlanOptions { summation, assignment, ..asked() }, &[5]);
        let owner = stack.plan().entries()[5].owner;
        owners.insert(owner);
        let check = |error: Error, phase, text: &str| {
            let fault = error.fault();
            assert_eq!((fault.operator, fault.phase), (Some(5), Some(phase)), "{error}");
            assert!(fault.text.contains("`block 5`: ") && fault.text.contains(text), "{error}");
            assert_eq!((error.rank(), error.ranks()), (owner, 1));
        };
        let team = stack.team();
        let (mut x, mut y, mut out) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
        for _ in 0..2 {
            x.fill(13.0);
            check(told(team, || stack.forward(&x, &mut y)), Phase::Forward, "forward trouble in 5");
            check(told(team, || stack.normal(&x, &mut out)), Phase::Normal, "forward trouble in 5");
            check(told(team, || stack.forward_then_adjoint(&x, &mut out, |_, _| Ok(0.0))), Phase::Forward, "forward");
            y.fill(13.0);
            check(told(team, || stack.adjoint(&y, &mut out)), Phase::Adjoint, "adjoint trouble in 5");
            let mut gram = stack.zero_data();
            check(told(team, || stack.forward_adjoint(&y, &mut gram)), Phase::Adjoint, "adjoint trouble in 5");

            x.fill(1.0);
            stack.forward(&x, &mut y).unwrap();
            stack.adjoint(&y, &mut out).unwrap();
            assert_eq!(out.as_slice(), [8.0; 4]);
        }
    }
    assert!(comm.size() == 1 || owners.contains(&1), "operator 5 on rank 1 is among the cases");
}

fn r8_of_two_faults_the_lowest_operator_is_told(comm: &Rc<dyn Comm>) {
    for assignment in ASSIGNMENTS {
        let stack = faulty_stack(comm, PlanOptions { assignment, ..asked() }, &[2, 5]);
        let (mut x, mut y, mut out) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
        x.fill(13.0);
        y.fill(13.0);
        let team = stack.team();
        for error in [
            told(team, || stack.adjoint(&y, &mut out)),
            told(team, || stack.forward(&x, &mut y)),
            told(team, || stack.normal(&x, &mut out)),
        ] {
            let owners = stack.plan().owners();
            assert_eq!((error.fault().operator, error.rank()), (Some(2), owners[2]));
            assert_eq!(error.ranks(), if owners[2] == owners[5] { 1 } else { 2 });
        }
    }
}

/// The identity, but it refuses (member 5) or panics (member 7) where what it is given begins with 13.
struct Moody(usize, Shape);

impl Moody {
    fn refuse(&self, marker: f64, what: &str) -> Result<(), Fault> {
        assert!(self.0 != 7 || marker != 13.0, "{what} went astray");
        if self.0 == 5 && marker == 13.0 { Err(Fault::new(format!("{what} trouble"))) } else { Ok(()) }
    }
}

impl Differentiable<f64> for Moody {
    fn domain(&self) -> &Shape {
        &self.1
    }
    fn range(&self) -> &Shape {
        &self.1
    }
    fn point(&self) -> Point {
        Point::new(())
    }
    fn evaluate(&self, x: &[f64], value: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
        value.copy_from_slice(x);
        self.refuse(x[0], "evaluate")
    }
    fn linearize(&self, x: &[f64], value: &mut [f64], _at: &mut Point, _work: &mut Work) -> Result<(), Fault> {
        value.copy_from_slice(x);
        self.refuse(x[0], "linearize")
    }
    fn jvp(&self, _at: &Point, dx: &[f64], dy: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
        dy.copy_from_slice(dx);
        self.refuse(dx[0], "jvp")
    }
    fn vjp_add(&self, _at: &Point, dy: &[f64], dx: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
        self.refuse(dy[0], "vjp")
    }
}

fn r8_a_fault_in_a_derivative_is_the_same_error(comm: &Rc<dyn Comm>) {
    let line = line(3);
    let factory = FromFn::new(
        8,
        |index| Ok(Description::new(format!("moody {index}"), line.clone(), line.clone())),
        |index| Ok(AnyOperator::Smooth(Box::new(Moody(index, line.clone())) as Box<dyn Differentiable<f64>>)),
    );
    for (summation, assignment) in SUMMATIONS.into_iter().flat_map(|s| ASSIGNMENTS.map(|a| (s, a))) {
        let options = PlanOptions { summation, assignment, ..asked() };
        let stack = SmoothStack::build(Team::new(comm.clone()), &factory, options).unwrap();
        let owners = stack.plan().owners();
        let (team, mut bad, mut y, mut at) = (stack.team(), stack.zero_model(), stack.zero_data(), stack.points());
        let (good, mut out) = (stack.zero_model(), stack.zero_model());
        bad.fill(13.0);
        for _ in 0..2 {
            let mut errors = vec![
                ("evaluate", Phase::Forward, told(team, || stack.forward(&bad, &mut y))),
                ("linearize", Phase::Linearize, told(team, || stack.linearize(&bad, &mut y, &mut at))),
            ];
            stack.linearize(&good, &mut y, &mut at).unwrap();
            errors.push(("jvp", Phase::Derivative, told(team, || stack.jvp(&at, &bad, &mut y))));
            y.fill(13.0);
            errors.push(("vjp", Phase::Adjoint, told(team, || stack.vjp(&at, &y, &mut out))));
            for (what, phase, error) in errors {
                // operator 7 panics at the same time: the lowest is told, and how many ranks had a fault
                assert_eq!((error.fault().operator, error.fault().phase), (Some(5), Some(phase)), "{error}");
                assert_eq!(error.fault().text, format!("`moody 5`: {what} trouble"));
                assert_eq!((error.rank(), error.ranks()), (owners[5], if owners[5] == owners[7] { 1 } else { 2 }));
            }
            y.fill(1.0);
            stack.vjp(&at, &y, &mut out).unwrap();
            assert_eq!(out.as_slice(), [8.0; 3]);
        }
    }
}

fn r8_a_factory_that_fails_on_one_index(comm: &Rc<dyn Comm>) {
    let built = stack_of::<f64>(comm, 6, 4, asked(), |index| match index {
        3 => Err(Fault::new("no such coil")),
        4 => panic!("a second trouble"),
        _ => Ok(Box::new(dense::<f64>(rows_of(index), 4, 1)) as Boxed<f64>),
    });
    let error = built.err().unwrap();
    assert_eq!((error.fault().operator, error.fault().phase), (Some(3), Some(Phase::Build)));
    assert!(error.to_string().contains("build: operator 3: no such coil"), "{error}");
    // a built operator of another shape than described
    let built = stack_of::<f64>(comm, 2, 4, asked(), |_| Ok(Box::new(dense::<f64>(rows_of(0), 4, 1)) as Boxed<f64>));
    assert!(built.err().unwrap().to_string().contains("range of `block 1` as built"));
}

fn r8_a_factory_that_describes_differently(comm: &Rc<dyn Comm>) {
    let rank = comm.rank();
    let factory = FromFn::new(
        2,
        |_| {
            let size = if rank == 1 { 5 } else { 4 };
            Ok(Description::new("moody", line(size), line(size)))
        },
        |_| Ok(Box::new(Identity::new(line(4))) as Boxed<f32>),
    );
    let built = Stack::build(Team::new(comm.clone()), &factory, asked());
    match comm.size() {
        1 => assert!(built.is_ok()),
        _ => assert!(built.err().unwrap().to_string().contains("ranks made different plans")),
    }
}

fn r9_after_an_error_all_works_again(comm: &Rc<dyn Comm>) {
    let team = team_of(comm);
    let last = comm.rank() + 1 == comm.size();
    let trouble = || if last { Err(Fault::new("trouble")) } else { Ok(()) };
    let troubles: [(&str, &dyn Fn() -> Option<Error>); 6] = [
        ("agree", &|| team.agree(trouble()).err()),
        ("settle", &|| {
            if last {
                team.note(Fault::new("trouble"));
            }
            team.settle().err()
        }),
        ("sum", &|| {
            trouble().unwrap_or_else(|fault| team.note(fault));
            team.sum([1.0]).err()
        }),
        ("from a rank", &|| team.from_rank(comm.size() - 1, trouble).err()),
        ("share", &|| team.share::<f32>(|| Err(Fault::new("trouble"))).err()),
        ("scope", &|| team.scope(Some(0), |sub| sub.agree(trouble())).err()),
    ];
    for (what, call) in troubles {
        let error = call().unwrap_or_else(|| panic!("{what} gave no error"));
        assert_eq!(error.fault().text, "trouble", "{what}");
        // the next of each kind does what it should
        assert!(team.agree(Ok(())).is_ok(), "{what}");
        assert_eq!(team.sum([1.0]).unwrap(), [comm.size() as f64], "{what}");
        assert_eq!(team.from_rank_0(|| Ok(7)).unwrap(), 7, "{what}");
        assert_eq!(team.share(|| Ok(vec![2.5])).unwrap(), [2.5], "{what}");
        let stack = dense_stack::<f64>(comm, 5, 4, Assignment::Contiguous, Summation::Ordered);
        let (y, whole) = random_data(&stack);
        let mut x = stack.zero_model();
        stack.adjoint(&y, &mut x).unwrap();
        assert!(distance(x.as_slice(), &adjoint_of(&assembled::<f64>(5, 4)).dot(&whole)) < 1e-12, "{what}");
    }
}

fn r9_after_a_fault_in_the_middle_of_a_solve(comm: &Rc<dyn Comm>) {
    // operator 2 faults in its fifth adjoint
    let stack = stack_of::<f64>(comm, 5, 6, asked(), |index| {
        let calls = AtomicUsize::new(0);
        let matrix = matrix::<f64>(rows_of(index), 6, 100 + index as u64);
        let transposed = matrix.t().to_owned();
        Ok(Box::new(Closure::<f64>::new(
            line(6),
            rows(rows_of(index)),
            move |x, y| {
                y.copy_from_slice(matrix.dot(&ArrayView1::from(x)).as_slice().unwrap());
                Ok(())
            },
            move |y, x| {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                x.copy_from_slice(transposed.dot(&ArrayView1::from(y)).as_slice().unwrap());
                if index == 2 && call == 4 { Err(Fault::new("the beam is gone")) } else { Ok(()) }
            },
        )) as Boxed<f64>)
    })
    .unwrap();
    let (y, whole) = random_data(&stack);
    let mut seen = 0;
    let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
    let error = drive(&mut cg, &*stop::iterations(30), &mut |_: &Progress| seen += 1).unwrap_err();
    assert_eq!(error.fault().operator, Some(2));
    assert!(error.fault().text.contains("the beam is gone"));
    assert_eq!(seen, 4); // the start and three steps
    drop(cg);
    // a new solve on the same stack finds the solution
    let mut again = Cg::new(&stack, &CgParams::default(), &y, None);
    drive(&mut again, &*stop::iterations(6), &mut |_: &Progress| ()).unwrap();
    let mut residual = stack.zero_model();
    stack.residual(&again.finish().unwrap(), &y, &mut residual).unwrap();
    let scale = adjoint_of(&assembled::<f64>(5, 6)).dot(&whole).iter().map(|z| z * z).sum::<f64>().sqrt();
    assert!(residual.as_slice().iter().all(|entry| entry.abs() < 1e-8 * scale));
}

/// What is logged while `action` runs, on this thread: also if it panics.
pub fn logged(into: &Arc<Mutex<Vec<String>>>, action: impl FnOnce()) {
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8_lossy(line).trim_end().to_owned());
            Ok(line.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = into.clone();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().with_ansi(false);
    let log = log.with_level(false).with_target(false).with_writer(move || Lines(lines.clone())).finish();
    tracing::subscriber::with_default(log, action);
}

/// What was logged of scopes, in order.
pub fn of_scopes(log: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    let lines = log.lock().unwrap();
    let told = lines.iter().filter_map(|line| line.rsplit_once("}: ").map(|(_, told)| told.to_owned()));
    told.filter(|told| told.starts_with("scope")).collect()
}

/// An outer scope for even and odd ranks, and in it an inner one of the same ranks, number 7.
fn nested<T>(team: &Team, inner: impl FnOnce(Team) -> Result<T, Error>) -> Result<Option<T>, Error> {
    team.scope(Some(team.rank() % 2), |outer| outer.scope(Some(7), inner)).map(Option::flatten)
}

fn r13_scopes_close_inside_out_each_once(comm: &Rc<dyn Comm>) {
    let team = team_of(comm);
    let (outer, last) = (comm.rank() % 2, comm.size() - 1);
    let closed = [
        format!("scope {outer} opened"),
        "scope 7 opened".into(),
        "scope 7 closed".into(),
        format!("scope {outer} closed"),
    ];
    // as it should be, with an error in the inner one on one rank, and with a panic that is caught there
    for what in ["well", "error", "panic"] {
        let log = Arc::default();
        logged(&log, || {
            let done = nested(&team, |inner| {
                let ranks = inner.size();
                let describe = |_| Ok(Description::new("same", line(2), line(2)));
                let build = |_| match what {
                    "error" if comm.rank() == last => Err(Fault::new("no such file")),
                    "panic" if comm.rank() == last => panic!("the factory went astray"),
                    _ => Ok(Box::new(Identity::new(line(2))) as Boxed<f64>),
                };
                let stack = Stack::build(inner, &FromFn::new(ranks, describe, build), asked())?;
                let (mut x, mut out) = (stack.zero_model(), stack.zero_model());
                x.fill(1.0);
                stack.normal(&x, &mut out)?;
                Ok(out.as_slice()[0] / ranks as f64)
            });
            match done {
                Ok(value) => assert_eq!((what, value), ("well", Some(1.0))),
                Err(error) => {
                    let text = if what == "panic" { "panicked: the factory went astray" } else { "no such file" };
                    assert_eq!((error.fault().text.as_str(), error.rank(), error.ranks()), (text, last, 1));
                }
            }
        });
        assert_eq!(of_scopes(&log), closed, "{what}");
        assert_eq!(team.sum([1.0]).unwrap(), [comm.size() as f64]);
    }
}

fn r13_scopes_one_after_the_other(comm: &Rc<dyn Comm>) {
    let team = team_of(comm);
    let space = Space::replicated(line(500));
    for turn in 0..30 {
        let colour = (comm.rank() + turn) % 3;
        let sum = team.scope((colour < 2).then_some(colour), |sub| {
            let mut vector = sub.zero_sum::<f64>(&space);
            vector.fill(1.0);
            sub.sum_vector(&mut vector)?;
            Ok((vector, sub.size()))
        });
        // a vector may outlive its scope, one in memory that ranks share too
        match sum.unwrap() {
            Some((vector, ranks)) => assert_eq!(vector.as_slice(), [ranks as f64; 500]),
            None => assert_eq!(colour, 2),
        }
    }
}

fn r13_an_error_of_a_scope_is_everybodys(comm: &Rc<dyn Comm>) {
    let (rank, size) = (comm.rank(), comm.size());
    let team = team_of(comm);
    for bad in 0..size {
        // one rank of one scope: all are told of that rank, also those without a scope
        let colour = (rank != (bad + 1) % size || size < 3).then_some(rank / 2);
        let fault = |at: bool, index| if at { Err(Fault::new("trouble").in_operator(index)) } else { Ok(()) };
        let error = told(&team, || team.scope(colour, |sub| sub.agree(fault(rank == bad, 4))));
        assert_eq!((error.fault().operator, error.rank(), error.ranks()), (Some(4), bad, 1));

        // two scopes, one of them with an outer and an inner one: the lowest operator is told, whoever speaks
        let error = told(&team, || {
            team.scope(Some(rank % 2), |sub| {
                let index = 3 + rank % 2 * size; // higher in the odd ones
                match rank % 2 {
                    0 => sub.scope(Some(0), |inner| inner.agree(fault(rank == 0, index))).map(|_| ()),
                    _ => sub.agree(fault(true, index)),
                }
            })
        });
        assert_eq!((error.fault().operator, error.rank(), error.ranks()), (Some(3), 0, 1 + size / 2));

        // noted and left pending, in a scope or before it
        let error = told(&team, || {
            team.scope(Some(0), |sub| {
                fault(rank == bad, 2).unwrap_or_else(|fault| sub.note(fault));
                Ok(())
            })
        });
        assert_eq!((error.fault().operator, error.rank(), error.ranks()), (Some(2), bad, 1));
        fault(rank == bad, 1).unwrap_or_else(|fault| team.note(fault));
        let error = told(&team, || team.scope(None, |_| Ok(())));
        assert_eq!((error.fault().operator, error.rank()), (Some(1), bad));
        assert_eq!(team.scope(Some(rank), |sub| Ok(sub.size())).unwrap(), Some(1));
    }
    // an error that only one rank of a scope has, of a team of its own, still is everybody's
    let error = told(&team, || {
        team.scope(Some(0), |_| if rank + 1 == size { Team::solo().agree(Err(Fault::new("alone"))) } else { Ok(()) })
    });
    assert_eq!((error.fault().text.as_str(), error.rank(), error.ranks()), ("alone", size - 1, 1));
}

fn r13_nothing_outlives_a_scope(comm: &Rc<dyn Comm>) {
    let team = team_of(comm);
    let error = told(&team, || team.scope(Some(3), Ok));
    assert!(error.to_string().contains("a team or a stack of scope 3 outlives it"), "{error}");
    let mut kept = None;
    let error = told(&team, || {
        team.scope(Some(3), |sub| {
            kept = Some(sub);
            Ok(())
        })
    });
    assert!(error.to_string().contains("outlives it"), "{error}");
    drop(kept);
    assert_eq!(team.scope(Some(3), |sub| Ok(sub.size())).unwrap(), Some(comm.size()));
}

fn r13_a_stack_on_half_of_the_ranks(comm: &Rc<dyn Comm>) {
    let team = team_of(comm);
    // even ranks solve, odd ones count their squares
    let results = |columns: usize| {
        team.scope(Some(comm.rank() % 2), |half| {
            if comm.rank() % 2 == 1 {
                let [sum] = half.sum([(comm.rank() * comm.rank()) as f64])?;
                return Ok(vec![sum]);
            }
            let factory = FromFn::new(
                5,
                |index| Ok(Description::new(format!("block {index}"), line(4), rows(rows_of(index)))),
                |index| Ok(Box::new(dense::<Complex<f64>>(rows_of(index), columns, 100 + index as u64)) as Boxed<_>),
            );
            let stack = Stack::<Complex<f64>>::build(half, &factory, asked())?;
            let (y, _) = random_data(&stack);
            let mut x = stack.zero_model();
            stack.adjoint(&y, &mut x)?;
            Ok(x.as_slice().iter().map(|number| number.re).collect())
        })
    };
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    let (_, whole) = random_data(&dense_stack(&alone, 5, 4, Assignment::Contiguous, Summation::Fast));
    let expected = adjoint_of(&assembled::<Complex<f64>>(5, 4)).dot(&whole).mapv(|number| number.re);
    for _ in 0..2 {
        let mine = results(4).unwrap().unwrap();
        match comm.rank() % 2 {
            0 => assert!(distance(&mine, &expected) < 1e-12),
            _ => assert_eq!(mine, [if comm.size() == 4 { 10.0 } else { 1.0 }]),
        }
        // a stack that cannot be built on one half is an error on both
        let error = told(&team, || results(5));
        assert!(error.to_string().contains("build: operator 0: domain of `block 0` as built"), "{error}");
        assert_eq!(error.rank(), 0);
    }
}
