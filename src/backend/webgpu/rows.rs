//! Activations on the GPU: as floats, and quantised where a kernel made that too.

use super::device::Device;
use crate::dtype::BLOCK;

/// Rows that memory is taken for at least, and a multiple of what kernels
/// compute together.
const ROWS_AT_LEAST: usize = 64;

/// Activations (rows, width) f32.
#[derive(Debug, Default)]
pub struct Rows {
    pub rows: usize,
    pub width: usize,
    /// Rows of a tile of the quantised copy; `None` where there is none.
    pub tile: Option<u32>,
    buffers: Option<Buffers>,
    /// Values that the buffers have room for.
    room: usize,
}

/// The memory of some rows.
#[derive(Debug, Clone)]
pub struct Buffers {
    /// (rows, width)
    pub values: wgpu::Buffer,
    /// (tiles, width / 4, tile)
    pub words: wgpu::Buffer,
    /// (tiles, width / 32, tile)
    pub scales: wgpu::Buffer,
}

/// Rows that are multiplied together: one, or four as a vector.
pub fn tile(rows: usize) -> u32 {
    if rows == 1 { 1 } else { 4 }
}

impl Rows {
    /// Sets the shape, with room for `most` rows; true if memory was taken
    /// anew. Values are unspecified then.
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

    /// Its memory; `None` before the first shape.
    pub fn buffers(&self) -> Option<&Buffers> {
        self.buffers.as_ref()
    }
}
