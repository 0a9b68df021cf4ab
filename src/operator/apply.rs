//! The public call of an operator: sizes are checked here, once, and an implementer cannot forget it.

use super::{LinearOperator, Work};
use crate::error::{Fault, Phase};
use crate::scalar::Scalar;
use crate::space::{Dim, Shape};

/// The checked calls of every [`LinearOperator`].
///
/// Collective: no. Faults: a slice of the wrong length; whatever the operator itself reports.
///
/// ```
/// use stackphys::operator::{Apply, Work};
/// use stackphys::physics::Diagonal;
/// let twice = Diagonal::new([("x", 3)], vec![2.0, 2.0, 2.0]).unwrap();
/// let (mut y, mut work) = (vec![0.0; 3], Work::default());
/// twice.forward(&[1.0, 2.0, 3.0], &mut y, &mut work).unwrap();
/// assert_eq!(y, [2.0, 4.0, 6.0]);
/// assert!(twice.forward(&[1.0], &mut y, &mut work).unwrap_err().text.contains("expected 3 numbers"));
/// ```
pub trait Apply<X: Scalar, Y: Scalar<Real = X::Real>>: LinearOperator<X, Y> {
    /// `y = A x`.
    fn forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        check(self, "x", self.domain(), x.len())
            .and_then(|()| check(self, "y", self.range(), y.len()))
            .and_then(|()| self.apply_forward(x, y, work))
            .map_err(|fault| fault.in_phase(Phase::Forward))
    }

    /// `y += A x`.
    fn forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        check(self, "x", self.domain(), x.len())
            .and_then(|()| check(self, "y", self.range(), y.len()))
            .and_then(|()| self.apply_forward_add(x, y, work))
            .map_err(|fault| fault.in_phase(Phase::Forward))
    }

    /// `x = Aᴴ y`.
    fn adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        check(self, "y", self.range(), y.len())
            .and_then(|()| check(self, "x", self.domain(), x.len()))
            .and_then(|()| self.apply_adjoint(y, x, work))
            .map_err(|fault| fault.in_phase(Phase::Adjoint))
    }

    /// `x += Aᴴ y`.
    fn adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        check(self, "y", self.range(), y.len())
            .and_then(|()| check(self, "x", self.domain(), x.len()))
            .and_then(|()| self.apply_adjoint_add(y, x, work))
            .map_err(|fault| fault.in_phase(Phase::Adjoint))
    }

    /// `out += Aᴴ A x`.
    fn normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        check(self, "x", self.domain(), x.len())
            .and_then(|()| check(self, "AᴴAx", self.domain(), out.len()))
            .and_then(|()| self.apply_normal_add(x, out, work))
            .map_err(|fault| fault.in_phase(Phase::Normal))
    }
}

impl<X, Y, A> Apply<X, Y> for A
where
    X: Scalar,
    Y: Scalar<Real = X::Real>,
    A: LinearOperator<X, Y> + ?Sized,
{
}

fn check<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &(impl LinearOperator<X, Y> + ?Sized),
    what: &str,
    shape: &Shape,
    got: usize,
) -> Result<(), Fault> {
    let want = shape.len();
    if got == want {
        return Ok(());
    }
    // a wrong size of one dim explains most wrong lengths
    let explains = |dim: &&Dim| dim.size > 0 && got.is_multiple_of(want / dim.size);
    let mut dims = shape.dims().iter().filter(explains);
    let detail = match (dims.next(), dims.next()) {
        (Some(dim), None) => format!("; dim `{}` should be {}, got {}", dim.name, dim.size, got / (want / dim.size)),
        _ => String::new(),
    };
    Err(Fault::new(format!("{}: {what}: expected {want} numbers for {shape}, got {got}{detail}", operator.name())))
}
