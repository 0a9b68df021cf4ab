//! What an operator declares of itself holds, its inputs stay as they are, its outputs do not depend on what stood there; and
//! an operator that lies is found.

#[macro_use]
mod common;

use common::{Boxed, matrix, operators, random};
use ndarray::{Array1, Array2, ArrayView1};
use stackphys::operator::{Apply, LinearOperator, Structure, Work};
use stackphys::testing::structure_test;
use stackphys::{Fault, Scalar, Shape};

#[test]
fn each_operator_keeps_what_it_declares() {
    fn check<S: Scalar>() {
        let table = operators::<S>();
        assert!(table.len() >= 5, "the table of operators is not empty");
        for (name, operator) in table {
            for seed in 1..4 {
                structure_test(&*operator, seed).unwrap_or_else(|fault| panic!("{name} {}: {fault:?}", S::NAME));
            }
        }
    }
    each_scalar!(check);
}

/// All that an operator can do, with a name for each: from vectors of the first length to vectors of the second.
type Action<S> = fn(&Boxed<S>, &[S], &mut [S], &mut Work) -> Result<(), Fault>;

#[test]
fn inputs_are_left_alone_and_outputs_are_overwritten() {
    fn check<S: Scalar>() {
        let actions: [(&str, bool, Action<S>); 2] = [
            ("forward", true, |operator, from, to, work| operator.forward(from, to, work)),
            ("adjoint", false, |operator, from, to, work| operator.adjoint(from, to, work)),
        ];
        for (name, operator) in operators::<S>() {
            for (what, is_forward, action) in actions {
                let (domain, range) = (operator.domain().len(), operator.range().len());
                let (reads, writes) = if is_forward { (domain, range) } else { (range, domain) };
                let input = random::<S>(reads, 21);
                let given = input.clone();
                let mut out = vec![S::from_parts(f64::NAN, f64::NAN); writes];
                action(&operator, &given, &mut out, &mut Work::default()).unwrap();
                assert_eq!(given, input, "{name} {what} changes its input");
                assert!(out.iter().all(|value| value.is_finite()), "{name} {what} leaves what was there");
                // scratch that was used before changes nothing, not even a bit
                let mut work = Work::default();
                for stream in [22, 23] {
                    let mut other = random::<S>(writes, stream);
                    action(&operator, &random::<S>(reads, stream), &mut other, &mut work).unwrap();
                }
                let mut again = random::<S>(writes, 24);
                action(&operator, &input, &mut again, &mut work).unwrap();
                assert_eq!(again, out, "{name} {what} depends on what was done before");
            }
        }
    }
    each_scalar!(check);
}

#[test]
fn each_operator_is_linear() {
    fn check<S: Scalar>() {
        let tolerance = if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 };
        for (name, operator) in operators::<S>() {
            let mut work = Work::default();
            let (a, b) = (random::<S>(operator.domain().len(), 31), random::<S>(operator.domain().len(), 32));
            let factor = S::from_parts(0.7, -1.3);
            let both: Vec<S> = a.iter().zip(&b).map(|(a, b)| *a + factor * *b).collect();
            let [ya, yb, y] = [&a, &b, &both].map(|x| {
                let mut y = vec![S::default(); operator.range().len()];
                operator.forward(x, &mut y, &mut work).unwrap();
                Array1::from(y)
            });
            let expected = ya + yb * factor;
            assert!(common::distance(y.as_slice().unwrap(), &expected) < tolerance, "{name} {}", S::NAME);
        }
    }
    each_scalar!(check);
}

#[test]
fn wrong_lengths_are_refused() {
    for (name, operator) in operators::<f64>() {
        let (domain, range) = (operator.domain().len(), operator.range().len());
        let mut work = Work::default();
        let wrong = [
            operator.forward(&vec![0.0; domain + 1], &mut vec![0.0; range], &mut work),
            operator.forward(&vec![0.0; domain], &mut vec![0.0; range - 1], &mut work),
            operator.adjoint(&vec![0.0; range - 1], &mut vec![0.0; domain], &mut work),
            operator.adjoint(&vec![0.0; range], &mut vec![0.0; domain + 1], &mut work),
            operator.adjoint_add(&vec![0.0; range], &mut vec![0.0; domain + 1], &mut work),
            operator.normal_add(&vec![0.0; domain + 1], &mut vec![0.0; domain], &mut work),
            operator.normal_add(&vec![0.0; domain], &mut vec![0.0; domain - 1], &mut work),
        ];
        for fault in wrong {
            let text = fault.expect_err(name).text;
            assert!(text.contains("expected ") && text.contains(", got "), "{name}: {text}");
        }
    }
}

