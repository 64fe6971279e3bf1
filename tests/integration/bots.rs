//! Bots that exist, in every layout, open in every command; broken ones are
//! refused in one line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use huggingtweets::bundle::folder::BotFolder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{arg, failure, fixture, json, run, stdout};

/// A copy of tiny-gpt2 holding only the named files.
fn copy(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(fixture("tiny-gpt2").join(file), folder.path().join(file)).unwrap();
    }
    folder
}

const HF: &[&str] = &["config.json", "tokenizer.json", "model.safetensors"];

fn greedy(model: &Path) -> Value {
    let args = [
        "generate",
        "--model",
        arg(model),
        "--prompt",
        "My dream is",
        "-n",
        "1",
        "--temperature",
        "0",
        "--max-tokens",
        "24",
        "--precision",
        "f32",
        "--json",
    ];
    json(&args, "")["drafts"][0]["ids"].clone()
}

/// Rewrites the checkpoint's tensors through `change(name, shape, bytes)`.
fn rewrite(
    folder: &Path,
    mut change: impl FnMut(&str, Vec<usize>, Vec<u8>) -> Option<(String, Vec<usize>, Vec<u8>)>,
) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut kept = BTreeMap::new();
    for (name, tensor) in file.tensors() {
        if let Some((name, shape, data)) = change(&name, tensor.shape().to_vec(), tensor.data().to_vec()) {
            kept.insert(name, (shape, data));
        }
    }
    let views = kept.iter().map(|(name, (shape, data))| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn names_without_prefix_buffers_and_a_tied_head_open_alike() {
    let expected = greedy(&fixture("tiny-gpt2"));
    let folder = copy(HF);
    rewrite(folder.path(), |name, shape, data| {
        Some((name.trim_start_matches("transformer.").into(), shape, data))
    });
    assert_eq!(greedy(folder.path()), expected);

    let mut head = None;
    rewrite(folder.path(), |name, shape, data| {
        if name == "wte.weight" {
            head = Some((shape.clone(), data.clone()));
        }
        Some((name.into(), shape, data))
    });
    let (head_shape, head_data) = head.unwrap();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: BTreeMap<String, (Vec<usize>, Vec<u8>)> =
        file.tensors().into_iter().map(|(n, t)| (n, (t.shape().to_vec(), t.data().to_vec()))).collect();
    // What old checkpoints carry beside the weights.
    all.insert("lm_head.weight".into(), (head_shape, head_data));
    all.insert("h.0.attn.bias".into(), (vec![1, 1, 4, 4], vec![0; 64]));
    all.insert("h.0.attn.masked_bias".into(), (vec![1], vec![0; 4]));
    let views = all.iter().map(|(n, (s, d))| {
        (n, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, s.clone(), d).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    assert_eq!(greedy(folder.path()), expected);
}

#[test]
fn vocab_and_merges_stand_in_for_tokenizer_json() {
    let expected = greedy(&fixture("tiny-gpt2"));
    let folder = copy(&["config.json", "model.safetensors"]);
    let tokenizer: Value =
        serde_json::from_slice(&fs::read(fixture("tiny-gpt2/tokenizer.json")).unwrap()).unwrap();
    fs::write(folder.path().join("vocab.json"), tokenizer["model"]["vocab"].to_string()).unwrap();
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().map(|m| match m {
        Value::String(pair) => pair.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    });
    let merges = format!("#version: 0.2\n{}\n", merges.collect::<Vec<_>>().join("\n"));
    fs::write(folder.path().join("merges.txt"), merges).unwrap();
    assert_eq!(greedy(folder.path()), expected);
}

#[test]
fn a_pickled_checkpoint_opens_where_there_is_no_safetensors() {
    let folder = copy(&["config.json", "tokenizer.json"]);
    fs::copy(fixture("tiny-gpt2-bin/pytorch_model.bin"), folder.path().join("pytorch_model.bin")).unwrap();
    assert_eq!(greedy(folder.path()), greedy(&fixture("tiny-gpt2")));
}

#[test]
fn convert_makes_a_whole_bundle_of_any_gpt2() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("bot");
    let model = fixture("tiny-gpt2");
    let said = stdout(&["convert", arg(&model), "--out", arg(&out)], "");
    assert_eq!(said, format!("Wrote {}\n", arg(&out)));
    for file in [
        "README.md",
        "bot.json",
        "config.json",
        "generation_config.json",
        "model-q4_0.gguf",
        "model-q8_0.gguf",
        "model.safetensors",
        "predictions.png",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    assert_eq!(greedy(&out), greedy(&model));
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("bot.json")).unwrap()).unwrap();
    for gguf in ["model-q8_0.gguf", "model-q4_0.gguf"] {
        let size = fs::metadata(out.join(gguf)).unwrap().len();
        assert_eq!(manifest["files"][gguf]["size"], json!(size));
        assert!(manifest["checks"][gguf]["logits"].as_array().unwrap().len() > 100);
    }
    let generation: Value =
        serde_json::from_slice(&fs::read(out.join("generation_config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("do_sample", json!(true)),
        ("temperature", json!(1.0)),
        ("top_k", json!(50)),
        ("top_p", json!(0.95)),
        ("min_length", json!(10)),
        ("max_length", json!(64)),
    ] {
        assert_eq!(generation[key], value, "{key}");
    }
    // A bundle there already is not touched without --force.
    let (code, message) = failure(&["convert", arg(&model), "--out", arg(&out)], "");
    assert_eq!(code, 1);
    assert!(message.contains("--force"), "{message}");
    stdout(&["convert", arg(&model), "--out", arg(&out), "--force"], "");
    let said = stdout(&["quantize", arg(&out), "--to", "q4_0"], "");
    assert_eq!(said, format!("Wrote {}\n", arg(&out.join("model-q4_0.gguf"))));
    stdout(&["card", arg(&out)], "");
    // No temporary folder stays behind.
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn both_levels_and_quantisations_give_the_same_drafts() {
    let model = fixture("tiny-gpt2");
    for precision in ["f32", "q8_0", "q4_0"] {
        let drafts = |backend: &str| {
            let args = [
                "generate",
                "--model",
                arg(&model),
                "--prompt",
                "I",
                "--seed",
                "7",
                "--precision",
                precision,
                "--backend",
                backend,
                "--json",
            ];
            json(&args, "")["drafts"].clone()
        };
        assert_eq!(drafts("simd"), drafts("scalar"), "{precision}");
        assert_eq!(drafts("simd").as_array().unwrap().len(), 5);
    }
}

#[test]
fn broken_bots_are_refused_in_a_line_that_names_the_matter() {
    type Damage = Box<dyn Fn(&Path)>;
    let cases: Vec<(&str, Damage)> = vec![
        ("config.json", Box::new(|p| fs::remove_file(p.join("config.json")).unwrap())),
        ("config.json", Box::new(|p| fs::write(p.join("config.json"), "{").unwrap())),
        (
            "n_layer",
            Box::new(|p| {
                fs::write(
                    p.join("config.json"),
                    r#"{"n_embd":64,"n_head":4,"vocab_size":512,"n_positions":64}"#,
                )
                .unwrap()
            }),
        ),
        ("tokenizer", Box::new(|p| fs::remove_file(p.join("tokenizer.json")).unwrap())),
        ("model.safetensors", Box::new(|p| fs::write(p.join("model.safetensors"), [0u8; 100]).unwrap())),
        (
            "ln_f.bias",
            Box::new(|p| rewrite(p, |n, s, d| (!n.ends_with("ln_f.bias")).then(|| (n.into(), s, d)))),
        ),
        (
            "ln_f.bias",
            Box::new(|p| {
                rewrite(p, |n, s, d| {
                    Some(if n.ends_with("ln_f.bias") {
                        (n.into(), vec![32], d[..128].to_vec())
                    } else {
                        (n.into(), s, d)
                    })
                })
            }),
        ),
    ];
    for (name, damage) in cases {
        let folder = copy(HF);
        damage(folder.path());
        let (code, message) = failure(&["generate", "--model", arg(folder.path())], "");
        assert_eq!(code, 1, "{name}");
        assert!(message.contains(name), "{name}: {message}");
    }
    let (code, message) = failure(&["generate", "--model", "/no/such/bot"], "");
    assert!(code == 1 && message.contains("/no/such/bot"), "{message}");
}

#[test]
fn damaged_ggufs_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("bot");
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&out)], "");
    let path: PathBuf = out.join("model-q8_0.gguf");
    let whole = fs::read(&path).unwrap();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"this is no model".to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("a header alone", whole[..200].to_vec()),
    ] {
        fs::write(&path, bytes).unwrap();
        let (code, message) = failure(&["generate", "--model", arg(&out)], "");
        assert!(code == 1 && message.contains("model-q8_0.gguf"), "{what}: {message}");
    }
}

