//! The training text as blocks of token ids, and the held-out posts.

use sha2::{Digest, Sha256};

use super::TrainError;
use crate::bundle::digest;

/// The training text and the held-out set of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// Token ids of the training text, all epochs. Blocks are used in this order, or in one drawn
    /// from the run's seed.
    pub ids: Vec<u32>,
    /// Held-out posts, each between two `<|endoftext|>` and truncated to one block. If empty,
    /// nothing is evaluated.
    pub held_out: Vec<Vec<u32>>,
    /// Id of `<|endoftext|>`.
    pub eos: u32,
}

impl Data {
    /// SHA-256 of ids and held-out posts, lower-case hex. Two runs with the same digest see the
    /// same tokens, and with the same seed in the same order.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for sequence in std::iter::once(&self.ids).chain(&self.held_out) {
            hasher.update((sequence.len() as u64).to_le_bytes());
            sequence.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        }
        digest::hex(&hasher.finalize())
    }

    /// Number of predicted tokens of the held-out posts.
    pub fn held_out_tokens(&self) -> usize {
        self.held_out.iter().map(|post| post.len().saturating_sub(1)).sum()
    }
}

/// A post (T) between two boundaries, truncated to `context` tokens.
pub fn as_sequence(post: &[u32], eos: u32, context: usize) -> Vec<u32> {
    std::iter::once(eos).chain(post.iter().copied()).chain([eos]).take(context).collect()
}

/// Splits ids into blocks of `context` tokens (at least 2) without overlap; a last partial block is
/// dropped.
///
/// # Errors
/// [`TrainError::TooFewTokens`] if not one block is complete.
pub fn blocks(ids: &[u32], context: usize) -> Result<Vec<&[u32]>, TrainError> {
    let blocks: Vec<&[u32]> = ids.chunks_exact(context.max(2)).collect();
    if blocks.is_empty() {
        return Err(TrainError::TooFewTokens { tokens: ids.len(), context });
    }
    Ok(blocks)
}

/// Number of steps for `blocks` blocks; the last step may have fewer.
pub fn steps(blocks: usize, blocks_per_step: usize) -> usize {
    blocks.div_ceil(blocks_per_step.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_the_rest_is_dropped() {
        let ids: Vec<u32> = (0..11).collect();
        assert_eq!(blocks(&ids, 4).unwrap(), [&ids[0..4], &ids[4..8]]);
        assert_eq!((steps(2, 4), steps(9, 4)), (1, 3));
    }

    #[test]
    fn too_short_a_text_names_the_setting() {
        let error = blocks(&[1, 2, 3], 4).unwrap_err().to_string();
        assert!(error.contains("--context") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_held_out_post_stands_between_boundaries_and_is_cut_to_a_block() {
        assert_eq!(as_sequence(&[5, 6], 0, 8), [0, 5, 6, 0]);
        assert_eq!(as_sequence(&[5, 6, 7], 0, 3), [0, 5, 6]);
    }

    #[test]
    fn the_digest_tells_order_and_borders_apart() {
        let data = |ids: &[u32], held_out: &[&[u32]]| Data {
            ids: ids.into(),
            held_out: held_out.iter().map(|post| post.to_vec()).collect(),
            eos: 0,
        };
        let one = data(&[1, 2, 3], &[&[4]]);
        assert_eq!(one.digest(), one.clone().digest());
        for other in [data(&[1, 3, 2], &[&[4]]), data(&[1, 2, 3, 4], &[]), data(&[1, 2], &[&[3, 4]])] {
            assert_ne!(one.digest(), other.digest());
        }
    }
}
