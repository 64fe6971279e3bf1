// Float arithmetic that rounds every operation as written.
//
// WGSL defines +, - and * of floats to the last bit, but lets a compiler fuse a product with a sum
// or reorder sums, and some do (Metal's fast math). An activation may then be quantised to another
// byte than on the processor. So each result goes through `rounded`: an exclusive or with a zero
// that no compiler can predict. tests/shaders.rs checks that none is left out.
//
// Software adapters do neither (EXACT) and need no such instructions.

#if EXACT
fn begin_rounding(below_2_31: u32) {}

fn rounded(v: f32) -> f32 {
  return v;
}

fn rounded4(v: vec4<f32>) -> vec4<f32> {
  return v;
}

// a / b, where neither is a constant: a compiler may multiply by a constant's reciprocal.
fn divided(a: f32, b: f32) -> f32 {
  return a / b;
}

fn root(v: f32) -> f32 {
  return sqrt(v);
}
#else
var<private> unknown_zero: u32;

// Called first by every kernel, with a number below 2^31 from a uniform.
fn begin_rounding(below_2_31: u32) {
  unknown_zero = below_2_31 >> 31u;
}

fn rounded(v: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(v) ^ unknown_zero);
}

fn rounded4(v: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ vec4<u32>(unknown_zero));
}

// a / b for a positive normal b.
fn divided(a: f32, b: f32) -> f32 {
  return quotient(a, b);
}

// The square root of a positive normal v, correctly rounded; of others, as the device has it.
fn root(v: f32) -> f32 {
  let bits = bitcast<u32>(v);
  if (bits < 0x800000u || bits >= 0x7f800000u) {
    return sqrt(v);
  }
  // An even exponent, and a radicand from 2^23 to below 2^25.
  let odd = ~(bits >> 23u) & 1u;
  let radicand = significand(bits) << odd;
  // sqrt(radicand 2^23)
  var result = u32(sqrt(f32(radicand)) * 2896.3093);
  var rest = i32((radicand << 23u) - result * result);
  for (var i = 0u; i < CORRECTIONS; i++) {
    if (rest < 0) {
      result -= 1u;
      rest += i32(2u * result + 1u);
    } else if (rest > i32(2u * result)) {
      rest -= i32(2u * result + 1u);
      result += 1u;
    }
  }
  // No square root is halfway between two floats.
  result += select(0u, 1u, rest > i32(result));
  return bitcast<f32>(((((bits >> 23u) - odd + 127u) / 2u) << 23u) + (result - 0x800000u));
}
#end

// WGSL's division may be off by 2.5 units in the last place, and its square root by more. So the
// 24 bits of a result are estimated with them, and the estimate is corrected in integers: what it
// leaves of the dividend or radicand is small, so its low 32 bits are all of it.

// Corrections of an estimate, at most.
const CORRECTIONS: u32 = 8u;

// The 24 bits of a normal float's significand.
fn significand(bits: u32) -> u32 {
  return (bits & 0x7fffffu) | 0x800000u;
}

// a / b for a positive normal b, correctly rounded. Where the result is not normal, or a is not
// finite, as the device divides.
fn quotient(a: f32, b: f32) -> f32 {
  let bits = bitcast<u32>(a);
  let a_exponent = (bits >> 23u) & 255u;
  let exponent = i32(a_exponent) - i32(bitcast<u32>(b) >> 23u) + 127;
  if (a_exponent == 0u || a_exponent == 255u || exponent < 2 || exponent > 253) {
    return a / b;
  }
  let divisor = significand(bitcast<u32>(b));
  // Doubled where it is less than the divisor: the quotient is from 1 to below 2.
  let doubled = select(0u, 1u, significand(bits) < divisor);
  let dividend = significand(bits) << doubled;
  var result = u32(f32(dividend) / f32(divisor) * 8388608.0);
  // dividend 2^23 - result divisor
  var rest = i32((dividend << 23u) - result * divisor);
  for (var i = 0u; i < CORRECTIONS; i++) {
    if (rest < 0) {
      result -= 1u;
      rest += i32(divisor);
    } else if (rest >= i32(divisor)) {
      result += 1u;
      rest -= i32(divisor);
    }
  }
  let twice = u32(rest) * 2u;
  result += select(0u, 1u, twice > divisor || (twice == divisor && (result & 1u) == 1u));
  // A result that was rounded up to 2^24 carries into the exponent.
  let magnitude = (u32(exponent - i32(doubled)) << 23u) + (result - 0x800000u);
  return bitcast<f32>((bits & 0x80000000u) | magnitude);
}
