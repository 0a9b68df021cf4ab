//! The Taylor test of a smooth operator: the remainder of the linearisation falls as the square of the step, and the two
//! derivatives are adjoint to each other.

use super::DotTest;
use crate::error::Fault;
use crate::operator::{Differentiable, Work};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::dot;

/// What a Taylor test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaylorTest {
    /// ‖F(x + t h) − F(x) − t F′(x) h‖ at t = 1e-1 divided by the same at t = 1e-2: 100 for a smooth map; infinite for a
    /// linear one.
    pub ratio: f64,
    /// The dot test of the derivative: Re⟨F′h, v⟩ against ⟨h, F′* v⟩.
    pub derivative: DotTest,
}

impl TaylorTest {
    /// Whether the derivative is the derivative, and its adjoint the adjoint.
    pub fn passes<S: Scalar>(&self) -> bool {
        self.ratio > 80.0 && self.derivative.passes::<S>()
    }
}

/// The Taylor test of one smooth operator at a random point, in a random direction.
///
/// Collective: no. Cost: a linearisation, two evaluations, one product each with the derivative and its adjoint.
pub fn taylor_test<D: Scalar, R: Scalar<Real = D::Real>>(
    operator: &(impl Differentiable<D, R> + ?Sized),
    seed: u64,
) -> Result<TaylorTest, Fault> {
    let (n, m) = (operator.domain().len(), operator.range().len());
    let mut work = Work::default();
    let random = |stream| {
        let mut values = vec![D::default(); n];
        Stream::new(seed, stream).fill_normal(0, &mut values);
        values
    };
    let (x, h) = (random(1), random(2));
    let mut v = vec![R::default(); m];
    Stream::new(seed, 3).fill_normal(0, &mut v);
    let nan = |len| vec![R::from_parts(f64::NAN, f64::NAN); len];

    let (mut value, mut at) = (nan(m), operator.point());
    operator.linearize(&x, &mut value, &mut at, &mut work)?;
    let mut slope = nan(m);
    operator.jvp(&at, &h, &mut slope, &mut work)?;
    let mut remainder = |t: f64| -> Result<f64, Fault> {
        let moved: Vec<D> = x.iter().zip(&h).map(|(x, h)| *x + *h * D::from_f64(t)).collect();
        let mut there = nan(m);
        operator.evaluate(&moved, &mut there, &mut work)?;
        let rest = there
            .iter()
            .zip(&value)
            .zip(&slope)
            .map(|((there, here), slope)| (*there - *here - *slope * R::from_f64(t)).modulus_squared());
        Ok(rest.sum::<f64>().sqrt())
    };
    let (coarse, fine) = (remainder(1e-1)?, remainder(1e-2)?);
    let rounding = DotTest::tolerance::<D>() * dot(&value, &value).sqrt();

    let mut pulled = vec![D::default(); n];
    operator.vjp_add(&at, &v, &mut pulled, &mut work)?;
    let norms = (dot(&slope, &slope) * dot(&v, &v)).sqrt();
    Ok(TaylorTest {
        ratio: if coarse <= rounding { f64::INFINITY } else { coarse / fine },
        derivative: DotTest::new(dot(&slope, &v), dot(&h, &pulled), norms),
    })
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::operator::Linear;
    use crate::physics::{Dense, Intensity};
    use crate::space::Shape;

    fn dense<S: Scalar>() -> Dense<S> {
        let mut entries = vec![S::default(); 5 * 7];
        Stream::new(9, 9).fill_normal(0, &mut entries);
        Dense::new(Shape::new([("x", 7)]), ndarray::Array2::from_shape_vec((5, 7), entries).unwrap()).unwrap()
    }

    #[test]
    fn smooth_operators_pass() {
        fn check<S: Scalar>() {
            let intensity = taylor_test(&Intensity(dense::<S>()), 1).unwrap();
            assert!(intensity.passes::<S>() && intensity.ratio < 120.0, "{intensity:?}");
            let linear = taylor_test(&Linear(dense::<S>()), 1).unwrap();
            assert!(linear.passes::<S>() && linear.ratio.is_infinite(), "{linear:?}");
        }
        check::<f32>();
        check::<f64>();
        check::<Complex<f32>>();
        check::<Complex<f64>>();
    }

    #[test]
    fn a_point_of_another_operator_is_refused() {
        let (a, b) = (Intensity(dense::<f64>()), Linear(dense::<f64>()));
        let at = Differentiable::<f64>::point(&b);
        assert!(a.jvp(&at, &[0.0; 7], &mut [0.0; 5], &mut Work::default()).is_err());
    }
}
