//! The training loop.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{
    TrainError, WatchError,
    chance::{self, Purpose, stream},
    checkpoint::Store,
    data::{self, Data},
    evaluate::held_out_loss,
    gradients::Gradients,
    model::{Mode, Model, next_tokens},
    optimizer::{AdamW, cosine},
    progress::{Evaluation, Progress},
    recipe::LossOver,
};

/// Settings of the loop. What is decided before it (text, network) is in [`Data`] and [`Model`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Learning rate of the first step; decays to 0 along a cosine.
    pub learning_rate: f64,
    /// Blocks per batch.
    pub batch: usize,
    /// Batches per step (gradient accumulation).
    pub accumulate: usize,
    /// Tokens per block.
    pub context: usize,
    /// Determines dropout and the order of blocks (and, before the loop, shuffles and initial
    /// weights).
    pub seed: u64,
    /// Which tokens the loss is averaged over.
    pub loss_over: LossOver,
    /// Take blocks in an order drawn from the seed instead of the text's.
    pub shuffle_blocks: bool,
    /// Steps between evaluations on the held-out posts.
    pub evaluate_every: usize,
    /// Early stopping: evaluations in a row without improvement before training ends.
    pub patience: usize,
    /// Steps between checkpoints.
    pub save_every: usize,
    /// Stop after this many steps, for trials; the learning-rate schedule is that of the full run.
    pub max_steps: Option<usize>,
}

impl Settings {
    /// Blocks per step.
    pub fn blocks_per_step(&self) -> usize {
        self.batch.max(1).saturating_mul(self.accumulate.max(1))
    }

    /// The last step of a run of so many, unless it stops early.
    fn last_step(&self, steps: usize) -> usize {
        self.max_steps.map_or(steps, |most| most.min(steps))
    }
}

/// Report of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Steps completed, including this one.
    pub step: usize,
    /// The run's last step, unless it stops early.
    pub steps: usize,
    /// Mean cross-entropy, nats per token.
    pub loss: f32,
    /// L2 norm before clipping.
    pub gradient_norm: f32,
    pub learning_rate: f64,
    /// Tokens trained on since the run began.
    pub tokens: u64,
    /// Throughput of this step alone.
    pub tokens_per_s: f64,
}

/// Observer of a run: progress bars and records live outside the loop.
pub trait Watch {
    /// Called after every step.
    fn step(&mut self, step: &Step) -> Result<(), WatchError>;
    /// Called after every evaluation; `best` if its loss is lower than all before.
    fn evaluation(&mut self, evaluation: Evaluation, best: bool, model: &Model) -> Result<(), WatchError>;
    /// Called before a checkpoint is written: what was reported must be durable by then.
    fn checkpoint(&mut self, step: usize) -> Result<(), WatchError>;
    /// Asked before each step and between the batches of an evaluation.
    fn asked_to_stop(&self) -> bool;
}

/// Why a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Completed,
    /// Early stopping: the held-out loss no longer improved.
    Early,
    /// [`Settings::max_steps`] was reached.
    MaxSteps,
}

/// A run in progress.
pub struct Run<'a> {
    model: &'a Model,
    data: &'a Data,
    settings: &'a Settings,
    store: &'a Store,
    optimizer: AdamW,
    progress: Progress,
    /// Accumulates the gradients of a step's batches.
    gradients: Gradients,
    /// Steps and number of evaluations of the checkpoint on disk, if there is one.
    saved: Option<(usize, usize)>,
    /// Start of the time that is not yet in `progress.seconds`.
    since: Instant,
}

