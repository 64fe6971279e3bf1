//! Generates drafts from a prompt: a state machine that says what the network must compute next
//! and takes its logits. It has no I/O, clock or engine, so the command and the worker drive the
//! same code.
//!
//! ```text
//! let mut drafts = Drafts::new(&tokenizer, &config, request)?;
//! while let Some(batch) = drafts.next_batch() {
//!     let outputs = model.forward(&batch)?;
//!     for event in drafts.accept(outputs, &tokenizer)? { … }
//! }
//! ```

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    backend::{Batch, CacheShape, Outputs, Place, Row, Sequence, Wanted},
    bundle::digest::sha256_hex,
    gpt2::Config,
    sample::{Logits, Params, ParamsError, Sampler},
    tokenizer::{Tokenizer, clean_up_spaces},
};

/// What to generate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The start of the post, possibly empty; [`Request::start`] is what drafts use.
    pub prompt: String,
    /// B: drafts generated together, at least 1.
    pub drafts: usize,
    /// Maximum number of tokens of prompt and draft together, with the leading `<|endoftext|>`;
    /// `None` means min(160, positions).
    pub max_tokens: Option<usize>,
    /// Minimum number of tokens, counted like `max_tokens`, before `<|endoftext|>` may be sampled.
    pub min_tokens: usize,
    /// Minimum number of new tokens before `<|endoftext|>` may be sampled, for continuing a draft
    /// that had ended.
    #[serde(default)]
    pub min_new_tokens: usize,
    /// Determines every uniform sample of every draft.
    pub seed: u64,
    /// The seed's random stream for each draft; if empty, 0, 1, 2… A draft depends only on its own
    /// stream, so it can be generated again alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<u64>,
    pub sampling: Params,
}

/// Why a draft ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `<|endoftext|>` was sampled.
    EndOfText,
    /// A newline was sampled; as in the original, a draft ends there.
    Newline,
    /// [`Request::max_tokens`] was reached.
    MaxTokens,
    /// The network's last position was reached.
    ContextFull,
    /// The caller stopped the draft.
    Stopped,
}

/// A change of a draft in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The whole draft so far, prompt included, cleaned up as in the original.
    Text { draft: usize, text: String },
    /// The draft has ended; `text` is final, `tokens` counts the new ones, and `digest` is the
    /// [`token_digest`] of prompt and draft.
    Done { draft: usize, text: String, reason: EndReason, tokens: usize, digest: String },
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            drafts: 5,
            max_tokens: None,
            min_tokens: 10,
            min_new_tokens: 0,
            seed: 0,
            streams: Vec::new(),
            sampling: Params::default(),
        }
    }
}

impl Request {
    /// Returns the prompt as drafts use it: stripped, and on one line like every post that the bot
    /// was trained on.
    pub fn start(&self) -> String {
        one_line(&self.prompt)
    }
}

/// Strips the lines of a text and joins the non-empty ones with spaces.
pub fn one_line(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// The state of a draft when its engine was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SoFar {
    /// Sampled tokens, in order.
    pub tokens: Vec<u32>,
    /// Whether it had ended or was stopped.
    pub ended: bool,
}

pub use crate::bundle::manifest::DEFAULT_MAX_TOKENS;

/// Maximum number of drafts per request; a larger number is taken for a mistake.
pub const MAX_DRAFTS: usize = 256;

/// A request that cannot be carried out, or logits that give no token.
#[derive(Debug, Error)]
pub enum GenerateError {
    #[error("the start is {tokens} tokens long; this bot has room for {room}, so shorten it")]
    BeyondContext { tokens: usize, room: usize },
    #[error(
        "the start is {tokens} tokens long, and a draft of at most {max_tokens} has room for {room}: \
         shorten it, or let drafts be longer"
    )]
    BeyondLength { tokens: usize, room: usize, max_tokens: usize },
    #[error("{found} drafts requested; ask for 1 to {MAX_DRAFTS}")]
    Drafts { found: usize },
    #[error("a draft cannot be continued from token {token}: the vocabulary has {vocab_size} tokens")]
    SoFar { token: u32, vocab_size: usize },
    #[error("{found} drafts to continue, but {drafts} requested: give the tokens of each, or of none")]
    SoFarCount { found: usize, drafts: usize },
    #[error("{streams} random streams for {drafts} drafts: give one for each, or none")]
    Streams { streams: usize, drafts: usize },
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error(
        "the engine returned logits of {found} rows and {vocab} tokens, {expected} and {vocab_size} expected"
    )]
    Logits { found: usize, expected: usize, vocab: usize, vocab_size: usize },
    #[error("the model produced non-finite logits: its weights are damaged")]
    NotFinite,
    #[error("no_repeat_ngram_size {size} leaves no token to choose: use a larger one, or 0 to switch it off")]
    Forbidden { size: usize },
}

