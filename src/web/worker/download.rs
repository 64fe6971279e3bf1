//! Loads a bot's weights into the engine: from a sealed file on this device
//! ([`seal`](super::storage::seal)), else from chunks stored here and the rest over the network,
//! several at a time. Each of these chunks is verified against `bot.json` before engine or storage
//! gets it, and a bad one is fetched again by itself. Only the chunks in flight are in memory.

use std::cell::Cell;

use futures_util::{StreamExt, pin_mut, stream};
use wasm_bindgen::JsValue;
use web_sys::{RequestCache, ResponseType};

use super::{
    chunk::Chunk,
    digests::Digester,
    engine::{Device, Engine, EngineLoader},
    failure::WorkerError,
    lock,
    source::Source,
    storage::{
        ChunkStore, chunk_bytes, chunk_start,
        seal::{SealedFile, Sealing},
    },
    transport::{Pieces, Reader, Remote, get},
};
use crate::{
    bundle::manifest::FileEntry,
    gpt2::LoadError,
    web::protocol::{NotKept, Phase},
};

/// Chunks of 4 MiB in flight at once.
const IN_FLIGHT: usize = 4;

/// Chunks read ahead from this device and verified: enough to keep the digests going while the
/// engine reads the vocabulary from the first.
const READ_AHEAD: usize = 8;

/// Bytes of a chunk in WebAssembly memory at once: few enough to stay in a CPU cache until they are
/// packed.
const PIECE_BYTES: u32 = 256 << 10;

/// How often a chunk is fetched before its file counts as damaged.
const MAX_FETCHES: usize = 3;

/// Loaded weights.
pub struct Loaded {
    pub engine: Engine,
    /// Size of the file.
    pub bytes: u64,
    /// Why they are not stored on this device; `None` if they are, or need not be.
    pub not_kept: Option<NotKept>,
}

