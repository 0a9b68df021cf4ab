//! Fourier transforms against their defining sums: at places on no grid to every accuracy, their normal operators, and with
//! coils. T33 and T34 are rows of the table of behaviours that this program has to show.

#[macro_use]
mod common;

use std::f64::consts::TAU;
use std::sync::Arc;

use common::{places, random};
use num_complex::Complex;
use stackphys::operator::{Apply, LinearOperator, SharedOperator, Work, part_of};
use stackphys::physics::{
    CartesianMri, Fourier, NonCartesianMri, NormalForm, Nufft, NufftAccuracy, ToeplitzNormal, birdcage,
};
use stackphys::space::{Ranges, Tile};
use stackphys::testing::dot_test;
use stackphys::{Scalar, Shape};

type C64 = Complex<f64>;

fn shape(sizes: &[usize]) -> Shape {
    Shape::new(sizes.iter().zip(["z", "y", "x"].iter().skip(3 - sizes.len())).map(|(size, name)| (*name, *size)))
}

fn samples(count: usize) -> Shape {
    Shape::new([("sample", count)])
}

/// exp(∓2πi k·(n − ⌊N/2⌋)) / √N for each element, of a place.
fn waves(sizes: &[usize], place: &[f64], sign: f64) -> Vec<C64> {
    let mut all = vec![C64::from(1.0 / (sizes.iter().product::<usize>() as f64).sqrt())];
    for (size, k) in sizes.iter().zip(place) {
        let along: Vec<C64> =
            (0..*size).map(|n| Complex::from_polar(1.0, sign * TAU * k * (n as f64 - (size / 2) as f64))).collect();
        all = all.iter().flat_map(|slower| along.iter().map(move |wave| slower * wave)).collect();
    }
    all
}

fn wide<S: Scalar>(values: &[S]) -> Vec<C64> {
    values.iter().map(|value| Complex::new(value.re(), value.im())).collect()
}

/// The defining sum, and its adjoint.
fn direct(sizes: &[usize], places: &[f64], x: &[C64]) -> Vec<C64> {
    let at = |place: &[f64]| waves(sizes, place, -1.0).iter().zip(x).map(|(wave, x)| wave * x).sum();
    places.chunks(sizes.len()).map(at).collect()
}
fn direct_adjoint(sizes: &[usize], places: &[f64], y: &[C64]) -> Vec<C64> {
    let mut x = vec![C64::default(); sizes.iter().product()];
    for (place, y) in places.chunks(sizes.len()).zip(y) {
        waves(sizes, place, 1.0).iter().zip(&mut x).for_each(|(wave, x)| *x += wave * y);
    }
    x
}

