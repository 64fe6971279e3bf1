//! Dropout from a [`Mask`].

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{tensor, values, with_values};
use crate::train::chance::Mask;

const CHUNK: usize = 1 << 13;

/// x, with elements dropped and the others scaled up; x itself where the mask is `None`.
pub fn dropout(x: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
    match mask {
        Some(mask) => x.apply_op1(Dropout(mask)),
        None => Ok(x.clone()),
    }
}

struct Dropout(Mask);

impl Dropout {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            for (i, x) in values.iter_mut().enumerate() {
                *x *= self.0.factor(chunk * CHUNK + i);
            }
        });
        out
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(values(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(tensor(with_values(grad, |grad| self.apply(grad))?, x)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        check::gradients(&[check::values(&[4, 9], 0.3)], |t| dropout(&t[0], Mask::new(0.3, 1, 2, 3)));
    }
}
