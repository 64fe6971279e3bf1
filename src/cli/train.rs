//! `huggingtweets train`: from archives to a complete bot.

use std::{
    io::IsTerminal,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{UsageError, convert, finish, import};
use crate::{
    bundle::{
        Weights,
        folder::{self, BotFolder, BundleParts},
        manifest::{BotInfo, Provenance},
        staging::Staging,
    },
    gpt2::Config,
    tokenizer::{Tokenizer, clean_up_spaces},
    train::{
        model::Model,
        run::{self, Outcome, Settings, Step},
        scratch,
    },
    tweets::{Cleaned, check_size, training_text},
};

/// The longest block by default: GPT-2's whole context.
const DEFAULT_CONTEXT: usize = 1024;
/// The context of a network made from nothing: a post is short.
const SCRATCH_CONTEXT: usize = 160;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// X archives (.zip or folder), .txt (a post a line), .csv (column text or full_text), .jsonl ({"text"})
    #[arg(required = true, value_name = "ARCHIVE")]
    archives: Vec<PathBuf>,
    /// The bot to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace an existing --out
    #[arg(long)]
    force: bool,
    /// What to start from: gpt2, a repository on the Hub, a folder, or scratch (a small new GPT-2)
    #[arg(long, default_value = "gpt2", value_name = "gpt2|REPO|DIR|scratch")]
    base: String,
    /// Times that each post is seen
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Learning rate of the first step; falls to 0 along a cosine
    #[arg(long, default_value_t = 1.372e-4)]
    lr: f64,
    /// Blocks a step
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Tokens a block [default: 1024, or the base's positions if fewer]
    #[arg(long)]
    context: Option<usize>,
    /// Decides shuffles, dropout and new weights: one seed, one result
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Dropout while training [default: the base's; 0.1, as GPT-2's, from scratch]
    #[arg(long, value_name = "P")]
    dropout: Option<f32>,
    /// Stop after so many steps, for a trial
    #[arg(long)]
    max_steps: Option<usize>,
    /// Display name [default: the archives' own, joined by " & "]
    #[arg(long)]
    name: Option<String>,
    /// A sentence shown with the bot, for example that its account is fictional
    #[arg(long)]
    notice: Option<String>,
    /// How model.safetensors stores the weights [default: f32; f16 from scratch]
    #[arg(long, value_parser = ["f32", "f16"])]
    dtype: Option<String>,
    /// --base scratch: tokens of the new vocabulary, at most
    #[arg(long, default_value_t = 2048)]
    vocab_size: usize,
    /// --base scratch: layers
    #[arg(long, default_value_t = 5)]
    layers: usize,
    /// --base scratch: channels
    #[arg(long, default_value_t = 224)]
    channels: usize,
    /// --base scratch: attention heads
    #[arg(long, default_value_t = 7)]
    heads: usize,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    check_settings(&args)?;
    let staging = Staging::create(&args.out, args.force)?;
    let accounts = import::read_all(&args.archives)?;
    let archives = args.archives.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    if let Some(warning) = check_size(&accounts).with_context(|| archives)? {
        eprintln!("warning: {warning}");
    }
    let base = base(&args, &accounts)?;
    // The file keeps the base's own figures: they are the architecture's.
    let mut config = base.config.clone();
    if let Some(p) = args.dropout {
        (config.embd_pdrop, config.attn_pdrop, config.resid_pdrop) = (p, p, p);
    }
    let context = args.context.unwrap_or(DEFAULT_CONTEXT.min(base.config.n_positions));
    let settings = Settings {
        learning_rate: args.lr,
        batch: args.batch,
        context,
        seed: args.seed,
        max_steps: args.max_steps,
    };
    let ids = base.tokenizer.encode(&training_text(&accounts, args.epochs, args.seed))?;
    let model = Model::new(config, &base.weights)?;
    drop(base.weights);
    eprintln!(
        "{} parameters, {} tokens, blocks of {context}, batch {}",
        model.parameters(),
        ids.len(),
        args.batch
    );

    let interrupted = on_interrupt()?;
    let progress = progress();
    let outcome = run::train(
        &model,
        &ids,
        &settings,
        |step| show(&progress, step),
        || interrupted.load(Ordering::Relaxed),
    )?;
    progress.finish_and_clear();
    eprintln!(
        "{} steps in {:.0} s, loss {:.3} -> {:.3}",
        outcome.steps, outcome.seconds, outcome.first_loss, outcome.final_loss
    );
    eprintln!("A first draft: {}", first_draft(&model, &base.tokenizer, args.seed)?);

    let info = info(&args, &accounts, &outcome, context, model.parameters());
    let default_dtype = if args.base == "scratch" { "f16" } else { "f32" };
    let weights = model.weights()?;
    folder::write_bundle(
        staging.path(),
        &BundleParts {
            config: &base.config,
            tokenizer: &base.tokenizer,
            name: &info.name,
            weights: &weights,
            dtype: convert::dtype(args.dtype.as_deref().unwrap_or(default_dtype)),
            all_4bit: false,
        },
    )?;
    drop((weights, model));
    finish::finish_bundle(staging.path(), info.clone())?;
    staging.commit()?;
    eprintln!("Wrote {}", args.out.display());
    if args.json {
        println!("{}", json!({ "out": args.out, "bot": info }));
    }
    Ok(())
}

fn check_settings(args: &Args) -> anyhow::Result<()> {
    for (ok, problem) in [
        (args.epochs > 0, "--epochs must be at least 1"),
        (args.batch > 0, "--batch must be at least 1"),
        (args.lr > 0.0 && args.lr.is_finite(), "--lr must be over 0"),
        (args.dropout.is_none_or(|p| (0.0..1.0).contains(&p)), "--dropout must be at least 0 and under 1"),
        (args.context.is_none_or(|c| c >= 2), "--context must be at least 2"),
        (args.vocab_size >= 257, "--vocab-size must be at least 257"),
        (
            args.layers > 0 && args.channels > 0 && args.heads > 0,
            "--layers, --channels and --heads must be at least 1",
        ),
        (args.channels.is_multiple_of(args.heads.max(1)), "--channels must be a multiple of --heads"),
    ] {
        if !ok {
            return Err(UsageError(problem.into()).into());
        }
    }
    Ok(())
}

/// What training starts from.
struct Base {
    config: Config,
    tokenizer: Tokenizer,
    weights: Weights,
}

fn base(args: &Args, accounts: &[Cleaned]) -> anyhow::Result<Base> {
    if args.base == "scratch" {
        let posts: Vec<String> = accounts.iter().flat_map(|a| a.kept.iter().cloned()).collect();
        let tokenizer = scratch::tokenizer(&posts, args.vocab_size)?;
        let shape = scratch::Shape {
            layers: args.layers,
            channels: args.channels,
            heads: args.heads,
            positions: args.context.unwrap_or(SCRATCH_CONTEXT),
        };
        let config = scratch::config(shape, &tokenizer)?;
        let weights = scratch::weights(&config, args.seed);
        return Ok(Base { config, tokenizer, weights });
    }
    let folder = convert::source_folder(&args.base)
        .with_context(|| format!("--base {} (offline, name a folder or take --base scratch)", args.base))?;
    let bot = BotFolder::open(&folder).with_context(|| format!("--base {}", args.base))?;
    let weights = bot.weights()?;
    Ok(Base { config: bot.config, tokenizer: bot.tokenizer, weights })
}

fn info(args: &Args, accounts: &[Cleaned], outcome: &Outcome, context: usize, parameters: u64) -> BotInfo {
    let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
    BotInfo {
        name: args.name.clone().unwrap_or_else(|| names.join(" & ")),
        handles: accounts.iter().map(|a| a.handle.clone()).collect(),
        accounts: accounts.iter().map(Cleaned::counts).collect(),
        notice: args.notice.clone(),
        provenance: Provenance {
            made_with: super::MADE_WITH.into(),
            base: Some(base_name(&args.base)),
            command: Some(command_line(args)),
            seed: Some(args.seed),
            epochs: Some(args.epochs),
            steps: Some(outcome.steps),
            learning_rate: Some(args.lr),
            batch: Some(args.batch),
            context: Some(context),
            train_tokens: Some(outcome.tokens),
            train_seconds: Some(outcome.seconds),
            first_loss: Some(outcome.first_loss),
            final_loss: Some(outcome.final_loss),
            parameters: Some(parameters),
            created_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs()),
        },
    }
}

