//! Causal self-attention as one operation.
//!
//! Scores and probabilities live for one head of one sequence at a time, and
//! the backward pass computes them again: (B, H, T, T) never exists, in either
//! direction. Heads run in parallel, each on one core.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    gelu::exp,
    matmul::{Cores, View, product},
    tensor, values, with_values,
};
use crate::train::chance::Mask;

/// softmax(q k^T / sqrt(C / H), causal) v for qkv (B T, 3 C): (B T, C).
/// `mask` drops probabilities, as GPT-2's `attn_pdrop` does.
pub fn attention(qkv: &Tensor, context: usize, heads: usize, mask: Option<Mask>) -> Result<Tensor> {
    qkv.apply_op1(Attention { context, heads, mask })
}

struct Attention {
    /// T
    context: usize,
    /// H
    heads: usize,
    mask: Option<Mask>,
}

/// One head's part of qkv (B T, 3 C) or of a result (B T, C), and where it lies.
#[derive(Clone, Copy)]
struct Head {
    /// Index among B H.
    index: usize,
    /// First row of its sequence.
    row: usize,
    /// First column within a C-wide part.
    column: usize,
}

impl Attention {
    fn heads(&self, rows: usize, channels: usize) -> Vec<Head> {
        let width = channels / self.heads;
        (0..rows / self.context * self.heads)
            .map(|index| Head {
                index,
                row: index / self.heads * self.context,
                column: index % self.heads * width,
            })
            .collect()
    }

    /// q, k or v (part 0, 1, 2) of a head, (T, C / H).
    fn part<'a>(&self, qkv: &'a [f32], channels: usize, head: Head, part: usize) -> View<'a> {
        let start = head.row * 3 * channels + part * channels + head.column;
        View::strided(&qkv[start..], self.context, channels / self.heads, 3 * channels)
    }

    /// A head of a (B T, C) tensor.
    fn result<'a>(&self, values: &'a [f32], channels: usize, head: Head) -> View<'a> {
        let start = head.row * channels + head.column;
        View::strided(&values[start..], self.context, channels / self.heads, channels)
    }

    /// 0 or 1 / (1 - p) for the probability at (row, column) of a head.
    fn factor(&self, head: Head, row: usize, column: usize) -> f32 {
        let index = (head.index * self.context + row) * self.context + column;
        self.mask.map_or(1.0, |mask| mask.factor(index))
    }

    /// Probabilities (T, T) of a head, before dropout; zero above the diagonal.
    fn probabilities(&self, qkv: &[f32], channels: usize, head: Head) -> Vec<f32> {
        let t = self.context;
        let scale = 1.0 / ((channels / self.heads) as f32).sqrt();
        let mut scores = vec![0.0; t * t];
        let (q, k) = (self.part(qkv, channels, head, 0), self.part(qkv, channels, head, 1));
        product(q, k.t(), &mut scores, t, false, Cores::One);
        for (row, scores) in scores.chunks_exact_mut(t).enumerate() {
            let (seen, hidden) = scores.split_at_mut(row + 1);
            let largest = seen.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let mut sum = 0.0;
            for score in seen.iter_mut() {
                *score = exp((*score - largest) * scale);
            }
            for &score in seen.iter() {
                sum += score;
            }
            let inverse = 1.0 / sum;
            for score in seen {
                *score *= inverse;
            }
            hidden.fill(0.0);
        }
        scores
    }

    fn drop_in_place(&self, probabilities: &mut [f32], head: Head) {
        if self.mask.is_some() {
            for (row, values) in probabilities.chunks_exact_mut(self.context).enumerate() {
                for (column, p) in values[..=row].iter_mut().enumerate() {
                    *p *= self.factor(head, row, column);
                }
            }
        }
    }

    /// The head's result (T, C / H).
    fn forward(&self, qkv: &[f32], channels: usize, head: Head) -> Vec<f32> {
        let width = channels / self.heads;
        let mut probabilities = self.probabilities(qkv, channels, head);
        self.drop_in_place(&mut probabilities, head);
        let mut out = vec![0.0; self.context * width];
        let p = View::new(&probabilities, self.context, self.context);
        product(p, self.part(qkv, channels, head, 2), &mut out, width, false, Cores::One);
        out
    }

    /// The head's gradients of q, k and v, each (T, C / H).
    fn backward(&self, qkv: &[f32], grad: &[f32], channels: usize, head: Head) -> [Vec<f32>; 3] {
        let (t, width) = (self.context, channels / self.heads);
        let scale = 1.0 / (width as f32).sqrt();
        let grad = self.result(grad, channels, head);
        let part = |i| self.part(qkv, channels, head, i);
        let probabilities = self.probabilities(qkv, channels, head);
        let mut dropped = probabilities.clone();
        self.drop_in_place(&mut dropped, head);

        let mut dv = vec![0.0; t * width];
        product(View::new(&dropped, t, t).t(), grad, &mut dv, width, false, Cores::One);
        // d probabilities, then d scores = p (dp - sum(p dp)), in place.
        let mut ds = dropped;
        product(grad, part(2).t(), &mut ds, t, false, Cores::One);
        self.drop_in_place(&mut ds, head);
        for (row, (ds, p)) in ds.chunks_exact_mut(t).zip(probabilities.chunks_exact(t)).enumerate() {
            let (seen, hidden) = ds.split_at_mut(row + 1);
            let total: f32 = seen.iter().zip(p).map(|(d, p)| d * p).sum();
            for (d, p) in seen.iter_mut().zip(p) {
                *d = p * (*d - total) * scale;
            }
            hidden.fill(0.0);
        }
        let ds = View::new(&ds, t, t);
        let (mut dq, mut dk) = (vec![0.0; t * width], vec![0.0; t * width]);
        product(ds, part(1), &mut dq, width, false, Cores::One);
        product(ds.t(), part(0), &mut dk, width, false, Cores::One);
        [dq, dk, dv]
    }
}

