//! What a call holds in memory while it runs, its first one too. A counting allocator says so.
//!
//! One process, one thread; for lanes a pool of two. The BLAS has buffers of its own, of a size that does not depend on ours, which are not seen
//! here. The test is alone in its file, since the allocator counts for the whole process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Boxed, dense, each_scalar, random};
use stackphys::comm::{Summation, Team};
use stackphys::operator::{Closure, Cut, SharedOperator, split};
use stackphys::physics::{Dense, Detector, Diagonal, ParallelCt};
use stackphys::stack::{Description, FromFn, PlanOptions, Stack, Tiles};
use stackphys::{Fault, Scalar, Shape};

struct Counting;

/// Bytes that are allocated now, and the most that were since it was last set.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn add(bytes: usize) {
        let live = LIVE.fetch_add(bytes, Ordering::SeqCst) + bytes;
        PEAK.fetch_max(live, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::SeqCst);
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::add(size); // both, for a moment
        LIVE.fetch_sub(layout.size(), Ordering::SeqCst);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `action` held at once beside what there was before.
fn peak_of(action: impl FnOnce()) -> usize {
    let before = LIVE.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    action();
    PEAK.load(Ordering::SeqCst) - before
}

const MEMBERS: usize = 16;

/// 16 members of one kind on one process.
fn stack_of<S: Scalar>(
    summation: Summation,
    domain: &Shape,
    range: &Shape,
    build: impl Fn(usize) -> Result<Boxed<S>, Fault>,
) -> Stack<S> {
    let factory = FromFn::new(
        MEMBERS,
        |index| Ok(Description::new(format!("member {index}"), domain.clone(), range.clone())),
        build,
    );
    Stack::build(Team::solo(), &factory, PlanOptions { summation, ..PlanOptions::default() }).unwrap()
}

/// The ready-made forward models, and one that offers nothing beyond forward and adjoint.
const KINDS: [&str; 5] = ["dense", "diagonal", "parallel_ct", "parallel_ct of a volume", "closure"];

