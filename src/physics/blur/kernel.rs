//! Kernels: arrays of weights around a centre, and the parameters they come from.

use super::shapes::{AiryKernel, BoxKernel, DiscKernel, FileKernel, GaussianKernel, MotionKernel};
use crate::error::Fault;
use crate::kinds::kinds;
use crate::physics::Files;
use crate::space::Shape;

kinds! {
    /// Where a kernel comes from.
    pub enum KernelParams by "kind" {
        "gaussian" => Gaussian(GaussianKernel),
        "motion" => Motion(MotionKernel),
        "airy" => Airy(AiryKernel),
        "disc" => Disc(DiscKernel),
        "box" => Box(BoxKernel),
        "file" => File(FileKernel),
    }
}

impl KernelParams {
    /// The kernel on the last dims of a model.
    pub fn kernel(&self, model: &Shape, files: &dyn Files) -> Result<Kernel, Fault> {
        match self {
            KernelParams::Gaussian(params) => params.kernel(model),
            KernelParams::Motion(params) => params.kernel(model),
            KernelParams::Airy(params) => params.kernel(model),
            KernelParams::Disc(params) => params.kernel(model),
            KernelParams::Box(params) => params.kernel(model),
            KernelParams::File(params) => params.kernel(model, files),
        }
    }
}

/// Real weights around a centre: `y[i] = Σ_j k[j] x[i − j + c]`, a true convolution with the centre `c` of the kernel as its
/// origin.
///
/// Collective: no. Faults when made: sizes that do not fit the weights, weights that are not finite, an even size without a
/// stated centre, a centre outside.
///
/// ```
/// use stackphys::physics::Kernel;
/// let shift = Kernel::new(vec![3], None, vec![0.0, 0.0, 1.0]).unwrap(); // y[i] = x[i − 1]
/// assert_eq!(shift.center(), [1]);
/// assert!(Kernel::new(vec![2], None, vec![0.5, 0.5]).is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    sizes: Vec<usize>,
    center: Vec<usize>,
    weights: Vec<f64>,
}

impl Kernel {
    /// A kernel from its weights, row-major. The centre of an odd size n is at index n/2, that of an even one must be stated.
    pub fn new(sizes: Vec<usize>, center: Option<Vec<usize>>, weights: Vec<f64>) -> Result<Self, Fault> {
        if sizes.is_empty() || weights.is_empty() || sizes.iter().product::<usize>() != weights.len() {
            return Err(Fault::new(format!("kernel: sizes {sizes:?} do not make {} weights", weights.len())));
        }
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(Fault::new(format!("kernel: weight {at} is {}, expected a finite number", weights[at])));
        }
        let center = match center {
            Some(center) if center.len() == sizes.len() && center.iter().zip(&sizes).all(|(at, size)| at < size) => {
                center
            }
            Some(center) => {
                let text = format!("`center` of the kernel: expected an index within sizes {sizes:?}, got {center:?}");
                return Err(Fault::new(text).hint("one index for each dim of the kernel, counted from 0"));
            }
            None if sizes.iter().any(|size| size % 2 == 0) => {
                let text = format!("the kernel has sizes {sizes:?}: an even size has no middle pixel");
                let middle: Vec<usize> = sizes.iter().map(|size| size / 2).collect();
                let hint = format!("say which pixel is the centre, for example `center = {middle:?}`, counted from 0");
                return Err(Fault::new(text).hint(hint));
            }
            None => sizes.iter().map(|size| size / 2).collect(),
        };
        Ok(Kernel { sizes, center, weights })
    }

    /// A kernel of odd sizes 2r + 1 for a model, from a function of the offset to its centre, made to sum to 1.
    pub(super) fn from_fn(model: &Shape, reach: &[usize], weight: impl Fn(&[f64]) -> f64) -> Result<Self, Fault> {
        let sizes: Vec<usize> = reach.iter().map(|reach| 2 * reach + 1).collect();
        fits(model, &sizes)?;
        let len = sizes.iter().product();
        let mut offset = vec![0.0; sizes.len()];
        let weight_at = |mut at: usize| {
            for ((offset, size), reach) in offset.iter_mut().zip(&sizes).zip(reach).rev() {
                *offset = (at % size) as f64 - *reach as f64;
                at /= size;
            }
            weight(&offset)
        };
        let weights = (0..len).map(weight_at).collect();
        Kernel::new(sizes, None, weights)?.normalized()
    }

    /// The same, made to sum to 1.
    pub fn normalized(mut self) -> Result<Self, Fault> {
        let sum: f64 = self.weights.iter().sum();
        if sum == 0.0 || !sum.is_finite() {
            return Err(Fault::new(format!("the weights of the kernel sum to {sum}: they cannot be made to sum to 1")));
        }
        self.weights.iter_mut().for_each(|weight| *weight /= sum);
        Ok(self)
    }

    /// Sizes, slowest dim first: those of the last dims of the model.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }
    /// The index of the centre.
    pub fn center(&self) -> &[usize] {
        &self.center
    }
    /// Weights, row-major.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The kernel as a product of one for each dim, if it is one but for rounding.
    pub(super) fn factors(&self) -> Option<Vec<Kernel>> {
        let largest = self.weights.iter().map(|weight| weight.abs()).fold(0.0, f64::max);
        let pivot = self.weights.iter().position(|weight| weight.abs() == largest && largest > 0.0)?;
        let strides = self.strides();
        let line = |axis: usize| -> Vec<f64> {
            let first = pivot - pivot / strides[axis] % self.sizes[axis] * strides[axis];
            (0..self.sizes[axis]).map(|at| self.weights[first + at * strides[axis]]).collect()
        };
        // the last factor has the size of the kernel, the others that of 1
        let factors: Vec<Vec<f64>> = (0..self.sizes.len())
            .map(|axis| {
                let scale = if axis + 1 == self.sizes.len() { 1.0 } else { self.weights[pivot] };
                line(axis).into_iter().map(|weight| weight / scale).collect()
            })
            .collect();
        let is_product = self.weights.iter().enumerate().all(|(at, weight)| {
            let of_axis = |axis: usize| factors[axis][at / strides[axis] % self.sizes[axis]];
            let product: f64 = (0..factors.len()).map(of_axis).product();
            (product - weight).abs() <= 8.0 * f64::EPSILON * largest
        });
        let kernel = |(axis, weights): (usize, Vec<f64>)| {
            let along = |of: &[usize], other: usize| {
                (0..of.len()).map(|at| if at == axis { of[at] } else { other }).collect::<Vec<_>>()
            };
            Kernel { sizes: along(&self.sizes, 1), center: along(&self.center, 0), weights }
        };
        is_product.then(|| factors.into_iter().enumerate().map(kernel).collect())
    }

    /// The kernel without first dims in which it has one pixel; it keeps one dim.
    pub(super) fn without_leading_ones(mut self) -> Self {
        let ones = self.sizes.iter().take_while(|size| **size == 1).count().min(self.sizes.len() - 1);
        self.sizes.drain(..ones);
        self.center.drain(..ones);
        self
    }
    /// The kernel times a number.
    pub(super) fn scaled(&self, by: f64) -> Self {
        Kernel { weights: self.weights.iter().map(|weight| weight * by).collect(), ..self.clone() }
    }
    pub(super) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.sizes.len()];
        for axis in (1..self.sizes.len()).rev() {
            strides[axis - 1] = strides[axis] * self.sizes[axis];
        }
        strides
    }

    /// The kernel reversed along each dim, as its adjoint needs it; the centre with it.
    pub(super) fn reversed(&self) -> Self {
        let center = self.center.iter().zip(&self.sizes).map(|(at, size)| size - 1 - at).collect();
        Kernel { sizes: self.sizes.clone(), center, weights: self.weights.iter().rev().copied().collect() }
    }
}

