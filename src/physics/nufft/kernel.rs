//! The function that spreads a point over its neighbours on the fine grid: Kaiser and Bessel's, as polynomials.
//!
//! `φ(t) = I₀(β√(1 − t²)) / I₀(β)` for |t| ≤ 1, where t = 1 is half a width away from the point. Its Fourier transform is
//! known in closed form, so the error of each width is, too: what the images of the spectrum, one grid frequency away and
//! more, leave behind. β is that of Beatty, Nishimura and Pauly, "Rapid gridding reconstruction with a minimal oversampling
//! ratio", IEEE TMI 24 (2005), eq. 5. Between neighbours of the grid φ is a polynomial of the place of the point (Barnett,
//! Magland and af Klinteberg, SIAM J. Sci. Comput. 41 (2019), section 5.3).

use std::f64::consts::PI;

use crate::error::Fault;
use crate::scalar::Real;

/// The widest kernel: 1e-15 at twice the grid.
pub(super) const WIDEST: usize = 16;
/// Numbers of a row of coefficients are a multiple of this: as many as the widest registers hold.
pub(super) const LANES: usize = 16;
/// Images of the spectrum that count for the error.
const IMAGES: i32 = 30;
/// Frequencies at which the error is looked at.
const FREQUENCIES: usize = 50;
/// The error is below the mean of images that have all frequencies alike by this factor, so that others may have more.
const MARGIN: f64 = 1.3;

/// Rounding on the grid, in units of the last place, before it is amplified.
const ROUNDING: f64 = 0.2;

/// A kernel of a width, for an oversampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kernel {
    pub width: usize,
    oversampling: f64,
    beta: f64,
}

impl Kernel {
    pub fn of_width(width: usize, oversampling: f64) -> Self {
        let ratio = width as f64 / oversampling * (oversampling - 0.5);
        Kernel { width, oversampling, beta: PI * (ratio * ratio - 0.8).max(0.1).sqrt() }
    }

    /// The narrowest that reaches an accuracy on so many dims, with numbers of the given precision. Faults: there is none.
    pub fn reaching(accuracy: f64, oversampling: f64, dims: usize, epsilon: f64) -> Result<Self, Fault> {
        let error = |kernel: &Kernel| {
            MARGIN * (dims as f64).sqrt() * kernel.error() + ROUNDING * epsilon * kernel.amplified().powi(dims as i32)
        };
        let all = (2..=WIDEST).map(|width| Kernel::of_width(width, oversampling));
        all.clone().find(|kernel| error(kernel) <= accuracy).ok_or_else(|| {
            let best = all.map(|kernel| error(&kernel)).fold(f64::INFINITY, f64::min);
            let text = format!(
                "`accuracy`: expected at least {best:.1e}, what an oversampling of {oversampling} reaches, got {accuracy:e}"
            );
            Fault::new(text).hint("set `oversampling = 2.0`, or ask for less")
        })
    }

    /// The Fourier transform of φ at a frequency in cycles per sample of the fine grid.
    pub fn transform(&self, frequency: f64) -> f64 {
        let squared = self.beta.powi(2) - (PI * self.width as f64 * frequency).powi(2);
        let root = squared.abs().sqrt();
        let ratio = match root {
            0.0 => 1.0,
            root if squared > 0.0 => root.sinh() / root,
            root => root.sin() / root,
        };
        self.width as f64 * ratio / bessel_i0(self.beta)
    }

    /// The relative error that images of the spectrum leave behind along one dim: the root of the mean square over all
    /// frequencies of the model.
    fn error(&self) -> f64 {
        let at = |k: usize| {
            let frequency = k as f64 / FREQUENCIES as f64 / (2.0 * self.oversampling);
            let images = (-IMAGES..=IMAGES).filter(|image| *image != 0);
            let image = |image| (self.transform(frequency + f64::from(image)) / self.transform(frequency)).powi(2);
            images.map(image).sum::<f64>()
        };
        ((0..=FREQUENCIES).map(at).sum::<f64>() / (FREQUENCIES + 1) as f64).sqrt()
    }

    /// How much an error on the grid grows when it is divided by the transform of the kernel: the root of the mean square over
    /// the frequencies of the model, against frequency 0.
    fn amplified(&self) -> f64 {
        let at = |k: usize| {
            let frequency = k as f64 / FREQUENCIES as f64 / (2.0 * self.oversampling);
            (self.transform(0.0) / self.transform(frequency)).powi(2)
        };
        ((0..=FREQUENCIES).map(at).sum::<f64>() / (FREQUENCIES + 1) as f64).sqrt()
    }

    /// φ at `t`.
    fn value(&self, t: f64) -> f64 {
        if t.abs() > 1.0 { 0.0 } else { bessel_i0(self.beta * (1.0 - t * t).sqrt()) / bessel_i0(self.beta) }
    }

    /// The polynomials of all neighbours, exact to a tenth of what the kernel reaches, after division by its transform.
    pub fn taps<R: Real>(&self) -> Taps<R> {
        let wanted = (0.1 * self.error() / self.amplified()).max(0.5 * R::EPSILON).max(1e-15);
        let fits = |degree: &usize| self.misfit(*degree) <= wanted;
        let degree = (2..=MOST).find(fits).unwrap_or(MOST);
        let rows: Vec<Vec<f64>> = (0..self.width).map(|tap| self.polynomial(tap, degree)).collect();
        let padded = self.width.next_multiple_of(LANES);
        let (mut single, mut double) = (Vec::new(), Vec::new());
        for power in (0..=degree).rev() {
            let number = |tap: usize| R::from_f64(rows.get(tap).map_or(0.0, |row| row[power]));
            single.extend((0..padded).map(number));
            double.extend((0..(2 * self.width).next_multiple_of(LANES)).map(|k| number(k / 2)));
        }
        Taps { width: self.width, single, double }
    }

