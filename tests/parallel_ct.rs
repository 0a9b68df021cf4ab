//! The CT projector is Joseph's, with its exact adjoint: for all kinds of geometry, on every instruction set, with any number
//! of threads, in parts, in volumes and for complex images.

mod common;

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use common::random;
use ndarray::ArrayD;
use num_complex::Complex;
use stackphys::io::FilesIn;
use stackphys::operator::{Apply, LinearOperator, Work};
use stackphys::physics::joseph::Instructions;
use stackphys::physics::{AnyPhysics, Detector, ParallelCt, Setting};
use stackphys::space::{Order, Selection, Tile};
use stackphys::{Scalar, Shape};

fn norm<S: Scalar>(values: &[S]) -> f64 {
    values.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt()
}

/// `‖a − b‖ / ‖b‖`.
fn distance<S: Scalar>(a: &[S], b: &[S]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: Vec<S> = a.iter().zip(b).map(|(a, b)| *a - *b).collect();
    // Where rays a mile apart all miss the image, both are zero.
    norm(&difference) / norm(b).max(1e-300)
}

fn inner<S: Scalar>(a: &[S], b: &[S]) -> Complex<f64> {
    let wide = |value: &S| Complex::new(value.re(), value.im());
    a.iter().zip(b).map(|(a, b)| wide(a).conj() * wide(b)).sum()
}

fn nan<S: Scalar>(len: usize) -> Vec<S> {
    vec![S::from_parts(f64::NAN, f64::NAN); len]
}

fn forward<S: Scalar>(a: &ParallelCt<S>, x: &[S]) -> Vec<S> {
    let mut y = nan(a.range().len());
    a.forward(x, &mut y, &mut Work::default()).unwrap();
    y
}

fn adjoint<S: Scalar>(a: &ParallelCt<S>, y: &[S]) -> Vec<S> {
    let mut x = nan(a.domain().len());
    a.adjoint(y, &mut x, &mut Work::default()).unwrap();
    x
}

/// `|⟨A x, y⟩ − ⟨x, Aᴴ y⟩| / (‖A x‖ ‖y‖)`.
fn dot_ratio<S: Scalar>(a: &ParallelCt<S>) -> f64 {
    let x = random::<S>(a.domain().len(), 1);
    let y = random::<S>(a.range().len(), 2);
    let (ax, ahy) = (forward(a, &x), adjoint(a, &y));
    (inner(&ax, &y) - inner(&x, &ahy)).norm() / (norm(&ax) * norm(&y)).max(1e-300)
}

fn sets() -> impl Iterator<Item = Instructions> {
    Instructions::ALL.into_iter().filter(|set| set.supported())
}

fn image(rows: usize, columns: usize) -> Shape {
    Shape::new([("y", rows), ("x", columns)])
}

/// Multiples of 45°, angles beside them, negative ones and such above a full turn.
fn angles() -> Vec<f64> {
    let mut degrees: Vec<f64> = (0..9).map(|i| 45.0 * i as f64).collect();
    degrees.extend([0.01, 44.9, 45.1, 89.99, 90.001, 137.3, 212.0, 305.7, -17.0, -90.0, -271.5, 400.0, 765.0]);
    degrees.extend((0..40).map(|i| 4.517 * i as f64)); // more than a chunk
    degrees.into_iter().map(f64::to_radians).collect()
}

/// Geometries of all kinds: size, columns, centre, spacing.
fn geometries() -> Vec<(Shape, Detector)> {
    let mut all = Vec::new();
    for (rows, columns, detectors) in [(1, 1, 1), (7, 5, 9), (16, 16, 23), (33, 47, 60), (64, 40, 30), (90, 131, 170)] {
        for spacing in [0.05, 0.4, 0.7, 1.0, 1.3, 3.7, 40.0] {
            let last = detectors as f64 - 1.0;
            for center in [None, Some(0.3 * last), Some(last)] {
                all.push((image(rows, columns), Detector { columns: detectors, center, spacing }));
            }
        }
    }
    all
}

