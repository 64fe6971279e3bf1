//! `inspect clean`: the original's cleaning, post by post.

use std::io::{BufWriter, Write};

use anyhow::Context;

use crate::tweets::clean::{clean, fix, is_short};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    super::each_text(|text| {
        let fixed = fix(text);
        let cleaned = clean(&fixed);
        let kept = !is_short(&cleaned);
        writeln!(out, "{}", serde_json::json!({ "fixed": fixed, "cleaned": cleaned, "kept": kept }))
            .context("cannot write to standard output")
    })?;
    Ok(out.flush()?)
}
