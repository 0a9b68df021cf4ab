//! Promises about what the plan decides: groups of operators, and normal operators that are merged.

use std::rc::Rc;

use ndarray::Array1;
use ndarray_linalg::LeastSquaresSvd;
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Summation, Team};
use stackphys::operator::{Basis, LinearOperator, Work};
use stackphys::solver::{
    AnyPreconditioner, BlockParams, Cg, CgParams, Exact, Method, Power, PowerParams, Progress, PseudoInverse, Solution,
    Solver, Start, drive, pseudo_inverse, stop,
};
use stackphys::space::Vector;
use stackphys::stack::{Assignment, Description, FromFn, NormalKind, PlanOptions, Stack};
use stackphys::testing::{random as random_vector, stack_dot_tests};
use stackphys::{Fault, Scalar, Shape};

use super::promises::Promise;
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("merged normal operators are their members'", merged_normals_are_their_members),
    ("a merged normal operator sends nothing", a_merged_normal_sends_nothing),
    ("a step that sends nothing knows the time", a_step_that_sends_nothing_knows_the_time),
    ("a spectrum that is not there is told", a_spectrum_that_is_not_there_is_told),
    ("groups are solved as one", groups_are_solved_as_one),
    ("groups do not depend on the ranks", groups_do_not_depend_on_the_ranks),
    ("a block preconditioner works on groups", a_block_preconditioner_works_on_groups),
    ("a fault in a group names its operator", a_fault_in_a_group_names_its_operator),
];

/// A convolution with circular boundaries along one dim, by its defining sum.
struct Circular<S> {
    line: Shape,
    kernel: Vec<S>,
    knows: bool,
}

impl<S: Scalar> LinearOperator<S> for Circular<S> {
    fn domain(&self) -> &Shape {
        &self.line
    }
    fn range(&self) -> &Shape {
        &self.line
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let n = x.len();
        for (at, y) in y.iter_mut().enumerate() {
            *y = self.kernel.iter().enumerate().map(|(k, weight)| *weight * x[(at + n - k) % n]).sum();
        }
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        let n = x.len();
        for (at, x) in x.iter_mut().enumerate() {
            *x = self.kernel.iter().enumerate().map(|(k, weight)| weight.conj() * y[(at + k) % n]).sum();
        }
        Ok(())
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let n = self.line.len();
        let eigenvalue = |j: usize| -> Complex<f64> {
            let turn = |k: usize| Complex::from_polar(1.0, -std::f64::consts::TAU * (j * k) as f64 / n as f64);
            self.kernel.iter().enumerate().map(|(k, w)| Complex::new(w.re(), w.im()) * turn(k)).sum()
        };
        (basis == Basis::Fourier && self.knows).then(|| (0..n).map(|j| eigenvalue(j).norm_sqr()).collect())
    }
}

/// Diagonals, or convolutions, of one line.
fn mergeable<S: Scalar>(comm: &Rc<dyn Comm>, basis: Basis, count: usize, options: PlanOptions) -> Stack<S> {
    mergeable_on(Team::new(comm.clone()), basis, count, options)
}

/// Operators whose normal operators are diagonal in one basis.
pub fn mergeable_on<S: Scalar>(team: Team, basis: Basis, count: usize, options: PlanOptions) -> Stack<S> {
    let line = Shape::new([("x", 14)]);
    let factory = FromFn::new(
        count,
        |index| {
            let normal = Some(basis);
            Ok(Description { normal, ..Description::new(format!("{index}"), line.clone(), line.clone()) })
        },
        |index| -> Result<Boxed<S>, Fault> {
            let stream = 40 + index as u64;
            Ok(match basis {
                Basis::Model => Box::new(Diagonal::new([("x", 14)], random(14, stream))?),
                Basis::Fourier => {
                    Box::new(Circular { line: line.clone(), kernel: random(3 + index, stream), knows: true })
                }
            })
        },
    );
    Stack::build(team, &factory, options).unwrap()
}

