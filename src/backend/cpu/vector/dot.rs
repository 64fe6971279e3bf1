//! Selects the simd128 instruction that multiplies: relaxed (`i32x4.relaxed_dot_i8x16_i7x16_add_s`,
//! four products a lane, or `i16x8.relaxed_dot_i8x16_i7x16_s`, two) or plain (`i32x4.dot_i16x8_s`,
//! two a lane). Only this module selects; `pairs` holds forms of the plain build. All forms give the
//! same integers.
//!
//! A vector of weights holds four rows by four columns; a [`Product`] defines how such vectors are
//! multiplied with the bytes of activation rows:
//!
//! | form | build | weights | how the relaxed instructions read their second operand |
//! | --- | --- | --- | --- |
//! | `Unsigned` | relaxed | 8-bit | as unsigned (x86 with AVX-VNNI) |
//! | `Signed` | relaxed | 8-bit | as signed (ARM) |
//! | `UnsignedPairs` | relaxed | 8-bit | as unsigned, and pairs saturate (other x86) |
//! | `Nibbles` | relaxed | 4-bit | the wide one as unsigned or signed, exactly |
//! | `InPlaceNibbles`, for one row | relaxed | 4-bit | as unsigned, exactly |
//! | `ShortNibbles` | relaxed | 4-bit | in another way |
//! | `pairs::Bytes`, `pairs::Nibbles` | plain | 8-bit, 4-bit | |

use core::arch::wasm32::*;

use crate::backend::cpu::{
    panels::Format,
    quant::{BLOCK, Tile},
    vector::{Panels, equal, wasm},
};

#[cfg(not(target_feature = "relaxed-simd"))]
pub use plain::*;
#[cfg(target_feature = "relaxed-simd")]
pub use relaxed::*;

pub const ZERO: v128 = i32x4(0, 0, 0, 0);

/// Vectors that products need besides. The compiler does not know their values: engines make a known
/// constant anew, in three instructions, in every iteration.
#[derive(Debug, Clone, Copy)]
pub struct Constants {
    /// 16-bit lanes of 1.
    #[allow(dead_code, reason = "the plain build multiplies no pairs of bytes")]
    ones: v128,
    /// Bytes with the lower nibble's bits.
    nibbles: v128,
    /// 32-bit lanes with the lower half's bits.
    #[allow(dead_code, reason = "the plain build has no sums of 16 bits")]
    lower_half: v128,
}

impl Constants {
    pub fn new() -> Self {
        std::hint::black_box(Self {
            ones: i16x8_splat(1),
            nibbles: u8x16_splat(15),
            lower_half: i32x4_splat(0xffff),
        })
    }
}

/// Products of weights with activations, and their integer sums.
pub trait Product {
    /// A vector of weights, ready to multiply.
    type Weights: Copy;
    /// Four columns of an activation row, ready to multiply.
    type Quad: Copy;
    /// Sums over a block, for one activation row and four weight rows.
    type Sum: Copy;
    /// How panels store the weights.
    const FORMAT: Format;
    /// The most rows of a tile.
    const MOST: usize;
    /// The most activation rows that are multiplied together: their sums and operands fit the
    /// fifteen vector registers that engines have on x86-64. A tile with more rows is multiplied
    /// two rows at a time.
    const ROWS: usize;
    /// From so many rows on, a block's lower nibbles are multiplied first, then its upper ones: of
    /// both at once, weights and sums would not fit the registers.
    const TWO_PASSES: usize = usize::MAX;
    /// Bytes of one row's block.
    const ROW: usize;
    /// Bytes from one column quad of a row to the next.
    const QUAD: usize;

    /// The start of a tile's (block, row, [`Product::ROW`]) bytes.
    fn rows(x: &Tile) -> *const u8;

    /// The initial sum. `offset` has the activation row's number of [`Tile::offsets`] in every
    /// lane.
    fn start(constants: Constants, offset: v128) -> Self::Sum;

    /// Prepares weights, once for all activation rows.
    fn weights(weights: v128) -> Self::Weights;

