//! The vector kernels of this target, behind one name: `wasm.rs` writes
//! simd128, `portable.rs` writes loops that compilers vectorise. Twins with
//! the same signatures as [`super::scalar`], and the same bits.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::{panel_q4, panel_q8};

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use portable::{panel_q4, panel_q8};
