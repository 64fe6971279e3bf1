//! A bot over the network: `bot.json` first, then its weights piece by piece,
//! each piece checked before the engine or the cache sees it.

use gloo::net::http::{Request, Response};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, RequestCache, Url};

use super::{
    chunk::{Chunk, Digest},
    engine::{Device, Engine, EngineLoader},
    failure::WorkerError,
    storage::{Deposit, Store, swallow},
};
use crate::{
    bundle::{
        Manifest, Precision,
        manifest::{BotInfo, CHUNK_BYTES, FileEntry, LogitsCheck},
    },
    gpt2::LoadError,
    web::protocol::{LoadRequest, Phase},
};

/// Where a bot's weights are, and what is known of them beforehand.
pub struct Source {
    /// Absolute URL of the GGUF.
    weights_url: String,
    /// Its name, for sentences.
    file: String,
    /// `None` for a GGUF by its own URL: nothing to check it against.
    manifest: Option<Manifest>,
    /// The visitor's own file: there is no need to keep it.
    is_local: bool,
}

impl Source {
    /// Reads a folder's `bot.json`, or takes a `.gguf` URL as it is.
    pub async fn resolve(request: &LoadRequest) -> Result<Self, WorkerError> {
        let (model, precision) = (request.model.as_str(), request.precision);
        let is_local = !request.files.is_empty();
        let bad_address = || WorkerError::Address { url: model.into() };
        let url = Url::new(model).map_err(|_| bad_address())?;
        if !matches!(url.protocol().as_str(), "http:" | "https:") {
            return Err(bad_address());
        }
        let path = url.pathname();
        if path.to_ascii_lowercase().ends_with(".gguf") {
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            let weights_url = request.files.get(&file).cloned().unwrap_or_else(|| url.href());
            return Ok(Self { weights_url, file, manifest: None, is_local });
        }
        let folder = path.strip_suffix("bot.json").unwrap_or(&path);
        let folder = folder.trim_end_matches('/').to_owned();
        let in_folder = |file: &str| {
            if let Some(given) = request.files.get(file) {
                return given.clone();
            }
            url.set_pathname(&format!("{folder}/{file}"));
            url.href()
        };
        let manifest_url = in_folder("bot.json");
        let response = fetch(&manifest_url, RequestCache::NoCache).await?;
        let unreachable = |_| WorkerError::Unreachable { url: manifest_url.clone() };
        let manifest = Manifest::from_json(&response.binary().await.map_err(unreachable)?)?;
        let file = precision.file_name();
        if !manifest.files.contains_key(file) {
            let available = Precision::ALL.into_iter().filter(|p| *p != Precision::F32);
            let available: Vec<_> = available
                .filter(|p| manifest.files.contains_key(p.file_name()))
                .map(|p| format!("?precision={p}"))
                .collect();
            let available = match available.is_empty() {
                true => "no weights for browsers (huggingtweets convert makes them)".into(),
                false => available.join(", "),
            };
            return Err(WorkerError::NoSuchPrecision { file: file.into(), available });
        }
        Ok(Self { weights_url: in_folder(file), file: file.into(), manifest: Some(manifest), is_local })
    }

    /// Who the bot is, where that is known before its weights are here.
    pub fn info(&self) -> Option<&BotInfo> {
        self.manifest.as_ref().map(|m| &m.info)
    }

    /// For a GGUF alone: its own name, else its file's.
    pub fn info_from_name(&self, general_name: Option<&str>) -> BotInfo {
        let stem = self.file.get(..self.file.len().saturating_sub(".gguf".len())).unwrap_or(&self.file);
        let name = general_name.map(str::trim).filter(|n| !n.is_empty()).unwrap_or(stem);
        BotInfo { name: name.into(), ..BotInfo::default() }
    }

    /// The known prompt for this file.
    pub fn check(&self) -> Option<&LogitsCheck> {
        self.manifest.as_ref()?.checks.get(&self.file)
    }

    /// Tells this file and no other; for a GGUF alone, its address.
    pub fn identity(&self) -> String {
        self.entry().map_or_else(|| self.weights_url.clone(), |entry| cache_key(self, entry))
    }

