//! Loads or creates what training starts from.

use anyhow::Context;

use super::args::{Plan, Start};
use crate::{
    bundle::{Weights, folder::BotFolder},
    cli::convert,
    gpt2::Config,
    record::Artifact,
    tokenizer::Tokenizer,
    train::scratch,
    tweets::Cleaned,
};

/// A network and its vocabulary.
pub struct Base {
    /// As in the file; the dropout of a run may differ.
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub weights: Weights,
    /// For the record; a new network has no file to digest.
    pub artifact: Artifact,
}

/// Opens the base, or creates a new network for these posts.
pub fn open(plan: &Plan, accounts: &[Cleaned]) -> anyhow::Result<Base> {
    match &plan.start {
        Start::Scratch { shape, vocab_size } => {
            let posts: Vec<String> = accounts.iter().flat_map(|a| a.kept.iter().cloned()).collect();
            let tokenizer = scratch::tokenizer(&posts, *vocab_size)?;
            let config = scratch::config(plan.shape(*shape), &tokenizer)?;
            let weights = scratch::weights(&config, plan.learning.seed);
            Ok(Base { config, tokenizer, weights, artifact: Artifact::named("scratch") })
        }
        Start::Base(base) => {
            let folder = convert::source_folder(base)
                .with_context(|| format!("--base {base} (offline, name a folder or take --base scratch)"))?;
            let bot = BotFolder::open(&folder).with_context(|| format!("--base {base}"))?;
            bot.verify_sources()?;
            let weights = bot.weights()?;
            let artifact =
                Artifact { name: plan.base_name(), ..Artifact::of_files(&folder, &bot.files_read()?)? };
            Ok(Base { config: bot.config, tokenizer: bot.tokenizer, weights, artifact })
        }
    }
}
