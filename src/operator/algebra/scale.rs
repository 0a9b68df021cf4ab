//! A multiple of an operator.

use std::sync::Arc;

use super::normal;
use crate::error::Fault;
use crate::operator::{Basis, LinearOperator, SharedOperator, Structure, Work, part_of};
use crate::scalar::{Real, Scalar};
use crate::space::{Dim, Ranges, Shape};

/// `c A`, with a number of the range's kind; the adjoint is `c̄ Aᴴ`.
///
/// Collective: no. Cost: that of `A`, and one vector of scratch where something is added.
///
/// ```
/// use std::sync::Arc;
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work, algebra::Scale}, physics::Identity};
/// let i = Complex::new(0.0, 1.0);
/// let turn = Scale::new(i, Arc::new(Identity::new(Shape::new([("x", 1)]))));
/// let (mut y, mut work) = ([i], Work::default());
/// turn.forward(&[i], &mut y, &mut work).unwrap();
/// assert_eq!(y, [-Complex::ONE]);
/// turn.adjoint(&[i], &mut y, &mut work).unwrap();
/// assert_eq!(y, [Complex::ONE]); // ī·i
/// ```
pub struct Scale<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    factor: Y,
    of: SharedOperator<X, Y>,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Scale<X, Y> {
    /// `factor · A`.
    pub fn new(factor: Y, operator: SharedOperator<X, Y>) -> Self {
        Scale { factor, of: operator }
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Scale<X, Y> {
    fn domain(&self) -> &Shape {
        self.of.domain()
    }
    fn range(&self) -> &Shape {
        self.of.range()
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.of.apply_forward(x, y, work)?;
        y.iter_mut().for_each(|y| *y *= self.factor);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let conjugate = self.factor.conj();
        if X::IS_COMPLEX || conjugate.im() == 0.0 {
            self.of.apply_adjoint(y, x, work)?;
            let conjugate = X::from_parts(conjugate.re(), conjugate.im());
            x.iter_mut().for_each(|x| *x *= conjugate);
            return Ok(());
        }
        // a real domain does not hold a complex factor
        scaled(y, |y| self.factor.conj() * y, work, |y, work| self.of.apply_adjoint(y, x, work))
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        scaled(y, |y| self.factor.conj() * y, work, |y, work| self.of.apply_adjoint_add(y, x, work))
    }
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        let squared = X::Real::from_f64(self.factor.modulus_squared());
        scaled(x, |x| x.scale(squared), work, |x, work| self.of.apply_normal_add(x, out, work))
    }
    fn structure(&self) -> Structure {
        let (of, real) = (self.of.structure(), self.factor.im() == 0.0);
        Structure {
            self_adjoint: of.self_adjoint && real,
            non_negative: of.non_negative && real && self.factor.re() >= 0.0,
            isometry: of.isometry && (self.factor.modulus_squared() - 1.0).abs() <= 4.0 * X::Real::EPSILON,
        }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(self.factor.modulus_squared() * self.of.norm_squared_bound()?)
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        Some(times(self.factor.modulus_squared(), self.of.normal_diagonal()?))
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        Some(times(self.factor.modulus_squared(), self.of.normal_spectrum(basis)?))
    }
    fn inner_dims(&self) -> Vec<Dim> {
        self.of.inner_dims()
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        self.of.batch_dims()
    }
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        self.of.may_be_cut(dim, at)
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        Ok(Arc::new(Scale::new(self.factor, part_of(&self.of, ranges)?)))
    }
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        let squared = X::from_f64(self.factor.modulus_squared());
        Some(Arc::new(Scale::new(squared, normal::merged(&self.of)?)))
    }
}

/// Calls `action` with the numbers changed one by one, in scratch.
fn scaled<S: Scalar>(
    numbers: &[S],
    change: impl Fn(S) -> S,
    work: &mut Work,
    action: impl FnOnce(&[S], &mut Work) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut changed = work.take::<S>("c x", numbers.len());
    changed.iter_mut().zip(numbers).for_each(|(changed, number)| *changed = change(*number));
    let done = action(&changed, work);
    work.give("c x", changed);
    done
}

fn times(factor: f64, mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.iter_mut().for_each(|number| *number *= factor);
    numbers
}