/// A stack of one kind that was never called.
fn fresh<S: Scalar>(kind: &str, summation: Summation) -> Stack<S> {
    let line = Shape::new([("x", 4096)]);
    let rows = Shape::new([("row", 24)]);
    let ct = |dims: &[(&'static str, usize)]| {
        let image = Shape::new(dims.iter().copied());
        let slices = (dims.len() == 3).then(|| ("row", dims[0].1));
        let sinogram = Shape::new([("angle", 12)].into_iter().chain(slices).chain([("column", 231)]));
        stack_of(summation, &image, &sinogram, |index| {
            let angles: Vec<f64> = (0..12).map(|k| 0.2 * f64::from(k) + 0.01 * index as f64).collect();
            Ok(Box::new(ParallelCt::new(&image, &angles, Detector::new(231))?) as _)
        })
    };
    match kind {
        "dense" => stack_of(summation, &line, &rows, |index| Ok(Box::new(dense::<S>(24, 4096, index as u64)) as _)),
        "diagonal" => stack_of(summation, &line, &line, |index| {
            Ok(Box::new(Diagonal::new([("x", 4096)], random(4096, index as u64))?) as _)
        }),
        "parallel_ct" => ct(&[("y", 128), ("x", 160)]),
        "parallel_ct of a volume" => ct(&[("z", 3), ("y", 128), ("x", 160)]),
        _ => stack_of(summation, &line, &rows, |index| {
            let pick = move |row: usize| 7 * row + index;
            Ok(Box::new(Closure::<S>::new(
                line.clone(),
                rows.clone(),
                move |x, y| {
                    y.iter_mut().enumerate().for_each(|(row, y)| *y = x[pick(row)]);
                    Ok(())
                },
                move |y, x| {
                    x.fill(S::default());
                    y.iter().enumerate().for_each(|(row, y)| x[pick(row)] = *y);
                    Ok(())
                },
            )) as _)
        }),
    }
}

/// `Aᴴ y` and `AᴴA x` need 1.2 vectors of the model at most, however many members a rank has: not one for each.
///
/// An ordered sum has a tree of partial sums beside that: one for each of its levels, log₂ 16 = 4.
fn temporaries<S: Scalar>() {
    for (summation, levels) in [(Summation::Fast, 0), (Summation::Ordered, 4)] {
        let bound = 1.2 + f64::from(levels);
        for kind in KINDS {
            let in_first_call = [false, true].map(|normal| {
                let stack = fresh::<S>(kind, summation);
                let x = stackphys::testing::random(stack.domain(), 1, 1);
                let y = stackphys::testing::random(stack.range(), 1, 2);
                let mut out = stack.zero_sum();
                let vectors = |bytes: usize| bytes as f64 / size_of_val(x.as_slice()) as f64;
                let before = LIVE.load(Ordering::SeqCst);
                let first = vectors(peak_of(|| {
                    if normal { stack.normal(&x, &mut out) } else { stack.adjoint(&y, &mut out) }.unwrap();
                }));
                // later ones, of the other kind too, use the same again
                let kept = vectors(LIVE.load(Ordering::SeqCst) - before);
                let later = vectors(peak_of(|| {
                    stack.adjoint(&y, &mut out).unwrap();
                    stack.normal(&x, &mut out).unwrap();
                    stack.adjoint(&y, &mut out).unwrap();
                }));
                let most = first.max(kept + later);
                assert!(most <= bound, "{kind} {} {summation:?}: {most} vectors of the model", S::NAME);
                // the plan knows of the tree
                assert!(vectors(stack.plan().scratch_bytes(0) as usize) >= f64::from(levels), "{kind} {summation:?}");
                first
            });
            let [adjoint, normal] = in_first_call;
            println!("{kind:<24} {:<12} {summation:?}: adjoint {adjoint:.3}, normal {normal:.3}", S::NAME);
        }
    }
}

/// T13: two members that share an operator have its numbers in memory once.
fn shared_weights_are_stored_once() {
    let (domain, range) = (Shape::new([("x", 1024)]), Shape::new([("row", 512)]));
    let matrix = 512 * 1024 * size_of::<f64>();
    let before = LIVE.load(Ordering::SeqCst);
    let shared = Arc::new(dense::<f64>(512, 1024, 1));
    let stack = stack_of(Summation::Fast, &domain, &range, |_| Ok(Box::new(shared.clone()) as Boxed<f64>));
    let held = LIVE.load(Ordering::SeqCst) - before;
    assert!((matrix..matrix + matrix / 20).contains(&held), "{held} bytes for a matrix of {matrix}");
    drop(shared);
    let (x, mut out) = (stackphys::testing::random::<f64>(stack.domain(), 1, 1), stack.zero_model());
    stack.normal(&x, &mut out).unwrap();
    assert!(LIVE.load(Ordering::SeqCst) - before >= matrix);
    drop((stack, x, out));
    assert!(LIVE.load(Ordering::SeqCst) - before < matrix / 20, "the last member takes them away");
}

/// T17: as many outputs live at once as there are lanes, however many members; lanes change no bits of what is not summed,
/// and none of ordered sums.
fn t17_lanes_bound_the_live_outputs() {
    const MEMBERS: usize = 64;
    let line = Shape::new([("x", 1 << 17)]);
    let output = 8.0 * line.len() as f64;
    let build = |lanes, summation| {
        let factory = FromFn::new(
            MEMBERS,
            |index| {
                // the closure's adjoint needs one to add
                let scratch_bytes = 8 * line.len() as u64;
                Ok(Description {
                    scratch_bytes,
                    ..Description::new(format!("member {index}"), line.clone(), line.clone())
                })
            },
            |index| {
                let scale = move |from: &[f64], to: &mut [f64]| -> Result<(), Fault> {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from / (1.0 + index as f64));
                    Ok(())
                };
                Ok(Box::new(Closure::new(line.clone(), line.clone(), scale, scale)) as Boxed<f64>)
            },
        );
        Stack::build(Team::solo(), &factory, PlanOptions { lanes, summation, ..PlanOptions::default() }).unwrap()
    };
    let measure = |lanes, summation| {
        let stack = build(lanes, summation);
        let x = stackphys::testing::random::<f64>(stack.domain(), 1, 1);
        let (mut data, mut sum) = (stack.zero_data(), stack.zero_sum());
        let in_forward = peak_of(|| stack.forward(&x, &mut data).unwrap()) as f64 / output;
        let in_adjoint = peak_of(|| stack.adjoint(&data, &mut sum).unwrap()) as f64 / output;
        let planned = stack.plan().scratch_bytes(0) as f64 / output;
        println!(
            "{lanes} lanes, {summation:?}: forward {in_forward:.3}, adjoint {in_adjoint:.3}, planned {planned:.3}"
        );
        // of what is planned the room for measurements is used by other calls
        let blocks = lanes.min(MEMBERS) as f64;
        assert!(in_forward < 0.1, "each lane writes where it shall: {in_forward}");
        assert!((in_adjoint / (planned - blocks) - 1.0).abs() < 0.15, "{in_adjoint}, planned {planned}");
        (in_adjoint, [data.as_slice().to_vec(), sum.as_slice().to_vec()])
    };
    let of = |summation| [2, MEMBERS].map(|lanes| measure(lanes, summation));
    let [(two, fast), (many, fast_by_many)] = of(Summation::Fast);
    assert!(two <= 3.3, "{two} outputs live with two lanes");
    assert!(many > 64.0, "the bound is that of the lanes: {many} with 64");
    let [(_, ordered), (_, ordered_by_many)] = of(Summation::Ordered);
    assert!(ordered == ordered_by_many && fast[0] == fast_by_many[0] && fast[0] == ordered[0]);
}

/// T31: two tiles that share coils hold them once; tiles of different coils hold their own, and the stack nothing else.
fn tiles_share_weights() {
    let (coils, x) = (Shape::new([("c", 16), ("x", 16384)]), Shape::new([("t", 4), ("x", 16384)]));
    let bytes = coils.len() * size_of::<f64>(); // 2 MB, and 4 times as much of measurements if anybody made them
    let before = LIVE.load(Ordering::SeqCst);
    let a: SharedOperator<f64> =
        Arc::new(Dense::named(coils.clone(), random(coils.len(), 5), x, &["t", "c", "x"]).unwrap());
    let held = || LIVE.load(Ordering::SeqCst) - before;
    let once = held();
    assert!((bytes..bytes + bytes / 20).contains(&once), "{once} bytes for coils of {bytes}");
    for (dim, chunk, copies) in [("t", 2, 0), ("t", 1, 0), ("c", 8, 1)] {
        let tiles = Tiles::new(split(&a, &[(dim, Cut::Chunks(chunk))]).unwrap());
        let stack = Stack::build(Team::solo(), &tiles, PlanOptions::default()).unwrap();
        let more = held() - once;
        assert!(more >= copies * bytes && more <= copies * bytes + bytes / 20, "{dim}: {more} bytes beside {bytes}");
        drop(stack);
    }
}

#[test]
fn calls_hold_few_temporaries() {
    // one thread that is the pool itself: what a rank of the program is
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    assert!(peak_of(|| drop(std::hint::black_box(vec![1u8; 5000]))) >= 5000, "the allocator counts");
    each_scalar!(temporaries);
    shared_weights_are_stored_once();
    tiles_share_weights();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(t17_lanes_bound_the_live_outputs);
}
