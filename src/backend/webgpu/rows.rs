//! Activations on the GPU: as floats, plus a quantised copy if a kernel produced one.

use super::device::Device;
use crate::dtype::BLOCK;

/// Minimum number of rows allocated, and a multiple of what kernels compute together.
const ROWS_AT_LEAST: usize = 64;

/// Activations (rows, width) f32.
#[derive(Debug, Default)]
pub struct Rows {
    pub rows: usize,
    pub width: usize,
    /// Rows per tile of the quantised copy; `None` if there is none.
    pub tile: Option<u32>,
    buffers: Option<Buffers>,
    /// Capacity of the buffers, in values.
    room: usize,
}

/// The buffers of some rows.
#[derive(Debug, Clone)]
pub struct Buffers {
    /// (rows, width)
    pub values: wgpu::Buffer,
    /// (tiles, width / 4, tile)
    pub words: wgpu::Buffer,
    /// (tiles, width / 32, tile)
    pub scales: wgpu::Buffer,
}

/// Returns how many rows are multiplied together: one, or four as a vector.
pub fn tile(rows: usize) -> u32 {
    if rows == 1 { 1 } else { 4 }
}

impl Rows {
    /// Sets the shape, with room for at least `most` rows. Returns true if the buffers were
    /// reallocated; the values are then unspecified.
    pub fn shape(&mut self, device: &Device, rows: usize, width: usize, most: usize) -> bool {
        self.rows = rows;
        self.width = width;
        self.tile = None;
        let most = rows.max(most).next_multiple_of(ROWS_AT_LEAST);
        let need = most * width;
        if need <= self.room && self.buffers.is_some() {
            return false;
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = |label, values: usize| device.buffer(label, 4 * values as u64, usage);
        let buffers = Buffers {
            values: buffer("activations", need),
            words: buffer("quantised activations", need / 4 + 4),
            scales: buffer("activation scales", need / BLOCK + 4),
        };
        if let Some(Buffers { values, words, scales }) = self.buffers.replace(buffers) {
            [values, words, scales].into_iter().for_each(|small| device.retire(small));
        }
        self.room = need;
        true
    }

    /// Returns the buffers; `None` before the first call to [`Rows::shape`].
    pub fn buffers(&self) -> Option<&Buffers> {
        self.buffers.as_ref()
    }
}
