//! HDF5 Data Exchange: the format of synchrotron tomography, read as line integrals.
//!
//! A file holds counts (`exchange/data`: angle, row, column), flat fields (`data_white`) and dark fields (`data_dark`: frame,
//! row, column) and the angles (`theta`). What a projector predicts is
//!
//! ```text
//! y = −ln(max((data − dark) / (white − dark), clamp))
//! ```
//!
//! with dark and white averaged over their frames, for each row and column on its own. All of it is computed in f64.
//!
//! Source: De Carlo et al., *Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data*, Journal of
//! Synchrotron Radiation 21 (2014), section 3.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nan::NanPolicy;
use super::{Header, Loaded};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// A tomographic scan in an HDF5 Data Exchange file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataExchangeParams {
    /// The file, in the data folder.
    pub path: PathBuf,
    /// The detector rows to read, all by default. With one row the dims are (angle, column), otherwise (angle, row, column).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<usize>>,
    /// The least transmission; smaller ones (dead pixels, photon starvation) are raised to it and counted.
    #[serde(default = "default_clamp")]
    pub clamp: f64,
    /// What becomes of values that are not finite, such as those of pixels where white equals dark.
    #[serde(default)]
    pub nan: NanPolicy,
}

fn default_clamp() -> f64 {
    1e-6
}

#[cfg(not(feature = "hdf5"))]
impl DataExchangeParams {
    /// A fault: this build has no HDF5.
    pub(super) fn header(&self, _data_dir: &Path) -> Result<Header, Fault> {
        Err(self.no_hdf5())
    }
    /// A fault: this build has no HDF5.
    pub(super) fn read<S: Scalar>(&self, _data_dir: &Path, _tile: &Tile, _out: &mut [S]) -> Result<Loaded, Fault> {
        Err(self.no_hdf5())
    }
    fn no_hdf5(&self) -> Fault {
        Fault::new(format!("cannot read {}: this build has no HDF5", self.path.display()))
            .hint("build with --features hdf5 (needs libhdf5-dev)")
    }
}

#[cfg(feature = "hdf5")]
impl DataExchangeParams {
    /// Dims, sizes and angles; reads metadata and `theta` only.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        let scan = scan::Scan::open(self, data_dir)?;
        let (angles, how) = scan.angles()?;
        let about = scan.about(&how);
        Ok(Header { shape: scan.shape(), angles: Some(angles), about })
    }

    /// Reads the angles, rows and columns of a tile as line integrals.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        scan::Scan::open(self, data_dir)?.read(tile, out)
    }
}

#[cfg(feature = "hdf5")]
mod scan {
    use hdf5::types::{FixedAscii, FixedUnicode, VarLenAscii, VarLenUnicode};
    use hdf5::{Dataset, File, Group, Hyperslab, SliceOrIndex};
    use ndarray::{Array2, ArrayView3, Ix3};

    use super::*;
    use crate::io::nan::{HINT, settle};
    use crate::io::{COMPLETE, check_tile, resolve};
    use crate::space::{Selection, Shape};

    /// The file's numbers come in pieces of about so many (16 MiB).
    const PIECE: usize = 1 << 21;
    /// The help for angles that do not fit the data.
    const THETA: &str =
        "correct the data set in the file: one angle for each view, or none for 0° to 180° in even steps";
    /// A list of data sets in a fault stops here.
    const LISTED: usize = 24;

