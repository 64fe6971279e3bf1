// linear.wgsl for software adapters (quads.wgsl).
//
// A quad computes 32 outputs of a tile of TILE rows, eight of each row per invocation, PANELS of
// them at a time: more code than that does not fit in a CPU's cache of decoded instructions. A
// quad's panel is four rows of weights, one per invocation. Of a block of x, each invocation reads
// two words and gets the others by exchange: its own word first, then those of its horizontal,
// vertical and diagonal neighbours. A row's words are stored in that order (matrix.rs).
#include product
#include quads

#if Q4
const VECTORS: u32 = 1u;
#else
const VECTORS: u32 = 2u;
#end

// (N / 4, BLOCKS, VECTORS, 4) vectors
@group(0) @binding(1) var<storage, read> weights: array<array<vec4<u32>, BLOCKS * VECTORS * 4u>>;
// (N / 4, BLOCKS, 4)
@group(0) @binding(2) var<storage, read> scales: array<array<f32, BLOCKS * 4u>>;
// (tiles, K / 4, TILE) words of signed bytes
@group(0) @binding(3) var<storage, read> x: array<array<Words, BLOCKS * 8u>>;
// (tiles, BLOCKS, TILE)
@group(0) @binding(4) var<storage, read> x_scales: array<array<Floats, BLOCKS>>;

// A masked field of a word is used in place, as an integer: its value times 2^(its first bit). x is
// divided by the same power of two. All fields except the top one are biased to be positive, and
// the bias is subtracted at the end. Products and sums are still integers below 2^24, which floats
// hold exactly.
#if Q4
// Low nibbles are columns 0 .. 15, high ones 16 .. 31.
const LOW_MASK = vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u);
const HIGH_MASK = vec4<u32>(0xf0u, 0xf000u, 0xf00000u, 0xf0000000u);
const LOW_FACTOR = vec4<f32>(0x1p-24, 0x1p-32, 0x1p-40, 0x1p-48);
const HIGH_FACTOR = vec4<f32>(0x1p-28, 0x1p-36, 0x1p-44, 0x1p-52);
const LOW_BIAS = vec4<f32>(0x1p3, 0x1p11, 0x1p19, 0x1p27);
const HIGH_BIAS = vec4<f32>(0x1p7, 0x1p15, 0x1p23, 0.0);
#else
const LOW_MASK = vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
const HIGH_MASK = LOW_MASK;
const LOW_FACTOR = vec4<f32>(0x1p-24, 0x1p-32, 0x1p-40, 0x1p-48);
const HIGH_FACTOR = LOW_FACTOR;
const LOW_BIAS = vec4<f32>(0x1p7, 0x1p15, 0x1p23, 0.0);
const HIGH_BIAS = LOW_BIAS;
#end

fn fields(word: u32, mask: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(word) & mask));
}

// The four signed bytes of a word of x, divided by the powers of two of the fields that they are
// multiplied with. `factor` includes 2^-24, because each is shifted to the top byte.
fn bytes(word: u32, factor: vec4<f32>) -> vec4<f32> {
  let upper = vec4<u32>(word * 0x1000000u, word * 0x10000u, word * 0x100u, word) & vec4<u32>(0xff000000u);
  return vec4<f32>(vec4<i32>(upper)) * factor;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let member = lane & 3u;
  let column = group.x * (LANES / 4u) + (lane >> 2u);
  let tile_words = &x[group.y];
  let tile_scales = &x_scales[group.y];
#if QUANTISE
#for m to TILE
  var values$m: array<f32, 8>;
#end
#end
  for (var i = 0u; i < 8u; i += PANELS) {
#for p to PANELS
    let quad_panel$p = &weights[column * 8u + i + $pu];
    let quad_scales$p = &scales[column * 8u + i + $pu];
#for m to TILE
    var sum$p_$m = 0.0;
#end
#end
    for (var b = 0u; b < BLOCKS; b++) {
      let low_words = (*tile_words)[b * 8u + member];
      let high_words = (*tile_words)[b * 8u + 4u + member];
      let x_scale = (*tile_scales)[b];
#for m to TILE
#if WIDE
      let low$m_0 = bytes(low_words[$m], LOW_FACTOR);
      let high$m_0 = bytes(high_words[$m], HIGH_FACTOR);
      let x_scale$m = x_scale[$m];
#else
      let low$m_0 = bytes(low_words, LOW_FACTOR);
      let high$m_0 = bytes(high_words, HIGH_FACTOR);
      let x_scale$m = x_scale;
#end
      let biases$m = quad_sum(dot(low$m_0, LOW_BIAS) + dot(high$m_0, HIGH_BIAS));
#for half in low high
      let $half$m_1 = quadSwapX($half$m_0);
      let $half$m_2 = quadSwapY($half$m_0);
      let $half$m_3 = quadSwapDiagonal($half$m_0);
#end
#end
#for p to PANELS
      {
        let low = (*quad_panel$p)[b * (VECTORS * 4u) + member];
#if Q4
        let high = low;
#else
        let high = (*quad_panel$p)[b * 8u + 4u + member];
#end
        let scale = (*quad_scales$p)[b * 4u + member];
#for m to TILE
        var dot$m = -biases$m;
#end
#for s in 0 1 2 3
        {
          let low_fields = fields(low[$s], LOW_MASK);
          let high_fields = fields(high[$s], HIGH_MASK);
#for m to TILE
          dot$m += dot(low_fields, low$m_$s) + dot(high_fields, high$m_$s);
#end
        }
#end
#for m to TILE
        sum$p_$m += dot$m * (scale * x_scale$m);
#end
      }
#end
    }
#for p to PANELS
#for m to TILE
    {
      let value = finish(sum$p_$m, group.y * TILE + $mu, (column * 8u + i + $pu) * 4u + member);
#if QUANTISE
      values$m[i + $pu] = value;
#end
    }
#end
#end
  }
#if QUANTISE
#for m to TILE
  {
    let block = quad_quantised(values$m, member);
    if (column * 32u < shape.count) {
      let row = group.y * TILE + $mu;
      let at = shape.first / 32u + column;
      let word = tiled_index(row, at * 8u + member, shape.outputs / 4u, TILE);
      out_words[word] = block.low;
      out_words[word + 4u * TILE] = block.high;
      out_scales[tiled_index(row, at, shape.outputs / 32u, TILE)] = block.scale;
    }
  }
#end
#end
}
