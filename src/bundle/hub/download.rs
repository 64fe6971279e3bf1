//! Downloads files from the Hub and verifies their digests.
//!
//! Digests, sizes and commits sent by the server become local file names and limits, so
//! they are validated first. Interrupted downloads are resumed. Redirects are followed here
//! rather than by the HTTP client, so that the token is sent only to the endpoint's own
//! server.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::Deserialize;
use ureq::{
    Agent, Body,
    http::{Response, Uri},
};

use super::{
    HubError, Progress,
    cache::{ContentId, failed, is_commit},
    connection::{self, Patience, TRIES, header, short},
};
use crate::bundle::path_segment;

const MAX_REDIRECTS: usize = 10;

/// Buffer size for reading a response.
const PIECE_BYTES: usize = 256 << 10;

/// The Hub's message for a repository that its staff has disabled.
const DISABLED: &str = "Access to this resource is disabled.";

/// An attempt that received at least this much resets the retry count, so that a large file
/// can be downloaded over an unreliable connection.
const WORTH_BYTES: u64 = 1 << 20;

/// A token and its origin, as error messages name it.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub origin: String,
}

/// The files of a commit.
#[derive(Debug)]
pub struct Listing {
    pub commit: String,
    pub files: BTreeSet<String>,
}

/// A file's metadata as reported by the Hub.
#[derive(Debug)]
pub struct Described {
    pub id: ContentId,
    pub size: Option<u64>,
}

/// A server with the Hub's API.
pub struct Source {
    agent: Agent,
    /// Without a trailing slash.
    endpoint: String,
    home: Uri,
    token: Option<Token>,
    patience: Patience,
}

/// A repository on a [`Source`].
pub struct Remote<'a> {
    pub source: &'a Source,
    pub repo: &'a str,
}

impl Source {
    /// Configures a source from `HF_ENDPOINT` and `HF_TOKEN`, falling back to the token that
    /// other Hub clients store in `home`.
    ///
    /// # Errors
    /// If the endpoint or the token is malformed.
    pub fn from_env(home: &Path) -> Result<Self, HubError> {
        let token = match connection::variable("HF_TOKEN") {
            Some(text) => Some(Token { text, origin: "HF_TOKEN".into() }),
            None => {
                let file = home.join("token");
                let text = std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
                (!text.is_empty()).then(|| Token { text, origin: file.display().to_string() })
            }
        };
        let endpoint = connection::variable("HF_ENDPOINT");
        Self::new(endpoint.as_deref().unwrap_or(connection::HUB), token, Patience::default())
    }

    /// Creates a source for the server at `endpoint`.
    ///
    /// # Errors
    /// If the endpoint or the token is malformed.
    pub fn new(endpoint: &str, token: Option<Token>, patience: Patience) -> Result<Self, HubError> {
        if let Some(token) = token.as_ref().filter(|token| !connection::is_token(&token.text)) {
            return Err(HubError::BadToken { origin: token.origin.clone() });
        }
        let (endpoint, home) = connection::endpoint(endpoint)
            .ok_or_else(|| HubError::Endpoint(endpoint.escape_debug().take(100).collect()))?;
        Ok(Self { agent: connection::agent(&patience), endpoint, home, token, patience })
    }
}

