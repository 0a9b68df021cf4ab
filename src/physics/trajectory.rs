//! Where samples of Fourier space lie that are on no grid: spokes, spirals, or what a file says.
//!
//! Places are in cycles per sample of the model, from −½ to ½ along each dim, in the order of the model's dims.

use std::f64::consts::{PI, TAU};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::error::Fault;
use crate::range::is_positive;
use crate::space::{Selection, Shape, Tile};

/// A trajectory: one of `path`, `radial` and `spiral`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrajectoryParams {
    /// An array in a file, of sizes (samples, dims) or (spokes, samples, dims), in cycles per sample of the model: −0.5 to 0.5.
    pub path: Option<PathBuf>,
    /// So many spokes through the middle, evenly over half a turn.
    pub radial: Option<usize>,
    /// So many Archimedean spirals from the middle, evenly over a turn.
    pub spiral: Option<usize>,
    /// Samples of each spoke or spiral. Default: twice the largest dim; of a spiral as many as keep that distance outside.
    pub samples: Option<usize>,
    /// Spokes: each turned by the golden angle, 111.246°, against the one before, instead of evenly.
    #[serde(default)]
    pub golden: bool,
    /// Turns of each spiral. Default: as many as leave one cycle per field of view between neighbours.
    pub turns: Option<f64>,
}

/// How the places are made.
enum Way {
    File(PathBuf),
    Radial { spokes: usize, samples: usize, golden: bool },
    Spiral { interleaves: usize, samples: usize, turns: f64 },
}

impl TrajectoryParams {
    /// The dims of the samples: (sample) or (spoke, sample). Reads no more than a file's header.
    pub(super) fn shape(&self, setting: &Setting) -> Result<Shape, Fault> {
        Ok(match self.way(setting)? {
            Way::Radial { spokes: count, samples, .. } | Way::Spiral { interleaves: count, samples, .. } => {
                Shape::new([("spoke", count), ("sample", samples)])
            }
            Way::File(path) => {
                let (sizes, dims) = (setting.files.sizes(&path)?, setting.model.dims().len());
                let shape = match sizes[..] {
                    [samples, last] if last == dims => Shape::new([("sample", samples)]),
                    [spokes, samples, last] if last == dims => Shape::new([("spoke", spokes), ("sample", samples)]),
                    _ => {
                        let text = format!(
                            "`trajectory.path`: expected sizes [samples, {dims}] or [spokes, samples, {dims}] for the \
                             model {}, {} has {sizes:?}",
                            setting.model,
                            path.display()
                        );
                        return Err(Fault::new(text).hint("the last dim holds one number for each dim of the model"));
                    }
                };
                if shape.len() == 0 {
                    return Err(Fault::new(format!("`trajectory.path`: {} holds no samples", path.display()))
                        .hint("a trajectory has one sample at least"));
                }
                shape
            }
        })
    }

    fn way(&self, setting: &Setting) -> Result<Way, Fault> {
        let sizes = setting.model.sizes();
        let largest = sizes.iter().copied().max().unwrap_or(1);
        let way = match (&self.path, self.radial, self.spiral) {
            (Some(path), None, None) => return Ok(Way::File(path.clone())),
            (None, Some(spokes), None) => {
                Way::Radial { spokes, samples: self.samples.unwrap_or(2 * largest), golden: self.golden }
            }
            (None, None, Some(interleaves)) => {
                let turns = self.turns.unwrap_or(largest as f64 / 2.0 / interleaves.max(1) as f64);
                if !is_positive(turns) {
                    return Err(Fault::new(format!("`trajectory.turns`: expected a number above 0, got {turns}"))
                        .hint("leave it out for as many as the model's size needs"));
                }
                let samples = self.samples.unwrap_or((PI * turns * largest as f64).ceil() as usize);
                Way::Spiral { interleaves, samples, turns }
            }
            _ => {
                return Err(Fault::new("`trajectory`: expected one of `path`, `radial` and `spiral`")
                    .hint("for example `trajectory = { radial = 64 }`, or `{ path = \"trajectory.npy\" }`"));
            }
        };
        let (Way::Radial { spokes: count, samples, .. } | Way::Spiral { interleaves: count, samples, .. }) = &way
        else {
            return Ok(way);
        };
        if *count == 0 || *samples == 0 {
            return Err(Fault::new(format!("`trajectory`: expected one sample at least, got {count} × {samples}"))
                .hint("a trajectory of no samples measures nothing"));
        }
        if sizes.len() != 2 {
            let text = format!("`trajectory`: spokes and spirals are for a model of two dims, it is {}", setting.model);
            return Err(Fault::new(text).hint("give the places of a volume's samples in a file: `path`"));
        }
        Ok(way)
    }

