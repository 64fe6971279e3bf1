//! Time per kind of work within a step, measured by a lap timer.

use std::time::{Duration, Instant};

/// Kinds of work in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Embedding,
    LayerNorm,
    LinearForward,
    LinearBackward,
    AttentionForward,
    AttentionBackward,
    Gelu,
    /// Bias gradients, dropout and residual sums.
    Residual,
    /// Forward and backward.
    Head,
    /// Gradient norm, clipping and update.
    Optimizer,
}

impl Work {
    pub const ALL: [Self; 10] = [
        Self::Embedding,
        Self::LayerNorm,
        Self::LinearForward,
        Self::LinearBackward,
        Self::AttentionForward,
        Self::AttentionBackward,
        Self::Gelu,
        Self::Residual,
        Self::Head,
        Self::Optimizer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embeddings",
            Self::LayerNorm => "layer norms",
            Self::LinearForward => "linear, forward",
            Self::LinearBackward => "linear, backward",
            Self::AttentionForward => "attention, forward",
            Self::AttentionBackward => "attention, backward",
            Self::Gelu => "GELU",
            Self::Residual => "biases, dropout, sums",
            Self::Head => "head and loss",
            Self::Optimizer => "AdamW",
        }
    }
}

/// Time spent, by kind of work.
#[derive(Debug, Clone)]
pub struct Laps {
    last: Instant,
    spent: [Duration; Work::ALL.len()],
}

impl Default for Laps {
    fn default() -> Self {
        Self { last: Instant::now(), spent: Default::default() }
    }
}

impl Laps {
    /// Starts a lap; the time since the last one is not counted.
    pub fn start(&mut self) {
        self.last = Instant::now();
    }

    /// Adds the time since the lap began to `work`, and starts the next.
    pub fn end(&mut self, work: Work) {
        let now = Instant::now();
        self.spent[work as usize] += now - self.last;
        self.last = now;
    }

    /// Total time spent on this kind of work.
    pub fn spent(&self, work: Work) -> Duration {
        self.spent[work as usize]
    }
}
