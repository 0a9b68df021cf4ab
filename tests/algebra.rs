//! The algebra of operators over named dims: rows T1 to T10, T13 and T15 of the table of behaviours.

#[macro_use]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::compositions::{all, assert_close, between, matrix_of, named, volume_ct};
use common::{adjoint_of, bytes, random};
use ndarray::{Array2, Axis, concatenate, s};
use num_complex::Complex;
use stackphys::operator::algebra::{Compose, Concat, Scale, Sum, Zero, adjoint, compose, normal, renamed, stacked};
use stackphys::operator::{Apply, Closure, Dims, LinearOperator, Role, SharedOperator, Work};
use stackphys::physics::{Dense, Diagonal, Identity};
use stackphys::testing::{dot_test, structure_test};
use stackphys::{Fault, Scalar, Shape};

fn shape(dims: &[(&str, usize)]) -> Shape {
    Shape::new(dims.iter().copied())
}

fn text<T>(outcome: Result<T, Fault>) -> String {
    outcome.err().expect("a fault").text
}

fn concat<S: Scalar>(concat: Result<Concat<S>, Fault>) -> SharedOperator<S> {
    Arc::new(concat.unwrap())
}

#[test]
fn t1_named_shapes() {
    // (B,N)→(B,M), wide and tall: the normal operator of the tall one is merged
    for (m, n) in [(3, 7), (7, 3)] {
        let a: SharedOperator<f64> = named(&[("B", 2), ("M", m), ("N", n)], &[("B", 2), ("N", n)], &["B", "M"]);
        let h = adjoint(&a);
        assert_eq!((h.domain(), h.range()), (&shape(&[("B", 2), ("M", m)]), &shape(&[("B", 2), ("N", n)])));
        assert!(Arc::ptr_eq(&adjoint(&h), &a));
        let n_of_a = normal(&a);
        assert_eq!((n_of_a.domain(), n_of_a.range()), (a.domain(), &shape(&[("B", 2), ("N1", n)])));
        assert_eq!(["B", "N", "N1"].map(|dim| n_of_a.role(dim).unwrap()), [Role::Batch, Role::In, Role::Out]);
    }
    // the next number that is free
    let a: SharedOperator<f64> = between(("N1", 3), ("N", 2));
    assert_eq!(normal(&a).range(), &shape(&[("N2", 2)]));
    // what is diagonal keeps its names, whatever it is made of
    let d: SharedOperator<f64> = Arc::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 3.0]).unwrap());
    assert_eq!(normal(&d).range(), &shape(&[("x", 3)]));
    // a pair of dims with two names is one dim for the roles
    let ct = volume_ct::<f64>();
    let roles = ["z", "row", "angle", "column", "y", "x"].map(|dim| ct.role(dim).unwrap());
    assert_eq!(roles, [Role::Batch, Role::Batch, Role::Out, Role::Out, Role::In, Role::In]);
    assert_eq!(normal(&ct).range().to_string(), "(z=3, y1=6, x1=7)");
}

#[test]
fn t2_size_and_dims() {
    let chain = compose::<f64>(vec![between(("K", 5), ("N", 4)), between(("M", 6), ("K", 5))]).unwrap();
    assert_eq!(chain.dims(), ["N", "M", "K"]);
    assert_eq!(["N", "K", "M", "Z"].map(|dim| chain.size(dim)), [Some(4), Some(5), Some(6), None]);
    assert_eq!(["N", "K", "M"].map(|dim| chain.role(dim).unwrap()), [Role::In, Role::Inner, Role::Out]);
    let fault = text(chain.role("Z"));
    assert!(fault.contains("Compose: there is no dim `Z`; its dims are `N`, `M`, `K`"), "{fault}");
    // a chain inside another keeps its inner dims; a dim that reaches through is no inner one
    let longer = compose(vec![between(("N", 4), ("L", 2)), chain]).unwrap();
    assert_eq!(longer.dims(), ["L", "M", "N", "K"]);
    let coils = named(&[("C", 3), ("X", 5)], &[("X", 5)], &["C", "X"]);
    let there_and_back = compose::<f64>(vec![coils.clone(), adjoint(&coils)]).unwrap();
    assert_eq!(there_and_back.dims(), ["X", "C"]);
    assert_eq!(["X", "C"].map(|dim| there_and_back.role(dim).unwrap()), [Role::Batch, Role::Inner]);
    // N there and back is a name for two dims
    let dense = between::<f64>(("M", 3), ("N", 4));
    let there_and_back = compose(vec![dense.clone(), adjoint(&dense)]).unwrap();
    let fault = text(there_and_back.role("N"));
    assert!(fault.contains("Compose: `N` stands for two dims"), "{fault}");
    // the dims of y are summed inside the normal operator
    let wide = between::<f64>(("M", 3), ("N", 4));
    assert_eq!((normal(&wide).role("M").unwrap(), normal(&wide).size("M")), (Role::Inner, Some(3)));
}

