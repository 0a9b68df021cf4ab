//! Data fidelities `d(u, y)`: how far predicted measurements `u = A x` are from measured ones `y`.
//!
//! A fidelity knows no operator and no ranks: it works on the measurements of one operator, as slices. Each is a struct
//! with its parameters, which is the very table that a config holds, and gives three things: the value, the gradient with
//! respect to `u` (for complex `u` the one that belongs to Re⟨·,·⟩), and the proximal map in measurement space.
//! [`DataTerm`](super::DataTerm) puts them on a stack.

mod amplitude;
mod huber;
mod l1;
mod l2;
mod l2_ball;
mod log_poisson;
mod poisson;

pub use amplitude::Amplitude;
pub use huber::Huber;
pub use l1::L1;
pub use l2::{L2, Variance};
pub use l2_ball::L2Ball;
pub use log_poisson::LogPoisson;
pub use poisson::Poisson;

use std::path::Path;

use crate::error::Fault;
use crate::kinds::kinds;
use crate::scalar::Scalar;

/// A data fidelity `d(u, y)` on the measurements of one operator. All slices have the same length.
///
/// Collective: no. Cost: one pass. Faults: a fidelity that is not differentiable has no gradient; one for counts refuses
/// complex measurements.
pub trait Fidelity {
    /// One line for `stackphys list fidelities`: the formula, what it is for, its keys.
    const SUMMARY: &'static str;
    /// Whether the gradient belongs to the value wherever that is finite. If not, a method needs the proximal map.
    const SMOOTH: bool = true;
    /// Whether it is 0 or infinite, and nothing between.
    const INDICATOR: bool = false;
    /// Whether it is for real measurements only: counts.
    const REAL: bool = false;
    /// Whether u = 0 is a bad place to start from: the gradient there is zero, although it is no minimum.
    const FLAT_AT_ZERO: bool = false;

    /// Checks the parameters.
    fn check(&self) -> Result<(), Fault>;
    /// The file with one number for each measurement that the parameters name, if it is still to be read.
    fn file(&self) -> Option<&Path> {
        None
    }
    /// Whether it takes the standard deviations that came with the data, and has not got them yet.
    fn takes_sigma(&self) -> bool {
        false
    }
    /// Puts the numbers of that file or of the data, variances of one operator's measurements, in their place.
    fn set_numbers(&mut self, _numbers: Vec<f64>) {}
    /// Checks that it can be used on so many measurements.
    fn expect_len(&self, _len: usize) -> Result<(), Fault> {
        Ok(())
    }
    /// `d(u, y)`; infinite where `u` is not allowed.
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault>;
    /// `u ← ∇_u d(u, y)`, and returns `d(u, y)` as it was.
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault>;
    /// `v ← argmin_u step·d(u, y) + ½‖u − v‖²`.
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault>;
}

macro_rules! fidelities {
    ($( $kind:literal => $variant:ident($params:ty), )+) => {
        kinds! {
            /// Any data fidelity.
            ///
            /// ```
            /// use stackphys::recon::fidelity::AnyFidelity;
            /// let huber: AnyFidelity = toml::from_str("kind = 'huber'\ndelta = 1.0").unwrap();
            /// assert_eq!(huber.value(&[0.5, 3.0], &[0.0, 0.0]).unwrap(), 0.125 + 2.5);
            /// ```
            pub enum AnyFidelity by "kind" { $( $kind => $variant($params), )+ }
        }

        impl AnyFidelity {
            /// Name and one line for each fidelity.
            pub const SUMMARIES: &'static [(&'static str, &'static str)] =
                &[$(($kind, <$params as Fidelity>::SUMMARY)),+];

            /// See [`Fidelity::SMOOTH`].
            pub fn is_smooth(&self) -> bool {
                match self { $( Self::$variant(_) => <$params as Fidelity>::SMOOTH, )+ }
            }
            /// See [`Fidelity::INDICATOR`].
            pub fn is_indicator(&self) -> bool {
                match self { $( Self::$variant(_) => <$params as Fidelity>::INDICATOR, )+ }
            }
            /// See [`Fidelity::REAL`].
            pub fn is_real(&self) -> bool {
                match self { $( Self::$variant(_) => <$params as Fidelity>::REAL, )+ }
            }
            /// See [`Fidelity::FLAT_AT_ZERO`].
            pub fn is_flat_at_zero(&self) -> bool {
                match self { $( Self::$variant(_) => <$params as Fidelity>::FLAT_AT_ZERO, )+ }
            }
            /// See [`Fidelity::check`].
            pub fn check(&self) -> Result<(), Fault> {
                match self { $( Self::$variant(fidelity) => fidelity.check(), )+ }
            }
            /// See [`Fidelity::file`].
            pub fn file(&self) -> Option<&Path> {
                match self { $( Self::$variant(fidelity) => fidelity.file(), )+ }
            }
            /// See [`Fidelity::takes_sigma`].
            pub fn takes_sigma(&self) -> bool {
                match self { $( Self::$variant(fidelity) => fidelity.takes_sigma(), )+ }
            }
            /// See [`Fidelity::set_numbers`].
            pub fn set_numbers(&mut self, numbers: Vec<f64>) {
                match self { $( Self::$variant(fidelity) => fidelity.set_numbers(numbers), )+ }
            }
            /// See [`Fidelity::expect_len`].
            pub fn expect_len(&self, len: usize) -> Result<(), Fault> {
                match self { $( Self::$variant(fidelity) => fidelity.expect_len(len), )+ }
            }
            /// See [`Fidelity::value`].
            pub fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
                match self { $( Self::$variant(fidelity) => fidelity.value(u, y), )+ }
            }
            /// See [`Fidelity::gradient`].
            pub fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
                match self { $( Self::$variant(fidelity) => fidelity.gradient(u, y), )+ }
            }
            /// See [`Fidelity::prox`].
            pub fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
                match self { $( Self::$variant(fidelity) => fidelity.prox(v, y, step), )+ }
            }
        }
    };
}

