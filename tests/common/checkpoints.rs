//! Promises about checkpoints: a method that was stopped goes on in the same bits, on another number of ranks too; what is
//! damaged or of another problem is refused.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stackphys::checkpoint::{Checkpoints, Found, When, find};
use stackphys::comm::{Comm, Summation, Team};
use stackphys::operator::Basis;
use stackphys::recon::fidelity::{AnyFidelity, Huber};
use stackphys::recon::{AnyMinimiser, DataTerm, GradientDescentParams, PrimalDualParams, minimise};
use stackphys::solver::{
    AnyMethod, AnyPreconditioner, BicgstabParams, CgParams, CglsParams, ChebyshevParams, JacobiParams, Keeper,
    LandweberParams, LandweberWeights, LsmrParams, LsqrParams, Memory, MinresParams, Observer, Outcome, Progress,
    Status, SystemKind, stop,
};
use stackphys::space::Vector;
use stackphys::stack::{PlanOptions, Stack};
use stackphys::{Error, Scalar};

use super::blocks::grid;
use super::planned::mergeable_on;
use super::promises::Promise;
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("every method goes on in the same bits", every_method_goes_on_in_the_same_bits),
    ("methods on blocks of x go on in the same bits", methods_on_blocks_go_on_in_the_same_bits),
    ("a checkpoint is the same file on any number of ranks", a_checkpoint_is_the_same_file_on_any_ranks),
    ("a damaged checkpoint falls back to the one before", a_damaged_checkpoint_falls_back),
    ("a checkpoint of another problem is refused", a_checkpoint_of_another_problem_is_refused),
    ("a folder that cannot be written is a warning", a_folder_that_cannot_be_written_is_a_warning),
    ("the newest two are kept", the_newest_two_are_kept),
    ("by the clock", checkpoints_by_the_clock),
    ("a merged normal operator hears who asks", a_merged_normal_operator_hears_who_asks),
];

const STEPS: usize = 9;

/// What solves.
#[derive(Debug, Clone)]
enum Way {
    Plain(AnyMethod, Option<AnyPreconditioner>),
    Minimiser(AnyMinimiser),
}

/// Every method, and each of its forms that remembers other things.
fn ways() -> Vec<Way> {
    let (damping, system, max_iter) = (0.3, SystemKind::ForwardAdjoint, STEPS);
    let jacobi = AnyPreconditioner::Jacobi(JacobiParams::default());
    let plain = |method: AnyMethod| Way::Plain(method, None);
    vec![
        plain(CgParams { max_iter, ..CgParams::default() }.into()),
        plain(CgParams { max_iter, damping, system }.into()),
        plain(CgParams { max_iter, system, ..CgParams::default() }.into()),
        Way::Plain(CgParams { max_iter, damping, ..CgParams::default() }.into(), Some(jacobi)),
        plain(CglsParams { max_iter, damping }.into()),
        plain(LsqrParams { max_iter, ..LsqrParams::default() }.into()),
        plain(LsqrParams { max_iter, damping, ..LsqrParams::default() }.into()),
        plain(LsmrParams { max_iter, damping, ..LsmrParams::default() }.into()),
        plain(MinresParams { max_iter, damping, ..MinresParams::default() }.into()),
        plain(BicgstabParams { max_iter, damping, ..BicgstabParams::default() }.into()),
        plain(ChebyshevParams { max_iter, damping, ..ChebyshevParams::default() }.into()),
        plain(LandweberParams { max_iter, ..LandweberParams::default() }.into()),
        Way::Minimiser(GradientDescentParams { max_iter, damping, ..GradientDescentParams::default() }.into()),
        Way::Minimiser(PrimalDualParams { max_iter, damping, ..PrimalDualParams::default() }.into()),
    ]
}

fn kept_vectors(way: &Way) -> [u64; 2] {
    match way {
        Way::Plain(method, _) => method.kept_vectors(),
        Way::Minimiser(method) => method.kept_vectors(),
    }
}

