//! The form on disk: pieces, then a table of what they are, then a few words that say where the table is.
//!
//! ```text
//! checkpoint-00000030      [ bytes of all pieces ][ table, JSON ][ trailer ]
//! trailer, 32 bytes        where the table begins, its length, its checksum (each 8 bytes, little endian), "STKPHYS1"
//! ```
//!
//! Numbers are stored as the machine holds them; the table says in which order of bytes. Checksums are CRC-32.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::solver::{Numbers, Progress};

/// The version of this form.
pub(super) const VERSION: u32 = 1;
/// What names of checkpoints begin with; the iteration follows.
const NAME: &str = "checkpoint-";
/// What names of files that are being written begin with.
const TEMPORARY: &str = ".stackphys-";
const MAGIC: &[u8; 8] = b"STKPHYS1";
const TRAILER: u64 = 32;
/// No table is longer: a hundred million pieces.
const LONGEST_TABLE: u64 = 1 << 30;

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The version of the form on disk.
    pub version: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// Whether the least significant byte of a number comes first.
    pub little_endian: bool,
    /// What it is a checkpoint of, as the caller of [`Checkpoints::new`](super::Checkpoints::new) said.
    pub about: serde_json::Value,
    /// Where the method stood at the start and after each step.
    pub steps: Vec<Progress>,
    /// The method's numbers, as bits.
    pub bits: Vec<(String, u64)>,
    /// The method's vectors.
    pub vectors: Vec<VectorEntry>,
    /// A checksum for each piece of the vectors.
    pub checksums: Vec<u32>,
}

/// A vector of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorEntry {
    /// The method's name for it.
    pub name: String,
    /// The scalar.
    pub scalar: String,
    /// Bytes of an element.
    pub width: usize,
    /// How many elements each block has.
    pub blocks: Vec<usize>,
}

impl VectorEntry {
    pub(super) fn of(numbers: &Numbers) -> Self {
        let blocks = numbers.space.blocks().iter().map(|block| block.shape.len()).collect();
        VectorEntry { name: numbers.name.into(), scalar: numbers.scalar.into(), width: numbers.width, blocks }
    }
}

impl Table {
    /// Steps done when it was written.
    pub fn iteration(&self) -> usize {
        self.steps.last().map_or(0, |last| last.iteration)
    }
    /// How long all runs together had taken, by rank 0's clock.
    pub fn seconds(&self) -> f64 {
        self.steps.last().map_or(0.0, |last| last.seconds)
    }
    /// Bytes of its vectors.
    pub fn bytes(&self) -> u64 {
        let bytes = |vector: &VectorEntry| (vector.blocks.iter().sum::<usize>() * vector.width) as u64;
        self.vectors.iter().map(bytes).sum()
    }
}

/// A checkpoint on disk whose table can be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    pub table: Table,
}

/// The checkpoints of a folder, newest first, and what is wrong with those whose table cannot be read. A folder that is not
/// there has none. Collective: no.
pub fn find(folder: &Path) -> Result<(Vec<Found>, Vec<Fault>), Fault> {
    let mut found = Vec::new();
    let mut damaged = Vec::new();
    for path in files(folder)? {
        match read_table(&path) {
            Ok(table) => found.push(Found { path, table }),
            Err(fault) => damaged.push(fault),
        }
    }
    Ok((found, damaged))
}

/// Checkpoints by name, newest first.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let names = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::new(format!("cannot list {}: {error}", folder.display()))),
    };
    let number = |name: &str| name.strip_prefix(NAME)?.parse::<usize>().ok();
    let numbered = names.filter_map(|name| Some((number(name.to_str()?)?, folder.join(&name))));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort();
    Ok(numbered.into_iter().rev().map(|(_, path)| path).collect())
}

