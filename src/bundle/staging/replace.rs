//! Replaces a single file atomically.

use std::{fs::File, io, path::Path};

use super::disk::parent;

/// Prefix of the temporary files' names.
const PREFIX: &str = ".huggingtweets-";

/// Returns whether the name is that of a temporary file left by a process killed in
/// [`replace_file`].
pub fn is_leftover(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Writes a temporary file beside `path`, syncs it, and renames it to `path`, so that readers see
/// either the old contents or the complete new ones. Nothing changes if `write` fails.
///
/// # Errors
/// Those of `write`, or if the file cannot be created, synced or renamed.
pub fn replace_file<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    replace_file_via(parent(path), path, write)
}

/// Like [`replace_file`], with the temporary file in another folder of the same file system.
///
/// # Errors
/// Those of [`replace_file`].
pub fn replace_file_via<E: From<io::Error>>(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    // `create_new` gives the usual permissions instead of a temporary file's.
    let mut aside = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(".part")
        .make_in(folder, |aside| File::create_new(aside))?;
    write(aside.as_file_mut())?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn a_file_has_its_old_contents_until_the_new_ones_are_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let failed = replace_file(&path, |file| {
            file.write_all(b"ne")?;
            assert_eq!(fs::read_to_string(&path)?, "old");
            let names = fs::read_dir(dir.path())?.map(|entry| entry.unwrap().file_name());
            assert_eq!(names.filter(|name| is_leftover(name.to_str().unwrap())).count(), 1);
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        replace_file(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn the_temporary_file_may_be_in_another_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refs/main");
        fs::create_dir(dir.path().join("refs")).unwrap();
        replace_file_via(dir.path(), &path, |file| {
            assert_eq!(fs::read_dir(dir.path().join("refs"))?.count(), 0);
            file.write_all(b"new")
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
