//! `huggingtweets inspect tokenize`: JSONL `{"text"}` in, JSONL `{"ids"}` out.
//!
//! Follows the file, including its `truncation`, so that ids can be compared with those of other
//! programs. (Training and generation ignore that setting: [`crate::tokenizer`].)

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use serde_json::{Value, json};

use super::for_each_text;
use crate::{cli::say::stdout, tokenizer::Tokenizer};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let file = args.tokenizer.display();
    let bytes = fs::read(&args.tokenizer).with_context(|| format!("{file}: give a tokenizer.json"))?;
    let tokenizer = Tokenizer::from_json(&bytes).with_context(|| file.to_string())?;
    let truncation = Truncation::of(&bytes);
    if let Some(truncation) = &truncation {
        say!("note: {file} asks for truncation to {} ids; longer texts are cut", truncation.max_length);
    }
    let mut out = io::BufWriter::new(stdout());
    for_each_text(io::stdin().lock(), |text| {
        let mut ids = tokenizer.encode(text);
        if let Some(truncation) = &truncation {
            truncation.apply(&mut ids);
        }
        Ok(writeln!(out, "{}", json!({ "ids": ids }))?)
    })?;
    out.flush()?;
    Ok(())
}

/// The `truncation` setting of a `tokenizer.json`.
struct Truncation {
    max_length: usize,
    /// Keep the end instead of the beginning.
    left: bool,
}

impl Truncation {
    fn of(tokenizer_json: &[u8]) -> Option<Self> {
        let file: Value = serde_json::from_slice(tokenizer_json).ok()?;
        let truncation = file.get("truncation")?;
        let max_length = usize::try_from(truncation.get("max_length")?.as_u64()?).ok()?;
        Some(Self { max_length, left: truncation.get("direction").is_some_and(|d| d == "Left") })
    }

    fn apply(&self, ids: &mut Vec<u32>) {
        if self.left {
            ids.drain(..ids.len().saturating_sub(self.max_length));
        } else {
            ids.truncate(self.max_length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_is_the_files() {
        let cut = |json: &str| {
            let mut ids = vec![1, 2, 3];
            if let Some(truncation) = Truncation::of(json.as_bytes()) {
                truncation.apply(&mut ids);
            }
            ids
        };
        assert_eq!(cut(r#"{"truncation": null}"#), [1, 2, 3]);
        assert_eq!(cut(r#"{"truncation": {"max_length": 2, "direction": "Right"}}"#), [1, 2]);
        assert_eq!(cut(r#"{"truncation": {"max_length": 2, "direction": "Left"}}"#), [2, 3]);
    }
}
