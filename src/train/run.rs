//! The training loop, top to bottom.

use std::time::Instant;

use super::{
    TrainError, data,
    gradients::Gradients,
    model::{Mode, Model, next_tokens},
    optimizer::{AdamW, cosine},
};

/// Every knob of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Learning rate of the first step; falls to 0 along a cosine.
    pub learning_rate: f64,
    /// Blocks a step.
    pub batch: usize,
    /// Tokens a block.
    pub context: usize,
    /// Decides dropout (and, before the loop, shuffles and initial weights).
    pub seed: u64,
    /// Stop after this many steps, for trials; the schedule is that of the whole run.
    pub max_steps: Option<usize>,
}

/// What a step did.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// From 0.
    pub index: usize,
    pub steps: usize,
    /// Mean cross-entropy, nats a token.
    pub loss: f32,
    /// Before clipping.
    pub gradient_norm: f32,
    pub learning_rate: f64,
    /// Tokens of this step.
    pub tokens: usize,
    /// Since the run began.
    pub tokens_per_s: f64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub steps: usize,
    pub tokens: u64,
    pub seconds: f64,
    /// Means over the first and the last twentieth of the steps.
    pub first_loss: f64,
    pub final_loss: f64,
}

/// Trains on the ids in order. `report` sees every step; `stop` is asked
/// before each.
pub fn train(
    model: &Model,
    ids: &[u32],
    settings: &Settings,
    mut report: impl FnMut(&Step),
    stop: impl Fn() -> bool,
) -> Result<Outcome, TrainError> {
    let blocks = data::blocks(ids, settings.context)?;
    let steps = data::steps(blocks.len(), settings.batch);
    let (mut optimizer, mut gradients) = (AdamW::default(), Gradients::new(model));
    let (mut losses, mut tokens) = (Vec::with_capacity(steps), 0u64);
    let started = Instant::now();
    for (index, batch) in blocks.chunks(settings.batch.max(1)).enumerate() {
        if settings.max_steps.is_some_and(|most| index >= most) {
            break;
        }
        if stop() {
            return Err(TrainError::Interrupted { step: index, steps });
        }
        let batch = batch.concat();
        let mode = Mode::Train { seed: settings.seed, step: index as u64 };
        gradients.clear();
        let labels = next_tokens(&batch, settings.context);
        let value = model.accumulate(&batch, &labels, settings.context, mode, 1.0, &mut gradients)?;
        if !value.is_finite() {
            return Err(TrainError::NotFinite { step: index, loss: value });
        }
        let learning_rate = cosine(settings.learning_rate, index, steps);
        let gradient_norm = optimizer.step(model, &gradients, learning_rate)?;
        losses.push(f64::from(value));
        tokens += batch.len() as u64;
        let tokens_per_s = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
        report(&Step {
            index,
            steps,
            loss: value,
            gradient_norm,
            learning_rate,
            tokens: batch.len(),
            tokens_per_s,
        });
    }
    let part = losses.len().div_ceil(20).max(1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Ok(Outcome {
        steps: losses.len(),
        tokens,
        seconds: started.elapsed().as_secs_f64(),
        first_loss: mean(&losses[..part.min(losses.len())]),
        final_loss: mean(&losses[losses.len().saturating_sub(part)..]),
    })
}
