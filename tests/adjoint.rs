//! Every adjoint is the adjoint: the dot test, scaled by ‖A x‖‖y‖, of each operator in the table, for four scalars, alone
//! and in stacks on 1 to 4 ranks.

#[macro_use]
mod common;

use std::rc::Rc;
use std::sync::Arc;

use common::{Boxed, operators};
use ndarray::Array2;
use stackphys::Scalar;
use stackphys::comm::{Comm, Summation, Team, threads};
use stackphys::operator::{LinearOperator, Work};
use stackphys::stack::{Assignment, Description, FromFn, PlanOptions, Stack};
use stackphys::testing::{DotTest, dot_test, stack_dot_tests};

/// As strict as the promise, whatever the library thinks is good enough.
fn tolerance<S: Scalar>() -> f64 {
    if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 }
}

#[test]
fn each_operator_passes_the_dot_test() {
    fn check<S: Scalar>() {
        let table = operators::<S>();
        assert!(table.len() >= 5, "the table of operators is not empty");
        for (name, operator) in table {
            for seed in 1..4 {
                let test = dot_test(&*operator, seed).unwrap_or_else(|fault| panic!("{name} {}: {fault:?}", S::NAME));
                assert!(test.ratio <= tolerance::<S>(), "{name} {}: {test:?}", S::NAME);
                assert!((test.scale - 1.0).abs() < 1e3 * tolerance::<S>(), "{name} {}: {test:?}", S::NAME);
                assert_eq!(DotTest::tolerance::<S>(), tolerance::<S>());
            }
        }
    }
    each_scalar!(check);
}

/// The dot test with nothing of the library's own: ⟨A x, y⟩ by column sums of the matrix that the forward makes.
#[test]
fn each_adjoint_is_the_conjugate_transpose_of_the_matrix() {
    fn check<S: Scalar>() {
        for (name, operator) in operators::<S>() {
            let (columns, rows) = (operator.domain().len(), operator.range().len());
            let mut work = Work::default();
            let unit = |len: usize, at: usize| {
                let mut unit = vec![S::default(); len];
                unit[at] = S::from_f64(1.0);
                unit
            };
            let nan = S::from_parts(f64::NAN, f64::NAN);
            let mut matrix = vec![vec![nan; rows]; columns];
            for (column, out) in matrix.iter_mut().enumerate() {
                operator.apply_forward(&unit(columns, column), out, &mut work).unwrap();
            }
            let largest = matrix.iter().flatten().map(|entry| entry.modulus_squared()).fold(0.0, f64::max).sqrt();
            assert!(largest > 0.0 && largest.is_finite(), "{name}");
            let whole = Array2::from_shape_fn((rows, columns), |(row, column)| matrix[column][row]);
            for (row, expected) in whole.outer_iter().enumerate() {
                let mut adjoint = vec![nan; columns];
                operator.apply_adjoint(&unit(rows, row), &mut adjoint, &mut work).unwrap();
                for (entry, expected) in adjoint.iter().zip(expected) {
                    let difference = (*entry - expected.conj()).modulus_squared().sqrt();
                    assert!(difference <= tolerance::<S>() * largest, "{name} {}: row {row}", S::NAME);
                }
            }
        }
    }
    each_scalar!(check);
}

/// `count` times an operator as a stack.
fn times<S: Scalar>(comm: &Rc<dyn Comm>, operator: &Arc<Boxed<S>>, count: usize, options: PlanOptions) -> Stack<S> {
    let (domain, range) = (operator.domain(), operator.range());
    let describe = |index| Ok(Description::new(format!("copy {index}"), domain.clone(), range.clone()));
    let factory = FromFn::new(count, describe, |_| Ok(Box::new(operator.clone()) as _));
    Stack::build(Team::new(comm.clone()), &factory, options).unwrap()
}

#[test]
fn stacks_of_each_operator_pass_the_dot_test_on_any_ranks() {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (name, operator) in operators::<S>() {
            let operator = Arc::new(operator);
            for (count, assignment, summation) in [
                (1, Assignment::Contiguous, Summation::Fast),
                (5, Assignment::Contiguous, Summation::Ordered),
                (3, Assignment::RoundRobin, Summation::Fast),
            ] {
                let options = PlanOptions { assignment, summation, ..PlanOptions::default() };
                let stack = times(comm, &operator, count, options);
                let tests = stack_dot_tests(&stack, 11).unwrap();
                assert_eq!(tests.map(|(what, _)| what), ["A", "AᴴA", "AAᴴ"]);
                for (what, test) in tests {
                    assert!(test.ratio <= tolerance::<S>(), "{count} × {name} {what} {}: {test:?}", S::NAME);
                }
            }
        }
    }
    for ranks in 1..=4 {
        threads::run(ranks, |comm| each_scalar!(check, &comm));
    }
}

/// An operator whose adjoint is this many times the adjoint.
struct Scaled<S: Scalar>(Boxed<S>, f64);

impl<S: Scalar> LinearOperator<S> for Scaled<S> {
    fn domain(&self) -> &stackphys::Shape {
        self.0.domain()
    }
    fn range(&self) -> &stackphys::Shape {
        self.0.range()
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), stackphys::Fault> {
        self.0.apply_forward(x, y, work)
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), stackphys::Fault> {
        self.0.apply_adjoint(y, x, work)?;
        for x in x.iter_mut() {
            *x *= S::from_f64(self.1);
        }
        Ok(())
    }
}

#[test]
fn a_wrong_adjoint_is_found_and_its_scale_is_told() {
    fn check<S: Scalar>() {
        let slightly_wrong = if S::NAME.ends_with("f64") { 1.0 + 1e-6 } else { 1.1 };
        for factor in [2.0, -1.0, slightly_wrong] {
            for (name, operator) in operators::<S>() {
                let test = dot_test(&Scaled(operator, factor), 5).unwrap();
                assert!(!test.passes::<S>(), "{name} {}: {test:?}", S::NAME);
                assert!((test.scale * factor - 1.0).abs() < 1e-2, "{name} {}: {test:?}", S::NAME);
            }
        }
    }
    each_scalar!(check);
}

#[test]
fn an_output_that_is_not_overwritten_is_found() {
    struct Adds;
    impl LinearOperator<f64> for Adds {
        fn domain(&self) -> &stackphys::Shape {
            static SHAPE: std::sync::OnceLock<stackphys::Shape> = std::sync::OnceLock::new();
            SHAPE.get_or_init(|| stackphys::Shape::new([("x", 3)]))
        }
        fn range(&self) -> &stackphys::Shape {
            self.domain()
        }
        fn apply_forward(&self, x: &[f64], y: &mut [f64], _: &mut Work) -> Result<(), stackphys::Fault> {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
            Ok(())
        }
        fn apply_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Work) -> Result<(), stackphys::Fault> {
            x.copy_from_slice(y);
            Ok(())
        }
    }
    assert!(dot_test(&Adds, 1).map_or(true, |test| !test.passes::<f64>()));
}
