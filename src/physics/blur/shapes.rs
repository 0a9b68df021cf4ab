//! Kernels from a few parameters, or from a file.
//!
//! A kernel with sharp edges (motion, disc, box) has as weights the exact parts of it that lie in each pixel. J. W. Goodman,
//! "Introduction to Fourier optics", 3rd ed. 2005, has the Airy disc (section 4.4.2).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kernel::{Kernel, fits, reach_of};
use super::params::PerDim;
use crate::error::Fault;
use crate::physics::Files;
use crate::range::{not_negative, positive};
use crate::space::{Dim, Shape, Tile};

/// The largest half width of a kernel: beyond any image.
const LARGEST_REACH: f64 = (1 << 20) as f64;

/// A Gaussian, in any direction: `k ∝ exp(−½ dᵀ Σ⁻¹ d)` at the middle of each pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianKernel {
    /// The standard deviation in pixels: one number, or a list with one for each dim of the model. 0 leaves a dim as it is.
    pub sigma: PerDim,
    /// Turns the kernel by this angle in degrees, counter-clockwise as one sees the picture, in the last two dims.
    #[serde(default)]
    pub angle_deg: f64,
    /// The half width of the kernel in pixels, for all dims: the kernel has 2·radius + 1. Default: four standard deviations
    /// along each dim, rounded up.
    pub radius: Option<usize>,
}

/// The trace of a point that moves along a line at constant speed: its length in each pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MotionKernel {
    /// The length of the way in pixels.
    pub length: f64,
    /// Its direction in degrees: 0 is along the last dim, and the angle grows counter-clockwise as one sees the picture.
    #[serde(default)]
    pub angle_deg: f64,
}

/// The image of a point by a lens with a round pupil: `k ∝ (2 J₁(v)/v)²` with `v = 3.8317 r / first_zero`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AiryKernel {
    /// The radius of the first dark ring in pixels: 1.22 λ f / (aperture · pixel size).
    pub first_zero: f64,
    /// The half width of the kernel in pixels. Default: five times `first_zero`, rounded up; 4 % of the light fall outside.
    pub radius: Option<usize>,
}

/// A disc of constant brightness, as a lens makes it that is out of focus: its area in each pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscKernel {
    /// The radius of the disc in pixels.
    pub radius: f64,
}

/// The mean over a box, such as the face of a detector: what of it lies in each pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoxKernel {
    /// The width in pixels, which need not be whole: one number, or a list with one for each dim of the model. 1 leaves a dim
    /// as it is.
    pub width: PerDim,
}

/// A kernel from a file. Its dims are the last ones of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileKernel {
    /// A file with an array, in the data folder.
    pub path: PathBuf,
    /// The index of the kernel's centre, counted from 0. Default: n/2 of odd sizes n; of an even one it must be stated.
    pub center: Option<Vec<usize>>,
    /// Whether to scale the weights so that they sum to 1. Default: they stay what they are.
    #[serde(default)]
    pub normalize: bool,
}

/// A fault if a kernel reaches beyond any image.
fn check_reach(key: &str, reach: f64) -> Result<(), Fault> {
    if reach > LARGEST_REACH {
        return Err(Fault::new(format!("`{key}`: the kernel would be {reach} pixels wide on each side"))
            .hint("a kernel that wide leaves nothing but the mean: is it given in pixels?"));
    }
    Ok(())
}

/// A fault if a model has fewer than two dims.
fn two_dims(model: &Shape, what: &str) -> Result<(), Fault> {
    if model.dims().len() < 2 {
        return Err(Fault::new(format!("a {what} kernel has two dims, the model is {model}")));
    }
    Ok(())
}

