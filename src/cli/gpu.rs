//! The engine on this machine's GPU, and its benchmark.

pub mod bench;

use anyhow::Context;

use super::engine;
use crate::{
    backend::{
        Backend,
        webgpu::{Gpu, Options},
    },
    bundle::{Precision, folder::BotFolder},
    gpt2::Model,
};

/// Opens the engine at a precision. Also returns the GPU's name.
pub fn open(bot: &BotFolder, precision: Precision) -> anyhow::Result<(Model<impl Backend + use<>>, String)> {
    let gpu = pollster::block_on(Gpu::open(Options::default()))
        .context("--backend webgpu cannot run here; --backend simd can")?;
    let name = gpu.adapter().name.clone();
    Ok((engine::open_on(gpu, bot, precision)?, name))
}
