//! How the network is computed. One trait, [`Backend`]; the network in
//! [`crate::gpt2`] is written once over it.
//!
//! A backend owns its layouts: a weight matrix arrives as the bytes of a GGUF
//! tensor and is repacked once. Activations stay in the backend's own
//! [`Backend::Rows`], so that an implementation may keep them on a device.

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

/// What a backend cannot take, or cannot do any more.
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
    /// The device's fault, or the end of it; whatever was on it is lost.
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

/// The operations of GPT-2's forward pass. They may be carried out at once or
/// recorded; their results are there after [`Backend::collect`].
///
/// Shapes, places and outputs are checked by the caller ([`crate::gpt2::Model`]); an
/// implementation may rely on them.
pub trait Backend {
    /// Rows computed together; a longer batch is run in pieces, so that the
    /// activations' memory stays bounded.
    const ROWS_AT_ONCE: usize;

    /// A weight matrix (N, K), rows are outputs.
    type Matrix;
    /// A matrix whose bytes are still arriving.
    type Packer;
    /// A bias, or a layer norm's gain (K).
    type Vector;
    /// Activations (R, width) f32.
    type Rows;
    /// Keys and values of every layer.
    type Cache;

    /// Begins a matrix (rows, cols) in `dtype`.
    ///
    /// # Errors
    /// It is quantised and cols no multiple of [`BLOCK`](crate::dtype::BLOCK), or there is no
    /// memory for it.
    fn packer(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Self::Packer, BackendError>;
    /// Takes the next bytes of a matrix, in pieces of any size.
    ///
    /// # Errors
    /// They are more than it has.
    fn pack(&self, packer: &mut Self::Packer, bytes: &[u8]) -> Result<(), BackendError>;
    /// The matrix, once all its bytes are there.
    ///
    /// # Errors
    /// Some are missing.
    fn matrix(&self, packer: Self::Packer) -> Result<Self::Matrix, BackendError>;
    /// Takes a vector.
    fn vector(&self, values: Vec<f32>) -> Self::Vector;
    /// Activations of no rows yet.
    fn rows(&self) -> Self::Rows;
    /// A cache, allocated once for everything a request can need.
    ///
    /// # Errors
    /// There is no memory for it; the backend is as it was.
    fn cache(
        &self,
        layers: usize,
        heads: usize,
        channels: usize,
        shape: CacheShape,
    ) -> Result<Self::Cache, BackendError>;

    /// Hears of a batch before the operations of its pieces.
    fn begin(&mut self, batch: &Batch);
    /// Hears how many milliseconds the batch that began last took, where its caller
    /// has a clock: which way is quickest here is the backend's to learn.
    fn took(&mut self, _ms: f64) {}
    /// `out[r] = wte[tokens[r]] + wpe[position of r]`, (R, C).
    fn embed(&mut self, wte: &Self::Matrix, wpe: &Self::Matrix, batch: &Batch, out: &mut Self::Rows);
    /// Normalises each row of x (R, C), then gain and bias.
    fn layer_norm(
        &mut self,
        x: &Self::Rows,
        gain: &Self::Vector,
        bias: &Self::Vector,
        epsilon: f32,
        out: &mut Self::Rows,
    );
    /// x (R, K) times w (N, K) transposed, with bias (N) and epilogue, into out (R, N).
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
    /// Causal attention of every row of qkv (R, 3 C) over its sequence, whose keys and
    /// values are stored, into out (R, C).
    fn attention(
        &mut self,
        qkv: &Self::Rows,
        batch: &Batch,
        layer: usize,
        cache: &Self::Cache,
        out: &mut Self::Rows,
    );
    /// The listed rows of x, in order, behind the first `before` rows of out.
    fn select(&mut self, x: &Self::Rows, rows: &[usize], before: usize, out: &mut Self::Rows);
    /// The logits of every row of x (R, C) with w (V, C), as many as are
    /// wanted, into out: some now, some by [`Backend::collect`].
    fn head(&mut self, w: &Self::Matrix, x: &Self::Rows, wanted: Wanted, out: &mut Outputs);
    /// Waits for what was recorded, and fills out.
    ///
    /// # Errors
    /// The device has failed.
    fn collect(&mut self, out: &mut Outputs) -> impl Future<Output = Result<(), BackendError>>;
}

/// How far numbers are off the expected ones: norm of the difference over
/// norm. Infinite where it cannot be told.
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