impl<'a> Run<'a> {
    /// Resumes from the store's checkpoint if there is one, loading its weights into the model,
    /// else starts a new run.
    ///
    /// # Errors
    /// If the checkpoint is of another run, or damaged.
    pub fn begin(
        model: &'a Model,
        data: &'a Data,
        settings: &'a Settings,
        store: &'a Store,
    ) -> Result<Self, TrainError> {
        let restored = store.restore(model)?;
        let saved = restored.as_ref().map(|(_, done)| (done.step, done.evaluations.len()));
        let (optimizer, progress) = restored.unwrap_or_default();
        let gradients = Gradients::new(model);
        let since = Instant::now();
        Ok(Self { model, data, settings, store, optimizer, progress, gradients, saved, since })
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The step of the checkpoint on disk, if there is one.
    pub fn saved(&self) -> Option<usize> {
        self.saved.map(|(step, _)| step)
    }

    /// Trains to the end and leaves the weights to keep in the model: those of the best evaluation,
    /// or the last if nothing was evaluated.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] when asked to stop, with a checkpoint of the current step on
    /// disk (none before the first step). Any other error leaves the last good checkpoint intact.
    pub fn train(&mut self, watch: &mut impl Watch) -> Result<Ending, TrainError> {
        self.since = Instant::now();
        let mut blocks = data::blocks(&self.data.ids, self.settings.context)?;
        if self.settings.shuffle_blocks {
            // Shuffled as a whole, so that a resumed run has the same order.
            chance::shuffle(&mut blocks, &mut stream(self.settings.seed, Purpose::Blocks));
        }
        let steps = data::steps(blocks.len(), self.settings.blocks_per_step());
        let last = self.settings.last_step(steps);
        let ending = loop {
            let step = self.progress.step;
            if self.evaluation_is_due(last) && !self.evaluate(steps, watch)? {
                return Err(self.interrupted(last, watch)?);
            }
            if !self.data.held_out.is_empty() && self.progress.worse_in_a_row() >= self.settings.patience {
                break Ending::Early;
            }
            if step >= last {
                break if last < steps { Ending::MaxSteps } else { Ending::Completed };
            }
            if watch.asked_to_stop() {
                return Err(self.interrupted(last, watch)?);
            }
            let of_step = blocks.chunks(self.settings.blocks_per_step()).nth(step).unwrap_or_default();
            let done = self.step(of_step, steps, watch)?;
            watch.step(&done).map_err(TrainError::Watch)?;
        };
        // Saved first, so that a disk too full for the bot costs no training.
        self.save(watch)?;
        if let Some(best) = self.progress.best()
            && best.step != self.progress.step
        {
            self.store.restore_best(self.model, best.step)?;
        }
        Ok(ending)
    }

    /// One step on the given blocks.
    fn step(&mut self, blocks: &[&[u32]], steps: usize, watch: &mut impl Watch) -> Result<Step, TrainError> {
        let mut started = Instant::now();
        let (step, settings) = (self.progress.step, self.settings);
        let loss = self.learn(blocks)?;
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step: step + 1, loss });
        }
        if step > 0 && step.is_multiple_of(settings.save_every.max(1)) {
            // Saved here and not between steps: these weights are now known to give a finite loss.
            let pause = Instant::now();
            self.save(watch)?;
            started += pause.elapsed();
        }
        let learning_rate = cosine(settings.learning_rate, step, steps);
        let gradient_norm = self.optimizer.step(self.model, &self.gradients, learning_rate)?;
        let tokens = blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        self.progress.step += 1;
        self.progress.tokens += tokens;
        self.progress.losses.push(loss);
        Ok(Step {
            step: self.progress.step,
            steps: settings.last_step(steps),
            loss,
            gradient_norm,
            learning_rate,
            tokens: self.progress.tokens,
            tokens_per_s: tokens as f64 / started.elapsed().as_secs_f64().max(1e-9),
        })
    }

    /// Mean loss of the blocks, in nats per token; leaves its gradients in `self.gradients`.
    fn learn(&mut self, blocks: &[&[u32]]) -> Result<f32, TrainError> {
        let (settings, seed) = (self.settings, self.settings.seed);
        let first = (self.progress.step as u64).wrapping_mul(settings.accumulate as u64);
        let batches: Vec<_> = blocks
            .chunks(settings.batch.max(1))
            .map(|batch| labelled(batch, settings, self.data.eos))
            .collect();
        let count = |labels: &[Option<u32>]| labels.iter().flatten().count() as f64;
        let total = batches.iter().map(|(_, labels)| count(labels)).sum::<f64>().max(1.0);
        self.gradients.clear();
        let mut mean = 0.0;
        for (step, (ids, labels)) in (first..).zip(&batches) {
            let share = count(labels) / total;
            // Each micro-batch has its own dropout mask.
            let mode = Mode::Train { seed, step };
            let loss = self.model.accumulate(
                ids,
                labels,
                settings.context,
                mode,
                share as f32,
                &mut self.gradients,
            )?;
            mean += share * f64::from(loss);
        }
        Ok(mean as f32)
    }

    fn evaluation_is_due(&self, last: usize) -> bool {
        let step = self.progress.step;
        let due = step == last || step.is_multiple_of(self.settings.evaluate_every.max(1));
        step > 0 && due && !self.data.held_out.is_empty() && !self.progress.is_evaluated()
    }

    /// Evaluates the weights, and saves them if they are the best and more steps may follow: a run
    /// ended by [`Settings::max_steps`] whose bot was not written can be resumed. Returns false if
    /// asked to stop before the end.
    fn evaluate(&mut self, steps: usize, watch: &mut impl Watch) -> Result<bool, TrainError> {
        let step = self.progress.step;
        let Some(loss) = held_out_loss(self.model, &self.data.held_out, || watch.asked_to_stop())? else {
            return Ok(false);
        };
        let loss = loss as f32;
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step, loss });
        }
        let best = self.progress.best().is_none_or(|best| loss < best.loss);
        if best && step < steps {
            self.store.save_best(self.model, step)?;
        }
        let evaluation = Evaluation { step, loss };
        self.progress.evaluations.push(evaluation);
        watch.evaluation(evaluation, best, self.model).map_err(TrainError::Watch)?;
        Ok(true)
    }

    /// Saves a checkpoint, unless the one on disk is the same.
    fn save(&mut self, watch: &mut impl Watch) -> Result<(), TrainError> {
        let now = (self.progress.step, self.progress.evaluations.len());
        if self.saved != Some(now) {
            self.progress.seconds += self.since.elapsed().as_secs_f64();
            self.since = Instant::now();
            watch.checkpoint(self.progress.step).map_err(TrainError::Watch)?;
            self.store.save(self.model, &self.optimizer, &self.progress)?;
            self.saved = Some(now);
        }
        Ok(())
    }

    fn interrupted(&mut self, last: usize, watch: &mut impl Watch) -> Result<TrainError, TrainError> {
        // Before the first step there is nothing to save.
        if self.progress.step > 0 {
            self.save(watch)?;
        }
        Ok(TrainError::Interrupted { step: self.progress.step, steps: last })
    }
}

