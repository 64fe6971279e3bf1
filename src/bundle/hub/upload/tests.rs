//! Tests against a local Hub server (`tests/integration/hub_server.rs`).

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::*;
use crate::bundle::digest::sha256_hex;

#[path = "../../../../tests/integration/hub_server.rs"]
mod hub_server;

use hub_server::{CUT, HANG, HTML, LARGE_BYTES, Server, TOKEN};

const REPO: &str = "keeper/lamp";

const PATIENCE: Patience = Patience {
    retry: Duration::from_millis(1),
    send: Duration::from_secs(20),
    receive: Duration::from_secs(20),
};

fn hub(server: &Server) -> Hub {
    Hub::new(&server.endpoint(), TOKEN, PATIENCE).unwrap()
}

/// An empty file, a small one and two large ones.
fn folder() -> (tempfile::TempDir, Vec<LocalFile>) {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3 * LARGE_BYTES + 17).map(|n| (n * n / 7) as u8).collect();
    let contents: [(&str, &[u8]); 4] = [
        ("empty.txt", b""),
        ("README.md", b"# The lamp\n"),
        ("model.safetensors", &large),
        ("b.gguf", &large[1..]),
    ];
    let files = contents.map(|(name, bytes)| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let sha256 = sha256_hex(bytes);
        LocalFile { name: name.into(), path, size: bytes.len() as u64, sha256 }
    });
    (dir, files.to_vec())
}

fn push(server: &Server, files: &[LocalFile]) -> Result<String, UploadError> {
    hub(server).push(REPO, files, "a bot", false, &mut |_| ())
}

fn arrived(server: &Server) -> BTreeMap<String, Vec<u8>> {
    server.store.lock().unwrap().repos.get(REPO).cloned().unwrap_or_default()
}

fn expected(files: &[LocalFile]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|file| (file.name.clone(), std::fs::read(&file.path).unwrap())).collect()
}

#[test]
fn a_folder_arrives_whole_and_the_second_time_only_what_is_new_travels() {
    let server = Server::start();
    let (_dir, files) = folder();
    let mut sent = Vec::new();
    let address = hub(&server)
        .push(REPO, &files, "a bot", false, &mut |progress| {
            if let Progress::Sending { name, sent: now, size } = progress
                && now == size
            {
                sent.push(name.to_owned());
            }
        })
        .unwrap();
    assert_eq!(address, format!("{}/{REPO}/commit/0123456789", server.endpoint()));
    assert_eq!(arrived(&server), expected(&files));
    sent.dedup();
    assert_eq!(sent, ["model.safetensors", "b.gguf"]);
    let first = ["create", "preupload", "batch", "put", "verify", "put", "verify", "commit"];
    assert_eq!(std::mem::take(&mut server.store.lock().unwrap().log), first);
    assert!(!server.store.lock().unwrap().token_leaked, "other hosts do not get the token");

    let mut present = 0;
    hub(&server)
        .push(REPO, &files, "again", false, &mut |progress| {
            present += usize::from(matches!(progress, Progress::Present { .. }));
        })
        .unwrap();
    assert_eq!(present, 2);
    assert_eq!(server.store.lock().unwrap().log, ["create", "preupload", "batch", "commit"]);
}

#[test]
fn objects_may_travel_in_parts() {
    let server = Server::start();
    server.store.lock().unwrap().part_bytes = 700;
    let (_dir, files) = folder();
    push(&server, &files).unwrap();
    assert_eq!(arrived(&server), expected(&files));
    assert!(!server.store.lock().unwrap().token_leaked);
}

#[test]
fn every_fault_is_one_sentence_and_commits_nothing() {
    let (_dir, files) = folder();
    for step in ["create", "preupload", "batch", "put", "verify", "commit"] {
        for (status, expected) in [
            (401, "HF_TOKEN (401"),
            (403, "may not write to `keeper/lamp` (403"),
            (404, "(404 at "),
            (307, "redirects `keeper/lamp` to "),
            (413, "(413: a reason that the Hub gives)"),
            (429, "is limiting requests (429"),
            (500, "has a fault (500"),
            (503, "has a fault (503"),
            (CUT, "the connection broke at "),
        ] {
            let server = Server::start();
            // After a forbidden creation, the client checks whether the repository exists.
            server.store.lock().unwrap().faults.insert(step, VecDeque::from([status; 3]));
            server.store.lock().unwrap().faults.insert("info", VecDeque::from([404; 3]));
            let error = push(&server, &files).unwrap_err().to_string();
            assert!(error.contains(expected), "{step} {status}: {error}");
            assert!(!error.contains('\n') && !error.contains(TOKEN), "{error}");
            assert!(arrived(&server).is_empty(), "{step} {status}");
            // Retrying succeeds: nothing is left in a bad state.
            server.store.lock().unwrap().faults.clear();
            push(&server, &files).unwrap();
            assert_eq!(arrived(&server).len(), files.len());
        }
    }
}

