//! The bot's folder of a run that came to its end.

use std::{fs, path::Path};

use anyhow::{Context, bail};

use super::{args::Plan, posts::Posts};
use crate::{
    bundle::{
        Manifest,
        folder::{self, BotFolder, BundleParts},
        manifest::{BotInfo, CardExtras, MemorisedShare},
        staging::Staging,
    },
    cli::finish,
    record::{
        Artifact, Memorisation,
        memorisation::{MEMORISED_OVER_WORDS, PostIndex},
    },
    tokenizer::clean_up_spaces,
};

/// Drafts, without a start, that are looked at for what they repeat.
const DRAFTS: usize = 30;
const SEED: u64 = 0;

/// What the record says of the bot.
pub struct Written {
    /// Its weights.
    pub output: Artifact,
    pub memorisation: Memorisation,
}

/// Makes the folder aside and puts it in its place. `stop` is asked between the
/// parts.
pub fn bot(
    plan: &Plan,
    posts: &Posts,
    parts: &BundleParts,
    info: BotInfo,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Written> {
    let go_on = || if stop() { bail!("stopped") } else { Ok(()) };
    let staging = Staging::create(&plan.out, plan.force)?;
    folder::write_bundle(staging.path(), parts)?;
    go_on()?;
    let memorisation = memorisation(staging.path(), posts)?;
    go_on()?;
    let extras = CardExtras {
        language: language(posts),
        memorised: Some(share(&memorisation)),
        ..CardExtras::default()
    };
    finish::finish_bundle(staging.path(), info, extras)?;
    go_on()?;
    let output = output(staging.path())?;
    staging.commit()?;
    Ok(Written { output, memorisation })
}

/// How much of the posts that were trained on the bot's drafts repeat.
fn memorisation(bot: &Path, posts: &Posts) -> anyhow::Result<Memorisation> {
    let drafts = finish::drafts(&BotFolder::open(bot)?, "", DRAFTS, SEED)?;
    // Drafts come out with their tokenisation spaces cleaned up.
    let trained: Vec<String> =
        posts.accounts.iter().flat_map(|a| &a.kept).map(|p| clean_up_spaces(p)).collect();
    let index = PostIndex::new(trained.iter().map(String::as_str));
    Ok(index.memorisation(drafts.iter().map(String::as_str), MEMORISED_OVER_WORDS))
}

fn share(found: &Memorisation) -> MemorisedShare {
    let Memorisation { drafts, memorised, words, longest_words } = *found;
    MemorisedShare { drafts, memorised, words, longest_words, seed: SEED }
}

/// The accounts' language, where all have one and the same.
fn language(posts: &Posts) -> Option<String> {
    let first = posts.counts.first()?.language.clone();
    first.filter(|language| posts.counts.iter().all(|c| c.language.as_ref() == Some(language)))
}

/// The weights of a bot's folder, as its `bot.json` describes them.
fn output(bot: &Path) -> anyhow::Result<Artifact> {
    const WEIGHTS: &str = "model.safetensors";
    let manifest = Manifest::from_json(&fs::read(bot.join("bot.json"))?)?;
    let entry = manifest.files.get(WEIGHTS).context("bot.json names no model.safetensors")?;
    Ok(Artifact::of_entry(WEIGHTS, entry))
}
