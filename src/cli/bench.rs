//! `huggingtweets bench …`: material for measurements. Random weights of the
//! real shape stand in for GPT-2's, which need not be at hand: speed does not
//! depend on what the weights say.

use std::path::PathBuf;

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
        manifest::{BotInfo, Provenance},
        staging::Staging,
        weights::Tensor,
    },
    cli::finish,
    gpt2::{Config, names},
    tokenizer::{Parts, Tokenizer},
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
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
    finish::finish_bundle(staging.path(), info)?;
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

/// What byte-level tokenizers write for a space.
const SPACE: char = '\u{120}';

/// A byte-level BPE of exactly `size` tokens: `<|endoftext|>`, 256 bytes with
/// the printable ones of ASCII first, then those in pairs and threes. Nearly all
/// it can write is text (some programs refuse broken UTF-8) in one line (a draft
/// ends at a newline, and a measurement wants it whole).
fn synthetic_tokenizer(size: usize) -> anyhow::Result<Tokenizer> {
    let bytes = byte_symbols();
    let printable: Vec<char> = bytes.iter().copied().take_while(|&c| is_printable(c)).collect();
    let base = 1 + bytes.len();
    let most = base + printable.len().pow(2) + printable.len().pow(3);
    anyhow::ensure!(
        (base..=most).contains(&size),
        "a synthetic vocabulary has {base} to {most} tokens, not {size}"
    );
    let joined = |left: Vec<String>| -> Vec<(String, char)> {
        left.iter().flat_map(|left| printable.iter().map(|&right| (left.clone(), right))).collect()
    };
    let pairs = joined(printable.iter().map(char::to_string).collect());
    let threes = joined(pairs.iter().map(|(left, right)| format!("{left}{right}")).collect());

    let mut tokens = vec![crate::tokenizer::END_OF_TEXT.to_owned()];
    tokens.extend(bytes.iter().map(char::to_string));
    let mut merges = Vec::new();
    for (left, right) in pairs.iter().chain(&threes).take(size - base) {
        merges.push(format!("{left} {right}"));
        tokens.push(format!("{left}{right}"));
    }
    Ok(Tokenizer::from_parts(Parts { tokens, merges, special_ids: vec![0], eos_id: 0 })?)
}

fn is_printable(symbol: char) -> bool {
    symbol.is_ascii_graphic() || symbol == SPACE
}

/// GPT-2's printable stand-ins for the 256 bytes: those of printable bytes
/// first, lower-case letters before all.
fn byte_symbols() -> Vec<char> {
    let mut all: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    all.sort_by_key(|&c| (!is_printable(c), !c.is_ascii_lowercase(), c));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synthetic_vocabulary_writes_one_line_of_text() {
        let tokenizer = synthetic_tokenizer(50257).unwrap();
        assert_eq!(tokenizer.vocab_size(), 50257);
        let words: Vec<u32> = (257..50257).collect();
        let text = tokenizer.decode(&words);
        assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text}");
        // The starts that the browser benchmarks count on.
        assert_eq!(tokenizer.encode_plain("ab!?ab").unwrap().len(), 3);
    }

    #[test]
    fn a_vocabulary_out_of_range_is_refused() {
        assert!(synthetic_tokenizer(256).is_err());
        assert!(synthetic_tokenizer(2_000_000).is_err());
    }
}
