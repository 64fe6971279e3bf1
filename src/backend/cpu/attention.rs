//! The key/value cache and causal attention over it.

use super::{math, panels, pool::Pool, shared::Shared};
use crate::backend::{Batch, CacheShape, Place, Sequence};

/// Outputs of a head that are summed together.
const LANES: usize = 16;

/// Keys and values of every layer for one prompt and its drafts; allocated
/// once, (L, slots, C) each.
#[derive(Debug)]
pub struct Cache {
    shape: CacheShape,
    channels: usize,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Cache {
    pub fn new(layers: usize, channels: usize, shape: CacheShape) -> Self {
        let layer = || vec![0.0; shape.slots() * channels];
        Self {
            shape,
            channels,
            keys: (0..layers).map(|_| layer()).collect(),
            values: (0..layers).map(|_| layer()).collect(),
        }
    }

    /// Puts the keys and values of qkv (R, 3 C) at the batch's places.
    pub fn store(&mut self, layer: usize, batch: &Batch, qkv: &[f32]) {
        let c = self.channels;
        for (row, &place) in qkv.chunks_exact(3 * c).zip(&batch.places) {
            let at = self.shape.slot(place) * c;
            self.keys[layer][at..at + c].copy_from_slice(&row[c..2 * c]);
            self.values[layer][at..at + c].copy_from_slice(&row[2 * c..]);
        }
    }

    /// Attention of every row of qkv (R, 3 C) over its own sequence up to its
    /// own position, into out (R, C): softmax(q k / sqrt(C / H)) v. Rows and
    /// heads are spread over the threads; `scores` is a task's own memory.
    #[allow(clippy::too_many_arguments)]
    pub fn attend(
        &self,
        pool: &Pool,
        layer: usize,
        batch: &Batch,
        heads: usize,
        qkv: &[f32],
        scores: &mut Vec<Vec<f32>>,
        out: &mut [f32],
    ) {
        let c = self.channels;
        let width = c / heads;
        let parts = batch.rows() * heads;
        let tasks = panels::tasks(pool, parts);
        scores.resize_with(scores.len().max(tasks), Vec::new);
        let (scores, out) = (Shared::new(scores), Shared::new(out));
        panels::spread(pool, tasks, parts, |task, parts| {
            // SAFETY: each task has a place of its own in scores, and each row
            // and head is in one task.
            let scores = unsafe { &mut scores.slice(task, 1)[0] };
            for part in parts {
                let (row, head) = (part / heads, part % heads);
                let query = &qkv[row * 3 * c + head * width..][..width];
                // SAFETY: as above.
                let out = unsafe { out.slice(row * c + head * width, width) };
                self.head(layer, batch.places[row], head * width, query, scores, out);
            }
        });
    }

    /// One head of one row: query and out (C / H), whose columns of the cache
    /// begin at `column`.
    fn head(
        &self,
        layer: usize,
        place: Place,
        column: usize,
        query: &[f32],
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (c, width) = (self.channels, query.len());
        let scale = 1.0 / (width as f32).sqrt();
        let visible = self.visible(place);
        scores.clear();
        for slots in &visible {
            for key in self.keys[layer][slots.start * c..slots.end * c].chunks_exact(c) {
                scores.push(math::dot(query, &key[column..column + width]) * scale);
            }
        }
        let sum = math::softmax_unnormalised(scores);
        let values = &self.values[layer];
        let (whole, rest) = out.as_chunks_mut::<LANES>();
        for (i, out) in whole.iter_mut().enumerate() {
            // A sum stays in registers over all slots.
            let mut sums = [0.0f32; LANES];
            let mut scores = scores.iter();
            for slots in &visible {
                let columns = slots.clone().map(|slot| slot * c + column + i * LANES);
                for (value, score) in
                    columns.filter_map(|at| values[at..].first_chunk::<LANES>()).zip(&mut scores)
                {
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum += score * value;
                    }
                }
            }
            *out = sums.map(|x| x / sum);
        }
        let column = column + whole.len() * LANES;
        for (i, out) in rest.iter_mut().enumerate() {
            let slots = visible.iter().cloned().flatten();
            let products = slots.zip(&*scores).map(|(slot, score)| score * values[slot * c + column + i]);
            *out = products.fold(0.0, |sum, x| sum + x) / sum;
        }
    }

    /// The slots a place sees: the prompt's, then its own draft's.
    fn visible(&self, place: Place) -> [std::ops::Range<usize>; 2] {
        let end = self.shape.slot(place) + 1;
        match place.sequence {
            Sequence::Prompt => [0..end, 0..0],
            Sequence::Draft(d) => [0..self.shape.prompt, self.shape.prompt + d * self.shape.tail..end],
        }
    }
}
