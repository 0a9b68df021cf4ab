//! The program does what its help says: each command and each option, on the real binary, with answers that are compared
//! with those of a linear-algebra library.

#[macro_use]
mod common;

use std::path::Path;

use common::program::{Launch, names_in, numbers, on, report, stackphys};
use common::{adjoint_of, distance, matrix, random};
use ndarray::{Array, Array1, Array2, Axis, Dimension, concatenate};
use ndarray_linalg::{LeastSquaresSvd, SVD};
use ndarray_npy::{ReadableElement, WritableElement, read_npy, write_npy};
use num_complex::Complex;
use serde_json::Value as Json;
use stackphys::Scalar;

/// Alone, and as two ranks where there is MPI.
const RANKS: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2)] } else { &[None] };

/// x = (y=2, x=3) is measured by one matrix, cut in two, and by two more in a second term.
const DENSE: &str = r#"version = 1
[model]
dims = { y = 2, x = 3 }
scalar = "f64"
[[terms]]
name = "first"
data = { format = "npy", path = "first.npy", dims = ["row"] }
operator = { kind = "dense", path = "a.npy" }
split = { row = { parts = 2 } }
[[terms]]
name = "others"
count = 2
data = { format = "npy", path = "others.npy", dims = ["operator", "row"] }
operator = { kind = "dense", path = { each = ["b0.npy", "b1.npy"] } }
[solve]
method = { kind = "cg", max_iter = 50 }
tolerance = { relative_normal_residual = 1e-13 }
[norm]
method = { kind = "power", max_iter = 2000, tolerance = 1e-14 }
"#;

fn write<A: WritableElement, D: Dimension>(folder: &Path, name: &str, array: &Array<A, D>) {
    write_npy(folder.join(name), array).unwrap();
}

/// A folder with the job, its data in `data/`, and the same as one matrix and one vector.
struct Dense<S> {
    folder: tempfile::TempDir,
    matrices: [Array2<S>; 3],
    y: Array1<S>,
}

impl<S: Scalar> Dense<S> {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let matrices = [matrix::<S>(5, 6, 1), matrix(4, 6, 2), matrix(4, 6, 3)];
        for (matrix, name) in matrices.iter().zip(["a.npy", "b0.npy", "b1.npy"]) {
            write(&data, name, matrix);
        }
        let y = Array1::from(random::<S>(13, 4));
        write(&data, "first.npy", &y.slice(ndarray::s![..5]).to_owned());
        write(&data, "others.npy", &y.slice(ndarray::s![5..]).to_owned().into_shape_with_order((2, 4)).unwrap());
        let job = DENSE.replace("\"f64\"", &format!("\"{}\"", S::NAME));
        std::fs::write(folder.path().join("job.toml"), job).unwrap();
        Dense { folder, matrices, y }
    }
    fn path(&self) -> &Path {
        self.folder.path()
    }
    fn whole(&self) -> Array2<S> {
        let views: Vec<_> = self.matrices.iter().map(|matrix| matrix.view()).collect();
        concatenate(Axis(0), &views).unwrap()
    }
    fn launch(&self, ranks: Option<usize>, arguments: &[&str]) -> Launch {
        on(ranks, arguments).inside(self.path())
    }
    /// Runs the job, alone and by ranks, with more arguments; looks at the image and the report.
    fn run(&self, arguments: &[&str], look: impl Fn(&[S], &Json)) {
        for ranks in RANKS {
            let all = [&["run", "job.toml", "--data-dir", "data", "--out", "out"], arguments].concat();
            self.launch(*ranks, &all).end().expect(0);
            let x: Array2<S> = read_npy(self.path().join("out/x.npy")).unwrap();
            assert_eq!(x.dim(), (2, 3));
            let report = report(&self.path().join("out"));
            assert_eq!(report["ranks"], ranks.unwrap_or(1));
            look(x.as_slice().unwrap(), &report);
            std::fs::remove_dir_all(self.path().join("out")).unwrap();
        }
    }
    fn read<T: ReadableElement>(&self, name: &str) -> Vec<T> {
        let array: ndarray::ArrayD<T> = read_npy(self.path().join(name)).unwrap();
        assert!(array.is_standard_layout());
        array.into_raw_vec_and_offset().0
    }
}

#[test]
fn run_solves_the_least_squares_problem() {
    fn check<S: Scalar>(least_squares: fn(&Array2<S>, &Array1<S>) -> Array1<S>) {
        let job = Dense::<S>::new();
        let expected = least_squares(&job.whole(), &job.y);
        job.run(&[], |x, report| {
            assert!(distance(x, &expected) < 1e-10, "{}", S::NAME);
            assert_eq!(report["status"], "converged");
            assert_eq!(report["scalar"], S::NAME);
            assert_eq!(report["operators"], 4);
            assert!(report["stop_reason"].as_str().unwrap().contains("relative normal residual"), "{report}");
        });
    }
    check::<f64>(|matrix, y| matrix.least_squares(y).unwrap().solution);
    check::<Complex<f64>>(|matrix, y| matrix.least_squares(y).unwrap().solution);
}

#[test]
fn the_norm_table_of_a_job_is_computed() {
    let job = Dense::<f64>::new();
    let (_, singular, _) = job.whole().svd(false, false).unwrap();
    job.run(&[], |_, report| {
        let norm = report["norm_squared"].as_f64().unwrap();
        assert!((norm / singular[0].powi(2) - 1.0).abs() < 1e-9, "{norm}");
    });
}

