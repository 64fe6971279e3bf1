//! One chunk of a file while it arrives, in the browser's memory: there its
//! digest is taken off this thread, the device keeps it as it is, and the
//! engine copies it once.

use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{SubtleCrypto, WorkerGlobalScope};

use crate::bundle::digest::{hex, sha256_hex};

/// At most `capacity` bytes of a file.
pub struct Chunk {
    bytes: Uint8Array,
    filled: u32,
}

impl Chunk {
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Uint8Array::new_with_length(capacity as u32), filled: 0 }
    }

    /// A chunk that is all there.
    pub fn whole(bytes: Uint8Array) -> Self {
        Self { filled: bytes.length(), bytes }
    }

    /// Takes what there is room for and returns the rest.
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

    /// What it holds. The chunk must not take more while this is in use.
    pub fn bytes(&self) -> Uint8Array {
        self.bytes.subarray(0, self.filled)
    }

    /// Forgets its bytes.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Whether its SHA-256 is this one, in lower-case hexadecimal digits.
    pub async fn is(&self, sha256: &str) -> bool {
        let started = subtle()
            .and_then(|subtle| subtle.digest_with_str_and_buffer_source("SHA-256", &self.bytes()).ok());
        let Some(promise) = started else {
            // No WebCrypto at an insecure address.
            return sha256_hex(&self.bytes().to_vec()) == sha256;
        };
        match JsFuture::from(promise).await {
            Ok(digest) => hex(&Uint8Array::new(&digest).to_vec()) == sha256,
            Err(_) => false,
        }
    }
}

fn subtle() -> Option<SubtleCrypto> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
    let subtle = scope.crypto().ok()?.subtle();
    (!subtle.is_undefined()).then_some(subtle)
}
