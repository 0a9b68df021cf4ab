//! Fan, cone and free geometries: the conventions, the golden numbers of a peer, exact lengths and analytic integrals, the
//! fast way against the plain one, threads, parts and windows; and what filtered back-projection makes of exact measurements.

mod common;

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use common::random;
use ndarray::ArrayD;
use stackphys::io::{FilesIn, shepp_logan, shepp_logan_line_integral};
use stackphys::operator::{Apply, LinearOperator, Work};
use stackphys::physics::ct::{Beam, FbpParams, Filter, Line, Orbit, Projector, RayTransform, Scan, View};
use stackphys::physics::joseph::Instructions;
use stackphys::physics::{AnyPhysics, Detector, ParallelCt, Setting};
use stackphys::space::{Selection, Tile};
use stackphys::{Scalar, Shape};

fn norm<S: Scalar>(values: &[S]) -> f64 {
    values.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt()
}

/// `‖a − b‖ / ‖b‖`.
fn distance<S: Scalar>(a: &[S], b: &[S]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: Vec<S> = a.iter().zip(b).map(|(a, b)| *a - *b).collect();
    norm(&difference) / norm(b)
}

fn forward<S: Scalar>(a: &dyn LinearOperator<S>, x: &[S]) -> Vec<S> {
    let mut y = vec![S::from_parts(f64::NAN, f64::NAN); a.range().len()];
    a.forward(x, &mut y, &mut Work::default()).unwrap();
    y
}
fn adjoint<S: Scalar>(a: &dyn LinearOperator<S>, y: &[S]) -> Vec<S> {
    let mut x = vec![S::from_parts(f64::NAN, f64::NAN); a.domain().len()];
    a.adjoint(y, &mut x, &mut Work::default()).unwrap();
    x
}

fn image(rows: usize, columns: usize) -> Shape {
    Shape::new([("y", rows), ("x", columns)])
}
fn volume(z: usize, y: usize, x: usize) -> Shape {
    Shape::new([("z", z), ("y", y), ("x", x)])
}

/// Views over a full turn, with the source this far away and the detector just as far on the other side.
fn orbit(views: usize, source: Option<f64>, at: [f64; 2], spacing: [f64; 2], arc: bool) -> (Vec<View>, Option<Orbit>) {
    let turn = if source.is_some() { 2.0 * PI } else { PI };
    let angles: Vec<f64> = (0..views).map(|view| turn * view as f64 / views as f64).collect();
    let detector = source.unwrap_or(0.0);
    let views = angles.iter().map(|angle| View::of_orbit(*angle, source, detector, at, spacing, arc)).collect();
    (views, Some(Orbit { angles, source, detector, spacing: spacing[1] }))
}

fn cone(views: usize, source: f64, rows: usize, columns: usize, spacing: f64) -> Scan {
    let at = [(rows as f64 - 1.0) / 2.0, (columns as f64 - 1.0) / 2.0];
    let (views, orbit) = orbit(views, Some(source), at, [spacing; 2], false);
    Scan { views, rows: Some(rows), columns, voxel_size: 1.0, orbit }
}
fn fan(views: usize, source: f64, columns: usize, spacing: f64, arc: bool) -> Scan {
    let (views, orbit) = orbit(views, Some(source), [0.0, (columns as f64 - 1.0) / 2.0], [1.0, spacing], arc);
    Scan { views, rows: None, columns, voxel_size: 1.0, orbit }
}

