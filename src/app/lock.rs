//! One run at a time writes to a folder of results.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanDuration;

use crate::error::Fault;

/// The name of the file that is locked.
const NAME: &str = ".stackphys.lock";

/// A folder that this process alone writes to, until it is dropped or the process ends, however it ends.
#[must_use]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Locks a folder. Collective: no; one rank does it for all. Faults: another run has it, which is named.
pub fn lock(folder: &Path, ranks: usize, host: &str) -> Result<Lock, Fault> {
    let path = folder.join(NAME);
    let wrong = |error: std::io::Error| {
        let hint = "choose another folder for the results, or set its permissions";
        Fault::new(format!("cannot lock {}: {error}", path.display())).hint(hint)
    };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(wrong)?;
    match file.try_lock() {
        // the one before may just have removed this very file: another would lock the next of that name
        Ok(()) if !is_at(&file, &path) => return lock(folder, ranks, host),
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let text = format!("another run writes to {}: {}", folder.display(), in_words(&holder));
            return Err(Fault::new(text).hint("wait for it, end it, or choose another folder with --out"));
        }
        // a file system without locks: better without than not at all
        Err(TryLockError::Error(error)) => tracing::warn!("{} cannot be locked: {error}", folder.display()),
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let holder = format!("{since} {} {ranks} {host}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(wrong)?;
    Ok(Lock { path, _file: file })
}

/// Whether a file is what stands at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(number).ok() == fs::metadata(path).map(number).ok()
}

/// Who holds a lock, from what it wrote into the file.
fn in_words(holder: &str) -> String {
    let mut words = holder.split_whitespace();
    let mut next = || words.next().unwrap_or("?");
    let (since, process, ranks, host) = (next(), next(), next(), next());
    let begun = since.parse().map(Duration::from_secs).unwrap_or_default();
    let ago = SystemTime::now().duration_since(UNIX_EPOCH + begun).unwrap_or_default();
    let s = if ranks == "1" { "" } else { "s" };
    format!("process {process} on {host}, {ranks} rank{s}, begun {} ago", HumanDuration(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path(), 4, "node7").unwrap();
        let fault = lock(folder.path(), 1, "node8").err().unwrap();
        let expected = format!("process {} on node7, 4 ranks, begun", std::process::id());
        assert!(fault.text.contains(&expected), "{}", fault.text);
        drop(first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let _again = lock(folder.path(), 1, "node8").unwrap();
    }
}
