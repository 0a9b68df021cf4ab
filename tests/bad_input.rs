//! Bad input is one clear error: exit status 2, the same on one process and under `mpirun`, told by one rank, in words that
//! say where, what was expected, what was got and what to do; the job ends, and nothing half-written is left.

mod common;

use std::path::Path;

use common::program::{Ended, Launch, names_in, on, report, stackphys};
use ndarray::{Array, Array2, Dimension};
use ndarray_npy::{WritableElement, write_npy};

/// A small scan: 9 angles, 17 columns, in three operators.
const JOB: &str = r#"version = 1
[model]
dims = { y = 12, x = 12 }
[[terms]]
name = "scan"
data = { format = "npy", path = "scan.npy", dims = ["angle", "column"] }
operator = { kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 9 }, center = 8.0 }
split = { angle = { parts = 3, order = "interleaved" } }
[solve]
method = { kind = "cg", max_iter = 5 }
"#;

/// Something that a user may get wrong.
struct Case {
    name: &'static str,
    /// Changes of the job: from, to.
    changes: &'static [(&'static str, &'static str)],
    /// Arguments after `run job.toml --data-dir data --out out`.
    arguments: &'static [&'static str],
    /// Makes the data.
    data: fn(&Path),
    /// What the error says, in this order.
    says: &'static [&'static str],
    /// What its help says.
    helps: &'static str,
    /// On how many ranks, besides one process alone.
    ranks: &'static [usize],
}

const CASE: Case = Case { name: "", changes: &[], arguments: &[], data: good_data, says: &[], helps: "", ranks: &[2] };

/// What every folder of data has: a good scan, matrices, and measurements for them.
fn good_data(folder: &Path) {
    write(folder, "scan.npy", &sinogram());
    write(folder, "matrix.npy", &Array2::from_shape_fn((6, 144), |(i, j)| f64::from((i * 31 + j * 17) as u32 % 11)));
    write(folder, "six.npy", &ndarray::Array1::<f64>::ones(6));
    write(folder, "image.npy", &Array2::<f64>::ones((12, 12)));
}

fn sinogram() -> Array2<f32> {
    Array2::from_shape_fn((9, 17), |(angle, column)| 1.0 + angle as f32 + 0.1 * column as f32)
}

fn write<A: WritableElement, D: Dimension>(folder: &Path, name: &str, array: &Array<A, D>) {
    write_npy(folder.join(name), array).unwrap();
}

fn nan_in_scan(folder: &Path) {
    good_data(folder);
    let mut scan = sinogram();
    for (angle, column) in [(1, 3), (1, 4), (4, 2), (7, 16)] {
        scan[[angle, column]] = f32::NAN; // all in the second of three interleaved operators
    }
    write(folder, "scan.npy", &scan);
}

fn cut_to(folder: &Path, name: &str, keep: impl Fn(usize) -> usize) {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    std::fs::write(folder.join(name), &bytes[..keep(bytes.len())]).unwrap();
}

