//! From logits, token history and a uniform sample to the next token. No I/O and no random
//! generator: the caller supplies the uniform sample.

mod params;
mod processors;

pub use params::{Params, ParamsError};
pub use processors::{Logits, Sampler, draw, probabilities};
