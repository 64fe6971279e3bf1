//! The tied language-model head fused with cross-entropy, in chunks of tokens.
//!
//! Logits (B T, V) are never materialised as a whole. Gradients are computed from each chunk's
//! logits while these are in the buffer, so no product is computed twice.

use rayon::prelude::*;

use super::{
    gelu::exp,
    lanes,
    matmul::{Cores, View, product},
    wide,
};

/// Tokens per chunk of logits.
pub const CHUNK_TOKENS: usize = 512;

/// Destinations and weight of the head's gradients.
pub struct HeadGradients<'a> {
    /// Gradient of x (R, C), overwritten.
    pub dx: &'a mut [f32],
    /// Gradient of wte (V, C): added to, or overwritten if `add` is false.
    pub dwte: &'a mut [f32],
    pub add: bool,
    /// Factor of the mean loss.
    pub weight: f32,
}

/// Mean of `-log softmax(x wte^T)[label]` over the labelled rows, in nats, for x (R, C) and wte (V,
/// C).
///
/// A row whose label is `None` is left out; every label must be below V. `logits` is a buffer of
/// [`logits_len`] numbers. With `gradients`, those of `weight` times the mean are computed too.
pub fn head_loss(
    x: &[f32],
    wte: &[f32],
    width: usize,
    labels: &[Option<u32>],
    logits: &mut [f32],
    mut gradients: Option<HeadGradients>,
) -> f64 {
    let vocab = wte.len() / width;
    let labelled = labels.iter().flatten().count().max(1);
    let weight = gradients.as_ref().map_or(0.0, |g| g.weight) / labelled as f32;
    let head = View::new(wte, vocab, width);
    let mut total = 0.0;
    for (chunk, labels) in labels.chunks(CHUNK_TOKENS).enumerate() {
        let (first, n) = (chunk * CHUNK_TOKENS, labels.len());
        let x = View::new(&x[first * width..], n, width);
        let logits = &mut logits[..n * vocab];
        product(x, head.t(), logits, vocab, false, Cores::All);
        let losses: Vec<f64> = logits
            .par_chunks_exact_mut(vocab)
            .zip(labels)
            .map(|(row, &label)| {
                wide(
                    #[inline(always)]
                    || row_loss(row, label, weight),
                )
            })
            .collect();
        total += losses.iter().sum::<f64>();
        if let Some(HeadGradients { dx, dwte, add, .. }) = &mut gradients {
            let logits = View::new(logits, n, vocab);
            product(logits, head, &mut dx[first * width..], width, false, Cores::All);
            product(logits.t(), x, dwte, width, *add || chunk > 0, Cores::All);
        }
    }
    total / labelled as f64
}

/// Length of the buffer that [`head_loss`] needs for R rows.
pub fn logits_len(rows: usize, vocab: usize) -> usize {
    CHUNK_TOKENS.min(rows) * vocab
}

/// Replaces a row of logits (V) by its gradient, (softmax - one-hot) * weight, and returns the
/// row's loss in nats.
#[inline(always)]
fn row_loss(logits: &mut [f32], label: Option<u32>, weight: f32) -> f64 {
    let Some(label) = label else {
        logits.fill(0.0);
        return 0.0;
    };
    let largest = lanes::max(logits);
    let of_label = logits[label as usize];
    for logit in logits.iter_mut() {
        *logit = exp(*logit - largest);
    }
    let sum = lanes::sum(logits);
    let factor = weight / sum;
    for logit in logits.iter_mut() {
        *logit *= factor;
    }
    logits[label as usize] -= weight;
    f64::from(sum).ln() + f64::from(largest) - f64::from(of_label)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn loss(x: &[f32], wte: &[f32], width: usize, labels: &[Option<u32>]) -> f64 {
        let mut logits = vec![0.0; logits_len(labels.len(), wte.len() / width)];
        head_loss(x, wte, width, labels, &mut logits, None)
    }

    fn gradients(x: &[f32], wte: &[f32], width: usize, labels: &[Option<u32>], weight: f32) -> [Vec<f32>; 2] {
        let mut logits = vec![0.0; logits_len(labels.len(), wte.len() / width)];
        let (mut dx, mut dwte) = (vec![0.0; x.len()], vec![7.0; wte.len()]);
        let into = HeadGradients { dx: &mut dx, dwte: &mut dwte, add: false, weight };
        head_loss(x, wte, width, labels, &mut logits, Some(into));
        [dx, dwte]
    }

    #[test]
    fn gradients_follow_finite_differences() {
        let inputs = [check::values(5 * 3, 0.1), check::values(11 * 3, 0.2)];
        let labels = [Some(3), None, Some(10), Some(0), Some(3)];
        check::gradients(
            &inputs,
            |t| vec![loss(&t[0], &t[1], 3, &labels) as f32],
            |t, grad| gradients(&t[0], &t[1], 3, &labels, grad[0]).to_vec(),
        );
    }

    #[test]
    fn chunks_add_up_to_the_plain_definition() {
        // One token more than a chunk.
        let rows = CHUNK_TOKENS + 1;
        let (x, wte) = (check::values(rows * 4, 0.3), check::values(7 * 4, 0.4));
        let labels: Vec<Option<u32>> = (0..rows as u32).map(|i| Some(i % 7)).collect();
        let ours = loss(&x, &wte, 4, &labels);
        let [dx, dwte] = gradients(&x, &wte, 4, &labels, 1.0);
        let (mut plain, mut plain_dwte) = (0.0, vec![0.0f64; 7 * 4]);
        for (r, x) in x.chunks_exact(4).enumerate() {
            let dot = |w: &[f32]| w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
            let exps: Vec<f64> = wte.chunks_exact(4).map(|w| dot(w).exp()).collect();
            let sum: f64 = exps.iter().sum();
            plain -= (exps[r % 7] / sum).ln() / rows as f64;
            let mut plain_dx = [0.0f64; 4];
            for (v, w) in wte.chunks_exact(4).enumerate() {
                let slope = (exps[v] / sum - f64::from(u8::from(v == r % 7))) / rows as f64;
                for i in 0..4 {
                    plain_dx[i] += slope * f64::from(w[i]);
                    plain_dwte[v * 4 + i] += slope * f64::from(x[i]);
                }
            }
            for i in 0..4 {
                assert!((f64::from(dx[r * 4 + i]) - plain_dx[i]).abs() < 1e-7);
            }
        }
        assert!((ours - plain).abs() < 1e-5);
        assert!(dwte.iter().zip(&plain_dwte).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-6));
    }
}
