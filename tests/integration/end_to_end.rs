//! From an archive to a generated post, through the command alone.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{arg, failure, json, shared, stdout};

/// The archive's first posts as a text file, so that training is short.
fn first_posts(folder: &Path, posts: usize) -> Option<std::path::PathBuf> {
    let archive = shared("data/x-archive-obama.zip")?;
    let kept = folder.join("kept.jsonl");
    json(&["import", arg(&archive), "--json", "--out", arg(&kept)], "");
    let text = fs::read_to_string(&kept).unwrap();
    let few = folder.join("first.jsonl");
    fs::write(&few, text.lines().take(posts).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    Some(few)
}

/// Posts of our own, where the archive is not at hand.
fn own_posts(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("own.jsonl");
    let post = |i: usize| {
        format!(
            "The lamp number {i} burned well tonight, and the {} came by.",
            ["gull", "cat", "boat"][i % 3]
        )
    };
    fs::write(&path, (0..200).map(|i| format!("{}\n", json!({ "text": post(i) }))).collect::<String>())
        .unwrap();
    path
}

fn train<'a>(posts: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec![
        "train",
        arg(posts),
        "--out",
        arg(out),
        "--base",
        "scratch",
        "--vocab-size",
        "400",
        "--layers",
        "2",
        "--channels",
        "32",
        "--heads",
        "2",
        "--context",
        "32",
        "--batch",
        "4",
        "--epochs",
        "1",
        "--lr",
        "1e-3",
        "--seed",
        "3",
        "--json",
    ]
}

#[test]
fn archive_to_bot_to_posts() {
    let home = tempfile::tempdir().unwrap();
    let posts = first_posts(home.path(), 200).unwrap_or_else(|| own_posts(home.path()));
    let out = home.path().join("bot");
    let report: Value = json(&train(&posts, &out), "");
    assert!(report.is_object());

    let drafts = json(&["generate", "--model", arg(&out), "--prompt", "The", "--seed", "1", "--json"], "");
    let drafts = drafts["drafts"].as_array().unwrap();
    assert_eq!(drafts.len(), 5);
    assert!(drafts.iter().all(|d| d["text"].as_str().unwrap().starts_with("The")));

    // What was trained continues: a bundle is a base, too.
    let second = home.path().join("second");
    let again = [
        "train",
        arg(&posts),
        "--out",
        arg(&second),
        "--base",
        arg(&out),
        "--context",
        "32",
        "--epochs",
        "1",
    ];
    stdout(&again, "");
    let perplexity = json(&["eval", arg(&second), arg(&posts), "--limit", "20", "--json"], "");
    let results = perplexity["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert!(results[1]["change_from_f32"].as_f64().unwrap().abs() < 0.02);

    let (code, message) = failure(&train(&posts, &out), "");
    assert!(code == 1 && message.contains("--force"), "{message}");
}

/// What eight bits may change of the perplexity that 32 give.
const EIGHT_BIT_BOUND: f64 = 1e-3;
/// What four may: the demo bot has a hundredth of GPT-2's weights, and less to spare.
const FOUR_BIT_BOUND: f64 = 2e-2;

#[test]
fn few_bits_cost_little_perplexity() {
    let home = tempfile::tempdir().unwrap();
    let posts = home.path().join("unseen.zip");
    stdout(&["demo-corpus", "--out", arg(&posts), "--posts", "400", "--seed", "2"], "");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/model-card/demo");
    let measured = json(&["eval", demo, arg(&posts), "--limit", "200", "--json"], "");
    let change = |precision: &str| {
        let results = measured["results"].as_array().unwrap();
        let found = results.iter().find(|result| result["precision"] == precision).unwrap();
        found["change_from_f32"].as_f64().unwrap().abs()
    };
    assert!(change("q8_0") < EIGHT_BIT_BOUND, "{measured}");
    assert!(change("q4_0") < FOUR_BIT_BOUND, "{measured}");
}

#[test]
fn one_seed_one_result() {
    let home = tempfile::tempdir().unwrap();
    let posts = own_posts(home.path());
    let weights = |name: &str| {
        let out = home.path().join(name);
        stdout(&train(&posts, &out), "");
        fs::read(out.join("model.safetensors")).unwrap()
    };
    assert!(weights("one") == weights("two"));
}
