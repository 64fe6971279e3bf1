//! Token and position embeddings, added; the gradient is scattered row by row.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::{tensor, values, with_values};

/// wte (V, C) and wpe (positions, C) at ids (B, T), row-major: (B T, C).
///
/// Every id must be below V and T at most the positions; the caller checks.
pub fn embed(wte: &Tensor, wpe: &Tensor, ids: &[u32], context: usize) -> Result<Tensor> {
    wte.apply_op2(wpe, Embed { ids: ids.to_vec(), context })
}

struct Embed {
    ids: Vec<u32>,
    /// T
    context: usize,
}

impl CustomOp2 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        wte: &CpuStorage,
        lt: &Layout,
        wpe: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = lt.dims()[1];
        let (wte, wpe) = (values(wte, lt)?, values(wpe, lp)?);
        let mut out = Vec::with_capacity(self.ids.len() * width);
        for (i, &id) in self.ids.iter().enumerate() {
            let token = &wte[id as usize * width..][..width];
            let position = &wpe[i % self.context * width..][..width];
            out.extend(token.iter().zip(position).map(|(t, p)| t + p));
        }
        Ok((CpuStorage::F32(out), Shape::from((self.ids.len(), width))))
    }

    fn bwd(
        &self,
        wte: &Tensor,
        wpe: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = wte.dim(1)?;
        let (mut tokens, mut positions) = (vec![0.0; wte.elem_count()], vec![0.0; wpe.elem_count()]);
        with_values(grad, |grad| {
            for (i, (grad, &id)) in grad.chunks_exact(width).zip(&self.ids).enumerate() {
                for (sums, row) in [(&mut tokens, id as usize), (&mut positions, i % self.context)] {
                    for (sum, g) in sums[row * width..][..width].iter_mut().zip(grad) {
                        *sum += g;
                    }
                }
            }
        })?;
        Ok((Some(tensor(tokens, wte)?), Some(tensor(positions, wpe)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        let inputs = [check::values(&[7, 3], 0.1), check::values(&[4, 3], 0.2)];
        check::gradients(&inputs, |t| embed(&t[0], &t[1], &[1, 5, 1, 0, 6, 6], 3));
    }
}
