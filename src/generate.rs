//! A prompt becomes drafts: a state machine that says what the network must
//! compute next and takes its logits. No I/O, no clock, no engine inside, so
//! that the command and the worker drive the same code.
//!
//! ```text
//! let mut drafts = Drafts::new(&tokenizer, &config, request)?;
//! while let Some(batch) = drafts.next_batch() {
//!     let logits = model.forward(&batch)?;          // (outputs, V)
//!     for event in drafts.accept(&logits, &tokenizer)? { … }
//! }
//! ```

use serde::{Deserialize, Serialize};

use crate::sample::Params;

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
    /// Decides every coin of every draft.
    pub seed: u64,
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
    Done { draft: usize, text: String, reason: EndReason, tokens: usize },
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            drafts: 5,
            max_tokens: None,
            min_tokens: 10,
            seed: 0,
            sampling: Params::default(),
        }
    }
}
