//! Compares the engine and the trainer's model with PyTorch's results for tiny-gpt2
//! (`tests/fixtures/README.md` says how they were made).

use std::{collections::HashMap, fs, path::Path};

use huggingtweets::backend::relative_error;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{arg, failure, fixture, json, shared, stdout};

type Tensors = HashMap<String, Vec<f32>>;

/// Between two ways to compute the same in f32: a logit, the loss; gradients and
/// trained tensors by norm.
const LOGIT: f32 = 1e-4;
const LOSS: f64 = 1e-5;
const TENSOR: f64 = 1e-3;
/// How far quantised weights may take the logits, by norm.
const QUANTISED: [(&str, f64); 2] = [("q8_0", 0.02), ("q4_0", 0.20)];
/// The rate of the ten steps: a step of AdamW moves no number further.
const RATE: f32 = 1e-3;
const STEPS: u8 = 10;

fn load(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .filter(|(_, t)| t.dtype() == safetensors::Dtype::F32)
        .map(|(name, t)| {
            let values = t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name, values.collect())
        })
        .collect()
}

/// The largest difference between two values; infinite if any is NaN.
fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    assert!(!ours.is_empty(), "nothing is compared");
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.map(|off| if off.is_nan() { f32::INFINITY } else { off }).fold(0.0, f32::max)
}

/// Norm of the difference, relative to the norm of `theirs`; infinite if that is undefined.
fn relative(ours: &[f32], theirs: &[f32]) -> f64 {
    assert!(!ours.is_empty(), "nothing is compared");
    relative_error(ours, theirs)
}

#[test]
fn what_cannot_be_compared_is_infinitely_far() {
    assert_eq!(largest_difference(&[1.0, 2.0], &[1.5, 2.0]), 0.5);
    assert_eq!(largest_difference(&[1.0, f32::NAN], &[1.0, 2.0]), f32::INFINITY);
    assert_eq!(relative(&[1.0], &[1.0, 2.0]), f64::INFINITY);
}

fn forward(extra: &[&str], reference: &Path) -> Tensors {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let model = fixture("tiny-gpt2");
    let mut args =
        vec!["inspect", "forward", "--model", arg(&model), "--ids", arg(reference), "--out", arg(&out)];
    args.extend_from_slice(extra);
    stdout(&args, "");
    load(&out)
}

#[test]
fn logits_and_loss_agree_on_both_backends() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let theirs = load(&path);
    let figures: Value =
        serde_json::from_slice(&fs::read(fixture("tiny-gpt2/reference.json")).unwrap()).unwrap();
    for backend in ["candle", "cpu"] {
        let ours = forward(&["--backend", backend], &path);
        let worst = largest_difference(&ours["logits"], &theirs["logits"]);
        assert!(worst < LOGIT, "{backend}: logits differ by {worst:e}");
        let loss = f64::from(ours["loss"][0]) - figures["loss"].as_f64().unwrap();
        assert!(loss.abs() < LOSS, "{backend}: loss differs by {loss:e}");
    }
}

#[test]
fn quantised_logits_are_near_the_exact_ones() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let theirs = load(&path);
    for (precision, bound) in QUANTISED {
        let ours = forward(&["--backend", "cpu", "--precision", precision], &path);
        let error = relative(&ours["logits"], &theirs["logits"]);
        assert!(error < bound, "{precision}: {error}");
    }
}

#[test]
fn every_gradient_agrees() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let (ours, theirs) = (forward(&["--grads"], &path), load(&path));
    let mut compared = 0;
    for (name, theirs) in theirs.iter().filter(|(name, _)| name.starts_with("grad.")) {
        let ours = &ours[name];
        let error = if name.ends_with("c_attn.bias") {
            // The gradient of the key part is zero in theory, so only rounding errors.
            let third = ours.len() / 3;
            relative(&ours[..third], &theirs[..third]).max(relative(&ours[2 * third..], &theirs[2 * third..]))
        } else {
            relative(ours, theirs)
        };
        assert!(error < TENSOR, "{name}: {error:e}");
        compared += 1;
    }
    assert_eq!(compared, 28);
}

#[test]
fn ten_steps_agree() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let (ours, theirs) =
        (forward(&["--steps", &STEPS.to_string(), "--lr", &RATE.to_string()], &path), load(&path));
    let start = load(&fixture("tiny-gpt2/model.safetensors"));
    let mut compared = 0;
    for (name, theirs) in theirs.iter().filter(|(name, _)| name.starts_with("after.")) {
        let ours = &ours[name];
        if name.ends_with("c_attn.bias") {
            let third = ours.len() / 3;
            for part in [0..third, 2 * third..3 * third] {
                let error = relative(&ours[part.clone()], &theirs[part]);
                assert!(error < TENSOR, "{name}: {error:e}");
            }
            let before = &start[name.strip_prefix("after.").unwrap()];
            let moved = largest_difference(&ours[third..2 * third], &before[third..2 * third]);
            assert!(moved <= f32::from(STEPS) * RATE, "{name}: the key third moved {moved}");
        } else {
            let error = relative(ours, theirs);
            assert!(error < TENSOR, "{name}: {error:e}");
        }
        compared += 1;
    }
    assert_eq!(compared, 28);
}

#[test]
fn greedy_tokens_are_identical() {
    let figures: Value =
        serde_json::from_slice(&fs::read(fixture("tiny-gpt2/reference.json")).unwrap()).unwrap();
    let model = fixture("tiny-gpt2");
    for case in figures["greedy"].as_array().unwrap() {
        let theirs = case["greedy_ids"].as_array().unwrap();
        let max = theirs.len().to_string();
        for backend in ["simd", "scalar"] {
            let ours = json(
                &[
                    "generate",
                    "--model",
                    arg(&model),
                    "--prompt",
                    case["prompt"].as_str().unwrap(),
                    "-n",
                    "1",
                    "--temperature",
                    "0",
                    "--max-tokens",
                    &max,
                    "--precision",
                    "f32",
                    "--backend",
                    backend,
                    "--json",
                ],
                "",
            );
            assert_eq!(ours["drafts"][0]["ids"], case["greedy_ids"], "{}", case["prompt"]);
        }
    }
}

#[test]
fn gradients_of_another_backend_are_a_usage_error() {
    let model = fixture("tiny-gpt2");
    let args = [
        "inspect",
        "forward",
        "--model",
        arg(&model),
        "--ids",
        "x",
        "--out",
        "y",
        "--backend",
        "cpu",
        "--grads",
    ];
    assert_eq!(failure(&args, "").0, 2);
}
