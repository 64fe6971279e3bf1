//! Measurements of a bot's drafts for its card: samples, and the share of verbatim repeats.

use std::{collections::HashSet, path::PathBuf};

use super::{finish, import, progress_bar::StepBar};
use crate::{
    bundle::{
        folder::BotFolder,
        manifest::{CardExtras, Sample, VerbatimShare},
    },
    tokenizer::clean_up_spaces,
};

/// Prompts of the samples on a card. [`DRAFTS_A_PROMPT`] drafts are made for each.
const PROMPTS: [&str; 5] =
    [finish::EXAMPLE_PROMPT, "Today I", "The best thing about", "People ask me", "Tonight"];
const DRAFTS_A_PROMPT: usize = 4;
const SAMPLES_SEED: u64 = 0;

/// Number of drafts without a prompt that are compared with the posts.
const VERBATIM_DRAFTS: usize = 200;
const VERBATIM_SEED: u64 = 1;

/// Generates samples, and measures the share of drafts that are verbatim among the posts of
/// these archives, whether trained on or held out.
pub fn measure(bot: &BotFolder, archives: &[PathBuf]) -> anyhow::Result<CardExtras> {
    // A card must not show what damaged weights generated.
    bot.verify()?;
    let accounts = import::read_all(archives)?;
    // Drafts are cleaned up as in the original, so the posts must be, too.
    let posts: HashSet<String> = accounts.iter().flat_map(|a| &a.kept).map(|p| clean_up_spaces(p)).collect();
    let of_prompts = PROMPTS.len() * DRAFTS_A_PROMPT;
    let bar = StepBar::new("Writing drafts", of_prompts + VERBATIM_DRAFTS);
    let samples = (0..)
        .zip(PROMPTS)
        .map(|(i, prompt)| {
            let progress = |done| bar.set(i * DRAFTS_A_PROMPT + done);
            let drafts = finish::drafts(bot, prompt, DRAFTS_A_PROMPT, SAMPLES_SEED, progress)?;
            Ok(Sample { prompt: prompt.into(), drafts, seed: Some(SAMPLES_SEED) })
        })
        .collect::<anyhow::Result<_>>()?;
    let progress = |done| bar.set(of_prompts + done);
    let drafts = finish::drafts(bot, "", VERBATIM_DRAFTS, VERBATIM_SEED, progress)?;
    let verbatim = drafts.iter().filter(|draft| posts.contains(*draft)).count();
    Ok(CardExtras {
        samples,
        verbatim: Some(VerbatimShare { drafts: VERBATIM_DRAFTS, verbatim, seed: VERBATIM_SEED }),
        ..CardExtras::default()
    })
}
