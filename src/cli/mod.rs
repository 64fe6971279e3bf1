//! The command line: arguments are parsed and checked here, and each subcommand has a file.

// These macros panic if the reader of a pipe has exited; use `say!` and `answer!` instead.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bundle::hub::{HubError, upload::UploadError};

#[macro_use]
mod say;

mod assets;
mod bench;
mod card;
mod convert;
mod demo_corpus;
mod engine;
mod eval;
mod filter_args;
mod finish;
mod four_bit;
mod generate;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
mod gpu;
mod import;
mod inspect;
mod measure;
mod memory;
// Its error is tested in builds with a GPU, too.
#[cfg(all(test, feature = "gpu"))]
mod no_gpu;
mod progress_bar;
mod push;
mod quantize;
mod runs;
mod serve;
mod signals;
mod site;
mod train;
mod words;

/// Train GPT-2 on somebody's posts, and generate new ones.
#[derive(Debug, Parser)]
#[command(name = "huggingtweets", version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read archives of posts, clean them, and print the four counts
    Import(import::Args),
    /// Fine-tune GPT-2 on archives of posts and write a complete bot
    Train(Box<train::Args>),
    /// List recorded training runs, or compare two
    Runs(runs::Args),
    /// Generate posts from a bot, with the engine the browser runs
    Generate(generate::Args),
    /// Make a bot from any GPT-2: a Hugging Face folder or repository
    Convert(convert::Args),
    /// Rewrite one quantised file of a bot
    Quantize(quantize::Args),
    /// Measure a bot's perplexity on posts, at each of its precisions
    Eval(eval::Args),
    /// Rewrite a bot's card and picture
    Card(card::Args),
    /// Upload a bot to a repository of the Hugging Face Hub
    Push(push::Args),
    /// Serve the page with a bot on this machine
    Serve(serve::Args),
    /// Write a folder of static files: the page, the widget and a bot
    Site(site::Args),
    /// Run a single stage, to compare it with other implementations
    #[command(subcommand)]
    Inspect(inspect::Command),
    /// Generate benchmark inputs and time training
    #[command(subcommand, hide = true)]
    Bench(bench::Command),
    /// Write the fictional archive that the demo bot is trained on
    #[command(hide = true)]
    DemoCorpus(demo_corpus::Args),
}

/// Name and version, recorded in what the command writes.
const MADE_WITH: &str = concat!("huggingtweets ", env!("CARGO_PKG_VERSION"));

/// An error in how the command was called. Exits with code 2, as clap's own errors do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A signal ended the command before its work was done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Interrupted {
    pub message: String,
    pub exit_code: u8,
}

/// Parses the process's arguments, runs the subcommand, and reports an error in one line on
/// standard error. Exits with code 0 on success, 2 for usage errors and malformed
/// settings, 128 + a signal's number after an interruption, and 1 for other errors.
pub fn main() -> ExitCode {
    let matches = with_negative_numbers(Args::command()).get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match args.command {
        Command::Import(a) => import::run(a),
        Command::Train(a) => train::run(*a),
        Command::Runs(a) => runs::run(a),
        Command::Generate(a) => generate::run(a),
        Command::Convert(a) => convert::run(a),
        Command::Quantize(a) => quantize::run(a),
        Command::Eval(a) => eval::run(a),
        Command::Card(a) => card::run(a),
        Command::Push(a) => push::run(a),
        Command::Serve(a) => serve::run(a),
        Command::Site(a) => site::run(a),
        Command::Inspect(a) => inspect::run(a),
        Command::Bench(a) => bench::run(a),
        Command::DemoCorpus(a) => demo_corpus::run(a),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // `huggingtweets … | head` is no failure.
        Err(error) if say::is_stdout_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("huggingtweets: {}", one_line(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Lets `-1` be an option's value, for the option to refuse.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let allow = |arg: clap::Arg| {
        let is_option = !arg.is_positional() && arg.get_action().takes_values();
        if is_option { arg.allow_negative_numbers(true) } else { arg }
    };
    command.mut_args(allow).mut_subcommands(with_negative_numbers)
}

/// Returns the exit code for an error, as documented at [`main`].
fn exit_code(error: &anyhow::Error) -> u8 {
    let is_endpoint = matches!(error.downcast_ref(), Some(HubError::Endpoint(_)))
        || matches!(error.downcast_ref(), Some(UploadError::Endpoint(_)));
    match error.downcast_ref::<Interrupted>() {
        Some(interrupted) => interrupted.exit_code,
        None if is_endpoint || error.is::<UsageError>() => 2,
        None => 1,
    }
}

/// Formats an error and its causes in one line, skipping causes that are already quoted by
/// the errors before them.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !is_quoted(&line, &text) {
            let separator = if line.is_empty() { "" } else { ": " };
            line = format!("{line}{separator}{text}");
        }
    }
    if is_disk_full(error) {
        line.push_str("; the disk is full: make room and run it again");
    }
    line
}

