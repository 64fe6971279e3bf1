//! The vector kernels of this target, behind one name, with the bits of
//! [`super::scalar`]:
//!
//! | module | target | instruction |
//! | --- | --- | --- |
//! | `wasm` | wasm32 with simd128 | the one that `dot` chooses |
//! | `x86` | x86-64 | `vpdpbusd` (AVX-VNNI or AVX-512's), else `vpmaddubsw` (AVX2), chosen at run time |
//! | `neon` | aarch64 | `sdot` where the processor has it |
//! | `portable` | any | loops that compilers vectorise |

/// Calls a kernel made for as many rows as the panels' tile has: at most `most`.
#[allow(unused_macros, reason = "the portable form needs none")]
macro_rules! by_rows {
    ($kernel:ident::<$form:ty>($panels:ident), $most:expr) => {
        by_rows!($kernel::<$form>($panels), $most; 1 2 3 4 5 6 7 8)
    };
    ($kernel:ident::<$form:ty>($panels:ident), $most:expr; $($rows:literal)*) => {
        match $panels.x.rows {
            $($rows if $rows <= $most => $kernel::<$form, $rows>($panels),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

mod arguments;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;

#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod across;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod dot;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
mod pairs;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use wasm as target;

#[cfg(any(target_arch = "x86_64", target_feature = "relaxed-simd"))]
mod signs;

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
use x86 as target;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
use neon as target;

#[cfg(not(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    target_arch = "x86_64",
    target_arch = "aarch64"
)))]
use portable as target;

pub use arguments::Panels;
pub use target::{PACKED, TILE, instructions, pack, panels, tile_rows};

/// Rows of a tile of `rows` rows in all: tiles of equal size of at most `most`.
fn equal(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1))
}
