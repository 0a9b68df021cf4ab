//! 16 Gaussian blurs (31×31, σ = 1 + 0.1·i, periodic) of one 1024×1024 `f32` image, dealt to two ranks of one thread each.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line:
//!
//! * `A`: what each rank measures, where it is; `A_gather`: then all of it on all ranks (64 MB), in each of the ways to
//!   gather, into memory that is used again, and into a new vector each time.
//! * `A_adjoint_A`, and one iteration of CG (`cg_global_per_iter`) and of the power method (`sqnorm_global_per_iter`).
//!
//! Starts itself under `mpirun -n 2`, or `-n` of the number that is given: `cargo bench --bench blur -- 3`.

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
    use stackphys::Shape;
    use stackphys::comm::{Team, mpi::Session};
    use stackphys::physics::{Blur, Padding};
    use stackphys::solver::{Cg, CgParams, Method, Power, PowerParams};
    use stackphys::stack::{Description, FromFn, Gather, PlanOptions, Stack};

    use crate::common::{Case, race};

    const OPERATORS: usize = 16;
    const SIZE: usize = 1024;
    const RADIUS: usize = 15;
    const STEPS: usize = 20;

    pub fn main() {
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("a thread pool");
        let session = Session::start().expect("MPI was started before");
        let comm = session.world();
        let image = Shape::new([("y", SIZE), ("x", SIZE)]);
        let blur = |index| {
            let sigma = 1.0 + 0.1 * index as f64;
            Blur::<f32>::gaussian(&image, &[sigma, sigma], Some(RADIUS), Padding::Circular)
        };
        let factory = FromFn::new(
            OPERATORS,
            |index| Ok(Description::new(format!("blur {index}"), image.clone(), image.clone())),
            |index| Ok(Box::new(blur(index)?) as _),
        );
        let stack = Stack::<f32>::build(Team::new(comm.clone()), &factory, PlanOptions::default()).expect("a stack");
        let mut x = stack.zero_model();
        let pattern = |k: usize| (k as f32 * 0.618_034).fract();
        x.as_mut_slice().iter_mut().enumerate().for_each(|(k, x)| *x = pattern(k));
        let mut data = stack.zero_data();
        stack.forward(&x, &mut data).expect("no fault");

        let (mut y, mut out) = (stack.zero_data(), stack.zero_sum());
        let forward = Case::new("A", "", || stack.forward(&x, &mut y).expect("no fault"));
        let normal = Case::new("A_adjoint_A", "", || stack.normal(&x, &mut out).expect("no fault"));
        let gathered = |name, how| {
            let (mut y, mut all) = (stack.zero_data(), vec![0.0; stack.gathered_len(None)]);
            let (stack, x) = (&stack, &x);
            Case::new("A_gather", name, move || {
                stack.forward(x, &mut y).expect("no fault");
                stack.gather_into(how, &y, None, &mut all).expect("no fault");
            })
        };
        let mut before = stack.zero_data();
        let fresh = Case::new("A_gather", "concatenated, new memory", || {
            stack.forward(&x, &mut before).expect("no fault");
            std::hint::black_box(stack.gather(&before, None).expect("no fault"));
        });
        let about = "\"operators\": 16, \"scalar\": \"f32\"";
        let concatenated = gathered("concatenated", Gather::Concatenated);
        let broadcast = gathered("broadcast", Gather::Broadcast);
        race(&comm, "blur", about, 1, 15, vec![forward, normal, concatenated, broadcast, fresh]);
        race(&comm, "blur", about, 1, 1, vec![gathered("objects", Gather::Objects)]);

        let mut cg = Cg::new(&stack, &CgParams::default(), &data, None);
        let mut power = Power::new(&stack, &PowerParams::default());
        let cases = vec![steps("cg_global_per_iter", &mut cg), steps("sqnorm_global_per_iter", &mut power)];
        race(&comm, "blur", about, STEPS, 3, cases);
    }

    /// The untimed call of a round is the start of the method, those that are timed are its steps.
    fn steps<'a>(what: &'static str, method: &'a mut dyn Method) -> Case<'a> {
        let mut step = 0;
        Case::new(what, "", move || {
            if step % (STEPS + 1) == 0 {
                method.start().expect("no fault");
            } else {
                method.step().expect("no fault");
            }
            step += 1;
        })
    }
}
