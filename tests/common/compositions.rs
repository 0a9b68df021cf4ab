//! Operators made of operators, for the table of all; and the matrix of any operator.

use std::sync::Arc;

use ndarray::Array2;
use stackphys::operator::algebra::{Compose, Concat, Scale, Sum, adjoint, compose, normal, renamed, stacked};
use stackphys::operator::{Apply, LinearOperator, SharedOperator, Work};
use stackphys::physics::{Dense, Diagonal, Identity, ParallelCt};
use stackphys::{Scalar, Shape};

use super::*;

/// Random weights with named dims, such as `[("b", 2), ("m", 3), ("n", 4)]` on (b, n) to (b, m).
pub fn named<S: Scalar>(weights: &[(&str, usize)], domain: &[(&str, usize)], range: &[&str]) -> SharedOperator<S> {
    let weights = Shape::new(weights.iter().copied());
    let entries = random(weights.len(), 900 + weights.len() as u64);
    Arc::new(Dense::named(weights, entries, Shape::new(domain.iter().copied()), range).unwrap())
}

/// A random matrix from one dim to another.
pub fn between<S: Scalar>(to: (&str, usize), from: (&str, usize)) -> SharedOperator<S> {
    named(&[to, from], &[from], &[to.0])
}

fn diagonal<S: Scalar>(dims: &[(&'static str, usize)], stream: u64) -> SharedOperator<S> {
    let len = dims.iter().map(|(_, size)| size).product();
    Arc::new(Diagonal::new(dims.iter().copied(), random(len, stream)).unwrap())
}

/// W[b, m, n] = sin(1 + b + 3m + 7n) of (10, 3, 7), by its place: the weights of the rows T20 and T21.
pub fn golden_weight(place: usize) -> f64 {
    let [b, m, n] = [place / 21, (place / 7) % 3, place % 7].map(|index| index as f64);
    (1.0 + b + 3.0 * m + 7.0 * n).sin()
}

/// x[b, n] = cos(2 + b − 2n) of (10, 7): what they are applied to.
pub fn golden_x<S: Scalar>() -> Vec<S> {
    (0..70).map(|k| S::from_f64((2.0 + (k / 7) as f64 - 2.0 * (k % 7) as f64).cos())).collect()
}

/// The projections of a volume of three slices.
pub fn volume_ct<S: Scalar>() -> SharedOperator<S> {
    let model = Shape::new([("z", 3), ("y", 6), ("x", 7)]);
    let detector = stackphys::physics::Detector { columns: 9, center: Some(3.7), spacing: 0.9 };
    Arc::new(ParallelCt::<S>::new(&model, &[0.1, 0.9, 1.7, 2.6, 3.0], detector).unwrap())
}

/// Two members of (q, a) → (p, a) for a block diagonal, and the same of other sizes of q and p.
fn blocks<S: Scalar>() -> Vec<SharedOperator<S>> {
    let block = |p, q| named(&[("p", p), ("q", q)], &[("a", 3), ("q", q)], &["a", "p"]);
    vec![block(2, 4), block(5, 1), block(4, 3)]
}

/// One of each composition, with sizes that differ.
pub fn all<S: Scalar>() -> Vec<(&'static str, SharedOperator<S>)> {
    let factor = S::from_parts(-0.5, 1.5);
    let volume = Shape::new([("z", 2), ("y", 3), ("x", 5)]);
    let concat = |concat: Concat<S>| -> SharedOperator<S> { Arc::new(concat) };
    let chain = || compose(vec![between(("k", 5), ("n", 4)), between(("l", 3), ("k", 5)), between(("m", 6), ("l", 3))]);
    let mn = |m| between::<S>(("m", m), ("n", 4));
    let nm = |n| between::<S>(("m", 3), ("n", n));
    vec![
        ("dense with a batch", named(&[("b", 2), ("m", 3), ("n", 4)], &[("b", 2), ("n", 4)], &["b", "m"])),
        ("dense, batches of BLAS", named(&[("n", 12), ("b", 2), ("m", 13)], &[("n", 12), ("b", 2)], &["m", "b"])),
        ("dense, coils", named(&[("c", 3), ("y", 2), ("x", 5)], &[("y", 2), ("x", 5)], &["c", "y", "x"])),
        ("dense, broadcast", named(&[("t", 3), ("a", 2), ("y", 1)], &[("a", 2), ("y", 4), ("x", 5)], &["t", "y", "x"])),
        ("dense, two columns", named(&[("p", 9), ("q", 3), ("m", 8)], &[("q", 3), ("b", 2), ("p", 9)], &["b", "m"])),
        ("volume", volume_ct()),
        ("adjoint", adjoint(&between(("m", 4), ("n", 3)))),
        ("scale", Arc::new(Scale::new(factor, between(("m", 3), ("n", 4))))),
        ("sum", Arc::new(Sum::new(vec![mn(3), named(&[("n", 4), ("m", 3)], &[("n", 4)], &["m"]), mn(3)]).unwrap())),
        ("chain", chain().unwrap()),
        (
            "coils and back",
            compose(vec![
                named(&[("c", 5), ("x", 4)], &[("x", 4)], &["c", "x"]),
                diagonal(&[("c", 5), ("x", 4)], 71),
                adjoint(&named(&[("c", 5), ("x", 4)], &[("x", 4)], &["c", "x"])),
            ])
            .unwrap(),
        ),
        (
            "one chain in another",
            Arc::new(
                Compose::new(chain().unwrap(), compose(vec![mn_back(), between(("r", 2), ("s", 3))]).unwrap()).unwrap(),
            ),
        ),
        ("vertical", concat(Concat::vertical(vec![mn(2), mn(5), mn(1)], "m").unwrap())),
        ("horizontal", concat(Concat::horizontal(vec![nm(4), nm(1), nm(5)], "n").unwrap())),
        ("block diagonal", concat(Concat::diagonal(blocks(), "q", "p").unwrap())),
        (
            "block diagonal in one dim",
            concat(
                Concat::diagonal(
                    vec![diagonal(&[("y", 2), ("x", 4)], 72), diagonal(&[("y", 2), ("x", 3)], 73)],
                    "x",
                    "x",
                )
                .unwrap(),
            ),
        ),
        ("volumes on each other", concat(Concat::diagonal(vec![volume_ct(), volume_ct()], "z", "row").unwrap())),
        ("stacked output", concat(stacked(vec![mn(3), mn(3)], None, Some(("view", 1))).unwrap())),
        ("stacked input", concat(stacked(vec![mn(3), mn(3)], Some(("frame", 0)), None).unwrap())),
        ("stacked both", concat(stacked(vec![mn(3), mn(3)], Some(("t", 1)), Some(("t", 0))).unwrap())),
        ("renamed", renamed(&between(("m", 3), ("n", 4)), &["u"], &["v"]).unwrap()),
        ("normal", normal(&chain().unwrap())),
        ("Gram matrix", normal(&between(("m", 7), ("n", 4)))),
        ("normal of coils", normal(&named(&[("c", 3), ("x", 5)], &[("x", 5)], &["c", "x"]))),
        ("normal of a vertical one", normal(&concat(Concat::vertical(vec![mn(2), mn(6)], "m").unwrap()))),
        ("normal of a horizontal one", normal(&concat(Concat::horizontal(vec![nm(2), nm(4)], "n").unwrap()))),
        ("normal of a block diagonal", normal(&concat(Concat::diagonal(blocks(), "q", "p").unwrap()))),
        ("slices of a volume", Arc::new(Scale::new(factor, Arc::new(Identity::new(volume)) as SharedOperator<S>))),
    ]
}

/// From what a chain of the table gives to one dim more.
fn mn_back<S: Scalar>() -> SharedOperator<S> {
    between(("s", 3), ("m", 6))
}

/// The matrix of an operator, column by column.
pub fn matrix_of<S: Scalar>(operator: &(impl LinearOperator<S> + ?Sized)) -> Array2<S> {
    let (rows, columns) = (operator.range().len(), operator.domain().len());
    let mut work = Work::default();
    let mut matrix = Array2::zeros((rows, columns));
    for column in 0..columns {
        let (mut unit, mut out) = (vec![S::default(); columns], vec![S::from_parts(f64::NAN, f64::NAN); rows]);
        unit[column] = S::from_f64(1.0);
        operator.forward(&unit, &mut out, &mut work).unwrap();
        for (row, out) in out.into_iter().enumerate() {
            matrix[[row, column]] = out;
        }
    }
    matrix
}

/// The matrices are the same to rounding, relative to the largest entry.
#[track_caller]
pub fn assert_close<S: Scalar>(got: &Array2<S>, want: &Array2<S>, of: &str) {
    assert_eq!(got.dim(), want.dim(), "{of} {}", S::NAME);
    let size = |matrix: &Array2<S>| matrix.iter().map(|entry| entry.modulus_squared()).fold(0.0, f64::max).sqrt();
    let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 };
    let difference = size(&(got - want));
    assert!(difference <= tolerance * size(want), "{of} {}: {difference}", S::NAME); // not a number fails, too
}