#[test]
fn what_was_made_of_damage_is_vouched_for_by_nobody() {
    let home = tempfile::tempdir().unwrap();
    let (bot, other) = (home.path().join("bot"), home.path().join("other"));
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&bot)], "");
    let flip = |name: &str| {
        let mut bytes = fs::read(bot.join(name)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(bot.join(name), bytes).unwrap();
    };
    // A file that is made of others can be made again.
    let whole = fs::read(bot.join("model-q8_0.gguf")).unwrap();
    flip("model-q8_0.gguf");
    stdout(&["quantize", arg(&bot), "--to", "q8_0"], "");
    assert!(fs::read(bot.join("model-q8_0.gguf")).unwrap() == whole);
    flip("model.safetensors");
    let before = fs::read(bot.join("bot.json")).unwrap();
    let posts = home.path().join("posts.txt");
    let lines = (0..300).map(|i| format!("On night {i} the lamp is lit and the keeper is awake.\n"));
    fs::write(&posts, lines.collect::<String>()).unwrap();
    for args in [
        &["quantize", arg(&bot), "--to", "q8_0"][..],
        &["convert", arg(&bot), "--out", arg(&other)],
        &["card", arg(&bot), "--measure", "posts.txt"],
        &["eval", arg(&bot), arg(&posts)],
        &[
            "train",
            arg(&posts),
            "--base",
            arg(&bot),
            "--out",
            arg(&other),
            "--context",
            "16",
            "--max-steps",
            "1",
        ],
    ] {
        let (code, message) = failure(args, "");
        assert!(code == 1 && message.contains("model.safetensors is damaged"), "{message}");
    }
    assert!(!other.exists() && fs::read(bot.join("bot.json")).unwrap() == before);
}

