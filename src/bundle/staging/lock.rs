//! Inter-process lock on a folder.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// Released on drop; the OS releases it if the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// The error when another process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held;

impl Lock {
    /// Locks a dedicated file. If the file system has no locks, succeeds without one.
    ///
    /// # Errors
    /// [`Held`] if another process has the lock.
    pub fn of_file(file: File) -> Result<Self, Held> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Held),
            _ => Ok(Self { _file: Some(file) }),
        }
    }

    /// Locks the folder itself, so that no lock file is left in it. Where folders cannot be
    /// opened as files (Windows), succeeds without a lock.
    ///
    /// # Errors
    /// [`Held`] if another process has the lock.
    pub fn of_folder(folder: &Path) -> Result<Self, Held> {
        match File::open(folder) {
            Ok(folder) => Self::of_file(folder),
            Err(_) => Ok(Self { _file: None }),
        }
    }
}