/// ‖a − b‖ / ‖b‖.
fn apart<S: Scalar>(a: &[S], b: &[C64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = |values: &mut dyn Iterator<Item = C64>| values.map(|value| value.norm_sqr()).sum::<f64>().sqrt();
    size(&mut wide(a).iter().zip(b).map(|(a, b)| a - b)) / size(&mut b.iter().copied())
}

fn forward<S: Scalar>(operator: &dyn LinearOperator<S>, x: &[S]) -> Vec<S> {
    let mut y = vec![S::from_parts(f64::NAN, f64::NAN); operator.range().len()];
    operator.forward(x, &mut y, &mut Work::default()).unwrap();
    y
}
fn adjoint<S: Scalar>(operator: &dyn LinearOperator<S>, y: &[S]) -> Vec<S> {
    let mut x = vec![S::from_parts(f64::NAN, f64::NAN); operator.domain().len()];
    operator.adjoint(y, &mut x, &mut Work::default()).unwrap();
    x
}
fn normal<S: Scalar>(operator: &dyn LinearOperator<S>, x: &[S]) -> Vec<S> {
    let mut out = vec![S::default(); x.len()];
    operator.normal_add(x, &mut out, &mut Work::default()).unwrap();
    out
}

/// Even and odd sizes; more than one tile along some dims, and fewer samples than a kernel has neighbours.
const SIZES: &[&[usize]] = &[&[1500], &[63], &[3], &[50, 37], &[5, 90], &[24, 9, 21], &[1, 40, 1]];

#[test]
fn errors_are_at_or_below_what_was_asked_for_in_every_digit() {
    fn check<S: Scalar>(digits: i32) {
        for sizes in SIZES {
            let (count, len) = (300, sizes.iter().product());
            let mut places = places(count * sizes.len(), 1);
            places[..2].copy_from_slice(&[-0.5, 0.5]); // the ends are samples like others
            let (x, y) = (random::<S>(len, 2), random::<S>(count, 3));
            let (want, want_adjoint) = (direct(sizes, &places, &wide(&x)), direct_adjoint(sizes, &places, &wide(&y)));
            for oversampling in [2.0, 1.25] {
                for digit in 2..=digits {
                    let how = NufftAccuracy { accuracy: 10f64.powi(-digit), oversampling, normal: NormalForm::Auto };
                    let case = format!("{} {sizes:?} 1e-{digit} with {oversampling}", S::NAME);
                    match Nufft::<S>::new(&shape(sizes), samples(count), places.clone(), how) {
                        Ok(nufft) => {
                            let there = apart(&forward(&nufft, &x), &want);
                            let back = apart(&adjoint(&nufft, &y), &want_adjoint);
                            assert!(there <= how.accuracy && back <= how.accuracy, "{case}: {there:e}, {back:e}");
                        }
                        Err(fault) => {
                            let least = if S::NAME.ends_with("f64") { 8 } else { 4 };
                            assert!(oversampling < 2.0 && digit >= least, "{case}: {}", fault.text);
                            assert!(fault.text.contains("`accuracy`: expected at least"), "{case}: {}", fault.text);
                        }
                    }
                }
            }
        }
    }
    check::<Complex<f32>>(6);
    check::<C64>(12);
}

#[test]
fn t33_nufft_of_64_by_64_at_500_places() {
    let (sizes, count) = ([64, 64], 500);
    let places = places(2 * count, 5);
    let (x, y) = (random::<C64>(64 * 64, 6), random::<C64>(count, 7));
    let (want, want_adjoint) = (direct(&sizes, &places, &x), direct_adjoint(&sizes, &places, &y));
    for bound in [1e-3, 1e-5, 2e-7] {
        let how = NufftAccuracy { accuracy: bound, ..NufftAccuracy::default() };
        let nufft = Nufft::<C64>::new(&shape(&sizes), samples(count), places.clone(), how).unwrap();
        assert!(apart(&forward(&nufft, &x), &want) <= bound && apart(&adjoint(&nufft, &y), &want_adjoint) <= bound);
        for seed in 1..4 {
            let test = dot_test(&nufft, seed).unwrap();
            assert!(test.ratio <= 1e-12, "{bound}: {test:?}");
        }
        // cut along coils and samples it is the whole
        let maps = birdcage(&shape(&sizes), 4);
        let mri: SharedOperator<C64> =
            Arc::new(NonCartesianMri::new(&shape(&sizes), maps, samples(count), places.clone(), how).unwrap());
        let whole = forward(&*mri, &x);
        let mut sum = vec![C64::default(); x.len()];
        for coils in [0..1, 1..4] {
            for some in [0..123, 123..500] {
                let ranges = Ranges::new([("coil", coils.clone()), ("sample", some)]);
                let part = part_of(&mri, &ranges).unwrap();
                let of_whole: Vec<C64> = ranges.tile(mri.range()).offsets().map(|at| whole[at]).collect();
                assert!(apart(&forward(&*part, &x), &of_whole) < 1e-13);
                part.adjoint_add(&of_whole, &mut sum, &mut Work::default()).unwrap();
            }
        }
        assert!(apart(&adjoint(&*mri, &whole), &sum) < 1e-13);
    }
}

#[test]
fn t34_toeplitz_normal_of_64_by_64_with_4_coils() {
    let (sizes, count) = ([64, 64], 2000);
    let places = places(2 * count, 8);
    let (x, maps) = (random::<C64>(64 * 64, 9), birdcage(&shape(&sizes), 4));
    let mut want = vec![C64::default(); x.len()];
    for map in maps.chunks(x.len()) {
        let seen: Vec<C64> = map.iter().zip(&x).map(|(map, x)| map * x).collect();
        let back = direct_adjoint(&sizes, &places, &direct(&sizes, &places, &seen));
        want.iter_mut().zip(map.iter().zip(back)).for_each(|(want, (map, back))| *want += map.conj() * back);
    }
    for accuracy in [1e-3, 1e-5, 1e-9] {
        for form in [NormalForm::Auto, NormalForm::Toeplitz, NormalForm::Composed] {
            let how = NufftAccuracy { accuracy, normal: form, ..NufftAccuracy::default() };
            let mri = NonCartesianMri::new(&shape(&sizes), maps.clone(), samples(count), places.clone(), how).unwrap();
            let got = apart(&normal(&mri, &x), &want);
            assert!(got <= accuracy, "{accuracy} {form:?}: {got:e}");
        }
    }
}

/// With weights, in other numbers of dims, in single precision, and under the names of a normal operator.
#[test]
fn toeplitz_operators_are_weighted_sums_there_and_back() {
    fn check<S: Scalar>(accuracy: f64, limit: f64) {
        for sizes in SIZES {
            let (count, len) = (200, sizes.iter().product());
            let places = places(count * sizes.len(), 11);
            let weights: Vec<f64> = (0..count).map(|k| 0.5 + (k % 5) as f64).collect();
            let x = random::<S>(len, 12);
            let mut there = direct(sizes, &places, &wide(&x));
            there.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= weight);
            let want = direct_adjoint(sizes, &places, &there);
            let normal = ToeplitzNormal::<S>::of_samples(&shape(sizes), &places, Some(&weights), accuracy).unwrap();
            let got = apart(&forward(&normal, &x), &want);
            assert!(got <= limit, "{} {sizes:?}: {got:e}", S::NAME);
        }
    }
    check::<C64>(1e-12, 1e-12);
    check::<C64>(1e-4, 1e-4);
    check::<Complex<f32>>(1e-6, 1e-6);
    let shared: SharedOperator<C64> = Arc::new(common::small_nufft::<C64>());
    let merged = stackphys::operator::algebra::normal(&shared);
    assert_eq!(merged.range(), &Shape::new([("y1", 8), ("x1", 5)]));
    let x = random::<C64>(40, 13);
    assert!(apart(&forward(&*merged, &x), &adjoint(&*shared, &forward(&*shared, &x))) < 1e-11);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    fn check<S: Scalar>() {
        for sizes in [&[9000][..], &[130, 71], &[40, 24, 33]] {
            let (count, len) = (5000, sizes.iter().product());
            let how = NufftAccuracy { accuracy: 1e-4, ..NufftAccuracy::default() };
            let places = places(count * sizes.len(), 14);
            let nufft = Nufft::<S>::new(&shape(sizes), samples(count), places, how).unwrap();
            let (x, y) = (random::<S>(len, 15), random::<S>(count, 16));
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| (forward(&nufft, &x), adjoint(&nufft, &y), normal(&nufft, &x)))
            };
            let one = on(1);
            for threads in [2, 3] {
                assert!(one == on(threads), "{} {sizes:?} {threads} threads", S::NAME);
            }
        }
    }
    check::<Complex<f32>>();
    check::<C64>();
}

