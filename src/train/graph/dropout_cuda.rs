//! Dropout on an NVIDIA GPU: `dropout.cu`, compiled on first use.

use std::{ops::Range, sync::OnceLock};

use candle_core::{
    CudaStorage, Result,
    cuda_backend::{
        WrapErr,
        cudarc::{
            driver::{LaunchConfig, PushKernelArg},
            nvrtc::compile_ptx,
        },
    },
};

use crate::train::chance::Mask;

const SOURCE: &str = include_str!("dropout.cu");
/// A launch counts its threads in 32 bits.
const MOST: usize = u32::MAX as usize;

/// A copy of the values in `range` (R, width) of f32 storage, with the mask applied.
pub(super) fn apply(
    mask: &Mask,
    storage: &CudaStorage,
    range: Range<usize>,
    width: usize,
) -> Result<CudaStorage> {
    use candle_core::backend::BackendStorage;

    let (n, device) = (range.len(), storage.device());
    if n > MOST {
        candle_core::bail!("dropout of {n} values at once: choose a smaller --batch");
    }
    let x = storage.as_cuda_slice::<f32>()?.slice(range);
    let kernel = device.get_or_load_custom_func("dropout", "huggingtweets-dropout", compiled()?)?;
    // SAFETY: the kernel below writes each of the n values before anything reads them.
    let out = unsafe { device.alloc::<f32>(n)? };
    let (key, threshold, scale) = mask.parts();
    let (length, width) = (n as u64, width as u64);
    let mut launch = kernel.builder();
    launch.arg(&x).arg(&out).arg(&length).arg(&width).arg(&key).arg(&threshold).arg(&scale);
    // SAFETY: the arguments match the kernel's parameters in type and order; it accesses only
    // indices below n, and both slices have n values.
    unsafe { launch.launch(LaunchConfig::for_num_elems(n as u32)) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

fn compiled() -> Result<&'static str> {
    static PTX: OnceLock<String> = OnceLock::new();
    if let Some(ptx) = PTX.get() {
        return Ok(ptx);
    }
    let ptx = compile_ptx(SOURCE).w()?.to_src();
    Ok(PTX.get_or_init(|| ptx))
}
