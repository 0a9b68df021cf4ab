//! The angle of each view: from the file, in the unit that it tells, or evenly spaced.

use hdf5::Dataset;
use hdf5::types::{FixedAscii, FixedUnicode, VarLenAscii, VarLenUnicode};

use super::Scan;
use super::data_set::{data_set, name_of};
use crate::error::Fault;

/// The help for angles that do not fit the data.
const THETA: &str = "correct the data set in the file: one angle for each view, or none for 0° to 180° in even steps";

/// Where the angles stand in a file: one for each frame of the data.
pub struct Theta<'n> {
    /// The name of the data set.
    pub name: &'n str,
    /// Whether there may be none: then angles are evenly spaced.
    pub unless_there: bool,
}

impl Scan<'_> {
    /// The angles of the views in radians, and where they come from.
    pub fn angles(&self, Theta { name, unless_there }: &Theta) -> Result<(Vec<f64>, String), Fault> {
        let (views, of) = (self.views.count(), self.asked.path.display());
        if *unless_there && !self.file.link_exists(name) {
            let step = 180.0 / views as f64;
            let angles = (0..views).map(|view| (view as f64 * step).to_radians()).collect();
            return Ok((angles, format!("no theta in the file: 0° to 180° in steps of {step:.4}°")));
        }
        let theta = data_set(&self.file, name, self.asked.path)?;
        let wrong = |error: hdf5::Error| Fault::new(format!("{of}: cannot read `{name}`: {error}"));
        let found = theta.space().map_err(wrong)?.size();
        let frames = self.views.data.get_shape().map_or(0, |sizes| sizes[0]);
        if found != frames {
            let data = name_of(&self.views.data);
            return Err(
                Fault::new(format!("{of}: `{name}` has {found} angles, `{data}` has {frames} views")).hint(THETA)
            );
        }
        let all = theta.read_raw::<f64>().map_err(wrong)?;
        let values: Vec<f64> = self.views.which.iter().map(|view| all[*view]).collect();
        if let Some(view) = values.iter().position(|angle| !angle.is_finite()) {
            let text = format!("{of}: `{name}` is {} at view {view}", values[view]);
            return Err(Fault::new(text).hint(THETA));
        }
        let unit = units(&theta).unwrap_or_default();
        let in_radians = match unit.trim().to_lowercase() {
            unit if unit.is_empty() || unit.starts_with("deg") || unit.starts_with('°') => false,
            unit if unit.starts_with("rad") => true,
            unit => {
                let text = format!("{of}: `{name}` has units `{unit}`, expected degrees or radians");
                return Err(Fault::new(text).hint("correct the attribute `units` of the data set"));
            }
        };
        let angles: Vec<f64> = if in_radians { values } else { values.iter().map(|a| a.to_radians()).collect() };
        let [first, last] = [angles.first(), angles.last()].map(|a| a.copied().unwrap_or(0.0).to_degrees());
        Ok((angles, format!("{first:.3}° to {last:.3}°")))
    }
}

/// The attribute `units`, in whichever of HDF5's four kinds of text it is written.
pub(super) fn units(data: &Dataset) -> Option<String> {
    let attribute = data.attr("units").ok()?;
    if attribute.size() != 1 {
        return None;
    }
    macro_rules! first_of {
        ($($text:ty),+) => {
            $(if let Ok(text) = attribute.read_raw::<$text>() {
                return text.first().map(|text| text.as_str().to_owned());
            })+
        };
    }
    first_of!(VarLenUnicode, VarLenAscii, FixedUnicode<64>, FixedAscii<64>);
    None
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hdf5::types::{FixedAscii, VarLenUnicode};

    use crate::io::data_exchange::scan::by_hand::{params, small, theta};

    #[test]
    fn angles_carry_their_unit() {
        let folder = tempfile::tempdir().unwrap();
        let angles = |change: &dyn Fn(&hdf5::Group)| {
            small(folder.path(), change);
            params("a.h5", Some(vec![0])).header(folder.path()).map(|header| header.angles.unwrap())
        };
        let close = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.len() == 4 && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-15), "{got:?} {want:?}");
        };
        let degrees = [0.0, 30.0, 60.0, 90.0];
        close(angles(&|_| {}).unwrap(), [0.0, 45.0, 90.0, 135.0].map(f64::to_radians));
        close(angles(&|exchange| drop(theta(exchange, &degrees))).unwrap(), degrees.map(f64::to_radians));
        let fixed = |unit: &'static str| {
            angles(&move |exchange| {
                let text = FixedAscii::<16>::from_ascii(unit).unwrap();
                theta(exchange, &[0.0, 0.5, 1.0, 1.5]).new_attr_builder().with_data(&[text]).create("units").unwrap();
            })
        };
        close(fixed("radians").unwrap(), [0.0, 0.5, 1.0, 1.5]);
        close(fixed("Degrees").unwrap(), [0.0, 0.5, 1.0, 1.5].map(f64::to_radians));
        assert!(fixed("gon").unwrap_err().text.contains("`gon`"));
        let text = angles(&|exchange| {
            let unit = VarLenUnicode::from_str("Rad").unwrap();
            theta(exchange, &[0.0, 0.5, 1.0, 1.5])
                .new_attr::<VarLenUnicode>()
                .create("units")
                .unwrap()
                .write_scalar(&unit)
                .unwrap();
        });
        close(text.unwrap(), [0.0, 0.5, 1.0, 1.5]);
        let fault = angles(&|exchange| drop(theta(exchange, &[0.0; 7]))).unwrap_err();
        assert!(fault.text.contains("7 angles") && fault.text.contains("4 views"), "{}", fault.text);
        let fault = angles(&|exchange| drop(theta(exchange, &[0.0, f64::NAN, 0.0, 0.0]))).unwrap_err();
        assert!(fault.text.contains("NaN at view 1"), "{}", fault.text);
    }
}
