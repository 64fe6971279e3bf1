//! `huggingtweets train`: from archives to a complete bot.

mod args;
mod base;
mod describe;
mod drafts;
mod folder;
mod posts;
mod watch;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

pub use self::args::{Args, LEARNING_RATE};
use self::{
    args::{DEFAULT_CONTEXT, PARTS, Plan},
    base::Base,
    describe::Described,
    posts::Posts,
    watch::Watcher,
    write::Written,
};
use super::{Interrupted, memory, signals};
use crate::{
    bundle::{
        checkpoint::CheckpointError,
        folder::{BundleError, BundleParts},
        gguf::GgufError,
        manifest::{BotInfo, CardExtras},
        quantize::QuantizeError,
        staging,
    },
    card::{escape, figure::counted},
    gpt2::Config,
    record::{Artifact, Memorisation, RunConfig, RunRecorder, SampleDraft, Stopped, Summary},
    tokenizer::Tokenizer,
    train::{
        TrainError,
        checkpoint::Store,
        data::{self, Data},
        device,
        model::Model,
        progress::Progress,
        run::{Ending, Run, Settings},
    },
};

/// Seed of the draft that is printed.
const FIRST_DRAFT_SEED: u64 = 0;

pub fn run(args: Args) -> anyhow::Result<()> {
    let words: Vec<String> =
        std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let plan = folder::complete(args, &words)?.plan()?;
    folder::check_apart(&plan)?;
    // Now, because the run may need the space, and first, because it may put a bot back.
    staging::sweep(&plan.out);
    staging::check_target(&plan.out, plan.force)?;
    folder::check(&plan)?;

    let inputs = Inputs::load(&plan)?;
    let described = inputs.described(&plan);
    say_what_begins(&described);
    let run_config = described.run_config()?;
    // Held until the process ends. The contents may have changed since the first check.
    let _hold = folder::hold(&plan.run)?;
    folder::check_contents(&plan)?;
    let store = Store::new(&plan.run, described.identity());
    if !plan.resume {
        folder::clear(&plan)?;
    }
    let mut run = Run::begin(&inputs.model, &inputs.data, &inputs.settings, &store)?;
    let recorder = match plan.resume {
        true => reopen_record(&plan, run_config, run.progress().step)?,
        false => begin_record(&plan, &run_config, &store, &words)?,
    };

    // Installed only now: before the first step there is nothing to save, so Ctrl-C may simply end
    // the process.
    let interrupted = watch::on_interrupt()?;
    let watcher = Watcher::new(recorder, &inputs.tokenizer, inputs.settings.seed, interrupted.clone());
    let (ending, mut recorder) = train(&plan, &mut run, watcher)?;
    let progress = run.progress().clone();
    drop(run);
    say_what_it_came_to(&progress, ending);
    let (info, extras) = (described.bot(&progress), described.extras(&progress, ending));
    let made = sample(&inputs, &progress).and_then(|last_samples| {
        let written = write_bot(&plan, inputs, info.clone(), extras.clone(), &interrupted)?;
        Ok((last_samples, written))
    });
    let (last_samples, written) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = recorder.break_off("all steps are done, but the bot is not written");
            return Err(with_way_to_bot(error, &folder::resume_command(&plan.run)));
        }
    };
    say_what_it_repeats(&written.memorisation);
    if !last_samples.is_empty() {
        recorder.samples(progress.step, &last_samples)?;
    }
    recorder.finish(&summary(&progress, ending, written))?;
    store.clear();
    folder::forget(&plan.run);
    report(&plan, &info, &extras)
}

/// What a run is made of, loaded and checked.
struct Inputs {
    posts: Posts,
    /// The base's configuration; `model` may have another dropout.
    config: Config,
    tokenizer: Tokenizer,
    model: Model,
    data: Data,
    /// The text that `data` was made from.
    dataset: Artifact,
    /// The base, without its weights.
    base: Artifact,
    settings: Settings,
}

impl Inputs {
    fn load(plan: &Plan) -> anyhow::Result<Self> {
        let device = device::open(&plan.learning.device)?;
        let posts = posts::read(plan)?;
        let Base { config, tokenizer, weights, artifact } = base::open(plan, &posts.accounts)?;
        let context = plan.learning.context.unwrap_or(DEFAULT_CONTEXT.min(config.n_positions));
        if context > config.n_positions {
            return Err(TrainError::Context { context, positions: config.n_positions }.into());
        }
        let (data, dataset) = posts.data(plan, &tokenizer, context);
        // The bot keeps the base's own dropout, which is part of the architecture.
        let mut trained = config.clone();
        if let Some(p) = plan.dropout {
            (trained.embd_pdrop, trained.attn_pdrop, trained.resid_pdrop) = (p, p, p);
        }
        let mut model = Model::on(&device, plan.recipe.products(), trained, &weights)?;
        model.checkpoint_activations = plan.learning.checkpoint_activations;
        let settings = settings(plan, &data, context)?;
        Ok(Self { posts, config, tokenizer, model, data, dataset, base: artifact, settings })
    }

