//! One repository's folder in the Hub's cache, as its other programs lay it out:
//!
//! ```text
//! hub/models--owner--name/refs/main             the commit
//!                        /blobs/<digest>        the files, each under its digest
//!                        /snapshots/<commit>/   links to them under their names
//!                        /.no_exist/<commit>/   names that the commit does not have
//! hub/.locks/models--owner--name/<digest>.lock  whoever brings that file
//! ```
//!
//! A file's name in `blobs` is the digest of its content, so that nothing there needs
//! to be trusted.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{HubError, Progress};
use crate::bundle::{digest, staging::sync_folder};

/// Bytes of a file that are read at once.
pub const PIECE_BYTES: usize = 256 << 10;

/// What the Hub calls a content, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentId {
    /// Of a file that git has itself: SHA-1 over git's heading and the content.
    GitBlob(String),
    /// Of a file in Git LFS.
    Sha256(String),
}

impl ContentId {
    /// From an entity tag. Anything but a digest is none: it becomes a file's name.
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

    /// Whether a file's content is this one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn is_of(&self, file: &Path) -> io::Result<bool> {
        let mut file = File::open(file)?;
        Ok(match self {
            Self::GitBlob(digits) => {
                let heading = format!("blob {}\0", file.metadata()?.len());
                &digest_of(Sha1::new_with_prefix(heading), &mut file)? == digits
            }
            Self::Sha256(digits) => &digest_of(Sha256::new(), &mut file)? == digits,
        })
    }
}

fn digest_of<D: Digest>(mut hasher: D, content: &mut impl Read) -> io::Result<String> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(digest::hex(&hasher.finalize())),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this can be a commit's name, and a folder's.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Where a repository's files are kept.
#[derive(Debug)]
pub struct RepoCache {
    /// `models--owner--name`.
    name: String,
    hub: PathBuf,
}

impl RepoCache {
    /// Of a repository, whose name must be one, in `HF_HOME`.
    pub fn new(home: &Path, repo: &str) -> Self {
        Self { name: format!("models--{}", repo.replace('/', "--")), hub: home.join("hub") }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.hub.join(&self.name).join(name)
    }

    /// The commit that the main branch was at when it was last asked for.
    pub fn commit(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder("refs").join("main")).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_commit(text))
    }

    /// # Errors
    /// [`HubError::Io`].
    pub fn set_commit(&self, commit: &str) -> Result<(), HubError> {
        write(&self.folder("refs").join("main"), commit.as_bytes())
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder("snapshots").join(commit)
    }

    /// Whether it is known that the commit has no file of that name.
    pub fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.folder(".no_exist").join(commit).join(name).exists()
    }

    /// # Errors
    /// [`HubError::Io`].
    pub fn set_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        write(&self.folder(".no_exist").join(commit).join(name), b"")
    }

    /// Whether a commit's file is there and is what its digest says. Of a file that is no
    /// link to one with a digest for a name, nothing more is known.
    pub fn is_sound(&self, commit: &str, name: &str) -> bool {
        let Ok(file) = fs::canonicalize(self.snapshot(commit).join(name)) else {
            return false;
        };
        let id = file.file_name().and_then(|name| name.to_str()).and_then(ContentId::from_tag);
        id.is_none_or(|id| id.is_of(&file).unwrap_or(false))
    }

    /// A commit's file, of this content. Where the content is not there, `bring` writes it
    /// aside, and must have compared it with its digest; of several processes one does.
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
        // One that is damaged is replaced; one that cannot be read, too.
        if !id.is_of(&blob).unwrap_or(false) {
            let aside = self.folder("blobs").join(format!("{}.incomplete", id.as_str()));
            make_parent(&aside)?;
            bring(&aside, progress)?;
            fs::rename(&aside, &blob).map_err(|source| failed(&blob, source))?;
            sync_folder(&self.folder("blobs")).map_err(|source| failed(&blob, source))?;
        }
        let file = self.snapshot(commit).join(name);
        make_parent(&file)?;
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(&file, source)),
            _ => {}
        }
        match link(&blob, id, &file) {
            // Another process was quicker.
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
            // Where it cannot be had, the digest still tells.
            drop(lock.lock());
        }
        Ok(lock)
    }
}

/// As the Hub's other programs link, so that the whole cache can be moved.
#[cfg(unix)]
fn link(_blob: &Path, id: &ContentId, file: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(id.as_str()), file)
}

/// Links to names need a permission here that few have.
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

fn write(file: &Path, bytes: &[u8]) -> Result<(), HubError> {
    make_parent(file)?;
    fs::write(file, bytes).map_err(|source| failed(file, source))
}

/// What this machine says about its cache.
pub fn failed(file: &Path, source: io::Error) -> HubError {
    HubError::Io { file: file.to_path_buf(), source }
}
