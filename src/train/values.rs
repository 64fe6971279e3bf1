//! Numbers where they are: in main memory, or a device's tensor.

use std::borrow::Cow;

use candle_core::{Storage, Tensor};

/// A variable's values, gradient or moment: f32, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    Slice(&'a [f32]),
    Tensor(&'a Tensor),
}

impl<'a> Values<'a> {
    /// Calls `f` with the values, copied only if they are not in main memory.
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

    /// The values in main memory.
    pub fn to_memory(self) -> candle_core::Result<Cow<'a, [f32]>> {
        match self {
            Self::Slice(values) => Ok(Cow::Borrowed(values)),
            Self::Tensor(_) => Ok(Cow::Owned(self.with(<[f32]>::to_vec)?)),
        }
    }
}
