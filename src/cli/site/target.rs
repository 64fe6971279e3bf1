//! The destination of a site: a new folder, one that is replaced as a whole, or a checkout of a
//! Space, whose `.git` is kept.
//!
//! A site lists its own files (`huggingtweets-site.json`), so that nothing else is ever deleted.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::{
        file_names::BOT,
        staging::{self, Kind, Patch, Staging, StagingError},
    },
    cli::assets::BOT_FOLDER,
};

/// The page's document.
pub const INDEX: &str = "index.html";
/// The list of a site's files.
pub const LIST: &str = "huggingtweets-site.json";
const GIT: &str = ".git";

const SITE: Kind = Kind { what: "site", list: LIST, files: site_files };

/// Files of a newly created Space: its card, the patterns for Git LFS, and a page to start from.
const NEW_SPACE: [&str; 4] = ["README.md", ".gitattributes", INDEX, "style.css"];

/// The contents of `huggingtweets-site.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// `/`-separated relative paths.
    files: BTreeSet<String>,
}

/// A site being written.
#[derive(Debug)]
pub struct Target {
    out: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The folder is swapped with the old one.
    Whole(Box<Staging>),
    /// The folder has a `.git` that must stay in place, so files are replaced one by one.
    Within { patch: Patch, old: BTreeSet<String> },
}

impl Target {
    /// Opens a destination for writing.
    ///
    /// # Errors
    /// If the folder exists and is not empty, unless `force` is set and it contains only a site's
    /// own files. A checkout may contain others: see [`Target::commit`].
    pub fn open(out: &Path, force: bool) -> anyhow::Result<Self> {
        let way = match staging::exists(&out.join(GIT)) {
            true => {
                let patch = Patch::begin(out)?;
                Way::Within { patch, old: old_files(out, force)? }
            }
            false => Way::Whole(Box::new(Staging::create_as(out, force, SITE)?)),
        };
        Ok(Self { out: out.into(), way })
    }

    /// Returns the final folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Returns the folder to write to, initially empty.
    pub fn path(&self) -> &Path {
        match &self.way {
            Way::Whole(staging) => staging.path(),
            Way::Within { patch, .. } => patch.path(),
        }
    }

    /// Lists the files written and moves them into place.
    ///
    /// # Errors
    /// If one cannot be, or would replace a file of a checkout that is neither the old site's nor
    /// that of a newly created Space.
    pub fn commit(mut self) -> anyhow::Result<()> {
        let path = self.path();
        let files = staging::files_below(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut list = List { files };
        if let Way::Within { patch, old } = &mut self.way {
            if let Some(name) = list.files.iter().find_map(|file| in_the_way(&self.out, file, old)) {
                return Err(StagingError::Foreign { out: self.out, name, what: SITE.what }.into());
            }
            for name in old.iter().filter(|name| self.out.join(name).is_file()) {
                // Stays listed until the next commit, in case of a kill before it is removed.
                if list.files.insert(name.clone()) {
                    patch.remove(name);
                }
            }
        }
        let mut json = serde_json::to_vec_pretty(&list)?;
        json.push(b'\n');
        fs::write(self.path().join(LIST), json).with_context(|| format!("cannot write {LIST}"))?;
        match self.way {
            Way::Whole(staging) => staging.commit()?,
            Way::Within { patch, .. } => {
                patch.commit(Some(LIST), &[&format!("{BOT_FOLDER}/{BOT}"), INDEX])?
            }
        }
        Ok(())
    }
}

fn site_files(folder: &Path) -> Option<BTreeSet<String>> {
    let mut files = read_list(folder)?.files;
    files.insert(LIST.to_owned());
    Some(files)
}

/// The files of the site in a checkout; empty if there is none yet.
fn old_files(out: &Path, force: bool) -> Result<BTreeSet<String>, StagingError> {
    if !force {
        return Err(StagingError::Exists { out: out.into() });
    }
    if !staging::exists(&out.join(LIST)) {
        return Ok(BTreeSet::new());
    }
    let list = read_list(out);
    let not_ours = || StagingError::NotOurs { out: out.into(), what: SITE.what, list: SITE.list };
    list.map(|list| list.files).ok_or_else(not_ours)
}

/// What keeps a new file of a checkout from its place: a file that is not the old site's, or a
/// parent that is no folder.
fn in_the_way(out: &Path, file: &str, old: &BTreeSet<String>) -> Option<String> {
    let parents = file.match_indices('/').map(|(end, _)| (&file[..end], true));
    parents.chain([(file, false)]).find_map(|(path, is_parent)| {
        let found = fs::symlink_metadata(out.join(path)).ok()?;
        let is_free = match is_parent {
            true => found.is_dir(),
            false => !found.is_dir() && (old.contains(path) || NEW_SPACE.contains(&path)),
        };
        (!is_free).then(|| path.to_owned())
    })
}

/// Reads a site's list. Returns `None` if it is missing or names files outside of the folder.
fn read_list(folder: &Path) -> Option<List> {
    let list: List = serde_json::from_slice(&fs::read(folder.join(LIST)).ok()?).ok()?;
    let is_within = |name: &String| name.split(['/', '\\']).all(|part| !["", ".", "..", GIT].contains(&part));
    list.files.iter().all(is_within).then_some(list)
}
