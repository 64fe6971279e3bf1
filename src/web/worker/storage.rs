//! Weights that stay on this device: the Cache API, under the file's address
//! and digest. An entry is written as a stream that is closed only when every
//! byte was checked, so no partial or wrong file can ever be found. Nothing
//! here is fatal: without a cache the network serves.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Cache, ReadableStream, Request, Response, TransformStream, WorkerGlobalScope, WritableStreamDefaultWriter,
};

/// Another layout of entries takes another name.
const CACHE_NAME: &str = "huggingtweets-weights-1";

/// This origin's cache of weights.
pub struct Store {
    cache: Cache,
}

impl Store {
    /// `None` where the browser has no cache for this page (an insecure
    /// address, a private window).
    pub async fn open() -> Option<Self> {
        let scope: WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
        let caches = scope.caches().ok().filter(|c| !c.is_undefined())?;
        let cache = JsFuture::from(caches.open(CACHE_NAME)).await.ok()?;
        Some(Self { cache: cache.unchecked_into() })
    }

    /// The body of an entry.
    pub async fn get(&self, key: &str) -> Option<ReadableStream> {
        let found = JsFuture::from(self.cache.match_with_str(key)).await.ok()?;
        found.dyn_into::<Response>().ok()?.body()
    }

    /// A short text kept under a key.
    pub async fn recall(&self, key: &str) -> Option<String> {
        let found = JsFuture::from(self.cache.match_with_str(key)).await.ok()?;
        JsFuture::from(found.dyn_into::<Response>().ok()?.text().ok()?).await.ok()?.as_string()
    }

    /// Keeps a short text.
    pub async fn remember(&self, key: &str, text: &str) {
        if let Ok(response) = Response::new_with_opt_str(Some(text)) {
            let _ = JsFuture::from(self.cache.put_with_str(key, &response)).await;
        }
    }

    pub async fn remove(&self, key: &str) {
        let _ = JsFuture::from(self.cache.delete_with_str(key)).await;
    }

    /// Begins an entry.
    pub fn deposit(self, key: &str) -> Option<Deposit> {
        let stream = TransformStream::new().ok()?;
        let response = Response::new_with_opt_readable_stream(Some(&stream.readable())).ok()?;
        let writer = WritableStreamDefaultWriter::new(&stream.writable()).ok()?;
        let stored = self.cache.put_with_str(key, &response);
        Some(Deposit { writer, stored: stored.unchecked_into() })
    }
}

/// Removes every entry of the weights with this digest.
pub async fn forget(sha256: String) {
    let Some(store) = Store::open().await else { return };
    let Ok(keys) = JsFuture::from(store.cache.keys()).await else { return };
    let ending = format!("sha256={sha256}");
    for request in js_sys::Array::from(&keys).iter().filter_map(|key| key.dyn_into::<Request>().ok()) {
        if request.url().ends_with(&ending) {
            store.remove(&request.url()).await;
        }
    }
}

/// An entry being written.
pub struct Deposit {
    writer: WritableStreamDefaultWriter,
    /// Settles when the browser has stored or refused the entry.
    stored: Promise,
}

impl Deposit {
    /// Adds checked bytes; false when the cache refused them (its quota).
    pub async fn write(&self, bytes: &Uint8Array) -> bool {
        let write: Promise = self.writer.write_with_chunk(bytes).unchecked_into();
        // A refusal closes the stream; whichever settles first says so.
        let settled = Promise::race(&js_sys::Array::of2(&write, &self.stored));
        let kept = JsFuture::from(settled).await.is_ok();
        if !kept {
            swallow(self.stored.clone());
        }
        kept
    }

    /// Makes the entry visible.
    pub async fn commit(self) {
        let close: Promise = self.writer.close().unchecked_into();
        swallow(close);
        let _ = JsFuture::from(self.stored).await;
    }

    /// Drops what was written.
    pub fn abandon(self) {
        swallow(self.writer.abort().unchecked_into());
        swallow(self.stored);
    }
}

/// Takes note of a failure that changes nothing, so that the browser does not
/// report it as unhandled.
pub fn swallow(promise: Promise) {
    wasm_bindgen_futures::spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