/// Small scans of all kinds, each with a model whose sizes differ.
fn scans() -> Vec<(&'static str, Shape, Scan)> {
    let leaning = |mut scan: Scan| {
        for view in &mut scan.views {
            view.row = [0.2, -0.1, 1.1];
            view.column[2] = 0.15;
        }
        scan.orbit = None;
        scan
    };
    let along = |mut scan: Scan| {
        for view in &mut scan.views {
            let Beam::Source([x, y, _]) = view.beam else { unreachable!() };
            view.beam = Beam::Along([-x, -y, 7.0]);
        }
        scan
    };
    vec![
        ("fan", image(17, 22), fan(7, 60.0, 31, 1.7, false)),
        ("arc", image(17, 22), fan(7, 60.0, 31, 1.7, true)),
        ("cone", volume(9, 17, 22), cone(7, 60.0, 13, 31, 1.7)),
        ("cone, fine rows", volume(9, 17, 22), cone(5, 60.0, 29, 25, 1.1)),
        ("cone, coarse rows", volume(40, 17, 12), cone(5, 90.0, 9, 25, 7.9)),
        ("cone, leaning panel", volume(9, 17, 22), leaning(cone(5, 60.0, 13, 31, 1.7))),
        ("parallel, leaning panel", volume(9, 17, 22), along(leaning(cone(5, 60.0, 13, 31, 1.0)))),
        ("cone, steep", volume(41, 9, 8), cone(5, 30.0, 45, 11, 2.0)),
    ]
}

#[test]
fn a_point_falls_where_the_convention_says() {
    // one voxel off the middle: right of it (x = +5), above it (y = +3), and two slices up (z = +2)
    let model = volume(9, 15, 21);
    let mut x = vec![0.0; model.len()];
    x[((4 + 2) * 15 + (7 - 3)) * 21 + 10 + 5] = 1.0;
    let (source, rows, columns) = (80.0, 31, 61);
    for (angle, want) in [
        // at angle 0 the source is below, columns grow with x; the point is 83 of the way of 160 from the source
        (0.0, [2.0 * 160.0 / 83.0, 5.0 * 160.0 / 83.0]),
        // at 90° the source is right, columns grow with y, the point is 80 − 5 from the source
        (PI / 2.0, [2.0 * 160.0 / 75.0, 3.0 * 160.0 / 75.0]),
    ] {
        let view = View::of_orbit(angle, Some(source), source, [15.0, 30.0], [1.0; 2], false);
        let scan = Scan { views: vec![view], rows: Some(rows), columns, voxel_size: 1.0, orbit: None };
        for projector in [Projector::Joseph, Projector::Siddon] {
            let y = forward(&RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), projector).unwrap(), &x);
            let sum: f64 = y.iter().sum();
            let middle = |place: fn(usize, usize) -> usize| -> f64 {
                y.iter().enumerate().map(|(at, value)| place(at, 61) as f64 * value).sum::<f64>() / sum
            };
            let got = [middle(|at, columns| at / columns) - 15.0, middle(|at, columns| at % columns) - 30.0];
            // an exact length is that of a ray, and says no more of where it passes the voxel
            let tolerance = if projector == Projector::Siddon { 0.5 } else { 0.15 };
            for (got, want) in got.into_iter().zip(want) {
                assert!((got - want).abs() < tolerance, "{angle} {projector:?}: {got}, not {want}");
            }
        }
    }
    // the same for a fan, and for a detector that is shifted by 7 columns
    let mut x = vec![0.0; 15 * 21];
    x[(7 - 3) * 21 + 10 + 5] = 1.0;
    for arc in [false, true] {
        let view = View::of_orbit(0.0, Some(source), source, [0.0, 37.0], [1.0; 2], arc);
        let scan = Scan { views: vec![view], rows: None, columns, voxel_size: 1.0, orbit: None };
        let y = forward(&RayTransform::<f64>::new(&Tile::whole(&image(15, 21)), scan, Projector::Joseph).unwrap(), &x);
        let got = y.iter().enumerate().map(|(at, value)| at as f64 * value).sum::<f64>() / y.iter().sum::<f64>() - 37.0;
        let want = if arc { 160.0 * (5.0f64 / 83.0).atan() } else { 5.0 * 160.0 / 83.0 };
        assert!((got - want).abs() < 0.1, "{arc}: {got}, not {want}");
    }
}

