//! What is said before a job is what happens: calls and bytes of an iteration exactly, memory within 15 %, and a job that does
//! not fit is refused. And what is said while it runs: events, log files, times.

#[path = "common/program.rs"]
mod program;

use std::path::Path;

use ndarray::{Array1, Array2};
use ndarray_npy::write_npy;
use program::{Launch, names_in, numbers, on, real_data, report, stackphys};
use serde_json::Value as Json;

/// Rank counts that this build can have.
const RANKS: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2), Some(3), Some(4)] } else { &[None] };

/// Five dense operators of random numbers, and their measurements.
fn dense_job(folder: &Path, rows: usize, size: usize) {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1 << 24) as f64 - 0.5
    };
    let matrix = Array2::from_shape_simple_fn((rows, size * size), &mut random);
    write_npy(folder.join("a.npy"), &matrix).unwrap();
    write_npy(folder.join("y.npy"), &Array1::from_shape_simple_fn(rows, &mut random)).unwrap();
    let text = format!(
        "version = 1\n[model]\ndims = {{ y = {size}, x = {size} }}\nscalar = \"f64\"\n[[terms]]\nname = \"rows\"\n\
         data = {{ format = \"npy\", path = \"y.npy\", dims = [\"row\"] }}\noperator = {{ kind = \"dense\", path = \"a.npy\" }}\n\
         split = {{ row = {{ parts = 5 }} }}\n[solve]\nmethod = {{ kind = \"cg\", max_iter = 4 }}\n"
    );
    std::fs::write(folder.join("dense.toml"), text).unwrap();
}

/// A phantom: of slices in slabs, or one in 2 × 2 parts whose projections are summed.
fn phantom_job(folder: &Path, name: &str, dims: &str, blocks: &str) {
    let text = format!(
        "version = 1\n[model]\ndims = {{ {dims} }}\n[blocks]\n{blocks}\n[[terms]]\nname = \"scan\"\n\
         data = {{ format = \"phantom\", name = \"shepp_logan\", noise = 0.01 }}\n\
         operator = {{ kind = \"parallel_ct\", angles_deg = {{ start = 0.0, stop = 180.0, count = 12 }}, columns = 47 }}\n\
         split = {{ angle = {{ parts = 3, order = \"interleaved\" }} }}\n[solve]\nmethod = {{ kind = \"cg\", max_iter = 4 }}\n"
    );
    std::fs::write(folder.join(name), text).unwrap();
}

fn launch(folder: &Path, ranks: Option<usize>, command: &str, config: &str, sets: &[&str]) -> Launch {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    on(ranks, [command, config, "--data-dir", "."].into_iter().chain(sets)).inside(folder)
}

