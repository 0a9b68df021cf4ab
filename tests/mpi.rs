//! The promises again under real `mpirun`, on 1 to 4 ranks, each with a time limit.
//!
//! This file is its own launcher: started plainly (by `cargo test`) it runs itself under `mpirun`; started by `mpirun` it
//! is one rank of many and keeps the promises. `mpi/two_hosts.rs` starts it across two hosts.

#[cfg(feature = "mpi")]
mod common;
#[cfg(feature = "mpi")]
#[path = "mpi/two_hosts.rs"]
mod two_hosts;

#[cfg(feature = "mpi")]
use stackphys::comm::{Reduction, Team};
#[cfg(feature = "mpi")]
use stackphys::space::Space;

#[cfg(not(feature = "mpi"))]
fn main() {
    println!("skipped: this build has no MPI\n0 passed, 0 failed, 1 skipped");
}

#[cfg(feature = "mpi")]
fn main() {
    if stackphys::comm::mpi::launched() { rank() } else { launcher::main() }
}

/// What came of all checks so far.
#[cfg(feature = "mpi")]
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

#[cfg(feature = "mpi")]
impl Tally {
    fn check(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                self.failed += 1;
                println!("test {name} ... FAILED\n{why}");
            }
        }
    }
}

/// One rank: keeps all promises, or does one thing that goes wrong on purpose.
#[cfg(feature = "mpi")]
fn rank() {
    let session = stackphys::comm::mpi::Session::start().expect("MPI was started before");
    let comm = session.world();
    println!("rank {} is on {}", comm.rank(), comm.host());
    let is_last = comm.rank() + 1 == comm.size();
    match std::env::args().nth(1).as_deref() {
        Some("panic") => {
            assert!(!is_last, "a deliberate panic");
            return comm.barrier(); // would wait for ever
        }
        Some("panic in a scope") => return drop(nested(&comm, || assert!(!is_last, "a deliberate panic"))),
        Some("panic where it is caught") => {
            // a factory must not communicate; one that does and panics still must not keep the others waiting
            let built = common::stack_of::<f64>(&comm, comm.size(), 4, Default::default(), |_| {
                drop(nested(&comm, || assert!(!is_last, "a deliberate panic")));
                Err(stackphys::Fault::new("not reached"))
            });
            return drop(built);
        }
        Some("killed") => return killed(&comm),
        Some("memory") => return memory(&comm, std::env::args().nth(2).and_then(|rows| rows.parse().ok())),
        Some("shared") => drop(common::REDUCTION.set(Reduction::Shared)),
        Some("messages") => drop(common::REDUCTION.set(Reduction::Messages)),
        _ => {}
    }
    common::promises::hold(&comm);
    drop(comm);
    let rank = session.world().rank();
    drop(session); // also after errors in scopes: ends MPI, or mpirun complains
    println!("rank {rank} has finalised");
}

/// Two nested scopes; the others wait for the last rank in the inner one.
#[cfg(feature = "mpi")]
fn nested(
    comm: &std::rc::Rc<dyn stackphys::comm::Comm>,
    inner: impl FnOnce(),
) -> Result<Option<Option<()>>, stackphys::Error> {
    Team::new(comm.clone()).scope(Some(1), |outer| {
        outer.scope(Some(2), |team| {
            inner();
            team.barrier();
            Ok(())
        })
    })
}

/// The last rank kills itself while the others wait for it in a sum in shared memory.
#[cfg(feature = "mpi")]
fn killed(comm: &std::rc::Rc<dyn stackphys::comm::Comm>) {
    let team = Team::new(comm.clone()).with_reduction(Reduction::Shared);
    let space = Space::replicated(stackphys::Shape::new([("x", 100_000)]));
    let mut vector = team.zero_sum::<f64>(&space);
    for turn in 0.. {
        if turn == 10 && comm.rank() + 1 == comm.size() {
            println!("sums go through {:?}", team.through());
            let me = std::process::id().to_string();
            let _ = std::process::Command::new("kill").args(["-9", &me]).status();
        }
        team.sum_vector(&mut vector).unwrap();
    }
}

/// T31: a rank's memory is that of its own tiles of a matrix of `rows`² numbers, which nobody holds as a whole.
#[cfg(feature = "mpi")]
fn memory(comm: &std::rc::Rc<dyn stackphys::comm::Comm>, rows: Option<usize>) {
    use stackphys::operator::{Cut, Deferred, SharedOperator, split};
    use stackphys::stack::{Description, Stack, Tiles};
    let rows = rows.unwrap_or(4096);
    let weights = stackphys::Shape::new([("m", rows), ("n", rows)]);
    let side = |name: &str| stackphys::Shape::new([(name, rows)]);
    let (of_weights, x) = (weights.clone(), side("n"));
    let w: SharedOperator<f64> = std::sync::Arc::new(Deferred::new(side("n"), side("m"), &["m", "n"], move |ranges| {
        let tile = ranges.tile(&of_weights);
        let entries = tile.offsets().map(|place| (place % 101) as f64).collect();
        let dense = stackphys::physics::Dense::named(tile.shape(), entries, ranges.shape(&x), &["m"])?;
        Ok(std::sync::Arc::new(dense))
    }));
    let grid = split(&w, &[("m", Cut::Chunks(rows / 4)), ("n", Cut::Chunks(rows / 2))]).unwrap();
    let bytes = (weights.len() / grid.len() * size_of::<f64>()) as u64;
    let before = kilobytes("VmRSS");
    let tiles = Tiles::new(grid).telling(|_, tile| Description { bytes, ..tile });
    let stack = Stack::<f64>::build(Team::new(comm.clone()), &tiles, Default::default()).unwrap();
    let (mut x, mut y) = (stack.zero_model(), stack.zero_data());
    x.fill(1.0);
    stack.forward(&x, &mut y).unwrap();
    stack.adjoint(&y, &mut x).unwrap();
    let rose = (kilobytes("VmHWM") - before) as f64 * 1024.0;
    let (share, planned) = (8.0 * weights.len() as f64 / comm.size() as f64, stack.plan().operator_bytes(comm.rank()));
    println!("rank {}: planned {planned} bytes, rose by {rose}, a share is {share}", comm.rank());
    assert_eq!(planned as f64, share, "the tiles are dealt evenly");
    // vectors, messages and the buffers of the BLAS are the rest
    assert!(rose >= 0.95 * share && rose <= 1.15 * share + 8e6, "rose by {rose}, a share is {share}");
}

