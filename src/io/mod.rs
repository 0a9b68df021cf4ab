//! Readers and writers, one format per file. None of them communicates.
//!
//! Reading is in two steps. One rank reads the [`Header`] (metadata only) and broadcasts it; the plan cuts its shape into
//! tiles; each rank then reads **only its tile**. [`Data`] is the list of formats that a config can name: a format is a
//! struct of parameters with `header` and `read`, and a line below.
//!
//! A file that holds one array (npy, npz, cfl, TIFF, pictures) is opened by `array` whatever its format; so such files can be
//! named by operators too ([`FilesIn`]), and [`convert`](convert()) goes between them.
//!
//! Every writer leaves a whole file or none ([`atomic`]).

mod array;
pub mod atomic;
mod canvas;
mod cfl;
mod convert;
mod data_exchange;
mod eht_csv;
mod files;
mod guess;
mod nan;
mod npy;
mod npz;
mod nxtomo;
mod phantom;
mod picture;
mod plot;
mod png;
mod ring;
mod sparse;
mod tiff;
mod tiles;
mod uvfits;
mod visibilities;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use array::split_entry;
pub use cfl::CflParams;
pub use convert::convert;
pub use data_exchange::{DataExchangeParams, data_sets};
pub use eht_csv::EhtCsvParams;
pub use files::{FilesIn, resolve};
pub use guess::{arrays_in, guess};
pub use nan::NanPolicy;
pub use npy::{NpyInParts, NpyParams, write_npy};
pub use npz::NpzParams;
pub use nxtomo::NxTomoParams;
pub use phantom::{Phantom, PhantomParams, Projections, shepp_logan, shepp_logan_line_integral};
pub use picture::PictureParams;
pub use plot::write_convergence;
pub use png::{Window, write_image};
pub use ring::RingParams;
pub use tiff::TiffParams;
pub use tiles::{TilePicture, write_tiles};
pub use uvfits::UvfitsParams;

use crate::error::Fault;
use crate::kinds::kinds;
use crate::scalar::Scalar;
use crate::space::{Coordinate, Shape, Tile};

/// The help for a file that ends too early.
const COMPLETE: &str = "was it copied, downloaded or written completely?";

/// What a file says of its measurements, without the measurements: rank 0 reads it and broadcasts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Dims and sizes of what can be read.
    pub shape: Shape,
    /// The angle of each view in radians, where the format has angles.
    pub angles: Option<Vec<f64>>,
    /// What else is known of the samples along a dim: u and v of visibilities, their standard deviation `sigma`.
    pub coordinates: Vec<Coordinate>,
    /// One line for the plan and the report: which file, what it holds.
    pub about: String,
}

impl Header {
    /// Dims and a line, without angles and coordinates.
    pub fn new(shape: Shape, about: String) -> Self {
        Header { shape, angles: None, coordinates: Vec::new(), about }
    }
}

/// What was noticed while a tile was read; ranks add theirs up for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Loaded {
    /// How many numbers were read.
    pub numbers: u64,
    /// How many transmissions lay below the `clamp` of the format and were raised to it.
    pub clamped: u64,
    /// How many values were not finite and became zeros.
    pub not_finite: u64,
}

/// Measurements that are all zero, of whatever the operator predicts: `‖R x‖²` in the sum of terms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZerosParams {}

kinds! {
    /// Where the measurements of a term come from.
    ///
    /// ```
    /// use stackphys::io::{Data, write_npy};
    /// use stackphys::{Shape, space::{Selection, Tile}};
    /// let folder = tempfile::tempdir().unwrap();
    /// write_npy(&folder.path().join("y.npy"), &Shape::new([("t", 4)]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
    ///
    /// let data: Data = toml::from_str("format = 'npy'\npath = 'y.npy'\ndims = ['time']").unwrap();
    /// let header = data.header(folder.path()).unwrap().expect("an npy file has a header");
    /// assert_eq!(header.shape.to_string(), "(time=4)");
    ///
    /// let mine = Tile::whole(&header.shape).with(0, Selection { start: 1, step: 2, count: 2 });
    /// let mut y = [0.0f32; 2];
    /// data.read(folder.path(), &mine, &mut y).unwrap();
    /// assert_eq!(y, [2.0, 4.0]);
    /// ```
    pub enum Data by "format" {
        "cfl" => Cfl(CflParams),
        "data-exchange" => DataExchange(DataExchangeParams),
        "eht-csv" => EhtCsv(EhtCsvParams),
        "npy" => Npy(NpyParams),
        "npz" => Npz(NpzParams),
        "nxtomo" => NxTomo(NxTomoParams),
        "phantom" => Phantom(PhantomParams),
        "picture" => Picture(PictureParams),
        "tiff" => Tiff(TiffParams),
        "uvfits" => Uvfits(UvfitsParams),
        "zeros" => Zeros(ZerosParams),
    }
}