    /// Digest of the weights, as `bot.json` has it.
    pub fn sha256(&self) -> Option<&str> {
        self.entry().map(|entry| entry.sha256.as_str())
    }

    /// Size of the weights, as `bot.json` has it.
    pub fn bytes(&self) -> Option<u64> {
        self.entry().map(|entry| entry.size)
    }

    fn entry(&self) -> Option<&FileEntry> {
        self.manifest.as_ref()?.files.get(&self.file)
    }
}

/// Brings the weights in, from the cache where they are whole there, else
/// over the network.
pub async fn weights(
    source: &Source,
    device: &mut Device,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Engine, WorkerError> {
    let Some(entry) = source.entry() else {
        let response = fetch(&source.weights_url, RequestCache::Default).await?;
        let total = content_length(&response);
        let mut loader = EngineLoader::open(device, total).await?;
        let mut pieces = Pieces::of(&response)?;
        progress(Phase::Download, 0, total);
        while let Some(piece) = pieces.next().await? {
            loader.push(&piece.to_vec()).map_err(|e| wrong_model(source, e))?;
            progress(Phase::Download, pieces.loaded, total);
        }
        return loader.finish().map_err(|e| wrong_model(source, e));
    };
    let store = if source.is_local { None } else { Store::open().await };
    let key = cache_key(source, entry);
    if let Some(store) = &store
        && let Some(body) = store.get(&key).await
    {
        match checked(source, entry, device, Pieces::new(&body)?, None, |n, all| {
            progress(Phase::Cache, n, all)
        })
        .await
        {
            Ok(engine) => return Ok(engine),
            // The GPU's fault, not the cache's.
            Err(error @ WorkerError::Gpu(_)) => return Err(error),
            // What a browser gives back is not always what it was given.
            Err(_) => store.remove(&key).await,
        }
    }
    // The cache below keeps it; the browser's own need not.
    let keep = if store.is_some() { RequestCache::NoStore } else { RequestCache::Default };
    let response = fetch(&source.weights_url, keep).await?;
    let deposit = store.and_then(|s| s.deposit(&key));
    let pieces = Pieces::of(&response)?;
    checked(source, entry, device, pieces, deposit, |n, all| progress(Phase::Download, n, all)).await
}

/// Feeds the engine (and the cache) with checked chunks only.
async fn checked(
    source: &Source,
    entry: &FileEntry,
    device: &mut Device,
    mut pieces: Pieces,
    mut deposit: Option<Deposit>,
    progress: impl Fn(u64, Option<u64>),
) -> Result<Engine, WorkerError> {
    let loader = EngineLoader::open(device, Some(entry.size)).await?;
    let result = feed(source, entry, loader, &mut pieces, &mut deposit, progress).await;
    if let Some(deposit) = deposit {
        match result.is_ok() {
            true => deposit.commit().await,
            false => deposit.abandon(),
        }
    }
    if result.is_err() {
        pieces.cancel();
    }
    result
}

async fn feed(
    source: &Source,
    entry: &FileEntry,
    loader: EngineLoader,
    pieces: &mut Pieces,
    deposit: &mut Option<Deposit>,
    progress: impl Fn(u64, Option<u64>),
) -> Result<Engine, WorkerError> {
    let mut intake = Intake { source, entry, loader, deposit, copy: Vec::new(), index: 0, checking: None };
    let mut chunk = intake.chunk();
    progress(0, Some(entry.size));
    while let Some(mut piece) = pieces.next().await? {
        if pieces.loaded > entry.size {
            return Err(WorkerError::TooLong { file: source.file.clone(), expected: entry.size });
        }
        while piece.length() > 0 {
            piece = chunk.take(&piece);
            if chunk.is_full() {
                let full = std::mem::replace(&mut chunk, intake.chunk());
                intake.take(full).await?;
            }
        }
        progress(pieces.loaded, Some(entry.size));
    }
    if pieces.loaded < entry.size {
        let (found, expected) = (pieces.loaded, entry.size);
        return Err(WorkerError::Truncated { file: source.file.clone(), found, expected });
    }
    if !chunk.is_empty() {
        intake.take(chunk).await?;
    }
    intake.settle().await?;
    intake.loader.finish().map_err(|e| wrong_model(source, e))
}

/// Checks chunks in order; engine and cache see them once they are good. While
/// one chunk's digest is computed elsewhere, the next one arrives.
struct Intake<'a> {
    source: &'a Source,
    entry: &'a FileEntry,
    loader: EngineLoader,
    deposit: &'a mut Option<Deposit>,
    /// The chunk in this program's memory.
    copy: Vec<u8>,
    /// Chunks settled.
    index: usize,
    checking: Option<(Chunk, Digest)>,
}

