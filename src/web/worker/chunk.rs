//! One chunk of a file while it arrives, in the browser's memory: there its
//! digest is taken off this thread, the cache stores it as it is, and the
//! engine copies it once.

use js_sys::{Promise, Uint8Array};
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

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// What it holds. The chunk must not take more while this is in use.
    pub fn bytes(&self) -> Uint8Array {
        self.bytes.subarray(0, self.filled)
    }

    /// Begins to compute the digest.
    pub fn digest(&self) -> Digest {
        let started = subtle()
            .and_then(|subtle| subtle.digest_with_str_and_buffer_source("SHA-256", &self.bytes()).ok());
        match started {
            Some(promise) => Digest::Coming(promise.unchecked_into()),
            // No WebCrypto at an insecure address.
            None => Digest::Known(sha256_hex(&self.bytes().to_vec())),
        }
    }
}

/// A SHA-256 under way.
pub enum Digest {
    Coming(Promise),
    Known(String),
}

impl Digest {
    /// In lower-case hexadecimal digits; `None` where the browser failed.
    pub async fn hex(self) -> Option<String> {
        match self {
            Self::Known(hex) => Some(hex),
            Self::Coming(promise) => {
                let buffer = JsFuture::from(promise).await.ok()?;
                Some(hex(&Uint8Array::new(&buffer).to_vec()))
            }
        }
    }
}

fn subtle() -> Option<SubtleCrypto> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
    let subtle = scope.crypto().ok()?.subtle();
    (!subtle.is_undefined()).then_some(subtle)
}
