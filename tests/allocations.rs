//! After the first iteration nothing allocates. A counting allocator says so.
//!
//! One process with one thread, one with lanes on two, and two ranks that share memory; what MPI does inside a reduction is its own affair. The
//! test is alone in its file, since the allocator counts for the whole process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::compositions;
use common::promises::ct_stack;
use common::{Boxed, blur_stack, dense, each_scalar, rows_of, stack_of};
use stackphys::comm::{Beyond, Comm, Halo, Margin, Reduction, Solo, Summation, Team, Through, Transfer, threads};
use stackphys::operator::algebra::{Sum, adjoint, compose};
use stackphys::operator::{Apply, Cut, LinearOperator, SharedOperator, Work, split};
use stackphys::physics::Dense;
use stackphys::recon::fidelity::{AnyFidelity, Huber};
use stackphys::recon::{DataTerm, GradientDescent, GradientDescentParams, PrimalDual, PrimalDualParams};
use stackphys::solver::{
    AnyPreconditioner, Bicgstab, BicgstabParams, BlockParams, Cg, CgParams, Cgls, CglsParams, Chebyshev,
    ForwardAdjoint, FourierParams, JacobiParams, Landweber, LandweberParams, Lsmr, LsmrParams, Lsqr, LsqrParams,
    Method, Minres, MinresParams, Power, PowerParams,
};
use stackphys::space::{Partition, Vector};
use stackphys::stack::{PlanOptions, Stack};
use stackphys::{Scalar, Shape};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_add(layout.size(), Ordering::SeqCst);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(action: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    action();
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// Every method, damped or not as it may be.
fn methods<'a, S: Scalar>(
    stack: &'a Stack<S>,
    y: &'a Vector<S>,
    term: &'a DataTerm<'a, S>,
) -> Vec<(&'static str, Box<dyn Method + 'a>)> {
    let cg = || Cg::new(stack, &CgParams { damping: 0.1, ..CgParams::default() }, y, None);
    let by = |preconditioner: AnyPreconditioner| preconditioner.build(stack, 0.1).unwrap();
    let outer = || ForwardAdjoint::new(stack, y, 0.1, None);
    let non_negative = !S::IS_COMPLEX;
    let descent = GradientDescentParams { damping: 0.1, non_negative, ..Default::default() };
    let primal_dual = PrimalDualParams { damping: 0.1, non_negative, ..Default::default() };
    vec![
        ("CG", Box::new(cg())),
        ("Jacobi", Box::new(cg().preconditioned(by(AnyPreconditioner::Jacobi(JacobiParams::default()))))),
        ("Fourier", Box::new(cg().preconditioned(by(AnyPreconditioner::Fourier(FourierParams::default()))))),
        ("block", Box::new(cg().preconditioned(by(AnyPreconditioner::Block(BlockParams::default()))))),
        ("Craig", Box::new(Cg::on(outer()))),
        ("MINRES", Box::new(Minres::new(stack, &MinresParams::default(), y, None))),
        ("MINRES on AAᴴ", Box::new(Minres::on(outer()))),
        ("BiCGStab", Box::new(Bicgstab::new(stack, &BicgstabParams { damping: 0.1, ..Default::default() }, y, None))),
        ("Chebyshev", Box::new(Chebyshev::new(stack, y, 0.1, [0.1, 1e4], None))),
        ("CGLS", Box::new(Cgls::new(stack, &CglsParams { damping: 0.1, ..Default::default() }, y, None))),
        ("LSQR", Box::new(Lsqr::new(stack, &LsqrParams { damping: 0.1, ..Default::default() }, y, None))),
        ("LSMR", Box::new(Lsmr::new(stack, &LsmrParams { damping: 0.1, ..Default::default() }, y, None))),
        ("Landweber", Box::new(Landweber::new(stack, &LandweberParams::default(), y, None))),
        ("gradient descent", Box::new(GradientDescent::new(term, &descent, None))),
        ("primal-dual", Box::new(PrimalDual::new(term, &primal_dual, None))),
        ("power", Box::new(Power::new(stack, &PowerParams::default()))),
    ]
}

