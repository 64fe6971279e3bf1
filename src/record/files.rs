//! Files that a kill cannot spoil: a log of lines that grows by whole writes,
//! and small files that are replaced at once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::RecordError;
use crate::bundle::staging::parent;

/// A `.jsonl` file that is appended to. There is no buffer: what was appended
/// survives a kill of the process.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// Where the last line begins, and where it ends.
    last: u64,
    end: u64,
}

impl LineFile {
    /// A file that holds these lines and no others; an older one is replaced.
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

    /// Adds a line with one write.
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        self.last = self.end;
        self.replace_last(line)
    }

    /// Writes a line over the last one with one write. It must not be shorter.
    pub fn replace_last(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        let line = encode(&self.path, line)?;
        self.file
            .seek(SeekFrom::Start(self.last))
            .and_then(|_| self.file.write_all(&line))
            .map_err(RecordError::io(&self.path))?;
        self.end = self.last + line.len() as u64;
        Ok(())
    }

    /// Waits until the disk has it all.
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

/// Every line of a `.jsonl` file; a last one without its end, or that is no
/// JSON, was torn by a kill and is left out. No file, no lines.
///
/// # Errors
/// [`RecordError::Json`] for a line before the last that is not a `T`.
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

const ASIDE: &str = ".huggingtweets-";

/// Whether a kill of [`replace`] left a file of that name.
pub fn is_aside(name: &str) -> bool {
    name.starts_with(ASIDE)
}

/// Puts a small file in place at once: whoever looks sees the old one or all of
/// the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let write = || {
        // Our own `create_new`: a plain file's permissions, not a secret's.
        let mut aside = tempfile::Builder::new()
            .prefix(ASIDE)
            .suffix(".part")
            .make_in(parent(path), |aside| File::create_new(aside))?;
        aside.write_all(bytes)?;
        aside.as_file().sync_all()?;
        aside.persist(path)?;
        io::Result::Ok(())
    };
    write().map_err(RecordError::io(path))
}

/// [`replace`] with pretty JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|source| RecordError::Json { path: path.into(), source })?;
    text.push(b'\n');
    replace(path, &text)
}