/// Removes what a killed run left half-written in a folder. Collective: no; only where no other run writes there.
pub fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY))) {
        if entry.file_name().to_string_lossy().ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where the checkpoint of an iteration is written, and where it goes when it is whole.
pub(super) fn names(folder: &Path, iteration: usize) -> (PathBuf, PathBuf) {
    let name = format!("{NAME}{iteration:08}");
    (folder.join(format!("{TEMPORARY}{name}.tmp")), folder.join(name))
}

/// Removes all but the newest checkpoints.
pub(super) fn prune(folder: &Path, keep: usize) {
    for old in files(folder).unwrap_or_default().into_iter().skip(keep) {
        let _ = fs::remove_file(old);
    }
}

/// Puts the table behind the pieces of a file, and the file into its place.
pub(super) fn complete(temporary: &Path, path: &Path, end: u64, table: &Table) -> io::Result<()> {
    let file = File::options().write(true).open(temporary)?;
    let text = serde_json::to_vec(table)?;
    let words = [end, text.len() as u64, u64::from(crc32fast::hash(&text))].map(u64::to_le_bytes).concat();
    let behind = [text.as_slice(), &words, MAGIC].concat();
    file.write_all_at(&behind, end)?;
    file.set_len(end + behind.len() as u64)?; // what a killed run had left under this name may have been longer
    file.sync_all()?;
    fs::rename(temporary, path)?;
    // the new name is on the disk once the folder is
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The table of a checkpoint. Faults: not a checkpoint, or a damaged one; one of another form.
fn read_table(path: &Path) -> Result<Table, Fault> {
    let wrong = |what: &str| Fault::new(format!("{}: {what}", path.display()));
    let cannot = |error: io::Error| wrong(&format!("cannot be read: {error}"));
    let file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut trailer = [0; TRAILER as usize];
    let begin = length.checked_sub(TRAILER).ok_or_else(|| wrong("ends too early"))?;
    file.read_exact_at(&mut trailer, begin).map_err(cannot)?;
    let word = |k: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&trailer[8 * k..8 * (k + 1)]);
        bytes
    };
    if &word(3) != MAGIC {
        return Err(wrong("is not a checkpoint, or its end is damaged"));
    }
    let [start, len, checksum] = [0, 1, 2].map(|k| u64::from_le_bytes(word(k)));
    if start.checked_add(len) != Some(begin) || len > LONGEST_TABLE {
        return Err(wrong("its end is damaged"));
    }
    let mut text = vec![0; len as usize];
    file.read_exact_at(&mut text, start).map_err(cannot)?;
    if u64::from(crc32fast::hash(&text)) != checksum {
        return Err(wrong("its table is damaged: the checksum does not fit"));
    }
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|why| wrong(&why.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        version => {
            let version = version.map_or("of no version".into(), |version| format!("of version {version}"));
            let text = format!("is a checkpoint {version}, this program reads version {VERSION}");
            return Err(wrong(&text).hint("go on with the program that wrote it"));
        }
    }
    let table: Table = serde_json::from_value(value).map_err(|why| wrong(&why.to_string()))?;
    match table.little_endian == cfg!(target_endian = "little") {
        true => Ok(table),
        false => Err(wrong("was written on a machine with another order of bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(iteration: usize) -> Table {
        Table {
            version: VERSION,
            program: "1".into(),
            little_endian: cfg!(target_endian = "little"),
            about: serde_json::json!({ "job": "j" }),
            steps: vec![Progress { iteration, seconds: 0.1 + 0.2, ..Progress::default() }],
            bits: vec![("rho".into(), f64::NEG_INFINITY.to_bits()), ("c".into(), u64::MAX)],
            vectors: vec![VectorEntry { name: "x".into(), scalar: "f32".into(), width: 4, blocks: vec![3, 0] }],
            checksums: vec![1, u32::MAX],
        }
    }

    #[test]
    fn tables_are_read_back_newest_first_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        for iteration in [9, 100, 20] {
            let (temporary, path) = names(folder.path(), iteration);
            fs::write(&temporary, [7; 50]).unwrap(); // longer than the pieces
            complete(&temporary, &path, 12, &table(iteration)).unwrap();
        }
        let (found, damaged) = find(folder.path()).unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!(found.iter().map(|found| found.table.iteration()).collect::<Vec<_>>(), [100, 20, 9]);
        assert_eq!((&found[0].table, found[0].table.bytes()), (&table(100), 12));
        prune(folder.path(), 2);
        assert_eq!(find(folder.path()).unwrap().0.len(), 2);
        assert!(find(&folder.path().join("none")).unwrap().0.is_empty());
    }

    #[test]
    fn every_damaged_byte_behind_the_pieces_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, path) = names(folder.path(), 1);
        fs::write(&temporary, [7; 12]).unwrap();
        complete(&temporary, &path, 12, &table(1)).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 12..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            assert_eq!(find(folder.path()).unwrap().1.len(), 1, "byte {place}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(find(folder.path()).unwrap().1.len(), 1, "length {length}");
        }
    }

    #[test]
    fn only_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, path) = names(folder.path(), 1);
        for path in [&temporary, &path, &folder.path().join("note.tmp")] {
            fs::write(path, "").unwrap();
        }
        remove_leftovers(folder.path());
        assert!(!temporary.exists() && path.exists() && folder.path().join("note.tmp").exists());
    }
}
