// What the matrix product kernels share: their shape, the types of a tile's rows, and how outputs
// are stored.
#include rounded
#if GELU
#include gelu
#end

struct Shape {
  // N of the whole matrix.
  outputs: u32,
  // K / 32
  blocks: u32,
  // This piece of the matrix: its first output and its number of outputs.
  first: u32,
  count: u32,
}

#if WIDE
// TILE = 4
alias Words = vec4<u32>;
alias Floats = vec4<f32>;

fn rounded_row(v: Floats) -> Floats {
  return rounded4(v);
}
#else
// TILE = 1
alias Words = u32;
alias Floats = f32;

fn rounded_row(v: Floats) -> Floats {
  return rounded(v);
}
#end

@group(0) @binding(0) var<uniform> shape: Shape;
// (N)
@group(0) @binding(5) var<storage, read> bias: array<f32>;
// (R, N)
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
#if QUANTISE
#include quantise
// out, quantised
@group(0) @binding(7) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(8) var<storage, read_write> out_scales: array<f32>;
#end

// Applies bias and epilogue to output n of the piece for a row, stores it and returns it.
fn finish(sum: f32, row: u32, n: u32) -> f32 {
  if (n >= shape.count) {
    return 0.0;
  }
  let at = row * shape.outputs + shape.first + n;
#if BIAS
  var value = rounded(sum + bias[shape.first + n]);
#else
  var value = sum;
#end
#if GELU
  value = gelu(value);
#end
#if ADD
  value = rounded(value + out[at]);
#end
  out[at] = value;
  return value;
}
