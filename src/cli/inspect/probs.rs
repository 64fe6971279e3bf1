//! `inspect probs`: the sampling distribution of given logits.

use std::io::Read;

use anyhow::Context;
use serde::Deserialize;

use crate::sample::{Params, probabilities};

#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Deserialize)]
struct Input {
    logits: Vec<f32>,
    #[serde(default)]
    history: Vec<u32>,
    #[serde(default)]
    params: serde_json::Value,
}

pub fn run(_args: Args) -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input is not UTF-8 text")?;
    let input: Input = serde_json::from_str(&text)
        .context("standard input is not one JSON object {\"logits\", \"history\", \"params\"}")?;
    let params = Params::neutral_with(&input.params).context("`params` has an unusable value")?;
    params.validate()?;
    let probs = probabilities(&input.logits, &input.history, &params);
    answer!("{}", serde_json::json!({ "probs": probs }))?;
    Ok(())
}
