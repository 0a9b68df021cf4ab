//! Writing beside the iteration: a thread for this rank's share, then one on rank 0 for the table.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::file::{self, Table};
use super::snapshot::Part;

/// The checksum of each piece by its number, and the room of the copy.
type Written = (io::Result<Vec<(usize, u32)>>, Vec<u8>);

/// The share of this rank while it is being written.
pub(super) struct Share {
    thread: JoinHandle<Written>,
}

impl Share {
    /// Begins to write pieces into a file, which any rank may be the first to make.
    pub fn begin(file: PathBuf, parts: Vec<Part>, copy: Vec<u8>) -> io::Result<Self> {
        let write = move || (write(&file, &parts, &copy), copy);
        Ok(Share { thread: thread::Builder::new().name("checkpoint".into()).spawn(write)? })
    }
    /// Whether it is on the disk, or has failed.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }
    /// Waits for it.
    pub fn end(self) -> Written {
        self.thread.join().unwrap_or_else(|_| (Err(panicked()), Vec::new()))
    }
}

fn write(file: &Path, parts: &[Part], copy: &[u8]) -> io::Result<Vec<(usize, u32)>> {
    let file = File::options().write(true).create(true).truncate(false).open(file)?;
    let mut checksums = Vec::with_capacity(parts.len());
    for Part { number, offset, bytes } in parts {
        let bytes = &copy[bytes.clone()];
        file.write_all_at(bytes, *offset)?;
        checksums.push((*number, crc32fast::hash(bytes)));
    }
    file.sync_data()?;
    Ok(checksums)
}

/// The table while it is being written, and what was long ago removed. On rank 0.
pub(super) struct Completion(JoinHandle<io::Result<()>>);

impl Completion {
    /// Begins to complete the checkpoint of an iteration; then all but the newest `keep` are removed.
    pub fn begin(folder: PathBuf, iteration: usize, end: u64, table: Table, keep: usize) -> io::Result<Self> {
        let complete = move || {
            let (temporary, path) = file::names(&folder, iteration);
            file::complete(&temporary, &path, end, &table)?;
            file::prune(&folder, keep);
            Ok(())
        };
        thread::Builder::new().name("checkpoint".into()).spawn(complete).map(Completion)
    }
    /// Waits for it.
    pub fn end(self) -> io::Result<()> {
        self.0.join().unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> io::Error {
    io::Error::other("the thread that writes has panicked")
}
