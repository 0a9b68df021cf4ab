//! Which samples of Fourier space were measured: what is not zero in the data, what a file says, or a pattern.
//!
//! Patterns depend on a seed and the place of a sample alone, so all ranks make the same one.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Files;
use crate::error::Fault;
use crate::random::Stream;
use crate::space::{Selection, Shape, Tile};

/// The stream of random numbers of a pattern.
const PATTERN: u64 = 0x6d61_736b;
/// Steps in which the distance of a Poisson-disc pattern is halved down.
const STEPS: usize = 12;

/// Which samples there are: one of `nonzero`, `path`, `poisson_disc`, `variable_density` and `equispaced`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// What is not zero in this file of a k-space, in any coil: samples that were not measured are zeros there.
    pub nonzero: Option<PathBuf>,
    /// An array in a file, of the k-space's size without coils: what is not zero was measured.
    pub path: Option<PathBuf>,
    /// A Poisson-disc pattern: one in so many samples, none closer to another than need be.
    pub poisson_disc: Option<f64>,
    /// One in so many samples, drawn at random, denser in the middle.
    pub variable_density: Option<f64>,
    /// Each so many-th line along the last dim but one, whole in the others.
    pub equispaced: Option<usize>,
    /// The width of the part in the middle that patterns measure fully. Default: 24, or the whole dim if that is less.
    pub calibration: Option<usize>,
    /// How fast a variable density falls: with this power of the distance from the edge. Default: 3.
    pub power: Option<f64>,
    /// The seed of a pattern.
    #[serde(default = "one")]
    pub seed: u64,
}

fn one() -> u64 {
    1
}

impl SamplingParams {
    /// Checks what can be checked without reading more than a header.
    pub(super) fn check(&self, sizes: &[usize], files: &dyn Files) -> Result<(), Fault> {
        let given = [
            self.nonzero.is_some(),
            self.path.is_some(),
            self.poisson_disc.is_some(),
            self.variable_density.is_some(),
            self.equispaced.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            return Err(Fault::new(
                "`mask`: expected one of `nonzero`, `path`, `poisson_disc`, `variable_density` and `equispaced`",
            )
            .hint("for example `mask = { nonzero = \"kspace.npy\" }`, or `{ poisson_disc = 4.0 }`"));
        }
        for (key, path, coils) in [("nonzero", &self.nonzero, true), ("path", &self.path, false)] {
            let Some(path) = path else { continue };
            let got = files.sizes(path)?;
            if got != sizes && !(coils && got.len() == sizes.len() + 1 && got[1..] == *sizes) {
                let of = if coils { "with or without coils before" } else { "without coils" };
                let text = format!("`mask.{key}`: expected sizes {sizes:?}, {of}, {} has {got:?}", path.display());
                return Err(
                    Fault::new(text).hint("a mask has a number for each sample of the model's Fourier transform")
                );
            }
        }
        for (key, value) in [
            ("poisson_disc", self.poisson_disc),
            ("variable_density", self.variable_density),
            ("equispaced", self.equispaced.map(|every| every as f64)),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value >= 1.0)
            {
                return Err(Fault::new(format!("`mask.{key}`: expected 1 or more, got {value}"))
                    .hint("4 measures one in four samples"));
            }
        }
        Ok(())
    }

    /// Whether each sample was measured. Faults: those of [`check`](Self::check), and a mask without samples.
    pub(super) fn samples(&self, sizes: &[usize], files: &dyn Files) -> Result<Vec<bool>, Fault> {
        self.check(sizes, files)?;
        let mask = if let Some(path) = self.nonzero.as_ref().or(self.path.as_ref()) {
            not_zero(path, sizes, files)?
        } else if let Some(every) = self.equispaced {
            let lines = sizes.len().saturating_sub(2);
            let middle = |index: &[usize]| self.is_middle(&index[lines..=lines], &sizes[lines..=lines]);
            each_index(sizes).map(|index| index[lines] % every == 0 || middle(&index)).collect()
        } else {
            self.random(sizes)
        };
        check_samples(&mask, sizes.iter().product())?;
        Ok(mask)
    }

    fn is_middle(&self, index: &[usize], sizes: &[usize]) -> bool {
        let width = self.calibration.unwrap_or(24);
        index.iter().zip(sizes).all(|(at, size)| middle(*size, width).contains(at))
    }

    /// The middle, and of the rest as many as make one in so many of all.
    fn random(&self, sizes: &[usize]) -> Vec<bool> {
        let one_in = self.poisson_disc.or(self.variable_density).unwrap_or(1.0);
        let places: Vec<Vec<usize>> = each_index(sizes).collect();
        let mut mask: Vec<bool> = places.iter().map(|index| self.is_middle(index, sizes)).collect();
        let fixed = mask.iter().filter(|taken| **taken).count();
        let wanted = ((places.len() as f64 / one_in).round() as usize).saturating_sub(fixed);
        let stream = Stream::new(self.seed, PATTERN);
        // ln u / p in falling order draws without replacement, with chances in the ratio of p (Efraimidis and Spirakis 2006)
        let power = self.power.unwrap_or(3.0);
        let chance = |index: &[usize]| match self.poisson_disc {
            Some(_) => 1.0,
            None => (1.0 - from_middle(index, sizes)).max(1e-3).powf(power),
        };
        let mut drawn: Vec<(f64, usize)> = (0..places.len())
            .filter(|at| !mask[*at])
            .map(|at| ((1.0 - stream.uniform(at as u64)).ln() / chance(&places[at]), at))
            .collect();
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        if self.poisson_disc.is_some() {
            let candidates: Vec<usize> = drawn.iter().map(|(_, at)| *at).collect();
            drawn = farthest(&candidates, &places, sizes, wanted).into_iter().map(|at| (0.0, at)).collect();
        }
        drawn.iter().take(wanted).for_each(|(_, at)| mask[*at] = true);
        mask
    }
}

