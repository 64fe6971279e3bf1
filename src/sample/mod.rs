//! Logits, history and a coin give a token. No random generator of its own,
//! no I/O: the caller brings the coin.

mod params;
mod processors;

pub use params::{Params, ParamsError};
pub use processors::{Logits, Sampler, draw, probabilities};
