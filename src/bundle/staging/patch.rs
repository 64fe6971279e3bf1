//! Changes files of an existing folder.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    StagingError,
    aside::{Aside, sweep},
    disk::{files_below, is_mount_point, parent, sync_folder, sync_tree},
    lock::{Held, Lock},
};

/// Files to add to a folder and to remove from it. Other files are left alone, even if they
/// change in the meantime. A lock keeps other `huggingtweets` processes out.
#[derive(Debug)]
pub struct Patch {
    aside: Aside,
    new: PathBuf,
    folder: PathBuf,
    removed: BTreeSet<String>,
    _held: Lock,
}

impl Patch {
    /// Locks the folder. Its contents must be read after this call.
    ///
    /// # Errors
    /// [`StagingError::NoFolder`] if it does not exist, [`StagingError::MountPoint`],
    /// [`StagingError::Held`] if another process has locked it, or [`StagingError::Io`].
    pub fn begin(folder: &Path) -> Result<Self, StagingError> {
        sweep(folder);
        if !folder.is_dir() {
            return Err(StagingError::NoFolder(folder.into()));
        }
        // The files are written beside it, on another file system.
        if is_mount_point(folder) {
            return Err(StagingError::MountPoint(folder.into()));
        }
        let held = Lock::of_folder(folder).map_err(|Held| StagingError::Held(folder.into()))?;
        let error = |source| StagingError::Io { out: folder.to_path_buf(), source };
        let folder = folder.canonicalize().map_err(error)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = Aside::create(parent(&folder), &name).map_err(error)?;
        Ok(Self { new: aside.new_path(), aside, folder, removed: BTreeSet::new(), _held: held })
    }

    /// Returns the folder to write to, initially empty.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Marks a file for removal, after the new files are in place.
    pub fn remove(&mut self, name: &str) {
        self.removed.insert(name.to_owned());
    }

    /// Moves the written files into the folder: `first` before the others (such as the list that
    /// identifies them as ours), and those of `last` after them in the given order (such as a
    /// manifest with their digests, or a page that shows them).
    ///
    /// # Errors
    /// [`StagingError::Io`] if a file cannot be synced, moved or removed.
    pub fn commit(self, first: Option<&str>, last: &[&str]) -> Result<(), StagingError> {
        let done = sync_tree(&self.new).and_then(|()| self.move_all(first, last));
        drop(self.aside);
        done.map_err(|source| StagingError::Io { out: self.folder, source })
    }

    fn move_all(&self, first: Option<&str>, last: &[&str]) -> io::Result<()> {
        let mut names: Vec<String> = files_below(&self.new)?.into_iter().collect();
        // `None` sorts before any position.
        names.sort_by_key(|name| (first != Some(name), last.iter().position(|last| last == name)));
        let mut changed = BTreeSet::from([self.folder.clone()]);
        for name in names {
            let to = self.folder.join(&name);
            fs::create_dir_all(parent(&to))?;
            fs::rename(self.new.join(&name), &to)?;
            changed.insert(parent(&to).to_path_buf());
        }
        // Sync before removing, so that no file goes before its replacement is durable.
        changed.iter().try_for_each(|folder| sync_folder(folder))?;
        for name in &self.removed {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Remove parents that are now empty; this fails for the others.
            let mut folder = parent(&path);
            while folder != self.folder && fs::remove_dir(folder).is_ok() {
                folder = parent(folder);
            }
        }
        sync_folder(&self.folder)
    }
}