/// Loads the weights. `kept`: a file on this device, possibly another bot's, for
/// [`SealedFile::open`].
pub async fn weights(
    source: &Source,
    device: &mut Device,
    kept: &JsValue,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Loaded, WorkerError> {
    let Some(entry) = source.entry() else {
        return unchecked(source, device, progress).await;
    };
    let mut intake = Intake::open(source, entry, device)?;
    let mut whole = false;
    if let Some((file, seals)) = SealedFile::open(kept, entry).await {
        whole = from_sealed(&mut intake, &file, &seals, progress);
        if !whole {
            intake.loader.give_back(device);
            intake = Intake::open(source, entry, device)?;
        }
    }
    let not_kept = if whole { None } else { checked(&mut intake, progress).await? };
    let engine = intake.loader.finish().map_err(|error| wrong_model(source, error))?;
    Ok(Loaded { engine, bytes: entry.size, not_kept })
}

/// Loads chunks that are verified one by one; returns why they are not stored, if they are not.
async fn checked(
    intake: &mut Intake<'_>,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Option<NotKept>, WorkerError> {
    let (source, entry) = (intake.source, intake.entry);
    // Held until the file is complete: another tab then finds it here.
    let name = format!("huggingtweets {} {}", source.weights_url, entry.sha256);
    let _lock = lock::hold(&name, || progress(Phase::Waiting, 0, None)).await;
    let digester = Digester::new(entry.chunks.len());
    let store = match source.is_local {
        true => ChunkStore::nowhere(),
        false => ChunkStore::open(&source.weights_url, entry).await,
    };
    from_device(intake, &store, &digester, progress).await?;
    if intake.index < entry.chunks.len() {
        from_network(intake, &store, &digester, progress).await?;
    }
    store.seal(entry, intake.sealing.seals());
    Ok(store.close())
}

/// Loads a GGUF without a description as it arrives.
async fn unchecked(
    source: &Source,
    device: &mut Device,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Loaded, WorkerError> {
    let response = get(&source.weights_url, None, RequestCache::Default).await?;
    let headers = response.headers();
    // The length of the body is unknown where the transport compresses it.
    let total = match headers.get("content-encoding") {
        Some(encoding) if encoding != "identity" => None,
        _ => headers.get("content-length").and_then(|length| length.parse().ok()),
    };
    // Another origin hides the encoding, but not the length.
    let certain = total.filter(|_| response.type_() == ResponseType::Basic);
    let mut loader = EngineLoader::open(device, total, certain)?;
    let mut pieces = Pieces::of(&response)?;
    let mut loaded = 0;
    progress(Phase::Download, 0, total);
    while let Some(piece) = pieces.next().await.map_err(|_| WorkerError::Interrupted { loaded })? {
        loaded += u64::from(piece.length());
        loader.push(&piece.to_vec()).map_err(|error| wrong_model(source, error))?;
        progress(Phase::Download, loaded, total.filter(|&total| loaded <= total));
    }
    let engine = loader.finish().map_err(|error| wrong_model(source, error))?;
    // The visitor's own file need not be stored.
    let not_kept = (!source.is_local).then_some(NotKept::Undescribed);
    Ok(Loaded { engine, bytes: loaded, not_kept })
}

/// Loads a sealed file at full speed; returns whether it still matches its seals.
// Apart from the future that calls it: a browser would optimise all of that while this loops.
#[inline(never)]
fn from_sealed(
    intake: &mut Intake<'_>,
    file: &SealedFile,
    seals: &[u128],
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> bool {
    let entry = intake.entry;
    for (index, seal) in seals.iter().enumerate() {
        let read = |start, piece: &mut [u8]| file.read(chunk_start(index) + u64::from(start), piece);
        // Verifying the digests afterwards finds what is wrong.
        if intake.take_by(chunk_bytes(entry, index) as u32, read).is_err()
            || intake.sealing.seals().last() != Some(seal)
        {
            return false;
        }
        progress(Phase::Cache, intake.loaded, Some(entry.size));
    }
    true
}

/// Loads the chunks that earlier visits stored, up to the first that is missing.
async fn from_device(
    intake: &mut Intake<'_>,
    store: &ChunkStore,
    digester: &Digester,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<(), WorkerError> {
    let entry = intake.entry;
    let rest = intake.index..entry.chunks.len();
    let chunks = stream::iter(rest).map(|index| store.read(entry, index, digester));
    let chunks = chunks.buffered(READ_AHEAD);
    pin_mut!(chunks);
    while let Some(Some(chunk)) = chunks.next().await {
        intake.take(&chunk)?;
        store.recycle(chunk);
        progress(Phase::Cache, intake.loaded, Some(entry.size));
    }
    Ok(())
}

/// Downloads the rest and passes it to the engine in order.
async fn from_network(
    intake: &mut Intake<'_>,
    store: &ChunkStore,
    digester: &Digester,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<(), WorkerError> {
    let (source, entry, first) = (intake.source, intake.entry, intake.index);
    // Chunks go to our own storage, so the browser's HTTP cache need not hold them too.
    let remote = Remote::new(&source.weights_url, &source.file, entry.size, RequestCache::NoStore);
    let arriving = Arriving { entry, store, digester, loaded: Cell::new(intake.loaded), progress };
    arriving.tell();
    let start = chunk_start(first);
    let mut reader = Reader::new(&remote, start, start + chunk_bytes(entry, first) as u64);
    reader.open().await?;
    if !remote.has_ranges() {
        for index in first..entry.chunks.len() {
            let chunk = arriving.fill(&mut reader, index).await?;
            intake.take(&chunk)?;
        }
        return Ok(());
    }
    let mut opened = Some(reader);
    let chunks = stream::iter(first..entry.chunks.len())
        .map(|index| arriving.obtain(&remote, index, opened.take()))
        .buffered(IN_FLIGHT);
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        intake.take(&chunk?)?;
    }
    Ok(())
}

/// The chunks in flight and the bytes received.
struct Arriving<'a, P> {
    entry: &'a FileEntry,
    store: &'a ChunkStore,
    digester: &'a Digester,
    loaded: Cell<u64>,
    progress: &'a P,
}

impl<P: Fn(Phase, u64, Option<u64>)> Arriving<'_, P> {
    /// Gets a chunk over a connection of its own, `opened` or a new one. One after the first that
    /// was missing may still be stored here.
    async fn obtain(
        &self,
        remote: &Remote<'_>,
        index: usize,
        opened: Option<Reader<'_>>,
    ) -> Result<Chunk, WorkerError> {
        let mut reader = match opened {
            Some(reader) => reader,
            None => {
                if let Some(chunk) = self.store.read(self.entry, index, self.digester).await {
                    self.count(chunk.filled());
                    return Ok(chunk);
                }
                let start = chunk_start(index);
                Reader::new(remote, start, start + chunk_bytes(self.entry, index) as u64)
            }
        };
        self.fill(&mut reader, index).await
    }

    /// Downloads a chunk until its digest matches, and stores it.
    async fn fill(&self, reader: &mut Reader<'_>, index: usize) -> Result<Chunk, WorkerError> {
        let start = chunk_start(index);
        let expected = self.entry.chunks.get(index).map(String::as_str).unwrap_or_default();
        let mut chunk = Chunk::new(chunk_bytes(self.entry, index));
        for _ in 0..MAX_FETCHES {
            reader.fill(&mut chunk, &|bytes| self.count(bytes)).await?;
            if chunk.matches(expected, self.digester).await == Some(true) {
                reader.expect_end().await?;
                self.store.write(index, &chunk).await;
                return Ok(chunk);
            }
            self.loaded.set(self.loaded.get().saturating_sub(chunk.filled()));
            chunk.clear();
            reader.rewind(start);
        }
        Err(WorkerError::Digest { file: reader.file().into(), piece: index + 1 })
    }

    fn count(&self, bytes: u64) {
        self.loaded.set(self.loaded.get() + bytes);
        self.tell();
    }

    fn tell(&self) {
        (self.progress)(Phase::Download, self.loaded.get(), Some(self.entry.size));
    }
}

/// Passes chunks in order to the engine's loader.
struct Intake<'a> {
    source: &'a Source,
    entry: &'a FileEntry,
    loader: EngineLoader,
    /// A piece of the chunk in WebAssembly memory.
    copy: Vec<u8>,
    sealing: Sealing,
    /// Chunks taken, and their bytes.
    index: usize,
    loaded: u64,
}

impl<'a> Intake<'a> {
    fn open(source: &'a Source, entry: &'a FileEntry, device: &mut Device) -> Result<Self, WorkerError> {
        let loader = EngineLoader::open(device, Some(entry.size), Some(entry.size))?;
        Ok(Self { source, entry, loader, copy: Vec::new(), sealing: Sealing::default(), index: 0, loaded: 0 })
    }

    /// Takes a verified chunk.
    fn take(&mut self, chunk: &Chunk) -> Result<(), WorkerError> {
        let bytes = chunk.bytes();
        self.take_by(chunk.filled() as u32, |start, piece| {
            bytes.subarray(start, start + piece.len() as u32).copy_to(piece);
            true
        })
    }

    /// Takes a chunk of `length` bytes. `read` copies the piece at an offset, and returns `false`
    /// if it cannot.
    // Apart for the same reason.
    #[inline(never)]
    fn take_by(&mut self, length: u32, read: impl Fn(u32, &mut [u8]) -> bool) -> Result<(), WorkerError> {
        for start in (0..length).step_by(PIECE_BYTES as usize) {
            self.copy.resize((length - start).min(PIECE_BYTES) as usize, 0);
            if !read(start, &mut self.copy) {
                return Err(WorkerError::Interrupted { loaded: self.loaded + u64::from(start) });
            }
            self.sealing.take(&self.copy);
            self.loader.push(&self.copy).map_err(|error| wrong_model(self.source, error))?;
        }
        self.sealing.end_chunk();
        if self.index == 0 {
            // While the others arrive: kernels for the known prompt, and for one draft.
            let known = self.source.check().map_or(1, |known| known.prompt_ids.len());
            self.loader.warm_up(&[known, 1]);
        }
        self.index += 1;
        self.loaded += u64::from(length);
        Ok(())
    }
}

fn wrong_model(source: &Source, error: LoadError) -> WorkerError {
    WorkerError::model(&source.file, error)
}
