//! Tests against a local scripted server (`scripted.rs`).

use std::{collections::BTreeMap, fs, io::Write, sync::Mutex, thread, time::Duration};

use super::{download::Token, *};

mod scripted;

use crate::bundle::digest::sha256_hex;
use scripted::{Asked, Repo, Server, git_blob, reply};

const REPO: &str = "keeper/lamp";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_TestTokenOfNobody";
const PATIENCE: Patience = Patience {
    retry: Duration::from_millis(1),
    send: Duration::from_secs(20),
    receive: Duration::from_secs(20),
};

/// Returns whether a request is for the weights, which are stored on another host.
fn object(asked: &Asked) -> bool {
    asked.path == "/object/model.safetensors"
}

#[test]
fn a_model_is_kept_as_the_hubs_programs_keep_it() {
    let repo = Repo::new();
    let server = Server::of(repo.clone(), |_| None);
    let folder = server.fetch().unwrap();
    assert_eq!(folder, server.folder().join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(server.folder().join("refs/main")).unwrap(), COMMIT);
    for (name, content) in &repo.files {
        let id = if content.len() > 1000 { sha256_hex(content) } else { git_blob(content) };
        assert!(fs::read(folder.join(name)).unwrap() == *content, "{name}");
        assert!(server.folder().join("blobs").join(&id).is_file(), "{name}");
        #[cfg(unix)]
        assert_eq!(fs::read_link(folder.join(name)).unwrap(), Path::new("../../blobs").join(id));
    }
    assert_eq!(server.blobs().len(), repo.files.len(), "nothing is left aside");

    // Again, offline.
    let offline = || panic!("the cache has everything");
    assert_eq!(fetch_into(&server.hub(), REPO, offline, &mut |_| ()).unwrap(), folder);
}

