//! `huggingtweets eval`: measures perplexity on posts at each precision.

use std::path::PathBuf;

use serde_json::json;

use super::engine;
use crate::{
    backend::{
        Batch, CacheShape,
        cpu::{Cpu, Level},
    },
    bundle::{Precision, folder::BotFolder, manifest::PrecisionPerplexity},
    card::figure::counted,
    gpt2::Model,
    train::data::as_sequence,
    tweets,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot: a bundle, or any GPT-2 in a Hugging Face folder
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// Posts to measure on: an archive, .txt, .csv or .jsonl
    posts: PathBuf,
    /// Measure at most this many posts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let bot = BotFolder::open(&args.model)?;
    let archive = tweets::open::read(&args.posts)?;
    let cleaned = tweets::Cleaned::from_archive(&archive);
    let kept = cleaned.kept.iter().take(args.limit.map_or(usize::MAX, |limit| limit as usize));
    let posts: Vec<_> = kept.map(|post| sequence(&bot, post)).collect();
    if posts.is_empty() {
        anyhow::bail!("{} has no posts to measure on", args.posts.display());
    }
    let results = measure_all(&bot, &posts)?;
    let base = results[0].1.perplexity();
    if args.json {
        let list: Vec<_> = results
            .iter()
            .map(|(precision, r)| {
                json!({
                    "precision": precision.name(), "perplexity": r.perplexity(),
                    "change_from_f32": r.perplexity() / base - 1.0, "loss": r.nats / r.tokens as f64,
                })
            })
            .collect();
        answer!("{}", json!({ "posts": posts.len(), "tokens": results[0].1.tokens, "results": list }))?;
    } else {
        answer!("{}, {} tokens", counted(posts.len(), "post"), results[0].1.tokens)?;
        answer!("{:<10} {:>12} {:>10}", "precision", "perplexity", "change")?;
        for (precision, r) in &results {
            let change = 100.0 * (r.perplexity() / base - 1.0);
            answer!("{:<10} {:>12.4} {:>+9.3}%", precision.name(), r.perplexity(), change)?;
        }
    }
    Ok(())
}

/// Returns the perplexity on these posts at each precision that the folder has. Empty if there
/// are no posts; values that are not finite, as those of a broken bot, are left out.
pub fn perplexities(bot: &BotFolder, posts: &[&str]) -> anyhow::Result<Vec<PrecisionPerplexity>> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let posts: Vec<_> = posts.iter().map(|post| sequence(bot, post)).collect();
    let results = measure_all(bot, &posts)?.into_iter().map(|(precision, result)| PrecisionPerplexity {
        precision: precision.name().into(),
        perplexity: result.perplexity(),
    });
    // JSON cannot represent infinity, so `bot.json` would be unreadable.
    Ok(results.filter(|row| row.perplexity.is_finite()).collect())
}

fn measure_all(bot: &BotFolder, posts: &[Vec<u32>]) -> anyhow::Result<Vec<(Precision, Measured)>> {
    let mut results = Vec::new();
    for precision in Precision::ALL {
        // Bundles have every precision; bare folders only the checkpoint.
        if precision != Precision::F32 && bot.precision_path(precision).is_none() {
            continue;
        }
        bot.verify_precision(precision)?;
        let mut model = engine::open(bot, precision, Level::Simd, engine::pool(None))?;
        results.push((precision, measure(&mut model, posts)?));
    }
    Ok(results)
}

/// Encodes a post as the bot sees it in training.
fn sequence(bot: &BotFolder, post: &str) -> Vec<u32> {
    as_sequence(&bot.tokenizer.encode_plain(post), bot.tokenizer.eos_id(), bot.config.n_positions)
}

/// Summed negative log-likelihood.
struct Measured {
    nats: f64,
    tokens: usize,
}

impl Measured {
    fn perplexity(&self) -> f64 {
        (self.nats / self.tokens as f64).exp()
    }
}

fn measure(model: &mut Model<Cpu>, posts: &[Vec<u32>]) -> anyhow::Result<Measured> {
    let mut total = Measured { nats: 0.0, tokens: 0 };
    for ids in posts {
        let shape = CacheShape { prompt: ids.len(), drafts: 0, tail: 0 };
        let outputs = model.forward(&Batch::prompt(ids, (0..ids.len()).collect(), shape))?;
        total.nats += negative_log_likelihood(&outputs.logits, ids);
        total.tokens += ids.len() - 1;
    }
    Ok(total)
}

/// Sum over t of -log p(ids[t + 1]) from logits (T, V), in nats.
pub fn negative_log_likelihood(logits: &[f32], ids: &[u32]) -> f64 {
    let vocab = logits.len() / ids.len().max(1);
    let rows = logits.chunks_exact(vocab.max(1));
    rows.zip(ids.iter().skip(1))
        .map(|(row, &next)| {
            let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let sum: f64 = row.iter().map(|&l| (f64::from(l) - largest).exp()).sum();
            sum.ln() + largest - f64::from(row[next as usize])
        })
        .sum()
}
