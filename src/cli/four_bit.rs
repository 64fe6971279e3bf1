//! Writes a bot's 4-bit file, quantised for what the bot writes.
//!
//! The text that shows how inputs correlate is the bot's own, so that a file is a function of the
//! weights alone: train, convert and quantize write the same one, and no posts are needed.

use std::path::Path;

use super::progress_bar::StepBar;
use crate::{
    bundle::{
        Precision,
        checkpoint::CheckpointDtype,
        folder::{self, BotFolder, BundleParts},
        gguf::{self, WriteOptions},
    },
    gpt2::names,
    train::gptq,
};

/// Maximum number of tokens that are looked at; drafts that end have about 5,000. More gain nothing
/// (benches/README.md, Quantisation) and take time in proportion.
const MAX_TOKENS: usize = 8192;

/// Maximum length of the sequences that drafts are cut into.
const CONTEXT: usize = 128;

/// Writes `model-q4_0.gguf` of an opened bot to `dir`, or nothing if `stop` returned true on the way.
/// `name` is the file's `general.name`; `drafts` are [`super::finish::unprompted_drafts`].
pub fn write(
    bot: &BotFolder,
    name: &str,
    drafts: &[String],
    all_4bit: bool,
    dir: &Path,
    stop: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut ids = Vec::new();
    for draft in drafts {
        ids.push(bot.tokenizer.eos_id());
        ids.extend(bot.tokenizer.encode_plain(draft));
    }
    ids.truncate(MAX_TOKENS);
    let context = CONTEXT.min(bot.config.n_positions).min(ids.len());
    ids.truncate(ids.len() / context * context);

    let mut weights = bot.weights()?;
    let options = WriteOptions { all_4bit, ..WriteOptions::default() };
    let is_4bit = |tensor: &names::Tensor| gguf::is_4bit(tensor, &options);
    let bar = StepBar::new("Rounding weights to 4 bits", bot.config.n_layer);
    let quantized = gptq::quantize(&bot.config, &mut weights, &ids, context, is_4bit, |layers| {
        bar.set(layers);
        stop()
    })?;
    let Some(quantized) = quantized else { return Ok(()) };
    let parts = BundleParts {
        config: &bot.config,
        tokenizer: &bot.tokenizer,
        weights: &weights,
        dtype: CheckpointDtype::F32,
        name,
        all_4bit,
        quantized: Some(&quantized),
    };
    Ok(folder::write_gguf(dir, &parts, Precision::Q4_0)?)
}