fidelities! {
    "l2" => L2(L2),
    "l1" => L1(L1),
    "l2_ball" => L2Ball(L2Ball),
    "huber" => Huber(Huber),
    "poisson" => Poisson(Poisson),
    "log_poisson" => LogPoisson(LogPoisson),
    "amplitude" => Amplitude(Amplitude),
}

impl Default for AnyFidelity {
    fn default() -> Self {
        AnyFidelity::L2(L2::default())
    }
}

/// Σ over pairs of elements.
fn sum<S: Scalar>(u: &[S], y: &[S], term: impl Fn(S, S) -> f64) -> f64 {
    u.iter().zip(y).map(|(u, y)| term(*u, *y)).sum()
}

/// ‖a − b‖².
pub(super) fn distance_squared<S: Scalar>(a: &[S], b: &[S]) -> f64 {
    sum(a, b, |a, b| (a - b).modulus_squared())
}

/// Replaces each element by `new(element, measurement)`.
fn replace<S: Scalar>(u: &mut [S], y: &[S], new: impl Fn(S, S) -> S) {
    for (u, y) in u.iter_mut().zip(y) {
        *u = new(*u, *y);
    }
}

/// |z|.
fn modulus<S: Scalar>(z: S) -> f64 {
    if S::IS_COMPLEX { z.re().hypot(z.im()) } else { z.re().abs() }
}

/// The product with a real number that is an `f64`.
fn times<S: Scalar>(z: S, by: f64) -> S {
    S::from_parts(z.re() * by, z.im() * by)
}