const NO_CENTER: (&str, &str) = (", center = 8.0", "");
const DENSE: &[(&str, &str)] = &[
    (r#"path = "scan.npy", dims = ["angle", "column"]"#, r#"path = "six.npy", dims = ["row"]"#),
    (
        r#"{ kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 9 }, center = 8.0 }"#,
        r#"{ kind = "dense", path = "matrix.npy" }"#,
    ),
    (r#"{ angle = { parts = 3, order = "interleaved" } }"#, "{ row = { parts = 2 } }"),
];

/// What goes wrong in what was written.
const WRITTEN: &[Case] = &[
    Case {
        name: "a misspelt key",
        changes: &[("center = 8.0", "centre = 8.0")],
        says: &["config: ", "job.toml:7: terms.scan.operator: unknown key `centre`"],
        helps: "did you mean `center`? valid keys: `angles_deg`",
        ranks: &[2, 3, 4],
        ..CASE
    },
    Case {
        name: "an unknown key",
        changes: &[("[solve]", "[solve]\nregulariser = 3")],
        says: &["job.toml:10: solve: unknown key `regulariser`"],
        helps: "valid keys: `method`",
        ..CASE
    },
    Case {
        name: "a misspelt table",
        changes: &[("[solve]", "[sovle]")],
        says: &["job.toml:9: unknown key `sovle`"],
        helps: "did you mean `solve`?",
        ..CASE
    },
    Case {
        name: "a misspelt kind",
        changes: &[("parallel_ct", "paralel_ct")],
        says: &["job.toml:7: terms.scan.operator.kind: unknown kind `paralel_ct`"],
        helps: "did you mean `parallel_ct`?",
        ..CASE
    },
    Case {
        name: "a misspelt --set",
        arguments: &["--set", "operator.cetner=3"],
        says: &["--set operator.cetner=3: terms.scan.operator: unknown key `cetner`"],
        helps: "did you mean `center`?",
        ..CASE
    },
    Case {
        name: "a --set without value",
        arguments: &["--set", "run.threads"],
        says: &["--set run.threads: expected key.path=value"],
        helps: "for example --set",
        ..CASE
    },
    Case {
        name: "a wrong type",
        changes: &[("y = 12", "y = \"twelve\"")],
        says: &["job.toml:3: model.dims.y: expected a whole number (0 or more), got string \"twelve\""],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "a wrong type in an operator",
        changes: &[("center = 8.0", "center = [8.0]")],
        says: &["job.toml:7: terms.scan.operator.center: expected a number, got a list"],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "no iterations",
        changes: &[("max_iter = 5", "max_iter = 0")],
        says: &["job.toml:10: solve.method.max_iter: must be at least 1, got 0"],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "negative damping",
        changes: &[("max_iter = 5", "max_iter = 5, damping = -1.0")],
        says: &["job.toml:10: solve.method.damping: must be zero or a positive number, got -1"],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "a tolerance that is not a number",
        arguments: &["--set", "solve.tolerance.relative_residual=nan"],
        says: &["solve.tolerance.relative_residual: must be a positive number, got NaN"],
        helps: "leave it out for no limit",
        ..CASE
    },
    Case {
        name: "a dim of size zero",
        changes: &[("y = 12", "y = 0")],
        says: &["job.toml:3: model.dims.y: must be at least 1, got 0"],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "a model that no memory holds",
        changes: &[("y = 12, x = 12", "y = 8589934592, x = 8589934592")],
        says: &["job.toml:3: model.dims: ", "8589934592", "more numbers than"],
        helps: "sizes",
        ..CASE
    },
    Case {
        name: "another version",
        changes: &[("version = 1", "version = 7")],
        says: &["job.toml:1: version: the job is of version 7, this program reads version 1"],
        helps: "change it to version = 1",
        ..CASE
    },
    Case {
        name: "not TOML",
        changes: &[("[solve]", "[solve")],
        says: &["job.toml:9:7: unclosed table, expected `]`"],
        helps: "this is not TOML",
        ..CASE
    },
    Case {
        name: "no data to solve for",
        changes: &[
            (r#"data = { format = "npy", path = "scan.npy", dims = ["angle", "column"] }"#, ""),
            ("center = 8.0", "columns = 17"),
        ],
        says: &["terms.scan: there is no `data` to solve for"],
        helps: "give the term a `data` table",
        ..CASE
    },
    Case {
        name: "to be converged to no tolerance",
        arguments: &["--require-converged"],
        says: &["--require-converged, but the config asks for no tolerance"],
        helps: "--set solve.tolerance.relative_residual=0.01",
        ..CASE
    },
    Case {
        name: "an `each` of another length",
        changes: &[("[solve]", "count = 3\n[solve]"), ("center = 8.0", "center = { each = [7.0, 8.0] }")],
        says: &["job.toml:7: terms.scan.operator.center: `each` has 2 values, but `count` is 3"],
        helps: "stackphys schema",
        ..CASE
    },
    Case {
        name: "zero operators by count",
        changes: &[("[solve]", "count = 0\n[solve]")],
        says: &["job.toml:9: terms.scan.count: must be at least 1, got 0 operators"],
        helps: "leave it out for one operator",
        ranks: &[2, 4],
        ..CASE
    },
    Case {
        name: "zero operators by no terms",
        arguments: &["--set", "terms=[]"],
        says: &["terms: a job needs at least one term"],
        helps: "add a [[terms]] table",
        ..CASE
    },
    Case {
        name: "a first guess for a local mean",
        arguments: &["--set", "solve.pseudo_inverse=local_mean", "--set", "solve.first_guess=data/image.npy"],
        says: &["solve.first_guess: ", "local mean"],
        helps: "leave it out",
        ..CASE
    },
];

/// What goes wrong between the job and the files, before any measurement is read.
const PLANNED: &[Case] = &[
    Case {
        name: "a missing file",
        changes: &[("scan.npy", "scam.npy")],
        says: &["open: terms.scan.data: cannot read ", "data/scam.npy: No such file", "the data folder is "],
        helps: "--data-dir",
        ranks: &[2, 3],
        ..CASE
    },
    Case {
        name: "an empty file",
        data: |folder| std::fs::write(folder.join("scan.npy"), "").unwrap(),
        says: &["terms.scan.data: ", "scan.npy is empty (0 bytes)"],
        helps: "completely",
        ..CASE
    },
    Case {
        name: "a truncated file",
        data: |folder| {
            good_data(folder);
            cut_to(folder, "scan.npy", |bytes| bytes - 10);
        },
        says: &["terms.scan.data: ", "scan.npy is truncated: 740 bytes are needed", "it has 730"],
        helps: "completely",
        ..CASE
    },
    Case {
        name: "not an npy file",
        data: |folder| std::fs::write(folder.join("scan.npy"), "1, 2, 3\n4, 5, 6\n").unwrap(),
        says: &["terms.scan.data: ", "scan.npy is not an npy file"],
        helps: "numpy.save",
        ..CASE
    },
    Case {
        name: "text in an npy file",
        data: |folder| {
            let head = "{'descr': '<U5', 'fortran_order': False, 'shape': (9, 17), }\n";
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((head.len() as u16).to_le_bytes());
            bytes.extend(head.bytes());
            std::fs::write(folder.join("scan.npy"), bytes).unwrap();
        },
        says: &["scan.npy holds elements of type", "<U5"],
        helps: "astype",
        ..CASE
    },
    Case {
        name: "too few names of dims",
        changes: &[(r#"["angle", "column"]"#, r#"["angle"]"#)],
        says: &["terms.scan.data: `dims`: scan.npy has 2 dims of sizes [9, 17], `dims` names 1"],
        helps: "name each dim once",
        ..CASE
    },
    Case {
        name: "a dim named twice",
        changes: &[(r#"["angle", "column"]"#, r#"["angle", "angle"]"#)],
        says: &["terms.scan.data: `dims` names `angle` twice"],
        helps: "name each dim once",
        ..CASE
    },
    Case {
        name: "a wrong dim",
        changes: &[(r#"["angle", "column"]"#, r#"["angle", "row"]"#)],
        says: &["terms.scan.operator: data: expected the dims (angle, column)", "got (angle=9, row=17)"],
        helps: "one detector row",
        ..CASE
    },
    Case {
        name: "angles of another number than the data",
        changes: &[("count = 9", "count = 8")],
        says: &["terms.scan.operator: `angles_deg`: expected 9 angles, the data's `angle` size, got 8"],
        helps: "one angle for each projection",
        ..CASE
    },
    Case {
        name: "no angles",
        changes: &[("angles_deg = { start = 0.0, stop = 180.0, count = 9 }, ", "")],
        says: &["terms.scan.operator: angles: none were given, and none came with the data"],
        helps: "set `angles_deg`",
        ..CASE
    },
    Case {
        name: "a centre outside the detector",
        changes: &[("center = 8.0", "center = 17.0")],
        says: &["terms.scan.operator: `center`: expected a column on the detector, 0 to 16, got 17"],
        helps: "column index counted from 0",
        ranks: &[2, 3],
        ..CASE
    },
    Case {
        name: "a centre before the detector",
        arguments: &["--set", "operator.center=-0.5"],
        says: &["terms.scan.operator: `center`: expected a column on the detector, 0 to 16, got -0.5"],
        helps: "column index counted from 0",
        ..CASE
    },
    Case {
        name: "a negative spacing",
        changes: &[NO_CENTER, ("\"parallel_ct\"", "\"parallel_ct\", spacing = -1")],
        says: &["terms.scan.operator: `spacing`: expected a positive number of voxels, got -1"],
        helps: "distance between detector columns",
        ..CASE
    },
    Case {
        name: "a model with other dims than the operator's",
        changes: &[("dims = { y = 12, x = 12 }", "dims = { x = 12, y = 12 }")],
        says: &["terms.scan.operator: model: expected the dims (y, x) or (z, y, x), got (x=12, y=12)"],
        helps: "the order counts",
        ..CASE
    },
    Case {
        name: "a split along no dim",
        changes: &[("split = { angle", "split = { angel")],
        says: &["terms.scan.operator: `split` names dim `angel`, the measurements are (angle=9, column=17)"],
        helps: "may be cut along: angle",
        ..CASE
    },
    Case {
        name: "a split along a dim that stays whole",
        changes: &[("split = { angle", "split = { column")],
        says: &["terms.scan.operator: dim `column` must stay whole for this operator"],
        helps: "may be cut along: angle",
        ..CASE
    },
    Case {
        name: "more parts than samples",
        changes: &[("parts = 3", "parts = 10")],
        says: &["terms.scan.operator: `split` wants 10 parts of dim `angle`, which has 9 samples"],
        helps: "at most 9",
        ..CASE
    },
    Case {
        name: "data without a dim for several operators",
        changes: &[("[solve]", "count = 3\n[solve]")],
        says: &["with `count = 3` the first dim of the data must be `operator` of size 3", "(angle=9, column=17)"],
        helps: "dims",
        ..CASE
    },
    Case {
        name: "a matrix that is missing",
        changes: DENSE,
        arguments: &["--set", "operator.path=nowhere.npy"],
        says: &["terms.scan.operator: cannot read ", "data/nowhere.npy: No such file"],
        helps: "--data-dir",
        ranks: &[2, 3],
        ..CASE
    },
    Case {
        name: "a matrix for another model",
        changes: DENSE,
        arguments: &["--set", "model.dims.x=13"],
        says: &["terms.scan.operator: `path`: matrix.npy has sizes [6, 144], expected [rows, 156]"],
        helps: "one column for each number of the model",
        ..CASE
    },
    Case {
        name: "a matrix for other measurements",
        changes: DENSE,
        arguments: &["--set", "data.path=image.npy", "--set", "data.dims=[\"row\", \"x\"]"],
        says: &["terms.scan.operator: ", "the data do not fit the operator", "(row=6)", "(row=12, x=12)"],
        helps: "dims are matched by name",
        ..CASE
    },
    Case {
        name: "a diagonal of nothing",
        changes: DENSE,
        arguments: &["--set", "operator={ kind = \"diagonal\" }", "--set", "split={}"],
        says: &["terms.scan.operator: a diagonal operator needs either `value` or `path`"],
        helps: "for example `value = 2.0`",
        ..CASE
    },
    Case {
        name: "a diagonal of another model",
        changes: DENSE,
        arguments: &["--set", "operator={ kind = \"diagonal\", path = \"six.npy\" }", "--set", "split={}"],
        says: &["terms.scan.operator: `path`: six.npy has sizes [6], the model is (y=12, x=12)"],
        helps: "one number for each number of the model",
        ..CASE
    },
    Case {
        name: "a blur of negative width",
        changes: DENSE,
        arguments: &["--set", "operator={ kind = \"blur\", sigma = [1.0, -2.0] }", "--set", "split={}"],
        says: &["terms.scan.operator: `sigma`: expected a finite number of pixels from 0 on, got -2 for dim `x`"],
        helps: "standard deviation",
        ..CASE
    },
    Case {
        name: "a blur with another edge",
        changes: DENSE,
        arguments: &["--set", "operator={ kind = \"blur\", sigma = 1.0, padding = \"zero\" }", "--set", "split={}"],
        says: &["terms.scan.operator.padding: unknown value `zero`"],
        helps: "valid values: `circular`",
        ..CASE
    },
    Case {
        name: "a phantom of negative noise",
        arguments: &["--set", "data={ format = \"phantom\", name = \"shepp_logan\", noise = -0.1 }"],
        says: &["terms.scan.data: `noise` is -0.1, expected a finite number from 0 on"],
        helps: "0.01",
        ..CASE
    },
    Case {
        name: "a first guess that is missing",
        arguments: &["--set", "solve.first_guess=nowhere.npy"],
        data: nan_in_scan, // the guess is looked at first
        says: &["solve.first_guess: cannot read ", "nowhere.npy: No such file"],
        helps: "current folder",
        ..CASE
    },
    Case {
        name: "a first guess of another size",
        arguments: &["--set", "solve.first_guess=data/six.npy"],
        data: nan_in_scan,
        says: &["solve.first_guess: ", "six.npy", "[6]"],
        helps: "model",
        ..CASE
    },
];

/// What goes wrong while a rank reads its part of the files: the others do not notice by themselves.
const LOADED: &[Case] = &[
    Case {
        name: "not-a-number in the data",
        data: nan_in_scan,
        says: &[
            "load: terms.scan.data: scan.npy: 4 of the 51 values read here are not finite as f32; the first, NaN, is at \
             angle=1, column=3",
        ],
        helps: "`data.nan = \"zero\"` accepts them as zeros",
        ranks: &[2, 3, 4],
        ..CASE
    },
    Case {
        name: "infinity in the data",
        data: |folder| {
            good_data(folder);
            let mut scan = sinogram().mapv(f64::from);
            scan[[8, 16]] = 1e300; // more than the job's scalar holds
            write(folder, "scan.npy", &scan);
        },
        says: &[
            "terms.scan.data: scan.npy: 1 of the 51 values read here is not finite as f32; the first, inf, is at angle=8, column=16",
        ],
        helps: "data.nan",
        ..CASE
    },
    Case {
        name: "complex data for a real model",
        data: |folder| write(folder, "scan.npy", &sinogram().mapv(|value| num_complex::Complex::new(value, 1.0))),
        says: &["terms.scan.data: ", "scan.npy holds complex64: complex numbers cannot become f32"],
        helps: "set model.scalar to \"complex_f32\"",
        ..CASE
    },
    Case {
        name: "not-a-number in a matrix",
        changes: DENSE,
        data: |folder| {
            good_data(folder);
            let mut matrix = Array2::<f64>::ones((6, 144));
            matrix[[5, 7]] = f64::NAN; // in the rows of the second operator
            write(folder, "matrix.npy", &matrix);
        },
        says: &["build: operator 1: terms.scan.operator: ", "matrix.npy: 1 of the 432 values", "row=5, column=7"],
        helps: "matrix",
        ..CASE
    },
    Case {
        name: "a complex matrix for a real model",
        changes: DENSE,
        data: |folder| {
            good_data(folder);
            write(folder, "matrix.npy", &Array2::from_elem((6, 144), num_complex::Complex::new(1.0, 1.0)));
        },
        says: &["build: operator 0: terms.scan.operator: complex numbers cannot become f32"],
        helps: "set model.scalar",
        ..CASE
    },
];

/// Where results cannot go; the data are bad too, which must not be noticed first.
const WRITES: &[Case] = &[
    Case {
        name: "a folder below a file",
        arguments: &["--out", "job.toml/out"],
        data: nan_in_scan,
        says: &["write: cannot write to the folder job.toml/out: Not a directory"],
        helps: "choose another folder",
        ranks: &[2, 3],
        ..CASE
    },
    Case {
        name: "a folder that is a file",
        arguments: &["--out", "job.toml"],
        data: nan_in_scan,
        says: &["write: cannot write to the folder job.toml: "],
        helps: "choose another folder",
        ..CASE
    },
    Case {
        name: "a folder of the kernel",
        changes: &[("[solve]", "[output]\nfolder = \"/proc/stackphys\"\n[solve]")],
        arguments: &["--out", "/proc/stackphys"],
        data: |_| (), // there is nothing to read, either
        says: &["write: cannot write to the folder /proc/stackphys: "],
        helps: "choose another folder",
        ..CASE
    },
    Case {
        name: "a result that is a folder",
        arguments: &["--out", "taken"],
        data: |folder| {
            nan_in_scan(folder);
            std::fs::create_dir_all(folder.join("../taken/report.json")).unwrap();
        },
        says: &["write: cannot write taken/report.json: it exists and is not a file"],
        helps: "choose another folder",
        ..CASE
    },
];

#[test]
fn what_was_written_wrong_is_told() {
    all_fail(WRITTEN);
}

#[test]
fn what_does_not_fit_is_told() {
    all_fail(PLANNED);
}

#[test]
fn what_one_rank_cannot_read_is_told_by_all() {
    all_fail(LOADED);
}

#[test]
fn results_that_cannot_be_written_are_told_before_data_are_read() {
    all_fail(WRITES);
}

/// Runs each case alone and on its rank counts, a few at once: most of their time is waiting for `mpirun`.
fn all_fail(cases: &[Case]) {
    assert!(cases.len() > 3, "a table is not empty");
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
                    let mpi: &[usize] = if cfg!(feature = "mpi") { case.ranks } else { &[] };
                    for ranks in [None].into_iter().chain(mpi.iter().copied().map(Some)) {
                        fails(case, ranks);
                    }
                }
            });
        }
    });
}

fn fails(case: &Case, ranks: Option<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let launch = case_in(folder.path(), case, ranks);
    let ended = launch.end();
    is_one_error(case.name, case.says, case.helps, &ended.expect(2), folder.path());
}

/// The folder of a case and its process.
fn case_in(folder: &Path, case: &Case, ranks: Option<usize>) -> Launch {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    (case.data)(&data);
    let mut job = JOB.to_owned();
    for (from, to) in case.changes {
        assert_eq!(job.matches(from).count(), 1, "{}: {from}", case.name);
        job = job.replace(from, to);
    }
    std::fs::write(folder.join("job.toml"), job).unwrap();
    let out: &[&str] = if case.arguments.contains(&"--out") { &[] } else { &["--out", "out"] };
    let arguments = [&["run", "job.toml", "--data-dir", "data"], out, case.arguments].concat();
    on(ranks, arguments).inside(folder)
}

fn is_one_error(name: &str, says: &[&str], helps: &str, ended: &Ended, folder: &Path) {
    let errors = ended.errors();
    assert_eq!(errors.len(), 1, "{name}: one rank tells\n{ended}");
    let from = ended.stderr.find("\nerror:").map_or(0, |at| at + 1);
    let mut rest = &ended.stderr[from..];
    assert!(!says.is_empty());
    for says in says {
        let at = rest.find(says).unwrap_or_else(|| panic!("{name}: no {says:?} in what is left of\n{ended}"));
        rest = &rest[at + says.len()..];
    }
    let help = rest.split_once("\n  help: ").unwrap_or_else(|| panic!("{name}: no help\n{ended}")).1;
    assert!(help.contains(helps), "{name}: the help does not say {helps:?}\n{ended}");
    assert!(!ended.stderr.contains("panicked"), "{name}\n{ended}");
    for out in ["out", "taken"] {
        let left: Vec<String> = names_in(&folder.join(out)).into_iter().filter(|name| name != "report.json").collect();
        assert!(left.is_empty(), "{name}: {left:?} are left in {out}");
    }
    assert!(!folder.join("out/report.json").exists(), "{name}");
}

#[test]
fn not_a_number_is_accepted_as_zero_when_asked() {
    let mpi: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2)] } else { &[None] };
    for ranks in mpi {
        let folder = tempfile::tempdir().unwrap();
        let case = Case { arguments: &["--set", "data.nan=\"zero\""], data: nan_in_scan, ..CASE };
        let ended = case_in(folder.path(), &case, *ranks).end().expect(0);
        assert!(ended.stderr.contains("4 numbers were not finite and became zero"), "{ended}");
        assert_eq!(report(&folder.path().join("out"))["data"]["not_finite"], 4);
    }
    // the good case is good, and all that is bad above is bad by its own fault
    let folder = tempfile::tempdir().unwrap();
    case_in(folder.path(), &CASE, None).end().expect(0);
    let folder = tempfile::tempdir().unwrap();
    case_in(folder.path(), &Case { changes: DENSE, ..CASE }, None).end().expect(0);
}

