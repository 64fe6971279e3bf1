//! Float arithmetic with the same result everywhere.
//!
//! A draft must be the same on every machine, so nothing here leaves rounding to a platform: no
//! FMA, no library `exp`, and sums over a fixed number of lanes, folded in a fixed order. Plain
//! Rust float operations are IEEE operations in the order written, vectorised or not.

use std::hint::black_box;

/// Lanes of every sum: element i is added to lane `i % LANES`.
pub const LANES: usize = 8;

/// Bound on the relative error of e^x as computed here, within its range, in units of f32 epsilon.
pub const EXP_MAX_ERROR_EPSILON: f64 = 1.5;

/// Sums the lanes: `((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7))`.
#[inline(always)]
pub fn fold(l: [f32; LANES]) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// The sum of `f(x)`, lane by lane.
#[inline(always)]
fn sum_by(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f(value);
    }
    fold(lanes)
}

/// The sum of x.
pub fn sum(x: &[f32]) -> f32 {
    sum_by(x, |v| v)
}

/// Dot product of two vectors of equal length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [lanes] = dots(a, [b]);
    fold(lanes)
}

/// The lanes of the dot products of a (n) with D vectors (n). A caller that has many applies
/// [`fold`] to all of them, side by side, without horizontal sums.
#[inline]
pub fn dots<const D: usize>(a: &[f32], b: [&[f32]; D]) -> [[f32; LANES]; D] {
    let mut lanes = [[0.0; LANES]; D];
    let (whole, rest) = a.as_chunks::<LANES>();
    let chunks = b.map(|b| &b.as_chunks::<LANES>().0[..whole.len()]);
    for (i, a) in whole.iter().enumerate() {
        for (lanes, b) in lanes.iter_mut().zip(chunks) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(&b[i])) {
                *lane += a * b;
            }
        }
    }
    for (lanes, b) in lanes.iter_mut().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(rest).zip(&b[whole.len() * LANES..]) {
            *lane += a * b;
        }
    }
    lanes
}

/// Adding this to |x| < 2^22 rounds x to an integer, ties to even, and leaves it in the low bits:
/// the same on every target, and vectorisable.
pub const ROUND_MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

/// x rounded to the nearest integer, ties to even; |x| < 2^22.
#[inline(always)]
pub fn round_to_i32(x: f32) -> i32 {
    (x + ROUND_MAGIC).to_bits() as i32 - ROUND_MAGIC.to_bits() as i32
}

/// The constants of [`Exp::of`] and [`Gelu::of`], as values.
///
/// Browsers rematerialise a vector constant at every use, in three instructions, which were most of
/// the instructions of a GELU. A value hidden from the compiler ([`black_box`]) is loaded instead.
#[derive(Debug, Clone, Copy)]
struct Exp {
    least: f32,
    most: f32,
    log2_e: f32,
    round: f32,
    ln2_high: f32,
    ln2_low: f32,
    /// 1/7!, 1/6!, … 1/2!
    taylor: [f32; 6],
    /// 1.0 as bits.
    one: u32,
}

const EXP: Exp = Exp {
    least: -87.0,
    most: 88.0,
    log2_e: std::f32::consts::LOG2_E,
    round: ROUND_MAGIC,
    ln2_high: 0.693_359_4,
    ln2_low: -2.121_944_4e-4,
    taylor: [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5],
    one: 1.0f32.to_bits(),
};

impl Exp {
    /// e^x for x clamped to [-87, 88]; see [`EXP_MAX_ERROR_EPSILON`].
    ///
    /// Range reduction by multiples of ln 2 in two parts (Cody and Waite), then the Taylor
    /// polynomial of degree 7 on |r| <= ln(2)/2.
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        let x = if x < self.least { self.least } else { x };
        let x = if x > self.most { self.most } else { x };
        let shifted = x * self.log2_e + self.round;
        let n = shifted - self.round;
        let r = (x - n * self.ln2_high) - n * self.ln2_low;
        let [p, rest @ ..] = self.taylor;
        let p = rest.into_iter().fold(p, |p, next| p * r + next);
        let p = (p * r) * r + r;
        // The low bits hold n, which becomes the exponent; the shift drops the bits above.
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(self.one));
        p * scale + scale
    }
}