    /// Loads and prepares weights.
    ///
    /// # Safety
    /// `from` must be readable for 16 bytes.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Weights {
        // SAFETY: by the caller's contract.
        Self::weights(unsafe { v128_load(from.cast()) })
    }

    /// Loads a column quad.
    ///
    /// # Safety
    /// `x` must point to the start of one in a row's block.
    unsafe fn quad(x: *const u8) -> Self::Quad;

    fn add(constants: Constants, sum: &mut Self::Sum, weights: Self::Weights, x: Self::Quad);

    /// The lower nibbles of a vector of 4-bit weights, ready to multiply.
    #[inline(always)]
    fn lower(Constants { nibbles, .. }: Constants, bytes: v128) -> Self::Weights {
        Self::weights(v128_and(bytes, nibbles))
    }

    /// The upper nibbles.
    #[inline(always)]
    fn upper(Constants { nibbles, .. }: Constants, bytes: v128) -> Self::Weights {
        // Not u8x16_shr, which engines implement with another mask.
        Self::weights(v128_and(u16x8_shr(bytes, 4), nibbles))
    }

    /// Adds the products of upper nibbles.
    #[inline(always)]
    fn add_upper(constants: Constants, sum: &mut Self::Sum, weights: Self::Weights, x: Self::Quad) {
        Self::add(constants, sum, weights, x);
    }

    /// The integer dot products of four weight rows.
    fn total(constants: Constants, sum: Self::Sum) -> v128;
}

/// Multiplies panels as [`crate::backend::cpu::scalar::panel`] does, in the form for this machine;
/// the tile has at most as many rows as [`tile_rows`] gives.
pub fn panels(panels: Panels) {
    assert!(panels.format() == Format::Q4 || panels.format() == format8());
    match panels.format() {
        Format::Q8 | Format::U8 => panels8(panels),
        Format::Q4 => panels4(panels),
    }
}

#[cfg(target_feature = "relaxed-simd")]
mod relaxed {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::backend::cpu::scalar;

    /// Nothing is packed: the values are multiplied as they are.
    pub const PACKED: usize = 0;

    /// See [`PACKED`].
    pub fn pack(_: &[[i8; BLOCK]], _: &mut [u8]) {}

    /// The most activation rows for which weights are read once.
    pub const TILE: usize = ROWS;

    /// The most rows that are multiplied together.
    const ROWS: usize = 6;

    /// The same where sums of pairs are widened, for which a register more is needed.
    const PAIR_ROWS: usize = 5;

    /// Rows of a tile if the batch has `rows`.
    pub fn tile_rows(format: Format, rows: usize) -> usize {
        match Reading::get() {
            Reading::Pairs | Reading::Other => equal(rows, PAIR_ROWS),
            // Sums and operands stay in registers.
            _ if format == Format::Q4 && rows > ROWS => equal(rows, 4),
            _ => equal(rows, ROWS),
        }
    }

