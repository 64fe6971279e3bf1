// Top-k selection, second of three steps: the k-th largest of a row's maxima. The invocation whose
// value has rank k writes it; equal values write the same.

struct Shape {
  // Number of maxima per row.
  maxima: u32,
  k: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (outputs, maxima)
@group(0) @binding(1) var<storage, read> maxima: array<f32>;
// (outputs)
@group(0) @binding(2) var<storage, read_write> bounds: array<f32>;
// (outputs, 1 + 2 CAPACITY)
@group(0) @binding(3) var<storage, read_write> found: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let begin = group.x * shape.maxima;
  for (var i = lane; i < shape.maxima; i += LANES) {
    let value = maxima[begin + i];
    var above = 0u;
    var equal = 0u;
    for (var j = 0u; j < shape.maxima; j++) {
      let other = maxima[begin + j];
      above += select(0u, 1u, other > value);
      equal += select(0u, 1u, other == value);
    }
    if (above < shape.k && above + equal >= shape.k) {
      bounds[group.x] = value;
    }
  }
  if (lane == 0u) {
    found[group.x * (1u + 2u * CAPACITY)] = 0u;
  }
}
