//! A prompt becomes drafts: a state machine that says what the network must
//! compute next and takes its logits. No I/O, no clock, no engine inside, so
//! that the command and the worker drive the same code.
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
    tokenizer::{Tokenizer, TokenizerError, clean_up_spaces},
};

/// What to generate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The start of the post; stripped before use, may be empty.
    pub prompt: String,
    /// Drafts made together, at least 1.
    pub drafts: usize,
    /// Tokens of prompt and draft together; `None`: min(160, positions).
    pub max_tokens: Option<usize>,
    /// Tokens before `<|endoftext|>` may be drawn, the prompt included.
    pub min_tokens: usize,
    /// Tokens that must be drawn before `<|endoftext|>` may be: for going on
    /// with a draft that had ended.
    #[serde(default)]
    pub min_new_tokens: usize,
    /// Decides every coin of every draft.
    pub seed: u64,
    /// Which of the seed's coin streams each draft has; empty: 0, 1, 2… A draft
    /// made alone under its own number is the one it was among others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<u64>,
    pub sampling: Params,
}

/// Why a draft ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `<|endoftext|>` was drawn.
    EndOfText,
    /// A newline: the original cuts there.
    Newline,
    /// [`Request::max_tokens`] reached.
    MaxTokens,
    /// The network's last position reached.
    ContextFull,
    /// The caller stopped it.
    Stopped,
}

/// What became of a draft in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The whole draft so far, the start included, cleaned as the original does.
    Text { draft: usize, text: String },
    /// The draft is finished; `text` is final.
    /// `digest` is [`token_digest`] of the prompt and the draft.
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

/// What a draft had when its engine was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SoFar {
    /// Tokens drawn, in order.
    pub tokens: Vec<u32>,
    /// It has ended, or was stopped.
    pub ended: bool,
}

/// The longest draft by default, prompt included: the original's.
pub const DEFAULT_MAX_TOKENS: usize = 160;

/// More drafts than this at once is a mistake, not a wish.
pub const MAX_DRAFTS: usize = 256;

/// A request that cannot be carried out; known before any work is done.
#[derive(Debug, Error)]
pub enum GenerateError {
    #[error("the start is {tokens} tokens long; this bot has room for {limit}, so shorten it")]
    PromptTooLong { tokens: usize, limit: usize },
    #[error("{found} drafts asked for; 1 to {MAX_DRAFTS} can be made at once")]
    Drafts { found: usize },
    #[error("a draft cannot go on from token {token}: the vocabulary has {vocab_size}")]
    SoFar { token: u32, vocab_size: usize },
    #[error("{streams} coin streams for {drafts} drafts; each draft has one, or none is named")]
    Streams { streams: usize, drafts: usize },
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(
        "the engine returned logits of {found} rows and {vocab} tokens, {expected} and {vocab_size} expected"
    )]
    Logits { found: usize, expected: usize, vocab: usize, vocab_size: usize },
}

/// One draft on its way.
struct Draft {
    rng: ChaCha8Rng,
    /// Prompt and draft.
    tokens: Vec<u32>,
    text: String,
    end: Option<EndReason>,
}

/// Drafts on their way from one prompt.
pub struct Drafts {
    request: Request,
    /// Tokens a draft may have, prompt included, and what reaching it is called.
    limit: (usize, EndReason),
    shape: CacheShape,
    vocab_size: usize,
    eos: u32,
    drafts: Vec<Draft>,
    batch: Option<Batch>,
    /// The draft behind each output of `batch`.
    live: Vec<usize>,
    sampler: Sampler,
}

