//! Dropout with the decisions of [`Mask`], on any device.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::train::chance::Mask;

/// Applies the mask to the rows of x (.., C); returns x itself without a mask.
pub(super) fn dropout(x: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
    match mask {
        Some(mask) => x.contiguous()?.apply_op1(Dropout(mask)),
        None => Ok(x.clone()),
    }
}

struct Dropout(Mask);

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (start, end, width) = rows(layout)?;
        let mut values = storage.as_slice::<f32>()?[start..end].to_vec();
        for (index, row) in values.chunks_exact_mut(width).enumerate() {
            self.0.row(index).apply(row);
        }
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (start, end, width) = rows(layout)?;
        let dropped = super::dropout_cuda::apply(&self.0, storage, start..end, width)?;
        Ok((dropped, layout.shape().clone()))
    }

    /// The same mask applied to the gradient: zero where x was dropped, else scaled.
    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        dropout(grad, Some(self.0)).map(Some)
    }
}

/// Start and end of the values in storage, and the width of a row.
fn rows(layout: &Layout) -> Result<(usize, usize, usize)> {
    match (layout.contiguous_offsets(), layout.dims().last()) {
        (Some((start, end)), Some(&width)) if width > 0 => Ok((start, end, width)),
        _ => candle_core::bail!("dropout needs contiguous rows"),
    }
}
