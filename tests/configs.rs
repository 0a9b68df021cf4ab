//! Every ready job in `configs/` parses, can be planned and runs; the real scan gives the numbers that are known for it, on
//! any number of ranks.

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use program::{numbers, on, real_data, report};
use stackphys::config::{Job, PseudoInverseMode, SolveMethod};

fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    found
}

/// Alone, and as two ranks where there is MPI.
const RANKS: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2)] } else { &[None] };

#[test]
fn every_config_is_read_planned_and_run() {
    for config in configs() {
        let name = config.display().to_string();
        let text = std::fs::read_to_string(&config).unwrap();
        let job = Job::from_toml(&text, &name, &[]).unwrap_or_else(|fault| panic!("{fault:?}"));
        let uses_files = text.contains("path = ");
        let data = match (uses_files, real_data(), cfg!(feature = "hdf5")) {
            (false, ..) => PathBuf::from("no/data"),
            (true, Some(data), true) => data,
            _ => {
                println!("skipped: {name} needs real data and HDF5");
                continue;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let data = data.to_str().unwrap();
        let planned =
            on(None, ["plan", &name, "--ranks", "3", "--data-dir", data]).inside(folder.path()).end().expect(0);
        assert!(planned.stdout.contains(" operators on 3 ranks; x "), "{planned}");
        for ranks in RANKS {
            let formula = matches!(job.solve.method, SolveMethod::Formula(_));
            let few = ["--set", "solve.method.max_iter=3"];
            let arguments = ["run", &name, "--data-dir", data, "--out", "out"];
            let arguments = arguments.into_iter().chain(few.into_iter().filter(|_| !formula));
            let ended = on(*ranks, arguments).inside(folder.path()).end().expect(0);
            let report = report(&folder.path().join("out"));
            assert_eq!(report["ranks"], ranks.unwrap_or(1), "{ended}");
            // no iteration of the whole
            let local = formula || job.solve.pseudo_inverse == PseudoInverseMode::LocalMean;
            assert_eq!(report["iterations"], if local { 0 } else { 3 }, "{ended}");
            assert_eq!(report["scalar"], serde_json::to_value(job.model.scalar).unwrap());
            let residuals = numbers(&report["relative_residual"]);
            assert!(local || (residuals.len() == 4 && residuals[3] < residuals[0]), "{name}: {residuals:?}");
            assert!(report["true_relative_residual"].as_f64().unwrap() < 0.95, "{name}: {ended}");
        }
    }
}

/// Frames of different blurs, with x in 2 × 2 blocks: the strips between blocks are summed, the result is the same.
#[test]
fn a_blur_in_blocks_is_the_blur() {
    let solve = |ranks: Option<usize>, settings: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/multiframe_blur.toml");
        let mut arguments = vec!["run", config.to_str().unwrap()];
        let common = ["model.scalar=f64", "run.summation=ordered", "solve.method.max_iter=8"];
        for setting in common.iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        on(ranks, arguments).inside(folder.path()).end().expect(0);
        let image: ndarray::Array2<f64> = ndarray_npy::read_npy(folder.path().join("out/x.npy")).unwrap();
        (numbers(&report(&folder.path().join("out"))["relative_residual"]), image)
    };
    let (residuals, whole) = solve(None, &[]);
    let blocks = ["blocks.y.parts=2", "blocks.x.edges=[0, 40, 128]"];
    let (in_blocks, alone) = solve(None, &blocks);
    assert_eq!(residuals.len(), 9);
    for (got, want) in in_blocks.iter().zip(&residuals) {
        assert!((got / want - 1.0).abs() < 1e-9, "{in_blocks:?}, not {residuals:?}");
    }
    let largest = whole.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    assert!(alone.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-9 * largest));
    let rank_counts: &[usize] = if cfg!(feature = "mpi") { &[2, 3, 4] } else { &[] };
    for ranks in rank_counts {
        let (_, image) = solve(Some(*ranks), &blocks);
        assert!(image == alone, "{ranks} ranks gave another image than one");
    }
}