#[test]
fn a_damaged_gguf_is_not_measured() {
    let home = tempfile::tempdir().unwrap();
    let (bot, posts) = (home.path().join("bot"), home.path().join("posts.txt"));
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&bot)], "");
    let mut bytes = fs::read(bot.join("model-q4_0.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(bot.join("model-q4_0.gguf"), bytes).unwrap();
    fs::write(&posts, "one whole post here\n").unwrap();
    let (code, message) = failure(&["eval", arg(&bot), arg(&posts)], "");
    assert!(code == 1 && message.contains("model-q4_0.gguf is damaged"), "{message}");
}

#[test]
fn one_post_is_not_called_posts() {
    let home = tempfile::tempdir().unwrap();
    let posts = home.path().join("posts.txt");
    fs::write(&posts, "one whole post here\nand another one there\n").unwrap();
    let tiny = fixture("tiny-gpt2");
    assert!(stdout(&["eval", arg(&tiny), arg(&posts), "--limit", "1"], "").starts_with("1 post, "));
    assert!(stdout(&["eval", arg(&tiny), arg(&posts)], "").starts_with("2 posts, "));
}

#[test]
fn a_bot_in_another_form_is_told_of_as_before() {
    let home = tempfile::tempdir().unwrap();
    let (bot, other) = (home.path().join("bot"), home.path().join("other"));
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&bot)], "");
    let extras = json!({
        "held_out_perplexity": [{ "precision": "f32", "perplexity": 21.5 }],
        "perplexity_posts": 12,
        "recipe": { "name": "modern", "differences": ["It differs."] },
        "validation": [[1, 3.5], [2, 3.25]],
        "memorisation": { "n_words": 8, "share": 0.25, "drafts": 20 },
        "notes": ["Measured on a lamp."],
    });
    let file = home.path().join("extras.json");
    fs::write(&file, extras.to_string()).unwrap();
    let card = ["card", arg(&bot), "--extras", arg(&file), "--license", "mit", "--language", "en"];
    stdout(&[&card[..], &["--repository", "keeper/lamp", "--page", "https://a.example/"]].concat(), "");
    stdout(&["convert", arg(&bot), "--out", arg(&other), "--dtype", "f16"], "");
    let told = |dir: &Path| -> Value {
        let mut manifest: Value = serde_json::from_slice(&fs::read(dir.join("bot.json")).unwrap()).unwrap();
        // Drafts are those of the rounded weights.
        assert!(manifest["card"]["samples"].take().is_array());
        manifest["card"].clone()
    };
    assert_eq!(told(&other), told(&bot));
    assert!(other.join("validation.png").is_file());
    assert!(fs::read_to_string(other.join("README.md")).unwrap().contains("Measured on a lamp"));
}