/// Returns whether a message quotes this cause in the way that errors do: after a colon or an
/// opening parenthesis, up to a punctuation mark or the end.
fn is_quoted(message: &str, cause: &str) -> bool {
    message.match_indices(cause).any(|(start, _)| {
        let (before, after) = (&message[..start], &message[start + cause.len()..]);
        let begins = before.is_empty() || before.ends_with('(') || before.ends_with(": ");
        let ends = after.is_empty() || after.starts_with([':', ';', ',', ')']);
        begins && ends
    })
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    let mut io_errors = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io_errors.any(|error| error.kind() == std::io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{folder::BundleError, gguf::GgufError};

    #[test]
    fn causes_are_said_once_and_a_full_disk_says_what_to_do() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let text = full.to_string();
        let error = anyhow::Error::new(full).context(format!("bot/x: {text}")).context("writing");
        let line = one_line(&error);
        assert_eq!(line.matches(&text).count(), 1, "{line}");
        assert!(line.starts_with("writing: bot/x") && line.contains("make room"), "{line}");
    }

    #[test]
    fn a_disk_that_a_gguf_fills_is_full_too() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let source = Box::new(GgufError::from(full));
        let error = anyhow::Error::new(BundleError::Gguf { file: "model-q8_0.gguf".into(), source });
        let line = one_line(&error);
        assert!(line.starts_with("model-q8_0.gguf: ") && line.contains("make room"), "{line}");
        assert_eq!(line.matches("no storage space").count(), 1, "{line}");
    }

    #[test]
    fn exit_codes_tell_usage_errors_and_interruptions_apart() {
        let context = |error: anyhow::Error| error.context("--base a/b").context("training");
        let interrupted = Interrupted { message: "stopped".into(), exit_code: 143 };
        for (error, expected) in [
            (UsageError("no".into()).into(), 2),
            (HubError::Endpoint("foo".into()).into(), 2),
            (UploadError::Endpoint("foo".into()).into(), 2),
            (UploadError::NoToken.into(), 1),
            (interrupted.into(), 143),
            (anyhow::anyhow!("no"), 1),
        ] {
            assert_eq!(exit_code(&context(error)), expected);
        }
    }

    #[test]
    fn a_short_cause_is_not_taken_for_a_part_of_a_word() {
        let said =
            |cause: &'static str, context: &'static str| one_line(&anyhow::anyhow!(cause).context(context));
        assert_eq!(said("no", "cannot read notes.txt"), "cannot read notes.txt: no");
        assert_eq!(said("notes", "cannot read notes"), "cannot read notes: notes");
        assert_eq!(said("no", "cannot read notes.txt: no"), "cannot read notes.txt: no");
        assert_eq!(
            said("no", "a.bin is damaged (no): fetch it again"),
            "a.bin is damaged (no): fetch it again"
        );
    }
}