/// A fault if a kernel of these sizes is larger than the model, whose last dims it has.
pub(super) fn fits(model: &Shape, sizes: &[usize]) -> Result<(), Fault> {
    let Some(before) = model.dims().len().checked_sub(sizes.len()) else {
        return Err(Fault::new(format!("a kernel of sizes {sizes:?} has more dims than the model {model}")));
    };
    match model.dims()[before..].iter().zip(sizes).find(|(dim, size)| **size > dim.size) {
        Some((dim, size)) => Err(Fault::new(format!(
            "the kernel is larger than the image: {size} pixels along dim `{}`, which has {}",
            dim.name, dim.size
        ))
        .hint("take a smaller kernel, or a larger model")),
        None => Ok(()),
    }
}

/// The reach of a kernel of a width: pixels that it touches on each side of the middle one.
pub(super) fn reach_of(half_width: f64) -> usize {
    (half_width - 0.5 - 1e-9).ceil().max(0.0) as usize // what rounding adds is no pixel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_found_and_nothing_else() {
        let [a, b] = [[0.25, -0.5, 0.125], [3.0, 0.0, 1.0]];
        let weights: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect();
        let product = Kernel::new(vec![3, 3], None, weights.clone()).unwrap();
        let factors = product.factors().unwrap();
        assert_eq!([factors[0].sizes(), factors[1].sizes()], [[3, 1], [1, 3]]);
        for (at, weight) in weights.iter().enumerate() {
            assert!((factors[0].weights()[at / 3] * factors[1].weights()[at % 3] - weight).abs() < 1e-16);
        }
        let mut other = weights;
        other[3] += 1e-9;
        assert!(Kernel::new(vec![3, 3], None, other).unwrap().factors().is_none());
    }

    #[test]
    fn a_centre_must_be_known_and_inside() {
        let fault = Kernel::new(vec![3, 2], None, vec![1.0; 6]).unwrap_err();
        assert!(fault.text.contains("[3, 2]") && fault.hint.unwrap().contains("center = [1, 1]"));
        assert!(Kernel::new(vec![3, 2], Some(vec![1, 2]), vec![1.0; 6]).unwrap_err().text.contains("`center`"));
        assert_eq!(Kernel::new(vec![3, 2], Some(vec![0, 1]), vec![1.0; 6]).unwrap().reversed().center(), [2, 0]);
        assert!(Kernel::new(vec![1], None, vec![f64::NAN]).unwrap_err().text.contains("NaN"));
    }
}
