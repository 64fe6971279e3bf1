//! In the place of the measurements on a GPU, where this build has none.

use crate::cli::UsageError;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<String>,
}

/// Says so.
pub fn run(_: Args) -> anyhow::Result<()> {
    let error = "bench gpu needs a command that was built with `--features gpu`; this one was not";
    Err(UsageError(error.into()).into())
}
