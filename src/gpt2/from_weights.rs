//! Builds a model from a checkpoint in memory, quantised if the precision says so.

use thiserror::Error;

use super::{AssembleError, Assembly, Config, Model, names};
use crate::{
    backend::Backend,
    bundle::{
        Precision, Weights,
        gguf::{self, GgufError, WriteOptions},
    },
};

/// Why a checkpoint does not make a model.
#[derive(Debug, Error)]
pub enum FromWeightsError {
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Stored(#[from] GgufError),
}

/// The model of a checkpoint at a precision. Its weights have the bytes that the GGUF writer would
/// write by itself, that is with plain rounding at 4 bits.
pub fn from_weights<B: Backend>(
    config: &Config,
    weights: &Weights,
    precision: Precision,
    backend: B,
) -> Result<Model<B>, FromWeightsError> {
    let mut assembly = Assembly::new(config.clone(), backend);
    for tensor in names::tensors(config) {
        let weight = gguf::expect_tensor(&tensor, weights)?;
        if tensor.role == names::Role::Vector {
            assembly.vector(&tensor.name, weight.data.clone())?;
            continue;
        }
        let (dtype, bytes) = gguf::stored(&tensor, weight, precision, &WriteOptions::default())?;
        assembly.matrix(&tensor.name, tensor.gguf_shape(), dtype, &bytes)?;
    }
    Ok(assembly.finish()?)
}
