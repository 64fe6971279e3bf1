//! Hidden temporary folders beside the destination, and cleanup after killed processes.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    disk::{exists, parent},
    resolved,
};

/// The lock file in a temporary folder, locked while its process lives.
const LOCK: &str = "lock";
/// The new folder.
const NEW: &str = "new";
/// The folder being replaced.
const OLD: &str = "old";

/// A temporary folder `.NAME.partial-…`. If the process is killed, the OS releases its lock,
/// by which [`sweep`] recognises leftovers.
#[derive(Debug)]
pub struct Aside {
    /// Dropped first: some systems cannot delete an open file.
    _lock: File,
    temporary: TempDir,
}

impl Aside {
    pub fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix(&prefix(name)).tempdir_in(parent)?;
        // Renamed once it is locked, because `sweep` deletes folders whose lock file is unlocked.
        let (unnamed, lock_path) = (temporary.path().join("lock.new"), temporary.path().join(LOCK));
        let lock = File::create_new(&unnamed)?;
        // If locks are unsupported, `sweep` cannot take this one either.
        let _ = lock.try_lock();
        fs::rename(unnamed, lock_path)?;
        // A subfolder, for the usual permissions instead of a temporary folder's.
        fs::create_dir(temporary.path().join(NEW))?;
        Ok(Self { _lock: lock, temporary })
    }

    /// Returns the path of the new folder.
    pub fn new_path(&self) -> PathBuf {
        self.temporary.path().join(NEW)
    }

    /// Returns the path to move an existing folder to, to be deleted on drop.
    pub fn old_path(&self) -> PathBuf {
        self.temporary.path().join(OLD)
    }

    /// Leaves everything in place, as a kill would.
    #[cfg(test)]
    pub fn killed(self) -> PathBuf {
        self.temporary.keep()
    }
}

fn prefix(name: &str) -> String {
    format!(".{name}.partial-")
}

/// Deletes what killed processes left beside `out`, first restoring `out` itself if a kill
/// interrupted its replacement. Errors are ignored: leftovers only take up space.
pub fn sweep(out: &Path) {
    let out = resolved(out);
    let Some(name) = out.file_name() else { return };
    let prefix = prefix(&name.to_string_lossy());
    for entry in fs::read_dir(parent(&out)).into_iter().flatten().flatten() {
        let left = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        // Without a lock file it is not ours, or is still being created.
        let Ok(lock) = File::open(left.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() && put_back(&left, &out) {
            drop(lock);
            let _ = fs::remove_dir_all(left);
        }
    }
}

/// Restores `out` after a kill between the two renames of a replacement: the old folder was
/// moved aside, and the new one, complete and synced, was not yet in place. Returns false if
/// that fails.
fn put_back(left: &Path, out: &Path) -> bool {
    let old = left.join(OLD);
    if exists(out) || !exists(&old) {
        return true;
    }
    fs::rename(left.join(NEW), out).or_else(|_| fs::rename(old, out)).is_ok()
}