    /// An open file whose data sets fit each other and the parameters.
    pub(super) struct Scan<'a> {
        params: &'a DataExchangeParams,
        file: File,
        data: Dataset,
        white: Dataset,
        dark: Dataset,
        /// (angle, row, column) of all that the file has.
        sizes: [usize; 3],
        /// The rows that are read.
        rows: Vec<usize>,
    }

    impl<'a> Scan<'a> {
        pub(super) fn open(params: &'a DataExchangeParams, data_dir: &Path) -> Result<Self, Fault> {
            if !(params.clamp > 0.0 && params.clamp < 1.0) {
                let text = format!("`clamp` is {}, expected a number between 0 and 1", params.clamp);
                return Err(Fault::new(text).hint("it is the least transmission, such as 1e-6; leave it out for that"));
            }
            let path = resolve(data_dir, &params.path)?;
            let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
            if bytes == 0 {
                return Err(Fault::new(format!("{} is empty (0 bytes)", path.display())).hint(COMPLETE));
            }
            let file = File::open(&path).map_err(|error| {
                let text = format!("cannot open {} ({bytes} bytes) as HDF5: {error}", path.display());
                // not just "lock": of a truncated file HDF5 tells its `sblock`
                Fault::new(text).hint(if error.to_string().contains("lock file") {
                    "where the file system has no locks, set HDF5_USE_FILE_LOCKING=FALSE"
                } else {
                    "is it an HDF5 file, and was it copied completely?"
                })
            })?;
            let named = |name: &str| data_set(&file, name, &params.path);
            let (data, white, dark) =
                (named("exchange/data")?, named("exchange/data_white")?, named("exchange/data_dark")?);
            let of = params.path.display();
            let sizes = three_dims(&data, &of)?;
            for (name, fields) in [("exchange/data_white", &white), ("exchange/data_dark", &dark)] {
                let got = three_dims(fields, &of)?;
                if got[1..] != sizes[1..] {
                    return Err(Fault::new(format!(
                        "{of}: `{name}` has {} rows and {} columns, `exchange/data` has {} and {}",
                        got[1], got[2], sizes[1], sizes[2]
                    ))
                    .hint("white and dark frames must be of the same detector as the data"));
                }
            }
            let rows = chosen_rows(params, sizes[1])?;
            Ok(Scan { params, file, data, white, dark, sizes, rows })
        }

        pub(super) fn shape(&self) -> Shape {
            let [angles, _, columns] = self.sizes;
            match self.rows.len() {
                1 => Shape::new([("angle", angles), ("column", columns)]),
                rows => Shape::new([("angle", angles), ("row", rows), ("column", columns)]),
            }
        }

        pub(super) fn about(&self, angles: &str) -> String {
            let [views, rows, columns] = self.sizes;
            let frames = |fields: &Dataset| fields.get_shape().map_or(0, |sizes| sizes[0]);
            let (white, dark) = (frames(&self.white), frames(&self.dark));
            let chosen = match self.rows.as_slice() {
                [row] => format!("row {row} of {rows}"),
                chosen if chosen.len() == rows => format!("{rows} rows"),
                chosen => format!("{} of {rows} rows", chosen.len()),
            };
            let path = self.params.path.display();
            format!(
                "{path}: {views} angles ({angles}), {chosen}, {columns} columns; {white} white and {dark} dark frames"
            )
        }

        /// The angles in radians, and where they come from.
        pub(super) fn angles(&self) -> Result<(Vec<f64>, String), Fault> {
            let (views, of) = (self.sizes[0], self.params.path.display());
            if !self.file.link_exists("exchange/theta") {
                let step = 180.0 / views as f64;
                let angles = (0..views).map(|view| (view as f64 * step).to_radians()).collect();
                return Ok((angles, format!("no theta in the file: 0° to 180° in steps of {step:.4}°")));
            }
            let theta = data_set(&self.file, "exchange/theta", &self.params.path)?;
            let wrong = |error: hdf5::Error| Fault::new(format!("{of}: cannot read `exchange/theta`: {error}"));
            let found = theta.space().map_err(wrong)?.size();
            if found != views {
                return Err(Fault::new(format!(
                    "{of}: `exchange/theta` has {found} angles, `exchange/data` has {views} views"
                ))
                .hint(THETA));
            }
            let values = theta.read_raw::<f64>().map_err(wrong)?;
            if let Some(view) = values.iter().position(|angle| !angle.is_finite()) {
                let text = format!("{of}: `exchange/theta` is {} at view {view}", values[view]);
                return Err(Fault::new(text).hint(THETA));
            }
            let unit = units(&theta).unwrap_or_default();
            let in_radians = match unit.trim().to_lowercase() {
                unit if unit.is_empty() || unit.starts_with("deg") || unit.starts_with('°') => false,
                unit if unit.starts_with("rad") => true,
                unit => {
                    let text = format!("{of}: `exchange/theta` has units `{unit}`, expected degrees or radians");
                    return Err(Fault::new(text).hint("correct the attribute `units` of the data set"));
                }
            };
            let angles: Vec<f64> = if in_radians { values } else { values.iter().map(|a| a.to_radians()).collect() };
            let [first, last] = [angles.first(), angles.last()].map(|a| a.copied().unwrap_or(0.0).to_degrees());
            Ok((angles, format!("{first:.3}° to {last:.3}°")))
        }

        pub(super) fn read<S: Scalar>(&self, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
            let of = self.params.path.display().to_string();
            check_tile(tile, &self.shape().sizes(), out.len(), &of)?;
            let selections = tile.selections();
            let (angles, columns) = (selections[0], selections[selections.len() - 1]);
            let rows: Vec<usize> = match selections {
                [_, rows, _] => rows.iter().map(|row| self.rows[row]).collect(),
                _ => self.rows.clone(),
            };
            let (views, width) = (angles.count, columns.count);
            let mut loaded = Loaded { numbers: out.len() as u64, ..Loaded::default() };
            for (place, run) in runs(&rows) {
                let white = self.mean(&self.white, run, columns)?;
                let dark = self.mean(&self.dark, run, columns)?;
                self.pieces(&self.data, Selection { count: views, ..angles }, run, columns, |view, counts| {
                    for (view, counts) in (view..).zip(counts.outer_iter()) {
                        for (row, counts) in counts.outer_iter().enumerate() {
                            let begin = (view * rows.len() + place + row) * width;
                            let fields = white.row(row).into_iter().zip(dark.row(row));
                            for ((out, counts), (white, dark)) in
                                out[begin..][..width].iter_mut().zip(counts).zip(fields)
                            {
                                let (value, clamped) = line_integral(*counts, *white, *dark, self.params.clamp);
                                *out = S::from_f64(value);
                                loaded.clamped += u64::from(clamped);
                            }
                        }
                    }
                })?;
            }
            loaded.not_finite = settle(out, self.params.nan, tile, &of, |index| match *index {
                [angle, row, column] => format!("angle={angle}, row={}, column={column}", self.rows[row]),
                [angle, column] => format!("angle={angle}, row={}, column={column}", self.rows[0]),
                _ => format!("{index:?}"),
            })
            .map_err(|fault| fault.hint(HINT))?;
            Ok(loaded)
        }

        /// The mean over all frames, for some rows and columns.
        fn mean(&self, fields: &Dataset, rows: Selection, columns: Selection) -> Result<Array2<f64>, Fault> {
            let frames = fields.get_shape().map_or(0, |sizes| sizes[0]);
            let mut sum = Array2::zeros((rows.count, columns.count));
            self.pieces(fields, Selection::all(frames), rows, columns, |_, piece| {
                piece.outer_iter().for_each(|frame| sum += &frame);
            })?;
            Ok(sum / frames as f64)
        }

        /// Reads part of a data set in pieces of bounded size along its first dim; `take` gets the place of the first.
        fn pieces(
            &self,
            from: &Dataset,
            first: Selection,
            rows: Selection,
            columns: Selection,
            mut take: impl FnMut(usize, ArrayView3<f64>),
        ) -> Result<(), Fault> {
            let each = (PIECE / (rows.count * columns.count).max(1)).max(1);
            let mut done = 0;
            // Nothing is read for an empty selection, of any dim.
            while done < first.count && rows.count > 0 && columns.count > 0 {
                let count = each.min(first.count - done);
                let part = Selection { start: first.start + done * first.step, step: first.step, count };
                let slab = Hyperslab::from(vec![slice(part), slice(rows), slice(columns)]);
                let piece = from.read_slice::<f64, _, Ix3>(slab).map_err(|error| {
                    let (of, name) = (self.params.path.display(), name_of(from));
                    Fault::new(format!("{of}: cannot read `{name}`: {error}"))
                        .hint("is the file complete, and are its numbers integers or floats?")
                })?;
                take(done, piece.view());
                done += count;
            }
            Ok(())
        }
    }

    /// −ln of the transmission, and whether the transmission was clamped. NaN where white equals dark.
    pub(super) fn line_integral(counts: f64, white: f64, dark: f64, clamp: f64) -> (f64, bool) {
        let transmission = (counts - dark) / (white - dark);
        if !transmission.is_finite() {
            return (f64::NAN, false); // `f64::max` would turn it into `clamp`
        }
        (-transmission.max(clamp).ln(), transmission < clamp)
    }

    /// Rows with one distance from each to the next, so that one request reads them, and the place of the first.
    pub(super) fn runs(rows: &[usize]) -> Vec<(usize, Selection)> {
        let mut runs: Vec<(usize, Selection)> = Vec::new();
        for (place, &row) in rows.iter().enumerate() {
            match runs.last_mut() {
                Some((_, run)) if run.count == 1 && row > run.start => {
                    *run = Selection { step: row - run.start, count: 2, ..*run };
                }
                Some((_, run)) if run.count > 1 && row == run.start + run.count * run.step => run.count += 1,
                _ => runs.push((place, Selection { start: row, step: 1, count: 1 })),
            }
        }
        runs
    }

    fn slice(selection: Selection) -> SliceOrIndex {
        let Selection { start, step, count } = selection;
        SliceOrIndex::SliceCount { start, step: step.max(1), count, block: 1 }
    }

    fn chosen_rows(params: &DataExchangeParams, all: usize) -> Result<Vec<usize>, Fault> {
        let Some(rows) = &params.rows else { return Ok((0..all).collect()) };
        let of = params.path.display();
        if rows.is_empty() {
            return Err(Fault::new("`rows` is empty").hint("leave it out to read all rows"));
        }
        if let Some(row) = rows.iter().find(|&&row| row >= all) {
            let last = all - 1; // `three_dims` lets no file without rows pass
            let text = format!("`rows`: row {row} is not in {of}, which has rows 0 to {last}");
            return Err(Fault::new(text).hint("rows are counted from 0"));
        }
        let mut seen = vec![false; all];
        match rows.iter().find(|&&row| std::mem::replace(&mut seen[row], true)) {
            Some(row) => Err(Fault::new(format!("`rows` names row {row} twice")).hint("name each row once")),
            None => Ok(rows.clone()),
        }
    }

    /// The name of a data set as the format's documents write it.
    fn name_of(data: &Dataset) -> String {
        data.name().trim_start_matches('/').to_owned()
    }

    fn three_dims(data: &Dataset, of: &impl std::fmt::Display) -> Result<[usize; 3], Fault> {
        let name = name_of(data);
        let sizes = data
            .get_shape()
            .map_err(|error| Fault::new(format!("{of}: cannot read the sizes of `{name}`: {error}")))?;
        match sizes[..] {
            // What follows multiplies these sizes; no memory holds more than this.
            [a, b, c] if a.checked_mul(b).and_then(|ab| ab.checked_mul(c)).is_none_or(|abc| abc >= 1 << 60) => {
                Err(Fault::new(format!("{of}: `{name}` claims sizes {sizes:?}")).hint("the file is damaged"))
            }
            [a, b, c] if a > 0 && b > 0 && c > 0 => Ok([a, b, c]),
            [_, _, _] => Err(Fault::new(format!("{of}: `{name}` holds no numbers: its sizes are {sizes:?}"))),
            _ => Err(Fault::new(format!("{of}: `{name}` has {} dims ({sizes:?}), expected 3", sizes.len()))
                .hint("the format wants (angle, row, column), and (frame, row, column) for white and dark fields")),
        }
    }

    fn data_set(file: &File, name: &str, path: &Path) -> Result<Dataset, Fault> {
        file.dataset(name).map_err(|error| {
            if file.link_exists("exchange") && file.link_exists(name) {
                return Fault::new(format!("{}: cannot open `{name}`: {error}", path.display()));
            }
            let mut names = Vec::new();
            list(file, 4, &mut names);
            let has = match names.len() {
                0 => "it has no data sets".to_owned(),
                count if count > LISTED => format!("it has {}, …", names[..LISTED].join(", ")),
                _ => format!("it has {}", names.join(", ")),
            };
            let fault = Fault::new(format!("{} has no data set `{name}`; {has}", path.display()));
            match name {
                "exchange/data" => fault.hint("is this an HDF5 Data Exchange file of a tomographic scan?"),
                _ => fault.hint(
                    "white and dark fields turn counts into line integrals; line integrals themselves are read from npy files",
                ),
            }
        })
    }

    /// The names of data sets in a group and the groups below it; bounded, as links may form a circle.
    fn list(group: &Group, depth: usize, names: &mut Vec<String>) {
        names.extend(group.datasets().unwrap_or_default().iter().map(name_of));
        if depth > 0 && names.len() <= LISTED {
            for group in group.groups().unwrap_or_default() {
                list(&group, depth - 1, names);
            }
        }
    }

    /// The attribute `units`, in whichever of HDF5's four kinds of text it is written.
    fn units(data: &Dataset) -> Option<String> {
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
}

