//! Fused operations with hand-written gradients, one a file.
//!
//! All take and give f32, row-major, contiguous. Rows are worked on in
//! parallel in chunks of a fixed size, and sums over rows are folded in chunk
//! order, so that a result does not depend on the number of threads.

mod attention;
mod bias;
mod dropout;
mod embedding;
mod gelu;
mod head;
mod layer_norm;
mod matmul;

pub use attention::attention;
pub use bias::add_bias;
pub use dropout::dropout;
pub use embedding::embed;
pub use gelu::gelu;
pub use head::head_loss;
pub use layer_norm::layer_norm;

use candle_core::{CpuStorage, Device, Layout, Result, Storage, Tensor};
use rayon::prelude::*;

/// Rows of one parallel task.
const CHUNK_ROWS: usize = 32;

/// The values behind a storage and its layout.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a fused operation needs contiguous input"),
    }
}

/// Calls `f` with the values of a tensor.
pub(super) fn with_values<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(values(storage, layout)?)),
        _ => candle_core::bail!("a fused operation needs a tensor in main memory"),
    }
}

fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}

/// Column sums of x (rows, width), plus whatever else `f` adds up per chunk of
/// rows: partial results are folded in chunk order.
fn sum_chunks(rows: usize, width: usize, f: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    let chunks: Vec<Vec<f32>> = (0..rows.div_ceil(CHUNK_ROWS))
        .into_par_iter()
        .map(|chunk| {
            let mut sums = vec![0.0; width];
            let first = chunk * CHUNK_ROWS;
            f(first..(first + CHUNK_ROWS).min(rows), &mut sums);
            sums
        })
        .collect();
    let mut total = vec![0.0; width];
    for chunk in chunks {
        for (total, part) in total.iter_mut().zip(chunk) {
            *total += part;
        }
    }
    total
}

/// The sum of squares, in f64, folded in a fixed order.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(1 << 14)
        .map(|chunk| chunk.iter().map(|&v| f64::from(v) * f64::from(v)).sum())
        .collect();
    parts.iter().sum()
}

#[cfg(test)]
mod check {
    //! Finite differences: the one judge of every hand-written gradient.

    use candle_core::{Device, Result, Tensor, Var};

    /// A fixed, irregular tensor with values of about unit size.
    pub fn values(shape: &[usize], phase: f32) -> Tensor {
        let n = shape.iter().product();
        let data: Vec<f32> = (0..n).map(|i| ((i as f32 * 1.37 + phase).sin() * 7.0).sin()).collect();
        Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
    }

    /// Compares the gradient of `sum(f(inputs) * weights)` with central
    /// differences, for every element of every input.
    pub fn gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let loss = |inputs: &[Tensor]| {
            let out = f(inputs).unwrap();
            let weights = values(out.dims(), 0.5);
            (out * weights).unwrap().sum_all().unwrap()
        };
        let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let grads = loss(&tensors).backward().unwrap();
        const STEP: f32 = 1e-2;
        for (which, var) in vars.iter().enumerate() {
            let exact: Vec<f32> = grads.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let base: Vec<f32> = inputs[which].flatten_all().unwrap().to_vec1().unwrap();
            for i in 0..base.len() {
                let at = |delta: f32| {
                    let mut data = base.clone();
                    data[i] += delta;
                    let mut all = inputs.to_vec();
                    all[which] = Tensor::from_vec(data, inputs[which].shape(), &Device::Cpu).unwrap();
                    loss(&all).to_scalar::<f32>().unwrap()
                };
                let estimate = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let bound = 2e-2 * (1.0 + exact[i].abs());
                assert!(
                    (exact[i] - estimate).abs() < bound,
                    "input {which}, element {i}: {} {estimate}",
                    exact[i]
                );
            }
        }
    }
}
