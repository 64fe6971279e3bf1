// Stores the keys and values of qkv (R, 3 C) in the cache.
#include piece

struct Shape {
  // C
  width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> places: array<RowPlace>;
// (R, 3 C)
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
// (slots, C)
@group(0) @binding(4) var<storage, read_write> keys: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * LANES + lane;
  if (column >= shape.width) {
    return;
  }
  let row = group.y;
  let to = places[piece.first + row].slot * shape.width + column;
  let begin = row * 3u * shape.width + column;
  keys[to] = qkv[begin + shape.width];
  values[to] = qkv[begin + 2u * shape.width];
}
