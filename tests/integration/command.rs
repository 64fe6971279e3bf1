//! The command's contract: names, exit codes, what goes to which stream.

use std::{collections::BTreeSet, fs, process::Stdio};

use serde_json::{Value, json};

use crate::support::{arg, failure, fixture, huggingtweets, json, root, run, shared, stdout};

/// What a user may call, in the order of `--help`.
const COMMANDS: [&str; 12] = [
    "import", "train", "runs", "generate", "convert", "quantize", "eval", "card", "push", "serve", "site",
    "inspect",
];

/// How far a probability may be off PyTorch's.
const PROBABILITY: f64 = 1e-6;

/// The first words below a help's `Commands:`, but for `help` itself.
fn commands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let named = lines.take_while(|line| !line.is_empty());
    // A description that is wrapped goes on further to the right.
    let named = named.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// The options that a text names, such as `--seed` and `-n`.
fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| word.strip_prefix('-').is_some_and(|name| name.contains(char::is_alphabetic)))
        .collect()
}

#[test]
fn help_names_every_command() {
    assert_eq!(commands(&stdout(&["--help"], "")), COMMANDS);
}

/// An option of cargo's, which README.md names beside the command's.
const OF_CARGO: &str = "--features";

/// Rows such as ``| `train ARCHIVE... --out DIR` | trains; `--seed` |``, and below the table
/// items such as ``- **train**: `--seed`, …``.
#[test]
fn the_readme_has_every_command_and_no_option_that_is_not_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = &readme[readme.find("| command |").unwrap()..];
    let section = section.split("\n## ").next().unwrap();
    let (rows, list) = section.split_once("\n\n").unwrap();

    let rows: Vec<&str> = rows.lines().skip(2).collect();
    let names: Vec<&str> =
        rows.iter().map(|row| row.trim_start_matches("| `").split([' ', '`']).next().unwrap()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>(), COMMANDS.iter().collect());

    let bold: Vec<&str> = list.split("**").collect();
    let items = bold[1..].chunks_exact(2).map(|item| (item[0], item[1]));
    let items = items.filter(|(name, _)| COMMANDS.contains(name));
    for (name, text) in names.iter().copied().zip(rows.iter().copied()).chain(items) {
        let mut help = stdout(&[name, "--help"], "");
        let stages: Vec<String> = commands(&help).into_iter().map(str::to_owned).collect();
        for stage in &stages {
            help += &stdout(&[name, stage, "--help"], "");
        }
        // Code alone: a dash in a sentence is none of an option.
        let code: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        if !stages.is_empty() && text.starts_with('|') {
            let told = code[0].strip_prefix(name).unwrap().trim().split("\\|");
            assert_eq!(told.collect::<Vec<_>>(), stages, "README.md's {name}");
        }
        let known = options(&help);
        for option in options(&code.join(" ")) {
            assert!(
                known.contains(option) || option == OF_CARGO,
                "README.md's {option} is no option of {name}"
            );
        }
    }
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["generate"][..],
        &["no-such-command"],
        &["generate", "--model", "x", "--precision", "q5"],
        &["generate", "--model", "x", "--top-p", "1.5"],
        &["generate", "--model", "x", "-n", "0"],
        &["generate", "--model", "x", "-n", "1000000000"],
        &["generate", "--model", "x", "--max-tokens", "0"],
        &["push", "bot", "a/b/c"],
        &["push", "bot", ""],
        &["import"],
        &["train", "x"],
    ] {
        assert_eq!(failure(args, "").0, 2, "{args:?}");
    }
}

#[test]
fn quantize_offers_only_what_it_writes() {
    for precision in ["f32", "Q8_0"] {
        let (code, message) = failure(&["quantize", "bot", "--to", precision], "");
        assert!(code == 2 && message.contains("[possible values: q8_0, q4_0]"), "{message}");
    }
}

