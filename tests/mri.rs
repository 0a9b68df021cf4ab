//! Multi-coil MRI: a real brain (../shared/data/README.md has the numbers that are known for it), and a simulated one whose
//! truth is known.

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use num_complex::Complex;
use program::{numbers, on, real_data, report};
use serde_json::Value as Json;
use stackphys::Shape;
use stackphys::comm::Team;
use stackphys::io::{FilesIn, write_npy};
use stackphys::physics::{AnyPhysics, Files, Setting};
use stackphys::random::Stream;
use stackphys::solver::{Cg, CgParams, Method};
use stackphys::space::Tile;
use stackphys::stack::{Description, FromFn, PlanOptions, Stack};

type C64 = Complex<f64>;

const KSPACE: &str = "brain8/cartesian_ksp.npy";

fn data() -> Option<PathBuf> {
    let data = real_data().filter(|data| data.join(KSPACE).is_file());
    if data.is_none() {
        println!("skipped: there is no {KSPACE}, neither in STACKPHYS_DATA nor in ../shared/data");
    }
    data
}

fn run(name: &str, data: &Path, ranks: usize, settings: &[&str]) -> (Json, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("configs/{name}.toml"));
    let mut arguments = vec!["run", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--out", "out"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    on(cfg!(feature = "mpi").then_some(ranks), arguments).inside(folder.path()).end().expect(0);
    (report(&folder.path().join("out")), folder)
}

#[test]
fn the_brain_has_the_known_residuals_on_any_ranks() {
    let Some(data) = data() else { return };
    let ranks: &[usize] = if cfg!(feature = "mpi") { &[1, 2, 3] } else { &[1] };
    for (scalar, limit) in [("complex_f64", 0.01), ("complex_f32", 0.03)] {
        for ranks in ranks {
            let scalar = format!("model.scalar={scalar}");
            let (report, _folder) = run("brain8_sense", &data, *ranks, &[&scalar, "solve.method.max_iter=30"]);
            assert_eq!(report["operators"], 8);
            let residuals = numbers(&report["relative_residual"]);
            for (iteration, known) in [(1, 0.11158), (5, 0.04413), (10, 0.04044), (20, 0.03861), (30, 0.03797)] {
                let got = residuals[iteration];
                assert!((got / known - 1.0).abs() < limit, "{scalar}, {ranks} ranks, {iteration}: {got}, not {known}");
            }
        }
    }
}

/// Every tenth measured sample outside the middle 24×24 is left out, and predicted from the others.
#[test]
fn samples_that_were_left_out_are_predicted_as_known() {
    let Some(data) = data() else { return };
    let (rows, columns) = (230, 180);
    let model = Shape::new([("y", rows), ("x", columns)]);
    let range = Shape::new([("coil", 8), ("ky", rows), ("kx", columns)]);
    let all =
        FilesIn(data.clone()).read(Path::new(KSPACE), &Tile::whole(&range)).unwrap().into_scalars::<C64>().unwrap();
    let plane = rows * columns;
    let is_middle = |at: usize| (103..127).contains(&(at / columns)) && (78..102).contains(&(at % columns));
    let measured: Vec<usize> = (0..plane).filter(|at| all[*at] != C64::default() && !is_middle(*at)).collect();
    let left_out: Vec<usize> = measured.into_iter().step_by(10).collect();
    assert_eq!(left_out.len(), 458);
    let mut kept = all.clone();
    (0..8).for_each(|coil| left_out.iter().for_each(|at| kept[coil * plane + at] = C64::default()));

    let folder = tempfile::tempdir().unwrap();
    write_npy(&folder.path().join("kept.npy"), &range, &kept).unwrap();
    let files = FilesIn(folder.path().to_owned());
    let setting = Setting::new(&model, &files);
    let build = |mask: &str| {
        let text = format!("kind = 'mri'\nmaps = {{ estimate = 'kept.npy', calibration = 24 }}\n{mask}");
        let params: AnyPhysics = toml::from_str(&text).unwrap();
        assert_eq!(params.range(&setting).unwrap(), range);
        params.build::<C64>(&setting, &Tile::whole(&range)).unwrap()
    };
    let stack = |mask: &'static str| {
        let describe = |_| Ok(Description::new("mri", model.clone(), range.clone()));
        let factory = FromFn::new(1, describe, |_| Ok(build(mask)));
        Stack::<C64>::build(Team::solo(), &factory, PlanOptions::default()).unwrap()
    };
    let (fitted, whole) = (stack("mask = { nonzero = 'kept.npy' }"), stack(""));
    let mut y = fitted.zero_data();
    y.as_mut_slice().copy_from_slice(&kept);
    let mut predicted = whole.zero_data();
    let mut error = |x: &stackphys::space::Vector<C64>| {
        whole.forward(x, &mut predicted).unwrap();
        let (mut missed, mut size) = (0.0, 0.0);
        for at in (0..8).flat_map(|coil| left_out.iter().map(move |at| coil * plane + at)) {
            missed += (predicted.as_slice()[at] - all[at]).norm_sqr();
            size += all[at].norm_sqr();
        }
        (missed / size).sqrt()
    };
    let mut cg = Cg::new(&fitted, &CgParams::default(), &y, None);
    cg.start().unwrap();
    let known = [(1, 0.773), (2, 0.591), (3, 0.505), (5, 0.413), (10, 0.372), (20, 0.482), (30, 0.603)];
    for iteration in 1..=30 {
        cg.step().unwrap();
        if let Some((_, known)) = known.iter().find(|(of, _)| *of == iteration) {
            let got = error(cg.solution());
            assert!((got / known - 1.0).abs() < 0.01, "CG, {iteration}: {got}, not {known}");
        }
    }
    let mut tikhonov = Cg::new(&fitted, &CgParams { damping: 0.01, ..CgParams::default() }, &y, None);
    tikhonov.start().unwrap();
    for _ in 0..60 {
        tikhonov.step().unwrap();
    }
    let got = error(tikhonov.solution());
    assert!((got / 0.364 - 1.0).abs() < 0.01, "Tikhonov: {got}");
}

