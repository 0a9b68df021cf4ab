//! The text tables of the Event Horizon Telescope's data releases: one visibility a line.
//!
//! ```text
//! #time(UTC),T1,T2,U(lambda),V(lambda),Iamp(Jy),Iphase(d),Isigma(Jy)
//! 00.53472224,AA,PV,-4395897344.0000,-4509549056.0000,0.15549293,176.6557,0.00384135
//! ```
//!
//! Source: EHT Collaboration, data release 2019-D01-01, `README.md`.

use std::path::{Path, PathBuf};

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::visibilities::Visibilities;
use super::{Header, Loaded, resolve};
use crate::error::Fault;
use crate::range::is_positive;
use crate::scalar::Scalar;
use crate::space::Tile;

/// A table of Stokes I visibilities of the Event Horizon Telescope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EhtCsvParams {
    /// The file, in the data folder.
    pub path: PathBuf,
}

impl EhtCsvParams {
    /// Dims, and where each visibility was measured.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        self.visibilities(data_dir)?.header(&self.path)
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        self.visibilities(data_dir)?.read(&self.path, tile, out)
    }

    fn visibilities(&self, data_dir: &Path) -> Result<Visibilities, Fault> {
        let path = resolve(data_dir, &self.path)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Fault::new(format!("cannot read {} as text: {error}", path.display())))?;
        parse(&text).map_err(|(line, what)| {
            Fault::new(format!("{}:{line}: {what}", self.path.display()))
                .hint("expected the columns time, T1, T2, U(lambda), V(lambda), Iamp(Jy), Iphase(d), Isigma(Jy)")
        })
    }
}

/// The columns that matter, by place: what the heading must begin with, in small letters.
const COLUMNS: [(usize, &str); 5] =
    [(3, "u(lambda)"), (4, "v(lambda)"), (5, "iamp(jy)"), (6, "iphase(d)"), (7, "isigma(jy)")];

/// The table, or the line that is wrong and why.
fn parse(text: &str) -> Result<Visibilities, (usize, String)> {
    let mut all = Visibilities::default();
    let mut has_heading = false;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| (number + 1, what);
        if let Some(comment) = line.strip_prefix('#') {
            let names: Vec<String> = comment.split(',').map(|name| name.trim().to_lowercase()).collect();
            if names.len() >= 8 {
                if let Some((at, name)) = COLUMNS.iter().find(|(at, name)| names[*at] != *name) {
                    return Err(wrong(format!("column {} is `{}`, expected `{name}`", at + 1, names[*at])));
                }
                has_heading = true;
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        if !has_heading {
            return Err(wrong("there is no heading `#time(UTC),T1,T2,U(lambda),…` before the first line".into()));
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        if fields.len() != 8 {
            return Err(wrong(format!("{} fields, expected 8", fields.len())));
        }
        let mut numbers = [0.0; 5];
        for (number, (at, name)) in numbers.iter_mut().zip(COLUMNS) {
            *number = match fields[at].parse() {
                Ok(value) if f64::is_finite(value) => value,
                _ => return Err(wrong(format!("`{}` is no number for `{name}`", fields[at]))),
            };
        }
        let [u, v, amplitude, phase, sigma] = numbers;
        if !is_positive(sigma) {
            return Err(wrong(format!("sigma is {sigma}, expected a number above 0")));
        }
        all.u.push(u);
        all.v.push(v);
        all.value.push(Complex::from_polar(amplitude, phase.to_radians()));
        all.sigma.push(sigma);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Selection;

    const TABLE: &str = "#SRC:M87,DATE(MJD):57854,FREQ:227.0707GHz\n\
        #time(UTC),T1,T2,U(lambda),V(lambda),Iamp(Jy),Iphase(d),Isigma(Jy)\n\
        00.53472224,AA,PV,-4395897344.0000,-4509549056.0000,2.0,90.0,0.25\n\
        00.53749998,AA,PV,3.0,4.0,1.0,-60.0,0.5\n";

    fn params(folder: &Path, text: &str) -> EhtCsvParams {
        std::fs::write(folder.join("a.csv"), text).unwrap();
        EhtCsvParams { path: "a.csv".into() }
    }

    #[test]
    fn a_table_has_parts_and_coordinates() {
        let folder = tempfile::tempdir().unwrap();
        let params = params(folder.path(), TABLE);
        let header = params.header(folder.path()).unwrap();
        assert_eq!(header.about, "a.csv: (visibility=2, part=2) in Jy, baselines up to 6.298 Gλ");
        let of = |name: &str| header.coordinates.iter().find(|known| known.name == name).unwrap().values.clone();
        assert_eq!((of("u"), of("v")), (vec![-4395897344.0, 3.0], vec![-4509549056.0, 4.0]));
        assert_eq!(of("sigma"), [0.25, 0.5]);
        let mut out = [0.0f64; 4];
        params.read(folder.path(), &Tile::whole(&header.shape), &mut out).unwrap();
        let want = [0.0, 2.0, 0.5, -0.75_f64.sqrt()];
        assert!(out.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15), "{out:?}");
        let imaginary = Tile::whole(&header.shape).with(1, Selection { start: 1, step: 1, count: 1 });
        let mut out = [0.0f64; 2];
        params.read(folder.path(), &imaginary, &mut out).unwrap();
        assert!((out[0] - 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = |from: &str, to: &str| {
            assert_eq!(TABLE.matches(from).count(), 1);
            params(folder.path(), &TABLE.replace(from, to)).header(folder.path()).unwrap_err().text
        };
        assert_eq!(text("3.0,4.0", "3.0,four"), "a.csv:4: `four` is no number for `v(lambda)`");
        assert_eq!(text("-60.0,0.5", "-60.0,-0.5"), "a.csv:4: sigma is -0.5, expected a number above 0");
        assert_eq!(text("-60.0,0.5", "-60.0"), "a.csv:4: 7 fields, expected 8");
        assert_eq!(text("-60.0", "inf"), "a.csv:4: `inf` is no number for `iphase(d)`");
        assert_eq!(text("U(lambda)", "U(km)"), "a.csv:2: column 4 is `u(km)`, expected `u(lambda)`");
        assert!(text("#time", "time").contains("a.csv:2: there is no heading"));
        assert!(params(folder.path(), "#nothing\n").header(folder.path()).unwrap_err().text.contains("no visibility"));
    }
}
