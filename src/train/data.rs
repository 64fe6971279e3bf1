//! The training text as blocks of token ids.

use super::TrainError;

/// Blocks of `context` tokens: no overlap, the last partial one dropped.
pub fn blocks(ids: &[u32], context: usize) -> Result<Vec<&[u32]>, TrainError> {
    let blocks: Vec<&[u32]> = ids.chunks_exact(context.max(2)).collect();
    if blocks.is_empty() {
        return Err(TrainError::TooFewTokens { tokens: ids.len(), context });
    }
    Ok(blocks)
}

/// Steps that `blocks` blocks make in batches; the last batch may be smaller.
pub fn steps(blocks: usize, batch: usize) -> usize {
    blocks.div_ceil(batch.max(1))
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
}
