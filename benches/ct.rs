//! Parallel-beam CT: 512×512 image, 720 angles, 724 columns; one operator, and 24 with interleaved angles.
//!
//! Prints the median of several runs, in seconds, as one JSON object a line. `cargo bench --bench ct -- all` also times
//! every instruction set of the machine. One thread unless RAYON_NUM_THREADS says more.

use std::f64::consts::PI;
use std::time::Instant;

use stackphys::operator::{Apply, Work};
use stackphys::physics::joseph::Instructions;
use stackphys::physics::{Detector, ParallelCt};
use stackphys::{Scalar, Shape};

const SIZE: usize = 512;
const ANGLES: usize = 720;
const COLUMNS: usize = 724;

fn median(mut action: impl FnMut()) -> f64 {
    action(); // scratch is made, pages are touched
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            action();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn case<S: Scalar>(operators: usize, instructions: Instructions) {
    let image = Shape::new([("y", SIZE), ("x", SIZE)]);
    let stack: Vec<ParallelCt<S>> = (0..operators)
        .map(|part| {
            let angles: Vec<f64> = (part..ANGLES).step_by(operators).map(|i| i as f64 * PI / ANGLES as f64).collect();
            let operator = ParallelCt::new(&image, &angles, Detector::new(COLUMNS));
            operator.and_then(|operator| operator.with_instructions(instructions)).expect("a valid geometry")
        })
        .collect();
    let mut x: Vec<S> = (0..SIZE * SIZE).map(|i| S::from_f64((i as f64 * 0.618_034).fract())).collect();
    let each = ANGLES / operators * COLUMNS;
    let mut y = vec![S::default(); operators * each];
    let mut work = Work::default();

    let forward = median(|| {
        for (operator, y) in stack.iter().zip(y.chunks_mut(each)) {
            operator.forward(&x, y, &mut work).expect("forward");
        }
    });
    let adjoint = median(|| {
        x.fill(S::default());
        for (operator, y) in stack.iter().zip(y.chunks(each)) {
            operator.adjoint_add(y, &mut x, &mut work).expect("adjoint");
        }
    });
    for (what, seconds) in [("forward", forward), ("adjoint", adjoint)] {
        println!(
            "{{\"case\": \"ct\", \"what\": \"{what}\", \"scalar\": \"{}\", \"operators\": {operators}, \
             \"instructions\": \"{instructions}\", \"median\": {seconds:.5}}}",
            S::NAME
        );
    }
}

fn main() {
    let best = Instructions::detect();
    let all = std::env::args().any(|argument| argument == "all");
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    pool.install(|| {
        case::<f32>(1, best);
        case::<f32>(24, best);
        case::<f64>(1, best);
        case::<f64>(24, best);
        if all {
            for instructions in Instructions::ALL.into_iter().filter(|set| *set != best && set.supported()) {
                case::<f32>(1, instructions);
                case::<f64>(1, instructions);
            }
        }
    });
}
