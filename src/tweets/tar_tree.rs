//! A `.tar.gz` (or plain `.tar`) archive as a [`FileTree`].
//!
//! A tar has no directory, so it is unpacked once from start to end, and only the few wanted
//! entries are kept; media are discarded.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;

use super::error::{Place, ReadError};
use super::file_tree::{FileTree, MAX_ENTRY_BYTES, normalise, read_at_most};
use super::kind::{GZIP_MAGIC, TAR_HEADER_BYTES, is_tar};

/// Unpacked size that is allowed whatever the archive's own size.
const FREE_BYTES: u64 = 256 << 20;

/// Maximum expansion of larger archives: text compresses about tenfold, pictures hardly; only
/// crafted data reaches a thousand.
const MAX_RATIO: u64 = 100;

/// The wanted entries of a tar, in memory.
pub struct TarTree {
    label: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl TarTree {
    /// Unpacks the entries that `wanted` accepts from `reader`, a gzip stream or a tar of
    /// `size_bytes`.
    ///
    /// # Errors
    /// Cut short, damaged, not a tar, or far larger than any archive of posts.
    pub fn open(
        label: &str,
        reader: impl Read,
        size_bytes: u64,
        wanted: fn(&str) -> bool,
    ) -> Result<Self, ReadError> {
        Self::open_within(label, reader, size_bytes.saturating_mul(MAX_RATIO).max(FREE_BYTES), wanted)
    }

    fn open_within(
        label: &str,
        mut reader: impl Read,
        limit: u64,
        wanted: fn(&str) -> bool,
    ) -> Result<Self, ReadError> {
        let failed = |source| refusal(label, limit, source);
        let mut head = Vec::new();
        reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head).map_err(failed)?;
        let gzipped = head == GZIP_MAGIC;
        let whole = Cursor::new(head).chain(reader);
        let mut tree = Self { label: label.to_owned(), files: BTreeMap::new() };
        if gzipped {
            let inner = GzMembers::new(BufReader::new(whole));
            let mut rest = tree.unpack(Limited { inner, left: limit }, limit, wanted)?;
            rest.inner.allow_padding = true;
            // Reads to the end, where gzip's checksum is verified.
            io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
        } else {
            tree.unpack(Limited { inner: whole, left: limit }, limit, wanted)?;
        }
        Ok(tree)
    }

    /// Unpacks the wanted entries, and returns the reader at the end of the tar.
    fn unpack<R: Read>(
        &mut self,
        mut reader: R,
        limit: u64,
        wanted: fn(&str) -> bool,
    ) -> Result<R, ReadError> {
        let label = self.label.clone();
        let failed = |source| refusal(&label, limit, source);
        let mut head = Vec::new();
        reader.by_ref().take(TAR_HEADER_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
        if !is_tar(&head) {
            return Err(bad_tar(&label, "there is no tar in it"));
        }
        let mut archive = tar::Archive::new(Cursor::new(head).chain(reader));
        for entry in archive.entries().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // The name is only compared, never used as a path on disk.
            let name = normalise(&String::from_utf8_lossy(&entry.path_bytes()));
            if !entry.header().entry_type().is_file() || !wanted(&name) {
                continue;
            }
            let size = entry.size();
            let place = || Place::entry(&label, &name);
            let bytes = read_at_most(entry, MAX_ENTRY_BYTES).map_err(|error| match error {
                None => ReadError::TooLarge { place: place(), limit: MAX_ENTRY_BYTES },
                Some(source) => failed(source),
            })?;
            if (bytes.len() as u64) < size {
                return Err(bad_tar(&label, "it ends early"));
            }
            // A later entry replaces an earlier one of the same name, as when unpacking to disk.
            self.files.insert(name, bytes);
        }
        let (_, rest) = archive.into_inner().into_inner();
        Ok(rest)
    }
}

impl FileTree for TarTree {
    fn label(&self) -> &str {
        &self.label
    }

    fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        match self.files.get(name) {
            Some(bytes) => Ok(bytes.clone()),
            None => Err(ReadError::NotFound { place: Place::entry(&self.label, name) }),
        }
    }
}

/// Decompresses the members of a gzip stream, one after the other.
struct GzMembers<R> {
    /// `None` after the last member.
    member: Option<GzDecoder<R>>,
    /// Whether the stream may end with other bytes: backups pad files to whole blocks.
    allow_padding: bool,
}

impl<R: BufRead> GzMembers<R> {
    fn new(reader: R) -> Self {
        Self { member: Some(GzDecoder::new(reader)), allow_padding: false }
    }
}

impl<R: BufRead> Read for GzMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let next = member.get_mut().fill_buf()?.first().copied();
            let ended = self.member.take();
            if next == Some(GZIP_MAGIC[0]) {
                self.member = ended.map(|member| GzDecoder::new(member.into_inner()));
            } else if next.is_some() && !self.allow_padding {
                return Err(io::Error::other("other bytes follow the gzip stream"));
            }
        }
        Ok(0)
    }
}

/// The error when an archive exceeds its limit.
#[derive(Debug, thiserror::Error)]
#[error("too large")]
struct TooMuch;