#[cfg(all(test, feature = "hdf5"))]
mod tests {
    use std::str::FromStr;

    use hdf5::types::{FixedAscii, VarLenUnicode};
    use ndarray::{Array1, Array3};

    use super::*;
    use crate::space::{Selection, Shape};

    fn params(path: &str, rows: Option<Vec<usize>>) -> DataExchangeParams {
        DataExchangeParams { path: path.into(), rows, clamp: 1e-6, nan: NanPolicy::Error }
    }

    /// 4 angles, 5 rows, 3 columns of 16-bit counts; white 100 and 300 (mean 200), dark 0 in one frame.
    fn small(folder: &Path, change: impl FnOnce(&hdf5::Group)) {
        let _ = std::fs::remove_file(folder.join("a.h5"));
        let file = hdf5::File::create(folder.join("a.h5")).unwrap();
        let exchange = file.create_group("exchange").unwrap();
        let data = Array3::from_shape_fn((4, 5, 3), |(a, r, c)| 100u16 + (20 * a + 4 * r + c) as u16);
        exchange.new_dataset_builder().with_data(&data).create("data").unwrap();
        let white = Array3::from_shape_fn((2, 5, 3), |(f, ..)| 100.0f32 + 200.0 * f as f32);
        exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
        exchange.new_dataset_builder().with_data(&Array3::<f32>::zeros((1, 5, 3))).create("data_dark").unwrap();
        change(&exchange);
    }

