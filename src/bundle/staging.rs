//! A folder written aside and renamed into place: whoever looks sees the old
//! folder, the whole new one or none, whatever goes wrong in between.
//!
//! [`Staging`] makes a new folder; [`Patch`] changes files of one that exists,
//! and leaves alone what else lies in it.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use thiserror::Error;

use super::Manifest;

/// Why an output folder cannot be made.
#[derive(Debug, Error)]
pub enum StagingError {
    #[error("{} exists already: choose another --out, or replace it with --force", out.display())]
    Exists { out: PathBuf },
    #[error("{} is no name for a folder to write: choose another --out", out.display())]
    NoName { out: PathBuf },
    #[error(
        "{} is no bot's folder (it has no bot.json that can be read), so --force does not replace it: choose another --out",
        out.display()
    )]
    NotABot { out: PathBuf },
    #[error(
        "{} holds `{name}`, which is no part of the bot, so --force does not replace it: move that away, or choose another --out",
        out.display()
    )]
    Foreign { out: PathBuf, name: String },
    #[error("{} could not be written: {source}", out.display())]
    Io { out: PathBuf, source: io::Error },
}

/// What lists a bot's files.
const BOT: &str = "bot.json";
/// The file in a folder aside whose lock says that its process lives.
const LOCK: &str = "lock";

/// A hidden folder beside the final place, `.NAME.partial-…`, for a folder to be made
/// in. The system takes the lock from a process that is killed, so that [`sweep`] can
/// tell what it left.
#[derive(Debug)]
struct Aside {
    /// Dropped first: some systems delete no file that is open.
    _lock: File,
    temporary: TempDir,
}

impl Aside {
    fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix(&prefix(name)).tempdir_in(parent)?;
        let lock = File::create_new(temporary.path().join(LOCK))?;
        // Where there are no locks, nobody can take ours either.
        let _ = lock.try_lock();
        // Within, so that it gets the usual permissions and not a temporary folder's.
        fs::create_dir(temporary.path().join("new"))?;
        Ok(Self { _lock: lock, temporary })
    }

    /// The folder being made.
    fn new_path(&self) -> PathBuf {
        self.temporary.path().join("new")
    }

    /// Where an older one goes, to be deleted with all this.
    fn old_path(&self) -> PathBuf {
        self.temporary.path().join("old")
    }
}

fn prefix(name: &str) -> String {
    format!(".{name}.partial-")
}

/// Deletes what killed processes left aside of `out`. What cannot be deleted takes
/// room and does no harm.
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
        if lock.try_lock().is_ok() {
            drop(lock);
            let _ = fs::remove_dir_all(left);
        }
    }
}

/// The folder that a path lies in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
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
}

