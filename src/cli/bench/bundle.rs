//! `huggingtweets bench bundle`: a bot with random weights.

use std::{collections::HashMap, path::PathBuf};

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::{Shape, random_weights};
use crate::{
    bundle::{
        checkpoint::CheckpointDtype,
        folder::{self, BundleParts},
        manifest::{BotInfo, CardExtras, Provenance},
        staging::Staging,
    },
    cli::finish,
    tokenizer::{Parts, Tokenizer},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    shape: Shape,
    #[arg(long, default_value_t = 1024)]
    context: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let config = args.shape.config(args.context)?;
    let tokenizer = synthetic_tokenizer(config.vocab_size)?;
    let staging = Staging::create(&args.out, args.force)?;
    folder::write_bundle(
        staging.path(),
        &BundleParts {
            config: &config,
            tokenizer: &tokenizer,
            name: "Random weights",
            weights: &random_weights(&config, args.seed),
            dtype: CheckpointDtype::F16,
            all_4bit: false,
        },
    )?;
    let info = BotInfo {
        name: "Random weights".into(),
        handles: vec!["random_weights_of_gpt2".into()],
        notice: Some("Random weights for measurements: what it writes means nothing.".into()),
        provenance: Provenance {
            made_with: crate::cli::MADE_WITH.into(),
            seed: Some(args.seed),
            ..Provenance::default()
        },
        ..BotInfo::default()
    };
    finish::finish_bundle(staging.path(), info, CardExtras::default())?;
    staging.commit()?;
    Ok(())
}

/// A byte-level BPE of exactly `size` tokens: `<|endoftext|>`, 256 bytes, then
/// pairs of bytes in order.
fn synthetic_tokenizer(size: usize) -> anyhow::Result<Tokenizer> {
    anyhow::ensure!(
        (257..=257 + 256 * 256).contains(&size),
        "a synthetic vocabulary has 257 to 65793 tokens, not {size}"
    );
    let bytes = byte_symbols();
    let mut tokens = vec![crate::tokenizer::END_OF_TEXT.to_owned()];
    tokens.extend(bytes.iter().map(char::to_string));
    let mut merges = Vec::new();
    let mut seen: HashMap<String, ()> = HashMap::new();
    for pair in (0..256 * 256).map(|i| (bytes[i % 256], bytes[i / 256])) {
        if tokens.len() == size {
            break;
        }
        let token = format!("{}{}", pair.0, pair.1);
        if seen.insert(token.clone(), ()).is_none() {
            merges.push(format!("{} {}", pair.0, pair.1));
            tokens.push(token);
        }
    }
    Ok(Tokenizer::from_parts(Parts { tokens, merges, special_ids: vec![0], eos_id: 0 })?)
}

/// GPT-2's printable stand-ins for the 256 bytes, lower-case letters first so
/// that their pairs are the merges.
fn byte_symbols() -> Vec<char> {
    let mut all: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    all.sort_by_key(|&c| (!c.is_ascii_lowercase(), c));
    all
}