#[test]
fn damping_is_that_of_tikhonov() {
    let job = Dense::<f64>::new();
    let matrix = concatenate![Axis(0), job.whole(), Array2::from_diag_elem(6, 2.5_f64.sqrt())];
    let y = concatenate![Axis(0), job.y, Array1::zeros(6)];
    let expected = matrix.least_squares(&y).unwrap().solution;
    job.run(&["--set", "solve.method.damping=2.5"], |x, report| {
        assert!(distance(x, &expected) < 1e-10);
        assert_eq!(report["config"]["solve"]["method"]["damping"], 2.5);
    });
}

#[test]
fn the_local_mean_is_its_definition() {
    let job = Dense::<f64>::new();
    let mut mean = Array1::<f64>::zeros(6);
    let parts = [(0, 0..3), (0, 3..5), (1, 0..4), (2, 0..4)]; // the first is split into rows
    let mut start = 0;
    for (which, rows) in parts {
        let block = job.matrices[which].slice(ndarray::s![rows, ..]).to_owned();
        let y = job.y.slice(ndarray::s![start..start + block.nrows()]).to_owned();
        start += block.nrows();
        mean += &block.least_squares(&y).unwrap().solution;
    }
    mean /= 4.0;
    let adjoint = adjoint_of(&job.whole());
    let norm = |v: Array1<f64>| v.dot(&v).sqrt();
    let normal = norm(adjoint.dot(&(job.whole().dot(&mean) - &job.y))) / norm(adjoint.dot(&job.y));
    job.run(&["--set", "solve.pseudo_inverse=local_mean"], |x, report| {
        assert!(distance(x, &mean) < 1e-9, "{}", distance(x, &mean));
        assert_eq!(report["pseudo_inverse"], "local_mean");
        let told = report["true_relative_normal_residual"].as_f64().unwrap();
        assert!((told / normal - 1.0).abs() < 1e-7, "{told}, not {normal}");
        assert!(report["stop_reason"].as_str().unwrap().contains("approximation"), "{report}");
    });
}

#[test]
fn a_first_guess_is_where_it_starts() {
    let job = Dense::<f64>::new();
    let exact = job.whole().least_squares(&job.y).unwrap().solution;
    write(job.path(), "guess.npy", &exact.clone().into_shape_with_order((2, 3)).unwrap());
    let loose = ["--set", "solve.first_guess=guess.npy", "--set", "solve.tolerance.relative_normal_residual=1e-9"];
    job.run(&loose, |x, report| {
        assert_eq!((&report["iterations"], &report["status"]), (&Json::from(0), &Json::from("converged")));
        assert_eq!(x, exact.as_slice().unwrap());
        assert_eq!(numbers(&report["relative_residual"]).len(), 1);
    });
}

#[test]
fn apply_is_the_matrix() {
    fn check<S: Scalar>() {
        let job = Dense::<S>::new();
        let x = Array1::from(random::<S>(6, 11));
        write(job.path(), "x.npy", &x.clone().into_shape_with_order((2, 3)).unwrap());
        let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 1e-5 };
        for ranks in RANKS {
            let apply = |what: &str, input: &str, output: &str| {
                let arguments =
                    ["apply", "job.toml", "--data-dir", "data", "--what", what, "--in", input, "--out", output];
                job.launch(*ranks, &arguments).end().expect(0);
            };
            let y = job.whole().dot(&x);
            apply("forward", "x.npy", "new/y.npy");
            assert_eq!(names_in(&job.path().join("new")), ["y.first.npy", "y.others_0.npy", "y.others_1.npy"]);
            let parts = ["first", "others_0", "others_1"].map(|name| job.read::<S>(&format!("new/y.{name}.npy")));
            assert_eq!(parts.each_ref().map(Vec::len), [5, 4, 4]);
            assert!(distance(&parts.concat(), &y) < tolerance, "{}", S::NAME);

            let back = adjoint_of(&job.whole()).dot(&y);
            apply("adjoint", "new/y.npy", "back.npy");
            assert!(distance(&job.read::<S>("back.npy"), &back) < tolerance, "{}", S::NAME);
            apply("normal", "x.npy", "normal.npy");
            assert!(distance(&job.read::<S>("normal.npy"), &back) < tolerance, "{}", S::NAME);
            let normal: Array2<S> = read_npy(job.path().join("normal.npy")).unwrap();
            assert_eq!(normal.dim(), (2, 3));
            std::fs::remove_dir_all(job.path().join("new")).unwrap();
        }
    }
    each_scalar!(check);
}

