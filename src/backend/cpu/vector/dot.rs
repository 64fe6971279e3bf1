//! Which simd128 instruction multiplies: relaxed (`i32x4.relaxed_dot_i8x16_i7x16_add_s`,
//! four products a lane) or plain (`i32x4.dot_i16x8_s`, two a lane). The one
//! place where the two artefacts differ; all forms give the same integers.
//!
//! A vector of weights holds four rows by four columns; a [`Product`] says how
//! such vectors meet the bytes of activation rows.

use core::arch::wasm32::*;

use crate::backend::cpu::quant::BLOCK;

#[cfg(not(target_feature = "relaxed-simd"))]
pub use plain::*;
#[cfg(target_feature = "relaxed-simd")]
pub use relaxed::*;

const ZERO: v128 = i32x4(0, 0, 0, 0);

/// Products of 8-bit weights with activations, in 32-bit sums.
pub trait Product {
    /// What is made of a vector of weights once for all activation rows.
    type Wide: Copy;
    /// Sums over a block that belong to the weights alone, four rows.
    type Shared: Copy;
    /// Sums over a block for one activation row and four rows of weights.
    type Sum: Copy;
    /// Nothing summed yet.
    const START: (Self::Shared, Self::Sum);

    fn widen(weights: v128, shared: &mut Self::Shared) -> Self::Wide;

    /// Adds the products of column quad q of a packed block.
    ///
    /// # Safety
    /// `packed` must be readable for [`PACKED`] bytes, q < 8.
    unsafe fn add(sum: &mut Self::Sum, weights: Self::Wide, packed: *const u8, q: usize);

    /// The integer dots of four rows.
    fn total(sum: Self::Sum, shared: Self::Shared) -> v128;
}

/// The same for 4-bit weights, which come as unsigned bytes.
pub trait Product4 {
    type Wide: Copy;
    type Sum: Copy;
    const START: Self::Sum;

    fn widen(nibbles: v128) -> Self::Wide;

    /// See [`Product::add`].
    ///
    /// # Safety
    /// `packed` must be readable for [`PACKED`] bytes, q < 8.
    unsafe fn add(sum: &mut Self::Sum, weights: Self::Wide, packed: *const u8, q: usize);

    fn total(sum: Self::Sum) -> v128;
}

#[cfg(target_feature = "relaxed-simd")]
mod relaxed {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::backend::cpu::vector::{arguments::Panel, planes, wasm};

    /// Bytes of a packed block: the values, then what 8-bit weights are
    /// multiplied with.
    pub const PACKED: usize = BLOCK + planes::BYTES;

    /// Activation rows whose sums stay in registers.
    pub const TILE: usize = 8;

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

    /// Packs a block for the form that runs here.
    pub fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
        let (plain, operand) = out.split_at_mut(BLOCK);
        for (v, out) in values.iter().zip(plain) {
            *out = *v as u8;
        }
        let flip = match Reading::get() {
            Reading::Unsigned => 128,
            Reading::Signed => 0,
            Reading::Inexact => return planes::write(values, operand),
        };
        for (v, out) in values.iter().zip(operand) {
            *out = *v as u8 ^ flip;
        }
    }

    /// Column quad q of 32 packed bytes, in every lane.
    ///
    /// # Safety
    /// 4 q + 4 bytes must be readable.
    #[inline(always)]
    unsafe fn quad(bytes: *const u8, q: usize) -> v128 {
        // SAFETY: the caller's.
        unsafe { v128_load32_splat(bytes.add(q * 4).cast()) }
    }

    /// Runs a panel of 8-bit weights in the form that runs here.
    pub fn panel8(panel: Panel) {
        match Reading::get() {
            Reading::Unsigned => wasm::panel8::<Offset>(panel),
            Reading::Signed => wasm::panel8::<Signed>(panel),
            Reading::Inexact => wasm::panel8::<Planes>(panel),
        }
    }

    /// The same for 4-bit weights.
    pub fn panel4(panel: Panel) {
        wasm::panel4::<Nibbles>(panel);
    }

    /// Second operand: the activation + 128, unsigned. `Shared` takes 128 times
    /// the weights out again.
    pub struct Offset;

    impl Product for Offset {
        type Wide = v128;
        type Shared = v128;
        type Sum = v128;
        const START: (v128, v128) = (ZERO, ZERO);

        #[inline(always)]
        fn widen(weights: v128, shared: &mut v128) -> v128 {
            *shared = i32x4_relaxed_dot_i8x16_i7x16_add(weights, u8x16_splat(128), *shared);
            weights
        }

        #[inline(always)]
        unsafe fn add(sum: &mut v128, weights: v128, packed: *const u8, q: usize) {
            // SAFETY: the caller's.
            let x = unsafe { quad(packed.add(BLOCK), q) };
            *sum = i32x4_relaxed_dot_i8x16_i7x16_add(weights, x, *sum);
        }

        #[inline(always)]
        fn total(sum: v128, shared: v128) -> v128 {
            i32x4_sub(sum, shared)
        }
    }

    /// Second operand: the activation, signed.
    pub struct Signed;

    impl Product for Signed {
        type Wide = v128;
        type Shared = ();
        type Sum = v128;
        const START: ((), v128) = ((), ZERO);

        #[inline(always)]
        fn widen(weights: v128, _: &mut ()) -> v128 {
            weights
        }

        #[inline(always)]
        unsafe fn add(sum: &mut v128, weights: v128, packed: *const u8, q: usize) {
            // SAFETY: the caller's.
            unsafe { Offset::add(sum, weights, packed, q) }
        }

        #[inline(always)]
        fn total(sum: v128, _: ()) -> v128 {
            sum
        }
    }

    /// Second operand: both planes of the activation, below 128.
    pub struct Planes;

    impl Product for Planes {
        type Wide = v128;
        type Shared = ();
        type Sum = (v128, v128);
        const START: ((), (v128, v128)) = ((), (ZERO, ZERO));

        #[inline(always)]
        fn widen(weights: v128, _: &mut ()) -> v128 {
            weights
        }

        #[inline(always)]
        unsafe fn add(sum: &mut (v128, v128), weights: v128, packed: *const u8, q: usize) {
            // SAFETY: the caller's; the second plane is 32 bytes further on.
            let (positive, negative) =
                unsafe { (quad(packed.add(BLOCK), q), quad(packed.add(2 * BLOCK), q)) };
            sum.0 = i32x4_relaxed_dot_i8x16_i7x16_add(weights, positive, sum.0);
            sum.1 = i32x4_relaxed_dot_i8x16_i7x16_add(weights, negative, sum.1);
        }

        #[inline(always)]
        fn total(sum: (v128, v128), _: ()) -> v128 {
            i32x4_sub(sum.0, sum.1)
        }
    }

    /// Second operand: the weights themselves, 0..=15.
    pub struct Nibbles;

    impl Product4 for Nibbles {
        type Wide = v128;
        type Sum = v128;
        const START: v128 = ZERO;

        #[inline(always)]
        fn widen(nibbles: v128) -> v128 {
            nibbles
        }

        #[inline(always)]
        unsafe fn add(sum: &mut v128, weights: v128, packed: *const u8, q: usize) {
            // SAFETY: the caller's.
            let x = unsafe { quad(packed, q) };
            *sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, *sum);
        }

        #[inline(always)]
        fn total(sum: v128) -> v128 {
            sum
        }
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
mod plain {
    use super::*;
    use crate::backend::cpu::vector::{arguments::Panel, wasm};

