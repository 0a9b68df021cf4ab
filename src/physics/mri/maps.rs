//! Coil maps: the sensitivity of each coil to each element of the image.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::operator::Work;
use crate::physics::Setting;
use crate::physics::centred::Centred;
use crate::physics::sampling::middle;
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile};

/// The distance of simulated coils from the middle, in half widths of the image.
const RADIUS: f64 = 1.5;
/// Where an estimate is divided by next to nothing: this much of the largest sum of squares is added.
const FLOOR: f64 = 1e-12;

/// Where coil maps come from: one of `path`, `estimate` and `birdcage`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapsParams {
    /// An array of maps in a file: (coil, y, x) or (coil, z, y, x).
    pub path: Option<PathBuf>,
    /// From the fully sampled middle of this k-space (npy, coil first): each coil's low-resolution image, over the root of the sum
    /// of their squares.
    pub estimate: Option<PathBuf>,
    /// Simulated: so many coils in a circle around the image.
    pub birdcage: Option<usize>,
    /// The width of the middle that an estimate is made from. Default: 24.
    pub calibration: Option<usize>,
    /// Whether maps of a file are divided by the root of the sum of their squares; others always are.
    #[serde(default)]
    pub normalize: bool,
}

impl MapsParams {
    /// The number of coils. Reads no more than a file's header; checks its sizes.
    pub(super) fn coils(&self, setting: &Setting) -> Result<usize, Fault> {
        let (key, path) = match (&self.path, &self.estimate, self.birdcage) {
            (Some(path), None, None) => ("path", path),
            (None, Some(path), None) => ("estimate", path),
            (None, None, Some(0)) => {
                return Err(
                    Fault::new("`maps.birdcage`: expected one coil at least, got 0").hint("8 is a usual number")
                );
            }
            (None, None, Some(coils)) => return Ok(coils),
            _ => {
                return Err(Fault::new("`maps`: expected one of `path`, `estimate` and `birdcage`")
                    .hint("for example `maps = { estimate = \"kspace.npy\", calibration = 24 }`"));
            }
        };
        if self.calibration == Some(0) {
            return Err(Fault::new("`maps.calibration`: expected 1 or more, got 0").hint("24 is a usual number"));
        }
        let (sizes, model) = (setting.files.sizes(path)?, setting.model.sizes());
        match sizes.split_first() {
            Some((coils, of_one)) if of_one == model && *coils > 0 => Ok(*coils),
            _ => {
                let expected = ["coils".to_owned()].into_iter().chain(model.iter().map(usize::to_string));
                let expected = expected.collect::<Vec<_>>().join(", ");
                let text = format!("`maps.{key}`: expected sizes [{expected}], {} has {sizes:?}", path.display());
                Err(Fault::new(text).hint(format!("coil maps are on the model's grid: {}", setting.model)))
            }
        }
    }

    /// The maps of some coils, one after the other.
    pub(super) fn load<S: Scalar>(&self, setting: &Setting, coils: Selection) -> Result<Vec<S>, Fault> {
        let (all, len) = (self.coils(setting)?, setting.model.len());
        let own = |coil: usize| coils.iter().position(|own| own == coil);
        let mut maps = vec![S::default(); coils.count * len];
        let mut sums = vec![0.0; len];
        let needs_all = self.path.is_none() || self.normalize;
        for coil in (0..all).filter(|coil| needs_all || own(*coil).is_some()) {
            let map = match (&self.path, &self.estimate) {
                (Some(path), _) => of_file(path, setting, coil, None)?,
                (None, Some(path)) => self.low_resolution(path, setting, coil)?,
                (None, None) => one_of_birdcage(setting.model, coil, all),
            };
            sums.iter_mut().zip(&map).for_each(|(sum, value)| *sum += value.norm_sqr());
            if let Some(place) = own(coil) {
                let to = &mut maps[place * len..(place + 1) * len];
                to.iter_mut().zip(&map).for_each(|(to, value)| *to = S::from_parts(value.re, value.im));
            }
        }
        if needs_all {
            let floor = FLOOR * sums.iter().copied().fold(0.0, f64::max);
            let factors: Vec<f64> =
                sums.iter().map(|sum| if *sum + floor > 0.0 { 1.0 / (sum + floor).sqrt() } else { 0.0 }).collect();
            for map in maps.chunks_exact_mut(len) {
                map.iter_mut().zip(&factors).for_each(|(value, factor)| *value *= S::from_f64(*factor));
            }
        }
        Ok(maps)
    }

