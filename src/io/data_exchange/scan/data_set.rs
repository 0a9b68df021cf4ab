//! Data sets in an HDF5 file, by name; where one is missing, those that are there.

use std::fmt;
use std::path::Path;

use hdf5::{Dataset, File, Group};

use crate::error::Fault;

/// A list of data sets in a fault stops here.
const LISTED: usize = 24;

/// A data set of this name. Where there is none, the fault lists those that there are.
pub(in crate::io) fn data_set(file: &File, name: &str, path: &Path) -> Result<Dataset, Fault> {
    file.dataset(name).map_err(|error| {
        if is_there(file, name) {
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
            _ if !name.starts_with("exchange") => fault.hint("is this an NXtomo file? `entry` names its group"),
            _ => fault.hint(
                "white and dark fields turn counts into line integrals; line integrals themselves are read from npy files",
            ),
        }
    })
}

/// Whether a path leads to something: HDF5 wants to be asked of each group on the way.
pub(in crate::io) fn is_there(file: &File, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().all(|end| file.link_exists(&path[..end]))
}

/// The sizes of a data set of three dims, none of them zero.
pub(super) fn three_dims(data: &Dataset, of: &impl fmt::Display) -> Result<[usize; 3], Fault> {
    let name = name_of(data);
    let sizes =
        data.get_shape().map_err(|error| Fault::new(format!("{of}: cannot read the sizes of `{name}`: {error}")))?;
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

/// The name of a data set as the format's documents write it.
pub(super) fn name_of(data: &Dataset) -> String {
    data.name().trim_start_matches('/').to_owned()
}

/// A line for each data set of a file: name, sizes, type, unit.
pub(super) fn lines(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    list(file, 4, &mut names);
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let line = |name: &String| {
        let Ok(data) = file.dataset(name) else { return format!("{name}: cannot be opened") };
        let kind = data.dtype().and_then(|dtype| dtype.to_descriptor());
        let kind = kind.map_or_else(|_| "of a type of its own".to_owned(), |kind| kind.to_string());
        let unit = super::angles::units(&data).map(|unit| format!(", in {unit}")).unwrap_or_default();
        format!("{name}: {:?} {kind}{unit}", data.shape())
    };
    let mut lines: Vec<String> = names.iter().map(line).collect();
    if more > 0 {
        lines.push(format!("… {more} more"));
    }
    lines
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