/// What a plan for so many ranks says, as a program reads it.
fn planned(folder: &Path, ranks: usize, config: &str, sets: &[&str]) -> Json {
    let count = ranks.to_string();
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let arguments = ["plan", config, "--data-dir", ".", "--json", "--ranks", &count];
    let ended = stackphys(arguments.into_iter().chain(sets)).inside(folder).end().expect(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Runs a job and compares the meter of each kind with the plan.
fn sends_as_planned(folder: &Path, ranks: Option<usize>, config: &str, sets: &[&str]) {
    let of = format!("{config} on {ranks:?} ranks with {sets:?}");
    launch(folder, ranks, "run", config, sets).end().expect(0);
    let (report, plan) = (report(&folder.join("out")), planned(folder, ranks.unwrap_or(1), config, sets));
    let planned = &plan["ranks"][0]["per_iteration"];
    assert_eq!(&report["iteration"]["planned"], planned, "{of}");
    for (kind, sent) in report["comm"].as_object().unwrap() {
        let (sent, nothing) = (&sent["per_iteration"], serde_json::json!({ "calls": 0, "bytes": 0 }));
        let want = planned.get(kind).unwrap_or(&nothing);
        for what in ["calls", "bytes"] {
            assert_eq!(sent[what].as_f64(), want[what].as_f64(), "{of}: {what} of {kind}: {sent}, planned {want}");
        }
    }
    assert_eq!(report["iteration"]["as_planned"], true, "{of}: not so on some rank"); // all ranks compare their own
}

#[test]
fn an_iteration_sends_what_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    dense_job(folder.path(), 23, 6);
    phantom_job(folder.path(), "slabs.toml", "z = 6, y = 32, x = 32", "z = { parts = 4 }");
    phantom_job(folder.path(), "parts.toml", "y = 32, x = 32", "y = { parts = 2 }\nx = { parts = 2 }");
    for ranks in RANKS {
        for config in ["dense.toml", "slabs.toml", "parts.toml"] {
            for summation in ["run.summation=fast", "run.summation=ordered"] {
                for reduction in ["run.reduction=messages", "run.reduction=shared"] {
                    sends_as_planned(folder.path(), *ranks, config, &[summation, reduction]);
                }
            }
        }
    }
    if let Some(data) = real_data() {
        let tooth = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tooth.toml");
        std::os::unix::fs::symlink(data.join("tooth"), folder.path().join("tooth")).unwrap();
        for ranks in RANKS {
            for reduction in ["run.reduction=messages", "run.reduction=shared"] {
                sends_as_planned(folder.path(), *ranks, tooth, &[reduction, "solve.method.max_iter=2"]);
            }
        }
    }
}

/// Bytes of the vectors in the newest checkpoint: its last 32 bytes begin with where they end.
fn bytes_kept(folder: &Path) -> u64 {
    let newest = names_in(folder).into_iter().filter(|name| name.starts_with("checkpoint-")).max();
    let bytes = std::fs::read(folder.join(newest.expect("a checkpoint was written"))).unwrap();
    let trailer = &bytes[bytes.len() - 32..];
    u64::from_le_bytes(trailer[..8].try_into().unwrap())
}

#[test]
fn every_method_sends_what_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    dense_job(folder.path(), 23, 6);
    phantom_job(folder.path(), "parts.toml", "y = 32, x = 32", "y = { parts = 2 }\nx = { parts = 2 }");
    let ranks = RANKS.iter().copied().nth(1).flatten();
    let methods = [
        "kind = 'cg'",
        "kind = 'cg', system = 'forward_adjoint'",
        "kind = 'cgls'",
        "kind = 'lsqr'",
        "kind = 'lsmr'",
        "kind = 'minres'",
        "kind = 'minres', system = 'forward_adjoint'",
        "kind = 'bicgstab'",
        "kind = 'bicgstab', system = 'forward_adjoint'",
        "kind = 'chebyshev'",
        "kind = 'chebyshev', system = 'forward_adjoint'",
        "kind = 'landweber'",
        "kind = 'landweber', weights = 'sums'",
        "kind = 'primal_dual'",
        "kind = 'gradient_descent', step = 1e-6",
    ];
    for (which, method) in methods.into_iter().enumerate() {
        let damping = if which % 2 == 0 { "0.1" } else { "0.0" };
        let damping = if method.contains("forward_adjoint") { "0.5" } else { damping };
        let method = format!("solve.method={{ {method}, max_iter = 3, damping = {damping} }}");
        for config in ["dense.toml", "parts.toml"] {
            if method.contains("sums") && config == "dense.toml" {
                continue; // is for operators without negative entries
            }
            for summation in ["run.summation=fast", "run.summation=ordered"] {
                let sets = [&method, summation, "run.reduction=messages", "checkpoint.every_iterations=1"];
                sends_as_planned(folder.path(), ranks, config, &sets); // checkpoints are counted apart
                let plan = planned(folder.path(), ranks.unwrap_or(1), config, &sets);
                let kept = bytes_kept(&folder.path().join("out/checkpoints"));
                assert_eq!(plan["checkpoint_bytes"].as_u64(), Some(kept), "{config} {method}");
            }
        }
    }
    for preconditioner in ["jacobi", "block"] {
        let preconditioner = format!("solve.preconditioner={{ kind = '{preconditioner}' }}");
        sends_as_planned(folder.path(), ranks, "dense.toml", &[&preconditioner, "run.reduction=messages"]);
    }
}