/// Joseph's sums by their definition, with weights from distances, nothing of the library's walk.
#[test]
fn it_is_josephs_method_in_all_geometries() {
    for (name, model, scan) in scans() {
        let x = random::<f64>(model.len(), 5);
        let sizes: Vec<usize> = model.sizes().into_iter().rev().chain([1]).take(3).collect();
        let whole = RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), Projector::Joseph).unwrap();
        let got = forward(&whole, &x);
        let tile = Tile::whole(whole.range());
        let want: Vec<f64> = scan
            .rays(&tile)
            .map(|Line { origin, direction }| {
                let (nx, ny) = (sizes[0], sizes[1]);
                let middle: Vec<f64> = sizes.iter().map(|n| (*n as f64 - 1.0) / 2.0).collect();
                let main = (0..3)
                    .fold(1, |best, axis| if direction[axis].abs() > direction[best].abs() { axis } else { best });
                let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt() / direction[main].abs();
                let mut sum = 0.0;
                for (at, value) in x.iter().enumerate() {
                    let voxel = [at % nx, at / nx % ny, at / nx / ny].map(|index| index as f64);
                    let place = [voxel[0] - middle[0], middle[1] - voxel[1], voxel[2] - middle[2]];
                    let way = (place[main] - origin[main]) / direction[main];
                    let mut weight = length;
                    for axis in (0..3).filter(|axis| *axis != main && (*axis < 2 || model.dims().len() == 3)) {
                        weight *= (1.0 - (origin[axis] + way * direction[axis] - place[axis]).abs()).max(0.0);
                    }
                    sum += weight * value;
                }
                sum
            })
            .collect();
        assert!(distance(&got, &want) < 1e-11, "{name}: {}", distance(&got, &want));
    }
}

/// Exact lengths: the integral of a function that is constant in each voxel, by where the ray enters and leaves each.
#[test]
fn it_is_the_exact_length_in_each_voxel() {
    for (name, model, scan) in scans() {
        let sizes: Vec<usize> = model.sizes().into_iter().rev().chain([1]).take(3).collect();
        let x = random::<f64>(model.len(), 5);
        let a = RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), Projector::Siddon).unwrap();
        let tile = Tile::whole(a.range());
        let want: Vec<f64> = scan
            .rays(&tile)
            .map(|Line { origin, direction }| {
                let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
                let inside = |at: usize| {
                    let voxel = [at % sizes[0], at / sizes[0] % sizes[1], at / sizes[0] / sizes[1]];
                    let mut ends = [f64::NEG_INFINITY, f64::INFINITY];
                    for axis in 0..3 {
                        let sign = if axis == 1 { -1.0 } else { 1.0 };
                        let middle = sign * (voxel[axis] as f64 - (sizes[axis] as f64 - 1.0) / 2.0);
                        if direction[axis] != 0.0 {
                            let [a, b] = [-0.5, 0.5].map(|half| (middle + half - origin[axis]) / direction[axis]);
                            ends = [ends[0].max(a.min(b)), ends[1].min(a.max(b))];
                        } else if !(-0.5..0.5).contains(&(sign * (origin[axis] - middle))) {
                            return 0.0; // along a face it is in the voxel behind it
                        }
                    }
                    (ends[1] - ends[0]).max(0.0) * length
                };
                x.iter().enumerate().map(|(at, value)| inside(at) * value).sum()
            })
            .collect();
        assert!(distance(&forward(&a, &x), &want) < 1e-11, "{name}: {}", distance(&forward(&a, &x), &want));
    }
}

#[test]
fn the_adjoint_is_the_adjoint() {
    fn check<S: Scalar>(tolerance: f64) {
        for (name, model, scan) in scans() {
            for projector in [Projector::Joseph, Projector::Siddon] {
                let a = RayTransform::<S>::new(&Tile::whole(&model), scan.clone(), projector).unwrap();
                let (x, y) = (random::<S>(a.domain().len(), 1), random::<S>(a.range().len(), 2));
                let (ax, aty) = (forward(&a, &x), adjoint(&a, &y));
                let inner = |a: &[S], b: &[S]| a.iter().zip(b).map(|(a, b)| (a.conj() * *b).re()).sum::<f64>();
                let ratio = (inner(&y, &ax) - inner(&aty, &x)).abs() / (norm(&ax) * norm(&y));
                assert!(ratio < tolerance, "{name} {projector:?} {}: {ratio}", S::NAME);
            }
        }
    }
    common::each_scalar!(within);
    fn within<S: Scalar>() {
        check::<S>(if S::NAME.ends_with("f64") { 1e-13 } else { 1e-6 });
    }
}

