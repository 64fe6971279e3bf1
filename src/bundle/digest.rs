//! Streaming SHA-256 of a file and of its chunks.
//!
//! Chunk digests let a download be verified, cached and resumed chunk by chunk; the
//! whole-file digest is the one that other tools print. Nothing here opens a file.

use std::io::{self, Read};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::manifest::{CHUNK_BYTES, FileEntry};

/// A mismatch between a file's bytes and its entry in `bot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    #[error("it has over {expected} bytes, the size in bot.json")]
    TooLong { expected: u64 },
    #[error("it has {found} bytes; bot.json says {expected}")]
    Size { expected: u64, found: u64 },
    #[error("chunk {index} (from byte {start}) does not match bot.json")]
    Chunk { index: usize, start: u64 },
    #[error("its SHA-256 is {found}; bot.json says {expected}")]
    Whole { expected: String, found: String },
}

/// Computes the [`FileEntry`] of a file from its bytes, pushed in order.
#[derive(Clone, Default)]
pub struct Digester {
    whole: Sha256,
    chunk: Sha256,
    /// Bytes in the current chunk.
    chunk_bytes: usize,
    size: u64,
    chunks: Vec<String>,
}

impl Digester {
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes the file's next bytes, in pieces of any size.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk_bytes));
            self.chunk.update(piece);
            self.chunk_bytes += piece.len();
            if self.chunk_bytes == CHUNK_BYTES {
                self.end_chunk();
            }
            bytes = rest;
        }
    }

    /// Returns the size and digests of everything pushed.
    pub fn finish(mut self) -> FileEntry {
        if self.chunk_bytes > 0 {
            self.end_chunk();
        }
        FileEntry { size: self.size, sha256: hex(&self.whole.finalize()), chunks: self.chunks }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(hex(&self.chunk.finalize_reset()));
        self.chunk_bytes = 0;
    }
}

/// Checks a file's bytes, pushed in order, against its entry in `bot.json`. A mismatched
/// chunk is reported as soon as it is complete.
pub struct Verifier<'a> {
    expected: &'a FileEntry,
    digester: Digester,
    /// Number of chunks already compared.
    checked: usize,
}

impl<'a> Verifier<'a> {
    pub fn new(expected: &'a FileEntry) -> Self {
        Self { expected, digester: Digester::new(), checked: 0 }
    }

    /// Hashes the file's next bytes and checks the chunks that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DigestError> {
        self.digester.push(bytes);
        if self.digester.size > self.expected.size {
            return Err(DigestError::TooLong { expected: self.expected.size });
        }
        self.check_chunks(self.digester.chunks.len())
    }

    /// Checks the size, the last chunk and the whole-file digest.
    pub fn finish(mut self) -> Result<(), DigestError> {
        if self.digester.size != self.expected.size {
            return Err(DigestError::Size { expected: self.expected.size, found: self.digester.size });
        }
        if self.digester.chunk_bytes > 0 {
            self.digester.end_chunk();
        }
        self.check_chunks(self.digester.chunks.len())?;
        let found = hex(&self.digester.whole.finalize());
        match found == self.expected.sha256 {
            true => Ok(()),
            false => Err(DigestError::Whole { expected: self.expected.sha256.clone(), found }),
        }
    }

    fn check_chunks(&mut self, to: usize) -> Result<(), DigestError> {
        for index in self.checked..to {
            if self.expected.chunks.get(index) != self.digester.chunks.get(index) {
                return Err(DigestError::Chunk { index, start: (index * CHUNK_BYTES) as u64 });
            }
        }
        self.checked = to;
        Ok(())
    }
}

/// Digests a reader's contents without loading all of it into memory.
pub fn digest(reader: impl Read) -> io::Result<FileEntry> {
    let mut digester = Digester::new();
    each_piece(reader, |piece| {
        digester.push(piece);
        true
    })?;
    Ok(digester.finish())
}

