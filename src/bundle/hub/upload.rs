//! Uploads files to a Hugging Face Hub repository in one commit.
//!
//! Uses the Hub's HTTP API: create the repository, ask for each file's upload mode
//! (`preupload`), send the large ones as Git LFS objects (`info/lfs/objects/batch`, then
//! `PUT`, in parts if the Hub says so), and commit: small files inline, large ones by
//! their SHA-256. Only the commit changes the repository, so an earlier failure leaves it
//! as it was. If the answer to the commit is lost, the commit may have been made. A second
//! run sends only the large files that have not arrived. (The crates that can upload,
//! `hf-hub` 1.0 and `hf-xet`, send large files only by the Xet protocol.)
//! Sources: <https://huggingface.co/docs/hub/api>,
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use thiserror::Error;
use ureq::{Agent, SendBody, http::Response};

use super::connection::{self, Patience, TOO_MANY_REQUESTS, TRIES, condition, header, read, said, short};

mod answer;

use answer::{Batch, Committed, Object, Parts, Preuploads, Tags};

/// Length of the sample by which the Hub distinguishes text from binary files.
const SAMPLE_BYTES: u64 = 512;

const JSON: &str = "application/json";
const LFS_JSON: &str = "application/vnd.git-lfs+json";
const NDJSON: &str = "application/x-ndjson";

