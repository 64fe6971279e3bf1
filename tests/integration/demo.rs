//! The bot that ships: its size, its card's claims, its provenance.

use std::{collections::BTreeMap, fs};

use huggingtweets::{bundle::Manifest, card};
use serde_json::Value;

use crate::support::{arg, demo, json, root};

const MB: u64 = 1_000_000;

/// Of 200 drafts, how many may be posts it was trained on, word for word: some are the
/// grammar's shortest, which it makes again and again. The bot that ships has 23.
const VERBATIM: u64 = 30;

fn manifest() -> Value {
    serde_json::from_slice(&fs::read(demo().join("bot.json")).unwrap()).unwrap()
}

#[test]
fn it_is_small_enough_for_git_and_for_a_phone() {
    let sizes: Vec<u64> =
        fs::read_dir(demo()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.iter().sum::<u64>() <= 20 * MB);
    assert!(fs::metadata(demo().join("model-q8_0.gguf")).unwrap().len() <= 5 * MB);
}

#[test]
fn it_is_nobodys_account_and_says_so() {
    let manifest = manifest();
    // An X handle has at most 15 characters.
    assert!(manifest["handles"][0].as_str().unwrap().len() > 15);
    assert!(manifest["notice"].as_str().unwrap().contains("fictional"));
    assert!(fs::read_to_string(demo().join("README.md")).unwrap().contains("fictional"));
}

#[test]
fn its_card_shows_what_it_writes() {
    let manifest = manifest();
    let samples = manifest["card"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 5);
    let card = fs::read_to_string(demo().join("README.md")).unwrap();
    for sample in samples {
        let drafts = sample["drafts"].as_array().unwrap();
        assert_eq!(drafts.len(), 4);
        // Unedited: the command writes the same again.
        let prompt = sample["prompt"].as_str().unwrap();
        let seed = sample["seed"].to_string();
        let again = json(
            &["generate", "--model", arg(&demo()), "--prompt", prompt, "-n", "4", "--seed", &seed, "--json"],
            "",
        );
        let again: Vec<&Value> = again["drafts"].as_array().unwrap().iter().map(|d| &d["text"]).collect();
        assert_eq!(again, drafts.iter().collect::<Vec<_>>());
        for draft in drafts {
            let rest = draft.as_str().unwrap().strip_prefix(prompt).unwrap();
            assert!(card.contains(&format!("\n- <b>{prompt}</b>{rest}\n")), "the card lacks {draft}");
        }
    }
    let verbatim = &manifest["card"]["verbatim"];
    assert_eq!(verbatim["drafts"], 200);
    assert!(verbatim["verbatim"].as_u64().unwrap() <= VERBATIM, "{verbatim}");
    for field in ["command", "seed", "train_seconds", "first_loss", "final_loss"] {
        assert!(!manifest["provenance"][field].is_null(), "{field}");
    }
}

#[test]
fn its_card_says_that_it_is_better_than_the_one_before() {
    let manifest = manifest();
    let notes = manifest["card"]["notes"].as_array().unwrap();
    let note = notes[0].as_str().unwrap();
    let losses: Vec<f64> = note
        .split_whitespace()
        .filter_map(|word| word.trim_end_matches(['.', ',']).parse().ok())
        .filter(|&number: &f64| number.fract() != 0.0)
        .collect();
    let [ours, before] = losses[..] else { panic!("{note}") };
    assert!(ours < before && note.contains("another seed") && note.contains("same size"), "{note}");
    let card = fs::read_to_string(demo().join("README.md")).unwrap();
    assert!(card.contains(&format!("{ours}")) && card.contains(&format!("{before}")), "{note}");
}

#[test]
fn its_card_is_what_its_description_makes() {
    let manifest = Manifest::from_json(&fs::read(demo().join("bot.json")).unwrap()).unwrap();
    let card = card::render(&manifest.info, &manifest.card.unwrap()).unwrap();
    assert!(card == fs::read_to_string(demo().join("README.md")).unwrap(), "run `huggingtweets card` on it");
}

/// The options of a command line with their values; one without a value has none.
fn options(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let options = words.iter().enumerate().filter(|(_, word)| word.starts_with("--"));
    let value = |at: usize| words.get(at + 1).filter(|next| !next.starts_with("--")).copied();
    options.map(|(at, option)| (*option, value(at).unwrap_or_default())).collect()
}

#[test]
fn its_command_is_the_one_in_the_repository() {
    let script = fs::read_to_string(root().join("tools/demo-bot.sh")).unwrap().replace("\\\n", " ");
    let written = script.lines().find(|line| line.contains(" train ")).unwrap();
    // A sentence, and the manifest has it in its own place.
    let (written, notice) = written.split_once(" --notice ").unwrap();
    let notice = notice.trim_matches('"');
    let manifest = manifest();
    assert_eq!(notice, manifest["notice"].as_str().unwrap());
    let mut written = options(written);
    for place in ["--out", "--force", "--run"] {
        assert!(written.remove(place).is_some(), "{place}");
    }
    let recorded = manifest["provenance"]["command"].as_str().unwrap();
    let (recorded, quoted) = recorded.split_once(" --notice ").unwrap();
    assert_eq!(quoted.trim_matches('\'').replace("'\\''", "'"), notice);
    let mut recorded = options(recorded);
    assert_eq!(recorded.remove("--out"), Some("demo"));
    // Said in the record although it is what a command without it means.
    assert_eq!(recorded.remove("--recipe"), Some("modern"));
    assert_eq!(recorded, written);
}