/// A reader that fails after `left` bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(TooMuch))?;
        Ok(read)
    }
}

/// Distinguishes errors of the disk, of the data and of its size.
fn refusal(label: &str, limit: u64, source: io::Error) -> ReadError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        if error.is::<TooMuch>() || inner.is_some_and(|inner| inner.is::<TooMuch>()) {
            return ReadError::TooLarge { place: Place::file(label), limit };
        }
        cause = error.source();
    }
    if source.raw_os_error().is_some() {
        return ReadError::Io { place: Place::file(label), source };
    }
    let problem: String =
        source.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect();
    bad_tar(label, &problem)
}

fn bad_tar(label: &str, problem: &str) -> ReadError {
    ReadError::BadTar { place: Place::file(label), problem: problem.to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    /// A tar of these files, in this order, with names as given.
    pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn json(name: &str) -> bool {
        name.ends_with(".json")
    }

    fn open(bytes: &[u8]) -> Result<TarTree, ReadError> {
        TarTree::open("a.tar.gz", bytes, bytes.len() as u64, json)
    }

    #[test]
    fn wanted_entries_are_kept_packed_or_not() {
        let tar =
            tar_of(&[("./a.json", b"old"), ("b.png", b"picture"), ("c/d.json", b"[]"), ("a.json", b"new")]);
        for bytes in [gzip(&tar), tar.clone(), [gzip(&tar[..700]), gzip(&tar[700..])].concat()] {
            let mut tree = open(&bytes).unwrap();
            assert_eq!(tree.names(), ["a.json", "c/d.json"]);
            assert_eq!(tree.read("a.json").unwrap(), b"new");
            assert!(matches!(tree.read("b.png"), Err(ReadError::NotFound { .. })));
        }
    }

    #[test]
    fn a_cut_archive_says_so() {
        let bytes = gzip(&tar_of(&[("a.json", &[b'x'; 5000])]));
        for end in [10, bytes.len() / 2, bytes.len() - 9] {
            let error = open(&bytes[..end]).err().unwrap().to_string();
            assert!(error.starts_with("a.tar.gz: the tar archive is cut short or damaged"), "{end}: {error}");
        }
        let tar = tar_of(&[("a.json", &[b'x'; 5000])]);
        let error = open(&tar[..2000]).err().unwrap().to_string();
        assert!(error.contains("cut short or damaged"), "{error}");
    }

    #[test]
    fn padding_after_the_gzip_stream_is_no_damage() {
        let tar = tar_of(&[("a.json", b"[]"), ("b.json", b"{}")]);
        let whole = gzip(&tar);
        for padding in [&[0; 1][..], &[0; 10_240], b"\n", b"signature"] {
            let tree = open(&[&whole[..], padding].concat()).unwrap();
            assert_eq!(tree.names(), ["a.json", "b.json"]);
        }
        // A wrong checksum, and other bytes before the end of the tar, are damage.
        let mut damaged = [&whole[..], &[0; 512]].concat();
        damaged[whole.len() - 8] ^= 1;
        let mut interrupted = [gzip(&tar[..1024]), gzip(&tar[1024..])].concat();
        interrupted[gzip(&tar[..1024]).len()] = 0;
        for bytes in [damaged, interrupted] {
            let error = open(&bytes).err().unwrap().to_string();
            assert!(error.contains("cut short or damaged"), "{error}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bytes = gzip(&tar_of(&[("film.mp4", &vec![0; 3 << 20]), ("a.json", b"[]")]));
        assert!(bytes.len() < 10_000, "it must be small when packed");
        let error = TarTree::open_within("a.tar.gz", &bytes[..], 1 << 20, json).err().unwrap();
        assert!(matches!(error, ReadError::TooLarge { limit: 1_048_576, .. }), "{error}");
    }

    #[test]
    fn a_lying_size_is_no_memory() {
        let mut tar = tar_of(&[("a.json", b"[]")]);
        let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
        header.set_size(u64::MAX / 4);
        header.set_cksum();
        tar[..512].copy_from_slice(header.as_bytes());
        assert!(open(&gzip(&tar)).is_err());
    }

    #[test]
    fn what_is_no_tar_is_refused() {
        let error = open(&gzip(b"just text")).err().unwrap().to_string();
        assert!(error.contains("there is no tar in it"), "{error}");
        assert!(open(b"").is_err());
    }

    #[test]
    fn links_and_paths_upwards_are_names_alone() {
        let mut tree = open(&tar_of(&[("../../etc/a.json", b"[]"), ("/etc/b.json", b"[]")])).unwrap();
        assert_eq!(tree.names(), ["../../etc/a.json", "/etc/b.json"]);
        assert_eq!(tree.read("/etc/b.json").unwrap(), b"[]");
    }

    proptest! {
        #[test]
        fn any_mutation_is_read_or_refused(at: prop::sample::Index, byte: u8, packed: bool) {
            let mut bytes = tar_of(&[("a.json", b"[]"), ("b.json", b"{}")]);
            if packed {
                bytes = gzip(&bytes);
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = open(&bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (open(&bytes), open(&[&GZIP_MAGIC[..], &bytes].concat()), open(&gzip(&bytes)));
        }
    }
}
