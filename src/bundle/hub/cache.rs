//! A repository's folder in the Hub cache, in the layout shared with other Hub clients:
//!
//! ```text
//! hub/models--owner--name/refs/main             the commit
//!                        /blobs/<digest>        file contents, by digest
//!                        /snapshots/<commit>/   links to blobs by file name
//!                        /.no_exist/<commit>/   names of files that the commit lacks
//! hub/.locks/models--owner--name/<digest>.lock  held while a blob is downloaded
//! ```
//!
//! A blob's name is the digest of its content, so every blob can be verified.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{HubError, Progress};
use crate::bundle::{digest, staging};

/// Content digest used by the Hub, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentId {
    /// Of a file stored in git: SHA-1 of git's blob header and the content.
    GitBlob(String),
    /// Of a file stored in Git LFS.
    Sha256(String),
}

impl ContentId {
    /// Parses an `ETag`. Rejects anything but a digest, because it becomes a file name.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let digits = tag.trim().trim_start_matches("W/").trim_matches('"');
        match digits.len() {
            _ if !is_hex(digits) => None,
            40 => Some(Self::GitBlob(digits.to_owned())),
            64 => Some(Self::Sha256(digits.to_owned())),
            _ => None,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::GitBlob(digits) | Self::Sha256(digits) => digits,
        }
    }

    /// Returns whether a file's content matches this digest.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn is_of(&self, file: &Path) -> io::Result<bool> {
        let file = File::open(file)?;
        Ok(match self {
            Self::GitBlob(digits) => {
                let heading = format!("blob {}\0", file.metadata()?.len());
                &digest_of(Sha1::new_with_prefix(heading), file)? == digits
            }
            Self::Sha256(digits) => &digest_of(Sha256::new(), file)? == digits,
        })
    }
}

