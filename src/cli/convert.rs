//! `huggingtweets convert`: a bundle of any GPT-2.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::finish::finish_bundle;
use crate::bundle::{
    checkpoint::CheckpointDtype,
    folder::{self, BotFolder, BundleParts},
    hub,
    manifest::{BotInfo, Provenance},
    staging::Staging,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A Hugging Face folder, or a repository of the Hub (`owner/name`)
    #[arg(value_name = "REPO|DIR")]
    source: String,
    /// The folder to write
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// Replace the bot that stands at --out
    #[arg(long)]
    force: bool,
    /// Store model.safetensors in 16 bits, half the size
    #[arg(long)]
    half: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    // First, so that no download is for nothing.
    let staging = Staging::create(&args.out, args.force)?;
    let local = Path::new(&args.source);
    let (path, base) = match local.exists() {
        true => (local.to_path_buf(), folder::folder_name(local)),
        false => (hub::fetch(&args.source)?, args.source.clone()),
    };
    let source = BotFolder::open(&path)?;
    let weights = source.weights()?;
    let parameters: usize = weights.values().map(|tensor| tensor.data.len()).sum();
    let info = match source.manifest {
        Some(manifest) => manifest.info,
        None => unknown_bot(&base, parameters as u64),
    };
    let parts = BundleParts {
        config: &source.config,
        tokenizer: &source.tokenizer,
        weights: &weights,
        dtype: if args.half {
            CheckpointDtype::F16
        } else {
            CheckpointDtype::F32
        },
        name: &info.name,
        all_4bit: false,
    };
    folder::write_bundle(staging.path(), &parts)?;
    finish_bundle(staging.path(), info)?;
    staging.commit()?;
    eprintln!(
        "{}: {parameters} parameters, from {base}",
        args.out.display()
    );
    Ok(())
}

/// What can be said of a model that comes without a `bot.json`.
fn unknown_bot(base: &str, parameters: u64) -> BotInfo {
    let name = base.rsplit('/').next().unwrap_or(base).to_owned();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    BotInfo {
        name: name.clone(),
        handles: vec![name],
        provenance: Provenance {
            made_with: concat!("huggingtweets ", env!("CARGO_PKG_VERSION")).into(),
            base: Some(base.into()),
            command: Some(format!("huggingtweets convert {base}")),
            parameters: Some(parameters),
            created_unix_s: now.ok().map(|d| d.as_secs()),
            ..Provenance::default()
        },
        ..BotInfo::default()
    }
}
