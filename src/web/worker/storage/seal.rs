//! Checksums of a stored file's chunks, appended once all of them were verified. They cost a
//! fraction of SHA-256 and detect what the device has changed or lost since. (Whoever can write to
//! a site's own storage on purpose could replace the page, too: no digest would help.) A file
//! without seals, or one that does not match them, is verified by the digests of `bot.json`.

use js_sys::{Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::FileSystemSyncAccessHandle;
use xxhash_rust::xxh3::Xxh3;

use super::{opfs::place, settled};
use crate::{bundle::manifest::FileEntry, web::channel::field};

/// Identifies the format; another format has another value.
const MAGIC: [u8; 16] = *b"huggingtweets s1";

/// Computes the checksums of a file's chunks: XXH3, 128 bits.
#[derive(Default)]
pub struct Sealing {
    chunk: Box<Xxh3>,
    done: Vec<u128>,
}

impl Sealing {
    /// Takes the chunk's next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.chunk.update(bytes);
    }

    /// Ends a chunk.
    pub fn end_chunk(&mut self) {
        self.done.push(self.chunk.digest128());
        self.chunk.reset();
    }

    /// Checksums of the chunks so far.
    pub fn seals(&self) -> &[u128] {
        &self.done
    }
}

/// The seals as a file holds them.
pub fn to_bytes(seals: &[u128]) -> Vec<u8> {
    let seals = seals.iter().flat_map(|seal| seal.to_le_bytes());
    MAGIC.into_iter().chain(seals).collect()
}

/// Parses a file's seals; `None` if these are not seals.
fn from_bytes(bytes: &[u8]) -> Option<Vec<u128>> {
    let (seals, []) = bytes.strip_prefix(&MAGIC)?.as_chunks::<16>() else { return None };
    Some(seals.iter().map(|seal| u128::from_le_bytes(*seal)).collect())
}

/// A sealed file, open for reading.
pub struct SealedFile(FileSystemSyncAccessHandle);

impl SealedFile {
    /// Opens the file of this entry and returns its chunks' seals. `kept` is what the page's
    /// scripts found (`www/engine-choice.js`): `{ open, sha256 }`, or `null`.
    pub async fn open(kept: &JsValue, entry: &FileEntry) -> Option<(Self, Vec<u128>)> {
        if field(kept, "sha256")?.as_string()? != entry.sha256 {
            return None;
        }
        let open: Function = field(kept, "open")?.dyn_into().ok()?;
        let opened: Promise = open.call0(&JsValue::UNDEFINED).ok()?.dyn_into().ok()?;
        let file = Self(settled(opened).await.ok()?);
        let mut bytes = vec![0; MAGIC.len() + 16 * entry.chunks.len()];
        let size = entry.size.checked_add(bytes.len() as u64)?;
        let is_whole = file.0.get_size().ok()? == size as f64;
        let seals = (is_whole && file.read(entry.size, &mut bytes)).then(|| from_bytes(&bytes))??;
        Some((file, seals))
    }

    /// Fills `bytes`; returns whether the file has that many there.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> bool {
        let read = self.0.read_with_u8_array_and_options(bytes, &place(at));
        read.is_ok_and(|read| read == bytes.len() as f64)
    }
}

impl Drop for SealedFile {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_128;

    #[test]
    fn a_chunk_in_any_pieces_has_one_seal_and_no_other_has_it() {
        let chunk: Vec<u8> = (0..10_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let mut sealing = Sealing::default();
        for piece in [1, 63, 1024, 10_000] {
            chunk.chunks(piece).for_each(|piece| sealing.take(piece));
            sealing.end_chunk();
        }
        assert_eq!(sealing.seals(), [xxh3_128(&chunk); 4]);
        for at in [0, 4999, 9999] {
            let mut other = chunk.clone();
            other[at] ^= 1;
            assert_ne!(xxh3_128(&other), xxh3_128(&chunk));
        }
    }

    #[test]
    fn seals_come_back_from_bytes_and_from_no_others() {
        let seals = [7, u128::MAX, 0];
        let bytes = to_bytes(&seals);
        assert_eq!(bytes.len(), MAGIC.len() + 48);
        assert_eq!(from_bytes(&bytes), Some(seals.to_vec()));
        assert_eq!(from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(from_bytes(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(from_bytes(&[0; 64]), None);
        assert_eq!(from_bytes(&[]), None);
    }
}