/// The constants of GELU, as values; see [`Exp`].
#[derive(Debug, Clone, Copy)]
struct Gelu {
    /// 2 sqrt(2 / pi)
    twice_root: f32,
    cubic: f32,
    one: f32,
    exp: Exp,
}

const GELU: Gelu = Gelu { twice_root: 1.595_769, cubic: 0.044715, one: 1.0, exp: EXP };

impl Gelu {
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, computed as `x e / (e + 1)` with
    /// `e = exp(2 u)`, which has no cancellation.
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        let u = self.twice_root * (x + self.cubic * x * x * x);
        let e = self.exp.of(u);
        x * (e / (e + self.one))
    }
}

/// GPT-2's GELU (the tanh form) of every x, in place.
pub fn gelu(x: &mut [f32]) {
    let gelu = black_box(GELU);
    x.iter_mut().for_each(|x| *x = gelu.of(*x));
}

/// Layer norm of one row: x, gain, bias and out (C).
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x) / n;
    let variance = sum_by(x, |v| (v - mean) * (v - mean)) / n;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for (((out, x), gain), bias) in out.iter_mut().zip(x).zip(gain).zip(bias) {
        *out = (x - mean) * scale * gain + bias;
    }
}

/// The largest of x; negative infinity if x is empty.
pub fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// Replaces scores by `exp(score - max)` and returns their sum; the caller divides by it.
pub fn softmax_unnormalised(scores: &mut [f32]) -> f32 {
    let (exp, max) = (black_box(EXP), max(scores));
    for score in scores.iter_mut() {
        *score = exp.of(*score - max);
    }
    sum(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_named_error() {
        let mut worst = 0.0f64;
        for i in -860_000..=870_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            worst = worst.max(((f64::from(EXP.of(x)) - expected) / expected).abs());
        }
        assert!(worst / f64::from(f32::EPSILON) < EXP_MAX_ERROR_EPSILON, "{worst:e}");
        assert_eq!(EXP.of(0.0), 1.0);
        assert!(EXP.of(-1e9) < 1e-37 && EXP.of(1e9).is_finite());
    }

    /// Bound on GELU in f32 against f64, relative to 1 + |x|.
    const GELU_BOUND: f64 = 1e-6;

    #[test]
    fn gelu_follows_its_definition() {
        for i in -1200..=1200 {
            let x = f64::from(i) * 0.01;
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let expected = 0.5 * x * (1.0 + inner.tanh());
            assert!((f64::from(GELU.of(x as f32)) - expected).abs() < GELU_BOUND * (1.0 + x.abs()), "{x}");
        }
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        for (x, expected) in
            [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (126.6, 127), (-127.0, -127)]
        {
            assert_eq!(round_to_i32(x), expected, "{x}");
        }
    }

    #[test]
    fn sums_take_lengths_that_are_no_multiple_of_the_lanes() {
        for n in [0, 1, 7, 8, 9, 31, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
            assert_eq!(sum(&x), (n * (n + 1) / 2) as f32);
            assert_eq!(max(&x), if n == 0 { f32::NEG_INFINITY } else { n as f32 });
            assert_eq!(dot(&x, &vec![2.0; n]), (n * (n + 1)) as f32);
            let four: Vec<f32> = (0..4 * n).map(|i| (i as f32).sin()).collect();
            let four: [&[f32]; 4] = std::array::from_fn(|i| &four[i * n..][..n]);
            for (lanes, b) in dots(&x, four).into_iter().zip(four) {
                assert_eq!(fold(lanes).to_bits(), dot(&x, b).to_bits());
            }
        }
    }
}
