//! What the network is: its configuration, its named weights, and its forward
//! pass over any [`crate::backend::Backend`].

pub mod config;
pub mod names;

pub use config::{Config, ConfigError};
