//! Reads a file over the network: by ranges where the server supports them, else as one stream from
//! the start. A broken connection is resumed where it ended.

use std::cell::Cell;

use gloo::net::http::{Request, Response};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, RequestCache};

use super::{
    browser::{sleep, within},
    chunk::Chunk,
    failure::WorkerError,
    storage::swallow,
};

/// Pauses before reconnecting, in milliseconds; received bytes start them over. After the last one
/// the error is returned.
const PAUSES_MS: [u32; 3] = [250, 1000, 4000];

/// A connection that delivers nothing for this many milliseconds counts as broken: a device that
/// left its network gets no error.
const STALL_MS: u32 = 20_000;

/// A file's URL and promised size.
pub struct Remote<'a> {
    pub url: &'a str,
    /// The file's name, for error messages.
    pub file: &'a str,
    pub size: u64,
    /// How requests use the browser's HTTP cache.
    pub cache: RequestCache,
    /// Whether the server answers a range with a range; unknown before the first request.
    ranges: Cell<Option<bool>>,
}

impl<'a> Remote<'a> {
    pub fn new(url: &'a str, file: &'a str, size: u64, cache: RequestCache) -> Self {
        Self { url, file, size, cache, ranges: Cell::new(None) }
    }

    /// Whether the server supports ranges; known once a [`Reader`] has connected.
    pub fn has_ranges(&self) -> bool {
        self.ranges.get() == Some(true)
    }

    /// Requests a range. Returns the response and the byte it begins at: `start`, or 0 where the
    /// server does not support ranges.
    async fn request(&self, start: u64, end: u64) -> Result<(Response, u64), WorkerError> {
        if self.ranges.get() != Some(false) {
            let range = format!("bytes={start}-{}", end.saturating_sub(1));
            match get(self.url, Some(&range), self.cache).await {
                Ok(response) if response.status() == 206 => {
                    self.compare_size(&response)?;
                    self.ranges.set(Some(true));
                    return Ok((response, start));
                }
                Ok(response) => {
                    self.ranges.set(Some(self.has_ranges()));
                    return Ok((response, 0));
                }
                // Another origin may refuse the header alone, and a server a range beyond a file
                // that is too short: the whole file shows which.
                Err(WorkerError::Unreachable { .. } | WorkerError::Status { status: 416, .. })
                    if self.ranges.get().is_none() => {}
                Err(error) => return Err(error),
            }
        }
        let response = get(self.url, None, self.cache).await?;
        self.ranges.set(Some(false));
        Ok((response, 0))
    }

    /// Compares the whole size in `Content-Range: bytes 0-99/1234`; another origin may hide the
    /// header.
    fn compare_size(&self, response: &Response) -> Result<(), WorkerError> {
        let range = response.headers().get("content-range");
        let found = range.as_deref().and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
        match found {
            Some(found) if found < self.size => Err(self.truncated(found)),
            Some(found) if found > self.size => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    fn truncated(&self, found: u64) -> WorkerError {
        WorkerError::Truncated { file: self.file.into(), found, expected: self.size }
    }

    fn too_long(&self) -> WorkerError {
        WorkerError::TooLong { file: self.file.into(), expected: self.size }
    }
}

/// Reads bytes `position..end` of a file in order, reconnecting as needed.
pub struct Reader<'a> {
    remote: &'a Remote<'a>,
    /// The next byte to return.
    position: u64,
    end: u64,
    connection: Option<Pieces>,
    /// The part of the last piece that did not fit into the last chunk.
    rest: Option<Uint8Array>,
}

impl<'a> Reader<'a> {
    pub fn new(remote: &'a Remote<'a>, start: u64, end: u64) -> Self {
        Self { remote, position: start, end, connection: None, rest: None }
    }

    /// Connects, which also finds out whether the server supports ranges.
    pub async fn open(&mut self) -> Result<(), WorkerError> {
        let (response, starts_at) = self.remote.request(self.position, self.end).await?;
        let mut pieces = Pieces::of(&response)?;
        // Without ranges the response begins at byte 0.
        let mut skip = self.position - starts_at;
        self.rest = None;
        while skip > 0 {
            let Some(piece) = pieces.next().await.map_err(|_| self.interrupted())? else {
                return Err(self.remote.truncated(self.position - skip));
            };
            let now = skip.min(piece.length().into());
            skip -= now;
            self.rest = Some(piece.subarray(now as u32, piece.length()));
        }
        self.connection = Some(pieces);
        Ok(())
    }

