//! A local Hub server whose responses are scripted by each test.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use sha1::{Digest, Sha1};

use super::{
    super::{HubError, Patience, Source, download::Token, fetch_into},
    COMMIT, PATIENCE, REPO,
};
use crate::bundle::digest::{self, sha256_hex};

/// A received request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names are lower-case.
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns whether this requests a file's content.
    pub fn is_for(&self, name: &str) -> bool {
        self.method == "GET" && self.path.ends_with(&format!("/{name}"))
    }
}

/// Writes the response; the connection is closed afterwards.
type Answer = dyn Fn(&Asked, &mut TcpStream) + Send + Sync;

pub struct Server {
    port: u16,
    pub log: Arc<Mutex<Vec<Asked>>>,
    pub cache: tempfile::TempDir,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, shared): (Arc<Answer>, _) = (Arc::new(answer), log.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (answer.clone(), shared.clone());
                thread::spawn(move || serve_one(stream, &*answer, &log));
            }
        });
        Self { port, log, cache: tempfile::tempdir().unwrap() }
    }

    /// Serves a repository, except where `instead` returns a response.
    pub fn of(repo: Repo, instead: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start(move |asked, stream| {
            drop(stream.write_all(&instead(asked).unwrap_or_else(|| repo.answer(asked))));
        })
    }

    pub fn source(&self, token: Option<&str>, patience: Patience) -> Result<Source, HubError> {
        let token = token.map(|text| Token { text: text.into(), origin: "HF_TOKEN".into() });
        Source::new(&format!("http://127.0.0.1:{}/", self.port), token, patience)
    }

    pub fn fetch(&self) -> Result<PathBuf, HubError> {
        self.fetch_as(None)
    }

    pub fn fetch_as(&self, token: Option<&str>) -> Result<PathBuf, HubError> {
        fetch_into(&self.hub(), REPO, || self.source(token, PATIENCE), &mut |_| ())
    }

    /// Returns the folder of all repositories.
    pub fn hub(&self) -> PathBuf {
        self.cache.path().join("hub")
    }

    /// Returns the repository's folder in the cache.
    pub fn folder(&self) -> PathBuf {
        self.hub().join("models--keeper--lamp")
    }

    pub fn blobs(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder().join("blobs")) else {
            return Vec::new();
        };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Returns the requests since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

fn serve_one(mut stream: TcpStream, answer: &Answer, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    drop(reader.read_line(&mut line));
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return;
    };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        drop(reader.read_line(&mut line));
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let asked = Asked { method, path, headers };
    log.lock().unwrap().push(asked.clone());
    answer(&asked, &mut stream);
}

/// Builds a response with a content length.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub fn git_blob(content: &[u8]) -> String {
    digest::hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

/// The server's files. Those over 1000 bytes are in LFS, and redirect to another host.
#[derive(Clone)]
pub struct Repo {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Repo {
    pub fn new() -> Self {
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let files: [(&str, &[u8]); 4] = [
            ("config.json", b"{}"),
            ("tokenizer.json", b"{\"model\": {}}"),
            ("model.safetensors", &large),
            ("bot.json", b"{\"name\": \"Maren\"}"),
        ];
        Self { files: files.map(|(name, content)| (name.to_owned(), content.to_vec())).into() }
    }

    pub fn without(mut self, name: &str) -> Self {
        self.files.remove(name);
        self
    }

    pub fn with(mut self, name: &str, content: &[u8]) -> Self {
        self.files.insert(name.into(), content.into());
        self
    }

    pub fn weights(&self) -> &[u8] {
        &self.files["model.safetensors"]
    }

    fn listing(&self) -> Vec<u8> {
        let siblings: Vec<_> =
            self.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string().into_bytes()
    }

    pub fn answer(&self, asked: &Asked) -> Vec<u8> {
        let path = asked.path.as_str();
        if path.starts_with("/api/models/keeper/lamp/revision/") {
            return reply(200, &[], &self.listing());
        }
        let resolved = path.strip_prefix(&format!("/keeper/lamp/resolve/{COMMIT}/"));
        let Some(content) = resolved.or(path.strip_prefix("/object/")).and_then(|name| self.files.get(name))
        else {
            return reply(404, &[("x-error-code", "EntryNotFound")], b"");
        };
        if let Some(name) = resolved
            && content.len() > 1000
        {
            let host = asked.header("host").replace("127.0.0.1", "localhost");
            let (tag, size) = (format!("\"{}\"", sha256_hex(content)), content.len().to_string());
            let away = format!("http://{host}/object/{name}");
            let headers = [
                ("location", away.as_str()),
                ("x-linked-etag", &tag),
                ("x-linked-size", &size),
                ("x-repo-commit", COMMIT),
            ];
            return reply(302, &headers, b"");
        }
        let start = asked.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        let start: usize = start.map_or(0, |start| start.parse().unwrap());
        let size = content.len();
        if start > 0 && start >= size {
            return reply(416, &[("content-range", &format!("bytes */{size}"))], b"");
        }
        let tag = format!("W/\"{}\"", git_blob(content));
        let (length, range) =
            ((size - start).to_string(), format!("bytes {start}-{}/{size}", size.saturating_sub(1)));
        let mut headers =
            vec![("etag", tag.as_str()), ("content-length", &length), ("x-repo-commit", COMMIT)];
        if start > 0 {
            headers.push(("content-range", &range));
        }
        let body = if asked.method == "HEAD" { &[] } else { &content[start..] };
        reply(if start > 0 { 206 } else { 200 }, &headers, body)
    }
}