#[test]
fn norm_prints_the_value_and_bounds_that_hold() {
    let job = Dense::<f64>::new();
    let (_, singular, _) = job.whole().svd(false, false).unwrap();
    let largest = singular[0] * singular[0];
    for ranks in RANKS {
        let ended = job.launch(*ranks, &["norm", "job.toml", "--data-dir", "data"]).end().expect(0);
        let value = after(&ended.stdout, "‖A‖² = ");
        assert!((value / largest - 1.0).abs() < 1e-7, "{ended}");
        assert!((after(&ended.stdout, "‖A‖ = ") - singular[0]).abs() < 1e-6, "{ended}");
        for more in [&["--bounds"] as &[&str], &["--condition"], &[]] {
            let ended =
                job.launch(*ranks, &[&["norm", "job.toml", "--data-dir", "data"], more].concat()).end().expect(0);
            let line = ended.stdout.lines().find(|line| line.contains(" ≤ ‖A‖² ≤ "));
            let (below, above) =
                line.and_then(|line| line.split_once(" ≤ ‖A‖² ≤ ")).unwrap_or_else(|| panic!("{ended}"));
            let (below, above): (f64, f64) = (below.trim().parse().unwrap(), above.trim().parse().unwrap());
            assert!(0.0 < below && below <= largest && largest <= above && above < 10.0 * largest, "{ended}");
        }
        let ended = job.launch(*ranks, &["norm", "job.toml", "--data-dir", "data", "--condition"]).end().expect(0);
        let condition = singular[0] / singular[singular.len() - 1];
        assert!((after(&ended.stdout, "condition number σ_max / σ_min = ") / condition - 1.0).abs() < 1e-3, "{ended}");
    }
}

/// The number that follows some words.
fn after(text: &str, words: &str) -> f64 {
    let rest = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn check_passes_what_is_right() {
    let job = Dense::<f64>::new();
    for ranks in RANKS {
        let ended = job.launch(*ranks, &["check", "job.toml", "--data-dir", "data"]).end().expect(0);
        let lines: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("pass  ")).collect();
        assert_eq!(lines.len(), 4 + 3, "{ended}");
        for name in ["first, row 1/2", "first, row 2/2", "others 0", "others 1", "stack: A", "stack: AᴴA", "stack: AAᴴ"]
        {
            let line =
                lines.iter().find(|line| line.ends_with(&format!("  {name}"))).unwrap_or_else(|| panic!("{ended}"));
            assert!(after(line, "pass") < 1e-12, "{line}");
        }
        assert!(ended.stdout.contains("7 of 7 pass"), "{ended}");
    }
}

#[test]
fn plan_says_who_owns_what() {
    let job = Dense::<f64>::new();
    for (ranks, owners) in [(1, [0, 0, 0, 0]), (2, [0, 0, 1, 1]), (3, [0, 0, 1, 2]), (6, [0, 1, 2, 3])] {
        let ranks = ranks.to_string();
        let ended = job.launch(None, &["plan", "job.toml", "--data-dir", "data", "--ranks", &ranks]).end().expect(0);
        assert!(ended.stdout.contains(&format!("4 operators on {ranks} rank")), "{ended}");
        for (name, (rows, owner)) in
            ["first, row 1/2", "first, row 2/2", "others 0", "others 1"].iter().zip([3, 2, 4, 4].iter().zip(owners))
        {
            let line =
                ended.stdout.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {ended}"));
            assert_eq!(after(line, &format!("(row={rows})")), f64::from(owner), "{line}\n{ended}");
        }
        assert_eq!(ended.stdout.contains("ranks have no operator"), ranks == "6", "{ended}");
        assert_eq!(names_in(&job.path().join("out")), [""; 0], "a plan writes nothing");
    }
    if cfg!(feature = "mpi") {
        let ended = job.launch(Some(2), &["plan", "job.toml", "--data-dir", "data"]).end().expect(0);
        assert!(ended.stdout.contains("4 operators on 2 ranks"), "{ended}");
        assert_eq!(ended.stdout.matches("plan hash").count(), 1, "{ended}");
    }
}

