//! The log format of `.wandb` files: LevelDB's log (32 KiB blocks, with records split at block
//! boundaries), preceded by a W&B header in the first block.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// Size of a block. The file header is part of the first block.
const BLOCK: u64 = 32 * 1024;
/// Size of a fragment's header: checksum (u32), length (u16) and type (u8), little-endian.
const PIECE_HEADER: u64 = 7;
/// `:W&B`, the magic number 0xBEE1, version 0.
const FILE_HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// A log open for writing.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    offset: u64,
}

impl LogFile {
    /// Creates a file with a header and these records, replacing an existing one.
    pub fn create(path: &Path, records: &[Vec<u8>]) -> io::Result<Self> {
        let mut bytes = FILE_HEADER.to_vec();
        for record in records {
            let pieces = pieces(bytes.len() as u64, record);
            bytes.extend(pieces);
        }
        let mut file = File::create(path)?;
        file.write_all(&bytes)?;
        Ok(Self { file, offset: bytes.len() as u64 })
    }

    /// Appends a record in a single write.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let pieces = pieces(self.offset, record);
        self.file.write_all(&pieces)?;
        self.offset += pieces.len() as u64;
        Ok(())
    }

    /// Syncs the file to disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Encodes a record as fragments, for writing at this offset in the file.
fn pieces(mut offset: u64, record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 16);
    let (mut rest, mut first) = (record, true);
    loop {
        let room = BLOCK - offset % BLOCK;
        if room < PIECE_HEADER {
            // Too small for a fragment header: pad with zeros.
            out.resize(out.len() + room as usize, 0);
            offset += room;
            continue;
        }
        let (piece, after) = rest.split_at(rest.len().min((room - PIECE_HEADER) as usize));
        let kind = match (first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[kind]);
        crc.update(piece);
        out.extend(crc.finalize().to_le_bytes());
        out.extend((piece.len() as u16).to_le_bytes());
        out.push(kind);
        out.extend(piece);
        offset += PIECE_HEADER + piece.len() as u64;
        (rest, first) = (after, false);
        if rest.is_empty() {
            return out;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads a log according to LevelDB's format.
    pub fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        assert_eq!(bytes[..7], FILE_HEADER);
        let (mut at, mut records, mut under_way) = (7, Vec::new(), None);
        while at < bytes.len() {
            let room = BLOCK as usize - at % BLOCK as usize;
            if room < 7 {
                assert!(bytes[at..at + room].iter().all(|&byte| byte == 0));
                at += room;
                continue;
            }
            let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
            let body = &bytes[at + 6..at + 7 + length];
            assert_eq!(crc32fast::hash(body).to_le_bytes(), bytes[at..at + 4]);
            assert!(7 + length <= room, "a piece crosses a block's border");
            let kind = body[0];
            // The first fragment may be empty, so track the record itself rather than its bytes.
            assert_eq!(under_way.is_none(), kind == FULL || kind == FIRST);
            under_way.get_or_insert_with(Vec::new).extend_from_slice(&body[1..]);
            if kind == FULL || kind == LAST {
                records.extend(under_way.take());
            }
            at += 7 + length;
        }
        assert!(under_way.is_none());
        records
    }

    #[test]
    fn a_small_record_is_one_piece_after_the_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wandb");
        LogFile::create(&path, &[]).unwrap().append(b"abc").unwrap();
        let bytes = std::fs::read(path).unwrap();
        // zlib.crc32(b"\x01abc") in Python.
        let expected = b":W&B\xe1\xbe\x00\xa9\x20\x9d\x53\x03\x00\x01abc";
        assert_eq!(bytes, expected);
    }

    proptest::proptest! {
        #[test]
        fn records_of_any_length_read_back(lengths in proptest::collection::vec(1..70_000usize, 1..8)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.wandb");
            let records: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(i, &length)| vec![i as u8 + 1; length]).collect();
            let (before, after) = records.split_at(records.len() / 2);
            let mut log = LogFile::create(&path, before).unwrap();
            after.iter().for_each(|record| log.append(record).unwrap());
            proptest::prop_assert_eq!(read(&std::fs::read(path).unwrap()), records);
        }
    }

    #[test]
    fn a_block_with_no_room_for_a_header_is_filled_with_zeros() {
        for room in 0..9 {
            let first = vec![1; (BLOCK - 7 - 7 - room) as usize];
            let mut bytes = FILE_HEADER.to_vec();
            bytes.extend(pieces(7, &first));
            let at = bytes.len() as u64;
            bytes.extend(pieces(at, b"next"));
            assert_eq!(read(&bytes), [first, b"next".to_vec()], "{room} bytes left");
        }
    }
}
