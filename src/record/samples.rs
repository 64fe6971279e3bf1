//! `samples.jsonl`: unedited drafts generated during training.

use serde::{Deserialize, Serialize};

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SampleDraft {
    /// The prompt; may be empty.
    pub prompt: String,
    /// The whole draft, including the prompt.
    pub text: String,
}

/// A line of `samples.jsonl`: the drafts of one evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SampleSet {
    pub step: usize,
    pub drafts: Vec<SampleDraft>,
    /// Seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub unix_s: f64,
}
