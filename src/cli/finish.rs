//! The final steps of every bundle: card and pictures, reference logits, digests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{card, engine, progress_bar::StepBar};
use crate::{
    backend::{Batch, CacheShape, cpu::Level},
    bundle::{
        Manifest, Precision,
        folder::{self, BotFolder},
        manifest::{BotInfo, CardExtras, LogitsCheck, Sample},
    },
    generate::{Drafts, Event, Request},
};

pub use crate::card::DEFAULT_START as EXAMPLE_PROMPT;

/// Completes a folder filled by [`folder::write_bundle`], adding drafts to what the card shows.
pub fn finish_bundle(dir: &Path, info: BotInfo, extras: CardExtras) -> anyhow::Result<()> {
    let bot = BotFolder::open(dir)?;
    let drafts = drafts(&bot, EXAMPLE_PROMPT, info.drafts(), 0, |_| {})?;
    let extras = CardExtras {
        samples: vec![Sample { prompt: EXAMPLE_PROMPT.into(), drafts, seed: Some(0) }],
        ..extras
    };
    card::write(dir, &info, &extras)?;
    folder::finish(dir, info, checks(&bot)?, Some(extras))?;
    Ok(())
}

/// Number of drafts with an empty prompt that stand for all that a bot writes. With GPT-2's shape on
/// two cores they take half a minute, or two if the bot does not end its posts.
const UNPROMPTED: usize = 200;

/// Generates drafts with an empty prompt: what is checked for memorisation, and what the 4-bit file
/// is quantised for.
pub fn unprompted_drafts(bot: &BotFolder) -> anyhow::Result<Vec<String>> {
    let bar = StepBar::new("Writing drafts", UNPROMPTED);
    drafts(bot, "", UNPROMPTED, 0, |done| bar.set(done))
}

/// Drafts generated together: each takes 12 MB of cache with GPT-2's shape.
const TOGETHER: usize = 25;

/// Generates `count` drafts of the prompt with the bot's 8-bit weights. `progress` gets the number
/// of finished ones.
pub fn drafts(
    bot: &BotFolder,
    prompt: &str,
    count: usize,
    seed: u64,
    progress: impl Fn(usize),
) -> anyhow::Result<Vec<String>> {
    let mut finished = 0;
    let mut model = engine::open(bot, Precision::Q8_0, Level::Simd, engine::pool(None))?;
    let mut texts = vec![String::new(); count];
    for (part, texts) in (0..).zip(texts.chunks_mut(TOGETHER)) {
        // Each has its own random stream, as if all were generated at once.
        let first = part * TOGETHER as u64;
        let streams = (first..first + texts.len() as u64).collect();
        let request =
            Request { prompt: prompt.into(), drafts: texts.len(), seed, streams, ..Request::default() };
        let mut drafts = Drafts::new(&bot.tokenizer, &bot.config, request)?;
        while let Some(batch) = drafts.next_batch() {
            let outputs = model.forward(batch)?;
            for event in drafts.accept(outputs, &bot.tokenizer)? {
                if let Event::Done { draft, text, .. } = event {
                    texts[draft] = text;
                    finished += 1;
                    progress(finished);
                }
            }
        }
    }
    Ok(texts)
}

/// Computes the reference logits of every GGUF file in the folder.
fn checks(bot: &BotFolder) -> anyhow::Result<BTreeMap<String, LogitsCheck>> {
    quantised(bot).map(|(precision, path)| Ok((precision.file_name().into(), check(bot, &path)?))).collect()
}

/// The bot's GGUF files.
fn quantised(bot: &BotFolder) -> impl Iterator<Item = (Precision, PathBuf)> {
    [Precision::Q8_0, Precision::Q4_0]
        .into_iter()
        .filter_map(|precision| Some((precision, bot.precision_path(precision)?)))
}

/// Computes the reference logits that a bot's `bot.json` lacks, as one of an older version does.
///
/// # Errors
/// If the weights are not as `bot.json` lists them.
pub fn complete_checks(bot: &BotFolder, manifest: &mut Manifest) -> anyhow::Result<()> {
    for (precision, path) in quantised(bot) {
        let file = precision.file_name();
        if manifest.files.contains_key(file) && !manifest.checks.contains_key(file) {
            bot.verify_precision(precision)?;
            manifest.checks.insert(file.into(), check(bot, &path)?);
        }
    }
    Ok(())
}

/// Computes the reference logits of one of the bot's GGUF files, for engines to check against.
pub fn check(bot: &BotFolder, gguf: &Path) -> anyhow::Result<LogitsCheck> {
    let mut ids = vec![bot.tokenizer.eos_id()];
    ids.extend(bot.tokenizer.encode_plain(EXAMPLE_PROMPT));
    ids.truncate(bot.config.n_positions);
    let mut model = engine::open_gguf(gguf, Level::Simd, engine::pool(None))?;
    let shape = CacheShape { prompt: ids.len(), drafts: 0, tail: 0 };
    let logits = &model.forward(&Batch::prompt(&ids, vec![ids.len() - 1], shape))?.logits;
    Ok(LogitsCheck::select(EXAMPLE_PROMPT, &ids, logits))
}
