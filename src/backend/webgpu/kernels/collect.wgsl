// Top-k selection, third of three steps: stores every logit that reaches the bound, with its token.
// The k largest are among them; the CPU drops the rest. A count above CAPACITY means that some did
// not fit.

struct Shape {
  // V
  vocab: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// (outputs, V)
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// (outputs)
@group(0) @binding(2) var<storage, read> bounds: array<f32>;
// (outputs, 1 + 2 CAPACITY): a count, then token and logit
@group(0) @binding(3) var<storage, read_write> found: array<atomic<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.x * LANES + lane;
  if (token >= shape.vocab) {
    return;
  }
  let logit = logits[group.y * shape.vocab + token];
  if (logit >= bounds[group.y]) {
    let row = group.y * (1u + 2u * CAPACITY);
    let at = atomicAdd(&found[row], 1u);
    if (at < CAPACITY) {
      atomicStore(&found[row + 1u + 2u * at], token);
      atomicStore(&found[row + 2u + 2u * at], bitcast<u32>(logit));
    }
  }
}
