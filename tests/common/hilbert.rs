//! Promises about derivatives, inner products and norms: the rows R2, R15 and R16 of the acceptance table.

use std::f64::consts::PI;
use std::rc::Rc;
use std::sync::Arc;

use ndarray::Array2;
use stackphys::comm::{Comm, Summation, Team};
use stackphys::operator::algebra::{Derivative, adjoint};
use stackphys::operator::{Apply, Differentiable, Gram, Point, SharedOperator, Work, hilbert_adjoint};
use stackphys::solver::{LanczosParams, NormSquared, NormSquaredEstimate, PowerParams, Progress, norm_squared};
use stackphys::space::dot;
use stackphys::stack::{AnyOperator, Description, FromFn, PlanOptions, SmoothStack, Stack};
use stackphys::testing::{dot_test, structure_test};
use stackphys::{Fault, Scalar, Shape};

use super::promises::Promise;
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("R2 linearise", r2_linearise),
    ("R15 Gram operators and Hilbert spaces", r15_gram_and_hilbert),
    ("R16 operator norm", r16_operator_norm),
];

/// x³, number by number.
struct Cube(Shape);

impl<S: Scalar> Differentiable<S> for Cube {
    fn domain(&self) -> &Shape {
        &self.0
    }
    fn range(&self) -> &Shape {
        &self.0
    }
    fn point(&self) -> Point {
        Point::new(vec![S::default(); self.0.len()])
    }
    fn evaluate(&self, x: &[S], value: &mut [S], _: &mut Work) -> Result<(), Fault> {
        value.iter_mut().zip(x).for_each(|(value, x)| *value = *x * *x * *x);
        Ok(())
    }
    fn linearize(&self, x: &[S], value: &mut [S], at: &mut Point, work: &mut Work) -> Result<(), Fault> {
        at.get_mut::<Vec<S>>()?.iter_mut().zip(x).for_each(|(slope, x)| *slope = S::from_f64(3.0) * *x * *x);
        Differentiable::<S>::evaluate(self, x, value, work)
    }
    fn jvp(&self, at: &Point, dx: &[S], dy: &mut [S], _: &mut Work) -> Result<(), Fault> {
        let slopes = at.get::<Vec<S>>()?;
        dy.iter_mut().zip(dx.iter().zip(slopes)).for_each(|(dy, (dx, slope))| *dy = *slope * *dx);
        Ok(())
    }
    fn vjp_add(&self, at: &Point, dy: &[S], dx: &mut [S], _: &mut Work) -> Result<(), Fault> {
        let slopes = at.get::<Vec<S>>()?;
        dx.iter_mut().zip(dy.iter().zip(slopes)).for_each(|(dx, (dy, slope))| *dx += slope.conj() * *dy);
        Ok(())
    }
}

fn line(size: usize) -> Shape {
    Shape::new([("x", size)])
}

/// Cubes and matrices in turn, five of them.
fn cubes_and_matrices<S: Scalar>(comm: &Rc<dyn Comm>, smooth: bool, options: PlanOptions) -> SmoothStack<S> {
    let is_cube = |index: usize| smooth && index.is_multiple_of(2);
    let factory = FromFn::new(
        5,
        |index| {
            let range = if is_cube(index) { line(4) } else { Shape::new([("row", 2 + index)]) };
            Ok(Description::new(format!("member {index}"), line(4), range))
        },
        |index| {
            Ok(match is_cube(index) {
                true => AnyOperator::Smooth(Box::new(Cube(line(4)))),
                false => AnyOperator::Linear(Box::new(dense::<S>(2 + index, 4, 40 + index as u64))),
            })
        },
    );
    SmoothStack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

fn r2_linearise(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for summation in [Summation::Fast, Summation::Ordered] {
            let options = PlanOptions { summation, ..PlanOptions::default() };
            let stack = cubes_and_matrices::<S>(comm, true, options);
            assert!(!stack.is_linear() && cubes_and_matrices::<S>(comm, false, options).is_linear());
            let random = |stream| stackphys::testing::random::<S>(stack.domain(), 3, stream);
            let (x, h) = (random(1), random(2));
            let dy = stackphys::testing::random::<S>(stack.range(), 3, 3);
            let (mut value, mut slope, mut moved) = (stack.zero_data(), stack.zero_data(), stack.zero_data());
            let mut at = stack.points();
            stack.linearize(&x, &mut value, &mut at).unwrap();
            stack.jvp(&at, &h, &mut slope).unwrap();
            // ‖F(x + εh) − F(x) − ε F′(x) h‖ falls a hundredfold when ε falls tenfold
            let remainder = |epsilon: f64, moved: &mut stackphys::space::Vector<S>| {
                let mut there = x.clone();
                there.axpy(epsilon, &h);
                stack.forward(&there, moved).unwrap();
                moved.axpy(-1.0, &value);
                moved.axpy(-epsilon, &slope);
                stack.team().norm(moved).unwrap()
            };
            let double = S::NAME.ends_with("f64");
            let steps = if double { vec![1e-1, 1e-2, 1e-3] } else { vec![1e-1, 1e-2] };
            let remainders: Vec<f64> = steps.iter().map(|epsilon| remainder(*epsilon, &mut moved)).collect();
            for pair in remainders.windows(2) {
                let fall = pair[0] / pair[1];
                assert!((60.0..160.0).contains(&fall), "{}: {remainders:?}", S::NAME);
            }
            let mut dx = stack.zero_model();
            stack.vjp(&at, &dy, &mut dx).unwrap();
            let [there] = stack.team().dots([(&slope, &dy)]).unwrap();
            let [back] = stack.team().dots([(&h, &dx)]).unwrap();
            let scale = stack.team().norm(&slope).unwrap() * stack.team().norm(&dy).unwrap();
            assert!((there - back).abs() < if double { 1e-12 } else { 1e-5 } * scale, "{there} {back}");

            // as an operator of its own it stays at its point
            let derivative = Derivative::<S>::at(Arc::new(Cube(line(4))), x.as_slice()).unwrap();
            assert!(dot_test(&derivative, 1).unwrap().passes::<S>());
            let mut alone = vec![S::default(); 4];
            derivative.forward(h.as_slice(), &mut alone, &mut Work::default()).unwrap();
            if let Some(block) = slope.block_slice(0) {
                assert_eq!(bytes(&alone), bytes(block));
            }
        }
    }
    each_scalar!(check, comm);
}