/// A draft and its random stream.
struct Draft {
    rng: ChaCha8Rng,
    /// Prompt and draft, `<|endoftext|>` first.
    tokens: Vec<u32>,
    text: String,
    end: Option<EndReason>,
}

/// A draft that waits for logits.
#[derive(Clone, Copy)]
struct Live {
    draft: usize,
    /// The index of its logits in the batch's outputs; all drafts share the prompt's.
    output: usize,
}

/// The drafts of one request.
pub struct Drafts {
    request: Request,
    /// Maximum tokens of a draft, prompt included, and the reason for ending there.
    limit: (usize, EndReason),
    shape: CacheShape,
    vocab_size: usize,
    eos: u32,
    drafts: Vec<Draft>,
    batch: Option<Batch>,
    live: Vec<Live>,
    sampler: Sampler,
}

impl Drafts {
    /// Checks a request and plans its first batch: the prompt, computed once for all drafts.
    ///
    /// # Errors
    /// If the request is invalid or its prompt is too long.
    pub fn new(tokenizer: &Tokenizer, config: &Config, request: Request) -> Result<Self, GenerateError> {
        request.sampling.validate()?;
        if !(1..=MAX_DRAFTS).contains(&request.drafts) {
            return Err(GenerateError::Drafts { found: request.drafts });
        }
        if !request.streams.is_empty() && request.streams.len() != request.drafts {
            return Err(GenerateError::Streams { streams: request.streams.len(), drafts: request.drafts });
        }
        let eos = tokenizer.eos_id();
        let mut prompt = vec![eos];
        prompt.extend(tokenizer.encode_plain(&request.start()));
        let max_tokens = request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS).min(config.n_positions);
        if prompt.len() >= max_tokens {
            let tokens = prompt.len() - 1;
            // Excludes the leading `<|endoftext|>` and the first sampled token.
            let room = |limit: usize| limit.saturating_sub(2);
            return Err(match prompt.len() < config.n_positions {
                true => GenerateError::BeyondLength { tokens, room: room(max_tokens), max_tokens },
                false => GenerateError::BeyondContext { tokens, room: room(config.n_positions) },
            });
        }
        let shape =
            CacheShape { prompt: prompt.len(), drafts: request.drafts, tail: max_tokens - prompt.len() };
        let drafts = (0..request.drafts).map(|index| Draft {
            rng: coin_stream(request.seed, request.streams.get(index).copied().unwrap_or(index as u64)),
            tokens: prompt.clone(),
            text: String::new(),
            end: None,
        });
        let reason =
            if max_tokens == config.n_positions { EndReason::ContextFull } else { EndReason::MaxTokens };
        Ok(Self {
            limit: (max_tokens, reason),
            shape,
            vocab_size: config.vocab_size,
            eos,
            drafts: drafts.collect(),
            batch: Some(Batch {
                wanted: wanted(&request.sampling, config.vocab_size),
                ..Batch::prompt(&prompt, vec![prompt.len() - 1], shape)
            }),
            live: (0..request.drafts).map(|draft| Live { draft, output: 0 }).collect(),
            sampler: Sampler::default(),
            request,
        })
    }

    /// Continues where another engine left off, given the same request and the tokens of each
    /// draft; an empty `so_far` means new drafts. The first batch recomputes the prompt and all
    /// drafts; the random streams continue after the samples already used.
    ///
    /// # Errors
    /// As for [`Drafts::new`], or if `so_far` does not have an entry for each draft, or a token is
    /// outside the vocabulary.
    pub fn resume(
        tokenizer: &Tokenizer,
        config: &Config,
        request: Request,
        so_far: &[SoFar],
    ) -> Result<Self, GenerateError> {
        if !so_far.is_empty() && so_far.len() != request.drafts {
            return Err(GenerateError::SoFarCount { found: so_far.len(), drafts: request.drafts });
        }
        let mut drafts = Self::new(tokenizer, config, request)?;
        for (index, (draft, so_far)) in drafts.drafts.iter_mut().zip(so_far).enumerate() {
            for &token in &so_far.tokens {
                if token as usize >= config.vocab_size {
                    return Err(GenerateError::SoFar { token, vocab_size: config.vocab_size });
                }
                if draft.end.is_none() {
                    coin(&mut draft.rng);
                    draft.take(index, token, drafts.eos, drafts.limit, drafts.shape.prompt, tokenizer);
                }
            }
            if so_far.ended && draft.end.is_none() {
                draft.finish(index, EndReason::Stopped, drafts.shape.prompt);
            }
        }
        drafts.plan_again();
        Ok(drafts)
    }

    /// Returns the next batch for the network; `None` when every draft has ended.
    pub fn next_batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// Returns the number of tokens in the prompt, `<|endoftext|>` included.
    pub fn prompt_tokens(&self) -> usize {
        self.shape.prompt
    }

    /// Returns the number of tokens sampled so far in all drafts.
    pub fn drawn_tokens(&self) -> usize {
        self.drafts.iter().map(|d| d.tokens.len() - self.shape.prompt).sum()
    }

    /// Returns the tokens sampled for a draft, without a final `<|endoftext|>`.
    pub fn drawn(&self, draft: usize) -> &[u32] {
        self.drafts.get(draft).and_then(|d| d.tokens.get(self.shape.prompt..)).unwrap_or(&[])
    }

    /// Returns the number of drafts, including those that have ended.
    pub fn count(&self) -> usize {
        self.drafts.len()
    }

    /// Returns the token ids of a draft, the prompt included.
    pub fn tokens(&self, draft: usize) -> &[u32] {
        self.drafts.get(draft).map_or(&[], |d| &d.tokens)
    }

    /// Takes the logits of [`Drafts::next_batch`], samples a token for each live draft, and plans
    /// the next batch.
    ///
    /// # Errors
    /// If the logits do not match that batch, or no token can be sampled from them.
    pub fn accept(&mut self, outputs: &Outputs, tokenizer: &Tokenizer) -> Result<Vec<Event>, GenerateError> {
        let Some(batch) = self.batch.take() else { return Ok(Vec::new()) };
        let (found, expected) = (outputs.rows(), batch.outputs.len());
        if found != expected || outputs.vocab != self.vocab_size {
            let (vocab, vocab_size) = (outputs.vocab, self.vocab_size);
            return Err(GenerateError::Logits { found, expected, vocab, vocab_size });
        }
        let mut events = Vec::new();
        for live in std::mem::take(&mut self.live) {
            let index = live.draft;
            let draft = &mut self.drafts[index];
            if draft.end.is_some() {
                continue;
            }
            // Never skips: the number of rows was checked above.
            let Some(row) = outputs.row(live.output) else { continue };
            let logits = match row {
                Row::All(logits) => Logits::All(logits),
                Row::Top(top) => Logits::Top(top),
            };
            let least = self.request.min_tokens.max(self.shape.prompt + self.request.min_new_tokens);
            let too_short = draft.tokens.len() < least;
            let token = self.sampler.sample(
                logits,
                &draft.tokens,
                &self.request.sampling,
                too_short.then_some(self.eos),
                coin(&mut draft.rng),
            );
            let Some(token) = token else {
                return Err(match row.is_finite() {
                    true => GenerateError::Forbidden { size: self.request.sampling.no_repeat_ngram },
                    false => GenerateError::NotFinite,
                });
            };
            events.extend(draft.take(index, token, self.eos, self.limit, self.shape.prompt, tokenizer));
            if draft.end.is_none() {
                self.live.push(live);
            }
        }
        self.plan();
        Ok(events)
    }

    /// Ends one draft, or all live ones, keeping their tokens.
    pub fn stop(&mut self, draft: Option<usize>) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, d) in self.drafts.iter_mut().enumerate() {
            if d.end.is_none() && draft.is_none_or(|wanted| wanted == index) {
                events.push(d.finish(index, EndReason::Stopped, self.shape.prompt));
            }
        }
        if self.drafts.iter().all(|d| d.end.is_some()) {
            self.batch = None;
        } else if self.batch.as_ref().is_some_and(|b| b.start.is_none()) {
            self.live.retain(|live| self.drafts[live.draft].end.is_none());
            self.plan();
        }
        events
    }

    /// Plans the next batch: the newest token of every live draft.
    fn plan(&mut self) {
        if self.live.is_empty() {
            self.batch = None;
            return;
        }
        let newest = |(output, live): (usize, &mut Live)| {
            live.output = output;
            let tokens = &self.drafts[live.draft].tokens;
            let place = Place { sequence: Sequence::Draft(live.draft), position: tokens.len() - 1 };
            (tokens.last().copied().unwrap_or(self.eos), place)
        };
        let (tokens, places): (Vec<_>, Vec<_>) = self.live.iter_mut().enumerate().map(newest).unzip();
        self.batch = Some(Batch {
            outputs: (0..tokens.len()).collect(),
            wanted: wanted(&self.request.sampling, self.vocab_size),
            tokens,
            places,
            start: None,
        });
    }

    /// Plans the first batch of resumed drafts: the prompt, then the tokens of each draft.
    fn plan_again(&mut self) {
        self.live.retain(|live| self.drafts[live.draft].end.is_none());
        let Some(batch) = self.batch.as_mut().filter(|_| !self.live.is_empty()) else {
            self.batch = None;
            return;
        };
        let prompt = self.shape.prompt;
        // Keep the prompt's output (the first, since outputs ascend) if a draft without tokens
        // still needs it.
        if self.live.iter().all(|live| self.drafts[live.draft].tokens.len() > prompt) {
            batch.outputs.clear();
        }
        for live in &mut self.live {
            let own = self.drafts[live.draft].tokens.iter().enumerate().skip(prompt);
            let before = batch.rows();
            for (position, &token) in own {
                batch.tokens.push(token);
                batch.places.push(Place { sequence: Sequence::Draft(live.draft), position });
            }
            if batch.rows() > before {
                live.output = batch.outputs.len();
                batch.outputs.push(batch.rows() - 1);
            }
        }
    }
}