impl Drafts {
    /// Checks a request and plans its first batch: the prompt, computed once
    /// for all drafts.
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
        prompt.extend(tokenizer.encode_plain(request.prompt.trim())?);
        let max_tokens = request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS).min(config.n_positions);
        if prompt.len() >= max_tokens {
            return Err(GenerateError::PromptTooLong {
                tokens: prompt.len(),
                limit: max_tokens.saturating_sub(1),
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
                wanted: wanted(&request.sampling),
                ..Batch::prompt(&prompt, vec![prompt.len() - 1], shape)
            }),
            live: (0..request.drafts).collect(),
            sampler: Sampler::default(),
            request,
        })
    }

    /// Goes on where another engine left off: the same request, and what each
    /// draft had. The first batch computes prompt and drafts again, in one go;
    /// the coins go on behind those that were tossed.
    pub fn resume(
        tokenizer: &Tokenizer,
        config: &Config,
        request: Request,
        so_far: &[SoFar],
    ) -> Result<Self, GenerateError> {
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

    /// What the network must compute next; `None` when every draft has ended.
    pub fn next_batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// Tokens of the prompt, `<|endoftext|>` included.
    pub fn prompt_tokens(&self) -> usize {
        self.shape.prompt
    }

    /// Tokens drawn so far, all drafts together.
    pub fn drawn_tokens(&self) -> usize {
        self.drafts.iter().map(|d| d.tokens.len() - self.shape.prompt).sum()
    }

    /// Tokens that a draft has drawn, but for the one that ends a text.
    pub fn drawn(&self, draft: usize) -> &[u32] {
        self.drafts.get(draft).and_then(|d| d.tokens.get(self.shape.prompt..)).unwrap_or(&[])
    }

    /// Drafts in all, those that have ended too.
    pub fn count(&self) -> usize {
        self.drafts.len()
    }

    /// Token ids of a draft, the prompt included.
    pub fn tokens(&self, draft: usize) -> &[u32] {
        self.drafts.get(draft).map_or(&[], |d| &d.tokens)
    }

    /// Takes the logits of [`Drafts::next_batch`], draws a token for each live
    /// draft, and plans the next batch.
    pub fn accept(&mut self, outputs: &Outputs, tokenizer: &Tokenizer) -> Result<Vec<Event>, GenerateError> {
        let Some(batch) = self.batch.take() else { return Ok(Vec::new()) };
        // The prompt's logits are every draft's.
        let shared = batch.outputs.len() == 1;
        let (found, expected) = (outputs.rows(), batch.outputs.len());
        if found != expected || outputs.vocab != self.vocab_size {
            let (vocab, vocab_size) = (outputs.vocab, self.vocab_size);
            return Err(GenerateError::Logits { found, expected, vocab, vocab_size });
        }
        let mut events = Vec::new();
        for (output, index) in std::mem::take(&mut self.live).into_iter().enumerate() {
            let draft = &mut self.drafts[index];
            if draft.end.is_some() {
                continue;
            }
            let logits = match outputs.row(if shared { 0 } else { output }) {
                Some(Row::All(logits)) => Logits::All(logits),
                Some(Row::Top(top)) => Logits::Top(top),
                // A batch lists an output for each live draft.
                None => continue,
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
            events.extend(draft.take(index, token, self.eos, self.limit, self.shape.prompt, tokenizer));
            if draft.end.is_none() {
                self.live.push(index);
            }
        }
        self.plan();
        Ok(events)
    }

    /// Ends one draft, or all that still run, keeping what they have.
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
            self.live.retain(|&index| self.drafts[index].end.is_none());
            self.plan();
        }
        events
    }

    /// The next batch: the newest token of every live draft.
    fn plan(&mut self) {
        if self.live.is_empty() {
            self.batch = None;
            return;
        }
        let newest = |&index: &usize| {
            let tokens = &self.drafts[index].tokens;
            let place = Place { sequence: Sequence::Draft(index), position: tokens.len() - 1 };
            (tokens.last().copied().unwrap_or(self.eos), place)
        };
        let (tokens, places): (Vec<_>, Vec<_>) = self.live.iter().map(newest).unzip();
        self.batch = Some(Batch {
            outputs: (0..tokens.len()).collect(),
            wanted: wanted(&self.request.sampling),
            tokens,
            places,
            start: None,
        });
    }
}