impl Data {
    /// Name and one line for each format, for `stackphys list formats`.
    pub const SUMMARIES: &'static [(&'static str, &'static str)] = &[
        ("cfl", "BART's array, name.cfl with name.hdr: path, dims, nan"),
        ("data-exchange", "HDF5 Data Exchange (synchrotron tomography): path, rows, clamp, nan"),
        ("eht-csv", "visibilities of the Event Horizon Telescope, as text: path"),
        ("npy", "a NumPy array: path, dims, nan"),
        ("npz", "one of several NumPy arrays in a file: path, entry, dims, nan"),
        ("nxtomo", "HDF5 NXtomo (NeXus tomography): path, entry, rows, clamp, nan"),
        (
            "phantom",
            "no file: simulated from a known image, perhaps as a file was measured: name, projections, noise, seed, ring, like",
        ),
        ("picture", "a PNG or JPEG image: path, dims"),
        ("tiff", "a TIFF image or stack: path, dims, nan"),
        ("uvfits", "visibilities of an interferometer (FITS random groups): path"),
        ("zeros", "no file: zeros, for a term that regularises"),
    ];

    /// What the file says of itself; `None` where there is no file because the caller simulates the measurements.
    ///
    /// Collective: no (one rank reads, then broadcasts). Cost: metadata only. Faults: a parameter out of range; a file that
    /// is missing, damaged, or not what the parameters say.
    pub fn header(&self, data_dir: &Path) -> Result<Option<Header>, Fault> {
        match self {
            Data::Cfl(params) => params.header(data_dir).map(Some),
            Data::DataExchange(params) => params.header(data_dir).map(Some),
            Data::EhtCsv(params) => params.header(data_dir).map(Some),
            Data::Npy(params) => params.header(data_dir).map(Some),
            Data::Npz(params) => params.header(data_dir).map(Some),
            Data::NxTomo(params) => params.header(data_dir).map(Some),
            Data::Phantom(params) => params.header(data_dir),
            Data::Picture(params) => params.header(data_dir).map(Some),
            Data::Tiff(params) => params.header(data_dir).map(Some),
            Data::Uvfits(params) => params.header(data_dir).map(Some),
            Data::Zeros(_) => Ok(None),
        }
    }

    /// Reads the part `tile` of the header's shape into `out`, row-major; only this part of the file is read.
    ///
    /// Collective: no. Cost: one pass over the tile; memory: `out` and a buffer of a few MiB. Faults: those of
    /// [`header`](Data::header); a tile of another shape; complex numbers for a real scalar; values that are not finite,
    /// unless `nan = "zero"`.
    pub fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        match self {
            Data::Cfl(params) => params.read(data_dir, tile, out),
            Data::DataExchange(params) => params.read(data_dir, tile, out),
            Data::EhtCsv(params) => params.read(data_dir, tile, out),
            Data::Npy(params) => params.read(data_dir, tile, out),
            Data::Npz(params) => params.read(data_dir, tile, out),
            Data::NxTomo(params) => params.read(data_dir, tile, out),
            Data::Picture(params) => params.read(data_dir, tile, out),
            Data::Tiff(params) => params.read(data_dir, tile, out),
            Data::Uvfits(params) => params.read(data_dir, tile, out),
            Data::Phantom(_) => Err(Fault::new("a phantom has no measurements to read: they are simulated")),
            Data::Zeros(_) => {
                out.fill(S::default());
                Ok(Loaded::default())
            }
        }
    }
}

