//! Weight matrices in the layout that the kernels read.
//!
//! Quantised rows are interleaved eight at a time into *panels*. Within a
//! panel and a block of 32 columns, weights stand in quads of four columns:
//! row 0's four, row 1's four, … so that a 16-byte vector holds four rows and
//! one lane of the sum belongs to one row: no sum runs across lanes, the
//! activation is one splat shared by every row, and memory is read in order.
//!
//! ```text
//! block = 8 scales (f32), then quads
//! Q8: 8 quads x 8 rows x 4 columns           = 256 bytes
//! U8: the same, 128 above the signed bytes
//! Q4: 4 quads x 8 rows x 4 columns, 2 a byte = 128 bytes
//!     (low nibble: columns 4 q.., high nibble: columns 16 + 4 q..)
//! ```
//!
//! A block's scales stand before it, so that a panel is one stream of memory.

use bytemuck::{Pod, Zeroable};

use super::{
    panels::{Format, parts},
    quant::BLOCK,
    scalar, vector,
};
use crate::{
    backend::{BackendError, arriving::ArrivingRows},
    dtype::Dtype,
};

/// Rows interleaved in a panel.
pub const PANEL: usize = 8;

/// Bytes as kernels load them: where they begin, so that no load goes across two lines
/// of the cache.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C, align(32))]
pub(super) struct Aligned([u8; 32]);

/// A weight matrix (rows, cols).
#[derive(Debug)]
pub enum Matrix {
    Dense(Dense),
    Quantised(Panels),
}

/// Row-major f32.
#[derive(Debug)]
pub struct Dense {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f32>,
}

/// Interleaved quantised rows; a last panel that is not full is padded with zeros.
#[derive(Debug)]
pub struct Panels {
    pub rows: usize,
    pub cols: usize,
    pub format: Format,
    /// (panels, blocks, [`Format::block_bytes`]), in the layout above.
    blocks: Vec<Aligned>,
}

impl Matrix {
    /// (rows, cols)
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(m) => (m.rows, m.cols),
            Self::Quantised(m) => (m.rows, m.cols),
        }
    }

    /// The memory that holds the weights, in the order the kernels read it:
    /// as bytes (quantised, with their scales) or as floats.
    pub fn memory(&self) -> (&[u8], &[f32]) {
        match self {
            Self::Dense(m) => (&[], &m.values),
            Self::Quantised(m) => (m.bytes(), &[]),
        }
    }

    /// Row n as f32, added into out (cols).
    pub fn add_row(&self, n: usize, out: &mut [f32]) {
        match self {
            Self::Dense(m) => {
                for (out, w) in out.iter_mut().zip(&m.values[n * m.cols..]) {
                    *out += w;
                }
            }
            Self::Quantised(m) => {
                let blocks = m.range(n / PANEL..n / PANEL + 1).chunks_exact(m.format.block_bytes());
                for (block, out) in blocks.zip(out.as_chunks_mut::<BLOCK>().0) {
                    let (scales, quants) = parts(block);
                    for (k, out) in out.iter_mut().enumerate() {
                        *out += scalar::weight(m.format, quants, n % PANEL, k) as f32 * scales[n % PANEL];
                    }
                }
            }
        }
    }
}

impl Panels {
    /// Panels in all.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.blocks)
    }

    /// A range of panels.
    pub fn range(&self, panels: std::ops::Range<usize>) -> &[u8] {
        let bytes = self.cols / BLOCK * self.format.block_bytes();
        &self.bytes()[panels.start * bytes..panels.end * bytes]
    }
}

/// Takes a GGUF tensor's bytes as they arrive and appends panel after panel:
/// no second copy of a matrix is ever held, and no memory written twice.
#[derive(Debug)]
pub struct Packer {
    matrix: Matrix,
    dtype: Dtype,
    arriving: ArrivingRows,
}

impl Packer {
    /// A packer for a (rows, cols) matrix. Its memory is taken at once, which
    /// can fail where there is too little.
    pub fn new(rows: usize, cols: usize, dtype: Dtype) -> Result<Self, BackendError> {
        let too_large = || BackendError::Memory { rows, cols };
        let cells = rows.checked_mul(cols).ok_or_else(too_large)?;
        let matrix = match dtype.format() {
            None => Matrix::Dense(Dense { rows, cols, values: room(cells).ok_or_else(too_large)? }),
            Some(_) if !cols.is_multiple_of(BLOCK) => return Err(BackendError::Columns { cols }),
            Some(format) => {
                let blocks = rows.div_ceil(PANEL).checked_mul(cols / BLOCK).ok_or_else(too_large)?;
                let bytes = blocks.checked_mul(format.block_bytes()).ok_or_else(too_large)?;
                let blocks = room(bytes / size_of::<Aligned>()).ok_or_else(too_large)?;
                Matrix::Quantised(Panels { rows, cols, format, blocks })
            }
        };
        Ok(Self { matrix, dtype, arriving: ArrivingRows::new(rows, cols, dtype, PANEL) })
    }