#[test]
fn t3_input_check() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (there, back) = (calls.clone(), calls.clone());
    let counted: SharedOperator<f64> = Arc::new(Closure::new(
        shape(&[("N", 7)]),
        shape(&[("M", 2)]),
        move |_, y| {
            there.fetch_add(1, Ordering::SeqCst);
            y.fill(0.0);
            Ok(())
        },
        move |_, x| {
            back.fetch_add(1, Ordering::SeqCst);
            x.fill(0.0);
            Ok(())
        },
    ));
    let sum: SharedOperator<f64> = Arc::new(Sum::new(vec![counted.clone(), counted.clone()]).unwrap());
    for (name, operator) in [("Closure", &counted), ("Sum", &sum)] {
        let mut work = Work::default();
        let fault = operator.forward(&[0.0; 8], &mut [0.0; 2], &mut work).unwrap_err();
        let want = format!("{name}: x: expected 7 numbers for (N=7), got 8; dim `N` should be 7, got 8");
        assert_eq!(fault.text, want);
        let fault = operator.adjoint(&[0.0; 3], &mut [0.0; 7], &mut work).unwrap_err();
        assert!(fault.text.contains("y: expected 2 numbers for (M=2), got 3; dim `M` should be 2, got 3"), "{fault:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0, "no member was called");
    // of several dims the one whose size explains the length
    let plane: SharedOperator<f64> = Arc::new(Identity::new(shape(&[("y", 5), ("x", 7)])));
    let fault = plane.forward(&[0.0; 40], &mut [0.0; 35], &mut Work::default()).unwrap_err();
    assert!(
        fault.text.ends_with("expected 35 numbers for (y=5, x=7), got 40; dim `x` should be 7, got 8"),
        "{fault:?}"
    );
}

#[test]
fn t4_chain() {
    fn check<S: Scalar>() {
        let (a, b, c) = (between(("K", 5), ("N", 4)), between(("M", 6), ("K", 5)), between(("P", 3), ("M", 6)));
        let chain = compose::<S>(vec![a.clone(), b.clone(), c.clone()]).unwrap();
        let want = matrix_of(&c).dot(&matrix_of(&b)).dot(&matrix_of(&a));
        assert_close(&matrix_of(&chain), &want, "chain");
        assert_eq!((chain.domain(), chain.range()), (a.domain(), c.range()));
    }
    each_scalar!(check);

    let fault = compose::<f64>(vec![between(("M", 4), ("K", 3)), between(("Q", 2), ("P", 4))]).err().unwrap();
    assert!(fault.text.contains("member 1 (Dense) reads (P=4), but member 0 (Dense) gives (M=4)"), "{fault:?}");
    let (a, b, c) = (between(("M", 4), ("K", 3)), between(("L", 2), ("M", 4)), between(("Q", 2), ("M", 5)));
    let fault = text(compose::<f64>(vec![a.clone(), b, c.clone()]));
    assert!(fault.contains("member 2 (Dense) reads (M=5), but member 1 (Dense) gives (L=2)"), "{fault}");
    let fault = text(compose::<f64>(vec![a, c]));
    assert_eq!(fault, "Compose: conflicting sizes of dim `M`: member 0 (Dense) gives 4, member 1 (Dense) reads 5");
}

/// A real image with complex measurements.
fn complex_of_real() -> SharedOperator<f64, Complex<f64>> {
    let weights: Vec<Complex<f64>> = random(5, 31);
    let other = weights.clone();
    Arc::new(Closure::new(
        shape(&[("x", 5)]),
        shape(&[("k", 5)]),
        move |x: &[f64], y: &mut [Complex<f64>]| {
            y.iter_mut().zip(&weights).enumerate().for_each(|(k, (y, w))| *y = w * (x[k] - x[(k + 1) % 5]));
            Ok(())
        },
        move |y: &[Complex<f64>], x: &mut [f64]| {
            x.fill(0.0);
            for (k, (y, w)) in y.iter().zip(&other).enumerate() {
                let term = (w.conj() * y).re;
                x[k] += term;
                x[(k + 1) % 5] -= term;
            }
            Ok(())
        },
    ))
}

#[test]
fn t4_a_chain_may_go_from_real_to_complex() {
    let factor = Complex::new(0.3, -2.0);
    let first: SharedOperator<f64> = between(("x", 5), ("n", 3));
    let last: SharedOperator<Complex<f64>> = between(("m", 4), ("k", 5));
    let real_then_complex: SharedOperator<f64, Complex<f64>> =
        Arc::new(Compose::new(first, complex_of_real()).unwrap());
    let all: SharedOperator<f64, Complex<f64>> = Arc::new(Compose::new(real_then_complex, last).unwrap());
    let scaled: SharedOperator<f64, Complex<f64>> = Arc::new(Scale::new(factor, all.clone()));
    let sum: SharedOperator<f64, Complex<f64>> = Arc::new(Sum::new(vec![all.clone(), scaled.clone()]).unwrap());
    let both: SharedOperator<f64, Complex<f64>> =
        Arc::new(Concat::vertical(vec![all.clone(), scaled.clone(), sum.clone()], "m").unwrap());
    for operator in [all, scaled, sum, both] {
        for seed in 1..4 {
            assert!(dot_test(&operator, seed).unwrap().passes::<f64>(), "{}", operator.name());
            assert!(dot_test(&adjoint(&operator), seed).unwrap().passes::<f64>(), "{}", operator.name());
            structure_test(&operator, seed).unwrap();
            structure_test(&adjoint(&operator), seed).unwrap();
            structure_test(&normal(&operator), seed).unwrap();
        }
    }
}

#[test]
fn t5_add() {
    fn check<S: Scalar>() {
        let matrices: Vec<Array2<S>> = (0..3).map(|k| common::matrix(5, 5, 40 + k)).collect();
        let dense = |matrix: &Array2<S>| -> SharedOperator<S> {
            Arc::new(Dense::new(shape(&[("x", 5)]), matrix.clone()).unwrap())
        };
        let sum = Sum::new(matrices.iter().map(dense).collect()).unwrap();
        assert_close(&matrix_of(&sum), &(&matrices[0] + &matrices[1] + &matrices[2]), "sum");
        // in the order of the members: 1e16 + 1 − 1e16 is 0, or 1 in another order
        let big = |value: f64| -> SharedOperator<S> {
            Arc::new(Diagonal::new([("x", 1)], vec![S::from_f64(value)]).unwrap())
        };
        let (forward, mut y) = (Sum::new(vec![big(1e16), big(1.0), big(-1e16)]).unwrap(), [S::default()]);
        forward.forward(&[S::from_f64(1.0)], &mut y, &mut Work::default()).unwrap();
        assert_eq!(y, [S::default()]);
        let (other, one) = (Sum::new(vec![big(1e16), big(-1e16), big(1.0)]).unwrap(), [S::from_f64(1.0)]);
        for _ in 0..3 {
            other.forward(&one, &mut y, &mut Work::default()).unwrap();
            assert_eq!(y, one);
        }
    }
    each_scalar!(check);
    let fault = text(Sum::<f64>::new(vec![between(("M", 3), ("N", 2)), between(("K", 3), ("N", 2))]));
    assert!(fault.contains("Sum: range of member 1 (Dense): expected shape (M=3), got (K=3)"), "{fault}");
}

#[test]
fn t6_concat() {
    fn check<S: Scalar>() {
        // P=3, Q=4 and 5
        let (a, b) = (between::<S>(("P", 3), ("Q", 4)), between::<S>(("P", 3), ("Q", 5)));
        let (ma, mb) = (matrix_of(&a), matrix_of(&b));
        let horizontal = concat(Concat::horizontal(vec![a.clone(), b.clone()], "Q"));
        assert_eq!((horizontal.domain(), horizontal.range()), (&shape(&[("Q", 9)]), &shape(&[("P", 3)])));
        let want = concatenate(Axis(1), &[ma.view(), mb.view()]).unwrap();
        assert_close(&matrix_of(&horizontal), &want, "sum of parts");

        let c: SharedOperator<S> = Arc::new(Scale::new(S::from_parts(-2.0, 1.0), a.clone()));
        let vertical = concat(Concat::vertical(vec![a.clone(), c.clone()], "P"));
        assert_eq!((vertical.domain(), vertical.range()), (&shape(&[("Q", 4)]), &shape(&[("P", 6)])));
        let want = concatenate(Axis(0), &[ma.view(), matrix_of(&c).view()]).unwrap();
        assert_close(&matrix_of(&vertical), &want, "joined");

        let diagonal = concat(Concat::diagonal(vec![a, b], "Q", "P"));
        let mut want = Array2::zeros((6, 9));
        want.slice_mut(s![..3, ..4]).assign(&ma);
        want.slice_mut(s![3.., 4..]).assign(&mb);
        assert_close(&matrix_of(&diagonal), &want, "block diagonal");
        assert_eq!(["Q", "P"].map(|dim| diagonal.role(dim).unwrap()), [Role::In, Role::Out]);
        assert_close(&matrix_of(&adjoint(&diagonal)), &adjoint_of(&want), "its adjoint");

        // along a dim that is not the slowest the members' numbers do not lie together
        let member = |q| named::<S>(&[("P", 3), ("Q", q)], &[("A", 2), ("Q", q), ("B", 2)], &["A", "P", "B"]);
        let whole = concat(Concat::horizontal(vec![member(4), member(5)], "Q"));
        let parts = [matrix_of(&member(4)), matrix_of(&member(5))];
        let columns = |k: usize, q: usize| parts[k].to_shape((12, 2, q, 2)).unwrap().to_owned();
        let want = concatenate(Axis(2), &[columns(0, 4).view(), columns(1, 5).view()]).unwrap();
        assert_close(&matrix_of(&whole), &want.to_shape((12, 36)).unwrap().to_owned(), "not the slowest");
    }
    each_scalar!(check);
}

#[test]
fn t7_stack() {
    fn check<S: Scalar>() {
        // P=3, Q=4, two members, new dim at 1
        let (a, b) = (between::<S>(("P", 3), ("Q", 4)), between::<S>(("P", 3), ("Q", 4)));
        let b: SharedOperator<S> = Arc::new(Scale::new(S::from_f64(-2.0), b));
        let (ma, mb) = (matrix_of(&a), matrix_of(&b));
        let vertical = concat(stacked(vec![a.clone(), b.clone()], None, Some(("V", 1))));
        assert_eq!(vertical.range(), &shape(&[("P", 3), ("V", 2)]));
        let got = matrix_of(&vertical).into_shape_with_order((3, 2, 4)).unwrap();
        assert_close(&got.slice(s![.., 0, ..]).to_owned(), &ma, "first");
        assert_close(&got.slice(s![.., 1, ..]).to_owned(), &mb, "second");

        let horizontal = concat(stacked(vec![a.clone(), b.clone()], Some(("V", 0)), None));
        assert_eq!(horizontal.domain(), &shape(&[("V", 2), ("Q", 4)]));
        let want = concatenate(Axis(1), &[ma.view(), mb.view()]).unwrap();
        assert_close(&matrix_of(&horizontal), &want, "summed");

        let diagonal = concat(stacked(vec![a.clone(), b.clone()], Some(("V", 1)), Some(("V", 0))));
        assert_eq!(
            (diagonal.domain(), diagonal.range()),
            (&shape(&[("Q", 4), ("V", 2)]), &shape(&[("V", 2), ("P", 3)]))
        );
        let got = matrix_of(&diagonal).into_shape_with_order((2, 3, 4, 2)).unwrap();
        assert_close(&got.slice(s![0, .., .., 0]).to_owned(), &ma, "first block");
        assert_close(&got.slice(s![1, .., .., 1]).to_owned(), &mb, "second block");
        assert!(
            got.slice(s![0, .., .., 1]).iter().chain(got.slice(s![1, .., .., 0])).all(|entry| *entry == S::default())
        );
        assert_eq!(diagonal.role("V").unwrap(), Role::Batch);

        // 3 slices into 2 members
        let fault = horizontal.forward(&[S::default(); 12], &mut [S::default(); 3], &mut Work::default()).unwrap_err();
        assert!(fault.text.contains("expected 8 numbers for (V=2, Q=4), got 12"), "{fault:?}");
    }
    each_scalar!(check);
}

#[test]
fn t8_container_errors() {
    let member = || between::<f64>(("P", 3), ("Q", 4));
    let two = || vec![member(), member()];
    // no dim
    let none = text(Concat::new(two(), None, None));
    assert!(none.contains("Concat: expected a dim of the input, of the output, or of both, got none"), "{none}");
    assert!(text(stacked(two(), None, None)).contains("stacked: expected a new dim of the input"));
    // Every dim of a shape has a size, so an unknown one is a name that stands for two.
    let twice: SharedOperator<f64> = Arc::new(Identity::new(shape(&[("P", 3), ("P", 4)])));
    let unknown = text(Concat::vertical(vec![twice.clone(), twice], "P"));
    assert!(unknown.contains("range of member 0 (Identity): expected one dim `P`, got 2 in (P=3, P=4)"), "{unknown}");
    // absent, on this side
    let absent = text(Concat::vertical(two(), "Q"));
    assert!(absent.contains("range of member 0 (Dense): expected one dim `Q`, got 0 in (P=3)"), "{absent}");
    let absent_in_one = text(Concat::horizontal(vec![member(), between(("P", 3), ("R", 4))], "Q"));
    assert!(
        absent_in_one.contains("domain of member 1 (Dense): expected one dim `Q`, got 0 in (R=4)"),
        "{absent_in_one}"
    );
    // present
    let present = text(stacked(two(), None, Some(("P", 0))));
    assert!(present.contains("dim `P` is there already, in the range (P=3) of member 0 (Dense)"), "{present}");
    // and a place that is not
    let place = text(stacked(two(), Some(("V", 2)), None));
    assert!(place.contains("expected a place of `V` from 0 to 1 in the domain (Q=4) of member 0, got 2"), "{place}");
    // the rest must fit
    let other = text(Concat::vertical(vec![member(), between(("P", 3), ("Q", 5))], "P"));
    assert!(
        other.contains("domain of member 1 (Dense): expected shape (Q=4), got (Q=5); dim `Q` should be 4"),
        "{other}"
    );
    let wrong = [
        (Dense::named(shape(&[("m", 2)]), vec![1.0], shape(&[("n", 2)]), &["m"]).err(), "expected 2 weights for (m=2)"),
        (
            Dense::named(shape(&[("m", 2)]), vec![1.0; 2], shape(&[("n", 2)]), &["m"]).err(),
            "dim `n` of the domain (n=2) is nei",
        ),
        (
            Dense::named(shape(&[("n", 2)]), vec![1.0; 2], shape(&[("n", 2)]), &["m"]).err(),
            "dim `m` of the range is neither",
        ),
        (
            Dense::named(shape(&[("k", 2), ("n", 2)]), vec![1.0; 4], shape(&[("n", 2)]), &["n"]).err(),
            "dim `k` of the weights (k=2, n=2) is neither",
        ),
        (
            Dense::named(shape(&[("n", 3)]), vec![1.0; 3], shape(&[("n", 2)]), &["n"]).err(),
            "dim `n`: expected 2, as in the domain (n=2), got 3",
        ),
        (
            Dense::named(shape(&[("n", 2)]), vec![1.0; 2], shape(&[("n", 2)]), &["n", "n"]).err(),
            "dim `n` comes twice in the range",
        ),
    ];
    for (fault, want) in wrong {
        let text = fault.unwrap().text;
        assert!(text.contains(want), "{text}");
    }
    let names = text(renamed(&member(), &["a", "b"], &["c"]));
    assert!(names.contains("expected 1 names for the domain (Q=4), got [\"a\", \"b\"]"), "{names}");
}

#[test]
fn t9_adjoint_and_normal() {
    fn check<S: Scalar>() {
        let table = all::<S>();
        assert!(table.len() > 20, "the table is not empty");
        let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 };
        for (name, a) in table {
            for (of, operator) in
                [("A", a.clone()), ("Aᴴ", adjoint(&a)), ("AᴴA", normal(&a)), ("AAᴴ", normal(&adjoint(&a)))]
            {
                for seed in 1..3 {
                    let test = dot_test(&operator, seed).unwrap_or_else(|fault| panic!("{name} {of}: {fault:?}"));
                    assert!(test.ratio <= tolerance, "{name} {of} {}: {test:?}", S::NAME);
                    structure_test(&operator, seed).unwrap_or_else(|fault| panic!("{name} {of}: {fault:?}"));
                }
            }
            let matrix = matrix_of(&a);
            assert_close(&matrix_of(&adjoint(&a)), &adjoint_of(&matrix), name);
            assert_close(&matrix_of(&normal(&a)), &adjoint_of(&matrix).dot(&matrix), name);
            if let Some(diagonal) = a.normal_diagonal() {
                let squares: Vec<f64> = matrix
                    .columns()
                    .into_iter()
                    .map(|column| column.iter().map(|z| z.modulus_squared()).sum())
                    .collect();
                let error = diagonal.iter().zip(&squares).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(error <= 10.0 * tolerance * squares.iter().copied().fold(0.0, f64::max), "{name}");
            }

            let (x, mut y) = (random::<S>(a.domain().len(), 51), random::<S>(a.range().len(), 52));
            let (x_before, mut work) = (bytes(&x), Work::default());
            a.forward(&x, &mut y, &mut work).unwrap();
            a.normal_add(&x, &mut x.clone(), &mut work).unwrap();
            assert_eq!(bytes(&x), x_before, "{name}: the input is left alone");
            let y_before = bytes(&y);
            a.adjoint(&y, &mut x.clone(), &mut work).unwrap();
            assert_eq!(bytes(&y), y_before, "{name}: the input is left alone");
        }
    }
    each_scalar!(check);
}

