//! `huggingtweets generate`: generates drafts with the engine that the browser runs.

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
    time::Instant,
};

use clap::builder::RangedU64ValueParser;
use serde_json::json;

use super::{UsageError, engine, gpu};
use crate::{
    backend::{Backend, cpu::Level},
    bundle::{Precision, folder::BotFolder},
    card::escape,
    generate::{Drafts, EndReason, Event, MAX_DRAFTS, Request},
    gpt2::Model,
    sample::Params,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot: a bundle, or any GPT-2 in a Hugging Face folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The start of the post
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    prompt: String,
    /// Number of drafts [default: 5; 10, as in the original, for a bot trained with --recipe classic]
    #[arg(short = 'n', long = "drafts", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_DRAFTS as u64))]
    drafts: Option<usize>,
    /// Decides every draft; the same seed gives the same drafts, here and in a browser
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Divides the logits; 0 is greedy
    #[arg(long, default_value_t = Params::default().temperature)]
    temperature: f32,
    /// Keep the k most likely tokens; 0 keeps all
    #[arg(long, default_value_t = Params::default().top_k)]
    top_k: usize,
    /// Keep the most likely tokens up to this probability
    #[arg(long, default_value_t = Params::default().top_p)]
    top_p: f32,
    /// Keep tokens of at least this share of the largest probability
    #[arg(long, default_value_t = Params::default().min_p)]
    min_p: f32,
    /// Keep the most typical tokens up to this probability
    #[arg(long, default_value_t = Params::default().typical_p)]
    typical_p: f32,
    /// Above 1 discourages tokens already used
    #[arg(long, default_value_t = Params::default().repetition_penalty)]
    repetition_penalty: f32,
    /// Never repeat a run of this many tokens; 0 is off
    #[arg(long, default_value_t = Params::default().no_repeat_ngram)]
    no_repeat_ngram: usize,
    /// Tokens of start and draft together [default: 160, or the bot's context if shorter]
    #[arg(long)]
    max_tokens: Option<usize>,
    /// f32, q8_0 or q4_0
    #[arg(long, default_value = "q8_0")]
    precision: Precision,
    /// simd or scalar, which give the same drafts, or webgpu: this machine's GPU
    #[arg(long, default_value = "simd", value_parser = ["simd", "scalar", "webgpu"])]
    backend: String,
    /// Threads of simd or scalar; any number gives the same drafts [default: all that this machine has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What the options ask for; the number of drafts may depend on the bot.
    fn request(&self) -> Request {
        Request {
            prompt: self.prompt.clone(),
            max_tokens: self.max_tokens,
            seed: self.seed,
            sampling: Params {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                typical_p: self.typical_p,
                repetition_penalty: self.repetition_penalty,
                no_repeat_ngram: self.no_repeat_ngram,
            },
            ..Request::default()
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.backend == "webgpu" && args.threads.is_some() {
        return Err(UsageError("--threads needs --backend simd or scalar".into()).into());
    }
    if args.max_tokens.is_some_and(|most| most < 2) {
        let why = "--max-tokens must be at least 2: the token that every draft begins with, and one more";
        return Err(UsageError(why.into()).into());
    }
    let mut request = args.request();
    request.sampling.validate().map_err(|e| UsageError(e.to_string()))?;
    let bot = BotFolder::open(&args.model)?;
    let default_drafts = bot.manifest.as_ref().map(|manifest| manifest.info.drafts());
    request.drafts = args.drafts.or(default_drafts).unwrap_or(request.drafts);
    let mut drafts = Drafts::new(&bot.tokenizer, &bot.config, request)?;
    let (done, seconds, threads, adapter);
    if args.backend == "webgpu" {
        let (mut model, name) = gpu::open(&bot, args.precision)?;
        (done, seconds) = write(&mut model, &mut drafts, &bot)?;
        (threads, adapter) = (None, Some(name));
    } else {
        let level = if args.backend == "scalar" { Level::Scalar } else { Level::Simd };
        let pool = engine::pool(args.threads.map(|n| n as usize));
        (threads, adapter) = (Some(pool.threads()), None);
        let mut model = engine::open(&bot, args.precision, level, pool)?;
        (done, seconds) = write(&mut model, &mut drafts, &bot)?;
    }
    let finished = done.into_iter().enumerate().filter_map(|(index, done)| Some((index, done?)));
    if args.json {
        let list: Vec<_> = finished
            .map(|(index, (text, reason, tokens, digest))| {
                let ids = drafts.tokens(index);
                json!({ "text": text, "end": reason, "tokens": tokens, "ids": ids, "digest": digest })
            })
            .collect();
        let tokens_per_s = drafts.drawn_tokens() as f64 / seconds.max(1e-9);
        answer!(
            "{}",
            json!({
                "prompt": args.prompt, "seed": args.seed, "precision": args.precision.name(),
                "backend": args.backend, "adapter": adapter, "threads": threads, "drafts": list, "tokens_per_s": tokens_per_s,
            })
        )?;
    } else {
        let is_terminal = stdout().is_terminal();
        for (_, (text, ..)) in finished {
            answer!("{}", shown(text, is_terminal))?;
        }
    }
    Ok(())
}

/// A draft as it is printed: unchanged, except that it cannot control a terminal.
fn shown(text: String, is_terminal: bool) -> String {
    if is_terminal { escape::terminal(&text) } else { text }
}

/// A finished draft: its text, why it ended, the number of tokens drawn, and their digest.
type Done = Option<(String, EndReason, usize, String)>;

/// Runs the drafts to completion. Also returns the elapsed seconds.
fn write<B: Backend>(
    model: &mut Model<B>,
    drafts: &mut Drafts,
    bot: &BotFolder,
) -> anyhow::Result<(Vec<Done>, f64)> {
    let mut done = Vec::new();
    let started = Instant::now();
    while let Some(batch) = drafts.next_batch() {
        let began = Instant::now();
        model.begin(batch)?;
        let outputs = pollster::block_on(model.outputs())?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        for event in drafts.accept(outputs, &bot.tokenizer)? {
            if let Event::Done { draft, text, reason, tokens, digest } = event {
                done.resize(done.len().max(draft + 1), None);
                done[draft] = Some((text, reason, tokens, digest));
            }
        }
        model.took(ms);
    }
    Ok((done, started.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_draft_cannot_control_a_terminal() {
        let draft = "\u{1b}]0;title\u{7} \u{202e}txt".to_owned();
        assert_eq!(shown(draft.clone(), false), draft);
        assert_eq!(shown(draft, true), "\\u{1b}]0;title\\u{7} \\u{202e}txt");
    }

    #[test]
    fn threads_are_refused_on_a_gpu() {
        let command = Args::augment_args(clap::Command::new("generate"));
        let words = ["generate", "--model", "x", "--backend", "webgpu", "--threads", "2"];
        let args = Args::from_arg_matches(&command.get_matches_from(words)).unwrap();
        let error = run(args).unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
        assert!(error.to_string().contains("--threads needs --backend simd"), "{error}");
    }
}