#[test]
fn a_negative_number_is_a_value() {
    for args in [
        &["generate", "--model", "x", "--seed", "-1"][..],
        &["generate", "--model", "x", "-n", "-1"],
        &["generate", "--model", "x", "--temperature", "-0.5"],
        &["train", "posts.txt", "--out", "bot", "--lr", "-0.001"],
        &["eval", "bot", "posts.txt", "--limit", "-1"],
        &["serve", "--port", "-1"],
        &["inspect", "forward", "--model", "x", "--ids", "y", "--out", "z", "--steps", "-1"],
    ] {
        let (code, message) = failure(args, "");
        assert!(code == 2 && !message.contains("unexpected argument"), "{message}");
    }
}

#[test]
fn probs_match_the_reference_processing() {
    let groups: Value = serde_json::from_slice(&fs::read(fixture("sampling-cases.json")).unwrap()).unwrap();
    for group in groups.as_array().unwrap() {
        for case in group["cases"].as_array().unwrap() {
            let input =
                json!({ "logits": group["logits"], "history": group["history"], "params": case["params"] });
            let ours = json(&["inspect", "probs"], &input.to_string());
            let (ours, theirs) = (ours["probs"].as_array().unwrap(), case["probs"].as_array().unwrap());
            assert_eq!(ours.len(), theirs.len(), "{}", case["name"]);
            assert!(!ours.is_empty(), "{}", case["name"]);
            for (ours, theirs) in ours.iter().zip(theirs) {
                let difference = ours.as_f64().unwrap() - theirs.as_f64().unwrap();
                assert!(difference.abs() < PROBABILITY, "{}", case["name"]);
            }
        }
    }
}

#[test]
fn cleaning_matches_the_original_on_every_case() {
    let Some(path) = shared("reference/cleaning-cases.jsonl") else { return };
    let cases = fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = cases.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let input: String = cases.iter().map(|c| format!("{}\n", json!({ "text": c["text"] }))).collect();
    let output = stdout(&["inspect", "clean"], &input);
    let ours: Vec<Value> = output.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(ours.len(), cases.len());
    assert!(!cases.is_empty());
    for (ours, case) in ours.iter().zip(&cases) {
        for key in ["fixed", "cleaned", "kept"] {
            assert_eq!(ours[key], case[key], "{key} of {}", case["text"]);
        }
    }
}

#[test]
fn tokenizing_matches_gpt2_on_every_case() {
    let Some(path) = shared("reference/gpt2-tokenizer-cases.jsonl") else { return };
    let Some(tokenizer) = shared("reference/gpt2-tokenizer/tokenizer.json") else { return };
    let cases = fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = cases.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let input: String = cases.iter().map(|c| format!("{}\n", json!({ "text": c["text"] }))).collect();
    let output = stdout(&["inspect", "tokenize", "--tokenizer", arg(&tokenizer)], &input);
    assert!(!cases.is_empty());
    assert_eq!(output.lines().count(), cases.len());
    for (ours, case) in output.lines().zip(&cases) {
        let ours: Value = serde_json::from_str(ours).unwrap();
        assert_eq!(ours["ids"], case["ids"], "{}", case["text"]);
    }
}

#[test]
fn importing_the_real_archive_gives_the_originals_counts() {
    let Some(archive) = shared("data/x-archive-obama.zip") else { return };
    let Some(expected) = shared("data/x-archive-obama.expected.json") else { return };
    let expected: Value = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let kept = out.path().join("kept.jsonl");
    let ours = json(&["import", arg(&archive), "--json", "--out", arg(&kept)], "");
    for key in [
        "handle",
        "name",
        "tweets_downloaded",
        "retweets",
        "short_tweets",
        "tweets_kept",
        "kept_chars_joined",
    ] {
        assert_eq!(ours[key], expected[key], "{key}");
    }
    let kept = fs::read_to_string(kept).unwrap();
    let first = expected["first_kept"].as_array().unwrap();
    assert!(!first.is_empty() && kept.lines().count() >= first.len());
    for (line, expected) in kept.lines().zip(first) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["text"], *expected);
    }
    assert_eq!(kept.lines().count() as u64, expected["tweets_kept"].as_u64().unwrap());
}

