//! Promises about forms: measurements as a vector, in global and in local form; results apart, summed, averaged, here,
//! everywhere, on one rank.

use std::rc::Rc;

use ndarray::Array1;
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Summation, Team};
use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
use stackphys::space::Vector;
use stackphys::stack::{Assignment, Combine, Description, FromFn, Place, PlanOptions, Stack};
use stackphys::testing::random as random_vector;
use stackphys::{Error, Scalar, Shape};

use super::promises::{Promise, mixed_stack};
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("measurements in any form", measurements_in_any_form),
    ("measurements of the wrong form are told", measurements_of_the_wrong_form_are_told),
    ("parts add up to the whole", parts_add_up_to_the_whole),
    ("blocks are put together in every way", blocks_are_put_together_in_every_way),
    ("blocks that cannot be put together are told", blocks_that_cannot_be_put_together_are_told),
];

const MODES: [(usize, Assignment, Summation); 4] = [
    (1, Assignment::Contiguous, Summation::Fast),
    (3, Assignment::RoundRobin, Summation::Fast),
    (7, Assignment::RoundRobin, Summation::Ordered),
    (7, Assignment::ByCost, Summation::Ordered),
];

/// The measurements of all operators, and of this rank's, as lists of blocks.
fn lists<S: Scalar>(stack: &Stack<S>, y: &Vector<S>) -> (Vec<Vec<S>>, Vec<Vec<S>>) {
    let global = (0..stack.count()).map(|index| stack.block_everywhere(y, index).unwrap()).collect();
    let local = stack.local_indices().iter().map(|index| y.block_slice(*index).unwrap().to_vec()).collect();
    (global, local)
}

fn measurements_in_any_form(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (count, assignment, summation) in MODES {
            let stack = dense_stack::<S>(comm, count, 4, assignment, summation);
            let y = random_vector(stack.range(), 8, 2);
            let (global, local) = lists(&stack, &y);
            let mut expected = stack.zero_model();
            stack.adjoint(&y, &mut expected).unwrap();
            let same = |outcome: Result<(), Error>, x: &Vector<S>| {
                outcome.unwrap();
                assert_eq!(bytes(x.as_slice()), bytes(expected.as_slice()));
            };
            let mut x = stack.zero_model();
            same(stack.adjoint(&global, &mut x), &x);
            same(stack.adjoint(&local, &mut x), &x);
            same(stack.adjoint(&global.concat(), &mut x), &x);
            same(stack.adjoint(y.as_slice(), &mut x), &x);
            // each rank may choose
            let own_choice = if comm.rank() == 0 { &global } else { &local };
            same(stack.adjoint(own_choice, &mut x), &x);

            let (mut a, mut b) = (stack.zero_data(), stack.zero_data());
            stack.forward_adjoint(&y, &mut a).unwrap();
            stack.forward_adjoint(&global, &mut b).unwrap();
            assert_eq!(bytes(a.as_slice()), bytes(b.as_slice()));

            let how = PseudoInverse::Exact(CgParams::default().into());
            let rule = stop::iterations(3);
            let of = |x: Result<stackphys::solver::Solution<S>, Error>| bytes(x.unwrap().x.as_slice());
            let expected = of(pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()));
            assert_eq!(of(pseudo_inverse(&stack, &global, &how, None, &*rule, &mut |_: &Progress| ())), expected);
            assert_eq!(of(pseudo_inverse(&stack, &local, &how, None, &*rule, &mut |_: &Progress| ())), expected);
        }
    }
    each_scalar!(check, comm);

    let stack = mixed_stack::<f64>(comm, 5, 6, PlanOptions::default());
    let x = random_vector(stack.domain(), 3, 1);
    let (mut value, mut at) = (stack.zero_data(), stack.points());
    stack.linearize(&x, &mut value, &mut at).unwrap();
    let (mut a, mut b) = (stack.zero_model(), stack.zero_model());
    stack.vjp(&at, &value, &mut a).unwrap();
    stack.vjp(&at, &stack.gather(&value, None).unwrap(), &mut b).unwrap();
    assert_eq!(bytes(a.as_slice()), bytes(b.as_slice()));
}

