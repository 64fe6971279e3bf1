//! An in-memory checkpoint: f32 tensors by checkpoint name.

use std::collections::BTreeMap;

/// One dense tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Every tensor of a GPT-2, by checkpoint name without the `transformer.` prefix
/// ([`crate::gpt2::names`] lists them). Conv1D weights are (in, out).
pub type Weights = BTreeMap<String, Tensor>;