fn r15_gram_and_hilbert(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(_: &Rc<dyn Comm>) {
        let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 2e-5 };
        let near = |a: f64, b: f64| assert!((a - b).abs() <= tolerance * b.abs(), "{}: {a} {b}", S::NAME);
        let grid = Shape::new([("t", 200)]);
        let ones = vec![S::from_f64(1.0); 200];
        let h = 2.0 * PI / 200.0;
        let l2 = Gram::<S>::l2(grid.clone(), h).unwrap();
        near(l2.norm(&ones).unwrap(), 2.506_628_274_631_00);
        // D12: order 0 forgets no volume element
        let zero = Gram::<S>::sobolev(grid.clone(), &[2.0 * PI], 0.0).unwrap();
        near(zero.norm(&ones).unwrap(), 2.506_628_274_631_00);
        let u = random::<S>(200, 1);
        near(zero.norm(&u).unwrap(), l2.norm(&u).unwrap());
        // of one wave (1 + k²)^s, for positive and negative k
        for k in [1.0, 3.0, 99.0] {
            let wave: Vec<S> = (0..200).map(|i| S::from_f64((k * h * f64::from(i)).cos())).collect();
            let of_order = |order| Gram::<S>::sobolev(grid.clone(), &[2.0 * PI], order).unwrap().norm(&wave).unwrap();
            near(of_order(1.5), (1.0 + k * k).powf(0.75) * PI.sqrt());
        }
        let weighted =
            Gram::direct_sum(vec![(3.0, Gram::l2(line(2), 1.0).unwrap()), (1.0, Gram::l2(line(1), 1.0).unwrap())]);
        let weighted: Gram<S> = weighted.unwrap();
        let mut out = vec![S::default(); 3];
        weighted.forward(&[S::from_f64(1.0); 3], &mut out, &mut Work::default()).unwrap();
        assert_eq!(out, [9.0, 9.0, 1.0].map(S::from_f64));

        // ⟨T x, y⟩_Y = ⟨x, T† y⟩_X, between a weighted direct sum and a Sobolev space in two dims
        let image = Shape::new([("y", 4), ("x", 5)]);
        let matrix: Array2<S> = matrix(20, 7, 4);
        let t: SharedOperator<S> = Arc::new(stackphys::physics::Dense::new(line(7), matrix).unwrap());
        let parts = vec![(2.0, Gram::l2(line(3), 0.5).unwrap()), (0.3, Gram::sobolev(line(4), &[1.0], 1.0).unwrap())];
        let gram_x: Gram<S> = Gram::direct_sum(parts).unwrap();
        let rows = Shape::new([("row", 20)]);
        let gram_y = || Gram::<S>::sobolev(rows.clone(), &[3.0], 0.7).unwrap();
        let back = hilbert_adjoint(&t, &gram_x, gram_y()).unwrap();
        let (x, y) = (random::<S>(7, 2), random::<S>(20, 3));
        let (mut tx, mut ty) = (vec![S::default(); 20], vec![S::default(); 7]);
        t.forward(&x, &mut tx, &mut Work::default()).unwrap();
        back.forward(&y, &mut ty, &mut Work::default()).unwrap();
        let (left, right) = (gram_y().inner(&tx, &y).unwrap(), gram_x.inner(&x, &ty).unwrap());
        assert!((left - right).abs() < 10.0 * tolerance * gram_y().norm(&tx).unwrap() * gram_y().norm(&y).unwrap());
        // it is another map than the plain adjoint
        let mut plain = vec![S::default(); 7];
        adjoint(&t).forward(&y, &mut plain, &mut Work::default()).unwrap();
        assert!(distance(&plain, &ty.clone().into()) > 0.1);

        for gram in [Gram::<S>::sobolev(image, &[1.0, 2.0], 1.0).unwrap(), gram_x, gram_y()] {
            use stackphys::operator::LinearOperator;
            let u = random::<S>(gram.domain().len(), 5);
            let (mut there, mut again) = (u.clone(), u.clone());
            gram.forward(&u, &mut there, &mut Work::default()).unwrap();
            assert!(dot(&u, &there) > 0.0);
            gram.inverse().forward(&there, &mut again, &mut Work::default()).unwrap();
            assert!(distance(&again, &u.into()) < 10.0 * tolerance);
            assert!(dot_test(&gram, 1).unwrap().passes::<S>());
            structure_test(&gram, 1).unwrap();
        }
    }
    each_scalar!(check, comm);
    let wrong = |gram: Result<Gram<f64>, Fault>| gram.err().unwrap().text;
    assert!(wrong(Gram::l2(line(2), 0.0)).contains("volume of a grid cell"));
    assert!(wrong(Gram::sobolev(line(2), &[], 1.0)).contains("expected 1 extents, one for each dim of (x=2), got 0"));
    assert!(wrong(Gram::sobolev(line(2), &[1.0], f64::NAN)).contains("order of a Sobolev space"));
    assert!(wrong(Gram::direct_sum(Vec::new())).contains("at least one summand"));
    let gram = Gram::<f64>::l2(line(2), 1.0).unwrap();
    assert!(gram.norm(&[1.0]).unwrap_err().text.contains("expected 2 numbers of (x=2), got [1, 1]"));
}

