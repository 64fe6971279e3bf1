//! Which simd128 instruction multiplies: relaxed (`i32x4.relaxed_dot_i8x16_i7x16_add_s`,
//! four products a lane) or plain (`i32x4.dot_i16x8_s`, two a lane). The one
//! place where the two artefacts differ; all forms give the same integers.
//!
//! A vector of weights holds four rows by four columns; a [`Product`] says how
//! such vectors meet the bytes of activation rows.

use core::arch::wasm32::*;

use crate::backend::cpu::{
    panels::Format,
    quant::{BLOCK, Tile},
    vector::{Panels, wasm},
};

#[cfg(not(target_feature = "relaxed-simd"))]
pub use plain::*;
#[cfg(target_feature = "relaxed-simd")]
pub use relaxed::*;

const ZERO: v128 = i32x4(0, 0, 0, 0);

/// Products of weights with activations, in 32-bit sums.
pub trait Product {
    /// A vector of weights, as it is multiplied.
    type Weights: Copy;
    /// Four columns of an activation row, as they are multiplied.
    type Quad: Copy;
    /// Sums over a block for one activation row and four rows of weights.
    type Sum: Copy;
    /// How the weights are stored.
    const FORMAT: Format;
    /// Bytes of an activation row's block.
    const ROW: usize;
    /// Bytes from one column quad of a row to the next.
    const QUAD: usize;

    /// Where a tile's (block, row, [`Product::ROW`]) bytes begin.
    fn rows(x: &Tile) -> *const u8;

    /// What a sum begins with. `offset` has [`Tile::offsets`]' number of the
    /// activation row in every lane.
    fn start(offset: v128) -> Self::Sum;

    /// Prepares weights once for all activation rows.
    fn weights(weights: v128) -> Self::Weights;

    /// A column quad.
    ///
    /// # Safety
    /// `x` must be where one begins in a row's block.
    unsafe fn quad(x: *const u8) -> Self::Quad;

    fn add(sum: &mut Self::Sum, weights: Self::Weights, x: Self::Quad);

    /// Two sums of one block as one.
    fn join(a: Self::Sum, b: Self::Sum) -> Self::Sum;

    /// The integer dots of four rows.
    fn total(sum: Self::Sum) -> v128;
}

/// Each panel as [`crate::backend::cpu::scalar::panel`] multiplies it, in the
/// form that runs here; at most [`TILE`] rows.
pub fn panels(panels: Panels) {
    match panels.format {
        Format::Q8 => panels8(panels),
        Format::Q4 => panels4(panels),
    }
}

#[cfg(target_feature = "relaxed-simd")]
mod relaxed {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::backend::cpu::vector::planes;

    /// Bytes of a packed block, which [`Planes`] alone reads.
    pub const PACKED: usize = planes::BYTES;

    /// Activation rows that weights are read once for.
    pub const TILE: usize = 6;

    /// Rows of a tile where there are more: sums and what they are made of stay
    /// in the fifteen registers that engines have for them on x86-64.
    pub const TILE_OF_MANY: usize = 4;

