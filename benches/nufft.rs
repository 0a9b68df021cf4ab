//! The Fourier transform of a 1024×1024 image at 10⁶ random places, `complex_f32`, on one thread; the places were sorted before.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line: from the image to the places
//! (`type 2`), back (`type 1`), and `AᴴA` as a convolution on twice the grid. The rival is FINUFFT:
//!
//! ```text
//! python3 -m venv .venv-peers && .venv-peers/bin/pip install numpy finufft
//! cargo bench --bench nufft && OMP_NUM_THREADS=1 .venv-peers/bin/python benches/peer_nufft.py
//! ```

use std::time::Instant;

use num_complex::Complex;
use stackphys::Shape;
use stackphys::operator::{LinearOperator, Work};
use stackphys::physics::{Nufft, NufftAccuracy};
use stackphys::random::Stream;

const SIZE: usize = 1024;
const PLACES: usize = 1_000_000;
const ROUNDS: usize = 9;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("a thread pool");
    let image = Shape::new([("y", SIZE), ("x", SIZE)]);
    let stream = Stream::new(1, 0);
    let mut places = vec![0.0; 2 * PLACES];
    places.iter_mut().enumerate().for_each(|(k, place)| *place = stream.uniform(k as u64) - 0.5);
    let (mut x, mut y) = (vec![Complex::<f32>::default(); SIZE * SIZE], vec![Complex::default(); PLACES]);
    stream.fill_normal(0, &mut x);
    let mut work = Work::default();
    for accuracy in [1e-3, 1e-6] {
        let how = NufftAccuracy { accuracy, ..NufftAccuracy::default() };
        let planned = Instant::now();
        let range = Shape::new([("sample", PLACES)]);
        let nufft = Nufft::new(&image, range, places.clone(), how).expect("a transform");
        let planned = planned.elapsed().as_secs_f64();
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            let mut time = |what: usize, action: &mut dyn FnMut()| {
                let start = Instant::now();
                action();
                if round > 0 {
                    times[what].push(start.elapsed().as_secs_f64());
                }
            };
            time(0, &mut || nufft.apply_forward(&x, &mut y, &mut work).expect("no fault"));
            time(1, &mut || nufft.apply_adjoint(&y, &mut x, &mut work).expect("no fault"));
            let before = x.clone();
            time(2, &mut || nufft.apply_normal_add(&before, &mut x, &mut work).expect("no fault"));
            x.iter_mut().for_each(|x| *x /= PLACES as f32 / (SIZE * SIZE) as f32);
        }
        for (what, times) in ["type 2", "type 1", "A_adjoint_A"].into_iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            println!(
                "{{\"who\": \"stackphys\", \"case\": \"nufft\", \"what\": \"{what} at {accuracy:e}\", \"how\": \"planned\", \
                 \"planned_in\": {planned:.3e}, \"median\": {:.3e}, \"least\": {:.3e}}}",
                times[ROUNDS / 2],
                times[0]
            );
        }
    }
}
