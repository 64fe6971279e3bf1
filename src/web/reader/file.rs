//! A visitor's file as a reader: read in place, piece by piece, so that an archive of gigabytes
//! needs no memory. Works only in workers.

use std::io::{self, Read, Seek, SeekFrom};

use js_sys::Uint8Array;
use web_sys::{File, FileReaderSync};

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

pub struct FileSource {
    file: File,
    reader: FileReaderSync,
    size: u64,
    position: u64,
    /// The last piece read, and its offset.
    piece: Vec<u8>,
    piece_at: u64,
}

impl FileSource {
    /// Opens a file.
    ///
    /// # Errors
    /// If the browser has no synchronous reader here.
    pub fn open(file: File) -> io::Result<Self> {
        let reader = FileReaderSync::new().map_err(|_| io::Error::other("files cannot be read here"))?;
        let size = file.size() as u64;
        Ok(Self { file, reader, size, position: 0, piece: Vec::new(), piece_at: 0 })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes already read, from the position on.
    fn at_hand(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.piece_at).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.piece.get(offset..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> io::Result<()> {
        let end = self.position.saturating_add(PIECE_BYTES).min(self.size);
        let gone = |_| io::Error::other("the browser could not read the file: was it changed or removed?");
        let slice = self.file.slice_with_f64_and_f64(self.position as f64, end as f64).map_err(gone)?;
        let bytes = self.reader.read_as_array_buffer(&slice).map_err(gone)?;
        self.piece = Uint8Array::new(&bytes).to_vec();
        self.piece_at = self.position;
        Ok(())
    }
}

impl Read for FileSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            self.fetch()?;
        }
        let now = self.at_hand().len().min(buffer.len());
        buffer[..now].copy_from_slice(&self.at_hand()[..now]);
        self.position += now as u64;
        Ok(now)
    }
}

impl Seek for FileSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::End(offset) => (self.size, offset),
            SeekFrom::Current(offset) => (self.position, offset),
        };
        self.position = base
            .checked_add_signed(offset)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the file"))?;
        Ok(self.position)
    }
}