impl GaussianKernel {
    pub(super) fn kernel(&self, model: &Shape) -> Result<Kernel, Fault> {
        let sigmas = self.sigma.of("sigma", model)?;
        for (sigma, Dim { name, .. }) in sigmas.iter().zip(model.dims()) {
            not_negative("sigma", *sigma).map_err(|fault| fault.hint(format!("in pixels, for dim `{name}`")))?;
        }
        if !self.angle_deg.is_finite() {
            return Err(Fault::new(format!("`angle_deg` is {}, expected a finite number", self.angle_deg)));
        }
        let dims = sigmas.len();
        let turned = dims >= 2 && self.angle_deg.rem_euclid(180.0) != 0.0;
        // of the last two dims, rows going down: the axis of the last dim turned up by the angle, and the one across
        let (sin, cos) = if turned { self.angle_deg.to_radians().sin_cos() } else { (0.0, 1.0) };
        let along = |d: &[f64]| {
            if !turned {
                return d.to_vec();
            }
            let (row, column) = (d[dims - 2], d[dims - 1]);
            let mut axes = d.to_vec();
            axes[dims - 1] = column * cos - row * sin;
            axes[dims - 2] = column * sin + row * cos;
            axes
        };
        if turned && sigmas[dims - 2..].contains(&0.0) {
            let text = "`sigma`: a Gaussian that is turned needs numbers above 0 in the last two dims";
            return Err(Fault::new(text).hint("for a line there is the kernel `motion`"));
        }
        let mut extent = sigmas.clone();
        if turned {
            let (of_rows, of_columns) = (sigmas[dims - 2], sigmas[dims - 1]);
            extent[dims - 1] = (of_columns * cos).hypot(of_rows * sin);
            extent[dims - 2] = (of_columns * sin).hypot(of_rows * cos);
        }
        let reach = |(extent, sigma): (&f64, &f64)| match (self.radius, *sigma > 0.0) {
            (_, false) => 0.0,
            (Some(radius), _) => radius as f64,
            (None, _) => (4.0 * extent).ceil(),
        };
        let reach: Vec<f64> = extent.iter().zip(&sigmas).map(reach).collect();
        check_reach("sigma", reach.iter().copied().fold(0.0, f64::max))?;
        let reach: Vec<usize> = reach.into_iter().map(|reach| reach as usize).collect();
        Kernel::from_fn(model, &reach, |d| {
            let term = |(d, sigma): (f64, &f64)| if *sigma > 0.0 { (d / sigma).powi(2) } else { 0.0 };
            (-0.5 * along(d).into_iter().zip(&sigmas).map(term).sum::<f64>()).exp()
        })
    }
}

impl MotionKernel {
    pub(super) fn kernel(&self, model: &Shape) -> Result<Kernel, Fault> {
        two_dims(model, "motion")?;
        positive("length", self.length).map_err(|fault| fault.hint("the length of the way in pixels"))?;
        if !self.angle_deg.is_finite() {
            return Err(Fault::new(format!("`angle_deg` is {}, expected a finite number", self.angle_deg)));
        }
        check_reach("length", self.length / 2.0)?;
        let (sin, cos) = self.angle_deg.to_radians().sin_cos();
        let half = [-sin, cos].map(|part| part * self.length / 2.0); // (row, column); rows go down
        // a direction along a dim is one, whatever the rounding of its sine
        let half = half.map(|part| if part.abs() < 1e-12 * self.length { 0.0 } else { part });
        Kernel::from_fn(model, &half.map(|part| reach_of(part.abs())), |middle| {
            // the line is t·half for t from −1 to 1; the pixel lets a part of that pass, along each dim
            let (mut from, mut to) = (-1.0_f64, 1.0_f64);
            for (middle, half) in middle.iter().zip(half) {
                let edges = [middle - 0.5, middle + 0.5];
                if half == 0.0 {
                    if edges[0] > 0.0 || edges[1] < 0.0 {
                        return 0.0;
                    }
                    continue;
                }
                let [a, b] = edges.map(|edge| edge / half);
                (from, to) = (from.max(a.min(b)), to.min(a.max(b)));
            }
            (to - from).max(0.0)
        })
    }
}

impl AiryKernel {
    pub(super) fn kernel(&self, model: &Shape) -> Result<Kernel, Fault> {
        /// The first zero of J₁.
        const ZERO: f64 = 3.831_705_970_207_512;
        two_dims(model, "airy")?;
        positive("first_zero", self.first_zero)
            .map_err(|fault| fault.hint("the radius of the first dark ring in pixels"))?;
        let reach = self.radius.map_or((5.0 * self.first_zero).ceil(), |radius| radius as f64);
        check_reach("first_zero", reach)?;
        Kernel::from_fn(model, &[reach as usize; 2], |d| {
            let v = ZERO * d[0].hypot(d[1]) / self.first_zero;
            if v == 0.0 { 1.0 } else { (2.0 * libm::j1(v) / v).powi(2) }
        })
    }
}

impl DiscKernel {
    pub(super) fn kernel(&self, model: &Shape) -> Result<Kernel, Fault> {
        two_dims(model, "disc")?;
        positive("radius", self.radius).map_err(|fault| fault.hint("the radius of the disc in pixels"))?;
        check_reach("radius", self.radius)?;
        Kernel::from_fn(model, &[reach_of(self.radius); 2], |d| {
            let corner = |x: f64, y: f64| disc_from_origin(d[1] + x, d[0] + y, self.radius);
            let area = corner(0.5, 0.5) - corner(-0.5, 0.5) - corner(0.5, -0.5) + corner(-0.5, -0.5);
            area.max(0.0) // of a pixel outside, but for rounding
        })
    }
}

