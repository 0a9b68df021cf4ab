//! Operators of one rank in lanes, on a pool of two threads: eight of equal cost that use one thread each, and parts of a
//! parallel-beam scan, which use all threads inside.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line. `one lane` leaves one operator
//! after another to the pool: of operators that know no threads that is the time of one thread.
//!
//! * `A_adjoint_A compute`: eight operators that do arithmetic in registers; `dense`: eight matrices of 256×1024 `f64`.
//! * `A_adjoint_A ct`: twelve parts of 181 angles of a 640×640 `f32` image, with fast and with ordered sums.

mod common;

use std::rc::Rc;

use stackphys::comm::{Comm, Solo, Summation, Team};
use stackphys::operator::{Closure, LinearOperator};
use stackphys::physics::{Dense, Detector, ParallelCt};
use stackphys::stack::{Description, FromFn, PlanOptions, Stack};
use stackphys::{Fault, Scalar, Shape};

use common::{Case, race};

const THREADS: usize = 2;
const EQUAL: usize = 8;
const PARTS: usize = 12;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).use_current_thread().build_global().expect("a thread pool");
    let comm: Rc<dyn Comm> = Rc::new(Solo);

    let compute = |lanes| stack_of(EQUAL, lanes, Summation::Fast, compute);
    let dense = |lanes| stack_of(EQUAL, lanes, Summation::Fast, dense);
    let ct = |summation| move |lanes| stack_of(PARTS, lanes, summation, ct);
    two_ways(&comm, "A_adjoint_A compute", "\"operators\": 8, \"scalar\": \"f64\"", compute);
    two_ways(&comm, "A_adjoint_A dense", "\"operators\": 8, \"scalar\": \"f64\"", dense);
    let about = "\"operators\": 12, \"scalar\": \"f32\"";
    two_ways(&comm, "A_adjoint_A ct", about, ct(Summation::Fast));
    two_ways(&comm, "A_adjoint_A ct, ordered", about, ct(Summation::Ordered));
}

fn two_ways<S: Scalar>(comm: &Rc<dyn Comm>, what: &'static str, about: &str, stack: impl Fn(usize) -> Stack<S>) {
    let case = |how, lanes| {
        let stack = stack(lanes);
        let (mut x, mut out) = (stack.zero_model(), stack.zero_model());
        let pattern = |k: usize| S::from_f64((k as f64 * 0.618_034).fract());
        x.as_mut_slice().iter_mut().enumerate().for_each(|(k, x)| *x = pattern(k));
        Case::new(what, how, move || stack.normal(&x, &mut out).expect("no fault"))
    };
    race(comm, "lanes", about, 1, 41, vec![case("one lane", 1), case("two lanes", THREADS)]);
}

fn stack_of<S: Scalar, A: LinearOperator<S> + 'static>(
    count: usize,
    lanes: usize,
    summation: Summation,
    build: impl Fn(usize) -> Result<A, Fault>,
) -> Stack<S> {
    let first = build(0).expect("an operator");
    let (domain, range) = (first.domain().clone(), first.range().clone());
    let factory = FromFn::new(
        count,
        |index| Ok(Description::new(format!("operator {index}"), domain.clone(), range.clone())),
        |index| Ok(Box::new(build(index)?) as _),
    );
    let options = PlanOptions { lanes, summation, ..PlanOptions::default() };
    Stack::build(Team::solo(), &factory, options).expect("a stack")
}

/// Multiplies each number by itself many times over, which changes it by nothing that counts.
fn compute(_index: usize) -> Result<Closure<f64>, Fault> {
    let line = Shape::new([("x", 1024)]);
    let busy = |from: &[f64], to: &mut [f64]| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = (0..500).fold(*from, |value, k| value * std::hint::black_box(1.0 + 1e-20 * f64::from(k)));
        }
        Ok(())
    };
    Ok(Closure::new(line.clone(), line, busy, busy))
}

fn dense(index: usize) -> Result<Dense<f64>, Fault> {
    let entry = |(row, column)| (((row + index) * 31 + column * 17) % 64) as f64 / 64.0 - 0.5;
    Dense::new(Shape::new([("x", 1024)]), ndarray::Array2::from_shape_fn((256, 1024), entry))
}

fn ct(index: usize) -> Result<ParallelCt<f32>, Fault> {
    let image = Shape::new([("y", 640), ("x", 640)]);
    let of_part = (index..181).step_by(PARTS);
    // as many angles in each part
    let angles: Vec<f64> = of_part.take(181 / PARTS).map(|k| k as f64 * std::f64::consts::PI / 181.0).collect();
    ParallelCt::new(&image, &angles, Detector::new(640))
}
