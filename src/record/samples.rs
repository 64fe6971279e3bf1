//! `samples.jsonl`: drafts made along the way, unedited.

use serde::{Deserialize, Serialize};

/// One draft.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SampleDraft {
    /// The start that was given; may be empty.
    pub prompt: String,
    /// The whole draft, the prompt included.
    pub text: String,
}

/// A line of `samples.jsonl`: the drafts of one evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SampleSet {
    pub step: usize,
    pub drafts: Vec<SampleDraft>,
    /// When, in seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub unix_s: f64,
}
