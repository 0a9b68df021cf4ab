//! How a file would be read, from its name: for `stackphys info`.

use std::path::{Path, PathBuf};

use super::array::{extension, open, split_entry, unknown};
use super::data_exchange::default_clamp;
use super::{
    CflParams, Data, DataExchangeParams, EhtCsvParams, NanPolicy, NpyParams, NpzParams, NxTomoParams, PictureParams,
    TiffParams, UvfitsParams, npz,
};
use crate::error::Fault;

/// All extensions, for faults.
const KNOWN: &str = "npy, npz, cfl (with hdr), tif, tiff, png, jpg, jpeg, h5, hdf5, nxs, csv (of the EHT), uvfits, mtx";

/// The `data` table that reads a file, with names of dims that a user may want to change. An array of several in an npz file is
/// named as `file.npz/NAME`.
///
/// Collective: no. Cost: the file's header, for the number of its dims. Faults: an unknown extension; those of the format.
///
/// ```
/// use stackphys::{Shape, io::{guess, write_npy}};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("y.npy");
/// write_npy(&path, &Shape::new([("row", 4), ("column", 2)]), &[1.0; 8]).unwrap();
/// let header = guess(&path).unwrap().header("".as_ref()).unwrap().unwrap();
/// assert_eq!(header.shape.to_string(), "(y=4, x=2)");
/// ```
pub fn guess(path: &Path) -> Result<Data, Fault> {
    let (file, entry) = split_entry(path);
    let (nan, dims) = (NanPolicy::Error, || open(Path::new(""), path).map(|array| array.names));
    let path = file;
    Ok(match extension(&path).as_str() {
        "npy" => Data::Npy(NpyParams { dims: dims()?, path, nan }),
        "npz" => Data::Npz(NpzParams { dims: dims()?, path, entry, nan }),
        "cfl" | "hdr" => Data::Cfl(CflParams { dims: Some(dims()?), path, nan }),
        "tif" | "tiff" => Data::Tiff(TiffParams { dims: Some(dims()?), path, nan }),
        "png" | "jpg" | "jpeg" => Data::Picture(PictureParams { dims: Some(dims()?), path }),
        "csv" => Data::EhtCsv(EhtCsvParams { path }),
        "uvfits" => Data::Uvfits(UvfitsParams { path }),
        "h5" | "hdf5" | "hdf" | "nx" | "nxs" => scan_in(path),
        other => return Err(unknown(&path, other, KNOWN)),
    })
}

/// A scan in HDF5: in the layout that it has, or else the one that its extension is for.
fn scan_in(path: PathBuf) -> Data {
    let (rows, clamp, nan) = (None, default_clamp(), NanPolicy::Error);
    let is_nexus = extension(&path).starts_with("nx");
    let nexus = Data::NxTomo(NxTomoParams { path: path.clone(), entry: None, rows: rows.clone(), clamp, nan });
    let exchange = Data::DataExchange(DataExchangeParams { path, rows, clamp, nan });
    let (first, other) = if is_nexus { (nexus, exchange) } else { (exchange, nexus) };
    let reads = |data: &Data| data.header(Path::new("")).is_ok();
    if !reads(&first) && reads(&other) { other } else { first }
}

/// The arrays in a file, each as a path that [`guess`] takes: of an npz file all, of others the file itself.
///
/// Collective: no. Cost: the table of an archive. Faults: an archive that cannot be read.
pub fn arrays_in(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    match (extension(path).as_str(), split_entry(path)) {
        ("npz", (_, None)) => Ok(npz::names(path)?.into_iter().map(|name| path.join(name)).collect()),
        _ => Ok(vec![path.to_owned()]),
    }
}
