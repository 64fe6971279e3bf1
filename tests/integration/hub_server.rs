//! A Hugging Face Hub on this machine, in memory: it makes repositories, takes
//! LFS objects (whole or in parts, checked by their SHA-256), commits, and gives
//! the files back. Used by the tests of the library and of the command.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The token that the server knows.
pub const TOKEN: &str = "hf_TestTokenOfNobody";

/// Files of this size and more travel as objects.
pub const LARGE_BYTES: u64 = 1000;

/// A fault: the connection ends without an answer.
pub const CUT: u16 = 0;

/// A fault: neither is anything more read nor answered, and the connection stays.
pub const HANG: u16 = 1;

/// A fault after the fact: an answer that is no JSON.
pub const HTML: u16 = 2;

/// The commit that every repository is at.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Default)]
pub struct Store {
    /// Repository -> file -> content.
    pub repos: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub objects: HashMap<String, Vec<u8>>,
    parts: HashMap<(String, u64), Vec<u8>>,
    /// Step -> what to answer instead, one entry a request.
    pub faults: HashMap<&'static str, VecDeque<u16>>,
    /// Step -> what to answer once it is done.
    pub late_faults: HashMap<&'static str, u16>,
    /// The steps, as they were asked for.
    pub log: Vec<&'static str>,
    /// Whether a request for an object's address had a token with it.
    pub token_leaked: bool,
    /// If over 0, objects travel in parts of so many bytes.
    pub part_bytes: u64,
}

pub struct Server {
    pub store: Arc<Mutex<Store>>,
    pub port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = Arc::new(Mutex::new(Store::default()));
        let router = Router::new().fallback(answer).with_state((store.clone(), port));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { store, port, _runtime: runtime }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn step(method: &str, path: &str) -> &'static str {
    match (method, path) {
        ("POST", "/api/repos/create") => "create",
        ("GET", "/api/whoami-v2") => "whoami",
        ("GET", path) if path.starts_with("/api/models/") => "info",
        ("GET" | "HEAD", path) if path.contains("/resolve/") => "resolve",
        ("GET", path) if path.starts_with("/object/") => "object",
        ("POST", path) if path.contains("/preupload/") => "preupload",
        ("POST", path) if path.ends_with("/info/lfs/objects/batch") => "batch",
        ("PUT", _) => "put",
        ("POST", path) if path.starts_with("/verify/") => "verify",
        ("POST", path) if path.starts_with("/complete/") => "complete",
        ("POST", path) if path.contains("/commit/") => "commit",
        _ => "unknown",
    }
}

async fn answer(State((store, port)): State<(Arc<Mutex<Store>>, u16)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let step = step(parts.method.as_str(), &path);
    let fault = {
        let mut store = store.lock().unwrap();
        store.log.push(step);
        store.faults.get_mut(step).and_then(VecDeque::pop_front)
    };
    if fault == Some(HANG) {
        std::future::pending::<()>().await;
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    match fault {
        // Ends the connection's task, and the connection with it.
        Some(CUT) => std::panic::resume_unwind(Box::new(())),
        Some(status @ 300..400) => {
            let renamed = path.replace("keeper/lamp", "keeper/lantern");
            return (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, renamed)]).into_response();
        }
        Some(status) => return error(status, "a reason that the Hub gives"),
        None => {}
    }
    let mut store = store.lock().unwrap();
    let answer = respond(&mut store, port, step, &path, &parts.headers, body);
    match store.late_faults.get(step) {
        Some(&HTML) => "<title>It works</title>".into_response(),
        Some(&status) => error(status, "a gateway gave up"),
        None => answer,
    }
}

fn error(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json")], json!({ "error": message }).to_string())
        .into_response()
}