impl Drafts {
    /// The first batch of drafts that have tokens already: the prompt, then
    /// each draft's own.
    fn plan_again(&mut self) {
        self.live.retain(|&index| self.drafts[index].end.is_none());
        let Some(batch) = self.batch.as_mut().filter(|_| !self.live.is_empty()) else {
            self.batch = None;
            return;
        };
        let prompt = self.shape.prompt;
        let begun = |index: usize| self.drafts[index].tokens.len() > prompt;
        if !self.live.iter().any(|&index| begun(index)) {
            return;
        }
        // Outputs ascend: drafts that wait for the prompt's logits come first.
        self.live.sort_by_key(|&index| begun(index));
        batch.outputs.clear();
        for &index in &self.live {
            if !begun(index) {
                batch.outputs.push(prompt - 1);
                continue;
            }
            for (position, &token) in self.drafts[index].tokens.iter().enumerate().skip(prompt) {
                batch.tokens.push(token);
                batch.places.push(Place { sequence: Sequence::Draft(index), position });
            }
            batch.outputs.push(batch.tokens.len() - 1);
        }
    }
}

impl Draft {
    /// Adds a drawn token; says what changed.
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
        // The prompt was stripped, so a newline can only be the draft's.
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

/// How many logits the settings need of a row.
fn wanted(sampling: &Params) -> Wanted {
    sampling.enough().map_or(Wanted::All, Wanted::Top)
}

/// Each draft's own coins: a ChaCha8 stream a draft, so that a draft does not
/// depend on how many others are made with it.
fn coin_stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// What tells two token sequences apart: the first 16 hexadecimal digits of the
/// SHA-256 of the ids, four little-endian bytes each.
pub fn token_digest(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut digest = sha256_hex(&bytes);
    digest.truncate(16);
    digest
}

/// A number in [0, 1) from the top 53 bits.
fn coin(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_json(include_bytes!("../tests/fixtures/tiny-gpt2/tokenizer.json")).unwrap()
    }

    fn config(tokenizer: &Tokenizer, n_positions: usize) -> Config {
        let json = format!(
            r#"{{"n_embd": 4, "n_head": 1, "n_layer": 1, "n_positions": {n_positions}, "vocab_size": {}}}"#,
            tokenizer.vocab_size()
        );
        Config { eos_token_id: tokenizer.eos_id(), ..Config::from_json(json.as_bytes()).unwrap() }
    }

    fn request(prompt: &str) -> Request {
        Request { prompt: prompt.into(), ..Request::default() }
    }

    /// All logits of some rows.
    fn outputs(config: &Config, logits: Vec<f32>) -> Outputs {
        Outputs { vocab: config.vocab_size, logits, top: Vec::new() }
    }

    /// Runs to the end on a network whose logits for a row are `network(row's
    /// tokens so far)`, and gives each draft's end.
    fn run(
        request: Request,
        positions: usize,
        network: impl Fn(&[u32], &mut [f32]),
    ) -> Vec<(String, EndReason, usize)> {
        let tokenizer = tokenizer();
        let config = config(&tokenizer, positions);
        let mut drafts = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
        let mut ends = vec![None; request.drafts];
        while let Some(batch) = drafts.next_batch() {
            let mut logits = vec![0.0; batch.outputs.len() * config.vocab_size];
            for (&row, logits) in batch.outputs.iter().zip(logits.chunks_exact_mut(config.vocab_size)) {
                let seen = match batch.places[row].sequence {
                    Sequence::Prompt => &batch.tokens[..],
                    Sequence::Draft(d) => drafts.tokens(d),
                };
                network(seen, logits);
            }
            for event in drafts.accept(&outputs(&config, logits), &tokenizer).unwrap() {
                if let Event::Done { draft, text, reason, tokens, .. } = event {
                    assert!(ends[draft].replace((text, reason, tokens)).is_none(), "one end a draft");
                }
            }
        }
        ends.into_iter().map(Option::unwrap).collect()
    }

