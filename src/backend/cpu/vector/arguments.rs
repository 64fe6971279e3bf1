//! The arguments of a vector kernel, checked against each other once, because its loads check
//! nothing.

use super::PACKED;
use crate::backend::cpu::{
    matrix::PANEL,
    panels::Format,
    quant::{BLOCK, Tile},
};

/// The panels of a matrix to multiply, counted from the start of the weights.
#[derive(Debug, Clone, Copy)]
pub struct PanelGroups {
    /// Panels that are multiplied in turn, one block of each: a group.
    pub streams: usize,
    /// Panels from one of a group to the next. Far apart, each is a stream of its own for the
    /// hardware prefetcher.
    pub stride: usize,
    /// Number of groups, one after the other; each begins one panel after the previous.
    pub groups: usize,
}

/// Panels of one matrix to be multiplied with one tile. Kernels rely on the checks of
/// [`Panels::new`], so no field changes after it.
pub struct Panels<'a> {
    format: Format,
    /// (panels, blocks, [`Format::block_bytes`])
    weights: &'a [u8],
    places: PanelGroups,
    x: &'a Tile<'a>,
    /// (groups, streams, rows, PANEL)
    sums: &'a mut [[f32; PANEL]],
}

impl<'a> Panels<'a> {
    /// Uses the first `groups * streams * rows` of sums.
    ///
    /// # Panics
    /// If the arguments do not fit each other.
    pub fn new(
        format: Format,
        weights: &'a [u8],
        places: PanelGroups,
        x: &'a Tile<'a>,
        sums: &'a mut [[f32; PANEL]],
    ) -> Self {
        let PanelGroups { streams, stride, groups } = places;
        let sums = &mut sums[..groups * streams * x.rows];
        assert!(!sums.is_empty());
        let panels = (streams - 1) * stride + groups;
        assert!(weights.len() >= panels * x.blocks * format.block_bytes());
        let n = x.rows * x.blocks;
        assert!(x.format == format && x.scales.len() == n && x.offsets.len() == n);
        assert!(x.values.len() == n * BLOCK && x.packed.len() == n * PACKED);
        Self { format, weights, places, x, sums }
    }

    #[inline(always)]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The activations, packed for the weights' format.
    #[inline(always)]
    pub fn x(&self) -> &'a Tile<'a> {
        self.x
    }

    /// Panels from one of a group to the next.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.places.stride
    }

    /// (groups, streams, rows, PANEL)
    #[inline(always)]
    pub fn sums(&mut self) -> &mut [[f32; PANEL]] {
        self.sums
    }

    /// For each group: the weights from its first panel on, and its sums (streams, rows, PANEL).
    #[inline(always)]
    pub fn groups(&mut self) -> impl Iterator<Item = (&'a [u8], &mut [[f32; PANEL]])> {
        let (weights, bytes) = (self.weights, self.x.blocks * self.format.block_bytes());
        let sums = self.sums.chunks_exact_mut(self.places.streams * self.x.rows);
        sums.enumerate().map(move |(group, sums)| (&weights[group * bytes..], sums))
    }

    /// Calls f with each panel and its sums (rows, PANEL).
    pub fn each(mut self, mut f: impl FnMut(&[u8], &mut [[f32; PANEL]])) {
        let bytes = self.x.blocks * self.format.block_bytes();
        let (stride, rows) = (self.places.stride, self.x.rows);
        for (weights, sums) in self.groups() {
            for (p, sums) in sums.chunks_exact_mut(rows).enumerate() {
                f(&weights[p * stride * bytes..][..bytes], sums);
            }
        }
    }
}