/// A base's name without the folders of this machine.
fn base_name(base: &str) -> String {
    let path = std::path::Path::new(base);
    if path.exists() { folder::folder_name(path) } else { base.into() }
}

/// The command that makes this bot again, with file names alone.
fn command_line(args: &Args) -> String {
    let mut words = vec!["huggingtweets train".to_owned()];
    words.extend(args.archives.iter().map(|p| folder::folder_name(p)));
    words.push(format!("--base {} --epochs {} --lr {:e}", base_name(&args.base), args.epochs, args.lr));
    words.push(format!("--batch {} --seed {}", args.batch, args.seed));
    if let Some(context) = args.context {
        words.push(format!("--context {context}"));
    }
    if let Some(p) = args.dropout {
        words.push(format!("--dropout {p}"));
    }
    if let Some(steps) = args.max_steps {
        words.push(format!("--max-steps {steps}"));
    }
    if args.base == "scratch" {
        words.push(format!(
            "--vocab-size {} --layers {} --channels {} --heads {}",
            args.vocab_size, args.layers, args.channels, args.heads
        ));
    }
    words.join(" ")
}

/// Set by Ctrl-C or SIGTERM; the loop ends before its next step.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ETA {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar in a terminal; elsewhere a line now and then.
fn show(bar: &ProgressBar, step: &Step) {
    bar.set_length(step.steps as u64);
    bar.set_position(step.index as u64 + 1);
    let text = format!("loss {:.3}  {:.0} tokens/s", step.loss, step.tokens_per_s);
    let every = (step.steps / 20).max(1);
    if !std::io::stderr().is_terminal() && ((step.index + 1).is_multiple_of(every) || step.index == 0) {
        eprintln!("step {}/{}  {text}", step.index + 1, step.steps);
    }
    bar.set_message(text);
}

/// One draft straight from the trained variables: a look before the file is written.
fn first_draft(model: &Model, tokenizer: &Tokenizer, seed: u64) -> anyhow::Result<String> {
    const LONGEST: usize = 40;
    let sampling = Sampling::TopKThenTopP { k: 50, p: 0.95, temperature: 1.0 };
    let mut sampler = LogitsProcessor::from_sampling(seed, sampling);
    let mut ids = vec![tokenizer.eos_id()];
    while ids.len() < LONGEST.min(model.config().n_positions) {
        let logits: Tensor = model.logits(&ids, ids.len())?.to_device(&Device::Cpu)?;
        let next = sampler.sample(&logits.get(ids.len() - 1)?)?;
        if next == tokenizer.eos_id() {
            break;
        }
        ids.push(next);
    }
    Ok(clean_up_spaces(tokenizer.decode(&ids).trim()).replace('\n', " "))
}
