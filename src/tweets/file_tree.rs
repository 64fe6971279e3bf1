//! The files of an archive, whether in a zip, a tar, a folder or in memory.

use super::ReadError;

/// Maximum unpacked size of a file in an archive: a phone's browser has to hold it, and buffers
/// double as they grow. Bytes are counted as they arrive, because a zip's headers may be wrong.
pub const MAX_ENTRY_BYTES: u64 = 1 << 29;

/// Named files that can be read one at a time.
pub trait FileTree {
    /// Name of the archive in error messages.
    fn label(&self) -> &str;

    /// Paths of the files from the top, with `/` between parts, in no particular order.
    fn names(&self) -> Vec<String>;

    /// Contents of the file of this name.
    ///
    /// # Errors
    /// Missing, damaged, encrypted or larger than [`MAX_ENTRY_BYTES`].
    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError>;
}

/// Reads to the end; `Err(None)` if there are more than `limit` bytes.
#[cfg(feature = "archives")]
pub(crate) fn read_at_most(
    reader: impl std::io::Read,
    limit: u64,
) -> Result<Vec<u8>, Option<std::io::Error>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Some)?;
    if bytes.len() as u64 > limit { Err(None) } else { Ok(bytes) }
}

/// A path in the form of [`FileTree::names`]: zips made on Windows have backslashes.
#[cfg(feature = "archives")]
pub(crate) fn normalise(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.trim_start_matches("./").to_owned()
}

/// Files in memory.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryTree {
    pub label: String,
    pub files: Vec<(String, Vec<u8>)>,
}

#[cfg(test)]
impl FileTree for MemoryTree {
    fn label(&self) -> &str {
        &self.label
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|(name, _)| normalise(name)).collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let found = self.files.iter().find(|(n, _)| normalise(n) == name);
        match found {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => Err(ReadError::NotFound { place: super::Place::entry(&self.label, name) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_bytes_as_they_arrive() {
        assert_eq!(read_at_most(&b"12345"[..], 5).unwrap(), b"12345");
        assert!(matches!(read_at_most(std::io::repeat(0), 1000), Err(None)));
    }
}