fn only_real<S: Scalar>(of: &str) -> Result<(), Fault> {
    if S::IS_COMPLEX {
        return Err(Fault::new(format!("the fidelity `{of}` is for real measurements, the job is {}", S::NAME)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::random::Stream;

    /// A fidelity and whether it takes complex measurements, has a gradient, and needs positive numbers.
    fn table() -> Vec<(AnyFidelity, bool, bool, bool)> {
        let variances = Variance::Numbers((1..14).map(|j| 0.3 * f64::from(j)).collect());
        vec![
            (AnyFidelity::L2(L2 { sigma: 0.7, ..L2::default() }), true, true, false),
            (AnyFidelity::L2(L2 { sigma: 0.7, variance: Some(variances) }), true, true, false),
            (AnyFidelity::L1(L1 {}), true, false, false),
            (AnyFidelity::L2Ball(L2Ball { radius: 1.3 }), true, false, false),
            (AnyFidelity::Huber(Huber { delta: 0.4 }), true, true, false),
            (AnyFidelity::Poisson(Poisson { gain: 0.5, background: 0.2 }), false, true, true),
            (AnyFidelity::LogPoisson(LogPoisson { photons: 50.0, mu: 0.8 }), false, true, true),
            (AnyFidelity::Amplitude(Amplitude {}), true, true, true),
        ]
    }

    fn numbers<S: Scalar>(stream: u64, positive: bool) -> Vec<S> {
        let mut values = vec![S::default(); 13];
        Stream::new(4, stream).fill_normal(0, &mut values);
        if positive {
            values.iter_mut().for_each(|z| *z = S::from_f64(modulus(*z) + 0.1));
        }
        values
    }

    /// Moves `u` along `h`, and compares the change of the value with the gradient: the remainder falls as the square.
    fn taylor<S: Scalar>(fidelity: &AnyFidelity, positive: bool) {
        let (mut u, y, h) = (numbers::<S>(1, positive), numbers::<S>(2, positive), numbers::<S>(3, false));
        if S::IS_COMPLEX && positive {
            u = numbers(1, false); // amplitudes are measured, the field is complex
        }
        let mut gradient = u.clone();
        let at = fidelity.gradient(&mut gradient, &y).unwrap();
        assert_eq!(at, fidelity.value(&u, &y).unwrap());
        let slope = crate::space::dot(&gradient, &h);
        let remainder = |t: f64| {
            let moved: Vec<S> = u.iter().zip(&h).map(|(u, h)| *u + times(*h, t)).collect();
            (fidelity.value(&moved, &y).unwrap() - at - t * slope).abs()
        };
        let (coarse, fine) = (remainder(1e-3), remainder(1e-4));
        assert!(fine < coarse / 80.0 && fine < 1e-6 * at.abs().max(1.0), "{fidelity:?}: {coarse} {fine}");
    }

    #[test]
    fn gradients_match_values() {
        for (fidelity, complex, differentiable, positive) in table() {
            if differentiable {
                taylor::<f64>(&fidelity, positive);
                if complex {
                    taylor::<Complex<f64>>(&fidelity, positive);
                }
            }
        }
    }

    /// The proximal map minimises: no random neighbour is better.
    fn minimises<S: Scalar>(fidelity: &AnyFidelity, positive: bool) {
        let (v, y) = (numbers::<S>(1, false), numbers::<S>(2, positive));
        for step in [0.1, 1.0, 7.0] {
            let mut p = v.clone();
            fidelity.prox(&mut p, &y, step).unwrap();
            let objective = |u: &[S]| {
                let distance = sum(u, &v, |u, v| (u - v).modulus_squared());
                step * fidelity.value(u, &y).unwrap() + 0.5 * distance
            };
            let at = objective(&p);
            assert!(at.is_finite(), "{fidelity:?}");
            for trial in 0..200 {
                let h = numbers::<S>(10 + trial, false);
                let size = 10.0_f64.powi(-((trial % 6) as i32));
                let moved: Vec<S> = p.iter().zip(&h).map(|(p, h)| *p + times(*h, size)).collect();
                assert!(objective(&moved) >= at - 1e-10 * at.abs().max(1.0), "{fidelity:?} step {step} size {size}");
            }
        }
    }

    #[test]
    fn proximal_maps_minimise() {
        for (fidelity, complex, _, positive) in table() {
            minimises::<f64>(&fidelity, positive);
            if complex {
                minimises::<Complex<f64>>(&fidelity, positive);
            }
        }
    }

    #[test]
    fn values_are_zero_where_the_data_are_explained_and_above_elsewhere() {
        for (fidelity, ..) in table() {
            let y = numbers::<f64>(2, true);
            let u: Vec<f64> = match &fidelity {
                AnyFidelity::Poisson(Poisson { gain, background }) => y.iter().map(|y| y - gain * background).collect(),
                _ => y.clone(),
            };
            let (at, off) = (fidelity.value(&u, &y).unwrap(), fidelity.value(&[9.0; 13], &y).unwrap());
            assert!(at.abs() < 1e-12 && off > 1.0, "{fidelity:?} {at} {off}");
        }
    }

    #[test]
    fn what_they_declare_is_so() {
        for (fidelity, complex, differentiable, _) in table() {
            assert_eq!((fidelity.is_smooth(), fidelity.is_real()), (differentiable, !complex), "{fidelity:?}");
            let value = fidelity.value(&[9.0; 13], &numbers::<f64>(2, true)).unwrap();
            assert_eq!(fidelity.is_indicator(), value.is_infinite(), "{fidelity:?}");
            // a zero gradient at zero, though the value is not the least
            let (mut u, y) = (vec![0.0; 13], numbers::<f64>(2, true));
            if differentiable && fidelity.value(&u, &y).unwrap().is_finite() {
                fidelity.gradient(&mut u, &y).unwrap();
                assert_eq!(fidelity.is_flat_at_zero(), u.iter().all(|g| *g == 0.0), "{fidelity:?}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut u = [1.0];
        assert!(AnyFidelity::L2Ball(L2Ball { radius: 1.0 }).gradient(&mut u, &[0.0]).is_err());
        let poisson = AnyFidelity::Poisson(Poisson { gain: 1.0, background: 0.0 });
        assert!(poisson.value(&[Complex::new(1.0, 0.0)], &[Complex::new(1.0, 0.0)]).is_err());
        assert_eq!(poisson.value(&[-1.0], &[2.0]).unwrap(), f64::INFINITY);
        assert!(AnyFidelity::Huber(Huber { delta: 0.0 }).check().is_err());
    }
}