/// The places of a grid's own frequencies.
fn on_grid(sizes: &[usize]) -> Vec<f64> {
    let frequency = |at: usize, size: usize| (at as f64 - (size / 2) as f64) / size as f64;
    let all = Tile::whole(&shape(sizes));
    let index = |mut offset: usize| {
        let mut place = vec![0.0; sizes.len()];
        for (place, size) in place.iter_mut().zip(sizes).rev() {
            *place = frequency(offset % size, *size);
            offset /= size;
        }
        place
    };
    all.offsets().flat_map(index).collect()
}

#[test]
fn fourier_and_cartesian_mri_are_the_centred_sums() {
    fn check<S: Scalar>(limit: f64) {
        for sizes in [&[7][..], &[8], &[6, 9], &[5, 4], &[3, 4, 5]] {
            let len: usize = sizes.iter().product();
            let model = shape(sizes);
            let names: Vec<&str> = model.names().collect();
            let mask: Vec<bool> = (0..len).map(|k| k % 3 != 1).collect();
            let masked = |y: Vec<C64>| -> Vec<C64> {
                y.into_iter().zip(&mask).map(|(y, taken)| if *taken { y } else { C64::default() }).collect()
            };
            let (x, places) = (random::<S>(len, 17), on_grid(sizes));
            let whole = Fourier::<S>::new(&model, &names, None).unwrap();
            assert!(apart(&forward(&whole, &x), &direct(sizes, &places, &wide(&x))) < limit);
            let part = Fourier::<S>::new(&model, &names, Some(&mask)).unwrap();
            let want = masked(direct(sizes, &places, &wide(&x)));
            assert!(apart(&forward(&part, &x), &want) < limit);
            assert!(apart(&normal(&part, &x), &direct_adjoint(sizes, &places, &want)) < limit);

            let maps = random::<S>(2 * len, 18);
            let mri = CartesianMri::new(&model, maps.clone(), Some(&mask)).unwrap();
            let mut want = Vec::new();
            let mut want_normal = vec![C64::default(); len];
            for map in wide(&maps).chunks(len) {
                let seen: Vec<C64> = map.iter().zip(wide(&x)).map(|(map, x)| map * x).collect();
                let data = masked(direct(sizes, &places, &seen));
                let back = direct_adjoint(sizes, &places, &data);
                want_normal
                    .iter_mut()
                    .zip(map.iter().zip(back))
                    .for_each(|(sum, (map, back))| *sum += map.conj() * back);
                want.extend(data);
            }
            assert!(apart(&forward(&mri, &x), &want) < limit && apart(&normal(&mri, &x), &want_normal) < limit);
        }
    }
    check::<Complex<f32>>(1e-6);
    check::<C64>(1e-14);
}

