//! The KV cache and causal attention over it.

use super::{
    Cpu, math,
    matrix::room,
    panels::{self, Kernel},
    pool::Pool,
    prefetch::prefetch,
    shared::Shared,
};
use crate::backend::{Backend, Batch, CacheShape, Place, Sequence};

/// Channels of a head's output that are summed together.
const LANES: usize = 32;

/// Keys that are multiplied together: their sums fit the vector registers.
const KEYS: usize = 4;

/// Up to this many rows, keys and values are prefetched, because they come from memory; in a larger
/// batch, most rows find them in a cache.
const FEW_ROWS: usize = 8;

/// Memory that a step needs besides the cache, for each row and channel: ten floats of activations,
/// the quantised activations, and something for logits and scores. Memory once requested stays part
/// of a page even when freed, so the estimate is not generous.
const STEP_BYTES: usize = 16 * size_of::<f32>();

/// n zeros; `None` if there is not enough memory.
fn zeros(n: usize) -> Option<Vec<f32>> {
    // A trial, since `vec!` would abort; where memory comes zeroed, neither writes any of it.
    room::<f32>(n)?;
    Some(vec![0.0; n])
}

/// What attention needs for one row's head, reusing memory.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Of the query's product with each key.
    lanes: Vec<[f32; math::LANES]>,
    scores: Vec<f32>,
}