    /// The image of a coil from the middle of its k-space, tapered by Hann windows.
    fn low_resolution(&self, path: &Path, setting: &Setting, coil: usize) -> Result<Vec<Complex<f64>>, Fault> {
        let sizes = setting.model.sizes();
        let middles: Vec<_> = sizes.iter().map(|size| middle(*size, self.calibration.unwrap_or(24))).collect();
        let numbers = of_file(path, setting, coil, Some(&middles))?;
        let mut field = vec![Complex::default(); setting.model.len()];
        let window = |at: usize, width: usize| 0.5 - 0.5 * (TAU * (at + 1) as f64 / (width + 1) as f64).cos();
        for (offset, number) in numbers.iter().enumerate() {
            let (mut rest, mut to, mut stride, mut weight) = (offset, 0, 1, 1.0);
            for (size, middle) in sizes.iter().zip(&middles).rev() {
                let at = rest % middle.len();
                weight *= window(at, middle.len());
                to += (middle.start + at) * stride;
                (rest, stride) = (rest / middle.len(), stride * size);
            }
            field[to] = *number * weight;
        }
        let dims: Vec<_> = sizes.iter().map(|size| (*size, true)).collect();
        let mut image = vec![Complex::default(); field.len()];
        let before = Centred::before(&dims);
        Centred::new(&dims, None).adjoint_add(&before, &field, &mut image, &mut Work::default());
        Ok(image)
    }
}

/// One coil of a file, or some samples of it along each dim.
fn of_file(
    path: &Path,
    setting: &Setting,
    coil: usize,
    part: Option<&[std::ops::Range<usize>]>,
) -> Result<Vec<Complex<f64>>, Fault> {
    let sizes = setting.files.sizes(path)?;
    let names = sizes.iter().enumerate().map(|(axis, size)| (format!("dim {axis}"), *size));
    let tile = Tile::whole(&Shape::new(names)).with(0, Selection { start: coil, step: 1, count: 1 });
    let run = |range: &std::ops::Range<usize>| Selection { start: range.start, step: 1, count: range.len() };
    let tile = part.into_iter().flatten().enumerate().fold(tile, |tile, (axis, range)| tile.with(axis + 1, run(range)));
    setting.files.read(path, &tile)?.into_scalars()
}

/// Maps of coils in a circle around the middle of a model (y, x) or (z, y, x), one after the other: `1/r` from the coil, and the
/// angle at which it is seen for a phase; divided by the root of the sum of their squares.
///
/// Collective: no. Cost: a few operations for each number. Memory: the maps.
///
/// ```
/// use stackphys::{Shape, physics::birdcage};
/// let maps = birdcage(&Shape::new([("y", 4), ("x", 4)]), 3);
/// let sum: f64 = (0..3).map(|coil| maps[coil * 16 + 5].norm_sqr()).sum();
/// assert!((sum - 1.0).abs() < 1e-12);
/// ```
///
/// Source: the function `birdcage_maps` of SigPy and of many others before.
pub fn birdcage(model: &Shape, coils: usize) -> Vec<Complex<f64>> {
    let mut maps: Vec<_> = (0..coils).flat_map(|coil| one_of_birdcage(model, coil, coils)).collect();
    let sums = super::sum_of_squares(model.len(), &maps);
    for map in maps.chunks_exact_mut(model.len().max(1)) {
        map.iter_mut().zip(&sums).for_each(|(value, sum)| *value /= sum.sqrt());
    }
    maps
}