/// h times the lower triangle of ones, in blocks of rows. L2 has the same volume element on both sides, so it drops out.
fn integration(comm: &Rc<dyn Comm>, blocks: usize) -> Stack<f64> {
    const N: usize = 200;
    let rows = move |index: usize| N * index / blocks..N * (index + 1) / blocks;
    let factory = FromFn::new(
        blocks,
        move |index| {
            Ok(Description::new(format!("rows {:?}", rows(index)), line(N), Shape::new([("row", rows(index).len())])))
        },
        move |index| {
            let first = rows(index).start;
            let step = 2.0 * PI / N as f64;
            let entry = |(i, j)| if j <= first + i { step } else { 0.0 };
            let matrix = Array2::from_shape_fn((rows(index).len(), N), entry);
            Ok(Box::new(stackphys::physics::Dense::new(line(N), matrix)?) as Boxed<f64>)
        },
    );
    Stack::build(Team::new(comm.clone()), &factory, PlanOptions::default()).unwrap()
}

fn r16_operator_norm(comm: &Rc<dyn Comm>) {
    const GOLDEN: f64 = 16.080_182_246_955_744;
    for blocks in [1, 4, 7] {
        let stack = integration(comm, blocks);
        let value = |how: NormSquared| match norm_squared(&stack, &how, &mut |_: &Progress| ()).unwrap() {
            NormSquaredEstimate::Value { value, .. } => value,
            bounds => panic!("{bounds:?}"),
        };
        let power = value(NormSquared::Exact(PowerParams::default()));
        assert!((power / GOLDEN - 1.0).abs() < 1e-3, "{power}");
        let lanczos = value(NormSquared::Lanczos(LanczosParams { tolerance: 1e-10, ..LanczosParams::default() }));
        assert!((lanczos / GOLDEN - 1.0).abs() < 1e-8, "{lanczos}");
        let bounds = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap();
        let NormSquaredEstimate::Bounds { below, above, .. } = bounds else { panic!("{bounds:?}") };
        assert!((below..=above).contains(&GOLDEN) && above.is_finite(), "{below} {above}");
    }
    // X1: the largest norm of a member, 1, is no bound of [I; I]
    let same = FromFn::new(
        2,
        |_| Ok(Description::new("identity", line(3), line(3))),
        |_| Ok(Box::new(stackphys::physics::Identity::new(line(3))) as Boxed<f64>),
    );
    let stack = Stack::build(Team::new(comm.clone()), &same, PlanOptions::default()).unwrap();
    let bounds = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap();
    let NormSquaredEstimate::Bounds { above, .. } = bounds else { panic!("{bounds:?}") };
    assert!(above >= 2.0);
    let exact = norm_squared(&stack, &NormSquared::Lanczos(LanczosParams::default()), &mut |_: &Progress| ()).unwrap();
    let NormSquaredEstimate::Value { value, .. } = exact else { panic!("{exact:?}") };
    assert!((value - 2.0).abs() < 1e-8);
}