/// Counts steps, asks to stop after one of them, and keeps the state.
struct Watch<'a, 'c> {
    checkpoints: Option<&'a mut Checkpoints<'c>>,
    seen: usize,
    /// After which step, and where to say so; on one rank.
    asks: Option<(usize, Arc<AtomicBool>)>,
}

impl Observer for Watch<'_, '_> {
    fn observe(&mut self, progress: &Progress) {
        self.seen += 1;
        if let Some((at, hand)) = &self.asks
            && progress.iteration == *at
        {
            hand.store(true, Ordering::Relaxed);
        }
    }
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        self.checkpoints.is_some().then_some(self)
    }
}

/// As checkpoints are, but each is on the disk before the next step: these steps are quicker than any disk.
impl Keeper for Watch<'_, '_> {
    fn goes_on(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.goes_on())
    }
    fn restore(&mut self, remember: &mut dyn FnMut(&mut dyn Memory)) -> Result<Option<Vec<Progress>>, Error> {
        self.checkpoints.as_mut().unwrap().restore(remember)
    }
    fn keep(
        &mut self,
        remember: &mut dyn FnMut(&mut dyn Memory),
        history: &[Progress],
    ) -> Result<Option<(Status, stop::Stop)>, Error> {
        let checkpoints = self.checkpoints.as_mut().unwrap();
        let asked = checkpoints.keep(remember, history)?;
        checkpoints.finish().map(|()| asked)
    }
}

type Solved<S> = Result<(Vector<S>, Outcome), Error>;

fn solve<S: Scalar>(stack: &Stack<S>, way: &Way, observer: &mut dyn Observer) -> Solved<S> {
    let mut y = stack.zero_data();
    y.fill_normal(&Stream::new(5, 8));
    let rule = stop::iterations(STEPS);
    let mut guess = stack.zero_model();
    guess.fill_normal(&Stream::new(5, 9));
    let guess = Some(guess).filter(|_| !observer.keeper().is_some_and(|keeper| keeper.goes_on()));
    match way {
        Way::Plain(method, by) => method.solve(stack, &y, by.as_ref(), guess, &*rule, observer),
        Way::Minimiser(method) => {
            let term = DataTerm::new(stack, &y, vec![AnyFidelity::Huber(Huber { delta: 0.5 })])?;
            minimise(&term, method, guess, &*rule, observer).map(|minimum| (minimum.x, minimum.outcome))
        }
    }
}

fn options() -> PlanOptions {
    PlanOptions { summation: Summation::Ordered, ..PlanOptions::default() }
}

fn stack<S: Scalar>(team: Team) -> Stack<S> {
    let model = Shape::new([("x", 13)]);
    let rows = |index: usize| Shape::new([("row", rows_of(index))]);
    let factory = FromFn::new(
        5,
        |index| Ok(Description::new(format!("dense {index}"), model.clone(), rows(index))),
        |index| Ok(Box::new(dense::<S>(rows_of(index), 13, 100 + index as u64)) as Boxed<S>),
    );
    Stack::build(team, &factory, options()).unwrap()
}

/// One whose weights for SIRT exist.
fn stack_without_negative_entries(team: Team) -> Stack<f64> {
    let model = Shape::new([("x", 13)]);
    let factory = FromFn::new(
        5,
        |index| Ok(Description::new("dense", model.clone(), Shape::new([("row", rows_of(index))]))),
        |index| {
            let entries = matrix::<f64>(rows_of(index), 13, 100 + index as u64).mapv(f64::abs);
            Ok(Box::new(Dense::new(model.clone(), entries)?) as Boxed<f64>)
        },
    );
    Stack::build(team, &factory, options()).unwrap()
}

