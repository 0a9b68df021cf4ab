//! Memory that the ranks of one host share: a mapped file that none of them names.
//!
//! The leader makes a file of `/dev/shm` without a name, the others open it through the leader's entry in `/proc`, so
//! nothing is left behind however the job ends. Making it is collective and agreed on (if one rank cannot have it, all do
//! without); dropping it is local.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use memmap2::{MmapOptions, MmapRaw};

use crate::comm::{BufMut, Comm, Reduce};

/// Where shared files are made: a file system in memory.
const FOLDER: &str = "/dev/shm";
/// Parts of a segment begin at multiples of this.
const PAGE: usize = 4096;

/// A mapped file that the ranks of one host share. It has no name.
pub(super) struct Segment {
    map: MmapRaw,
    /// Where each rank's part begins, and where the last one ends.
    starts: Vec<usize>,
    id: u64,
}

impl Segment {
    /// A zeroed segment with `bytes[r]` bytes for rank r of `local`. `None` on all ranks of `all` if any cannot have it.
    pub fn new(all: &dyn Comm, local: &dyn Comm, bytes: &[usize]) -> Option<Segment> {
        let mut starts = vec![0];
        for bytes in bytes {
            starts.push(starts[starts.len() - 1] + bytes.next_multiple_of(PAGE));
        }
        let total = starts[bytes.len()].max(PAGE);
        // the leader's process and descriptor, what must be found there, and the segment's number
        let mut address = [0; 5];
        let mut file = None;
        if local.rank() == 0 {
            file = make(total).map(|(file, found)| {
                address = found;
                file
            });
        }
        local.broadcast(BufMut::U64(&mut address), 0);
        if local.rank() > 0 && address[4] != 0 {
            file = open(&address, total);
        }
        let mine = starts[local.rank()]..starts[local.rank() + 1];
        let map = file.as_ref().and_then(|file| {
            reserve(file, mine).ok()?;
            MmapOptions::new().len(total).map_raw(file).ok()
        });
        let mut good = [u64::from(map.is_some())];
        all.all_reduce(BufMut::U64(&mut good), Reduce::Min);
        drop(file); // not before: the others find it through the leader's descriptor
        map.filter(|_| good[0] == 1).map(|map| Segment { map, starts, id: address[4] })
    }

    /// The same number on all ranks of the host, and no other segment's; not zero.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Where a rank's part begins: at a multiple of [`PAGE`], with room for as many bytes as were asked for.
    pub fn part(&self, rank: usize) -> *mut u8 {
        // SAFETY: the file was made, and mapped, as long as all parts together
        unsafe { self.map.as_mut_ptr().add(self.starts[rank]) }
    }
}

/// A nameless file, and where to find it.
fn make(total: usize) -> Option<(File, [u64; 5])> {
    let file = tempfile::tempfile_in(FOLDER).ok()?;
    file.set_len(total as u64).ok()?;
    let found = file.metadata().ok()?;
    let id = RandomState::new().build_hasher().finish().max(1);
    let address = [u64::from(std::process::id()), file.as_raw_fd() as u64, found.dev(), found.ino(), id];
    Some((file, address))
}

/// The leader's file, if it can be seen from here and is the right one.
fn open(&[process, descriptor, device, inode, _]: &[u64; 5], total: usize) -> Option<File> {
    let path = format!("/proc/{process}/fd/{descriptor}");
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let found = file.metadata().ok()?;
    ((found.dev(), found.ino(), found.len()) == (device, inode, total as u64)).then_some(file)
}

/// Writes zeros, so that a full file system is noticed here and not by a signal later; and so that a rank's part lies in
/// the memory that is near to it.
fn reserve(file: &File, part: Range<usize>) -> std::io::Result<()> {
    let zeros = [0; 16 * PAGE];
    for start in part.clone().step_by(zeros.len()) {
        let len = zeros.len().min(part.end - start);
        file.write_all_at(&zeros[..len], start as u64)?;
    }
    Ok(())
}