#[test]
fn t9_declarations_are_passed_on_where_they_hold() {
    let positive = |m: usize| -> SharedOperator<f64> {
        let entries = (0..m * 4).map(|k| 0.5 + k as f64).collect();
        Arc::new(Dense::named(shape(&[("m", m), ("n", 4)]), entries, shape(&[("n", 4)]), &["m"]).unwrap())
    };
    let signed: SharedOperator<f64> = between(("m", 3), ("n", 4));
    let positive_ones = [
        adjoint(&positive(3)),
        Arc::new(Scale::new(2.0, positive(3))),
        Arc::new(Sum::new(vec![positive(3), positive(3)]).unwrap()),
        concat(Concat::vertical(vec![positive(3), positive(2)], "m")),
        normal(&positive(3)),
        compose(vec![positive(3), adjoint(&positive(3))]).unwrap(),
        renamed(&positive(3), &["a"], &["b"]).unwrap(),
        Arc::new(Zero::new(shape(&[("n", 4)]), shape(&[("m", 2)]))),
    ];
    assert!(positive_ones.iter().all(|operator| operator.structure().non_negative));
    let others = [
        adjoint(&signed),
        Arc::new(Scale::new(-2.0, positive(3))),
        Arc::new(Sum::new(vec![positive(3), signed.clone()]).unwrap()),
        concat(Concat::vertical(vec![positive(3), signed.clone()], "m")),
    ];
    assert!(others.iter().all(|operator| !operator.structure().non_negative));

    let bound = |operator: &SharedOperator<f64>| operator.norm_squared_bound().unwrap();
    let b = bound(&positive(3));
    let (chain, two) = (compose(vec![positive(3), adjoint(&positive(3))]).unwrap(), vec![positive(3), positive(3)]);
    assert_eq!(bound(&chain), b * b);
    assert_eq!(bound(&concat(Concat::vertical(two.clone(), "m"))), 2.0 * b);
    assert_eq!(bound(&concat(Concat::horizontal(two.clone(), "n"))), 2.0 * b);
    assert_eq!(bound(&concat(Concat::diagonal(two.clone(), "n", "m"))), b);
    assert!((bound(&(Arc::new(Sum::new(two).unwrap()) as _)) - 4.0 * b).abs() < 1e-12 * b);
    assert_eq!(bound(&(Arc::new(Scale::new(3.0, positive(3))) as _)), 9.0 * b);
}

