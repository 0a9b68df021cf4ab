//! Samples on the grid of the image's Fourier transform.

use std::sync::Arc;

use super::{coils_of, sum_of_squares};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Work};
use crate::physics::centred::Centred;
use crate::physics::sampling::check_samples;
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape};

/// `y_c = m ⊙ F (S_c ⊙ x)` for each coil c: maps S_c, the centred unitary Fourier transform F, a mask m of samples.
///
/// Shapes: (y, x) → (coil, ky, kx), or (z, y, x) → (coil, kz, ky, kx). Collective: no. Cost: for each coil a fast Fourier transform
/// and two products for each number; `AᴴA` a pair of transforms, coil by coil, without the data of any. Memory: the maps, and one
/// and a half models that the coils share; scratch for one model. Threads: one; cut it along `coil`, and lanes take the parts.
/// Faults when built: a real scalar, maps that are not of the model's size, a mask of another size or without samples.
///
/// ```
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::CartesianMri};
/// let image = Shape::new([("y", 1), ("x", 2)]);
/// let maps = [1.0, 1.0, 2.0, 2.0].map(Complex::from).to_vec(); // two coils
/// let mri = CartesianMri::<Complex<f64>>::new(&image, maps, None).unwrap();
/// let mut y = [Complex::default(); 4];
/// mri.forward(&[3.0, 3.0].map(Complex::from), &mut y, &mut Work::default()).unwrap();
/// assert!((y[3] - 2.0 * y[1]).norm() < 1e-15 && (y[1] - 6.0 / 2f64.sqrt()).norm() < 1e-15);
/// ```
///
/// Source: Pruessmann et al., MRM 42 (1999), eq. 2.
pub struct CartesianMri<S: Scalar> {
    domain: Shape,
    range: Shape,
    /// With the phases of the transform.
    maps: Arc<Vec<S>>,
    centred: Arc<Centred<S>>,
}

impl<S: Scalar> CartesianMri<S> {
    /// From the maps of all coils, one after the other, and which samples of the Fourier transform were measured.
    pub fn new(model: &Shape, mut maps: Vec<S>, mask: Option<&[bool]>) -> Result<Self, Fault> {
        let coils = coils_of(model, &maps)?;
        if let Some(mask) = mask {
            check_samples(mask, model.len())?;
        }
        let dims: Vec<_> = model.sizes().into_iter().map(|size| (size, true)).collect();
        let phases = Centred::<S>::before(&dims);
        for map in maps.chunks_exact_mut(model.len()) {
            map.iter_mut().zip(&phases).for_each(|(map, phase)| *map *= *phase);
        }
        Ok(Self::with(model, coils, Arc::new(maps), Arc::new(Centred::new(&dims, mask))))
    }

    fn with(model: &Shape, coils: usize, maps: Arc<Vec<S>>, centred: Arc<Centred<S>>) -> Self {
        let samples = model.dims().iter().map(|dim| (format!("k{}", dim.name), dim.size));
        let range = Shape::new([("coil".to_owned(), coils)].into_iter().chain(samples));
        CartesianMri { domain: model.clone(), range, maps, centred }
    }

    fn coils(&self) -> impl Iterator<Item = &[S]> {
        self.maps.chunks_exact(self.domain.len())
    }
}

impl<S: Scalar> LinearOperator<S> for CartesianMri<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for (map, y) in self.coils().zip(y.chunks_exact_mut(x.len())) {
            self.centred.forward(map, x, y, work);
        }
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for (map, y) in self.coils().zip(y.chunks_exact(x.len())) {
            self.centred.adjoint_add(map, y, x, work);
        }
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for map in self.coils() {
            self.centred.normal_add(map, x, out, work);
        }
        Ok(())
    }
    /// The transform and the mask are no larger than 1, and the maps are diagonal, one below the other.
    fn norm_squared_bound(&self) -> Option<f64> {
        Some(sum_of_squares(self.domain.len(), &self.maps).into_iter().fold(0.0, f64::max))
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let sampled = self.centred.sampled();
        Some(sum_of_squares(self.domain.len(), &self.maps).into_iter().map(|sum| sampled * sum).collect())
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        dim == "coil"
    }
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let coils = ranges.get("coil").unwrap_or(0..self.coils().count());
        let len = self.domain.len();
        let maps = self.maps[coils.start * len..coils.end * len].to_vec();
        Ok(Arc::new(Self::with(&self.domain, coils.len(), Arc::new(maps), self.centred.clone())))
    }
}
