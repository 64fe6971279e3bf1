//! The network: its configuration, the names of its tensors, and its forward pass over any
//! [`crate::backend::Backend`].

pub mod assemble;
pub mod config;
pub mod from_weights;
pub mod loader;
pub mod model;
pub mod names;
mod traffic;

pub use assemble::{AssembleError, Assembly};
pub use config::{Config, ConfigError};
pub use from_weights::{FromWeightsError, from_weights};
pub use loader::{LoadError, Loaded, Loader};
pub use model::{ForwardError, Model};
