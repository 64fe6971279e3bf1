//! `metrics.jsonl`: one line of metrics per step.

use serde::{Deserialize, Serialize};

/// Metrics of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepMetrics {
    /// Number of steps done; 1 for the first.
    pub step: usize,
    /// Mean cross-entropy, in nats per token.
    pub loss: f32,
    pub learning_rate: f64,
    /// Before clipping.
    pub gradient_norm: f32,
    pub tokens_per_s: f64,
    /// Tokens seen since the start of the run, including this step's.
    pub tokens: u64,
}

/// Metrics on the held-out posts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Number of steps done; 0 before the first.
    pub step: usize,
    /// Mean cross-entropy, in nats per token.
    pub validation_loss: f64,
    /// exp(validation_loss).
    pub perplexity: f64,
    /// Whether this is the lowest loss so far.
    pub best: bool,
}

/// A line of `metrics.jsonl`. The evaluation's fields come last, so that adding them overwrites
/// the line with an extension of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricsLine {
    pub step: usize,
    /// Absent for an evaluation before the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub unix_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<bool>,
}

impl MetricsLine {
    pub(super) fn of_step(step: &StepMetrics, unix_s: f64) -> Self {
        Self {
            step: step.step,
            loss: Some(step.loss),
            learning_rate: Some(step.learning_rate),
            gradient_norm: Some(step.gradient_norm),
            tokens_per_s: Some(step.tokens_per_s),
            tokens: Some(step.tokens),
            unix_s,
            ..Self::default()
        }
    }

    pub(super) fn with(self, evaluation: &Evaluation) -> Self {
        Self {
            validation_loss: Some(evaluation.validation_loss),
            perplexity: Some(evaluation.perplexity),
            best: Some(evaluation.best),
            ..self
        }
    }
}
