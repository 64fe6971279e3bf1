//! Recorded runs from outside: killed runs, the list, and comparing two.

use std::{process::Stdio, thread, time::Duration};

use huggingtweets::record::{Run, RunRecorder};

use crate::support::{Running, arg, failure, huggingtweets, json, stdout};

/// A long run killed at some point: every step it reported is there, in order, and it can be
/// resumed.
#[test]
fn a_killed_run_is_readable_wherever_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut most = 0;
    for kill in 0..12u64 {
        let dir = home.path().join(kill.to_string());
        let mut command = huggingtweets();
        command.args(["bench", "record", "--out", arg(&dir), "--steps", "1000000", "--every", "7"]);
        let mut child = Running::start(command.stderr(Stdio::null()));
        // Uneven delays, so that kills happen at different points.
        thread::sleep(Duration::from_millis(40 + 23 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        if !Run::is_at(&dir) {
            // Killed before its first file: nothing is there, or an empty folder.
            continue;
        }
        let run = Run::open(&dir).unwrap();
        assert!(run.summary.is_none());
        for (index, line) in run.metrics.iter().enumerate() {
            assert_eq!(line.step, index + 1);
            assert!(line.loss.is_some());
        }
        // Every evaluation but the last is on its line, with its drafts.
        let evaluated = run.metrics.iter().filter(|line| line.validation_loss.is_some()).count();
        assert!(evaluated + 1 >= run.steps() / 7 && run.samples.len() + 1 >= evaluated);
        let middle = run.steps() / 2;
        drop(RunRecorder::reopen(&dir, middle).unwrap());
        assert_eq!(Run::open(&dir).unwrap().steps(), middle);
        most = most.max(run.steps());
    }
    assert!(most > 0, "no run came as far as a step");
}

#[test]
fn runs_lists_and_compares() {
    let home = tempfile::tempdir().unwrap();
    for (name, steps) in [("one", "30"), ("two", "60")] {
        let dir = home.path().join(name);
        let args = ["bench", "record", "--out", arg(&dir), "--steps", steps, "--every", "10", "--name", name];
        stdout(&args, "");
    }
    let list = stdout(&["runs", arg(home.path())], "");
    assert_eq!(list.lines().count(), 3, "{list}");
    let rows = json(&["runs", "--json", arg(home.path())], "");
    let named = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!((&named("one")["steps"], &named("two")["state"]), (&30.into(), &"completed".into()));

    let [one, two] = ["one", "two"].map(|name| home.path().join(name));
    let both = json(&["runs", "--json", "--compare", arg(&one), arg(&two)], "");
    let differ: Vec<&str> =
        both["differ"].as_array().unwrap().iter().map(|pair| pair["name"].as_str().unwrap()).collect();
    assert_eq!(differ, ["dataset.train_tokens"]);
    // By id, too.
    let id = named("two")["id"].as_str().unwrap();
    let by_id = json(&["runs", "--json", arg(home.path()), "--compare", arg(&one), id], "");
    assert_eq!(by_id, both);
}

#[test]
fn runs_that_are_not_there_are_one_clear_line() {
    let home = tempfile::tempdir().unwrap();
    let (code, message) = failure(&["runs", arg(home.path())], "");
    assert!(code == 1 && message.contains("no run in") && message.contains("train"), "{message}");
    let (code, message) = failure(&["runs", arg(&home.path().join("none"))], "");
    assert!(code == 1 && message.contains("is not a folder"), "{message}");
    let (code, message) = failure(&["runs", "--compare", "a"], "");
    assert!(code == 2, "{message}");
    // A non-empty folder is not overwritten.
    std::fs::write(home.path().join("file"), "").unwrap();
    let (code, message) = failure(&["bench", "record", "--out", arg(home.path())], "");
    assert!(code == 1 && message.contains("choose another"), "{message}");
}
