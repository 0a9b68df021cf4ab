//! Promises about lanes: however many operators of a rank run at once, the answer and the errors are the same.

use std::rc::Rc;

use stackphys::comm::{Comm, Summation};
use stackphys::operator::Closure;
use stackphys::stack::{Assignment, PlanOptions, Stack};
use stackphys::testing::{random as random_vector, stack_dot_tests};
use stackphys::{Error, Scalar, Shape};

use super::promises::{Promise, mixed_stack};
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("lanes do not change the answer", lanes_do_not_change_the_answer),
    ("lanes do not change the answer on blocks", lanes_do_not_change_the_answer_on_blocks),
    ("lanes do not change a smooth stack", lanes_do_not_change_a_smooth_stack),
    ("T14 adjoint through lanes", t14_adjoint_through_lanes),
    ("T16 a panic in a lane", t16_a_panic_in_a_lane),
];

/// More than one, no power of two, and more than there are operators.
const LANES: [usize; 4] = [1, 2, 3, 20];

/// Options with one lane first, then those that differ by their lanes alone.
fn every_mode() -> impl Iterator<Item = (PlanOptions, Vec<PlanOptions>)> {
    [Summation::Fast, Summation::Ordered].into_iter().flat_map(|summation| {
        [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost].map(|assignment| {
            let options = PlanOptions { assignment, summation, ..PlanOptions::default() };
            (options, LANES.map(|lanes| PlanOptions { lanes, ..options }).to_vec())
        })
    })
}

/// All that a stack gives for one x and one y: what must have the same bits always, and what only in ordered mode.
fn results<S: Scalar>(stack: &Stack<S>) -> [Vec<Vec<S>>; 2] {
    let (x, y) = (random_vector(stack.domain(), 1, 1), random_vector(stack.range(), 1, 2));
    let (mut data, mut gram, mut parts) = (stack.zero_data(), stack.zero_data(), stack.zero_parts());
    stack.forward(&x, &mut data).unwrap();
    let (mut exact, mut sums) = (Vec::new(), Vec::new());
    if stack.plan().sums_in_rows() {
        sums.push(data.as_slice().to_vec());
    } else {
        exact.push(data.as_slice().to_vec());
    }
    if stack.plan().columns().len() == 1 {
        stack.adjoint_parts(&y, &mut parts).unwrap();
        exact.push(parts.as_slice().to_vec());
        stack.normal_parts(&x, &mut parts).unwrap();
        exact.push(parts.as_slice().to_vec());
    }
    let [mut adjoint, mut normal, mut gradient] = std::array::from_fn(|_| stack.zero_model());
    stack.adjoint(&y, &mut adjoint).unwrap();
    stack.normal(&x, &mut normal).unwrap();
    let squared = stack.residual(&x, &y, &mut gradient).unwrap();
    stack.forward_adjoint(&y, &mut gram).unwrap();
    sums.extend([&adjoint, &normal, &gradient].map(|sum| sum.as_slice().to_vec()));
    sums.extend([gram.as_slice().to_vec(), vec![S::from_f64(squared)]]);
    [exact, sums]
}

fn close<S: Scalar>(a: &[Vec<S>], b: &[Vec<S>]) -> bool {
    let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
    let near = |(a, b): (&Vec<S>, &Vec<S>)| b.is_empty() || distance(a, &Array1::from(b.clone())) < tolerance;
    a.len() == b.len() && a.iter().zip(b).all(near)
}

fn all_bytes<S: Scalar>(of: &[Vec<S>]) -> Vec<Vec<u8>> {
    of.iter().map(|numbers| bytes(numbers)).collect()
}

/// Checks what `build` gives with some lanes against what it gives with one.
fn check_lanes<S: Scalar>(build: impl Fn(PlanOptions) -> Stack<S>) {
    for (options, with_lanes) in every_mode() {
        let [exact, sums] = results(&build(options));
        for options in with_lanes {
            let stack = build(options);
            let operators = stack.local_indices().len().max(1);
            assert!((1..=operators.min(options.lanes)).contains(&stack.lanes()), "{options:?}: {}", stack.lanes());
            let [own_exact, own_sums] = results(&stack);
            assert_eq!(all_bytes(&own_exact), all_bytes(&exact), "{options:?}");
            assert!(close(&own_sums, &sums), "{options:?}");
            if options.summation == Summation::Ordered {
                assert_eq!(all_bytes(&own_sums), all_bytes(&sums), "{options:?}");
            }
            assert_eq!(all_bytes(&results(&stack)[1]), all_bytes(&own_sums), "{options:?}: the same bits each time");
            assert!(stack_dot_tests(&stack, 5).unwrap().iter().all(|(_, test)| test.passes::<S>()));
        }
    }
}

fn lanes_do_not_change_the_answer(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        // fewer operators than lanes and ranks, and more
        for count in [2, 11] {
            check_lanes(|options| {
                stack_of(comm, count, 13, options, |index| {
                    Ok(Box::new(dense::<S>(rows_of(index), 13, 100 + index as u64)) as Boxed<S>)
                })
                .unwrap()
            });
        }
    }
    each_scalar!(check, comm);
}

