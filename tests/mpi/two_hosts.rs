//! The promises again across two hosts, and a job with the same bytes there: `scripts/two-hosts.sh` makes them of network
//! namespaces, without and with latency and loss. Skipped, with the reason, where that cannot be (it needs root).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use wait_timeout::ChildExt;

use super::Tally;
use crate::common::{bytes, distance, program::report};

const LIMIT: Duration = Duration::from_secs(600);

/// The status of the script where the two hosts cannot be made.
const IMPOSSIBLE: Option<i32> = Some(3);

/// Makes the hosts and checks all of it, or says why it cannot be.
pub fn check_all(tally: &mut Tally) {
    let (status, text, _) = two_hosts(2, &[], Path::new("/bin/hostname"), &[]);
    if status == IMPOSSIBLE {
        return println!("skipped: two hosts: {}", text.trim());
    }
    let mut names: Vec<&str> = text.lines().collect();
    names.sort();
    let mut check = |name: String, outcome| tally.check(&name, outcome);
    check(
        "two hosts have two names".into(),
        told(status == Some(0) && names == ["alpha", "beta"], format!("{names:?}")),
    );
    for (ranks, network) in [(3, &[] as &[&str]), (2, &["--delay", "1"])] {
        check(format!("promises on {ranks} ranks of two hosts {network:?}"), promises(ranks, network));
    }
    for (ranks, network) in
        [(2, &[] as &[&str]), (3, &["--delay", "1"]), (4, &["--delay", "5"]), (2, &["--delay", "1", "--loss", "0.5"])]
    {
        check(
            format!("a job has the same bytes on {ranks} ranks of two hosts {network:?}"),
            same_bytes(ranks, network),
        );
    }
    for (ranks, through) in [(2, "messages"), (4, "shared_and_messages")] {
        check(format!("sums of {ranks} ranks of two hosts go by {through}"), shared(ranks, through));
    }
    check("a host that is cut off ends the job".into(), launcher_notices());
    check("a host that is cut off is named by the ranks".into(), ranks_notice());
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

/// `demo` by one process, then by ranks of two hosts; the reports of these have the right hosts. Returns both images and
/// how sums were made.
fn demo(ranks: usize, network: &[&str], sets: &[&str]) -> Result<([Vec<f32>; 2], String), String> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let arguments = |out: &str| -> Vec<String> {
        let out = folder.path().join(out).display().to_string();
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        ["demo", "--out", &out].into_iter().chain(sets).map(String::from).collect()
    };
    let program = Path::new(env!("CARGO_BIN_EXE_stackphys"));
    let alone = Command::new(program).args(arguments("alone")).output().map_err(|why| why.to_string())?;
    told(alone.status.success(), format!("alone: {alone:?}"))?;
    let (status, text, _) = two_hosts(ranks, network, program, &arguments("two"));
    told(status == Some(0), format!("status {status:?}\n{text}"))?;
    let report = report(&folder.path().join("two"));
    let hosts: Vec<&str> = (0..ranks).map(|rank| host(rank, ranks)).collect();
    told(report["hosts"] == json!(hosts), format!("{}", report["hosts"]))?;
    let image = |out: &str| -> Result<Vec<f32>, String> {
        let x: ndarray::Array2<f32> =
            ndarray_npy::read_npy(folder.path().join(out).join("x.npy")).map_err(|why| why.to_string())?;
        Ok(x.into_raw_vec_and_offset().0)
    };
    Ok(([image("alone")?, image("two")?], report["reduction"].as_str().unwrap_or_default().to_owned()))
}

fn same_bytes(ranks: usize, network: &[&str]) -> Result<(), String> {
    let ([alone, two], _) = demo(ranks, network, &["run.summation=ordered"])?;
    told(bytes(&alone) == bytes(&two), "x.npy has other bytes".into())
}

/// Ranks of one host share memory, those of two hosts do not.
fn shared(ranks: usize, through: &str) -> Result<(), String> {
    let ([alone, two], by) = demo(ranks, &[], &["run.reduction=shared", "solve.method.max_iter=3"])?;
    told(by == through, format!("by {by}"))?;
    // sums in another order: rounding, which few iterations do not enlarge
    let error = distance(&two, &alone.into());
    told(error < 1e-5, format!("x.npy differs by {error}"))
}

/// A job that runs until the hosts no longer reach each other, with its results in `folder`.
fn cut_off(folder: &Path, cut_after: &str, sets: &[&str]) -> (Option<i32>, String, Duration) {
    let program = Path::new(env!("CARGO_BIN_EXE_stackphys"));
    let out = folder.display().to_string();
    let endless = "solve.method={ kind = \"landweber\", max_iter = 100000000 }";
    let sets = sets.iter().chain([&endless]).flat_map(|set| ["--set", set]);
    let arguments: Vec<String> = ["demo", "--out", &out].into_iter().chain(sets).map(String::from).collect();
    two_hosts(2, &["--cut-after", cut_after], program, &arguments)
}

/// Within the half minute that Open MPI is given here, and with another status than 0.
fn launcher_notices() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let (status, text, took) = cut_off(folder.path(), "3", &[]);
    let ended = status.is_some_and(|status| status != 0) && took < Duration::from_secs(60);
    told(ended, format!("status {status:?} after {took:?}\n{text}"))
}

/// Before the launcher does, and by name; what was kept until then is whole.
fn ranks_notice() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let sets = ["limits.silence_s=3", "checkpoint.every_iterations=100"];
    let (status, text, took) = cut_off(folder.path(), "6", &sets);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error:")).collect();
    let named = matches!(errors[..], [one] if one.contains("rank 1 on host beta") && one.contains("no sign of life"));
    let ended = status.is_some_and(|status| status != 0) && took < Duration::from_secs(40);
    told(ended && named, format!("status {status:?} after {took:?}\n{text}"))?;
    let mut resume = Command::new(env!("CARGO_BIN_EXE_stackphys"));
    resume.arg("resume").arg(folder.path()).args(["--set", "solve.method.max_iter=1"]);
    let resumed = resume.output().map_err(|why| why.to_string())?;
    told(resumed.status.success(), String::from_utf8_lossy(&resumed.stderr).into_owned())
}

/// Status, output and duration of a program on a number of ranks. Without a status it was still running at the limit.
fn two_hosts(ranks: usize, network: &[&str], program: &Path, arguments: &[String]) -> (Option<i32>, String, Duration) {
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