fn one_of_birdcage(model: &Shape, coil: usize, coils: usize) -> Vec<Complex<f64>> {
    let turn = TAU * coil as f64 / coils as f64;
    let sizes = model.sizes();
    let place = |at: usize, size: usize| (at as f64 - size as f64 / 2.0) / (size as f64 / 2.0);
    (0..model.len())
        .map(|offset| {
            let (mut at, mut rest) = ([0.0; 3], offset);
            for (axis, size) in sizes.iter().enumerate().rev() {
                at[axis + 3 - sizes.len()] = place(rest % size, *size);
                rest /= size;
            }
            let [z, y, x] = at;
            let (y, x) = (y - RADIUS * turn.sin(), x - RADIUS * turn.cos());
            Complex::from_polar(1.0 / (x * x + y * y + z * z).sqrt(), x.atan2(-y) - turn)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::physics::Files;
    use crate::space::Numbers;

    /// A k-space of three coils, computed when asked for.
    struct KSpace(Vec<Complex<f64>>, [usize; 3]);

    impl Files for KSpace {
        fn sizes(&self, _: &Path) -> Result<Vec<usize>, Fault> {
            Ok(self.1.to_vec())
        }
        fn read(&self, _: &Path, tile: &Tile) -> Result<Numbers, Fault> {
            Ok(Numbers::ComplexF64(tile.offsets().map(|at| self.0[at]).collect()))
        }
    }

    fn k_space(sizes: [usize; 3]) -> KSpace {
        let number = |k: usize| Complex::new((k as f64 * 0.7).sin(), (k as f64 * 1.1).cos());
        KSpace((0..sizes.iter().product()).map(number).collect(), sizes)
    }

    /// Against the defining sums.
    #[test]
    fn an_estimate_is_the_low_resolution_ratio() {
        let [coils, rows, columns] = [3, 9, 12];
        let (files, model) = (k_space([coils, rows, columns]), Shape::new([("y", rows), ("x", columns)]));
        let setting = Setting::new(&model, &files);
        let params: MapsParams = toml::from_str("estimate = 'k'\ncalibration = 4").unwrap();
        assert_eq!(params.coils(&setting).unwrap(), coils);
        let hann: Vec<f64> = (1..5).map(|k| 0.5 - 0.5 * (2.0 * PI * f64::from(k) / 5.0).cos()).collect();
        let image = |coil: usize, y: usize, x: usize| -> Complex<f64> {
            let mut sum = Complex::default();
            for ky in 2..6 {
                for kx in 4..8 {
                    let weight = hann[ky - 2] * hann[kx - 4] / ((rows * columns) as f64).sqrt();
                    let turns = (ky as f64 - 4.0) * (y as f64 - 4.0) / rows as f64
                        + (kx as f64 - 6.0) * (x as f64 - 6.0) / columns as f64;
                    sum += files.0[(coil * rows + ky) * columns + kx] * Complex::from_polar(weight, 2.0 * PI * turns);
                }
            }
            sum
        };
        let own = Selection { start: 1, step: 1, count: 2 };
        let maps = params.load::<Complex<f64>>(&setting, own).unwrap();
        for (y, x) in [(0, 0), (4, 6), (8, 11), (2, 5)] {
            let root = (0..coils).map(|coil| image(coil, y, x).norm_sqr()).sum::<f64>().sqrt();
            for (place, coil) in [1, 2].into_iter().enumerate() {
                let got = maps[(place * rows + y) * columns + x];
                assert!((got - image(coil, y, x) / root).norm() < 1e-7, "{coil} {y} {x}: {got}");
            }
        }
    }

    #[test]
    fn maps_of_a_file_are_as_they_are_unless_normalised() {
        let (files, model) = (k_space([3, 4, 5]), Shape::new([("y", 4), ("x", 5)]));
        let setting = Setting::new(&model, &files);
        let load = |text: &str| {
            toml::from_str::<MapsParams>(text).unwrap().load::<Complex<f64>>(&setting, Selection::all(3)).unwrap()
        };
        assert_eq!(load("path = 'k'"), files.0);
        let sums = crate::physics::mri::sum_of_squares(20, &load("path = 'k'\nnormalize = true"));
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-9), "{sums:?}");
        let other = Shape::new([("y", 5), ("x", 5)]);
        let setting = Setting { model: &other, ..setting };
        let fault = toml::from_str::<MapsParams>("path = 'k'").unwrap().coils(&setting).unwrap_err();
        assert!(fault.text.contains("`maps.path`: expected sizes [coils, 5, 5], k has [3, 4, 5]"), "{}", fault.text);
    }

    #[test]
    fn birdcage_coils_see_what_is_near_them() {
        let maps = birdcage(&Shape::new([("y", 16), ("x", 16)]), 4);
        let strength = |coil: usize, y: usize, x: usize| maps[(coil * 16 + y) * 16 + x].norm();
        assert!(strength(0, 8, 15) > strength(0, 8, 0) && strength(1, 15, 8) > strength(1, 0, 8)); // on the right, below
        assert!((strength(0, 8, 8) - 0.5).abs() < 1e-12);
    }
}