fn nothing_allocates<S: Scalar>(lanes: usize) {
    let comm: Rc<dyn Comm> = Rc::new(Solo);
    for summation in [Summation::Fast, Summation::Ordered] {
        let options = PlanOptions { summation, lanes, ..PlanOptions::default() };
        let build = |index| Ok(Box::new(dense::<S>(rows_of(index), 13, index as u64)) as Boxed<S>);
        let stacks: [Stack<S>; 3] = [
            ct_stack(&comm, 5, options),
            stack_of(&comm, 7, 13, options, build).unwrap(),
            blur_stack(&comm, 3, options),
        ];
        for stack in &stacks {
            let y = stackphys::testing::random(stack.range(), 1, 2);
            let term = DataTerm::new(stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.3 })]).unwrap();
            for (name, mut method) in methods(stack, &y, &term) {
                method.start().unwrap();
                method.step().unwrap();
                method.step().unwrap();
                let in_steps = count(|| {
                    for _ in 0..5 {
                        method.step().unwrap();
                    }
                });
                assert_eq!(in_steps, 0, "{name}, {} {summation:?}, {lanes} lanes", S::NAME);
            }

            let (mut x, mut data) = (stack.zero_model(), stack.zero_data());
            stack.forward(&x, &mut data).unwrap();
            stack.adjoint(&data, &mut x).unwrap();
            let in_stack = count(|| {
                stack.forward(&x, &mut data).unwrap();
                stack.adjoint(&data, &mut x).unwrap();
            });
            assert_eq!(in_stack, 0, "forward and adjoint, {} {summation:?}, {lanes} lanes", S::NAME);
        }
    }
}

/// Transfers and halos; what a communicator does inside is its own affair.
fn nothing_allocates_on_the_way<S: Scalar>() {
    let team = Team::solo();
    let parts = Partition::even(&Shape::new([("y", 9), ("x", 12)]), &[("y", 2), ("x", 3)]).unwrap();
    let margins = ["y", "x"].map(|dim| Margin::both(dim, 2, Beyond::Reflect));
    let halo = Halo::<S>::new(&team, &parts, &margins).unwrap();
    let transfer = Transfer::<S>::new(&team, halo.domain(), halo.domain()).unwrap();
    let (mut x, mut moved) = (Vector::zeros(halo.domain()), Vector::zeros(halo.domain()));
    let mut wide = Vector::zeros(halo.range());
    let on_the_way = count(|| {
        transfer.forward(&team, &x, &mut moved).unwrap();
        halo.forward(&team, &moved, &mut wide).unwrap();
        halo.adjoint(&team, &wide, &mut moved).unwrap();
        transfer.adjoint(&team, &moved, &mut x).unwrap();
    });
    assert_eq!(on_the_way, 0, "transfer and halo, {}", S::NAME);
}

/// The same on two ranks, which are threads: both begin and end together, and the allocator counts for both.
fn nothing_allocates_in_shared_memory<S: Scalar>() {
    for (summation, columns) in [(Summation::Fast, 20), (Summation::Fast, 300), (Summation::Ordered, 300)] {
        threads::run(2, |comm| {
            let options = PlanOptions { summation, reduction: Reduction::Shared, ..PlanOptions::default() };
            let build = |index| Ok(Box::new(dense::<S>(rows_of(index), columns, index as u64)) as Boxed<S>);
            let stack = stack_of::<S>(&comm, 7, columns, options, build).unwrap();
            assert_eq!(stack.team().through(), Through::Shared);
            let y = stackphys::testing::random(stack.range(), 1, 2);
            let mut cg = Cg::new(&stack, &CgParams { damping: 0.1, ..CgParams::default() }, &y, None);
            cg.start().unwrap();
            cg.step().unwrap();
            comm.barrier();
            let in_cg = count(|| {
                comm.barrier();
                for _ in 0..5 {
                    cg.step().unwrap();
                }
                comm.barrier();
            });
            assert_eq!(in_cg, 0, "CG on two ranks, {} {summation:?} {columns}", S::NAME);
            comm.barrier();
        });
    }
}

