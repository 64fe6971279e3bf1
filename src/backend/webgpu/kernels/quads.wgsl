// What four neighbouring invocations, a quad, do together: kernels for an adapter that is a
// processor. Such an adapter runs a quad as one vector of four, and what costs there
// is another thing than on a GPU (seen in the code that Chromium's SwiftShader makes):
//
// - a barrier: every four invocations become a thread of their own;
// - a shift, a division and arrayLength(), which every read of an array without a length
//   implies: lane by lane. So bytes are cut out by masks, and arrays have lengths;
// - a read at an index that is computed: lane by lane, as much as thirty sums. So a word is
//   read by one invocation of a quad, and handed on.
//
// Values of a quad: value i of the invocation `member` is column 4 i + member.
#include quantise

// The sum of a quad's parts, of which an invocation has two, by the order of `fold`
// (order.wgsl).
fn quad_fold(low: f32, high: f32) -> f32 {
  let pair = low + high;
  let sum = pair + quadSwapY(pair);
  return sum + quadSwapX(sum);
}

fn quad_sum(v: f32) -> f32 {
  let sum = v + quadSwapX(v);
  return sum + quadSwapY(sum);
}

fn quad_largest(v: f32) -> f32 {
  let largest = max(v, quadSwapX(v));
  return max(largest, quadSwapY(largest));
}

// 32 values of a quad as a block: two of its words, and its scale.
struct QuadBlock {
  // Words `member` and 4 + member.
  low: u32,
  high: u32,
  scale: f32,
}

fn quad_quantised(v: array<f32, 8>, member: u32) -> QuadBlock {
  var largest = 0u;
#for i in 0 1 2 3 4 5 6 7
  largest = max(largest, bitcast<u32>(v[$i]) & 0x7fffffffu);
#end
  largest = max(largest, quadSwapX(largest));
  largest = max(largest, quadSwapY(largest));
  let is_zero = is_zero_block(largest);
  let inverse = inverse_of(largest);
  // What puts a byte of this invocation in its field of a word.
  let byte_factor = vec4<u32>(0x1u, 0x100u, 0x10000u, 0x1000000u)[member];
#for i in 0 1 2 3 4 5 6 7
  let byte$i = select(byte_of(v[$i], inverse), 0u, is_zero) * byte_factor;
  let pair$i = byte$i | quadSwapX(byte$i);
  let word$i = pair$i | quadSwapY(pair$i);
#end
  return QuadBlock(
    vec4<u32>(word0, word1, word2, word3)[member],
    vec4<u32>(word4, word5, word6, word7)[member],
    scale_of(largest),
  );
}
