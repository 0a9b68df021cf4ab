//! Does an operator keep what it declares: self-adjoint, no negative entries, an isometry, a bound of its norm?

use super::DotTest;
use crate::error::Fault;
use crate::operator::{Apply, LinearOperator, Work};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::dot;

/// Steps of the power method with which a declared bound of the norm is put to the test.
const POWER_STEPS: usize = 8;

/// Tests each declaration of an operator on random vectors, and that its normal operator is `AᴴA`.
///
/// Collective: no. Faults: the declaration that does not hold.
///
/// ```
/// use stackphys::{physics::Diagonal, testing::structure_test};
/// structure_test(&Diagonal::new([("x", 3)], vec![1.0, -2.0, 3.0]).unwrap(), 1).unwrap();
/// ```
pub fn structure_test<D: Scalar, R: Scalar<Real = D::Real>>(
    operator: &(impl LinearOperator<D, R> + ?Sized),
    seed: u64,
) -> Result<(), Fault> {
    let mut work = Work::default();
    let tolerance = 10.0 * DotTest::tolerance::<D>();
    let mut x = vec![D::default(); operator.domain().len()];
    Stream::new(seed, 1).fill_normal(0, &mut x);
    let mut ax = vec![R::default(); operator.range().len()];
    operator.forward(&x, &mut ax, &mut work)?;
    let ax_squared = dot(&ax, &ax);

    let mut two_steps = vec![D::default(); x.len()];
    operator.adjoint(&ax, &mut two_steps, &mut work)?;
    let mut normal = vec![D::default(); x.len()];
    operator.normal_add(&x, &mut normal, &mut work)?;
    let difference: f64 = normal.iter().zip(&two_steps).map(|(a, b)| (*a - *b).modulus_squared()).sum();
    if difference.sqrt() > tolerance * dot(&two_steps, &two_steps).sqrt() {
        return Err(Fault::new("`apply_normal_add` does not add Aᴴ A x"));
    }

    let declared = operator.structure();
    if declared.self_adjoint {
        if operator.domain().len() != operator.range().len() {
            return Err(Fault::new("declared self-adjoint, but domain and range differ"));
        }
        let mut ahy = vec![D::default(); x.len()];
        let mut y = vec![R::default(); ax.len()];
        Stream::new(seed, 1).fill_normal(0, &mut y); // the same numbers as x
        operator.adjoint(&y, &mut ahy, &mut work)?;
        let difference: f64 =
            ax.iter().zip(&ahy).map(|(a, b)| (a.re() - b.re()).powi(2) + (a.im() - b.im()).powi(2)).sum();
        if difference.sqrt() > tolerance * ax_squared.sqrt() {
            return Err(Fault::new("declared self-adjoint, but A x and Aᴴ x differ"));
        }
    }
    if declared.isometry {
        let difference: f64 = two_steps.iter().zip(&x).map(|(a, b)| (*a - *b).modulus_squared()).sum();
        if difference.sqrt() > tolerance * dot(&x, &x).sqrt() {
            return Err(Fault::new("declared an isometry, but Aᴴ A x is not x"));
        }
    }
    if declared.non_negative {
        // columns of a few unit vectors
        for k in (0..x.len()).step_by(x.len().div_ceil(7).max(1)) {
            let mut unit = vec![D::default(); x.len()];
            unit[k] = D::from_f64(1.0);
            operator.forward(&unit, &mut ax, &mut work)?;
            if ax.iter().any(|entry| entry.re() < 0.0 || entry.im() != 0.0) {
                return Err(Fault::new(format!("declared non-negative, but column {k} has another entry")));
            }
        }
    }
    if let Some(bound) = operator.norm_squared_bound() {
        // a random x sees little of ‖A‖; each AᴴA turns it towards the direction that sees all
        for _ in 0..POWER_STEPS {
            operator.forward(&x, &mut ax, &mut work)?;
            let seen = dot(&ax, &ax) / dot(&x, &x);
            if seen > bound * (1.0 + tolerance) {
                let text = format!("‖A‖² is declared to be at most {bound}, but ‖A x‖²/‖x‖² = {seen} was seen");
                return Err(Fault::new(text));
            }
            operator.adjoint(&ax, &mut x, &mut work)?;
            let norm = dot(&x, &x).sqrt();
            if norm == 0.0 {
                break;
            }
            x.iter_mut().for_each(|x| *x *= D::from_f64(1.0 / norm));
        }
    }
    Ok(())
}
