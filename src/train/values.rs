//! Tensor values where they are: a slice in main memory, or a tensor on a device.

use std::borrow::Cow;

use candle_core::{Storage, Tensor};

/// The values, gradient or moment of a variable: f32, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    Slice(&'a [f32]),
    Tensor(&'a Tensor),
}

impl<'a> Values<'a> {
    /// Calls `f` with the values, row-major; copies them only if they are not contiguous in main
    /// memory.
    pub fn with<T>(self, f: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
        match self {
            Self::Slice(values) => Ok(f(values)),
            Self::Tensor(tensor) => {
                let (storage, layout) = tensor.storage_and_layout();
                if let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
                    return Ok(f(&values.as_slice::<f32>()?[start..end]));
                }
                drop(storage);
                Ok(f(&tensor.flatten_all()?.to_vec1::<f32>()?))
            }
        }
    }

    /// The values in main memory, copied if they are a tensor.
    pub fn to_memory(self) -> candle_core::Result<Cow<'a, [f32]>> {
        match self {
            Self::Slice(values) => Ok(Cow::Borrowed(values)),
            Self::Tensor(_) => Ok(Cow::Owned(self.with(<[f32]>::to_vec)?)),
        }
    }
}