impl Draft {
    /// Appends a sampled token; returns the event if something changed.
    fn take(
        &mut self,
        index: usize,
        token: u32,
        eos: u32,
        (max_tokens, limit): (usize, EndReason),
        prompt: usize,
        tokenizer: &Tokenizer,
    ) -> Option<Event> {
        if token == eos {
            return Some(self.finish(index, EndReason::EndOfText, prompt));
        }
        self.tokens.push(token);
        let decoded = tokenizer.decode_partial(&self.tokens);
        let text = clean_up_spaces(&decoded);
        // The start is one line, so a newline can only come from the draft.
        let (text, newline) = match text.trim_start().split_once('\n') {
            Some((line, _)) => (line.trim().to_owned(), true),
            None => (text.trim_start().to_owned(), false),
        };
        let changed = text != self.text;
        self.text = text;
        if newline {
            return Some(self.finish(index, EndReason::Newline, prompt));
        }
        if self.tokens.len() >= max_tokens {
            return Some(self.finish(index, limit, prompt));
        }
        changed.then(|| Event::Text { draft: index, text: self.text.clone() })
    }

    fn finish(&mut self, index: usize, reason: EndReason, prompt: usize) -> Event {
        self.end = Some(reason);
        self.text = self.text.trim().to_owned();
        let tokens = self.tokens.len() - prompt;
        Event::Done {
            draft: index,
            text: self.text.clone(),
            reason,
            tokens,
            digest: token_digest(&self.tokens),
        }
    }
}

/// Returns which logits of a row (V) the settings need.
fn wanted(sampling: &Params, vocab_size: usize) -> Wanted {
    sampling.enough().filter(|k| *k < vocab_size).map_or(Wanted::All, Wanted::Top)
}

/// A draft's own ChaCha8 stream, so that it does not depend on how many others are generated with
/// it.
fn coin_stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Returns an identifier of a token sequence: the first 16 hexadecimal digits of the SHA-256 of
/// the ids, four little-endian bytes each.
pub fn token_digest(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut digest = sha256_hex(&bytes);
    digest.truncate(16);
    digest
}

/// Draws a uniform sample in [0, 1) from the top 53 bits.
fn coin(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
