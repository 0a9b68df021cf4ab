//! Inner products other than the plain one, and adjoints that belong to them.
//!
//! A space of functions on a grid has `⟨u, v⟩_G = ⟨u, G v⟩` with a Gram operator `G`: the volume of a grid cell for L2, more
//! for derivatives in a Sobolev space. The adjoint of `T: X → Y` between such spaces is `T† = G_X⁻¹ Tᴴ G_Y`. (Hilbert spaces
//! stand apart from vectors here as in the package regpy; M. Hanke, *A taste of inverse problems* (2017), appendix A.)

use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

use super::algebra::{Compose, adjoint};
use super::{Basis, DiagonalNormal, LinearOperator, SharedOperator, Structure, Work};
use crate::error::Fault;
use crate::range::{not_negative, positive};
use crate::scalar::Scalar;
use crate::space::{Shape, dot};

/// A Gram operator `G`: Hermitian, positive definite, and known together with its inverse.
///
/// Collective: no. Cost: one product for each number; of a Sobolev space a Fourier transform there and back. Memory: the
/// weights. Faults when made: volumes, lengths, orders and weights out of range.
///
/// ```
/// use std::f64::consts::PI;
/// use stackphys::{Shape, operator::Gram};
/// let grid = Shape::new([("t", 200)]);
/// let ones = vec![1.0; 200];
/// let l2 = Gram::<f64>::l2(grid.clone(), 2.0 * PI / 200.0).unwrap();
/// assert!((l2.norm(&ones).unwrap() - (2.0 * PI).sqrt()).abs() < 1e-12);
/// let h2 = Gram::<f64>::sobolev(grid, &[2.0 * PI], 2.0).unwrap();
/// let sine: Vec<f64> = (0..200).map(|i| (i as f64 * 2.0 * PI / 200.0).sin()).collect();
/// assert!((h2.norm(&sine).unwrap() - 2.0 * PI.sqrt()).abs() < 1e-12); // (1 + 1²)² · π, its root
/// ```
pub struct Gram<S: Scalar> {
    shape: Shape,
    parts: Vec<Part<S>>,
}

/// One summand of a direct sum.
struct Part<S: Scalar> {
    basis: Basis,
    sizes: Vec<usize>,
    /// The eigenvalues.
    weights: Vec<f64>,
    apply: Mutex<DiagonalNormal<S>>,
}

impl<S: Scalar> Part<S> {
    fn new(basis: Basis, sizes: Vec<usize>, weights: Vec<f64>) -> Self {
        let numbers: Vec<S> = weights.iter().map(|weight| S::from_f64(*weight)).collect();
        let apply = Mutex::new(DiagonalNormal::new(basis, &sizes, &numbers));
        Part { basis, sizes, weights, apply }
    }
    fn changed(&self, change: impl Fn(f64) -> f64) -> Self {
        Part::new(self.basis, self.sizes.clone(), self.weights.iter().map(|weight| change(*weight)).collect())
    }
}

impl<S: Scalar> Gram<S> {
    /// L2 on a grid: `⟨u, v⟩ = volume · Σ ū v`, with the volume of one cell.
    pub fn l2(shape: Shape, volume: f64) -> Result<Self, Fault> {
        positive("volume of a grid cell", volume)?;
        let part = Part::new(Basis::Model, shape.sizes(), vec![volume; shape.len()]);
        Ok(Gram { parts: vec![part], shape })
    }

    /// The Sobolev space of an order on a periodic grid with an extent along each dim: `(1 + |k|²)^order` for the wave number
    /// k, times the volume of one cell. Order 0 is L2.
    pub fn sobolev(shape: Shape, extents: &[f64], order: f64) -> Result<Self, Fault> {
        let sizes = shape.sizes();
        if extents.len() != sizes.len() {
            let text = format!(
                "Sobolev space: expected {} extents, one for each dim of {shape}, got {}",
                sizes.len(),
                extents.len()
            );
            return Err(Fault::new(text));
        }
        extents.iter().try_for_each(|extent| positive("extent of a Sobolev space", *extent))?;
        not_negative("order of a Sobolev space", order)?;
        let volume: f64 = extents.iter().zip(&sizes).map(|(extent, size)| extent / *size as f64).product();
        let weight = |mut index: usize| {
            let mut squared = 0.0;
            for (size, extent) in sizes.iter().zip(extents).rev() {
                let (at, size) = (index % size, *size);
                index /= size;
                // the upper half of the indices are negative frequencies
                let frequency = if 2 * at > size { at as f64 - size as f64 } else { at as f64 };
                squared += (2.0 * PI * frequency / extent).powi(2);
            }
            volume * (1.0 + squared).powf(order)
        };
        let weights = (0..shape.len()).map(weight).collect();
        Ok(Gram { parts: vec![Part::new(Basis::Fourier, sizes, weights)], shape })
    }

