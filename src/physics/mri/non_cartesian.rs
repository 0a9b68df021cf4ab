//! Samples along a trajectory: on no grid.

use std::sync::Arc;

use super::{coils_of, sum_of_squares};
use crate::error::Fault;
use crate::operator::{LinearOperator, SharedOperator, Work};
use crate::physics::nufft::{NufftAccuracy, Transform};
use crate::scalar::Scalar;
use crate::space::{Ranges, Shape};

/// `y_c = F (S_c ⊙ x)` for each coil c: maps S_c, and the Fourier transform F at the places of a trajectory, as
/// [`Nufft`](crate::physics::Nufft)'s.
///
/// Shapes: (y, x) or (z, y, x) → (coil, …) with the dims of the samples. Collective: no. Cost: for each coil that of `Nufft`;
/// `AᴴA` for each coil one pair of Fourier transforms on twice the grid, where that is cheaper. Memory: the maps, and one
/// transform that the coils share. Threads and faults: those of `Nufft`; maps that are not of the model's size.
///
/// ```
/// use num_complex::Complex;
/// use stackphys::{Shape, operator::{Apply, Work}, physics::{NonCartesianMri, NufftAccuracy}};
/// let image = Shape::new([("y", 2), ("x", 2)]);
/// let maps = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0].map(Complex::from).to_vec(); // two coils
/// let (samples, places) = (Shape::new([("sample", 1)]), vec![0.0, 0.0]);
/// let mri = NonCartesianMri::<Complex<f64>>::new(&image, maps, samples, places, NufftAccuracy::default()).unwrap();
/// let mut y = [Complex::default(); 2];
/// mri.forward(&[Complex::from(1.0); 4], &mut y, &mut Work::default()).unwrap();
/// assert!((y[0] - 2.0).norm() < 1e-5 && (y[1] - 4.0).norm() < 1e-5);
/// ```
///
/// Source: Pruessmann et al., MRM 46 (2001).
pub struct NonCartesianMri<S: Scalar> {
    domain: Shape,
    range: Shape,
    samples: Shape,
    maps: Arc<Vec<S>>,
    transform: Arc<Transform<S::Real>>,
}

impl<S: Scalar> NonCartesianMri<S> {
    /// From the maps of all coils, one after the other, and the places of the samples as in [`Nufft`](crate::physics::Nufft::new).
    pub fn new(
        model: &Shape,
        maps: Vec<S>,
        samples: Shape,
        places: Vec<f64>,
        how: NufftAccuracy,
    ) -> Result<Self, Fault> {
        let coils = coils_of(model, &maps)?;
        let transform = Transform::of_samples(model, &samples, places, how)?;
        Ok(Self::with(model, coils, Arc::new(maps), samples, Arc::new(transform)))
    }

    fn with(
        model: &Shape,
        coils: usize,
        maps: Arc<Vec<S>>,
        samples: Shape,
        transform: Arc<Transform<S::Real>>,
    ) -> Self {
        let of_one = samples.dims().iter().map(|dim| (dim.name.clone(), dim.size));
        let range = Shape::new([("coil".to_owned(), coils)].into_iter().chain(of_one));
        NonCartesianMri { domain: model.clone(), range, samples, maps, transform }
    }

    fn coils(&self) -> impl Iterator<Item = &[S]> {
        self.maps.chunks_exact(self.domain.len())
    }
}

impl<S: Scalar> LinearOperator<S> for NonCartesianMri<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for (map, y) in self.coils().zip(y.chunks_exact_mut(self.samples.len().max(1))) {
            self.transform.engine.forward(Some(map), x, y, false, work);
        }
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for (map, y) in self.coils().zip(y.chunks_exact(self.samples.len().max(1))) {
            self.transform.engine.adjoint_add(Some(map), y, x, work);
        }
        Ok(())
    }
    fn apply_normal_add(&self, x: &[S], out: &mut [S], work: &mut Work) -> Result<(), Fault> {
        for map in self.coils() {
            self.transform.normal_add(Some(map), x, out, work)?;
        }
        Ok(())
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        let largest = sum_of_squares(self.domain.len(), &self.maps).into_iter().fold(0.0, f64::max);
        Some(largest * self.transform.norm_squared_bound())
    }
    /// Within the accuracy.
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        let of_transform = self.transform.normal_diagonal();
        Some(sum_of_squares(self.domain.len(), &self.maps).into_iter().map(|sum| of_transform * sum).collect())
    }
    fn may_be_cut(&self, dim: &str, _at: usize) -> bool {
        self.range.axis(dim).is_some()
    }
    /// Parts along the coils share the transform.
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<S>, Fault> {
        let coils = ranges.get("coil").unwrap_or(0..self.coils().count());
        let len = self.domain.len();
        let maps = if coils.len() == self.coils().count() {
            self.maps.clone()
        } else {
            Arc::new(self.maps[coils.start * len..coils.end * len].to_vec())
        };
        let samples = ranges.shape(&self.samples);
        let transform = if samples == self.samples {
            self.transform.clone()
        } else {
            let places = self.transform.points_of(&ranges.tile(&self.samples));
            Arc::new(Transform::of_samples(&self.domain, &samples, places, self.transform.how())?)
        };
        Ok(Arc::new(Self::with(&self.domain, coils.len(), maps, samples, transform)))
    }
}
