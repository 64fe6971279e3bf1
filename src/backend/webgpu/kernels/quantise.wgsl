// Activations as signed bytes, by the definition in backend/cpu/quant.rs:
// blocks of 32, scale = largest / 127, ties to even, all zero where a value is
// not finite. Magnitudes are compared as bits, which have their order and put
// infinities and NaN above every number: WGSL lets float operations assume that
// there are none.
//
// Where a row's words stand: rows that are multiplied together make a tile, and
// a tile has its first word of every row, then its second, and so on; scales
// likewise, one a block of eight words.

// The bits of 1e-30; below this a block counts as zero.
const TINY: u32 = 0x0da24260u;
// The bits of infinity.
const INFINITY: u32 = 0x7f800000u;

fn tiled_index(row: u32, column: u32, columns: u32, tile: u32) -> u32 {
  return (row / tile * columns + column) * tile + row % tile;
}

// The largest magnitude, as bits.
fn largest_of(v: vec4<f32>, so_far: u32) -> u32 {
  let a = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
  return max(so_far, max(max(a.x, a.y), max(a.z, a.w)));
}

fn is_zero_block(largest: u32) -> bool {
  return largest < TINY || largest >= INFINITY;
}

// WGSL's division may be off in the last bits, and then a value between two
// integers would be rounded otherwise than on the processor. These two are
// correctly rounded: in integers, from the 24 bits of the operand.

// a / 127, for the bits of an a that is no zero block's.
fn over_127(bits: u32) -> f32 {
  let numerator = ((bits & 0x7fffffu) | 0x800000u) << 7u;
  var quotient = numerator / 127u;
  let rest = numerator - quotient * 127u;
  var exponent = (bits >> 23u) - 7u;
  if (quotient < 0x1000000u) {
    quotient += select(0u, 1u, rest * 2u > 127u);
  } else {
    // A bit too many: it is half of the last place.
    let half = (quotient & 1u) == 1u;
    quotient >>= 1u;
    exponent += 1u;
    quotient += select(0u, 1u, half && (rest > 0u || (quotient & 1u) == 1u));
  }
  // A quotient that was rounded up to 2^24 carries into the exponent.
  return bitcast<f32>((exponent << 23u) + (quotient - 0x800000u));
}

// 127 / a, likewise.
fn of_127(bits: u32) -> f32 {
  let divisor = (bits & 0x7fffffu) | 0x800000u;
  // 127 2^17, doubled where it is less than the divisor.
  let doubled = select(0u, 1u, divisor > 0xfe0000u);
  let numerator = 0xfe0000u << doubled;
  var quotient = u32(f32(numerator) / f32(divisor) * 8388608.0);
  // numerator 2^23 - quotient divisor: small, so its low bits are all of it.
  var rest = -i32(quotient * divisor);
  for (var i = 0u; i < 4u; i++) {
    if (rest < 0) {
      quotient -= 1u;
      rest += i32(divisor);
    } else if (rest >= i32(divisor)) {
      quotient += 1u;
      rest -= i32(divisor);
    }
  }
  let twice = u32(rest) * 2u;
  quotient += select(0u, 1u, twice > divisor || (twice == divisor && (quotient & 1u) == 1u));
  return bitcast<f32>(((260u - doubled - (bits >> 23u)) << 23u) + (quotient - 0x800000u));
}

fn scale_of(largest: u32) -> f32 {
  if (is_zero_block(largest)) {
    return 0.0;
  }
  return over_127(largest);
}

// A value's byte, in a word's lowest; `inverse` is 127 / largest.
fn byte_of(v: f32, inverse: f32) -> u32 {
  return u32(i32(round(v * inverse))) & 255u;
}

// Four values of a block as the bytes of a word, the first one lowest.
fn packed_bytes(v: vec4<f32>, largest: u32) -> u32 {
  if (is_zero_block(largest)) {
    return 0u;
  }
  let q = vec4<u32>(vec4<i32>(round(v * of_127(largest)))) & vec4<u32>(255u);
  return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}