/// Whole detector columns at once, on each instruction set, against ray by ray.
#[test]
fn columns_at_once_are_rays_one_by_one() {
    fn check<S: Scalar>() {
        let tolerance = if S::NAME.ends_with("f64") { 1e-13 } else { 2e-6 };
        let mut used = 0;
        for (name, model, scan) in scans().into_iter().filter(|(name, ..)| name.starts_with("cone")) {
            let rows = Selection { start: 1, step: 2, count: (scan.rows.unwrap() - 1) / 2 };
            let on = |set| {
                RayTransform::<S>::with_instructions(&Tile::whole(&model), scan.clone(), rows, Projector::Joseph, set)
                    .unwrap()
            };
            let plain = on(Instructions::Plain);
            let (x, y) = (random::<S>(plain.domain().len(), 1), random::<S>(plain.range().len(), 2));
            for set in Instructions::ALL.into_iter().filter(|set| set.supported() && *set != Instructions::Plain) {
                let fast = on(set);
                used += usize::from(fast.by_columns());
                let (there, back) = (
                    distance(&forward(&fast, &x), &forward(&plain, &x)),
                    distance(&adjoint(&fast, &y), &adjoint(&plain, &y)),
                );
                assert!(there < tolerance && back < tolerance, "{name} {set} {}: {there} {back}", S::NAME);
            }
        }
        assert!(used > 0 || Instructions::detect() == Instructions::Plain);
    }
    common::each_scalar!(check);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (name, model, scan) in scans() {
        let a = RayTransform::<f32>::new(&Tile::whole(&model), scan, Projector::Joseph).unwrap();
        let (x, y) = (random::<f32>(a.domain().len(), 1), random::<f32>(a.range().len(), 2));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (forward(&a, &x), adjoint(&a, &y)))
        };
        let alone = on(1);
        for threads in 2..5 {
            assert!(on(threads) == alone, "{name}: {threads} threads");
        }
    }
}

/// A volume in blocks: the projections of the blocks add up, the back-projections are parts.
#[test]
fn windows_add_up_to_the_model() {
    for (name, model, scan) in scans() {
        for projector in [Projector::Joseph, Projector::Siddon] {
            let whole = RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), projector).unwrap();
            let (x, y) = (random::<f64>(model.len(), 1), random::<f64>(whole.range().len(), 2));
            let (ax, aty) = (forward(&whole, &x), adjoint(&whole, &y));
            let mut sum = vec![0.0; ax.len()];
            let mut windows = vec![Tile::whole(&model)];
            for (axis, dim) in model.dims().iter().enumerate() {
                let cut = dim.size / 3;
                windows = windows
                    .into_iter()
                    .flat_map(|window| {
                        [(0, cut), (cut, dim.size - cut)]
                            .map(|(start, count)| window.clone().with(axis, Selection { start, step: 1, count }))
                    })
                    .collect();
            }
            for window in windows {
                let a = RayTransform::<f64>::new(&window, scan.clone(), projector).unwrap();
                let part: Vec<f64> = window.offsets().map(|at| x[at]).collect();
                sum.iter_mut().zip(forward(&a, &part)).for_each(|(sum, y)| *sum += y);
                let want: Vec<f64> = window.offsets().map(|at| aty[at]).collect();
                assert!(distance(&adjoint(&a, &y), &want) < 1e-11, "{name} {projector:?}");
            }
            assert!(distance(&sum, &ax) < 1e-12, "{name} {projector:?}: {}", distance(&sum, &ax));
        }
    }
}