impl Staging {
    /// Begins a folder that will be `out`, or what that is a link to. Its parents are made as needed, and what
    /// killed processes left of it goes; an existing `out` is an error unless `force`
    /// is set and it is a bot's folder, or empty.
    ///
    /// # Errors
    /// Those of [`check_target`], [`StagingError::NoName`], and what the disk refuses.
    pub fn create(out: &Path, force: bool) -> Result<Self, StagingError> {
        let out = resolved(out);
        let Some(name) = out.file_name() else {
            return Err(StagingError::NoName { out });
        };
        check_target(&out, force)?;
        sweep(&out);
        let parent = parent(&out);
        let made = fs::create_dir_all(parent).and_then(|()| Aside::create(parent, &name.to_string_lossy()));
        match made {
            Ok(aside) => Ok(Self { inner: aside.new_path(), aside, out, force }),
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
    pub fn commit(self) -> Result<(), StagingError> {
        let error = |source| StagingError::Io { out: self.out.clone(), source };
        sync_files(&self.inner).map_err(error)?;
        // Somebody may have made it meanwhile.
        check_target(&self.out, self.force)?;
        if !exists(&self.out) {
            fs::rename(&self.inner, &self.out).map_err(error)?;
        } else {
            // The old one is deleted with the temporary folder it moves into.
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

/// New files for a folder that exists. They are made in a copy of it, beside
/// it; large files are shared with the original, so they must be replaced
/// ([`Patch::replace`]) and never written in place.
#[derive(Debug)]
pub struct Patch {
    /// Held for its folder, which is `copy`'s.
    _aside: Aside,
    copy: PathBuf,
    folder: PathBuf,
    /// Files that are the original's own.
    shared: BTreeSet<OsString>,
}

/// Files of this size and more are shared, not copied.
const SHARED_BYTES: u64 = 1 << 20;

impl Patch {
    /// Copies the files of `folder`, not its subfolders.
    ///
    /// # Errors
    /// [`StagingError::Io`].
    pub fn begin(folder: &Path) -> Result<Self, StagingError> {
        let error = |source| StagingError::Io { out: folder.to_path_buf(), source };
        let folder = folder.canonicalize().map_err(error)?;
        sweep(&folder);
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = Aside::create(folder.parent().unwrap_or(&folder), &name).map_err(error)?;
        let copy = aside.new_path();
        let mut shared = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let (from, to) = (entry.path(), copy.join(entry.file_name()));
            let large = match fs::metadata(&from) {
                Ok(metadata) if metadata.is_file() => metadata.len() >= SHARED_BYTES,
                _ => continue,
            };
            if large && fs::hard_link(&from, &to).is_ok() {
                shared.insert(entry.file_name());
            } else {
                fs::copy(&from, &to).map_err(error)?;
            }
        }
        Ok(Self { _aside: aside, copy, folder, shared })
    }

    /// The copy.
    pub fn path(&self) -> &Path {
        &self.copy
    }

    /// Removes a file from the copy, so that a new one can be written.
    ///
    /// # Errors
    /// [`StagingError::Io`].
    pub fn replace(&mut self, name: &str) -> Result<(), StagingError> {
        self.shared.remove(OsStr::new(name));
        match fs::remove_file(self.path().join(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StagingError::Io { out: self.folder.join(name), source })
            }
            _ => Ok(()),
        }
    }

    /// Moves the files that are not shared into the folder, `bot.json`, which
    /// vouches for the others, last.
    ///
    /// # Errors
    /// [`StagingError::Io`].
    pub fn commit(self) -> Result<(), StagingError> {
        let error = |source| StagingError::Io { out: self.folder.clone(), source };
        sync_files(&self.copy).map_err(error)?;
        let entries = fs::read_dir(&self.copy).map_err(error)?;
        let names: io::Result<Vec<OsString>> = entries.map(|entry| entry.map(|e| e.file_name())).collect();
        let mut names = names.map_err(error)?;
        names.sort_by_key(|name| name == BOT);
        for name in names.into_iter().filter(|name| !self.shared.contains(name)) {
            fs::rename(self.copy.join(&name), self.folder.join(&name)).map_err(error)?;
        }
        sync_folder(&self.folder).map_err(error)
    }
}

/// Waits until the disk has a folder's files, and the folder's list of them.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            // For writing where it may be: some systems sync no file that is open for reading alone.
            let file = File::options().append(true).open(&path).or_else(|_| File::open(&path))?;
            file.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Waits until the disk has a folder's list of names: a rename in it, for example.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders cannot be opened as files here; the system orders renames itself.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether a folder may be put at `out`. `--force --out ~` must not delete a
/// home, nor a checkout its history, nor an archive that lies in a bot's folder: what is
/// replaced is files that `bot.json` lists, and nothing else.
///
/// # Errors
/// [`StagingError::Exists`] without `force`; with it [`StagingError::NotABot`], and
/// [`StagingError::Foreign`] where a bot's folder holds something else, too.
pub fn check_target(out: &Path, force: bool) -> Result<(), StagingError> {
    let out = resolved(out);
    if !exists(&out) {
        return Ok(());
    }
    if !force {
        return Err(StagingError::Exists { out });
    }
    let names: Option<BTreeSet<String>> = fs::read_dir(&out).ok().and_then(|entries| {
        entries.map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
    });
    let Some(mut names) = names else {
        return Err(StagingError::NotABot { out });
    };
    if names.is_empty() {
        return Ok(());
    }
    let manifest = fs::read(out.join(BOT)).ok().and_then(|json| Manifest::from_json(&json).ok());
    let Some(manifest) = manifest else {
        return Err(StagingError::NotABot { out });
    };
    names.retain(|name| {
        let is_file = fs::symlink_metadata(out.join(name)).is_ok_and(|found| !found.is_dir());
        !(is_file && (name == BOT || manifest.files.contains_key(name)))
    });
    match names.pop_first() {
        Some(name) => Err(StagingError::Foreign { out, name }),
        None => Ok(()),
    }
}

/// Also true of a link that leads nowhere.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::{folder, manifest::BotInfo},
        *,
    };

    /// A bot's folder with these files, as far as its description goes.
    fn bot(path: &Path, files: &[&str]) {
        fs::create_dir_all(path).unwrap();
        files.iter().for_each(|name| fs::write(path.join(name), "old").unwrap());
        let info = BotInfo { handles: vec!["a".into()], ..BotInfo::default() };
        folder::finish(path, info, BTreeMap::new(), None).unwrap();
    }

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
    fn what_a_killed_process_left_goes_and_what_a_living_one_makes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bot");
        // As a kill leaves it: nothing is dropped, and the system takes the lock.
        let left = Aside::create(dir.path(), "bot").unwrap();
        fs::write(left.new_path().join("model.safetensors"), "half").unwrap();
        let Aside { _lock: lock, temporary } = left;
        let left = temporary.keep();
        drop(lock);
        fs::create_dir(dir.path().join(".bot.partial-of-somebody")).unwrap();
        let living = Staging::create(&dir.path().join("bot"), false).unwrap();
        assert!(!left.exists());
        let second = Staging::create(&out, false).unwrap();
        assert!(living.path().exists() && second.path().exists());
        drop((living, second));
        assert_eq!(entries(dir.path()), [".bot.partial-of-somebody"]);
    }

