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

use super::{panels::Format, quant::BLOCK, scalar};
use crate::backend::{BackendError, Dtype, arriving::ArrivingRows};

/// Rows interleaved in a panel.
pub const PANEL: usize = 8;

/// Most quads of a panel's block: Q8's.
const MOST_QUADS: usize = PANEL * BLOCK / 4;

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
    quants: Vec<u8>,
    /// (panels, blocks, PANEL)
    scales: Vec<f32>,
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
    /// quantised bytes, then floats (scales, or the weights themselves).
    pub fn memory(&self) -> (&[u8], &[f32]) {
        match self {
            Self::Dense(m) => (&[], &m.values),
            Self::Quantised(m) => (&m.quants, &m.scales),
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
                let (quants, scales) = m.range(n / PANEL..n / PANEL + 1);
                let blocks = quants.chunks_exact(m.format.block_bytes()).zip(scales.as_chunks::<PANEL>().0);
                for ((block, scales), out) in blocks.zip(out.as_chunks_mut::<BLOCK>().0) {
                    for (k, out) in out.iter_mut().enumerate() {
                        *out += scalar::weight(m.format, block, n % PANEL, k) as f32 * scales[n % PANEL];
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

    /// The quants and scales of a range of panels.
    pub fn range(&self, panels: std::ops::Range<usize>) -> (&[u8], &[f32]) {
        let blocks = panels.start * self.cols / BLOCK..panels.end * self.cols / BLOCK;
        let bytes = self.format.block_bytes();
        (
            &self.quants[blocks.start * bytes..blocks.end * bytes],
            &self.scales[blocks.start * PANEL..blocks.end * PANEL],
        )
    }
}

/// Takes a GGUF tensor's bytes as they arrive and appends panel after panel:
/// no second copy of a matrix is ever held, and no memory written twice.
#[derive(Debug)]
pub struct Packer {
    matrix: Matrix,
    dtype: Dtype,
    arriving: ArrivingRows,
    /// Rows of a panel that is not full, as the file has them.
    group: Vec<u8>,
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
                let quants = room(bytes).ok_or_else(too_large)?;
                let scales = room(blocks * PANEL).ok_or_else(too_large)?;
                Matrix::Quantised(Panels { rows, cols, format, quants, scales })
            }
        };
        Ok(Self { matrix, dtype, arriving: ArrivingRows::new(rows, cols, dtype), group: Vec::new() })
    }

    /// Takes the next bytes of the tensor.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        let Self { matrix, dtype, arriving, group } = self;
        arriving.push(bytes, |row, bytes| match matrix {
            Matrix::Dense(m) if *dtype == Dtype::F16 => m.values.extend(f16s(bytes)),
            Matrix::Dense(m) => m.values.extend(f32s(bytes)),
            Matrix::Quantised(m) => {
                group.extend_from_slice(bytes);
                if row % PANEL == PANEL - 1 || row + 1 == m.rows {
                    m.append(group, dtype.matrix_bytes(1, BLOCK));
                    group.clear();
                }
            }
        })
    }

    /// The matrix, if every byte of it came.
    pub fn finish(self) -> Result<Matrix, BackendError> {
        self.arriving.finish()?;
        Ok(self.matrix)
    }
}

impl Panels {
    /// Appends the panel of these rows, in blocks of so many bytes: the scale
    /// (f16), then the weights. Rows that it has not are zeros.
    fn append(&mut self, rows: &[u8], block_bytes: usize) {
        let blocks = self.cols / BLOCK;
        let mut quads = [[0; 4]; MOST_QUADS];
        let quads = &mut quads[..self.format.block_bytes() / 4];
        for block in 0..blocks {
            let mut scales = [0.0; PANEL];
            let sources =
                rows.chunks_exact(blocks * block_bytes).map(|row| &row[block * block_bytes..][..block_bytes]);
            for (r, (source, scale)) in sources.zip(&mut scales).enumerate() {
                *scale = f16::from_le_bytes([source[0], source[1]]).to_f32();
                // Both formats: four bytes of a row in each 32 of the panel.
                for (quads, quad) in
                    quads.as_chunks_mut::<PANEL>().0.iter_mut().zip(source[2..].as_chunks().0)
                {
                    quads[r] = *quad;
                }
            }
            self.quants.extend_from_slice(quads.as_flattened());
            self.scales.extend_from_slice(&scales);
        }
    }
}

/// Room for n values, or `None` where there is no memory for them.
pub(super) fn room<T>(n: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(n).ok()?;
    Some(values)
}

impl Dtype {
    /// Bytes of a (rows, cols) matrix.
    pub fn matrix_bytes(self, rows: usize, cols: usize) -> usize {
        match self {
            Self::F32 => rows * cols * 4,
            Self::F16 => rows * cols * 2,
            Self::Q8_0 => rows * (cols / BLOCK) * (2 + BLOCK),
            Self::Q4_0 => rows * (cols / BLOCK) * (2 + BLOCK / 2),
        }
    }

    /// How a panel holds it; `None`: as floats.
    fn format(self) -> Option<Format> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Q8_0 => Some(Format::Q8),
            Self::Q4_0 => Some(Format::Q4),
        }
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32())
}

/// Little-endian f32 bytes as values.
pub fn f32_values(bytes: &[u8]) -> Vec<f32> {
    f32s(bytes).collect()
}

/// Little-endian f16 bytes as values.
pub fn f16_values(bytes: &[u8]) -> Vec<f32> {
    f16s(bytes).collect()
}
