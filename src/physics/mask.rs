//! A mask: some pixels of the model are measured, the others are not (inpainting).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoxedOperator, Cuts, Diagonal, Needs, Physics, Setting};
use crate::error::Fault;
use crate::operator::Basis;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::{Shape, Tile};

/// The stream of random numbers that masks are drawn from.
const MASK: u64 = 0x6d61_736b;

/// Which pixels are measured: `y = m ⊙ x` with zeros and ones in `m`. Measurements where it is zero count as zeros.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskParams {
    /// A file with the model's sizes, in the data folder: 1 (or true) where a pixel is measured, 0 where not.
    pub path: Option<PathBuf>,
    /// Draws the mask at random instead: each pixel is measured with this probability, from above 0 to 1.
    pub fraction: Option<f64>,
    /// The seed of a random mask. It is the same on any number of ranks.
    #[serde(default = "one")]
    pub seed: u64,
}

fn one() -> u64 {
    1
}

impl MaskParams {
    /// Zeros and ones for a part of the model.
    fn mask(&self, setting: &Setting, tile: &Tile) -> Result<Vec<f64>, Fault> {
        let mask = match (&self.path, self.fraction) {
            (Some(path), _) => {
                let mask = setting.files.read(path, tile)?.into_scalars::<f64>()?;
                if let Some(other) = mask.iter().find(|value| **value != 0.0 && **value != 1.0) {
                    let text = format!("`path`: {} holds {other}, a mask has only 0 and 1", path.display());
                    return Err(Fault::new(text).hint("for weights there is the operator `diagonal`"));
                }
                mask
            }
            (None, fraction) => {
                let (stream, fraction) = (Stream::new(self.seed, MASK), fraction.unwrap_or(1.0));
                let is_measured = |at: usize| if stream.uniform(at as u64) < fraction { 1.0 } else { 0.0 };
                tile.offsets().map(is_measured).collect()
            }
        };
        // a block of the model may lie in a hole; the whole may not
        if setting.part().is_none() && !mask.contains(&1.0) {
            let from = self.path.as_ref().map_or("it was drawn so".to_owned(), |path| path.display().to_string());
            return Err(Fault::new(format!("the mask samples nothing: all of {} is 0 ({from})", setting.model))
                .hint("a mask is 1 where a pixel is measured; is it inverted?"));
        }
        Ok(mask)
    }
}

impl Physics for MaskParams {
    const SUMMARY: &'static str = "y = m ⊙ x, measures some pixels only: from a file, or at random";
    const MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::All;
    const NORMAL: Option<Basis> = Some(Basis::Model);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        match (&self.path, self.fraction) {
            (Some(path), None) => {
                let sizes = setting.files.sizes(path)?;
                if sizes != setting.model.sizes() {
                    let text =
                        format!("`path`: {} has sizes {sizes:?}, the model is {}", path.display(), setting.model);
                    return Err(Fault::new(text).hint("a mask has one number for each number of the model"));
                }
            }
            (None, Some(fraction)) if fraction > 0.0 && fraction <= 1.0 => {}
            (None, Some(fraction)) => {
                return Err(Fault::new(format!("`fraction` is {fraction}, expected a number above 0, up to 1"))
                    .hint("the part of the pixels that is measured: 0.3 for three in ten"));
            }
            _ => {
                return Err(Fault::new("a mask needs either `path` or `fraction`")
                    .hint("for example `fraction = 0.3`, or `path = \"mask.npy\"`"));
            }
        }
        Ok(setting.model.clone())
    }
    fn contributes(&self, setting: &Setting, _tile: &Tile) -> Result<Vec<Tile>, Fault> {
        Ok(vec![setting.window()])
    }
    fn needs<S: Scalar>(&self, setting: &Setting, _tile: &Tile) -> Result<Needs, Fault> {
        let len = setting.window().shape().len();
        Ok(Needs { bytes: (len * size_of::<S>()) as u64, scratch_bytes: 0, cost: len as f64 })
    }
    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let mask = self.mask(setting, tile)?.into_iter().map(S::from_f64).collect();
        let dims = tile.shape();
        let dims = dims.dims().iter().map(|dim| (dim.name.clone(), dim.size));
        Ok(Box::new(Diagonal::new(dims, mask)?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operator::LinearOperator;
    use crate::physics::Files;
    use crate::space::{Numbers, Selection};

    /// One array, whatever the path.
    struct OneFile(Vec<f64>);
    impl Files for OneFile {
        fn sizes(&self, _: &Path) -> Result<Vec<usize>, Fault> {
            Ok(vec![2, 3])
        }
        fn read(&self, _: &Path, tile: &Tile) -> Result<Numbers, Fault> {
            Ok(Numbers::F64(tile.offsets().map(|at| self.0[at]).collect()))
        }
    }

    fn diagonal(params: &MaskParams, model: &Shape, window: Option<&Tile>, files: &OneFile) -> Result<Vec<f64>, Fault> {
        let setting = Setting { window, ..Setting::new(model, files) };
        params.range(&setting)?;
        let tile = setting.window();
        Ok(params.build::<f32>(&setting, &tile)?.normal_diagonal().unwrap())
    }

    #[test]
    fn a_random_mask_is_the_same_however_it_is_cut() {
        let model = Shape::new([("y", 100), ("x", 90)]);
        let params = |fraction, seed| MaskParams { path: None, fraction: Some(fraction), seed };
        let none = OneFile(Vec::new());
        let whole = diagonal(&params(0.3, 4), &model, None, &none).unwrap();
        let count = whole.iter().sum::<f64>();
        assert!((count / 9000.0 - 0.3).abs() < 4.0 * (0.21_f64 / 9000.0).sqrt(), "{count}");
        let part = Tile::whole(&model).with(1, Selection { start: 7, step: 1, count: 20 });
        let cut = diagonal(&params(0.3, 4), &model, Some(&part), &none).unwrap();
        assert!(cut.iter().eq(part.offsets().map(|at| &whole[at]).collect::<Vec<_>>()));
        assert_ne!(diagonal(&params(0.3, 5), &model, None, &none).unwrap(), whole);
        assert_eq!(diagonal(&params(1.0, 5), &model, None, &none).unwrap(), vec![1.0; 9000]);
    }

    #[test]
    fn what_is_no_mask_is_told() {
        let model = Shape::new([("y", 2), ("x", 3)]);
        let from_file = MaskParams { path: Some("m.npy".into()), fraction: None, seed: 1 };
        let text = |params: &MaskParams, values: [f64; 6]| {
            diagonal(params, &model, None, &OneFile(values.to_vec())).map_err(|fault| fault.text)
        };
        let values = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(text(&from_file, values).unwrap(), values);
        assert!(text(&from_file, [0.0; 6]).unwrap_err().contains("the mask samples nothing"));
        assert!(text(&from_file, [0.5; 6]).unwrap_err().contains("m.npy holds 0.5"));
        for (fraction, path) in [(Some(0.0), None), (Some(f64::NAN), None), (None, None), (Some(0.5), Some("m".into()))]
        {
            assert!(text(&MaskParams { path, fraction, seed: 1 }, [1.0; 6]).is_err());
        }
        let rare = MaskParams { path: None, fraction: Some(1e-9), seed: 1 };
        assert!(text(&rare, [1.0; 6]).unwrap_err().contains("samples nothing"));
        // a block in a hole is fine
        let corner = Tile::whole(&model).with(1, Selection { start: 0, step: 1, count: 1 });
        assert_eq!(diagonal(&from_file, &model, Some(&corner), &OneFile(values.to_vec())).unwrap(), [0.0, 0.0]);
    }
}
