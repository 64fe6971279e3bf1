//! What a vector kernel is given, held against each other once: its loads
//! check nothing.

use crate::backend::cpu::{matrix::PANEL, panels::Format, quant::Tile};

/// Panels of one matrix to be multiplied with one tile, a block of each in
/// turn: the panels 0, stride, 2 stride and so on of quants and scales, as many
/// as there are sums for. Far from each other, each is a stream of its own,
/// whose next lines the processor fetches ahead: together they come from memory
/// in half the time that one takes.
pub struct Panels<'a> {
    pub format: Format,
    /// (panels, blocks, [`Format::block_bytes`])
    pub quants: &'a [u8],
    /// (panels, blocks, PANEL)
    pub scales: &'a [f32],
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
        (quants, scales): (&'a [u8], &'a [f32]),
        stride: usize,
        x: &'a Tile<'a>,
        sums: &'a mut [[f32; PANEL]],
    ) -> Self {
        let count = sums.len() / x.rows;
        let blocks = (count.saturating_sub(1) * stride + 1) * x.blocks();
        assert!(count > 0 && sums.len() == count * x.rows);
        assert!(quants.len() >= blocks * format.block_bytes() && scales.len() >= blocks * PANEL);
        Self { format, quants, scales, stride, x, sums }
    }

    /// Calls f with each panel's quants and scales, and its sums.
    pub fn each(self, mut f: impl FnMut(&[u8], &[f32], &mut [[f32; PANEL]])) {
        let blocks = self.x.blocks();
        for (p, sums) in self.sums.chunks_exact_mut(self.x.rows).enumerate() {
            let (first, bytes) = (p * self.stride * blocks, self.format.block_bytes());
            let quants = &self.quants[first * bytes..][..blocks * bytes];
            f(quants, &self.scales[first * PANEL..][..blocks * PANEL], sums);
        }
    }
}