fn measurements_of_the_wrong_form_are_told(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<f64>(comm, 7, 4, Assignment::Contiguous, Summation::Fast);
    let y = random_vector(stack.range(), 8, 2);
    let (global, local) = lists(&stack, &y);
    let mut x = stack.zero_model();
    let here = stack.local_indices().len();

    let mut more = global.clone();
    more.push(vec![1.0]);
    let error = stack.adjoint(&more, &mut x).unwrap_err().to_string();
    assert!(error.contains("y: expected 7 blocks, one for each operator (global form), or "), "{error}");
    assert!(error.contains(", one for each operator of this rank (local form), got 8"), "{error}");

    let mut longer = global.clone();
    longer[6].push(0.0); // of the last rank
    let error = stack.adjoint(&longer, &mut x).unwrap_err();
    assert_eq!(error.fault().operator, Some(6));
    let rows = rows_of(6);
    let text = format!("y, in global form: expected {rows} numbers for (row={rows}), got {}", rows + 1);
    assert!(error.to_string().contains(&text), "{error}");

    if comm.size() > 1 {
        let mut shorter = local;
        if comm.rank() == 0 {
            shorter[here - 1].pop();
        }
        let error = stack.adjoint(&shorter, &mut x).unwrap_err();
        assert_eq!(error.fault().operator, Some(stack.plan().owned_by(0).count() - 1));
        assert!(error.to_string().contains("y, in local form: expected "), "{error}");
    }
    let error = stack.adjoint(&global.concat()[1..], &mut x).unwrap_err().to_string();
    assert!(error.contains(&format!("y: expected {} numbers, those of all operators", stack.range().len())), "{error}");
    let how = PseudoInverse::Exact(CgParams::default().into());
    let error = pseudo_inverse(&stack, &more, &how, None, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap_err();
    assert!(error.to_string().starts_with("solve: y: expected 7 blocks"), "{error}");
    stack.adjoint(&global, &mut x).unwrap(); // usable again
}

fn parts_add_up_to_the_whole(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (count, assignment, summation) in MODES {
            let stack = dense_stack::<S>(comm, count, 4, assignment, summation);
            let (x, y) = (random_vector(stack.domain(), 8, 1), random_vector(stack.range(), 8, 2));
            let mut parts = stack.zero_parts();
            parts.fill(S::from_f64(f64::NAN));
            let mut whole = stack.zero_model();
            let same = |parts: &Vector<S>, whole: &Vector<S>| {
                let sum = stack.collect(parts, Combine::Sum, Place::Everywhere).unwrap();
                let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
                assert!(distance(&sum, &Array1::from(whole.as_slice().to_vec())) < tolerance);
                if summation == Summation::Ordered {
                    assert_eq!(bytes(&sum), bytes(whole.as_slice()));
                }
            };
            let before = stack.team().meter().of(Kind::VectorReduction);
            stack.adjoint_parts(&y, &mut parts).unwrap();
            assert_eq!(stack.team().meter().of(Kind::VectorReduction), before);
            stack.adjoint(&y, &mut whole).unwrap();
            same(&parts, &whole);
            // each part is what its matrix gives
            for index in stack.local_indices() {
                let adjoint = adjoint_of(&matrix::<S>(rows_of(*index), 4, 100 + *index as u64));
                let expected = adjoint.dot(&Array1::from(y.block_slice(*index).unwrap().to_vec()));
                let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
                assert!(distance(parts.block_slice(*index).unwrap(), &expected) < tolerance);
            }
            stack.normal_parts(&x, &mut parts).unwrap();
            stack.normal(&x, &mut whole).unwrap();
            same(&parts, &whole);
            let error = stack.adjoint_parts(&y, &mut stack.zero_model()).unwrap_err().to_string();
            assert!(count == 1 || error.contains("the result is a vector of another space"), "{error}");
        }
    }
    each_scalar!(check, comm);

    let stack = mixed_stack::<Complex<f64>>(comm, 5, 6, PlanOptions::default());
    let x = random_vector(stack.domain(), 3, 1);
    let (mut value, mut at, mut parts) = (stack.zero_data(), stack.points(), stack.zero_parts());
    stack.linearize(&x, &mut value, &mut at).unwrap();
    stack.vjp_parts(&at, &value, &mut parts).unwrap();
    let mut whole = stack.zero_model();
    stack.vjp(&at, &value, &mut whole).unwrap();
    let sum = stack.collect(&parts, Combine::Sum, Place::Everywhere).unwrap();
    assert!(distance(&sum, &Array1::from(whole.as_slice().to_vec())) < 1e-13);
}

