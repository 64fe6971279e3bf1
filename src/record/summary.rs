//! `summary.json`: a run's results.

use serde::{Deserialize, Serialize};

use super::Artifact;

/// A run's results, written once when it ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    pub steps: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Time in the training loop, including that before a resume.
    pub seconds: f64,
    #[serde(default)]
    pub stopped: Stopped,
    /// Means over the first and the last twentieth of the steps, in nats per token.
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
    /// The weights; also recorded in `config.json`'s lineage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Artifact>,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// All steps were done.
    #[default]
    Completed,
    /// The validation loss stopped improving.
    Early,
    /// `--max-steps`.
    MaxSteps,
}

/// How many drafts repeat a long passage of a training post.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memorisation {
    /// Number of drafts examined.
    pub drafts: usize,
    /// How many of them share more than `words` consecutive words with a post.
    pub memorised: usize,
    /// The threshold, in words.
    pub words: usize,
    /// The longest overlap of any draft, in words.
    pub longest_words: usize,
}

impl Memorisation {
    /// Returns the fraction of memorised drafts, 0 to 1; 0 if there are no drafts.
    pub fn share(&self) -> f64 {
        if self.drafts == 0 { 0.0 } else { self.memorised as f64 / self.drafts as f64 }
    }
}
