//! Bad input is one clear error: exit status 2, the same on one process and under `mpirun`, told by one rank, in words that
//! say where, what was expected, what was got and what to do; the job ends, and nothing half-written is left.

#[path = "common/program.rs"]
mod program;

use std::path::Path;

use ndarray::{Array, Array2, Dimension};
use ndarray_npy::{WritableElement, write_npy};
use program::{Ended, Launch, names_in, on, report, stackphys};

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
    changes: Vec<(&'static str, &'static str)>,
    arguments: Vec<&'static str>,
    data: fn(&Path),
    says: &'static str,
    helps: &'static str,
    ranks: &'static [usize],
}

/// A case in which nothing is wrong yet: good data, on one process alone and on two ranks.
fn case(name: &'static str) -> Case {
    Case { name, changes: Vec::new(), arguments: Vec::new(), data: good_data, says: "", helps: "", ranks: &[2] }
}

/// The same with two matrices for operators.
fn dense(name: &'static str) -> Case {
    case(name)
        .change(r#"path = "scan.npy", dims = ["angle", "column"]"#, r#"path = "six.npy", dims = ["row"]"#)
        .change(PARALLEL, r#"{ kind = "dense", path = "matrix.npy" }"#)
        .change(r#"{ angle = { parts = 3, order = "interleaved" } }"#, "{ row = { parts = 2 } }")
}

/// The job's operator replaced.
const PARALLEL: &str =
    r#"{ kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 9 }, center = 8.0 }"#;

/// The same with a fan beam of such distances.
fn fan(name: &'static str, distances: &str) -> Case {
    let operator = format!("{{ kind = \"fan_ct\", angles_deg = {{ start = 0, stop = 360, count = 9 }}, {distances} }}");
    case(name).change(PARALLEL, operator.leak())
}

/// The same with a geometry given view by view.
fn vectors(name: &'static str, vectors: &str) -> Case {
    case(name)
        .change(PARALLEL, format!("{{ kind = \"vector_ct\", vectors = {vectors} }}").leak())
        .change(", order = \"interleaved\"", "")
        .change("parts = 3", "parts = 1")
}

impl Case {
    /// Changes the job. It must hold `from` once.
    fn change(mut self, from: &'static str, to: &'static str) -> Self {
        self.changes.push((from, to));
        self
    }
    /// Adds `--set key=value`.
    fn set(self, key_and_value: &'static str) -> Self {
        self.arguments(&["--set", key_and_value])
    }
    /// Adds arguments after `run job.toml --data-dir data --out out`.
    fn arguments(mut self, arguments: &[&'static str]) -> Self {
        self.arguments.extend(arguments);
        self
    }
    /// Has other data.
    fn data(mut self, make: fn(&Path)) -> Self {
        self.data = make;
        self
    }
    /// What the error says; `…` stands for anything.
    fn says(mut self, text: &'static str) -> Self {
        self.says = text;
        self
    }
    /// What its help says, among other things.
    fn helps(mut self, text: &'static str) -> Self {
        self.helps = text;
        self
    }
    /// On which numbers of ranks, besides one process alone.
    fn on(mut self, ranks: &'static [usize]) -> Self {
        self.ranks = ranks;
        self
    }
}

/// What every folder of data has: a good scan, matrices, and measurements for them.
fn good_data(folder: &Path) {
    write(folder, "scan.npy", &sinogram());
    write(folder, "matrix.npy", &Array2::from_shape_fn((6, 144), |(i, j)| f64::from((i * 31 + j * 17) as u32 % 11)));
    write(folder, "six.npy", &ndarray::Array1::<f64>::ones(6));
    write(folder, "one.npy", &Array2::<f64>::ones((1, 17)));
    write(folder, "image.npy", &Array2::<f64>::ones((12, 12)));
}

fn kernels_and_masks(folder: &Path) {
    good_data(folder);
    write(folder, "even.npy", &Array2::<f64>::ones((4, 3)));
    write(folder, "nothing.npy", &Array2::<f64>::zeros((12, 12)));
    write(folder, "half.npy", &Array2::<f64>::from_elem((12, 12), 0.5));
}

fn matrix_market(folder: &Path, text: &str) {
    good_data(folder);
    std::fs::write(folder.join("matrix.mtx"), format!("%%MatrixMarket matrix coordinate real general\n{text}"))
        .unwrap();
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

/// Runs each case alone and on its rank counts, a few at once: most of their time is waiting for `mpirun`.
fn all_fail(cases: &[Case]) {
    assert!(cases.len() > 3, "a table is not empty");
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
                    for ranks in alone_and_on(case.ranks) {
                        let folder = tempfile::tempdir().unwrap();
                        let ended = case_in(folder.path(), case, ranks).end().expect(2);
                        is_one_error(case.name, case.says, case.helps, &ended, folder.path());
                    }
                }
            });
        }
    });
}

/// One process alone, and numbers of ranks if this build has MPI.
fn alone_and_on(ranks: &[usize]) -> impl Iterator<Item = Option<usize>> {
    let mpi = if cfg!(feature = "mpi") { ranks } else { &[] };
    [None].into_iter().chain(mpi.iter().copied().map(Some))
}

/// The folder of a case and its process.
fn case_in(folder: &Path, case: &Case, ranks: Option<usize>) -> Launch {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    (case.data)(&data);
    let mut job = JOB.to_owned();
    for (from, to) in &case.changes {
        assert_eq!(job.matches(from).count(), 1, "{}: {from}", case.name);
        job = job.replace(from, to);
    }
    std::fs::write(folder.join("job.toml"), job).unwrap();
    let out: &[&str] = if case.arguments.contains(&"--out") { &[] } else { &["--out", "out"] };
    let arguments = [&["run", "job.toml", "--data-dir", "data"], out, &case.arguments].concat();
    on(ranks, arguments).inside(folder)
}

