//! A bot's weights on their way to the engine: what a helper has read ahead of them
//! on this device, what else is there, then the rest over the network, several
//! chunks at a time. Every chunk is checked against `bot.json` before engine or
//! storage sees it, and a bad one is fetched again alone. Memory holds the chunks
//! in flight and no more.

use std::cell::Cell;

use futures_util::{StreamExt, pin_mut, stream};
use web_sys::RequestCache;

use super::{
    chunk::Chunk,
    digests::{Digester, ReadAhead},
    engine::{Device, Engine, EngineLoader},
    failure::WorkerError,
    lock,
    source::Source,
    storage::{Shelf, chunk_bytes},
    transport::{Pieces, Reader, Remote, get},
};
use crate::{
    bundle::manifest::{CHUNK_BYTES, FileEntry},
    gpt2::LoadError,
    web::protocol::{NotKept, Phase},
};

/// Chunks on their way at once, 4 MiB each.
const IN_FLIGHT: usize = 4;

/// Chunks read ahead from this device and checked: so many that the digests go on
/// while the first of them brings the vocabulary.
const READ_AHEAD: usize = 8;

/// Bytes of a chunk in this program's memory at once: small enough to stay in
/// a cache until they are packed.
const PIECE_BYTES: u32 = 256 << 10;

/// A chunk is fetched so many times before its file is called damaged.
const MOST_FETCHES: usize = 3;

/// Weights that are loaded.
pub struct Loaded {
    pub engine: Engine,
    /// Of the file.
    pub bytes: u64,
    /// Why they are not kept on this device; `None` if they are.
    pub not_kept: Option<NotKept>,
}

