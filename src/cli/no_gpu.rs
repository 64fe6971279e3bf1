//! In the place of the engine on a GPU, where this build has none.

use super::UsageError;
use crate::{
    backend::{Backend, cpu::Cpu},
    bundle::{Precision, folder::BotFolder},
    gpt2::Model,
};

/// Says so.
pub fn open(_: &BotFolder, _: Precision) -> anyhow::Result<(Model<impl Backend + use<>>, String)> {
    let error = "--backend webgpu needs a command that was built with `--features gpu`; this one was not";
    Err::<(Model<Cpu>, String), _>(UsageError(error.into()).into())
}