#[test]
fn a_passing_fault_is_waited_for_but_no_commit_is_sent_twice() {
    let (_dir, files) = folder();
    for fault in [429, 500, CUT] {
        let server = Server::start();
        for step in ["create", "preupload", "batch", "put", "verify"] {
            server.store.lock().unwrap().faults.insert(step, VecDeque::from([fault]));
        }
        push(&server, &files).unwrap();
        assert_eq!(arrived(&server), expected(&files));
        server.store.lock().unwrap().faults.insert("commit", VecDeque::from([fault]));
        server.store.lock().unwrap().log.clear();
        assert!(push(&server, &files).is_err());
        let log = server.store.lock().unwrap().log.clone();
        assert_eq!(log.iter().filter(|step| **step == "commit").count(), 1);
    }
}

#[test]
fn a_commit_over_the_rate_limit_was_not_made() {
    let (_dir, files) = folder();
    let server = Server::start();
    server.store.lock().unwrap().faults.insert("commit", VecDeque::from([429]));
    let error = push(&server, &files).unwrap_err().to_string();
    assert!(error.contains("(429 at the commit): nothing was committed"), "{error}");
}

#[test]
fn a_commit_that_was_made_is_not_denied() {
    let (_dir, files) = folder();
    for fault in [504, HTML] {
        let server = Server::start();
        server.store.lock().unwrap().late_faults.insert("commit", fault);
        let error = push(&server, &files).unwrap_err().to_string();
        assert_eq!(arrived(&server), expected(&files), "it was made");
        assert!(error.contains("may or may not have been made"), "{error}");
        assert!(!error.contains("nothing was committed") && !error.contains('\n'), "{error}");

        // The same fault at an earlier step reports that nothing was committed.
        let server = Server::start();
        server.store.lock().unwrap().late_faults.insert("preupload", fault);
        let error = push(&server, &files).unwrap_err().to_string();
        assert!(error.contains("nothing was committed") && arrived(&server).is_empty(), "{error}");
    }
}

#[test]
fn a_server_on_which_nothing_moves_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    // More than the socket buffers hold when the peer does not read.
    let content = vec![0; 48 << 20];
    let path = dir.path().join("large");
    std::fs::write(&path, &content).unwrap();
    let sha256 = sha256_hex(&content);
    let file = LocalFile { name: "large".into(), path, size: content.len() as u64, sha256 };
    let short = Duration::from_millis(200);
    for (step, patience) in [
        ("put", Patience { send: short, ..PATIENCE }),
        ("batch", Patience { receive: short, ..PATIENCE }),
        ("commit", Patience { receive: short, ..PATIENCE }),
    ] {
        let server = Server::start();
        server.store.lock().unwrap().faults.insert(step, VecDeque::from([HANG; 3]));
        let hub = Hub::new(&server.endpoint(), TOKEN, patience).unwrap();
        let started = Instant::now();
        let error = hub.push(REPO, std::slice::from_ref(&file), "a bot", false, &mut |_| ()).unwrap_err();
        assert!(matches!(error, UploadError::Connection { .. }), "{step}: {error}");
        assert!(started.elapsed() < Duration::from_secs(15), "{step}");
    }
}

#[test]
fn a_renamed_repository_is_named_and_asked_once() {
    let (_dir, files) = folder();
    for (step, to) in
        [("preupload", "`keeper/lantern`"), ("batch", "`keeper/lantern`"), ("commit", "`keeper/lantern`")]
    {
        let server = Server::start();
        server.store.lock().unwrap().faults.insert(step, VecDeque::from([307; 3]));
        let error = push(&server, &files).unwrap_err();
        assert!(matches!(error, UploadError::Redirected { status: 307, .. }), "{step}: {error}");
        assert!(error.to_string().contains(to), "{step}: {error}");
        let log = server.store.lock().unwrap().log.clone();
        assert_eq!(log.iter().filter(|asked| **asked == step).count(), 1, "{step}");
    }
    // Also for a token that may not create repositories.
    let server = Server::start();
    server.store.lock().unwrap().faults.insert("create", VecDeque::from([403]));
    server.store.lock().unwrap().faults.insert("info", VecDeque::from([301]));
    let error = push(&server, &files).unwrap_err().to_string();
    assert!(error.contains("to `keeper/lantern`"), "{error}");
}

