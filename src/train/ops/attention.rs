//! Causal self-attention in blocks of queries.
//!
//! Only the scores of one block of queries of one head exist at a time; (B, H, T, T) is never
//! materialised, in either direction, and keys that a whole block cannot see are skipped. The
//! forward pass keeps one number per query, log(sum(exp(score))), from which the backward pass
//! recomputes a block's probabilities in one pass (Dao et al. 2022, "FlashAttention"). Heads run in
//! parallel, one core each.

use rayon::prelude::*;

use super::{
    gelu::exp,
    lanes,
    matmul::{Cores, View, product},
    wide,
};
use crate::train::chance::Mask;

/// Queries per block.
const BLOCK: usize = 128;

/// Shape and dropout of an attention operation.
#[derive(Clone, Copy)]
pub struct Attention {
    /// T
    pub context: usize,
    /// H
    pub heads: usize,
    /// C
    pub channels: usize,
    /// Drops attention probabilities (GPT-2's `attn_pdrop`).
    pub mask: Option<Mask>,
}

/// One head of one sequence, and the position of its part in a (B T, …) buffer.
#[derive(Clone, Copy)]
struct Head {
    /// Index in B H.
    index: usize,
    /// First row of the sequence.
    row: usize,
    /// First column within a part C wide.
    column: usize,
}

/// A block of queries and the keys that they see.
struct Block {
    /// Index of the first query.
    first: usize,
    queries: usize,
    /// Number of keys that the last query sees.
    keys: usize,
}

fn blocks(context: usize) -> impl Iterator<Item = Block> {
    (0..context).step_by(BLOCK).map(move |first| {
        let queries = BLOCK.min(context - first);
        Block { first, queries, keys: first + queries }
    })
}

impl Attention {
    /// Writes softmax(q k^T / sqrt(C / H), causal) v to `out` (B T, C), for qkv (B T, 3 C), and
    /// each query's log(sum(exp(score))) to `log_sums` (B, H, T).
    pub fn forward(&self, qkv: &[f32], out: &mut [f32], log_sums: &mut [f32]) {
        let width = self.width();
        let results: Vec<Vec<f32>> = log_sums
            .par_chunks_exact_mut(self.context)
            .enumerate()
            .map(|(index, log_sums)| self.head_forward(qkv, self.head(index), log_sums))
            .collect();
        out.par_chunks_exact_mut(self.channels).enumerate().for_each(|(row, out)| {
            let (sequence, row) = (row / self.context, row % self.context);
            for (head, out) in out.chunks_exact_mut(width).enumerate() {
                let result = &results[sequence * self.heads + head];
                out.copy_from_slice(&result[row * width..][..width]);
            }
        });
    }

    /// Writes the gradient of qkv to `dqkv` (B T, 3 C), given the gradient of the output in `grad`
    /// (B T, C), the output `out` (B T, C) and its `log_sums` (B, H, T).
    pub fn backward(&self, qkv: &[f32], out: &[f32], log_sums: &[f32], grad: &[f32], dqkv: &mut [f32]) {
        let width = self.width();
        let results: Vec<[Vec<f32>; 3]> = log_sums
            .par_chunks_exact(self.context)
            .enumerate()
            .map(|(index, log_sums)| self.head_backward(qkv, out, log_sums, grad, self.head(index)))
            .collect();
        dqkv.par_chunks_exact_mut(3 * self.channels).enumerate().for_each(|(row, out)| {
            let (sequence, row) = (row / self.context, row % self.context);
            for (part, out) in out.chunks_exact_mut(self.channels).enumerate() {
                for (head, out) in out.chunks_exact_mut(width).enumerate() {
                    let result = &results[sequence * self.heads + head][part];
                    out.copy_from_slice(&result[row * width..][..width]);
                }
            }
        });
    }

