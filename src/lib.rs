//! huggingtweets: trains GPT-2 on somebody's posts and writes new ones on the visitor's own device.
//!
//! Dimensions, used in every numeric signature of this crate:
//!
//! | letter | meaning |
//! | --- | --- |
//! | B | drafts (or sequences) computed together |
//! | T | tokens of a sequence |
//! | C | channels, `n_embd` |
//! | H | attention heads; each is C / H wide |
//! | L | layers |
//! | V | vocabulary |
//! | R | rows of activations in one step: prompt tokens, or one token of each draft |
//!
//! ARCHITECTURE.md lists the modules and which may import which;
//! `tests/integration/architecture/mod.rs` enforces it.

pub mod backend;
pub mod bundle;
pub mod dtype;
pub mod generate;
pub mod gpt2;
pub mod sample;
pub mod tokenizer;
pub mod tweets;

#[cfg(feature = "native")]
pub mod card;
#[cfg(feature = "native")]
pub mod cli;
#[cfg(feature = "native")]
pub mod record;
#[cfg(feature = "native")]
pub mod train;

#[cfg(feature = "worker")]
pub mod web;

#[cfg(test)]
#[path = "../tests/integration/beside.rs"]
mod beside;