#[test]
fn the_cache_is_where_other_programs_look_for_it() {
    let places = |set: &[(&str, &str)]| {
        let variable =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        let Places { home, hub } = Places::from(variable, Some("/home/me".into())).unwrap();
        (home.display().to_string(), hub.display().to_string())
    };
    let pair = |home: &str, hub: &str| (home.to_owned(), hub.to_owned());
    let default = pair("/home/me/.cache/huggingface", "/home/me/.cache/huggingface/hub");
    assert_eq!(places(&[]), default);
    assert_eq!(places(&[("HF_HOME", ""), ("XDG_CACHE_HOME", ""), ("HF_HUB_CACHE", "")]), default);
    assert_eq!(places(&[("XDG_CACHE_HOME", "/c")]), pair("/c/huggingface", "/c/huggingface/hub"));
    assert_eq!(places(&[("XDG_CACHE_HOME", "/c"), ("HF_HOME", "/h")]), pair("/h", "/h/hub"));
    assert_eq!(places(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/big")]), pair("/h", "/big"));
    assert_eq!(Places::from(|_| None, None), None);
}

/// A second process that finds everything there must not take a file's name away from the first.
#[test]
fn what_is_in_its_place_is_left_there() {
    let server = Server::of(Repo::new(), |_| None);
    let folder = server.fetch().unwrap();
    let places = || {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| (fs::symlink_metadata(&path).unwrap().modified().unwrap(), path))
            .collect::<BTreeSet<_>>()
    };
    let before = places();
    // Longer than a file system's clock may stand still.
    thread::sleep(Duration::from_millis(50));
    fs::remove_file(server.folder().join("refs/main")).unwrap();
    assert_eq!(server.fetch().unwrap(), folder);
    assert_eq!(places(), before);
}

#[test]
fn what_a_server_says_cannot_lead_out_of_the_cache() {
    for tag in ["../../../../x", "..", "", "\"0123\"", "W/\"../x\"", &"A".repeat(40), &"é".repeat(20)] {
        for header in ["etag", "x-linked-etag"] {
            let tag = tag.to_owned();
            let server = Server::of(Repo::new(), move |asked| {
                (asked.method == "HEAD").then(|| reply(200, &[(header, &tag), ("content-length", "2")], b""))
            });
            let error = server.fetch().unwrap_err();
            assert!(matches!(error, HubError::Answer { .. }), "{error}");
            assert!(!server.folder().exists(), "nothing is written");
        }
    }
    for commit in ["../../../x", "", "main", "..", &"g".repeat(40)] {
        let (listed, said) = (commit.to_owned(), commit.to_owned());
        let server = Server::of(Repo::new(), move |asked| {
            let listing = format!("{{\"sha\": \"{listed}\", \"siblings\": []}}");
            asked.path.starts_with("/api/").then(|| reply(200, &[], listing.as_bytes()))
        });
        assert!(matches!(server.fetch(), Err(HubError::Answer { .. })), "{commit}");
        let server = Server::of(Repo::new(), move |asked| {
            let headers = [("x-repo-commit", said.as_str()), ("etag", COMMIT), ("content-length", "2")];
            (asked.method == "HEAD").then(|| reply(200, &headers, b""))
        });
        let refused = server.fetch();
        if !commit.is_empty() {
            assert!(matches!(refused, Err(HubError::Answer { .. })), "{commit}");
            assert!(!server.folder().exists());
        }
    }
}

#[test]
fn redirects_end() {
    for location in ["", "http://", "/keeper/lamp/resolve/x"] {
        let server = Server::of(Repo::new(), move |asked| {
            let headers = [("location", location)];
            let headers = if location.is_empty() { &[][..] } else { &headers };
            (!asked.path.starts_with("/api/")).then(|| reply(302, headers, b""))
        });
        let error = server.fetch().unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{location}: {error}");
        assert!(!server.folder().exists());
    }
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let server = Server::of(Repo::new(), |_| None);
    server.fetch_as(Some(TOKEN)).unwrap();
    let asked = server.asked();
    assert!(asked.iter().any(object));
    for asked in asked {
        let expected = if object(&asked) { String::new() } else { format!("Bearer {TOKEN}") };
        assert_eq!(asked.header("authorization"), expected, "{} {}", asked.method, asked.path);
    }
}

#[test]
fn an_answer_that_ends_early_is_gone_on_with() {
    let repo = Repo::new();
    let weights = repo.weights().to_vec();
    let server = Server::of(repo.clone(), move |asked| {
        // Chunked, without the final chunk; on the first request only.
        let head = "HTTP/1.1 200 Said\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nf4240\r\n";
        let first = object(asked) && asked.header("range").is_empty();
        first.then(|| [head.as_bytes(), &weights[..1_000_000], b"\r\n"].concat())
    });
    let folder = server.fetch().unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == repo.weights());
    let ranges: Vec<_> =
        server.asked().iter().filter(|a| object(a)).map(|a| a.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=1000000-"]);
}

#[test]
fn an_answer_that_always_ends_early_is_no_file() {
    let server = Server::of(Repo::new(), move |asked| {
        let head = b"HTTP/1.1 200 Said\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let whole = [&head[..], b"2\r\nab\r\n0\r\n\r\n"].concat();
        object(asked).then_some(whole)
    });
    let error = server.fetch().unwrap_err();
    assert!(matches!(error, HubError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("ended after 2 of 3000000 bytes"), "{error}");
    let blobs = server.blobs();
    assert!(!blobs.iter().any(|name| name.len() == 64), "{blobs:?}");
    assert!(!server.folder().join("refs/main").exists());
}

#[test]
fn what_an_earlier_run_left_is_used_or_thrown_away() {
    let repo = Repo::new();
    let weights = repo.weights();
    let damaged: Vec<u8> = weights[..2_000_000].iter().map(|byte| !byte).collect();
    for (left, ranges) in [
        // Complete except for the final rename: no request is made.
        (weights.to_vec(), &[][..]),
        (weights[..1234].to_vec(), &["bytes=1234-"][..]),
        ([weights, b"and more"].concat(), &[""][..]),
        (damaged, &["bytes=2000000-", ""][..]),
    ] {
        let server = Server::of(repo.clone(), |_| None);
        let part = server.folder().join("blobs").join(format!("{}.incomplete", sha256_hex(weights)));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, left).unwrap();
        let folder = server.fetch().unwrap();
        assert!(fs::read(folder.join("model.safetensors")).unwrap() == weights);
        assert!(!part.exists());
        let asked = server.asked();
        let found: Vec<_> = asked.iter().filter(|a| object(a)).map(|a| a.header("range")).collect();
        assert_eq!(found, ranges);
    }
}

#[test]
fn parts_that_a_server_does_not_give_are_asked_for_as_a_whole() {
    let repo = Repo::new();
    let weights = repo.weights().to_vec();
    for fault in [200, 206, 416] {
        let whole = weights.clone();
        let server = Server::of(repo.clone(), move |asked| {
            let is_part = object(asked) && !asked.header("range").is_empty();
            is_part.then(|| match fault {
                200 => reply(200, &[], &whole),
                // The whole file, although only its end was requested.
                206 => reply(206, &[("content-range", "bytes 0-2999999/3000000")], &whole),
                _ => reply(416, &[], b""),
            })
        });
        let part = server.folder().join("blobs").join(format!("{}.incomplete", sha256_hex(&weights)));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, &weights[..1000]).unwrap();
        let folder = server.fetch().unwrap();
        assert!(fs::read(folder.join("model.safetensors")).unwrap() == weights, "{fault}");
    }
}

