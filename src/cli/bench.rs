//! `huggingtweets bench …`: material for measurements. Random weights of the
//! real shape stand in for GPT-2's, which need not be at hand: speed does not
//! depend on what the weights say.

use std::{collections::HashMap, path::PathBuf};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::{
    bundle::{
        Weights,
        checkpoint::CheckpointDtype,
        folder::{self, BundleParts},
        manifest::{BotInfo, CardExtras, Provenance},
        staging::Staging,
        weights::Tensor,
    },
    cli::finish,
    gpt2::{Config, names},
    tokenizer::{Parts, Tokenizer},
};

mod record;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write a made-up run's folder
    Record(record::Args),
    /// Write a bot with random weights: GPT-2 124M's shape unless told otherwise
    Bundle(BundleArgs),
}

#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    force: bool,
    #[arg(long, default_value_t = 12)]
    layers: usize,
    #[arg(long, default_value_t = 768)]
    channels: usize,
    #[arg(long, default_value_t = 12)]
    heads: usize,
    #[arg(long, default_value_t = 50257)]
    vocab_size: usize,
    #[arg(long, default_value_t = 1024)]
    context: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Record(args) => record::run(args),
        Command::Bundle(args) => bundle(args),
    }
}

fn bundle(args: BundleArgs) -> anyhow::Result<()> {
    let config = Config {
        vocab_size: args.vocab_size,
        n_positions: args.context,
        n_embd: args.channels,
        n_layer: args.layers,
        n_head: args.heads,
        n_inner: 4 * args.channels,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.1,
        resid_pdrop: 0.1,
        eos_token_id: 0,
    };
    config.validate()?;
    let tokenizer = synthetic_tokenizer(args.vocab_size)?;
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
            made_with: super::MADE_WITH.into(),
            seed: Some(args.seed),
            ..Provenance::default()
        },
        ..BotInfo::default()
    };
    finish::finish_bundle(staging.path(), info, CardExtras::default())?;
    staging.commit()?;
    Ok(())
}

/// Weights as GPT-2 is initialised: normal, 0.02; gains 1, biases 0.
fn random_weights(config: &Config, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::new();
    for tensor in names::tensors(config) {
        let n = tensor.shape.iter().product();
        let data = match tensor.role {
            names::Role::Vector if tensor.name.ends_with("weight") => vec![1.0; n],
            names::Role::Vector => vec![0.0; n],
            // The sum of four uniforms is normal enough here.
            _ => (0..n).map(|_| 0.02 * rough_normal(rng.next_u64())).collect(),
        };
        weights.insert(tensor.name, Tensor { shape: tensor.shape, data });
    }
    weights
}

/// Mean 0, variance 1, from 64 random bits: four 16-bit uniforms.
fn rough_normal(bits: u64) -> f32 {
    let sum: f32 = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32 / 65536.0 - 0.5).sum();
    sum * 3f32.sqrt()
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
