// Top-k selection, first of three steps: an invocation finds the largest of DEPTH logits of a row,
// LANES apart. The k-th largest of these maxima is a lower bound of the k-th largest logit, and
// close to it.

struct Shape {
  // V
  vocab: u32,
  // Number of maxima per row.
  maxima: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (outputs, V)
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// (outputs, maxima)
@group(0) @binding(2) var<storage, read_write> maxima: array<f32>;

const LEAST: f32 = -3.4028234e38;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = group.x * LANES * DEPTH + lane;
  let last = min(first + LANES * DEPTH, shape.vocab);
  var largest = LEAST;
  for (var i = first; i < last; i += LANES) {
    let logit = logits[group.y * shape.vocab + i];
    // Not max(): a NaN must never be the largest.
    largest = select(largest, logit, logit > largest);
  }
  maxima[group.y * shape.maxima + group.x * LANES + lane] = largest;
}
