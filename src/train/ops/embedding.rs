//! Sum of token and position embeddings; gradients are scattered row by row.

use rayon::prelude::*;

use super::wide;

/// `out` (B T, C) = rows of wte (V, C) selected by ids (B, T), plus wpe (positions, C).
///
/// The caller ensures that every id is below V and that T is at most the number of positions.
pub fn embed(wte: &[f32], wpe: &[f32], width: usize, ids: &[u32], context: usize, out: &mut [f32]) {
    out.par_chunks_exact_mut(width).zip(ids).enumerate().with_min_len(16).for_each(|(i, (out, &id))| {
        let token = &wte[id as usize * width..][..width];
        let position = &wpe[i % context * width..][..width];
        wide(
            #[inline(always)]
            || {
                for ((out, t), p) in out.iter_mut().zip(token).zip(position) {
                    *out = t + p;
                }
            },
        );
    });
}

/// Adds each row of `grad` (B T, C) to the row of its token id in `dwte` (V, C).
pub fn add_token_gradients(grad: &[f32], width: usize, ids: &[u32], dwte: &mut [f32]) {
    for (grad, &id) in grad.chunks_exact(width).zip(ids) {
        add(grad, &mut dwte[id as usize * width..][..width]);
    }
}

/// Adds each row of `grad` (B T, C) to the row of its position in `dwpe` (positions, C).
pub fn add_position_gradients(grad: &[f32], width: usize, context: usize, dwpe: &mut [f32]) {
    for (i, grad) in grad.chunks_exact(width).enumerate() {
        add(grad, &mut dwpe[i % context * width..][..width]);
    }
}

fn add(row: &[f32], sums: &mut [f32]) {
    wide(
        #[inline(always)]
        || {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn gradients_follow_finite_differences() {
        let (ids, context, width) = ([1, 5, 1, 0, 6, 6], 3, 5);
        let inputs = [check::values(7 * width, 0.1), check::values(4 * width, 0.2)];
        let forward = |t: &[Vec<f32>]| {
            let mut out = vec![0.0; ids.len() * width];
            embed(&t[0], &t[1], width, &ids, context, &mut out);
            out
        };
        check::gradients(&inputs, forward, |t, grad| {
            let (mut dwte, mut dwpe) = (vec![0.0; t[0].len()], vec![0.0; t[1].len()]);
            add_token_gradients(grad, width, &ids, &mut dwte);
            add_position_gradients(grad, width, context, &mut dwpe);
            vec![dwte, dwpe]
        });
    }
}
