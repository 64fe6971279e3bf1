//! Opens the browser's engine natively, from a bot's folder.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;

use crate::{
    backend::{
        Backend,
        cpu::{Cpu, Level, Pool},
    },
    bundle::{Precision, folder::BotFolder},
    gpt2::{Loader, Model},
};

/// Bytes per read.
const PIECE_BYTES: usize = 1 << 20;

/// Opens the CPU engine at a precision: from the bundle's GGUF file if there is one, else
/// quantised from the checkpoint, which gives the same blocks at 8 bits, and plainly rounded ones at
/// 4.
pub fn open(bot: &BotFolder, precision: Precision, level: Level, pool: Pool) -> anyhow::Result<Model<Cpu>> {
    open_on(Cpu::new(level, pool), bot, precision)
}

/// Like [`open`], on any backend.
pub fn open_on<B: Backend>(backend: B, bot: &BotFolder, precision: Precision) -> anyhow::Result<Model<B>> {
    if precision != Precision::F32
        && let Some(path) = bot.precision_path(precision)
    {
        return gguf_on(backend, &path);
    }
    let weights = bot.weights()?;
    Ok(crate::gpt2::from_weights(&bot.config, &weights, precision, backend)?)
}

/// Opens the CPU engine from a GGUF file.
pub fn open_gguf(path: &Path, level: Level, pool: Pool) -> anyhow::Result<Model<Cpu>> {
    gguf_on(Cpu::new(level, pool), path)
}

fn gguf_on<B: Backend>(backend: B, path: &Path) -> anyhow::Result<Model<B>> {
    let read = || -> anyhow::Result<Model<B>> {
        let mut file = File::open(path)?;
        let mut loader = Loader::new(backend, Some(file.metadata()?.len()));
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(loader.finish()?.model),
                n => loader.push(&piece[..n])?,
            }
        }
    };
    read().with_context(|| format!("{} is not a usable model", path.display()))
}

/// Creates a pool with the given number of threads, by default all that the machine has.
pub fn pool(threads: Option<usize>) -> Pool {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    Pool::new(threads.unwrap_or(available))
}
