// The CPU's order of float arithmetic (backend/cpu/math.rs): element i of a sum is added to part
// i % 8, in ascending order, and one fold adds the eight parts. With the same sums, activations are
// quantised to the same bytes, and drafts are the same.
#include rounded

// Number of parts of every sum.
const PARTS: u32 = 8u;

// Adds the parts: `low` holds 0 to 3, `high` 4 to 7.
fn fold(low: vec4<f32>, high: vec4<f32>) -> f32 {
  let pairs = rounded4(low + high);
  return rounded(rounded(pairs.x + pairs.z) + rounded(pairs.y + pairs.w));
}

// e^v for v clamped to [-87, 88]: range reduction by multiples of ln 2 in two parts, then a
// polynomial.
fn exponential(v: f32) -> f32 {
  let x = clamp(v, -87.0, 88.0);
  let n = round(rounded(x * 1.4426950408889634));
  let r = rounded(rounded(x - rounded(n * 0.6933594)) - rounded(n * -2.1219444e-4));
  var p = 1.0 / 5040.0;
  p = rounded(rounded(p * r) + 1.0 / 720.0);
  p = rounded(rounded(p * r) + 1.0 / 120.0);
  p = rounded(rounded(p * r) + 1.0 / 24.0);
  p = rounded(rounded(p * r) + 1.0 / 6.0);
  p = rounded(rounded(p * r) + 0.5);
  p = rounded(rounded(rounded(p * r) * r) + r);
  let scale = bitcast<f32>(u32(i32(n) + 127) << 23u);
  return rounded(rounded(p * scale) + scale);
}