/// Both kinds of samples together are nearer to the truth than the phantom's own size by far, and any ranks give the same.
#[test]
fn a_simulated_brain_comes_out() {
    let nowhere = Path::new("no/data");
    let (alone, folder) = run("brain_sim", nowhere, 1, &["run.summation=ordered"]);
    assert_eq!(alone["operators"], 16);
    let x: ndarray::Array2<Complex<f32>> = ndarray_npy::read_npy(folder.path().join("out/x.npy")).unwrap();
    let truth = stackphys::io::shepp_logan(&Shape::new([("y", 128), ("x", 128)])).unwrap();
    let size = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let missed = size(
        &mut x.iter().zip(&truth).map(|(x, truth)| (Complex::new(f64::from(x.re), f64::from(x.im)) - truth).norm()),
    );
    let relative = missed / size(&mut truth.iter().copied());
    assert!(relative < 0.1, "{relative}");
    if cfg!(feature = "mpi") {
        let (_, other) = run("brain_sim", nowhere, 3, &["run.summation=ordered"]);
        let bytes = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("out/x.npy")).unwrap();
        assert!(bytes(&other) == bytes(&folder), "3 ranks gave other bytes than one");
    }
}

/// Parameters of every kind that need no files build what their range says, whole and in parts.
#[test]
fn all_trajectories_masks_and_simulated_maps_build() {
    let model = Shape::new([("y", 24), ("x", 20)]);
    let files = FilesIn(PathBuf::from("no/data"));
    let setting = Setting::new(&model, &files);
    for text in [
        "mask = { poisson_disc = 3.0, calibration = 6 }",
        "mask = { variable_density = 3.0, calibration = 6, power = 2.0 }",
        "mask = { equispaced = 3, calibration = 4 }",
        "trajectory = { radial = 7 }",
        "trajectory = { radial = 7, golden = true, samples = 31 }\nnufft = { oversampling = 1.25, accuracy = 1e-4 }",
        "trajectory = { spiral = 3 }\nnufft = { normal = 'composed' }",
    ] {
        let params: AnyPhysics = toml::from_str(&format!("kind = 'mri'\nmaps = {{ birdcage = 5 }}\n{text}")).unwrap();
        let range = params.range(&setting).unwrap();
        let whole = params.build::<C64>(&setting, &Tile::whole(&range)).unwrap();
        assert_eq!((whole.range(), whole.domain()), (&range, &model), "{text}");
        let mut x = vec![C64::default(); model.len()];
        Stream::new(1, 1).fill_normal(0, &mut x);
        let of = |operator: &dyn stackphys::operator::LinearOperator<C64>| {
            let mut y = vec![C64::default(); operator.range().len()];
            operator.apply_forward(&x, &mut y, &mut Default::default()).unwrap();
            y
        };
        let all = of(&*whole);
        for axis in (0..range.dims().len()).filter(|axis| *axis == 0 || range.dims()[*axis].name == "spoke") {
            let part = stackphys::space::Selection { start: 1, step: 2, count: range.dims()[axis].size / 2 };
            let tile = Tile::whole(&range).with(axis, part);
            let got = of(&*params.build::<C64>(&setting, &tile).unwrap());
            assert!(params.needs::<C64>(&setting, &tile).unwrap().bytes > 0);
            let want: Vec<C64> = tile.offsets().map(|at| all[at]).collect();
            assert!(got.iter().zip(&want).all(|(got, want)| (got - want).norm() < 1e-12), "{text}");
        }
    }
}