/// Two ways to the same numbers: parallel rays one by one, and the projector that exists for them.
#[test]
fn parallel_rays_are_those_of_parallel_ct() {
    let (model, detector) = (image(17, 22), Detector { columns: 31, center: Some(13.3), spacing: 0.9 });
    let angles: Vec<f64> = (0..11).map(|k| 0.1 + 0.29 * f64::from(k)).collect();
    let views = angles.iter().map(|angle| View::of_orbit(*angle, None, 0.0, [0.0, 13.3], [1.0, 0.9], false)).collect();
    let scan = Scan { views, rows: None, columns: 31, voxel_size: 1.0, orbit: None };
    let x = random::<f64>(model.len(), 4);
    let a = RayTransform::<f64>::new(&Tile::whole(&model), scan, Projector::Joseph).unwrap();
    let b = ParallelCt::<f64>::new(&model, &angles, detector).unwrap();
    assert!(distance(&forward(&a, &x), &forward(&b, &x)) < 1e-12);
}

/// The golden numbers of ASTRA, where they are here.
fn golden(name: &str) -> Option<ArrayD<f32>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let folder = std::env::var_os("STACKPHYS_GOLDEN").map_or(beside, PathBuf::from);
    let file = folder.join(name);
    if !file.is_file() {
        println!("skipped: no {}; set STACKPHYS_GOLDEN to its folder", file.display());
        return None;
    }
    Some(ndarray_npy::read_npy(file).unwrap())
}

fn params(text: &str) -> AnyPhysics {
    toml::from_str(text).unwrap()
}

/// An operator from its table in a config.
fn built<S: Scalar>(text: &str, model: &Shape) -> Box<dyn LinearOperator<S>> {
    let files = FilesIn(PathBuf::new());
    let setting = Setting::new(model, &files);
    let physics = params(text);
    let range = physics.range(&setting).unwrap();
    physics.build::<S>(&setting, &Tile::whole(&range)).unwrap()
}

#[test]
fn a_fan_agrees_with_astra() {
    let (Some(x), Some(want)) = (golden("shepp128.npy"), golden("shepp128_sino_fan_line_180x183.npy")) else { return };
    let table = "kind = 'fan_ct'\nangles_deg = { start = 0, stop = 360, count = 180 }\nsource_to_center = 300\n\
                 center_to_detector = 200\nspacing = 1.5\ncolumns = 183\nprojector = 'siddon'";
    let model = image(128, 128);
    let want: Vec<f32> = want.iter().copied().collect();
    let x: Vec<f32> = x.iter().copied().collect();
    let got = forward(&*built::<f32>(table, &model), &x);
    println!("fan against ASTRA: {:.2e}", distance(&got, &want));
    assert!(distance(&got, &want) < 1e-4, "{}", distance(&got, &want));
    // the same geometry view by view
    let views: Vec<String> = (0..180)
        .map(|view| {
            let (sin, cos) = (2.0 * PI * f64::from(view) / 180.0).sin_cos();
            format!("{:?}", [300.0 * sin, -300.0 * cos, -200.0 * sin, 200.0 * cos, 1.5 * cos, 1.5 * sin])
        })
        .collect();
    let table = format!("kind = 'vector_ct'\nvectors = [{}]\ncolumns = 183\nprojector = 'siddon'", views.join(", "));
    let by_vectors = forward(&*built::<f32>(&table, &model), &x);
    assert!(distance(&by_vectors, &got) < 1e-6, "{}", distance(&by_vectors, &got));
}

/// A phantom whose voxels are means over their extent, along z too.
fn averaged(n: usize) -> Vec<f64> {
    const FINER: usize = 4;
    let fine = shepp_logan(&volume(FINER * n, n, n)).unwrap();
    let slice = n * n;
    (0..n * slice)
        .map(|at| {
            let (z, rest) = (at / slice, at % slice);
            (0..FINER).map(|k| fine[(FINER * z + k) * slice + rest]).sum::<f64>() / FINER as f64
        })
        .collect()
}