impl Data {
    /// The same, read with zeros in the place of what is not finite.
    pub(crate) fn with_nan_as_zero(mut self) -> Self {
        match &mut self {
            Data::Cfl(CflParams { nan, .. })
            | Data::DataExchange(DataExchangeParams { nan, .. })
            | Data::Npy(NpyParams { nan, .. })
            | Data::Npz(NpzParams { nan, .. })
            | Data::NxTomo(NxTomoParams { nan, .. })
            | Data::Tiff(TiffParams { nan, .. }) => *nan = NanPolicy::Zero,
            Data::EhtCsv(_) | Data::Phantom(_) | Data::Picture(_) | Data::Uvfits(_) | Data::Zeros(_) => {}
        }
        self
    }
}

/// Checks that a tile lies within a shape of these sizes and that `room` numbers are what it holds.
fn check_tile(tile: &Tile, sizes: &[usize], room: usize, of: &str) -> Result<(), Fault> {
    if tile.of().sizes() != sizes {
        let (expected, got) = (sizes, tile.of().sizes());
        return Err(Fault::new(format!("{of}: its sizes are {expected:?}, the tile is a part of {got:?}"))
            .hint("did the file change since its header was read?"));
    }
    for (dim, selection) in tile.of().dims().iter().zip(tile.selections()) {
        let last = selection.count.checked_sub(1).map(|steps| {
            selection.step.checked_mul(steps).and_then(|way| way.checked_add(selection.start)).unwrap_or(usize::MAX)
        });
        if last.is_some_and(|last| last >= dim.size || (selection.step == 0 && selection.count > 1)) {
            let (name, size) = (&dim.name, dim.size);
            return Err(Fault::new(format!("{of}: {selection:?} does not fit dim `{name}` of size {size}")));
        }
    }
    let count = tile.shape().len();
    if count != room {
        return Err(Fault::new(format!("{of}: the tile holds {count} numbers, there is room for {room}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Selection;

    #[test]
    fn formats_are_chosen_by_name() {
        assert!(Data::KINDS.iter().eq(Data::SUMMARIES.iter().map(|(name, _)| name)));
        let data: Data = toml::from_str("format = 'data-exchange'\npath = 'a.h5'\nrows = [0]").unwrap();
        let Data::DataExchange(params) = &data else { panic!("{data:?}") };
        assert_eq!(params.rows, Some(vec![0]));
        assert_eq!(params.clamp, 1e-6);
        assert_eq!(params.nan, NanPolicy::Error);
        let text = toml::to_string(&data).unwrap();
        assert_eq!(toml::from_str::<Data>(&text).unwrap(), data, "{text}");
        let error = toml::from_str::<Data>("format = 'npy'\npath = 'a'\ndims = []\nclamp = 1").unwrap_err();
        assert!(error.to_string().contains("clamp"), "{error}");
    }

    #[test]
    fn a_phantom_has_no_header_and_nothing_to_read() {
        let data: Data = toml::from_str("format = 'phantom'\nname = 'shepp_logan'").unwrap();
        assert_eq!(data.header(Path::new(".")).unwrap(), None);
        let tile = Tile::whole(&Shape::new([("x", 1)]));
        assert!(data.read(Path::new("."), &tile, &mut [0.0]).unwrap_err().text.contains("simulated"));
        let data: Data = toml::from_str("format = 'phantom'\nname = 'shepp_logan'\nnoise = -1.0").unwrap();
        assert!(data.header(Path::new(".")).unwrap_err().text.contains("noise"));
    }

    #[test]
    fn tiles_that_do_not_fit_are_refused() {
        let shape = Shape::new([("a", 3), ("b", 4)]);
        let fit = |tile: &Tile, room| check_tile(tile, &[3, 4], room, "f");
        let whole = Tile::whole(&shape);
        fit(&whole, 12).unwrap();
        assert!(fit(&whole, 11).is_err());
        assert!(fit(&Tile::whole(&Shape::new([("a", 3), ("b", 5)])), 15).is_err());
        for (start, step, count) in [(3, 1, 1), (0, 2, 3), (0, 0, 2), (1, usize::MAX, 2), (usize::MAX, 1, 1)] {
            assert!(fit(&whole.clone().with(0, Selection { start, step, count }), 4 * count).is_err());
        }
        fit(&whole.clone().with(0, Selection { start: 3, step: 1, count: 0 }), 0).unwrap(); // a rank without data
    }
}
