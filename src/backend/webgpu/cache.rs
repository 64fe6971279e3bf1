//! Keys and values on the GPU. The memory belongs to the backend and serves the
//! next request too: it is taken anew only where it is too small, and then as much as is
//! asked for. A request's start and drafts share a number of tokens, so those to come seldom
//! need more.

use super::{device::Device, tape::PlaceWords};
use crate::backend::{Batch, CacheShape, Place, Sequence};

/// Stands for `Memory`, which holds one request's keys and values at a time.
#[derive(Debug)]
pub struct Cache;

/// (L) times keys and values, each (slots, C).
#[derive(Debug, Default)]
pub struct Memory {
    pub layers: Vec<(wgpu::Buffer, wgpu::Buffer)>,
    /// H: what a row's channels are cut into.
    pub heads: usize,
    /// Values that each has room for.
    room: usize,
    shape: Option<CacheShape>,
}

impl Memory {
    /// Makes room for a request; calls `forget` where memory is to be taken anew, before the
    /// old is given back: none may be held besides.
    pub fn reserve(
        &mut self,
        device: &Device,
        layers: usize,
        channels: usize,
        shape: CacheShape,
        forget: impl FnOnce(),
    ) {
        self.shape = Some(shape);
        let values = shape.slots().saturating_mul(channels);
        if self.layers.len() == layers && self.room >= values {
            return;
        }
        forget();
        // The old ones go first: two at once would double the peak.
        for (keys, values) in self.layers.drain(..) {
            keys.destroy();
            values.destroy();
        }
        self.room = values;
        let buffer = |label| device.buffer(label, 4 * self.room as u64, wgpu::BufferUsages::STORAGE);
        self.layers = (0..layers).map(|_| (buffer("keys"), buffer("values"))).collect();
    }

    /// Most slots that a row of the request sees.
    pub fn visible(&self) -> usize {
        self.shape.map_or(0, |shape| shape.prompt + shape.tail)
    }

    /// Each row's token, where it stands, and what it sees.
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
