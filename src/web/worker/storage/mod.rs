//! Weights that stay on this device, chunk by chunk: in the origin's private
//! file system, else in the Cache API, else nowhere. A chunk is written when
//! its digest was found right and believed only when it is found right again
//! ([`seal`]: or still is what it was when it was found right), so that nothing wrong,
//! torn or half-written is ever used. Nothing here is fatal: what is not kept comes over
//! the network.

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

/// Where one file's chunks lie on this device.
pub struct Shelf {
    place: RefCell<Place>,
    /// Why nothing is kept, for the visitor.
    refusal: RefCell<Option<NotKept>>,
    /// Memory of chunks that are done with: fresh memory costs as much as the reading.
    rooms: RefCell<Vec<Uint8Array>>,
}

#[derive(Clone)]
enum Place {
    Opfs(OpfsFile),
    Cache(CacheFile),
    Nowhere,
}

/// What tells a file from all others: another version at the same address
/// takes its place.
struct Name {
    /// Digest of the address.
    address: String,
    /// The file's SHA-256.
    sha256: String,
}

impl Shelf {
    /// The shelf of the file at `url`, with whatever earlier visits left there.
    pub async fn open(url: &str, entry: &FileEntry) -> Self {
        let name = Name { address: sha256_hex(url.as_bytes()), sha256: entry.sha256.clone() };
        let mut refusal = NotKept::NoStorage;
        if is_digest(&name.sha256) {
            match OpfsFile::open(&name, entry.size).await {
                Ok(file) => return Self::at(Place::Opfs(file)),
                Err(error) if is_quota(&error) => refusal = NotKept::Full,
                Err(_) => match CacheFile::open(&name).await {
                    Ok(file) => return Self::at(Place::Cache(file)),
                    Err(error) if is_quota(&error) => refusal = NotKept::Full,
                    Err(_) => {}
                },
            }
        }
        let shelf = Self::nowhere();
        shelf.refusal.replace(Some(refusal));
        shelf
    }

    /// Keeps nothing: the visitor's own file need not be copied.
    pub fn nowhere() -> Self {
        Self::at(Place::Nowhere)
    }

    fn at(place: Place) -> Self {
        Self { place: RefCell::new(place), refusal: RefCell::default(), rooms: RefCell::default() }
    }

    /// The chunk if it is here and is what `bot.json` describes.
    pub async fn read(&self, entry: &FileEntry, index: usize, digester: &Digester) -> Option<Chunk> {
        let place = self.place.borrow().clone();
        let sha256 = entry.chunks.get(index)?;
        loop {
            let bytes = match &place {
                Place::Opfs(file) => {
                    let room = self.room(chunk_bytes(entry, index));
                    file.read(chunk_start(index), &room).then_some(room)
                }
                Place::Cache(file) => file.read(index).await,
                Place::Nowhere => None,
            }?;
            let mut chunk = Chunk::whole(bytes);
            // Bytes that are lost are still here, and are not given away twice.
            if let Some(right) = chunk.is(sha256, digester).await {
                return right.then_some(chunk);
            }
        }
    }

    /// Takes the memory of a chunk that is done with.
    pub fn recycle(&self, chunk: Chunk) {
        self.rooms.borrow_mut().push(chunk.into_room());
    }

    fn room(&self, length: usize) -> Uint8Array {
        let room = self.rooms.borrow_mut().pop().filter(|room| room.length() as usize == length);
        room.unwrap_or_else(|| Uint8Array::new_with_length(length as u32))
    }

    /// Keeps a chunk that was found right.
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
            // A part that can never be whole only takes room.
            place.remove().await;
        }
    }

    /// Takes note of what the file's chunks are, now that all of them were found right.
    pub fn seal(&self, entry: &FileEntry, seals: &[u128]) {
        if let Place::Opfs(file) = &*self.place.borrow()
            && seals.len() == entry.chunks.len()
        {
            let bytes = Uint8Array::from(&seal::to_bytes(seals)[..]);
            // Without it, digests are taken again.
            let _ = file.write(entry.size, &bytes);
        }
    }

    /// Lets other tabs have the file; says why it is not kept, if it is not.
    pub fn close(&self) -> Option<NotKept> {
        if let Place::Opfs(file) = self.place.replace(Place::Nowhere) {
            file.close();
        }
        *self.refusal.borrow()
    }
}

impl Drop for Shelf {
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

/// Where a chunk begins in its file.
pub fn chunk_start(index: usize) -> u64 {
    index as u64 * CHUNK_BYTES as u64
}

/// Bytes of a chunk: the last one is shorter.
pub fn chunk_bytes(entry: &FileEntry, index: usize) -> usize {
    entry.size.saturating_sub(chunk_start(index)).min(CHUNK_BYTES as u64) as usize
}

/// The browsers' name for an error of having no room.
const QUOTA: &str = "QuotaExceededError";

fn is_quota(error: &JsValue) -> bool {
    is(error, QUOTA)
}

/// Whether this is the browser's error of that name.
fn is(error: &JsValue, expected: &str) -> bool {
    let name = Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string());
    name.as_deref() == Some(expected)
}

fn scope() -> Result<WorkerGlobalScope, JsValue> {
    js_sys::global().dyn_into().map_err(JsValue::from)
}

async fn settled<T: JsCast>(promise: Promise) -> Result<T, JsValue> {
    JsFuture::from(promise).await?.dyn_into()
}

/// The last `bot.json` that came from `url`, for visits without a network.
pub async fn remembered_description(url: &str) -> Option<Vec<u8>> {
    let cache = cache::open(cache::DESCRIPTIONS).await.ok()?;
    cache::read(&cache, url).await.map(|bytes: Uint8Array| bytes.to_vec())
}

pub async fn remember_description(url: &str, json: &[u8]) {
    if let Ok(cache) = cache::open(cache::DESCRIPTIONS).await {
        let _ = cache::write(&cache, url, &Uint8Array::from(json)).await;
    }
}

/// A measurement kept under a key that begins with an address.
pub async fn remembered_measurement(key: &str) -> Option<String> {
    let cache = cache::open(cache::MEASUREMENTS).await.ok()?;
    cache::read(&cache, key).await.and_then(|bytes: Uint8Array| String::from_utf8(bytes.to_vec()).ok())
}

pub async fn remember_measurement(key: &str, text: &str) {
    if let Ok(cache) = cache::open(cache::MEASUREMENTS).await {
        let _ = cache::write(&cache, key, &Uint8Array::from(text.as_bytes())).await;
    }
}

/// Removes what is kept of the bot at this address, and the weights with this
/// digest, wherever they came from.
pub async fn forget(model: String, sha256: Option<String>) {
    let _ = cache::forget_address(&model).await;
    if let Some(sha256) = sha256.filter(|sha256| is_digest(sha256)) {
        let _ = opfs::forget(&sha256).await;
        let _ = cache::forget(&sha256).await;
    }
}

/// Digests are taken by a stranger's bot.json: they must be no path.
fn is_digest(sha256: &str) -> bool {
    sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Takes note of a failure that changes nothing, so that the browser does not
/// report it as unhandled.
pub fn swallow(promise: Promise) {
    wasm_bindgen_futures::spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
