//! `huggingtweets bench bundle`: a bot with random weights.

use std::{collections::HashSet, path::PathBuf};

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::{Shape, random_weights};
use crate::{
    bundle::{
        Precision,
        checkpoint::CheckpointDtype,
        folder::{self, BundleParts},
        manifest::{BotInfo, CardExtras, Provenance},
        staging::Staging,
    },
    cli::finish,
    tokenizer::{END_OF_TEXT, Parts, Texts, Tokenizer},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    shape: Shape,
    #[arg(long, default_value_t = 1024)]
    context: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let config = args.shape.config(args.context)?;
    let tokenizer = synthetic_tokenizer(config.vocab_size)?;
    let staging = Staging::create(&args.out, args.force)?;
    let dtype = CheckpointDtype::F16;
    let weights = random_weights(&config, args.seed);
    let parts = BundleParts {
        config: &config,
        tokenizer: &tokenizer,
        name: "Random weights",
        weights: &weights,
        dtype,
        all_4bit: false,
        quantized: None,
    };
    folder::write_bundle(staging.path(), &parts)?;
    // Rounded plainly: random weights have no text to be quantised for.
    let stored = dtype.rounded(&weights);
    folder::write_gguf(staging.path(), &BundleParts { weights: &stored, ..parts }, Precision::Q4_0)?;
    let info = BotInfo {
        name: "Random weights".into(),
        handles: vec!["random_weights_of_gpt2".into()],
        notice: Some("Random weights for measurements: what it writes means nothing.".into()),
        provenance: Provenance {
            made_with: crate::cli::MADE_WITH.into(),
            seed: Some(args.seed),
            ..Provenance::default()
        },
        ..BotInfo::default()
    };
    finish::finish_bundle(staging.path(), info, CardExtras::default())?;
    staging.commit()?;
    Ok(())
}

/// Byte-level BPE's symbol for a space.
const SPACE: char = '\u{120}';

/// A byte-level BPE of exactly `size` tokens: `<|endoftext|>`, the 256 bytes with printable ASCII
/// first, then the words of the known prompt, and pairs and triples of printable ones. Almost all its
/// output is valid text (some programs refuse broken UTF-8) in a single line (a draft ends at a
/// newline, and measurements need full drafts).
fn synthetic_tokenizer(size: usize) -> anyhow::Result<Tokenizer> {
    let bytes = byte_symbols();
    let printable: Vec<char> = bytes.iter().copied().take_while(|&c| is_printable(c)).collect();
    let base = 1 + bytes.len();
    let most = base + printable.len().pow(2) + printable.len().pow(3);
    anyhow::ensure!(
        (base..=most).contains(&size),
        "a synthetic vocabulary has {base} to {most} tokens, not {size}"
    );
    let joined = |left: Vec<String>| -> Vec<(String, char)> {
        left.iter().flat_map(|left| printable.iter().map(|&right| (left.clone(), right))).collect()
    };
    let pairs = joined(printable.iter().map(char::to_string).collect());
    let threes = joined(pairs.iter().map(|(left, right)| format!("{left}{right}")).collect());

    let mut tokens = Texts::default();
    tokens.push(END_OF_TEXT);
    bytes.iter().for_each(|symbol| tokens.push(symbol.encode_utf8(&mut [0; 4])));
    let mut merges = Texts::default();
    let mut known = HashSet::new();
    for (left, right) in words(finish::EXAMPLE_PROMPT).into_iter().chain(pairs).chain(threes) {
        if tokens.len() == size {
            break;
        }
        let token = format!("{left}{right}");
        if known.insert(token.clone()) {
            merges.push(&format!("{left} {right}"));
            tokens.push(&token);
        }
    }
    Ok(Tokenizer::from_parts(Parts { tokens, merges, special_ids: vec![0], eos_id: 0 })?)
}

/// The merges that make a token of each word, so that the known prompt is as long as with GPT-2's
/// vocabulary.
fn words(prompt: &str) -> Vec<(String, char)> {
    let mut merges = Vec::new();
    let mut left = String::new();
    for symbol in prompt.chars() {
        if symbol == ' ' {
            left = SPACE.to_string();
            continue;
        }
        if !left.is_empty() {
            merges.push((left.clone(), symbol));
        }
        left.push(symbol);
    }
    merges
}

fn is_printable(symbol: char) -> bool {
    symbol.is_ascii_graphic() || symbol == SPACE
}

/// GPT-2's printable symbols for the 256 bytes: those of printable bytes first, and of these the
/// lower-case letters.
fn byte_symbols() -> Vec<char> {
    let mut all: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    all.sort_by_key(|&c| (!is_printable(c), !c.is_ascii_lowercase(), c));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synthetic_vocabulary_writes_one_line_of_text() {
        let tokenizer = synthetic_tokenizer(50257).unwrap();
        assert_eq!(tokenizer.vocab_size(), 50257);
        let words: Vec<u32> = (257..50257).collect();
        let text = tokenizer.decode(&words);
        assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text}");
        // The prompts that the browser benchmarks rely on.
        assert_eq!(tokenizer.encode_plain("ab!?ab").len(), 3);
        assert_eq!(tokenizer.encode_plain(finish::EXAMPLE_PROMPT).len(), 3);
    }

    #[test]
    fn a_vocabulary_out_of_range_is_refused() {
        assert!(synthetic_tokenizer(256).is_err());
        assert!(synthetic_tokenizer(2_000_000).is_err());
    }
}