/// A node whose file system lacks the file: rank 1 has another data folder.
#[cfg(feature = "mpi")]
#[test]
fn a_file_that_only_one_rank_cannot_read_is_told_by_all() {
    let dense = Case { changes: DENSE, ..CASE };
    for (case, says) in [
        (&CASE, &["load: terms.scan.data: cannot read ", "data_of_rank_1/scan.npy: No such file", "(on rank 1 of 2)"]),
        (
            &dense,
            &["plan: terms.scan.operator: cannot read ", "data_of_rank_1/matrix.npy: No such file", "(on rank 1 of 2)"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let launch = case_in(folder.path(), case, Some(2));
        let other = ["run", "job.toml", "--data-dir", "data_of_rank_1", "--out", "out"];
        let ended = launch.where_rank_1_has(other).end().expect(2);
        is_one_error("a file on one node", says, "--data-dir", &ended, folder.path());
    }
}

#[test]
fn wrong_arguments_are_told_once() {
    let table: &[(&[&str], &str)] = &[
        (&["run"], "required arguments were not provided"),
        (&["run", "job.toml", "--treads", "2"], "unexpected argument '--treads'"),
        (&["demo", "--threads", "0"], "invalid value '0' for '--threads <N>'"),
        (&["plan", "job.toml", "--ranks", "0"], "invalid value '0' for '--ranks <N>'"),
        (&["list", "operator"], "invalid value 'operator'"),
        (&["demo", "-q", "-v"], "cannot be used with"),
        (&["reconstruct"], "unrecognized subcommand 'reconstruct'"),
    ];
    assert!(!table.is_empty());
    for (arguments, says) in table {
        let ended = stackphys(*arguments).end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{ended}");
        assert!(ended.stderr.contains(says), "{ended}");
        assert!(ended.stderr.contains("--help"), "{ended}");
    }
    if cfg!(feature = "mpi") {
        for ranks in [2, 2, 4] {
            let ended = on(Some(ranks), ["demo", "--treads", "2"]).end().expect(2);
            assert_eq!(ended.errors().len(), 1, "{ended}");
        }
    }
}

#[test]
fn every_command_tells_of_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("data")).unwrap();
    good_data(&folder.join("data"));
    std::fs::write(folder.join("job.toml"), JOB).unwrap();
    std::fs::write(folder.join("bad.toml"), JOB.replace("center", "centre")).unwrap();
    let table: &[(&[&str], &[&str], &str)] = &[
        (&["run", "nowhere.toml"], &["cannot read the config nowhere.toml: No such file"], "configs/"),
        (&["plan", "bad.toml"], &["bad.toml:7", "unknown key `centre`"], "did you mean `center`"),
        (&["check", "bad.toml"], &["bad.toml:7", "unknown key `centre`"], "did you mean `center`"),
        (&["norm", "bad.toml"], &["bad.toml:7", "unknown key `centre`"], "did you mean `center`"),
        (&["demo", "--set", "solve.methd.kind=cg"], &["solve: unknown key `methd`"], "did you mean `method`"),
        (
            &["apply", "bad.toml", "--what", "normal", "--in", "data/image.npy", "--out", "y.npy"],
            &["bad.toml:7", "unknown key `centre`"],
            "did you mean `center`",
        ),
        (
            &[
                "apply",
                "job.toml",
                "--data-dir",
                "data",
                "--what",
                "forward",
                "--in",
                "nowhere.npy",
                "--out",
                "out/y.npy",
            ],
            &["--in: cannot read ", "nowhere.npy: No such file"],
            "current folder",
        ),
        (
            &[
                "apply",
                "job.toml",
                "--data-dir",
                "data",
                "--what",
                "forward",
                "--in",
                "data/scan.npy",
                "--out",
                "out/y.npy",
            ],
            &["--in: expected sizes [12, 12], those of the model", "scan.npy has [9, 17]"],
            "model",
        ),
        (
            &[
                "apply",
                "job.toml",
                "--data-dir",
                "data",
                "--what",
                "adjoint",
                "--in",
                "data/image.npy",
                "--out",
                "out/y.npy",
            ],
            &["--in: expected sizes [9, 17], those of the measurements", "image.npy has [12, 12]"],
            "measurements",
        ),
        (
            &[
                "apply",
                "job.toml",
                "--data-dir",
                "data",
                "--what",
                "forward",
                "--in",
                "data/image.npy",
                "--out",
                "job.toml/y.npy",
            ],
            &["write: cannot write to the folder job.toml: "],
            "choose another folder",
        ),
    ];
    assert!(!table.is_empty());
    for (arguments, says, helps) in table {
        let mpi: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2)] } else { &[None] };
        for ranks in mpi {
            let ended = on(*ranks, *arguments).inside(folder).end().expect(2);
            is_one_error(arguments[0], says, helps, &ended, folder);
            assert!(!folder.join("out/y.npy").exists());
        }
    }
}

