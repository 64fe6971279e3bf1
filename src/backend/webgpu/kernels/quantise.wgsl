// Activations as signed bytes, as defined in backend/cpu/quant.rs: blocks of 32, scale = largest /
// 127, where largest includes the sums of pairs, ties to even, all zero if it is not finite.
// Magnitudes are compared as bits, which have the same order and put infinities and NaN above every
// number: WGSL allows float operations to assume that there are none.
//
// Layout of a row's words: rows that are multiplied together form a tile, which stores the first
// word of each row, then the second of each, and so on. Scales likewise, one per eight words.
#include rounded

// The bits of 1e-30: a block whose largest is below this counts as zero.
const TINY: u32 = 0x0da24260u;
// The bits of infinity.
const INFINITY: u32 = 0x7f800000u;

fn tiled_index(row: u32, column: u32, columns: u32, tile: u32) -> u32 {
  return (row / tile * columns + column) * tile + row % tile;
}

// The largest magnitude of four values and the sums of their pairs, as bits.
fn largest_of(v: vec4<f32>, so_far: u32) -> u32 {
  let pairs = bitcast<vec4<u32>>(rounded4(v + v.yxwz)) & vec4<u32>(0x7fffffffu);
  let a = max(bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu), pairs);
  return max(so_far, max(max(a.x, a.y), max(a.z, a.w)));
}

fn is_zero_block(largest: u32) -> bool {
  return largest < TINY || largest >= INFINITY;
}

fn scale_of(largest: u32) -> f32 {
  if (is_zero_block(largest)) {
    return 0.0;
  }
  return quotient(bitcast<f32>(largest), 127.0);
}

// 127 / largest
fn inverse_of(largest: u32) -> f32 {
  return quotient(127.0, bitcast<f32>(largest));
}

// A value as the lowest byte of a word; `inverse` is `inverse_of` the block's largest.
fn byte_of(v: f32, inverse: f32) -> u32 {
  return u32(i32(round(rounded(v * inverse)))) & 255u;
}

// Four values of a block as the bytes of a word, the first in the lowest byte.
fn packed_bytes(v: vec4<f32>, largest: u32) -> u32 {
  if (is_zero_block(largest)) {
    return 0u;
  }
  let scaled = rounded4(v * inverse_of(largest));
  let q = vec4<u32>(vec4<i32>(round(scaled))) & vec4<u32>(255u);
  return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}