    fn theta(exchange: &hdf5::Group, angles: &[f64]) -> hdf5::Dataset {
        exchange.new_dataset_builder().with_data(&Array1::from_vec(angles.to_vec())).create("theta").unwrap()
    }

    #[test]
    fn any_tile_of_any_rows_is_what_the_formula_gives() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path(), |_| {});
        for rows in [None, Some(vec![3]), Some(vec![0, 2, 4]), Some(vec![4, 0, 1, 3]), Some(vec![1, 2])] {
            let params = params("a.h5", rows.clone());
            let header = params.header(folder.path()).unwrap();
            let rows = rows.unwrap_or_else(|| (0..5).collect());
            let axes = header.shape.dims().len();
            assert_eq!(axes, if rows.len() == 1 { 2 } else { 3 });
            for angles in [
                Selection::all(4),
                Selection { start: 1, step: 2, count: 2 },
                Selection { start: 2, step: 1, count: 0 },
            ] {
                for columns in [Selection::all(3), Selection { start: 0, step: 2, count: 2 }] {
                    let mut tile = Tile::whole(&header.shape).with(0, angles).with(axes - 1, columns);
                    if axes == 3 {
                        tile = tile.with(1, Selection { start: 1, step: 1, count: rows.len() - 1 });
                    }
                    let mut got = vec![f64::NAN; tile.shape().len()];
                    params.read(folder.path(), &tile, &mut got).unwrap();
                    for (value, offset) in got.iter().zip(tile.offsets()) {
                        let (angle, row, column) = (offset / 3 / rows.len(), rows[offset / 3 % rows.len()], offset % 3);
                        let want = -((100 + 20 * angle + 4 * row + column) as f64 / 200.0).ln();
                        assert_eq!(*value, want, "{tile:?}");
                    }
                }
            }
        }
    }

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

    #[test]
    fn dark_pixels_are_clamped_and_dead_ones_are_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path(), |exchange| {
            let mut data = Array3::from_elem((4, 5, 3), 100.0f32);
            data[[2, 3, 1]] = -50.0;
            data[[2, 3, 2]] = 0.0;
            exchange.dataset("data").unwrap(); // replaced
            exchange.unlink("data").unwrap();
            exchange.new_dataset_builder().with_data(&data).create("data").unwrap();
            let mut white = Array3::from_elem((1, 5, 3), 200.0f32);
            white[[0, 4, 2]] = 0.0;
            exchange.unlink("data_white").unwrap();
            exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
        });
        let strict = params("a.h5", Some(vec![3]));
        let tile = Tile::whole(&strict.header(folder.path()).unwrap().shape);
        let mut out = [0f32; 12];
        let loaded = strict.read(folder.path(), &tile, &mut out).unwrap();
        assert_eq!(loaded, Loaded { numbers: 12, clamped: 2, not_finite: 0 });
        assert_eq!(out[2 * 3 + 1], -(1e-6f64.ln()) as f32);

        let mut both = params("a.h5", Some(vec![4, 3]));
        let tile =
            Tile::whole(&both.header(folder.path()).unwrap().shape).with(0, Selection { start: 1, step: 1, count: 3 });
        let fault = both.read(folder.path(), &tile, &mut [0f64; 18]).unwrap_err();
        assert!(
            fault.text.contains("3 of the 18") && fault.text.contains("angle=1, row=4, column=2"),
            "{}",
            fault.text
        );
        assert!(fault.hint.unwrap().contains("data.nan"));
        both.nan = NanPolicy::Zero;
        let mut out = [1f64; 18];
        let loaded = both.read(folder.path(), &tile, &mut out).unwrap();
        assert_eq!(loaded, Loaded { numbers: 18, clamped: 2, not_finite: 3 });
        assert_eq!(out[2], 0.0);
    }

    #[test]
    fn files_that_do_not_fit_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let text = |change: &dyn Fn(&hdf5::Group)| {
            small(folder.path(), change);
            params("a.h5", None).header(folder.path()).unwrap_err().text
        };
        let missing = text(&|exchange| exchange.unlink("data_white").unwrap());
        assert!(
            missing.contains("no data set `exchange/data_white`") && missing.contains("exchange/data_dark"),
            "{missing}"
        );
        let sizes = text(&|exchange| {
            exchange.unlink("data_dark").unwrap();
            exchange.new_dataset_builder().with_data(&Array3::<f32>::zeros((1, 5, 4))).create("data_dark").unwrap();
        });
        assert!(sizes.contains("`exchange/data_dark` has 5 rows and 4 columns"), "{sizes}");
        let dims = text(&|exchange| {
            exchange.unlink("data").unwrap();
            theta(exchange, &[1.0]);
            exchange.link_hard("theta", "data").unwrap();
        });
        assert!(dims.contains("1 dims") && dims.contains("expected 3"), "{dims}");
        let none = text(&|exchange| {
            exchange.unlink("data_white").unwrap();
            exchange.new_dataset_builder().with_data(&Array3::<f32>::zeros((0, 5, 3))).create("data_white").unwrap();
        });
        assert!(none.contains("holds no numbers"), "{none}");

        small(folder.path(), |_| {});
        let header = |rows: &[usize]| params("a.h5", Some(rows.to_vec())).header(folder.path()).unwrap_err().text;
        assert!(header(&[2, 5]).contains("row 5") && header(&[2, 5]).contains("rows 0 to 4"));
        assert!(header(&[]).contains("empty"));
        assert!(header(&[1, 2, 1]).contains("row 1 twice"));
        let mut bad = params("a.h5", None);
        bad.clamp = f64::NAN;
        assert!(bad.header(folder.path()).unwrap_err().text.contains("`clamp`"));
    }

    #[test]
    fn files_that_are_not_hdf5_say_so() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path(), |_| {});
        let good = std::fs::read(folder.path().join("a.h5")).unwrap();
        let fault = |bytes: &[u8]| {
            std::fs::write(folder.path().join("b.h5"), bytes).unwrap();
            params("b.h5", None).header(folder.path()).unwrap_err()
        };
        assert!(fault(b"").text.contains("is empty"));
        assert!(fault(b"a text").text.contains("as HDF5"));
        for length in [7, 100, 500, good.len() / 2, good.len() - 1] {
            let fault = fault(&good[..length]);
            assert!(fault.text.contains("b.h5"), "{}", fault.text);
        }
        let fault = params("no/such.h5", None).header(folder.path()).unwrap_err();
        assert!(fault.text.contains("no/such.h5") && fault.hint.unwrap().contains("get-data.sh"));
    }

    #[test]
    fn rows_at_one_distance_are_one_request() {
        let of = |rows: &[usize]| -> Vec<_> {
            scan::runs(rows).into_iter().map(|(place, run)| (place, run.start, run.step, run.count)).collect()
        };
        assert_eq!(of(&[0, 1, 2, 3]), [(0, 0, 1, 4)]);
        assert_eq!(of(&[1, 4, 7, 8]), [(0, 1, 3, 3), (3, 8, 1, 1)]);
        assert_eq!(of(&[5, 2]), [(0, 5, 1, 1), (1, 2, 1, 1)]);
        assert_eq!(of(&[]), []);
    }

    /// The tooth scan, where it is here.
    fn tooth() -> Option<PathBuf> {
        let folder = std::env::var_os("STACKPHYS_DATA")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
        let here = folder.join("tooth/tooth.h5").is_file();
        if !here {
            println!("skipped: no tooth/tooth.h5 in {}", folder.display());
        }
        here.then_some(folder)
    }

    #[test]
    fn the_tooth_agrees_with_h5py_and_numpy() {
        let Some(folder) = tooth() else { return };
        let one = params("tooth/tooth.h5", Some(vec![0]));
        let header = one.header(&folder).unwrap();
        assert_eq!(header.shape, Shape::new([("angle", 181), ("column", 640)]));
        let angles = header.angles.unwrap();
        assert_eq!(angles[0], 0.0);
        assert_eq!(angles[180], 179.00552486187846f64.to_radians());
        println!("{}", header.about);
        assert_eq!(
            header.about,
            "tooth/tooth.h5: 181 angles (0.000° to 179.006°), row 0 of 2, 640 columns; 10 white and 10 dark frames"
        );

        let mut y = vec![0f64; 181 * 640];
        let loaded = one.read(&folder, &Tile::whole(&header.shape), &mut y).unwrap();
        assert_eq!(loaded, Loaded { numbers: 181 * 640, clamped: 0, not_finite: 0 });
        let sum: f64 = y.iter().sum();
        let norm = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        // numpy: q = (data − dark.mean(0)) / (white.mean(0) − dark.mean(0)) in float64, row 0; v = −log(maximum(q, 1e-6))
        assert!((sum / 52377.69604624752 - 1.0).abs() < 1e-12, "{sum}");
        assert!((norm / 251.29689135042935 - 1.0).abs() < 1e-12, "{norm}");
        assert!((y[0] - 0.006105370611930768).abs() < 1e-15, "{}", y[0]);
        assert!((y[181 * 640 - 1] + 0.0011002437627647122).abs() < 1e-15, "{}", y[181 * 640 - 1]);

        let both = params("tooth/tooth.h5", None);
        let shape = both.header(&folder).unwrap().shape;
        assert_eq!(shape, Shape::new([("angle", 181), ("row", 2), ("column", 640)]));
        let part = Tile::whole(&shape).with(0, Selection { start: 5, step: 12, count: 15 });
        let mut got = vec![0f32; 15 * 2 * 640];
        both.read(&folder, &part, &mut got).unwrap();
        for (k, angle) in part.selections()[0].iter().enumerate() {
            let (got, want) = (&got[k * 2 * 640..][..640], &y[angle * 640..][..640]);
            assert!(got.iter().zip(want).all(|(got, want)| *got == *want as f32));
        }
    }
}

#[cfg(all(test, not(feature = "hdf5")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_hdf5_says_so() {
        let params: DataExchangeParams = toml::from_str("path = 'a.h5'").unwrap();
        let fault = params.header(Path::new(".")).unwrap_err();
        assert!(fault.text.contains("no HDF5") && fault.hint.unwrap().contains("--features hdf5"));
    }
}
