//! Random numbers from (seed, stream, global index): the same for any number of ranks.
//!
//! A draw is a function of the element's place in the whole vector, not of who asks or in which order. Each index owns
//! four words of a ChaCha8 key stream, so any part of a vector can be filled on its own.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::scalar::Scalar;

/// Words (u32) of the key stream that belong to one index: two uniform numbers of 53 bits.
const WORDS: u128 = 4;

/// One independent sequence of random numbers, indexed by place.
///
/// Collective: no. Cost: one block of ChaCha8 per single draw, about 30 ns per number in [`fill_normal`](Self::fill_normal).
///
/// ```
/// use stackphys::random::Stream;
/// let noise = Stream::new(1, 0);
/// let (mut whole, mut second_half) = ([0.0; 8], [0.0; 4]);
/// noise.fill_normal(0, &mut whole);
/// noise.fill_normal(4, &mut second_half); // another rank
/// assert_eq!(whole[4..], second_half);
/// ```
#[derive(Debug, Clone)]
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// Stream `stream` of a seed. Streams of one seed are independent: one for each purpose, or each operator.
    pub fn new(seed: u64, stream: u64) -> Self {
        // The key is written out, so that the numbers do not depend on how a version of the crate stretches a seed.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(stream);
        Stream { generator }
    }

    /// A number uniform in [0, 1).
    pub fn uniform(&self, index: u64) -> f64 {
        uniform(&mut self.at(index))
    }

    /// A number of the standard normal distribution.
    pub fn normal(&self, index: u64) -> f64 {
        self.normal_pair(index).0
    }

    /// Two independent numbers of the standard normal distribution; the first is [`normal`](Self::normal)'s.
    pub fn normal_pair(&self, index: u64) -> (f64, f64) {
        normal_pair(&mut self.at(index))
    }

    /// Standard normal numbers for the indices `first_index`, `first_index + 1`, …, with E|z|² = 1.
    ///
    /// A complex number has independent parts of variance ½.
    pub fn fill_normal<S: Scalar>(&self, first_index: u64, values: &mut [S]) {
        let mut generator = self.at(first_index);
        for value in values {
            let (a, b) = normal_pair(&mut generator);
            *value = if S::IS_COMPLEX {
                S::from_parts(a * std::f64::consts::FRAC_1_SQRT_2, b * std::f64::consts::FRAC_1_SQRT_2)
            } else {
                S::from_f64(a)
            };
        }
    }

    /// Signs ±1 with equal chances for the indices `first_index`, `first_index + 1`, …: one bit of the key stream each, so a
    /// stream is for signs or for other numbers, not for both.
    pub fn fill_signs<S: Scalar>(&self, first_index: u64, values: &mut [S]) {
        let mut generator = self.generator.clone();
        generator.set_word_pos(u128::from(first_index / 32));
        let mut word = generator.next_u32();
        for (index, value) in (first_index..).zip(values) {
            if index != first_index && index.is_multiple_of(32) {
                word = generator.next_u32();
            }
            *value = S::from_f64(if word >> (index % 32) & 1 == 0 { 1.0 } else { -1.0 });
        }
    }

    /// A generator of its own for one index, for distributions that need an unknown count of numbers.
    pub fn generator(&self, index: u64) -> impl Rng + use<> {
        ChaCha8Rng::seed_from_u64(self.at(index).next_u64())
    }

    /// The generator, at the words of an index.
    fn at(&self, index: u64) -> ChaCha8Rng {
        let mut generator = self.generator.clone();
        generator.set_word_pos(u128::from(index) * WORDS);
        generator
    }
}

