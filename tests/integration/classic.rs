//! `--recipe classic` reproduces the original exactly; `modern` names every difference.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use huggingtweets::{
    bundle::digest::sha256_hex,
    train::recipe::DIFFERENCES,
    tweets::{Cleaned, Order, open, training_text},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{arg, failure, fixture, json, stdout};

const SEPARATOR: &str = "<|endoftext|>";

/// An account of constructed posts, including ones that the original cleans, counts as retweets or
/// as short, and keeps twice.
fn archive(home: &Path, name: &str, posts: usize) -> std::path::PathBuf {
    let mut texts = vec![
        "RT @somebody: what a fine lamp this is".to_owned(),
        "good night".to_owned(),
        "night @gull".to_owned(),
        "Salt &amp; pepper &lt;here&gt; and   more https://t.co/abc".to_owned(),
        "Said once and then said twice".to_owned(),
        "Said once and then said twice".to_owned(),
    ];
    texts.extend((0..posts).map(|i| format!("{name} saw the boat number {i} go by at {} o'clock.", i % 24)));
    let path = home.join(format!("{name}.jsonl"));
    fs::write(&path, texts.iter().map(|t| format!("{}\n", json!({ "text": t }))).collect::<String>())
        .unwrap();
    path
}

/// What the original's rules keep of those posts, in order.
fn kept(name: &str, posts: usize) -> Vec<String> {
    let mut kept: Vec<String> =
        ["Salt & pepper <here> and more", "Said once and then said twice", "Said once and then said twice"]
            .map(str::to_owned)
            .to_vec();
    kept.extend((0..posts).map(|i| format!("{name} saw the boat number {i} go by at {} o'clock.", i % 24)));
    kept
}

fn tally(posts: &[&str]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    posts.iter().for_each(|post| *tally.entry((*post).to_owned()).or_default() += 1);
    tally
}

/// Arguments for a run of two steps.
fn train<'a>(archives: &[&'a str], out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let small = "--base scratch --vocab-size 300 --layers 1 --channels 16 --heads 1 --max-steps 2 --json";
    let mut words = vec!["train", "--out", arg(out)];
    words.extend(small.split(' '));
    words.extend(archives);
    words.extend(more);
    words
}

fn run_config(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.with_extension("run").join("config.json")).unwrap()).unwrap()
}

/// The text that the original makes of them, with this seed.
fn original_text(accounts: &[Cleaned], seed: u64) -> String {
    training_text(accounts, 4, Order::ByAccount, seed)
}

#[test]
fn the_text_is_every_post_four_times_each_time_shuffled_afresh() {
    let home = tempfile::tempdir().unwrap();
    let path = archive(home.path(), "ann", 200);
    let account = Cleaned::from_archive(&open::read(&path).unwrap());
    assert_eq!(account.kept, kept("ann", 200));
    assert_eq!((account.tweets_downloaded, account.retweets, account.short_tweets), (206, 1, 2));

    // `<|endoftext|>`, then four times all posts in a new shuffle, each followed by it.
    let text = original_text(std::slice::from_ref(&account), 9);
    let body = text.strip_prefix(SEPARATOR).unwrap().strip_suffix(SEPARATOR).unwrap();
    let posts: Vec<&str> = body.split(SEPARATOR).collect();
    assert_eq!(posts.len(), 4 * 203);
    let all: Vec<&str> = account.kept.iter().map(String::as_str).collect();
    let epochs: Vec<&[&str]> = posts.chunks(203).collect();
    for (i, epoch) in epochs.iter().enumerate() {
        assert_eq!(tally(epoch), tally(&all), "epoch {i}");
        assert!(
            epochs[..i].iter().all(|other| other != epoch) && **epoch != *all,
            "epoch {i} is not shuffled afresh"
        );
    }
}

/// Two steps of the classic recipe, in blocks of the original's 1,024 tokens.
struct Trained {
    home: TempDir,
    out: PathBuf,
    report: Value,
    config: Value,
}

fn trained() -> Trained {
    let home = tempfile::tempdir().unwrap();
    let path = archive(home.path(), "ann", 200);
    let out = home.path().join("bot");
    let more = ["--recipe", "classic", "--seed", "9", "--context", "1024"];
    let report = json(&train(&[arg(&path)], &out, &more), "");
    let config = run_config(&out);
    Trained { home, out, report, config }
}

