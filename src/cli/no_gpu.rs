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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_build_without_it_says_what_to_build() {
        let demo = BotFolder::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("model-card/demo")).unwrap();
        let error = open(&demo, Precision::Q8_0).err().unwrap();
        assert!(error.is::<UsageError>() && error.to_string().contains("--features gpu"), "{error}");
    }
}