    fn described<'a>(&'a self, plan: &'a Plan) -> Described<'a> {
        Described {
            plan,
            settings: &self.settings,
            posts: &self.posts,
            data: &self.data,
            dataset: self.dataset.clone(),
            base: self.base.clone(),
            model: &self.model,
        }
    }
}

/// Starts the record of a new run, and marks its folder as one that can be resumed.
fn begin_record(
    plan: &Plan,
    config: &RunConfig,
    store: &Store,
    words: &[String],
) -> anyhow::Result<RunRecorder> {
    let recorder = RunRecorder::create(&plan.run, config)?;
    folder::remember(&plan.run, words)?;
    store.begin()?;
    Ok(recorder)
}

/// Reopens the record of a run that is resumed after a step.
fn reopen_record(plan: &Plan, config: RunConfig, step: usize) -> anyhow::Result<RunRecorder> {
    say!("resuming after step {step}");
    let recorder = RunRecorder::reopen_as(&plan.run, step, |begun| {
        begun.command = config.command;
        begun.hyper_parameters = config.hyper_parameters;
    })?;
    Ok(recorder)
}

/// Runs the training loop. If it fails, the record says why, and the error how to continue.
fn train(plan: &Plan, run: &mut Run, mut watcher: Watcher) -> anyhow::Result<(Ending, RunRecorder)> {
    let ending = run.train(&mut watcher);
    let recorder = watcher.into_recorder();
    match ending {
        Ok(ending) => Ok((ending, recorder)),
        Err(error) => {
            // On a full disk this fails like the run did; that error is the one reported.
            let _ = recorder.break_off(&why(&error));
            Err(with_way_on(error, &folder::resume_command(&plan.run), run.saved()))
        }
    }
}

/// Prints a first draft of the trained model; returns drafts for a record that has none yet, that
/// is without evaluations.
fn sample(inputs: &Inputs, progress: &Progress) -> anyhow::Result<Vec<SampleDraft>> {
    let Inputs { model, tokenizer, settings, .. } = inputs;
    let draft = drafts::drafts(model, tokenizer, "", 1, FIRST_DRAFT_SEED)?;
    say!("A first draft: {}", escape::terminal(&draft.concat()));
    match progress.evaluations.is_empty() {
        true => watch::samples(model, tokenizer, settings.seed),
        false => Ok(Vec::new()),
    }
}

/// Writes the trained bot, after freeing the model, because writing needs memory, too.
fn write_bot(
    plan: &Plan,
    inputs: Inputs,
    info: BotInfo,
    extras: CardExtras,
    interrupted: &AtomicBool,
) -> anyhow::Result<Written> {
    let Inputs { posts, config, tokenizer, model, .. } = inputs;
    let weights = model.weights()?;
    drop(model);
    let name = info.name.clone();
    let parts = BundleParts {
        config: &config,
        tokenizer: &tokenizer,
        name: &name,
        weights: &weights,
        dtype: plan.dtype,
        all_4bit: false,
        quantized: None,
    };
    write::bot(plan, &posts, &parts, info, extras, || interrupted.load(Ordering::Relaxed))
}

/// Prints where everything is, and with `--json` what the bot is.
fn report(plan: &Plan, info: &BotInfo, extras: &CardExtras) -> anyhow::Result<()> {
    say!("Wrote {}; the run's record is {}", plan.out.display(), plan.run.display());
    let peak = memory::peak_bytes();
    if let Some(bytes) = peak {
        say!("peak memory {:.2} GB", bytes as f64 / 1e9);
    }
    if plan.json {
        answer!(
            "{}",
            json!({ "out": plan.out, "run": plan.run, "bot": info, "card": extras, "peak_memory_bytes": peak })
        )?;
    }
    Ok(())
}

/// Settings of the loop; intervals that were not given are a fraction of the whole run.
fn settings(plan: &Plan, data: &Data, context: usize) -> anyhow::Result<Settings> {
    let learning = &plan.learning;
    let mut settings = Settings {
        learning_rate: learning.lr,
        batch: learning.batch,
        accumulate: learning.accumulate,
        context,
        seed: learning.seed,
        loss_over: plan.loss_over,
        shuffle_blocks: plan.recipe.shuffles_blocks(),
        evaluate_every: 0,
        patience: plan.patience,
        save_every: 0,
        max_steps: learning.max_steps,
    };
    let blocks = data::blocks(&data.ids, context)?.len();
    let part = data::steps(blocks, settings.blocks_per_step()).div_ceil(PARTS);
    settings.evaluate_every = plan.eval_every.unwrap_or(part);
    settings.save_every = plan.save_every.unwrap_or(part);
    Ok(settings)
}