    /// The places of a part `tile` of the samples, one number for each dim of the model. Faults: a place that is not finite,
    /// or beyond what the model's samples can hold.
    pub(super) fn points(&self, setting: &Setting, tile: &Tile) -> Result<Vec<f64>, Fault> {
        let dims = setting.model.dims().len();
        let points = match self.way(setting)? {
            Way::File(path) => {
                let mut sizes: Vec<(String, usize)> =
                    tile.of().dims().iter().map(|dim| (dim.name.clone(), dim.size)).collect();
                sizes.push(("place".to_owned(), dims));
                let in_file = tile.selections().iter().enumerate();
                let in_file = in_file.fold(Tile::whole(&Shape::new(sizes)), |of, (axis, part)| of.with(axis, *part));
                setting.files.read(&path, &in_file)?.into_scalars::<f64>().map_err(|fault| {
                    fault.hint("a trajectory holds real numbers: places in cycles per sample, one for each dim")
                })?
            }
            Way::Radial { spokes, samples, golden } => {
                let turn = if golden { PI * (5f64.sqrt() - 1.0) / 2.0 } else { PI / spokes as f64 };
                places(tile, |spoke, sample| {
                    let radius = (sample as f64 - (samples / 2) as f64) / samples as f64;
                    (radius, turn * spoke as f64)
                })
            }
            Way::Spiral { interleaves, samples, turns } => places(tile, |spoke, sample| {
                let along = (sample as f64 + 0.5) / samples as f64;
                (along / 2.0, TAU * (turns * along + spoke as f64 / interleaves as f64))
            }),
        };
        check_points(&points, setting.model)?;
        Ok(points)
    }
}

/// The places (y, x) of a part of (spoke, sample) from radius and angle.
fn places(tile: &Tile, polar: impl Fn(usize, usize) -> (f64, f64)) -> Vec<f64> {
    let [spokes, samples]: [Selection; 2] = [tile.selections()[0], tile.selections()[1]];
    let place = |(radius, angle): (f64, f64)| [radius * angle.sin(), radius * angle.cos()];
    spokes
        .iter()
        .flat_map(|spoke| samples.iter().flat_map(|sample| place(polar(spoke, sample))).collect::<Vec<_>>())
        .collect()
}

