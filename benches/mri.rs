//! 32 coils, 320×320 `complex_f32`, a random third of k-space, dealt to two ranks of one thread each.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line: `A_adjoint_A`, and an iteration of CG
//! (`cg_global_per_iter`). The rival is DeepInverse, see `scripts/bench.sh`.
//!
//! Starts itself under `mpirun -n 2`, or `-n` of the number that is given: `cargo bench --bench mri -- 3`.

#[cfg(feature = "mpi")]
mod common;

#[cfg(not(feature = "mpi"))]
fn main() {
    println!("skipped: this build has no MPI");
}

#[cfg(feature = "mpi")]
fn main() {
    if stackphys::comm::mpi::launched() { bench::main() } else { common::launch() }
}

#[cfg(feature = "mpi")]
mod bench {
    use num_complex::Complex;
    use stackphys::Shape;
    use stackphys::comm::{Team, mpi::Session};
    use stackphys::physics::CartesianMri;
    use stackphys::random::Stream;
    use stackphys::solver::{Cg, CgParams, Method};
    use stackphys::stack::{Description, FromFn, PlanOptions, Stack};

    use crate::common::{Case, race};

    const COILS: usize = 32;
    const SIZE: usize = 320;
    const STEPS: usize = 20;

    pub fn main() {
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("a thread pool");
        let session = Session::start().expect("MPI was started before");
        let comm = session.world();
        let image = Shape::new([("y", SIZE), ("x", SIZE)]);
        let range = Shape::new([("coil", 1), ("ky", SIZE), ("kx", SIZE)]);
        let stream = Stream::new(1, 0);
        let mask: Vec<bool> = (0..SIZE * SIZE).map(|k| stream.uniform(k as u64) < 0.33).collect();
        let coil = |index: usize| {
            let mut map = vec![Complex::<f32>::default(); SIZE * SIZE];
            Stream::new(1, 1 + index as u64).fill_normal(0, &mut map);
            map.iter_mut().for_each(|value| *value /= (COILS as f32).sqrt());
            CartesianMri::new(&image, map, Some(&mask))
        };
        let factory = FromFn::new(
            COILS,
            |index| Ok(Description::new(format!("coil {index}"), image.clone(), range.clone())),
            |index| Ok(Box::new(coil(index)?) as _),
        );
        let stack = Stack::<Complex<f32>>::build(Team::new(comm.clone()), &factory, PlanOptions::default());
        let stack = stack.expect("a stack");
        let mut x = stack.zero_model();
        stream.fill_normal(0, x.as_mut_slice());
        let mut data = stack.zero_data();
        stack.forward(&x, &mut data).expect("no fault");

        let about = "\"operators\": 32, \"scalar\": \"complex_f32\"";
        let mut out = stack.zero_sum();
        let normal = Case::new("A_adjoint_A", "", || stack.normal(&x, &mut out).expect("no fault"));
        race(&comm, "mri", about, 1, 15, vec![normal]);
        let mut cg = Cg::new(&stack, &CgParams::default(), &data, None);
        let mut step = 0;
        // the untimed call of a round is the start of the method
        let iteration = Case::new("cg_global_per_iter", "", || {
            if step % (STEPS + 1) == 0 {
                cg.start().expect("no fault");
            } else {
                cg.step().expect("no fault");
            }
            step += 1;
        });
        race(&comm, "mri", about, STEPS, 5, vec![iteration]);
    }
}
