//! Weight matrices in the layout that the kernels read.
//!
//! Quantised rows are interleaved eight at a time into *panels*. Within a
//! panel and a block of 32 columns, weights stand in quads of four columns:
//! row 0's four, row 1's four, … so that a 16-byte vector holds four rows and
//! one lane of the sum belongs to one row: no sum runs across lanes, the
//! activation is one splat shared by every row, and memory is read in order.
//!
//! ```text
//! Q8: block = 8 quads x 8 rows x 4 columns           = 256 bytes
//! Q4: block = 4 quads x 8 rows x 4 columns, 2 a byte = 128 bytes
//!     (low nibble: columns 4 q.., high nibble: columns 16 + 4 q..)
//! ```

use half::f16;

use super::quant::BLOCK;
use crate::backend::{BackendError, Dtype};

/// Rows interleaved in a panel.
pub const PANEL: usize = 8;

/// Bytes of one GGUF block.
const Q8_0_BYTES: usize = 2 + BLOCK;
const Q4_0_BYTES: usize = 2 + BLOCK / 2;

/// A weight matrix (rows, cols).
#[derive(Debug)]
pub enum Matrix {
    Dense(Dense),
    Q8(Panels),
    Q4(Panels),
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
    /// (panels, blocks, bytes of a panel's block), in the layout above.
    pub quants: Vec<u8>,
    /// (panels, blocks, PANEL)
    pub scales: Vec<f32>,
}

impl Dtype {
    /// Bytes of a (rows, cols) matrix.
    pub fn matrix_bytes(self, rows: usize, cols: usize) -> usize {
        match self {
            Self::F32 => rows * cols * 4,
            Self::F16 => rows * cols * 2,
            Self::Q8_0 => rows * (cols / BLOCK) * Q8_0_BYTES,
            Self::Q4_0 => rows * (cols / BLOCK) * Q4_0_BYTES,
        }
    }
}

impl Matrix {
    /// Repacks a GGUF tensor's bytes.
    pub fn new(rows: usize, cols: usize, dtype: Dtype, bytes: &[u8]) -> Result<Self, BackendError> {
        if matches!(dtype, Dtype::Q8_0 | Dtype::Q4_0) && !cols.is_multiple_of(BLOCK) {
            return Err(BackendError::Columns { cols });
        }
        let expected = dtype.matrix_bytes(rows, cols);
        if bytes.len() != expected {
            return Err(BackendError::MatrixBytes { rows, cols, dtype, expected, found: bytes.len() });
        }
        Ok(match dtype {
            Dtype::F32 => Self::Dense(Dense { rows, cols, values: f32_values(bytes) }),
            Dtype::F16 => Self::Dense(Dense { rows, cols, values: f16_values(bytes) }),
            Dtype::Q8_0 => Self::Q8(pack(rows, cols, bytes, Q8_0_BYTES, 256, |quants, row, block| {
                for (column, &q) in quants.iter().enumerate() {
                    block[(column / 4) * 32 + row * 4 + column % 4] = q;
                }
            })),
            Dtype::Q4_0 => Self::Q4(pack(rows, cols, bytes, Q4_0_BYTES, 128, |quants, row, block| {
                for (column, &q) in quants.iter().enumerate() {
                    block[(column / 4) * 32 + row * 4 + column % 4] = q;
                }
            })),
        })
    }

    /// (rows, cols)
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(m) => (m.rows, m.cols),
            Self::Q8(m) | Self::Q4(m) => (m.rows, m.cols),
        }
    }

    /// The memory that holds the weights, in the order the kernels read it:
    /// quantised bytes, then floats (scales, or the weights themselves).
    pub fn memory(&self) -> (&[u8], &[f32]) {
        match self {
            Self::Dense(m) => (&[], &m.values),
            Self::Q8(m) | Self::Q4(m) => (&m.quants, &m.scales),
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
            Self::Q8(m) => {
                for (column, out) in out.iter_mut().enumerate() {
                    let (at, scale) = m.locate(n, column, 256);
                    *out += f32::from(m.quants[at] as i8) * scale;
                }
            }
            Self::Q4(m) => {
                for (column, out) in out.iter_mut().enumerate() {
                    let half = column % BLOCK / 16;
                    let (at, scale) = m.locate(n, column - 16 * half, 128);
                    *out += f32::from((m.quants[at] >> (4 * half) & 15) as i8 - 8) * scale;
                }
            }
        }
    }
}

impl Panels {
    /// Index of a weight's byte, and its scale.
    fn locate(&self, row: usize, column: usize, block_bytes: usize) -> (usize, f32) {
        let block = row / PANEL * (self.cols / BLOCK) + column / BLOCK;
        let column = column % BLOCK;
        let at = block * block_bytes + column / 4 * 32 + row % PANEL * 4 + column % 4;
        (at, self.scales[block * PANEL + row % PANEL])
    }
}

fn pack(
    rows: usize,
    cols: usize,
    bytes: &[u8],
    gguf_block_bytes: usize,
    block_bytes: usize,
    interleave: impl Fn(&[u8], usize, &mut [u8]),
) -> Panels {
    let blocks = cols / BLOCK;
    let panels = rows.div_ceil(PANEL);
    let mut quants = vec![0; panels * blocks * block_bytes];
    let mut scales = vec![0.0; panels * blocks * PANEL];
    for (index, source) in bytes.chunks_exact(gguf_block_bytes).enumerate() {
        let (row, block) = (index / blocks, index % blocks);
        let at = row / PANEL * blocks + block;
        scales[at * PANEL + row % PANEL] = f16::from_le_bytes([source[0], source[1]]).to_f32();
        interleave(&source[2..], row % PANEL, &mut quants[at * block_bytes..][..block_bytes]);
    }
    Panels { rows, cols, quants, scales }
}

/// Little-endian f32 bytes as values.
pub fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Little-endian f16 bytes as values.
pub fn f16_values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
}
