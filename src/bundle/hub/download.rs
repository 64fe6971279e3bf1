//! Files of the Hub, each compared with its digest before it counts.
//!
//! What a server says of a file becomes a name and a size on this machine, so it is
//! taken for what it is only in the form that it must have. A file that broke off goes
//! on from where it is. Redirects are followed here, and the token is sent to the
//! endpoint's own server alone.

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
    cache::{ContentId, PIECE_BYTES, failed, is_commit},
    connection::{self, Patience, TRIES, header, short},
};
use crate::bundle::path_segment;

const MAX_REDIRECTS: usize = 10;

/// A try that brought so much of a file was not in vain, and the next one is again the
/// first: a long file may come over a line that breaks often.
const WORTH_BYTES: u64 = 1 << 20;

/// A token, and where it is from, as errors name it.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub origin: String,
}

/// What a commit holds.
#[derive(Debug)]
pub struct Listing {
    pub commit: String,
    pub files: BTreeSet<String>,
}

/// What the Hub says of a file.
#[derive(Debug)]
pub struct Described {
    pub id: ContentId,
    pub size: Option<u64>,
}

/// A server that speaks as the Hub does.
pub struct Source {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    home: Uri,
    token: Option<Token>,
    patience: Patience,
}

/// One repository of it.
pub struct Remote<'a> {
    pub source: &'a Source,
    pub repo: &'a str,
}

impl Source {
    /// By `HF_ENDPOINT` and `HF_TOKEN`, else the token that the Hub's own programs keep in
    /// `home`.
    ///
    /// # Errors
    /// An endpoint or a token that is none.
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

    /// The server at `endpoint`.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
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
    /// The files of a branch or a commit, and which commit that is.
    ///
    /// # Errors
    /// Every one of the network's.
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
                return Err(self.wrong(WHAT, "its commit is none"));
            }
            let files = listed.siblings.into_iter().map(|file| file.rfilename).collect();
            Ok(Listing { commit: listed.sha, files })
        })
    }

    /// What a file is: its digest, and its size where the Hub says it.
    ///
    /// # Errors
    /// Every one of the network's; [`HubError::Answer`] where the digest is none.
    pub fn describe(&self, commit: &str, name: &str) -> Result<Described, HubError> {
        let address = self.address(commit, name);
        self.retried(TRIES, || {
            let answer = self.follow(true, &address, name, None)?;
            // Elsewhere than at the Hub lies what is large, and the Hub has said what it is.
            let answer = if answer.status().is_redirection() { answer } else { self.checked(answer, name)? };
            let found = header(&answer, "x-repo-commit");
            if !found.is_empty() && found != commit {
                return Err(self.wrong(name, "it is of another commit"));
            }
            let linked = header(&answer, "x-linked-etag");
            let tag = if linked.is_empty() { header(&answer, "etag") } else { linked };
            let id = ContentId::from_tag(tag)
                .ok_or_else(|| self.wrong(name, "its tag is no SHA-256 and no name of git's"))?;
            let linked = header(&answer, "x-linked-size");
            let here = if answer.status().is_success() { header(&answer, "content-length") } else { "" };
            let size = if linked.is_empty() { here } else { linked };
            let size = match size {
                "" => None,
                size => Some(size.parse().map_err(|_| self.wrong(name, "its size is no number"))?),
            };
            Ok(Described { id, size })
        })
    }

    /// Brings a file, or the rest of it, to `part`, which is on the disk and compared with
    /// its digest when this is well.
    ///
    /// # Errors
    /// Every one of the network's; [`HubError::Io`], [`HubError::Damaged`].
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

    /// One try to make the file whole. What has come of it stays, whatever happens.
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
        // Whole already: a run ended between the last byte and the name.
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
                    return Err(self.broken(name, "another part came than was asked for"));
                }
            }
            // What we have ends where the file does, or is none of it.
            416 if have > 0 => {
                if header(&answer, "content-range") == format!("bytes */{have}") {
                    return Ok(());
                }
                restart(file)?;
                return Err(self.broken(name, "the part that was here does not fit"));
            }
            // The whole of it, for this server knows no parts.
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
                return Err(self.wrong(name, "more came than the Hub says it has"));
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

    /// Brings what has come to the disk, and compares it. `had` bytes are from before this
    /// try: where the whole is wrong, they may be why.
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
            return Err(self.broken(name, "the part that was here was damaged"));
        }
        Err(HubError::Damaged { repo: self.repo.into(), name: name.into() })
    }

    fn address(&self, commit: &str, name: &str) -> String {
        let name = path_segment::encode(name);
        format!("{}/{}/resolve/{commit}/{name}", self.source.endpoint, self.repo)
    }

    /// Asks, and asks again where the answer says that it is elsewhere. A question for the
    /// head alone ends where the Hub's own server does: what it says of a file is with the
    /// answer that leads away.
    fn follow(
        &self,
        head: bool,
        address: &str,
        what: &str,
        from_byte: Option<u64>,
    ) -> Result<Response<Body>, HubError> {
        let source = self.source;
        let mut address: Uri = address.parse().map_err(|_| self.wrong(what, "its address is none"))?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = if head { source.agent.head(&address) } else { source.agent.get(&address) };
            // Sizes and parts are of the bytes themselves.
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
                .ok_or_else(|| self.wrong(what, "it leads nowhere"))?;
            if head && !connection::same_server(&next, &source.home) {
                return Ok(answer);
            }
            address = next;
        }
        Err(self.wrong(what, "it leads on and on"))
    }

    /// The answer, if it says that it went well.
    fn checked(&self, answer: Response<Body>, what: &str) -> Result<Response<Body>, HubError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let (repo, what) = (self.repo.to_owned(), what.to_owned());
        let token = self.source.token.as_ref();
        Err(match (status, header(&answer, "x-error-code")) {
            (401 | 403, "GatedRepo") | (403, _) => {
                HubError::Gated { page: format!("{}/{repo}", self.source.endpoint), repo }
            }
            (404, "EntryNotFound") => HubError::Gone { repo, what },
            (404, _) => HubError::NotFound { repo, origin: token.map(|token| token.origin.clone()) },
            // The Hub says this of what does not exist, too, to those it does not know.
            (401, _) => match token {
                Some(token) => HubError::Token { repo, origin: token.origin.clone() },
                None => HubError::NotFound { repo, origin: None },
            },
            (429 | 500.., _) => HubError::Fault { repo, what, status },
            _ => {
                let message = short(header(&answer, "x-error-message"));
                HubError::Refused { repo, what, status, message }
            }
        })
    }

    /// Tries again what may go well another time.
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
