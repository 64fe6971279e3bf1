// out (R, C) = or += the rows of a table, selected by each row's token or position. A table in
// pieces is added piece by piece; rows that belong to another piece are left unchanged.
#include piece
#include rounded
#if !DENSE
#if !QUADS
#include weights
#end
#end

struct Shape {
  // C
  width: u32,
  // This piece of the table: its first row and its number of rows.
  first: u32,
  count: u32,
  // 1: by position; 0: by token.
  by_position: u32,
  // 1: add to out.
  add: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> places: array<RowPlace>;
// (R, C)
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#if DENSE
// (count, C)
@group(0) @binding(4) var<storage, read> weights: array<f32>;

fn value(row: u32, column: u32) -> f32 {
  return weights[row * shape.width + column];
}
#else
#if QUADS
// In the layout of matrix.rs for quads.
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;

fn value(row: u32, column: u32) -> f32 {
  let block = row / 4u * (shape.width / 32u) + column / 32u;
  let half = column % 32u / 16u;
  let byte = column % 4u * 8u;
#if Q4
  let vector = weights[block * 4u + row % 4u];
#else
  let vector = weights[(block * 2u + half) * 4u + row % 4u];
#end
  let word = vector[(column % 16u / 4u) ^ (row % 4u)];
#if Q4
  let value = i32(((word ^ 0x80000000u) >> (byte + half * 4u)) & 15u) - 8;
#else
  let value = i32((word ^ 0x808080u) << (24u - byte)) >> 24u;
#end
  return rounded(f32(value) * scales[block * 4u + row % 4u]);
}
#else
// In the layout of weights.wgsl.
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
#if F16
@group(0) @binding(5) var<storage, read> scales: array<f16>;
#else
@group(0) @binding(5) var<storage, read> scales: array<u32>;
#end

fn value(row: u32, column: u32) -> f32 {
  let block = row / 32u * (shape.width / 32u) + column / 32u;
  let word = weight_words(block, row % 32u, column % 32u / 16u)[column % 16u / 4u];
  let byte = i32(word << (24u - column % 4u * 8u)) >> 24u;
  return rounded(f32(byte) * weight_scale(block, row % 32u));
}
#end
#end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  begin_rounding(shape.width);
  let row_place = places[piece.first + group.x];
  let row = select(row_place.token, row_place.position, shape.by_position == 1u);
  if (row < shape.first || row - shape.first >= shape.count) {
    return;
  }
  for (var column = lane; column < shape.width; column += LANES) {
    let at = group.x * shape.width + column;
    var sum = value(row - shape.first, column);
    if (shape.add == 1u) {
      sum = rounded(sum + out[at]);
    }
    out[at] = sum;
  }
}
