//! The head's results: all logits, or the largest of each row, selected on the GPU so that little
//! is read back.

use super::{
    device::Device,
    kernel::{Binding, Definitions, Variant},
    tape::Tape,
};
use crate::backend::top::Top;

/// Maximum number of candidates per row.
const CAPACITY: usize = 512;

/// Logits of which one invocation takes the maximum.
const DEPTH: usize = 128;

/// Invocations per workgroup of the selection.
const LANES: usize = 64;

/// Minimum number of maxima per requested candidate: with fewer, the bound lets so many candidates
/// pass that reading all logits costs no more.
const MAXIMA_EACH: usize = 4;

/// Buffers of the selection; they only grow.
#[derive(Debug, Default)]
pub struct Selection {
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    maxima: wgpu::Buffer,
    bounds: wgpu::Buffer,
    found: wgpu::Buffer,
    rows: usize,
    per_row: usize,
}

/// Returns the three kernels of the selection, in order.
pub fn variants() -> [Variant; 3] {
    use Binding::{Read, Shape, Write};
    let definitions = [("LANES", LANES as u32), ("DEPTH", DEPTH as u32), ("CAPACITY", CAPACITY as u32)];
    let definitions = Definitions::of(&definitions, &[]);
    let variant = |name, bindings| Variant { name, bindings, definitions };
    [
        variant("maxima", &[Shape, Read, Write]),
        variant("bound", &[Shape, Read, Write, Write]),
        variant("collect", &[Shape, Read, Read, Write]),
    ]
}

/// Returns the number of maxima of a row of V logits.
fn maxima(vocab: usize) -> usize {
    vocab.div_ceil(LANES * DEPTH) * LANES
}

/// Returns the maximum k for which the k largest of a row of V logits are selected on the GPU.
pub fn max_selected(vocab: usize) -> usize {
    (vocab.div_ceil(DEPTH) / MAXIMA_EACH).min(CAPACITY / 2)
}

impl Selection {
    /// Records the selection of the k largest of each row of logits (rows, V).
    pub fn record(
        &mut self,
        device: &Device,
        tape: &mut Tape,
        logits: &wgpu::Buffer,
        (rows, vocab): (usize, usize),
        k: usize,
    ) {
        let per_row = maxima(vocab);
        let memory = match self.memory.take() {
            Some(memory) if memory.rows >= rows && memory.per_row == per_row => memory,
            small => {
                if let Some(Memory { maxima, bounds, found, .. }) = small {
                    [maxima, bounds, found].into_iter().for_each(|small| device.retire(small));
                }
                tape.drop_bind_groups();
                Memory::new(device, rows.next_power_of_two(), per_row)
            }
        };
        let [to_maxima, to_bounds, to_found] = variants();
        tape.dispatch(
            device,
            &to_maxima,
            &[vocab as u32, per_row as u32],
            &[logits, &memory.maxima],
            (per_row / LANES, rows),
        );
        tape.dispatch(
            device,
            &to_bounds,
            &[per_row as u32, k as u32],
            &[&memory.maxima, &memory.bounds, &memory.found],
            (rows, 1),
        );
        tape.dispatch(
            device,
            &to_found,
            &[vocab as u32],
            &[logits, &memory.bounds, &memory.found],
            (vocab.div_ceil(LANES), rows),
        );
        self.memory = Some(memory);
    }

    /// Returns the buffer of candidates, and the bytes that `rows` rows take in it.
    pub fn found(&self, rows: usize) -> Option<(&wgpu::Buffer, u64)> {
        self.memory.as_ref().map(|m| (&m.found, 4 * (rows * (1 + 2 * CAPACITY)) as u64))
    }
}

impl Memory {
    fn new(device: &Device, rows: usize, per_row: usize) -> Self {
        let buffer = |words: usize| {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
            device.buffer("candidates", 4 * words as u64, usage)
        };
        Self {
            maxima: buffer(rows * per_row),
            bounds: buffer(rows),
            found: buffer(rows * (1 + 2 * CAPACITY)),
            rows,
            per_row,
        }
    }
}

/// Returns the k largest of each row from the candidates that the GPU found; `None` if a row had
/// more candidates than fit.
pub fn candidates(words: &[u32], k: usize) -> Option<Vec<Vec<(u32, f32)>>> {
    let mut top = Top::default();
    let row = |row: &[u32]| {
        let count = *row.first()? as usize;
        let pairs = row.get(1..)?.as_chunks::<2>().0.get(..count)?;
        top.restart(k);
        for &[token, logit] in pairs {
            top.take(token as usize, &[f32::from_bits(logit)]);
        }
        let mut largest = top.finish();
        // The order in which invocations stored them is not deterministic.
        largest.sort_unstable_by_key(|c| c.0);
        Some(largest)
    };
    words.chunks_exact(1 + 2 * CAPACITY).map(row).collect()
}