/// A line of what Linux says of this process, in units of 1024 bytes.
#[cfg(feature = "mpi")]
fn kilobytes(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok()).expect("a number")
}

#[cfg(feature = "mpi")]
mod launcher {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use wait_timeout::ChildExt;

    const LIMIT: Duration = Duration::from_secs(120);

    pub fn main() {
        let mut tally = super::Tally::default();
        let mut check = |name: &str, outcome| tally.check(name, outcome);
        for ranks in 1..=4 {
            check(&format!("promises under mpirun -n {ranks}"), promises(ranks, &[]));
        }
        for ranks in 2..=4 {
            for how in ["shared", "messages"] {
                check(&format!("promises under mpirun -n {ranks}, {how}"), promises(ranks, &[how]));
            }
        }
        for ranks in [2, 4] {
            let kept = mpirun(ranks, &["memory"]).and_then(|(status, text, _)| match status {
                Some(0) if text.matches("rose by").count() == ranks => Ok(()),
                _ => Err(text),
            });
            check(&format!("T31 a rank holds its own tiles only, mpirun -n {ranks}"), kept);
        }
        check("R9 a killed rank ends the job and leaves no file", a_killed_rank_leaves_nothing());
        check("a panic on one rank ends the job within seconds", a_panic_ends_the_job("panic", "a deliberate panic"));
        let outcome = a_panic_ends_the_job("panic in a scope", "a deliberate panic");
        check("R13 a panic in a scope ends the job within seconds", outcome);
        let outcome = a_panic_ends_the_job("panic where it is caught", "panicked between collective calls");
        check("R13 a panic in a scope inside a factory ends the job within seconds", outcome);
        super::two_hosts::check_all(&mut tally);
        println!("{} passed, {} failed", tally.passed, tally.failed);
        std::process::exit(i32::from(tally.failed > 0));
    }

    fn promises(ranks: usize, arguments: &[&str]) -> Result<(), String> {
        let (status, text, _) = mpirun(ranks, arguments)?;
        let done = format!("promises hold on {ranks} ranks");
        let finalised = (0..ranks).all(|rank| text.contains(&format!("rank {rank} has finalised")));
        if status == Some(0) && text.contains(&done) && finalised { Ok(()) } else { Err(text) }
    }

    fn a_panic_ends_the_job(which: &str, says: &str) -> Result<(), String> {
        let (status, text, took) = mpirun(3, &[which])?;
        let told = text.contains("rank 2 on host") && text.contains(says);
        if status != Some(0) && told && took < Duration::from_secs(20) {
            Ok(())
        } else {
            Err(format!("status {status:?} after {took:?}\n{text}"))
        }
    }

    fn a_killed_rank_leaves_nothing() -> Result<(), String> {
        // those that this program could make; Open MPI's own are its affair
        let files = || -> Vec<_> {
            let names = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|file| file.file_name());
            names
                .filter(|name| [".tmp", "stackphys"].iter().any(|own| name.to_string_lossy().starts_with(own)))
                .collect()
        };
        let before = files();
        let (status, text, took) = mpirun(2, &["killed"])?;
        let left: Vec<_> = files().into_iter().filter(|name| !before.contains(name)).collect();
        if status != Some(0) && text.contains("through Shared") && took < Duration::from_secs(20) && left.is_empty() {
            Ok(())
        } else {
            Err(format!("status {status:?} after {took:?}, left {left:?}\n{text}"))
        }
    }

    /// Status, output and duration of this program on a number of ranks.
    fn mpirun(ranks: usize, arguments: &[&str]) -> Result<(Option<i32>, String, Duration), String> {
        let this = std::env::current_exe().map_err(|why| why.to_string())?;
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).map_err(|why| why.to_string())?;
        let begin = Instant::now();
        let mut child = Command::new("mpirun")
            .args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()])
            .arg(this)
            .args(arguments)
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(|why| why.to_string())?)
            .stderr(file)
            .spawn()
            .map_err(|why| format!("mpirun cannot be started: {why}"))?;
        let status = child.wait_timeout(LIMIT).map_err(|why| why.to_string())?;
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        match status {
            Some(status) => Ok((status.code(), text, begin.elapsed())),
            None => Err(format!("still running after {LIMIT:?}: {text}")),
        }
    }
}
