//! Any number of ranks gives the same answer: every promise on 1 to 4 ranks, which are threads here.
//!
//! Faults, scopes and budgets are among the promises; `tests/mpi.rs` runs the same lists under real `mpirun`. What happens
//! when a rank is lost is another matter there, and has tests of its own here.

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use common::agreement::{self, logged, of_scopes};
use common::promises::{self, Promise};
use common::{blocks, checkpoints, forms, halos, hilbert, lanes, planned, reference, ways};
use stackphys::comm::threads::Injection;
use stackphys::comm::{Beyond, Comm, Halo, Margin, Solo, Team, threads};
use stackphys::space::{Partition, Vector};
use stackphys::{Error, Shape};

/// Keeps the promises of a list on 1 to 4 ranks.
fn keep(list: &[Promise]) {
    assert!(!list.is_empty(), "the list of promises is empty");
    let mut broken = Vec::new();
    for ranks in 1..=4 {
        for (name, promise) in list {
            println!("{ranks} ranks: {name}");
            let promise = *promise;
            let kept = within(Duration::from_secs(60), move || threads::run(ranks, |comm| promise(&comm)));
            if let Err(panic) = kept {
                broken.push(format!("{ranks} ranks: {name}: {}", text_of(&*panic)));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What `body` returns, or its panic; a panic too if it takes longer than the limit: ranks that wait for each other.
fn within<T: Send + 'static>(limit: Duration, body: impl FnOnce() -> T + Send + 'static) -> std::thread::Result<T> {
    without_backtraces();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(catch_unwind(AssertUnwindSafe(body))));
    told.recv_timeout(limit).unwrap_or_else(|_| Err(Box::new(format!("still running after {limit:?}"))))
}

#[test]
fn promises_hold_on_any_number_of_ranks() {
    keep(promises::ALL);
    keep(planned::ALL);
    keep(forms::ALL);
    keep(blocks::ALL);
    keep(lanes::ALL);
    keep(reference::ALL);
}

#[test]
fn checkpoints_on_any_number_of_ranks() {
    keep(checkpoints::ALL);
}

#[test]
fn ways_into_a_plan_on_any_number_of_ranks() {
    keep(ways::ALL);
}

#[test]
fn vectors_move_on_any_number_of_ranks() {
    keep(halos::ALL);
    keep(hilbert::ALL);
}

#[test]
fn a_delay_of_one_rank_delays_a_row_of_exchanges_once() {
    let injection = Injection { rank: 1, call: 3, delay: Duration::from_millis(300), fail: false };
    let one_run = || {
        let took = threads::run_with(4, injection, |comm| {
            let team = Team::new(comm);
            let image = Shape::new([("y", 9), ("x", 12)]);
            let parts = Partition::even(&image, &[("y", 2), ("x", 2)]).unwrap();
            let margins = ["y", "x"].map(|dim| Margin::both(dim, 2, Beyond::Circular));
            let halo = Halo::<f64>::new(&team, &parts, &margins).unwrap();
            let (x, mut wide) = (Vector::zeros(halo.domain()), Vector::zeros(halo.range()));
            let begin = Instant::now();
            (0..8).for_each(|_| halo.forward_unsettled(&team, &x, &mut wide));
            begin.elapsed()
        });
        took.into_iter().max().unwrap()
    };
    // a busy machine may add to it now and then, but not always
    let took = (0..10).map(|_| one_run()).find(|took| *took < injection.delay * 3 / 2);
    assert!(took.is_some_and(|took| took >= injection.delay), "{took:?}");
}

#[test]
fn ranks_agree_on_any_number_of_ranks() {
    keep(agreement::ALL);
}

const LOST: &str = "another rank of this group was lost";

/// The text of a panic.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Panics on purpose are not told: finding the names for a backtrace takes longer than the limits of time here.
fn without_backtraces() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = text_of(panic.payload());
            if ![LOST, "deliberate", "went astray", "a second trouble"].iter().any(|known| text.contains(known)) {
                before(panic);
            }
        }));
    });
}

