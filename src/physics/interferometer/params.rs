//! The image on the sky as a config describes it, and what that means for u and v of the data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Weighting;
use super::operator::{Interferometer, scratch};
use crate::error::Fault;
use crate::physics::{BoxedOperator, Cuts, Needs, Physics, Setting, threads};
use crate::range::positive;
use crate::scalar::Scalar;
use crate::space::{Coordinate, Shape, Tile};

/// The field of view. u and v come with the data: formats `eht-csv` and `uvfits`, or a phantom that is measured like one of
/// these. The model is an image (y, x) in Jy per pixel, the measurements are (visibility, part).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InterferometerParams {
    /// The width of the image (along x) on the sky, in millionths of an arcsecond. Pixels are square.
    pub fov_uas: Option<f64>,
    /// The same in arcseconds.
    pub fov_arcsec: Option<f64>,
    /// The same in radians.
    pub fov_rad: Option<f64>,
}

/// Radians of an arcsecond.
const ARCSEC: f64 = std::f64::consts::PI / 180.0 / 3600.0;

/// Beyond half a turn of the phase from pixel to pixel an image cannot be told from a smoother one.
const LIMIT: f64 = 0.5;

/// What the parameters mean in a setting.
struct Resolved<'a> {
    /// Radians.
    pixel: f64,
    u: &'a Coordinate,
    v: &'a Coordinate,
    range: Shape,
}

impl InterferometerParams {
    fn resolve<'a>(&self, setting: &Setting<'a>) -> Result<Resolved<'a>, Fault> {
        let names: Vec<&str> = setting.model.names().collect();
        if names != ["y", "x"] {
            return Err(Fault::new(format!("model: expected the dims (y, x), got {}", setting.model))
                .hint("set model.dims = { y = …, x = … }; the order counts"));
        }
        let pixel = self.field_of_view()? / setting.model.dims()[1].size as f64;
        let coordinate = |name| {
            setting.coordinate(name).ok_or_else(|| {
                Fault::new(format!("`{name}` of the visibilities: none came with the data")).hint(
                    "read data of the format \"eht-csv\" or \"uvfits\"; a phantom is measured like such a file with \
                     `like = { format = \"eht-csv\", path = … }`",
                )
            })
        };
        let (u, v) = (coordinate("u")?, coordinate("v")?);
        let range = Shape::new([("visibility", u.values.len()), ("part", 2)]);
        Ok(Resolved { pixel, u, v, range })
    }

    /// Radians.
    fn field_of_view(&self) -> Result<f64, Fault> {
        let given = [
            ("fov_uas", self.fov_uas, 1e-6 * ARCSEC),
            ("fov_arcsec", self.fov_arcsec, ARCSEC),
            ("fov_rad", self.fov_rad, 1.0),
        ];
        let mut given = given.into_iter().filter_map(|(key, number, unit)| Some((key, number?, unit)));
        match (given.next(), given.next()) {
            (Some((key, number, unit)), None) => positive(key, number)
                .map(|()| number * unit)
                .map_err(|fault| fault.hint("it is the width of the image on the sky")),
            (one, _) => {
                let got = if one.is_some() { "several" } else { "none" };
                Err(Fault::new(format!("expected one of `fov_uas`, `fov_arcsec` and `fov_rad`, got {got}"))
                    .hint("the width of the image on the sky, for example `fov_uas = 128.0`"))
            }
        }
    }

    /// The weight of each visibility in a dirty image, as a coordinate. Fault: data without standard deviations.
    pub fn weights(&self, setting: &Setting, weighting: Weighting) -> Result<Coordinate, Fault> {
        let Resolved { pixel, u, v, .. } = self.resolve(setting)?;
        let sigma = setting.coordinate("sigma").ok_or_else(|| {
            Fault::new("`sigma` of the visibilities: none came with the data")
                .hint("weights follow from the standard deviations of the visibilities")
        })?;
        let field = [1, 0].map(|axis| pixel * setting.model.dims()[axis].size as f64);
        let weights = weighting.weights(&u.values, &v.values, &sigma.values, field);
        Ok(Coordinate::new("weight", "visibility", "", weights))
    }
}

impl Physics for InterferometerParams {
    const SUMMARY: &'static str = "visibilities of an image of the sky (radio interferometry), by direct sums";
    const MAY_BE_CUT: Cuts = Cuts::Along(&["visibility"]);
    const MODEL_MAY_BE_CUT: Cuts = Cuts::Along(&["y", "x"]);

    fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
        let Resolved { pixel, u, v, range } = self.resolve(setting)?;
        let beyond = u.values.iter().zip(&v.values).filter(|(u, v)| u.abs().max(v.abs()) * pixel > LIMIT).count();
        if beyond > 0 {
            let (all, uas) = (u.values.len(), pixel / ARCSEC * 1e6);
            tracing::warn!(
                "{beyond} of {all} visibilities ({:.1} %) have u or v beyond what pixels of {uas:.4} µas can represent \
                 ({:.3e} wavelengths): make the pixels smaller",
                100.0 * beyond as f64 / all as f64,
                LIMIT / pixel
            );
        }
        Ok(range)
    }

    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
        let size = setting.window().shape().sizes();
        let [rows, columns] = [size[0], size[1]];
        let visibilities = tile.selection("visibility").map_or(0, |selection| selection.count);
        let parts = if S::IS_COMPLEX { 2 } else { 1 };
        let plane = if S::IS_COMPLEX { rows * columns } else { 0 };
        let (each, row) = (scratch([columns, rows]) * size_of::<S::Real>(), 16 * columns.max(rows));
        Ok(Needs {
            bytes: (16 * visibilities) as u64,
            scratch_bytes: (threads::count() * (each + row) + plane * size_of::<S::Real>()) as u64,
            cost: 4.0 * (parts * visibilities) as f64 * (rows * columns) as f64,
        })
    }

    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
        let Resolved { pixel, u, v, .. } = self.resolve(setting)?;
        let (u, v) = (u.of_samples(tile)?, v.of_samples(tile)?);
        Ok(Box::new(Interferometer::on_window(&setting.window(), pixel, &u, &v)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Apply, Work};
    use crate::physics::NoFiles;

    fn with_setting<T>(model: &Shape, coordinates: &[Coordinate], run: impl FnOnce(&Setting) -> T) -> T {
        run(&Setting { coordinates, ..Setting::new(model, &NoFiles) })
    }

    fn coverage() -> [Coordinate; 3] {
        let along = |name, values| Coordinate::new(name, "visibility", "", values);
        [along("u", vec![1e9, 2e9, -3e9]), along("v", vec![0.0, 1e9, 1e9]), along("sigma", vec![0.1, 0.2, 0.4])]
    }

    #[test]
    fn fields_of_view_have_units() {
        let model = Shape::new([("y", 8), ("x", 10)]);
        let pixel = |text: &str| {
            let params: InterferometerParams = toml::from_str(text).unwrap();
            with_setting(&model, &coverage(), |setting| params.resolve(setting).map(|resolved| resolved.pixel)).unwrap()
        };
        let uas = 4.848_136_811_095_36e-12;
        for text in ["fov_uas = 100.0", "fov_arcsec = 1e-4", &format!("fov_rad = {:e}", 100.0 * uas)] {
            assert!((pixel(text) / (10.0 * uas) - 1.0).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong_and_what_to_do() {
        let image = Shape::new([("y", 8), ("x", 10)]);
        let fault = |text: &str, model: &Shape, coordinates: &[Coordinate]| {
            let params: InterferometerParams = toml::from_str(text).unwrap();
            let fault = with_setting(model, coordinates, |setting| params.range(setting)).unwrap_err();
            format!("{} | {}", fault.text, fault.hint.unwrap())
        };
        let all = coverage();
        let good = "fov_uas = 100.0";
        assert!(fault("", &image, &all).contains("got none | the width"));
        assert!(fault("fov_uas = 1.0\nfov_rad = 1.0", &image, &all).contains("got several"));
        assert!(fault("fov_uas = -1.0", &image, &all).contains("`fov_uas` is -1"));
        assert!(fault(good, &Shape::new([("x", 8), ("y", 10)]), &all).contains("expected the dims (y, x)"));
        assert!(
            fault(good, &image, &all[..1]).contains("`v` of the visibilities: none came with the data | read data")
        );
        let params: InterferometerParams = toml::from_str(good).unwrap();
        let weights = with_setting(&image, &all[..2], |setting| params.weights(setting, Weighting::Natural));
        assert!(weights.unwrap_err().text.contains("`sigma`"));
        let weights = with_setting(&image, &all, |setting| params.weights(setting, Weighting::Natural)).unwrap();
        assert!((weights.values[1] - 25.0).abs() < 1e-12);
    }

    #[test]
    fn scratch_is_what_needs_says() {
        let model = Shape::new([("y", 40), ("x", 30)]);
        let params = InterferometerParams { fov_uas: Some(100.0), ..Default::default() };
        with_setting(&model, &coverage(), |setting| {
            let whole = Tile::whole(&params.range(setting).unwrap());
            let needs = params.needs::<num_complex::Complex<f32>>(setting, &whole).unwrap();
            let a = params.build::<num_complex::Complex<f32>>(setting, &whole).unwrap();
            let mut work = Work::default();
            let (x, mut y) = (vec![num_complex::Complex::new(1.0, 0.5); 1200], vec![Default::default(); 6]);
            a.forward(&x, &mut y, &mut work).unwrap();
            a.adjoint(&y, &mut x.clone(), &mut work).unwrap();
            let (group, row) =
                (work.take::<f32>("radio group", 0), work.take::<num_complex::Complex<f64>>("radio row", 0));
            let plane = work.take::<f32>("radio image", 0);
            let bytes = 4 * (group.capacity() + plane.capacity()) + 16 * row.capacity();
            assert_eq!(needs.scratch_bytes, bytes as u64);
        });
    }
}