    #[test]
    fn an_existing_folder_is_kept_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bot");
        bot(&out, &["config.json"]);
        let error = Staging::create(&out, false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");

        let staging = Staging::create(&out, true).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        assert_eq!(entries(&out), ["bot.json", "config.json"]);
        staging.commit().unwrap();
        assert_eq!(entries(&out), ["new"]);
        assert_eq!(entries(dir.path()), ["bot"]);
    }

    #[test]
    fn a_path_without_a_name_is_an_error() {
        assert!(matches!(Staging::create(Path::new(".."), true), Err(StagingError::NoName { .. })));
    }

    #[test]
    fn force_does_not_replace_what_is_no_bot() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("letter.txt"), "").unwrap();
        for out in [home.clone(), home.join("letter.txt")] {
            assert!(matches!(Staging::create(&out, true), Err(StagingError::NotABot { .. })));
        }
        // Of another program: nothing says which of its files are the bot's.
        fs::write(home.join("config.json"), "{}").unwrap();
        assert!(matches!(Staging::create(&home, true), Err(StagingError::NotABot { .. })));
    }

    #[test]
    fn force_does_not_delete_what_somebody_put_beside_a_bot() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bot");
        bot(&out, &["config.json"]);
        check_target(&out, true).unwrap();
        for (foreign, is_folder) in [("archive.zip", false), (".git", true)] {
            let path = out.join(foreign);
            if is_folder {
                fs::create_dir(&path).unwrap()
            } else {
                fs::write(&path, "").unwrap()
            }
            let error = Staging::create(&out, true).unwrap_err().to_string();
            assert!(error.contains(&format!("`{foreign}`")) && error.contains("another --out"), "{error}");
            if is_folder { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_replaced_and_the_link_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("disk/bot"), dir.path().join("bot"));
        bot(&target, &["config.json"]);
        std::os::unix::fs::symlink("disk/bot", &link).unwrap();
        // Once it leads to a bot, and once nowhere.
        for _ in 0..2 {
            let staging = Staging::create(&link, true).unwrap();
            fs::write(staging.path().join("new"), "").unwrap();
            staging.commit().unwrap();
            assert!(link.is_symlink());
            assert_eq!(
                (entries(&target), entries(&dir.path().join("disk"))),
                (vec!["new".into()], vec!["bot".into()])
            );
            fs::remove_dir_all(&target).unwrap();
        }
    }

    #[test]
    fn a_folder_made_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("bot");
        let staging = Staging::create(&out, false).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("config.json"), "theirs").unwrap();
        assert!(matches!(staging.commit(), Err(StagingError::Exists { .. })));
        assert_eq!(entries(dir.path()), ["bot"]);
        assert_eq!(entries(&out), ["config.json"]);
    }

    #[test]
    fn a_patch_changes_its_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("bot");
        fs::create_dir_all(folder.join(".git")).unwrap();
        let large = vec![7; SHARED_BYTES as usize];
        fs::write(folder.join("a.gguf"), &large).unwrap();
        fs::write(folder.join("b.gguf"), &large).unwrap();
        fs::write(folder.join("bot.json"), "old").unwrap();

        let mut patch = Patch::begin(&folder).unwrap();
        patch.replace("b.gguf").unwrap();
        fs::write(patch.path().join("b.gguf"), "new").unwrap();
        fs::write(patch.path().join("bot.json"), "new").unwrap();
        assert_eq!(fs::read(folder.join("b.gguf")).unwrap(), large, "nothing changes before the commit");
        patch.commit().unwrap();
        assert_eq!(fs::read(folder.join("a.gguf")).unwrap(), large);
        assert_eq!(fs::read(folder.join("b.gguf")).unwrap(), b"new");
        assert_eq!(fs::read(folder.join("bot.json")).unwrap(), b"new");
        assert_eq!(entries(dir.path()), ["bot"]);
        assert!(folder.join(".git").is_dir());
    }
}