/// The area of a disc about the origin within the rectangle from the origin to (x, y), negative where one of these is.
fn disc_from_origin(x: f64, y: f64, radius: f64) -> f64 {
    let (a, b) = (x.abs().min(radius), y.abs().min(radius));
    let area = if a.hypot(b) <= radius {
        a * b
    } else {
        // as high as the rectangle until the disc bends below it, then under the arc
        let bend = (radius * radius - b * b).max(0.0).sqrt();
        let under =
            |x: f64| 0.5 * (x * (radius * radius - x * x).max(0.0).sqrt() + radius * radius * (x / radius).asin());
        b * bend + under(a) - under(bend)
    };
    area * x.signum() * y.signum()
}

impl BoxKernel {
    pub(super) fn kernel(&self, model: &Shape) -> Result<Kernel, Fault> {
        let widths = self.width.of("width", model)?;
        for width in &widths {
            positive("width", *width).map_err(|fault| fault.hint("in pixels; 1 leaves a dim as it is"))?;
            check_reach("width", width / 2.0)?;
        }
        let reach: Vec<usize> = widths.iter().map(|width| reach_of(width / 2.0)).collect();
        Kernel::from_fn(model, &reach, |d| {
            let overlap = |(d, width): (&f64, &f64)| (d + 0.5).min(width / 2.0) - (d - 0.5).max(-width / 2.0);
            d.iter().zip(&widths).map(overlap).product()
        })
    }
}

