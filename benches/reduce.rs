//! Sums over two ranks of one host, in shared memory and by messages; and a CG iteration against a hand-written one.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line:
//!
//! * `reduce`: one sum of n `f64`. `shared` and `messages` are bare sums; with `used` the vector is written before and
//!   read after, as a method does; `outside` is a sum of a vector that lives in no segment. `stack …` is an adjoint of a
//!   stack with one operator per rank that adds nothing, in fast or ordered mode.
//! * `cg`: one iteration on two diagonal operators, and the same by hand on rsmpi with the same kernels.
//!
//! Starts itself under `mpirun -n 2`, or `-n` of the number that is given: `cargo bench --bench reduce -- 3`.

#[cfg(not(feature = "mpi"))]
fn main() {
    println!("skipped: this build has no MPI");
}

#[cfg(feature = "mpi")]
fn main() {
    if stackphys::comm::mpi::launched() { bench::main() } else { launch() }
}

#[cfg(feature = "mpi")]
fn launch() {
    let ranks = std::env::args().filter_map(|argument| argument.parse::<usize>().ok()).next().unwrap_or(2);
    let status = std::process::Command::new("mpirun")
        .args(["-n", &ranks.to_string(), "--oversubscribe"])
        .arg(std::env::current_exe().expect("this program"))
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OPENBLAS_NUM_THREADS", "1")
        .status();
    assert!(status.expect("mpirun can be started").success(), "the job failed");
}

#[cfg(feature = "mpi")]
mod bench {
    use std::rc::Rc;
    use std::time::Instant;

    use mpi::collective::SystemOperation;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::CommunicatorCollectives;
    use stackphys::comm::{Comm, Reduction, Summation, Team, mpi::Session};
    use stackphys::operator::{Apply, LinearOperator, Work};
    use stackphys::physics::Diagonal;
    use stackphys::solver::{Cg, CgParams, Method};
    use stackphys::space::{Space, Vector, dot};
    use stackphys::stack::{Description, FromFn, PlanOptions, Stack};
    use stackphys::{Fault, Shape};

    const LARGEST: u32 = 22;

    pub fn main() {
        let session = Session::start().expect("MPI was started before");
        let comm = session.world();
        for power in 0..=LARGEST {
            reduce(&comm, 1 << power);
        }
        iteration(&comm, 256, 50, 401);
        iteration(&comm, 1 << 20, 10, 15);
    }

    /// Something to time, by name.
    type Case<'a> = (&'static str, Box<dyn FnMut() + 'a>);

    /// Times the cases by turns, so that what else the machine does hits all alike.
    fn race(comm: &Rc<dyn Comm>, case: &str, n: usize, each: usize, rounds: usize, mut cases: Vec<Case>) {
        let mut times = vec![Vec::with_capacity(rounds); cases.len()];
        for _ in 0..rounds {
            for (times, (_, action)) in times.iter_mut().zip(&mut cases) {
                action(); // warm again
                comm.barrier();
                let start = Instant::now();
                (0..each).for_each(|_| action());
                times.push(start.elapsed().as_secs_f64() / each as f64);
            }
        }
        for (times, (what, _)) in times.iter_mut().zip(&cases) {
            times.sort_by(f64::total_cmp);
            if comm.rank() == 0 {
                println!(
                    "{{\"who\": \"stackphys\", \"case\": \"{case}\", \"what\": \"{what}\", \"ranks\": {}, \"n\": {n}, \
                     \"median\": {:.3e}, \"least\": {:.3e}}}",
                    comm.size(),
                    times[rounds / 2],
                    times[0]
                );
            }
        }
    }