    /// How this machine's instruction reads a byte over 127 in its second
    /// operand. The standard leaves it open between machines, not within one,
    /// so it is tried once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    enum Reading {
        Unsigned = 1,
        Signed = 2,
        /// As neither, exactly: sums of pairs saturate.
        Inexact = 3,
    }

    impl Reading {
        fn get() -> Self {
            static FOUND: AtomicU8 = AtomicU8::new(0);
            match FOUND.load(Ordering::Relaxed) {
                1 => Self::Unsigned,
                2 => Self::Signed,
                3 => Self::Inexact,
                _ => {
                    let found = Self::probe();
                    FOUND.store(found as u8, Ordering::Relaxed);
                    found
                }
            }
        }

        /// The corners, where a wrong reading or a saturated pair must show.
        #[cold]
        fn probe() -> Self {
            let agrees = |read: fn(u8) -> i32| {
                [-128i8, -127, 1, 127].into_iter().all(|w| {
                    [0u8, 1, 127, 128, 129, 200, 255].into_iter().all(|x| {
                        // Hidden from the optimiser, which need not know the machine.
                        let (w, x) = (std::hint::black_box(w), std::hint::black_box(x));
                        let dot = i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(w), u8x16_splat(x), ZERO);
                        i32x4_extract_lane::<0>(dot) == 4 * i32::from(w) * read(x)
                    })
                })
            };
            if agrees(|x| i32::from(x)) {
                Self::Unsigned
            } else if agrees(|x| i32::from(x as i8)) {
                Self::Signed
            } else {
                Self::Inexact
            }
        }
    }

    pub fn name() -> &'static str {
        match Reading::get() {
            Reading::Unsigned => "relaxed simd128, unsigned",
            Reading::Signed => "relaxed simd128, signed",
            Reading::Inexact => "relaxed simd128, planes",
        }
    }

    /// Packs a block where the form that runs here needs it.
    pub fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
        if Reading::get() == Reading::Inexact {
            planes::write(values, out);
        }
    }

    /// Runs panels of 8-bit weights.
    pub fn panels8(panels: Panels) {
        match Reading::get() {
            Reading::Unsigned => wasm::run::<Offset>(panels),
            Reading::Signed => wasm::run::<Signed>(panels),
            Reading::Inexact => wasm::run::<Planes>(panels),
        }
    }

    /// Runs panels of 4-bit weights.
    pub fn panels4(panels: Panels) {
        wasm::run::<Nibbles>(panels);
    }

    /// Activations times bytes that the instruction reads rightly.
    macro_rules! direct {
        ($name:ident, $format:ident, $start:expr, $weights:expr) => {
            impl Product for $name {
                type Weights = v128;
                type Quad = v128;
                type Sum = v128;
                const FORMAT: Format = Format::$format;
                const ROW: usize = BLOCK;
                const QUAD: usize = 4;

                #[inline(always)]
                fn rows(x: &Tile) -> *const u8 {
                    x.values.as_ptr().cast()
                }

                #[inline(always)]
                fn start(offset: v128) -> v128 {
                    $start(offset)
                }

                #[inline(always)]
                fn weights(weights: v128) -> v128 {
                    $weights(weights)
                }

                #[inline(always)]
                unsafe fn quad(x: *const u8) -> v128 {
                    // SAFETY: the caller's; a quad has four bytes.
                    unsafe { v128_load32_splat(x.cast()) }
                }

                #[inline(always)]
                fn add(sum: &mut v128, weights: v128, x: v128) {
                    *sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, *sum);
                }

                #[inline(always)]
                fn join(a: v128, b: v128) -> v128 {
                    i32x4_add(a, b)
                }

                #[inline(always)]
                fn total(sum: v128) -> v128 {
                    sum
                }
            }
        };
    }

    /// Second operand: the weight + 128, unsigned. A sum begins with -128 times
    /// the activations, 16 times what takes the 8 of 4-bit weights out.
    pub struct Offset;
    direct!(Offset, Q8, |offset| i32x4_shl(offset, 4), |weights| v128_xor(weights, u8x16_splat(128)));

    /// Second operand: the weight, signed.
    pub struct Signed;
    direct!(Signed, Q8, |_| ZERO, |weights| weights);

    /// Second operand: a 4-bit weight as it is stored, 0..=15, 8 too high.
    pub struct Nibbles;
    direct!(Nibbles, Q4, |offset| offset, |weights| weights);

    /// Second operand: both planes of the activation, below 128.
    pub struct Planes;

    impl Product for Planes {
        type Weights = v128;
        type Quad = (v128, v128);
        type Sum = (v128, v128);
        const FORMAT: Format = Format::Q8;
        const ROW: usize = PACKED;
        const QUAD: usize = 4;

        #[inline(always)]
        fn rows(x: &Tile) -> *const u8 {
            x.packed.as_ptr()
        }

        #[inline(always)]
        fn start(_: v128) -> (v128, v128) {
            (ZERO, ZERO)
        }

        #[inline(always)]
        fn weights(weights: v128) -> v128 {
            weights
        }

        #[inline(always)]
        unsafe fn quad(x: *const u8) -> (v128, v128) {
            // SAFETY: the caller's; a quad has four bytes a plane, and the
            // second plane is 32 bytes further on.
            unsafe { (v128_load32_splat(x.cast()), v128_load32_splat(x.add(BLOCK).cast())) }
        }

        #[inline(always)]
        fn add(sum: &mut (v128, v128), weights: v128, (positive, negative): (v128, v128)) {
            sum.0 = i32x4_relaxed_dot_i8x16_i7x16_add(weights, positive, sum.0);
            sum.1 = i32x4_relaxed_dot_i8x16_i7x16_add(weights, negative, sum.1);
        }

        #[inline(always)]
        fn join(a: (v128, v128), b: (v128, v128)) -> (v128, v128) {
            (i32x4_add(a.0, b.0), i32x4_add(a.1, b.1))
        }

        #[inline(always)]
        fn total(sum: (v128, v128)) -> v128 {
            i32x4_sub(sum.0, sum.1)
        }
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
mod plain {
    use super::*;

    /// Activation rows that weights are read once for.
    pub const TILE: usize = 4;

    /// Rows of a tile where there are more.
    pub const TILE_OF_MANY: usize = TILE;

    /// Bytes of a packed block: 16 bits a value.
    pub const PACKED: usize = 2 * BLOCK;

    pub fn name() -> &'static str {
        "simd128"
    }

    pub fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
        for (v, out) in values.iter().zip(out.as_chunks_mut::<2>().0) {
            *out = i16::from(*v).to_le_bytes();
        }
    }

    /// Runs panels of 8-bit weights.
    pub fn panels8(panels: Panels) {
        wasm::run::<Pairs<false>>(panels);
    }

    /// Runs panels of 4-bit weights.
    pub fn panels4(panels: Panels) {
        wasm::run::<Pairs<true>>(panels);
    }

    /// Partial sums of columns (0+1, 2+3) of rows 0 and 1, and of rows 2 and 3;
    /// the pairs meet once a block.
    pub struct Pairs<const NIBBLES: bool>;

    impl<const NIBBLES: bool> Product for Pairs<NIBBLES> {
        type Weights = (v128, v128);
        type Quad = v128;
        type Sum = (v128, v128);
        const FORMAT: Format = if NIBBLES { Format::Q4 } else { Format::Q8 };
        const ROW: usize = PACKED;
        const QUAD: usize = 8;

        #[inline(always)]
        fn rows(x: &Tile) -> *const u8 {
            x.packed.as_ptr()
        }

        #[inline(always)]
        fn start(offset: v128) -> (v128, v128) {
            // Once a pair.
            let first = if NIBBLES { v128_and(offset, i32x4(-1, 0, -1, 0)) } else { ZERO };
            (first, first)
        }

        #[inline(always)]
        fn weights(weights: v128) -> (v128, v128) {
            (i16x8_extend_low_i8x16(weights), i16x8_extend_high_i8x16(weights))
        }

        #[inline(always)]
        unsafe fn quad(x: *const u8) -> v128 {
            // SAFETY: the caller's; a quad has four times two bytes.
            unsafe { v128_load64_splat(x.cast()) }
        }

        #[inline(always)]
        fn add(sum: &mut (v128, v128), weights: (v128, v128), x: v128) {
            sum.0 = i32x4_add(sum.0, i32x4_dot_i16x8(weights.0, x));
            sum.1 = i32x4_add(sum.1, i32x4_dot_i16x8(weights.1, x));
        }

        #[inline(always)]
        fn join(a: (v128, v128), b: (v128, v128)) -> (v128, v128) {
            (i32x4_add(a.0, b.0), i32x4_add(a.1, b.1))
        }

        #[inline(always)]
        fn total(sum: (v128, v128)) -> v128 {
            let even = i32x4_shuffle::<0, 2, 4, 6>(sum.0, sum.1);
            let odd = i32x4_shuffle::<1, 3, 5, 7>(sum.0, sum.1);
            i32x4_add(even, odd)
        }
    }
}
