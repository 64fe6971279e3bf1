// x (R, K) times the transpose of w (N, K), all f32: for matrices that cannot be quantised (an odd
// width) and for checkpoints run unquantised. A workgroup computes LANES / PARTS outputs of one row
// at a time; an invocation computes one part of an output's sum.
#include order
#include gelu

struct Shape {
  // N of the whole matrix.
  outputs: u32,
  // K
  columns: u32,
  // This piece of the matrix: its first output and its number of outputs.
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

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  begin_rounding(shape.outputs);
  let row = group.y;
  let at_once = LANES / PARTS;
  for (var first = group.x * at_once; first < shape.count; first += groups.x * at_once) {
    let n = first + lane / PARTS;
    var sum = 0.0;
    if (n < shape.count) {
      for (var k = lane % PARTS; k < shape.columns; k += PARTS) {
        sum = rounded(sum + rounded(weights[n * shape.columns + k] * x[row * shape.columns + k]));
      }
    }
    sums[lane] = sum;
    workgroupBarrier();
    if (lane % PARTS == 0u && n < shape.count) {
      let low = vec4<f32>(sums[lane], sums[lane + 1u], sums[lane + 2u], sums[lane + 3u]);
      let high = vec4<f32>(sums[lane + 4u], sums[lane + 5u], sums[lane + 6u], sums[lane + 7u]);
      var value = fold(low, high);
      let to = row * shape.outputs + shape.first + n;
      if (shape.has_bias == 1u) {
        value = rounded(value + bias[shape.first + n]);
      }
      if (shape.gelu == 1u) {
        value = gelu(value);
      }
      if (shape.add == 1u) {
        value = rounded(value + out[to]);
      }
      out[to] = value;
    }
    workgroupBarrier();
  }
}