#[test]
fn a_fidelity_is_what_the_methods_minimise() {
    let job = Dense::<f64>::new();
    let data = job.path().join("data");
    // variances in the shapes of the data; the second term has another fidelity
    let variances = Array1::from_shape_fn(13, |j| 0.5 + (j % 4) as f64);
    write(&data, "v.npy", &variances.slice(ndarray::s![..5]).to_owned());
    write(&data, "w.npy", &variances.slice(ndarray::s![5..]).to_owned().into_shape_with_order((2, 4)).unwrap());
    let sigmas = Array1::from_shape_fn(13, |row| if row < 5 { 2.0 } else { 0.7 });
    let weights = Array1::from_shape_fn(13, |row| 1.0 / (sigmas[row] * variances[row].sqrt()));
    let weigh = |mut matrix: Array2<f64>| {
        matrix.rows_mut().into_iter().zip(&weights).for_each(|(mut row, weight)| row *= *weight);
        matrix
    };
    for (loss, damping) in [("sum", 0.8), ("mean", 0.2)] {
        // the mean is over three operators, though the first is cut in two
        let times = if loss == "mean" { 3.0 } else { 1.0 };
        let below = Array2::from_diag_elem(6, f64::sqrt(damping * times));
        let matrix = concatenate![Axis(0), weigh(job.whole()), below];
        let y = concatenate![Axis(0), &job.y * &weights, Array1::zeros(6)];
        let expected = matrix.least_squares(&y).unwrap().solution;
        let residual = job.whole().dot(&expected) - &job.y;
        let squares: f64 = (&residual * &weights).iter().map(|r| r * r).sum();
        let objective = 0.5 * squares / times + 0.5 * damping * expected.dot(&expected);
        for kind in ["gradient_descent", "primal_dual"] {
            let method = format!("solve.method={{ kind = \"{kind}\", max_iter = 20000, damping = {damping} }}");
            let loss = format!("solve.loss={loss}");
            let sets = [
                method.as_str(),
                loss.as_str(),
                "terms.first.fidelity={ kind = \"l2\", sigma = 2.0, variance = \"v.npy\" }",
                "terms.others.fidelity={ kind = \"l2\", sigma = 0.7, variance = \"w.npy\" }",
                "solve.tolerance={ relative_optimality = 1e-12 }",
            ];
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            job.run(&sets, |x, report| {
                assert!(distance(x, &expected) < 1e-9, "{kind} {report}");
                assert_eq!(
                    (&report["status"], &report["stop_rule"]),
                    (&"converged".into(), &"relative optimality".into())
                );
                let truly = report["true_objective"].as_f64().unwrap();
                assert!((truly / objective - 1.0).abs() < 1e-9, "{kind}: {truly}, not {objective}");
                let (values, optimality) = (numbers(&report["objective"]), numbers(&report["relative_optimality"]));
                let steps = report["iterations"].as_u64().unwrap() as usize + 1;
                assert_eq!((values.len(), optimality.len()), (steps, steps));
                assert!((values[steps - 1] / truly - 1.0).abs() < 1e-9 && optimality[steps - 1] <= 1e-12);
                let residual = (&residual * &residual).sum().sqrt() / job.y.dot(&job.y).sqrt();
                assert!((report["true_relative_residual"].as_f64().unwrap() / residual - 1.0).abs() < 1e-9, "{report}");
                assert!(report.get("true_relative_normal_residual").is_none(), "it says nothing of this minimum");
                assert_eq!(report["config"]["terms"][0]["fidelity"]["variance"], "v.npy");
            });
            let plan = [&["plan", "job.toml", "--data-dir", "data", "--ranks", "2"], sets.as_slice()].concat();
            let ended = job.launch(None, &plan).end().expect(0);
            let one = format!("method {kind}: ");
            assert!(ended.stdout.contains(&one), "{ended}");
            assert!(ended.stdout.contains("one iteration: one sum of a model vector, one scalar reduction"), "{ended}");
            // rank 0 has 5 measurements and as many variances, of 8 bytes
            assert!(
                ended.stdout.lines().any(|line| line.trim_start().starts_with("0 ") && line.contains(" 80 B ")),
                "{ended}"
            );
        }
    }
}

#[test]
fn the_noise_of_a_phantom_is_drawn_alike_on_any_ranks() {
    let poisson = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/poisson.toml");
    let errors: Vec<f64> = [None, Some(3)][..if cfg!(feature = "mpi") { 2 } else { 1 }]
        .iter()
        .map(|ranks| {
            let folder = tempfile::tempdir().unwrap();
            let arguments = ["run", poisson, "--set", "run.summation=ordered"];
            on(*ranks, arguments).inside(folder.path()).end().expect(0);
            report(&folder.path().join("out"))["true_objective"].as_f64().unwrap()
        })
        .collect();
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    // without noise the counts are explained nearly
    let folder = tempfile::tempdir().unwrap();
    let clean = ["run", poisson, "--set", "noise={ kind = \"gaussian\", sigma = 0.0 }"];
    stackphys(clean).inside(folder.path()).end().expect(0);
    let clean = report(&folder.path().join("out"))["true_objective"].as_f64().unwrap();
    assert!(clean < 0.5 * errors[0], "{clean} {errors:?}");
}