/// 53 bits as a number in [0, 1).
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Box-Muller: two uniform numbers in, two normal ones out, never more words than an index owns.
fn normal_pair(generator: &mut ChaCha8Rng) -> (f64, f64) {
    let radius = (-2.0 * (1.0 - uniform(generator)).ln()).sqrt(); // 1 − u is never zero
    let (sin, cos) = (std::f64::consts::TAU * uniform(generator)).sin_cos();
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;

    #[test]
    fn any_part_is_the_same_part_of_the_whole() {
        let stream = Stream::new(7, 3);
        let mut whole = vec![0.0f64; 200];
        stream.fill_normal(0, &mut whole);
        for first in [0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 131] {
            let mut part = vec![0.0f64; 200 - first];
            stream.fill_normal(first as u64, &mut part);
            assert_eq!(part, whole[first..]);
        }
        for (index, value) in whole.iter().enumerate() {
            assert_eq!(stream.normal(index as u64), *value);
        }
        let mut complex = vec![Complex::new(0.0f64, 0.0); 40];
        stream.fill_normal(5, &mut complex);
        let (a, b) = stream.normal_pair(44);
        let half = std::f64::consts::FRAC_1_SQRT_2;
        assert_eq!(complex[39], Complex::new(a * half, b * half));
        stream.normal(u64::MAX); // any index is valid
    }

    #[test]
    fn signs_are_fair_and_any_part_is_the_same_part_of_the_whole() {
        let stream = Stream::new(7, 4);
        let mut whole = vec![0.0f64; 100_000];
        stream.fill_signs(0, &mut whole);
        assert!(whole.iter().all(|sign| sign.abs() == 1.0));
        assert!(whole.iter().sum::<f64>().abs() < 4.0 * 100_000.0_f64.sqrt());
        let neighbours: f64 = whole.windows(2).map(|pair| pair[0] * pair[1]).sum();
        assert!(neighbours.abs() < 4.0 * 100_000.0_f64.sqrt());
        for first in [0, 1, 31, 32, 33, 64, 12345] {
            let mut part = vec![0.0f64; 100];
            stream.fill_signs(first as u64, &mut part);
            assert_eq!(part, whole[first..first + 100]);
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        const N: usize = 200_000;
        let stream = Stream::new(1, 0);
        let mut values = vec![0.0f64; N];
        stream.fill_normal(0, &mut values);
        let moment = |power: i32| values.iter().map(|value| value.powi(power)).sum::<f64>() / N as f64;
        // Four standard errors of each moment.
        for (power, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let (got, tolerance) = (moment(power), 4.0 * f64::sqrt(variance / N as f64));
            assert!((got - want).abs() < tolerance, "moment {power}: {got}");
        }
        let mut complex = vec![Complex::new(0.0f32, 0.0); N];
        stream.fill_normal(0, &mut complex);
        let power = complex.iter().map(|z| f64::from(z.norm_sqr())).sum::<f64>() / N as f64;
        let square: Complex<f64> = complex.iter().map(|z| Complex::new(f64::from(z.re), f64::from(z.im)).powi(2)).sum();
        assert!((power - 1.0).abs() < 0.01, "{power}");
        assert!(square.norm() / (N as f64) < 0.01, "{square}"); // the parts are alike and independent

        let uniform: Vec<f64> = (0..N as u64).map(|index| stream.uniform(index)).collect();
        assert!(uniform.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = uniform.iter().sum::<f64>() / N as f64;
        let variance = uniform.iter().map(|value| (value - 0.5).powi(2)).sum::<f64>() / N as f64;
        assert!((mean - 0.5).abs() < 0.003 && (variance - 1.0 / 12.0).abs() < 0.001, "{mean} {variance}");
    }

    #[test]
    fn seeds_streams_and_neighbours_are_independent() {
        const N: usize = 50_000;
        let draw = |seed, stream, first| {
            let mut values = vec![0.0f64; N];
            Stream::new(seed, stream).fill_normal(first, &mut values);
            values
        };
        let base = draw(1, 0, 0);
        for other in [draw(2, 0, 0), draw(1, 1, 0), draw(1, 0, 1), draw(1 << 32, 0, 0), draw(1, 1 << 40, 0)] {
            let correlation = base.iter().zip(&other).map(|(a, b)| a * b).sum::<f64>() / N as f64;
            assert!(correlation.abs() < 4.0 / (N as f64).sqrt(), "{correlation}");
        }
    }

    #[test]
    fn the_first_numbers_stay_what_they_were() {
        let stream = Stream::new(1, 0);
        let got =
            [stream.uniform(0), stream.uniform(1), stream.normal(0), stream.normal(1), Stream::new(1, 2).normal(1000)];
        // Computed outside this crate: ChaCha8 with key (1, 0, …), then Box-Muller, in Python.
        let want = [0.381489413238261, 0.7982542473815959, -0.27305001487063346, 1.546660720360505, 1.1317455701898105];
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-14), "{got:?}");
    }
}