fn say_what_begins(run: &Described) {
    let Settings { batch, accumulate, context, .. } = run.settings;
    let accumulated = if *accumulate > 1 { format!(" x {accumulate}") } else { String::new() };
    let held_out = run.posts.held_out.len();
    let measured =
        if held_out > 0 { format!(", {} held out", counted(held_out, "post")) } else { String::new() };
    let duplicates = run.posts.duplicates;
    let dropped = if duplicates > 0 {
        format!(", {} dropped", counted(duplicates, "duplicate"))
    } else {
        String::new()
    };
    let on = match device::name(&run.model.device()) {
        "cpu" => String::new(),
        device => format!(", on {device}, {} products", run.model.products()),
    };
    say!(
        "{} parameters, {} tokens, blocks of {context}, batch {batch}{accumulated}{measured}{dropped}{on}",
        run.model.parameters(),
        run.data.ids.len(),
    );
}

fn say_what_it_came_to(progress: &Progress, ending: Ending) {
    let (first, last) = progress.first_and_final_loss();
    say!("{} steps in {:.0} s, loss {first:.3} -> {last:.3}", progress.step, progress.seconds);
    if let Some(best) = progress.best() {
        let early = if ending == Ending::Early { "stopped early; " } else { "" };
        say!(
            "{early}the weights of step {} are kept: held-out loss {:.4}, perplexity {:.2}",
            best.step,
            best.loss,
            best.loss.exp()
        );
    }
}

fn say_what_it_repeats(found: &Memorisation) {
    let Memorisation { drafts, memorised, words, longest_words } = found;
    say!(
        "memorisation: {memorised} of {drafts} drafts share more than {words} consecutive words with a training post (longest: {longest_words})"
    );
}

/// Why a run was interrupted, without paths of this machine.
fn why(error: &TrainError) -> String {
    match error {
        error if error.is_divergence() => error.to_string(),
        TrainError::Store(_) => "a checkpoint could not be written or read".into(),
        TrainError::Watch(_) => "the record could not be written".into(),
        error => error.to_string(),
    }
}

/// Adds to the error how to continue.
fn with_way_on(error: TrainError, resume_command: &str, saved: Option<usize>) -> anyhow::Error {
    match (error, saved) {
        (error @ TrainError::Interrupted { .. }, saved) => {
            let way_on = saved.map_or_else(String::new, |_| format!("; resume with `{resume_command}`"));
            Interrupted { message: format!("{error}{way_on}"), exit_code: signals::exit_code() }.into()
        }
        (error, None) => error.into(),
        (error, Some(step)) if error.is_divergence() => anyhow::anyhow!(
            "{error}; the checkpoint after step {step} is intact: `{resume_command} --max-steps {step}` makes a bot from it"
        ),
        (error, Some(step)) => anyhow::Error::new(error).context(format!(
            "training stopped, but the checkpoint after step {step} is intact: continue with `{resume_command}`"
        )),
    }
}

/// Adds to an error after the last step how to get a bot.
fn with_way_to_bot(error: anyhow::Error, resume_command: &str) -> anyhow::Error {
    if is_out_of_range(&error) {
        return error.context(
            "the bot could not be written, because its weights became too large: start over with a lower --lr",
        );
    }
    error.context(format!(
        "the bot could not be written; all steps are saved, so continue with `{resume_command}`"
    ))
}

/// Whether a bot's files cannot hold its weights. With `--dtype f32` the quantised files still
/// cannot.
fn is_out_of_range(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(BundleError::Checkpoint(CheckpointError::Range { .. })) => true,
        Some(BundleError::Gguf { source, .. }) => {
            matches!(**source, GgufError::Quantize { source: QuantizeError::NotFinite { .. }, .. })
        }
        _ => false,
    }
}

fn summary(progress: &Progress, ending: Ending, written: Written) -> Summary {
    let (first_loss, final_loss) = progress.first_and_final_loss();
    Summary {
        steps: progress.step,
        tokens: progress.tokens,
        seconds: progress.seconds,
        stopped: match ending {
            Ending::Completed => Stopped::Completed,
            Ending::Early => Stopped::Early,
            Ending::MaxSteps => Stopped::MaxSteps,
        },
        first_loss: Some(first_loss),
        final_loss: Some(final_loss),
        best_validation_loss: progress.best().map(|best| f64::from(best.loss)),
        best_step: progress.best().map(|best| best.step),
        peak_memory_bytes: memory::peak_bytes(),
        memorisation: Some(written.memorisation),
        output: Some(written.output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::checkpoint::StoreError;

    #[test]
    fn values_that_no_checkpoint_holds_are_a_divergence() {
        let error = || TrainError::from(StoreError::NotFinite { name: "weight/wte.weight".into() });
        let message = with_way_on(error(), "train --resume a.run", Some(7)).to_string();
        assert!(message.contains("lower --lr"), "{message}");
        assert!(message.contains("`train --resume a.run --max-steps 7` makes a bot from it"), "{message}");
        assert!(why(&error()).contains("not finite"));
    }
}
