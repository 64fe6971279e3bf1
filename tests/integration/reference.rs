//! Compares the engine and the trainer's model with PyTorch's results for tiny-gpt2
//! (`tests/fixtures/README.md` says how they were made).

use std::{collections::HashMap, fs, path::Path};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{arg, failure, fixture, json, shared, stdout};

type Tensors = HashMap<String, Vec<f32>>;

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

/// Norm of the difference, relative to the norm of `theirs`.
fn relative(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut theirs.iter().map(|v| f64::from(*v))).max(1e-30)
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
        let worst =
            ours["logits"].iter().zip(&theirs["logits"]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{backend}: logits differ by {worst:e}");
        let loss = f64::from(ours["loss"][0]) - figures["loss"].as_f64().unwrap();
        assert!(loss.abs() < 1e-5, "{backend}: loss differs by {loss:e}");
    }
}

#[test]
fn quantised_logits_are_near_the_exact_ones() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let theirs = load(&path);
    for (precision, bound) in [("q8_0", 0.02), ("q4_0", 0.20)] {
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
        assert!(error < 1e-3, "{name}: {error:e}");
        compared += 1;
    }
    assert_eq!(compared, 28);
}

#[test]
fn ten_steps_agree() {
    let Some(path) = shared("reference/tiny-gpt2/reference.safetensors") else { return };
    let (ours, theirs) = (forward(&["--steps", "10", "--lr", "1e-3"], &path), load(&path));
    let start = load(&fixture("tiny-gpt2/model.safetensors"));
    let mut compared = 0;
    for (name, theirs) in theirs.iter().filter(|(name, _)| name.starts_with("after.")) {
        let ours = &ours[name];
        if name.ends_with("c_attn.bias") {
            let third = ours.len() / 3;
            for part in [0..third, 2 * third..3 * third] {
                let error = relative(&ours[part.clone()], &theirs[part]);
                assert!(error < 1e-3, "{name}: {error:e}");
            }
            let before = &start[name.strip_prefix("after.").unwrap()];
            for (after, before) in ours[third..2 * third].iter().zip(&before[third..]) {
                assert!((after - before).abs() <= 10.0 * 1e-3, "{name}: the key third moved too far");
            }
        } else {
            let error = relative(ours, theirs);
            assert!(error < 1e-3, "{name}: {error:e}");
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
