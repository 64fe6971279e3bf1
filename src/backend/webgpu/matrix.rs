//! Weight matrices on the GPU, and their upload from a GGUF tensor's bytes.
//!
//! Quantised rows are interleaved 32 at a time into *panels*, so that adjacent invocations, one
//! per output, read adjacent words:
//!
//! ```text
//! weights: (panels, blocks, 2, 32 rows, 16 bytes)  Q8: columns 16 h .. of a row
//!          (panels, blocks,    32 rows, 16 bytes)  Q4: nibbles as in GGUF
//! scales:  (panels, blocks, 32 rows) f16           as in GGUF
//! ```
//!
//! For quads (`kernels/quads.wgsl`) a panel has four rows, in groups of eight panels:
//!
//! ```text
//! weights: (panels, blocks, 2 or 1, 4 rows, 16 bytes)
//! scales:  (panels, blocks, 4 rows) f32
//! ```
//!
//! There, word s of row r's 16 bytes is the file's word s ^ (r % 4), and all fields of a word but
//! the uppermost are biased: bytes by 128, nibbles by 8, as they are in GGUF.
//!
//! A quantised matrix takes as many bytes as in the file (for quads, two more per scale); any
//! other takes four per value. A matrix larger than the maximum binding is split into pieces of
//! whole panels.

use half::f16;

use super::device::Device;
use crate::{
    backend::{BackendError, arriving::ArrivingRows},
    dtype::{BLOCK, Dtype},
};

/// Rows per panel.
pub const PANEL: usize = 32;

/// How weights are stored on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Row-major f32.
    Dense,
    Q8,
    Q4,
}

/// A weight matrix (rows, cols).
#[derive(Debug)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub format: Format,
    pub pieces: Vec<Piece>,
}

/// Consecutive rows of a matrix, in buffers of their own.
#[derive(Debug)]
pub struct Piece {
    /// The first row, a multiple of [`PANEL`].
    pub first: usize,
    pub count: usize,
    pub weights: wgpu::Buffer,
    /// Unused for [`Format::Dense`].
    pub scales: wgpu::Buffer,
}

/// Takes a tensor's bytes as they arrive and uploads them a panel at a time.
#[derive(Debug)]
pub struct Packer {
    arriving: ArrivingRows,
    panel: UnderWay,
}

/// A matrix, and the panel being filled.
#[derive(Debug)]
struct UnderWay {
    matrix: Matrix,
    dtype: Dtype,
    quads: bool,
    weights: Vec<u8>,
    scales: Vec<u8>,
}

impl Format {
    fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 | Dtype::F16 => Self::Dense,
            Dtype::Q8_0 => Self::Q8,
            Dtype::Q4_0 => Self::Q4,
        }
    }

    /// Returns the bytes of the weights and of the scales of [`PANEL`] rows.
    fn panel_bytes(self, cols: usize, quads: bool) -> Option<(usize, usize)> {
        let cells = cols.checked_mul(PANEL)?;
        let scales = cells / BLOCK * if quads { 4 } else { 2 };
        Some(match self {
            Self::Dense => (cells.checked_mul(4)?, 0),
            Self::Q8 => (cells, scales),
            Self::Q4 => (cells / 2, scales),
        })
    }
}

/// Destroys the buffers: in a browser, a dropped buffer lives until garbage collection.
impl Drop for Piece {
    fn drop(&mut self) {
        self.weights.destroy();
        self.scales.destroy();
    }
}

impl Matrix {
    /// Returns its size on the GPU in bytes.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|p| p.weights.size() + p.scales.size()).sum()
    }
}

