//! An open scan: the data sets of a file, checked against each other and against what the config asks for.

mod angles;
#[cfg(test)]
mod by_hand;
pub(in crate::io) mod data_set;
mod read;

use std::path::Path;

use data_set::{data_set, name_of, three_dims};
use hdf5::{Dataset, File};

use crate::error::Fault;
use crate::io::nan::NanPolicy;
use crate::io::{COMPLETE, resolve};
use crate::space::Shape;

pub use angles::Theta;

/// What a config asks of a scan, whatever its format.
pub struct Asked<'a> {
    pub path: &'a Path,
    pub rows: &'a Option<Vec<usize>>,
    pub clamp: f64,
    pub nan: NanPolicy,
}

impl Asked<'_> {
    /// Opens the file.
    pub fn open(&self, data_dir: &Path) -> Result<File, Fault> {
        if !(self.clamp > 0.0 && self.clamp < 1.0) {
            let text = format!("`clamp` is {}, expected a number between 0 and 1", self.clamp);
            return Err(Fault::new(text).hint("it is the least transmission, such as 1e-6; leave it out for that"));
        }
        open_hdf5(&resolve(data_dir, self.path)?)
    }
}

/// Some frames of a data set (frame, row, column).
pub struct Frames {
    data: Dataset,
    which: Vec<usize>,
    /// (rows, columns).
    sizes: [usize; 2],
}

impl Frames {
    /// All frames of a data set.
    pub fn all(file: &File, name: &str, path: &Path) -> Result<Self, Fault> {
        let data = data_set(file, name, path)?;
        let [frames, rows, columns] = three_dims(&data, &path.display())?;
        Ok(Frames { data, which: (0..frames).collect(), sizes: [rows, columns] })
    }
    /// Only some of them.
    pub fn only(&self, which: Vec<usize>) -> Self {
        Frames { data: self.data.clone(), which, sizes: self.sizes }
    }
    /// How many.
    pub fn count(&self) -> usize {
        self.which.len()
    }
}

/// An open file whose data sets fit each other and what is asked for.
pub struct Scan<'a> {
    asked: Asked<'a>,
    file: File,
    views: Frames,
    white: Frames,
    dark: Frames,
    /// The rows that are read.
    rows: Vec<usize>,
}

impl<'a> Scan<'a> {
    /// A scan of frames that fit each other.
    pub fn of(asked: Asked<'a>, file: File, views: Frames, white: Frames, dark: Frames) -> Result<Self, Fault> {
        let (of, sizes) = (asked.path.display(), views.sizes);
        for fields in [&white, &dark] {
            if fields.sizes != sizes {
                let ([rows, columns], name) = (fields.sizes, name_of(&fields.data));
                return Err(Fault::new(format!(
                    "{of}: `{name}` has {rows} rows and {columns} columns, `{}` has {} and {}",
                    name_of(&views.data),
                    sizes[0],
                    sizes[1]
                ))
                .hint("white and dark frames must be of the same detector as the data"));
            }
        }
        let rows = chosen_rows(&asked, sizes[0])?;
        Ok(Scan { asked, file, views, white, dark, rows })
    }

    /// Dims and sizes of what can be read.
    pub fn shape(&self) -> Shape {
        let (angles, [_, columns]) = (self.views.count(), self.views.sizes);
        match self.rows.len() {
            1 => Shape::new([("angle", angles), ("column", columns)]),
            rows => Shape::new([("angle", angles), ("row", rows), ("column", columns)]),
        }
    }

    /// One line about the file; `angles` says where they come from.
    pub fn about(&self, angles: &str) -> String {
        let (views, [rows, columns]) = (self.views.count(), self.views.sizes);
        let (white, dark) = (self.white.count(), self.dark.count());
        let chosen = match self.rows.as_slice() {
            [row] => format!("row {row} of {rows}"),
            chosen if chosen.len() == rows => format!("{rows} rows"),
            chosen => format!("{} of {rows} rows", chosen.len()),
        };
        let path = self.asked.path.display();
        format!("{path}: {views} angles ({angles}), {chosen}, {columns} columns; {white} white and {dark} dark frames")
    }
}

/// Opens an HDF5 file.
fn open_hdf5(path: &Path) -> Result<File, Fault> {
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    if bytes == 0 {
        return Err(Fault::new(format!("{} is empty (0 bytes)", path.display())).hint(COMPLETE));
    }
    File::open(path).map_err(|error| {
        let text = format!("cannot open {} ({bytes} bytes) as HDF5: {error}", path.display());
        // not just "lock": of a truncated file HDF5 tells its `sblock`
        Fault::new(text).hint(if error.to_string().contains("lock file") {
            "where the file system has no locks, set HDF5_USE_FILE_LOCKING=FALSE"
        } else {
            "is it an HDF5 file, and was it copied completely?"
        })
    })
}

/// A line for each data set of a file.
pub(super) fn data_sets(path: &Path) -> Result<Vec<String>, Fault> {
    Ok(data_set::lines(&open_hdf5(&resolve(Path::new(""), path)?)?))
}

/// The rows that are asked for, of so many.
fn chosen_rows(asked: &Asked, all: usize) -> Result<Vec<usize>, Fault> {
    let Some(rows) = asked.rows else { return Ok((0..all).collect()) };
    let of = asked.path.display();
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
