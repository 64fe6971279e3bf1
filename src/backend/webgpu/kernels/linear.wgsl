// x (R, K), quantised, times the transpose of w (N, K), with bias and epilogue, into out (R, N).
//
// A workgroup computes PANELS times 32 outputs for TILES tiles of TILE rows. An invocation belongs
// to one output of each panel (the rows of a panel are interleaved, so that neighbouring invocations
// read neighbouring words) and to one of SLICES: of SLICES consecutive blocks of K, each slice
// computes one. A word of weights is read once for all rows of x, and a word of x once for all
// panels. A block's integer sum is exact. Blocks are added in the CPU's order, one after the other:
// by the slice that owns the row (SLICED), or by the only slice.
#include product
#include weights

#if WIDE
alias Ints = vec4<i32>;
#else
alias Ints = i32;
#end

// In the layout of weights.wgsl.
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
#if F16
@group(0) @binding(2) var<storage, read> scales: array<f16>;
#else
@group(0) @binding(2) var<storage, read> scales: array<u32>;
#end
// (tiles, K / 4, TILE) words of signed bytes
@group(0) @binding(3) var<storage, read> x: array<Words>;
// (tiles, K / 32, TILE)
@group(0) @binding(4) var<storage, read> x_scales: array<Floats>;

#if QUANTISE
var<workgroup> block: array<f32, 32u * TILE>;
#end

#if SLICED
// The terms that SLICES blocks add to the sums of all rows and panels.
var<workgroup> terms: array<Floats, TILES * PANELS * SLICES * 32u>;
#end

#if PACKED_DOT
alias Operand = u32;
alias Exact = Ints;

fn exact_sum(a: Exact, b: Exact) -> Exact {
  return a + b;
}

fn operand(word: u32) -> Operand {
  return word;
}

fn exact_product(w: Operand, x: u32) -> i32 {
  return dot4I8Packed(w, x);
}
#else
// Floats, exact here in any order: the sum of 32 products is below 2^24.
alias Operand = vec4<f32>;
alias Exact = Floats;

fn exact_sum(a: Exact, b: Exact) -> Exact {
  return a + b;
}

fn operand(word: u32) -> Operand {
  let bytes = vec4<i32>(vec4<u32>(word << 24u, word << 16u, word << 8u, word));
  return vec4<f32>(bytes >> vec4<u32>(24u));
}

fn exact_product(w: Operand, x: u32) -> f32 {
  return dot(w, operand(x));
}
#end

#if WIDE
fn products(w: Operand, x: Words) -> Exact {
  return Exact(
    exact_product(w, x.x),
    exact_product(w, x.y),
    exact_product(w, x.z),
    exact_product(w, x.w),
  );
}

fn of_row(v: Floats, row: u32) -> f32 {
  return v[row];
}
#else
fn products(w: Operand, x: Words) -> Exact {
  return exact_product(w, x);
}

fn of_row(v: Floats, row: u32) -> f32 {
  return v;
}
#end

@compute @workgroup_size(32, SLICES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  begin_rounding(shape.outputs);
  let lane = local.x;
  let slice = local.y;
  let first_tile = group.y * TILES;
#for m to TILES
  let x_at$m = (first_tile + $mu) * shape.blocks;
#for p to PANELS
#if SLICED
  // The sum of the tile's row that this slice owns.
  var sum$m_$p = 0.0;
#else
  var sum$m_$p = Floats();
#end
#end
#end
  for (var first = 0u; first < shape.blocks; first += SLICES) {
#if SLICED
    // Beyond the last block, a slice computes the last one again; its terms are not used.
    let b = min(first + slice, shape.blocks - 1u);
    let count = min(SLICES, shape.blocks - first);
#else
    let b = first;
#end
#for p to PANELS
    let at$p = (group.x * PANELS + $pu) * shape.blocks + b;
    let low$p = weight_words(at$p, lane, 0u);
    let high$p = weight_words(at$p, lane, 1u);
    let scale$p = weight_scale(at$p, lane);
#for i in x y z w
    let low$p_$i = operand(low$p.$i);
    let high$p_$i = operand(high$p.$i);
#end
#end
#for m to TILES
    {
      let words = (x_at$m + b) * 8u;
#for i in 0 1 2 3 4 5 6 7
      let x$i = x[words + $iu];
#end
      let x_scale = x_scales[x_at$m + b];
#for p to PANELS
      var dot$p = products(low$p_x, x0);
      dot$p = exact_sum(dot$p, products(low$p_y, x1));
      dot$p = exact_sum(dot$p, products(low$p_z, x2));
      dot$p = exact_sum(dot$p, products(low$p_w, x3));
      dot$p = exact_sum(dot$p, products(high$p_x, x4));
      dot$p = exact_sum(dot$p, products(high$p_y, x5));
      dot$p = exact_sum(dot$p, products(high$p_z, x6));
      dot$p = exact_sum(dot$p, products(high$p_w, x7));
      let term$p = rounded_row(Floats(dot$p) * rounded_row(scale$p * x_scale));
#if SLICED
      terms[(($mu * PANELS + $pu) * SLICES + slice) * 32u + lane] = term$p;
#else
      sum$m_$p = rounded_row(sum$m_$p + term$p);
#end
#end
    }
#end
#if SLICED
    workgroupBarrier();
    if (slice < TILE) {
      for (var s = 0u; s < count; s++) {
#for m to TILES
#for p to PANELS
        let term$m_$p = terms[(($mu * PANELS + $pu) * SLICES + s) * 32u + lane];
        sum$m_$p = rounded(sum$m_$p + of_row(term$m_$p, slice));
#end
#end
      }
    }
    workgroupBarrier();
#end
  }
#for m to TILES
#for p to PANELS
  {
    let panel = group.x * PANELS + $pu;
    let tile = first_tile + $mu;
#if SLICED
    if (slice < TILE) {
      let value = finish(sum$m_$p, tile * TILE + slice, panel * 32u + lane);
#if QUANTISE
      block[slice * 32u + lane] = value;
#end
    }
#else
    for (var r = 0u; r < TILE; r++) {
      let value = finish(of_row(sum$m_$p, r), tile * TILE + r, panel * 32u + lane);
#if QUANTISE
      block[r * 32u + lane] = value;
#end
    }
#end
#if QUANTISE
    workgroupBarrier();
    // The 32 outputs of a row make one block.
    if (lane < 8u && panel * 32u < shape.count) {
      for (var r = slice; r < TILE; r += SLICES) {
        var largest = 0u;
        for (var i = r * 32u; i < r * 32u + 32u; i += 4u) {
          largest = largest_of(vec4<f32>(block[i], block[i + 1u], block[i + 2u], block[i + 3u]), largest);
        }
        let i = r * 32u + lane * 4u;
        let four = vec4<f32>(block[i], block[i + 1u], block[i + 2u], block[i + 3u]);
        let row = tile * TILE + r;
        let column = shape.first / 32u + panel;
        out_words[tiled_index(row, column * 8u + lane, shape.outputs / 4u, TILE)] = packed_bytes(four, largest);
        if (lane == 0u) {
          out_scales[tiled_index(row, column, shape.outputs / 32u, TILE)] = scale_of(largest);
        }
      }
    }
    workgroupBarrier();
#end
  }
#end
#end
}
