//! Weight matrices in the layout that the kernels read.
//!
//! Quantised rows are interleaved eight at a time into *panels*. Within a panel, each block of 32
//! columns is stored in quads of four columns: row 0's four, row 1's four, and so on, so that a
//! 16-byte vector holds four rows and a lane of the sum belongs to one row. No sum runs across
//! lanes, an activation is one splat shared by every row, and memory is read in order.
//!
//! ```text
//! block = 8 scales (f32), then quads
//! Q8: 8 quads x 8 rows x 4 columns           = 256 bytes
//! U8: the same, 128 above the signed bytes
//! Q4: 4 quads x 8 rows x 4 columns, 2 a byte = 128 bytes
//!     (low nibble: columns 4 q.., high nibble: columns 16 + 4 q..)
//! ```
//!
//! A block's scales precede it, so that a panel is one stream of memory.

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

/// 32 bytes, aligned so that no vector load crosses a cache line.
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

/// Interleaved quantised rows; an incomplete last panel is padded with zeros.
#[derive(Debug)]
pub struct Panels {
    pub rows: usize,
    pub cols: usize,
    pub format: Format,
    /// (panels, blocks, [`Format::block_bytes`]), in the module's layout.
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

    /// The memory that holds the weights, in the order in which kernels read it: bytes (quantised
    /// weights with their scales) or floats; the other slice is empty.
    pub fn memory(&self) -> (&[u8], &[f32]) {
        match self {
            Self::Dense(m) => (&[], &m.values),
            Self::Quantised(m) => (m.bytes(), &[]),
        }
    }

    /// Adds row n, as f32, to out (cols).
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
    /// The number of panels.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.blocks)
    }

    /// The bytes of a range of panels.
    pub fn range(&self, panels: std::ops::Range<usize>) -> &[u8] {
        let bytes = self.cols / BLOCK * self.format.block_bytes();
        &self.bytes()[panels.start * bytes..panels.end * bytes]
    }
}

/// Takes a GGUF tensor's bytes as they arrive and appends one panel after the other: there is never
/// a second copy of the matrix, and no memory is written twice.
#[derive(Debug)]
pub struct Packer {
    matrix: Matrix,
    dtype: Dtype,
    arriving: ArrivingRows,
}

impl Packer {
    /// Allocates the memory of a (rows, cols) matrix.
    ///
    /// # Errors
    /// There is not enough memory, or the matrix is quantised and cols is not a multiple of
    /// [`BLOCK`].
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
    ///
    /// # Errors
    /// There are more bytes than the matrix has.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        let Self { matrix, dtype, arriving } = self;
        arriving.push(bytes, |_, rows| match matrix {
            Matrix::Dense(m) if *dtype == Dtype::F16 => m.values.extend(f16s(rows)),
            Matrix::Dense(m) => m.values.extend(f32s(rows)),
            Matrix::Quantised(m) => m.append(rows),
        })
    }

    /// The complete matrix.
    ///
    /// # Errors
    /// Bytes are missing.
    pub fn finish(self) -> Result<Matrix, BackendError> {
        self.arriving.finish()?;
        Ok(self.matrix)
    }
}

impl Panels {
    /// Appends one panel: the bytes of at most [`PANEL`] rows; missing rows become zeros.
    fn append(&mut self, rows: &[u8]) {
        match self.format {
            Format::Q8 => self.append_blocks::<{ 2 + BLOCK }, 9>(rows, 0),
            // Flipping the top bit of a signed byte adds 128.
            Format::U8 => self.append_blocks::<{ 2 + BLOCK }, 9>(rows, 128),
            Format::Q4 => self.append_blocks::<{ 2 + BLOCK / 2 }, 5>(rows, 0),
        }
    }

    /// A row's block is its scale (f16), then its weights: BYTES in all. A panel's is LINES: the
    /// scales, then four bytes of every row in each, with the bits of `flip` flipped.
    fn append_blocks<const BYTES: usize, const LINES: usize>(&mut self, rows: &[u8], flip: u8) {
        const { assert!(BYTES == 2 + 4 * (LINES - 1) && LINES % 4 == 1) };
        let blocks = self.cols / BLOCK;
        let missing = vec![[0; BYTES]; if rows.len() < PANEL * blocks * BYTES { blocks } else { 0 }];
        let mut rows = rows.as_chunks::<BYTES>().0.chunks_exact(blocks.max(1));
        let rows: [&[[u8; BYTES]]; PANEL] = std::array::from_fn(|_| rows.next().unwrap_or(&missing));
        assert!(rows.iter().all(|row| row.len() == blocks));
        // Pushes would look for room a hundred times per panel.
        self.blocks.reserve(blocks * LINES);
        let room = &mut self.blocks.spare_capacity_mut()[..blocks * LINES];
        for (block, lines) in room.as_chunks_mut::<LINES>().0.iter_mut().enumerate() {
            let sources = rows.map(|row| &row[block]);
            let scale = |source: &[u8; BYTES]| u16::from_le(bytemuck::pod_read_unaligned(&source[..2]));
            let scales = sources.map(|source| f16_to_f32(scale(source)));
            let (first, lines) = lines.split_at_mut(1);
            first[0].write(bytemuck::cast(scales));
            for (part, lines) in lines.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let parts = sources.map(|source| &source[2..].as_chunks().0[part]);
                for (line, quad) in lines.iter_mut().zip(vector::interleaved(parts, flip)) {
                    line.write(Aligned(quad));
                }
            }
        }
        // SAFETY: the loop has written every line: each block's first, and the rest by fours.
        unsafe { self.blocks.set_len(self.blocks.len() + blocks * LINES) };
    }
}

/// The f16 with these bits. A file has millions of them, and wasm has no instruction for it: with
/// its exponent moved up, every finite value is one product (Giesen, "Half to float done quick",
/// 2012). Branch-free, because eight are converted together.
#[inline(always)]
fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    /// What an infinity becomes by that product; a NaN becomes more.
    const BEYOND: f32 = 65536.0;
    let scaled = f32::from_bits(u32::from(bits & 0x7fff) << 13) * TWO_TO_112;
    let exponent = if scaled >= BEYOND { 0xff << 23 } else { 0 };
    let quiet = if scaled > BEYOND { 1 << 22 } else { 0 };
    let sign = u32::from(bits & 0x8000) << 16;
    f32::from_bits(scaled.to_bits() | exponent | quiet | sign)
}

/// An empty vector with capacity for n values; `None` if there is not enough memory.
pub(super) fn room<T>(n: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(n).ok()?;
    Some(values)
}

impl Dtype {
    /// How panels store this dtype; `None` if it is kept as floats.
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