fn is_one_error(name: &str, says: &str, helps: &str, ended: &Ended, folder: &Path) {
    let errors = ended.errors();
    assert_eq!(errors.len(), 1, "{name}: one rank tells\n{ended}");
    let from = ended.stderr.find("\nerror:").map_or(0, |at| at + 1);
    let mut rest = &ended.stderr[from..];
    assert!(!says.is_empty() && !helps.is_empty(), "{name}: nothing is expected");
    for says in says.split('…') {
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

/// What goes wrong in what was written.
#[test]
fn what_was_written_wrong_is_told() {
    all_fail(&[
        case("a misspelt key")
            .change("center = 8.0", "centre = 8.0")
            .says("config: …job.toml:7: terms.scan.operator: unknown key `centre`")
            .helps("did you mean `center`? valid keys: `angles_deg`")
            .on(&[2, 3, 4]),
        case("an unknown key")
            .change("[solve]", "[solve]\nregulariser = 3")
            .says("job.toml:10: solve: unknown key `regulariser`")
            .helps("valid keys: `method`"),
        case("a misspelt table")
            .change("[solve]", "[sovle]")
            .says("job.toml:9: unknown key `sovle`")
            .helps("did you mean `solve`?"),
        case("a misspelt kind")
            .change("parallel_ct", "paralel_ct")
            .says("job.toml:7: terms.scan.operator.kind: unknown kind `paralel_ct`")
            .helps("did you mean `parallel_ct`?"),
        case("a misspelt --set")
            .set("operator.cetner=3")
            .says("--set operator.cetner=3: terms.scan.operator: unknown key `cetner`")
            .helps("did you mean `center`?"),
        case("a --set without value")
            .set("run.threads")
            .says("--set run.threads: expected key.path=value")
            .helps("for example --set"),
        case("a wrong type")
            .change("y = 12", "y = \"twelve\"")
            .says("job.toml:3: model.dims.y: expected a whole number (0 or more), got string \"twelve\"")
            .helps("stackphys schema"),
        case("a wrong type in an operator")
            .change("center = 8.0", "center = [8.0]")
            .says("job.toml:7: terms.scan.operator.center: expected a number, got a list")
            .helps("stackphys schema"),
        case("no iterations")
            .change("max_iter = 5", "max_iter = 0")
            .says("job.toml:10: solve.method.max_iter: must be at least 1, got 0")
            .helps("stackphys schema"),
        case("negative damping")
            .change("max_iter = 5", "max_iter = 5, damping = -1.0")
            .says("job.toml:10: solve.method.damping: must be zero or a positive number, got -1")
            .helps("stackphys schema"),
        case("a tolerance that is not a number")
            .set("solve.tolerance.relative_residual=nan")
            .says("solve.tolerance.relative_residual: must be a positive number, got NaN")
            .helps("leave it out for no limit"),
        case("a dim of size zero")
            .change("y = 12", "y = 0")
            .says("job.toml:3: model.dims.y: must be at least 1, got 0")
            .helps("stackphys schema"),
        case("a model that no memory holds")
            .change("y = 12, x = 12", "y = 8589934592, x = 8589934592")
            .says("job.toml:3: model.dims: …8589934592…more numbers than")
            .helps("sizes"),
        case("another version")
            .change("version = 1", "version = 7")
            .says("job.toml:1: version: the job is of version 7, this program reads version 1")
            .helps("change it to version = 1"),
        case("not TOML")
            .change("[solve]", "[solve")
            .says("job.toml:9:7: unclosed table, expected `]`")
            .helps("this is not TOML"),
        case("no data to solve for")
            .change(r#"data = { format = "npy", path = "scan.npy", dims = ["angle", "column"] }"#, "")
            .change("center = 8.0", "columns = 17")
            .says("terms.scan: there is no `data` to solve for")
            .helps("give the term a `data` table"),
        case("to be converged to no tolerance")
            .arguments(&["--require-converged"])
            .says("--require-converged, but the config asks for no tolerance")
            .helps("--set solve.tolerance.relative_residual=0.01"),
        case("an `each` of another length")
            .change("[solve]", "count = 3\n[solve]")
            .change("center = 8.0", "center = { each = [7.0, 8.0] }")
            .says("job.toml:7: terms.scan.operator.center: `each` has 2 values, but `count` is 3")
            .helps("stackphys schema"),
        case("zero operators by count")
            .change("[solve]", "count = 0\n[solve]")
            .says("job.toml:9: terms.scan.count: must be at least 1, got 0 operators")
            .helps("leave it out for one operator")
            .on(&[2, 4]),
        case("zero operators by no terms")
            .set("terms=[]")
            .says("terms: a job needs at least one term")
            .helps("add a [[terms]] table"),
        case("a first guess for a local mean")
            .set("solve.pseudo_inverse=local_mean")
            .set("solve.first_guess=data/image.npy")
            .says("solve.first_guess: …local mean")
            .helps("leave it out"),
    ]);
}

/// What goes wrong between the job and the files, before any measurement is read.
#[test]
fn what_does_not_fit_is_told() {
    all_fail(&[
        case("a missing file")
            .change("scan.npy", "scam.npy")
            .says("open: terms.scan.data: cannot read …data/scam.npy: No such file…the data folder is ")
            .helps("--data-dir")
            .on(&[2, 3]),
        case("an empty file")
            .data(|folder| std::fs::write(folder.join("scan.npy"), "").unwrap())
            .says("terms.scan.data: …scan.npy is empty (0 bytes)")
            .helps("completely"),
        case("a truncated file")
            .data(|folder| {
                good_data(folder);
                cut_to(folder, "scan.npy", |bytes| bytes - 10);
            })
            .says("terms.scan.data: …scan.npy is truncated: 740 bytes are needed…it has 730")
            .helps("completely"),
        case("not an npy file")
            .data(|folder| std::fs::write(folder.join("scan.npy"), "1, 2, 3\n4, 5, 6\n").unwrap())
            .says("terms.scan.data: …scan.npy is not an npy file")
            .helps("numpy.save"),
        case("text in an npy file")
            .data(|folder| {
                let head = "{'descr': '<U5', 'fortran_order': False, 'shape': (9, 17), }\n";
                let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
                bytes.extend((head.len() as u16).to_le_bytes());
                bytes.extend(head.bytes());
                std::fs::write(folder.join("scan.npy"), bytes).unwrap();
            })
            .says("scan.npy holds elements of type…<U5")
            .helps("astype"),
        case("too few names of dims")
            .change(r#"["angle", "column"]"#, r#"["angle"]"#)
            .says("terms.scan.data: `dims`: scan.npy has 2 dims of sizes [9, 17], `dims` names 1")
            .helps("name each dim once"),
        case("a dim named twice")
            .change(r#"["angle", "column"]"#, r#"["angle", "angle"]"#)
            .says("terms.scan.data: `dims` names `angle` twice")
            .helps("name each dim once"),
        case("a wrong dim")
            .change(r#"["angle", "column"]"#, r#"["angle", "row"]"#)
            .says("terms.scan.operator: data: expected the dims (angle, column)…got (angle=9, row=17)")
            .helps("one detector row"),
        case("angles of another number than the data")
            .change("count = 9", "count = 8")
            .says("terms.scan.operator: `angles_deg`: expected 9 angles, the data's `angle` size, got 8")
            .helps("one angle for each projection"),
        case("no angles")
            .change("angles_deg = { start = 0.0, stop = 180.0, count = 9 }, ", "")
            .says("terms.scan.operator: angles: none were given, and none came with the data")
            .helps("set `angles_deg`"),
        case("a centre outside the detector")
            .change("center = 8.0", "center = 17.0")
            .says("terms.scan.operator: `center`: expected a column on the detector, 0 to 16, got 17")
            .helps("column index counted from 0")
            .on(&[2, 3]),
        case("a centre before the detector")
            .set("operator.center=-0.5")
            .says("terms.scan.operator: `center`: expected a column on the detector, 0 to 16, got -0.5")
            .helps("column index counted from 0"),
        case("a negative spacing")
            .change(", center = 8.0", "")
            .change("\"parallel_ct\"", "\"parallel_ct\", spacing = -1")
            .says("terms.scan.operator: `spacing`: expected a positive number of voxels, got -1")
            .helps("distance between detector columns"),
        case("a model with other dims than the operator's")
            .change("dims = { y = 12, x = 12 }", "dims = { x = 12, y = 12 }")
            .says("terms.scan.operator: model: expected the dims (y, x) or (z, y, x), got (x=12, y=12)")
            .helps("the order counts"),
        case("a split along no dim")
            .change("split = { angle", "split = { angel")
            .says("terms.scan.operator: `split` names dim `angel`, the measurements are (angle=9, column=17)")
            .helps("may be cut along: angle"),
        case("a split along a dim that stays whole")
            .change("split = { angle", "split = { column")
            .says("terms.scan.operator: dim `column` must stay whole for this operator")
            .helps("may be cut along: angle"),
        case("more parts than samples")
            .change("parts = 3", "parts = 10")
            .says("…terms.scan.operator: `split`: cut of dim `angle`: expected at most 9 parts, one a sample, got 10")
            .helps("at most 9"),
        case("data without a dim for several operators")
            .change("[solve]", "count = 3\n[solve]")
            .says("with `count = 3` the first dim of the data must be `operator` of size 3…(angle=9, column=17)")
            .helps("dims"),
        dense("a matrix that is missing")
            .set("operator.path=nowhere.npy")
            .says("terms.scan.operator: cannot read …data/nowhere.npy: No such file")
            .helps("--data-dir")
            .on(&[2, 3]),
        dense("a matrix for another model")
            .set("model.dims.x=13")
            .says("terms.scan.operator: `path`: matrix.npy has sizes [6, 144], expected [rows, 156]")
            .helps("one column for each number of the model"),
        dense("a matrix for other measurements")
            .set("data.path=image.npy")
            .set("data.dims=[\"row\", \"x\"]")
            .says("terms.scan.operator: …the data do not fit the operator…(row=6)…(row=12, x=12)")
            .helps("dims are matched by name"),
        dense("a diagonal of nothing")
            .set("operator={ kind = \"diagonal\" }")
            .set("split={}")
            .says("terms.scan.operator: a diagonal operator needs either `value` or `path`")
            .helps("for example `value = 2.0`"),
        dense("a diagonal of another model")
            .set("operator={ kind = \"diagonal\", path = \"six.npy\" }")
            .set("split={}")
            .says("terms.scan.operator: `path`: six.npy has sizes [6], the model is (y=12, x=12)")
            .helps("one number for each number of the model"),
        dense("a blur of negative width")
            .set("operator={ kind = \"blur\", sigma = [1.0, -2.0] }")
            .set("split={}")
            .says("terms.scan.operator: `sigma`: expected a finite number of pixels from 0 on, got -2 for dim `x`")
            .helps("standard deviation"),
        dense("a blur with another edge")
            .set("operator={ kind = \"blur\", sigma = 1.0, padding = \"mirror\" }")
            .set("split={}")
            .says("terms.scan.operator.padding: unknown value `mirror`")
            .helps("valid values: `circular`"),
        dense("a kernel larger than the image")
            .set("operator={ kind = \"blur\", kernel = { kind = \"box\", width = 13 } }")
            .set("split={}")
            .says("terms.scan.operator: the kernel is larger than the image: 13 pixels along dim `y`, which has 12")
            .helps("smaller kernel")
            .on(&[2, 3]),
        dense("an even-sized kernel without a centre")
            .data(kernels_and_masks)
            .set("operator={ kind = \"blur\", kernel = { kind = \"file\", path = \"even.npy\" } }")
            .set("split={}")
            .says("terms.scan.operator: even.npy: the kernel has sizes [4, 3]: an even size has no middle pixel")
            .helps("`center = [2, 1]`"),
        dense("a mask that samples nothing")
            .data(kernels_and_masks)
            .set("operator={ kind = \"mask\", path = \"nothing.npy\" }")
            .set("data.path=image.npy")
            .set("data.dims=[\"y\", \"x\"]")
            .set("split={}")
            .says("terms.scan.operator: the mask samples nothing: all of (y=12, x=12) is 0 (nothing.npy)")
            .helps("is it inverted?"),
        dense("a mask of weights")
            .data(kernels_and_masks)
            .set("operator={ kind = \"mask\", path = \"half.npy\" }")
            .set("data.path=image.npy")
            .set("data.dims=[\"y\", \"x\"]")
            .set("split={}")
            .says("terms.scan.operator: `path`: half.npy holds 0.5, a mask has only 0 and 1")
            .helps("operator `diagonal`"),
        dense("more levels of wavelets than the size has")
            .set("operator={ kind = \"wavelet\", wavelet = \"db2\", levels = 3 }")
            .set("split={}")
            .says("terms.scan.operator: `levels`: 3 levels do not fit dim `y`, whose size 12 can be halved 2 times")
            .helps("fewer levels"),
        dense("a wavelet that does not exist")
            .set("operator={ kind = \"wavelet\", wavelet = \"db11\", levels = 1 }")
            .set("split={}")
            .says("terms.scan.operator: `wavelet`: there is no wavelet `db11`")
            .helps("db1 to db10"),
        dense("a factor that does not divide")
            .set("operator={ kind = \"downsample\", factor = 5 }")
            .set("split={}")
            .says("terms.scan.operator: `factor`: 5 does not divide 12, the size of dim `y`")
            .helps("multiples of the factor"),
        dense("a sparse matrix that is truncated")
            .data(|folder| matrix_market(folder, "6 144 3\n1 1 1\n2 2 2\n"))
            .set("operator={ kind = \"sparse\", path = \"matrix.mtx\" }")
            .says("terms.scan.operator: …matrix.mtx is truncated: its header says 3 entries, it has 2")
            .helps("written completely")
            .on(&[2, 3]),
        dense("a sparse matrix with more entries than its header says")
            .data(|folder| matrix_market(folder, "6 144 1\n1 1 1\n2 2 2\n"))
            .set("operator={ kind = \"sparse\", path = \"matrix.mtx\" }")
            .says("terms.scan.operator: …matrix.mtx line 4: the header says 1 entries, here is one more, got `2 2 2`")
            .helps("Matrix Market"),
        dense("a sparse matrix with an entry outside")
            .data(|folder| matrix_market(folder, "6 144 1\n7 1 1\n"))
            .set("operator={ kind = \"sparse\", path = \"matrix.mtx\" }")
            .says("terms.scan.operator: …matrix.mtx line 3: expected a row from 1 to 6 and a column from 1 to 144")
            .helps("Matrix Market"),
        dense("a sparse matrix for another model")
            .data(|folder| matrix_market(folder, "6 143 0\n"))
            .set("operator={ kind = \"sparse\", path = \"matrix.mtx\" }")
            .says("terms.scan.operator: `path`: matrix.mtx is a matrix of 6 × 143, expected 144 columns")
            .helps("one column for each number of the model"),
        case("a phantom of negative noise")
            .set("data={ format = \"phantom\", name = \"shepp_logan\", noise = -0.1 }")
            .says("terms.scan.data: `noise` is -0.1, expected a finite number from 0 on")
            .helps("0.01"),
        fan("a source inside the object", "source_to_center = 4, center_to_detector = 20")
            .says("terms.scan.operator: `source_to_center`: expected the source outside of the object, in view 0 it is at x = 0.0, y = -4.0")
            .helps("voxel_size"),
        fan("a distance that is none", "source_to_center = -40, center_to_detector = 20")
            .says("terms.scan.operator: `source_to_center` is -40, expected a finite number above 0")
            .helps("opposite sides"),
        fan("a fan without its detector", "source_to_center = 40")
            .says("terms.scan.operator: missing key `center_to_detector`")
            .helps("stackphys schema"),
        fan("a distance by another name", "source_to_origin = 40, center_to_detector = 20")
            .says("terms.scan.operator: unknown key `source_to_origin`")
            .helps("`source_to_center`"),
        vectors("views of other lengths", "[[0, -50, 0, 20, 1, 0], [50, 0, -20, 0, 0]]")
            .says("terms.scan.operator: `vectors`: expected 6 numbers a view, got 5 in view 1")
            .helps("an image the first three in x, y"),
        vectors("too few views", "[[0, -50, 0, 20, 1, 0]]")
            .says("terms.scan.operator: `vectors`: expected 9 views, the data's `angle` size, got 1")
            .helps("one view for each projection"),
        vectors("a view that is not a number", "[[0, -50, 0, 20, 1, nan]]")
            .change("\"scan.npy\", dims", "\"one.npy\", dims")
            .says("terms.scan.operator: `vectors`: view 0: not all numbers are finite")
            .helps("from one column to the next"),
        vectors("a detector without extent", "[[0, -50, 0, 20, 0, 0]]")
            .change("\"scan.npy\", dims", "\"one.npy\", dims")
            .says("terms.scan.operator: `vectors`: view 0: the directions of rows and columns are zero or parallel")
            .helps("from one column to the next"),
        dense("filtered back-projection of what is no scan")
            .set("solve.method={ kind = \"fbp\" }")
            .says("terms.scan.operator: filtered back-projection inverts sums along rays")
            .helps("iterative method"),
        case("filtered back-projection of a part of a turn")
            .change("stop = 180.0", "stop = 90.0")
            .set("solve.method={ kind = \"fbp\" }")
            .says("terms.scan.operator: filtered back-projection: expected angles that cover 180°, there is a gap of 100.0°")
            .helps("limited angles"),
        case("a filter that is none")
            .set("solve.method={ kind = \"fbp\", filter = \"ramp\" }")
            .says("solve.method.filter: unknown value `ramp`")
            .helps("`ram-lak`"),
        case("a formula and a tolerance")
            .set("solve.method={ kind = \"fbp\" }")
            .set("solve.tolerance.relative_residual=0.1")
            .says("solve.tolerance.relative_residual: the method does not know this number")
            .helps("a formula does not iterate"),
        case("a start by a formula that is none")
            .set("solve.first_guess={ kind = \"fpb\" }")
            .says("solve.first_guess.kind: unknown kind `fpb`")
            .helps("`fbp`"),
        dense("exact integrals of what has no rays")
            .change(
                r#"{ format = "npy", path = "six.npy", dims = ["row"] }"#,
                r#"{ format = "phantom", name = "shepp_logan", projections = "analytic" }"#,
            )
            .says("terms.scan.data: `projections`: this operator has no rays")
            .helps("leave it out"),
        case("a first guess that is missing")
            .set("solve.first_guess=nowhere.npy")
            .data(nan_in_scan) // the guess is looked at first
            .says("solve.first_guess: cannot read …nowhere.npy: No such file")
            .helps("current folder"),
        case("a first guess of another size")
            .set("solve.first_guess=data/six.npy")
            .data(nan_in_scan)
            .says("solve.first_guess: …six.npy…[6]")
            .helps("model"),
    ]);
}

/// What goes wrong with the formats of each field's own people.
#[test]
fn what_is_wrong_with_a_format_is_told() {
    /// A pair of BART's files of 9 × 17 numbers, with the header as given.
    fn bart(folder: &Path, header: &str, big_endian: bool) {
        let numbers = (0..2 * 9 * 17).map(|k| 0.1 * k as f32);
        let bytes = numbers.flat_map(|number| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
        std::fs::write(folder.join("k.cfl"), bytes.collect::<Vec<u8>>()).unwrap();
        std::fs::write(folder.join("k.hdr"), header).unwrap();
    }
    const HEADING: &str = "#time(UTC),T1,T2,U(lambda),V(lambda),Iamp(Jy),Iphase(d),Isigma(Jy)\n";
    let radio = |name: &'static str| {
        case(name)
            .set("data={ format = \"eht-csv\", path = \"v.csv\" }")
            .set("split={}")
            .data(|folder| std::fs::write(folder.join("v.csv"), format!("{HEADING}0,A,B,1e9,2e9,1,0,0.1\n")).unwrap())
    };
    all_fail(&[
        case("an unknown extension")
            .set("operator={ kind = \"diagonal\", path = \"weights.xyz\" }")
            .set("split={}")
            .data(|folder| {
                good_data(folder);
                std::fs::write(folder.join("weights.xyz"), "?").unwrap();
            })
            .says("terms.scan.operator: …weights.xyz: expected a file of the format npy, npz, cfl…it has the extension `xyz`")
            .helps("convert"),
        case("a header that disagrees with the numbers")
            .set("data={ format = \"cfl\", path = \"k.cfl\" }")
            .data(|folder| bart(folder, "# Dimensions\n17 10 1\n", false))
            .says("terms.scan.data: …k.cfl has 1224 bytes, the sizes [17, 10, 1] in its hdr file need 1360")
            .helps("belong together"),
        case("the wrong byte order")
            .set("data={ format = \"cfl\", path = \"k.cfl\" }")
            .data(|folder| bart(folder, "# Dimensions\n17 9 1\n", true))
            .says("terms.scan.data: …k.cfl: the numbers are big-endian…expected little-endian")
            .helps("swap the bytes"),
        case("a pair of files of which one is missing")
            .set("data={ format = \"cfl\", path = \"k.cfl\" }")
            .data(|folder| {
                bart(folder, "", false);
                std::fs::remove_file(folder.join("k.hdr")).unwrap();
            })
            .says("terms.scan.data: cannot read …k.hdr: No such file")
            .helps("both are needed"),
        case("not an archive")
            .set("data={ format = \"npz\", path = \"scan.npy\", dims = [\"angle\", \"column\"] }")
            .says("terms.scan.data: …scan.npy is not an npz file")
            .helps("numpy.savez"),
        case("a damaged TIFF file")
            .set("data={ format = \"tiff\", path = \"scan.tif\" }")
            .data(|folder| std::fs::write(folder.join("scan.tif"), b"II*\0\x08\0\0\0\x09\0").unwrap())
            .says("terms.scan.data: cannot read …scan.tif as TIFF")
            .helps("completely"),
        case("a version of TIFF that nobody knows")
            .set("data={ format = \"tiff\", path = \"scan.tif\" }")
            .data(|folder| std::fs::write(folder.join("scan.tif"), b"II\x07\0\x08\0\0\0\x09\0").unwrap())
            .says("terms.scan.data: cannot read …scan.tif as TIFF")
            .helps("completely"),
        case("a picture that is none")
            .set("data={ format = \"picture\", path = \"scan.png\" }")
            .data(|folder| std::fs::write(folder.join("scan.png"), "GIF89a").unwrap())
            .says("terms.scan.data: cannot read …scan.png as a picture")
            .helps("completely"),
        radio("a sigma below zero")
            .data(|folder| std::fs::write(folder.join("v.csv"), format!("{HEADING}0,A,B,1,2,3,4,-5\n")).unwrap())
            .set("operator={ kind = \"interferometer\", fov_uas = 100.0 }")
            .says("terms.scan.data: v.csv:2: sigma is -5, expected a number above 0")
            .helps("Isigma(Jy)"),
        radio("no field of view")
            .set("operator={ kind = \"interferometer\" }")
            .says("terms.scan.operator: expected one of `fov_uas`, `fov_arcsec` and `fov_rad`, got none")
            .helps("fov_uas = 128.0"),
        case("visibilities without u and v")
            .set("operator={ kind = \"interferometer\", fov_uas = 100.0 }")
            .set("split={}")
            .says("terms.scan.operator: `u` of the visibilities: none came with the data")
            .helps("eht-csv"),
        case("standard deviations that the data do not tell")
            .set("fidelity={ kind = \"l2\", variance = \"data\" }")
            .set("solve.method={ kind = \"gradient_descent\" }")
            .says("terms.scan.fidelity: `variance = \"data\"`: the data tell no standard deviations")
            .helps("a file of variances"),
        radio("FITS that is none")
            .set("data={ format = \"uvfits\", path = \"v.csv\" }")
            .set("operator={ kind = \"interferometer\", fov_uas = 100.0 }")
            .says("terms.scan.data: …v.csv ends within its header")
            .helps("completely"),
        case("a ring that is a head")
            .set("data={ format = \"phantom\", name = \"shepp_logan\", ring = {} }")
            .says("terms.scan.data: `ring` is for the phantom \"ring\"")
            .helps("name = \"ring\""),
    ]);
}

/// What goes wrong while a rank reads its part of the files: the others do not notice by themselves.
/// Blocks of x, and cuts of measurements.
#[test]
fn what_is_wrong_with_cuts_is_told() {
    let blur = |name| {
        case(name)
            .change(
                r#"{ kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 9 }, center = 8.0 }"#,
                r#"{ kind = "blur", sigma = 1.0 }"#,
            )
            .change(r#"split = { angle = { parts = 3, order = "interleaved" } }"#, "")
            .change(r#"dims = ["angle", "column"]"#, r#"dims = ["y", "x"]"#)
            .data(|folder| write(folder, "scan.npy", &Array2::<f32>::zeros((12, 12))))
    };
    all_fail(&[
        case("unknown dim")
            .set("blocks.z.parts=2")
            .says("…blocks.z: the model has no dim `z`, its dims are (y=12, x=12)")
            .helps("name a dim of the model"),
        case("no way to cut")
            .set("blocks.y={}")
            .says("…blocks.y: expected one of `parts`, `chunk` and `edges`, got none")
            .helps("{ chunk = 64 }"),
        case("two ways to cut")
            .set("blocks.y={parts=2, chunk=3}")
            .says("…expected one of `parts`, `chunk` and `edges`, got `parts` and `chunk`")
            .helps("{ chunk = 64 }"),
        case("chunk of 0").set("blocks.y.chunk=0").says("…`chunk` must be at least 1, got 0").helps("{ chunk = 64 }"),
        case("edges that are no partition")
            .set("blocks.y.edges=[0, 7, 11]")
            .says("…edges of dim `y`: expected a partition of 0..12, got [0, 7, 11]")
            .helps("end with the size, 12"),
        case("falling edges")
            .set("blocks.y.edges=[0, 7, 7, 12]")
            .says("…`edges` must begin with 0 and rise, got [0, 7, 7, 12]")
            .helps("{ edges = [0, 100, 256] }"),
        case("more parts than samples")
            .set("blocks.x.parts=13")
            .says("…expected at most 12 parts, one a sample, got 13")
            .helps("ask for at most 12 parts"),
        case("interleaved blocks")
            .set("blocks.x={parts=2, order=\"interleaved\"}")
            .says("…blocks of x are runs of neighbours…")
            .helps("leave `order` out"),
        dense("a dim that must stay whole")
            .set("blocks.y.parts=2")
            .says("…[blocks] cuts `y` of the model, which must stay whole for this operator")
            .helps("it leaves the model to be cut along: nothing"),
        blur("blocks that are narrower than the kernel")
            .set("blocks.x.parts=2")
            .says("…blocks of dim `x`: expected at least 8 samples in each, edges are [0, 6, 12]")
            .helps("cut into fewer blocks"),
        case("the local mean of blocks")
            .set("blocks.y.parts=2")
            .set("solve.pseudo_inverse=\"local_mean\"")
            .says("…a local mean is of the whole of x, which [blocks] cuts")
            .helps("leave out [blocks]"),
        case("a preconditioner of the whole")
            .set("blocks.y.parts=2")
            .set("solve.preconditioner={kind=\"fourier\"}")
            .says("…`fourier` is of the whole of x, which [blocks] cuts")
            .helps("leave out [blocks]"),
        case("no rank matrix")
            .set("ranks={}")
            .says("…ranks: expected `matrix` or `grid`, got neither")
            .helps("grid = { operators = 2, domain = 2 }"),
        case("a rank matrix with a hole")
            .set("ranks.matrix=[[0, 0], [0]]")
            .says("…`matrix`: expected rows of equal length, got lengths [2, 1]")
            .helps("one entry in each row and column"),
        case("a rank that is not there")
            .set("ranks.matrix=[0, 7]")
            .set("blocks.y.parts=2")
            .says("plan: ranks: rank matrix: expected ranks from 0 to …, got 7 at [1]…")
            .helps("start as many ranks as the matrix names"),
        case("a rank matrix that does not fit")
            .set("ranks.matrix=[0, 0]")
            .says("plan: ranks: rank matrix: expected a shape that fits the grid of tiles [3, 1], got [2]: …")
            .helps("write a column"),
        case("more groups than operators")
            .set("ranks.grid={operators=4, domain=1}")
            .says("plan: ranks: `grid` has 4 groups of operators, of which there are 3…")
            .helps("ask for fewer groups"),
        case("edges of a split")
            .set("terms.scan.split.angle={edges=[0, 4, 8]}")
            .says("…terms.scan.operator: `split`: edges of dim `angle`: expected a partition of 0..9, got [0, 4, 8]")
            .helps("end with the size, 9"),
    ]);
}

/// Three coils on a grid of 12 × 12, all ones.
fn good_k_space(folder: &Path) {
    let ones = num_complex::Complex::new(1.0f32, 0.0);
    write(folder, "kspace.npy", &ndarray::Array3::from_elem((3, 12, 12), ones));
    write(folder, "maps.npy", &ndarray::Array3::from_elem((3, 12, 12), ones));
    write(folder, "mask.npy", &Array2::<f32>::ones((12, 12)));
    write(folder, "samples.npy", &Array2::from_elem((3, 5), ones));
    write(folder, "places.npy", &Array2::from_elem((5, 2), 0.25));
}

/// Multi-coil MRI on a grid.
fn mri(name: &'static str) -> Case {
    case(name)
        .change("x = 12 }", "x = 12 }\nscalar = \"complex_f32\"")
        .change(
            r#"path = "scan.npy", dims = ["angle", "column"]"#,
            r#"path = "kspace.npy", dims = ["coil", "ky", "kx"]"#,
        )
        .change(
            r#"{ kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 9 }, center = 8.0 }"#,
            r#"{ kind = "mri", maps = { path = "maps.npy" }, mask = { path = "mask.npy" } }"#,
        )
        .change(r#"{ angle = { parts = 3, order = "interleaved" } }"#, "{ coil = { parts = 3 } }")
        .data(good_k_space)
}

/// The same along a trajectory.
fn along(name: &'static str) -> Case {
    mri(name)
        .change(
            r#"mask = { path = "mask.npy" }"#,
            r#"trajectory = { path = "places.npy" }, nufft = { accuracy = 1e-4 }"#,
        )
        .change(
            r#"path = "kspace.npy", dims = ["coil", "ky", "kx"]"#,
            r#"path = "samples.npy", dims = ["coil", "sample"]"#,
        )
}

/// Coil maps, masks, trajectories, accuracies.
#[test]
fn what_is_wrong_with_fourier_samples_is_told() {
    works(&mri("good k-space"), None);
    works(&along("good samples"), None);
    all_fail(&[
        mri("coil maps of another grid")
            .data(|folder| {
                good_k_space(folder);
                write(folder, "maps.npy", &ndarray::Array3::<f32>::ones((3, 10, 12)));
            })
            .says("plan: terms.scan.operator: `maps.path`: expected sizes [coils, 12, 12], maps.npy has [3, 10, 12]")
            .helps("coil maps are on the model's grid: (y=12, x=12)"),
        mri("a mask that samples nothing")
            .data(|folder| {
                good_k_space(folder);
                write(folder, "mask.npy", &Array2::<f32>::zeros((12, 12)));
            })
            .says("build: operator 0: terms.scan.operator: `mask`: none of the 144 samples was measured")
            .helps("was the right file named?"),
        mri("a mask of another size")
            .data(|folder| {
                good_k_space(folder);
                write(folder, "mask.npy", &Array2::<f32>::ones((12, 11)));
            })
            .says("terms.scan.operator: `mask.path`: expected sizes [12, 12], without coils, mask.npy has [12, 11]")
            .helps("a number for each sample"),
        mri("a real model")
            .change("complex_f32", "f32")
            .says("plan: terms.scan.operator: mri: expected a complex model, it is f32")
            .helps("set model.scalar to \"complex_f32\""),
        mri("two masks")
            .change(r#"path = "mask.npy""#, r#"path = "mask.npy", poisson_disc = 2.0"#)
            .says("terms.scan.operator: `mask`: expected one of `nonzero`, `path`, `poisson_disc`")
            .helps("for example"),
        along("places beyond the band")
            .data(|folder| {
                good_k_space(folder);
                write(folder, "places.npy", &Array2::from_elem((5, 2), 3.1));
            })
            .says("build: operator 0: terms.scan.operator: trajectory: expected places from −0.5 to 0.5…got 3.1 for dim `y`")
            .helps("divide places in radians by 2π"),
        along("a place that is no number")
            .data(|folder| {
                good_k_space(folder);
                write(folder, "places.npy", &Array2::from_elem((5, 2), f64::NAN));
            })
            .says("build: operator 0: terms.scan.operator: …places.npy: 10 of the 10 values")
            .helps("the array must be finite"),
        along("an accuracy beyond single precision")
            .change("accuracy = 1e-4", "accuracy = 1e-9")
            .says("plan: terms.scan.operator: `accuracy`: expected at least 1e-6, what single precision can hold, got 1e-9")
            .helps("\"complex_f64\""),
        along("an accuracy beyond the oversampling")
            .change("accuracy = 1e-4", "accuracy = 1e-12, oversampling = 1.25")
            .says("terms.scan.operator: `accuracy`: expected at least …what an oversampling of 1.25 reaches, got 1e-12")
            .helps("`oversampling = 2.0`"),
    ]);
}

#[test]
fn what_one_rank_cannot_read_is_told_by_all() {
    all_fail(&[
        case("not-a-number in the data")
            .data(nan_in_scan)
            .says(
                "load: terms.scan.data: scan.npy: 4 of the 51 values read here are not finite as f32; the first, NaN, \
                 is at angle=1, column=3",
            )
            .helps("`data.nan = \"zero\"` accepts them as zeros")
            .on(&[2, 3, 4]),
        case("infinity in the data")
            .data(|folder| {
                good_data(folder);
                let mut scan = sinogram().mapv(f64::from);
                scan[[8, 16]] = 1e300; // more than the job's scalar holds
                write(folder, "scan.npy", &scan);
            })
            .says(
                "terms.scan.data: scan.npy: 1 of the 51 values read here is not finite as f32; the first, inf, is at \
                 angle=8, column=16",
            )
            .helps("data.nan"),
        case("complex data for a real model")
            .data(|folder| write(folder, "scan.npy", &sinogram().mapv(|value| num_complex::Complex::new(value, 1.0))))
            .says("terms.scan.data: …scan.npy holds complex64: complex numbers cannot become f32")
            .helps("set model.scalar to \"complex_f32\""),
        dense("not-a-number in a matrix")
            .data(|folder| {
                good_data(folder);
                let mut matrix = Array2::<f64>::ones((6, 144));
                matrix[[5, 7]] = f64::NAN; // in the rows of the second operator
                write(folder, "matrix.npy", &matrix);
            })
            .says("build: operator 1: terms.scan.operator: …matrix.npy: 1 of the 432 values…row=5, column=7")
            .helps("the array must be finite"),
        dense("a complex matrix for a real model")
            .data(|folder| {
                good_data(folder);
                write(folder, "matrix.npy", &Array2::from_elem((6, 144), num_complex::Complex::new(1.0, 1.0)));
            })
            .says("build: operator 0: terms.scan.operator: complex numbers cannot become f32")
            .helps("set model.scalar"),
    ]);
}

/// Where results cannot go; the data are bad too, which must not be noticed first.
#[test]
fn results_that_cannot_be_written_are_told_before_data_are_read() {
    all_fail(&[
        case("a folder below a file")
            .arguments(&["--out", "job.toml/out"])
            .data(nan_in_scan)
            .says("write: cannot write to the folder job.toml/out: Not a directory")
            .helps("choose another folder")
            .on(&[2, 3]),
        case("a folder that is a file")
            .arguments(&["--out", "job.toml"])
            .data(nan_in_scan)
            .says("write: cannot write to the folder job.toml: ")
            .helps("choose another folder"),
        case("a folder of the kernel")
            .change("[solve]", "[output]\nfolder = \"/proc/stackphys\"\n[solve]")
            .arguments(&["--out", "/proc/stackphys"])
            .data(|_| ()) // there is nothing to read, either
            .says("write: cannot write to the folder /proc/stackphys: ")
            .helps("choose another folder"),
        case("a result that is a folder")
            .arguments(&["--out", "taken"])
            .data(|folder| {
                nan_in_scan(folder);
                std::fs::create_dir_all(folder.join("../taken/report.json")).unwrap();
            })
            .says("write: cannot write taken/report.json: it exists and is not a file")
            .helps("choose another folder"),
    ]);
}

/// Runs a case that is good after all, in a folder of its own.
fn works(case: &Case, ranks: Option<usize>) -> (Ended, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (case_in(folder.path(), case, ranks).end().expect(0), folder)
}

#[test]
fn not_a_number_is_accepted_as_zero_when_asked() {
    let accepted = case("accepted").set("data.nan=\"zero\"").data(nan_in_scan);
    for ranks in alone_and_on(&[2]) {
        let (ended, folder) = works(&accepted, ranks);
        assert!(ended.stderr.contains("4 numbers were not finite and became zero"), "{ended}");
        assert_eq!(report(&folder.path().join("out"))["data"]["not_finite"], 4);
    }
}

/// All that is bad above is bad by its own fault.
#[test]
fn good_input_is_good() {
    works(&case("good"), None);
    works(&dense("good matrices"), None);
}

/// A node whose file system lacks the file: rank 1 has another data folder.
#[cfg(feature = "mpi")]
#[test]
fn a_file_that_only_one_rank_cannot_read_is_told_by_all() {
    for case in [
        case("a scan on one node")
            .says("load: terms.scan.data: cannot read …data_of_rank_1/scan.npy: No such file…(on rank 1 of 2)"),
        dense("a matrix on one node")
            .says("plan: terms.scan.operator: cannot read …data_of_rank_1/matrix.npy: No such file…(on rank 1 of 2)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let other = ["run", "job.toml", "--data-dir", "data_of_rank_1", "--out", "out"];
        let ended = case_in(folder.path(), &case, Some(2)).where_rank_1_has(other).end().expect(2);
        is_one_error(case.name, case.says, "--data-dir", &ended, folder.path());
    }
}

#[test]
fn wrong_arguments_are_told_once() {
    for (arguments, says) in [
        ("run", "required arguments were not provided"),
        ("run job.toml --treads 2", "unexpected argument '--treads'"),
        ("demo --threads 0", "invalid value '0' for '--threads <N>'"),
        ("plan job.toml --ranks 0", "invalid value '0' for '--ranks <N>'"),
        ("list operator", "invalid value 'operator'"),
        ("demo -q -v", "cannot be used with"),
        ("reconstruct", "unrecognized subcommand 'reconstruct'"),
    ] {
        let ended = stackphys(arguments.split_whitespace()).end().expect(2);
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
    let misspelt = "bad.toml:7…unknown key `centre`";
    for (arguments, says, helps) in [
        ("run nowhere.toml", "cannot read the config nowhere.toml: No such file", "configs/"),
        ("plan bad.toml", misspelt, "did you mean `center`"),
        ("check bad.toml", misspelt, "did you mean `center`"),
        ("norm bad.toml", misspelt, "did you mean `center`"),
        ("demo --set solve.methd.kind=cg", "solve: unknown key `methd`", "did you mean `method`"),
        ("apply bad.toml --what normal --in data/image.npy --out y.npy", misspelt, "did you mean `center`"),
        (
            "apply job.toml --data-dir data --what forward --in nowhere.npy --out out/y.npy",
            "--in: cannot read …nowhere.npy: No such file",
            "current folder",
        ),
        (
            "apply job.toml --data-dir data --what forward --in data/scan.npy --out out/y.npy",
            "--in: expected sizes [12, 12], those of the model…scan.npy has [9, 17]",
            "model",
        ),
        (
            "apply job.toml --data-dir data --what adjoint --in data/image.npy --out out/y.npy",
            "--in: expected sizes [9, 17], those of the measurements…image.npy has [12, 12]",
            "measurements",
        ),
        (
            "apply job.toml --data-dir data --what forward --in data/image.npy --out job.toml/y.npy",
            "write: cannot write to the folder job.toml: ",
            "choose another folder",
        ),
    ] {
        for ranks in alone_and_on(&[2]) {
            let ended = on(ranks, arguments.split_whitespace()).inside(folder).end().expect(2);
            is_one_error(arguments, says, helps, &ended, folder);
            assert!(!folder.join("out/y.npy").exists());
        }
    }
}

/// A job with a fidelity needs a method that knows it.
const FIDELITY: (&str, &str) = ("[solve]\nmethod = { kind = \"cg\"", "[solve]\nmethod = { kind = \"gradient_descent\"");
const HUBER: (&str, &str) = ("split =", "fidelity = { kind = \"huber\", delta = 0.1 }\nsplit =");
const VARIANCE: (&str, &str) = ("split =", "fidelity = { kind = \"l2\", variance = \"v.npy\" }\nsplit =");

/// A case with Huber's fidelity, and a method that knows it.
fn huber(name: &'static str) -> Case {
    case(name).change(HUBER.0, HUBER.1).change(FIDELITY.0, FIDELITY.1)
}

/// A case with a file of variances, and a method that knows them.
fn variance(name: &'static str) -> Case {
    case(name).change(VARIANCE.0, VARIANCE.1).change(FIDELITY.0, FIDELITY.1)
}

/// Fidelities, and the methods that know them or do not.
fn fidelities() -> Vec<Case> {
    vec![
        case("a method that knows no fidelity")
            .change(HUBER.0, HUBER.1)
            .says("job.toml:8: terms.scan.fidelity: method `cg` minimises ‖A x − y‖² and knows no fidelity")
            .helps("\"gradient_descent\" (smooth fidelities) or \"primal_dual\" (all fidelities)")
            .on(&[2, 3]),
        case("a fidelity without a gradient")
            .change("split =", "fidelity = { kind = \"l1\" }\nsplit =")
            .change(FIDELITY.0, FIDELITY.1)
            .says("job.toml:8: terms.scan.fidelity: the fidelity `l1` has no gradient everywhere")
            .helps("use method = { kind = \"primal_dual\" }"),
        huber("a fidelity out of its range")
            .arguments(&["--set", "fidelity.delta=0"])
            .says("--set fidelity.delta=0: terms.scan.fidelity.delta: `delta` is 0, expected a finite number above 0")
            .helps("stackphys schema"),
        huber("a misspelt key of a fidelity")
            .arguments(&["--set", "fidelity.dleta=0"])
            .says("terms.scan.fidelity: unknown key `dleta`")
            .helps("did you mean `delta`?"),
        case("a fidelity without its parameter")
            .change("split =", "fidelity = { kind = \"huber\" }\nsplit =")
            .change(FIDELITY.0, FIDELITY.1)
            .says("job.toml:8: terms.scan.fidelity: missing key `delta`")
            .helps("stackphys schema"),
        huber("counts of complex numbers")
            .arguments(&["--set", "fidelity={ kind = \"poisson\" }", "--set", "model.scalar=complex_f32"])
            .says("terms.scan.fidelity: `poisson` is for real measurements, model.scalar is \"complex_f32\"")
            .helps("set model.scalar to \"f32\""),
        huber("complex numbers from 0 on")
            .arguments(&["--set", "solve.method.non_negative=true", "--set", "model.scalar=complex_f64"])
            .says("solve.method.non_negative: is for real models, model.scalar is \"complex_f64\"")
            .helps("stackphys schema"),
        case("a mean of a method that sums")
            .arguments(&["--set", "solve.loss=mean"])
            .says("solve.loss: `cg` minimises the sum, ‖A x − y‖²")
            .helps("leave it out"),
        huber("a local mean of a fidelity")
            .arguments(&["--set", "solve.pseudo_inverse=local_mean"])
            .says("solve.pseudo_inverse: `gradient_descent` has no local mean")
            .helps("set solve.pseudo_inverse to \"exact\""),
        huber("a preconditioner of gradient descent")
            .arguments(&["--set", "solve.preconditioner.kind=jacobi"])
            .says("solve.preconditioner: method `gradient_descent` cannot use it")
            .helps("kind = \"cg\""),
        case("a tolerance that least squares do not know")
            .arguments(&["--set", "solve.tolerance.relative_optimality=1e-3"])
            .says("solve.tolerance.relative_optimality: the method does not know this number")
            .helps("otherwise ask for relative_normal_residual"),
        huber("a tolerance that gradient descent does not know")
            .arguments(&["--set", "solve.tolerance.relative_normal_residual=1e-3"])
            .says("solve.tolerance.relative_normal_residual: the method does not know this number")
            .helps("ask for relative_optimality"),
        variance("variances that are missing")
            .says("open: terms.scan.fidelity: cannot read …data/v.npy: No such file")
            .helps("--data-dir")
            .on(&[2, 3]),
        variance("variances of other measurements")
            .arguments(&["--set", "fidelity.variance=six.npy"])
            .says("open: terms.scan.fidelity: six.npy has sizes [6], the measurements are (angle=9, column=17)")
            .helps("one number for each measurement"),
        variance("a variance of zero where one rank reads")
            .data(|folder| {
                good_data(folder);
                let mut variances = sinogram();
                variances[[5, 3]] = 0.0; // in the last of three interleaved operators, the second of its angles
                write(folder, "v.npy", &variances);
            })
            .says("load: operator 2: terms.scan.fidelity: `variance` is 0, expected a finite number above 0")
            .helps("number 20 of the variances of this operator")
            .on(&[2, 3, 4]),
        variance("complex variances")
            .data(|folder| {
                good_data(folder);
                write(folder, "v.npy", &sinogram().mapv(|value| num_complex::Complex::new(value, 1.0)));
            })
            .says("load: operator 0: terms.scan.fidelity: complex numbers cannot become f64")
            .helps("they must be real"),
        variance("variances that are no numbers")
            .data(|folder| {
                nan_in_scan(folder);
                std::fs::rename(folder.join("scan.npy"), folder.join("v.npy")).unwrap();
                write(folder, "scan.npy", &sinogram());
            })
            .says("load: operator 1: terms.scan.fidelity: …v.npy: 4 of the 51 values…angle=1, column=3")
            .helps("must be finite"),
        case("more outliers than measurements")
            .change(r#"data = { format = "npy", path = "scan.npy", dims = ["angle", "column"] }"#, PHANTOM)
            .arguments(&["--set", "noise={ kind = \"outliers\", fraction = 2, size = 1.0 }"])
            .says("terms.scan.noise.fraction: `fraction` is 2, expected a number from 0 to 1")
            .helps("one measurement in a hundred"),
    ]
}

const PHANTOM: &str = "data = { format = \"phantom\", name = \"shepp_logan\" }";

#[test]
fn what_is_wrong_with_fidelities_is_told() {
    all_fail(&fidelities());
    // and all that is bad is bad by its own fault
    for good in [huber("good"), variance("good")] {
        let folder = tempfile::tempdir().unwrap();
        let good = good.data(|folder| {
            good_data(folder);
            write(folder, "v.npy", &sinogram());
        });
        case_in(folder.path(), &good, None).end().expect(0);
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

    /// A case with Data Exchange for data, good so far.
    fn hdf5(name: &'static str) -> Case {
        case(name)
            .change(
                r#"{ format = "npy", path = "scan.npy", dims = ["angle", "column"] }"#,
                r#"{ format = "data-exchange", path = "scan.h5", rows = [1] }"#,
            )
            .change("angles_deg = { start = 0.0, stop = 180.0, count = 9 }, ", "")
            .change(r#"{ parts = 3, order = "interleaved" }"#, "{ parts = 3 }")
            .data(|folder| scan(folder, |_| ()))
    }

    #[test]
    fn what_is_wrong_with_hdf5_files_is_told() {
        all_fail(&[
            hdf5("a missing data set")
                .data(|folder| scan(folder, |exchange| exchange.unlink("data").unwrap()))
                .says("open: terms.scan.data: scan.h5 has no data set `exchange/data`; it has …exchange/theta")
                .helps("is this an HDF5 Data Exchange file")
                .on(&[2, 3]),
            hdf5("no white frames")
                .data(|folder| scan(folder, |exchange| exchange.unlink("data_white").unwrap()))
                .says("scan.h5 has no data set `exchange/data_white`; it has exchange/data")
                .helps("white and dark fields"),
            hdf5("theta of another length")
                .data(|folder| scan(folder, |exchange| replace_theta(exchange, &Array1::zeros(8))))
                .says("terms.scan.data: scan.h5: `exchange/theta` has 8 angles, `exchange/data` has 9 views")
                .helps("one angle for each view"),
            hdf5("theta that is not a number")
                .data(|folder| {
                    let mut theta = Array1::zeros(9);
                    theta[4] = f64::NAN;
                    scan(folder, |exchange| replace_theta(exchange, &theta));
                })
                .says("scan.h5: `exchange/theta` is NaN at view 4")
                .helps("one angle for each view"),
            hdf5("an empty HDF5 file")
                .data(|folder| std::fs::write(folder.join("scan.h5"), "").unwrap())
                .says("terms.scan.data: …scan.h5 is empty (0 bytes)")
                .helps("completely"),
            hdf5("a truncated HDF5 file")
                .data(|folder| {
                    scan(folder, |_| ());
                    cut_to(folder, "scan.h5", |bytes| bytes / 2);
                })
                .says("terms.scan.data: cannot open …scan.h5 (… bytes) as HDF5: …truncated")
                .helps("copied completely")
                .on(&[2, 3]),
            hdf5("not an HDF5 file")
                .data(|folder| std::fs::write(folder.join("scan.h5"), "angle, counts\n".repeat(100)).unwrap())
                .says("terms.scan.data: cannot open …scan.h5 (1400 bytes) as HDF5")
                .helps("is it an HDF5 file"),
            hdf5("a missing HDF5 file")
                .data(|_| ())
                .says("terms.scan.data: cannot read …scan.h5: No such file…the data folder is")
                .helps("scripts/get-data.sh"),
            hdf5("a row that is not there")
                .set("data.rows=[2]")
                .says("terms.scan.data: `rows`: row 2 is not in scan.h5, which has rows 0 to 1")
                .helps("counted from 0"),
            hdf5("two rows for one slice")
                .set("data.rows=[0, 1]")
                .says("data: expected the dims (angle, column)…got (angle=9, row=2, column=17)")
                .helps("choose a single row"),
            hdf5("a clamp of zero")
                .set("data.clamp=0")
                .says("terms.scan.data: `clamp` is 0, expected a number between 0 and 1")
                .helps("1e-6"),
            hdf5("a pixel without light")
                .data(|folder| {
                    let mut white = Array3::from_elem((2, 2, 17), 200.0f32);
                    white.slice_mut(ndarray::s![.., 1, 11]).fill(0.0); // white is dark
                    scan(folder, |exchange| {
                        exchange.unlink("data_white").unwrap();
                        exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
                    });
                })
                .says("load: terms.scan.data: scan.h5: 3 of the 51 values…NaN, is at angle=0, row=1, column=11")
                .helps("data.nan"),
            hdf5("damage where one rank reads")
                .data(damage_last_angle)
                .says("load: terms.scan.data: scan.h5: cannot read `exchange/data`")
                .helps("is the file complete")
                .on(&[2, 3, 4]),
        ]);
        works(&hdf5("good"), None);
    }

    /// Only the owner of the last operator reads the damaged angle.
    #[cfg(feature = "mpi")]
    #[test]
    fn damage_names_the_rank_that_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let case = hdf5("damage").data(damage_last_angle);
        let ended = case_in(folder.path(), &case, Some(3)).end().expect(2);
        assert!(ended.stderr.contains("(on rank 2 of 3)"), "{ended}");
    }
}
