//! What kills a rank, stops it or keeps it for ever ends the whole job: within its time limit, with one message that names
//! the rank, with a status other than 0, with no process left and no half-written result. Real ranks under `mpirun`, and
//! faults on purpose; `scripts/faults.py` draws many more.
#![cfg(feature = "mpi")]

#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::Array2;
use program::{Ended, Launch, mpirun, names_in, processes_of, stackphys};

/// The demo has 8 operators, in equal runs on 2 or 4 ranks.
fn demo(ranks: Option<usize>, out: &Path, inject: &str, settings: &[&str]) -> Launch {
    let mut arguments = vec!["demo".to_owned(), "--out".into(), out.display().to_string()];
    for setting in ["limits.silence_s=4", "limits.operator_s=2"].iter().chain(settings) {
        arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
    }
    let launch = ranks.map_or_else(|| stackphys(arguments.clone()), |ranks| mpirun(ranks, arguments.clone()));
    // as mpirun does it for users: a second between the first rank that ends and the kill of the others
    launch.with("OMPI_MCA_odls_base_sigkill_timeout", "1").with("STACKPHYS_INJECT", inject)
}

/// Runs such a job; everything that holds of each.
#[track_caller]
fn fails(ranks: Option<usize>, inject: &str, settings: &[&str], longest: u64) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let ended = demo(ranks, &out, inject, settings).end().fails();
    assert!(ended.took < Duration::from_secs(longest), "{inject}: {ended}");
    assert_eq!(ended.errors().len(), 1, "one message: {inject}: {ended}");
    nothing_is_left(&out);
    ended
}

/// No process that has the folder on its command line, and no half of a result in it.
#[track_caller]
fn nothing_is_left(out: &Path) {
    let begin = Instant::now();
    while let [process, ..] = &processes_of(out)[..] {
        assert!(begin.elapsed() < Duration::from_secs(10), "process {process} is left");
        std::thread::sleep(Duration::from_millis(50));
    }
    let names = names_in(out);
    if names.iter().any(|name| name == "x.npy") {
        let x: Array2<f32> = ndarray_npy::read_npy(out.join("x.npy")).unwrap();
        assert_eq!(x.dim(), (128, 128));
    }
    if names.iter().any(|name| name == "report.json") {
        program::report(out);
    }
}

#[test]
fn r10_a_killed_rank_ends_the_job_and_is_named() {
    let ended = fails(Some(4), "rank=2,operator=4,phase=normal,call=3,kind=kill", &[], 30);
    assert!(ended.errors()[0].contains("rank 2 on host"), "{ended}");
    assert!(ended.errors()[0].contains("ended without a word"), "{ended}");
}

#[test]
fn r11_an_operator_that_never_returns_is_named() {
    for ranks in [None, Some(4)] {
        let (rank, operator) = if ranks.is_some() { (1, 2) } else { (0, 5) };
        let inject = format!("rank={rank},operator={operator},phase=normal,call=3,kind=hang");
        let ended = fails(ranks, &inject, &[], 20);
        let says = format!("error: normal: operator {operator}: rank {rank} on host ");
        assert!(ended.errors()[0].starts_with(&says), "{ended}");
        // 2 s are allowed; the rest is how often a watch looks
        let seconds = ended.errors()[0].split(" for ").nth(1).and_then(|rest| rest.split(" s;").next());
        let seconds: f64 = seconds.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{ended}"));
        assert!((2.0..4.0).contains(&seconds), "{ended}");
        assert!(ended.stderr.contains("raise limits.operator_s"), "{ended}");
    }
}

#[test]
fn r12_without_rank_0_all_others_end() {
    for kind in ["kill", "stop"] {
        let ended = fails(Some(4), &format!("rank=0,operator=1,phase=normal,call=3,kind={kind}"), &[], 20);
        assert!(ended.errors()[0].starts_with("error: rank 0 on host "), "{ended}");
    }
}

