//! Sums over two ranks of one host, in shared memory and by messages; and a CG iteration against a hand-written one.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line:
//!
//! * `reduce`: one sum of n `f64` by messages and in shared memory, bare, or of a vector that is written before and read
//!   after, as a method does; `outside` is a vector that lives in no segment. `stack …` is an adjoint of a stack with one
//!   operator per rank that adds nothing, in fast or ordered mode.
//! * `cg`: one iteration on two diagonal operators, and the same by hand on rsmpi with the same kernels.
//! * `dense`: AᴴA of 16 matrices of 2048×2048 `f64`, with fast and with ordered sums. Four stacks of them: 2 GB.
//!
//! Starts itself under `mpirun -n 2`, or `-n` of the number that is given, with all cases or those that are named:
//! `cargo bench --bench reduce -- 3 cg`.

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
    use std::rc::Rc;

    use mpi::collective::SystemOperation;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::CommunicatorCollectives;
    use ndarray::Array2;
    use stackphys::comm::{Comm, Reduction, Summation, Team, mpi::Session};
    use stackphys::operator::{Apply, LinearOperator, Work};
    use stackphys::physics::{Dense, Diagonal};
    use stackphys::solver::{Cg, CgParams, Method};
    use stackphys::space::{Space, Vector, dot};
    use stackphys::stack::{Description, FromFn, PlanOptions, Stack};
    use stackphys::{Fault, Shape};

    use crate::common::{Case, asked, race};

    const LARGEST: u32 = 22;

    pub fn main() {
        let session = Session::start().expect("MPI was started before");
        let comm = session.world();
        if asked("reduce") {
            (0..=LARGEST).for_each(|power| reduce(&comm, 1 << power));
        }
        if asked("cg") {
            iteration(&comm, 256, 50, 401);
            iteration(&comm, 1 << 20, 10, 15);
        }
        if asked("dense") {
            dense(&comm, 16, 2048);
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
        let adjoint = |what: &'static str, how: &'static str, which: usize| {
            let stack = &stacks[which];
            let (y, mut out) = (stack.zero_data(), stack.zero_sum());
            Case::new(what, how, move || stack.adjoint(&y, &mut out).expect("no fault"))
        };
        fn sum<'a>(how: &'static str, team: &'a Team, mut vector: Vector<f64>) -> Case<'a> {
            Case::new("bare sum", how, move || team.sum_vector(&mut vector).expect("no fault"))
        }
        fn used<'a>(how: &'static str, team: &'a Team, mut vector: Vector<f64>) -> Case<'a> {
            Case::new("sum of what was written, then read", how, move || {
                vector.fill(1.0);
                team.sum_vector(&mut vector).expect("no fault");
                vector.scale(0.5);
            })
        }
        let cases = vec![
            sum("messages", &messages, Vector::zeros(&space)),
            sum("shared", &shared, shared.zero_sum(&space)),
            sum("outside", &shared, Vector::zeros(&space)),
            used("messages", &messages, Vector::zeros(&space)),
            used("shared", &shared, shared.zero_sum(&space)),
            adjoint("stack, in shared memory", "fast", 0),
            adjoint("stack, in shared memory", "ordered", 2),
            adjoint("stack, by messages", "fast", 1),
            adjoint("stack, by messages", "ordered", 3),
        ];
        let each = ((1 << 15) / n).clamp(1, 100);
        let rounds = ((1 << 23) / (n * each)).clamp(9, 101);
        race(comm, "reduce", &format!("\"n\": {n}"), each, rounds, cases);
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
        // the untimed call of a round is the start, those that are timed are the steps
        let ours = |how: &'static str, which: usize| {
            let mut cg = Cg::new(&stacks[which], &CgParams::default(), &data[which], None);
            let mut step = 0;
            Case::new("iteration", how, move || {
                if step % steps == 0 {
                    cg.start().expect("no fault");
                } else {
                    cg.step().expect("no fault");
                }
                step += 1;
            })
        };
        let mut by_hand = ByHand::new(comm.rank(), n, data[0].as_slice());
        let mut step = 0;
        let hand = Case::new("iteration", "by hand on rsmpi", move || {
            if step % steps == 0 {
                by_hand.start();
            } else {
                by_hand.step();
            }
            step += 1;
        });
        let cases = vec![hand, ours("shared", 0), ours("messages", 1)];
        race(comm, "cg", &format!("\"n\": {n}"), steps - 1, rounds, cases);
    }

    fn dense(comm: &Rc<dyn Comm>, count: usize, n: usize) {
        let (domain, range) = (Shape::new([("x", n)]), Shape::new([("row", n)]));
        let entry = |index: usize| move |(i, j)| ((i * 7 + j * 3 + index) % 1009) as f64 * 1e-3 - 0.5;
        let factory = FromFn::new(
            count,
            |_| Ok(Description::new("dense", domain.clone(), range.clone())),
            |index| Ok(Box::new(Dense::new(domain.clone(), Array2::from_shape_fn((n, n), entry(index)))?) as _),
        );
        let normal = |how, summation, reduction| {
            let options = PlanOptions { summation, reduction, ..PlanOptions::default() };
            let stack = Stack::<f64>::build(Team::new(comm.clone()), &factory, options).expect("a valid stack");
            let (mut x, mut out) = (stack.zero_model(), stack.zero_sum());
            x.fill(1.0);
            Case::new("A_adjoint_A", how, move || stack.normal(&x, &mut out).expect("no fault"))
        };
        let cases = vec![
            normal("fast, shared", Summation::Fast, Reduction::Shared),
            normal("ordered, shared", Summation::Ordered, Reduction::Shared),
            normal("fast, messages", Summation::Fast, Reduction::Messages),
            normal("ordered, messages", Summation::Ordered, Reduction::Messages),
        ];
        race(comm, "dense", "\"operators\": 16, \"scalar\": \"f64\"", 1, 15, cases);
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
