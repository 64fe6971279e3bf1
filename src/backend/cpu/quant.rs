//! Activations as signed bytes: the one definition of block, scale and rounding that every engine
//! follows.
//!
//! A row is divided into blocks of [`BLOCK`]. With `a` the largest magnitude of the block's values
//! and of the sums of its pairs (columns 0 and 1, 2 and 3, ...), the scale is `d = a / 127`, and each
//! value becomes `round(x * (127 / a))`, ties to even. A block with `a < TINY`, or where `a` is not
//! finite, is all zero with `d = 0`.
//!
//! So a value is in -127..=127, and values of the same sign in a pair sum to at most 128 in
//! magnitude (127, and half for each rounding). Products of a pair with unsigned bytes then fit 16
//! bits, 255 * 128 < 2^15: most x86 processors have one instruction for just that sum, which
//! saturates (`pmaddubsw`).

use std::ops::Range;

use super::{math::round_to_i32, matrix::Aligned, panels::Format, shared::Shared, vector};

/// Activations are quantised in the same blocks as weights.
pub use crate::dtype::BLOCK;

/// A block whose `a` is below this counts as zero, so that 127 / a stays finite.
pub const TINY: f32 = 1e-30;

/// Quantised activations (R, K), K a multiple of [`BLOCK`].
///
/// Rows that are multiplied together form a *tile*: the first block of each of its rows, then the
/// second of each, and so on, so that a kernel reads memory in order. [`vector::tile_rows`] says
/// how many rows a tile has; the last may have fewer.
#[derive(Debug, Default)]
pub struct QuantRows {
    /// (tile, block, row, BLOCK), each in -127..=127.
    values: Vec<i8>,
    /// (tile, block, row, [`vector::PACKED`] bytes): the values again, in the form that this
    /// target's vector kernels multiply, if they need one.
    packed: Vec<Aligned>,
    /// (tile, block, row)
    scales: Vec<f32>,
    /// (tile, block, row): -[`Format::zero`] times the sum of the block's values, which cancels the
    /// offset of stored weights in a product.
    offsets: Vec<i32>,
    rows: usize,
    /// K / BLOCK
    blocks: usize,
    /// Rows of a full tile.
    tile: usize,
    /// The format of the weights that they are packed for.
    format: Format,
}

/// The rows of one tile: (block, row) slices of [`QuantRows`].
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    pub rows: usize,
    /// Blocks of a row.
    pub blocks: usize,
    pub values: &'a [i8],
    #[allow(dead_code, reason = "not every target packs")]
    pub packed: &'a [u8],
    pub scales: &'a [f32],
    pub offsets: &'a [i32],
    /// The format of the weights that they are packed for.
    pub format: Format,
}

impl QuantRows {
    /// Quantises x (R, width) for weights of this format, reusing memory.
    pub fn fill(&mut self, x: &[f32], width: usize, format: Format) {
        let filling = self.shape(x.len() / width.max(1), width, format);
        let blocks = 0..width / BLOCK;
        for (row, x) in x.chunks_exact(width.max(1)).enumerate() {
            // SAFETY: nobody else has `filling`.
            unsafe { filling.quantise(row, blocks.start, x) };
        }
        // SAFETY: as above.
        unsafe { filling.pack(blocks) };
    }

    /// Sets the shape (rows, width), reusing memory; the blocks are unspecified until they are
    /// filled.
    pub fn shape(&mut self, rows: usize, width: usize, format: Format) -> Filling<'_> {
        self.rows = rows;
        self.blocks = width / BLOCK;
        self.tile = vector::tile_rows(format, self.rows).max(1);
        self.format = format;
        let all = self.rows * self.blocks;
        self.values.resize(all * BLOCK, 0);
        self.packed.resize((all * vector::PACKED).div_ceil(size_of::<Aligned>()), Aligned::default());
        self.scales.resize(all, 0.0);
        self.offsets.resize(all, 0);
        Filling {
            values: Shared::new(self.values.as_chunks_mut().0),
            packed: Shared::new(bytemuck::cast_slice_mut(&mut self.packed)),
            scales: Shared::new(&mut self.scales),
            offsets: Shared::new(&mut self.offsets),
            rows: self.rows,
            blocks: self.blocks,
            tile: self.tile,
            format,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The format of the weights that the rows are packed for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The tiles, in order of rows.
    pub fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        (0..self.rows).step_by(self.tile.max(1)).map(|first| {
            let rows = self.tile.min(self.rows - first);
            let (from, n) = (first * self.blocks, rows * self.blocks);
            Tile {
                rows,
                blocks: self.blocks,
                values: &self.values[from * BLOCK..][..n * BLOCK],
                packed: &bytemuck::cast_slice(&self.packed)[from * vector::PACKED..][..n * vector::PACKED],
                scales: &self.scales[from..][..n],
                offsets: &self.offsets[from..][..n],
                format: self.format,
            }
        })
    }
}

/// [`QuantRows`] that are being filled, by several tasks with different blocks of each row.
pub struct Filling<'a> {
    values: Shared<'a, [i8; BLOCK]>,
    packed: Shared<'a, u8>,
    scales: Shared<'a, f32>,
    offsets: Shared<'a, i32>,
    rows: usize,
    blocks: usize,
    tile: usize,
    format: Format,
}