/// ‖A x − exact integrals‖ / ‖exact integrals‖ for a cone beam on a grid of n³.
fn analytic_error(n: usize, projector: Projector) -> f64 {
    let scan = cone(4, 2.5 * n as f64, n + n / 2, n + n / 2, 2.0);
    let model = volume(n, n, n);
    let a = RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), projector).unwrap();
    let exact: Vec<f64> =
        scan.rays(&Tile::whole(a.range())).map(|ray| shepp_logan_line_integral(&model, &ray).unwrap()).collect();
    distance(&forward(&a, &averaged(n)), &exact)
}

/// The same for one solid ellipsoid of value 1, as large as the phantom's head, a little off the middle.
fn ellipsoid_error(n: usize, projector: Projector) -> f64 {
    const FINER: usize = 4;
    let scan = cone(4, 2.5 * n as f64, n + n / 2, n + n / 2, 2.0);
    let model = volume(n, n, n);
    let a = RayTransform::<f64>::new(&Tile::whole(&model), scan.clone(), projector).unwrap();
    let half = n as f64 / 2.0;
    let ball = |place: [f64; 3], centre: [f64; 3]| {
        let axes = [0.69, 0.92, 0.81];
        [0, 1, 2].map(|k| (place[k] / half - centre[k]) / axes[k])
    };
    let centre = [0.02, -0.01, 0.03];
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let sub = |at: usize, k: usize| at as f64 + (k as f64 + 0.5) / FINER as f64 - half;
    let mean = |at: usize| {
        let (z, y, x) = (at / n / n, at / n % n, at % n);
        let inside = (0..FINER.pow(3)).filter(|k| {
            let place = [sub(x, k % FINER), -sub(y, k / FINER % FINER), sub(z, k / FINER / FINER)];
            let place = ball(place, centre);
            dot(place, place) <= 1.0
        });
        inside.count() as f64 / FINER.pow(3) as f64
    };
    let image: Vec<f64> = (0..n * n * n).map(mean).collect();
    let chord = |ray: Line| {
        let (o, d) = (ball(ray.origin, centre), ball(ray.direction, [0.0; 3]));
        let rest = dot(o, d).powi(2) - dot(d, d) * (dot(o, o) - 1.0);
        2.0 * rest.max(0.0).sqrt() / dot(d, d) * dot(ray.direction, ray.direction).sqrt()
    };
    let exact: Vec<f64> = scan.rays(&Tile::whole(a.range())).map(chord).collect();
    distance(&forward(&a, &image), &exact)
}

/// The skull of the phantom is 1.8 voxels thick at 128³, which no grid of that size shows well.
#[test]
fn projections_tend_to_the_exact_integrals() {
    for projector in [Projector::Joseph, Projector::Siddon] {
        for (what, error, limit) in [
            ("an ellipsoid", ellipsoid_error as fn(usize, Projector) -> f64, 0.01),
            ("the phantom", analytic_error, 0.045),
        ] {
            let errors = [32, 64, 128].map(|n| error(n, projector));
            println!("{projector:?} against {what} at 32³, 64³, 128³: {errors:.4?}");
            assert!(errors[2] <= limit, "{what} {projector:?}: {errors:?}");
            assert!(errors[1] < 0.75 * errors[0] && errors[2] < 0.75 * errors[1], "{what} {projector:?}: {errors:?}");
        }
    }
}

/// The chord of a disc of value 1 along each ray.
fn disc(radius: f64, centre: [f64; 3], ray: &Line) -> f64 {
    let o: [f64; 3] = std::array::from_fn(|k| ray.origin[k] - centre[k]);
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let square = dot(ray.direction, ray.direction);
    let along = dot(o, ray.direction);
    let rest = along * along / square - dot(o, o) + radius * radius;
    2.0 * rest.max(0.0).sqrt()
}