#[test]
fn the_spectrum_of_a_mask_is_that_of_the_normal_operator() {
    use stackphys::operator::Basis;
    let model = Shape::new([("t", 2), ("y", 4), ("x", 5)]);
    let mask: Vec<bool> = (0..20).map(|k| k % 3 == 0).collect();
    let fourier = Fourier::<C64>::new(&model, &["y", "x"], Some(&mask)).unwrap();
    let spectrum = fourier.normal_spectrum(Basis::Fourier).unwrap();
    // each wave over all dims is an eigenvector
    for wave in [[0, 0, 0], [1, 2, 3], [1, 3, 4], [0, 1, 1]] {
        let sizes = [2, 4, 5];
        let turns = |at: usize| {
            let index = [at / 20, at / 5 % 4, at % 5];
            (0..3).map(|axis| (index[axis] * wave[axis]) as f64 / sizes[axis] as f64).sum::<f64>()
        };
        let x: Vec<C64> = (0..40).map(|at| Complex::from_polar(1.0, TAU * turns(at))).collect();
        let eigenvalue = spectrum[(wave[0] * 4 + wave[1]) * 5 + wave[2]];
        let got = normal(&fourier, &x);
        assert!(got.iter().zip(&x).all(|(got, x)| (got - x * eigenvalue).norm() < 1e-13), "{wave:?}: {eigenvalue}");
    }
    assert!([0.0, 1.0].iter().all(|value| spectrum.contains(value)));
}

#[test]
fn what_cannot_be_is_told() {
    let (image, how) = (shape(&[8, 8]), NufftAccuracy::default());
    let fault = |places: Vec<f64>, how| Nufft::<Complex<f32>>::new(&image, samples(2), places, how).err().unwrap();
    for (places, how, says, hint) in [
        (vec![0.0; 3], how, "expected 4 places", "one place for each sample and dim"),
        (vec![0.0, 0.1, f64::NAN, 0.0], how, "got NaN for dim `y` of sample 1", "correct"),
        (vec![0.0, 3.0, 0.0, 0.0], how, "got 3 for dim `x` of sample 0", "divide places in radians by 2π"),
        (vec![0.0; 4], NufftAccuracy { accuracy: 1e-9, ..how }, "what single precision can hold", "complex_f64"),
        (vec![0.0; 4], NufftAccuracy { oversampling: 1.0, ..how }, "`oversampling`: expected", "2.0 is the usual one"),
        (vec![0.0; 4], NufftAccuracy { accuracy: -1.0, ..how }, "between 0 and 1, got -1", "1e-6"),
    ] {
        let fault = fault(places, how);
        assert!(fault.text.contains(says) && fault.hint.as_ref().unwrap().contains(hint), "{fault:?}");
    }
    assert!(Nufft::<f64>::new(&image, samples(1), vec![0.0; 2], how).err().unwrap().text.contains("a complex model"));
    assert!(Fourier::<f32>::new(&image, &["y"], None).err().unwrap().text.contains("a complex model"));
    assert!(Fourier::<C64>::new(&image, &["y", "t"], None).err().unwrap().text.contains("no dim `t`"));
    assert!(
        CartesianMri::<C64>::new(&image, vec![C64::default(); 65], None).err().unwrap().text.contains("64 numbers")
    );
    let zero = CartesianMri::<C64>::new(&image, vec![C64::default(); 64], Some(&[false; 64])).err().unwrap();
    assert!(zero.text.contains("none of the 64 samples"), "{}", zero.text);
}