/// Why an upload failed. The repository's files are unchanged, except that after a
/// [`Server`](Self::Server), [`Connection`](Self::Connection) or [`Answer`](Self::Answer)
/// error at the commit itself, the commit may have been made.
#[derive(Debug, Error)]
pub enum UploadError {
    #[error("HF_HUB_OFFLINE is set: unset it to upload")]
    Offline,
    #[error("no token: set HF_TOKEN to one that may write, from huggingface.co/settings/tokens")]
    NoToken,
    #[error(
        "the token in HF_TOKEN contains a space or another character that tokens do not have: copy it again"
    )]
    BadToken,
    #[error("HF_ENDPOINT is `{0}`, which is not an http(s) address")]
    Endpoint(String),
    #[error("`{0}` is not a repository's name (`name` or `owner/name`)")]
    Name(String),
    #[error("the Hub does not know the token in HF_TOKEN (401 at {at}): make a new one that may write")]
    Unauthorized { at: &'static str },
    #[error("the token in HF_TOKEN may not write to `{repo}` (403 at {at}{}): use one that may, or a repository of its owner", said(.message))]
    Forbidden { repo: String, at: &'static str, message: String },
    #[error("there is no `{repo}` that this token may see (404 at {at}): check the owner's name")]
    NotFound { repo: String, at: &'static str },
    #[error("the Hub refused {at} ({status}{}): nothing was committed", said(.message))]
    Refused { at: &'static str, status: u16, message: String },
    #[error("the Hub redirects `{repo}` to {to} ({status} at {at}): nothing was committed; push to that one")]
    Redirected { repo: String, at: &'static str, status: u16, to: String },
    #[error(
        "the Hub {} ({status} at {at}): {}; run it again later; what has arrived is not sent again",
        condition(*.status), outcome_after(.at, *.status)
    )]
    Server { at: &'static str, status: u16 },
    #[error("the connection broke at {at} ({reason}): {}; run it again; what has arrived is not sent again", outcome(.at))]
    Connection { at: &'static str, reason: String },
    #[error("the Hub's answer to {at} is not valid ({problem}): {}", outcome(.at))]
    Answer { at: &'static str, problem: String },
    #[error("the Hub would not store {file} ({message}): nothing was committed")]
    Object { file: String, message: String },
    #[error("{file}: {source}")]
    File { file: String, source: io::Error },
}

/// Names of the steps, as error messages use them.
const CREATE: &str = "creating the repository";
const WHOAMI: &str = "asking whose token it is";
const PREUPLOAD: &str = "announcing the files";
const BATCH: &str = "asking where large files go";
const PUT: &str = "sending a file";
const VERIFY: &str = "confirming a file";
const COMMIT: &str = "the commit";

const NOTHING_COMMITTED: &str = "nothing was committed";

fn outcome(at: &str) -> &'static str {
    if at == COMMIT {
        "it may or may not have been made, as the repository's page shows"
    } else {
        NOTHING_COMMITTED
    }
}

/// Like [`outcome`], knowing that a request over a rate limit has no effect.
fn outcome_after(at: &str, status: u16) -> &'static str {
    if status == TOO_MANY_REQUESTS { NOTHING_COMMITTED } else { outcome(at) }
}

/// A file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Name in the repository.
    pub name: String,
    pub path: PathBuf,
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// Progress of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The Hub already has this large file.
    Present { name: &'a str },
    /// `sent` of `size` bytes of this large file have been sent.
    Sending { name: &'a str, sent: u64, size: u64 },
    /// Sending the small files and the commit.
    Committing,
}

/// A client for the Hub with one token.
pub struct Hub {
    agent: Agent,
    /// Without a trailing slash.
    endpoint: String,
    token: String,
    patience: Patience,
}

impl Hub {
    /// Configures a client from `HF_TOKEN` and, if set, `HF_ENDPOINT`.
    ///
    /// # Errors
    /// If there is no token, the token or the endpoint is malformed, or `HF_HUB_OFFLINE` is set.
    pub fn from_env() -> Result<Self, UploadError> {
        if connection::is_offline() {
            return Err(UploadError::Offline);
        }
        let token = connection::variable("HF_TOKEN").ok_or(UploadError::NoToken)?;
        let endpoint = connection::variable("HF_ENDPOINT");
        Self::new(endpoint.as_deref().unwrap_or(connection::HUB), &token, Patience::default())
    }

    /// Creates a client for the Hub at `endpoint`.
    ///
    /// # Errors
    /// If the endpoint is not an HTTP(S) URL, or the token is not valid in a header.
    pub fn new(endpoint: &str, token: &str, patience: Patience) -> Result<Self, UploadError> {
        let (endpoint, _) = connection::endpoint(endpoint)
            .ok_or_else(|| UploadError::Endpoint(endpoint.escape_debug().take(100).collect()))?;
        if !connection::is_token(token) {
            return Err(UploadError::BadToken);
        }
        Ok(Self { agent: connection::agent(&patience), endpoint, token: token.into(), patience })
    }

    /// Returns the endpoint's URL, without a trailing slash.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns `owner/name` for a repository, using the token's owner for a bare name.
    ///
    /// # Errors
    /// If the name is invalid, or the token's owner cannot be determined.
    pub fn full_name(&self, repo: &str) -> Result<String, UploadError> {
        if !super::is_repo_name(repo) {
            return Err(UploadError::Name(repo.chars().take(100).collect()));
        }
        if repo.contains('/') {
            return Ok(repo.to_owned());
        }
        let answer = self.retried(|| self.get("/api/whoami-v2", WHOAMI))?;
        let answer: Value = self.accepted(answer, WHOAMI, repo)?;
        let owner = answer["name"].as_str().filter(|name| super::is_repo_name(name));
        let owner = owner.ok_or_else(|| wrong(WHOAMI, "it has no name"))?;
        Ok(format!("{owner}/{repo}"))
    }

    /// Creates the repository if necessary, commits the files to its main branch, and returns
    /// the commit's URL. Other files in the repository are kept.
    ///
    /// # Errors
    /// The repository's files are unchanged on errors, except as described at [`UploadError`].
    pub fn push(
        &self,
        repo: &str,
        files: &[LocalFile],
        summary: &str,
        private: bool,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<String, UploadError> {
        self.create(repo, private)?;
        let large = self.large(repo, files)?;
        if !large.is_empty() {
            self.send_large(repo, &large, progress)?;
        }
        progress(Progress::Committing);
        self.commit(repo, files, &large, summary)
    }

    fn create(&self, repo: &str, private: bool) -> Result<(), UploadError> {
        let (owner, name) = repo.split_once('/').ok_or_else(|| UploadError::Name(repo.to_owned()))?;
        let body = json!({ "type": "model", "name": name, "organization": owner, "private": private });
        let answer =
            self.retried(|| self.post("/api/repos/create", CREATE, JSON, body.to_string().as_bytes()))?;
        match answer.status().as_u16() {
            // The repository exists.
            409 => Ok(()),
            // A token restricted to one repository cannot create any, but may write to its own.
            403 => {
                let found = self.retried(|| self.get(&format!("/api/models/{repo}"), CREATE))?;
                match found.status() {
                    status if status.is_success() => Ok(()),
                    status if status.is_redirection() => Err(self.refusal(found, CREATE, repo)),
                    _ => Err(self.refusal(answer, CREATE, repo)),
                }
            }
            _ => self.accepted::<Value>(answer, CREATE, repo).map(drop),
        }
    }

    /// Asks the Hub which files must be uploaded as LFS objects.
    fn large<'a>(&self, repo: &str, files: &'a [LocalFile]) -> Result<Vec<&'a LocalFile>, UploadError> {
        let mut listed = Vec::new();
        for file in files {
            let mut sample = Vec::new();
            let opened = File::open(&file.path).and_then(|f| f.take(SAMPLE_BYTES).read_to_end(&mut sample));
            opened.map_err(|source| unreadable(file, source))?;
            listed.push(json!({ "path": file.name, "size": file.size, "sample": STANDARD.encode(sample) }));
        }
        let body = json!({ "files": listed }).to_string();
        let path = format!("/api/models/{repo}/preupload/main");
        let answer = self.retried(|| self.post(&path, PREUPLOAD, JSON, body.as_bytes()))?;
        let answer: Preuploads = self.accepted(answer, PREUPLOAD, repo)?;
        let mut large = Vec::new();
        for file in files {
            let mode = answer.mode_of(&file.name).ok_or_else(|| wrong(PREUPLOAD, "it lacks a file"))?;
            // An empty file cannot be an LFS object.
            if mode == "lfs" && file.size > 0 {
                large.push(file);
            }
        }
        Ok(large)
    }

    /// Uploads the files that must be LFS objects.
    fn send_large(
        &self,
        repo: &str,
        large: &[&LocalFile],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), UploadError> {
        let objects: Vec<Value> =
            large.iter().map(|file| json!({ "oid": file.sha256, "size": file.size })).collect();
        let body = json!({ "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256",
            "ref": { "name": "main" }, "objects": objects })
        .to_string();
        let path = format!("/{repo}.git/info/lfs/objects/batch");
        let answer = self.retried(|| self.post(&path, BATCH, LFS_JSON, body.as_bytes()))?;
        let answer: Batch = self.accepted(answer, BATCH, repo)?;
        for file in large {
            let object = answer.object(&file.sha256).ok_or_else(|| wrong(BATCH, "it lacks an object"))?;
            self.send_object(repo, file, object, progress)?;
        }
        Ok(())
    }

    /// Uploads a large file as the Hub says, unless the Hub has it.
    fn send_object(
        &self,
        repo: &str,
        file: &LocalFile,
        object: &Object,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), UploadError> {
        if let Some(error) = &object.error {
            return Err(UploadError::Object {
                file: file.name.escape_debug().to_string(),
                message: short(&error.message),
            });
        }
        let Some(upload) = object.actions.as_ref().and_then(|actions| actions.upload.as_ref()) else {
            progress(Progress::Present { name: &file.name });
            return Ok(());
        };
        match upload.parts().map_err(|problem| wrong(BATCH, problem))? {
            None => {
                let whole = Piece { file, start: 0, size: file.size };
                self.put(&upload.href, &upload.headers(), whole, repo, progress)?;
            }
            Some(parts) => self.send_parts(repo, file, &parts, &upload.href, progress)?,
        }
        if let Some(verify) = object.actions.as_ref().and_then(|actions| actions.verify.as_ref()) {
            let body = json!({ "oid": file.sha256, "size": file.size }).to_string();
            let answer = self.retried(|| self.post(&verify.href, VERIFY, LFS_JSON, body.as_bytes()))?;
            self.checked(answer, VERIFY, repo)?;
        }
        Ok(())
    }

    /// Uploads a file in parts, and completes the upload at `href`.
    fn send_parts(
        &self,
        repo: &str,
        file: &LocalFile,
        parts: &Parts<'_>,
        href: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), UploadError> {
        let expected = file.size.div_ceil(parts.part_bytes);
        if parts.addresses.len() as u64 != expected {
            return Err(wrong(BATCH, "the number of parts does not match the file's size"));
        }
        let mut tags = Tags::new(&file.sha256);
        for (number, address) in (1..).zip(&parts.addresses) {
            let start = (number - 1) * parts.part_bytes;
            let size = parts.part_bytes.min(file.size - start);
            let tag = self.put(address, &[], Piece { file, start, size }, repo, progress)?;
            tags.push(number, tag.ok_or_else(|| wrong(PUT, "a part has no ETag"))?);
        }
        let answer = self.retried(|| self.post(href, PUT, LFS_JSON, tags.to_json().as_bytes()))?;
        self.checked(answer, PUT, repo).map(drop)
    }

    /// Uploads a piece of a file and returns the response's `ETag`.
    fn put(
        &self,
        address: &str,
        headers: &[(&str, &str)],
        Piece { file, start, size }: Piece<'_>,
        repo: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<String>, UploadError> {
        let answer = self.retried(|| {
            let mut opened = File::open(&file.path).map_err(|source| unreadable(file, source))?;
            opened.seek(SeekFrom::Start(start)).map_err(|source| unreadable(file, source))?;
            let mut sent = start;
            let mut body = Counting {
                inner: opened.take(size),
                count: |read| {
                    sent += read;
                    progress(Progress::Sending { name: &file.name, sent, size: file.size });
                },
            };
            // These URLs are presigned and must not receive the token.
            let mut request = self.agent.put(address).header("content-length", size);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.send(SendBody::from_reader(&mut body)).map_err(|error| cut(PUT, &error))
        })?;
        let answer = self.checked(answer, PUT, repo)?;
        Ok(answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned))
    }

    fn commit(
        &self,
        repo: &str,
        files: &[LocalFile],
        large: &[&LocalFile],
        summary: &str,
    ) -> Result<String, UploadError> {
        let mut lines = vec![json!({ "key": "header", "value": { "summary": summary, "description": "" } })];
        for file in files {
            let is_large = large.iter().any(|large| large.name == file.name);
            lines.push(if is_large {
                json!({ "key": "lfsFile", "value":
                    { "path": file.name, "algo": "sha256", "oid": file.sha256, "size": file.size } })
            } else {
                let bytes = std::fs::read(&file.path).map_err(|source| unreadable(file, source))?;
                json!({ "key": "file", "value":
                    { "path": file.name, "encoding": "base64", "content": STANDARD.encode(bytes) } })
            });
        }
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // Not retried: the commit may have been made although its answer was lost.
        let answer =
            self.post(&format!("/api/models/{repo}/commit/main"), COMMIT, NDJSON, body.as_bytes())?;
        let committed: Committed = self.accepted(answer, COMMIT, repo)?;
        Ok(committed.address(&self.endpoint, repo))
    }

    fn get(&self, path: &str, at: &'static str) -> Result<Response<ureq::Body>, UploadError> {
        let request = self.agent.get(format!("{}{path}", self.endpoint));
        request.header("authorization", self.bearer()).call().map_err(|error| cut(at, &error))
    }

    /// Posts to a path on the endpoint, or to an absolute URL, which receives the token only if
    /// it is on the endpoint.
    fn post(
        &self,
        path: &str,
        at: &'static str,
        kind: &str,
        body: &[u8],
    ) -> Result<Response<ureq::Body>, UploadError> {
        let address =
            if path.starts_with('/') { format!("{}{path}", self.endpoint) } else { path.to_owned() };
        let ours = address.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('/'));
        let mut request = self.agent.post(&address).header("content-type", kind);
        if kind == LFS_JSON {
            request = request.header("accept", LFS_JSON);
        }
        if ours {
            request = request.header("authorization", self.bearer());
        }
        request.send(body).map_err(|error| cut(at, &error))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Retries on connection failures and transient statuses.
    fn retried(
        &self,
        request: impl FnMut() -> Result<Response<ureq::Body>, UploadError>,
    ) -> Result<Response<ureq::Body>, UploadError> {
        connection::retried(&self.patience, TRIES, request, |done| match done {
            Ok(answer) => connection::is_transient(answer.status().as_u16()),
            Err(error) => matches!(error, UploadError::Connection { .. }),
        })
    }

    /// Returns the response if it is successful, else the error for its status.
    fn checked(
        &self,
        answer: Response<ureq::Body>,
        at: &'static str,
        repo: &str,
    ) -> Result<Response<ureq::Body>, UploadError> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer, at, repo)) }
    }

    /// Parses the response's JSON if it is successful, else returns the error for its status.
    fn accepted<T: serde::de::DeserializeOwned>(
        &self,
        answer: Response<ureq::Body>,
        at: &'static str,
        repo: &str,
    ) -> Result<T, UploadError> {
        let body = read(self.checked(answer, at, repo)?).map_err(|error| cut(at, &error))?;
        serde_json::from_slice(&body).map_err(|error| wrong(at, &error.to_string()))
    }

    fn refusal(&self, answer: Response<ureq::Body>, at: &'static str, repo: &str) -> UploadError {
        let status = answer.status().as_u16();
        let location = header(&answer, "location").to_owned();
        let body = read(answer).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = short(said["error"].as_str().or(said["message"].as_str()).unwrap_or_default());
        let repo = repo.to_owned();
        match status {
            300..=399 => UploadError::Redirected { repo, at, status, to: new_name(&location) },
            401 => UploadError::Unauthorized { at },
            403 => UploadError::Forbidden { repo, at, message },
            404 => UploadError::NotFound { repo, at },
            status if connection::is_transient(status) => UploadError::Server { at, status },
            _ => UploadError::Refused { at, status, message },
        }
    }
}