    /// A network that wants one token above all.
    fn always(text: &str) -> impl Fn(&[u32], &mut [f32]) {
        let token = tokenizer().encode_plain(text).unwrap()[0];
        move |_, logits| logits[token as usize] = 100.0
    }

    #[test]
    fn end_of_text_waits_for_the_least_length() {
        let eos = tokenizer().eos_id() as usize;
        let ends = run(request("I"), 64, |_, logits| logits[eos] = 100.0);
        for (_, reason, tokens) in ends {
            // Ten tokens in all, `<|endoftext|>` and the start among them.
            assert_eq!((reason, tokens), (EndReason::EndOfText, 8));
        }
    }

    #[test]
    fn a_newline_cuts() {
        let ends = run(request("I"), 64, always("\n"));
        assert!(
            ends.iter().all(|(text, reason, _)| text == "I" && *reason == EndReason::Newline),
            "{ends:?}"
        );
    }

    #[test]
    fn the_limits_end_a_draft_with_their_reason() {
        let limited = Request { max_tokens: Some(12), ..request("I") };
        assert!(run(limited, 64, always("a")).iter().all(|e| e.1 == EndReason::MaxTokens && e.2 == 10));
        assert!(
            run(request("I"), 20, always("a")).iter().all(|e| e.1 == EndReason::ContextFull && e.2 == 18)
        );
    }

    #[test]
    fn a_draft_does_not_depend_on_how_many_are_made_with_it() {
        // Every token but the end is as likely as any other.
        let flat = |_: &[u32], logits: &mut [f32]| logits[0] = -10.0;
        let five = run(Request { seed: 4, ..request("I") }, 64, flat);
        let two = run(Request { seed: 4, drafts: 2, ..request("I") }, 64, flat);
        assert_eq!(five[..2], two[..]);
        assert_ne!(five[0].0, five[1].0);
        assert_ne!(five, run(Request { seed: 5, ..request("I") }, 64, flat));
    }

    #[test]
    fn a_draft_made_alone_under_its_number_is_the_same() {
        let flat = |_: &[u32], logits: &mut [f32]| logits[0] = -10.0;
        let five = run(Request { seed: 4, ..request("I") }, 64, flat);
        let two = Request { seed: 4, drafts: 2, streams: vec![3, 1], ..request("I") };
        assert_eq!(run(two, 64, flat), [five[3].clone(), five[1].clone()]);
    }

    #[test]
    fn an_end_waits_for_new_tokens_when_a_draft_goes_on() {
        let eos = tokenizer().eos_id() as usize;
        let on = Request { min_new_tokens: 20, ..request("I") };
        assert!(run(on, 64, |_, logits| logits[eos] = 100.0).iter().all(|e| e.2 == 20));
    }

    #[test]
    fn tokens_decide_the_digest() {
        // printf '\1\0\0\0\0\2\0\0' | sha256sum
        assert_eq!(token_digest(&[1, 512]), "99fb3cc3089a84cd");
        assert_ne!(token_digest(&[1, 512]), token_digest(&[512, 1]));
    }

    #[test]
    fn a_stopped_draft_leaves_the_batch() {
        let tokenizer = tokenizer();
        let config = config(&tokenizer, 64);
        let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
        drafts.accept(&outputs(&config, vec![0.0; config.vocab_size]), &tokenizer).unwrap();
        assert_eq!(drafts.next_batch().unwrap().rows(), 5);
        assert!(matches!(
            drafts.stop(Some(2))[..],
            [Event::Done { draft: 2, reason: EndReason::Stopped, .. }]
        ));
        assert_eq!(drafts.next_batch().unwrap().rows(), 4);
        assert!(drafts.stop(Some(2)).is_empty());
        assert_eq!(drafts.stop(None).len(), 4);
        assert!(drafts.next_batch().is_none());
    }

