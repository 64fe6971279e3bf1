//! Stands in for `gpu` in builds without GPU support.

use super::UsageError;
use crate::{
    backend::{Backend, cpu::Cpu},
    bundle::{Precision, folder::BotFolder},
    gpt2::Model,
};

/// Returns the error that this build has no GPU support.
pub fn open(_: &BotFolder, _: Precision) -> anyhow::Result<(Model<impl Backend + use<>>, String)> {
    Err::<(Model<Cpu>, String), _>(refusal("--backend webgpu").into())
}

fn refusal(what: &str) -> UsageError {
    UsageError(format!("{what} needs a command that was built with `--features gpu`; this one was not"))
}

/// Stands in for the GPU benchmark.
pub mod bench {
    #[derive(Debug, clap::Args)]
    pub struct Args {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        _rest: Vec<String>,
    }

    /// Returns the error that this build has no GPU support.
    pub fn run(_: Args) -> anyhow::Result<()> {
        Err(super::refusal("bench gpu").into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_build_without_it_says_what_to_build() {
        let demo = BotFolder::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("model-card/demo")).unwrap();
        let error = open(&demo, Precision::Q8_0).err().unwrap();
        assert!(error.is::<UsageError>() && error.to_string().contains("--features gpu"), "{error}");
        let args = bench::Args::augment_args(clap::Command::new("bench"));
        let args = args.get_matches_from(["bench", "--tokens", "4"]);
        let error = bench::run(bench::Args::from_arg_matches(&args).unwrap()).unwrap_err();
        assert!(error.is::<UsageError>() && error.to_string().contains("--features gpu"), "{error}");
    }
}
