//! A job that was killed or asked to stop goes on, on any number of ranks, and ends in the same bytes; what it may not go on
//! from is refused in words. The real program, alone and under `mpirun`.

#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::time::{Duration, Instant};

use program::{Ended, Launch, names_in, on, processes_of, report, send};
use serde_json::Value as Json;
use stackphys::random::Stream;

/// Alone, and as so many ranks where there is MPI.
const RANKS: &[Option<usize>] = if cfg!(feature = "mpi") { &[Some(2), None, Some(4), Some(3)] } else { &[None] };

/// Long enough to be killed in the middle, with a checkpoint every few iterations; ordered sums.
const JOB: [&str; 4] = [
    "run.summation=ordered",
    "checkpoint.every_iterations=5",
    "solve.method.max_iter=400",
    "terms.phantom.data.noise=0.02",
];

fn with<'a>(first: &[&'a str], settings: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let sets = settings.into_iter().flat_map(|setting| ["--set", setting]);
    first.iter().copied().chain(sets).map(String::from).collect()
}

fn start(ranks: Option<usize>, out: &str, more: &[&str]) -> Launch {
    let settings = JOB.into_iter().chain(more.iter().copied());
    on(ranks, with(&["demo", "--out", out], settings))
}

fn resume(ranks: Option<usize>, out: &str, more: &[&str]) -> Launch {
    on(ranks, with(&["resume", out], more.iter().copied()))
}

