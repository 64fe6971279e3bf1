//! What a vector kernel is given, held against each other once: its loads
//! check nothing.

use crate::backend::cpu::{matrix::PANEL, panels::Format, quant::Tile};

/// The arguments of [`crate::backend::cpu::scalar::panel`]: every block is in
/// quants, scales and tile, and every row of the tile has its sums.
pub struct Panel<'a> {
    pub format: Format,
    pub quants: &'a [u8],
    pub scales: &'a [f32],
    pub x: &'a Tile<'a>,
    pub sums: &'a mut [[f32; PANEL]],
}

impl<'a> Panel<'a> {
    /// # Panics
    /// Where they do not fit each other.
    pub fn new(
        format: Format,
        quants: &'a [u8],
        scales: &'a [f32],
        x: &'a Tile<'a>,
        sums: &'a mut [[f32; PANEL]],
    ) -> Self {
        let blocks = quants.len() / format.block_bytes();
        assert!(scales.len() >= blocks * PANEL && x.blocks() >= blocks && sums.len() == x.rows);
        Self { format, quants, scales, x, sums }
    }
}
