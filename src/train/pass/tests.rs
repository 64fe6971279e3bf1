use crate::{
    gpt2::Config,
    train::{
        gradients::Gradients,
        model::{Mode, Model, next_tokens},
        ops::check,
        scratch,
    },
};

/// Large enough that products run on several cores.
fn model() -> Model {
    let config = Config {
        vocab_size: 301,
        n_positions: 70,
        n_embd: 93,
        n_layer: 2,
        n_head: 3,
        n_inner: 372,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.1,
        resid_pdrop: 0.1,
        eos_token_id: 0,
    };
    let weights = scratch::weights(&config, 3);
    Model::new(config, &weights).unwrap()
}

const CONTEXT: usize = 67;

fn ids() -> Vec<u32> {
    (0..2 * CONTEXT as u32).map(|i| i * i * 7919 % 301).collect()
}

/// The loss and every gradient.
fn figures(model: &Model, mode: Mode) -> Vec<f32> {
    let mut sums = Gradients::new(model);
    let ids = ids();
    let loss = model.accumulate(&ids, &next_tokens(&ids, CONTEXT), CONTEXT, mode, 1.0, &mut sums).unwrap();
    let all = model.vars().flat_map(|(name, _)| sums.get(name).unwrap().to_memory().unwrap().into_owned());
    std::iter::once(loss).chain(all).collect()
}

const TRAIN: Mode = Mode::Train { seed: 5, step: 2 };

#[test]
fn no_number_of_threads_changes_a_bit() {
    let model = model();
    check::any_number_of_threads(|| figures(&model, TRAIN));
}

#[test]
fn computing_activations_again_changes_no_bit() {
    let mut model = model();
    let kept = figures(&model, TRAIN);
    model.checkpoint_activations = true;
    assert!(figures(&model, TRAIN) == kept);
}

#[test]
fn buffers_of_another_batch_leave_nothing_behind() {
    let model = model();
    let first = figures(&model, TRAIN);
    model.loss(&ids()[..5], 5).unwrap();
    assert!(figures(&model, TRAIN) == first);
}

#[test]
fn the_loss_is_the_same_with_and_without_gradients() {
    let model = model();
    let (with, without) = (figures(&model, Mode::Evaluate)[0], model.loss(&ids(), CONTEXT).unwrap());
    assert_eq!(with, without);
    assert_ne!(with, figures(&model, TRAIN)[0]);
    let logits = model.logits(&ids(), CONTEXT).unwrap().to_vec2::<f32>().unwrap();
    let nats = logits.iter().zip(next_tokens(&ids(), CONTEXT)).filter_map(|(row, label)| {
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        Some(sum.ln() - f64::from(row[label? as usize]))
    });
    let mean = nats.sum::<f64>() / (2 * CONTEXT - 2) as f64;
    assert!((mean - f64::from(with)).abs() < 1e-5, "{mean} {with}");
}

#[test]
fn a_batch_that_does_not_fit_is_an_error() {
    let model = model();
    for (ids, context) in
        [(vec![1; 71], 71), (vec![1; 7], 3), (vec![], 3), (vec![1; 4], 0), (vec![301; 4], 2)]
    {
        assert!(model.loss(&ids, context).is_err(), "{} {context}", ids.len());
    }
    assert!(model.loss_masked(&[1, 2], &[Some(301), None], 2).is_err());
    assert!(model.loss_masked(&[1, 2], &[None], 2).is_err());
}

#[test]
fn labels_that_are_masked_out_count_for_nothing() {
    let model = model();
    let ids = ids();
    let mut labels = next_tokens(&ids, CONTEXT);
    labels[CONTEXT..].fill(None);
    let (half, alone) = (model.loss_masked(&ids, &labels, CONTEXT), model.loss(&ids[..CONTEXT], CONTEXT));
    assert!((half.unwrap() - alone.unwrap()).abs() < 1e-6);
    assert_eq!(model.loss_masked(&ids, &vec![None; ids.len()], CONTEXT).unwrap(), 0.0);
}