#[test]
fn r9_a_closed_group_says_so_at_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let outcome = within(Duration::from_secs(1), move || {
        threads::run(4, |comm| {
            let team = Team::new(comm.clone());
            let half = team.split(Some(comm.rank() % 2)).unwrap();
            assert!(comm.rank() != 1, "a deliberate loss");
            // more calls than ranks are left: they must not make up a round among themselves
            for _ in 0..10 {
                let calls: [&dyn Fn(); 3] = [&|| comm.barrier(), &|| drop(team.sum([1.0])), &|| half.barrier()];
                for call in calls {
                    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("a closed group goes on");
                    tell.lock().unwrap().push(text_of(&*panic));
                }
            }
        })
    });
    assert_eq!(text_of(&*outcome.unwrap_err()), "a deliberate loss");
    assert_eq!(*told.lock().unwrap(), [LOST; 3 * 10 * 3]);
}

/// Says when it goes.
struct Last(Arc<Mutex<Vec<String>>>);
impl Drop for Last {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("}: scopes over, finalised".into());
    }
}

/// Two nested scopes; the last rank panics in the inner one while the others wait for it there.
fn panic_in_the_inner(team: &Team) -> Result<Option<()>, Error> {
    team.scope(Some(1), |outer| {
        outer
            .scope(Some(2), |inner| {
                assert!(inner.rank() + 1 < inner.size(), "a deliberate panic");
                inner.barrier(); // would wait for ever
                Ok(())
            })
            .map(|_| ())
    })
}

const CLOSED_BY_A_PANIC: [&str; 5] = [
    "scope 1 opened",
    "scope 2 opened",
    "scope 2 closed by a panic",
    "scope 1 closed by a panic",
    "scopes over, finalised",
];

#[test]
fn r13_a_panic_closes_scopes_inside_out_and_ends_the_group() {
    for caught in [false, true] {
        let logs: Vec<Arc<Mutex<Vec<String>>>> = (0..3).map(|_| Arc::default()).collect();
        let log_of = logs.clone();
        let outcome = within(Duration::from_secs(1), move || {
            threads::run(3, |comm| {
                let log = &log_of[comm.rank()];
                logged(log, || {
                    let _last = Last(log.clone());
                    let team = Team::new(comm.clone());
                    if !caught {
                        panic_in_the_inner(&team).unwrap();
                        unreachable!("the panic is passed on");
                    }
                    // who catches the panic and goes on does not keep the others waiting
                    catch_unwind(AssertUnwindSafe(|| panic_in_the_inner(&team))).unwrap_err();
                    let panic = catch_unwind(AssertUnwindSafe(|| comm.barrier())).unwrap_err();
                    assert_eq!(text_of(&*panic), LOST);
                });
            })
        });
        match outcome {
            Ok(_) => assert!(caught),
            Err(panic) => assert_eq!((caught, text_of(&*panic).as_str()), (false, "a deliberate panic")),
        }
        for log in &logs {
            assert_eq!(of_scopes(log), CLOSED_BY_A_PANIC, "caught: {caught}");
        }
    }
}

#[test]
fn r13_a_panic_on_one_process_closes_scopes_and_leaves_the_team_usable() {
    without_backtraces();
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    let team = Team::new(alone);
    logged(&log, || {
        let _last = Last(log.clone());
        let panic = catch_unwind(AssertUnwindSafe(|| panic_in_the_inner(&team))).unwrap_err();
        assert_eq!(text_of(&*panic), "a deliberate panic");
        assert_eq!(team.scope(Some(0), |sub| sub.sum([2.0])).unwrap(), Some([2.0]));
    });
    let expected = [&CLOSED_BY_A_PANIC[..4], &["scope 0 opened", "scope 0 closed"], &CLOSED_BY_A_PANIC[4..]].concat();
    assert_eq!(of_scopes(&log), expected);
}