#[test]
fn t9_an_outermost_isometry_falls_out_of_the_normal_operator() {
    // a permutation of k, as a unitary transform would be
    let transform = |to: &str| -> SharedOperator<f64> {
        let mut entries = vec![0.0; 25];
        (0..5).for_each(|k| entries[5 * k + (3 * k + 1) % 5] = 1.0);
        let matrix = Dense::named(shape(&[(to, 5), ("m", 5)]), entries, shape(&[("m", 5)]), &[to]).unwrap();
        Arc::new(Unitary(matrix))
    };
    let dense = between::<f64>(("m", 5), ("n", 3));
    let chain = compose(vec![dense.clone(), transform("k")]).unwrap();
    let (with, without) = (normal(&chain), normal(&dense));
    assert_eq!((with.name(), with.range()), (without.name(), without.range()));
    assert_close(&matrix_of(&with), &adjoint_of(&matrix_of(&chain)).dot(&matrix_of(&chain)), "folded");
    assert_eq!(normal(&transform("k")).name(), "Identity");

    // an outermost diagonal takes the middle
    let weights: SharedOperator<f64> = Arc::new(Diagonal::new([("m", 5)], random(5, 61)).unwrap());
    let chain = compose(vec![dense, weights]).unwrap();
    assert!(chain.normal_operator().is_some());
    assert_eq!(normal(&chain).range(), &shape(&[("n1", 3)]));
    assert_close(&matrix_of(&normal(&chain)), &adjoint_of(&matrix_of(&chain)).dot(&matrix_of(&chain)), "in the middle");
}

