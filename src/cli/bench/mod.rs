//! `huggingtweets bench …`: benchmarks, and material for them. Random weights of the real shape
//! stand in for GPT-2's, which may not be available: speed does not depend on the values.

mod bundle;
mod record;
mod train;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::gpu;
use crate::{
    bundle::{Weights, weights::Tensor},
    gpt2::{Config, names},
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write a bot with random weights: GPT-2 124M's shape unless told otherwise
    Bundle(bundle::Args),
    /// Time this machine's GPU, in total and by kernel: GPT-2 124M's shape unless told otherwise
    Gpu(gpu::bench::Args),
    /// Write a made-up run's folder
    Record(record::Args),
    /// Time training steps on random weights: GPT-2 124M's shape unless told otherwise
    Train(train::Args),
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bundle(args) => bundle::run(args),
        Command::Gpu(args) => gpu::bench::run(args),
        Command::Record(args) => record::run(args),
        Command::Train(args) => train::run(args),
    }
}

/// A network's size.
#[derive(Debug, clap::Args)]
pub struct Shape {
    #[arg(long, default_value_t = 12)]
    layers: usize,
    #[arg(long, default_value_t = 768)]
    channels: usize,
    #[arg(long, default_value_t = 12)]
    heads: usize,
    #[arg(long, default_value_t = 50257)]
    vocab_size: usize,
}

impl Shape {
    /// The configuration of a network of this size with `positions`, and with GPT-2's dropout.
    pub fn config(&self, positions: usize) -> anyhow::Result<Config> {
        let config = Config {
            vocab_size: self.vocab_size,
            n_positions: positions,
            n_embd: self.channels,
            n_layer: self.layers,
            n_head: self.heads,
            n_inner: 4 * self.channels,
            layer_norm_epsilon: 1e-5,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            eos_token_id: 0,
        };
        config.validate()?;
        Ok(config)
    }
}

/// GPT-2's initialisation: normal with standard deviation 0.02, gains 1, biases 0.
pub fn random_weights(config: &Config, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::new();
    for tensor in names::tensors(config) {
        let n = tensor.shape.iter().product();
        let data = match tensor.role {
            names::Role::Vector if tensor.name.ends_with("weight") => vec![1.0; n],
            names::Role::Vector => vec![0.0; n],
            // The sum of four uniforms is close enough to normal here.
            _ => (0..n).map(|_| 0.02 * rough_normal(rng.next_u64())).collect(),
        };
        weights.insert(tensor.name, Tensor { shape: tensor.shape, data });
    }
    weights
}

/// Approximately normal, with mean 0 and variance 1, from 64 random bits: four 16-bit uniforms.
fn rough_normal(bits: u64) -> f32 {
    let sum: f32 = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32 / 65536.0 - 0.5).sum();
    sum * 3f32.sqrt()
}
