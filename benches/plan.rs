//! How long a plan takes and what it holds: 100,000 tiles on 10,000 ranks. Run: `scripts/bench.sh plan`.
//!
//! Every rank makes the whole plan, so both must be small: under 1 s and 200 MB. Nothing is built and nothing is sent.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ndarray::array;
use stackphys::comm::Summation;
use stackphys::operator::{Cut, Deferred, SharedOperator, split};
use stackphys::space::Space;
use stackphys::stack::{Assignment, BlockPlan, Description, Factory, PlanOptions, Tiles};
use stackphys::{Fault, Shape};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RANKS: usize = 10_000;
const ROUNDS: usize = 3;

/// The seconds of each step, several times.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn of<T>(&mut self, what: &'static str, action: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = action();
        self.add(what, begin.elapsed().as_secs_f64());
        done
    }

    fn add(&mut self, what: &'static str, took: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, times)) => times.push(took),
            None => self.0.push((what, vec![took])),
        }
    }
}

/// Plans a factory's members, and prints the median of each step as a JSON object a line, and the memory.
fn plan(name: &str, factory: &dyn Factory<f64>, options: PlanOptions) {
    let before = LIVE.load(Ordering::Relaxed);
    let held = || (LIVE.load(Ordering::Relaxed) - before) as f64 / 1e6;
    let (mut times, mut holds, count) = (Times::default(), 0.0, factory.count());
    PEAK.store(before, Ordering::Relaxed);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let members: Vec<Description> =
            times.of("describe", || (0..count).map(|index| factory.describe(index)).collect::<Result<_, _>>().unwrap());
        let plan = times
            .of("who owns what", || BlockPlan::with_blocks::<f64>(factory.blocks(), members, RANKS, options).unwrap());
        times.of("hash", || plan.hash());
        times.add("in all", begin.elapsed().as_secs_f64());
        holds = held();
        let rank = RANKS / 2;
        times.of("one rank: bytes and messages", || {
            (plan.model_bytes(rank), plan.operator_bytes(rank), plan.scratch_bytes(rank), plan.reduction(rank))
        });
        times.of("one rank: spaces", || (Space::new(plan.model_blocks(), rank), Space::new(plan.data_blocks(), rank)));
        times.of("printed", || plan.to_string());
    }
    let most = (PEAK.load(Ordering::Relaxed) - before) as f64 / 1e6;
    println!("{name}: {count} members on {RANKS} ranks; holds {holds:.0} MB, {most:.0} MB at the most");
    for (what, mut times) in times.0 {
        times.sort_by(f64::total_cmp);
        let (median, least) = (times[ROUNDS / 2], times[0]);
        println!(
            "{{\"who\": \"stackphys\", \"case\": \"plan, {name}\", \"what\": \"{what}\", \"operators\": {count}, \
             \"ranks\": {RANKS}, \"median\": {median:.3e}, \"least\": {least:.3e}}}"
        );
    }
}

/// A matrix that nobody could hold, in `rows` × `columns` tiles.
fn tiles(rows: usize, columns: usize) -> Tiles<'static, f64> {
    let (x, y) = (Shape::new([("n", 1000 * columns)]), Shape::new([("m", 1000 * rows)]));
    let huge: SharedOperator<f64> = Arc::new(Deferred::new(x, y, &["m", "n"], |_| Err(Fault::new("not built here"))));
    Tiles::new(split(&huge, &[("m", Cut::Chunks(1000)), ("n", Cut::Chunks(1000))]).expect("a grid"))
}

/// Members that all read the one x and have measurements of their own.
struct OneX;

impl Factory<f64> for OneX {
    fn count(&self) -> usize {
        100_000
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let image = Shape::new([("y", 640), ("x", 640)]);
        Ok(Description::new(format!("scan, angle {index}"), image, Shape::new([("angle", 1), ("column", 640)])))
    }
    fn build(&self, _index: usize) -> Result<Box<dyn stackphys::operator::LinearOperator<f64>>, Fault> {
        Err(Fault::new("not built here"))
    }
}

fn main() {
    let options = PlanOptions::default();
    plan("316 × 316 tiles", &tiles(316, 316), options);
    let matrix = array![[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]].into_dyn();
    let on_ranks = tiles(400, 250).on_ranks(&matrix, RANKS).expect("ranks");
    plan("400 × 250 tiles, rank matrix", &on_ranks, options);
    plan("one x", &OneX, options);
    let ordered = PlanOptions { assignment: Assignment::ByCost, summation: Summation::Ordered, ..options };
    plan("one x, by cost, ordered", &OneX, ordered);
}