/// A matrix that knows that its columns are orthonormal.
struct Unitary(Dense<f64>);

impl LinearOperator<f64> for Unitary {
    fn domain(&self) -> &Shape {
        self.0.domain()
    }
    fn range(&self) -> &Shape {
        self.0.range()
    }
    fn apply_forward(&self, x: &[f64], y: &mut [f64], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_forward(x, y, work)
    }
    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], work: &mut Work) -> Result<(), Fault> {
        self.0.apply_adjoint(y, x, work)
    }
    fn structure(&self) -> stackphys::operator::Structure {
        stackphys::operator::Structure { isometry: true, ..Default::default() }
    }
}

#[test]
fn t10_horizontal_normal() {
    fn check<S: Scalar>() {
        let members: Vec<SharedOperator<S>> = (0..3)
            .map(|k| {
                let entries = random(12, 80 + k);
                Arc::new(Dense::named(shape(&[("P", 3), ("Q", 4)]), entries, shape(&[("Q", 4)]), &["P"]).unwrap()) as _
            })
            .collect();
        let horizontal = Concat::horizontal(members, "Q").unwrap();
        let blocks = horizontal.normal_blocks().unwrap();
        assert_eq!(blocks.members().len(), 3);
        assert!(blocks.members().all(|row| row.name() == "Concat"));
        let (blocks, horizontal): (SharedOperator<S>, SharedOperator<S>) = (Arc::new(blocks), Arc::new(horizontal));
        let matrix = matrix_of(&horizontal);
        let want = adjoint_of(&matrix).dot(&matrix);
        assert_eq!(want.dim(), (12, 12));
        assert_close(&matrix_of(&normal(&horizontal)), &want, "normal");
        assert_close(&matrix_of(&blocks), &want, "blocks");
        assert_eq!((blocks.domain(), blocks.range()), (normal(&horizontal).domain(), normal(&horizontal).range()));
        assert!(dot_test(&blocks, 3).unwrap().passes::<S>());
    }
    each_scalar!(check);
    let vertical = Concat::vertical(vec![between::<f64>(("P", 3), ("Q", 4))], "P").unwrap();
    assert!(text(vertical.normal_blocks()).contains("only of operators side by side"));
}

