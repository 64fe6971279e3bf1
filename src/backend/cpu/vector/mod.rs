//! The vector kernels of this target, under common names; they give the bits of [`super::scalar`]:
//!
//! | module | target | instruction |
//! | --- | --- | --- |
//! | `wasm` | wasm32 with simd128 | the one that `dot` selects |
//! | `x86` | x86-64 | `vpdpbusd` (AVX-VNNI or AVX-512's), else `vpmaddubsw` (AVX2), chosen at run time |
//! | `neon` | aarch64 | `sdot` where the processor has it |
//! | `portable` | any | loops that compilers vectorise |

/// Calls the kernel instance for the number of rows in the panels' tile, at most `most`.
#[allow(unused_macros, reason = "the portable form needs none")]
macro_rules! by_rows {
    ($kernel:ident::<$form:ty>($panels:ident), $most:expr) => {
        by_rows!($kernel::<$form>($panels), $most; 1 2 3 4 5 6 7 8)
    };
    ($kernel:ident::<$form:ty>($panels:ident), $most:expr; $($rows:literal)*) => {
        match $panels.x().rows {
            $($rows if $rows <= $most => $kernel::<$form, $rows>($panels),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

/// Sets the sums to zero, then runs `each` for every block of every panel, the panels of a group in
/// turn. `each` gets the start of the block, its index in the panel, and the panel's sums (`rows`).
/// `format` is the panels'.
///
/// Each panel has its own copy of the instructions: the hardware prefetcher follows a load
/// instruction that advances in steps, but not one that alternates between streams.
#[allow(unused_macros, reason = "the portable form goes from panel to panel")]
macro_rules! in_turn {
    ($panels:ident, $format:expr, $rows:expr, |$block:ident, $b:ident, $sums:ident| $each:expr) => {
        let (blocks, stride) = ($panels.x().blocks, $panels.stride());
        $panels.sums().as_flattened_mut().fill(0.0);
        for (weights, all) in $panels.groups() {
            let all = all.as_chunks_mut::<{ $rows }>().0;
            match all.len() {
                1 => in_turn!([weights, all, stride, blocks, $format], |$block, $b, $sums| $each; 0),
                2 => in_turn!([weights, all, stride, blocks, $format], |$block, $b, $sums| $each; 0 1),
                4 => in_turn!([weights, all, stride, blocks, $format], |$block, $b, $sums| $each; 0 1 2 3),
                streams => unreachable!("{streams} streams"),
            }
        }
    };
    (
        [$weights:ident, $all:ident, $stride:ident, $blocks:ident, $format:expr],
        |$block:ident, $b:ident, $sums:ident| $each:expr; $($panel:literal)*
    ) => {
        for $b in 0..$blocks {
            $(in_turn!([$weights, $all, $stride, $blocks, $format], |$block, $b, $sums| $each, $panel);)*
        }
    };
    (
        [$weights:ident, $all:ident, $stride:ident, $blocks:ident, $format:expr],
        |$block:ident, $b:ident, $sums:ident| $each:expr, $panel:expr
    ) => {{
        let at = ($panel * $stride * $blocks + $b) * $format.block_bytes();
        // SAFETY: the block is in weights, as Panels::new has checked, and a group has sums for
        // each of its panels.
        let ($block, $sums) = unsafe { ($weights.as_ptr().add(at), $all.get_unchecked_mut($panel)) };
        $each
    }};
}

mod arguments;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod dot;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
mod pairs;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use wasm as target;

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

pub use arguments::{PanelGroups, Panels};
pub use target::{PACKED, TILE, format8, instructions, interleaved, pack, panels, tile_rows};

/// Rows per tile when `rows` rows are divided into tiles of nearly equal size, at most `most` each.
fn equal(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1))
}
