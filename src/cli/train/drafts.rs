//! Drafts straight from the variables in training, before any file of a bot is written. They are
//! short because generation is slow: there is no KV cache.

use candle_transformers::generation::{LogitsProcessor, Sampling};

use crate::{
    tokenizer::{Tokenizer, clean_up_spaces},
    train::model::Model,
};

/// Maximum length of prompt and draft together, in tokens.
pub const LONGEST: usize = 40;

/// `count` drafts of the prompt, each including the prompt; draft i is determined by `seed + i`.
pub fn drafts(
    model: &Model,
    tokenizer: &Tokenizer,
    prompt: &str,
    count: usize,
    seed: u64,
) -> anyhow::Result<Vec<String>> {
    let sampling = Sampling::TopKThenTopP { k: 50, p: 0.95, temperature: 1.0 };
    let mut samplers: Vec<_> = (0..count as u64)
        .map(|i| LogitsProcessor::from_sampling(seed.wrapping_add(i), sampling.clone()))
        .collect();
    let longest = LONGEST.min(model.config().n_positions);
    let mut start = vec![tokenizer.eos_id()];
    start.extend(tokenizer.encode_plain(prompt));
    start.truncate(longest);
    let mut drafts = vec![start; count];
    let mut ended = vec![false; count];
    while let Some(length) = drafts.first().map(Vec::len).filter(|&length| length < longest) {
        if ended.iter().all(|&ended| ended) {
            break;
        }
        let logits = model.logits(&drafts.concat(), length)?;
        for (i, (draft, sampler)) in drafts.iter_mut().zip(&mut samplers).enumerate() {
            let next = sampler.sample(&logits.get((i + 1) * length - 1)?)?;
            ended[i] |= next == tokenizer.eos_id();
            // A finished draft is padded with `<|endoftext|>`, so that all have the same length.
            draft.push(if ended[i] { tokenizer.eos_id() } else { next });
        }
    }
    let text = |ids: &Vec<u32>| {
        let words: Vec<u32> = ids.iter().copied().filter(|&id| id != tokenizer.eos_id()).collect();
        let text = clean_up_spaces(&tokenizer.decode(&words));
        text.split('\n').next().unwrap_or_default().trim().to_owned()
    };
    Ok(drafts.iter().map(text).collect())
}
