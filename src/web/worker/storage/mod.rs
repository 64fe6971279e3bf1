//! Weights stored on this device, chunk by chunk: in the origin private file system (OPFS), else in
//! the Cache API, else nowhere. A chunk is written once its digest matched and used only if it
//! matches again (or, in a sealed file, its checksum: [`seal`]), so nothing wrong, torn or
//! half-written is ever used. No error here is fatal: what is not stored is downloaded.

mod cache;
mod opfs;
pub mod seal;

use std::cell::RefCell;

use js_sys::{Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::WorkerGlobalScope;

use self::{cache::CacheFile, opfs::OpfsFile};
use super::{chunk::Chunk, digests::Digester};
use crate::{
    bundle::{
        digest::sha256_hex,
        manifest::{CHUNK_BYTES, FileEntry},
    },
    web::protocol::NotKept,
};

/// The storage of one file's chunks.
pub struct ChunkStore {
    place: RefCell<Place>,
    /// Why nothing is stored, for the visitor.
    refusal: RefCell<Option<NotKept>>,
    /// Buffers of chunks already used: a new one costs as much as reading the chunk.
    buffers: RefCell<Vec<Uint8Array>>,
}

#[derive(Clone)]
enum Place {
    Opfs(OpfsFile),
    Cache(CacheFile),
    Nowhere,
}

/// Identifies a file; another version at the same address replaces it.
struct FileKey {
    /// Digest of the address.
    address: String,
    /// SHA-256 of the file.
    sha256: String,
}

impl ChunkStore {
    /// Opens the storage of the file at `url`, with the chunks that earlier visits left.
    pub async fn open(url: &str, entry: &FileEntry) -> Self {
        let key = FileKey { address: sha256_hex(url.as_bytes()), sha256: entry.sha256.clone() };
        let mut refusal = NotKept::NoStorage;
        if is_digest(&key.sha256) {
            match OpfsFile::open(&key, entry.size).await {
                Ok(file) => return Self::at(Place::Opfs(file)),
                Err(error) if is_quota(&error) => refusal = NotKept::Full,
                Err(_) => match CacheFile::open(&key).await {
                    Ok(file) => return Self::at(Place::Cache(file)),
                    Err(error) if is_quota(&error) => refusal = NotKept::Full,
                    Err(_) => {}
                },
            }
        }
        let store = Self::nowhere();
        store.refusal.replace(Some(refusal));
        store
    }

    /// Stores nothing: the visitor's own file need not be copied.
    pub fn nowhere() -> Self {
        Self::at(Place::Nowhere)
    }

    fn at(place: Place) -> Self {
        Self { place: RefCell::new(place), refusal: RefCell::default(), buffers: RefCell::default() }
    }

    /// The chunk, if it is stored and matches its digest in `bot.json`.
    pub async fn read(&self, entry: &FileEntry, index: usize, digester: &Digester) -> Option<Chunk> {
        let place = self.place.borrow().clone();
        let sha256 = entry.chunks.get(index)?;
        loop {
            let bytes = match &place {
                Place::Opfs(file) => {
                    let buffer = self.buffer(chunk_bytes(entry, index));
                    file.read(chunk_start(index), &buffer).then_some(buffer)
                }
                Place::Cache(file) => file.read(index).await,
                Place::Nowhere => None,
            }?;
            let mut chunk = Chunk::whole(bytes);
            // A buffer lost with the helper is read again; that helper is not used twice.
            if let Some(right) = chunk.matches(sha256, digester).await {
                return right.then_some(chunk);
            }
        }
    }

    /// Takes back the buffer of a chunk already used.
    pub fn recycle(&self, chunk: Chunk) {
        self.buffers.borrow_mut().push(chunk.into_buffer());
    }

    fn buffer(&self, length: usize) -> Uint8Array {
        let buffer = self.buffers.borrow_mut().pop().filter(|buffer| buffer.length() as usize == length);
        buffer.unwrap_or_else(|| Uint8Array::new_with_length(length as u32))
    }

    /// Stores a verified chunk.
    pub async fn write(&self, index: usize, chunk: &Chunk) {
        let place = self.place.borrow().clone();
        let written = match &place {
            Place::Opfs(file) => file.write(chunk_start(index), &chunk.bytes()),
            Place::Cache(file) => file.write(index, &chunk.bytes()).await,
            Place::Nowhere => return,
        };
        if let Err(error) = written {
            let reason = if is_quota(&error) { NotKept::Full } else { NotKept::NoStorage };
            self.refusal.replace(Some(reason));
            self.place.replace(Place::Nowhere);
            // A file that will never be complete only takes up space.
            place.remove().await;
        }
    }

    /// Appends the checksums of the file's chunks, all of which were verified.
    pub fn seal(&self, entry: &FileEntry, seals: &[u128]) {
        if let Place::Opfs(file) = &*self.place.borrow()
            && seals.len() == entry.chunks.len()
        {
            let bytes = Uint8Array::from(&seal::to_bytes(seals)[..]);
            // Without them, the next visit computes digests.
            let _ = file.write(entry.size, &bytes);
        }
    }

    /// Releases the file for other tabs; returns why it is not stored, if it is not.
    pub fn close(&self) -> Option<NotKept> {
        if let Place::Opfs(file) = self.place.replace(Place::Nowhere) {
            file.close();
        }
        *self.refusal.borrow()
    }
}

impl Drop for ChunkStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Place {
    async fn remove(&self) {
        match self {
            Self::Opfs(file) => file.remove().await,
            Self::Cache(file) => file.remove().await,
            Self::Nowhere => {}
        }
    }
}

/// Offset of a chunk in its file.
pub fn chunk_start(index: usize) -> u64 {
    index as u64 * CHUNK_BYTES as u64
}

/// Bytes of a chunk; the last one may be shorter.
pub fn chunk_bytes(entry: &FileEntry, index: usize) -> usize {
    entry.size.saturating_sub(chunk_start(index)).min(CHUNK_BYTES as u64) as usize
}

/// The browsers' name for an exceeded quota.
const QUOTA: &str = "QuotaExceededError";

fn is_quota(error: &JsValue) -> bool {
    is_named(error, QUOTA)
}

/// Whether this is the browser's error of that name.
fn is_named(error: &JsValue, expected: &str) -> bool {
    let name = Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string());
    name.as_deref() == Some(expected)
}

