//! An operator behind a pointer is that operator. So one in an `Arc` can be several members of a stack: its numbers are
//! stored once, and each call has scratch of its own.
//!
//! ```
//! use std::sync::Arc;
//! use stackphys::physics::Diagonal;
//! use stackphys::stack::{Description, FromFn, Stack};
//! use stackphys::{Shape, comm::Team};
//! let line = Shape::new([("x", 3)]);
//! let weights = Arc::new(Diagonal::new([("x", 3)], vec![1.0, 2.0, 3.0]).unwrap());
//! let twice = FromFn::new( // [D; D], with one D in memory
//!     2,
//!     |_| Ok(Description::new("weights", line.clone(), line.clone())),
//!     |_| Ok(Box::new(Arc::clone(&weights)) as _),
//! );
//! let stack = Stack::<f64>::build(Team::solo(), &twice, Default::default()).unwrap();
//! assert_eq!(Arc::strong_count(&weights), 3); // here, and in both members
//! # let (mut x, mut out) = (stack.zero_model(), stack.zero_model());
//! # x.fill(1.0);
//! # stack.normal(&x, &mut out).unwrap();
//! # assert_eq!(out.as_slice(), [2.0, 8.0, 18.0]);
//! ```

use std::sync::Arc;

use super::{Basis, LinearOperator, SharedOperator, Structure, Work};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

macro_rules! behind {
    ($pointer:ident) => {
        impl<X, Y, A> LinearOperator<X, Y> for $pointer<A>
        where
            X: Scalar,
            Y: Scalar<Real = X::Real>,
            A: LinearOperator<X, Y> + ?Sized,
        {
            fn domain(&self) -> &Shape {
                (**self).domain()
            }
            fn range(&self) -> &Shape {
                (**self).range()
            }
            fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
                (**self).apply_forward(x, y, work)
            }
            fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
                (**self).apply_adjoint(y, x, work)
            }
            fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
                (**self).apply_forward_add(x, y, work)
            }
            fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
                (**self).apply_adjoint_add(y, x, work)
            }
            fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
                (**self).apply_normal_add(x, out, work)
            }
            fn structure(&self) -> Structure {
                (**self).structure()
            }
            fn norm_squared_bound(&self) -> Option<f64> {
                (**self).norm_squared_bound()
            }
            fn normal_diagonal(&self) -> Option<Vec<f64>> {
                (**self).normal_diagonal()
            }
            fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
                (**self).normal_spectrum(basis)
            }
            fn name(&self) -> String {
                (**self).name()
            }
            fn inner_dims(&self) -> Vec<Dim> {
                (**self).inner_dims()
            }
            fn batch_dims(&self) -> Vec<[String; 2]> {
                (**self).batch_dims()
            }
            fn may_be_cut(&self, dim: &str, at: usize) -> bool {
                (**self).may_be_cut(dim, at)
            }
            fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
                (**self).part(ranges)
            }
            fn adjoint_operator(&self) -> Option<SharedOperator<Y, X>> {
                (**self).adjoint_operator()
            }
            fn normal_operator(&self) -> Option<SharedOperator<X>> {
                (**self).normal_operator()
            }
        }
    };
}

behind!(Box);
behind!(Arc);

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each question in its own way, so that one that is not passed on is noticed.
    struct Odd(Shape);

    impl LinearOperator<f64> for Odd {
        fn domain(&self) -> &Shape {
            &self.0
        }
        fn range(&self) -> &Shape {
            &self.0
        }
        fn apply_forward(&self, _x: &[f64], y: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
            y.fill(1.0);
            Ok(())
        }
        fn apply_adjoint(&self, _y: &[f64], x: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
            x.fill(2.0);
            Ok(())
        }
        fn apply_adjoint_add(&self, _y: &[f64], x: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
            x.fill(3.0);
            Ok(())
        }
        fn apply_normal_add(&self, _x: &[f64], out: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
            out.fill(4.0);
            Ok(())
        }
        fn structure(&self) -> Structure {
            Structure { self_adjoint: true, non_negative: true, isometry: true }
        }
        fn norm_squared_bound(&self) -> Option<f64> {
            Some(5.0)
        }
        fn normal_diagonal(&self) -> Option<Vec<f64>> {
            Some(vec![6.0])
        }
        fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
            (basis == Basis::Fourier).then(|| vec![7.0])
        }
        fn apply_forward_add(&self, _x: &[f64], y: &mut [f64], _work: &mut Work) -> Result<(), Fault> {
            y.fill(8.0);
            Ok(())
        }
        fn name(&self) -> String {
            "nine".to_owned()
        }
        fn inner_dims(&self) -> Vec<Dim> {
            vec![Dim { name: "ten".to_owned(), size: 10 }]
        }
        fn batch_dims(&self) -> Vec<[String; 2]> {
            Vec::new()
        }
        fn may_be_cut(&self, dim: &str, at: usize) -> bool {
            (dim, at) == ("ten", 5)
        }
        fn part(&self, _ranges: &Ranges) -> Result<SharedOperator<f64>, Fault> {
            Err(Fault::new("eleven"))
        }
        fn adjoint_operator(&self) -> Option<SharedOperator<f64>> {
            Some(Arc::new(Odd(Shape::new([("x", 12)]))))
        }
        fn normal_operator(&self) -> Option<SharedOperator<f64>> {
            Some(Arc::new(Odd(Shape::new([("x", 13)]))))
        }
    }

    #[test]
    fn a_pointer_passes_everything_on() {
        fn check(operator: impl LinearOperator<f64>) {
            let (mut out, mut work) = ([0.0], Work::default());
            operator.apply_forward(&[9.0], &mut out, &mut work).unwrap();
            assert_eq!(out, [1.0]);
            operator.apply_adjoint(&[9.0], &mut out, &mut work).unwrap();
            assert_eq!(out, [2.0]);
            operator.apply_adjoint_add(&[9.0], &mut out, &mut work).unwrap();
            assert_eq!(out, [3.0]);
            operator.apply_normal_add(&[9.0], &mut out, &mut work).unwrap();
            assert_eq!(out, [4.0]);
            assert_eq!(operator.domain(), operator.range());
            assert!(operator.structure().self_adjoint && operator.structure().non_negative);
            assert_eq!((operator.norm_squared_bound(), operator.normal_diagonal()), (Some(5.0), Some(vec![6.0])));
            assert_eq!(operator.normal_spectrum(Basis::Fourier), Some(vec![7.0]));
            operator.apply_forward_add(&[9.0], &mut out, &mut work).unwrap();
            assert_eq!((out, operator.name()), ([8.0], "nine".to_owned()));
            assert_eq!((operator.inner_dims()[0].size, operator.batch_dims()), (10, vec![]));
            assert!(operator.may_be_cut("ten", 5) && !operator.may_be_cut("ten", 6));
            assert_eq!(operator.part(&Ranges::default()).err().unwrap().text, "eleven");
            assert_eq!(operator.adjoint_operator().unwrap().domain().len(), 12);
            assert_eq!(operator.normal_operator().unwrap().domain().len(), 13);
        }
        let odd = || Odd(Shape::new([("x", 1)]));
        check(Box::new(odd()));
        check(Arc::new(odd()));
        check(Box::new(Arc::new(odd())) as Box<dyn LinearOperator<f64>>);
    }
}
