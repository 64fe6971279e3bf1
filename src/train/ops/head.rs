//! The tied language-model head and its cross-entropy, fused and cut into
//! chunks of tokens: logits (B T, V) never exist whole, in either direction.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    gelu::exp,
    matmul::{Cores, View, product},
    tensor, values,
};

/// Tokens whose logits exist at once.
const CHUNK_TOKENS: usize = 256;

/// Mean over the labelled rows of -log softmax(x wte^T)[label], for x (R, C)
/// and wte (V, C): a scalar. A label of `None` leaves its row out.
///
/// The gradients are computed along with the loss, while each chunk's logits
/// are at hand; `backward` only scales them.
pub fn head_loss(x: &Tensor, wte: &Tensor, labels: Vec<Option<u32>>) -> Result<Tensor> {
    x.apply_op2(wte, HeadLoss { labels, gradients: Mutex::new(None) })
}

struct HeadLoss {
    labels: Vec<Option<u32>>,
    /// Of x and of wte, from the forward pass.
    gradients: Mutex<Option<(Vec<f32>, Vec<f32>)>>,
}

/// Turns a row of logits into the gradient (softmax - one-hot) * weight and
/// returns the row's loss.
fn row_loss(logits: &mut [f32], label: Option<u32>, weight: f32) -> f64 {
    let Some(label) = label else {
        logits.fill(0.0);
        return 0.0;
    };
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let of_label = logits[label as usize];
    for logit in logits.iter_mut() {
        *logit = exp(*logit - largest);
    }
    let mut lanes = [0.0f32; 16];
    for (i, &e) in logits.iter().enumerate() {
        lanes[i % 16] += e;
    }
    let sum: f32 = lanes.iter().sum();
    let factor = weight / sum;
    for logit in logits.iter_mut() {
        *logit *= factor;
    }
    logits[label as usize] -= weight;
    f64::from(sum).ln() + f64::from(largest) - f64::from(of_label)
}

impl CustomOp2 for HeadLoss {
    fn name(&self) -> &'static str {
        "head-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        wte: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width, vocab) = (lx.dims()[0], lx.dims()[1], lw.dims()[0]);
        let (x, wte) = (values(x, lx)?, values(wte, lw)?);
        let labelled = self.labels.iter().flatten().count().max(1);
        let weight = 1.0 / labelled as f32;
        let (mut dx, mut dwte) = (vec![0.0; rows * width], vec![0.0; vocab * width]);
        let mut logits = vec![0.0; CHUNK_TOKENS.min(rows) * vocab];
        let mut total = 0.0;
        for first in (0..rows).step_by(CHUNK_TOKENS) {
            let n = CHUNK_TOKENS.min(rows - first);
            let chunk = View::new(&x[first * width..], n, width);
            let head = View::new(wte, vocab, width);
            let logits = &mut logits[..n * vocab];
            product(chunk, head.t(), logits, vocab, false, Cores::All);
            let losses: Vec<f64> = logits
                .par_chunks_exact_mut(vocab)
                .zip(&self.labels[first..first + n])
                .map(|(row, &label)| row_loss(row, label, weight))
                .collect();
            total += losses.iter().sum::<f64>();
            let logits = View::new(logits, n, vocab);
            product(logits, head, &mut dx[first * width..], width, false, Cores::All);
            product(logits.t(), chunk, &mut dwte, width, true, Cores::All);
        }
        if let Ok(mut gradients) = self.gradients.lock() {
            *gradients = Some((dx, dwte));
        }
        Ok((CpuStorage::F32(vec![(total / labelled as f64) as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        wte: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let stored = self.gradients.lock().ok().and_then(|mut g| g.take());
        let Some((mut dx, mut dwte)) = stored else {
            candle_core::bail!("the head's gradients were taken already");
        };
        let scale = grad.to_scalar::<f32>()?;
        if scale != 1.0 {
            dx.iter_mut().chain(&mut dwte).for_each(|g| *g *= scale);
        }
        Ok((Some(tensor(dx, x)?), Some(tensor(dwte, wte)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        let inputs = [check::values(&[5, 3], 0.1), check::values(&[11, 3], 0.2)];
        let labels = vec![Some(3), None, Some(10), Some(0), Some(3)];
        check::gradients(&inputs, |t| head_loss(&t[0], &t[1], labels.clone()));
    }

    #[test]
    fn chunks_add_up_to_the_plain_definition() {
        // One token over a chunk's size.
        let rows = CHUNK_TOKENS + 1;
        let (x, wte) = (check::values(&[rows, 4], 0.3), check::values(&[7, 4], 0.4));
        let labels: Vec<u32> = (0..rows as u32).map(|i| i % 7).collect();
        let ours = head_loss(&x, &wte, labels.iter().map(|&l| Some(l)).collect()).unwrap();
        let logits = x.matmul(&wte.t().unwrap()).unwrap().to_vec2::<f32>().unwrap();
        let plain = logits.iter().zip(&labels).map(|(row, &label)| {
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            sum.ln() - f64::from(row[label as usize])
        });
        let plain = plain.sum::<f64>() / rows as f64;
        assert!((f64::from(ours.to_scalar::<f32>().unwrap()) - plain).abs() < 1e-5);
    }
}
