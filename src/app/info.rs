//! `info`: what a file holds, and the config lines that read it.

use std::path::{Path, PathBuf};

use num_complex::Complex;

use super::cli::InfoArgs;
use super::{Context, Ending, say};
use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::io::{self, Data, Header, Loaded};
use crate::physics::{Files, SparseSizes};
use crate::space::{Selection, Tile};

/// Of files with more numbers the range of values is not told: it would take long.
const CHEAP: usize = 1 << 26;
/// So many numbers are read at once.
const PIECE: usize = 1 << 20;

/// Says what a file holds. Collective: yes; rank 0 reads.
pub fn info(context: &Context, args: &InfoArgs) -> Result<Ending, Error> {
    let lines = || lines(&args.file).map_err(|fault| fault.in_phase(Phase::Open));
    let lines = Team::new(context.comm.clone()).from_rank_0(lines)?;
    if context.comm.rank() == 0 {
        lines.iter().for_each(|line| say!("{line}"));
    }
    Ok(Ending::Done)
}

fn lines(path: &Path) -> Result<Vec<String>, Fault> {
    let mut lines = io::data_sets(path)?;
    let of_hdf5 = !lines.is_empty();
    if let Some(matrix) = sparse_matrix(path)? {
        return Ok(matrix);
    }
    for array in io::arrays_in(path)? {
        let about = about(&array);
        match about {
            Ok(about) => lines.extend(about),
            // an HDF5 file may hold anything; what it holds was said
            Err(fault) if of_hdf5 => lines.push(format!("no format that a config names: {}", fault.text)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(lines)
}

/// What a sparse matrix is, and the line that reads it; nothing if the file holds none.
fn sparse_matrix(path: &Path) -> Result<Option<Vec<String>>, Fault> {
    let of_text = path.to_string_lossy().to_lowercase().trim_end_matches(".gz").ends_with(".mtx");
    let sizes = match io::FilesIn(PathBuf::new()).sparse_sizes(path) {
        Ok(sizes) => sizes,
        Err(fault) if of_text => return Err(fault),
        Err(_) => return Ok(None),
    };
    let SparseSizes { rows, columns, entries, is_complex } = sizes;
    let kind = if is_complex { "complex" } else { "real" };
    let path = path.display().to_string();
    Ok(Some(vec![
        format!("{path}: a sparse matrix, {rows} rows × {columns} columns, {entries} {kind} entries at most"),
        "  in a config:".to_owned(),
        format!("    operator = {{ kind = \"sparse\", path = {path:?} }}"),
    ]))
}

/// What one array or set of measurements is, and the lines that read it.
fn about(path: &Path) -> Result<Vec<String>, Fault> {
    let data = io::guess(path)?;
    let Some(header) = data.header(Path::new(""))? else { return Ok(Vec::new()) };
    let mut lines = vec![header.about.clone()];
    if let Some(angles) = &header.angles {
        lines.push(format!("  angle: {} along `angle`, in radians: {}", angles.len(), range(angles.iter().copied())));
    }
    for coordinate in &header.coordinates {
        let (count, values) = (coordinate.values.len(), range(coordinate.values.iter().copied()));
        lines.push(format!(
            "  {}: {count} along `{}`, in {}: {values}",
            coordinate.name, coordinate.dim, coordinate.unit
        ));
    }
    lines.push(match values(&data, &header)? {
        Some(values) => format!("  values: {values}"),
        None => format!("  values: not looked at, there are {}", header.shape.len()),
    });
    lines.push("  in a config:".to_owned());
    lines.push(format!("    data = {}", inline(&data)?));
    if io::FilesIn(PathBuf::new()).sizes(path).is_ok() {
        lines.push(format!("    or where an operator names a file: path = {:?}", path.display().to_string()));
    }
    Ok(lines)
}

/// The range of all numbers, of complex ones of the magnitude; piece by piece along the first dim.
fn values(data: &Data, header: &Header) -> Result<Option<String>, Fault> {
    let (shape, whole) = (&header.shape, Tile::whole(&header.shape));
    let Some(first) = shape.dims().first().filter(|_| shape.len() <= CHEAP) else { return Ok(None) };
    let each = (PIECE / (shape.len() / first.size).max(1)).max(1);
    let (mut low, mut high, mut not_finite, mut is_complex) = (f64::INFINITY, f64::NEG_INFINITY, 0_u64, false);
    let mut sizes = [f64::INFINITY, 0.0];
    for start in (0..first.size).step_by(each) {
        let count = each.min(first.size - start);
        let tile = whole.clone().with(0, Selection { start, step: 1, count });
        let mut piece = vec![Complex::<f64>::default(); tile.shape().len()];
        let lenient = data.clone().with_nan_as_zero();
        let Loaded { not_finite: here, .. } = lenient.read(Path::new(""), &tile, &mut piece)?;
        not_finite += here;
        for z in piece {
            is_complex |= z.im != 0.0;
            (low, high) = (low.min(z.re), high.max(z.re));
            sizes = [sizes[0].min(z.norm()), sizes[1].max(z.norm())];
        }
    }
    let range = if is_complex {
        format!("magnitudes {} to {}", Short(sizes[0]), Short(sizes[1]))
    } else {
        format!("{} to {}", Short(low), Short(high))
    };
    let note = if not_finite > 0 { format!("; {not_finite} are not finite (shown as 0)") } else { String::new() };
    Ok(Some(range + &note))
}

/// A number with six digits.
struct Short(f64);
impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.abs() {
            size if size != 0.0 && !(1e-3..1e7).contains(&size) => write!(f, "{:.5e}", self.0),
            size => {
                let digits = (5 - size.max(1e-3).log10().floor() as i32).clamp(0, 8) as usize;
                let text = format!("{:.digits$}", self.0);
                let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                f.write_str(short)
            }
        }
    }
}

fn range(values: impl Iterator<Item = f64>) -> String {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    format!("{} to {}", Short(low), Short(high))
}

/// A `data` table in one line.
fn inline(data: &Data) -> Result<String, Fault> {
    let table = toml::Value::try_from(data).map_err(|why| Fault::new(format!("the config line: {why}")))?;
    Ok(table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.5, "-0.5"),
            (123456.7, "123457"),
            (1.23456789, "1.23457"),
            (1e-9, "1.00000e-9"),
            (2.5e9, "2.50000e9"),
            (100.0, "100"),
        ] {
            assert_eq!(Short(value).to_string(), text);
        }
    }

    #[test]
    fn the_config_line_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let shape = crate::space::Shape::new([("y", 2), ("x", 3)]);
        io::write_npy(&path, &shape, &[1.0, 2.0, f64::NAN, -4.0, 5.0, 6.5]).unwrap();
        let said = lines(&path).unwrap();
        assert!(said[0].ends_with("a.npy: (y=2, x=3), float64"), "{said:?}");
        assert!(said.iter().any(|line| line == "  values: -4 to 6.5; 1 are not finite (shown as 0)"), "{said:?}");
        let line = said.iter().find_map(|line| line.trim().strip_prefix("data = ")).unwrap();
        let data: toml::Table = toml::from_str(&format!("data = {line}")).unwrap();
        let data: Data = data["data"].clone().try_into().unwrap();
        assert_eq!(data.header(Path::new("")).unwrap().unwrap().shape, shape);
    }
}