    /// C / H
    fn width(&self) -> usize {
        self.channels / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width() as f32).sqrt()
    }

    fn head(&self, index: usize) -> Head {
        Head { index, row: index / self.heads * self.context, column: index % self.heads * self.width() }
    }

    /// Rows of a head's q, k or v (part 0, 1, 2): (rows, C / H).
    fn part<'a>(&self, qkv: &'a [f32], head: Head, part: usize, first: usize, rows: usize) -> View<'a> {
        let start = (head.row + first) * 3 * self.channels + part * self.channels + head.column;
        View::strided(&qkv[start..], rows, self.width(), 3 * self.channels)
    }

    /// Rows of a head in a (B T, C) buffer: (rows, C / H).
    fn rows<'a>(&self, values: &'a [f32], head: Head, first: usize, rows: usize) -> View<'a> {
        let start = (head.row + first) * self.channels + head.column;
        View::strided(&values[start..], rows, self.width(), self.channels)
    }

    /// q k^T of a block: (queries, keys), unscaled.
    fn scores(&self, qkv: &[f32], head: Head, block: &Block, scores: &mut [f32]) {
        let q = self.part(qkv, head, 0, block.first, block.queries);
        let k = self.part(qkv, head, 1, 0, block.keys);
        product(q, k.t(), scores, block.keys, false, Cores::One);
    }

    /// The head's output (T, C / H).
    fn head_forward(&self, qkv: &[f32], head: Head, log_sums: &mut [f32]) -> Vec<f32> {
        let (width, scale) = (self.width(), self.scale());
        let mut out = vec![0.0; self.context * width];
        let mut buffer = vec![0.0; BLOCK.min(self.context) * self.context];
        for block in blocks(self.context) {
            let scores = &mut buffer[..block.queries * block.keys];
            self.scores(qkv, head, &block, scores);
            let mut inverse_sums = [0.0f32; BLOCK];
            wide(
                #[inline(always)]
                || {
                    for (i, scores) in scores.chunks_exact_mut(block.keys).enumerate() {
                        let query = block.first + i;
                        let (seen, hidden) = scores.split_at_mut(query + 1);
                        let largest = lanes::max(seen);
                        for score in seen.iter_mut() {
                            *score = exp((*score - largest) * scale);
                        }
                        let sum = lanes::sum(seen);
                        inverse_sums[i] = 1.0 / sum;
                        log_sums[query] = largest * scale + sum.ln();
                        if let Some(mask) = self.mask {
                            mask.row(head.index * self.context + query).apply(seen);
                        }
                        hidden.fill(0.0);
                    }
                },
            );
            let v = self.part(qkv, head, 2, 0, block.keys);
            let out = &mut out[block.first * width..];
            product(View::new(scores, block.queries, block.keys), v, out, width, false, Cores::One);
            for (out, inverse) in out.chunks_exact_mut(width).zip(inverse_sums).take(block.queries) {
                out.iter_mut().for_each(|x| *x *= inverse);
            }
        }
        out
    }

    /// The head's gradients of q, k and v, (T, C / H) each.
    fn head_backward(
        &self,
        qkv: &[f32],
        out: &[f32],
        log_sums: &[f32],
        grad: &[f32],
        head: Head,
    ) -> [Vec<f32>; 3] {
        let (t, width, scale) = (self.context, self.width(), self.scale());
        let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; t * width]);
        let size = BLOCK.min(t) * t;
        let (mut p_buffer, mut dp_buffer) = (vec![0.0; size], vec![0.0; size]);
        for block in blocks(t) {
            let n = block.queries * block.keys;
            let (p, dp) = (&mut p_buffer[..n], &mut dp_buffer[..n]);
            self.scores(qkv, head, &block, p);
            let dout = self.rows(grad, head, block.first, block.queries);
            let v = self.part(qkv, head, 2, 0, block.keys);
            product(dout, v.t(), dp, block.keys, false, Cores::One);
            wide(
                #[inline(always)]
                || {
                    for (i, (p, dp)) in
                        p.chunks_exact_mut(block.keys).zip(dp.chunks_exact_mut(block.keys)).enumerate()
                    {
                        let query = block.first + i;
                        let start = (head.row + query) * self.channels + head.column;
                        // sum(p dp) over the keys equals grad . out, with or without dropout.
                        let total = lanes::dot(&grad[start..][..width], &out[start..][..width]);
                        let (p, p_hidden) = p.split_at_mut(query + 1);
                        let (dp, dp_hidden) = dp.split_at_mut(query + 1);
                        let log_sum = log_sums[query];
                        for p in p.iter_mut() {
                            *p = exp(*p * scale - log_sum);
                        }
                        // The gradient of the scores replaces dp; the probabilities after dropout
                        // replace p.
                        match self.mask {
                            Some(mask) => {
                                let mask = mask.row(head.index * t + query);
                                for (column, (p, dp)) in p.iter_mut().zip(dp).enumerate() {
                                    let factor = mask.factor(column as u32);
                                    *dp = *p * (*dp * factor - total) * scale;
                                    *p *= factor;
                                }
                            }
                            None => {
                                for (p, dp) in p.iter().zip(dp) {
                                    *dp = p * (*dp - total) * scale;
                                }
                            }
                        }
                        p_hidden.fill(0.0);
                        dp_hidden.fill(0.0);
                    }
                },
            );
            let p = View::new(p, block.queries, block.keys);
            let ds = View::new(dp, block.queries, block.keys);
            let q = self.part(qkv, head, 0, block.first, block.queries);
            let k = self.part(qkv, head, 1, 0, block.keys);
            product(p.t(), dout, &mut dv, width, true, Cores::One);
            product(ds.t(), q, &mut dk, width, true, Cores::One);
            product(ds, k, &mut dq[block.first * width..], width, false, Cores::One);
        }
        [dq, dk, dv]
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn forward(attention: &Attention, qkv: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let rows = qkv.len() / (3 * attention.channels);
        let (mut out, mut log_sums) = (vec![0.0; qkv.len() / 3], vec![0.0; rows * attention.heads]);
        attention.forward(qkv, &mut out, &mut log_sums);
        (out, log_sums)
    }

    fn backward(attention: &Attention, qkv: &[f32], grad: &[f32]) -> Vec<f32> {
        let (out, log_sums) = forward(attention, qkv);
        let mut dqkv = vec![0.0; qkv.len()];
        attention.backward(qkv, &out, &log_sums, grad, &mut dqkv);
        dqkv
    }

    #[test]
    fn gradients_follow_finite_differences() {
        for (batch, context, heads, width) in [(1, 1, 1, 2), (2, 5, 2, 3), (1, 9, 1, 4), (1, 17, 1, 3)] {
            for mask in [None, Mask::new(0.3, 1, 2, 3)] {
                let attention = Attention { context, heads, channels: heads * width, mask };
                let qkv = check::values(batch * context * 3 * heads * width, 0.1);
                check::gradients(
                    &[qkv],
                    |t| forward(&attention, &t[0]).0,
                    |t, grad| vec![backward(&attention, &t[0], grad)],
                );
            }
        }
    }

    /// One query more than a block, compared with the plain definition in f64.
    #[test]
    fn blocks_make_the_plain_definition() {
        let (context, heads, width) = (BLOCK + 1, 2, 3);
        let attention = Attention { context, heads, channels: heads * width, mask: None };
        let c = heads * width;
        let qkv = check::values(context * 3 * c, 0.1);
        let at = |row: usize, part: usize, head: usize, i: usize| -> f64 {
            f64::from(qkv[row * 3 * c + part * c + head * width + i])
        };
        let (out, _) = forward(&attention, &qkv);
        for (query, head) in [(0, 0), (1, 1), (BLOCK - 1, 0), (BLOCK, 1)] {
            let scores: Vec<f64> = (0..=query)
                .map(|key| (0..width).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum::<f64>())
                .map(|dot| (dot / (width as f64).sqrt()).exp())
                .collect();
            let sum: f64 = scores.iter().sum();
            for i in 0..width {
                let plain: f64 =
                    scores.iter().enumerate().map(|(key, s)| s / sum * at(key, 2, head, i)).sum();
                let ours = f64::from(out[query * c + head * width + i]);
                assert!((ours - plain).abs() < 1e-5, "{query} {head} {i}: {ours} {plain}");
            }
        }
    }

    /// The gradient of qkv (T, 3 C) from the plain definition in f64, with the dropout of the mask.
    fn plain_backward(attention: &Attention, qkv: &[f32], grad: &[f32]) -> Vec<f64> {
        let Attention { context, heads, channels: c, mask } = *attention;
        let width = c / heads;
        let scale = 1.0 / (width as f64).sqrt();
        let mut dqkv = vec![0.0; qkv.len()];
        for (head, query) in (0..heads).flat_map(|head| (0..context).map(move |query| (head, query))) {
            let at = |row: usize, part: usize, i: usize| row * 3 * c + part * c + head * width + i;
            let value = |row, part, i| f64::from(qkv[at(row, part, i)]);
            let dout = |i: usize| f64::from(grad[query * c + head * width + i]);
            let dot = |key| (0..width).map(|i| value(query, 0, i) * value(key, 1, i)).sum::<f64>();
            let scores: Vec<f64> = (0..=query).map(|key| (dot(key) * scale).exp()).collect();
            let sum: f64 = scores.iter().sum();
            let p: Vec<f64> = scores.iter().map(|score| score / sum).collect();
            let factor = |key: usize| {
                mask.map_or(1.0, |m| f64::from(m.row(head * context + query).factor(key as u32)))
            };
            let dp = |key| factor(key) * (0..width).map(|i| dout(i) * value(key, 2, i)).sum::<f64>();
            let total: f64 = (0..=query).map(|key| p[key] * dp(key)).sum();
            for key in 0..=query {
                let dscore = p[key] * (dp(key) - total) * scale;
                for i in 0..width {
                    dqkv[at(query, 0, i)] += dscore * value(key, 1, i);
                    dqkv[at(key, 1, i)] += dscore * value(query, 0, i);
                    dqkv[at(key, 2, i)] += factor(key) * p[key] * dout(i);
                }
            }
        }
        dqkv
    }

    /// One query more than a block, and two blocks and a partial one: gradients of keys and values
    /// are summed over blocks of queries.
    #[test]
    fn gradients_across_blocks_are_the_plain_definitions() {
        for context in [BLOCK + 1, 2 * BLOCK + 3] {
            for mask in [None, Mask::new(0.3, 1, 2, 3)] {
                let attention = Attention { context, heads: 2, channels: 6, mask };
                let qkv = check::values(context * 18, 0.1);
                let grad = check::values(context * 6, 0.2);
                let plain = plain_backward(&attention, &qkv, &grad);
                let ours = backward(&attention, &qkv, &grad);
                for (at, (&ours, plain)) in ours.iter().zip(plain).enumerate() {
                    let ours = f64::from(ours);
                    assert!(
                        (ours - plain).abs() < 1e-5 * (1.0 + plain.abs()),
                        "{context} {at}: {ours} {plain}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_thread_changes_the_gradient() {
        let attention =
            Attention { context: BLOCK + 5, heads: 3, channels: 21, mask: Mask::new(0.1, 1, 2, 3) };
        let qkv = check::values(2 * attention.context * 63, 0.1);
        let grad = check::values(2 * attention.context * 21, 0.2);
        check::any_number_of_threads(|| backward(&attention, &qkv, &grad));
    }

    #[test]
    fn a_token_sees_itself_and_what_was_before_it() {
        let attention = Attention { context: 4, heads: 2, channels: 4, mask: None };
        let qkv = check::values(4 * 12, 0.1);
        let (out, _) = forward(&attention, &qkv);
        assert!(out[..4].iter().zip(&qkv[8..12]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
