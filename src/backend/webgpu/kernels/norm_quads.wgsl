// norm.wgsl for software adapters (quads.wgsl) and widths that are a multiple of 32. A workgroup is
// a quad, which computes a row.
#include order
#include quads

struct Shape {
  // C: WIDTH
  width: u32,
  // C / 4
  words: u32,
  // Rows of a tile.
  tile: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (R, C)
@group(0) @binding(1) var<storage, read> x: array<array<f32, WIDTH>>;
// (C)
@group(0) @binding(2) var<storage, read> gain: array<f32, WIDTH>;
@group(0) @binding(3) var<storage, read> bias: array<f32, WIDTH>;
// (R, C)
@group(0) @binding(4) var<storage, read_write> out: array<array<f32, WIDTH>>;
// (tiles, C / 4, tile) and (tiles, C / 32, tile)
@group(0) @binding(5) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(6) var<storage, read_write> out_scales: array<f32>;

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) member: u32) {
  let row = &x[group.x];
  let to = &out[group.x];
  // Not a constant: a compiler may multiply by a constant's reciprocal, which rounds differently.
  let n = f32(shape.width);
  var low = 0.0;
  var high = 0.0;
  for (var i = member; i < WIDTH; i += PARTS) {
    low += (*row)[i];
    high += (*row)[i + 4u];
  }
  let mean = quad_fold(low, high) / n;
  low = 0.0;
  high = 0.0;
  for (var i = member; i < WIDTH; i += PARTS) {
    let a = (*row)[i] - mean;
    let b = (*row)[i + 4u] - mean;
    low += a * a;
    high += b * b;
  }
  let variance = quad_fold(low, high) / n;
  let scale = 1.0 / sqrt(variance + shape.epsilon);
  let first_word = tiled_index(group.x, 0u, WIDTH / 4u, shape.tile);
  let first_scale = tiled_index(group.x, 0u, WIDTH / 32u, shape.tile);
  for (var block = 0u; block < WIDTH / 32u; block++) {
    var values: array<f32, 8>;
#for i in 0 1 2 3 4 5 6 7
    {
      let column = block * 32u + $iu * 4u + member;
      let value = ((*row)[column] - mean) * scale * gain[column] + bias[column];
      (*to)[column] = value;
      values[$i] = value;
    }
#end
    let quantised = quad_quantised(values, member);
    let word = first_word + (block * 8u + member) * shape.tile;
    out_words[word] = quantised.low;
    out_words[word + 4u * shape.tile] = quantised.high;
    out_scales[first_scale + block * shape.tile] = quantised.scale;
  }
}