#[test]
fn data_whose_dims_stand_in_another_order_are_matched_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let job = "version = 1\nmodel = { dims = { y = 12, x = 12 }, scalar = \"f64\" }\n[[terms]]\nname = \"scan\"\n\
               data = { format = \"npy\", path = \"y.npy\", dims = [\"angle\", \"column\"] }\n\
               operator = { kind = \"parallel_ct\", angles_deg = { start = 0, stop = 180, count = 9 } }\n\
               split = { angle = { parts = 4, order = \"interleaved\" } }\n[solve]\nmethod = { kind = \"cg\", max_iter = 4 }\n";
    std::fs::write(folder.path().join("job.toml"), job).unwrap();
    let scan = Array2::from_shape_vec((9, 17), random::<f64>(153, 3)).unwrap();
    write(folder.path(), "y.npy", &scan);
    let turned = scan.t().as_standard_layout().into_owned(); // (column, angle)
    write(folder.path(), "turned.npy", &turned);
    write(folder.path(), "fortran.npy", &scan.reversed_axes()); // the same numbers, column-major
    let variances = Array2::from_shape_fn((9, 17), |(angle, column)| 1.0 + ((3 * angle + column) % 5) as f64);
    write(folder.path(), "v.npy", &variances);
    write(folder.path(), "v_turned.npy", &variances.t().as_standard_layout().into_owned());
    for ranks in RANKS {
        let solve = |path: &str, dims: &str, more: &[&str]| -> Vec<f64> {
            let (path, dims) = (format!("data.path={path}"), format!("data.dims={dims}"));
            let arguments = ["run", "job.toml", "--data-dir", ".", "--out", "out", "--set", &path, "--set", &dims];
            on(*ranks, [&arguments, more].concat()).inside(folder.path()).end().expect(0);
            let x: Array2<f64> = read_npy(folder.path().join("out/x.npy")).unwrap();
            x.into_raw_vec_and_offset().0
        };
        let image = |path: &str, dims: &str| solve(path, dims, &[]);
        let expected = image("y.npy", r#"["angle", "column"]"#);
        assert!(expected.iter().any(|value| value.abs() > 1e-3));
        assert_eq!(image("turned.npy", r#"["column", "angle"]"#), expected);
        assert_eq!(image("fortran.npy", r#"["column", "angle"]"#), expected);
        // variances are in the order of the data
        let weighed = |path: &str, dims: &str, variances: &str| {
            let fidelity = format!("fidelity={{ kind = \"l2\", variance = \"{variances}\" }}");
            solve(path, dims, &["--set", &fidelity, "--set", "solve.method.kind=gradient_descent"])
        };
        let expected = weighed("y.npy", r#"["angle", "column"]"#, "v.npy");
        assert_eq!(weighed("turned.npy", r#"["column", "angle"]"#, "v_turned.npy"), expected);
        assert_ne!(expected, image("y.npy", r#"["angle", "column"]"#));
    }
}

#[test]
fn the_demo_needs_no_files_and_reports_all() {
    for ranks in RANKS {
        let folder = tempfile::tempdir().unwrap();
        let ended = on(*ranks, ["demo"]).inside(folder.path()).end().expect(0);
        assert!(ended.errors().is_empty() && ended.stdout.is_empty(), "{ended}");
        let out = folder.path().join("out");
        assert_eq!(names_in(&out), ["convergence.png", "report.json", "x.npy", "x.png"]);
        for picture in ["x.png", "convergence.png"] {
            assert!(std::fs::read(out.join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
        }
        let image: Array2<f32> = read_npy(out.join("x.npy")).unwrap();
        assert_eq!(image.dim(), (128, 128));
        report_is_complete(&report(&out), ranks.unwrap_or(1));
    }
}

fn report_is_complete(report: &Json, ranks: usize) {
    assert_eq!(report["status"], "limit_reached");
    assert_eq!(report["stop_rule"], "iterations");
    assert!(report["stop_reason"].as_str().unwrap().starts_with("20 iterations"), "{report}");
    assert_eq!(report["iterations"], 20);
    let residuals = numbers(&report["relative_residual"]);
    assert_eq!(residuals.len(), 21);
    assert_eq!(residuals[0], 1.0);
    assert!(residuals.windows(2).all(|pair| pair[1] < pair[0]), "{residuals:?}");
    let truly = report["true_relative_residual"].as_f64().unwrap();
    assert!((truly / residuals[20] - 1.0).abs() < 1e-2, "{truly}");
    assert!(report["relative_error"].as_f64().unwrap() < 0.2);
    assert!(report.get("norm_squared").is_none(), "it was not asked for");
    assert_eq!(report["ranks"], ranks);
    assert_eq!(report["hosts"].as_array().unwrap().len(), ranks);
    assert_eq!(report["threads"], 1);
    assert_eq!(report["lanes"], 1);
    assert_eq!(report["operators"], 8);
    let owners = numbers(&report["owners"]);
    let expected: Vec<f64> = (0..8).map(|index| (index * ranks / 8) as f64).collect();
    assert_eq!(owners, expected);
    assert_eq!((&report["scalar"], &report["summation"]), (&Json::from("f32"), &Json::from("fast")));
    for phase in ["config", "open", "build", "load", "solve", "write"] {
        let [min, mean, max] = ["min", "mean", "max"].map(|what| report["seconds"][phase][what].as_f64().unwrap());
        assert!(0.0 <= min && min <= mean * 1.000001 && mean <= max * 1.000001 && max < 100.0, "{phase}: {report}");
    }
    let vectors = &report["comm"]["vector_reduction"];
    assert!(vectors["total"]["calls"].as_u64().unwrap() >= 20);
    // one model vector with a flag for each iteration, and a few to begin and to end
    let (calls, bytes) = (&vectors["per_iteration"]["calls"], &vectors["per_iteration"]["bytes"]);
    assert!((1.0..1.5).contains(&calls.as_f64().unwrap()), "{vectors}");
    match report["reduction"].as_str().unwrap() {
        "shared" => assert_eq!(bytes.as_f64(), Some(0.0), "{vectors}"), // nothing is sent
        _ => assert!((65536.0..1.5 * 65540.0).contains(&bytes.as_f64().unwrap()), "{vectors}"),
    }
    for kind in ["scalar_reduction", "gather", "broadcast", "agreement"] {
        assert!(report["comm"][kind]["total"]["calls"].as_u64().unwrap() > 0, "{kind}: {report}");
    }
    let peaks = numbers(&report["peak_memory_bytes"]);
    assert_eq!(peaks.len(), ranks);
    assert!(peaks.iter().all(|bytes| (5e6..2e9).contains(bytes)), "{peaks:?}");
    // the resolved config has the defaults too, and says where the results went
    assert_eq!(report["config"]["run"]["summation"], "fast");
    assert_eq!(report["config"]["solve"]["method"]["max_iter"], 20);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn threads_change_the_speed_and_nothing_else() {
    let image = |threads: &str| {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["demo", "--threads", threads, "--set", "solve.method.max_iter=5"];
        stackphys(arguments).inside(folder.path()).end().expect(0);
        let report = report(&folder.path().join("out"));
        assert_eq!([&report["threads"], &report["lanes"]].map(ToString::to_string), [threads, threads]);
        let x: Array2<f32> = read_npy(folder.path().join("out/x.npy")).unwrap();
        x.mapv(f64::from).into_raw_vec_and_offset().0
    };
    let (one, two) = (image("1"), image("2"));
    assert!(distance(&two, &Array1::from(one)) < 1e-5);
}

/// The cores of this host as the program counts them.
fn cores() -> usize {
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processors = listed.lines().filter(|line| line.starts_with("processor")).count();
    processors.max(std::thread::available_parallelism().unwrap().get())
}

#[test]
fn r14_more_threads_than_cores_are_one_warning() {
    let cores = cores();
    for ranks in RANKS {
        let count = ranks.unwrap_or(1);
        let fits = cores / count;
        for (threads, warnings) in [(fits, 0), (fits + 1, 1)] {
            if threads == 0 {
                continue; // one thread for each rank is too much already
            }
            let folder = tempfile::tempdir().unwrap();
            let number = threads.to_string();
            let arguments = ["--log-all-ranks", "demo", "--threads", &number, "--set", "solve.method.max_iter=2"];
            let ended = on(*ranks, arguments).inside(folder.path()).end().expect(0);
            let told: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("wait for each other")).collect();
            assert_eq!(told.len(), warnings, "{ended}");
            let says = format!("{count} rank{} × {threads} threads", if count == 1 { "" } else { "s" });
            assert!(
                told.iter().all(|line| line.contains(&says) && line.contains(&format!("{cores} cores"))),
                "{ended}"
            );
            // and the job is done all the same
            assert_eq!(report(&folder.path().join("out"))["iterations"], 2);
        }
    }
}

#[test]
fn options_overrule_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["--set", "solve.method.max_iter=2", "--set", "run.summation=ordered", "--set", "split.angle.parts=5"];
    let arguments = [&["demo", "--out", "deep/er"][..], &sets].concat();
    stackphys(arguments).inside(folder.path()).end().expect(0);
    let report = report(&folder.path().join("deep/er"));
    assert_eq!((&report["iterations"], &report["operators"]), (&Json::from(2), &Json::from(5)));
    assert_eq!((&report["summation"], &report["config"]["output"]["folder"]), (&"ordered".into(), &"deep/er".into()));
    assert_eq!(names_in(folder.path()), ["deep"]);
}

#[test]
fn data_are_found_by_option_environment_or_folder() {
    let job = Dense::<f64>::new();
    let run = || job.launch(None, &["run", "job.toml", "--out", "out"]);
    run().end().expect(0); // ./data
    std::fs::rename(job.path().join("data"), job.path().join("elsewhere")).unwrap();
    run().end().expect(2);
    run().with("STACKPHYS_DATA", "elsewhere").end().expect(0);
    run().with("STACKPHYS_DATA", job.path().join("elsewhere")).end().expect(0);
    let optioned = || job.launch(None, &["run", "job.toml", "--out", "out", "--data-dir", "elsewhere"]);
    optioned().end().expect(0);
    optioned().with("STACKPHYS_DATA", "nowhere").end().expect(0); // the option wins
}

#[test]
fn it_says_as_much_as_it_is_asked_to() {
    let demo = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let all = [&["demo", "--set", "solve.method.max_iter=3"], arguments].concat();
        stackphys(all).inside(folder.path()).end().expect(0)
    };
    assert_eq!(demo(&["-q"]).stderr, "");
    let plain = demo(&[]).stderr;
    assert!(plain.contains("iteration    3/3  residual ") && plain.contains("results: out"), "{plain}");
    assert!(!plain.contains("DEBUG") && !plain.contains('\u{1b}'), "{plain}");
    assert!(demo(&["-vv"]).stderr.len() > plain.len());

    let job = Dense::<f64>::new();
    let run = |more: &[&str]| {
        let all = [&["run", "job.toml", "--data-dir", "data", "--out", "out"], more].concat();
        job.launch(None, &all).end().expect(0).stderr
    };
    assert!(!run(&[]).contains("first.npy"));
    assert!(run(&["-v"]).contains("DEBUG data first: first.npy: (row=5), float64"));
}

#[test]
fn the_json_log_has_an_object_for_each_iteration() {
    for ranks in RANKS {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["demo", "--log", "json", "--set", "solve.method.max_iter=4"];
        let ended = on(*ranks, arguments).inside(folder.path()).end().expect(0);
        let lines: Vec<Json> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}\n{ended}")))
            .collect();
        assert!(lines.iter().all(Json::is_object));
        let steps: Vec<&Json> = lines.iter().filter(|line| line.get("iteration").is_some()).collect();
        let residuals = numbers(&report(&folder.path().join("out"))["relative_residual"]);
        assert_eq!(steps.len(), 5, "{ended}");
        for (iteration, (step, residual)) in steps.iter().zip(residuals).enumerate() {
            assert_eq!(step["iteration"], iteration, "{ended}");
            assert_eq!(step["relative_residual"], residual, "{ended}");
            assert!(step["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{ended}");
        }
    }
}

#[test]
fn exit_statuses_are_as_promised() {
    let demo = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        stackphys([&["demo", "-q"], arguments].concat()).inside(folder.path()).end()
    };
    let near = "solve.tolerance.relative_residual=0.1";
    let far = "solve.tolerance.relative_residual=1e-3";
    demo(&["--set", far]).expect(0); // not reached, and not required
    demo(&["--set", near, "--require-converged"]).expect(0);
    demo(&["--set", far, "--require-converged"]).expect(1);
    demo(&["--require-converged"]).expect(2);
    if cfg!(feature = "mpi") {
        let folder = tempfile::tempdir().unwrap();
        let ended = on(Some(2), ["demo", "--require-converged", "--set", far]).inside(folder.path()).end().expect(1);
        assert!(ended.errors().is_empty(), "{ended}");
        assert_eq!(report(&folder.path().join("out"))["status"], "limit_reached"); // results are there all the same
    }
}

#[test]
fn list_names_all_that_a_config_can_name() {
    let list = |what: &[&str]| stackphys([&["list"], what].concat()).end().expect(0).stdout;
    let operators = list(&["operators"]);
    for name in [
        "parallel_ct",
        "blur",
        "varying_blur",
        "mask",
        "downsample",
        "gradient",
        "wavelet",
        "sparse",
        "dense",
        "fourier",
        "nufft",
        "mri",
    ] {
        assert!(operators.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))), "{operators}");
    }
    assert!(!operators.contains("conjugate gradients"));
    let methods = list(&["methods"]);
    assert!(methods.contains("  cg ") && methods.contains("  power ") && !methods.contains("parallel_ct"), "{methods}");
    let preconditioners = list(&["preconditioners"]);
    assert!(["jacobi", "sums", "fourier", "block"].iter().all(|name| preconditioners.contains(name)));
    let formats = list(&["formats"]);
    assert!(["data-exchange", "npy", "phantom"].iter().all(|name| formats.contains(name)), "{formats}");
    let rules = list(&["stop-rules"]);
    assert!(["max_iter", "relative_residual", "wall_time_s"].iter().all(|name| rules.contains(name)), "{rules}");
    let (noise, fidelities) = (list(&["noise"]), list(&["fidelities"]));
    assert!(noise.contains("poisson_gaussian") && fidelities.contains("huber"), "{noise}{fidelities}");
    assert!(fidelities.contains("fidelity = { kind = \"huber\", delta = 0.1 }"), "{fidelities}");
    assert!(["gradient_descent", "primal_dual"].iter().all(|name| methods.contains(name)), "{methods}");
    assert_eq!(list(&[]), [operators, methods, preconditioners, formats, noise, fidelities, rules].concat());
}

#[test]
fn the_schema_is_that_of_a_job() {
    let schema: Json = serde_json::from_str(&stackphys(["schema"]).end().expect(0).stdout).unwrap();
    assert_eq!(schema["title"], "stackphys job");
    assert_eq!(schema["required"], serde_json::json!(["version", "model", "terms"]));
    for table in ["model", "terms", "solve", "norm", "run", "output"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    if cfg!(feature = "mpi") {
        let ended = on(Some(2), ["schema"]).end().expect(0);
        assert_eq!(serde_json::from_str::<Json>(&ended.stdout).unwrap(), schema, "one rank prints it");
    }
}

#[test]
fn every_command_has_help() {
    let table = [
        ("run", "--require-converged"),
        ("resume", "--force"),
        ("demo", "--out"),
        ("slurm", "--nodes"),
        ("plan", "--ranks"),
        ("check", "--set"),
        ("norm", "--bounds"),
        ("apply", "--what"),
        ("simulate", "--in"),
        ("bench", "net"),
        ("dirty", "--out"),
        ("info", "FILE"),
        ("convert", "Usage: stackphys convert"),
        ("list", "operators"),
        ("schema", "Usage: stackphys schema"),
    ];
    let all = stackphys(["--help"]).end().expect(0).stdout;
    for (command, word) in table {
        let help = stackphys([command, "--help"]).end().expect(0).stdout;
        assert!(help.contains(word) && help.contains("Usage: "), "{help}");
        assert!(all.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {all}");
    }
    // each command that is listed is in the table above
    let listed = all.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next())
        .collect();
    assert_eq!(listed.len(), table.len() + 1, "{listed:?}"); // and `help`
    let version = stackphys(["--version"]).end().expect(0).stdout;
    assert_eq!(version.trim(), concat!("stackphys ", env!("CARGO_PKG_VERSION")));
    let ended = stackphys([""; 0]).end().expect(2);
    assert!(ended.stderr.contains("First steps:"), "{ended}");
}

#[test]
fn simulate_is_apply_with_noise_that_no_rank_count_changes() {
    const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/demo.toml");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let simulate = |name: &str, noise: &str| {
        let out = path(name);
        stackphys(["simulate", DEMO, "--out", &out, "--set", &format!("noise={noise}")]).end().expect(0);
        std::fs::read(out).unwrap()
    };
    let clean = simulate("clean.npy", "{ kind = 'gaussian', sigma = 0.0 }");
    let noisy = simulate("noisy.npy", "{ kind = 'poisson_gaussian', gain = 0.1, sigma = 0.2 }");
    assert_eq!(clean.len(), noisy.len());
    assert_ne!(clean, noisy);
    if cfg!(feature = "mpi") {
        let (noise, out) = ("noise={ kind = 'poisson_gaussian', gain = 0.1, sigma = 0.2 }", path("three.npy"));
        on(Some(3), ["simulate", DEMO, "--out", &out, "--set", noise]).end().expect(0);
        assert_eq!(std::fs::read(out).unwrap(), noisy);
    }
    // without noise it is what `apply` writes for the same image
    let image = path("image.npy");
    write_npy(&image, &Array2::from_shape_fn((128, 128), |(y, x)| ((3 * y + x) % 7) as f32)).unwrap();
    let [simulated, applied] = [path("simulated.npy"), path("applied.npy")];
    stackphys(["simulate", DEMO, "--in", &image, "--out", &simulated]).end().expect(0);
    stackphys(["apply", DEMO, "--what", "forward", "--in", &image, "--out", &applied]).end().expect(0);
    assert_eq!(std::fs::read(simulated).unwrap(), std::fs::read(applied).unwrap());
    // an image of nothing is refused with a way out
    let config = path("no-image.toml");
    let text = "version = 1\n[model]\ndims = { x = 3 }\n[[terms]]\nname = 'a'\noperator = { kind = 'identity' }\n";
    std::fs::write(&config, text).unwrap();
    let refused = stackphys(["simulate", &config, "--out", &path("y.npy")]).end();
    assert!(refused.expect(2).stderr.contains("there is no image to measure"));
}

#[test]
fn info_says_what_a_file_holds_and_how_a_config_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let scan = Array2::from_shape_fn((3, 4), |(row, column)| (10 * row + column) as f32);
    write(folder.path(), "scan.npy", &scan);
    let info = |file: &str| on(None, ["info", file]).inside(folder.path()).end().expect(0).stdout;
    assert_eq!(
        info("scan.npy"),
        "scan.npy: (y=3, x=4), float32\n  values: 0 to 23\n  in a config:\n    \
         data = { format = \"npy\", path = \"scan.npy\", dims = [\"y\", \"x\"], nan = \"error\" }\n    \
         or where an operator names a file: path = \"scan.npy\"\n"
    );
    let table = "#time(UTC),T1,T2,U(lambda),V(lambda),Iamp(Jy),Iphase(d),Isigma(Jy)\n0,A,B,1e9,2e9,2,0,0.1\n0,A,C,-1e9,2e9,1,0,0.2\n";
    std::fs::write(folder.path().join("v.csv"), table).unwrap();
    let told = info("v.csv");
    for line in [
        "v.csv: (visibility=2, part=2) in Jy, baselines up to 2.236 Gλ",
        "  u: 2 along `visibility`, in wavelengths: -1.00000e9 to 1.00000e9",
        "  sigma: 2 along `visibility`, in Jy: 0.1 to 0.2",
        "  values: 0 to 2",
        "    data = { format = \"eht-csv\", path = \"v.csv\" }",
    ] {
        assert!(told.lines().any(|said| said == line), "{line:?} is not in\n{told}");
    }
    let matrix = "%%MatrixMarket matrix coordinate real general\n2 3 2\n1 1 0.5\n2 3 2.0\n";
    std::fs::write(folder.path().join("m.mtx"), matrix).unwrap();
    assert_eq!(
        info("m.mtx"),
        "m.mtx: a sparse matrix, 2 rows × 3 columns, 2 real entries at most\n  in a config:\n    \
         operator = { kind = \"sparse\", path = \"m.mtx\" }\n"
    );
    for ranks in RANKS {
        let ended = on(*ranks, ["info", "v.tsv"]).inside(folder.path()).end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{ended}");
        assert!(
            ended.stderr.contains("npy, npz, cfl (with hdr), tif, tiff, png, jpg, jpeg, h5, hdf5, nxs, csv"),
            "{ended}"
        );
    }
}

#[cfg(feature = "hdf5")]
#[test]
fn info_lists_the_data_sets_of_an_hdf5_file() {
    let Some(data) = common::program::real_data() else {
        println!("skipped: there is no tooth/tooth.h5");
        return;
    };
    let told = on(None, ["info", data.join("tooth/tooth.h5").to_str().unwrap()]).end().expect(0).stdout;
    for part in ["exchange/data: [181, 2, 640] ", "exchange/theta: [181] ", "181 angles", "format = \"data-exchange\""]
    {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
}

#[test]
fn arrays_are_converted_and_named_by_jobs_in_any_format() {
    let Dense { folder, .. } = Dense::<f64>::new();
    let run = |arguments: &[&str]| on(None, arguments).inside(folder.path()).end();
    let x = |ended: common::program::Ended| {
        ended.expect(0);
        std::fs::read(folder.path().join("out/x.npy")).unwrap()
    };
    let plain = x(run(&["run", "job.toml", "--data-dir", "data", "--out", "out"]));
    let said = run(&["convert", "data/a.npy", "data/a.tif"]).expect(0).stdout;
    assert_eq!(said, "data/a.tif: (y=5, x=6), float64\n");
    run(&["convert", "data/a.tif", "data/all.npz/matrix"]).expect(0);
    for path in ["a.tif", "all.npz/matrix"] {
        let set = format!("terms.first.operator.path={path}");
        let same = x(run(&["run", "job.toml", "--data-dir", "data", "--out", "out", "--set", &set]));
        assert!(same == plain, "{path}");
    }
    run(&["convert", "data/a.npy", "a.png", "--window", "-1", "1.5"]).expect(0);
    let failed = run(&["convert", "data/a.npy", "a.jpg"]).expect(2);
    assert!(failed.stderr.contains("help: ") && !folder.path().join("a.jpg").exists(), "{failed}");
}
