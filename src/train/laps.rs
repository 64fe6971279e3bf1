//! Where a step's time goes: laps of a stopwatch, by kind of work.

use std::time::{Duration, Instant};

/// The kinds of work in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Embedding,
    LayerNorm,
    LinearForward,
    LinearBackward,
    AttentionForward,
    AttentionBackward,
    Gelu,
    /// Biases' gradients, dropout and residual sums.
    Residual,
    /// Both directions.
    Head,
    /// Norm, clip and update.
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
    /// Starts the next lap; the time since the last one counts for nothing.
    pub fn start(&mut self) {
        self.last = Instant::now();
    }

    /// Counts the time since the lap began for `work`, and starts the next.
    pub fn end(&mut self, work: Work) {
        let now = Instant::now();
        self.spent[work as usize] += now - self.last;
        self.last = now;
    }

    /// Since the laps were made.
    pub fn spent(&self, work: Work) -> Duration {
        self.spent[work as usize]
    }
}