#[test]
fn memory_is_planned_within_15_percent() {
    let folder = tempfile::tempdir().unwrap();
    dense_job(folder.path(), 3000, 60);
    let mut jobs = vec![("dense.toml".to_owned(), vec![])];
    let volume = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/volume.toml");
    jobs.push((volume.into(), vec!["solve.method.max_iter=2", "model.dims.z=128"]));
    if let Some(data) = real_data() {
        std::os::unix::fs::symlink(data.join("tooth"), folder.path().join("tooth")).unwrap();
        let tooth = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tooth.toml");
        jobs.push((tooth.into(), vec!["solve.method.max_iter=2"]));
    }
    for (config, sets) in &jobs {
        for ranks in RANKS.iter().step_by(if config.ends_with("volume.toml") { 3 } else { 1 }) {
            for reduction in ["run.reduction=messages", "run.reduction=shared"] {
                // two checkpoints are written, so that their copies are counted too
                let kept = "checkpoint.every_iterations=1";
                let sets: Vec<&str> = sets.iter().copied().chain([reduction, kept]).collect();
                launch(folder.path(), *ranks, "run", config, &sets).end().expect(0);
                let report = report(&folder.path().join("out"));
                let plan = planned(folder.path(), ranks.unwrap_or(1), config, &sets);
                let peaks = numbers(&report["peak_memory_bytes"]);
                for (rank, peak) in peaks.iter().enumerate() {
                    let planned = plan["ranks"][rank]["peak_memory_bytes"].as_f64().unwrap();
                    let of = format!("{config} {reduction} rank {rank} of {}", peaks.len());
                    println!(
                        "{of}: {:.1} MB, planned {:.1} MB, {:+.1} %",
                        peak / 1e6,
                        planned / 1e6,
                        100.0 * (planned / peak - 1.0)
                    );
                    assert!((planned / peak - 1.0).abs() < 0.15, "{of}: {peak} bytes, planned {planned}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    dense_job(folder.path(), 23, 6);
    for ranks in [RANKS[0], RANKS[RANKS.len() - 1]] {
        let run = |more: &[&str]| {
            let arguments = ["run", "dense.toml", "--data-dir", ".", "--out", "out"];
            on(ranks, arguments.iter().chain(more).copied()).inside(folder.path()).with("SLURM_MEM_PER_NODE", "20")
        };
        let ended = run(&[]).end().expect(2);
        let errors = ended.errors();
        assert_eq!(errors.len(), 1, "{ended}");
        let by = ranks.map_or("1 rank".to_owned(), |ranks| format!("{ranks} ranks"));
        for word in ["needs", "MB by", &by, "on host", "which has 20.97 MB (SLURM_MEM_PER_NODE)"] {
            assert!(errors[0].contains(word), "no `{word}` in {ended}");
        }
        assert!(ended.stderr.contains("--ignore-memory"), "{ended}");
        let written = names_in(&folder.path().join("out"));
        assert!(written.iter().all(|name| name.starts_with('.')), "nothing but the lock was written: {written:?}");
        run(&["--ignore-memory"]).end().expect(0);
        std::fs::remove_dir_all(folder.path().join("out")).unwrap();
        run(&[]).with("SLURM_MEM_PER_NODE", "0").end().expect(0); // all of the node
        std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
}

#[test]
fn events_are_lines_that_a_program_can_follow() {
    let lines = |path: &Path| -> Vec<Json> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
    };
    for ranks in [RANKS[0], RANKS[RANKS.len() - 1]] {
        let folder = tempfile::tempdir().unwrap();
        dense_job(folder.path(), 23, 6);
        let arguments = ["run", "dense.toml", "--data-dir", ".", "--events", "events.jsonl", "--log-dir", "logs"];
        on(ranks, arguments).inside(folder.path()).end().expect(0);
        let events = lines(&folder.path().join("events.jsonl"));
        let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("start", "end"));
        let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
        assert_eq!((count("iteration"), count("result")), (5, 1), "{kinds:?}");
        for phase in ["config", "open", "build", "load", "solve", "write"] {
            assert!(events.iter().any(|event| event["event"] == "phase" && event["name"] == phase), "{phase}");
        }
        let at: Vec<f64> = events.iter().map(|event| event["at_s"].as_f64().unwrap()).collect();
        assert!(at.windows(2).all(|pair| pair[0] <= pair[1]), "{at:?}");
        let residuals = numbers(&report(&folder.path().join("out"))["relative_residual"]);
        let told = events.iter().filter(|event| event["event"] == "iteration");
        for (event, residual) in told.zip(residuals) {
            assert_eq!(event["relative_residual"], residual);
        }
        assert_eq!(events[0]["ranks"], ranks.unwrap_or(1));
        assert_eq!(events[kinds.len() - 1]["status"], 0);
        // each rank has a log of its own
        let logs: Vec<String> = (0..ranks.unwrap_or(1)).map(|rank| format!("rank-{rank:04}.log")).collect();
        assert_eq!(names_in(&folder.path().join("logs")), logs);
        for log in logs {
            let text = std::fs::read_to_string(folder.path().join("logs").join(log)).unwrap();
            assert!(text.contains("phase solve") && text.contains("stopped after 4 iterations"), "{text}");
        }
        // an error ends the stream too
        let failing = [&arguments[..6], &["--set", "solve.tolerance.relative_residual=-1"]].concat();
        on(ranks, failing).inside(folder.path()).end().expect(2);
        let events = lines(&folder.path().join("events.jsonl"));
        let last = &events[events.len() - 1];
        assert_eq!((&last["event"], &last["status"]), (&"end".into(), &2.into()));
        assert!(last["error"].as_str().unwrap().contains("relative_residual"), "{last}");
    }
    let folder = tempfile::tempdir().unwrap();
    for option in ["--events", "--log-dir"] {
        let ended = on(RANKS[RANKS.len() - 1], ["demo", option, "/proc/no/such"]).inside(folder.path()).end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{ended}");
        assert!(ended.stderr.contains("cannot write") && ended.stderr.contains(option), "{ended}");
    }
}

#[test]
fn times_are_told_by_phase_and_rank() {
    let folder = tempfile::tempdir().unwrap();
    phantom_job(folder.path(), "parts.toml", "y = 32, x = 32", "y = { parts = 2 }\nx = { parts = 2 }");
    for ranks in RANKS {
        let ended = launch(folder.path(), *ranks, "run", "parts.toml", &[]).end().expect(0);
        assert!(!ended.stderr.contains("waiting"), "{ended}");
        let report = report(&folder.path().join("out"));
        let spread = |name: &str| ["min", "mean", "max"].map(|what| report["seconds"][name][what].as_f64().unwrap());
        for name in ["solve", "operators", "sums", "messages", "waiting"] {
            let [min, mean, max] = spread(name);
            assert!(0.0 <= min && min <= mean * 1.000001 && mean <= max * 1.000001, "{name}: {report}");
        }
        assert!(spread("operators")[2] <= spread("solve")[2], "{report}");
        assert!(spread("messages")[2] <= spread("solve")[2], "{report}");
        assert!(ranks.is_none() || spread("messages")[0] > 0.0, "{report}");
        let [_, mean, max] = spread("operators");
        assert_eq!(report["imbalance"].as_f64().unwrap(), max / mean);
        let one = &report["iteration"];
        assert!(one["operators"].as_f64().unwrap() <= one["seconds"].as_f64().unwrap(), "{one}");
    }
    let ended = on(None, ["run", "parts.toml", "-v"]).inside(folder.path()).end().expect(0);
    assert!(ended.stderr.contains("waiting") && ended.stderr.contains("an iteration took"), "{ended}");
}

#[test]
#[cfg(feature = "mpi")]
fn a_model_of_scale_is_measured_and_used() {
    let folder = tempfile::tempdir().unwrap();
    dense_job(folder.path(), 230, 20);
    let inside = |ranks, arguments: &[&str]| on(ranks, arguments.iter().copied()).inside(folder.path()).end();
    let alone = inside(None, &["bench", "net", "--out", "net.toml"]).expect(2);
    assert!(alone.stderr.contains("one rank has nobody to talk to"), "{alone}");
    let measured = inside(Some(2), &["bench", "net", "--out", "net.toml"]).expect(0);
    assert!(measured.stdout.contains("AllReduce on 2 ranks of one host"), "{measured}");
    let plan = ["plan", "dense.toml", "--data-dir", ".", "--ranks", "4", "--model", "net.toml"];
    let without = inside(None, &plan).expect(2);
    assert!(without.stderr.contains("does not know how fast operators are"), "{without}");
    let operators = ["bench", "operators", "dense.toml", "--data-dir", ".", "--out", "net.toml"];
    inside(Some(2), &operators).expect(0);
    let told = inside(None, &plan).expect(0);
    assert!(told.stdout.contains("a prediction, from messages measured on 20"), "{told}");
    let json = inside(None, &[&plan[..], &["--json"]].concat()).expect(0);
    let json: Json = serde_json::from_str(&json.stdout).unwrap();
    let rows = json["scale"]["rows"].as_array().unwrap();
    let counts: Vec<u64> = rows.iter().map(|row| row["ranks"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2, 4]);
    let number = |row: usize, what: &str| rows[row][what].as_f64().unwrap();
    assert_eq!((number(0, "messages"), number(0, "efficiency")), (0.0, 1.0));
    assert!(number(1, "messages") > 0.0 && number(0, "operators") > number(1, "operators"), "{json}");
    // two nodes were not measured: it says so instead of guessing
    let two = inside(None, &[&plan[..], &["--ranks-per-node", "2"]].concat()).expect(2);
    assert!(two.stderr.contains("no measurement of AllReduce between nodes"), "{two}");
    std::fs::write(folder.path().join("net.toml"), "version = 1\nnonsense = 2\n").unwrap();
    let broken = inside(None, &plan).expect(2);
    assert!(broken.stderr.contains("net.toml") && broken.stderr.contains("nonsense"), "{broken}");
}