/// Keys and values of every layer, for one prompt and its drafts; allocated once. Those of one head
/// are contiguous, because a row of queries passes through them.
#[derive(Debug)]
pub struct Cache {
    shape: CacheShape,
    heads: usize,
    /// C / H
    width: usize,
    /// L vectors of (H, slots, width).
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Cache {
    /// `None` if there is not enough memory for the cache and the first step.
    pub fn new(layers: usize, heads: usize, width: usize, shape: CacheShape) -> Option<Self> {
        let channels = heads.saturating_mul(width);
        let floats = channels.saturating_mul(shape.slots());
        let all = || (0..layers).map(|_| zeros(floats)).collect::<Option<Vec<_>>>();
        let cache = Self { shape, heads, width, keys: all()?, values: all()? };
        room::<u8>(channels.saturating_mul(Cpu::ROWS_AT_ONCE * STEP_BYTES))?;
        Some(cache)
    }

    /// Stores the keys and values of qkv (R, 3 C) at the batch's places.
    pub fn store(&mut self, layer: usize, batch: &Batch, qkv: &[f32]) {
        let (width, slots) = (self.width, self.shape.slots());
        let c = self.heads * width;
        for (row, &place) in qkv.chunks_exact(3 * c).zip(&batch.places) {
            let slot = self.shape.slot(place);
            for (part, cache) in [(1, &mut self.keys[layer]), (2, &mut self.values[layer])] {
                for (head, from) in row[part * c..][..c].chunks_exact(width).enumerate() {
                    cache[(head * slots + slot) * width..][..width].copy_from_slice(from);
                }
            }
        }
    }

    /// Attention of every row of qkv (R, 3 C) over its own sequence up to its own position, into
    /// out (R, C): softmax(q k / sqrt(C / H)) v. Heads and rows are divided among the threads;
    /// `scratch` has one per task.
    #[allow(clippy::too_many_arguments, reason = "a layer's, and where and how it is computed")]
    pub fn attend(
        &self,
        kernel: Kernel,
        pool: &Pool,
        layer: usize,
        batch: &Batch,
        qkv: &[f32],
        scratch: &mut Vec<Scratch>,
        out: &mut [f32],
    ) {
        let (rows, width) = (batch.rows(), self.width);
        let c = self.heads * width;
        let parts = self.heads * rows;
        let tasks = kernel.tasks(pool, parts);
        scratch.resize_with(scratch.len().max(tasks), Scratch::default);
        let (scratch, out) = (Shared::new(scratch), Shared::new(out));
        panels::spread(pool, tasks, parts, |task, parts| {
            // SAFETY: each task has its own scratch, and each row's head is in one task.
            let scratch = unsafe { &mut scratch.slice(task, 1)[0] };
            let first = parts.start;
            for part in parts {
                let (head, row) = (part / rows, part % rows);
                if rows <= FEW_ROWS && (row == 0 || part == first) {
                    self.prefetch(layer, batch, head);
                }
                let query = &qkv[row * 3 * c + head * width..][..width];
                // SAFETY: as above.
                let out = unsafe { out.slice(row * c + head * width, width) };
                self.head(layer, batch.places[row], head, query, scratch, out);
            }
        });
    }

    /// Prefetches the keys and values of a head that the batch's rows see, the prompt's only once.
    fn prefetch(&self, layer: usize, batch: &Batch, head: usize) {
        for (row, &place) in batch.places.iter().enumerate() {
            let [prompt, own] = self.visible(place);
            let prompt = if row == 0 { prompt } else { 0..0 };
            for of in [&self.keys, &self.values].map(|of| self.of_head(&of[layer], head)) {
                for slots in [prompt.clone(), own.clone()] {
                    prefetch(&of[slots.start * self.width..slots.end * self.width]);
                }
            }
        }
    }

    /// The part (slots, width) of one head in a layer's keys or values (H, slots, width).
    fn of_head<'a>(&self, all: &'a [f32], head: usize) -> &'a [f32] {
        let floats = self.shape.slots() * self.width;
        &all[head * floats..][..floats]
    }

    /// One head of one row: query and out (C / H).
    fn head(
        &self,
        layer: usize,
        place: Place,
        head: usize,
        query: &[f32],
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let width = self.width;
        let scale = 1.0 / (width as f32).sqrt();
        let [keys, values] = [&self.keys, &self.values].map(|of| self.of_head(&of[layer], head));
        let visible = self.visible(place).map(|slots| slots.start * width..slots.end * width);
        let Scratch { lanes, scores } = scratch;
        lanes.clear();
        for slots in &visible {
            let mut keys = keys[slots.clone()].chunks_exact(KEYS * width);
            for keys in &mut keys {
                let keys: [&[f32]; KEYS] = std::array::from_fn(|i| &keys[i * width..][..width]);
                lanes.extend(math::dots(query, keys));
            }
            let rest = keys.remainder().chunks_exact(width);
            lanes.extend(rest.flat_map(|key| math::dots(query, [key])));
        }
        scores.clear();
        scores.extend(lanes.iter().map(|&lanes| math::fold(lanes) * scale));
        let sum = math::softmax_unnormalised(scores);
        let (whole, rest) = out.as_chunks_mut::<LANES>();
        for (i, out) in whole.iter_mut().enumerate() {
            // The sums stay in registers over all slots.
            let mut sums = [0.0f32; LANES];
            let mut scores = scores.iter();
            for slots in &visible {
                for (value, score) in values[slots.clone()].chunks_exact(width).zip(&mut scores) {
                    // Never skips: a value is as wide as out.
                    let Some(value) = value[i * LANES..].first_chunk::<LANES>() else { continue };
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum += score * value;
                    }
                }
            }
            *out = sums.map(|x| x / sum);
        }
        let column = whole.len() * LANES;
        for (i, out) in rest.iter_mut().enumerate() {
            let values = visible.iter().flat_map(|slots| values[slots.clone()].chunks_exact(width));
            let products = values.zip(&*scores).map(|(value, score)| score * value[column + i]);
            *out = products.fold(0.0, |sum, x| sum + x) / sum;
        }
    }

    /// The slots that a place sees: the prompt's, then its own draft's.
    fn visible(&self, place: Place) -> [std::ops::Range<usize>; 2] {
        let end = self.shape.slot(place) + 1;
        match place.sequence {
            Sequence::Prompt => [0..end, 0..0],
            Sequence::Draft(d) => [0..self.shape.prompt, self.shape.prompt + d * self.shape.tail..end],
        }
    }
}