/// Copies a head's (T, width) block into rows `stride` apart.
fn scatter(block: &[f32], width: usize, out: &mut [f32], start: usize, stride: usize) {
    for (row, values) in block.chunks_exact(width).enumerate() {
        out[start + row * stride..][..width].copy_from_slice(values);
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, channels) = (layout.dims()[0], layout.dims()[1] / 3);
        let qkv = values(qkv, layout)?;
        let width = channels / self.heads;
        let heads = self.heads(rows, channels);
        let blocks: Vec<Vec<f32>> = heads.par_iter().map(|&head| self.forward(qkv, channels, head)).collect();
        let mut out = vec![0.0; rows * channels];
        for (head, block) in heads.iter().zip(blocks) {
            scatter(&block, width, &mut out, head.row * channels + head.column, channels);
        }
        Ok((CpuStorage::F32(out), Shape::from((rows, channels))))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, channels) = (qkv.dim(0)?, qkv.dim(1)? / 3);
        let width = channels / self.heads;
        let heads = self.heads(rows, channels);
        let blocks: Vec<[Vec<f32>; 3]> = with_values(qkv, |qkv| {
            with_values(grad, |grad| {
                heads.par_iter().map(|&head| self.backward(qkv, grad, channels, head)).collect()
            })
        })??;
        let mut out = vec![0.0; rows * 3 * channels];
        for (head, parts) in heads.iter().zip(blocks) {
            for (i, block) in parts.iter().enumerate() {
                let start = head.row * 3 * channels + i * channels + head.column;
                scatter(block, width, &mut out, start, 3 * channels);
            }
        }
        Ok(Some(tensor(out, qkv)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        for (batch, context, heads, width) in [(1, 1, 1, 2), (2, 5, 2, 3), (1, 9, 1, 4)] {
            let qkv = check::values(&[batch * context, 3 * heads * width], 0.1);
            check::gradients(std::slice::from_ref(&qkv), |t| attention(&t[0], context, heads, None));
            check::gradients(&[qkv], |t| attention(&t[0], context, heads, Mask::new(0.3, 1, 2, 3)));
        }
    }

    #[test]
    fn a_token_sees_itself_and_what_was_before_it() {
        let qkv = check::values(&[4, 12], 0.1);
        let out = attention(&qkv, 4, 2, None).unwrap().to_vec2::<f32>().unwrap();
        let first: Vec<f32> = qkv.to_vec2::<f32>().unwrap()[0][8..].to_vec();
        assert!(out[0].iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
