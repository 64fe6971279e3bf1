//! A checkpoint in memory becomes a model, quantised on the way if wanted.

use super::{AssembleError, Assembly, Config, Model, names};
use crate::{
    backend::{Backend, Dtype},
    bundle::{Precision, Weights, quantize},
};

/// The model of a checkpoint at a precision. The quantised blocks are the ones
/// that the GGUF writer makes, so a bot gives the same logits from either.
pub fn from_weights<B: Backend>(
    config: &Config,
    weights: &Weights,
    precision: Precision,
    backend: B,
) -> Result<Model<B>, AssembleError> {
    let mut assembly = Assembly::new(config.clone(), backend);
    for tensor in names::tensors(config) {
        let found =
            weights.get(&tensor.name).ok_or_else(|| AssembleError::Missing { name: tensor.name.clone() })?;
        let expected: usize = tensor.shape.iter().product();
        if found.data.len() != expected {
            return Err(AssembleError::Vector { name: tensor.name, found: found.data.len(), expected });
        }
        if tensor.role == names::Role::Vector {
            assembly.vector(&tensor.name, found.data.clone())?;
            continue;
        }
        let (rows, cols, values) = quantize::as_rows(&tensor, &found.data);
        let stored = quantize::stored_as(&tensor, cols, precision);
        let bytes = quantize::encode(&values, stored);
        let dtype = match stored {
            quantize::Stored::F32 => Dtype::F32,
            quantize::Stored::F16 => Dtype::F16,
            quantize::Stored::Q8_0 => Dtype::Q8_0,
            quantize::Stored::Q4_0 => Dtype::Q4_0,
        };
        assembly.matrix(&tensor.name, (rows, cols), dtype, &bytes)?;
    }
    assembly.finish()
}
