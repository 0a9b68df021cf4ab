//! One-pass kernels on buffers. They run with the widest instructions of the machine and give the same bits on all.
//!
//! **The inner product conjugates its first argument**: ⟨a, b⟩ = Σ conj(aᵢ) bᵢ. This is the one place that says so. Of
//! complex vectors the methods need only its real part, which is the plain dot product of the pairs (re, im).
//!
//! Sums of `f32` data accumulate in `f64`, in 16 lanes whose order is fixed; a naive `f64` sum is several times slower.

use crate::scalar::{Real, Scalar};

const LANES: usize = 16;

/// Re⟨a, b⟩ = Re Σ conj(aᵢ) bᵢ, accumulated in `f64` in a fixed order.
///
/// ```
/// use num_complex::Complex;
/// let (i, one) = (Complex::new(0.0, 1.0), Complex::new(1.0, 0.0));
/// assert_eq!(stackphys::space::dot(&[i, one], &[i, one]), 2.0); // i·conj(i) = 1
/// ```
pub fn dot<S: Scalar>(a: &[S], b: &[S]) -> f64 {
    let (a, b) = (S::as_reals(a), S::as_reals(b));
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let (a_blocks, a_rest) = a.as_chunks::<LANES>();
            let (b_blocks, b_rest) = b.as_chunks::<LANES>();
            for (a, b) in a_blocks.iter().zip(b_blocks) {
                for lane in 0..LANES {
                    lanes[lane] += a[lane].re() * b[lane].re();
                }
            }
            for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
                lanes[lane] += a.re() * b.re();
            }
            lanes.iter().sum()
        },
    )
}

/// y ← y + a·x.
pub fn axpy<S: Scalar>(a: f64, x: &[S], y: &mut [S]) {
    let a = S::Real::from_f64(a);
    zip(S::as_reals(x), S::as_reals_mut(y), move |x, y| *y += a * x);
}

/// y ← x + b·y.
pub fn xpby<S: Scalar>(x: &[S], b: f64, y: &mut [S]) {
    let b = S::Real::from_f64(b);
    zip(S::as_reals(x), S::as_reals_mut(y), move |x, y| *y = x + b * *y);
}

/// y ← y + x.
pub fn add<S: Scalar>(x: &[S], y: &mut [S]) {
    zip(S::as_reals(x), S::as_reals_mut(y), |x, y| *y += x);
}

/// x, y ← x + y.
pub fn add_both<S: Scalar>(x: &mut [S], y: &mut [S]) {
    let (x, y) = (S::as_reals_mut(x), S::as_reals_mut(y));
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.iter_mut().zip(y) {
                let sum = *x + *y;
                *x = sum;
                *y = sum;
            }
        },
    );
}

/// y ← a·y.
pub fn scale<S: Scalar>(a: f64, y: &mut [S]) {
    let a = S::Real::from_f64(a);
    for y in S::as_reals_mut(y) {
        *y *= a;
    }
}

#[inline(always)]
fn zip<R: Real>(x: &[R], y: &mut [R], action: impl Fn(R, &mut R)) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.iter().zip(y) {
                action(*x, y);
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;

    #[test]
    fn dot_is_the_real_part_with_the_first_argument_conjugated() {
        let a: Vec<_> = (0..37).map(|k| Complex::new(f64::from(k), 1.0 - f64::from(k))).collect();
        let b: Vec<_> = (0..37).map(|k| Complex::new(0.5 * f64::from(k), 2.0)).collect();
        let direct: Complex<f64> = a.iter().zip(&b).map(|(a, b)| a.conj() * b).sum();
        assert!((dot(&a, &b) - direct.re).abs() < 1e-12 * direct.norm());
    }

    #[test]
    fn single_precision_accumulates_in_double() {
        let ones = vec![1.0_f32; (1 << 24) + 3]; // an f32 sum of ones sticks at 2²⁴
        assert_eq!(dot(&ones, &ones), f64::from((1 << 24) + 3));
    }

    #[test]
    fn axpy_and_xpby() {
        let mut y = vec![1.0, 2.0, 3.0];
        axpy(2.0, &[1.0, 1.0, 1.0], &mut y);
        assert_eq!(y, [3.0, 4.0, 5.0]);
        xpby(&[1.0, 1.0, 1.0], -1.0, &mut y);
        assert_eq!(y, [-2.0, -3.0, -4.0]);
    }
}