impl Remote<'_> {
    /// Lists the files of a branch or commit, and resolves it to a commit.
    ///
    /// # Errors
    /// If the request fails or the answer is invalid.
    pub fn list(&self, revision: &str, tries: u32) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        const WHAT: &str = "the list of files";
        let address = format!("{}/api/models/{}/revision/{revision}", self.source.endpoint, self.repo);
        self.retried(tries, || {
            let answer = self.checked(self.follow(false, &address, WHAT, None)?, WHAT)?;
            let body = connection::read(answer).map_err(|error| self.broken(WHAT, &error.to_string()))?;
            let listed: Answer =
                serde_json::from_slice(&body).map_err(|error| self.wrong(WHAT, &error.to_string()))?;
            if !is_commit(&listed.sha) {
                return Err(self.wrong(WHAT, "it has no valid commit"));
            }
            let files = listed.siblings.into_iter().map(|file| file.rfilename).collect();
            Ok(Listing { commit: listed.sha, files })
        })
    }

    /// Fetches a file's digest, and its size if the Hub reports it.
    ///
    /// # Errors
    /// If the request fails, or [`HubError::Answer`] if the digest or size is malformed.
    pub fn describe(&self, commit: &str, name: &str) -> Result<Described, HubError> {
        let address = self.address(commit, name);
        self.retried(TRIES, || {
            let answer = self.follow(true, &address, name, None)?;
            // Large files redirect to other servers; the Hub's redirect already has their metadata.
            let answer = if answer.status().is_redirection() { answer } else { self.checked(answer, name)? };
            let found = header(&answer, "x-repo-commit");
            if !found.is_empty() && found != commit {
                return Err(self.wrong(name, "it is for another commit"));
            }
            let linked = header(&answer, "x-linked-etag");
            let tag = if linked.is_empty() { header(&answer, "etag") } else { linked };
            let id = ContentId::from_tag(tag)
                .ok_or_else(|| self.wrong(name, "its ETag is neither a SHA-256 nor a git hash"))?;
            let linked = header(&answer, "x-linked-size");
            let here = if answer.status().is_success() { header(&answer, "content-length") } else { "" };
            let size = if linked.is_empty() { here } else { linked };
            let size = match size {
                "" => None,
                size => Some(size.parse().map_err(|_| self.wrong(name, "its size is not a number"))?),
            };
            Ok(Described { id, size })
        })
    }

    /// Downloads a file to `part`, resuming if it exists. On success, `part` has been synced
    /// and matches its digest.
    ///
    /// # Errors
    /// If the requests fail, [`HubError::Io`], or [`HubError::Damaged`].
    pub fn bring(
        &self,
        commit: &str,
        name: &str,
        described: &Described,
        part: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), HubError> {
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(part);
        let mut file = opened.map_err(|source| failed(part, source))?;
        let length = |file: &File| Ok(file.metadata().map_err(|source| failed(part, source))?.len());
        let address = self.address(commit, name);
        let (mut tries, mut wait) = (0, self.source.patience.retry);
        loop {
            let had = length(&file)?;
            let done = self
                .receive(&address, name, described.size, &mut file, part, progress)
                .and_then(|()| self.compare(name, &described.id, had, &mut file, part));
            let error = match done {
                Ok(()) => return Ok(()),
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) => error,
            };
            if length(&file)? >= had.saturating_add(WORTH_BYTES) {
                (tries, wait) = (0, self.source.patience.retry);
            }
            tries += 1;
            if tries >= TRIES {
                return Err(error);
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
    }

    /// Makes one attempt to complete the file. Received bytes are kept on errors.
    fn receive(
        &self,
        address: &str,
        name: &str,
        size: Option<u64>,
        file: &mut File,
        part: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), HubError> {
        let io = |source| failed(part, source);
        let mut have = file.seek(SeekFrom::End(0)).map_err(io)?;
        let restart =
            |file: &mut File| file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(io);
        if size.is_some_and(|size| have > size) {
            have = restart(file)?;
        }
        // Complete already: a previous run was interrupted before the final rename.
        if size == Some(have) {
            return Ok(());
        }
        let answer = self.follow(false, address, name, Some(have).filter(|&have| have > 0))?;
        match answer.status().as_u16() {
            206 => {
                let range = header(&answer, "content-range");
                let start = range.strip_prefix("bytes ").and_then(|range| range.split_once('-'));
                if start.and_then(|(start, _)| start.trim().parse().ok()) != Some(have) {
                    restart(file)?;
                    return Err(self.broken(name, "the server sent another part than requested"));
                }
            }
            // Requested range not satisfiable: the part is complete, or does not fit the file.
            416 if have > 0 => {
                if header(&answer, "content-range") == format!("bytes */{have}") {
                    return Ok(());
                }
                restart(file)?;
                return Err(self.broken(name, "the partial file does not fit"));
            }
            // The server ignored the range and sent the whole file.
            200 if have > 0 => have = restart(file)?,
            200 => {}
            _ => return self.checked(answer, name).map(drop),
        }
        let mut body = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            progress(Progress::Receiving { name, arrived: have, size });
            let read = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(name, &error.to_string())),
            };
            have += read as u64;
            if size.is_some_and(|size| have > size) {
                restart(file)?;
                return Err(self.wrong(name, "it is longer than the Hub says"));
            }
            file.write_all(&piece[..read]).map_err(io)?;
        }
        match size {
            Some(size) if have < size => {
                Err(self.broken(name, &format!("it ended after {have} of {size} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Syncs the file and checks its digest. If `had` bytes predate this attempt, a mismatch may
    /// be their fault, so the error allows a retry from scratch.
    fn compare(
        &self,
        name: &str,
        id: &ContentId,
        had: u64,
        file: &mut File,
        part: &Path,
    ) -> Result<(), HubError> {
        let io = |source| failed(part, source);
        file.sync_all().map_err(io)?;
        if id.is_of(part).map_err(io)? {
            return Ok(());
        }
        file.set_len(0).map_err(io)?;
        if had > 0 {
            return Err(self.broken(name, "the partial file was damaged"));
        }
        Err(HubError::Damaged { repo: self.repo.into(), name: name.into() })
    }

    fn address(&self, commit: &str, name: &str) -> String {
        let name = path_segment::encode(name);
        format!("{}/{}/resolve/{commit}/{name}", self.source.endpoint, self.repo)
    }

    /// Sends a request and follows redirects. A `HEAD` request follows them only within the
    /// Hub's own server, because the redirect that leads away carries the file's metadata.
    fn follow(
        &self,
        head: bool,
        address: &str,
        what: &str,
        from_byte: Option<u64>,
    ) -> Result<Response<Body>, HubError> {
        let source = self.source;
        let mut address: Uri = address.parse().map_err(|_| self.wrong(what, "its address is not valid"))?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = if head { source.agent.head(&address) } else { source.agent.get(&address) };
            // Sizes and ranges must refer to the unencoded bytes.
            request = request.header("accept-encoding", "identity");
            if let Some(start) = from_byte {
                request = request.header("range", format!("bytes={start}-"));
            }
            if let Some(token) =
                source.token.as_ref().filter(|_| connection::same_server(&address, &source.home))
            {
                request = request.header("authorization", format!("Bearer {}", token.text));
            }
            let answer = request.call().map_err(|error| self.broken(what, &error.to_string()))?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = connection::target(&address, header(&answer, "location"))
                .ok_or_else(|| self.wrong(what, "it redirects to an invalid address"))?;
            if head && !connection::same_server(&next, &source.home) {
                return Ok(answer);
            }
            address = next;
        }
        Err(self.wrong(what, "it redirects too often"))
    }

    /// Returns the response if it is successful, else the error for its status.
    fn checked(&self, answer: Response<Body>, what: &str) -> Result<Response<Body>, HubError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let (code, message) = (header(&answer, "x-error-code"), short(header(&answer, "x-error-message")));
        Err(self.refusal(status, code, message, what))
    }

    /// Returns the error for a status, together with the code and message that the Hub sends in
    /// headers. Other servers, to which large files redirect, send neither.
    fn refusal(&self, status: u16, code: &str, message: String, what: &str) -> HubError {
        let (repo, what) = (self.repo.to_owned(), what.to_owned());
        let origin = self.source.token.as_ref().map(|token| token.origin.clone());
        match (status, code, origin) {
            (401 | 403, "GatedRepo", _) => {
                HubError::Gated { page: format!("{}/{repo}", self.source.endpoint), repo }
            }
            // This has no code of its own.
            (401 | 403, ..) if message == DISABLED => HubError::Disabled { repo },
            (401 | 403 | 404, "RepoNotFound", origin) => HubError::NotFound { repo, origin },
            (404, "EntryNotFound", _) => HubError::Gone { repo, what },
            (404, _, origin) => HubError::NotFound { repo, origin },
            // The Hub also answers 401 to anonymous requests for repositories that do not exist.
            (401, _, None) => HubError::NotFound { repo, origin: None },
            (401, _, Some(origin)) => HubError::Token { repo, origin },
            (403, _, Some(origin)) if !message.is_empty() => HubError::Forbidden { repo, origin, message },
            (status, ..) if connection::is_transient(status) => HubError::Fault { repo, what, status },
            _ => HubError::Refused { repo, what, status, message },
        }
    }

    /// Retries transient errors.
    fn retried<T>(&self, tries: u32, ask: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
        let may_pass = |done: &Result<T, _>| done.as_ref().is_err_and(HubError::may_pass);
        connection::retried(&self.source.patience, tries, ask, may_pass)
    }

    fn broken(&self, what: &str, reason: &str) -> HubError {
        HubError::Broken { repo: self.repo.into(), what: what.into(), reason: short(reason) }
    }

    fn wrong(&self, what: &str, problem: &str) -> HubError {
        HubError::Answer { repo: self.repo.into(), what: what.into(), problem: short(problem) }
    }
}
