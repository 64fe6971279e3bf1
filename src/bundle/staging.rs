//! Writes a folder beside its destination and renames it into place, so that a reader sees
//! either the old folder or the complete new one, whatever fails in between.
//!
//! [`Staging`] creates or replaces a folder; [`Patch`] changes files of an existing one and
//! leaves its other contents alone; [`replace_file`] does the same for a single file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

mod aside;
mod disk;
mod lock;
mod patch;
mod replace;

pub use aside::sweep;
pub use disk::{exists, files_below, parent, sync_folder};
pub use lock::{Held, Lock};
pub use patch::Patch;
pub use replace::{is_leftover, replace_file, replace_file_via};

use super::{file_names::BOT, folder};
use aside::Aside;
use disk::{exchange, is_mount_point, sync_tree};

/// Why an output folder could not be written.
#[derive(Debug, Error)]
pub enum StagingError {
    #[error("{} exists already: choose another --out, or replace it with --force", out.display())]
    Exists { out: PathBuf },
    #[error("{} is not a name for a folder: choose another --out", out.display())]
    NoName { out: PathBuf },
    #[error("{} is not a folder", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} is not a {what}'s folder (it has no readable {list}), so --force does not replace it: choose another --out",
        out.display()
    )]
    NotOurs { out: PathBuf, what: &'static str, list: &'static str },
    #[error(
        "{} holds `{name}`, which is not part of the {what}, so --force does not replace it: move it away, or choose another --out",
        out.display()
    )]
    Foreign { out: PathBuf, name: String, what: &'static str },
    #[error(
        "{} is where a volume is mounted, and nothing can be moved there in one step: name a folder inside it",
        .0.display()
    )]
    MountPoint(PathBuf),
    #[error("another huggingtweets is changing {}: wait until it has ended, and try again", .0.display())]
    Held(PathBuf),
    #[error("{} could not be written: {source}", out.display())]
    Io { out: PathBuf, source: io::Error },
}

/// A kind of folder that `--force` may replace, if it holds only files of its own.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What the folder belongs to, as error messages name it (`bot`).
    pub what: &'static str,
    /// The file that lists the others, as error messages name it.
    pub list: &'static str,
    /// Returns every path that belongs to the folder, `/`-separated; `None` if its list cannot
    /// be read.
    pub files: fn(&Path) -> Option<BTreeSet<String>>,
}

/// A bot's folder, described by `bot.json`.
pub const BOT_KIND: Kind = Kind { what: "bot", list: BOT, files: bot_files };

fn bot_files(folder: &Path) -> Option<BTreeSet<String>> {
    let manifest = folder::read_manifest(folder).ok()??;
    Some(manifest.files.into_keys().chain([BOT.to_owned()]).collect())
}

/// Resolves a symlink to its target, so that the target is replaced rather than the link.
/// Any other path is returned unchanged.
fn resolved(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        // A dangling link has no canonical path.
        Ok(target) => path.canonicalize().unwrap_or_else(|_| parent(path).join(target)),
        Err(_) => path.to_path_buf(),
    }
}

/// An output folder being written, next to its destination and on the same file system.
/// Dropping it without [`Staging::commit`] deletes it.
#[derive(Debug)]
pub struct Staging {
    aside: Aside,
    inner: PathBuf,
    out: PathBuf,
    force: bool,
    kind: Kind,
    /// Lock on the existing folder, so that no other process changes it before it is replaced.
    held: Option<Lock>,
}

impl Staging {
    /// Starts writing a bot's folder that will become `out`, or the target of `out` if it is a
    /// symlink. Creates missing parents and removes leftovers of killed processes. An existing
    /// non-empty `out` is an error, unless `force` is set and it is a bot's folder.
    ///
    /// # Errors
    /// Those of [`check_target`], [`StagingError::NoName`], [`StagingError::Held`], and
    /// [`StagingError::Io`].
    pub fn create(out: &Path, force: bool) -> Result<Self, StagingError> {
        Self::create_as(out, force, BOT_KIND)
    }

