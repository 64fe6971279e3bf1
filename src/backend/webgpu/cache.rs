//! The KV cache on the GPU. Its buffers belong to the backend and are reused by the next request.
//! They are reallocated only when too small, to exactly the size requested: prompt and drafts
//! share one token budget, so later requests seldom need more.

use super::{device::Device, tape::PlaceWords};
use crate::backend::{Batch, CacheShape, Place, Sequence};

/// Stands for `Memory`, which belongs to the backend and holds one request's keys and values at a
/// time.
#[derive(Debug)]
pub struct Cache;

/// Keys and values of each of L layers, each (slots, C).
#[derive(Debug, Default)]
pub struct Memory {
    pub layers: Vec<(wgpu::Buffer, wgpu::Buffer)>,
    /// H: the number of heads that a row's channels are split into.
    pub heads: usize,
    /// Capacity of each buffer, in values.
    room: usize,
    shape: Option<CacheShape>,
}

impl Memory {
    /// Makes room for a request. If buffers must be reallocated, `drop_bind_groups` is called
    /// first: it must drop every other reference to the old ones.
    pub fn reserve(
        &mut self,
        device: &Device,
        layers: usize,
        channels: usize,
        shape: CacheShape,
        drop_bind_groups: impl FnOnce(),
    ) {
        self.shape = Some(shape);
        let values = shape.slots().saturating_mul(channels);
        if self.layers.len() == layers && self.room >= values {
            return;
        }
        drop_bind_groups();
        // Free the old buffers first: holding both would double the peak.
        for (keys, values) in self.layers.drain(..) {
            keys.destroy();
            values.destroy();
        }
        self.room = values;
        let buffer = |label| device.buffer(label, 4 * self.room as u64, wgpu::BufferUsages::STORAGE);
        self.layers = (0..layers).map(|_| (buffer("keys"), buffer("values"))).collect();
    }

    /// Returns the maximum number of slots that a row of the request attends to.
    pub fn visible(&self) -> usize {
        self.shape.map_or(0, |shape| shape.prompt + shape.tail)
    }

    /// Returns each row's token, its place, and the slots that it attends to.
    pub fn places(&self, batch: &Batch) -> Vec<PlaceWords> {
        let Some(shape) = self.shape else { return Vec::new() };
        let words = |(&token, &place): (&u32, &Place)| {
            let slot = shape.slot(place) as u32;
            let (prefix, start) = match place.sequence {
                Sequence::Prompt => (slot + 1, slot + 1),
                Sequence::Draft(d) => (shape.prompt as u32, (shape.prompt + d * shape.tail) as u32),
            };
            PlaceWords { token, position: place.position as u32, slot, prefix, start, pick: 0 }
        };
        batch.tokens.iter().zip(&batch.places).map(words).collect()
    }
}
