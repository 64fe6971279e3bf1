use candle_core::{DType, Device};

use crate::{
    gpt2::Config,
    train::{
        device,
        gradients::Gradients,
        model::{Mode, Model, next_tokens},
        optimizer::AdamW,
        scratch,
    },
};

const CONTEXT: usize = 23;
const TRAIN: Mode = Mode::Train { seed: 5, step: 2 };

fn config() -> Config {
    Config {
        vocab_size: 131,
        n_positions: 30,
        n_embd: 21,
        n_layer: 3,
        n_head: 3,
        n_inner: 84,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.2,
        resid_pdrop: 0.3,
        eos_token_id: 0,
    }
}

fn by_hand() -> Model {
    let mut weights = scratch::weights(&config(), 3);
    // Fresh weights give almost uniform attention, and their norms' biases are 0.
    for (name, tensor) in &mut weights {
        let bias = name.ends_with("bias");
        tensor
            .data
            .iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = 4.0 * *x + if bias { 0.1 * (i as f32).sin() } else { 0.0 });
    }
    Model::new(config(), &weights).unwrap()
}

fn graph(model: &Model) -> Model {
    Model::graph(Device::Cpu, DType::F32, config(), &model.weights().unwrap()).unwrap()
}

fn ids(blocks: usize) -> Vec<u32> {
    (0..(blocks * CONTEXT) as u32).map(|i| i * i % 7919 * 31 % 131).collect()
}

/// Loss, and every gradient with the name of its variable.
fn figures(model: &Model, ids: &[u32], mode: Mode) -> (f32, Vec<(String, Vec<f32>)>) {
    let mut sums = Gradients::new(model);
    // Twice, at half the weight, to test that gradients are added up.
    let mut labels = next_tokens(ids, CONTEXT);
    labels[3] = None;
    let mut once = || model.accumulate(ids, &labels, CONTEXT, mode, 0.5, &mut sums).unwrap();
    let loss = once();
    assert_eq!(once(), loss);
    let read = |name: &str| sums.get(name).unwrap().to_memory().unwrap().into_owned();
    (loss, model.vars().map(|(name, _)| (name.to_owned(), read(name))).collect())
}

/// Norm of the difference, relative to the norm of a.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut a.iter().copied()).max(1e-9)
}

fn assert_same(a: &Model, b: &Model, ids: &[u32], mode: Mode, bound: f32) {
    let ((loss_a, grads_a), (loss_b, grads_b)) = (figures(a, ids, mode), figures(b, ids, mode));
    assert!((loss_a - loss_b).abs() < bound * loss_a, "{loss_a} {loss_b}");
    for ((name, a), (_, b)) in grads_a.iter().zip(&grads_b) {
        // The key part of attention's bias has a gradient of 0 in theory.
        let (a, b) = if name.ends_with("c_attn.bias") { (&a[..21], &b[..21]) } else { (&a[..], &b[..]) };
        assert!(distance(a, b) < bound, "{name}: {}", distance(a, b));
    }
}

#[test]
fn loss_logits_and_gradients_are_those_of_the_pass_by_hand() {
    let model = by_hand();
    let graph = graph(&model);
    for mode in [Mode::Evaluate, TRAIN] {
        assert_same(&model, &graph, &ids(2), mode, 2e-5);
    }
    let (ours, theirs) = (model.logits(&ids(2), CONTEXT).unwrap(), graph.logits(&ids(2), CONTEXT).unwrap());
    let flat = |t: candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(distance(&flat(ours), &flat(theirs)) < 1e-5);
    let loss = graph.loss(&ids(2), CONTEXT).unwrap();
    assert!((model.loss(&ids(2), CONTEXT).unwrap() - loss).abs() < 1e-4);
}

#[test]
fn a_batch_of_more_rows_than_a_chunk_of_logits_learns_the_same() {
    let model = by_hand();
    let ids = ids(super::HEAD_ROWS / CONTEXT + 3);
    assert!(ids.len() > super::HEAD_ROWS);
    assert_same(&model, &graph(&model), &ids, Mode::Evaluate, 1e-4);
}

#[test]
fn computing_activations_again_learns_the_same() {
    let model = by_hand();
    let (kept, mut again) = (graph(&model), graph(&model));
    again.checkpoint_activations = true;
    assert_same(&kept, &again, &ids(2), TRAIN, 1e-6);
}

#[test]
fn steps_and_restored_moments_are_those_of_the_pass_by_hand() {
    let model = by_hand();
    let graph = graph(&model);
    let step = |model: &Model, optimizer: &mut AdamW| {
        let mut sums = Gradients::new(model);
        let mode = Mode::Train { seed: 1, step: optimizer.steps() };
        let (ids, labels) = (ids(2), next_tokens(&ids(2), CONTEXT));
        model.accumulate(&ids, &labels, CONTEXT, mode, 1.0, &mut sums).unwrap();
        optimizer.step(model, &sums, 1e-3).unwrap()
    };
    let (mut by_hand, mut on_device) = (AdamW::default(), AdamW::default());
    for _ in 0..3 {
        let (norm, other) = (step(&model, &mut by_hand), step(&graph, &mut on_device));
        assert!((norm - other).abs() < 1e-3 * norm, "{norm} {other}");
        // As after resuming from a checkpoint.
        let read = |v: crate::train::values::Values| v.to_memory().unwrap().into_owned();
        let moments = on_device.moments().map(|(name, m, v)| (name.into(), (read(m), read(v)))).collect();
        on_device = AdamW::restore(&graph, on_device.steps(), moments).unwrap();
    }
    let (ours, theirs) = (model.weights().unwrap(), graph.weights().unwrap());
    for (name, tensor) in &ours {
        let (a, b) = (&tensor.data, &theirs[name].data);
        let (a, b) = if name.ends_with("c_attn.bias") { (&a[..21], &b[..21]) } else { (&a[..], &b[..]) };
        assert!(distance(a, b) < 1e-4, "{name}: {}", distance(a, b));
    }
}

/// bf16 keeps 8 bits of a factor; sums of many products differ by a few of the last.
#[test]
fn a_gpu_learns_the_same_within_bf16s_bounds() {
    let Ok(gpu) = device::open("cuda") else {
        eprintln!("skipped: no NVIDIA GPU, or a build without the feature cuda");
        return;
    };
    let model = by_hand();
    let weights = model.weights().unwrap();
    let exact = Model::graph(gpu.clone(), DType::F32, config(), &weights).unwrap();
    assert_same(&model, &exact, &ids(2), TRAIN, 1e-3);
    let rounded = Model::on(&gpu, DType::BF16, config(), &weights).unwrap();
    assert_same(&model, &rounded, &ids(2), TRAIN, 5e-2);
}
