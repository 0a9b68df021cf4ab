//! Files appear whole or not at all: written beside their final place, synced, renamed.
//!
//! A job that is killed while it writes leaves the result of the last run as it was, and a reader that waits for a file
//! never sees half of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempPath};

use crate::error::Fault;

/// Writes a file by `fill`, which sees a temporary file in the same folder; afterwards that takes the place of `path`.
///
/// Collective: no. Cost: one write, one sync. Faults: a folder that is missing or cannot be written, a full disk, a
/// `path` that is something other than a file. After a fault the file at `path` is as it was before.
///
/// ```
/// use std::io::Write;
/// use stackphys::io::atomic;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("note.txt");
/// atomic::write(&path, |file| writeln!(file, "done")).unwrap();
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "done\n");
/// assert!(atomic::write(&folder.path().join("no/such/folder.txt"), |_| Ok(())).is_err());
/// ```
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Fault> {
    let mut pending = Pending::begin(path)?;
    pending.fill(fill)?;
    pending.finish()
}

/// A file that is being written and has not taken its place yet. Dropped, it leaves nothing behind.
pub struct Pending {
    path: PathBuf,
    writer: BufWriter<File>,
    temporary: TempPath,
    _listed: Listed,
}

/// The temporary files of this process.
static LIST: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary file that is on the list.
struct Listed(PathBuf);

impl Listed {
    fn new(path: &Path) -> Self {
        LIST.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Listed(path.to_owned())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        LIST.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

/// Removes all temporary files, for a process that ends while it writes. Collective: no. Waits for nobody.
pub fn abandon() {
    if let Ok(list) = LIST.try_lock() {
        list.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

impl Pending {
    /// Begins a file. Collective: no. Faults: as of [`write()`].
    pub fn begin(path: &Path) -> Result<Self, Fault> {
        check_replaceable(path)?;
        let temporary = temporary_in(&folder_of(path)).map_err(|error| cannot_write(path, &error))?;
        let (file, temporary) = temporary.into_parts();
        let _listed = Listed::new(&temporary);
        Ok(Pending { path: path.to_owned(), writer: BufWriter::with_capacity(1 << 18, file), temporary, _listed })
    }

    /// Writes more of it. Collective: no. Faults: a full disk.
    pub fn fill(&mut self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Fault> {
        fill(&mut self.writer).map_err(|error| cannot_write(&self.path, &error))
    }

    /// Puts it into its place. Collective: no. Faults: a full disk.
    pub fn finish(self) -> Result<(), Fault> {
        let Pending { path, writer, temporary, _listed } = self;
        let wrong = |error: io::Error| cannot_write(&path, &error);
        let file = writer.into_inner().map_err(|error| wrong(error.into_error()))?;
        file.sync_all().map_err(wrong)?;
        temporary.persist(&path).map_err(|error| wrong(error.error))?;
        // The new name is on the disk once the folder is; where folders cannot be synced, the file system decides.
        let _ = File::open(folder_of(&path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Makes sure that at `path` is a file or nothing: a rename would put a file in the place of a device such as /dev/null.
///
/// Collective: no. Cost: one look at the file system. Faults: something else is there.
pub fn check_replaceable(path: &Path) -> Result<(), Fault> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Fault::new(format!("cannot write {}: it exists and is not a file", path.display()))
            .hint("choose another folder for the results, or remove what is there"));
    }
    Ok(())
}

/// Makes sure that files can be written to a folder: creates it where it is missing, writes a probe and removes it.
///
/// A job asks before its first iteration, so that a missing permission costs seconds, not hours. Collective: no. Cost:
/// one small file. Faults: the folder cannot be created or written, or is a file.
pub fn check_writable(folder: &Path) -> Result<(), Fault> {
    let wrong = |error: io::Error| {
        Fault::new(format!("cannot write to the folder {}: {error}", folder.display()))
            .hint("choose another folder for the results, or set its permissions")
    };
    fs::create_dir_all(folder).map_err(wrong)?;
    let mut probe = temporary_in(folder).map_err(wrong)?;
    probe.write_all(b"probe").and_then(|()| probe.as_file().sync_all()).map_err(wrong)?;
    probe.close().map_err(wrong)
}

fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".stackphys-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; a result is as readable as the user's umask allows.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Fault {
    let fault = Fault::new(format!("cannot write {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::NotFound => fault.hint(format!("create the folder {} first", folder_of(path).display())),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            fault.hint("choose another folder for the results, or set its permissions")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => fault.hint("make room on the disk"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let fault = write(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("the pen broke"))
        })
        .unwrap_err();
        assert!(fault.text.contains("a.txt") && fault.text.contains("the pen broke"), "{}", fault.text);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.txt"]);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let fault = write(&folder.path().join("missing/a.txt"), |_| Ok(())).unwrap_err();
        assert!(fault.text.contains("missing/a.txt"), "{}", fault.text);
        assert!(fault.hint.unwrap().contains("create the folder"));
    }

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            let fault = write(path, |_| Ok(())).unwrap_err();
            assert!(fault.text.contains("not a file"), "{}", fault.text);
        }
    }

    #[test]
    fn a_probe_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("out/run1");
        check_writable(&inner).unwrap();
        assert!(names(&inner).is_empty());
        fs::write(folder.path().join("file"), "").unwrap();
        let fault = check_writable(&folder.path().join("file")).unwrap_err();
        assert!(fault.text.contains("file"), "{}", fault.text);
    }

    #[cfg(unix)]
    #[test]
    fn a_result_is_readable_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, |_| Ok(())).unwrap();
        fs::write(folder.path().join("plain.txt"), "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&folder.path().join("plain.txt")));
    }
}