/// `wanted` of the candidates, in their order, with the largest distance between any two that leaves so many.
fn farthest(candidates: &[usize], places: &[Vec<usize>], sizes: &[usize], wanted: usize) -> Vec<usize> {
    let with_distance = |distance: f64| {
        let mut taken = vec![false; places.len()];
        let reach = distance.ceil() as isize;
        let around: Vec<Vec<isize>> = each_index(&vec![2 * reach as usize + 1; sizes.len()])
            .map(|index| index.into_iter().map(|at| at as isize - reach).collect::<Vec<isize>>())
            .filter(|step| (step.iter().map(|step| step * step).sum::<isize>() as f64) < distance * distance)
            .collect();
        let mut found = Vec::new();
        for &candidate in candidates {
            let is_near = |step: &Vec<isize>| {
                let mut offset = 0;
                for ((at, step), size) in places[candidate].iter().zip(step).zip(sizes) {
                    let Some(at) = at.checked_add_signed(*step).filter(|at| at < size) else { return false };
                    offset = offset * size + at;
                }
                taken[offset]
            };
            if !around.iter().any(is_near) {
                taken[candidate] = true;
                found.push(candidate);
            }
        }
        found
    };
    let (mut low, mut high) = (0.0, 2.0 * (places.len() as f64 / wanted.max(1) as f64).powf(1.0 / sizes.len() as f64));
    let mut best = candidates.to_vec();
    for _ in 0..STEPS {
        let distance = (low + high) / 2.0;
        let found = with_distance(distance);
        if found.len() >= wanted {
            (low, best) = (distance, found);
        } else {
            high = distance;
        }
    }
    best
}

/// The samples in the middle of a dim.
pub(super) fn middle(size: usize, width: usize) -> std::ops::Range<usize> {
    let width = width.min(size);
    let first = size / 2 - width / 2;
    first..first + width
}

/// The distance from the middle: 1 at the corners.
fn from_middle(index: &[usize], sizes: &[usize]) -> f64 {
    let along =
        |(at, size): (&usize, &usize)| ((*at as f64 - (size / 2) as f64) / (*size as f64 / 2.0).max(0.5)).powi(2);
    (index.iter().zip(sizes).map(along).sum::<f64>() / sizes.len() as f64).sqrt().min(1.0)
}

/// All indices of an array, the last dim fastest.
fn each_index(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..sizes.iter().product()).map(move |mut rest| {
        let mut index = vec![0; sizes.len()];
        for (at, size) in index.iter_mut().zip(sizes).rev() {
            (*at, rest) = (rest % size, rest / size);
        }
        index
    })
}

