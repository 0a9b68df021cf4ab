//! Noise of measurements. A draw depends on (seed, operator index, element), never on the number of ranks.

use rand_distr::{Distribution, Poisson as Counts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::kinds::kinds;
use crate::random::Stream;
use crate::range::{not_negative, positive};
use crate::scalar::Scalar;

/// The first of the streams of random numbers that noise is drawn from: one for each operator.
const STREAMS: u64 = 0x6e6f_6973_6500_0000;

/// `y = u + σ n`, n standard normal; of complex numbers each part has σ/√2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gaussian {
    /// σ: the standard deviation, in the units of the measurements.
    pub sigma: f64,
}

/// `y = gain · k`, k ~ Poisson(u / gain).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poisson {
    /// Units of the measurements per count: the larger, the noisier.
    pub gain: f64,
}

/// `y = gain · k + σ n`, k ~ Poisson(u / gain), n standard normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoissonGaussian {
    /// Units of the measurements per count.
    pub gain: f64,
    /// σ: the standard deviation of the additive part.
    pub sigma: f64,
}

/// `y = u + w`, w uniform between −a and a; of complex numbers each part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uniform {
    /// a: half the width, in the units of the measurements.
    pub half_width: f64,
}

/// `y = u ± s` for a few measurements at random places, either sign as often; the others stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outliers {
    /// How many: the probability of each measurement, from 0 to 1.
    pub fraction: f64,
    /// s: by how much they are off, in the units of the measurements.
    pub size: f64,
}

kinds! {
    /// What disturbs measurements.
    ///
    /// ```
    /// use stackphys::physics::noise::{AnyNoise, Gaussian};
    /// let noise = AnyNoise::Gaussian(Gaussian { sigma: 0.1 });
    /// let (mut a, mut b) = ([1.0; 3], [1.0; 3]);
    /// noise.disturb(&mut a, 7, 0).unwrap();
    /// noise.disturb(&mut b, 7, 0).unwrap();
    /// assert_eq!(a, b); // the same seed and operator, the same noise
    /// ```
    pub enum AnyNoise by "kind" {
        "gaussian" => Gaussian(Gaussian),
        "poisson" => Poisson(Poisson),
        "poisson_gaussian" => PoissonGaussian(PoissonGaussian),
        "uniform" => Uniform(Uniform),
        "outliers" => Outliers(Outliers),
    }
}

impl AnyNoise {
    /// Name and one line for each kind.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] = &[
        ("gaussian", "u + σ n: sigma"),
        ("poisson", "gain · Poisson(u / gain): gain"),
        ("poisson_gaussian", "gain · Poisson(u / gain) + σ n: gain, sigma"),
        ("uniform", "u + w, |w| ≤ a: half_width"),
        ("outliers", "u ± s at a few random places: fraction, size"),
    ];

    /// Checks the parameters.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            AnyNoise::Gaussian(Gaussian { sigma }) => not_negative("sigma", *sigma),
            AnyNoise::Poisson(Poisson { gain }) => positive("gain", *gain),
            AnyNoise::PoissonGaussian(PoissonGaussian { gain, sigma }) => {
                positive("gain", *gain).and_then(|()| not_negative("sigma", *sigma))
            }
            AnyNoise::Uniform(Uniform { half_width }) => not_negative("half_width", *half_width),
            AnyNoise::Outliers(Outliers { fraction, size }) => {
                if !(0.0..=1.0).contains(fraction) {
                    let text = format!("`fraction` is {fraction}, expected a number from 0 to 1");
                    return Err(Fault::new(text).hint("0.01 is one measurement in a hundred"));
                }
                not_negative("size", *size)
            }
        }
    }

    /// Replaces clean measurements of operator `index` by noisy ones.
    ///
    /// Collective: no. Faults: counts of complex measurements, or of negative ones.
    pub fn disturb<S: Scalar>(&self, values: &mut [S], seed: u64, index: usize) -> Result<(), Fault> {
        let stream = Stream::new(seed, STREAMS + index as u64);
        match self {
            AnyNoise::Gaussian(Gaussian { sigma }) => add_gaussian(values, *sigma, &stream),
            AnyNoise::Poisson(Poisson { gain }) => count(values, *gain, &stream)?,
            AnyNoise::PoissonGaussian(PoissonGaussian { gain, sigma }) => {
                count(values, *gain, &stream)?;
                add_gaussian(values, *sigma, &stream);
            }
            AnyNoise::Uniform(Uniform { half_width }) => {
                for (k, value) in values.iter_mut().enumerate() {
                    let [re, im] =
                        [2 * k as u64, 2 * k as u64 + 1].map(|k| half_width * (2.0 * stream.uniform(k) - 1.0));
                    *value += S::from_parts(re, im);
                }
            }
            AnyNoise::Outliers(Outliers { fraction, size }) => {
                for (k, value) in values.iter_mut().enumerate() {
                    let [which, sign] = [2 * k as u64, 2 * k as u64 + 1].map(|k| stream.uniform(k));
                    if which < *fraction {
                        *value += S::from_f64(if sign < 0.5 { -size } else { *size });
                    }
                }
            }
        }
        Ok(())
    }
}

