//! Runs on a small network: interrupted and resumed, stopped early, diverged.

use std::path::Path;

use super::*;
use crate::{
    bundle::Weights,
    gpt2::Config,
    train::{checkpoint::Identity, scratch},
};

const CONTEXT: usize = 8;

fn config(dropout: f32) -> Config {
    Config {
        vocab_size: 23,
        n_positions: CONTEXT,
        n_embd: 12,
        n_layer: 2,
        n_head: 3,
        n_inner: 48,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: dropout,
        attn_pdrop: dropout,
        resid_pdrop: dropout,
        eos_token_id: 0,
    }
}

fn model(dropout: f32) -> Model {
    let config = config(dropout);
    let weights = scratch::weights(&config, 11);
    Model::new(config, &weights).unwrap()
}

/// A text with a pattern, and held-out posts with the same pattern.
fn data() -> Data {
    let rule = |i: u32| 1 + (i * i + i / 3) % 22;
    let ids = (0..40 * CONTEXT as u32).map(|i| if i % 5 == 0 { 0 } else { rule(i % 60) }).collect();
    let held_out = (0..9).map(|n| vec![0, rule(n * 5 + 1), rule(n * 5 + 2), 0]).collect();
    Data { ids, held_out, eos: 0 }
}

fn settings() -> Settings {
    Settings {
        learning_rate: 1e-2,
        batch: 2,
        accumulate: 1,
        context: CONTEXT,
        seed: 5,
        loss_over: LossOver::All,
        shuffle_blocks: false,
        evaluate_every: 4,
        patience: 100,
        save_every: 3,
        max_steps: None,
    }
}

/// Stops before step `until`, or during the evaluation if `stop_in_evaluation`.
#[derive(Default)]
struct Until {
    step: usize,
    /// The last step, as reported.
    steps: usize,
    until: Option<usize>,
    stop_in_evaluation: bool,
    evaluations: Vec<(Evaluation, bool)>,
    gradient_norms: Vec<f32>,
}

impl Watch for Until {
    fn step(&mut self, step: &Step) -> Result<(), WatchError> {
        assert!(step.tokens_per_s > 0.0 && step.gradient_norm > 0.0);
        (self.step, self.steps) = (step.step, step.steps);
        self.gradient_norms.push(step.gradient_norm);
        Ok(())
    }

    fn evaluation(&mut self, evaluation: Evaluation, best: bool, _: &Model) -> Result<(), WatchError> {
        self.evaluations.push((evaluation, best));
        Ok(())
    }

    fn checkpoint(&mut self, step: usize) -> Result<(), WatchError> {
        assert!(step >= self.step);
        Ok(())
    }

    fn asked_to_stop(&self) -> bool {
        self.stop_in_evaluation || self.until.is_some_and(|until| self.step >= until)
    }
}

fn store(folder: &Path) -> Store {
    Store::new(folder, Identity::default())
}

/// Weights and progress of a run that is interrupted before each of the given steps.
fn broken_at(breaks: &[usize], settings: &Settings) -> (Weights, Progress, Ending) {
    let folder = tempfile::tempdir().unwrap();
    let (store, data) = (store(folder.path()), data());
    let mut step = 0;
    for until in breaks.iter().copied().map(Some).chain([None]) {
        // As in a new process: only the folder persists.
        let model = model(0.1);
        let mut run = Run::begin(&model, &data, settings, &store).unwrap();
        assert_eq!(run.progress().step, step);
        let mut watch = Until { step, until, ..Until::default() };
        match (run.train(&mut watch), until) {
            (Err(TrainError::Interrupted { step: at, steps: 20 }), Some(until))
                if settings.accumulate == 1 =>
            {
                assert_eq!(at, until);
                step = at;
            }
            (Err(TrainError::Interrupted { step: at, .. }), Some(_)) => step = at,
            (Ok(ending), None) => return (model.weights().unwrap(), run.progress().clone(), ending),
            (other, _) => panic!("{other:?}"),
        }
    }
    unreachable!()
}

#[test]
fn a_broken_run_ends_bit_for_bit_where_an_unbroken_one_does() {
    for (accumulate, shuffle_blocks) in [(1, false), (3, false), (1, true)] {
        let settings = Settings { accumulate, shuffle_blocks, ..settings() };
        let (weights, progress, ending) = broken_at(&[], &settings);
        assert_eq!(ending, Ending::Completed);
        let breaks: &[&[usize]] = &[&[0], &[1, 2, 3, 4], &[4, 5]];
        for breaks in breaks {
            let (again, with_breaks, _) = broken_at(breaks, &settings);
            assert!(again == weights, "{accumulate} {breaks:?}");
            assert_eq!(
                (&with_breaks.losses, &with_breaks.evaluations),
                (&progress.losses, &progress.evaluations)
            );
            assert_eq!((with_breaks.step, with_breaks.tokens), (progress.step, progress.tokens));
        }
    }
}

