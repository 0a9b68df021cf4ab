//! Least squares: Gaussian noise.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Fidelity, times};
use crate::error::Fault;
use crate::range::{is_positive, positive};
use crate::scalar::Scalar;

/// `½ Σ |u_j − y_j|² / (σ² v_j)`; without variances `‖u − y‖² / (2σ²)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct L2 {
    /// The standard deviation of the noise. 1 gives ½‖u − y‖².
    pub sigma: f64,
    /// v: one variance for each measurement, to be multiplied by σ². An array in the data folder with the sizes of the
    /// term's measurements, or "data": the squares of the standard deviations that came with the data. Left out: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<Variance>,
}

/// One variance for each measurement.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum Variance {
    /// An array that was not read yet, as a config names it; not `data`.
    File(PathBuf),
    /// The squares of the `sigma` that came with the data.
    #[schemars(skip)]
    Data,
    /// The numbers of one operator, in the order of its measurements.
    #[schemars(skip)]
    Numbers(Vec<f64>),
}

impl<'de> Deserialize<'de> for Variance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(from)?;
        Ok(if path == Path::new(Variance::DATA) { Variance::Data } else { Variance::File(path) })
    }
}

impl Serialize for Variance {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Variance::File(path) => path.serialize(to),
            Variance::Data => Variance::DATA.serialize(to),
            Variance::Numbers(numbers) => numbers.serialize(to),
        }
    }
}

impl Variance {
    /// The word that is no path.
    const DATA: &'static str = "data";
}

impl Default for L2 {
    fn default() -> Self {
        L2 { sigma: 1.0, variance: None }
    }
}

impl L2 {
    /// 1 / (σ² v_j) for so many measurements.
    fn weights(&self, len: usize) -> Result<impl Iterator<Item = f64> + '_, Fault> {
        let variances = match &self.variance {
            None => None,
            Some(Variance::Numbers(numbers)) if numbers.len() == len => Some(numbers),
            Some(Variance::Numbers(numbers)) => {
                let got = numbers.len();
                return Err(Fault::new(format!(
                    "`variance`: expected {len} numbers, as many as measurements, got {got}"
                ))
                .hint("give each operator a fidelity of its own, with the variances of its measurements"));
            }
            Some(unread @ (Variance::File(_) | Variance::Data)) => {
                let of = self.file().map_or(format!("{unread:?}"), |path| path.display().to_string());
                return Err(Fault::new(format!("`variance`: {of} was not read"))
                    .hint("in the library, read it first and give the numbers: Variance::Numbers"));
            }
        };
        let weight = 1.0 / (self.sigma * self.sigma);
        Ok((0..len).map(move |j| variances.map_or(weight, |variances| weight / variances[j])))
    }
}

impl Fidelity for L2 {
    const SUMMARY: &'static str = "½ Σ |u − y|² / (σ² v), Gaussian noise: sigma, variance (a file, or \"data\")";

    fn check(&self) -> Result<(), Fault> {
        positive("sigma", self.sigma)?;
        let Some(Variance::Numbers(numbers)) = &self.variance else { return Ok(()) };
        match numbers.iter().position(|number| !is_positive(*number)) {
            Some(at) => positive("variance", numbers[at]).map_err(|fault| {
                let hint = format!("that is number {at} of the variances of this operator");
                fault.hint(hint)
            }),
            None => Ok(()),
        }
    }
    fn file(&self) -> Option<&Path> {
        match &self.variance {
            Some(Variance::File(path)) => Some(path),
            _ => None,
        }
    }
    fn takes_sigma(&self) -> bool {
        self.variance == Some(Variance::Data)
    }
    fn set_numbers(&mut self, numbers: Vec<f64>) {
        self.variance = Some(Variance::Numbers(numbers));
    }
    fn expect_len(&self, len: usize) -> Result<(), Fault> {
        self.weights(len).map(|_| ())
    }
    fn value<S: Scalar>(&self, u: &[S], y: &[S]) -> Result<f64, Fault> {
        let weights = self.weights(u.len())?;
        Ok(0.5 * u.iter().zip(y).zip(weights).map(|((u, y), w)| w * (*u - *y).modulus_squared()).sum::<f64>())
    }
    fn gradient<S: Scalar>(&self, u: &mut [S], y: &[S]) -> Result<f64, Fault> {
        let value = self.value(u, y)?;
        for ((u, y), weight) in u.iter_mut().zip(y).zip(self.weights(y.len())?) {
            *u = times(*u - *y, weight);
        }
        Ok(value)
    }
    fn prox<S: Scalar>(&self, v: &mut [S], y: &[S], step: f64) -> Result<(), Fault> {
        for ((v, y), weight) in v.iter_mut().zip(y).zip(self.weights(y.len())?) {
            let pull = step * weight;
            *v = times(*v + times(*y, pull), 1.0 / (1.0 + pull));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measurement_has_its_variance() {
        let l2 = L2 { sigma: 2.0, variance: Some(Variance::Numbers(vec![1.0, 0.25])) };
        let (mut u, y) = ([3.0, 5.0], [1.0, 4.0]);
        assert_eq!(l2.value(&u, &y).unwrap(), 0.5 * (4.0 / 4.0 + 1.0 / 1.0));
        l2.gradient(&mut u, &y).unwrap();
        assert_eq!(u, [0.5, 1.0]);
        let mut v = [3.0, 5.0];
        l2.prox(&mut v, &y, 4.0).unwrap();
        assert_eq!(v, [2.0, 4.2]);
    }

    #[test]
    fn variances_that_cannot_be_are_refused() {
        let with = |variance| L2 { sigma: 1.0, variance: Some(variance) };
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let fault = with(Variance::Numbers(vec![1.0, bad])).check().unwrap_err();
            assert_eq!(fault.text, format!("`variance` is {bad}, expected a finite number above 0"));
            assert!(fault.hint.unwrap().contains("number 1"));
        }
        let text = with(Variance::Numbers(vec![1.0])).value(&[0.0, 0.0], &[0.0, 0.0]).unwrap_err().text;
        assert_eq!(text, "`variance`: expected 2 numbers, as many as measurements, got 1");
        let text = with(Variance::File("v.npy".into())).gradient(&mut [0.0], &[0.0]).unwrap_err().text;
        assert_eq!(text, "`variance`: v.npy was not read");
        assert!(with(Variance::File("v.npy".into())).prox(&mut [0.0], &[0.0], 1.0).is_err());
    }
}