/// A folder that all ranks know; rank 0 makes it and holds it.
fn folder(team: &Team) -> (Option<tempfile::TempDir>, std::path::PathBuf) {
    let made = (team.rank() == 0).then(|| tempfile::tempdir().unwrap());
    let path = team.from_rank_0(|| Ok(made.as_ref().map(|made| made.path().to_owned()))).unwrap().unwrap();
    (made, path)
}

fn found(team: &Team, folder: &Path) -> Vec<Found> {
    team.from_rank_0(|| find(folder).map(|(found, _)| found)).unwrap()
}

fn keeping<'t>(team: &'t Team, folder: &Path, every: Option<usize>, from: Vec<Found>) -> Checkpoints<'t> {
    let when = When { every_iterations: every, every_minutes: None, ..When::default() };
    Checkpoints::new(team, folder.to_owned(), when, serde_json::json!("a test"), from)
}

/// Solves on all ranks; again, and is asked to stop by the last rank; goes on with that on the first half of the ranks.
fn goes_on_in_the_same_bits<S: Scalar>(comm: &Rc<dyn Comm>, build: impl Fn(Team) -> Stack<S>, way: &Way) {
    let of = format!("{way:?} {} on {} ranks", S::NAME, comm.size());
    let whole = build(Team::new(comm.clone()));
    let (x, outcome) = solve(&whole, way, &mut |_: &Progress| ()).unwrap();
    let (_held, folder) = folder(whole.team());

    for at in [0, 4] {
        let hand = Arc::new(AtomicBool::new(false));
        let stopped = build(Team::new(comm.clone()).with_hand(hand.clone()));
        let asks = (comm.rank() + 1 == comm.size()).then_some((at, hand));
        let mut checkpoints = keeping(stopped.team(), &folder, Some(3), Vec::new());
        let (_, begun) =
            solve(&stopped, way, &mut Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks }).unwrap();
        assert_eq!(begun.status, Status::Stopped, "{of}: {begun:?}");
        assert_eq!(begun.stop.rule, "asked to stop");
        assert!(begun.iterations() <= at + 1, "{of}: {begun:?}"); // the hand is seen in the next sum

        let half = comm.size().div_ceil(2);
        if let Some(some) = comm.split((comm.rank() < half).then_some(0), comm.rank()) {
            let again = build(Team::new(some));
            let from = found(again.team(), &folder);
            assert_eq!(from[0].table.iteration(), begun.iterations());
            // what the plan forecasts; a first guess of an undamped AAᴴ is kept too
            let [of_model, of_data] = kept_vectors(way);
            let (model, data) = (again.domain().len() as u64, again.range().len() as u64);
            let bytes = (of_model * model + of_data * data) * size_of::<S>() as u64;
            let has_guess = from[0].table.vectors.iter().any(|vector| vector.name == "first_guess");
            let guess = if has_guess { model * size_of::<S>() as u64 } else { 0 };
            assert_eq!(from[0].table.bytes(), bytes + guess, "{of}");
            let mut checkpoints = keeping(again.team(), &folder, None, from);
            let mut watch = Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None };
            let (x_again, ended) = solve(&again, way, &mut watch).unwrap();
            let seen = watch.seen;
            assert_eq!(seen, STEPS - begun.iterations() + 1, "{of}: the last step again, then the rest");
            let numbers = |outcome: &Outcome| -> Vec<Progress> {
                outcome.history.iter().map(|step| Progress { seconds: 0.0, ..step.clone() }).collect()
            };
            assert_eq!(numbers(&ended), numbers(&outcome), "{of}");
            if half == comm.size() || x.space().is_replicated() {
                assert_eq!(x_again.as_slice(), x.as_slice(), "{of}");
            } else {
                for block in 0..x.space().blocks().len() {
                    if let (Some(again), Some(before)) = (x_again.block_slice(block), x.block_slice(block)) {
                        assert_eq!(again, before, "{of}");
                    }
                }
            }
        }
        whole.team().barrier(); // the others wait with the next files
        if comm.rank() == 0 {
            fs::remove_dir_all(&folder).unwrap();
        }
        whole.team().barrier();
    }
}

