// Quantises rows of x (R, K) that no earlier kernel has quantised. A workgroup handles a row, an
// invocation a block.
#include quantise

struct Shape {
  // K
  width: u32,
  // Rows of a tile.
  tile: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (R, K)
@group(0) @binding(1) var<storage, read> x: array<f32>;
// (tiles, K / 4, tile) and (tiles, K / 32, tile)
@group(0) @binding(2) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(3) var<storage, read_write> out_scales: array<f32>;

fn four(at: u32) -> vec4<f32> {
  return vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  begin_rounding(shape.width);
  let row = group.x;
  let blocks = shape.width / 32u;
  for (var block = lane; block < blocks; block += LANES) {
    let begin = row * shape.width + block * 32u;
    var largest = 0u;
    for (var i = 0u; i < 32u; i += 4u) {
      largest = largest_of(four(begin + i), largest);
    }
    for (var i = 0u; i < 8u; i++) {
      out_words[tiled_index(row, block * 8u + i, blocks * 8u, shape.tile)] = packed_bytes(four(begin + i * 4u), largest);
    }
    out_scales[tiled_index(row, block, blocks, shape.tile)] = scale_of(largest);
  }
}
