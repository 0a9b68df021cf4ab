//! `AᴴWA` of a transform at points: a convolution, so one pair of Fourier transforms on twice the grid.
//!
//! `(AᴴWA x)_n = Σ_m t_(n−m) x_m` with `t_d = N⁻¹ Σ_j w_j exp(2πi k_j·d)`, which itself is a transform from points to a grid;
//! made in `f64`. (Wajer and Pruessmann, "Major speedup of reconstruction for sensitivity encoding with arbitrary
//! trajectories", ISMRM 2001; Fessler et al., IEEE Trans. Signal Process. 53 (2005).)

use num_complex::Complex;

use super::engine::Engine;
use crate::error::Fault;
use crate::fourier::{self, Along, Planned, Way, fast_size};
use crate::operator::Work;
use crate::scalar::{Real, Scalar, complex_mut};

/// The kernel is this much more exact than the transform whose normal operator it is.
const BETTER: f64 = 0.1;
/// … but not beyond what `f64` can.
const BEST: f64 = 1e-12;

/// The convolution, by its spectrum on the doubled grid.
pub(crate) struct Toeplitz<R: Real> {
    sizes: Vec<usize>,
    doubled: Vec<usize>,
    fourier: Box<dyn Planned<R>>,
    /// In the order in which [`Planned::filter`] wants it.
    spectrum: Vec<R>,
}

/// The doubled grid.
pub(super) fn doubled(sizes: &[usize]) -> Vec<usize> {
    sizes.iter().map(|size| fast_size(2 * size - 1)).collect()
}

/// Operations of one application.
pub(super) fn cost(sizes: &[usize]) -> f64 {
    2.0 * fourier::cost(&doubled(sizes), sizes)
}

impl<R: Real> Toeplitz<R> {
    /// Of points in cycles per sample, with a weight for each if there are any.
    pub fn new(sizes: &[usize], points: &[f64], weights: Option<&[f64]>, accuracy: f64) -> Result<Self, Fault> {
        let dims = sizes.len();
        let differences: Vec<usize> = sizes.iter().map(|size| 2 * size - 1).collect();
        let wanted = (BETTER * accuracy).max(BEST);
        // the finer grid of a kernel that is narrower takes several times the memory in three dims
        let engine = Engine::<f64>::new(&differences, points, wanted, 1.25)
            .or_else(|_| Engine::new(&differences, points, wanted, 2.0))?;
        let count = points.len() / dims;
        let weight = |j: usize| Complex::new(weights.map_or(1.0, |weights| weights[j]), 0.0);
        let values: Vec<Complex<f64>> = (0..count).map(weight).collect();
        let mut kernel = vec![Complex::default(); differences.iter().product()];
        engine.adjoint_add(None, &values, &mut kernel, &mut Work::default());
        drop(engine);

        // difference 0 at the origin; a unitary transform divides by the root of the number of differences
        let scale = (kernel.len() as f64).sqrt() / sizes.iter().product::<usize>() as f64;
        let doubled = doubled(sizes);
        let len: usize = doubled.iter().product();
        let mut field = vec![Complex::default(); len];
        for (offset, value) in kernel.iter().enumerate() {
            let (mut rest, mut to, mut stride) = (offset, 0, 1);
            for axis in (0..dims).rev() {
                let (size, grid) = (differences[axis], doubled[axis]);
                to += (rest % size + grid - size / 2) % grid * stride;
                (rest, stride) = (rest / size, stride * grid);
            }
            field[to] = value.scale(scale);
        }
        let whole: Vec<Along> = doubled.iter().map(|size| Along::whole(*size)).collect();
        let transform = f64::fourier_plan(&whole);
        transform.spread(&mut field, Way::There, &mut vec![Complex::default(); transform.scratch()]);
        // a Hermitian kernel has a real spectrum; there and back gives the number of elements
        let spectrum: Vec<R> = field.iter().map(|value| R::from_f64(value.re / len as f64)).collect();
        drop(field);
        let along = |(size, live): (&usize, &usize)| Along { size: *size, live: [*live, 0], transformed: true };
        let along: Vec<Along> = doubled.iter().zip(sizes).map(along).collect();
        let fourier = R::fourier_plan(&along);
        let spectrum = fourier.turned(&spectrum);
        Ok(Toeplitz { sizes: sizes.to_vec(), doubled, fourier, spectrum })
    }

    /// `out += m̄ ⊙ T (m ⊙ x)`, with `m` = 1 if there is none.
    pub fn apply_add<S: Scalar<Real = R>>(&self, map: Option<&[S]>, x: &[S], out: &mut [S], work: &mut Work) {
        let mut field = work.take::<S>("toeplitz grid", self.doubled.iter().product());
        let mut scratch = work.take::<S>("toeplitz scratch", self.fourier.scratch());
        for (from, to) in self.rows() {
            match map {
                None => field[to.clone()].copy_from_slice(&x[from]),
                Some(map) => {
                    let product = x[from.clone()].iter().zip(&map[from]);
                    field[to].iter_mut().zip(product).for_each(|(field, (x, map))| *field = *x * *map);
                }
            }
        }
        self.fourier.filter(complex_mut(&mut field), &self.spectrum, complex_mut(&mut scratch));
        for (from, to) in self.rows() {
            let sums = out[from.clone()].iter_mut().zip(&field[to]);
            match map {
                None => sums.for_each(|(out, field)| *out += *field),
                Some(map) => sums.zip(&map[from]).for_each(|((out, field), map)| *out += *field * map.conj()),
            }
        }
        work.give("toeplitz scratch", scratch);
        work.give("toeplitz grid", field);
    }

    /// The rows of the model, and where they lie on the doubled grid.
    fn rows(&self) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> + '_ {
        let (last, length) = (self.sizes.len() - 1, self.sizes[self.sizes.len() - 1]);
        let count = self.sizes[..last].iter().product::<usize>();
        (0..count).map(move |row| {
            let (mut rest, mut to, mut stride) = (row, 0, self.doubled[last]);
            for axis in (0..last).rev() {
                to += rest % self.sizes[axis] * stride;
                (rest, stride) = (rest / self.sizes[axis], stride * self.doubled[axis]);
            }
            (row * length..(row + 1) * length, to..to + length)
        })
    }
}