#[cfg(feature = "hdf5")]
mod data_exchange {
    use ndarray::{Array1, Array3};

    use super::*;

    /// Data Exchange with 9 angles, 2 rows, 17 columns; `change` spoils it.
    ///
    /// The file is a copy of what HDF5 made: a process that another test starts at that moment inherits HDF5's lock.
    fn scan(folder: &Path, change: impl FnOnce(&hdf5::Group)) {
        let made = folder.join("made.h5");
        make_scan(&made, change);
        std::fs::copy(&made, folder.join("scan.h5")).unwrap();
        std::fs::remove_file(made).unwrap();
    }

    fn make_scan(path: &Path, change: impl FnOnce(&hdf5::Group)) {
        let file = hdf5::File::create(path).unwrap();
        let exchange = file.create_group("exchange").unwrap();
        let counts = Array3::from_shape_fn((9, 2, 17), |(a, r, c)| 50.0f32 + (5 * a + 3 * r + c) as f32);
        // a checksum for each angle, so that damage is noticed by who reads it
        let builder = exchange.new_dataset_builder().chunk((1, 2, 17)).fletcher32();
        builder.with_data(&counts).create("data").unwrap();
        exchange
            .new_dataset_builder()
            .with_data(&Array3::from_elem((2, 2, 17), 200.0f32))
            .create("data_white")
            .unwrap();
        exchange.new_dataset_builder().with_data(&Array3::<f32>::zeros((2, 2, 17))).create("data_dark").unwrap();
        let theta = Array1::from_shape_fn(9, |angle| 20.0 * angle as f64);
        exchange.new_dataset_builder().with_data(&theta).create("theta").unwrap();
        change(&exchange);
    }

