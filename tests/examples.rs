//! Each example runs to its end and prints what it is there to show.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use wait_timeout::ChildExt;

const LIMIT: Duration = Duration::from_secs(60);

/// Each file of `examples/`, and parts of lines that it prints.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "01_one_operator",
        &["range (angle=90, column=91)", "dot test passes", "a wrong size: ParallelCt: x: expected 4096 numbers"],
    ),
    ("02_a_stack", &["6 operators on 3 ranks", "‖A‖² = ", "CG stopped after", "largest difference to one rank"]),
    ("03_under_mpi", &["owner of each operator [0, 0, 0, 0, 0, 0, 0, 0]", "relative residual 0.0"]),
    (
        "04_your_own_factory",
        &["8 operators on 3 ranks", "VectorReduction: 28 calls", "operator 1: width: expected 1 to 20"],
    ),
];

#[test]
fn every_example_is_in_the_list() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let listed: BTreeSet<String> = EXAMPLES.iter().map(|(name, _)| name.to_string()).collect();
    assert!(!there.is_empty());
    assert_eq!(there, listed);
}

#[test]
fn examples_print_what_they_show() {
    for (name, parts) in EXAMPLES {
        let printed = output_of(Command::new(binary(name)), name);
        for part in *parts {
            assert!(printed.contains(part), "{name} does not print \"{part}\":\n{printed}");
        }
    }
}

#[cfg(feature = "mpi")]
#[test]
fn example_03_runs_under_mpirun() {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--oversubscribe", "--bind-to", "none", "-n", "2"]).arg(binary("03_under_mpi"));
    mpirun.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    mpirun.env("OMPI_MCA_mpi_yield_when_idle", "1").env("OPENBLAS_NUM_THREADS", "1");
    let printed = output_of(mpirun, "mpirun 03_under_mpi");
    assert!(printed.contains("owner of each operator [0, 0, 0, 0, 1, 1, 1, 1]"), "{printed}");
    let residual = |text: &str| text.lines().find(|line| line.starts_with("relative residual")).map(String::from);
    let alone = output_of(Command::new(binary("03_under_mpi")), "03_under_mpi");
    assert!(residual(&printed).is_some());
    assert_eq!(residual(&printed), residual(&alone), "another answer on two ranks");
}

/// Where `cargo test` has put an example: beside the folder of this test's own executable.
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "no {}: `cargo test --test examples` alone does not build it, `cargo test` does",
        path.display()
    );
    path
}

/// What a program prints, if it ends well and in time.
fn output_of(mut command: Command, name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut child =
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap_or_else(|why| {
            panic!("{name} cannot be started: {why}");
        });
    let status = child.wait_timeout(LIMIT).unwrap();
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let printed = std::fs::read_to_string(&log).unwrap();
    match status {
        Some(status) if status.success() => printed,
        Some(status) => panic!("{name}: {status}\n{printed}"),
        None => panic!("{name} still runs after {LIMIT:?}\n{printed}"),
    }
}