    /// Where a neighbour lies, for a place `s` from −1 to 1 between the first two.
    fn argument(&self, tap: usize, s: f64) -> f64 {
        (tap as f64 + (s + 1.0) / 2.0) * 2.0 / self.width as f64 - 1.0
    }

    /// The largest error of the polynomials of some degree.
    fn misfit(&self, degree: usize) -> f64 {
        let of_tap = |tap: usize| {
            let polynomial = self.polynomial(tap, degree);
            let at = |k: usize| {
                let s = -1.0 + k as f64 / 10.0;
                let value = polynomial.iter().rev().fold(0.0, |sum, coefficient| sum * s + coefficient);
                (value - self.value(self.argument(tap, s))).abs()
            };
            (0..=20).map(at).fold(0.0, f64::max)
        };
        (0..self.width.div_ceil(2)).map(of_tap).fold(0.0, f64::max) // the others are mirrored
    }

    /// Coefficients of 1, s, s², … : Chebyshev interpolation of one neighbour's weight.
    fn polynomial(&self, tap: usize, degree: usize) -> Vec<f64> {
        let n = degree + 1;
        let node = |k: usize| (PI * (k as f64 + 0.5) / n as f64).cos();
        let values: Vec<f64> = (0..n).map(|k| self.value(self.argument(tap, node(k)))).collect();
        let chebyshev = |order: usize| {
            let term = |k: usize| values[k] * (PI * order as f64 * (k as f64 + 0.5) / n as f64).cos();
            (0..n).map(term).sum::<f64>() * if order == 0 { 1.0 } else { 2.0 } / n as f64
        };
        // T_{k+1} = 2 s T_k − T_{k−1}
        let mut sum = vec![0.0; n];
        let (mut before, mut current) = (vec![0.0; n], vec![0.0; n]);
        current[0] = 1.0;
        for order in 0..n {
            let coefficient = chebyshev(order);
            sum.iter_mut().zip(&current).for_each(|(sum, term)| *sum += coefficient * term);
            let factor = if order == 0 { 1.0 } else { 2.0 };
            let next = (0..n).map(|k| if k == 0 { 0.0 } else { factor * current[k - 1] } - before[k]).collect();
            before = std::mem::replace(&mut current, next);
        }
        sum
    }
}

/// The highest degree.
const MOST: usize = 20;

/// Weights of all neighbours of a point, as polynomials of its place.
pub(super) struct Taps<R> {
    pub width: usize,
    /// Rows of coefficients, that of the highest power first, padded with zeros to a multiple of [`LANES`].
    pub single: Vec<R>,
    /// The same with each number twice: for the parts of complex numbers.
    pub double: Vec<R>,
}

impl<R> Taps<R> {
    pub fn bytes(&self) -> usize {
        (self.single.len() + self.double.len()) * size_of::<R>()
    }
}

/// The modified Bessel function of order 0, by its series: all terms are positive.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-17 * sum {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_the_integral() {
        for (width, oversampling) in [(2, 2.0), (5, 1.25), (8, 2.0), (15, 1.25), (16, 2.0)] {
            let kernel = Kernel::of_width(width, oversampling);
            for frequency in [0.0, 0.1, 0.25, 0.4, 0.8, 1.3] {
                let steps = 200_000;
                let at = |k: usize| -1.0 + (2 * k + 1) as f64 / steps as f64;
                let half = width as f64 / 2.0;
                let term = |k: usize| kernel.value(at(k)) * (2.0 * PI * frequency * half * at(k)).cos();
                let integral = (0..steps).map(term).sum::<f64>() * 2.0 * half / steps as f64;
                let got = kernel.transform(frequency);
                assert!((got - integral).abs() < 1e-9 * width as f64, "{width} {frequency}: {got} {integral}");
            }
        }
    }

    #[test]
    fn polynomials_are_the_kernel() {
        for (width, oversampling) in [(2, 2.0), (4, 2.0), (7, 1.25), (9, 2.0), (14, 2.0), (16, 1.25)] {
            let kernel = Kernel::of_width(width, oversampling);
            let taps = kernel.taps::<f64>();
            let row = width.next_multiple_of(LANES);
            for tap in 0..width {
                for s in [-1.0, -0.73, 0.0, 0.41, 0.99] {
                    let weight = taps.single.chunks(row).fold(0.0, |sum, row| sum * s + row[tap]);
                    let error = (weight - kernel.value(kernel.argument(tap, s))).abs();
                    assert!(error < 0.2 * kernel.error() + 1e-14, "{width} {tap} {s}: {error:e}");
                }
            }
        }
    }

    /// Abramowitz and Stegun, table 9.8 and 9.11.
    #[test]
    fn bessel_i0_is_that_of_the_tables() {
        for (x, want) in
            [(0.0, 1.0), (1.0, 1.266_065_877_752_008), (5.0, 27.239_871_823_604_44), (20.0, 4.355_828_255_955_353e7)]
        {
            assert!((bessel_i0(x) / want - 1.0).abs() < 1e-14, "{x}");
        }
    }

    #[test]
    fn accuracies_have_widths_or_a_fault() {
        let width = |accuracy, oversampling| Kernel::reaching(accuracy, oversampling, 2, f64::EPSILON).unwrap().width;
        assert_eq!([1e-2, 1e-3, 1e-6, 1e-9, 1e-12].map(|accuracy| width(accuracy, 2.0)), [3, 4, 7, 11, 14]);
        let fault = Kernel::reaching(1e-12, 1.25, 2, f64::EPSILON).unwrap_err();
        assert!(fault.text.contains("what an oversampling of 1.25 reaches, got 1e-12"), "{}", fault.text);
    }
}
