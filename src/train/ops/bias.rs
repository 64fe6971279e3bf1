//! A linear layer's bias.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{CHUNK_ROWS, sum_chunks, tensor, values, with_values};

/// x (R, N) + bias (N).
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op2(bias, AddBias)
}

struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, bias) = (values(x, lx)?, values(b, lb)?);
        let mut out = x.to_vec();
        out.par_chunks_mut(CHUNK_ROWS * bias.len()).for_each(|rows| {
            for row in rows.chunks_exact_mut(bias.len()) {
                for (out, bias) in row.iter_mut().zip(bias) {
                    *out += bias;
                }
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = bias.elem_count();
        let sums = with_values(grad, |grad| {
            sum_chunks(grad.len() / width, width, |rows, sums| {
                for row in grad[rows.start * width..rows.end * width].chunks_exact(width) {
                    for (sum, g) in sums.iter_mut().zip(row) {
                        *sum += g;
                    }
                }
            })
        })?;
        Ok((Some(grad.clone()), Some(tensor(sums, bias)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        for shape in [[1, 1], [3, 5], [33, 2]] {
            let inputs = [check::values(&shape, 0.1), check::values(&shape[1..], 0.2)];
            check::gradients(&inputs, |t| add_bias(&t[0], &t[1]));
        }
    }
}