#[test]
fn the_adjoint_is_the_adjoint() {
    let (mut worst_single, mut worst_double) = (0.0_f64, 0.0_f64);
    for set in sets() {
        for (model, detector) in geometries() {
            let steep = detector.spacing.max(1.0); // so many times faster do weights change with positions
            let single = ParallelCt::<f32>::new(&model, &angles(), detector).unwrap();
            let double = ParallelCt::<f64>::new(&model, &angles(), detector).unwrap();
            let single = dot_ratio(&single.with_instructions(set).unwrap());
            let double = dot_ratio(&double.with_instructions(set).unwrap());
            assert!(
                single < 1e-6 * steep && double < 1e-14 * steep,
                "{set} {model} {detector:?}: {single:e} {double:e}"
            );
            (worst_single, worst_double) = (worst_single.max(single), worst_double.max(double));
        }
    }
    println!("worst dot ratios: f32 {worst_single:e}, f64 {worst_double:e}");
    for set in sets() {
        let model = Shape::new([("z", 3), ("y", 21), ("x", 18)]);
        let single = ParallelCt::<Complex<f32>>::new(&model, &angles(), Detector::new(25)).unwrap();
        let double = ParallelCt::<Complex<f64>>::new(&model, &angles(), Detector::new(25)).unwrap();
        assert!(dot_ratio(&single.with_instructions(set).unwrap()) < 1e-6);
        assert!(dot_ratio(&double.with_instructions(set).unwrap()) < 1e-14);
    }
}

#[test]
fn the_adjoint_is_the_adjoint_at_full_size() {
    let turn: Vec<f64> = (0..720).map(|i| i as f64 * PI / 720.0).collect();
    let single = ParallelCt::<f32>::new(&image(512, 512), &turn, Detector::new(724)).unwrap();
    let double = ParallelCt::<f64>::new(&image(512, 512), &turn, Detector::new(724)).unwrap();
    let (single, double) = (dot_ratio(&single), dot_ratio(&double));
    println!("dot ratios at 512×512×720: f32 {single:e}, f64 {double:e}");
    assert!(single < 1e-7 && double < 1e-14);
}

#[test]
fn instruction_sets_agree() {
    fn worst<S: Scalar>(limit: f64) {
        let mut worst = 0.0_f64;
        for (model, detector) in geometries() {
            let plain = ParallelCt::<S>::new(&model, &angles(), detector).unwrap();
            let plain = plain.with_instructions(Instructions::Plain).unwrap();
            let x = random::<S>(plain.domain().len(), 3);
            let y = random::<S>(plain.range().len(), 4);
            let (ax, ahy) = (forward(&plain, &x), adjoint(&plain, &y));
            // The rounding of positions grows with them, and weights change with positions in proportion to the
            // spacing. Off centre, most rays miss the image, and the same rounding meets smaller sums.
            let scale = detector.spacing.max(detector.spacing.recip());
            let limit = limit * scale * if detector.center.is_some() { 3.0 } else { 1.0 };
            for set in sets() {
                let fast = ParallelCt::<S>::new(&model, &angles(), detector).unwrap().with_instructions(set).unwrap();
                let differ = distance(&forward(&fast, &x), &ax).max(distance(&adjoint(&fast, &y), &ahy));
                assert!(differ <= limit, "{set} {model} {detector:?}: {differ:e}");
                worst = worst.max(differ);
            }
        }
        println!("{}: instruction sets differ by {worst:e}", S::NAME);
    }
    worst::<f32>(1e-6);
    worst::<f64>(3e-14); // a position of 200 samples is rounded by that much
    if let Some(missing) = Instructions::ALL.into_iter().find(|set| !set.supported()) {
        let a = ParallelCt::<f32>::new(&image(2, 2), &[0.0], Detector::new(2)).unwrap();
        assert!(a.with_instructions(missing).err().unwrap().text.contains("that this machine has"));
    }
}

