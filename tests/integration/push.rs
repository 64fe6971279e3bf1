//! `push` against a Hub on this machine.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hub_server::{Server, TOKEN},
    support::{Running, arg, demo, failure, huggingtweets, stdout},
};

/// A copy of the demo bot with one file that `bot.json` does not list.
fn bot() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(demo()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::write(dir.path().join("diary.txt"), "private").unwrap();
    dir
}

/// Runs `push` on such a copy.
fn push(server: &Server, more: &[&str], token: Option<&str>, answer: &str) -> Output {
    push_from(bot().path(), server, more, token, answer)
}

fn push_from(dir: &Path, server: &Server, more: &[&str], token: Option<&str>, answer: &str) -> Output {
    fs::write(dir.join("answer"), answer).unwrap();
    let mut command = huggingtweets();
    command.args(["push", arg(dir), "keeper/lamp"]).args(more);
    command.env("HF_ENDPOINT", server.endpoint()).env_remove("HF_TOKEN");
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    command.stdin(fs::File::open(dir.join("answer")).unwrap());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bot_arrives_whole_and_nothing_else_does() {
    let server = Server::start();
    let output = push(&server, &["--yes"], Some(TOKEN), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), format!("{}/keeper/lamp/commit/0123456789", server.endpoint()));
    let said = text(&output.stderr);
    assert!(
        said.contains("model.safetensors") && said.contains("bot.json") && !said.contains(TOKEN),
        "{said}"
    );
    let store = server.store.lock().unwrap();
    let arrived = &store.repos["keeper/lamp"];
    for entry in fs::read_dir(demo()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(arrived[name] == fs::read(&path).unwrap(), "{name}");
    }
    assert!(!arrived.contains_key("diary.txt") && !store.token_leaked);
}

#[test]
fn no_command_makes_a_private_file_part_of_the_bot() {
    let server = Server::start();
    let dir = bot();
    stdout(&["card", arg(dir.path()), "--repository", "keeper/lamp"], "");
    stdout(&["quantize", arg(dir.path()), "--to", "q4_0"], "");
    let output = push_from(dir.path(), &server, &["--yes"], Some(TOKEN), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!server.store.lock().unwrap().repos["keeper/lamp"].contains_key("diary.txt"));
    // Nor does what is no part of it go with it.
    let (_, message) = failure(&["convert", arg(&demo()), "--out", arg(dir.path()), "--force"], "");
    assert!(message.contains("not part of the bot"), "{message}");
    assert_eq!(fs::read(dir.path().join("diary.txt")).unwrap(), b"private");
}

#[test]
fn it_asks_first() {
    let server = Server::start();
    for answer in ["", "n\n"] {
        let output = push(&server, &[], Some(TOKEN), answer);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("nothing was uploaded"), "{}", text(&output.stderr));
    }
    assert!(server.store.lock().unwrap().log.is_empty());
    assert!(push(&server, &[], Some(TOKEN), "y\n").status.success());
}

#[test]
fn with_yes_nobody_has_to_read_what_it_says() {
    let server = Server::start();
    let dir = bot();
    for (yes, expected) in [(&["--yes"][..], true), (&[], false)] {
        let mut command = huggingtweets();
        command.args(["push", arg(dir.path()), "keeper/lamp"]).args(yes);
        command.env("HF_ENDPOINT", server.endpoint()).env("HF_TOKEN", TOKEN);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Running::start(&mut command);
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().success(), expected);
    }
    assert!(server.store.lock().unwrap().repos.contains_key("keeper/lamp"));
}

#[test]
fn errors_are_one_sentence_with_the_way_out() {
    let server = Server::start();
    for (token, expected) in [
        (None, "no token: set HF_TOKEN"),
        (Some("hf_ wrong"), "the token in HF_TOKEN contains a space"),
        (Some("hf_wrong"), "does not know the token in HF_TOKEN (401"),
    ] {
        let output = push(&server, &["--yes"], token, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("huggingtweets: ") && last.contains(expected), "{said}");
        assert!(!said.contains("panicked") && !said.contains("hf_wrong"), "{said}");
    }
    assert!(server.store.lock().unwrap().repos.is_empty());
}

/// Runs `convert` of a repository of the server.
fn convert(server: &Server, repo: &str, home: &Path, out: &Path, token: Option<&str>) -> Output {
    let mut command = huggingtweets();
    command.args(["convert", repo, "--out", arg(out)]);
    command.env("HF_ENDPOINT", server.endpoint()).env("HF_HOME", home).env_remove("HF_TOKEN");
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    command.output().unwrap()
}

#[test]
fn offline_nothing_is_asked() {
    let server = Server::start();
    let dir = bot();
    let out = dir.path().join("out");
    for (args, expected) in [
        (
            &["convert", "keeper/lamp", "--out", arg(&out)][..],
            "not completely in the Hub's cache: unset it, or",
        ),
        (&["push", arg(dir.path()), "keeper/lamp", "--yes"], "unset it to upload"),
    ] {
        let mut command = huggingtweets();
        command.args(args).env("HF_HUB_OFFLINE", "true");
        command.env("HF_ENDPOINT", server.endpoint()).env("HF_HOME", dir.path()).env("HF_TOKEN", TOKEN);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("huggingtweets: HF_HUB_OFFLINE is set") && said.contains(expected),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(server.store.lock().unwrap().log.is_empty());
}

#[test]
fn a_private_bot_that_was_pushed_can_be_had_again_with_its_name() {
    let server = Server::start();
    assert!(push(&server, &["--yes", "--private"], Some(TOKEN), "").status.success());
    let dir = tempfile::tempdir().unwrap();
    let (home, out) = (dir.path().join("home"), dir.path().join("bot"));
    let refused = convert(&server, "keeper/lamp", &home, &out, None);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("set HF_TOKEN if it is private") && said.lines().count() == 1, "{said}");

    let output = convert(&server, "keeper/lamp", &home, &out, Some(TOKEN));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said =
        |dir: &Path| -> Value { serde_json::from_slice(&fs::read(dir.join("bot.json")).unwrap()).unwrap() };
    let (before, after) = (said(&demo()), said(&out));
    for field in ["name", "handles", "notice"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(!server.store.lock().unwrap().token_leaked);

    // Once more, though the Hub is gone.
    drop(server);
    let gone = Server::start();
    let output = convert(&gone, "keeper/lamp", &home, &dir.path().join("again"), None);
    assert!(output.status.success(), "{}", text(&output.stderr));
}