#[test]
fn a_redirect_says_where_to() {
    for (location, expected) in [
        ("/api/models/a/b/commit/main", "`a/b`"),
        ("https://hub.example/api/models/a/b?x=y", "`a/b`"),
        ("/a/b.git/info/lfs/objects/batch", "`a/b`"),
        ("https://login.example/a/b", "https://login.example/a/b"),
        ("/api/models/../b\u{1b}[2J", "/api/models/../b[2J"),
        ("", "an unnamed address"),
    ] {
        assert_eq!(new_name(location), expected, "{location}");
    }
}

#[test]
fn a_token_for_one_repository_writes_to_it() {
    let server = Server::start();
    let (_dir, files) = folder();
    server
        .store
        .lock()
        .unwrap()
        .repos
        .insert(REPO.into(), BTreeMap::from([("old.txt".into(), b"old".to_vec())]));
    server.store.lock().unwrap().faults.insert("create", VecDeque::from([403]));
    push(&server, &files).unwrap();
    assert_eq!(arrived(&server).len(), files.len() + 1, "what was there stays");
}

#[test]
fn a_file_that_changed_meanwhile_is_refused_by_its_digest() {
    let server = Server::start();
    let (_dir, mut files) = folder();
    files[2].sha256 = "0".repeat(64);
    let error = push(&server, &files).unwrap_err().to_string();
    assert!(error.contains("the content is not what its SHA-256 says"), "{error}");
    assert!(arrived(&server).is_empty());
    files[3].path.set_file_name("gone");
    let error = push(&server, &files[3..]).unwrap_err().to_string();
    assert!(error.contains("gone: "), "{error}");
}

#[test]
fn a_bare_name_is_the_tokens_owners() {
    let server = Server::start();
    assert_eq!(hub(&server).full_name("lamp").unwrap(), "keeper/lamp");
    assert_eq!(hub(&server).full_name("others/lamp").unwrap(), "others/lamp");
    for name in ["", "a/b/c", "../x", "a b"] {
        assert!(matches!(hub(&server).full_name(name), Err(UploadError::Name(_))), "{name}");
    }
}

#[test]
fn a_wrong_token_and_a_wrong_endpoint_are_said() {
    let server = Server::start();
    let (_dir, files) = folder();
    let wrong = Hub::new(&server.endpoint(), "hf_wrong", PATIENCE).unwrap();
    let error = wrong.push(REPO, &files, "a bot", false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, UploadError::Unauthorized { .. }), "{error}");
    for bad in ["ftp://x", "https://", "http://a b"] {
        assert!(matches!(Hub::new(bad, "t", PATIENCE), Err(UploadError::Endpoint(_))), "{bad}");
    }
    for bad in ["a\nb", "a b", "é", ""] {
        assert!(matches!(Hub::new("https://x", bad, PATIENCE), Err(UploadError::BadToken)), "{bad}");
    }
    let nobody = Hub::new("http://127.0.0.1:1", TOKEN, PATIENCE).unwrap();
    let error = nobody.push(REPO, &files, "a bot", false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, UploadError::Connection { .. }), "{error}");
}

#[test]
fn answers_that_are_none_are_said() {
    let odd: Batch = serde_json::from_str(
        r#"{"objects": [{"oid": "a", "actions": {"upload": {"href": "x", "header": {"chunk_size": "0"}}}},
            {"oid": "b", "actions": {"upload": {"href": "x", "header": {"chunk_size": 5, "2": "y"}}}},
            {"oid": "c", "error": {"code": 507, "message": "full"}}]}"#,
    )
    .unwrap();
    let parts = |oid: &str| {
        let upload = odd.object(oid).unwrap().actions.as_ref().unwrap().upload.as_ref().unwrap();
        upload.parts().map(|parts| parts.is_some())
    };
    assert_eq!(parts("a"), Err("the size of a part is not a number"));
    assert_eq!(parts("b"), Err("the parts are not numbered from 1"));
    assert_eq!(odd.object("c").unwrap().error.as_ref().unwrap().message, "full");
    assert!(odd.object("d").is_none());
}