/// A dense matrix from the textbook's rule, written without any of the code above.
#[test]
fn it_is_josephs_method() {
    let (rows, columns) = (6, 9);
    let detector = Detector { columns: 13, center: Some(5.3), spacing: 0.9 };
    let angles = angles();
    let a = ParallelCt::<f64>::new(&image(rows, columns), &angles, detector).unwrap();
    let x = random::<f64>(rows * columns, 5);
    let pixel = |row: f64, column: f64| {
        let inside = row >= 0.0 && row < rows as f64 && column >= 0.0 && column < columns as f64;
        if inside { x[row as usize * columns + column as usize] } else { 0.0 }
    };
    let mut want = Vec::new();
    for angle in &angles {
        let (sin, cos) = angle.sin_cos();
        for k in 0..detector.columns {
            let s = (k as f64 - 5.3) * 0.9;
            let mut sum = 0.0;
            if sin.abs() <= cos.abs() {
                for row in 0..rows {
                    let y = (rows as f64 - 1.0) / 2.0 - row as f64;
                    let column = (s - y * sin) / cos + (columns as f64 - 1.0) / 2.0;
                    let (left, row) = (column.floor(), row as f64);
                    sum += (1.0 - (column - left)) * pixel(row, left) + (column - left) * pixel(row, left + 1.0);
                }
                want.push(sum / cos.abs());
            } else {
                for column in 0..columns {
                    let x = column as f64 - (columns as f64 - 1.0) / 2.0;
                    let row = (rows as f64 - 1.0) / 2.0 - (s - x * cos) / sin;
                    let (upper, column) = (row.floor(), column as f64);
                    sum += (1.0 - (row - upper)) * pixel(upper, column) + (row - upper) * pixel(upper + 1.0, column);
                }
                want.push(sum / sin.abs());
            }
        }
    }
    assert!(distance(&forward(&a, &x), &want) < 1e-14);
}

fn golden(name: &str) -> Option<ArrayD<f32>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let folder = std::env::var_os("STACKPHYS_GOLDEN").map_or(beside, PathBuf::from);
    ndarray_npy::read_npy(folder.join(name)).ok()
}

#[test]
fn it_agrees_with_astra() {
    let (Some(phantom), Some(sinogram)) = (golden("shepp128.npy"), golden("shepp128_sino_linear_90x183.npy")) else {
        println!("skipped: no golden files; set STACKPHYS_GOLDEN to their folder");
        return;
    };
    let turn: Vec<f64> = (0..90).map(|i| i as f64 * PI / 90.0).collect();
    let want = sinogram.as_slice().unwrap();
    for set in sets() {
        let a = ParallelCt::<f32>::new(&image(128, 128), &turn, Detector::new(183)).unwrap();
        let got = forward(&a.with_instructions(set).unwrap(), phantom.as_slice().unwrap());
        let differ = distance(&got, want);
        println!("{set}: differs from ASTRA by {differ:e}"); // 1.2e-5 even for Joseph's rule in f64: ASTRA's rounding
        assert!(differ < 2e-5, "{set}: {differ:e}");
    }
}

#[test]
fn a_disc_projects_to_chords_and_mass_is_kept() {
    let (size, radius, spacing) = (200, 60.0, 0.8);
    let disc: Vec<f64> = (0..size * size)
        .map(|i| {
            let (y, x) = ((i / size) as f64 - 99.5 + 7.0, (i % size) as f64 - 99.5 - 12.0);
            if x * x + y * y <= radius * radius { 1.0 } else { 0.0 }
        })
        .collect();
    let mass: f64 = disc.iter().sum();
    let turn: Vec<f64> = (0..24).map(|i| i as f64 * PI / 12.0 + 0.1).collect();
    let detector = Detector { columns: 400, center: Some(190.0), spacing };
    let a = ParallelCt::<f64>::new(&image(size, size), &turn, detector).unwrap();
    let y = forward(&a, &disc);
    for (angle, row) in turn.iter().zip(y.chunks(400)) {
        let kept = row.iter().sum::<f64>() * spacing;
        assert!((kept / mass - 1.0).abs() < 0.01, "angle {angle}: mass {kept}, image {mass}");
        // The disc is 12 to the right and 7 up.
        let middle = 12.0 * angle.cos() + 7.0 * angle.sin();
        for (k, value) in row.iter().enumerate() {
            let s = (k as f64 - 190.0) * spacing - middle;
            let chord = 2.0 * (radius * radius - s * s).max(0.0).sqrt();
            if s.abs() < 50.0 {
                assert!((value / chord - 1.0).abs() < 0.05, "angle {angle}, column {k}: {value}, chord {chord}");
            } else if s.abs() > radius + 2.0 {
                assert_eq!(*value, 0.0);
            }
        }
    }
}