fn merged_normals_are_their_members(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for basis in [Basis::Model, Basis::Fourier] {
            for count in [1, 2, 5] {
                for summation in [Summation::Fast, Summation::Ordered] {
                    let options = PlanOptions { summation, ..PlanOptions::default() };
                    let merged = mergeable::<S>(comm, basis, count, options);
                    assert_eq!(merged.plan().merged(), Some(basis));
                    let members = PlanOptions { normal: NormalKind::Members, ..options };
                    let members = mergeable::<S>(comm, basis, count, members);
                    assert_eq!(members.plan().merged(), None);
                    let x = random_vector(merged.domain(), 5, 1);
                    let (mut a, mut b) = (merged.zero_model(), members.zero_model());
                    merged.normal(&x, &mut a).unwrap();
                    members.normal(&x, &mut b).unwrap();
                    let expected = Array1::from(b.as_slice().to_vec());
                    let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 };
                    assert!(distance(a.as_slice(), &expected) < tolerance, "{basis}");
                    assert!(stack_dot_tests(&merged, 3).unwrap().iter().all(|(_, test)| test.passes::<S>()));
                    if summation == Summation::Ordered {
                        let alone =
                            mergeable::<S>(&(Rc::new(stackphys::comm::Solo) as Rc<dyn Comm>), basis, count, options);
                        let mut c = alone.zero_model();
                        alone.normal(&x, &mut c).unwrap();
                        assert_eq!(bytes(a.as_slice()), bytes(c.as_slice()));
                    }
                }
            }
        }
    }
    each_scalar!(check, comm);
}

fn a_merged_normal_sends_nothing(comm: &Rc<dyn Comm>) {
    for basis in [Basis::Model, Basis::Fourier] {
        let stack = mergeable::<f64>(comm, basis, 5, PlanOptions::default());
        let y = random_vector(stack.range(), 5, 2);
        let mut cg = Cg::new(&stack, &CgParams::default(), &y, None);
        let mut power = Power::new(&stack, &PowerParams::default());
        let methods: [&mut dyn Method; 2] = [&mut cg, &mut power];
        for method in methods {
            method.start().unwrap();
            let before = stack.team().meter().all();
            for _ in 0..3 {
                method.step().unwrap();
            }
            assert_eq!(stack.team().meter().all(), before, "{basis}");
        }
        // and it ends where it should
        drive(
            &mut cg,
            &*stop::any([stop::relative_normal_residual(1e-13), stop::iterations(60)]),
            &mut |_: &Progress| (),
        )
        .unwrap();
        let x = cg.finish().unwrap();
        let mut residual = stack.zero_model();
        let squared = stack.residual(&x, &y, &mut residual).unwrap();
        assert!(stack.team().norm(&residual).unwrap() < 1e-10 * squared.sqrt().max(1.0));
    }
}

fn a_step_that_sends_nothing_knows_the_time(comm: &Rc<dyn Comm>) {
    let stack = mergeable::<f64>(comm, Basis::Model, 3, PlanOptions::default());
    let mut power = Power::new(&stack, &PowerParams::default());
    let begin = stack.team().seconds();
    let rule = stop::any([stop::wall_time(begin + 0.05), stop::iterations(100_000_000)]);
    let before = stack.team().meter().of(Kind::Agreement).calls;
    let outcome = drive(&mut power, &*rule, &mut |_: &Progress| ()).unwrap();
    assert_eq!(outcome.stop.rule, "wall time");
    assert_eq!(stack.team().meter().of(Kind::Agreement).calls - before, outcome.iterations() as u64);
    let steps = outcome.iterations() as f64;
    assert_eq!(stack.team().max([steps]), stack.team().min([steps]));
}

fn a_spectrum_that_is_not_there_is_told(comm: &Rc<dyn Comm>) {
    let line = Shape::new([("x", 5)]);
    let factory = FromFn::new(
        4,
        |index| {
            let normal = Some(Basis::Fourier);
            Ok(Description { normal, ..Description::new(format!("{index}"), line.clone(), line.clone()) })
        },
        |index| Ok(Box::new(Circular { line: line.clone(), kernel: vec![1.0], knows: index != 2 }) as Boxed<f64>),
    );
    let error = Stack::build(Team::new(comm.clone()), &factory, PlanOptions::default()).err().unwrap();
    assert_eq!(error.fault().operator, Some(2));
    assert!(error.to_string().contains("described as having an AᴴA that is diagonal in Fourier space"), "{error}");
}

/// Seven random matrices in three groups that are no runs of neighbours.
const GROUPS: [&[usize]; 3] = [&[0, 3], &[1, 2, 5], &[4, 6]];

