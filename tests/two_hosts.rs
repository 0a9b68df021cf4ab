//! The promises again across two hosts, and a job with the same bytes there: `scripts/two-hosts.sh` makes them of network
//! namespaces, without and with latency and loss. Skipped, with the reason, where that cannot be (it needs root).
//!
//! This file is its own launcher, as `mpi.rs` is.

#[cfg(feature = "mpi")]
mod common;

#[cfg(not(feature = "mpi"))]
fn main() {
    println!("skipped: this build has no MPI\n0 passed, 0 failed, 1 skipped");
}

#[cfg(feature = "mpi")]
fn main() {
    if stackphys::comm::mpi::launched() { rank() } else { launcher::main() }
}

/// One rank: keeps all promises and says where it is.
#[cfg(feature = "mpi")]
fn rank() {
    let session = stackphys::comm::mpi::Session::start().expect("MPI was started before");
    let comm = session.world();
    println!("rank {} is on {}", comm.rank(), comm.host());
    common::promises::hold(&comm);
}

#[cfg(feature = "mpi")]
mod launcher {
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use serde_json::json;
    use wait_timeout::ChildExt;

    use crate::common::program::report;

    const LIMIT: Duration = Duration::from_secs(240);

    /// The status of the script where the two hosts cannot be made.
    const IMPOSSIBLE: Option<i32> = Some(3);

    pub fn main() {
        let (status, text, _) = two_hosts(2, &[], Path::new("/bin/hostname"), &[]);
        if status == IMPOSSIBLE {
            return println!("skipped: {}\n0 passed, 0 failed, 1 skipped", text.trim());
        }
        let mut failed = 0;
        let mut passed = 0;
        let mut check = |name: String, outcome: Result<(), String>| match outcome {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED\n{why}");
            }
        };
        check("two hosts have two names".into(), told(status == Some(0) && text == "alpha\nbeta\n", text));
        for (ranks, network) in [
            (2, vec![]),
            (3, vec![]),
            (4, vec![]),
            (2, vec!["--delay", "1"]),
            (2, vec!["--delay", "5", "--loss", "0.1"]),
        ] {
            check(format!("promises on {ranks} ranks of two hosts {network:?}"), promises(ranks, &network));
        }
        for (ranks, network) in [(2, vec![]), (3, vec!["--delay", "1"]), (4, vec!["--delay", "5"])] {
            check(format!("a job has the same bytes on {ranks} ranks of two hosts {network:?}"), job(ranks, &network));
        }
        check("a host that is cut off ends the job".into(), cut_off());
        println!("{passed} passed, {failed} failed");
        std::process::exit(i32::from(failed > 0));
    }

    fn told(holds: bool, text: String) -> Result<(), String> {
        if holds { Ok(()) } else { Err(text) }
    }

    fn promises(ranks: usize, network: &[&str]) -> Result<(), String> {
        let this = std::env::current_exe().map_err(|why| why.to_string())?;
        let (status, text, _) = two_hosts(ranks, network, &this, &[]);
        let there = (0..ranks).all(|rank| text.contains(&format!("rank {rank} is on {}", host(rank, ranks))));
        let all = text.contains(&format!("promises hold on {ranks} ranks"));
        told(status == Some(0) && there && all, format!("status {status:?}\n{text}"))
    }

    /// The first half of the ranks are on alpha.
    fn host(rank: usize, ranks: usize) -> &'static str {
        if rank < ranks.div_ceil(2) { "alpha" } else { "beta" }
    }

    fn job(ranks: usize, network: &[&str]) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).map_err(|why| format!("{name}: {why}"));
        let arguments = |out: &str| -> Vec<String> {
            let out = folder.path().join(out).display().to_string();
            ["demo", "--set", "run.summation=ordered", "--out", &out].map(String::from).into()
        };
        let program = Path::new(env!("CARGO_BIN_EXE_stackphys"));
        let alone = Command::new(program).args(arguments("alone")).output().map_err(|why| why.to_string())?;
        if !alone.status.success() {
            return Err(format!("alone: {alone:?}"));
        }
        let (status, text, _) = two_hosts(ranks, network, program, &arguments("two"));
        if status != Some(0) {
            return Err(format!("status {status:?}\n{text}"));
        }
        let report = report(&folder.path().join("two"));
        let hosts: Vec<&str> = (0..ranks).map(|rank| host(rank, ranks)).collect();
        // memory is shared by the ranks of one host, never across
        let through = if ranks == 2 { "messages" } else { "shared_and_messages" };
        let right = report["hosts"] == json!(hosts) && report["reduction"] == through;
        told(right, format!("{} through {}", report["hosts"], report["reduction"]))?;
        told(bytes("alone/x.npy")? == bytes("two/x.npy")?, "x.npy has other bytes".into())
    }

    /// Within the half minute that Open MPI is given here, and with another status than 0.
    fn cut_off() -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let program = Path::new(env!("CARGO_BIN_EXE_stackphys"));
        let out = folder.path().join("out").display().to_string();
        let long = "solve.method={ kind = \"landweber\", max_iter = 100000000 }";
        let arguments = ["demo", "--set", long, "--out", &out].map(String::from);
        let (status, text, took) = two_hosts(2, &["--cut-after", "3"], program, &arguments);
        let ended = status.is_some_and(|status| status != 0) && took < Duration::from_secs(60);
        told(ended, format!("status {status:?} after {took:?}\n{text}"))
    }

    /// Status, output and duration of a program on a number of ranks. Without a status it was still running at the limit.
    fn two_hosts(
        ranks: usize,
        network: &[&str],
        program: &Path,
        arguments: &[String],
    ) -> (Option<i32>, String, Duration) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/two-hosts.sh");
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).expect("a file");
        let begin = Instant::now();
        let mut child = Command::new(script)
            .args(["-n", &ranks.to_string()])
            .args(network)
            .arg("--")
            .arg(program)
            .args(arguments)
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("bash");
        let status = child.wait_timeout(LIMIT).expect("a process");
        if status.is_none() {
            let _ = Command::new("kill").arg(child.id().to_string()).status(); // asked politely, it ends its ranks too
            let _ = child.wait_timeout(Duration::from_secs(10));
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (status.and_then(|status| status.code()), text, begin.elapsed())
    }
}