fn x_of(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("x.npy")).unwrap()
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// Waits until there is a checkpoint, or panics.
fn wait_for_checkpoint(out: &Path) {
    let begin = Instant::now();
    while !names_in(&out.join("checkpoints")).iter().any(|name| name.starts_with("checkpoint-")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All results, at most two checkpoints, and nothing half-written.
#[track_caller]
fn is_whole(out: &Path, ended: &Ended) {
    let names = names_in(out);
    let expected = ["checkpoints", "convergence.png", "report.json", "x.npy", "x.png"];
    assert_eq!(names, expected, "{ended}");
    let kept = names_in(&out.join("checkpoints"));
    assert!(kept.len() <= 3 && kept.iter().all(|name| !name.starts_with('.')), "{kept:?}");
    assert!(kept.contains(&"finished".to_owned()), "{kept:?}");
}

/// Everything of a report that does not tell of time, place or memory.
fn what_was_found(folder: &Path) -> [Json; 4] {
    let report = report(folder);
    ["status", "iterations", "relative_residual", "true_relative_residual"].map(|key| report[key].clone())
}

/// As many as STACKPHYS_KILLS says (20 are asked for by hand), a few otherwise.
#[test]
fn killed_at_random_moments_and_resumed_it_ends_in_the_same_bytes() {
    let kills: usize = std::env::var("STACKPHYS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let ended = start(RANKS[0], path(&whole), &[]).end().expect(0);
    let length = ended.took;
    is_whole(&whole, &ended);
    let draws = Stream::new(2026, 11);
    for kill in 0..kills {
        let out = folder.path().join(format!("killed-{kill}"));
        let begun_on = RANKS[kill % RANKS.len()];
        let mut draw = [0.0f64];
        draws.fill_normal(kill as u64, &mut draw);
        let moment = length.mul_f64(draw[0].abs().min(2.0) / 2.0);
        let running = start(begun_on, path(&out), &[]).begin();
        std::thread::sleep(moment);
        // some may just be starting
        let begin = Instant::now();
        while !processes_of(&out).is_empty() {
            send("KILL", &processes_of(&out));
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
        drop(running.end());
        // whatever it left, the same command with --resume ends the job; on another number of ranks
        let then_on = RANKS[(kill + 1 + kill / RANKS.len()) % RANKS.len()];
        let arguments = with(&["demo", "--resume", "--out", path(&out)], JOB);
        let ended = on(then_on, arguments).end().expect(0);
        is_whole(&out, &ended);
        let after = &report(&out)["checkpoints"]["resumed_after"];
        println!(
            "kill {kill}: after {moment:.2?} on {begun_on:?} ranks, went on after iteration {after} on {then_on:?}"
        );
        assert!(x_of(&out) == x_of(&whole), "kill {kill}: {ended}");
        assert_eq!(what_was_found(&out), what_was_found(&whole), "kill {kill}");
    }
}

#[test]
fn asked_to_stop_it_stops_with_status_3_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    start(None, path(&whole), &[]).end().expect(0);
    for (signal, ranks) in [("USR1", RANKS[0]), ("TERM", RANKS[RANKS.len() - 1])] {
        let out = folder.path().join(signal);
        let running = start(ranks, path(&out), &[]).begin();
        wait_for_checkpoint(&out);
        // to one rank only; of several processes with the folder on the command line the first is mpirun
        let mut processes = processes_of(&out);
        processes.sort_by_key(|process| process.parse::<u64>().unwrap());
        send(signal, &processes[processes.len() - 1..]);
        let ended = running.end().expect(3);
        assert!(ended.stderr.contains("asked to stop"), "{ended}");
        assert!(ended.stderr.contains(&format!("stackphys resume {}", path(&out))), "{ended}");
        assert!(!names_in(&out).contains(&"x.npy".to_owned()), "{ended}");
        let ended = resume(RANKS[0], path(&out), &[]).end().expect(0);
        assert!(ended.stderr.contains("going on after iteration"), "{ended}");
        is_whole(&out, &ended);
        assert!(x_of(&out) == x_of(&whole), "{ended}");
        assert_eq!(what_was_found(&out), what_was_found(&whole));
    }
}

#[test]
fn a_finished_job_goes_on_for_more_iterations() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    start(None, path(&whole), &["solve.method.max_iter=25"]).end().expect(0);
    start(RANKS[0], path(&out), &["solve.method.max_iter=12"]).end().expect(0);
    let ended = resume(None, path(&out), &["solve.method.max_iter=17", "checkpoint.enabled=false"]).end().expect(0);
    assert_eq!(report(&out)["checkpoints"]["resumed_after"], 10, "{ended}");
    let ended = resume(None, path(&out), &["solve.method.max_iter=25"]).end().expect(0);
    is_whole(&out, &ended);
    assert!(x_of(&out) == x_of(&whole));
    // and a finished one may be run again from the start without being asked for
    start(RANKS[0], path(&out), &["solve.method.max_iter=12"]).end().expect(0);
    assert_eq!(report(&out)["checkpoints"]["resumed_after"], Json::Null);
}

/// A stopped job in `out`, with two checkpoints.
fn stopped(out: &Path) {
    let running = start(RANKS[0], path(out), &[]).begin();
    wait_for_checkpoint(out);
    std::thread::sleep(Duration::from_millis(100));
    send("USR1", &processes_of(out)[..]);
    running.end().expect(3);
    let kept = names_in(&out.join("checkpoints"));
    assert_eq!(kept.len(), 2, "{kept:?}");
}

#[test]
fn what_it_may_not_go_on_from_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = &folder.path().join("out");
    stopped(out);
    let before = names_in(&out.join("checkpoints"));
    #[track_caller]
    fn refused(launch: Launch, says: &[&str]) {
        let ended = launch.end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{ended}");
        assert!(says.iter().all(|says| ended.stderr.contains(says)), "{says:?}: {ended}");
    }
    for ranks in [None, RANKS[0]] {
        refused(
            start(ranks, path(out), &[]),
            &["has a checkpoint, of iteration", "stackphys resume", "--discard-checkpoints"],
        );
        refused(
            resume(ranks, path(out), &["terms.phantom.operator.columns=190"]),
            &["is of another job: terms.phantom.operator.columns was 185, now it is 190", "--force"],
        );
        refused(resume(ranks, path(out), &["run.seed=7"]), &["run.seed was 1, now it is 7"]);
        refused(
            resume(ranks, path(&folder.path().join("none")), &[]),
            &["there is no checkpoint in", "folder of results of a run that was stopped"],
        );
    }
    assert_eq!(names_in(&out.join("checkpoints")), before);

    // another job starts from the iterate, if that is wanted
    let forced = with(
        &["resume", path(out), "--force"],
        ["terms.phantom.operator.center=92.5", "solve.method.max_iter=3", "checkpoint.every_iterations=1"],
    );
    let ended = on(RANKS[0], forced).end().expect(0);
    assert!(ended.stderr.contains("starting anew from the iterate of"), "{ended}");
    assert_eq!(names_in(&out.join("checkpoints.before")), before);
    // one that is due while another is being written waits, so not all three need be there
    let kept = names_in(&out.join("checkpoints"));
    let is_of_the_new = |name: &String| name == "finished" || name.as_str() <= "checkpoint-00000003";
    assert!(kept.len() > 1 && kept.iter().all(is_of_the_new), "{kept:?}: {ended}");
    let residuals = &report(out)["relative_residual"];
    assert_eq!(residuals.as_array().unwrap().len(), 4);
    assert!(residuals[0].as_f64().unwrap() < 0.2, "{residuals}");
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    start(None, path(&whole), &[]).end().expect(0);
    stopped(&out);
    let kept = names_in(&out.join("checkpoints"));
    let newest = out.join("checkpoints").join(&kept[1]);
    let bytes = std::fs::read(&newest).unwrap();
    let arguments = with(&["demo", "--resume", "--out", path(&out)], JOB);
    for (place, says) in [(1000, "piece 0, from byte 0 on, is damaged"), (bytes.len() - 10, "its table is damaged")] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 4;
        std::fs::write(&newest, damaged).unwrap();
        let ended = on(RANKS[0], with(&["resume", path(&out)], ["solve.method.max_iter=1"])).end().expect(0);
        assert!(ended.stderr.contains(says) && ended.stderr.contains("taking the one before"), "{ended}");
    }
    let ended = on(RANKS[0], arguments.clone()).end().expect(0);
    assert!(x_of(&out) == x_of(&whole), "{ended}");

    for name in names_in(&out.join("checkpoints")) {
        std::fs::write(out.join("checkpoints").join(name), "not a checkpoint").unwrap();
    }
    let ended = on(RANKS[0], arguments).end().expect(2);
    assert!(ended.stderr.contains("no whole checkpoint in"), "{ended}");
}

#[test]
fn two_runs_do_not_write_to_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let running = start(RANKS[0], path(&out), &["solve.method.max_iter=1000000"]).begin();
    wait_for_checkpoint(&out);
    for launch in [start(RANKS[0], path(&out), &[]), resume(None, path(&out), &[])] {
        let ended = launch.end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{ended}");
        assert!(ended.stderr.contains("another run writes to") && ended.stderr.contains("begun"), "{ended}");
    }
    send("USR1", &processes_of(&out)); // mpirun passes it on
    running.end().expect(3);
}

#[test]
fn without_checkpoints_nothing_is_kept_and_a_signal_ends_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let running = start(None, path(&out), &["checkpoint.enabled=false", "solve.method.max_iter=1000000"]).begin();
    let begin = Instant::now();
    while processes_of(&out).is_empty() || begin.elapsed() < Duration::from_millis(500) {
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    send("TERM", &processes_of(&out));
    let ended = running.end();
    assert!(ended.took < Duration::from_secs(20), "{ended}");
    assert!(!out.join("checkpoints").exists(), "{ended}");
}
