//! `inspect tokenize`: token ids of texts.

use std::{
    fs,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;

use crate::tokenizer::Tokenizer;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let path = args.tokenizer.display();
    let bytes = fs::read(&args.tokenizer).with_context(|| format!("cannot read {path}"))?;
    let tokenizer = Tokenizer::from_json(&bytes).with_context(|| format!("{path} is no usable tokenizer.json"))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    super::each_text(|text| {
        let ids = tokenizer.encode(text)?;
        writeln!(out, "{}", serde_json::json!({ "ids": ids })).context("cannot write to standard output")
    })?;
    Ok(out.flush()?)
}