fn every_method_goes_on_in_the_same_bits(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for way in ways() {
            goes_on_in_the_same_bits::<S>(comm, stack, &way);
        }
    }
    each_scalar!(check, comm);
    let sirt = LandweberParams { max_iter: STEPS, weights: LandweberWeights::Sums, ..LandweberParams::default() };
    goes_on_in_the_same_bits(comm, stack_without_negative_entries, &Way::Plain(sirt.into(), None));
}

fn methods_on_blocks_go_on_in_the_same_bits(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let cut = |team: Team| Stack::build(team, &grid(), options()).unwrap();
        let (max_iter, damping) = (STEPS, 0.1);
        for method in [
            CgParams { max_iter, ..CgParams::default() }.into(),
            LsqrParams { max_iter, damping, ..LsqrParams::default() }.into(),
            AnyMethod::from(CglsParams { max_iter, damping }),
        ] {
            goes_on_in_the_same_bits::<S>(comm, cut, &Way::Plain(method, None));
        }
    }
    check::<f32>(comm);
    check::<num_complex::Complex<f64>>(comm);
}

fn a_checkpoint_is_the_same_file_on_any_ranks(comm: &Rc<dyn Comm>) {
    let way = &ways()[5]; // vectors of the model and of the measurements
    let on = |comm: Rc<dyn Comm>| {
        let stack = stack::<f64>(Team::new(comm));
        let (_held, folder) = folder(stack.team());
        let mut checkpoints = keeping(stack.team(), &folder, Some(STEPS), Vec::new());
        solve(&stack, way, &mut Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None }).unwrap();
        checkpoints.finish().unwrap();
        assert_eq!(checkpoints.cost().0, 1);
        let newest = &found(stack.team(), &folder)[0];
        let bytes = fs::read(&newest.path).unwrap();
        stack.team().barrier();
        let clockless =
            newest.table.steps.iter().map(|step| Progress { seconds: 0.0, ..step.clone() }).collect::<Vec<_>>();
        let vectors = bytes[..newest.table.bytes() as usize].to_vec();
        (vectors, newest.table.checksums.clone(), newest.table.bits.clone(), clockless)
    };
    let here = on(comm.clone());
    let alone = on(Rc::new(stackphys::comm::Solo));
    assert!(here == alone);
    assert!(here.0.len() > 13 * 8 * 3);
}

/// A run with checkpoints of iterations 3, 6, 9.
fn run_with_checkpoints(comm: &Rc<dyn Comm>, folder: &Path) -> Vector<f64> {
    let stack = stack::<f64>(Team::new(comm.clone()));
    let mut checkpoints = keeping(stack.team(), folder, Some(3), Vec::new());
    let mut watch = Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None };
    let (x, _) = solve(&stack, &ways()[0], &mut watch).unwrap();
    checkpoints.finish().unwrap();
    x
}

fn the_newest_two_are_kept(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (_held, folder) = folder(&team);
    run_with_checkpoints(comm, &folder);
    let iterations: Vec<_> = found(&team, &folder).iter().map(|found| found.table.iteration()).collect();
    assert_eq!(iterations, [9, 6]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    team.barrier();
}

fn a_damaged_checkpoint_falls_back(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (_held, folder) = folder(&team);
    let x = run_with_checkpoints(comm, &folder);
    let before = found(&team, &folder);
    if team.rank() == 0 {
        let mut bytes = fs::read(&before[0].path).unwrap();
        bytes[60] ^= 1; // a bit of a number of x
        fs::write(&before[0].path, bytes).unwrap();
    }
    team.barrier();
    let go_on = || {
        let stack = stack::<f64>(Team::new(comm.clone()));
        let mut checkpoints = keeping(stack.team(), &folder, None, before.clone());
        let mut watch = Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None };
        let solved = solve(&stack, &ways()[0], &mut watch);
        (solved, watch.seen)
    };
    let (solved, seen) = go_on();
    assert_eq!(solved.unwrap().0.as_slice(), x.as_slice());
    assert_eq!(seen, STEPS - before[1].table.iteration() + 1);
    team.barrier();
    if team.rank() == 0 {
        fs::remove_file(&before[1].path).unwrap();
    }
    team.barrier();
    let error = go_on().0.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    assert_eq!(team.from_rank_0(|| Ok(error.to_string())).unwrap(), error.to_string());
}