/// Where a file is not zero, coil by coil.
fn not_zero(path: &std::path::Path, sizes: &[usize], files: &dyn Files) -> Result<Vec<bool>, Fault> {
    let got = files.sizes(path)?;
    let whole = Tile::whole(&Shape::new(got.iter().enumerate().map(|(axis, size)| (format!("dim {axis}"), *size))));
    let mut mask = vec![false; sizes.iter().product()];
    let coils = if got.len() > sizes.len() { got[0] } else { 1 };
    for coil in 0..coils {
        let tile = match got.len() > sizes.len() {
            true => whole.clone().with(0, Selection { start: coil, step: 1, count: 1 }),
            false => whole.clone(),
        };
        let numbers = files.read(path, &tile)?.into_scalars::<num_complex::Complex<f64>>()?;
        mask.iter_mut().zip(numbers).for_each(|(taken, number)| *taken |= number.norm_sqr() > 0.0);
    }
    Ok(mask)
}

/// A fault unless a mask fits and takes something.
pub(super) fn check_samples(mask: &[bool], elements: usize) -> Result<(), Fault> {
    if mask.len() != elements {
        return Err(Fault::new(format!("`mask`: expected {elements} samples, got {}", mask.len()))
            .hint("a mask has a number for each sample of the model's Fourier transform"));
    }
    if !mask.contains(&true) {
        return Err(Fault::new(format!("`mask`: none of the {elements} samples was measured, it is zero everywhere"))
            .hint("was the right file named? samples that were not measured are zeros, those that were are not"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::NoFiles;

    fn mask(text: &str, sizes: &[usize]) -> Result<Vec<bool>, Fault> {
        toml::from_str::<SamplingParams>(text).unwrap().samples(sizes, &NoFiles)
    }

    fn count(mask: &[bool]) -> usize {
        mask.iter().filter(|taken| **taken).count()
    }

    #[test]
    fn patterns_take_what_was_asked_for_and_the_middle() {
        let sizes = [60, 50];
        for text in ["poisson_disc = 5.0\ncalibration = 8", "variable_density = 5.0\ncalibration = 8"] {
            let taken = mask(text, &sizes).unwrap();
            assert_eq!(count(&taken), 600, "{text}");
            assert!((26..34).all(|y| (21..29).all(|x| taken[y * 50 + x])), "{text}");
            assert_eq!(taken, mask(text, &sizes).unwrap());
            assert_ne!(taken, mask(&format!("{text}\nseed = 2"), &sizes).unwrap());
        }
        let lines = mask("equispaced = 4\ncalibration = 6", &sizes).unwrap();
        let whole = |y: usize| lines[y * 50..(y + 1) * 50].iter().all(|taken| *taken);
        assert_eq!((0..60).filter(|y| whole(*y)).collect::<Vec<_>>().len() * 50, count(&lines));
        assert_eq!((0..60).filter(|y| whole(*y)).count(), 15 + 4); // 28 and 32 are both
    }

    #[test]
    fn poisson_discs_keep_their_distance_and_a_variable_density_falls() {
        let sizes = [64, 64];
        let taken = mask("poisson_disc = 9.0\ncalibration = 0", &sizes).unwrap();
        let places: Vec<_> = (0..64 * 64).filter(|at| taken[*at]).map(|at| (at / 64, at % 64)).collect();
        let nearest = |a: &(usize, usize)| {
            let apart = |b: &(usize, usize)| (a.0.abs_diff(b.0).pow(2) + a.1.abs_diff(b.1).pow(2)) as f64;
            places.iter().filter(|b| *b != a).map(apart).fold(f64::INFINITY, f64::min).sqrt()
        };
        assert!(places.iter().map(nearest).fold(f64::INFINITY, f64::min) >= 2.0);
        let taken = mask("variable_density = 8.0\ncalibration = 0", &sizes).unwrap();
        let inside = |at: usize| (16..48).contains(&(at / 64)) && (16..48).contains(&(at % 64));
        let inner = (0..64 * 64).filter(|at| taken[*at] && inside(*at)).count();
        assert!(2 * inner > count(&taken), "{inner} of {}", count(&taken)); // a quarter of the area
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (text, says) in [
            ("", "one of `nonzero`"),
            ("equispaced = 2\npoisson_disc = 3.0", "one of `nonzero`"),
            ("equispaced = 0", "`mask.equispaced`: expected 1 or more, got 0"),
            ("poisson_disc = nan", "`mask.poisson_disc`: expected 1 or more, got NaN"),
        ] {
            let fault = mask(text, &[8, 8]).unwrap_err();
            assert!(fault.text.contains(says) && fault.hint.is_some(), "{text}: {}", fault.text);
        }
        assert!(check_samples(&[false; 4], 4).unwrap_err().text.contains("none of the 4 samples"));
    }
}
