//! A folder as one process's own for a while.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// Held as long as the value lives; the system takes it from a process that is killed.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// Another process has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held;

impl Lock {
    /// By a file of its own. Where the disk has no locks, nobody else has one either.
    ///
    /// # Errors
    /// [`Held`].
    pub fn of_file(file: File) -> Result<Self, Held> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Held),
            _ => Ok(Self { _file: Some(file) }),
        }
    }

    /// By the folder itself, so that nothing is left in it. Systems that open no folder
    /// as a file (Windows) lock none.
    ///
    /// # Errors
    /// [`Held`].
    pub fn of_folder(folder: &Path) -> Result<Self, Held> {
        match File::open(folder) {
            Ok(folder) => Self::of_file(folder),
            Err(_) => Ok(Self { _file: None }),
        }
    }
}
