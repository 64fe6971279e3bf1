//! File system helpers around renames: parent folders, syncing, atomic exchange.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

/// Returns the folder that contains a path; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns whether a path exists, including as a dangling symlink.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Lists the files below a folder, as `/`-separated relative paths.
///
/// # Errors
/// If a folder cannot be read.
pub fn files_below(root: &Path) -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(root.join(&within))? {
            let entry = entry?;
            let name = format!("{within}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(format!("{name}/"));
            } else {
                files.insert(name);
            }
        }
    }
    Ok(files)
}

/// Syncs a folder recursively: its files and its directories.
pub fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else if path.is_file() {
            // Opened for writing if possible: some systems cannot sync a read-only handle.
            let file = File::options().append(true).open(&path).or_else(|_| File::open(&path))?;
            file.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Syncs a directory, making renames in it durable.
///
/// # Errors
/// If the directory cannot be opened or synced.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Does nothing: directories cannot be opened as files here, and the OS orders renames itself.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns whether a folder is where a volume is mounted, such as one given to a container. Nothing
/// can be renamed to it, nor from beside it into it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn is_mount_point(folder: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    // Not told apart by the device: a folder may be mounted elsewhere on its own file system.
    let found = statx(CWD, folder, AtFlags::empty(), StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Returns false: this OS does not say.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn is_mount_point(_folder: &Path) -> bool {
    false
}

/// Exchanges two folders on the same file system atomically, so that both names always exist.
///
/// # Errors
/// If the OS or the file system does not support it.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

/// Fails: this OS has no atomic exchange.
///
/// # Errors
/// Always.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn exchange(_a: &Path, _b: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_told_from_a_folder_of_one() {
        assert!(is_mount_point(Path::new("/proc")));
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mount_point(dir.path()) && !is_mount_point(&dir.path().join("none")));
    }
}
