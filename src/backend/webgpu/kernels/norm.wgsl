// Normalises each row of x (R, C), then gain and bias; stored as floats and,
// where C is a multiple of 32, quantised too. A workgroup is a row; an
// invocation has words of four columns, so that eight hold a block.
#include reduce
#include quantise

struct Shape {
  // C
  width: u32,
  // C / 4 where the result is quantised, else 0.
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

var<workgroup> maxima: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
#if SUBGROUPS
  @builtin(subgroup_size) subgroup: u32,
#end
) {
#if SUBGROUPS
  let at = Invocation(lane, subgroup);
#else
  let at = Invocation(lane, 0u);
#end
  let row = group.x;
  let begin = row * shape.width;
  let n = f32(shape.width);
  var sum = 0.0;
  for (var i = lane; i < shape.width; i += LANES) {
    sum += x[begin + i];
  }
  let mean = reduce_sum(sum, at) / n;
  sum = 0.0;
  for (var i = lane; i < shape.width; i += LANES) {
    let d = x[begin + i] - mean;
    sum += d * d;
  }
  let scale = 1.0 / sqrt(reduce_sum(sum, at) / n + shape.epsilon);
  for (var first = 0u; first * 4u < shape.width; first += LANES) {
    let word = first + lane;
    var four = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
      let column = word * 4u + i;
      if (column < shape.width) {
        four[i] = (x[begin + column] - mean) * scale * gain[column] + bias[column];
        out[begin + column] = four[i];
      }
    }
    maxima[lane] = largest_of(four, 0.0);
    workgroupBarrier();
    if (word < shape.words) {
      let neighbours = lane & ~7u;
      var largest = 0.0;
      for (var i = 0u; i < 8u; i++) {
        largest = max(largest, maxima[neighbours + i]);
      }
      out_words[place(row, word, shape.words, shape.tile)] = packed_bytes(four, largest);
      if ((word & 7u) == 0u) {
        out_scales[place(row, word / 8u, shape.words / 8u, shape.tile)] = scale_of(largest);
      }
    }
    workgroupBarrier();
  }
}