    fn reduce(comm: &Rc<dyn Comm>, n: usize) {
        let space = Space::replicated(Shape::new([("x", n)]));
        let shared = Team::new(comm.clone()).with_reduction(Reduction::Shared);
        let messages = Team::new(comm.clone()).with_reduction(Reduction::Messages);
        let stacks = [
            (Summation::Fast, Reduction::Shared),
            (Summation::Fast, Reduction::Messages),
            (Summation::Ordered, Reduction::Shared),
            (Summation::Ordered, Reduction::Messages),
        ]
        .map(|(summation, reduction)| nothing(comm, n, PlanOptions { summation, reduction, ..PlanOptions::default() }));
        let adjoint = |stack: &'static str, which: usize| -> Case {
            let stack_of = &stacks[which];
            let (y, mut out) = (stack_of.zero_data(), stack_of.zero_sum());
            (stack, Box::new(move || stack_of.adjoint(&y, &mut out).expect("no fault")))
        };
        fn sum<'a>(what: &'static str, team: &'a Team, mut vector: Vector<f64>) -> Case<'a> {
            (what, Box::new(move || team.sum_vector(&mut vector).expect("no fault")))
        }
        fn used<'a>(what: &'static str, team: &'a Team, mut vector: Vector<f64>) -> Case<'a> {
            let action = move || {
                vector.fill(1.0);
                team.sum_vector(&mut vector).expect("no fault");
                vector.scale(0.5);
            };
            (what, Box::new(action))
        }
        let cases = vec![
            sum("shared", &shared, shared.zero_sum(&space)),
            sum("messages", &messages, Vector::zeros(&space)),
            sum("outside", &shared, Vector::zeros(&space)),
            used("shared, used", &shared, shared.zero_sum(&space)),
            used("messages, used", &messages, Vector::zeros(&space)),
            adjoint("stack fast shared", 0),
            adjoint("stack fast messages", 1),
            adjoint("stack ordered shared", 2),
            adjoint("stack ordered messages", 3),
        ];
        let each = ((1 << 15) / n).clamp(1, 100);
        let rounds = ((1 << 23) / (n * each)).clamp(9, 101);
        race(comm, "reduce", n, each, rounds, cases);
    }

    /// An operator that adds nothing, so that the sum alone takes time.
    struct Nothing(Shape);

    impl LinearOperator<f64> for Nothing {
        fn domain(&self) -> &Shape {
            &self.0
        }
        fn range(&self) -> &Shape {
            &self.0
        }
        fn apply_forward(&self, _: &[f64], _: &mut [f64], _: &mut Work) -> Result<(), Fault> {
            Ok(())
        }
        fn apply_adjoint(&self, _: &[f64], _: &mut [f64], _: &mut Work) -> Result<(), Fault> {
            Ok(())
        }
        fn apply_adjoint_add(&self, _: &[f64], _: &mut [f64], _: &mut Work) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn nothing(comm: &Rc<dyn Comm>, n: usize, options: PlanOptions) -> Stack<f64> {
        let line = Shape::new([("x", n)]);
        let factory = FromFn::new(
            comm.size(),
            |_| Ok(Description::new("nothing", line.clone(), line.clone())),
            |_| Ok(Box::new(Nothing(line.clone())) as _),
        );
        Stack::build(Team::new(comm.clone()), &factory, options).expect("a valid stack")
    }

    fn diagonal(index: usize, n: usize) -> Diagonal<f64> {
        let values = (0..n).map(|k| 1.0 + ((k * 7 + index * 3) % 1009) as f64 * 0.1).collect();
        Diagonal::new([("x", n)], values).expect("as long as it should be")
    }

    fn iteration(comm: &Rc<dyn Comm>, n: usize, steps: usize, rounds: usize) {
        let ranks = comm.size();
        let line = Shape::new([("x", n)]);
        let factory = FromFn::new(
            ranks,
            |_| Ok(Description::new("diagonal", line.clone(), line.clone())),
            |index| Ok(Box::new(diagonal(index, n)) as _),
        );
        let stacks = [Reduction::Shared, Reduction::Messages].map(|reduction| {
            let options = PlanOptions { reduction, ..PlanOptions::default() };
            Stack::<f64>::build(Team::new(comm.clone()), &factory, options).expect("a valid stack")
        });
        let data = stacks.each_ref().map(|stack| {
            let mut y = stack.zero_data();
            y.as_mut_slice().iter_mut().enumerate().for_each(|(k, y)| *y = 1.0 + (k % 13) as f64);
            y
        });
        let ours = |what: &'static str, which: usize| -> Case {
            let mut cg = Cg::new(&stacks[which], &CgParams::default(), &data[which], None);
            let mut step = 0;
            // the untimed call of a round is the start, those that are timed are the steps
            let action = move || {
                if step % steps == 0 {
                    cg.start().expect("no fault");
                } else {
                    cg.step().expect("no fault");
                }
                step += 1;
            };
            (what, Box::new(action))
        };
        let mut by_hand = ByHand::new(comm.rank(), n, data[0].as_slice());
        let mut step = 0;
        let hand = move || {
            if step % steps == 0 {
                by_hand.start();
            } else {
                by_hand.step();
            }
            step += 1;
        };
        let cases = vec![ours("shared", 0), ours("messages", 1), ("by hand on rsmpi", Box::new(hand))];
        race(comm, "cg", n, steps - 1, rounds, cases);
    }

    /// Conjugate gradients as one would write them for this case alone.
    struct ByHand<'a> {
        world: SimpleCommunicator,
        operator: Diagonal<f64>,
        data: &'a [f64],
        work: Work,
        local: Vec<f64>,
        x: Vector<f64>,
        r: Vector<f64>,
        p: Vector<f64>,
        q: Vector<f64>,
        rho: f64,
    }

    impl<'a> ByHand<'a> {
        fn new(rank: usize, n: usize, data: &'a [f64]) -> Self {
            let zeros = || Vector::zeros(&Space::replicated(Shape::new([("x", n)])));
            ByHand {
                world: SimpleCommunicator::world(),
                operator: diagonal(rank, n),
                data,
                work: Work::default(),
                local: vec![0.0; n],
                x: zeros(),
                r: zeros(),
                p: zeros(),
                q: zeros(),
                rho: 0.0,
            }
        }

        fn start(&mut self) {
            self.local.fill(0.0);
            self.operator.adjoint_add(self.data, &mut self.local, &mut self.work).expect("no fault");
            self.world.all_reduce_into(&self.local, self.r.as_mut_slice(), SystemOperation::sum());
            self.p.copy_from(&self.r);
            self.rho = dot(self.r.as_slice(), self.r.as_slice());
        }

        fn step(&mut self) {
            self.local.fill(0.0);
            self.operator.normal_add(self.p.as_slice(), &mut self.local, &mut self.work).expect("no fault");
            self.world.all_reduce_into(&self.local, self.q.as_mut_slice(), SystemOperation::sum());
            let alpha = self.rho / dot(self.p.as_slice(), self.q.as_slice());
            self.x.axpy(alpha, &self.p);
            self.r.axpy(-alpha, &self.q);
            let rho = dot(self.r.as_slice(), self.r.as_slice());
            self.p.xpby(&self.r, rho / self.rho);
            self.rho = rho;
        }
    }
}