fn a_checkpoint_of_another_problem_is_refused(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (_held, folder) = folder(&team);
    run_with_checkpoints(comm, &folder);
    let from = found(&team, &folder);
    let refused = |error: Error, what: &str| assert!(error.to_string().contains(what), "{error}");
    let with = |way: &Way| {
        let stack = stack::<f64>(Team::new(comm.clone()));
        let mut checkpoints = keeping(stack.team(), &folder, None, from.clone());
        solve(&stack, way, &mut Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None }).map(|_| ())
    };
    refused(with(&ways()[5]).unwrap_err(), "does not fit");
    refused(with(&ways()[4]).unwrap_err(), "does not fit");
    let single = stack::<f32>(Team::new(comm.clone()));
    let mut checkpoints = keeping(single.team(), &folder, None, from.clone());
    let mut watch = Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None };
    refused(solve(&single, &ways()[0], &mut watch).unwrap_err(), "`x` of 13 f64 in 1 blocks");
    team.barrier();
}

fn a_folder_that_cannot_be_written_is_a_warning(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (_held, folder) = folder(&team);
    let within_a_file = folder.join("file/checkpoints");
    if team.rank() == 0 {
        fs::write(folder.join("file"), "").unwrap();
    }
    team.barrier();
    let hand = Arc::new(AtomicBool::new(false));
    let stack = stack::<f64>(Team::new(comm.clone()).with_hand(hand.clone()));
    let attempt = |asks| {
        let mut checkpoints = keeping(stack.team(), &within_a_file, Some(3), Vec::new());
        let solved = solve(&stack, &ways()[0], &mut Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks });
        checkpoints.finish().unwrap();
        (solved, checkpoints.cost().0)
    };
    let (solved, written) = attempt(None);
    assert_eq!((solved.unwrap().1.iterations(), written), (STEPS, 0));
    // but whoever asked the job to stop must hear that it cannot go on
    let asks = (comm.rank() + 1 == comm.size()).then_some((4, hand));
    let error = attempt(asks).0.unwrap_err();
    assert!(error.to_string().contains("cannot write a checkpoint"), "{error}");
    team.barrier();
}

fn checkpoints_by_the_clock(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (_held, folder) = folder(&team);
    let stack = stack::<f64>(Team::new(comm.clone()));
    for (minutes, kept) in [(1e-9, vec![9, 8]), (60.0, vec![])] {
        let when = When { every_minutes: Some(minutes), ..When::default() };
        let path = folder.join(minutes.to_string());
        let mut checkpoints = Checkpoints::new(stack.team(), path.clone(), when, "by the clock".into(), Vec::new());
        let mut watch = Watch { checkpoints: Some(&mut checkpoints), seen: 0, asks: None };
        solve(&stack, &ways()[0], &mut watch).unwrap();
        let iterations: Vec<_> = found(&team, &path).iter().map(|found| found.table.iteration()).collect();
        assert_eq!(iterations, kept);
    }
    team.barrier();
}

/// Its steps send nothing, so the loop itself must ask.
fn a_merged_normal_operator_hears_who_asks(comm: &Rc<dyn Comm>) {
    let merged = |team| mergeable_on::<f64>(team, Basis::Fourier, 5, options());
    goes_on_in_the_same_bits(comm, merged, &ways()[0]);
}
