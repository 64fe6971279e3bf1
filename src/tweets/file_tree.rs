//! The files of an archive, whether it is a zip, a folder or a list in memory.

use super::ReadError;

/// Most bytes that one file of an archive may unpack to: a phone's browser has to
/// hold them, and growing there doubles. The limit is counted as bytes arrive, for
/// a zip's headers can say anything.
pub const MAX_ENTRY_BYTES: u64 = 1 << 29;

/// Named files that can be read one at a time.
pub trait FileTree {
    /// What error messages call the whole.
    fn label(&self) -> &str;

    /// Paths of the files from the top, `/` between parts, in no set order.
    fn names(&self) -> Vec<String>;

    /// All bytes of the file of that name.
    ///
    /// # Errors
    /// Missing, damaged, encrypted or larger than [`MAX_ENTRY_BYTES`].
    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError>;
}

/// Reads to the end, refusing more than `limit` bytes. `Err(None)` is too much.
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

/// Path parts in the form this trait promises: Windows zips hold backslashes.
#[cfg(feature = "archives")]
pub(crate) fn normalise(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").unwrap_or(&name).to_owned()
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
