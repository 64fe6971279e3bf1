//! `huggingtweets convert`: a bundle of any GPT-2.

use std::path::{Path, PathBuf};

use super::finish;
use crate::bundle::{
    checkpoint::CheckpointDtype,
    folder::{self, BotFolder, BundleParts},
    hub,
    manifest::{BotInfo, Provenance},
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
    let staging = Staging::create(&args.out, args.force)?;
    let bot = BotFolder::open(&source_folder(&args.source)?)?;
    let mut info = bot.manifest.as_ref().map(|m| m.info.clone()).unwrap_or_else(|| unknown(&args.source, &bot));
    if let Some(handle) = args.handle {
        info.handles = vec![handle.trim_start_matches('@').to_owned()];
    }
    info.name = args.name.unwrap_or(info.name);
    let weights = bot.weights()?;
    folder::write_bundle(
        staging.path(),
        &BundleParts {
            config: &bot.config,
            tokenizer: &bot.tokenizer,
            name: &info.name,
            weights: &weights,
            dtype: dtype(&args.dtype),
            all_4bit: false,
        },
    )?;
    drop(weights);
    finish::finish_bundle(staging.path(), info)?;
    staging.commit()?;
    eprintln!("Wrote {}", args.out.display());
    Ok(())
}

/// The folder of a local path, or of a repository once fetched.
pub fn source_folder(source: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(source);
    if path.exists() || !hub::is_repo_name(source) {
        return Ok(path.to_path_buf());
    }
    Ok(hub::fetch(source)?)
}

/// `--dtype`'s value.
pub fn dtype(name: &str) -> CheckpointDtype {
    if name == "f16" { CheckpointDtype::F16 } else { CheckpointDtype::F32 }
}

fn unknown(source: &str, bot: &BotFolder) -> BotInfo {
    let name = source.rsplit('/').find(|part| !part.is_empty() && *part != ".").map_or_else(|| bot.name(), str::to_owned);
    BotInfo {
        handles: vec![name.clone()],
        name,
        provenance: Provenance { made_with: super::MADE_WITH.into(), ..Provenance::default() },
        ..BotInfo::default()
    }
}