    /// The direct sum of spaces with weights w, on their numbers one after the other: `⟨u, v⟩ = Σ w_j² ⟨u_j, v_j⟩_j`.
    pub fn direct_sum(summands: Vec<(f64, Gram<S>)>) -> Result<Self, Fault> {
        if summands.is_empty() {
            return Err(Fault::new("direct sum: expected at least one summand, got none"));
        }
        summands.iter().try_for_each(|(weight, _)| positive("weight of a direct sum", *weight))?;
        let shape = Shape::new([("x", summands.iter().map(|(_, gram)| gram.shape.len()).sum())]);
        let weighted = |(weight, gram): &(f64, Gram<S>)| -> Vec<Part<S>> {
            gram.parts.iter().map(|part| part.changed(|value| weight * weight * value)).collect()
        };
        Ok(Gram { shape, parts: summands.iter().flat_map(weighted).collect() })
    }

    /// `G⁻¹`.
    pub fn inverse(&self) -> Self {
        Gram { shape: self.shape.clone(), parts: self.parts.iter().map(|part| part.changed(f64::recip)).collect() }
    }

    /// `Re ⟨u, G v⟩`. Fault: vectors of another length.
    pub fn inner(&self, u: &[S], v: &[S]) -> Result<f64, Fault> {
        if u.len() != self.shape.len() || v.len() != self.shape.len() {
            let (want, got) = (self.shape.len(), [u.len(), v.len()]);
            return Err(Fault::new(format!("inner product: expected {want} numbers of {}, got {got:?}", self.shape)));
        }
        let mut weighted = vec![S::default(); v.len()];
        self.apply(v, &mut weighted);
        Ok(dot(u, &weighted))
    }
    /// `√⟨u, G u⟩`. Fault: a vector of another length.
    pub fn norm(&self, u: &[S]) -> Result<f64, Fault> {
        Ok(self.inner(u, u)?.sqrt())
    }

    fn apply(&self, x: &[S], y: &mut [S]) {
        let mut start = 0;
        for part in &self.parts {
            let here = start..start + part.weights.len();
            start = here.end;
            part.apply.lock().unwrap_or_else(PoisonError::into_inner).apply(&x[here.clone()], &mut y[here]);
        }
    }
}

impl<S: Scalar> LinearOperator<S> for Gram<S> {
    fn domain(&self) -> &Shape {
        &self.shape
    }
    fn range(&self) -> &Shape {
        &self.shape
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        self.apply(x, y);
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], _work: &mut Work) -> Result<(), Fault> {
        self.apply(y, x);
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure { self_adjoint: true, ..Structure::default() }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        let weights = self.parts.iter().flat_map(|part| &part.weights);
        Some(weights.copied().fold(0.0, f64::max).powi(2))
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        // of a Fourier multiplier no sample depends on one sample alone
        match self.parts.iter().all(|part| part.basis == Basis::Model) {
            true => super::dims::shared_names(&self.shape, &self.shape),
            false => Vec::new(),
        }
    }
}

/// `T† = G_X⁻¹ Tᴴ G_Y`, the adjoint of `T` between Hilbert spaces: `⟨T x, y⟩_Y = ⟨x, T† y⟩_X`.
///
/// Collective: no. Cost: that of `Tᴴ` and of the two Gram operators. Faults: Gram operators of other shapes.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Apply, Gram, SharedOperator, Work, hilbert_adjoint};
/// use stackphys::{Shape, physics::Dense};
/// let t: SharedOperator<f64> = Arc::new(Dense::new(Shape::new([("x", 1)]), ndarray::array![[3.0]]).unwrap());
/// let (x, y) = (Gram::l2(t.domain().clone(), 0.5).unwrap(), Gram::l2(t.range().clone(), 2.0).unwrap());
/// let mut back = [0.0];
/// hilbert_adjoint(&t, &x, y).unwrap().forward(&[1.0], &mut back, &mut Work::default()).unwrap();
/// assert_eq!(back, [12.0]); // 3 · 2 / 0.5
/// ```
pub fn hilbert_adjoint<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &SharedOperator<X, Y>,
    gram_x: &Gram<X>,
    gram_y: Gram<Y>,
) -> Result<SharedOperator<Y, X>, Fault> {
    let weighted = Compose::new(Arc::new(gram_y) as SharedOperator<Y>, adjoint(operator))?;
    Ok(Arc::new(Compose::new(Arc::new(weighted) as SharedOperator<Y, X>, Arc::new(gram_x.inverse()) as _)?))
}