/// Weights that count their own bytes, and use scratch.
struct Heavy {
    line: Shape,
    weights: Vec<f64>,
    live: Arc<AtomicUsize>,
}

impl Heavy {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        let weights: Vec<f64> = random(1000, 90);
        live.fetch_add(size_of_val(weights.as_slice()), Ordering::SeqCst);
        Heavy { line: shape(&[("x", 1000)]), weights, live: live.clone() }
    }
}

impl Drop for Heavy {
    fn drop(&mut self) {
        self.live.fetch_sub(size_of_val(self.weights.as_slice()), Ordering::SeqCst);
    }
}

impl LinearOperator<f64> for Heavy {
    fn domain(&self) -> &Shape {
        &self.line
    }
    fn range(&self) -> &Shape {
        &self.line
    }
    fn apply_forward(&self, x: &[f64], y: &mut [f64], work: &mut Work) -> Result<(), Fault> {
        let mut product = work.take::<f64>("A x", x.len()); // the name that the default of `apply_forward_add` takes, too
        product.iter_mut().zip(x).zip(&self.weights).for_each(|((product, x), w)| *product = w * x);
        std::thread::yield_now();
        y.copy_from_slice(&product);
        work.give("A x", product);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], work: &mut Work) -> Result<(), Fault> {
        self.apply_forward(y, x, work)
    }
}

