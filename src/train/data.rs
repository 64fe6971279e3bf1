//! The training text as blocks of token ids, and the posts held out of it.

use sha2::{Digest, Sha256};

use super::TrainError;

/// What a run learns from and is measured on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// The training text, all epochs. Its blocks are seen in its order, or in one that the
    /// run's seed draws.
    pub ids: Vec<u32>,
    /// Held-out posts, each with `<|endoftext|>` before and after, no longer
    /// than a block. Empty: nothing is evaluated.
    pub held_out: Vec<Vec<u32>>,
    /// `<|endoftext|>`.
    pub eos: u32,
}

impl Data {
    /// SHA-256 of ids and held-out posts, lower-case hex: two runs with one
    /// digest see the same tokens, with one seed in the same order.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for sequence in std::iter::once(&self.ids).chain(&self.held_out) {
            hasher.update((sequence.len() as u64).to_le_bytes());
            sequence.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Tokens of the held-out posts that are foretold.
    pub fn held_out_tokens(&self) -> usize {
        self.held_out.iter().map(|post| post.len().saturating_sub(1)).sum()
    }
}

/// A post (T) between two boundaries, at most `context` tokens of it.
pub fn as_sequence(post: &[u32], eos: u32, context: usize) -> Vec<u32> {
    std::iter::once(eos).chain(post.iter().copied()).chain([eos]).take(context).collect()
}

/// Blocks of `context` tokens: no overlap, the last partial one dropped.
///
/// # Errors
/// [`TrainError::TooFewTokens`] where there is not one.
pub fn blocks(ids: &[u32], context: usize) -> Result<Vec<&[u32]>, TrainError> {
    let blocks: Vec<&[u32]> = ids.chunks_exact(context.max(2)).collect();
    if blocks.is_empty() {
        return Err(TrainError::TooFewTokens { tokens: ids.len(), context });
    }
    Ok(blocks)
}

/// Steps that `blocks` blocks make, so many a step; the last step may be smaller.
pub fn steps(blocks: usize, blocks_a_step: usize) -> usize {
    blocks.div_ceil(blocks_a_step.max(1))
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