impl Packer {
    /// Allocates the matrix; `quads` selects the layout for quads.
    pub fn new(
        device: &Device,
        rows: usize,
        cols: usize,
        dtype: Dtype,
        quads: bool,
    ) -> Result<Self, BackendError> {
        let format = Format::of(dtype);
        if format != Format::Dense && !cols.is_multiple_of(BLOCK) {
            return Err(BackendError::Columns { cols });
        }
        let too_large = || BackendError::Memory { rows, cols };
        let (weights, scales) = format.panel_bytes(cols, quads).ok_or_else(too_large)?;
        let panels = usize::try_from(device.max_binding_bytes).unwrap_or(usize::MAX) / weights.max(1);
        if panels == 0 || rows.checked_mul(cols).is_none() {
            return Err(too_large());
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let mut pieces = Vec::new();
        for first in (0..rows).step_by(panels.saturating_mul(PANEL)) {
            let count = (rows - first).min(panels.saturating_mul(PANEL));
            let here = count.div_ceil(PANEL);
            pieces.push(Piece {
                first,
                count,
                weights: device.buffer("weights", (here * weights) as u64, usage),
                scales: device.buffer("scales", (here * scales) as u64, usage),
            });
        }
        let panel = UnderWay {
            matrix: Matrix { rows, cols, format, pieces },
            dtype,
            quads,
            weights: vec![0; weights],
            scales: vec![0; scales],
        };
        Ok(Self { arriving: ArrivingRows::new(rows, cols, dtype, 1), panel })
    }

    /// Returns how the matrix will be stored.
    pub fn format(&self) -> Format {
        self.panel.matrix.format
    }

    /// Takes the next bytes of the tensor.
    pub fn push(&mut self, device: &Device, bytes: &[u8]) -> Result<(), BackendError> {
        let Self { arriving, panel } = self;
        arriving.push(bytes, |row, bytes| panel.place(device, row, bytes))
    }

    /// Returns the matrix.
    ///
    /// # Errors
    /// If bytes are missing.
    pub fn finish(self) -> Result<Matrix, BackendError> {
        self.arriving.finish()?;
        Ok(self.panel.matrix)
    }
}

impl UnderWay {
    /// Copies the bytes of a row into its panel, and uploads the panel once complete.
    fn place(&mut self, device: &Device, index: usize, bytes: &[u8]) {
        let row = index % PANEL;
        match self.dtype {
            Dtype::F32 => self.weights[row * bytes.len()..][..bytes.len()].copy_from_slice(bytes),
            Dtype::F16 => {
                let out = self.weights[row * bytes.len() * 2..][..bytes.len() * 2].as_chunks_mut::<4>().0;
                for (out, half) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *out = f16::from_le_bytes(*half).to_f32().to_le_bytes();
                }
            }
            Dtype::Q8_0 | Dtype::Q4_0 if self.quads => self.place_in_quads(row, bytes),
            Dtype::Q8_0 | Dtype::Q4_0 => {
                let vectors = if self.dtype == Dtype::Q8_0 { 2 } else { 1 };
                let sources = bytes.chunks_exact(self.dtype.matrix_bytes(1, BLOCK));
                let weights = self.weights.chunks_exact_mut(vectors * PANEL * 16);
                let scales = self.scales.chunks_exact_mut(PANEL * 2);
                for ((source, weights), scales) in sources.zip(weights).zip(scales) {
                    let (scale, values) = source.split_at(2);
                    scales[row * 2..][..2].copy_from_slice(scale);
                    for (vector, values) in values.chunks_exact(16).enumerate() {
                        weights[(vector * PANEL + row) * 16..][..16].copy_from_slice(values);
                    }
                }
            }
        }
        if row + 1 == PANEL || index + 1 == self.matrix.rows {
            self.send(device, index);
        }
    }

    /// Copies the quantised bytes of a row into its panel of four.
    fn place_in_quads(&mut self, row: usize, bytes: &[u8]) {
        let (vectors, bias) = match self.dtype {
            Dtype::Q8_0 => (2, 0x0080_8080),
            _ => (1, 0x8000_0000),
        };
        let blocks = self.matrix.cols / BLOCK;
        let (panel, member) = (row / 4, row % 4);
        for (block, source) in bytes.chunks_exact(self.dtype.matrix_bytes(1, BLOCK)).enumerate() {
            let (scale, values) = source.split_at(2);
            let at = panel * blocks + block;
            let scale = f16::from_le_bytes([scale[0], scale[1]]).to_f32();
            self.scales[(at * 4 + member) * 4..][..4].copy_from_slice(&scale.to_le_bytes());
            for (vector, values) in values.chunks_exact(16).enumerate() {
                let out = &mut self.weights[((at * vectors + vector) * 4 + member) * 16..][..16];
                let words = values.as_chunks::<4>().0;
                for (s, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *out = (u32::from_le_bytes(words[s ^ member]) ^ bias).to_le_bytes();
                }
            }
        }
    }

    /// Uploads the panel whose last row is `last`.
    fn send(&mut self, device: &Device, last: usize) {
        if let Some(piece) = self.matrix.pieces.iter().find(|p| (p.first..p.first + p.count).contains(&last))
        {
            let panel = ((last - piece.first) / PANEL) as u64;
            let at = |bytes: &[u8]| panel * bytes.len() as u64;
            device.queue.write_buffer(&piece.weights, at(&self.weights), &self.weights);
            if !self.scales.is_empty() {
                device.queue.write_buffer(&piece.scales, at(&self.scales), &self.scales);
            }
        }
        self.weights.fill(0);
        self.scales.fill(0);
    }
}
