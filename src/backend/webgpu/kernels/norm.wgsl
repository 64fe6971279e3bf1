// Layer norm: normalises each row of x (R, C), then applies gain and bias. Stores floats and, if C
// is a multiple of 32, quantised values too. A workgroup computes a row; an invocation computes
// words of four columns, so that eight invocations hold a block.
#include order
#include quantise

struct Shape {
  // C
  width: u32,
  // C / 4 if the result is quantised, else 0.
  words: u32,
  // Rows of a tile.
  tile: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (R, C)
@group(0) @binding(1) var<storage, read> x: array<f32>;
// (C)
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
// (R, C)
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
// (tiles, C / 4, tile) and (tiles, C / 32, tile)
@group(0) @binding(5) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(6) var<storage, read_write> out_scales: array<f32>;

// Columns loaded into workgroup memory at a time; a multiple of PARTS.
const STAGE: u32 = 2048u;
var<workgroup> stage: array<f32, STAGE>;
var<workgroup> sums: array<f32, PARTS>;
var<workgroup> maxima: array<u32, LANES>;

// The sum of the row starting at `begin`, or of its squared distances from `mean`.
fn sum_of_row(begin: u32, lane: u32, mean: f32, squared: bool) -> f32 {
  var sum = 0.0;
  for (var first = 0u; first < shape.width; first += STAGE) {
    let count = min(STAGE, shape.width - first);
    workgroupBarrier();
    for (var i = lane; i < count; i += LANES) {
      stage[i] = x[begin + first + i];
    }
    workgroupBarrier();
    if (lane < PARTS) {
      for (var i = lane; i < count; i += PARTS) {
        let d = rounded(stage[i] - mean);
        sum = rounded(sum + select(stage[i], rounded(d * d), squared));
      }
    }
  }
  if (lane < PARTS) {
    sums[lane] = sum;
  }
  workgroupBarrier();
  return fold(vec4<f32>(sums[0], sums[1], sums[2], sums[3]), vec4<f32>(sums[4], sums[5], sums[6], sums[7]));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  begin_rounding(shape.width);
  let row = group.x;
  let begin = row * shape.width;
  let n = f32(shape.width);
  let mean = divided(sum_of_row(begin, lane, 0.0, false), n);
  let variance = divided(sum_of_row(begin, lane, mean, true), n);
  let scale = divided(1.0, root(rounded(variance + shape.epsilon)));
  for (var first = 0u; first * 4u < shape.width; first += LANES) {
    let word = first + lane;
    var four = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
      let column = word * 4u + i;
      if (column < shape.width) {
        let centred = rounded(x[begin + column] - mean);
        let normal = rounded(rounded(centred * scale) * gain[column]);
        four[i] = rounded(normal + bias[column]);
        out[begin + column] = four[i];
      }
    }
    maxima[lane] = largest_of(four, 0u);
    workgroupBarrier();
    if (word < shape.words) {
      let neighbours = lane & ~7u;
      var largest = 0u;
      for (var i = 0u; i < 8u; i++) {
        largest = max(largest, maxima[neighbours + i]);
      }
      out_words[tiled_index(row, word, shape.words, shape.tile)] = packed_bytes(four, largest);
      if ((word & 7u) == 0u) {
        out_scales[tiled_index(row, word / 8u, shape.words / 8u, shape.tile)] = scale_of(largest);
      }
    }
    workgroupBarrier();
  }
}
