//! A folder written aside and renamed into place: whoever looks sees the old
//! folder, the whole new one or none, whatever goes wrong in between.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use thiserror::Error;

/// Why an output folder cannot be made.
#[derive(Debug, Error)]
pub enum StagingError {
    #[error("{} exists already: choose another --out, or replace it with --force", out.display())]
    Exists { out: PathBuf },
    #[error("{} is no name for a folder to write: choose another --out", out.display())]
    NoName { out: PathBuf },
    #[error("{} could not be written: {source}", out.display())]
    Io { out: PathBuf, source: io::Error },
}

/// An output folder under way, beside its final place and on the same disk.
/// Dropped without [`Staging::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    /// Hidden sibling of `out`; holds the folder that will be `out`, so that
    /// this one gets the usual permissions and not a temporary folder's.
    temporary: TempDir,
    inner: PathBuf,
    out: PathBuf,
    force: bool,
}

impl Staging {
    /// Begins a folder that will be `out`. Its parents are made as needed; an
    /// existing `out` is an error unless `force` is set.
    pub fn create(out: &Path, force: bool) -> Result<Self, StagingError> {
        let out = out.to_path_buf();
        let Some(name) = out.file_name() else {
            return Err(StagingError::NoName { out });
        };
        if !force && exists(&out) {
            return Err(StagingError::Exists { out });
        }
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let make = || {
            fs::create_dir_all(&parent)?;
            let temporary = tempfile::Builder::new()
                .prefix(&prefix)
                .tempdir_in(&parent)?;
            let inner = temporary.path().join("new");
            fs::create_dir(&inner)?;
            io::Result::Ok((temporary, inner))
        };
        match make() {
            Ok((temporary, inner)) => Ok(Self {
                temporary,
                inner,
                out,
                force,
            }),
            Err(source) => Err(StagingError::Io { out, source }),
        }
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.inner
    }

    /// Puts the folder in its place; with `force` an older one goes.
    pub fn commit(self) -> Result<(), StagingError> {
        let error = |source| StagingError::Io {
            out: self.out.clone(),
            source,
        };
        if !exists(&self.out) {
            return fs::rename(&self.inner, &self.out).map_err(error);
        }
        if !self.force {
            return Err(StagingError::Exists {
                out: self.out.clone(),
            });
        }
        // The old one is deleted with the temporary folder it moves into.
        let old = self.temporary.path().join("old");
        fs::rename(&self.out, &old).map_err(error)?;
        fs::rename(&self.inner, &self.out).map_err(|source| {
            // Both are on one disk: what could be moved here can be moved back.
            let _ = fs::rename(&old, &self.out);
            error(source)
        })
    }
}

/// Also true of a link that leads nowhere.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn committed_it_is_in_place_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("deep/bot");
        let staging = Staging::create(&out, false).unwrap();
        fs::write(staging.path().join("a"), "1").unwrap();
        assert!(!out.exists());
        staging.commit().unwrap();
        assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "1");
        assert_eq!(entries(&dir.path().join("deep")), ["bot"]);
    }

    #[test]
    fn dropped_it_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(&dir.path().join("bot"), false).unwrap();
        fs::write(staging.path().join("a"), "1").unwrap();
        drop(staging);
        assert!(entries(dir.path()).is_empty());
    }

    #[test]
    fn an_existing_folder_is_kept_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bot");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("old"), "").unwrap();
        let error = Staging::create(&out, false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");

        let staging = Staging::create(&out, true).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        assert_eq!(entries(&out), ["old"]);
        staging.commit().unwrap();
        assert_eq!(entries(&out), ["new"]);
        assert_eq!(entries(dir.path()), ["bot"]);
    }

    #[test]
    fn a_path_without_a_name_is_an_error() {
        assert!(matches!(
            Staging::create(Path::new(".."), true),
            Err(StagingError::NoName { .. })
        ));
    }
}
