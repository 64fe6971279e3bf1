//! `huggingtweets inspect …`: single stages, for checking by others.

use std::io::BufRead;

use anyhow::Context;

mod clean;
mod forward;
mod forward_cpu;
mod probs;
mod tokenize;

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

/// Calls `f` with the `text` of every JSON line on standard input; an error
/// names the line.
fn each_text(mut f: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Line {
        text: String,
    }
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        let number = index + 1;
        let line = line.with_context(|| format!("standard input, line {number}: not UTF-8 text"))?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&line)
            .with_context(|| format!("standard input, line {number}: expected {{\"text\": \"…\"}}"))?;
        f(&line.text)?;
    }
    Ok(())
}