#[test]
fn an_evaluation_that_was_broken_off_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, data, settings) = (store(folder.path()), data(), settings());
    let (expected, progress, _) = broken_at(&[], &settings);
    let first = model(0.1);
    let four = Settings { max_steps: Some(4), ..settings.clone() };
    let unmeasured = Data { held_out: vec![], ..data.clone() };
    let mut run = Run::begin(&first, &unmeasured, &four, &store).unwrap();
    assert_eq!(run.train(&mut Until::default()).unwrap(), Ending::MaxSteps);
    drop(run);
    let second = model(0.1);
    let mut run = Run::begin(&second, &data, &settings, &store).unwrap();
    let mut watch = Until { step: 4, stop_in_evaluation: true, ..Until::default() };
    assert!(matches!(run.train(&mut watch), Err(TrainError::Interrupted { step: 4, .. })));
    assert!(watch.evaluations.is_empty());
    drop(run);
    let third = model(0.1);
    let mut run = Run::begin(&third, &data, &settings, &store).unwrap();
    run.train(&mut Until { step: 4, ..Until::default() }).unwrap();
    assert_eq!(run.progress().evaluations, progress.evaluations);
    assert!(third.weights().unwrap() == expected);
}

#[test]
fn the_best_weights_are_kept_and_training_ends_when_it_gets_worse() {
    let folder = tempfile::tempdir().unwrap();
    // After a while, learning the text makes the held-out posts less likely.
    let held_out = vec![vec![0, 1, 0], vec![0, 22, 21, 20, 19, 0], vec![0, 7, 7, 7, 7, 7, 0]];
    let (store, data) = (store(folder.path()), Data { held_out, ..data() });
    let settings = Settings { evaluate_every: 1, patience: 3, learning_rate: 3e-2, ..settings() };
    let model = model(0.0);
    let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
    let mut watch = Until::default();
    assert_eq!(run.train(&mut watch).unwrap(), Ending::Early);
    let progress = run.progress().clone();
    let best = progress.best().unwrap();
    assert!(progress.step < 20 && progress.step == best.step + 3, "{:?}", progress.evaluations);
    assert_eq!(watch.evaluations.iter().rfind(|(_, best)| *best).unwrap().0, best);
    let kept = held_out_loss(&model, &data, LossOver::All, || false).unwrap().unwrap() as f32;
    assert_eq!(kept, best.loss);
    drop(run);
    // When resumed, it ends at once with the same weights.
    let again = self::model(0.0);
    let mut run = Run::begin(&again, &data, &settings, &store).unwrap();
    assert_eq!(run.train(&mut Until { step: progress.step, ..Until::default() }).unwrap(), Ending::Early);
    assert!(again.weights().unwrap() == model.weights().unwrap());
}

#[test]
fn the_best_of_a_run_that_max_steps_ended_is_there_when_it_goes_on() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let held_out = vec![vec![0, 1, 0], vec![0, 22, 21, 20, 19, 0], vec![0, 7, 7, 7, 7, 7, 0]];
    let data = Data { held_out, ..data() };
    let whole = Settings { evaluate_every: 1, patience: 3, learning_rate: 3e-2, ..settings() };
    let run = |folder: &Path, settings: &Settings| {
        let (store, model) = (store(folder), model(0.0));
        let mut run = Run::begin(&model, &data, settings, &store).unwrap();
        let step = run.progress().step;
        let ending = run.train(&mut Until { step, ..Until::default() }).unwrap();
        (ending, run.progress().best().unwrap().step, model.weights().unwrap())
    };
    let expected = run(folders[0].path(), &whole);
    let best = expected.1;
    assert_eq!(expected.0, Ending::Early);
    let trial = Settings { max_steps: Some(best), ..whole.clone() };
    assert_eq!(run(folders[1].path(), &trial).0, Ending::MaxSteps);
    assert!(run(folders[1].path(), &whole) == expected);
}

#[test]
fn progress_is_towards_the_last_step_that_max_steps_lets_it_make() {
    for (max_steps, expected) in [(None, 20), (Some(4), 4), (Some(100), 20)] {
        let folder = tempfile::tempdir().unwrap();
        let (store, model, data) = (store(folder.path()), model(0.0), data());
        let settings = Settings { max_steps, ..settings() };
        let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
        let mut watch = Until { until: Some(2), ..Until::default() };
        let error = run.train(&mut watch).unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { step: 2, steps } if steps == expected), "{error}");
        assert_eq!(watch.steps, expected);
    }
}

#[test]
fn a_loss_that_is_no_number_leaves_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (store, data) = (store(folder.path()), Data { held_out: vec![], ..data() });
    let good = Settings { max_steps: Some(3), save_every: 1, ..settings() };
    let model = model(0.1);
    Run::begin(&model, &data, &good, &store).unwrap().train(&mut Until::default()).unwrap();
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let before = std::fs::read(&checkpoint).unwrap();
    let bad = Settings { learning_rate: 1e30, max_steps: None, ..good };
    let mut run = Run::begin(&model, &data, &bad, &store).unwrap();
    let error = run.train(&mut Until { step: 3, ..Until::default() }).unwrap_err();
    let not_finite = matches!(error, TrainError::NotFinite { .. } | TrainError::GradientNotFinite { .. });
    assert!(not_finite && error.to_string().contains("lower --lr"), "{error}");
    assert_eq!(run.saved(), Some(3));
    assert!(std::fs::read(&checkpoint).unwrap() == before);
}

