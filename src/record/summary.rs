//! `summary.json`: what a run came to.

use serde::{Deserialize, Serialize};

use super::Artifact;

/// Written once, when the run ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    pub steps: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Time in the loop, that before a resume included.
    pub seconds: f64,
    #[serde(default)]
    pub stopped: Stopped,
    /// Means over the first and the last twentieth of the steps, nats a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation_loss: Option<f64>,
    /// The step of the checkpoint that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memorisation: Option<Memorisation>,
    /// The weights; goes into `config.json`'s lineage, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Artifact>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// All steps were done.
    #[default]
    Completed,
    /// The validation loss no longer fell.
    Early,
    /// `--max-steps`.
    MaxSteps,
}

/// How many drafts repeat a training post at length.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memorisation {
    /// Drafts looked at.
    pub drafts: usize,
    /// Of these, how many share more than `words` words in a row with a post.
    pub memorised: usize,
    /// The bound, in words.
    pub words: usize,
    /// The longest overlap of any draft, in words.
    pub longest_words: usize,
}

impl Memorisation {
    /// From 0 to 1; 0 where there is no draft.
    pub fn share(&self) -> f64 {
        if self.drafts == 0 { 0.0 } else { self.memorised as f64 / self.drafts as f64 }
    }
}