fn add_gaussian<S: Scalar>(values: &mut [S], sigma: f64, stream: &Stream) {
    let mut noise = vec![S::default(); values.len()];
    stream.fill_normal(0, &mut noise);
    for (value, noise) in values.iter_mut().zip(noise) {
        *value += S::from_parts(sigma * noise.re(), sigma * noise.im());
    }
}

fn count<S: Scalar>(values: &mut [S], gain: f64, stream: &Stream) -> Result<(), Fault> {
    if S::IS_COMPLEX {
        return Err(Fault::new(format!("Poisson noise is for real measurements, the job is {}", S::NAME)));
    }
    for (k, value) in values.iter_mut().enumerate() {
        let expected = value.re() / gain;
        if expected == 0.0 {
            continue; // no light, no photons
        }
        let counts = Counts::new(expected).map_err(|_| {
            Fault::new(format!("Poisson noise needs measurements from 0 on, number {k} is {value}"))
                .hint("is the image negative somewhere, or the gain too small?")
        })?;
        *value = S::from_f64(gain * counts.sample(&mut stream.generator(k as u64)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;

    const N: usize = 100_000;

    fn moments(noise: &AnyNoise, clean: f64) -> (f64, f64) {
        let mut values = vec![clean; N];
        noise.disturb(&mut values, 3, 5).unwrap();
        let mean = values.iter().sum::<f64>() / N as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / N as f64)
    }

    #[test]
    fn mean_and_variance_are_those_of_the_model() {
        for (noise, clean, variance) in [
            (AnyNoise::Gaussian(Gaussian { sigma: 0.5 }), 2.0, 0.25),
            (AnyNoise::Poisson(Poisson { gain: 0.1 }), 2.0, 0.2),
            (AnyNoise::Poisson(Poisson { gain: 2.0 }), 3.0, 6.0),
            (AnyNoise::PoissonGaussian(PoissonGaussian { gain: 0.1, sigma: 0.3 }), 2.0, 0.29),
            (AnyNoise::Uniform(Uniform { half_width: 0.6 }), 2.0, 0.12),
            (AnyNoise::Outliers(Outliers { fraction: 0.2, size: 3.0 }), 2.0, 1.8),
        ] {
            let (mean, got) = moments(&noise, clean);
            assert!((mean - clean).abs() < 5.0 * (variance / N as f64).sqrt(), "{noise:?}: mean {mean}");
            assert!((got / variance - 1.0).abs() < 0.03, "{noise:?}: variance {got}");
        }
        assert_eq!(moments(&AnyNoise::Poisson(Poisson { gain: 1.0 }), 0.0), (0.0, 0.0));
    }

    #[test]
    fn seeds_and_operators_have_noise_of_their_own() {
        let noise = AnyNoise::Gaussian(Gaussian { sigma: 1.0 });
        let draw = |seed, index| {
            let mut values = [0.0; 4];
            noise.disturb(&mut values, seed, index).unwrap();
            values
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn counts_of_what_cannot_be_counted_are_refused() {
        let noise = AnyNoise::Poisson(Poisson { gain: 1.0 });
        assert!(noise.disturb(&mut [1.0, -0.5], 1, 0).unwrap_err().text.contains("number 1 is -0.5"));
        assert!(noise.disturb(&mut [Complex::new(1.0, 0.0)], 1, 0).is_err());
        assert!(AnyNoise::Poisson(Poisson { gain: 0.0 }).check().is_err());
        assert!(AnyNoise::Outliers(Outliers { fraction: 1.1, size: 3.0 }).check().is_err());
    }

    #[test]
    fn outliers_are_few_and_the_others_stay() {
        let noise = AnyNoise::Outliers(Outliers { fraction: 0.01, size: 4.0 });
        let mut values = vec![2.0; N];
        noise.disturb(&mut values, 3, 5).unwrap();
        let count = |of: f64| values.iter().filter(|value| **value == of).count();
        let (low, high, same) = (count(-2.0), count(6.0), count(2.0));
        assert_eq!(low + high + same, N);
        assert!((900..1100).contains(&(low + high)) && (low as f64 / high as f64 - 1.0).abs() < 0.3, "{low} {high}");
    }
}