fn params(text: &str) -> AnyPhysics {
    toml::from_str(&format!("kind = \"parallel_ct\"\n{text}")).unwrap()
}

#[test]
fn parts_are_rows_of_the_whole_bit_for_bit() {
    let model = image(70, 54);
    let files = FilesIn(PathBuf::new());
    let setting = Setting::new(&model, &files);
    let params = params("angles_deg = { start = -20, stop = 200, count = 75 }\ncolumns = 81\ncenter = 38.5");
    let range = params.range(&setting).unwrap();
    assert_eq!(range, Shape::new([("angle", 75), ("column", 81)]));
    let x = random::<f32>(model.len(), 6);
    let mut work = Work::default();
    let mut whole = nan::<f32>(range.len());
    let all = params.build::<f32>(&setting, &Tile::whole(&range)).unwrap();
    all.forward(&x, &mut whole, &mut work).unwrap();
    for order in [Order::Interleaved, Order::Contiguous] {
        for part in 0..4 {
            let tile = Tile::whole(&range).with(0, Selection::part(75, part, 4, order));
            let operator = params.build::<f32>(&setting, &tile).unwrap();
            let mut got = nan::<f32>(tile.shape().len());
            operator.forward(&x, &mut got, &mut work).unwrap();
            let want: Vec<f32> = tile.offsets().map(|at| whole[at]).collect();
            assert_eq!(*operator.range(), tile.shape());
            assert!(got == want);
            let needs = params.needs::<f32>(&setting, &tile).unwrap();
            assert_eq!(needs.bytes, 72 * tile.shape().sizes()[0] as u64);
            assert!(needs.cost > 0.0 && needs.scratch_bytes > 0);
        }
    }
    let nothing = Tile::whole(&range).with(0, Selection { start: 0, step: 1, count: 0 });
    let operator = params.build::<f32>(&setting, &nothing).unwrap();
    let mut image = nan::<f32>(model.len());
    operator.adjoint(&[], &mut image, &mut work).unwrap();
    assert!(image.iter().all(|value| *value == 0.0));
}

/// The projections of windows add up to those of the image; the adjoint of a window is the window of the adjoint.
#[test]
fn windows_add_up_to_the_image() {
    fn check<S: Scalar>(tolerance: f64) {
        let model = Shape::new([("z", 2), ("y", 41), ("x", 36)]);
        let detector = Detector { columns: 61, center: Some(27.5), spacing: 0.9 };
        let turn: Vec<f64> = (0..25).map(|i| f64::from(i) * 0.26 - 0.3).collect();
        let whole = ParallelCt::<S>::new(&model, &turn, detector).unwrap();
        let (x, y) = (random::<S>(model.len(), 6), random::<S>(whole.range().len(), 7));
        let (want, back) = (forward(&whole, &x), adjoint(&whole, &y));
        let mut sum = vec![S::default(); want.len()];
        let run = |start, count| Selection { start, step: 1, count };
        for rows in [run(0, 17), run(17, 1), run(18, 23)] {
            for columns in [run(0, 9), run(9, 27)] {
                let window = Tile::whole(&model).with(1, rows).with(2, columns);
                let part = ParallelCt::<S>::on_window(&window, &turn, detector).unwrap();
                assert_eq!(*part.domain(), window.shape());
                let here: Vec<S> = window.offsets().map(|at| x[at]).collect();
                sum.iter_mut().zip(forward(&part, &here)).for_each(|(sum, term)| *sum += term);
                let want: Vec<S> = window.offsets().map(|at| back[at]).collect();
                assert!(distance(&adjoint(&part, &y), &want) < tolerance);
            }
        }
        assert!(distance(&sum, &want) < tolerance);
    }
    check::<f32>(1e-5);
    check::<f64>(1e-12);
    check::<Complex<f64>>(1e-12);
    let every_second = Tile::whole(&image(4, 4)).with(0, Selection { start: 0, step: 2, count: 2 });
    let fault = ParallelCt::<f64>::on_window(&every_second, &[0.1], Detector::new(5)).err().unwrap();
    assert!(fault.text.contains("expected neighbouring samples"), "{}", fault.text);
}