/// Returns the repository that a redirect points to, or else the location itself.
fn new_name(location: &str) -> String {
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => location.trim_start_matches('/'),
    };
    let (is_api, path) = match path.strip_prefix("api/models/") {
        Some(rest) => (true, rest),
        None => (false, path),
    };
    let mut parts = path.split(['/', '?']);
    let name = match (parts.next(), parts.next()) {
        (Some(owner), Some(name)) => format!("{owner}/{}", name.trim_end_matches(".git")),
        _ => String::new(),
    };
    if (is_api || path.contains(".git/")) && super::is_repo_name(&name) {
        return format!("`{name}`");
    }
    match short(location) {
        none if none.is_empty() => "an unnamed address".to_owned(),
        address => address,
    }
}

fn cut(at: &'static str, error: &ureq::Error) -> UploadError {
    UploadError::Connection { at, reason: short(&error.to_string()) }
}

fn wrong(at: &'static str, problem: &str) -> UploadError {
    UploadError::Answer { at, problem: short(problem) }
}

fn unreadable(file: &LocalFile, source: io::Error) -> UploadError {
    UploadError::File { file: file.path.display().to_string().escape_debug().to_string(), source }
}

/// A byte range of a file.
#[derive(Clone, Copy)]
struct Piece<'a> {
    file: &'a LocalFile,
    start: u64,
    size: u64,
}

/// A reader that reports the number of bytes of each read.
struct Counting<R, F> {
    inner: R,
    count: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counting<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        (self.count)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