    /// The file's name, for error messages.
    pub fn file(&self) -> &str {
        self.remote.file
    }

    /// Restarts at an earlier byte.
    pub fn rewind(&mut self, position: u64) {
        self.position = position;
        self.connection = None;
        self.rest = None;
    }

    /// Fills the chunk, reconnecting when the connection breaks. `arrived` gets the number of bytes
    /// received each time.
    pub async fn fill(&mut self, chunk: &mut Chunk, arrived: &impl Fn(u64)) -> Result<(), WorkerError> {
        let mut failures = 0;
        while !chunk.is_full() {
            let before = self.position;
            let Err(error) = self.fill_from_connection(chunk, arrived).await else { continue };
            self.connection = None;
            if self.position > before {
                failures = 0;
            }
            let Some(pause) = PAUSES_MS.get(failures).filter(|_| error.may_pass()) else { return Err(error) };
            failures += 1;
            sleep(*pause).await;
        }
        Ok(())
    }

    async fn fill_from_connection(
        &mut self,
        chunk: &mut Chunk,
        arrived: &impl Fn(u64),
    ) -> Result<(), WorkerError> {
        if self.connection.is_none() {
            self.open().await?;
        }
        while !chunk.is_full() {
            let piece = match self.rest.take().filter(|rest| rest.length() > 0) {
                Some(rest) => rest,
                None => self.piece().await?,
            };
            let before = chunk.filled();
            self.rest = Some(chunk.take(&piece));
            let took = chunk.filled() - before;
            self.position += took;
            arrived(took);
        }
        Ok(())
    }

    async fn piece(&mut self) -> Result<Uint8Array, WorkerError> {
        let interrupted = self.interrupted();
        let Some(connection) = &mut self.connection else { return Err(interrupted) };
        match connection.next().await {
            Ok(Some(piece)) => Ok(piece),
            // A whole file that ends here is too short; a range that ends here was cut off.
            Ok(None) if !self.remote.has_ranges() => Err(self.remote.truncated(self.position)),
            Ok(None) | Err(_) => Err(interrupted),
        }
    }

    /// At the end of the file, fails if the server sends more than was promised.
    pub async fn expect_end(&mut self) -> Result<(), WorkerError> {
        if self.position < self.remote.size {
            return Ok(());
        }
        let left = self.rest.take().is_some_and(|rest| rest.length() > 0);
        let more = match &mut self.connection {
            Some(connection) if !self.remote.has_ranges() && !left => {
                connection.next().await.is_ok_and(|piece| piece.is_some())
            }
            _ => false,
        };
        if left || more { Err(self.remote.too_long()) } else { Ok(()) }
    }

    fn interrupted(&self) -> WorkerError {
        WorkerError::Interrupted { loaded: self.position }
    }
}

/// Sends one request; an unsuccessful status is an error.
pub async fn get(url: &str, range: Option<&str>, cache: RequestCache) -> Result<Response, WorkerError> {
    let mut request = Request::get(url).cache(cache);
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let response = match within(STALL_MS, request.send()).await {
        Some(Ok(response)) => response,
        _ => return Err(WorkerError::Unreachable { url: url.into() }),
    };
    match response.ok() {
        true => Ok(response),
        false => Err(WorkerError::Status { url: url.into(), status: response.status() }),
    }
}

/// A response body as it arrives; dropping it cancels the transfer.
pub struct Pieces {
    reader: ReadableStreamDefaultReader,
}

impl Pieces {
    pub fn of(response: &Response) -> Result<Self, WorkerError> {
        let body = response.body().ok_or(WorkerError::Interrupted { loaded: 0 })?;
        Ok(Self { reader: body.get_reader().unchecked_into() })
    }

    /// The next bytes; `None` at the end; an error if the connection breaks or stalls.
    pub async fn next(&mut self) -> Result<Option<Uint8Array>, JsValue> {
        let read = within(STALL_MS, JsFuture::from(self.reader.read()));
        let result = read.await.ok_or(JsValue::UNDEFINED)??;
        if Reflect::get(&result, &"done".into())?.is_truthy() {
            return Ok(None);
        }
        Ok(Some(Reflect::get(&result, &"value".into())?.unchecked_into()))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        swallow(self.reader.cancel().unchecked_into());
    }
}
