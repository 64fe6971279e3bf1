//! `huggingtweets inspect …`: runs single stages, to compare them with other programs.

mod clean;
mod forward;
mod forward_cpu;
mod probs;
mod tokenize;

use std::io::BufRead;

use anyhow::{Context, bail};
use serde::Deserialize;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// JSONL {"text"} in, JSONL {"fixed","cleaned","kept"} out
    Clean(clean::Args),
    /// JSONL {"text"} in, JSONL {"ids"} out
    Tokenize(tokenize::Args),
    /// One JSON {"logits","history","params"} in, {"probs"} out
    Probs(probs::Args),
    /// Logits, loss, gradients or trained parameters of token ids
    Forward(forward::Args),
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Clean(a) => clean::run(a),
        Command::Tokenize(a) => tokenize::run(a),
        Command::Probs(a) => probs::run(a),
        Command::Forward(a) => forward::run(a),
    }
}

/// Calls `each` with the text of every non-blank line of JSON `{"text"}`, as it is read.
fn for_each_text(
    mut input: impl BufRead,
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Input {
        text: String,
    }
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        if input.read_until(b'\n', &mut line).context("standard input could not be read")? == 0 {
            break;
        }
        let Ok(json) = std::str::from_utf8(&line) else {
            bail!("standard input, line {number}: not UTF-8 text");
        };
        if json.trim().is_empty() {
            continue;
        }
        let Input { text } = serde_json::from_str(json).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
            anyhow::anyhow!(
                "standard input, line {number}, column {}: {reason} (each line must be {{\"text\": \"…\"}})",
                error.column()
            )
        })?;
        each(&text)?;
    }
    Ok(())
}