fn lanes_do_not_change_the_answer_on_blocks(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for grid in [blocks::grid(), blocks::matrix_of_blocks()] {
            check_lanes(|options| grid.stack::<S>(comm, options).unwrap());
        }
    }
    each_scalar!(check, comm);
}

fn lanes_do_not_change_a_smooth_stack(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let results = |options| {
            let stack = mixed_stack::<S>(comm, 7, 6, options);
            let [x, h] = [1, 2].map(|stream| random_vector(stack.domain(), 1, stream));
            let v = random_vector::<S>(stack.range(), 1, 3);
            let [mut value, mut plain, mut slope] = std::array::from_fn(|_| stack.zero_data());
            let (mut pulled, mut at) = (stack.zero_model(), stack.points());
            stack.linearize(&x, &mut value, &mut at).unwrap();
            stack.forward(&x, &mut plain).unwrap();
            stack.jvp(&at, &h, &mut slope).unwrap();
            stack.vjp(&at, &v, &mut pulled).unwrap();
            let exact = [value, plain, slope].map(|data| data.as_slice().to_vec());
            (exact, vec![pulled.as_slice().to_vec()])
        };
        for (options, with_lanes) in every_mode() {
            let (exact, pulled) = results(options);
            for options in with_lanes {
                let (own, own_pulled) = results(options);
                assert_eq!(all_bytes(&own), all_bytes(&exact), "{options:?}");
                assert!(close(&own_pulled, &pulled), "{options:?}");
                let ordered = options.summation == Summation::Ordered;
                assert!(!ordered || all_bytes(&own_pulled) == all_bytes(&pulled), "{options:?}");
            }
        }
    }
    each_scalar!(check, comm);
}

/// Rectangular members, so that a forward in the place of an adjoint does not even fit (defect D1).
fn t14_adjoint_through_lanes(comm: &Rc<dyn Comm>) {
    let (count, columns) = (6, 3);
    let matrices: Vec<Array2<f64>> = (0..count).map(|index| matrix(4, columns, 40 + index as u64)).collect();
    let line = |dim, size| Shape::new([(dim, size)]);
    let build = |options| {
        let factory = FromFn::new(
            count,
            |index| Ok(Description::new(format!("4×3 number {index}"), line("x", columns), line("row", 4))),
            |index: usize| Ok(Box::new(Dense::new(line("x", columns), matrices[index].clone())?) as Boxed<f64>),
        );
        Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
    };
    let y: Vec<f64> = random(4 * count, 9);
    let views: Vec<_> = matrices.iter().map(|matrix| matrix.view()).collect();
    let expected = ndarray::concatenate(ndarray::Axis(0), &views).unwrap().t().dot(&Array1::from(y.clone()));
    for (options, with_lanes) in every_mode() {
        let stack = build(options);
        let mut one_by_one = stack.zero_model();
        stack.adjoint(&y, &mut one_by_one).unwrap();
        for options in with_lanes {
            let stack = build(options);
            let mut x = stack.zero_model();
            x.fill(f64::NAN);
            stack.adjoint(&y, &mut x).unwrap();
            assert!(distance(x.as_slice(), &expected) < 1e-12, "{options:?}");
            let ordered = options.summation == Summation::Ordered;
            assert!(!ordered || bytes(x.as_slice()) == bytes(one_by_one.as_slice()), "{options:?}");
        }
    }
}

/// Members 1 and 4 of six panic if what they are given begins with 13: the lowest is told, all others finish.
fn t16_a_panic_in_a_lane(comm: &Rc<dyn Comm>) {
    let line = |size| Shape::new([("x", size)]);
    let careful = |index: usize, given: f64| assert!(index % 3 != 1 || given != 13.0, "{index} went astray");
    for (_, with_lanes) in every_mode() {
        for options in with_lanes {
            let factory = FromFn::new(
                6,
                |index| Ok(Description::new(format!("member {index}"), line(2), line(2))),
                |index| {
                    Ok(Box::new(Closure::<f64>::new(
                        line(2),
                        line(2),
                        move |x, y| {
                            careful(index, x[0]);
                            y.copy_from_slice(x);
                            Ok(())
                        },
                        move |y, x| {
                            careful(index, y[0]);
                            x.copy_from_slice(y);
                            Ok(())
                        },
                    )) as Boxed<f64>)
                },
            );
            let stack = Stack::build(Team::new(comm.clone()), &factory, options).unwrap();
            let check = |told: Result<(), Error>| {
                let error = told.unwrap_err();
                assert_eq!(error.fault().operator, Some(1), "{error}");
                assert!(error.to_string().contains("`member 1`: panicked: 1 went astray"), "{error}");
            };
            let (mut x, mut y, mut out) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
            for _ in 0..2 {
                x.fill(13.0);
                y.fill(f64::NAN);
                check(stack.forward(&x, &mut y));
                for index in stack.local_indices() {
                    let filled = if index % 3 == 1 { 0.0 } else { 13.0 };
                    assert_eq!(y.block_slice(*index).unwrap(), [filled; 2], "{options:?}");
                }
                check(stack.normal(&x, &mut out));
                y.fill(13.0);
                check(stack.adjoint(&y, &mut out));
                x.fill(1.0);
                stack.normal(&x, &mut out).unwrap();
                assert_eq!(out.as_slice(), [6.0; 2], "{options:?}");
            }
        }
    }
}
