//! How the network is computed: one trait, [`Backend`], over which [`crate::gpt2`] writes the
//! network once.
//!
//! A backend owns its layouts. A weight matrix arrives as the bytes of a GGUF tensor and is
//! repacked once; activations stay in the backend's own [`Backend::Rows`], which may be on a
//! device.

mod arriving;
pub mod batch;
pub mod cpu;
pub mod stream;
mod top;
#[cfg(feature = "gpu")]
pub mod webgpu;

use thiserror::Error;

use crate::dtype::Dtype;

pub use batch::{Batch, CacheShape, Outputs, Place, Row, Sequence, Wanted};

/// A request that a backend cannot carry out, or a failure of its device.
#[derive(Debug, Error)]
pub enum BackendError {
    #[error("a ({rows}, {cols}) matrix of {dtype:?} takes {expected} bytes, found {found}")]
    MatrixBytes { rows: usize, cols: usize, dtype: Dtype, expected: usize, found: usize },
    #[error("a quantised matrix needs a multiple of 32 columns, found {cols}")]
    Columns { cols: usize },
    #[error("there is not enough memory for a ({rows}, {cols}) matrix; close other programs or tabs")]
    Memory { rows: usize, cols: usize },
    #[error(
        "there is not enough memory for {slots} tokens, start and drafts together; ask for fewer tokens or drafts"
    )]
    CacheMemory { slots: usize },
    /// The device failed or is gone; whatever was on it is lost.
    #[error("{reason}")]
    Device { reason: String },
}

/// What happens to the result of a linear layer before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// `out = x W^T + b`
    Store,
    /// `out = gelu(x W^T + b)`, the tanh form
    Gelu,
    /// `out += x W^T + b`, the residual connection
    Add,
}

/// The operations of GPT-2's forward pass. They may run at once or be recorded; results are
/// complete after [`Backend::collect`].
///
/// The caller ([`crate::gpt2::Model`]) checks shapes, places and outputs; implementations may rely
/// on that.
pub trait Backend {
    /// The most rows that are computed together. Longer batches run in pieces, which bounds the
    /// memory of activations.
    const ROWS_AT_ONCE: usize;

    /// A weight matrix (N, K); rows are outputs.
    type Matrix;
    /// A matrix whose bytes are still arriving.
    type Packer;
    /// A linear layer's bias (N), or a layer norm's gain or bias (C).
    type Vector;
    /// Activations (R, width) f32.
    type Rows;
    /// Keys and values of every layer.
    type Cache;

    /// Begins a (rows, cols) matrix in `dtype`.
    ///
    /// # Errors
    /// It is quantised and cols is not a multiple of [`BLOCK`](crate::dtype::BLOCK), or there is
    /// not enough memory.
    fn packer(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Self::Packer, BackendError>;
    /// Takes the next bytes of a matrix, in pieces of any size.
    ///
    /// # Errors
    /// There are more than the matrix has.
    fn pack(&self, packer: &mut Self::Packer, bytes: &[u8]) -> Result<(), BackendError>;
    /// Finishes a matrix whose bytes have all arrived.
    ///
    /// # Errors
    /// Bytes are missing.
    fn matrix(&self, packer: Self::Packer) -> Result<Self::Matrix, BackendError>;
    /// Takes a bias or a gain.
    fn vector(&self, values: Vec<f32>) -> Self::Vector;
    /// Creates activations without rows.
    fn rows(&self) -> Self::Rows;
    /// Allocates a KV cache for everything a request can need.
    ///
    /// # Errors
    /// There is not enough memory; the backend is unchanged.
    fn cache(
        &self,
        layers: usize,
        heads: usize,
        channels: usize,
        shape: CacheShape,
    ) -> Result<Self::Cache, BackendError>;

    /// Announces a batch, before the operations of its pieces.
    fn begin(&mut self, batch: &Batch);
    /// Reports the milliseconds that the last announced batch took, if the caller has a clock; from
    /// them the backend may learn which of its ways to compute is fastest on this machine.
    fn took(&mut self, _ms: f64) {}
    /// `out[r] = wte[tokens[r]] + wpe[position of r]`, (R, C).
    fn embed(&mut self, wte: &Self::Matrix, wpe: &Self::Matrix, batch: &Batch, out: &mut Self::Rows);
    /// Layer norm of each row of x (R, C), with gain and bias (C), into out (R, C).
    fn layer_norm(
        &mut self,
        x: &Self::Rows,
        gain: &Self::Vector,
        bias: &Self::Vector,
        epsilon: f32,
        out: &mut Self::Rows,
    );
    /// `x W^T` of x (R, K) and w (N, K), with bias (N) and epilogue, into out (R, N).
    fn linear(
        &mut self,
        w: &Self::Matrix,
        bias: Option<&Self::Vector>,
        x: &Self::Rows,
        epilogue: Epilogue,
        out: &mut Self::Rows,
    );
    /// Stores the keys and values of qkv (R, 3 C) at the batch's places.
    fn store(&mut self, qkv: &Self::Rows, batch: &Batch, layer: usize, cache: &mut Self::Cache);
    /// Causal attention of every row of qkv (R, 3 C) over its sequence, whose keys and values have
    /// been stored, into out (R, C).
    fn attention(
        &mut self,
        qkv: &Self::Rows,
        batch: &Batch,
        layer: usize,
        cache: &Self::Cache,
        out: &mut Self::Rows,
    );
    /// Copies the listed rows of x (R, C), in order, into out after its first `before` rows.
    fn select(&mut self, x: &Self::Rows, rows: &[usize], before: usize, out: &mut Self::Rows);
    /// Computes the wanted logits of every row of x (R, C) with w (V, C). Out holds them at the
    /// latest after [`Backend::collect`].
    fn head(&mut self, w: &Self::Matrix, x: &Self::Rows, wanted: Wanted, out: &mut Outputs);
    /// Waits for recorded operations and completes `out`.
    ///
    /// # Errors
    /// The device has failed.
    fn collect(&mut self, out: &mut Outputs) -> impl Future<Output = Result<(), BackendError>>;
}

/// The norm of the difference over the norm of the expected numbers; infinite if the lengths differ
/// or the result is not a number.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|x| square(*x)).sum();
    match (difference / size.max(f64::MIN_POSITIVE)).sqrt() {
        off if off.is_nan() || found.len() != expected.len() => f64::INFINITY,
        off => off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_infinitely_far() {
        assert_eq!(relative_error(&[3.0, 4.5], &[3.0, 4.0]), 0.1);
        assert_eq!(relative_error(&[0.0], &[0.0]), 0.0);
        for (found, expected) in [
            (&[1.0][..], &[1.0, 1.0][..]),
            (&[f32::NAN, 1.0], &[1.0, 1.0]),
            (&[1.0, 1.0], &[f32::INFINITY, 1.0]),
        ] {
            assert_eq!(relative_error(found, expected), f64::INFINITY);
        }
    }
}