impl FileKernel {
    pub(super) fn kernel(&self, model: &Shape, files: &dyn Files) -> Result<Kernel, Fault> {
        let sizes = files.sizes(&self.path)?;
        let (name, dims) = (self.path.display(), model.dims().len());
        if sizes.len() > dims {
            let text = format!("kernel: {name} has sizes {sizes:?}, the model is {model}");
            return Err(Fault::new(text).hint("a kernel has the last dims of the model, or all of them"));
        }
        // before it is read: it may be an image, and not a kernel at all
        fits(model, &sizes).map_err(|fault| Fault { text: format!("{name}: {}", fault.text), ..fault })?;
        let last = &model.dims()[dims - sizes.len()..];
        let shape = Shape::new(last.iter().zip(&sizes).map(|(dim, size)| (dim.name.clone(), *size)));
        let weights = files.read(&self.path, &Tile::whole(&shape))?.into_scalars::<f64>();
        let weights = weights.map_err(|fault| fault.hint("the weights of a kernel must be real"))?;
        let kernel = Kernel::new(sizes, self.center.clone(), weights)
            .map_err(|fault| Fault { text: format!("{name}: {}", fault.text), ..fault })?;
        if self.normalize { kernel.normalized() } else { Ok(kernel) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Shape {
        Shape::new([("y", 128), ("x", 130)])
    }

    /// Σ w d dᵀ about the middle, which is also the mean, for a kernel of two dims.
    fn moments(kernel: &Kernel) -> [f64; 4] {
        let [rows, columns] = kernel.sizes()[..] else { panic!("two dims") };
        let mut moments = [0.0; 4];
        for (at, weight) in kernel.weights().iter().enumerate() {
            let d = [(at / columns) as f64 - (rows / 2) as f64, (at % columns) as f64 - (columns / 2) as f64];
            for (moment, term) in moments.iter_mut().zip([1.0, d[0] * d[0], d[1] * d[1], d[0] * d[1]]) {
                *moment += weight * term;
            }
        }
        moments
    }

    #[test]
    fn a_turned_gaussian_has_the_turned_covariance() {
        let params = GaussianKernel { sigma: PerDim::Each(vec![1.5, 4.0]), angle_deg: 30.0, radius: Some(31) };
        let kernel = params.kernel(&image()).unwrap();
        let (sin, cos) = 30.0_f64.to_radians().sin_cos();
        let want = [
            1.0,
            16.0 * sin * sin + 2.25 * cos * cos,
            16.0 * cos * cos + 2.25 * sin * sin,
            // up in the picture is a smaller row: the long axis rises to the right
            -(16.0 - 2.25) * sin * cos,
        ];
        for (got, want) in moments(&kernel).into_iter().zip(want) {
            assert!((got - want).abs() < 1e-9, "{got}, not {want}");
        }
        assert!(params.kernel(&Shape::new([("x", 64)])).is_err());
    }

    #[test]
    fn a_motion_has_its_length_in_each_pixel() {
        let kernel = |length, angle_deg| MotionKernel { length, angle_deg }.kernel(&image()).unwrap();
        assert_eq!(kernel(4.0, 0.0).sizes(), [1, 5]);
        let flat = kernel(4.0, 180.0);
        assert!(flat.weights().iter().zip([0.125, 0.25, 0.25, 0.25, 0.125]).all(|(a, b)| (a - b).abs() < 1e-15));
        assert_eq!(kernel(3.0, 90.0).sizes(), [3, 1]);
        // a line of length L has the second moment L²/12 along itself; the pixels on its way are within half a pixel of it
        let [sum, rows, columns, mixed] = moments(&kernel(25.0, 40.0));
        let (sin, cos) = 40.0_f64.to_radians().sin_cos();
        let along = 25.0 * 25.0 / 12.0;
        assert!((sum - 1.0).abs() < 1e-12);
        assert!((rows - along * sin * sin).abs() < 0.2 && (columns - along * cos * cos).abs() < 0.2);
        assert!((mixed + along * sin * cos).abs() < 0.2, "it rises to the right: {mixed}");
        // at 45 degrees it goes through pixels corner to corner
        let diagonal = kernel(3.0 * 2.0_f64.sqrt(), 45.0);
        for (at, weight) in diagonal.weights().iter().enumerate() {
            let on_it = at / 3 + at % 3 == 2;
            assert!((weight - if on_it { 1.0 / 3.0 } else { 0.0 }).abs() < 1e-12, "{at}: {weight}");
        }
    }

    #[test]
    fn a_disc_has_its_area_in_each_pixel() {
        for radius in [0.3, 1.0, 2.5, 7.25] {
            let kernel = DiscKernel { radius }.kernel(&image()).unwrap();
            let size = kernel.sizes()[0];
            // by counting points, and the middle pixel by its known area
            const POINTS: usize = 200;
            let area = std::f64::consts::PI * radius * radius;
            for (at, weight) in kernel.weights().iter().enumerate() {
                let [y, x] = [at / size, at % size].map(|at| at as f64 - (size / 2) as f64);
                let place = |i: usize| (i as f64 + 0.5) / POINTS as f64 - 0.5;
                let inside = |i: usize| (x + place(i % POINTS)).hypot(y + place(i / POINTS)) < radius;
                let counted = (0..POINTS * POINTS).filter(|i| inside(*i)).count() as f64 / (POINTS * POINTS) as f64;
                assert!((weight * area - counted).abs() < 2e-3, "{radius} {at}: {} {counted}", weight * area);
            }
        }
        assert!((disc_from_origin(9.0, 9.0, 2.0) - std::f64::consts::PI).abs() < 1e-14, "a quarter of the disc");
    }

    #[test]
    fn a_box_may_end_within_pixels() {
        let kernel = BoxKernel { width: PerDim::Each(vec![1.0, 4.0]) }.kernel(&image()).unwrap();
        assert_eq!((kernel.sizes(), kernel.weights()), (&[1, 5][..], &[0.125, 0.25, 0.25, 0.25, 0.125][..]));
        let kernel = BoxKernel { width: PerDim::All(3.0) }.kernel(&image()).unwrap();
        assert!(kernel.weights().iter().all(|weight| (weight - 1.0 / 9.0).abs() < 1e-16));
    }

    /// The light within a radius of an Airy pattern is 1 − J₀² − J₁² (Rayleigh).
    #[test]
    fn an_airy_disc_has_its_light_within_the_first_ring() {
        let params = AiryKernel { first_zero: 12.0, radius: Some(60) };
        let kernel = params.kernel(&image()).unwrap();
        let light = |radius: f64| {
            let v = 3.831_705_970_207_512 * radius / 12.0;
            1.0 - libm::j0(v).powi(2) - libm::j1(v).powi(2)
        };
        let within = |radius: f64| -> f64 {
            let distance = |at: usize| ((at / 121) as f64 - 60.0).hypot((at % 121) as f64 - 60.0);
            kernel
                .weights()
                .iter()
                .enumerate()
                .filter(|(at, _)| distance(*at) <= radius)
                .map(|(_, weight)| weight)
                .sum()
        };
        assert!((light(12.0) - 0.838).abs() < 1e-3);
        for radius in [12.0, 24.0, 40.0] {
            let (got, want) = (within(radius) / within(60.0), light(radius) / light(60.0));
            assert!((got - want).abs() < 4e-3, "{radius}: {got}, not {want}");
        }
    }
}