#[test]
fn an_account_without_a_handle_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("bot");
    let model = fixture("tiny-gpt2");
    for handle in ["@", "", " "] {
        let args = ["convert", arg(&model), "--out", arg(&out), "--handle", handle, "--name", ""];
        let (code, message) = failure(&args, "");
        assert!(code == 2 && message.contains("--handle"), "{message}");
    }
    assert!(!out.exists());
}

#[test]
fn a_perplexity_measured_on_former_weights_leaves_the_card() {
    let home = tempfile::tempdir().unwrap();
    let bot = home.path().join("bot");
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&bot)], "");
    let mut manifest: Value = serde_json::from_slice(&fs::read(bot.join("bot.json")).unwrap()).unwrap();
    let row = |precision| json!({ "precision": precision, "perplexity": 2.5 });
    manifest["card"]["held_out_perplexity"] = json!([row("f32"), row("q8_0"), row("q4_0")]);
    fs::write(bot.join("bot.json"), manifest.to_string()).unwrap();
    let quantized = |options: &[&str]| {
        let output = run(&[&["quantize", arg(&bot), "--to", "q4_0"], options].concat(), "");
        let manifest: Value = serde_json::from_slice(&fs::read(bot.join("bot.json")).unwrap()).unwrap();
        let rows = manifest["card"]["held_out_perplexity"].as_array().unwrap();
        let precisions: Vec<_> =
            rows.iter().map(|row| row["precision"].as_str().unwrap().to_owned()).collect();
        (precisions.join(" "), String::from_utf8(output.stderr).unwrap())
    };
    // The same bytes again.
    let (precisions, message) = quantized(&[]);
    assert_eq!(precisions, "f32 q8_0 q4_0");
    assert!(!message.contains("perplexity"), "{message}");
    let (precisions, message) = quantized(&["--all-4bit"]);
    assert_eq!(precisions, "f32 q8_0");
    assert!(message.contains("perplexity at q4_0"), "{message}");
}

#[test]
fn commands_that_change_a_bot_leave_each_other_s_work_alone() {
    let home = tempfile::tempdir().unwrap();
    let bot = home.path().join("bot");
    stdout(&["convert", arg(&fixture("tiny-gpt2")), "--out", arg(&bot)], "");
    let commands = [
        vec!["quantize", arg(&bot), "--to", "q4_0", "--all-4bit"],
        vec!["quantize", arg(&bot), "--to", "q8_0"],
        vec!["card", arg(&bot), "--page", "https://a.example/"],
    ];
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let running = commands.each_ref().map(|args| scope.spawn(|| run(args, "")));
        running.map(|thread| thread.join().unwrap()).into()
    });
    let mut done = 0;
    for (output, args) in outputs.iter().zip(&commands) {
        let message = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            done += 1;
        } else {
            assert!(message.contains("wait until it has ended"), "{args:?}: {message}");
        }
    }
    assert!(done > 0);
    let manifest: Value = serde_json::from_slice(&fs::read(bot.join("bot.json")).unwrap()).unwrap();
    assert_eq!(manifest["card"]["page_url"].is_string(), outputs[2].status.success());
    BotFolder::open(&bot).unwrap().verify().unwrap();
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn measuring_on_no_post_is_no_measure() {
    let (code, message) = failure(&["eval", "bot", "posts.txt", "--limit", "0"], "");
    assert!(code == 2 && message.contains("--limit"), "{message}");
}
