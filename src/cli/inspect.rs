//! `huggingtweets inspect …`: runs single stages, to compare them with other programs.

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
