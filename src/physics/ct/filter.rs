//! Ramp filters of analytic inversion, along detector columns.

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fourier::{Fourier, Way};
use crate::scalar::Real;

/// By what the ramp |f| is multiplied; f is a part of the highest frequency that the columns can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// 1: the sharpest, and the noisiest.
    #[default]
    RamLak,
    /// sin(πf/2) / (πf/2).
    SheppLogan,
    /// cos(πf/2).
    Cosine,
    /// 0.54 + 0.46 cos(πf).
    Hamming,
    /// 0.5 + 0.5 cos(πf): the smoothest.
    Hann,
}

impl Filter {
    fn window(self, f: f64) -> f64 {
        let angle = std::f64::consts::PI * f;
        match self {
            Filter::RamLak => 1.0,
            Filter::SheppLogan if f == 0.0 => 1.0,
            Filter::SheppLogan => (angle / 2.0).sin() / (angle / 2.0),
            Filter::Cosine => (angle / 2.0).cos(),
            Filter::Hamming => 0.54 + 0.46 * angle.cos(),
            Filter::Hann => 0.5 + 0.5 * angle.cos(),
        }
    }
}

/// A filter for lines of `columns` numbers; collective: no.
///
/// The ramp is that of a detector with pixels, `h_0 = 1/4, h_n = −1/(π²n²)` for odd n, over the spacing squared: sampling |f|
/// itself would lose the mean. Lines are padded to twice their length, so that the ends do not meet.
///
/// Source: Kak and Slaney, "Principles of Computerized Tomographic Imaging", 1988, equations 3.29 (kernel) and 3.140 (arc).
pub(super) struct Ramp<R> {
    spectrum: Vec<R>,
    fourier: Box<dyn Fourier<R>>,
    line: Vec<Complex<R>>,
}

impl<R: Real> Ramp<R> {
    /// For columns `spacing` apart; on an arc an angle in radians, and the kernel is `h_n (γ_n / sin γ_n)²`.
    pub fn new(filter: Filter, columns: usize, spacing: f64, arc: bool) -> Self {
        let len = (2 * columns.max(1)).next_power_of_two();
        let mut fourier = f64::fourier(&[len]);
        let mut spectrum: Vec<Complex<f64>> = (0..len)
            .map(|k| {
                let n = k.min(len - k) as f64;
                let angle = n * spacing;
                let kernel = match k.min(len - k) {
                    0 => 0.25,
                    even if even % 2 == 0 => 0.0,
                    // beyond a quarter turn there are no columns
                    _ if arc && angle < std::f64::consts::FRAC_PI_2 => {
                        -(spacing / (std::f64::consts::PI * angle.sin())).powi(2)
                    }
                    _ => -(std::f64::consts::PI * n).powi(-2),
                };
                // the sum over columns stands for an integral: times the spacing
                Complex::new(kernel / spacing, 0.0)
            })
            .collect();
        fourier.run(&mut spectrum, Way::There);
        let spectrum = spectrum.into_iter().enumerate().map(|(k, value)| {
            let f = k.min(len - k) as f64 / (len / 2) as f64;
            R::from_f64(value.re * filter.window(f) / len as f64)
        });
        Ramp { spectrum: spectrum.collect(), fourier: R::fourier(&[len]), line: vec![Complex::default(); len] }
    }

    /// Filters one line.
    pub fn run(&mut self, line: impl ExactSizeIterator<Item = Complex<R>>) -> &[Complex<R>] {
        let count = line.len();
        self.line[count..].fill(Complex::default());
        self.line.iter_mut().zip(line).for_each(|(to, from)| *to = from);
        self.fourier.run(&mut self.line, Way::There);
        self.line
            .iter_mut()
            .zip(&self.spectrum)
            .for_each(|(value, by)| *value = Complex::new(value.re * *by, value.im * *by));
        self.fourier.run(&mut self.line, Way::Back);
        &self.line[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transform of the ramp is |f| between the samples of the kernel, up to what a finite kernel leaves out.
    #[test]
    fn the_spectrum_is_a_ramp_under_a_window() {
        for (filter, at_half, at_end) in [
            (Filter::RamLak, 1.0, 1.0),
            (Filter::SheppLogan, 2.0 * 2f64.sqrt() / std::f64::consts::PI, 2.0 / std::f64::consts::PI),
            (Filter::Cosine, 0.5f64.sqrt(), 0.0),
            (Filter::Hamming, 0.54, 0.08),
            (Filter::Hann, 0.5, 0.0),
        ] {
            let ramp = Ramp::<f64>::new(filter, 512, 2.0, false);
            let value = |k: usize| ramp.spectrum[k] * 1024.0;
            // |f| in cycles a unit of length: 1/4 at the highest frequency of samples 2 apart
            assert!((value(256) - 0.125 * at_half).abs() < 1e-3, "{filter:?}: {}", value(256));
            assert!((value(512) - 0.25 * at_end).abs() < 1e-3, "{filter:?}: {}", value(512));
            assert!(value(0) > 0.0 && value(0) < 1e-3, "the mean is not lost: {}", value(0));
        }
    }

    /// Against the sum that defines it.
    #[test]
    fn a_line_is_convolved_with_the_kernel() {
        let line: Vec<Complex<f64>> = (0..11).map(|k| Complex::new((k as f64).cos(), k as f64 * 0.1)).collect();
        let got = Ramp::<f64>::new(Filter::RamLak, 11, 0.5, false).run(line.iter().copied()).to_vec();
        for (n, got) in got.iter().enumerate() {
            let want: Complex<f64> = line
                .iter()
                .enumerate()
                .map(|(k, value)| match n.abs_diff(k) {
                    0 => value * 0.25 / 0.5,
                    even if even % 2 == 0 => Complex::default(),
                    odd => -value / (std::f64::consts::PI * odd as f64).powi(2) / 0.5,
                })
                .sum();
            assert!((got - want).norm() < 1e-12, "{n}: {got} {want}");
        }
    }
}