/// x of 256³ numbers in four slabs on four ranks against x on one: a quarter of what is not the program itself.
#[test]
#[cfg(feature = "mpi")]
fn slabs_need_a_quarter_of_the_memory() {
    const PROCESS: f64 = 28e6; // the program, MPI, BLAS and fonts, on each rank: `plan` counts the same
    let peaks = |ranks: usize, blocks: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/volume.toml");
        let set = ["solve.method.max_iter=1", "checkpoint.enabled=false"]; // what is planned for a checkpoint is not needed here
        let of_job = [config.to_str().unwrap(), "--set", blocks, "--set", set[0], "--set", set[1]];
        let planned = on(None, ["plan"].iter().chain(&of_job).copied().chain(["--ranks", &ranks.to_string()]));
        let planned = planned.inside(folder.path()).end().expect(0);
        let forecast: Vec<f64> = planned
            .stdout
            .lines()
            .skip_while(|line| !line.contains("peak memory"))
            .filter_map(|line| line.trim_end().strip_suffix(" MB")?.rsplit(' ').next()?.parse().ok())
            .collect();
        assert_eq!(forecast.len(), ranks, "{planned}");
        on(Some(ranks), ["run"].iter().chain(&of_job).copied()).inside(folder.path()).end().expect(0);
        let peaks = numbers(&report(&folder.path().join("out"))["peak_memory_bytes"]);
        for (peak, forecast) in peaks.iter().zip(forecast) {
            assert!((forecast * 1e6 / peak - 1.0).abs() < 0.15, "{blocks}: {peak} bytes, planned {forecast} MB");
        }
        peaks
    };
    let whole = peaks(1, "blocks={}")[0];
    let quarter = 1.15 * (whole - PROCESS) / 4.0 + PROCESS;
    let cut = peaks(4, "blocks={z={parts=4}}");
    assert!(cut.iter().all(|peak| *peak <= quarter), "{cut:?} of {whole}, expected at most {quarter}");
}

/// A ring at the places where real telescopes measured, with their noise.
mod m87 {
    use std::path::Path;

    use ndarray::Array2;
    use ndarray_npy::read_npy;

    use super::*;

    const DAY: &str = "m87/SR1_M87_2017_101_lo_hops_netcal_StokesI.csv";
    const SIZE: usize = 48;
    /// Radians of a pixel: 2 µas.
    const PIXEL: f64 = 2e-6 / 3600.0 * std::f64::consts::PI / 180.0;

    fn data() -> Option<PathBuf> {
        let data = real_data().filter(|data| data.join(DAY).is_file());
        if data.is_none() {
            println!("skipped: there is no {DAY}, neither in STACKPHYS_DATA nor in ../shared/data");
        }
        data
    }

