//! `exp(2πi a (first + k))` for k = 0, 1, 2, …: few sines and cosines, the rest by doubling.

use num_complex::Complex;

use crate::scalar::Real;

/// Fills `row` by products `e(k + 2ʲ) = e(k) e(2ʲ)`: an entry is a product of at most log₂ n + 1 factors, so its error is a few
/// rounding errors.
pub(super) fn fill(cycles: f64, first: f64, row: &mut [Complex<f64>]) {
    let turn = |by: f64| {
        let (sin, cos) = (std::f64::consts::TAU * (by - by.round())).sin_cos();
        Complex::new(cos, sin)
    };
    let Some(start) = row.first_mut() else { return };
    *start = turn(cycles * first);
    let mut done = 1;
    while done < row.len() {
        let factor = turn(cycles * done as f64);
        let (known, unknown) = row.split_at_mut(done);
        for (next, known) in unknown.iter_mut().zip(known) {
            *next = *known * factor;
        }
        done *= 2;
    }
}

/// The same for several `cycles`, as rows of the real parts, then rows of the imaginary parts.
pub(super) fn fill_split<R: Real>(cycles: &[f64], first: f64, row: &mut [Complex<f64>], out: &mut [R]) {
    let (real, imaginary) = out.split_at_mut(cycles.len() * row.len());
    let rows = real.chunks_exact_mut(row.len()).zip(imaginary.chunks_exact_mut(row.len()));
    for (cycles, (real, imaginary)) in cycles.iter().zip(rows) {
        fill(*cycles, first, row);
        for ((z, re), im) in row.iter().zip(real).zip(imaginary) {
            (*re, *im) = (R::from_f64(z.re), R::from_f64(z.im));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_the_sine_and_cosine_to_rounding() {
        for (cycles, first) in [(0.0, 0.0), (0.123_456_789, -64.0), (-0.499, -500.0), (3.7, 5.0), (1e-9, -7.0)] {
            for n in [1, 2, 3, 100, 1000] {
                let mut row = vec![Complex::new(f64::NAN, f64::NAN); n];
                fill(cycles, first, &mut row);
                for (k, z) in row.iter().enumerate() {
                    let turns = cycles * (first + k as f64);
                    let want = Complex::from_polar(1.0, std::f64::consts::TAU * (turns - turns.round()));
                    // the products of the phase itself round, too
                    let most = 1e-15 * (10.0 + 10.0 * turns.abs());
                    assert!((z - want).norm() < most, "{cycles} {first} {k}: {z} {want}");
                }
            }
        }
    }
}