#[test]
fn archives_that_are_none_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("broken.zip", &b"PK\x03\x04 not really"[..]),
        ("plain.zip", b"no zip at all"),
        ("latin1.txt", b"caf\xe9 au lait, as ever"),
        ("empty.txt", b""),
        ("half.jsonl", b"{\"text\": \"tw"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        for command in [&["import"][..], &["train", "--base", "scratch", "--out", "/no/where"]] {
            let mut args = command.to_vec();
            args.push(arg(&path));
            let (code, message) = failure(&args, "");
            assert_eq!(code, 1, "{name}: {message}");
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_an_archive_by_its_name_in_dev() {
    let text = "{\"text\": \"one whole post here\"}\n";
    assert_eq!(json(&["import", "/dev/stdin", "--json"], text)["tweets_kept"], 1);
    for args in [&["import", "-"][..], &["train", "-", "--out", "/no/where", "--base", "scratch"]] {
        let (code, message) = failure(args, text);
        assert!(code == 2 && message.contains("standard input is /dev/stdin"), "{message}");
    }
    let (code, message) = failure(&["import", "/dev/stdin", "--out", "-"], text);
    assert!(code == 2 && message.contains("standard output is /dev/stdout"), "{message}");
    let (code, message) = failure(&["import", "/dev/stdin"], "PK\u{3}\u{4} a zip");
    assert!(code == 1 && message.contains("a zip cannot be read from a pipe: give its file"), "{message}");
}

#[test]
fn json_output_is_json_alone() {
    let folder = tempfile::tempdir().unwrap();
    let posts = folder.path().join("few.txt");
    fs::write(&posts, "one whole post here\nanother whole post here\n").unwrap();
    let output = run(&["import", arg(&posts), "--json"], "");
    assert!(output.status.success());
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["tweets_kept"], 2);
    // Too little to train on is a warning here.
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warning.starts_with("warning: too few posts") && warning.contains("at least 6000 characters"),
        "{warning}"
    );
}

#[test]
fn an_archive_given_twice_counts_once_and_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let posts = folder.path().join("keeper.jsonl");
    let text: String =
        (0..3).map(|i| format!("{}\n", json!({ "id": i, "text": format!("post number {i}") }))).collect();
    fs::write(&posts, &text).unwrap();
    let output = run(&["import", arg(&posts), arg(&posts), "--json"], "");
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&counts["tweets_downloaded"], &counts["tweets_kept"]), (&json!(3), &json!(3)));
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("3 posts of @keeper are in more than one archive"), "{note}");
    for more in [&[][..], &["--force"]] {
        let (code, message) = failure(&[&["import", arg(&posts), "--out", arg(&posts)], more].concat(), "");
        assert!(code == 1 && message.contains("would overwrite the input"), "{message}");
    }
    assert_eq!(fs::read_to_string(&posts).unwrap(), text);
    // Standard output by its name is a stream like any other.
    let kept = stdout(&["import", arg(&posts), "--out", "/dev/stdout", "--json"], "");
    assert!(kept.starts_with("{\"text\":\"post number 0\"}\n"), "{kept}");
}

#[test]
fn a_prompt_without_room_is_refused_before_any_work() {
    let model = fixture("tiny-gpt2");
    let long = "word ".repeat(200);
    let (code, message) = failure(&["generate", "--model", arg(&model), "--prompt", &long], "");
    assert!(code == 1 && message.contains("401 tokens long") && message.contains("room for 62"), "{message}");
}

#[test]
fn a_reader_that_ends_early_is_no_error() {
    let model = fixture("tiny-gpt2");
    let folder = tempfile::tempdir().unwrap();
    let posts = folder.path().join("few.txt");
    fs::write(&posts, "one whole post here\nanother whole post here\n").unwrap();
    for args in [&["generate", "--model", arg(&model), "-n", "3"][..], &["eval", arg(&model), arg(&posts)]] {
        let mut command = huggingtweets();
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && message.is_empty(), "{args:?}: {message}");
    }
}