#[test]
fn t13_shared_operator() {
    let live = Arc::new(AtomicUsize::new(0));
    let a: SharedOperator<f64> = Arc::new(Heavy::new(&live));
    let twice = Arc::new(Sum::new(vec![a.clone(), a.clone()]).unwrap());
    let nested = Arc::new(Sum::new(vec![twice.clone() as SharedOperator<f64>, adjoint(&a), twice.clone()]).unwrap());
    assert_eq!(live.load(Ordering::SeqCst), 8000, "one weight in memory");
    assert!(Arc::ptr_eq(&twice.members()[0], &twice.members()[1]));

    let x: Vec<f64> = random(1000, 91);
    let mut single = vec![0.0; 1000];
    a.forward(&x, &mut single, &mut Work::default()).unwrap();
    let times = |factor: f64, of: &[f64]| of.iter().map(|y| factor * y).collect::<Vec<f64>>();
    // many calls at once, each with its own scratch
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (twice, nested, x, single) = (&twice, &nested, &x, &single);
            scope.spawn(move || {
                let (mut work, mut y) = (Work::default(), vec![0.0; 1000]);
                let factor = f64::from(thread + 1);
                for _ in 0..50 {
                    twice.forward(&times(factor, x), &mut y, &mut work).unwrap();
                    let want = times(2.0 * factor, single);
                    assert!(y.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs()));
                    nested.adjoint(&times(factor, x), &mut y, &mut work).unwrap();
                    let want = times(5.0 * factor, single);
                    assert!(y.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs()));
                }
            });
        }
    });
    drop((twice, nested, a));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn t15_arity() {
    // no members
    assert!(text(Sum::<f64>::new(vec![])).contains("Sum: expected at least one member, got none"));
    assert!(text(compose::<f64>(vec![])).contains("Compose: expected at least one member, got none"));
    for concat in [
        Concat::<f64>::vertical(vec![], "m"),
        Concat::horizontal(vec![], "n"),
        Concat::diagonal(vec![], "n", "m"),
        stacked(vec![], None, Some(("v", 0))),
    ] {
        assert!(text(concat).contains("Concat: expected at least one member, got none"));
    }
    // 3 members, 2 inputs: none is left out in silence
    let member = || between::<f64>(("m", 3), ("n", 4));
    let three = || vec![member(), member(), member()];
    let mut work = Work::default();
    let blocks = concat(stacked(three(), Some(("v", 0)), Some(("v", 0))));
    let fault = blocks.forward(&[1.0; 8], &mut [0.0; 9], &mut work).unwrap_err();
    assert_eq!(fault.text, "Concat: x: expected 12 numbers for (v=3, n=4), got 8; dim `v` should be 3, got 2");
    let fault = blocks.adjoint(&[1.0; 6], &mut [0.0; 12], &mut work).unwrap_err();
    assert_eq!(fault.text, "Concat: y: expected 9 numbers for (v=3, m=3), got 6");
    // one input to all three: each of them counts
    let sum = Sum::new(three()).unwrap();
    assert_close(&matrix_of(&sum), &(matrix_of(&member()) * 3.0), "all members");
    let vertical = concat(Concat::vertical(three(), "m"));
    assert_eq!(vertical.range(), &shape(&[("m", 9)]));
    let (mut y, mut single) = (vec![f64::NAN; 9], vec![f64::NAN; 3]);
    vertical.forward(&[1.0; 4], &mut y, &mut work).unwrap();
    member().forward(&[1.0; 4], &mut single, &mut work).unwrap();
    assert_eq!(y, single.repeat(3));
}