#[test]
fn the_command_trains_on_that_very_text_with_the_documents_settings() {
    let Trained { home, report, config, .. } = trained();
    let account = Cleaned::from_archive(&open::read(&home.path().join("ann.jsonl")).unwrap());
    assert_eq!(config["lineage"]["dataset"]["sha256"], sha256_hex(original_text(&[account], 9).as_bytes()));
    // In blocks of 1,024 tokens without overlap.
    assert_eq!(report["bot"]["provenance"]["train_tokens"], 2 * 1024);
    let knobs = &config["hyper_parameters"];
    for (key, value) in [
        ("epochs", json!(4)),
        ("learning_rate", json!(1.372e-4)),
        ("batch", json!(1)),
        ("accumulate", json!(1)),
        ("context", json!(1024)),
        ("optimizer", json!("AdamW")),
        ("weight_decay", json!(0.0)),
        ("schedule", json!("cosine to 0, no warm-up")),
        ("clip", json!(1.0)),
        ("held_out_share", json!(0.0)),
        ("drop_duplicates", json!(false)),
        ("interleave_accounts", json!(false)),
        ("shuffle_blocks", json!(true)),
        ("loss_over", json!("all")),
        ("precision", json!("f32")),
    ] {
        assert_eq!(knobs[key], value, "{key}");
    }
    for (key, value) in [
        ("beta_1", 0.9),
        ("beta_2", 0.999),
        ("epsilon", 1e-8),
        ("embd_pdrop", 0.1),
        ("attn_pdrop", 0.1),
        ("resid_pdrop", 0.1),
    ] {
        assert_eq!(knobs[key], json!(value), "{key}");
    }
}

#[test]
fn the_rate_follows_the_cosine_over_the_whole_runs_steps_without_a_warm_up() {
    let Trained { out, config, home: _home, .. } = trained();
    let metrics = fs::read_to_string(out.with_extension("run").join("metrics.jsonl")).unwrap();
    let rates: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["learning_rate"].as_f64().unwrap())
        .collect();
    let steps = config["dataset"]["train_tokens"].as_u64().unwrap() / 1024;
    assert!(steps > 10 && rates.len() == 2, "{steps} {rates:?}");
    for (step, rate) in rates.iter().enumerate() {
        let expected = 1.372e-4 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()) / 2.0;
        assert!((rate - expected).abs() < 1e-15, "step {step}: {rate} {expected}");
    }
}

#[test]
fn nothing_is_evaluated_and_still_the_record_shows_what_the_bot_writes() {
    let Trained { out, home: _home, .. } = trained();
    let samples = fs::read_to_string(out.with_extension("run").join("samples.jsonl")).unwrap();
    let set: Value = serde_json::from_str(samples.trim_end()).unwrap();
    assert_eq!((&set["step"], set["drafts"].as_array().unwrap().len()), (&json!(2), 3));
}