    fn replace_theta(exchange: &hdf5::Group, theta: &Array1<f64>) {
        exchange.unlink("theta").unwrap();
        exchange.new_dataset_builder().with_data(theta).create("theta").unwrap();
    }

    /// Damages the counts of the last angle, wherever in the file they are.
    fn damage_last_angle(folder: &Path) {
        scan(folder, |_| ());
        let path = folder.join("scan.h5");
        let mut bytes = std::fs::read(&path).unwrap();
        let wanted: Vec<u8> = (0..17).flat_map(|c| (50.0f32 + (5 * 8 + 3 + c) as f32).to_le_bytes()).collect();
        let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("the counts are in the file");
        bytes[at + 5] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }

    const SCAN: &[(&str, &str)] = &[
        (
            r#"{ format = "npy", path = "scan.npy", dims = ["angle", "column"] }"#,
            r#"{ format = "data-exchange", path = "scan.h5", rows = [1] }"#,
        ),
        ("angles_deg = { start = 0.0, stop = 180.0, count = 9 }, ", ""),
        (r#"{ parts = 3, order = "interleaved" }"#, "{ parts = 3 }"),
    ];

    const CASES: &[Case] = &[
        Case {
            name: "a missing data set",
            changes: SCAN,
            data: |folder| scan(folder, |exchange| exchange.unlink("data").unwrap()),
            says: &["open: terms.scan.data: scan.h5 has no data set `exchange/data`; it has ", "exchange/theta"],
            helps: "is this an HDF5 Data Exchange file",
            ranks: &[2, 3],
            ..CASE
        },
        Case {
            name: "no white frames",
            changes: SCAN,
            data: |folder| scan(folder, |exchange| exchange.unlink("data_white").unwrap()),
            says: &["scan.h5 has no data set `exchange/data_white`; it has exchange/data"],
            helps: "white and dark fields",
            ..CASE
        },
        Case {
            name: "theta of another length",
            changes: SCAN,
            data: |folder| scan(folder, |exchange| replace_theta(exchange, &Array1::zeros(8))),
            says: &["terms.scan.data: scan.h5: `exchange/theta` has 8 angles, `exchange/data` has 9 views"],
            helps: "one angle for each view",
            ..CASE
        },
        Case {
            name: "theta that is not a number",
            changes: SCAN,
            data: |folder| {
                let mut theta = Array1::zeros(9);
                theta[4] = f64::NAN;
                scan(folder, |exchange| replace_theta(exchange, &theta));
            },
            says: &["scan.h5: `exchange/theta` is NaN at view 4"],
            helps: "one angle for each view",
            ..CASE
        },
        Case {
            name: "an empty HDF5 file",
            changes: SCAN,
            data: |folder| std::fs::write(folder.join("scan.h5"), "").unwrap(),
            says: &["terms.scan.data: ", "scan.h5 is empty (0 bytes)"],
            helps: "completely",
            ..CASE
        },
        Case {
            name: "a truncated HDF5 file",
            changes: SCAN,
            data: |folder| {
                scan(folder, |_| ());
                cut_to(folder, "scan.h5", |bytes| bytes / 2);
            },
            says: &["terms.scan.data: cannot open ", "scan.h5 (", " bytes) as HDF5: ", "truncated"],
            helps: "copied completely",
            ranks: &[2, 3],
            ..CASE
        },
        Case {
            name: "not an HDF5 file",
            changes: SCAN,
            data: |folder| std::fs::write(folder.join("scan.h5"), "angle, counts\n".repeat(100)).unwrap(),
            says: &["terms.scan.data: cannot open ", "scan.h5 (1400 bytes) as HDF5"],
            helps: "is it an HDF5 file",
            ..CASE
        },
        Case {
            name: "a missing HDF5 file",
            changes: SCAN,
            data: |_| (),
            says: &["terms.scan.data: cannot read ", "scan.h5: No such file", "the data folder is"],
            helps: "scripts/get-data.sh",
            ..CASE
        },
        Case {
            name: "a row that is not there",
            changes: SCAN,
            arguments: &["--set", "data.rows=[2]"],
            data: |folder| scan(folder, |_| ()),
            says: &["terms.scan.data: `rows`: row 2 is not in scan.h5, which has rows 0 to 1"],
            helps: "counted from 0",
            ..CASE
        },
        Case {
            name: "two rows for one slice",
            changes: SCAN,
            arguments: &["--set", "data.rows=[0, 1]"],
            data: |folder| scan(folder, |_| ()),
            says: &["data: expected the dims (angle, column)", "got (angle=9, row=2, column=17)"],
            helps: "choose a single row",
            ..CASE
        },
        Case {
            name: "a clamp of zero",
            changes: SCAN,
            arguments: &["--set", "data.clamp=0"],
            data: |folder| scan(folder, |_| ()),
            says: &["terms.scan.data: `clamp` is 0, expected a number between 0 and 1"],
            helps: "1e-6",
            ..CASE
        },
        Case {
            name: "a pixel without light",
            changes: SCAN,
            data: |folder| {
                let mut white = Array3::from_elem((2, 2, 17), 200.0f32);
                white.slice_mut(ndarray::s![.., 1, 11]).fill(0.0); // white is dark
                scan(folder, |exchange| {
                    exchange.unlink("data_white").unwrap();
                    exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
                });
            },
            says: &["load: terms.scan.data: scan.h5: 3 of the 51 values", "NaN, is at angle=0, row=1, column=11"],
            helps: "data.nan",
            ..CASE
        },
        Case {
            name: "damage where one rank reads",
            changes: SCAN,
            data: damage_last_angle,
            says: &["load: terms.scan.data: scan.h5: cannot read `exchange/data`"],
            helps: "is the file complete",
            ranks: &[2, 3, 4],
            ..CASE
        },
    ];

    #[test]
    fn what_is_wrong_with_hdf5_files_is_told() {
        all_fail(CASES);
        let folder = tempfile::tempdir().unwrap();
        let good = Case { changes: SCAN, data: |folder| scan(folder, |_| ()), ..CASE };
        case_in(folder.path(), &good, None).end().expect(0);
    }

    /// Only the owner of the last operator reads the damaged angle.
    #[cfg(feature = "mpi")]
    #[test]
    fn damage_names_the_rank_that_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let case = Case { changes: SCAN, data: damage_last_angle, ..CASE };
        let ended = case_in(folder.path(), &case, Some(3)).end().expect(2);
        assert!(ended.stderr.contains("(on rank 2 of 3)"), "{ended}");
    }
}
