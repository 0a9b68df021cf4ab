//! Parallel-beam CT: 512×512 image, 720 angles, 724 columns; one operator, and 24 with interleaved angles. And fan and cone
//! beams, with both projectors, in nanoseconds for each ray and plane that it crosses.
//!
//! Prints the median of several runs, in seconds, as one JSON object a line. `cargo bench --bench ct -- rays` times fan and cone
//! only. `cargo bench --bench ct -- all` also times
//! every instruction set of the machine. One thread unless RAYON_NUM_THREADS says more.

use std::f64::consts::PI;
use std::time::Instant;

use stackphys::operator::{Apply, Work};
use stackphys::physics::ct::{Projector, RayTransform, Scan, View};
use stackphys::physics::joseph::Instructions;
use stackphys::physics::{Detector, ParallelCt};
use stackphys::space::Tile;
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

/// A fan through 512², or a cone through 160³, with a detector whose pixels are as large as voxels at the axis.
fn rays<S: Scalar>(what: &str, projector: Projector, lean: bool) {
    let (model, views, n) = match what {
        "fan" => (Shape::new([("y", 512), ("x", 512)]), 180, 512),
        _ => (Shape::new([("z", 160), ("y", 160), ("x", 160)]), 24, 160),
    };
    let (rows, columns) = ((what == "cone").then_some(n), n * 5 / 4);
    let (source, at) = (3.0 * n as f64, [(n as f64 - 1.0) / 2.0, (columns as f64 - 1.0) / 2.0]);
    let view = |k: usize| {
        let view = View::of_orbit(2.0 * PI * k as f64 / views as f64, Some(source), source, at, [2.0; 2], false);
        View { row: [if lean { 1e-3 } else { 0.0 }, view.row[1], view.row[2]], ..view }
    };
    let scan = Scan { views: (0..views).map(view).collect(), rows, columns, voxel_size: 1.0, orbit: None };
    let a = RayTransform::<S>::new(&Tile::whole(&model), scan, projector).expect("a valid geometry");
    let mut x: Vec<S> = (0..model.len()).map(|i| S::from_f64((i as f64 * 0.618_034).fract())).collect();
    let mut y = vec![S::default(); views * rows.unwrap_or(1) * columns];
    let steps = (y.len() * n) as f64;
    let mut work = Work::default();
    let forward = median(|| a.forward(&x, &mut y, &mut work).expect("forward"));
    let adjoint = median(|| a.adjoint(&y, &mut x, &mut work).expect("adjoint"));
    for (direction, seconds) in [("forward", forward), ("adjoint", adjoint)] {
        println!(
            "{{\"case\": \"{what}\", \"what\": \"{direction}\", \"scalar\": \"{}\", \"projector\": \"{projector:?}\", \
             \"by_columns\": {}, \"median\": {seconds:.5}, \"ns_per_ray_and_plane\": {:.3}}}",
            S::NAME,
            a.by_columns(),
            seconds / steps * 1e9
        );
    }
}

fn main() {
    let best = Instructions::detect();
    let all = std::env::args().any(|argument| argument == "all");
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    let only_rays = std::env::args().any(|argument| argument == "rays");
    pool.install(|| {
        rays::<f32>("cone", Projector::Joseph, false);
        rays::<f64>("cone", Projector::Joseph, false);
        rays::<f32>("cone", Projector::Joseph, true);
        rays::<f32>("cone", Projector::Siddon, false);
        rays::<f32>("fan", Projector::Joseph, false);
        rays::<f32>("fan", Projector::Siddon, false);
        if only_rays {
            return;
        }
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
