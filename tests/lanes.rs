//! Lanes on a pool of threads: how long operators take that sleep, and sums whose bits tell the order.
//!
//! That lanes change neither answers nor errors is among the promises (`tests/common/lanes.rs`); what they hold in memory is
//! in `tests/memory.rs`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::threaded::pool;
use common::{Boxed, random};
use stackphys::comm::{Summation, Team};
use stackphys::operator::Closure;
use stackphys::random::Stream;
use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
use stackphys::stack::{Description, FromFn, PlanOptions, Stack};
use stackphys::{Fault, Shape};

const MEMBERS: usize = 8;

/// Eight copies of the identity, all of one group, that call `first` before they copy.
fn identities(lanes: usize, summation: Summation, first: impl Fn(usize) + Send + Sync + 'static) -> Stack<f64> {
    let (line, first) = (Shape::new([("x", 1)]), Arc::new(first));
    let factory = FromFn::new(
        MEMBERS,
        |index| {
            let group = Some("all".to_owned());
            Ok(Description { group, ..Description::new(format!("identity {index}"), line.clone(), line.clone()) })
        },
        |index| {
            let copy = || {
                let first = first.clone();
                move |from: &[f64], to: &mut [f64]| -> Result<(), Fault> {
                    first(index);
                    to.copy_from_slice(from);
                    Ok(())
                }
            };
            Ok(Box::new(Closure::new(line.clone(), line.clone(), copy(), copy())) as Boxed<f64>)
        },
    );
    Stack::build(Team::solo(), &factory, PlanOptions { lanes, summation, ..PlanOptions::default() }).unwrap()
}

/// The least of a few times: a loaded machine may oversleep, but never sleeps too little.
fn least(tries: usize, mut action: impl FnMut()) -> Duration {
    let time = |_| {
        let begin = Instant::now();
        action();
        begin.elapsed()
    };
    (0..tries).map(time).min().unwrap()
}

#[test]
fn t11_lanes_are_waves() {
    let nap = Duration::from_millis(50);
    let times = |threads, lanes, tries| {
        pool(threads).install(|| {
            let stack = identities(lanes, Summation::Fast, move |_| std::thread::sleep(nap));
            assert_eq!(stack.lanes(), lanes);
            let (x, mut y, mut out) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
            let forward = least(tries, || stack.forward(&x, &mut y).unwrap());
            let adjoint = least(tries, || stack.adjoint(&y, &mut out).unwrap());
            // a forward and an adjoint for each
            let normal = least(tries, || stack.normal(&x, &mut out).unwrap());
            let mut gram = stack.zero_data();
            let forward_adjoint = least(tries, || stack.forward_adjoint(&y, &mut gram).unwrap());
            [forward, adjoint, normal / 2, forward_adjoint / 2]
        })
    };
    for took in times(4, 4, 5) {
        assert!((2 * nap..2 * nap + Duration::from_millis(60)).contains(&took), "two waves, not {took:?}");
    }
    for took in times(4, 1, 1).into_iter().chain(times(1, 4, 1)) {
        assert!(took >= 8 * nap, "eight naps, not {took:?}");
    }
}

/// The stacks of groups have the lanes of the whole.
#[test]
fn t11_groups_keep_the_lanes() {
    let nap = Duration::from_millis(50);
    let time = |lanes| {
        pool(4).install(|| {
            let stack = identities(lanes, Summation::Fast, move |_| std::thread::sleep(nap));
            let mut y = stack.zero_data();
            y.fill(1.0);
            let begin = Instant::now();
            let how = PseudoInverse::LocalMean(CgParams::default().into());
            let solved = pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(1), &mut |_: &Progress| ()).unwrap();
            assert!((solved.x.as_slice()[0] - 1.0).abs() < 1e-12, "[I; I; …]† y is the mean");
            begin.elapsed()
        })
    };
    let (one, four) = (time(1), time(4));
    assert!(four.as_secs_f64() < 0.5 * one.as_secs_f64(), "{four:?} with four lanes, {one:?} with one");
}

/// Numbers of which some vanish or not by the order in which they are added, from operators that finish in any order.
#[test]
fn t12_sums_do_not_depend_on_who_finishes_first() {
    const VALUES: [f64; MEMBERS] = [1.0, 2.0, 1e16, 1.0, -1.0, 2.0, 2.0, -1e16];
    let [a, b, c, d] = std::array::from_fn(|lane| VALUES[2 * lane] + VALUES[2 * lane + 1]);
    let [by_lanes, by_tree, another] = [((a + b) + c) + d, (a + b) + (c + d), ((d + c) + b) + a];
    assert_eq!([by_lanes, by_tree, another], [6.0, 8.0, 7.0], "the order can be told");
    for (summation, lanes) in [(Summation::Fast, 4), (Summation::Ordered, 4), (Summation::Ordered, 3)] {
        pool(4).install(|| {
            let (draws, calls) = (Stream::new(1, 2), AtomicU64::new(0));
            let stack = identities(lanes, summation, move |_| {
                let wait = 300.0 * draws.uniform(calls.fetch_add(1, Ordering::Relaxed));
                std::thread::sleep(Duration::from_micros(wait as u64));
            });
            let expected = if summation == Summation::Fast { by_lanes } else { by_tree };
            let mut x = stack.zero_model();
            for run in 0..50 {
                stack.adjoint(&VALUES.to_vec(), &mut x).unwrap();
                assert_eq!(x.as_slice(), [expected], "{summation:?}, run {run}");
            }
        });
    }
}

/// Operators that use the pool themselves, in lanes of the same pool: no thread waits for ever.
#[test]
fn kernels_in_lanes_share_the_pool() {
    use stackphys::physics::{Detector, ParallelCt};
    let image = Shape::new([("y", 61), ("x", 47)]);
    let angles = |index: usize| (0..9).map(|k| 0.3 * f64::from(k) + 0.02 * index as f64).collect::<Vec<_>>();
    let results = |threads, lanes| {
        pool(threads).install(|| {
            let range = Shape::new([("angle", 9), ("column", 80)]);
            let factory = FromFn::new(
                13,
                |index| Ok(Description::new(format!("scan {index}"), image.clone(), range.clone())),
                |index| Ok(Box::new(ParallelCt::<f64>::new(&image, &angles(index), Detector::new(80))?) as _),
            );
            let options = PlanOptions { lanes, summation: Summation::Ordered, ..PlanOptions::default() };
            let stack = Stack::build(Team::solo(), &factory, options).unwrap();
            let (mut x, mut out, mut y) = (stack.zero_model(), stack.zero_model(), stack.zero_data());
            x.as_mut_slice().copy_from_slice(&random(image.len(), 3));
            for _ in 0..20 {
                stack.forward(&x, &mut y).unwrap();
                stack.normal(&x, &mut out).unwrap();
            }
            [common::bytes(out.as_slice()), common::bytes(y.as_slice())]
        })
    };
    let alone = results(1, 1);
    for (threads, lanes) in [(1, 3), (2, 2), (2, 5), (4, 3), (4, 13)] {
        assert!(results(threads, lanes) == alone, "{threads} threads, {lanes} lanes");
    }
}