/// A matrix that declares what it is told to.
struct Liar<S> {
    domain: Shape,
    range: Shape,
    matrix: Array2<S>,
    structure: Structure,
    bound: Option<f64>,
    /// What the normal operator adds too much, as a part of what it should add.
    excess: f64,
}

impl<S: Scalar> Liar<S> {
    fn honest(matrix: Array2<S>) -> Self {
        let (rows, columns) = matrix.dim();
        // named alike, so that a square one may be self-adjoint
        let (domain, range) = (Shape::new([("x", columns)]), Shape::new([("x", rows)]));
        Liar { domain, range, matrix, structure: Structure::default(), bound: None, excess: 0.0 }
    }
}

impl<S: Scalar> LinearOperator<S> for Liar<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _: &mut Work) -> Result<(), Fault> {
        y.copy_from_slice(self.matrix.dot(&ArrayView1::from(x)).as_slice().unwrap());
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _: &mut Work) -> Result<(), Fault> {
        let adjoint = common::adjoint_of(&self.matrix);
        x.copy_from_slice(adjoint.dot(&ArrayView1::from(y)).as_slice().unwrap());
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], _: &mut Work) -> Result<(), Fault> {
        let normal = common::adjoint_of(&self.matrix).dot(&self.matrix.dot(&ArrayView1::from(x)));
        for (out, term) in out.iter_mut().zip(normal) {
            *out += S::from_f64(1.0 + self.excess) * term;
        }
        Ok(())
    }
    fn structure(&self) -> Structure {
        self.structure
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        self.bound
    }
}

fn faults<S: Scalar>(liar: &Liar<S>, says: &str) {
    for seed in 1..4 {
        let text = structure_test(liar, seed).expect_err(says).text;
        assert!(text.contains(says), "{}: {text}", S::NAME);
    }
}

#[test]
fn a_lie_is_found() {
    fn check<S: Scalar>() {
        let square = || Liar::honest(matrix::<S>(6, 6, 41));
        structure_test(&square(), 1).unwrap();
        let self_adjoint = Structure { self_adjoint: true, ..Structure::default() };
        let non_negative = Structure { non_negative: true, ..Structure::default() };
        faults(&Liar { structure: self_adjoint, ..square() }, "declared self-adjoint, but A x and Aᴴ x differ");
        let oblong = Liar { structure: self_adjoint, ..Liar::honest(matrix::<S>(5, 6, 42)) };
        faults(&oblong, "declared self-adjoint, but domain and range differ");
        faults(&Liar { structure: non_negative, ..square() }, "declared non-negative, but column ");
        faults(&Liar { excess: 0.01, ..square() }, "`apply_normal_add` does not add Aᴴ A x");
        faults(&Liar { bound: Some(1.0), ..square() }, "‖A‖² is declared to be at most 1");

        // what is true is believed
        let symmetric = &square().matrix + &common::adjoint_of(&square().matrix);
        structure_test(&Liar { structure: self_adjoint, ..Liar::honest(symmetric) }, 1).unwrap();
        let positive = square().matrix.mapv(|entry| S::from_f64(entry.modulus_squared()));
        structure_test(&Liar { structure: non_negative, ..Liar::honest(positive) }, 1).unwrap();
    }
    each_scalar!(check);
}

#[test]
fn a_bound_that_only_one_direction_breaks_is_found() {
    fn check<S: Scalar>() {
        let mut matrix = Array2::<S>::eye(40);
        matrix[[17, 17]] = S::from_f64(10.0);
        structure_test(&Liar { bound: Some(100.0), ..Liar::honest(matrix.clone()) }, 1).unwrap();
        faults(&Liar { bound: Some(99.0), ..Liar::honest(matrix) }, "‖A‖² is declared to be at most 99");
    }
    each_scalar!(check);
}

#[test]
fn declared_bounds_are_above_the_largest_singular_value() {
    use ndarray_linalg::SVD;
    for (name, operator) in operators::<f64>() {
        let (rows, columns) = (operator.range().len(), operator.domain().len());
        let Some(bound) = operator.norm_squared_bound() else { continue };
        let mut whole = Array2::<f64>::zeros((columns, rows));
        for (column, mut out) in whole.outer_iter_mut().enumerate() {
            let mut unit = vec![0.0; columns];
            unit[column] = 1.0;
            operator.forward(&unit, out.as_slice_mut().unwrap(), &mut Work::default()).unwrap();
        }
        let (_, singular, _) = whole.svd(false, false).unwrap();
        assert!(singular[0] * singular[0] <= bound * (1.0 + 1e-12), "{name}: {} > {bound}", singular[0].powi(2));
    }
}
