//! What a vector kernel is given, held against each other once: its loads
//! check nothing.

use crate::backend::cpu::{matrix::PANEL, panels::Format, quant::Tile};

/// Panels of one matrix to be multiplied with one tile, a block of each in
/// turn: the panels 0, stride, 2 stride and so on of weights, as many as there are
/// sums for. Far from each other, each is a stream of its own, whose next lines
/// the processor fetches ahead.
pub struct Panels<'a> {
    pub format: Format,
    /// (panels, blocks, [`Format::block_bytes`])
    pub weights: &'a [u8],
    pub stride: usize,
    pub x: &'a Tile<'a>,
    /// (panels, rows, PANEL)
    pub sums: &'a mut [[f32; PANEL]],
}

impl<'a> Panels<'a> {
    /// # Panics
    /// Where they do not fit each other.
    pub fn new(
        format: Format,
        weights: &'a [u8],
        stride: usize,
        x: &'a Tile<'a>,
        sums: &'a mut [[f32; PANEL]],
    ) -> Self {
        let count = sums.len() / x.rows;
        let blocks = (count.saturating_sub(1) * stride + 1) * x.blocks;
        assert!(count > 0 && sums.len() == count * x.rows);
        assert!(weights.len() >= blocks * format.block_bytes());
        Self { format, weights, stride, x, sums }
    }

    /// Calls f with each panel and its sums.
    pub fn each(self, mut f: impl FnMut(&[u8], &mut [[f32; PANEL]])) {
        let bytes = self.x.blocks * self.format.block_bytes();
        for (p, sums) in self.sums.chunks_exact_mut(self.x.rows).enumerate() {
            f(&self.weights[p * self.stride * bytes..][..bytes], sums);
        }
    }
}