fn digest_of<D: Digest>(mut hasher: D, content: File) -> io::Result<String> {
    digest::each_piece(content, |piece| {
        hasher.update(piece);
        true
    })?;
    Ok(digest::hex(&hasher.finalize()))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether this is a full commit hash, and therefore safe as a folder name.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Location of a repository's files in the cache.
#[derive(Debug)]
pub struct RepoCache {
    /// `models--owner--name`.
    name: String,
    hub: PathBuf,
}

impl RepoCache {
    /// Creates the location for a valid repository name in the folder of all repositories.
    pub fn new(hub: &Path, repo: &str) -> Self {
        Self { name: format!("models--{}", repo.replace('/', "--")), hub: hub.to_path_buf() }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.hub.join(&self.name).join(name)
    }

    /// Returns the main branch's commit as of the last download.
    pub fn commit(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder("refs").join("main")).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_commit(text))
    }

    /// Records the main branch's commit, atomically.
    ///
    /// # Errors
    /// [`HubError::Io`] if the file cannot be written.
    pub fn set_commit(&self, commit: &str) -> Result<(), HubError> {
        let file = self.folder("refs").join("main");
        make_parent(&file)?;
        // By way of the repository's folder: other Hub clients take any file in `refs` for a branch.
        let repo = self.hub.join(&self.name);
        let written = staging::replace_file_via(&repo, &file, |file| file.write_all(commit.as_bytes()));
        written.map_err(|source| failed(&file, source))
    }

    /// Returns the folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder("snapshots").join(commit)
    }

    /// Returns whether the commit is known to have no file with this name.
    pub fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.folder(".no_exist").join(commit).join(name).exists()
    }

    /// Records that the commit has no file with this name.
    ///
    /// # Errors
    /// [`HubError::Io`] if the file cannot be written.
    pub fn set_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        let file = self.folder(".no_exist").join(commit).join(name);
        make_parent(&file)?;
        File::create(&file).map(drop).map_err(|source| failed(&file, source))
    }

    /// Returns whether a commit's file exists and matches its digest. A file that does not
    /// resolve to a digest-named blob cannot be checked and counts as sound.
    pub fn is_sound(&self, commit: &str, name: &str) -> bool {
        let Ok(file) = fs::canonicalize(self.snapshot(commit).join(name)) else {
            return false;
        };
        let id = file.file_name().and_then(|name| name.to_str()).and_then(ContentId::from_tag);
        id.is_none_or(|id| id.is_of(&file).unwrap_or(false))
    }

    /// Links a commit's file to its blob and returns its path. If the blob is missing or
    /// damaged, `bring` must download it to the given path and verify it. A lock ensures that
    /// only one process downloads it.
    ///
    /// # Errors
    /// [`HubError::Io`], and those of `bring`.
    pub fn file(
        &self,
        commit: &str,
        name: &str,
        id: &ContentId,
        progress: &mut dyn FnMut(Progress<'_>),
        bring: impl FnOnce(&Path, &mut dyn FnMut(Progress<'_>)) -> Result<(), HubError>,
    ) -> Result<PathBuf, HubError> {
        let blob = self.folder("blobs").join(id.as_str());
        let _lock = self.lock(id, || progress(Progress::Waiting { name }))?;
        // A damaged or unreadable blob is replaced.
        if !id.is_of(&blob).unwrap_or(false) {
            let aside = self.folder("blobs").join(format!("{}.incomplete", id.as_str()));
            make_parent(&aside)?;
            bring(&aside, progress)?;
            fs::rename(&aside, &blob).map_err(|source| failed(&blob, source))?;
            staging::sync_folder(&self.folder("blobs")).map_err(|source| failed(&blob, source))?;
        }
        let file = self.snapshot(commit).join(name);
        // Another process may be reading it by this name.
        if file.canonicalize().is_ok_and(|found| blob.canonicalize().is_ok_and(|blob| found == blob)) {
            return Ok(file);
        }
        make_parent(&file)?;
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(&file, source)),
            _ => {}
        }
        match link(&blob, id, &file) {
            // Another process created it first.
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(failed(&file, source)),
            _ => Ok(file),
        }
    }

    fn lock(&self, id: &ContentId, waiting: impl FnOnce()) -> Result<File, HubError> {
        let path = self.hub.join(".locks").join(&self.name).join(format!("{}.lock", id.as_str()));
        make_parent(&path)?;
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(|source| failed(&path, source))?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            waiting();
            // If locking fails, continue without: the digest is checked anyway.
            drop(lock.lock());
        }
        Ok(lock)
    }
}

/// Creates a relative symlink, as other Hub clients do, so that the cache can be moved.
#[cfg(unix)]
fn link(_blob: &Path, id: &ContentId, file: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(id.as_str()), file)
}

/// Symlinks need a privilege on Windows that few users have.
#[cfg(not(unix))]
fn link(blob: &Path, _id: &ContentId, file: &Path) -> io::Result<()> {
    fs::hard_link(blob, file).or_else(|_| fs::copy(blob, file).map(drop))
}

fn make_parent(file: &Path) -> Result<(), HubError> {
    match file.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|source| failed(folder, source)),
        None => Ok(()),
    }
}

/// Wraps an I/O error of the cache.
pub fn failed(file: &Path, source: io::Error) -> HubError {
    HubError::Io { file: file.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_old_commit_or_the_new_one() {
        let home = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(&home.path().join("hub"), "keeper/lamp");
        let [old, new] = ["0", "1"].map(|digit| digit.repeat(40));
        cache.set_commit(&old).unwrap();
        let file = cache.folder("refs").join("main");
        // Refers to the old contents even after the name has been given to another file.
        let earlier = home.path().join("earlier");
        fs::hard_link(&file, &earlier).unwrap();
        cache.set_commit(&new).unwrap();
        assert_eq!(fs::read_to_string(earlier).unwrap(), old, "not overwritten in place");
        assert_eq!(cache.commit(), Some(new));
        let left = fs::read_dir(home.path().join("hub/models--keeper--lamp")).unwrap();
        assert_eq!(left.count(), 1, "no temporary file is left beside refs");
    }
}