#[test]
fn volumes_are_slices_and_complex_numbers_are_parts_bit_for_bit() {
    let detector = Detector { columns: 50, center: Some(20.0), spacing: 0.9 };
    let volume = Shape::new([("z", 3), ("y", 40), ("x", 35)]);
    let whole = ParallelCt::<f32>::new(&volume, &angles(), detector).unwrap();
    let slice = ParallelCt::<f32>::new(&image(40, 35), &angles(), detector).unwrap();
    let x = random::<f32>(volume.len(), 7);
    let y = random::<f32>(whole.range().len(), 8);
    let (ax, ahy) = (forward(&whole, &x), adjoint(&whole, &y));
    for z in 0..3 {
        let x = &x[z * 1400..][..1400];
        let row = |y: &[f32]| -> Vec<f32> { y.chunks(150).flat_map(|angle| angle[z * 50..][..50].to_vec()).collect() };
        assert!(row(&ax) == forward(&slice, x));
        assert!(ahy[z * 1400..][..1400] == adjoint(&slice, &row(&y)));
    }

    let complex = ParallelCt::<Complex<f32>>::new(&volume, &angles(), detector).unwrap();
    let other = random::<f32>(volume.len(), 9);
    let both: Vec<Complex<f32>> = x.iter().zip(&other).map(|(re, im)| Complex::new(*re, *im)).collect();
    let got = forward(&complex, &both);
    assert!(got.iter().map(|value| value.re).eq(ax.iter().copied()));
    assert!(got.iter().map(|value| value.im).eq(forward(&whole, &other)));
    let back = adjoint(&complex, &got);
    assert!(back.iter().map(|value| value.re).eq(adjoint(&whole, &ax)));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let volume = Shape::new([("z", 2), ("y", 75), ("x", 61)]);
    let a = ParallelCt::<Complex<f32>>::new(&volume, &angles(), Detector::new(90)).unwrap();
    let x = random::<Complex<f32>>(volume.len(), 10);
    let all = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = forward(&a, &x);
            let mut normal = x.clone();
            a.normal_add(&x, &mut normal, &mut Work::default()).unwrap();
            (adjoint(&a, &y), y, normal)
        })
    };
    let one = all(1);
    for threads in [2, 3] {
        assert!(one == all(threads), "{threads} threads");
    }
}

#[test]
fn the_normal_operator_is_the_adjoint_of_the_forward() {
    for model in [image(30, 41), Shape::new([("z", 2), ("y", 30), ("x", 41)])] {
        let a = ParallelCt::<f32>::new(&model, &angles(), Detector::new(47)).unwrap();
        let x = random::<f32>(model.len(), 11);
        let start = random::<f32>(model.len(), 12);
        let (mut got, mut want) = (start.clone(), start);
        let mut work = Work::default();
        // Another operator has left its numbers in the scratch.
        let other = ParallelCt::<f32>::new(&image(60, 60), &angles(), Detector::new(90)).unwrap();
        other.normal_add(&random(3600, 13), &mut nan(3600), &mut work).unwrap();
        a.normal_add(&x, &mut got, &mut work).unwrap();
        a.adjoint_add(&forward(&a, &x), &mut want, &mut Work::default()).unwrap();
        assert!(got == want);
    }
}

#[test]
fn structure_and_bound_hold() {
    for (model, detector) in geometries() {
        let a = ParallelCt::<f64>::new(&model, &angles(), detector).unwrap();
        assert!(a.structure().non_negative);
        let mut x = vec![1.0; model.len()];
        let mut estimate = 0.0;
        for _ in 0..20 {
            let next = adjoint(&a, &forward(&a, &x));
            estimate = norm(&next) / norm(&x).max(1e-300);
            x = next.into_iter().map(|value| value / estimate.max(1e-300)).collect();
            assert!(x.iter().all(|value| *value >= 0.0));
        }
        let bound = a.norm_squared_bound().unwrap();
        assert!(estimate <= bound * (1.0 + 1e-12), "{model} {detector:?}: {estimate} > {bound}");
    }
}
