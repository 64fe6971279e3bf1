//! 4-bit quantisation with error feedback: GPTQ (Frantar et al. 2022, arXiv:2210.17323).
//!
//! Rounding a matrix one input channel after the other, each channel's errors can be made up for by
//! the channels that are still to come, as far as their inputs correlate. What correlates is seen on
//! text: [`quantize`] sends some through the network, layer by layer, each with the weights of the
//! layers before as they are stored. Files keep the format of plain rounding (Q4_0), and about half
//! of its loss is gone (benches/README.md, Quantisation).

mod cholesky;
mod matrix;

use std::collections::BTreeMap;

use super::{
    TrainError,
    ops::matmul::{Cores, View, product},
    pass::ByLayer,
};
use crate::{
    bundle::{Weights, gguf::Quantized},
    gpt2::{Config, names},
};

/// Quantises those matrices of the layers for which `is_wanted`, for text like `ids`: B sequences of
/// T = `context` tokens. In `weights` they are replaced by what is stored. Before each matrix `stop`
/// gets the number of finished layers; if it returns true, the result is `None`.
///
/// A matrix whose inputs are no whole blocks of 32, or whose values are not finite, is left out.
///
/// # Errors
/// [`TrainError::Context`], [`TrainError::Batch`] and [`TrainError::Token`] for ids that are not a
/// batch of this network, [`TrainError::MissingTensor`].
pub fn quantize(
    config: &Config,
    weights: &mut Weights,
    ids: &[u32],
    context: usize,
    is_wanted: impl Fn(&names::Tensor) -> bool,
    stop: impl Fn(usize) -> bool,
) -> Result<Option<Quantized>, TrainError> {
    let wanted: BTreeMap<String, names::Tensor> = names::tensors(config)
        .into_iter()
        .filter(|tensor| tensor.role == names::Role::Matrix && is_wanted(tensor))
        .map(|tensor| (tensor.name.clone(), tensor))
        .collect();
    let mut quantized = Quantized::new();
    let mut text = ByLayer::new(config, weights, ids, context)?;
    for layer in 0..config.n_layer {
        let mut products: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        text.inputs(weights, |inputs| {
            for (name, x) in inputs {
                let name = format!("h.{layer}.{name}");
                if let Some(tensor) = wanted.get(&name) {
                    let width = tensor.shape[0];
                    let sums = products.entry(name).or_insert_with(|| vec![0.0; width * width]);
                    let x = View::new(x, x.len() / width, width);
                    product(x.t(), x, sums, width, true, Cores::All);
                }
            }
        })?;
        for (name, products) in products {
            if stop(layer) {
                return Ok(None);
            }
            let missing = || TrainError::MissingTensor { name: name.clone() };
            let weight = weights.get_mut(&name).ok_or_else(missing)?;
            if let Some(bytes) = matrix::quantize(&mut weight.data, products) {
                quantized.insert(name, bytes);
            }
        }
        // Nothing looks at what comes out of the last layer.
        if layer + 1 < config.n_layer {
            text.advance(weights)?;
        }
    }
    Ok(Some(quantized))
}

#[cfg(test)]
mod tests;
