//! What a rename needs around it: the folder it happens in, and the word of the disk.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

/// The folder that a path lies in; of a mere name, the current one.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Also true of a link that leads nowhere.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The files below a folder, `/` between the parts of their names.
///
/// # Errors
/// Where one of its folders cannot be read.
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

/// Waits until the disk has all files of a folder and of those in it, and the lists of
/// their names.
pub fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else if path.is_file() {
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

/// Lets two folders of one disk change places at once, so that at no time a name is
/// without one.
///
/// # Errors
/// Where the system or the disk cannot.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

/// This system has no such call.
///
/// # Errors
/// Always.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn exchange(_a: &Path, _b: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
