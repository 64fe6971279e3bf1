//! New files for a folder that exists, made beside it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    StagingError,
    aside::{Aside, sweep},
    disk::{files_below, parent, sync_folder, sync_tree},
    lock::{Held, Lock},
};

/// Files to be put into a folder, and to be taken out of it. What is not written here is
/// not touched, whoever else changes it meanwhile; no other `huggingtweets` does.
#[derive(Debug)]
pub struct Patch {
    aside: Aside,
    new: PathBuf,
    folder: PathBuf,
    removed: BTreeSet<String>,
    _held: Lock,
}

impl Patch {
    /// Takes the folder. What it holds is to be read after this.
    ///
    /// # Errors
    /// [`StagingError::NoFolder`], [`StagingError::Held`], [`StagingError::Io`].
    pub fn begin(folder: &Path) -> Result<Self, StagingError> {
        sweep(folder);
        if !folder.is_dir() {
            return Err(StagingError::NoFolder(folder.into()));
        }
        let held = Lock::of_folder(folder).map_err(|Held| StagingError::Held(folder.into()))?;
        let error = |source| StagingError::Io { out: folder.to_path_buf(), source };
        let folder = folder.canonicalize().map_err(error)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = Aside::create(parent(&folder), &name).map_err(error)?;
        Ok(Self { new: aside.new_path(), aside, folder, removed: BTreeSet::new(), _held: held })
    }

    /// Where to write: an empty folder.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Takes a file out of the folder, once the new ones are there.
    pub fn remove(&mut self, name: &str) {
        self.removed.insert(name.to_owned());
    }

    /// Moves what was written into the folder: the file `first` (what says whose they are)
    /// before the others, and those of `last` after them and in that order (what vouches for
    /// them, or shows them).
    ///
    /// # Errors
    /// [`StagingError::Io`].
    pub fn commit(self, first: Option<&str>, last: &[&str]) -> Result<(), StagingError> {
        let done = sync_tree(&self.new).and_then(|()| self.move_all(first, last));
        drop(self.aside);
        done.map_err(|source| StagingError::Io { out: self.folder, source })
    }

    fn move_all(&self, first: Option<&str>, last: &[&str]) -> io::Result<()> {
        let mut names: Vec<String> = files_below(&self.new)?.into_iter().collect();
        // `None` sorts before any place.
        names.sort_by_key(|name| (first != Some(name), last.iter().position(|last| last == name)));
        let mut changed = BTreeSet::from([self.folder.clone()]);
        for name in names {
            let to = self.folder.join(&name);
            fs::create_dir_all(parent(&to))?;
            fs::rename(self.new.join(&name), &to)?;
            changed.insert(parent(&to).to_path_buf());
        }
        // Nothing goes before what replaces it is on the disk.
        changed.iter().try_for_each(|folder| sync_folder(folder))?;
        for name in &self.removed {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // One that is empty now; the others refuse.
            let mut folder = parent(&path);
            while folder != self.folder && fs::remove_dir(folder).is_ok() {
                folder = parent(folder);
            }
        }
        sync_folder(&self.folder)
    }
}