#[test]
fn the_bot_writes_ten_drafts_by_the_originals_settings() {
    let Trained { out, home: _home, .. } = trained();
    let drafts =
        json(&["generate", "--model", arg(&out), "--prompt", "The", "--json", "--max-tokens", "20"], "");
    assert_eq!(drafts["drafts"].as_array().unwrap().len(), 10);
    // What the file tells others.
    let generation: Value =
        serde_json::from_slice(&fs::read(out.join("generation_config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("temperature", json!(1.0)),
        ("top_k", json!(50)),
        ("top_p", json!(0.95)),
        ("min_length", json!(10)),
        ("max_length", json!(160)),
    ] {
        assert_eq!(generation[key], value, "{key}");
    }
}

#[test]
fn several_archives_make_one_bot() {
    let home = tempfile::tempdir().unwrap();
    let (zoe, ann) = (archive(home.path(), "zoe", 140), archive(home.path(), "ann", 200));
    let out = home.path().join("classic");
    let report = json(&train(&[arg(&zoe), arg(&ann)], &out, &["--recipe", "classic"]), "");
    assert_eq!(report["bot"]["name"], "zoe & ann");
    assert_eq!(report["bot"]["handles"], json!(["zoe", "ann"]));
    let config = run_config(&out);
    assert_eq!(config["name"], "ann-zoe");
    let accounts = [&zoe, &ann].map(|path| Cleaned::from_archive(&open::read(path).unwrap()));
    let digest = sha256_hex(original_text(&accounts, 0).as_bytes());
    assert_eq!(config["lineage"]["dataset"]["sha256"], digest);
    // In each epoch zoe comes first, with about as many characters as ann.
    let text = training_text(&accounts, 1, Order::ByAccount, 0);
    let epoch: Vec<&str> = text.split(SEPARATOR).filter(|post| !post.is_empty()).collect();
    let chars = |posts: &[&str]| posts.iter().map(|post| post.chars().count()).sum::<usize>();
    let (first, second) = epoch.split_at(epoch.len() - accounts[1].kept.len());
    assert!(chars(first).abs_diff(chars(second)) < 100, "{} {}", chars(first), chars(second));
    assert!(
        first.iter().all(|post| !post.starts_with("ann"))
            && second.iter().all(|post| !post.starts_with("zoe"))
    );

    let out = home.path().join("modern");
    let report = json(&train(&[arg(&zoe), arg(&ann)], &out, &[]), "");
    // Of a post that both have twice, three copies are dropped; of one that both have once, one
    // copy.
    assert_eq!(report["bot"]["provenance"]["recipe"], "modern");
    let rows = &report["card"]["hyper_parameters"];
    assert_eq!((&rows[0], &rows[1]), (&json!(["Held-out posts", "17"]), &json!(["Duplicates dropped", "4"])));
    let said = report["card"]["recipe"]["differences"].to_string();
    for part in ["held out", "dropped", "shuffled together", "are kept", "A new network", "16-bit floats"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_ne!(run_config(&out)["lineage"]["dataset"]["sha256"], json!(digest));
}

#[test]
fn another_base_and_smaller_numbers_are_said() {
    let home = tempfile::tempdir().unwrap();
    let path = archive(home.path(), "ann", 200);
    let (base, out) = (fixture("tiny-gpt2"), home.path().join("bot"));
    let words =
        ["train", arg(&path), "--out", arg(&out), "--recipe", "classic", "--json", "--max-steps", "2"];
    let more = ["--base", arg(&base), "--dtype", "f16"];
    let (code, message) = failure(&[&words[..], &more, &["--context", "100000"]].concat(), "");
    assert!(code == 1 && message.contains("--context 100000 is beyond the base's"), "{message}");
    assert!(!out.with_extension("run").exists());
    let report = json(&[&words[..], &more].concat(), "");
    let said = report["card"]["recipe"]["differences"].to_string();
    for part in ["started from tiny-gpt2, not from GPT-2", "16-bit floats", "Blocks of 64 tokens"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn an_account_is_not_helped_by_a_larger_one() {
    let home = tempfile::tempdir().unwrap();
    let (zoe, ann) = (archive(home.path(), "zoe", 60), archive(home.path(), "ann", 200));
    let archives = [arg(&zoe), arg(&ann)];
    let (code, message) =
        failure(&train(&archives, &home.path().join("classic"), &["--recipe", "classic"]), "");
    assert!(code == 1 && message.contains("kept posts of @zoe ("), "{message}");
    stdout(&train(&archives, &home.path().join("modern"), &[]), "");
}

#[test]
fn help_names_every_difference() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&stdout(&["train", "--help"], ""));
    for difference in DIFFERENCES {
        assert!(help.contains(&words(difference.modern)), "{}", difference.modern);
        assert!(help.contains(&words(difference.classic)), "{}", difference.classic);
    }
}

#[test]
fn too_few_posts_are_all_trained_on_and_that_is_said() {
    let home = tempfile::tempdir().unwrap();
    let path = archive(home.path(), "ann", 130);
    let out = home.path().join("bot");
    let report = json(&train(&[arg(&path)], &out, &[]), "");
    assert_eq!(report["card"]["hyper_parameters"][0], json!(["Held-out posts", "0"]));
    let said = report["card"]["recipe"]["differences"].to_string();
    assert!(said.contains("too few"), "{said}");
    let (code, message) = failure(
        &train(&[arg(&path)], &home.path().join("x"), &["--recipe", "classic", "--eval-every", "2"]),
        "",
    );
    assert!(code == 2 && message.contains("--eval-every"), "{message}");
}