#[test]
fn a_disc_of_value_one_comes_back_as_one() {
    const N: usize = 96;
    let (radius, centre) = (26.0, [9.0, -5.0, 2.0]);
    let parallel = |rows: Option<usize>| {
        let at = [rows.map_or(0.0, |rows| (rows as f64 - 1.0) / 2.0), 60.3];
        let (views, orbit) = orbit(150, None, at, [1.0, 0.9], false);
        Scan { views, rows, columns: 125, voxel_size: 0.5, orbit }
    };
    let shifted = |mut scan: Scan| {
        scan.views.iter_mut().for_each(|view| view.at[1] += 3.7);
        scan.columns += 8;
        scan
    };
    let cases = [
        ("parallel", image(N, N), parallel(None)),
        ("fan", image(N, N), shifted(fan(240, 200.0, 150, 1.8, false))),
        ("arc", image(N, N), shifted(fan(240, 200.0, 150, 1.8, true))),
        ("cone", volume(48, N, N), shifted(cone(240, 300.0, 80, 140, 1.8))),
    ];
    for (name, model, scan) in cases {
        let flat = model.dims().len() == 2;
        let centre = if flat { [centre[0], centre[1], 0.0] } else { centre };
        let range = match scan.rows {
            None => Shape::new([("angle", scan.views.len()), ("column", scan.columns)]),
            Some(rows) => Shape::new([("angle", scan.views.len()), ("row", rows), ("column", scan.columns)]),
        };
        let (window, tile) = (Tile::whole(&model), Tile::whole(&range));
        let y: Vec<f64> = scan.rays(&tile).map(|ray| scan.voxel_size * disc(radius, centre, &ray)).collect();
        for filter in [Filter::RamLak, Filter::SheppLogan, Filter::Cosine, Filter::Hamming, Filter::Hann] {
            let fbp = FbpParams { filter };
            let mut x = vec![0.0; model.len()];
            fbp.invert_add(&scan, &window, &tile, &y, &mut x).unwrap();
            let mean = |of: &dyn Fn(f64) -> bool| {
                let (mut sum, mut count) = (0.0, 0.0);
                for (at, value) in x.iter().enumerate() {
                    let (column, row, slice) = (at % N, at / N % N, at / N / N);
                    let z = if flat { 0.0 } else { slice as f64 - 23.5 };
                    let place = [column as f64 - 47.5 - centre[0], 47.5 - row as f64 - centre[1], z - centre[2]];
                    // in the slices that the orbit's plane is near to
                    if z.abs() < 6.0 && of(place.iter().map(|p| p * p).sum::<f64>().sqrt()) {
                        (sum, count) = (sum + value, count + 1.0);
                    }
                }
                sum / count
            };
            let (inside, outside) = (mean(&|r| r < radius - 3.0), mean(&|r| r > radius + 3.0 && r < 34.0));
            println!("{name} {filter:?}: inside {inside:.4}, outside {outside:.4}");
            assert!((inside - 1.0).abs() < 0.01 && outside.abs() < 0.01, "{name} {filter:?}: {inside} {outside}");
        }
        // parts of the measurements add up, bit for bit nearly
        let fbp = FbpParams::default();
        let (mut whole, mut sum) = (vec![0.0; model.len()], vec![0.0; model.len()]);
        fbp.invert_add(&scan, &window, &tile, &y, &mut whole).unwrap();
        for start in 0..3 {
            let part = tile.clone().with(0, Selection { start, step: 3, count: scan.views.len() / 3 });
            let y: Vec<f64> = part.offsets().map(|at| y[at]).collect();
            fbp.invert_add(&scan, &window, &part, &y, &mut sum).unwrap();
        }
        assert!(distance(&sum, &whole) < 1e-12, "{name}");
    }
}

#[test]
fn what_cannot_be_inverted_is_refused() {
    let fault = |scan: &Scan| FbpParams::default().check(scan).unwrap_err();
    let mut short = fan(90, 100.0, 31, 1.0, false);
    short.orbit.as_mut().unwrap().angles.iter_mut().for_each(|angle| *angle *= 0.6);
    assert!(fault(&short).text.contains("360°, there is a gap of 14"), "{}", fault(&short).text);
    assert!(fault(&short).hint.unwrap().contains("short scans"));
    let mut free = fan(90, 100.0, 31, 1.0, false);
    free.orbit = None;
    assert!(fault(&free).text.contains("circular orbit"));
}