fn ok(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn respond(
    store: &mut Store,
    port: u16,
    step: &str,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if matches!(step, "put" | "complete" | "verify" | "object") {
        store.token_leaked |= !bearer.is_empty();
    } else if bearer != format!("Bearer {TOKEN}") {
        return error(401, "Invalid credentials");
    }
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    // Another name of the same machine: objects lie with another host.
    let elsewhere = format!("http://localhost:{port}");
    let repo = repository(path);
    match step {
        "whoami" => ok(&json!({ "name": "keeper", "type": "user" })),
        "create" => {
            let name =
                format!("{}/{}", json["organization"].as_str().unwrap(), json["name"].as_str().unwrap());
            if store.repos.contains_key(&name) {
                return error(409, "You already created this model repo");
            }
            store.repos.insert(name.clone(), BTreeMap::new());
            ok(&json!({ "url": format!("http://127.0.0.1:{port}/{name}") }))
        }
        _ if matches!(step, "info" | "resolve" | "preupload" | "batch" | "commit")
            && !store.repos.contains_key(&repo) =>
        {
            error(404, "Repository not found")
        }
        "info" => {
            let names = store.repos[&repo].keys().map(|name| json!({ "rfilename": name }));
            ok(&json!({ "id": repo, "sha": COMMIT, "siblings": names.collect::<Vec<_>>() }))
        }
        "resolve" => match path.split_once(&format!("/resolve/{COMMIT}/")) {
            Some((_, name)) => resolve(&store.repos[&repo], name, &elsewhere),
            None => error(404, "no such commit"),
        },
        "object" => match store.objects.get(path.trim_start_matches("/object/")) {
            Some(bytes) => bytes.clone().into_response(),
            None => error(404, "no such object"),
        },
        "preupload" => {
            let files = json["files"].as_array().unwrap().iter().map(|file| {
                STANDARD.decode(file["sample"].as_str().unwrap()).unwrap();
                let large = file["size"].as_u64().unwrap() >= LARGE_BYTES;
                json!({ "path": file["path"], "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false })
            });
            ok(&json!({ "files": files.collect::<Vec<_>>() }))
        }
        "batch" => {
            assert_eq!(headers["content-type"], "application/vnd.git-lfs+json");
            assert_eq!(json["operation"], "upload");
            let objects = json["objects"].as_array().unwrap().iter().map(|object| {
                let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
                if store.objects.contains_key(oid) {
                    return json!({ "oid": oid, "size": size });
                }
                let verify = json!({ "href": format!("{elsewhere}/verify/{oid}") });
                let mut upload =
                    json!({ "href": format!("{elsewhere}/object/{oid}"), "header": { "x-signed": "yes" } });
                if store.part_bytes > 0 {
                    let mut header = json!({ "chunk_size": store.part_bytes.to_string() });
                    for number in 1..=size.div_ceil(store.part_bytes) {
                        header[format!("{number:05}")] = json!(format!("{elsewhere}/part/{oid}/{number}"));
                    }
                    upload = json!({ "href": format!("{elsewhere}/complete/{oid}"), "header": header });
                }
                json!({ "oid": oid, "size": size, "authenticated": true,
                    "actions": { "upload": upload, "verify": verify } })
            });
            let objects: Vec<Value> = objects.collect();
            ok(&json!({ "transfer": "basic", "objects": objects }))
        }
        "put" => match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["object", oid] => {
                assert_eq!(headers["x-signed"], "yes");
                assert!(headers.contains_key("content-length"), "signed addresses take no chunks");
                store_object(store, oid, body.to_vec())
            }
            ["part", oid, number] => {
                store.parts.insert((oid.to_owned(), number.parse().unwrap()), body.to_vec());
                ([(header::ETAG, format!("\"part-{number}\""))], "").into_response()
            }
            _ => error(404, "no such address"),
        },
        "complete" => {
            let oid = json["oid"].as_str().unwrap();
            let mut whole = Vec::new();
            for (number, part) in (1..).zip(json["parts"].as_array().unwrap()) {
                assert_eq!(part["partNumber"], number);
                assert_eq!(part["etag"], format!("\"part-{number}\""));
                whole.extend(&store.parts[&(oid.to_owned(), number)]);
            }
            store_object(store, oid, whole)
        }
        "verify" => {
            let found = store.objects.get(json["oid"].as_str().unwrap());
            match found {
                Some(bytes) if json["size"] == bytes.len() => ok(&json!({})),
                _ => error(422, "no such object"),
            }
        }
        "commit" => commit(store, &repo, port, &body),
        _ => error(404, "no such address"),
    }
}

/// Where a file is, if it is large, and else the file.
fn resolve(files: &BTreeMap<String, Vec<u8>>, name: &str, elsewhere: &str) -> Response {
    let Some(content) = files.get(name) else {
        return error(404, "no such file");
    };
    if content.len() as u64 >= LARGE_BYTES {
        let oid = hex(&Sha256::digest(content));
        let headers = [
            ("location", format!("{elsewhere}/object/{oid}")),
            ("x-linked-etag", format!("\"{oid}\"")),
            ("x-linked-size", content.len().to_string()),
            ("x-repo-commit", COMMIT.to_owned()),
        ];
        return (StatusCode::FOUND, headers, "").into_response();
    }
    let heading = format!("blob {}\0", content.len());
    let id = hex(&Sha1::new_with_prefix(heading).chain_update(content).finalize());
    let headers = [("etag", format!("\"{id}\"")), ("x-repo-commit", COMMIT.to_owned())];
    (headers, content.clone()).into_response()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn store_object(store: &mut Store, oid: &str, bytes: Vec<u8>) -> Response {
    if hex(&Sha256::digest(&bytes)) != oid {
        return error(400, "the content is not what its SHA-256 says");
    }
    store.objects.insert(oid.to_owned(), bytes);
    ok(&json!({}))
}

fn commit(store: &mut Store, repo: &str, port: u16, body: &[u8]) -> Response {
    let text = std::str::from_utf8(body).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["key"], "header");
    assert!(!lines[0]["value"]["summary"].as_str().unwrap().is_empty());
    let mut files = Vec::new();
    for line in &lines[1..] {
        let value = &line["value"];
        let name = value["path"].as_str().unwrap().to_owned();
        let content = match line["key"].as_str().unwrap() {
            "file" => STANDARD.decode(value["content"].as_str().unwrap()).unwrap(),
            "lfsFile" => match store.objects.get(value["oid"].as_str().unwrap()) {
                Some(bytes) if value["size"] == bytes.len() => bytes.clone(),
                _ => return error(400, "an object is missing"),
            },
            other => return error(400, other),
        };
        files.push((name, content));
    }
    store.repos.get_mut(repo).unwrap().extend(files);
    let address = format!("http://127.0.0.1:{port}/{repo}/commit/0123456789");
    ok(&json!({ "success": true, "commitOid": "0123456789", "commitUrl": address }))
}

/// `owner/name` of an address below `/api/models/`, or of a `.git` one.
fn repository(path: &str) -> String {
    let rest = path.strip_prefix("/api/models/").unwrap_or(path.trim_start_matches('/'));
    let name: Vec<&str> = rest.split('/').take(2).collect();
    name.join("/").trim_end_matches(".git").to_owned()
}
