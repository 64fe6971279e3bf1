//! A zip archive as a [`FileTree`].

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::error::{Place, ReadError};
use super::file_tree::{FileTree, MAX_ENTRY_BYTES, normalise, read_at_most};
use super::kind::ZIP_MAGICS;

/// The entries of a zip archive, unpacked one at a time.
pub struct ZipTree<R> {
    label: String,
    archive: ZipArchive<R>,
    /// Index of each file by name. A later entry replaces an earlier one of the same name, as when
    /// unpacking to disk.
    entries: BTreeMap<String, usize>,
    max_entry_bytes: u64,
}

impl<R: Read + Seek> ZipTree<R> {
    /// Opens a zip archive and reads its directory.
    ///
    /// # Errors
    /// Not a zip, or one without the directory at its end (cut short).
    pub fn open(label: &str, mut reader: R) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { place: Place::file(label), source };
        let mut magic = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut magic).map_err(io)?;
        if !ZIP_MAGICS.iter().any(|known| magic == known) {
            let found = if magic.is_empty() {
                "nothing: it is empty".to_owned()
            } else {
                format!("the bytes {}", magic.escape_ascii())
            };
            return Err(ReadError::NotZip { place: Place::file(label), found });
        }
        reader.seek(SeekFrom::Start(0)).map_err(io)?;
        let archive = ZipArchive::new(reader).map_err(|error| zip_error(Place::file(label), error))?;
        let entries = archive
            .file_names()
            .enumerate()
            .filter_map(|(index, name)| Some((normalise(&name.ok()?), index)))
            .filter(|(name, _)| !name.ends_with('/'))
            .collect();
        Ok(Self { label: label.to_owned(), archive, entries, max_entry_bytes: MAX_ENTRY_BYTES })
    }

    /// Replaces the limit of [`MAX_ENTRY_BYTES`].
    #[cfg(test)]
    fn with_max_entry_bytes(mut self, limit: u64) -> Self {
        self.max_entry_bytes = limit;
        self
    }
}

impl<R: Read + Seek> FileTree for ZipTree<R> {
    fn label(&self) -> &str {
        &self.label
    }

    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let place = || Place::entry(&self.label, name);
        let Some(&index) = self.entries.get(name) else {
            return Err(ReadError::NotFound { place: place() });
        };
        let entry = self.archive.by_index(index).map_err(|error| zip_error(place(), error))?;
        let too_large = || ReadError::TooLarge { place: place(), limit: self.max_entry_bytes };
        // The declared size is trusted only to refuse an entry.
        if entry.size() > self.max_entry_bytes {
            return Err(too_large());
        }
        read_at_most(entry, self.max_entry_bytes).map_err(|error| match error {
            None => too_large(),
            // A wrong checksum, an invalid deflate stream or an early end.
            Some(error) => ReadError::BadZip { place: place(), problem: error.to_string() },
        })
    }
}

fn zip_error(place: Place, error: ZipError) -> ReadError {
    match error {
        ZipError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            ReadError::Io { place, source }
        }
        error => ReadError::BadZip { place, problem: error.to_string() },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;

    use super::*;

    /// A zip of these files, in this order.
    pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_refused() {
        let bytes = zip_of(&[("bomb.js", &vec![b' '; 1 << 20])]);
        assert!(bytes.len() < 10_000, "it must be small when packed");
        let mut tree = ZipTree::open("a.zip", Cursor::new(bytes)).unwrap().with_max_entry_bytes(1000);
        let error = tree.read("bomb.js").unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { limit: 1000, .. }), "{error}");
    }

    #[test]
    fn a_lying_header_does_not_lift_the_limit() {
        // Both headers contain the unpacked size; claim 1 byte in each.
        let mut bytes = zip_of(&[("bomb.js", &vec![b' '; 1 << 20])]);
        let size = (1u32 << 20).to_le_bytes();
        for at in 0..bytes.len() - 4 {
            if bytes[at..at + 4] == size {
                bytes[at..at + 4].copy_from_slice(&1u32.to_le_bytes());
            }
        }
        let mut tree = ZipTree::open("a.zip", Cursor::new(bytes)).unwrap().with_max_entry_bytes(1000);
        assert!(tree.read("bomb.js").map_or(true, |bytes| bytes.len() <= 1000));
    }

    #[test]
    fn of_entries_with_one_name_the_last_is_read() {
        let names = ["data/tweets.js", "./data/tweets.js", "data\\tweets.js", "././data/tweets.js"];
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
        for count in 1..=files.len() {
            let mut tree = ZipTree::open("a.zip", Cursor::new(zip_of(&files[..count]))).unwrap();
            assert_eq!(tree.names(), ["data/tweets.js"]);
            assert_eq!(tree.read("data/tweets.js").unwrap(), names[count - 1].as_bytes());
        }
    }

    #[test]
    fn a_cut_zip_says_so() {
        let bytes = zip_of(&[("tweets.js", b"x = []")]);
        let error = ZipTree::open("a.zip", Cursor::new(&bytes[..bytes.len() - 30])).err().unwrap();
        assert!(error.to_string().starts_with("a.zip: the zip archive is cut short or damaged"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_zip_is_named() {
        let error = ZipTree::open("a.zip", Cursor::new(b"<html>")).err().unwrap();
        assert!(
            error.to_string().contains("a.zip: is not a zip archive (it begins with the bytes <htm"),
            "{error}"
        );
        let error = ZipTree::open("a.zip", Cursor::new(b"")).err().unwrap();
        assert!(error.to_string().contains("it is empty"), "{error}");
    }
}
