//! All the state, beside weights and moments, that a run needs to resume exactly.
//!
//! Random choices have no state: each is a function of seed and step. The data is in the order of
//! the text, or in one drawn from the seed.

use serde::{Deserialize, Serialize};

/// Stored in every checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Steps completed.
    pub step: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training, including those before a resume.
    pub seconds: f64,
    /// Loss of each step, nats per token. Grows with every step, so a checkpoint has them in a
    /// tensor, not with the rest in its header, whose size is limited.
    #[serde(default, skip_serializing)]
    pub losses: Vec<f32>,
    /// In order of their steps.
    pub evaluations: Vec<Evaluation>,
}

/// One evaluation on the held-out posts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps completed.
    pub step: usize,
    /// Mean cross-entropy of the held-out posts, nats per token. An f32, which survives JSON bit
    /// for bit.
    pub loss: f32,
}

impl Progress {
    /// The evaluation with the lowest loss (the first of equals), whose weights are kept.
    pub fn best(&self) -> Option<Evaluation> {
        self.evaluations.iter().copied().reduce(|best, next| if next.loss < best.loss { next } else { best })
    }

    /// Number of evaluations since the best one.
    pub fn worse_in_a_row(&self) -> usize {
        let best = self.best().map_or(0, |best| best.step);
        self.evaluations.iter().filter(|evaluation| evaluation.step > best).count()
    }

    /// Whether the current step's weights have been evaluated.
    pub fn is_evaluated(&self) -> bool {
        self.evaluations.last().is_some_and(|last| last.step == self.step)
    }

    /// Mean loss of the first and of the last twentieth of the steps, nats per token.
    pub fn first_and_final_loss(&self) -> (f64, f64) {
        let part = self.losses.len().div_ceil(20);
        let mean =
            |losses: &[f32]| losses.iter().copied().map(f64::from).sum::<f64>() / losses.len().max(1) as f64;
        (mean(&self.losses[..part]), mean(&self.losses[self.losses.len() - part..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(losses: &[f32]) -> Progress {
        let evaluations =
            losses.iter().enumerate().map(|(i, &loss)| Evaluation { step: 10 * (i + 1), loss }).collect();
        Progress { evaluations, step: 10 * losses.len(), ..Progress::default() }
    }

    #[test]
    fn the_best_is_the_first_of_the_lowest_and_later_ones_are_worse() {
        let progress = with(&[3.0, 2.0, 2.5, 2.0]);
        assert_eq!((progress.best().unwrap().step, progress.worse_in_a_row()), (20, 2));
        assert!(progress.is_evaluated());
        assert_eq!((with(&[]).best(), with(&[]).worse_in_a_row()), (None, 0));
        assert_eq!(with(&[3.0, 2.0]).worse_in_a_row(), 0);
    }

    #[test]
    fn first_and_final_losses_are_means_of_a_twentieth() {
        let losses = (0..40).map(|i| i as f32).collect();
        let progress = Progress { losses, ..Progress::default() };
        assert_eq!(progress.first_and_final_loss(), (0.5, 38.5));
        assert_eq!(Progress::default().first_and_final_loss(), (0.0, 0.0));
    }

    #[test]
    fn json_keeps_every_evaluation_bit_for_bit() {
        let losses: Vec<f32> = (0..20_000u32).map(|i| f32::from_bits(0x3f80_0000 + i * 1237)).collect();
        let progress = with(&losses);
        let back: Progress = serde_json::from_str(&serde_json::to_string(&progress).unwrap()).unwrap();
        assert_eq!(back, progress);
    }
}
