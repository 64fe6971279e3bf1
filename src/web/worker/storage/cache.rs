//! Chunks and other bytes in the Cache API: each entry is one response, which the browser stores
//! whole or not at all.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, CacheStorage, Request, Response};

use super::{FileKey, scope, settled};

/// `bot.json` by its address; `www/engine-choice.js` reads these too.
pub const DESCRIPTIONS: &str = "huggingtweets-descriptions-1";

/// Timings of engines, by the weights' address.
pub const MEASUREMENTS: &str = "huggingtweets-measurements-1";

/// Cards, pictures and descriptions for visits without a network, stored by `www/sw.js`.
const BOTS: &str = "huggingtweets-bots-1";

/// Names of the weights' caches begin with this; the digest of the address follows.
const WEIGHTS: &str = "huggingtweets-weights-2-";

/// One file's chunks, an entry each. Each address has a cache; the names of entries begin with the
/// file's digest.
#[derive(Clone)]
pub struct CacheFile {
    cache: Cache,
    prefix: String,
}

impl CacheFile {
    pub async fn open(key: &FileKey) -> Result<Self, JsValue> {
        let cache = open(&format!("{WEIGHTS}{}", key.address)).await?;
        let prefix = prefix(&key.sha256);
        let entries: js_sys::Array = settled(cache.keys().unchecked_into()).await?;
        for entry in entries.iter().filter_map(|entry| entry.dyn_into::<Request>().ok()) {
            // A chunk of a former file at this address.
            if !entry.url().starts_with(&prefix) {
                JsFuture::from(cache.delete_with_request(&entry)).await?;
            }
        }
        Ok(Self { cache, prefix })
    }

    pub async fn read(&self, index: usize) -> Option<Uint8Array> {
        read(&self.cache, &self.entry(index)).await
    }

    pub async fn write(&self, index: usize, bytes: &Uint8Array) -> Result<(), JsValue> {
        write(&self.cache, &self.entry(index), bytes).await
    }

    pub async fn remove(&self) {
        let entries: Result<js_sys::Array, _> = settled(self.cache.keys().unchecked_into()).await;
        for entry in entries.iter().flat_map(js_sys::Array::iter).filter_map(|e| e.dyn_into::<Request>().ok())
        {
            let _ = JsFuture::from(self.cache.delete_with_request(&entry)).await;
        }
    }

    fn entry(&self, index: usize) -> String {
        format!("{}{index}", self.prefix)
    }
}

/// What the name of each of a file's entries begins with.
fn prefix(sha256: &str) -> String {
    format!("https://weights.invalid/{sha256}/")
}

/// Removes the chunks of the file with this digest from every cache.
pub async fn forget(sha256: &str) -> Result<(), JsValue> {
    let caches: CacheStorage = scope()?.caches()?;
    let names: js_sys::Array = settled(caches.keys().unchecked_into()).await?;
    for name in names.iter().filter_map(|name| name.as_string()).filter(|name| name.starts_with(WEIGHTS)) {
        let cache = open(&name).await?;
        let entries: js_sys::Array = settled(cache.keys().unchecked_into()).await?;
        for entry in entries.iter().filter_map(|entry| entry.dyn_into::<Request>().ok()) {
            if entry.url().starts_with(&prefix(sha256)) {
                JsFuture::from(cache.delete_with_request(&entry)).await?;
            }
        }
    }
    Ok(())
}

/// Removes what is stored of the bot at this address, except its weights: of a folder, only files
/// directly in it.
pub async fn forget_address(model: &str) -> Result<(), JsValue> {
    let model = model.strip_suffix("bot.json").unwrap_or(model);
    let is_folder = !model.to_ascii_lowercase().ends_with(".gguf");
    let start = if is_folder { format!("{}/", model.trim_end_matches('/')) } else { model.into() };
    let is_its = |url: &str| {
        let rest = url.strip_prefix(&start).map(|rest| rest.split('?').next().unwrap_or_default());
        rest.is_some_and(|rest| !rest.contains('/'))
    };
    for name in [DESCRIPTIONS, MEASUREMENTS, BOTS] {
        let cache = open(name).await?;
        let entries: js_sys::Array = settled(cache.keys().unchecked_into()).await?;
        for entry in entries.iter().filter_map(|entry| entry.dyn_into::<Request>().ok()) {
            if is_its(&entry.url()) {
                JsFuture::from(cache.delete_with_request(&entry)).await?;
            }
        }
    }
    Ok(())
}

/// Opens a cache. Fails if the browser has none for this page (insecure origin, private window).
pub async fn open(name: &str) -> Result<Cache, JsValue> {
    let caches: CacheStorage = scope()?.caches()?;
    if caches.is_undefined() {
        return Err(JsValue::UNDEFINED);
    }
    settled(caches.open(name).unchecked_into()).await
}

pub async fn read(cache: &Cache, url: &str) -> Option<Uint8Array> {
    let found: Response = settled(cache.match_with_str(url).unchecked_into()).await.ok()?;
    let buffer: ArrayBuffer = settled(found.array_buffer().ok()?.unchecked_into()).await.ok()?;
    Some(Uint8Array::new(&buffer))
}

pub async fn write(cache: &Cache, url: &str, bytes: &Uint8Array) -> Result<(), JsValue> {
    let response = Response::new_with_opt_js_u8_array(Some(bytes))?;
    JsFuture::from(cache.put_with_str(url, &response)).await.map(drop)
}
