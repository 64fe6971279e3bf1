// Copies the rows of x (R, C) whose logits are wanted to out, after those already there.
#include piece

struct Shape {
  // C
  width: u32,
  // Rows already in out.
  before: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> places: array<RowPlace>;
// (R, C)
@group(0) @binding(3) var<storage, read> x: array<f32>;
// (outputs, C)
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = places[piece.first + group.x].pick;
  for (var column = lane; column < shape.width; column += LANES) {
    out[(shape.before + group.x) * shape.width + column] = x[row * shape.width + column];
  }
}
