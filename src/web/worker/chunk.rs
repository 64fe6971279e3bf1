//! One chunk of a file while it arrives, in the browser's memory and not in WebAssembly's: there
//! another thread can compute its digest, storage writes it without a copy, and the engine copies
//! it once.

use js_sys::Uint8Array;

use super::digests::Digester;

/// At most `capacity` bytes of a file.
pub struct Chunk {
    bytes: Uint8Array,
    filled: u32,
}

impl Chunk {
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Uint8Array::new_with_length(capacity as u32), filled: 0 }
    }

    /// A complete chunk.
    pub fn whole(bytes: Uint8Array) -> Self {
        Self { filled: bytes.length(), bytes }
    }

    /// Takes what fits and returns the rest.
    pub fn take(&mut self, piece: &Uint8Array) -> Uint8Array {
        let now = piece.length().min(self.bytes.length() - self.filled);
        self.bytes.set(&piece.subarray(0, now), self.filled);
        self.filled += now;
        piece.subarray(now, piece.length())
    }

    pub fn is_full(&self) -> bool {
        self.filled == self.bytes.length()
    }

    pub fn filled(&self) -> u64 {
        self.filled.into()
    }

    /// The bytes so far, as a view: the chunk must not take more while it is in use.
    pub fn bytes(&self) -> Uint8Array {
        self.bytes.subarray(0, self.filled)
    }

    /// Its buffer, for another chunk.
    pub fn into_buffer(self) -> Uint8Array {
        self.bytes
    }

    /// Discards its bytes.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Whether the full chunk's SHA-256 is this one, in lower-case hexadecimal digits; `None` if
    /// its bytes were lost (see [`Digester::sha256`]).
    pub async fn matches(&mut self, sha256: &str, digester: &Digester) -> Option<bool> {
        let capacity = self.bytes.length();
        match digester.sha256(self.bytes.clone()).await {
            Some((digest, bytes)) => {
                self.bytes = bytes;
                Some(digest == sha256)
            }
            None => {
                self.bytes = Uint8Array::new_with_length(capacity);
                None
            }
        }
    }
}