    /// Like [`Staging::create`], for a folder of any kind.
    ///
    /// # Errors
    /// Those of [`Staging::create`].
    pub fn create_as(out: &Path, force: bool, kind: Kind) -> Result<Self, StagingError> {
        let out = resolved(out);
        let Some(name) = out.file_name() else {
            return Err(StagingError::NoName { out });
        };
        sweep(&out);
        let held = hold(&out)?;
        check(&out, force, kind)?;
        let parent = parent(&out);
        let made = fs::create_dir_all(parent).and_then(|()| Aside::create(parent, &name.to_string_lossy()));
        match made {
            Ok(aside) => Ok(Self { inner: aside.new_path(), aside, out, force, kind, held }),
            Err(source) => Err(StagingError::Io { out, source }),
        }
    }

    /// Returns the folder to write to.
    pub fn path(&self) -> &Path {
        &self.inner
    }

    /// Syncs the folder and moves it into place, replacing an existing one with `force`. Once
    /// this returns, the new folder survives a power failure.
    ///
    /// # Errors
    /// Those of [`Staging::create`]; an existing folder is then left in place.
    pub fn commit(mut self) -> Result<(), StagingError> {
        let error = |source| StagingError::Io { out: self.out.clone(), source };
        sync_tree(&self.inner).map_err(error)?;
        // `out` may have been created in the meantime.
        if self.held.is_none() {
            self.held = hold(&self.out)?;
        }
        check(&self.out, self.force, self.kind)?;
        let error = |source| StagingError::Io { out: self.out.clone(), source };
        if !exists(&self.out) {
            fs::rename(&self.inner, &self.out).map_err(error)?;
        } else if exchange(&self.inner, &self.out).is_err() {
            // The old folder moves into the temporary one, which is deleted on drop. If the process
            // is killed between the renames, `sweep` moves one of the two back.
            let old = self.aside.old_path();
            fs::rename(&self.out, &old).map_err(error)?;
            fs::rename(&self.inner, &self.out).map_err(|source| {
                // Same file system: what could be moved here can be moved back.
                let _ = fs::rename(&old, &self.out);
                error(source)
            })?;
        }
        sync_folder(parent(&self.out)).map_err(error)
    }
}

/// Locks a folder. Returns `None` if it does not exist.
fn hold(out: &Path) -> Result<Option<Lock>, StagingError> {
    match out.is_dir() {
        true => Lock::of_folder(out).map(Some).map_err(|Held| StagingError::Held(out.into())),
        false => Ok(None),
    }
}

/// Checks whether a bot's folder may be written to `out`. `--force --out ~` must not delete
/// a home directory, nor `.git` or an archive that lies in a bot's folder: only files listed
/// in `bot.json` are ever replaced.
///
/// # Errors
/// [`StagingError::MountPoint`]; [`StagingError::Exists`] without `force`; with it,
/// [`StagingError::NotOurs`], or [`StagingError::Foreign`] if a bot's folder contains anything else.
pub fn check_target(out: &Path, force: bool) -> Result<(), StagingError> {
    check(out, force, BOT_KIND)
}

/// Like [`check_target`], for a folder of any kind.
///
/// # Errors
/// Those of [`check_target`].
pub fn check(out: &Path, force: bool, kind: Kind) -> Result<(), StagingError> {
    let out = resolved(out);
    // At once, rather than when the folder is complete: that may take hours.
    if is_mount_point(&out) {
        return Err(StagingError::MountPoint(out));
    }
    if !exists(&out) || fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    if !force {
        return Err(StagingError::Exists { out });
    }
    let Kind { what, list, .. } = kind;
    let Some(files) = out.is_dir().then(|| (kind.files)(&out)).flatten() else {
        return Err(StagingError::NotOurs { out, what, list });
    };
    match foreign(&out, "", &files) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(StagingError::Foreign { out, name, what }),
        Err(source) => Err(StagingError::Io { out, source }),
    }
}

/// Returns the first entry that is neither a listed file nor a parent folder of one.
fn foreign(root: &Path, within: &str, files: &BTreeSet<String>) -> io::Result<Option<String>> {
    let mut entries = BTreeSet::new();
    for entry in fs::read_dir(root.join(within))? {
        let entry = entry?;
        // A symlink to a folder does not count as a folder: its target is not ours.
        entries.insert((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()));
    }
    for (name, is_folder) in entries {
        let path = format!("{within}{name}");
        if !is_folder && files.contains(&path) {
            continue;
        }
        let below = format!("{path}/");
        let is_listed = files.range(below.clone()..).next().is_some_and(|file| file.starts_with(&below));
        if !is_folder || !is_listed {
            return Ok(Some(path));
        }
        if let Some(path) = foreign(root, &below, files)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
