//! Hidden folders beside the final place, and what is done about those that a kill left.

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

/// The file in a folder aside whose lock says that its process lives.
const LOCK: &str = "lock";
/// The folder being made.
const NEW: &str = "new";
/// The one that it replaces.
const OLD: &str = "old";

/// `.NAME.partial-…`, for a folder to be made in. The system takes the lock from a
/// process that is killed, so that [`sweep`] can tell what it left.
#[derive(Debug)]
pub struct Aside {
    /// Dropped first: some systems delete no file that is open.
    _lock: File,
    temporary: TempDir,
}

impl Aside {
    pub fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix(&prefix(name)).tempdir_in(parent)?;
        // It gets its name once it is locked: what has the name and no lock is swept.
        let (unnamed, lock_path) = (temporary.path().join("lock.new"), temporary.path().join(LOCK));
        let lock = File::create_new(&unnamed)?;
        // Where there are no locks, nobody can take ours either.
        let _ = lock.try_lock();
        fs::rename(unnamed, lock_path)?;
        // Within, so that it gets the usual permissions and not a temporary folder's.
        fs::create_dir(temporary.path().join(NEW))?;
        Ok(Self { _lock: lock, temporary })
    }

    /// The folder being made.
    pub fn new_path(&self) -> PathBuf {
        self.temporary.path().join(NEW)
    }

    /// Where an older one goes, to be deleted with all this.
    pub fn old_path(&self) -> PathBuf {
        self.temporary.path().join(OLD)
    }

    /// Leaves everything as a kill does.
    #[cfg(test)]
    pub fn killed(self) -> PathBuf {
        self.temporary.keep()
    }
}

fn prefix(name: &str) -> String {
    format!(".{name}.partial-")
}

/// Deletes what killed processes left aside of `out`, after `out` itself is put back
/// where a kill took it away. What cannot be deleted takes room and does no harm.
pub fn sweep(out: &Path) {
    let out = resolved(out);
    let Some(name) = out.file_name() else { return };
    let prefix = prefix(&name.to_string_lossy());
    for entry in fs::read_dir(parent(&out)).into_iter().flatten().flatten() {
        let left = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        // Without a lock file it is somebody else's, or about to get one.
        let Ok(lock) = File::open(left.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() && put_back(&left, &out) {
            drop(lock);
            let _ = fs::remove_dir_all(left);
        }
    }
}

/// Between two renames a folder had no name: the old one was moved aside, the new one,
/// complete and on the disk, was not yet in its place. False where it is still so.
fn put_back(left: &Path, out: &Path) -> bool {
    let old = left.join(OLD);
    if exists(out) || !exists(&old) {
        return true;
    }
    fs::rename(left.join(NEW), out).or_else(|_| fs::rename(old, out)).is_ok()
}
