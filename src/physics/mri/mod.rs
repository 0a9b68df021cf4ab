//! Magnetic resonance imaging with several coils (SENSE): each coil sees the image through its own sensitivity, and samples
//! its Fourier transform.
//!
//! Reference: K. P. Pruessmann, M. Weiger, M. B. Scheidegger and P. Boesiger, "SENSE: sensitivity encoding for fast MRI", MRM 42
//! (1999); for samples on no grid Pruessmann et al., "Advances in sensitivity encoding with arbitrary k-space trajectories",
//! MRM 46 (2001).

mod cartesian;
mod maps;
mod non_cartesian;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cartesian::CartesianMri;
pub use maps::{MapsParams, birdcage};
pub use non_cartesian::NonCartesianMri;

use super::centred::Centred;
use super::nufft::{NufftAccuracy, Transform, expect_complex};
use super::sampling::SamplingParams;
use super::trajectory::TrajectoryParams;
use super::{BoxedOperator, Cuts, Needs, Physics, Setting};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile};

/// Coil maps, and which samples. The model is complex, (y, x) or (z, y, x). The measurements are (coil, ky, kx) or (coil, kz, ky,
/// kx); with a trajectory (coil, sample) or (coil, spoke, sample).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MriParams {
    /// The sensitivities of the coils.
    pub maps: MapsParams,
    /// Which samples of the grid were measured. Default: all.
    pub mask: Option<SamplingParams>,
    /// Where samples lie that are on no grid.
    pub trajectory: Option<TrajectoryParams>,
    /// How exact the transform at a trajectory is: `{ accuracy, oversampling, normal }`
    #[serde(default)]
    pub nufft: NufftAccuracy,
}

impl Physics for MriParams {
    const SUMMARY: &'static str =
        "multi-coil MRI: coil maps, and a Fourier transform on a grid with a mask, or along a trajectory";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["coil", "spoke", "sample"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let (model, sizes) = (setting.model, setting.model.sizes());
        if !matches!(model.names().collect::<Vec<_>>()[..], ["y", "x"] | ["z", "y", "x"]) || sizes.contains(&0) {
            return Err(Fault::new(format!("mri: expected a model of dims (y, x) or (z, y, x), got {model}"))
                .hint("name the dims of the image so; slices of their own are terms of their own"));
        }
        let coil = ("coil".to_owned(), self.maps.coils(setting)?);
        let samples = match (&self.trajectory, &self.mask) {
            (Some(_), Some(_)) => {
                return Err(Fault::new("mri: expected `mask` or `trajectory`, got both")
                    .hint("a mask says which samples of the grid were measured; a trajectory is on no grid"));
            }
            (Some(trajectory), None) => {
                Transform::<f64>::needs(&sizes, 0, self.nufft)?;
                trajectory.shape(setting)?.dims().iter().map(|dim| (dim.name.clone(), dim.size)).collect()
            }
            (None, mask) => {
                mask.as_ref().map_or(Ok(()), |mask| mask.check(&sizes, setting.files))?;
                model.dims().iter().map(|dim| (format!("k{}", dim.name), dim.size)).collect::<Vec<_>>()
            }
        };
        Ok(Shape::new([coil].into_iter().chain(samples)))
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        expect_complex::<S>("mri")?;
        let (sizes, shape) = (setting.model.sizes(), tile.shape());
        let coils = shape.size("coil").unwrap_or(0);
        let maps = (coils * setting.model.len() * size_of::<S>()) as u64;
        let of_one = match self.trajectory {
            Some(_) => Transform::<S::Real>::needs(&sizes, shape.len() / coils.max(1), self.nufft)?,
            None => {
                let dims: Vec<_> = sizes.iter().map(|size| (*size, true)).collect();
                let (bytes, scratch, cost) = Centred::<S>::needs(&dims);
                Needs { bytes: bytes as u64, scratch_bytes: scratch as u64, cost }
            }
        };
        Ok(Needs { bytes: of_one.bytes + maps, cost: of_one.cost * coils as f64, ..of_one })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        expect_complex::<S>("mri")?;
        let model = setting.model;
        let coils = tile.selection("coil").unwrap_or(Selection::all(0));
        let maps = self.maps.load::<S>(setting, coils)?;
        let Some(trajectory) = &self.trajectory else {
            let mask = self.mask.as_ref().map(|mask| mask.samples(&model.sizes(), setting.files)).transpose()?;
            return Ok(Box::new(CartesianMri::new(model, maps, mask.as_deref())?));
        };
        // the tile without coils
        let (whole, parts) = (tile.of().dims(), tile.selections());
        let samples = Shape::new(whole[1..].iter().map(|dim| (dim.name.clone(), dim.size)));
        let samples =
            parts[1..].iter().enumerate().fold(Tile::whole(&samples), |of, (axis, part)| of.with(axis, *part));
        let places = trajectory.points(setting, &samples)?;
        Ok(Box::new(NonCartesianMri::new(model, maps, samples.shape(), places, self.nufft)?))
    }
}

/// How many coils there are. Fault: the maps are not a number of models.
fn coils_of<S: Scalar>(model: &Shape, maps: &[S]) -> Result<usize, Fault> {
    expect_complex::<S>("mri")?;
    let (len, got) = (model.len(), maps.len());
    if len == 0 || got % len != 0 {
        return Err(Fault::new(format!(
            "mri: expected maps of {len} numbers for each coil and the model {model}, got {got}"
        ))
        .hint("a coil map has the model's sizes"));
    }
    Ok(got / len)
}

/// `Σ_c |S_c|²` for each element of the model.
fn sum_of_squares<S: Scalar>(len: usize, maps: &[S]) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for map in maps.chunks_exact(len.max(1)) {
        sums.iter_mut().zip(map).for_each(|(sum, value)| *sum += value.modulus_squared());
    }
    sums
}