    fn job() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/m87_day.toml")
    }

    fn image(path: &Path) -> Array2<f64> {
        let image: Array2<f64> = read_npy(path).unwrap();
        assert_eq!(image.dim(), (SIZE, SIZE));
        image
    }

    #[test]
    fn the_ring_is_found_with_its_diameter_and_its_bright_side() {
        let Some(data) = data() else { return };
        let rank_counts: &[Option<usize>] = if cfg!(feature = "mpi") { &[None, Some(2), Some(3)] } else { &[None] };
        let mut first = Vec::new();
        for ranks in rank_counts {
            let folder = tempfile::tempdir().unwrap();
            let job = job();
            let arguments = ["run", job.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--out", "out"];
            let ordered = ["--set", "run.summation=ordered"];
            on(*ranks, [&arguments[..], &ordered].concat()).inside(folder.path()).end().expect(0);
            let bytes = std::fs::read(folder.path().join("out/x.npy")).unwrap();
            if first.is_empty() {
                first = bytes.clone();
            }
            assert!(bytes == first, "{ranks:?} ranks gave another image than one");
            let x = image(&folder.path().join("out/x.npy"));
            assert!(x.iter().all(|pixel| *pixel >= 0.0));
            assert!((x.sum() / 0.6 - 1.0).abs() < 0.01, "{} Jy", x.sum());
            // the mean radius of the light, and how much of it is in the south, as parts of the whole
            let shape = |x: &Array2<f64>| {
                let (mut radius, mut south) = (0.0, 0.0);
                for ((row, column), flux) in x.indexed_iter() {
                    let (y, x) = (row as f64 - 24.0, column as f64 - 24.0);
                    radius += flux * y.hypot(x);
                    south += flux * f64::from(row > 24);
                }
                (2.0 * radius / x.sum() * 2.0, south / x.sum())
            };
            let (diameter, south) = shape(&x);
            // of the ring itself 44.9 (its outer half is longer than its inner one) and 0.604
            assert!((diameter - 44.9).abs() < 3.0, "{diameter} µas");
            assert!((south - 0.604).abs() < 0.04, "{south} of the light is in the south");
        }
    }

    /// Against sums over the lines of the table, for natural weights.
    #[test]
    fn dirty_image_and_beam_are_the_defining_sums() {
        let Some(data) = data() else { return };
        let mut lines = Vec::new();
        for line in std::fs::read_to_string(data.join(DAY)).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let number = |at: usize| -> f64 { line.split(',').nth(at).unwrap().parse().unwrap() };
            lines.push([number(3), number(4), number(5), number(6).to_radians(), number(7).powi(-2)]);
        }
        assert_eq!(lines.len(), 7447);
        let folder = tempfile::tempdir().unwrap();
        let (job, set) = (job(), format!("data={{ format = \"eht-csv\", path = \"{DAY}\" }}"));
        let arguments =
            ["dirty", job.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--out", "out", "--set", &set];
        let ranks = if cfg!(feature = "mpi") { Some(2) } else { None };
        on(ranks, arguments).inside(folder.path()).end().expect(0);
        let (dirty, beam) = (image(&folder.path().join("out/dirty.npy")), image(&folder.path().join("out/beam.npy")));
        assert!((beam[[24, 24]] - 1.0).abs() < 1e-12 && beam.iter().all(|value| *value <= 1.0 + 1e-12));
        let sum: f64 = lines.iter().map(|[.., weight]| weight).sum();
        for (row, column) in [(24, 24), (24, 13), (5, 40), (47, 0)] {
            let (l, m) = ((24.0 - column as f64) * PIXEL, (24.0 - row as f64) * PIXEL);
            let (mut of_data, mut of_point) = (0.0, 0.0);
            for [u, v, amplitude, phase, weight] in &lines {
                let turned = std::f64::consts::TAU * (u * l + v * m);
                of_data += weight * amplitude * (phase + turned).cos();
                of_point += weight * turned.cos();
            }
            assert!((dirty[[row, column]] - of_data / sum).abs() < 1e-12, "{row} {column}");
            assert!((beam[[row, column]] - of_point / sum).abs() < 1e-12, "{row} {column}");
        }
        for other in [["--weighting", "uniform"].as_slice(), &["--weighting", "briggs", "--robust", "-0.5"]] {
            on(None, [&arguments[..], other].concat()).inside(folder.path()).end().expect(0);
            let sharper = image(&folder.path().join("out/beam.npy"));
            assert!((sharper[[24, 24]] - 1.0).abs() < 1e-12);
            assert!(sharper[[24, 28]] < beam[[24, 28]] && sharper != beam, "{other:?}");
        }
    }

    #[test]
    fn pixels_that_are_too_large_are_told() {
        let Some(data) = data() else { return };
        let folder = tempfile::tempdir().unwrap();
        let job = job();
        let arguments =
            ["plan", job.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--set", "operator.fov_uas=960"];
        let ended = on(None, arguments).inside(folder.path()).end().expect(0);
        assert!(
            ended.stderr.contains("of 7447 visibilities (") && ended.stderr.contains("make the pixels smaller"),
            "{ended}"
        );
        let fine = on(None, [&arguments[..4]].concat()).inside(folder.path()).end().expect(0);
        assert!(!fine.stderr.contains("pixels"), "{fine}");
    }
}

#[cfg(feature = "hdf5")]
mod tooth {
    use std::path::Path;

    use ndarray::Array2;
    use ndarray_npy::{ReadableElement, read_npy};
    use serde_json::Value as Json;

    use super::*;

    /// Iteration and relative residual with everything in `f64`: `../shared/data/README.md`.
    const KNOWN: [(usize, f64); 7] =
        [(1, 0.511741), (2, 0.192118), (3, 0.134083), (5, 0.055981), (10, 0.017885), (20, 0.004915), (30, 0.004071)];

    const RANKS: &[usize] = if cfg!(feature = "mpi") { &[1, 2, 3, 4] } else { &[1] };

    struct Solved {
        report: Json,
        bytes: Vec<u8>,
        folder: tempfile::TempDir,
    }

    impl Solved {
        fn residuals(&self) -> Vec<f64> {
            numbers(&self.report["relative_residual"])
        }
        fn image<T: ReadableElement + Into<f64> + Copy>(&self) -> Array2<f64> {
            let image: Array2<T> = read_npy(self.folder.path().join("out/x.npy")).unwrap();
            assert_eq!(image.dim(), (640, 640));
            image.mapv(Into::into)
        }
    }

    fn solve(data: &Path, ranks: usize, settings: &[&str]) -> Solved {
        let solved = solve_config("tooth", data, ranks, settings);
        assert_eq!(solved.report["operators"], 12);
        solved
    }

    fn solve_config(name: &str, data: &Path, ranks: usize, settings: &[&str]) -> Solved {
        let folder = tempfile::tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("configs/{name}.toml"));
        let mut arguments = vec!["run", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--out", "out"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let launched = if cfg!(feature = "mpi") { Some(ranks) } else { None };
        on(launched, arguments).inside(folder.path()).end().expect(0);
        let report = report(&folder.path().join("out"));
        assert_eq!(report["ranks"], ranks);
        if settings.contains(&"run.summation=fast") {
            assert_eq!(report["summation"], "fast");
        }
        let bytes = std::fs::read(folder.path().join("out/x.npy")).unwrap();
        Solved { report, bytes, folder }
    }

    /// ‖a − b‖ / ‖b‖.
    fn apart(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        let size = |image: &Array2<f64>| image.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!(size(b) > 0.1);
        size(&(a - b)) / size(b)
    }

    fn data() -> Option<PathBuf> {
        let data = real_data().filter(|data| data.join("tooth/tooth.h5").is_file());
        if data.is_none() {
            println!("skipped: there is no tooth/tooth.h5, neither in STACKPHYS_DATA nor in ../shared/data");
        }
        data
    }

    #[test]
    fn in_double_precision_the_known_residuals_come_out_on_any_ranks() {
        let Some(data) = data() else { return };
        let mut images = Vec::new();
        for ranks in RANKS {
            let solved = solve(&data, *ranks, &["model.scalar=f64", "run.summation=fast", "solve.method.max_iter=30"]);
            let residuals = solved.residuals();
            assert_eq!(residuals.len(), 31);
            assert!((residuals[0] - 1.0).abs() < 1e-12);
            for (iteration, known) in KNOWN {
                let got = residuals[iteration];
                assert!((got / known - 1.0).abs() < 1e-3, "{ranks} ranks, iteration {iteration}: {got}, not {known}");
            }
            let truly = solved.report["true_relative_residual"].as_f64().unwrap();
            assert!((truly / residuals[30] - 1.0).abs() < 1e-3, "{truly}");
            images.push(solved.image::<f64>());
        }
        let image = &images[0];
        let norm = image.iter().map(|value| value * value).sum::<f64>().sqrt();
        let largest = image.iter().copied().fold(0.0, f64::max);
        assert!((norm / 1.41522 - 1.0).abs() < 1e-3, "‖x‖ = {norm}");
        assert!((largest / 0.011360 - 1.0).abs() < 1e-2, "max x = {largest}");
        for (other, ranks) in images.iter().zip(RANKS) {
            // plain CG amplifies the rounding of another summation order about a hundredfold every ten steps
            assert!(apart(other, image) < 1e-4, "{ranks} ranks: {}", apart(other, image));
        }
    }

    #[test]
    fn in_single_precision_the_residuals_are_nearly_as_good() {
        let Some(data) = data() else { return };
        let mut images = Vec::new();
        for ranks in RANKS {
            let solved = solve(&data, *ranks, &["model.scalar=f32", "run.summation=fast", "solve.method.max_iter=30"]);
            let residuals = solved.residuals();
            assert!((residuals[5] / 0.055981 - 1.0).abs() < 5e-3, "{ranks} ranks: {}", residuals[5]);
            for (iteration, most) in [(10, 0.0200), (20, 0.0054), (30, 0.0042)] {
                assert!(residuals[iteration] <= most, "{ranks} ranks, {iteration}: {}", residuals[iteration]);
            }
            images.push(solved.image::<f32>());
        }
        for (other, ranks) in images.iter().zip(RANKS) {
            assert!(apart(other, &images[0]) <= 5e-3, "{ranks} ranks: {}", apart(other, &images[0]));
        }
    }

    #[test]
    fn fast_sums_of_other_rank_counts_are_close_while_rounding_is_not_amplified() {
        let Some(data) = data() else { return };
        let close = |settings: &[&str], read: fn(&Solved) -> Array2<f64>, most: f64| {
            let images: Vec<_> = RANKS.iter().map(|ranks| read(&solve(&data, *ranks, settings))).collect();
            for (other, ranks) in images.iter().zip(RANKS) {
                assert!(apart(other, &images[0]) <= most, "{settings:?} {ranks} ranks: {}", apart(other, &images[0]));
            }
        };
        close(&["model.scalar=f32", "run.summation=fast", "solve.method.max_iter=5"], Solved::image::<f32>, 1e-5);
        close(&["model.scalar=f64", "run.summation=fast", "solve.method.max_iter=20"], Solved::image::<f64>, 1e-8);
    }

    /// Inside of the tooth, which is where the image of conjugate gradients, blurred, is more than half of its mean there.
    #[test]
    fn filtered_back_projection_agrees_with_conjugate_gradients() {
        let Some(data) = data() else { return };
        let cg = solve(&data, 1, &[]).image::<f32>();
        let solved = solve_config("tooth_fbp", &data, 1, &[]);
        assert_eq!(solved.report["iterations"], 0);
        let fbp = solved.image::<f32>();
        let blurred = Array2::from_shape_fn(cg.dim(), |(row, column)| {
            let near = |at: usize| at.saturating_sub(4)..(at + 5).min(640);
            let values = near(row).flat_map(|r| near(column).map(move |c| [r, c])).map(|at| cg[at]);
            values.sum::<f64>() / 81.0
        });
        let threshold = 0.4 * blurred.iter().copied().fold(0.0, f64::max);
        let inside = |image: &Array2<f64>| -> Vec<f64> {
            image.iter().zip(&blurred).filter(|(_, blurred)| **blurred > threshold).map(|(value, _)| *value).collect()
        };
        let (cg, alone) = (inside(&cg), inside(&fbp));
        let size = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let apart: Vec<f64> = cg.iter().zip(&alone).map(|(a, b)| a - b).collect();
        println!("{} pixels inside, apart by {:.4}", cg.len(), size(&apart) / size(&cg));
        assert!(cg.len() > 20_000 && size(&apart) / size(&cg) <= 0.10, "{} {}", cg.len(), size(&apart) / size(&cg));
        for ranks in &RANKS[1..] {
            assert!(solve_config("tooth_fbp", &data, *ranks, &[]).bytes == solved.bytes, "{ranks} ranks");
        }
        // as a start it saves iterations
        let start = ["solve.first_guess={kind=\"fbp\"}", "solve.method.max_iter=2"];
        let residuals = solve(&data, 1, &start).residuals();
        assert!(residuals[0] < 0.2 && residuals[2] < 0.134083, "{residuals:?}");
    }

    #[test]
    fn an_image_in_parts_is_the_image() {
        let Some(data) = data() else { return };
        let settings = ["model.scalar=f64", "solve.method.max_iter=20"];
        let whole = solve(&data, 1, &settings);
        let alone = solve_config("tooth_inplane", &data, 1, &settings);
        for (iteration, (got, want)) in alone.residuals().iter().zip(whole.residuals()).enumerate() {
            // between iterations 13 and 19 plain CG makes 1e-2 of the last bits, cut or not, and then forgets them
            if !(13..20).contains(&iteration) {
                assert!((got / want - 1.0).abs() < 1e-6, "iteration {iteration}: {got}, not {want}");
            }
        }
        assert!(apart(&alone.image::<f64>(), &whole.image::<f64>()) < 1e-6);
        let grid = "ranks.grid={operators=2, domain=2}"; // the fourth time on a grid of ranks
        for ranks in &RANKS[1..] {
            let settings: Vec<&str> = settings.into_iter().chain((*ranks == 4).then_some(grid)).collect();
            let solved = solve_config("tooth_inplane", &data, *ranks, &settings);
            assert!(solved.bytes == alone.bytes, "{ranks} ranks gave other bytes than one");
            if *ranks == 4 {
                let owners: Vec<f64> = numbers(&solved.report["owners"]);
                assert_eq!([owners[0], owners[11], owners[24], owners[47]], [0.0, 2.0, 1.0, 3.0], "{owners:?}");
            }
            assert_eq!(solved.residuals(), alone.residuals(), "{ranks} ranks");
        }
    }

    #[test]
    fn slices_are_solved_by_their_own_ranks_and_no_vector_is_sent() {
        let Some(data) = data() else { return };
        let alone = solve_config("tooth_volume", &data, 1, &[]);
        assert_eq!(alone.report["operators"], 24);
        assert!(alone.residuals()[30] < 0.0045, "{:?}", alone.residuals());
        let image: ndarray::Array3<f32> = read_npy(alone.folder.path().join("out/x.npy")).unwrap();
        assert_eq!(image.dim(), (2, 640, 640));
        for ranks in &RANKS[1..] {
            let solved = solve_config("tooth_volume", &data, *ranks, &[]);
            assert!(solved.bytes == alone.bytes, "{ranks} ranks gave other bytes than one");
            for key in ["true_relative_residual", "true_relative_normal_residual"] {
                assert_eq!(solved.report[key], alone.report[key], "{ranks} ranks, {key}");
            }
            // more than two ranks share slices
            for kind in ["vector_reduction", "exchange", "gather"].iter().take(if *ranks == 2 { 3 } else { 0 }) {
                assert_eq!(solved.report["comm"][kind]["per_iteration"]["calls"], 0.0, "{kind}");
            }
        }
    }

    #[test]
    fn ordered_sums_give_the_same_bytes_on_any_ranks() {
        let Some(data) = data() else { return };
        for scalar in ["model.scalar=f32", "model.scalar=f64"] {
            let solve = |ranks| solve(&data, ranks, &[scalar, "run.summation=ordered", "solve.method.max_iter=30"]);
            let alone = solve(1);
            assert_eq!(alone.report["summation"], "ordered");
            assert!(alone.bytes.len() > 640 * 640 * 4);
            for ranks in &RANKS[1..] {
                let solved = solve(*ranks);
                assert!(solved.bytes == alone.bytes, "{scalar}: {ranks} ranks gave other bytes than one");
                assert_eq!(solved.residuals(), alone.residuals(), "{scalar} {ranks} ranks");
            }
        }
    }
}
