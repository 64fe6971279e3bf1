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
    /// disk (none before the first step). Any other error leaves the last good checkpoint intact:
    /// weights whose loss is not finite are never saved.
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
                return Err(self.interrupted(&blocks, last, watch)?);
            }
            if !self.data.held_out.is_empty() && self.progress.worse_in_a_row() >= self.settings.patience {
                break Ending::Early;
            }
            if step >= last {
                break if last < steps { Ending::MaxSteps } else { Ending::Completed };
            }
            if watch.asked_to_stop() {
                return Err(self.interrupted(&blocks, last, watch)?);
            }
            let of_step = blocks.chunks(self.settings.blocks_per_step()).nth(step).unwrap_or_default();
            let done = self.step(of_step, steps, watch)?;
            watch.step(&done).map_err(TrainError::Watch)?;
        };
        // Saved first, so that a disk too full for the bot costs no training.
        self.save_between_steps(&blocks, watch)?;
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
            // Saved here because these weights are now known to give a finite loss.
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
        let loss_over = self.settings.loss_over;
        let Some(loss) = held_out_loss(self.model, self.data, loss_over, || watch.asked_to_stop())? else {
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

    /// Saves a checkpoint after an update. No step has computed a loss of these weights yet, so one
    /// is computed first.
    fn save_between_steps(&mut self, blocks: &[&[u32]], watch: &mut impl Watch) -> Result<(), TrainError> {
        if !self.is_saved() && !self.progress.is_evaluated() {
            self.check_loss(blocks)?;
        }
        self.save(watch)
    }

    /// Fails if the weights give a loss that is not finite.
    fn check_loss(&self, blocks: &[&[u32]]) -> Result<(), TrainError> {
        let Some(block) = blocks.first() else { return Ok(()) };
        let loss = self.model.loss(block, block.len())?;
        match loss.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NotFinite { step: self.progress.step, loss }),
        }
    }

    /// Steps and number of evaluations so far.
    fn state(&self) -> (usize, usize) {
        (self.progress.step, self.progress.evaluations.len())
    }

    /// Whether the checkpoint on disk is of the current state.
    fn is_saved(&self) -> bool {
        self.saved == Some(self.state())
    }

    /// Saves a checkpoint, unless the one on disk is the same.
    fn save(&mut self, watch: &mut impl Watch) -> Result<(), TrainError> {
        if !self.is_saved() {
            self.progress.seconds += self.since.elapsed().as_secs_f64();
            self.since = Instant::now();
            watch.checkpoint(self.progress.step).map_err(TrainError::Watch)?;
            self.store.save(self.model, &self.optimizer, &self.progress)?;
            self.saved = Some(self.state());
        }
        Ok(())
    }

    fn interrupted(
        &mut self,
        blocks: &[&[u32]],
        last: usize,
        watch: &mut impl Watch,
    ) -> Result<TrainError, TrainError> {
        // Before the first step there is nothing to save.
        if self.progress.step > 0 {
            self.save_between_steps(blocks, watch)?;
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
mod tests;