    /// How this machine's instruction reads a byte above 127 in its second operand. The standard
    /// lets machines differ, but not one machine over time, so it is probed once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    enum Reading {
        Unsigned = 1,
        Signed = 2,
        /// As unsigned, but the sum of a pair is exact only in 16 bits.
        Pairs = 3,
        /// In another way, which no known engine does.
        Other = 4,
    }

    impl Reading {
        fn get() -> Self {
            static FOUND: AtomicU8 = AtomicU8::new(0);
            match FOUND.load(Ordering::Relaxed) {
                1 => Self::Unsigned,
                2 => Self::Signed,
                3 => Self::Pairs,
                4 => Self::Other,
                _ => {
                    let found = Self::probe();
                    FOUND.store(found as u8, Ordering::Relaxed);
                    found
                }
            }
        }

        /// Multiplies extremes, where a wrong reading or a saturated pair shows.
        #[cold]
        fn probe() -> Self {
            // Hidden from the optimiser, whose folding may read the byte otherwise than the machine.
            let hidden = std::hint::black_box::<v128>;
            let weights = || [0u8, 1, 127, 128, 129, 200, 255].into_iter();
            let agrees = |read: fn(u8) -> i32| {
                [-128i8, -127, 1, 127].into_iter().all(|x| {
                    weights().all(|w| {
                        let (xs, ws) = (hidden(i8x16_splat(x)), hidden(u8x16_splat(w)));
                        let dot = i32x4_relaxed_dot_i8x16_i7x16_add(xs, ws, ZERO);
                        i32x4_extract_lane::<0>(dot) == 4 * i32::from(x) * read(w)
                    })
                })
            };
            // Both extremes of what quantised activations can be.
            let pairs_agree = || {
                [[64i8, 64], [-64, -64], [127, 1], [1, 127], [-127, -1], [127, -127]].into_iter().all(|x| {
                    weights().all(|w| {
                        let xs = hidden(i16x8_splat(i16::from_le_bytes(x.map(|x| x as u8))));
                        let dot = i16x8_relaxed_dot_i8x16_i7x16(xs, hidden(u8x16_splat(w)));
                        i32::from(i16x8_extract_lane::<0>(dot))
                            == (i32::from(x[0]) + i32::from(x[1])) * i32::from(w)
                    })
                })
            };
            if agrees(|w| i32::from(w)) {
                Self::Unsigned
            } else if agrees(|w| i32::from(w as i8)) {
                Self::Signed
            } else if pairs_agree() {
                Self::Pairs
            } else {
                Self::Other
            }
        }
    }

    pub fn name() -> &'static str {
        match Reading::get() {
            Reading::Unsigned => "relaxed simd128, unsigned",
            Reading::Signed => "relaxed simd128, signed",
            Reading::Pairs => "relaxed simd128, pairs",
            Reading::Other => "relaxed simd128, scalar",
        }
    }

    /// How panels store 8-bit weights.
    pub fn format8() -> Format {
        match Reading::get() {
            Reading::Unsigned | Reading::Pairs => Format::U8,
            Reading::Signed | Reading::Other => Format::Q8,
        }
    }

    /// Multiplies panels of 8-bit weights.
    pub fn panels8(panels: Panels) {
        match Reading::get() {
            Reading::Unsigned => wasm::run::<Unsigned>(panels),
            Reading::Signed => wasm::run::<Signed>(panels),
            Reading::Pairs => wasm::run::<UnsignedPairs>(panels),
            Reading::Other => {
                let (format, x) = (panels.format(), panels.x());
                panels.each(|panel, sums| scalar::panel(format, panel, x, sums));
            }
        }
    }

    /// Multiplies panels of 4-bit weights.
    pub fn panels4(panels: Panels) {
        match Reading::get() {
            Reading::Unsigned if panels.x().rows <= InPlaceNibbles::MOST => {
                wasm::run::<InPlaceNibbles>(panels);
            }
            Reading::Unsigned | Reading::Signed => wasm::run::<Nibbles>(panels),
            Reading::Pairs | Reading::Other => wasm::run::<ShortNibbles>(panels),
        }
    }

    /// The part of a [`Product`] that multiplies activations and weights as the bytes that they are
    /// stored as.
    macro_rules! stored_bytes {
        () => {
            type Weights = v128;
            type Quad = v128;
            const ROW: usize = BLOCK;
            const QUAD: usize = 4;

            #[inline(always)]
            fn rows(x: &Tile) -> *const u8 {
                x.values.as_ptr().cast()
            }

            #[inline(always)]
            fn weights(weights: v128) -> v128 {
                weights
            }

            #[inline(always)]
            unsafe fn quad(x: *const u8) -> v128 {
                // SAFETY: by the caller's contract; a quad has four bytes.
                unsafe { v128_load32_splat(x.cast()) }
            }
        };
    }

    /// Products of activations with bytes that the instruction reads correctly.
    macro_rules! direct {
        ($name:ident, $format:ident) => {
            impl Product for $name {
                stored_bytes!();
                type Sum = v128;
                const FORMAT: Format = Format::$format;
                const MOST: usize = ROWS;
                const ROWS: usize = ROWS;

                #[inline(always)]
                fn start(_: Constants, offset: v128) -> v128 {
                    offset
                }

                #[inline(always)]
                fn add(_: Constants, sum: &mut v128, weights: v128, x: v128) {
                    *sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, *sum);
                }

                #[inline(always)]
                fn total(_: Constants, sum: v128) -> v128 {
                    sum
                }
            }
        };
    }

    /// Second operand: the weight, unsigned.
    pub struct Unsigned;
    direct!(Unsigned, U8);

    /// Second operand: the weight, signed.
    pub struct Signed;
    direct!(Signed, Q8);

    /// Second operand: a 4-bit weight as it is stored, 0..=15, 8 too large.
    pub struct Nibbles;
    direct!(Nibbles, Q4);

    /// [`Nibbles`] where bytes above 127 are read as unsigned: upper nibbles are not shifted but
    /// multiplied in place, 16 times as large, into sums of their own, which are shifted once per
    /// block. For one row; with two, twice the sums cost more than the shifts.
    pub struct InPlaceNibbles;

    impl Product for InPlaceNibbles {
        stored_bytes!();
        /// Of lower and of upper nibbles.
        type Sum = (v128, v128);
        const FORMAT: Format = Format::Q4;
        const MOST: usize = 1;
        const ROWS: usize = 1;

        #[inline(always)]
        fn start(_: Constants, offset: v128) -> (v128, v128) {
            (offset, ZERO)
        }

        #[inline(always)]
        fn add(_: Constants, (lower, _): &mut (v128, v128), weights: v128, x: v128) {
            *lower = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, *lower);
        }

        #[inline(always)]
        fn upper(Constants { nibbles, .. }: Constants, bytes: v128) -> v128 {
            v128_andnot(bytes, nibbles)
        }

        #[inline(always)]
        fn add_upper(_: Constants, (_, upper): &mut (v128, v128), weights: v128, x: v128) {
            *upper = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, *upper);
        }

        #[inline(always)]
        fn total(_: Constants, (lower, upper): (v128, v128)) -> v128 {
            i32x4_add(lower, i32x4_shr(upper, 4))
        }
    }

    /// Second operand: the weight, unsigned. Sums of pairs, which activations are quantised to keep
    /// within 16 bits, are widened here: for the wide instruction engines would make the vector of
    /// ones every time.
    pub struct UnsignedPairs;

    impl Product for UnsignedPairs {
        stored_bytes!();
        type Sum = v128;
        const FORMAT: Format = Format::U8;
        const MOST: usize = PAIR_ROWS;
        const ROWS: usize = PAIR_ROWS;

        #[inline(always)]
        fn start(_: Constants, offset: v128) -> v128 {
            offset
        }

        #[inline(always)]
        fn add(Constants { ones, .. }: Constants, sum: &mut v128, weights: v128, x: v128) {
            let pairs = i16x8_relaxed_dot_i8x16_i7x16(x, weights);
            *sum = i32x4_add(*sum, i32x4_dot_i16x8(pairs, ones));
        }

        #[inline(always)]
        fn total(_: Constants, sum: v128) -> v128 {
            sum
        }
    }

    /// [`Nibbles`] in 16-bit sums of pairs, by the instruction of half the width
    /// (`i16x8.relaxed_dot_i8x16_i7x16_s`). Where the machine has only that one, the wide
    /// instruction widens every product; this widens once per block. A pair is within 15 * 128, and
    /// a block's eight pairs, with the initial sum for the weights' offset of 8, are within 2^15.
    pub struct ShortNibbles;

    impl Product for ShortNibbles {
        stored_bytes!();
        type Sum = v128;
        const FORMAT: Format = Format::Q4;
        const MOST: usize = PAIR_ROWS;
        const ROWS: usize = PAIR_ROWS;
        const TWO_PASSES: usize = 3;

        #[inline(always)]
        fn start(Constants { lower_half, .. }: Constants, offset: v128) -> v128 {
            // Into one of the two 16-bit sums of a row.
            v128_and(offset, lower_half)
        }

        #[inline(always)]
        fn add(_: Constants, sum: &mut v128, weights: v128, x: v128) {
            *sum = i16x8_add(*sum, i16x8_relaxed_dot_i8x16_i7x16(x, weights));
        }

        #[inline(always)]
        fn total(Constants { ones, .. }: Constants, sum: v128) -> v128 {
            i32x4_dot_i16x8(sum, ones)
        }
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
mod plain {
    use super::*;
    use crate::backend::cpu::vector::pairs;

    /// Bytes of a packed block.
    pub const PACKED: usize = pairs::BYTES;

    /// The most activation rows for which weights are read once.
    pub const TILE: usize = 4;

    /// Rows of a tile if the batch has `rows`.
    pub fn tile_rows(_: Format, rows: usize) -> usize {
        equal(rows, TILE)
    }

    pub fn name() -> &'static str {
        "simd128"
    }

    /// How panels store 8-bit weights.
    pub fn format8() -> Format {
        Format::Q8
    }

    /// Packs one block of a tile, row by row.
    pub fn pack(rows: &[[i8; BLOCK]], out: &mut [u8]) {
        for (values, out) in rows.iter().zip(out.chunks_exact_mut(PACKED)) {
            pairs::write(values, out);
        }
    }

    /// Multiplies panels of 8-bit weights.
    pub fn panels8(panels: Panels) {
        wasm::run::<pairs::Bytes>(panels);
    }

    /// Multiplies panels of 4-bit weights.
    pub fn panels4(panels: Panels) {
        wasm::run::<pairs::Nibbles>(panels);
    }
}