/// Five diagonals, so that measurements have equal shapes.
fn diagonals<S: Scalar>(comm: &Rc<dyn Comm>, options: PlanOptions) -> Stack<S> {
    let line = Shape::new([("x", 6)]);
    let factory = FromFn::new(
        5,
        |index| Ok(Description::new(format!("{index}"), line.clone(), line.clone())),
        |index| Ok(Box::new(Diagonal::new([("x", 6)], random(6, 60 + index as u64))?) as Boxed<S>),
    );
    Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

fn blocks_are_put_together_in_every_way(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let tolerance = if S::NAME.ends_with("f64") { 1e-14 } else { 1e-6 };
        for assignment in [Assignment::Contiguous, Assignment::RoundRobin] {
            for summation in [Summation::Fast, Summation::Ordered] {
                let stack = diagonals::<S>(comm, PlanOptions { assignment, summation, ..PlanOptions::default() });
                let x = random_vector(stack.domain(), 4, 1);
                let mut y = stack.zero_data();
                stack.forward(&x, &mut y).unwrap();
                let block = |index: usize| -> Array1<S> {
                    let weights: Vec<S> = random(6, 60 + index as u64);
                    weights.iter().zip(x.as_slice()).map(|(w, x)| *w * *x).collect()
                };
                let sum_of =
                    |which: &mut dyn Iterator<Item = usize>| which.fold(Array1::<S>::zeros(6), |sum, i| sum + block(i));
                let all: Vec<S> = (0..5).flat_map(|index| block(index).to_vec()).collect();
                let sum = sum_of(&mut (0..5));
                let here = sum_of(&mut stack.local_indices().iter().copied());
                let mean = |sum: &Array1<S>| sum.mapv(|z| z * S::from_f64(0.2));

                let last = comm.size() - 1;
                for place in [Place::Here, Place::Everywhere, Place::On(0), Place::On(last)] {
                    let gets = match place {
                        Place::On(rank) => rank == comm.rank(),
                        _ => true,
                    };
                    let [apart, summed, averaged] = [Combine::Apart, Combine::Sum, Combine::Mean]
                        .map(|combine| stack.collect(&y, combine, place).unwrap());
                    if !gets {
                        assert!(apart.is_empty() && summed.is_empty() && averaged.is_empty());
                        continue;
                    }
                    let of_sum = if place == Place::Here { &here } else { &sum };
                    assert_eq!(bytes(&apart), bytes(if place == Place::Here { y.as_slice() } else { &all }));
                    if of_sum.iter().any(|z| *z != S::default()) {
                        assert!(distance(&summed, of_sum) < tolerance);
                        assert!(distance(&averaged, &mean(of_sum)) < tolerance);
                    } else {
                        assert_eq!((summed, averaged), (vec![S::default(); 6], vec![S::default(); 6]));
                    }
                }
            }
        }
    }
    each_scalar!(check, comm);
}

fn blocks_that_cannot_be_put_together_are_told(comm: &Rc<dyn Comm>) {
    let stack = dense_stack::<f64>(comm, 3, 4, Assignment::Contiguous, Summation::Fast);
    let y = stack.zero_data();
    let error = stack.collect(&y, Combine::Sum, Place::Everywhere).unwrap_err();
    assert_eq!(error.fault().operator, Some(1));
    assert!(error.to_string().contains("blocks of different shapes have no sum: expected (row=3)"), "{error}");
    let error = stack.collect(&y, Combine::Apart, Place::On(comm.size())).unwrap_err().to_string();
    assert!(error.contains("there is no rank"), "{error}");
    let error = stack.collect(&stack.zero_model(), Combine::Sum, Place::Everywhere).unwrap_err().to_string();
    assert!(error.contains("a block for each of the 3 operators, on its owner"), "{error}");
}
