// Operations of a quad (four neighbouring invocations), for software adapters. These run a quad as
// one vector of four lanes. Their costs differ from a GPU's (read off the code that Chromium's
// SwiftShader generates):
//
// - a barrier makes every four invocations a fiber of their own;
// - shifts, divisions and arrayLength() run lane by lane, and reading an array without a fixed
//   length implies arrayLength(). So bytes are extracted with masks, and arrays have fixed lengths;
// - a read at a computed index runs lane by lane and costs as much as thirty additions. So each
//   word is read by one invocation of a quad and passed to the others.
//
// Value i of invocation `member` is column 4 i + member.
#include quantise

// The sum of a quad's eight parts, two per invocation, in the order of `fold` (order.wgsl).
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

// A block of a quad's 32 values: this invocation's two words, and the scale.
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
  largest = max(largest, bitcast<u32>(v[$i] + quadSwapX(v[$i])) & 0x7fffffffu);
#end
  largest = max(largest, quadSwapX(largest));
  largest = max(largest, quadSwapY(largest));
  let is_zero = is_zero_block(largest);
  let inverse = inverse_of(largest);
  // Moves this invocation's byte to its place in a word.
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