fn scope() -> Result<WorkerGlobalScope, JsValue> {
    js_sys::global().dyn_into().map_err(JsValue::from)
}

async fn settled<T: JsCast>(promise: Promise) -> Result<T, JsValue> {
    JsFuture::from(promise).await?.dyn_into()
}

/// The last `bot.json` from `url`, for visits without a network.
pub async fn remembered_description(url: &str) -> Option<Vec<u8>> {
    let cache = cache::open(cache::DESCRIPTIONS).await.ok()?;
    cache::read(&cache, url).await.map(|bytes: Uint8Array| bytes.to_vec())
}

pub async fn remember_description(url: &str, json: &[u8]) {
    if let Ok(cache) = cache::open(cache::DESCRIPTIONS).await {
        let _ = cache::write(&cache, url, &Uint8Array::from(json)).await;
    }
}

/// A measurement stored under a key that begins with an address.
pub async fn remembered_measurement(key: &str) -> Option<String> {
    let cache = cache::open(cache::MEASUREMENTS).await.ok()?;
    cache::read(&cache, key).await.and_then(|bytes: Uint8Array| String::from_utf8(bytes.to_vec()).ok())
}

pub async fn remember_measurement(key: &str, text: &str) {
    if let Ok(cache) = cache::open(cache::MEASUREMENTS).await {
        let _ = cache::write(&cache, key, &Uint8Array::from(text.as_bytes())).await;
    }
}

/// Removes what is stored of the bot at this address, and the weights with this digest, from
/// whichever address they came.
pub async fn forget(model: String, sha256: Option<String>) {
    let _ = cache::forget_address(&model).await;
    if let Some(sha256) = sha256.filter(|sha256| is_digest(sha256)) {
        let _ = opfs::forget(&sha256).await;
        let _ = cache::forget(&sha256).await;
    }
}

/// Digests come from a stranger's `bot.json` and become file names: they must not be paths.
fn is_digest(sha256: &str) -> bool {
    sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Ignores a promise's failure, so that the browser does not report it as unhandled.
pub fn swallow(promise: Promise) {
    wasm_bindgen_futures::spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