/// Brings the weights in. `digester`: one that was started before.
pub async fn weights(
    source: &Source,
    device: &mut Device,
    digester: Option<Digester>,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Loaded, WorkerError> {
    let Some(entry) = source.entry() else {
        return unchecked(source, device, progress).await;
    };
    let mut digester = digester.unwrap_or_else(|| Digester::new(entry.chunks.len()));
    let loader = EngineLoader::open(device, Some(entry.size)).await?;
    let mut intake = Intake { source, entry, loader, copy: Vec::new(), index: 0, loaded: 0 };
    if let Some(ahead) = digester.read_ahead() {
        read_ahead(&mut intake, ahead, progress).await?;
    }
    let not_kept = match intake.index < entry.chunks.len() {
        true => missing(&mut intake, &digester, progress).await?,
        false => None,
    };
    let engine = intake.loader.finish().map_err(|error| wrong_model(source, error))?;
    Ok(Loaded { engine, bytes: entry.size, not_kept })
}

/// Brings chunks that were not read ahead; says why they are not kept, if they are not.
async fn missing(
    intake: &mut Intake<'_>,
    digester: &Digester,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Option<NotKept>, WorkerError> {
    let (source, entry) = (intake.source, intake.entry);
    // Held until the file is whole: another tab then finds it here.
    let name = format!("huggingtweets {} {}", source.weights_url, entry.sha256);
    let _lock = lock::hold(&name, || progress(Phase::Waiting, 0, None)).await;
    let shelf = match source.is_local {
        true => Shelf::nowhere(),
        false => Shelf::open(&source.weights_url, entry).await,
    };
    from_device(intake, &shelf, digester, progress).await?;
    if intake.index == entry.chunks.len() {
        return Ok(None);
    }
    from_network(intake, &shelf, digester, progress).await?;
    Ok(shelf.close())
}

/// A GGUF that nothing describes, as it comes.
async fn unchecked(
    source: &Source,
    device: &mut Device,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Loaded, WorkerError> {
    let response = get(&source.weights_url, None, RequestCache::Default).await?;
    let headers = response.headers();
    // The body's length is unknown where the transport compresses it.
    let total = match headers.get("content-encoding") {
        Some(encoding) if encoding != "identity" => None,
        _ => headers.get("content-length").and_then(|length| length.parse().ok()),
    };
    let mut loader = EngineLoader::open(device, total).await?;
    let mut pieces = Pieces::of(&response)?;
    let mut loaded = 0;
    progress(Phase::Download, 0, total);
    while let Some(piece) = pieces.next().await.map_err(|_| WorkerError::Interrupted { loaded })? {
        loaded += u64::from(piece.length());
        loader.push(&piece.to_vec()).map_err(|error| wrong_model(source, error))?;
        progress(Phase::Download, loaded, total);
    }
    let engine = loader.finish().map_err(|error| wrong_model(source, error))?;
    Ok(Loaded { engine, bytes: loaded, not_kept: Some(NotKept::Undescribed) })
}

/// What a helper has of this file, and has read. It may have been started for another one.
async fn read_ahead(
    intake: &mut Intake<'_>,
    mut ahead: ReadAhead,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<(), WorkerError> {
    let entry = intake.entry;
    while let Some(sha256) = entry.chunks.get(intake.index)
        && let Some((digest, bytes)) = ahead.next().await
        && digest == *sha256
    {
        let chunk = Chunk::whole(bytes);
        intake.take(&chunk)?;
        ahead.give_back(chunk.into_room());
        progress(Phase::Cache, intake.loaded, Some(entry.size));
    }
    if intake.index < entry.chunks.len() {
        ahead.end().await;
    }
    Ok(())
}

/// Chunks that earlier visits left here, up to the first that is missing.
async fn from_device(
    intake: &mut Intake<'_>,
    shelf: &Shelf,
    digester: &Digester,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<(), WorkerError> {
    let entry = intake.entry;
    let rest = intake.index..entry.chunks.len();
    let chunks = stream::iter(rest).map(|index| shelf.read(entry, index, digester));
    let chunks = chunks.buffered(READ_AHEAD);
    pin_mut!(chunks);
    while let Some(Some(chunk)) = chunks.next().await {
        intake.take(&chunk)?;
        shelf.recycle(chunk);
        progress(Phase::Cache, intake.loaded, Some(entry.size));
    }
    Ok(())
}

/// The rest, in order for the engine, however it comes.
async fn from_network(
    intake: &mut Intake<'_>,
    shelf: &Shelf,
    digester: &Digester,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<(), WorkerError> {
    let (source, entry, first) = (intake.source, intake.entry, intake.index);
    // The shelf keeps it; the browser's own cache need not.
    let remote = Remote::new(&source.weights_url, &source.file, entry.size, RequestCache::NoStore);
    let arriving = Arriving { entry, shelf, digester, loaded: Cell::new(intake.loaded), progress };
    arriving.tell();
    let start = first as u64 * CHUNK_BYTES as u64;
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

/// Chunks under way, and the bytes they have brought.
struct Arriving<'a, P> {
    entry: &'a FileEntry,
    shelf: &'a Shelf,
    digester: &'a Digester,
    loaded: Cell<u64>,
    progress: &'a P,
}

impl<P: Fn(Phase, u64, Option<u64>)> Arriving<'_, P> {
    /// A chunk by a connection of its own: one that is `opened`, or another. One
    /// beyond the first that was missing may be on this device all the same.
    async fn obtain(
        &self,
        remote: &Remote<'_>,
        index: usize,
        opened: Option<Reader<'_>>,
    ) -> Result<Chunk, WorkerError> {
        let mut reader = match opened {
            Some(reader) => reader,
            None => {
                if let Some(chunk) = self.shelf.read(self.entry, index, self.digester).await {
                    self.count(chunk.filled());
                    return Ok(chunk);
                }
                let start = index as u64 * CHUNK_BYTES as u64;
                Reader::new(remote, start, start + chunk_bytes(self.entry, index) as u64)
            }
        };
        self.fill(&mut reader, index).await
    }

    /// Reads a chunk until its digest is right, and keeps it.
    async fn fill(&self, reader: &mut Reader<'_>, index: usize) -> Result<Chunk, WorkerError> {
        let start = index as u64 * CHUNK_BYTES as u64;
        let expected = self.entry.chunks.get(index).map(String::as_str).unwrap_or_default();
        let mut chunk = Chunk::new(chunk_bytes(self.entry, index));
        for _ in 0..MOST_FETCHES {
            reader.fill(&mut chunk, &|bytes| self.count(bytes)).await?;
            if chunk.is(expected, self.digester).await == Some(true) {
                reader.expect_end().await?;
                self.shelf.write(index, &chunk).await;
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

/// Checked chunks in order, on their way into the engine's layout.
struct Intake<'a> {
    source: &'a Source,
    entry: &'a FileEntry,
    loader: EngineLoader,
    /// A piece of the chunk, in this program's memory.
    copy: Vec<u8>,
    /// Chunks taken, and their bytes.
    index: usize,
    loaded: u64,
}

impl Intake<'_> {
    fn take(&mut self, chunk: &Chunk) -> Result<(), WorkerError> {
        let (bytes, length) = (chunk.bytes(), chunk.filled() as u32);
        for start in (0..length).step_by(PIECE_BYTES as usize) {
            let piece = bytes.subarray(start, length.min(start + PIECE_BYTES));
            self.copy.resize(piece.length() as usize, 0);
            piece.copy_to(&mut self.copy);
            self.loader.push(&self.copy).map_err(|error| wrong_model(self.source, error))?;
        }
        self.index += 1;
        self.loaded += u64::from(length);
        Ok(())
    }
}

fn wrong_model(source: &Source, error: LoadError) -> WorkerError {
    WorkerError::model(&source.file, error)
}