impl Filling<'_> {
    /// Quantises blocks of a row from `first` on, as many as x has.
    ///
    /// # Safety
    /// No two tasks may fill the same block of any row.
    pub unsafe fn quantise(&self, row: usize, first: usize, x: &[f32]) {
        for (block, x) in (first..self.blocks).zip(x.as_chunks::<BLOCK>().0) {
            let at = self.index(row, block);
            // SAFETY: this task alone has the block.
            let (values, scale, offset) =
                unsafe { (self.values.slice(at, 1), self.scales.slice(at, 1), self.offsets.slice(at, 1)) };
            let sum;
            (scale[0], sum) = quantise(x, &mut values[0]);
            offset[0] = -self.format.zero() * sum;
        }
    }

    /// Packs these blocks, after they have been quantised in every row.
    ///
    /// # Safety
    /// No two tasks may fill the same block of any row.
    pub unsafe fn pack(&self, blocks: Range<usize>) {
        for first in (0..self.rows).step_by(self.tile) {
            let rows = self.tile.min(self.rows - first);
            for block in blocks.clone() {
                let at = self.index(first, block);
                // SAFETY: this task alone has the block, whose rows in a tile are adjacent.
                let (values, packed) = unsafe {
                    let packed = self.packed.slice(at * vector::PACKED, rows * vector::PACKED);
                    (self.values.slice(at, rows), packed)
                };
                vector::pack(values, packed);
            }
        }
    }

    /// The position of a row's block, counted in blocks.
    fn index(&self, row: usize, block: usize) -> usize {
        let first = row / self.tile * self.tile;
        first * self.blocks + block * self.tile.min(self.rows - first) + (row - first)
    }
}

impl Tile<'_> {
    /// The values and the scale of one block of a row of this tile.
    pub fn block(&self, row: usize, block: usize) -> (&[i8; BLOCK], f32) {
        let at = block * self.rows + row;
        (&self.values.as_chunks().0[at], self.scales[at])
    }
}

/// Quantises one block; returns its scale and the sum of its quantised values.
#[inline(always)]
fn quantise(x: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> (f32, i32) {
    // Magnitudes compare like their bits, and the largest integer needs no branch.
    let magnitude = |v: f32| v.abs().to_bits() as i32;
    let largest = x.map(magnitude).into_iter().fold(0, i32::max);
    let pairs = x.as_chunks::<2>().0;
    let largest = pairs.iter().map(|[a, b]| magnitude(a + b)).fold(largest, i32::max);
    let largest = f32::from_bits(largest as u32);
    // An infinity or a NaN would otherwise spread to the whole block.
    if largest < TINY || !largest.is_finite() {
        out.fill(0);
        return (0.0, 0);
    }
    let inverse = 127.0 / largest;
    let values = x.map(|v| round_to_i32(v * inverse));
    *out = values.map(|v| v as i8);
    (largest / 127.0, values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn error_is_at_most_half_a_step(
            mut x in prop::collection::vec(-1e3f32..1e3, 2 * BLOCK),
            alike in 0usize..=2 * BLOCK,
            format in prop::sample::select(&[Format::Q8, Format::U8, Format::Q4]),
        ) {
            let first = x[0];
            x[..alike].fill(first);
            let mut q = QuantRows::default();
            q.fill(&x, BLOCK, format);
            let tile = q.tiles().next().unwrap();
            for (row, x) in x.chunks_exact(BLOCK).take(tile.rows).enumerate() {
                let (values, d) = tile.block(row, 0);
                for (x, &v) in x.iter().zip(values) {
                    prop_assert!((x - f32::from(v) * d).abs() <= d * 0.5001);
                    prop_assert!((-127..=127).contains(&v));
                }
                for pair in values.as_chunks::<2>().0 {
                    let [a, b] = pair.map(i16::from);
                    prop_assert!((a.max(0) + b.max(0)).max(-a.min(0) - b.min(0)) <= 128, "{a} {b}");
                }
                let sum: i32 = values.iter().map(|&v| i32::from(v)).sum();
                prop_assert_eq!(tile.offsets[row], -format.zero() * sum);
            }
        }

        #[test]
        fn tiles_hold_every_row_once(
            rows in 1usize..40,
            blocks in 1usize..4,
            format in prop::sample::select(&[Format::Q8, Format::U8, Format::Q4]),
        ) {
            let width = blocks * BLOCK;
            // Each block of a row has its own scale.
            let value = |i: usize| if i.is_multiple_of(2) { (i / BLOCK + 1) as f32 } else { 0.0 };
            let x: Vec<f32> = (0..rows * width).map(value).collect();
            let mut q = QuantRows::default();
            q.fill(&x, width, format);
            let mut row = 0;
            for tile in q.tiles() {
                prop_assert!(tile.rows <= vector::TILE && tile.blocks == blocks);
                for i in 0..tile.rows {
                    for b in 0..blocks {
                        prop_assert_eq!(tile.block(i, b).1, ((row + i) * blocks + b + 1) as f32 / 127.0);
                    }
                }
                row += tile.rows;
            }
            prop_assert_eq!(row, rows);
        }
    }

    #[test]
    fn zeros_and_not_a_number_do_not_spread() {
        let mut x = vec![0.0f32; 2 * BLOCK];
        x[40] = f32::NAN;
        let mut q = QuantRows::default();
        q.fill(&x, 2 * BLOCK, Format::Q8);
        assert!(q.tiles().all(|tile| tile.scales.iter().all(|&d| d == 0.0)));
    }
}
