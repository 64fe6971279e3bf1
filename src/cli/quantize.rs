//! `huggingtweets quantize`: rewrites one GGUF file of a bot.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{UsageError, finish, four_bit};
use crate::bundle::{
    Manifest, Precision,
    checkpoint::CheckpointDtype,
    file_names::BOT,
    folder::{self, BotFolder, BundleParts},
    staging::Patch,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot's folder, or any GPT-2 in the Hugging Face layout
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The file to rewrite
    #[arg(long, value_name = "PRECISION", value_parser = quantised())]
    to: Precision,
    /// With q4_0: store every matrix in 4 bits, also the token embedding and the first layer's
    /// attention input
    #[arg(long)]
    all_4bit: bool,
}

/// Parses a precision that has a GGUF file.
fn quantised() -> impl TypedValueParser<Value = Precision> {
    let precisions = [Precision::Q8_0, Precision::Q4_0];
    PossibleValuesParser::new(precisions.map(Precision::name)).try_map(|name| name.parse::<Precision>())
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.all_4bit && args.to != Precision::Q4_0 {
        return Err(UsageError(format!("--all-4bit needs --to q4_0, not {}", args.to)).into());
    }
    let patch = Patch::begin(&args.folder)?;
    let bot = BotFolder::open(&args.folder)?;
    bot.verify_sources()?;
    write(&bot, patch.path(), &args)?;
    // A folder of another program has no bot.json to update, and does not get one.
    let file = args.to.file_name();
    if let Some(mut manifest) = bot.manifest.clone() {
        manifest.checks.insert(file.into(), finish::check(&bot, &patch.path().join(file))?);
        let rows =
            |manifest: &Manifest| manifest.card.as_ref().map_or(0, |card| card.held_out_perplexity.len());
        let before = rows(&manifest);
        let manifest = folder::refresh(&args.folder, patch.path(), manifest, &[file])?;
        if rows(&manifest) < before {
            say!(
                "The card's perplexity at {} was that of the former file: huggingtweets card {} leaves it out.",
                args.to,
                args.folder.display()
            );
        }
    }
    patch.commit(None, &[BOT])?;
    answer!("Wrote {}", args.folder.join(file).display())?;
    Ok(())
}

fn write(bot: &BotFolder, dir: &Path, args: &Args) -> anyhow::Result<()> {
    if args.to == Precision::Q4_0 {
        let drafts = finish::unprompted_drafts(bot)?;
        return four_bit::write(bot, &bot.name(), &drafts, args.all_4bit, dir, || false);
    }
    let parts = BundleParts {
        config: &bot.config,
        tokenizer: &bot.tokenizer,
        weights: &bot.weights()?,
        dtype: CheckpointDtype::F32,
        name: &bot.name(),
        all_4bit: false,
        quantized: None,
    };
    Ok(folder::write_gguf(dir, &parts, args.to)?)
}
