//! A folder written aside and renamed into place: whoever looks sees the old
//! folder or the whole new one, whatever goes wrong in between.
//!
//! [`Staging`] makes a new folder; [`Patch`] changes files of one that exists,
//! and leaves alone what else lies in it.

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

pub use aside::sweep;
pub use disk::{exists, files_below, parent, sync_folder};
pub use lock::{Held, Lock};
pub use patch::Patch;

use super::folder::{self, BOT};
use aside::Aside;
use disk::{exchange, sync_tree};

/// Why an output folder cannot be made.
#[derive(Debug, Error)]
pub enum StagingError {
    #[error("{} exists already: choose another --out, or replace it with --force", out.display())]
    Exists { out: PathBuf },
    #[error("{} is no name for a folder to write: choose another --out", out.display())]
    NoName { out: PathBuf },
    #[error("{} is no folder", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} is no {what}'s folder (it has no {list} that can be read), so --force does not replace it: choose another --out",
        out.display()
    )]
    NotOurs { out: PathBuf, what: &'static str, list: &'static str },
    #[error(
        "{} holds `{name}`, which is no part of the {what}, so --force does not replace it: move that away, or choose another --out",
        out.display()
    )]
    Foreign { out: PathBuf, name: String, what: &'static str },
    #[error("another huggingtweets is changing {}: wait for its end, and try again", .0.display())]
    Held(PathBuf),
    #[error("{} could not be written: {source}", out.display())]
    Io { out: PathBuf, source: io::Error },
}

/// What `--force` may replace: a folder that holds nothing but what its own list names.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// `bot`, for example.
    pub what: &'static str,
    /// The file that lists the others.
    pub list: &'static str,
    /// Everything that belongs to a folder, `/` between its parts; `None` where its list
    /// cannot be read.
    pub files: fn(&Path) -> Option<BTreeSet<String>>,
    /// What is somebody else's and may stay: only for folders that are changed file by
    /// file ([`Patch`]).
    pub keeps: &'static [&'static str],
}

/// A bot's folder, listed by `bot.json`.
pub const BOT_KIND: Kind = Kind { what: "bot", list: BOT, files: bot_files, keeps: &[] };

fn bot_files(folder: &Path) -> Option<BTreeSet<String>> {
    let manifest = folder::read_manifest(folder).ok()??;
    Some(manifest.files.into_keys().chain([BOT.to_owned()]).collect())
}

/// Where a link leads, so that its target is replaced and not the link; any other path
/// as it is.
fn resolved(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        // One that leads nowhere yet has no canonical path.
        Ok(target) => path.canonicalize().unwrap_or_else(|_| parent(path).join(target)),
        Err(_) => path.to_path_buf(),
    }
}

/// An output folder under way, beside its final place and on the same disk.
/// Dropped without [`Staging::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    aside: Aside,
    inner: PathBuf,
    out: PathBuf,
    force: bool,
    kind: Kind,
    /// The older folder, so that nobody changes what is about to go.
    held: Option<Lock>,
}

impl Staging {
    /// Begins a bot's folder that will be `out`, or what that is a link to. Its parents are
    /// made as needed, and what killed processes left of it goes; an existing `out` is an
    /// error unless it is empty, or `force` is set and it is a bot's folder.
    ///
    /// # Errors
    /// Those of [`check_target`], [`StagingError::NoName`], [`StagingError::Held`], and what
    /// the disk refuses.
    pub fn create(out: &Path, force: bool) -> Result<Self, StagingError> {
        Self::create_as(out, force, BOT_KIND)
    }

    /// The same for a folder of any kind.
    ///
    /// # Errors
    /// As [`Staging::create`].
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

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.inner
    }

    /// Brings the folder to the disk and puts it in its place; with `force` an older
    /// one goes. Once this returns, even a power cut leaves the new one.
    ///
    /// # Errors
    /// As [`Staging::create`]; an older folder is then where it was.
    pub fn commit(mut self) -> Result<(), StagingError> {
        let error = |source| StagingError::Io { out: self.out.clone(), source };
        sync_tree(&self.inner).map_err(error)?;
        // Somebody may have made it meanwhile.
        if self.held.is_none() {
            self.held = hold(&self.out)?;
        }
        check(&self.out, self.force, self.kind)?;
        let error = |source| StagingError::Io { out: self.out.clone(), source };
        if !exists(&self.out) {
            fs::rename(&self.inner, &self.out).map_err(error)?;
        } else if exchange(&self.inner, &self.out).is_err() {
            // The old one is deleted with the folder aside that it moves into; `sweep` puts one
            // of them back where a kill comes in between.
            let old = self.aside.old_path();
            fs::rename(&self.out, &old).map_err(error)?;
            fs::rename(&self.inner, &self.out).map_err(|source| {
                // Both are on one disk: what could be moved here can be moved back.
                let _ = fs::rename(&old, &self.out);
                error(source)
            })?;
        }
        sync_folder(parent(&self.out)).map_err(error)
    }
}

/// A folder's lock; `None` where there is no folder.
fn hold(out: &Path) -> Result<Option<Lock>, StagingError> {
    match out.is_dir() {
        true => Lock::of_folder(out).map(Some).map_err(|Held| StagingError::Held(out.into())),
        false => Ok(None),
    }
}

/// Whether a bot's folder may be put at `out`. `--force --out ~` must not delete a
/// home, nor a checkout its history, nor an archive that lies in a bot's folder: what is
/// replaced is files that `bot.json` lists, and nothing else.
///
/// # Errors
/// [`StagingError::Exists`] without `force`; with it [`StagingError::NotOurs`], and
/// [`StagingError::Foreign`] where a bot's folder holds something else, too.
pub fn check_target(out: &Path, force: bool) -> Result<(), StagingError> {
    check(out, force, BOT_KIND)
}

/// The same for a folder of any kind.
///
/// # Errors
/// As [`check_target`].
pub fn check(out: &Path, force: bool, kind: Kind) -> Result<(), StagingError> {
    let out = resolved(out);
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
    match foreign(&out, "", &files, kind.keeps) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(StagingError::Foreign { out, name, what }),
        Err(source) => Err(StagingError::Io { out, source }),
    }
}

/// The first entry of a folder that is neither listed nor on the way to a listed file.
fn foreign(
    root: &Path,
    within: &str,
    files: &BTreeSet<String>,
    keeps: &[&str],
) -> io::Result<Option<String>> {
    let mut entries = BTreeSet::new();
    for entry in fs::read_dir(root.join(within))? {
        let entry = entry?;
        // A link to a folder is none: its target is somebody else's.
        entries.insert((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()));
    }
    for (name, is_folder) in entries {
        let path = format!("{within}{name}");
        if keeps.contains(&path.as_str()) || !is_folder && files.contains(&path) {
            continue;
        }
        let below = format!("{path}/");
        let is_listed = files.range(below.clone()..).next().is_some_and(|file| file.starts_with(&below));
        if !is_folder || !is_listed {
            return Ok(Some(path));
        }
        if let Some(path) = foreign(root, &below, files, keeps)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
