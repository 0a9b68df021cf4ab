//! An open scan: the data sets of a file, checked against each other and against what the config asks for.

mod angles;
#[cfg(test)]
mod by_hand;
mod data_set;
mod read;

use std::path::Path;

use data_set::{data_set, three_dims};
use hdf5::{Dataset, File};

use super::DataExchangeParams;
use crate::error::Fault;
use crate::io::{COMPLETE, resolve};
use crate::space::Shape;

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
    /// Opens a file and looks at its metadata.
    pub fn open(params: &'a DataExchangeParams, data_dir: &Path) -> Result<Self, Fault> {
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

    /// Dims and sizes of what can be read.
    pub fn shape(&self) -> Shape {
        let [angles, _, columns] = self.sizes;
        match self.rows.len() {
            1 => Shape::new([("angle", angles), ("column", columns)]),
            rows => Shape::new([("angle", angles), ("row", rows), ("column", columns)]),
        }
    }

    /// One line about the file; `angles` says where they come from.
    pub fn about(&self, angles: &str) -> String {
        let [views, rows, columns] = self.sizes;
        let frames = |fields: &Dataset| fields.get_shape().map_or(0, |sizes| sizes[0]);
        let (white, dark) = (frames(&self.white), frames(&self.dark));
        let chosen = match self.rows.as_slice() {
            [row] => format!("row {row} of {rows}"),
            chosen if chosen.len() == rows => format!("{rows} rows"),
            chosen => format!("{} of {rows} rows", chosen.len()),
        };
        let path = self.params.path.display();
        format!("{path}: {views} angles ({angles}), {chosen}, {columns} columns; {white} white and {dark} dark frames")
    }
}

/// The rows that are asked for, of so many.
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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use crate::io::data_exchange::scan::by_hand::{params, small, theta};

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
}
