//! Writes the bot's folder after a completed run.

use std::path::Path;

use anyhow::{Context, ensure};

use super::{args::Plan, posts::Posts};
use crate::{
    bundle::{
        file_names::SAFETENSORS,
        folder::{self, BotFolder, BundleParts},
        manifest::{BotInfo, CardExtras, MemorisedShare},
        staging::Staging,
    },
    cli::{Interrupted, eval, finish, four_bit, signals},
    record::{
        Artifact, Memorisation,
        memorisation::{MEMORISED_OVER_WORDS, PostIndex},
    },
    tokenizer::clean_up_spaces,
};

/// Maximum number of held-out posts on which each precision is evaluated.
const MEASURED_POSTS: usize = 100;

/// What the record says of the bot.
pub struct Written {
    /// The bot's weights.
    pub output: Artifact,
    pub memorisation: Memorisation,
}

/// Writes the bot to a temporary folder and moves it into place, adding to `extras` what is
/// measured on the bot itself. `stop` is called between the steps.
pub fn bot(
    plan: &Plan,
    posts: &Posts,
    parts: &BundleParts,
    info: BotInfo,
    extras: CardExtras,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Written> {
    let go_on = || -> anyhow::Result<()> {
        let stopped = || Interrupted { message: "stopped".into(), exit_code: signals::exit_code() };
        ensure!(!stop(), stopped());
        Ok(())
    };
    let staging = Staging::create(&plan.out, plan.force)?;
    folder::write_bundle(staging.path(), parts)?;
    go_on()?;
    let bot = BotFolder::open(staging.path())?;
    let drafts = finish::unprompted_drafts(&bot)?;
    let memorisation = memorisation(&drafts, posts);
    go_on()?;
    four_bit::write(&bot, parts.name, &drafts, false, staging.path(), &stop)?;
    go_on()?;
    let measured = spread(&posts.held_out, MEASURED_POSTS);
    let held_out_perplexity = eval::perplexities(&bot, &measured)?;
    let extras = CardExtras {
        memorisation: Some(share(&memorisation)),
        perplexity_posts: (!held_out_perplexity.is_empty()).then_some(measured.len()),
        held_out_perplexity,
        ..extras
    };
    go_on()?;
    finish::finish_bundle(staging.path(), info, extras)?;
    go_on()?;
    let output = output(staging.path())?;
    staging.commit()?;
    Ok(Written { output, memorisation })
}

/// At most `most` posts, evenly spaced over the list, which is sorted by account.
fn spread(posts: &[String], most: usize) -> Vec<&str> {
    let count = posts.len().min(most);
    (0..count).map(|i| posts[i * posts.len() / count].as_str()).collect()
}

/// How much the bot's drafts repeat the training posts.
fn memorisation(drafts: &[String], posts: &Posts) -> Memorisation {
    // Cleaned up like drafts, in which tokenisation spaces are removed.
    let trained: Vec<String> =
        posts.accounts.iter().flat_map(|a| &a.kept).map(|p| clean_up_spaces(p)).collect();
    let index = PostIndex::new(trained.iter().map(String::as_str));
    index.memorisation(drafts.iter().map(String::as_str), MEMORISED_OVER_WORDS)
}

fn share(found: &Memorisation) -> MemorisedShare {
    MemorisedShare { n_words: found.words, share: found.share(), drafts: found.drafts }
}

/// The weights of a bot's folder, as described in its `bot.json`.
fn output(bot: &Path) -> anyhow::Result<Artifact> {
    let manifest = folder::read_manifest(bot)?;
    let entry = manifest
        .as_ref()
        .and_then(|manifest| manifest.files.get(SAFETENSORS))
        .context("bot.json does not list model.safetensors")?;
    Ok(Artifact::of_entry(SAFETENSORS, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_are_taken_from_every_account() {
        let posts: Vec<String> =
            (0..250).map(|i| format!("{} {i}", if i < 200 { "a" } else { "b" })).collect();
        let some = spread(&posts, 100);
        assert_eq!((some.len(), some[0], some[99]), (100, "a 0", "b 247"));
        assert_eq!(some.iter().filter(|post| post.starts_with('b')).count(), 20);
        assert_eq!(spread(&posts[..3], 100), ["a 0", "a 1", "a 2"]);
        assert!(spread(&[], 100).is_empty());
    }
}