/// A stopped rank, all ways to die, and a phase that does not end: who, where, why.
#[test]
fn every_end_of_a_rank_is_told_once() {
    let hangs = ["limits.open_s=1", "limits.build_s=1", "limits.load_s=1", "limits.write_s=1", "limits.iteration_s=1"];
    for (inject, status, says) in [
        ("rank=1,operator=4,phase=normal,call=3,kind=stop", None, "rank 1 on host"),
        ("rank=1,operator=4,phase=normal,call=3,kind=abort", None, "rank 1 on host"),
        ("rank=1,operator=4,phase=forward,kind=memory", None, "rank 1 on host"),
        ("rank=1,operator=4,phase=adjoint,kind=exit", None, "rank 1 on host"),
        ("rank=0,phase=solve,call=4,kind=crash", None, "rank 0 on host"),
        ("rank=1,phase=write,kind=kill", None, "rank 1 on host"),
        ("rank=0,operator=1,phase=normal,call=2,kind=fault", Some(2), "error: normal: operator 1: "),
        ("rank=1,operator=6,phase=normal,call=2,kind=panic", Some(2), "error: normal: operator 6: "),
        ("rank=1,phase=solve,call=4,kind=panic", Some(101), "error: rank 1 on host"),
        ("rank=0,phase=load,kind=panic", Some(101), "error: rank 0 on host"),
        ("rank=1,phase=open,kind=hang", Some(2), "error: open: rank 1 on host"),
        ("rank=1,phase=build,kind=hang", Some(2), "error: build: rank 1 on host"),
        ("rank=1,operator=6,phase=build,kind=hang", Some(2), "error: build: operator 6: rank 1 on host"),
        ("rank=0,phase=load,kind=hang", Some(2), "error: load: rank 0 on host"),
        ("rank=1,phase=solve,call=3,kind=hang", Some(2), "error: solve: rank 1 on host"),
        ("rank=0,phase=write,kind=hang", Some(2), "error: write: rank 0 on host"),
    ] {
        let mut ended = fails(Some(2), inject, if inject.contains("operator") { &hangs[..2] } else { &hangs }, 30);
        assert!(ended.errors()[0].contains(says), "{inject}: {ended}");
        if let Some(status) = status {
            ended = ended.expect(status);
        }
        drop(ended);
    }
}

/// Nobody hears ranks whose launcher is gone, so they leave word beside the results.
#[test]
fn without_a_launcher_all_ranks_end_and_leave_word() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let endless = "solve.method.max_iter=1000000";
    let ended = demo(Some(2), &out, "rank=1,operator=4,phase=normal,call=3,kind=launcher", &[endless]).end().fails();
    assert_eq!(ended.errors().len(), 0, "{ended}");
    nothing_is_left(&out);
    let word = std::fs::read_to_string(out.join("ended.txt")).unwrap_or_else(|why| panic!("{why}: {ended}"));
    assert_eq!(word.matches("error:").count(), 1, "{word}");
    assert!(word.contains("has lost its launcher"), "{word}");
    // the next run does not inherit it
    demo(Some(2), &out, "", &["solve.method.max_iter=1"]).end().expect(0);
    assert!(names_in(&out).iter().all(|name| name != "ended.txt"), "{:?}", names_in(&out));
}

/// Two seconds without a sign, then life goes on.
#[test]
fn a_rank_that_was_stopped_for_a_while_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mark = out.display().to_string();
    let wake = std::thread::spawn(move || {
        let begin = Instant::now();
        let mut woken = 0;
        while woken == 0 && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(100));
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
                let is_stopped = String::from_utf8_lossy(&read("status")).contains("(stopped)");
                if is_stopped && String::from_utf8_lossy(&read("cmdline")).contains(&mark) {
                    std::thread::sleep(Duration::from_secs(2));
                    let process = entry.file_name();
                    assert!(std::process::Command::new("kill").arg("-CONT").arg(process).status().unwrap().success());
                    woken += 1;
                }
            }
        }
        woken
    });
    let ended = demo(Some(2), &out, "rank=1,operator=5,phase=normal,call=3,kind=stop", &[]).end().expect(0);
    assert_eq!((wake.join().unwrap(), ended.errors().len()), (1, 0), "{ended}");
}

/// A rank that never arrives keeps the others in the start of MPI, before any of them has read a config.
#[test]
fn a_rank_that_never_arrives_is_not_waited_for_forever() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let launch = demo(Some(2), &out, "rank=1,phase=config,kind=hang", &[]).with("STACKPHYS_START_LIMIT_S", "3");
    let ended = launch.end().fails();
    assert!(ended.took < Duration::from_secs(20), "{ended}");
    assert_eq!(ended.errors().len(), 1, "{ended}");
    assert!(ended.errors()[0].contains("rank 0 on host"), "{ended}");
    assert!(ended.errors()[0].contains("for MPI to start; STACKPHYS_START_LIMIT_S allows that"), "{ended}");
    nothing_is_left(&out);
}

#[test]
fn what_is_to_be_injected_is_checked() {
    let ended = stackphys(["demo"]).with("STACKPHYS_INJECT", "rank=0,kind=hnag").end().expect(2);
    assert!(ended.errors()[0].contains("STACKPHYS_INJECT=rank=0,kind=hnag: there is no kind `hnag`"), "{ended}");
}

#[test]
fn limits_that_are_no_times_are_refused() {
    for (setting, says) in [
        ("limits.silence_s=1", "limits.silence_s: `silence_s` must be 0 or at least 3, got 1"),
        ("limits.operator_s=-1", "limits.operator_s: `operator_s` must be zero or a positive number, got -1"),
        ("limits.operators=1", "limits: unknown key `operators`"),
    ] {
        let ended = stackphys(["demo", "--set", setting]).end().expect(2);
        assert!(ended.errors()[0].contains(says), "{ended}");
    }
}