/// Checks a reader's contents, stopping at the first mismatch.
pub fn verify_reader(expected: &FileEntry, reader: impl Read) -> io::Result<Result<(), DigestError>> {
    let mut verifier = Verifier::new(expected);
    let mut outcome = Ok(());
    each_piece(reader, |piece| {
        outcome = verifier.push(piece);
        outcome.is_ok()
    })?;
    Ok(outcome.and_then(|()| verifier.finish()))
}

/// Passes the reader's bytes to `take` until it returns false.
pub(super) fn each_piece(mut reader: impl Read, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) if !take(&buffer[..n]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Checks a complete in-memory file.
pub fn verify(expected: &FileEntry, bytes: &[u8]) -> Result<(), DigestError> {
    let mut verifier = Verifier::new(expected);
    verifier.push(bytes)?;
    verifier.finish()
}

/// Checks a single chunk by its index in the file, for chunks that are downloaded or cached
/// individually.
pub fn verify_chunk(expected: &FileEntry, index: usize, chunk: &[u8]) -> Result<(), DigestError> {
    match expected.chunks.get(index) {
        Some(digest) if *digest == sha256_hex(chunk) => Ok(()),
        _ => Err(DigestError::Chunk { index, start: (index as u64).saturating_mul(CHUNK_BYTES as u64) }),
    }
}

/// Returns the SHA-256 as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Encodes bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(bytes: &[u8]) -> FileEntry {
        let mut digester = Digester::new();
        digester.push(bytes);
        digester.finish()
    }

    #[test]
    fn known_digests() {
        let abc = entry(b"abc");
        assert_eq!(abc.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(abc.chunks, std::slice::from_ref(&abc.sha256));
        let empty = entry(b"");
        assert_eq!(empty.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!((empty.size, empty.chunks.len()), (0, 0));
    }

    #[test]
    fn a_reader_gives_what_its_bytes_give() {
        let bytes = vec![3u8; CHUNK_BYTES + 70_000];
        let entry = entry(&bytes);
        assert_eq!(digest(&bytes[..]).unwrap(), entry);
        verify_reader(&entry, &bytes[..]).unwrap().unwrap();
        assert!(verify_reader(&entry, &bytes[1..]).unwrap().is_err());
    }

    #[test]
    fn chunks_end_at_4_mib() {
        let bytes = vec![7u8; 2 * CHUNK_BYTES + 1];
        let entry = entry(&bytes);
        assert_eq!(entry.chunks.len(), 3);
        assert_eq!(entry.chunks[0], entry.chunks[1]);
        verify(&entry, &bytes).unwrap();
        verify_chunk(&entry, 2, &[7]).unwrap();
        assert!(verify_chunk(&entry, 3, &[7]).is_err());
    }

    #[test]
    fn a_changed_chunk_is_named_before_the_file_ends() {
        let mut bytes = vec![7u8; 2 * CHUNK_BYTES + 1];
        let entry = entry(&bytes);
        bytes[CHUNK_BYTES + 3] = 8;
        let mut verifier = Verifier::new(&entry);
        verifier.push(&bytes[..CHUNK_BYTES + 5]).unwrap();
        let error = verifier.push(&bytes[CHUNK_BYTES + 5..2 * CHUNK_BYTES]).unwrap_err();
        assert_eq!(error, DigestError::Chunk { index: 1, start: CHUNK_BYTES as u64 });
    }

    #[test]
    fn a_cut_or_longer_file_is_an_error() {
        let entry = entry(b"abcdef");
        assert_eq!(verify(&entry, b"abc").unwrap_err(), DigestError::Size { expected: 6, found: 3 });
        assert_eq!(verify(&entry, b"abcdefg").unwrap_err(), DigestError::TooLong { expected: 6 });
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..50usize) {
            let mut digester = Digester::new();
            bytes.chunks(piece).for_each(|piece| digester.push(piece));
            prop_assert_eq!(digester.finish(), entry(&bytes));
        }
    }
}