    #[test]
    fn stopping_before_the_first_token_ends_all_or_one() {
        let tokenizer = tokenizer();
        let config = config(&tokenizer, 64);
        let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
        drafts.stop(Some(0));
        drafts.accept(&outputs(&config, vec![0.0; config.vocab_size]), &tokenizer).unwrap();
        assert_eq!(drafts.next_batch().unwrap().rows(), 4);
        let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
        assert_eq!(drafts.stop(None).len(), 5);
        assert!(drafts.next_batch().is_none());
    }

    #[test]
    fn what_cannot_be_done_is_said_before_any_work() {
        let tokenizer = tokenizer();
        let config = config(&tokenizer, 16);
        let refuse = |request| Drafts::new(&tokenizer, &config, request).err().unwrap().to_string();
        assert!(refuse(request(&"word ".repeat(20))).contains("shorten it"));
        assert!(refuse(Request { drafts: 0, ..request("I") }).contains("1 to 256"));
        assert!(refuse(Request { streams: vec![1], ..request("I") }).contains("1 coin streams for 5"));
        let sampling = Params { top_p: 0.0, ..Params::default() };
        assert!(refuse(Request { sampling, ..request("I") }).contains("top_p"));
        let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
        assert!(drafts.accept(&outputs(&config, vec![0.0; 3]), &tokenizer).is_err());
    }

    #[test]
    fn drafts_that_lost_their_engine_go_on_as_if_they_had_not() {
        let tokenizer = tokenizer();
        let config = config(&tokenizer, 64);
        // Any function of the text so far will do for a network.
        let network = |seen: &[u32], logits: &mut [f32]| {
            let sum = seen.iter().fold(7u32, |sum, &token| sum.wrapping_mul(31).wrapping_add(token));
            for (i, logit) in logits.iter_mut().enumerate() {
                *logit = (sum.wrapping_mul(2654435761).wrapping_add(i as u32 * 97) >> 20) as f32 / 2048.0;
            }
        };
        let step = |drafts: &mut Drafts| {
            let Some(batch) = drafts.next_batch() else { return false };
            let mut logits = vec![0.0; batch.outputs.len() * config.vocab_size];
            for (&row, logits) in batch.outputs.iter().zip(logits.chunks_exact_mut(config.vocab_size)) {
                let seen: Vec<u32> = match batch.places[row].sequence {
                    Sequence::Prompt => batch.tokens.clone(),
                    Sequence::Draft(d) => drafts.tokens(d).to_vec(),
                };
                network(&seen, logits);
            }
            drafts.accept(&outputs(&config, logits), &tokenizer).unwrap();
            true
        };
        let request = Request { drafts: 3, max_tokens: Some(30), seed: 11, ..request("I say") };
        let mut whole = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
        while step(&mut whole) {}
        for lost_after in [0, 1, 2, 7, 20] {
            let mut drafts = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
            for _ in 0..lost_after {
                step(&mut drafts);
            }
            let so_far: Vec<_> = (drafts.drafts.iter().enumerate())
                .map(|(i, d)| SoFar { tokens: drafts.drawn(i).to_vec(), ended: d.end.is_some() })
                .collect();
            let mut resumed = Drafts::resume(&tokenizer, &config, request.clone(), &so_far).unwrap();
            if let Some(batch) = resumed.next_batch().filter(|_| lost_after > 0) {
                let own: usize = resumed.live.iter().map(|&i| resumed.drawn(i).len()).sum();
                assert_eq!(batch.rows(), resumed.prompt_tokens() + own);
                assert_eq!((batch.outputs.len(), batch.start), (resumed.live.len(), Some(resumed.shape)));
            }
            while step(&mut resumed) {}
            for draft in 0..3 {
                assert_eq!(resumed.tokens(draft), whole.tokens(draft), "lost after {lost_after}");
            }
        }
        let wrong = [SoFar { tokens: vec![u32::MAX], ended: false }];
        assert!(matches!(
            Drafts::resume(&tokenizer, &config, request, &wrong),
            Err(GenerateError::SoFar { token: u32::MAX, .. })
        ));
    }
}
