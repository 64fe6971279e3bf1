//! `huggingtweets convert`: makes a bundle of any GPT-2.

use std::path::{Path, PathBuf};

use super::{UsageError, finish, four_bit, progress_bar::TransferBar};
use crate::bundle::{
    checkpoint::CheckpointDtype,
    folder::{self, BotFolder, BundleParts},
    hub::{self, Progress},
    manifest::{BotInfo, Provenance, is_empty_handle},
    staging::Staging,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A Hugging Face folder of a GPT-2, or a repository on the Hub (owner/name)
    #[arg(value_name = "REPO|DIR")]
    source: String,
    /// The bundle to write
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// Replace an existing --out
    #[arg(long)]
    force: bool,
    /// Display name [default: the bundle's own, or the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// Account handle without @ [default: the bundle's own, or the name]
    #[arg(long)]
    handle: Option<String>,
    /// How model.safetensors stores the weights
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"])]
    dtype: String,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(handle) = args.handle.as_deref().filter(|handle| is_empty_handle(handle)) {
        return Err(UsageError(format!("--handle {handle} has no name in it")).into());
    }
    // Before the download, so that a bad --out does not waste it.
    let staging = Staging::create(&args.out, args.force)?;
    let folder = source_folder(&args.source)?;
    let bot = BotFolder::open(&folder)?;
    let name =
        if folder.ends_with(&args.source) { folder::folder_name(&folder) } else { args.source.clone() };
    let mut info = info(&bot, &name);
    if let Some(handle) = args.handle {
        info.handles = vec![handle.trim().trim_start_matches('@').to_owned()];
    }
    info.name = args.name.unwrap_or(info.name);
    write_as(&bot, info, dtype(&args.dtype), staging.path())?;
    staging.commit()?;
    answer!("Wrote {}", args.out.display())?;
    Ok(())
}

/// Writes a bundle of an opened folder into an empty folder. `base` names it if it has no
/// `bot.json`.
pub fn write(bot: &BotFolder, base: &str, out: &Path) -> anyhow::Result<()> {
    write_as(bot, info(bot, base), CheckpointDtype::F32, out)
}

fn write_as(bot: &BotFolder, info: BotInfo, dtype: CheckpointDtype, out: &Path) -> anyhow::Result<()> {
    bot.verify_sources()?;
    let weights = bot.weights()?;
    let parts = BundleParts {
        config: &bot.config,
        tokenizer: &bot.tokenizer,
        name: &info.name,
        weights: &weights,
        dtype,
        all_4bit: false,
        quantized: None,
    };
    folder::write_bundle(out, &parts)?;
    drop(weights);
    let written = BotFolder::open(out)?;
    let drafts = finish::unprompted_drafts(&written)?;
    four_bit::write(&written, &info.name, &drafts, false, out, || false)?;
    // The card's other contents still apply to the converted bot; drafts are generated anew.
    let known = bot.manifest.as_ref().and_then(|manifest| manifest.card.clone());
    finish::finish_bundle(out, info, known.unwrap_or_default())
}

/// Returns the bot's info from `bot.json`, or a minimal one if there is none.
pub fn info(bot: &BotFolder, base: &str) -> BotInfo {
    if let Some(manifest) = &bot.manifest {
        return manifest.info.clone();
    }
    let name = base.rsplit('/').next().unwrap_or(base).to_owned();
    BotInfo {
        handles: vec![name.clone()],
        name,
        provenance: Provenance {
            made_with: super::MADE_WITH.into(),
            base: Some(base.into()),
            ..Provenance::default()
        },
        ..BotInfo::default()
    }
}

/// Returns the folder of a local path, or of a repository, which is fetched.
pub fn source_folder(source: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(source);
    if path.exists() || !hub::is_repo_name(source) {
        return Ok(path.to_path_buf());
    }
    let bar = TransferBar::new();
    Ok(hub::fetch(source, &mut |progress| match progress {
        Progress::Receiving { name, arrived, size } => bar.set(name, arrived, size),
        Progress::Waiting { name } => bar.println(format!("Waiting for another process to download {name}")),
    })?)
}

/// Parses the value of `--dtype`.
pub fn dtype(name: &str) -> CheckpointDtype {
    if name == "f16" { CheckpointDtype::F16 } else { CheckpointDtype::F32 }
}