impl Intake<'_> {
    fn chunk(&self) -> Chunk {
        Chunk::new(CHUNK_BYTES.min(usize::try_from(self.entry.size).unwrap_or(CHUNK_BYTES)))
    }

    async fn take(&mut self, chunk: Chunk) -> Result<(), WorkerError> {
        let digest = chunk.digest();
        self.settle().await?;
        self.checking = Some((chunk, digest));
        Ok(())
    }

    /// Waits for the chunk under way and passes it on.
    async fn settle(&mut self) -> Result<(), WorkerError> {
        let Some((chunk, digest)) = self.checking.take() else { return Ok(()) };
        let digest = digest.hex().await;
        if digest.is_none() || self.entry.chunks.get(self.index) != digest.as_ref() {
            return Err(WorkerError::Digest { file: self.source.file.clone(), piece: self.index + 1 });
        }
        let bytes = chunk.bytes();
        self.copy.resize(bytes.length() as usize, 0);
        bytes.copy_to(&mut self.copy);
        self.loader.push(&self.copy).map_err(|e| wrong_model(self.source, e))?;
        if let Some(open) = self.deposit
            && !open.write(&bytes).await
        {
            *self.deposit = None;
        }
        self.index += 1;
        Ok(())
    }
}

fn wrong_model(source: &Source, error: LoadError) -> WorkerError {
    WorkerError::model(&source.file, error)
}

/// The address with the digest in it: another version of the file is another entry.
fn cache_key(source: &Source, entry: &FileEntry) -> String {
    let separator = if source.weights_url.contains('?') { '&' } else { '?' };
    format!("{}{separator}sha256={}", source.weights_url, entry.sha256)
}

async fn fetch(url: &str, cache: RequestCache) -> Result<Response, WorkerError> {
    let response = Request::get(url).cache(cache).send().await;
    let response = response.map_err(|_| WorkerError::Unreachable { url: url.into() })?;
    match response.ok() {
        true => Ok(response),
        false => Err(WorkerError::Status { url: url.into(), status: response.status() }),
    }
}

/// The body's length; unknown where the transport compresses it.
fn content_length(response: &Response) -> Option<u64> {
    let headers = response.headers();
    match headers.get("content-encoding") {
        Some(encoding) if encoding != "identity" => None,
        _ => headers.get("content-length")?.parse().ok(),
    }
}

/// A body as it arrives.
struct Pieces {
    reader: ReadableStreamDefaultReader,
    /// Bytes given out so far.
    loaded: u64,
}

impl Pieces {
    fn of(response: &Response) -> Result<Self, WorkerError> {
        let body = response.body().ok_or(WorkerError::Interrupted { loaded: 0 })?;
        Self::new(&body)
    }

    fn new(body: &ReadableStream) -> Result<Self, WorkerError> {
        Ok(Self { reader: body.get_reader().unchecked_into(), loaded: 0 })
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Uint8Array>, WorkerError> {
        let broken = WorkerError::Interrupted { loaded: self.loaded };
        let Ok(result) = JsFuture::from(self.reader.read()).await else { return Err(broken) };
        if Reflect::get(&result, &"done".into())?.is_truthy() {
            return Ok(None);
        }
        let bytes: Uint8Array = Reflect::get(&result, &"value".into())?.unchecked_into();
        self.loaded += u64::from(bytes.length());
        Ok(Some(bytes))
    }

    /// Ends a transfer whose bytes are no longer wanted.
    fn cancel(&self) {
        swallow(self.reader.cancel().unchecked_into());
    }
}
