// x (R, K) times w (N, K) transposed, all of them floats: what cannot be
// quantised (an odd width), and checkpoints run as they are. A workgroup
// computes outputs of one row, one after the other.
#include reduce
#include gelu

struct Shape {
  // N, of the whole matrix.
  outputs: u32,
  // K
  columns: u32,
  // This piece of the matrix: its first output, and how many.
  first: u32,
  count: u32,
  has_bias: u32,
  gelu: u32,
  add: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (count, K)
@group(0) @binding(1) var<storage, read> weights: array<f32>;
// (R, K)
@group(0) @binding(2) var<storage, read> x: array<f32>;
// (N)
@group(0) @binding(3) var<storage, read> bias: array<f32>;
// (R, N)
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
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
  let row = group.y;
  for (var n = group.x; n < shape.count; n += groups.x) {
    var sum = 0.0;
    for (var k = lane; k < shape.columns; k += LANES) {
      sum += weights[n * shape.columns + k] * x[row * shape.columns + k];
    }
    var value = reduce_sum(sum, at);
    if (lane == 0u) {
      let to = row * shape.outputs + shape.first + n;
      if (shape.has_bias == 1u) {
        value += bias[shape.first + n];
      }
      if (shape.gelu == 1u) {
        value = gelu(value);
      }
      if (shape.add == 1u) {
        value += out[to];
      }
      out[to] = value;
    }
  }
}