/// Ids (B T) of the blocks, and their labels (B T).
fn labelled(blocks: &[&[u32]], settings: &Settings, eos: u32) -> (Vec<u32>, Vec<Option<u32>>) {
    let ids = blocks.concat();
    let mut labels = next_tokens(&ids, settings.context);
    settings.loss_over.mask(&ids, &mut labels, eos);
    (ids, labels)
}

#[cfg(test)]
mod tests {
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
    }

    impl Watch for Until {
        fn step(&mut self, step: &Step) -> Result<(), WatchError> {
            assert!(step.tokens_per_s > 0.0 && step.gradient_norm > 0.0);
            (self.step, self.steps) = (step.step, step.steps);
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
        let kept = held_out_loss(&model, &data.held_out, || false).unwrap().unwrap() as f32;
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

    #[test]
    fn accumulated_batches_learn_as_one() {
        let losses = |batch, accumulate| {
            let folder = tempfile::tempdir().unwrap();
            let (store, data) = (store(folder.path()), data());
            let settings = Settings { batch, accumulate, ..settings() };
            let model = model(0.0);
            let mut run = Run::begin(&model, &data, &settings, &store).unwrap();
            run.train(&mut Until::default()).unwrap();
            run.progress().losses.clone()
        };
        let (one, several) = (losses(4, 1), losses(1, 4));
        assert_eq!((one.len(), several.len()), (10, 10));
        for (a, b) in one.iter().zip(&several) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
