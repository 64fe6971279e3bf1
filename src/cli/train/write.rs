//! The bot's folder of a run that came to its end.

use std::{fs, path::Path};

use anyhow::{Context, bail};

use super::{args::Plan, posts::Posts};
use crate::{
    bundle::{
        Manifest,
        folder::{self, BotFolder, BundleParts},
        manifest::{self, BotInfo, CardExtras},
        staging::Staging,
    },
    cli::{eval, finish},
    record::{
        Artifact, Memorisation,
        memorisation::{MEMORISED_OVER_WORDS, PostIndex},
    },
    tokenizer::clean_up_spaces,
};

/// Drafts, without a start, that are looked at for what they repeat.
const DRAFTS: usize = 30;
const SEED: u64 = 0;
/// Held-out posts on which each precision is measured, at most.
const MEASURED_POSTS: usize = 100;

/// What the record says of the bot.
pub struct Written {
    /// Its weights.
    pub output: Artifact,
    pub memorisation: Memorisation,
}

/// Makes the folder aside and puts it in its place; to `extras` is added what the
/// bot itself shows. `stop` is asked between the
/// parts.
pub fn bot(
    plan: &Plan,
    posts: &Posts,
    parts: &BundleParts,
    info: BotInfo,
    extras: CardExtras,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Written> {
    let go_on = || if stop() { bail!("stopped") } else { Ok(()) };
    let staging = Staging::create(&plan.out, plan.force)?;
    folder::write_bundle(staging.path(), parts)?;
    go_on()?;
    let memorisation = memorisation(staging.path(), posts)?;
    go_on()?;
    let measured = &posts.held_out[..posts.held_out.len().min(MEASURED_POSTS)];
    let extras = CardExtras {
        memorisation: Some(share(&memorisation)),
        held_out_perplexity: eval::perplexities(&BotFolder::open(staging.path())?, measured)?,
        ..extras
    };
    go_on()?;
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

fn share(found: &Memorisation) -> manifest::Memorisation {
    manifest::Memorisation { n_words: found.words, share: found.share(), drafts: found.drafts }
}

/// The weights of a bot's folder, as its `bot.json` describes them.
fn output(bot: &Path) -> anyhow::Result<Artifact> {
    const WEIGHTS: &str = "model.safetensors";
    let manifest = Manifest::from_json(&fs::read(bot.join("bot.json"))?)?;
    let entry = manifest.files.get(WEIGHTS).context("bot.json names no model.safetensors")?;
    Ok(Artifact::of_entry(WEIGHTS, entry))
}