#[test]
fn shuffled_blocks_are_the_same_ones_in_another_order() {
    let losses = |shuffle_blocks, seed| {
        let settings = Settings { learning_rate: 1e-12, batch: 1, shuffle_blocks, seed, ..settings() };
        let (folder, model, data) = (tempfile::tempdir().unwrap(), model(0.0), data());
        let store = store(folder.path());
        let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
        run.train(&mut Until::default()).unwrap();
        // With next to no learning, each block keeps its own loss.
        run.progress().losses.iter().map(|loss| (loss * 1e4) as u32).collect::<Vec<_>>()
    };
    let (text, drawn, other) = (losses(false, 1), losses(true, 1), losses(true, 2));
    assert!(text != drawn && drawn != other);
    assert_eq!(drawn, losses(true, 1));
    let sorted = |mut losses: Vec<u32>| {
        losses.sort_unstable();
        losses
    };
    assert_eq!(sorted(text), sorted(drawn));
}

#[test]
fn more_blocks_a_step_than_can_be_counted_are_all_of_them() {
    let settings = Settings { batch: usize::MAX, accumulate: 1 << 40, ..settings() };
    assert_eq!(data::steps(40, settings.blocks_per_step()), 1);
}

#[test]
fn told_to_stop_before_its_first_step_it_saves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model, data, settings) = (store(folder.path()), model(0.0), data(), settings());
    let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
    let mut watch = Until { until: Some(0), ..Until::default() };
    assert!(matches!(run.train(&mut watch), Err(TrainError::Interrupted { step: 0, .. })));
    assert_eq!((run.saved(), std::fs::read_dir(folder.path()).unwrap().count()), (None, 0));
}

/// Trains a run for two good steps, then continues it with a learning rate that makes the weights
/// useless; returns the error, and whether the good checkpoint is still in place.
fn diverged(settings: &Settings, until: Option<usize>) -> (TrainError, bool) {
    let folder = tempfile::tempdir().unwrap();
    let (store, data) = (store(folder.path()), Data { held_out: vec![], ..data() });
    let run = |settings: &Settings, mut watch: Until| {
        let model = model(0.0);
        let mut run = Run::begin(&model, &data, settings, &store).unwrap();
        let ending = run.train(&mut watch);
        (ending, run.saved())
    };
    let good = Settings { max_steps: Some(2), ..self::settings() };
    assert_eq!(run(&good, Until::default()).0.unwrap(), Ending::MaxSteps);
    let checkpoint = || std::fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
    let before = checkpoint();
    let (ending, saved) = run(settings, Until { step: 2, until, ..Until::default() });
    (ending.unwrap_err(), saved == Some(2) && checkpoint() == before)
}

#[test]
fn a_last_step_that_diverges_is_not_saved() {
    let settings = Settings { learning_rate: 1e12, max_steps: Some(3), ..settings() };
    let (error, is_kept) = diverged(&settings, None);
    assert!(matches!(error, TrainError::NotFinite { step: 3, .. }), "{error}");
    assert!(is_kept);
}

#[test]
fn a_step_that_diverges_before_an_interruption_is_not_saved() {
    let settings = Settings { learning_rate: 1e12, save_every: 100, ..settings() };
    let (error, is_kept) = diverged(&settings, Some(3));
    assert!(matches!(error, TrainError::NotFinite { step: 3, .. }), "{error}");
    assert!(is_kept);
}

#[test]
fn accumulated_batches_learn_as_one() {
    // Blocks have different numbers of labels.
    let loss_over = LossOver::WithinPosts;
    let learn = |batch, accumulate| {
        let folder = tempfile::tempdir().unwrap();
        let (store, data) = (store(folder.path()), data());
        let settings = Settings { batch, accumulate, loss_over, ..settings() };
        let model = model(0.0);
        let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
        let mut watch = Until::default();
        run.train(&mut watch).unwrap();
        let losses = run.progress().losses.clone();
        (losses, watch.gradient_norms)
    };
    let (one, several) = (learn(4, 1), learn(1, 4));
    assert_eq!((one.0.len(), several.0.len()), (10, 10));
    for (a, b) in one.0.iter().zip(&several.0) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    // AdamW hides a wrong scale from the losses.
    for (a, b) in one.1.iter().zip(&several.1) {
        assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
    }
}

#[test]
fn the_blocks_of_a_step_may_have_different_numbers_of_labels() {
    let data = data();
    let blocks = data::blocks(&data.ids, CONTEXT).unwrap();
    let settings = Settings { loss_over: LossOver::WithinPosts, ..settings() };
    let labels = |block: &&[u32]| labelled(&[block], &settings, data.eos).1.iter().flatten().count();
    let counts: std::collections::BTreeSet<usize> = blocks[..4].iter().map(labels).collect();
    assert!(counts.len() > 1, "{counts:?}");
}