/// Containers in containers take scratch of the same names; after the first call all of it is there.
fn nothing_allocates_in_compositions<S: Scalar>() {
    for (name, operator) in compositions::all::<S>() {
        let mut work = Work::default();
        let mut x: Vec<S> = common::random(operator.domain().len(), 1);
        let mut y: Vec<S> = common::random(operator.range().len(), 2);
        let mut out = x.clone();
        let mut all = || {
            operator.forward(&x, &mut y, &mut work).unwrap();
            operator.forward_add(&x, &mut y, &mut work).unwrap();
            operator.adjoint(&y, &mut x, &mut work).unwrap();
            operator.adjoint_add(&y, &mut x, &mut work).unwrap();
            operator.normal_add(&x, &mut out, &mut work).unwrap();
        };
        all();
        assert_eq!(count(all), 0, "{name} {}", S::NAME);
    }
}

/// T13, and the memory of tiles: weights that are used twice are there once, and a tile holds its own.
fn weights_are_in_memory_once() {
    let bytes = |action: &mut dyn FnMut() -> SharedOperator<f64>| {
        let before = BYTES.load(Ordering::SeqCst);
        let operator = action();
        (BYTES.load(Ordering::SeqCst) - before, operator)
    };
    let (m, n, b) = (512, 1024, 6);
    let weights = (8 * m * n) as f64; // 4 MB
    let (shape, domain) = (Shape::new([("m", m), ("n", n)]), Shape::new([("b", b), ("n", n)]));
    let a: SharedOperator<f64> = Arc::new(Dense::named(shape, vec![1.0; m * n], domain, &["b", "m"]).unwrap());
    // all that was ever asked for, names and shapes among it
    let small = |bytes: usize| (bytes as f64) < 1e-2 * weights;
    let (twice, _kept) = bytes(&mut || Arc::new(Sum::new(vec![a.clone(), a.clone(), a.clone()]).unwrap()));
    assert!(small(twice), "{twice}");
    let (adjoints, _kept) = bytes(&mut || compose(vec![a.clone(), adjoint(&a)]).unwrap());
    assert!(small(adjoints), "{adjoints}");
    // tiles along a broadcast dim share the weights
    let grid = split(&a, &[("b", Cut::Chunks(1))]).unwrap();
    let (shared, _kept) = bytes(&mut || grid.assemble(grid.operators().unwrap()).unwrap());
    assert!(small(shared), "{shared}");
    // a grid holds nothing, a tile its part
    let (plan, _kept) = bytes(&mut || {
        split(&a, &[("m", Cut::Chunks(128))]).unwrap();
        a.clone()
    });
    assert!(small(plan), "{plan}");
    let grid = split(&a, &[("m", Cut::Chunks(128))]).unwrap();
    let (tile, _kept) = bytes(&mut || grid.operator(&[2]).unwrap());
    assert!((tile as f64 / (weights / 4.0) - 1.0).abs() < 0.01, "{tile}");
}

#[test]
fn nothing_allocates_after_the_first_iteration() {
    // one thread that is the pool itself: what a rank of the program is
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    assert!(count(|| drop(std::hint::black_box(Box::new(1)))) > 0, "the allocator counts");
    each_scalar!(nothing_allocates, 1);
    // the allocator counts for all threads of the pool
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| each_scalar!(nothing_allocates, 3));
    each_scalar!(nothing_allocates_on_the_way);
    each_scalar!(nothing_allocates_in_shared_memory);
    each_scalar!(nothing_allocates_in_compositions);
    weights_are_in_memory_once();
}
