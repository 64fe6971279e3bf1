//! A bot's on-disk and download formats.
//!
//! [`manifest`] is `bot.json`, [`gguf`] holds the quantised weights, [`digest`] verifies the
//! files, [`file_names`] has their names, and [`face`] generates the accounts' avatars. `folder`
//! (native only) opens and writes the Hugging Face layout. Nothing here imports the network's
//! arithmetic.

pub mod digest;
pub mod face;
pub mod file_names;
pub mod gguf;
pub mod manifest;
pub mod precision;
pub mod q4_0;
pub mod quantize;
pub mod weights;

#[cfg(feature = "native")]
pub mod checkpoint;
#[cfg(feature = "native")]
pub mod folder;
#[cfg(feature = "native")]
pub mod hub;
#[cfg(feature = "native")]
pub mod path_segment;
#[cfg(feature = "native")]
pub mod staging;

pub use manifest::Manifest;
pub use precision::Precision;
pub use weights::Weights;
