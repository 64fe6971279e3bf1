//! What a card says of a bot's drafts: samples, and how many it has by heart.

use std::{collections::HashSet, path::PathBuf};

use super::{finish, import};
use crate::{
    bundle::{
        folder::BotFolder,
        manifest::{CardExtras, Sample, VerbatimShare},
    },
    tokenizer::clean_up_spaces,
};

/// Starts of the samples on a card, and how many drafts of each.
const PROMPTS: [&str; 5] =
    [finish::EXAMPLE_PROMPT, "Today I", "The best thing about", "People ask me", "Tonight"];
const DRAFTS_A_PROMPT: usize = 4;
const SAMPLES_SEED: u64 = 0;

/// Drafts without a start, held against the posts.
const VERBATIM_DRAFTS: usize = 200;
const VERBATIM_SEED: u64 = 1;

/// Samples, and the share of drafts that stand word for word among the posts
/// of these archives, whether they were trained on or held out.
pub fn measure(bot: &BotFolder, archives: &[PathBuf]) -> anyhow::Result<CardExtras> {
    // A card is not to tell what damaged weights wrote.
    bot.verify()?;
    let accounts = import::read_all(archives)?;
    // Drafts are cleaned as the original does, so the posts are, too.
    let posts: HashSet<String> = accounts.iter().flat_map(|a| &a.kept).map(|p| clean_up_spaces(p)).collect();
    let samples = PROMPTS
        .iter()
        .map(|&prompt| {
            let drafts = finish::drafts(bot, prompt, DRAFTS_A_PROMPT, SAMPLES_SEED)?;
            Ok(Sample { prompt: prompt.into(), drafts, seed: Some(SAMPLES_SEED) })
        })
        .collect::<anyhow::Result<_>>()?;
    let drafts = finish::drafts(bot, "", VERBATIM_DRAFTS, VERBATIM_SEED)?;
    let verbatim = drafts.iter().filter(|draft| posts.contains(*draft)).count();
    Ok(CardExtras {
        samples,
        verbatim: Some(VerbatimShare { drafts: VERBATIM_DRAFTS, verbatim, seed: VERBATIM_SEED }),
        ..CardExtras::default()
    })
}
