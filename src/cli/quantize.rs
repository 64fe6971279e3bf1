//! `huggingtweets quantize`: writes one GGUF of a bot again.

use std::{fs, path::PathBuf};

use anyhow::Context;

use super::finish;
use crate::bundle::{
    Precision,
    folder::{self, BotFolder, BundleParts, CheckpointDtype},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot: a bundle, or any GPT-2 in a Hugging Face folder
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// q8_0 or q4_0
    #[arg(long, value_name = "PRECISION", value_parser = ["q8_0", "q4_0"])]
    to: String,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let precision: Precision = args.to.parse()?;
    let bot = BotFolder::open(&args.model)?;
    let weights = bot.weights()?;
    // Aside, in the folder itself: on the same disk, and gone if anything fails.
    let aside = tempfile::Builder::new()
        .prefix(".quantize-")
        .tempdir_in(&args.model)
        .with_context(|| format!("{}: cannot be written", args.model.display()))?;
    let name = bot.name();
    let parts = BundleParts {
        config: &bot.config,
        tokenizer: &bot.tokenizer,
        name: &name,
        weights: &weights,
        dtype: CheckpointDtype::F32,
    };
    folder::write_gguf(aside.path(), &parts, precision)?;
    let file = args.model.join(precision.file_name());
    fs::rename(aside.path().join(precision.file_name()), &file)
        .with_context(|| format!("{}: cannot be written", file.display()))?;
    drop(aside);
    if let Some(manifest) = &bot.manifest {
        finish::finish_with(&bot, manifest.info.clone(), manifest.card.clone().unwrap_or_default())?;
    }
    println!("{}: {} bytes", file.display(), fs::metadata(&file)?.len());
    Ok(())
}