    pub const TILE: usize = 4;

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

    /// Runs a panel of 8-bit weights.
    pub fn panel8(panel: Panel) {
        wasm::panel8::<Pairs>(panel);
    }

    /// Runs a panel of 4-bit weights.
    pub fn panel4(panel: Panel) {
        wasm::panel4::<Pairs>(panel);
    }

    /// Partial sums of columns (0+1, 2+3) of rows 0 and 1, and of rows 2 and 3;
    /// the pairs meet once a block.
    pub struct Pairs;

    #[inline(always)]
    fn widen(weights: v128) -> (v128, v128) {
        (i16x8_extend_low_i8x16(weights), i16x8_extend_high_i8x16(weights))
    }

    /// # Safety
    /// `packed` must be readable for [`PACKED`] bytes, q < 8.
    #[inline(always)]
    unsafe fn add(sum: &mut (v128, v128), weights: (v128, v128), packed: *const u8, q: usize) {
        // SAFETY: the caller's; 8 q + 8 <= 64.
        let x = unsafe { v128_load64_splat(packed.add(q * 8).cast()) };
        sum.0 = i32x4_add(sum.0, i32x4_dot_i16x8(weights.0, x));
        sum.1 = i32x4_add(sum.1, i32x4_dot_i16x8(weights.1, x));
    }

    #[inline(always)]
    fn total(sum: (v128, v128)) -> v128 {
        let even = i32x4_shuffle::<0, 2, 4, 6>(sum.0, sum.1);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(sum.0, sum.1);
        i32x4_add(even, odd)
    }

    impl Product for Pairs {
        type Wide = (v128, v128);
        type Shared = ();
        type Sum = (v128, v128);
        const START: ((), (v128, v128)) = ((), (ZERO, ZERO));

        #[inline(always)]
        fn widen(weights: v128, _: &mut ()) -> (v128, v128) {
            widen(weights)
        }

        #[inline(always)]
        unsafe fn add(sum: &mut Self::Sum, weights: Self::Wide, packed: *const u8, q: usize) {
            // SAFETY: the caller's.
            unsafe { add(sum, weights, packed, q) }
        }

        #[inline(always)]
        fn total(sum: Self::Sum, _: ()) -> v128 {
            total(sum)
        }
    }

    impl Product4 for Pairs {
        type Wide = (v128, v128);
        type Sum = (v128, v128);
        const START: (v128, v128) = (ZERO, ZERO);

        #[inline(always)]
        fn widen(nibbles: v128) -> (v128, v128) {
            widen(nibbles)
        }

        #[inline(always)]
        unsafe fn add(sum: &mut Self::Sum, weights: Self::Wide, packed: *const u8, q: usize) {
            // SAFETY: the caller's.
            unsafe { add(sum, weights, packed, q) }
        }

        #[inline(always)]
        fn total(sum: Self::Sum) -> v128 {
            total(sum)
        }
    }
}