fn grouped<S: Scalar>(
    comm: &Rc<dyn Comm>,
    options: PlanOptions,
    build: impl Fn(usize) -> Result<Boxed<S>, Fault>,
) -> Stack<S> {
    let factory = FromFn::new(
        7,
        |index| {
            let (domain, range) = (Shape::new([("x", 4)]), Shape::new([("row", rows_of(index))]));
            let group = GROUPS.iter().position(|group| group.contains(&index)).map(|group| format!("group {group}"));
            Ok(Description { group, ..Description::new(format!("block {index}"), domain, range) })
        },
        build,
    );
    Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

fn of_matrices<S: Scalar>(comm: &Rc<dyn Comm>, options: PlanOptions) -> Stack<S> {
    grouped(comm, options, |index| Ok(Box::new(dense::<S>(rows_of(index), 4, 100 + index as u64)) as Boxed<S>))
}

fn mean_of(stack: &Stack<f64>, y: &Vector<f64>) -> Solution<f64> {
    let rule = stop::any([stop::relative_normal_residual(1e-14), stop::iterations(40)]);
    let how = PseudoInverse::LocalMean(CgParams::default().into());
    pseudo_inverse(stack, y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap()
}

fn groups_are_solved_as_one(comm: &Rc<dyn Comm>) {
    for assignment in [Assignment::Contiguous, Assignment::RoundRobin, Assignment::ByCost] {
        let stack = of_matrices::<f64>(comm, PlanOptions { assignment, ..PlanOptions::default() });
        let named: Vec<&[usize]> = stack.plan().groups().iter().map(|group| group.operators.as_slice()).collect();
        assert_eq!(named, GROUPS);
        let owners = stack.plan().owners();
        assert!(GROUPS.iter().all(|group| group.iter().all(|index| owners[*index] == owners[group[0]])));
        let y = random_vector(stack.range(), 8, 2);
        let whole = stack.gather(&y, None).unwrap();
        let starts: Vec<usize> = stack.plan().rows().iter().map(|row| row.start).collect();
        let mut mean = Array1::<f64>::zeros(4);
        for group in GROUPS {
            let rows: Vec<_> =
                group.iter().map(|index| matrix::<f64>(rows_of(*index), 4, 100 + *index as u64)).collect();
            let views: Vec<_> = rows.iter().map(|rows| rows.view()).collect();
            let matrix = ndarray::concatenate(ndarray::Axis(0), &views).unwrap();
            let own: Vec<f64> =
                group.iter().flat_map(|index| whole[starts[*index]..][..rows_of(*index)].to_vec()).collect();
            mean += &matrix.least_squares(&Array1::from(own)).unwrap().solution;
        }
        mean /= 3.0;
        let solution = mean_of(&stack, &y);
        assert!(distance(solution.x.as_slice(), &mean) < 1e-10);
        assert_eq!(solution.underdetermined, 0);
    }
}

fn groups_do_not_depend_on_the_ranks(comm: &Rc<dyn Comm>) {
    let options = PlanOptions { summation: Summation::Ordered, ..PlanOptions::default() };
    let stack = of_matrices::<f64>(comm, options);
    let x = mean_of(&stack, &random_vector(stack.range(), 8, 2)).x;
    let alone = of_matrices::<f64>(&(Rc::new(stackphys::comm::Solo) as Rc<dyn Comm>), options);
    let expected = mean_of(&alone, &random_vector(alone.range(), 8, 2)).x;
    assert_eq!(bytes(x.as_slice()), bytes(expected.as_slice()));
}

fn a_block_preconditioner_works_on_groups(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let stack = of_matrices::<S>(comm, PlanOptions::default());
        let y = random_vector(stack.range(), 8, 2);
        let exact = |preconditioner, start| {
            let method = CgParams { max_iter: 50, ..CgParams::default() }.into();
            let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-6 };
            let rule = stop::any([stop::relative_normal_residual(tolerance), stop::iterations(50)]);
            let how = PseudoInverse::Exact(Exact { method, preconditioner, start });
            pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap().x
        };
        let plain = exact(None, Start::Zero);
        let block = AnyPreconditioner::Block(BlockParams::default());
        let expected = Array1::from(plain.as_slice().to_vec());
        let tolerance = if S::NAME.ends_with("f64") { 1e-11 } else { 1e-4 };
        for start in [Start::Zero, Start::LocalMean] {
            assert!(distance(exact(Some(block.clone()), start).as_slice(), &expected) < tolerance);
        }
    }
    each_scalar!(check, comm);
}

fn a_fault_in_a_group_names_its_operator(comm: &Rc<dyn Comm>) {
    let stack = grouped::<f64>(comm, PlanOptions::default(), |index| {
        Ok(match index {
            5 => Box::new(stackphys::operator::Closure::new(
                Shape::new([("x", 4)]),
                Shape::new([("row", rows_of(5))]),
                |_, _| Err(Fault::new("no")),
                |_, _| Err(Fault::new("no")),
            )) as Boxed<f64>,
            _ => Box::new(dense::<f64>(rows_of(index), 4, index as u64)),
        })
    });
    let mut y = stack.zero_data();
    y.fill(1.0);
    let how = PseudoInverse::LocalMean(CgParams::default().into());
    let error = pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(3), &mut |_: &Progress| ()).unwrap_err();
    assert_eq!(error.fault().operator, Some(5), "{error}");
}
