//! Crash-safe files: logs whose lines are appended in single writes, and small files that are
//! replaced atomically.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::RecordError;
use crate::bundle::staging::replace_file;

/// An append-only `.jsonl` file. Writes are unbuffered, so that appended lines survive a kill
/// of the process.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// Start and end offsets of the last line.
    last: u64,
    end: u64,
}

impl LineFile {
    /// Creates a file with these lines, replacing an existing one.
    pub fn create<T: Serialize>(path: &Path, lines: &[T]) -> Result<Self, RecordError> {
        let (mut text, mut last) = (Vec::new(), 0);
        for line in lines {
            last = text.len() as u64;
            text.extend(encode(path, line)?);
        }
        replace(path, &text)?;
        let file = OpenOptions::new().write(true).open(path).map_err(RecordError::io(path))?;
        Ok(Self { path: path.into(), file, last, end: text.len() as u64 })
    }

    /// Appends a line in a single write.
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        self.last = self.end;
        self.replace_last(line)
    }

    /// Overwrites the last line in a single write. The new line must not be shorter.
    pub fn replace_last(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        let line = encode(&self.path, line)?;
        self.file
            .seek(SeekFrom::Start(self.last))
            .and_then(|_| self.file.write_all(&line))
            .map_err(RecordError::io(&self.path))?;
        self.end = self.last + line.len() as u64;
        Ok(())
    }

    /// Syncs the file to disk.
    pub fn sync(&self) -> Result<(), RecordError> {
        self.file.sync_data().map_err(RecordError::io(&self.path))
    }
}

fn encode(path: &Path, line: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    let mut line =
        serde_json::to_vec(line).map_err(|source| RecordError::Json { path: path.to_owned(), source })?;
    line.push(b'\n');
    Ok(line)
}

/// Reads every line of a `.jsonl` file. A last line that is unterminated or invalid was torn
/// by a kill and is skipped. A missing file has no lines.
///
/// # Errors
/// [`RecordError::Json`] if an earlier line is not a `T`, or [`RecordError::Io`].
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RecordError::Io { path: path.into(), source }),
    };
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let lines: Vec<&[u8]> =
        text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut values = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(value) => values.push(value),
            Err(_) if index + 1 == lines.len() => {}
            Err(source) => return Err(RecordError::Json { path: path.into(), source }),
        }
    }
    Ok(values)
}

/// Replaces a small file atomically: readers see either the old or the complete new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    replace_file(path, |file| file.write_all(bytes)).map_err(RecordError::io(path))
}

/// Like [`replace`], with a value as pretty-printed JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|source| RecordError::Json { path: path.into(), source })?;
    text.push(b'\n');
    replace(path, &text)
}
