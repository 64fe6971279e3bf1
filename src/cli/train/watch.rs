//! The observer of a run: progress bar or lines, and the record.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use indicatif::ProgressBar;

use super::drafts::drafts;
use crate::{
    cli::{finish::EXAMPLE_PROMPT, progress_bar, say::on_the_side, signals},
    record::{self, RunRecorder, SampleDraft, StepMetrics},
    tokenizer::Tokenizer,
    train::{
        WatchError,
        model::Model,
        progress::Evaluation,
        run::{Step, Watch},
    },
};

/// Drafts recorded at each evaluation.
const DRAFTS: usize = 3;

/// A flag set by Ctrl-C, SIGTERM or SIGHUP. A second signal ends the process at once, but only if
/// the message that says so could be printed: a closing terminal sends several.
pub fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let mut said = false;
    let on_signal = move || {
        if set.swap(true, Ordering::Relaxed) {
            if said {
                std::process::exit(signals::exit_code().into());
            }
        } else {
            said = on_the_side(format_args!(
                "stopping once this step is done and saved; Ctrl-C again stops at once"
            ));
        }
    };
    signals::listen(on_signal).context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

/// Drafts in the form of the record.
pub fn samples(model: &Model, tokenizer: &Tokenizer, seed: u64) -> anyhow::Result<Vec<SampleDraft>> {
    let texts = drafts(model, tokenizer, EXAMPLE_PROMPT, DRAFTS, seed)?;
    Ok(texts.into_iter().map(|text| SampleDraft { prompt: EXAMPLE_PROMPT.into(), text }).collect())
}

/// Shows progress and records it.
pub struct Watcher<'a> {
    bar: ProgressBar,
    recorder: RunRecorder,
    tokenizer: &'a Tokenizer,
    seed: u64,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Watcher<'a> {
    pub fn new(
        recorder: RunRecorder,
        tokenizer: &'a Tokenizer,
        seed: u64,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let bar = progress_bar::with_template("{bar:30} {pos}/{len} {msg} ETA {eta}");
        Self { bar, recorder, tokenizer, seed, interrupted }
    }

    /// Removes the bar and returns the recorder.
    pub fn into_recorder(self) -> RunRecorder {
        self.bar.finish_and_clear();
        self.recorder
    }
}

impl Watch for Watcher<'_> {
    /// Updates the bar in a terminal; elsewhere prints a line now and then.
    fn step(&mut self, step: &Step) -> Result<(), WatchError> {
        self.recorder.step(&StepMetrics {
            step: step.step,
            loss: step.loss,
            learning_rate: step.learning_rate,
            gradient_norm: step.gradient_norm,
            tokens_per_s: step.tokens_per_s,
            tokens: step.tokens,
        })?;
        self.bar.set_length(step.steps as u64);
        self.bar.set_position(step.step as u64);
        let text = format!("loss {:.3}  {:.0} tokens/s", step.loss, step.tokens_per_s);
        let every = (step.steps / 20).max(1);
        if !std::io::stderr().is_terminal() && (step.step.is_multiple_of(every) || step.step == 1) {
            say!("step {}/{}  {text}", step.step, step.steps);
        }
        self.bar.set_message(text);
        Ok(())
    }

    fn evaluation(&mut self, evaluation: Evaluation, best: bool, model: &Model) -> Result<(), WatchError> {
        let Evaluation { step, loss } = evaluation;
        let validation_loss = f64::from(loss);
        let perplexity = validation_loss.exp();
        self.recorder.evaluation(&record::Evaluation { step, validation_loss, perplexity, best })?;
        let note = if best { ", the best so far" } else { "" };
        let line = format!("after step {step}: held-out loss {loss:.4}, perplexity {perplexity:.2}{note}");
        if std::io::stderr().is_terminal() {
            self.bar.println(line);
        } else {
            say!("{line}");
        }
        let drafts = samples(model, self.tokenizer, self.seed)?;
        Ok(self.recorder.samples(step, &drafts)?)
    }

    fn checkpoint(&mut self, _step: usize) -> Result<(), WatchError> {
        Ok(self.recorder.sync()?)
    }

    fn asked_to_stop(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