/// A fault unless all places are within half a cycle per sample.
pub(super) fn check_points(points: &[f64], model: &Shape) -> Result<(), Fault> {
    let dims = model.dims().len();
    let Some(bad) = points.iter().position(|place| place.is_nan() || place.abs() > 0.5) else { return Ok(()) };
    let (sample, dim, place) = (bad / dims, &model.dims()[bad % dims].name, points[bad]);
    let text = format!(
        "trajectory: expected places from −0.5 to 0.5 cycles per sample, got {place} for dim `{dim}` of sample {sample}"
    );
    Err(Fault::new(text).hint(if place.is_finite() {
        "beyond that the model's grid cannot tell frequencies apart: divide places in radians by 2π, or in cycles per \
         field of view by the number of samples; or take a finer grid"
    } else {
        "correct the trajectory; samples that were not measured are left out"
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::NoFiles;

    fn in_setting<T>(dims: &[(&str, usize)], body: impl FnOnce(&Setting) -> T) -> T {
        let model = Shape::new(dims.iter().copied());
        body(&Setting::new(&model, &NoFiles))
    }

    #[test]
    fn spokes_go_through_the_middle_and_parts_are_parts() {
        in_setting(&[("y", 8), ("x", 8)], |setting| {
            let radial = TrajectoryParams { radial: Some(4), samples: Some(6), ..TrajectoryParams::default() };
            let shape = radial.shape(setting).unwrap();
            assert_eq!(shape, Shape::new([("spoke", 4), ("sample", 6)]));
            let all = radial.points(setting, &Tile::whole(&shape)).unwrap();
            let at = |spoke: usize, sample: usize| [all[2 * (6 * spoke + sample)], all[2 * (6 * spoke + sample) + 1]];
            assert_eq!(at(0, 0), [0.0, -0.5]); // along x
            assert!((0..4).all(|spoke| at(spoke, 3) == [0.0, 0.0]));
            assert!((at(2, 5)[0] - 2.0 / 6.0).abs() < 1e-15 && at(2, 5)[1].abs() < 1e-15); // a quarter turn on, along y
            let part = Tile::whole(&shape).with(0, Selection { start: 1, step: 2, count: 2 });
            assert_eq!(radial.points(setting, &part).unwrap(), [&all[12..24], &all[36..48]].concat());
            let golden = TrajectoryParams { golden: true, ..radial };
            let second = &golden.points(setting, &Tile::whole(&shape)).unwrap()[12..14];
            assert!((second[0].atan2(second[1]).to_degrees() + 180.0 - 111.246).abs() < 1e-3, "{second:?}");
        });
    }

    #[test]
    fn spirals_begin_in_the_middle_and_stay_within_the_band() {
        in_setting(&[("y", 32), ("x", 20)], |setting| {
            let spiral = TrajectoryParams { spiral: Some(3), ..TrajectoryParams::default() };
            let shape = spiral.shape(setting).unwrap();
            let points = spiral.points(setting, &Tile::whole(&shape)).unwrap();
            let radius: Vec<f64> = points.chunks(2).map(|place| place[0].hypot(place[1])).collect();
            assert!(radius.chunks(shape.size("sample").unwrap()).all(|one| one.is_sorted()));
            assert!(radius[0] < 0.01 && radius.iter().all(|radius| *radius < 0.5));
            assert!(radius.iter().any(|radius| *radius > 0.49));
        });
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let fault = |text: &str, dims: &[(&str, usize)]| {
            let params: TrajectoryParams = toml::from_str(text).unwrap();
            in_setting(dims, |setting| params.shape(setting).unwrap_err().text)
        };
        let image: &[(&str, usize)] = &[("y", 4), ("x", 4)];
        assert!(fault("", image).contains("one of `path`, `radial` and `spiral`"));
        assert!(fault("radial = 3\nspiral = 2", image).contains("one of"));
        assert!(fault("radial = 0", image).contains("one sample at least, got 0 × 8"));
        assert!(
            fault("spiral = 1\nturns = -1.0", image).contains("`trajectory.turns`: expected a number above 0, got -1")
        );
        assert!(fault("radial = 3", &[("z", 2), ("y", 4), ("x", 4)]).contains("two dims, it is (z=2, y=4, x=4)"));
        let model = Shape::new([("y", 4), ("x", 4)]);
        let text = check_points(&[0.1, 0.2, 0.3, 3.1], &model).unwrap_err().text;
        assert!(text.contains("got 3.1 for dim `x` of sample 1"), "{text}");
        assert!(check_points(&[0.1, f64::NAN], &model).unwrap_err().hint.unwrap().contains("correct"));
    }
}