#[test]
fn another_content_than_the_digest_says_is_not_kept() {
    let server =
        Server::of(Repo::new(), |asked| object(asked).then(|| reply(200, &[], &vec![b'x'; 3_000_000])));
    let error = server.fetch().unwrap_err();
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");
    let blobs = server.blobs();
    assert!(!blobs.contains(&sha256_hex(Repo::new().weights())), "{blobs:?}");

    // A small file, with a git digest; and one that is longer than announced.
    for (content, is_answer) in [(&b"[]"[..], false), (b"{} ", true)] {
        let server = Server::of(Repo::new(), move |asked| {
            asked.is_for("config.json").then(|| reply(200, &[], content))
        });
        let error = server.fetch().unwrap_err();
        assert_eq!(matches!(error, HubError::Answer { .. }), is_answer, "{error}");
        assert_eq!(matches!(error, HubError::Damaged { .. }), !is_answer, "{error}");
    }
}

#[test]
fn a_line_on_which_nothing_moves_is_given_up() {
    let repo = Repo::new();
    let stalled = Server::start(move |asked, stream| {
        if object(asked) {
            let head = "HTTP/1.1 200 Said\r\ncontent-length: 3000000\r\n\r\nab";
            drop(stream.write_all(head.as_bytes()));
            thread::sleep(Duration::from_secs(30));
        } else {
            drop(stream.write_all(&repo.answer(asked)));
        }
    });
    let patience = Patience { receive: Duration::from_millis(100), ..PATIENCE };
    let started = std::time::Instant::now();
    let error = fetch_into(&stalled.hub(), REPO, || stalled.source(None, patience), &mut |_| ()).unwrap_err();
    assert!(matches!(error, HubError::Broken { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn passing_faults_are_waited_for() {
    for fault in [429, 500, 503, 0] {
        let seen = Mutex::new(BTreeMap::<String, u32>::new());
        let server = Server::of(Repo::new(), move |asked| {
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(format!("{} {}", asked.method, asked.path)).or_default();
            *times += 1;
            let answer = if fault == 0 { Vec::new() } else { reply(fault, &[], b"") };
            (*times == 1).then_some(answer)
        });
        server.fetch().unwrap();
    }
}

#[test]
fn refusals_say_what_they_are() {
    type Is = fn(&HubError) -> bool;
    let cases: [(u16, &str, Option<&str>, Is, &str); 12] = [
        (
            404,
            "RepoNotFound",
            None,
            |e| matches!(e, HubError::NotFound { .. }),
            "no public model `keeper/lamp`",
        ),
        (401, "", None, |e| matches!(e, HubError::NotFound { .. }), "set HF_TOKEN if it is private"),
        (404, "", Some(TOKEN), |e| matches!(e, HubError::NotFound { .. }), "the token in HF_TOKEN may see"),
        (
            401,
            "",
            Some(TOKEN),
            |e| matches!(e, HubError::Token { .. }),
            "does not know the token in HF_TOKEN",
        ),
        (401, "GatedRepo", None, |e| matches!(e, HubError::Gated { .. }), "/keeper/lamp, and set HF_TOKEN"),
        (
            403,
            "GatedRepo",
            Some(TOKEN),
            |e| matches!(e, HubError::Gated { .. }),
            "ask for access at http://127",
        ),
        (
            403,
            "",
            Some(TOKEN),
            |e| matches!(e, HubError::Forbidden { .. }),
            "the token in HF_TOKEN may not read `keeper/lamp` (403: a reason)",
        ),
        (403, "", None, |e| matches!(e, HubError::Refused { .. }), "(403: a reason)"),
        (403, "RepoNotFound", None, |e| matches!(e, HubError::NotFound { .. }), "no public model"),
        (429, "", None, |e| matches!(e, HubError::Fault { .. }), "is limiting requests (429"),
        (410, "", None, |e| matches!(e, HubError::Refused { .. }), "(410: a reason)"),
        (500, "", None, |e| matches!(e, HubError::Fault { .. }), "has a fault (500"),
    ];
    for (status, code, token, is_right, expected) in cases {
        // For the listing, and for a file.
        for prefix in ["/api/", "/keeper/"] {
            let server = Server::of(Repo::new(), move |asked| {
                let headers = [("x-error-code", code), ("x-error-message", "a reason")];
                asked.path.starts_with(prefix).then(|| reply(status, &headers, b""))
            });
            let error = server.fetch_as(token).unwrap_err();
            assert!(is_right(&error), "{status} {code}: {error:?}");
            let said = error.to_string();
            assert!(said.contains(expected) && !said.contains('\n') && !said.contains(TOKEN), "{said}");
        }
    }
    let nobody = || Source::new("http://127.0.0.1:1", None, PATIENCE);
    let cache = tempfile::tempdir().unwrap();
    let error = fetch_into(cache.path(), REPO, nobody, &mut |_| ()).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    let token = |text: &str| Some(Token { text: text.into(), origin: "HF_TOKEN".into() });
    for bad in ["a b", "a\nb", "é"] {
        let refused = Source::new("https://x.example", token(bad), PATIENCE);
        assert!(matches!(refused, Err(HubError::BadToken { .. })), "{bad}");
    }
    for bad in ["ftp://x", "x", "https://", "http://a b"] {
        assert!(matches!(Source::new(bad, None, PATIENCE), Err(HubError::Endpoint(_))), "{bad}");
    }
}

#[test]
fn a_disabled_repository_is_not_said_to_be_gated() {
    for token in [None, Some(TOKEN)] {
        let server = Server::of(Repo::new(), |_| {
            Some(reply(403, &[("x-error-message", "Access to this resource is disabled.")], b""))
        });
        let error = server.fetch_as(token).unwrap_err();
        assert!(matches!(error, HubError::Disabled { .. }), "{error:?}");
        assert!(error.to_string().contains("has disabled `keeper/lamp`"), "{error}");
    }
}

/// Large files come from another server, of which the token says nothing.
#[test]
fn a_refusal_by_another_server_does_not_blame_the_token() {
    let server = Server::of(Repo::new(), |asked| object(asked).then(|| reply(403, &[], b"")));
    let error = server.fetch_as(Some(TOKEN)).unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 403, .. }), "{error:?}");
}

#[test]
fn faults_of_this_machine_are_said_to_be_its_own() {
    // A file in place of the cache folder.
    let server = Server::of(Repo::new(), |_| None);
    fs::write(server.cache.path().join("hub"), "").unwrap();
    let error = server.fetch().unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error}");
    assert!(error.to_string().contains("HF_HOME"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_no_unreachable_hub() {
    let repo = Repo::new();
    let server = Server::of(repo.clone(), |_| None);
    let part = server.folder().join("blobs").join(format!("{}.incomplete", sha256_hex(repo.weights())));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = server.fetch().unwrap_err();
    let HubError::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_damaged_file_of_the_cache_is_brought_again() {
    let repo = Repo::new();
    let server = Server::of(repo.clone(), |_| None);
    let folder = server.fetch().unwrap();
    server.asked();
    fs::write(server.folder().join("blobs").join(sha256_hex(repo.weights())), "short").unwrap();
    assert_eq!(server.fetch().unwrap(), folder);
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == repo.weights());
    let contents = server.asked().iter().filter(|asked| asked.method == "GET" && object(asked)).count();
    assert_eq!(contents, 1, "and nothing else");
}

#[test]
fn a_bots_own_file_is_added_to_what_other_programs_cached() {
    let repo = Repo::new();
    let server = Server::of(repo.clone(), |_| None);
    let folder = server.fetch().unwrap();
    let bot = folder.join("bot.json");
    fs::remove_file(&bot).unwrap();
    server.asked();
    assert_eq!(server.fetch().unwrap(), folder);
    assert!(bot.is_file());
    let asked = server.asked();
    assert!(asked[0].path.ends_with(&format!("/revision/{COMMIT}")), "of what is cached: {asked:?}");
    assert!(!asked.iter().any(|asked| asked.is_for("model.safetensors")));

    // Without a connection, `bot.json` is skipped.
    fs::remove_file(&bot).unwrap();
    let nobody = || Source::new("http://127.0.0.1:1", None, PATIENCE);
    assert_eq!(fetch_into(&server.hub(), REPO, nobody, &mut |_| ()).unwrap(), folder);

    // The absence of `bot.json` is cached.
    let server = Server::of(repo.without("bot.json"), |_| None);
    let folder = server.fetch().unwrap();
    assert!(!folder.join("bot.json").exists());
    let offline = || panic!("it is known that there is none");
    assert_eq!(fetch_into(&server.hub(), REPO, offline, &mut |_| ()).unwrap(), folder);
}

#[test]
fn an_index_names_files_of_its_own_folder() {
    let repo = || Repo::new().without("model.safetensors");
    for bad in ["a/b", "../x", ".hidden", "\\u001b[2J", ""] {
        let index = format!("{{\"weight_map\": {{\"wte.weight\": \"{bad}\"}}}}");
        let server = Server::of(repo().with(SHARD_INDEX, index.as_bytes()), |_| None);
        let error = server.fetch().unwrap_err();
        assert!(matches!(error, HubError::Index { .. }), "{error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        assert!(!server.asked().iter().any(|asked| asked.path.contains("%2F")), "{bad}");
    }
    let index = br#"{"weight_map": {"a": "model-1 of 2.safetensors", "b": "model-2.safetensors"}}"#;
    let server = Server::of(repo().with(SHARD_INDEX, index).with("model-2.safetensors", b"2"), |asked| {
        (asked.path.ends_with("/model-1%20of%202.safetensors")).then(|| {
            let tag = git_blob(b"1");
            reply(
                200,
                &[("etag", &tag), ("content-length", "1")],
                if asked.method == "GET" { b"1" } else { b"" },
            )
        })
    });
    let folder = server.fetch().unwrap();
    assert_eq!(fs::read(folder.join("model-1 of 2.safetensors")).unwrap(), b"1");
}

#[test]
fn what_is_no_gpt2_is_said() {
    for (missing, expected) in [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json (nor"),
        ("model.safetensors", "model.safetensors (nor"),
    ] {
        let server = Server::of(Repo::new().without(missing), |_| None);
        let error = server.fetch().unwrap_err();
        assert!(
            matches!(error, HubError::MissingFile { missing, .. } if missing.starts_with(expected)),
            "{error}"
        );
        assert!(server.blobs().is_empty(), "nothing is downloaded in vain");
    }
}

#[test]
fn names_of_repositories_are_told_from_paths() {
    for name in ["gpt2", "openai-community/gpt2", "huggingtweets/a_b.c-d"] {
        assert!(is_repo_name(name), "{name}");
    }
    for path in [
        "./gpt2",
        "../x",
        "a/b/c",
        "/tmp/x",
        "",
        "a//b",
        "a b",
        "~/x",
        "https://x.y/z",
        "-a/b",
        "a/b-",
        "a/b.",
        "a--b",
        "a..b",
        "a/b.git",
    ] {
        assert!(!is_repo_name(path), "{path}");
    }
}