    /// Takes the next bytes of the tensor.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        let Self { matrix, dtype, arriving } = self;
        arriving.push(bytes, |_, rows| match matrix {
            Matrix::Dense(m) if *dtype == Dtype::F16 => m.values.extend(f16s(rows)),
            Matrix::Dense(m) => m.values.extend(f32s(rows)),
            Matrix::Quantised(m) => m.append(rows),
        })
    }

    /// The matrix, if every byte of it came.
    pub fn finish(self) -> Result<Matrix, BackendError> {
        self.arriving.finish()?;
        Ok(self.matrix)
    }
}

impl Panels {
    /// Appends the panel of these rows' bytes, at most [`PANEL`] rows; those that it
    /// has not are zeros.
    fn append(&mut self, rows: &[u8]) {
        match self.format {
            Format::Q8 => self.append_blocks::<{ 2 + BLOCK }>(rows, 0),
            // The upper bit of a signed byte, flipped, is 128 more.
            Format::U8 => self.append_blocks::<{ 2 + BLOCK }>(rows, 128),
            Format::Q4 => self.append_blocks::<{ 2 + BLOCK / 2 }>(rows, 0),
        }
    }

    /// A block is the scale (f16), then weights: in every format four bytes of a row
    /// in each 32 of the panel, with the bits of `flip` flipped.
    fn append_blocks<const BYTES: usize>(&mut self, rows: &[u8], flip: u8) {
        let blocks = self.cols / BLOCK;
        let nothing = [0; BYTES];
        let mut rows = rows.as_chunks::<BYTES>().0.chunks_exact(blocks.max(1));
        let rows: [&[[u8; BYTES]]; PANEL] = std::array::from_fn(|_| rows.next().unwrap_or_default());
        for block in 0..blocks {
            let sources = rows.map(|row| row.get(block).unwrap_or(&nothing));
            let scales = sources.map(|source| f16_to_f32(u16::from_le_bytes([source[0], source[1]])));
            self.blocks.push(bytemuck::cast(scales));
            for part in 0..(BYTES - 2) / 16 {
                let parts = sources.map(|source| source[2..].as_chunks().0.get(part).unwrap_or(&[0; 16]));
                // One by one: together they would be copied by a call.
                vector::interleaved(parts, flip).into_iter().for_each(|quad| self.blocks.push(Aligned(quad)));
            }
        }
    }
}

/// The f16 with these bits. A file has millions of them, and wasm no instruction:
/// with its exponent moved up, every finite one is a product (Giesen, "Half to float
/// done quick", 2012). Without branches, for eight are converted together.
#[inline(always)]
fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(bits & 0x7fff);
    let finite = (f32::from_bits(magnitude << 13) * TWO_TO_112).to_bits();
    // An infinity, or a NaN, which becomes a quiet one.
    let quiet = if magnitude > 0x7c00 { 1 << 22 } else { 0 };
    let other = magnitude << 13 | 0x7f80_0000 | quiet;
    let value = if magnitude < 0x7c00 { finite } else { other };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

/// Room for n values, or `None` where there is no memory for them.
pub(super) fn room<T>(n: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(n).ok()?;
    Some(values)
}

impl Dtype {
    /// How a panel holds it; `None`: as floats.
    fn format(self) -> Option<Format> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Q8_0 => Some(vector::format8()),
            Self::Q4_0 => Some(Format::Q4),
        }
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<2>().0.iter().map(|b| f16_to_f32(u16::from_le_bytes(*b)))
}

/// Little-endian f32 bytes as values.
pub fn f32_values(bytes: &[u8]) -> Vec<f32> {
    f32s(bytes).collect()
}

/// Little-endian f16 bytes as values.
pub fn f16_values(bytes: &[u8]) -> Vec<f32> {
    f16s(bytes).collect()
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_f16_is_the_librarys() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits).to_f32();
            assert_eq!(f16_to_f32(bits).to_bits(), expected.to_bits(), "{bits:#x}");
        }
    }
}
