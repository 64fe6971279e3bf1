// attention.wgsl for software adapters (quads.wgsl) and heads a multiple of 32 wide. A workgroup is
// a quad, which computes one head of one row. An invocation holds every fourth column, and every
// fourth slot's score.
#include order
#include quads
#include piece

struct Shape {
  // C: WIDTH
  width: u32,
  // C / H: HEAD
  head: u32,
  // C / 4
  words: u32,
  // Rows of a tile.
  tile: u32,
  // 1 / sqrt(C / H)
  scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> places: array<RowPlace>;
// (R, 3 C)
@group(0) @binding(3) var<storage, read> qkv: array<array<f32, 3u * WIDTH>>;
// (slots, C)
@group(0) @binding(4) var<storage, read> keys: array<array<f32, WIDTH>>;
@group(0) @binding(5) var<storage, read> values: array<array<f32, WIDTH>>;
// (R, C)
@group(0) @binding(6) var<storage, read_write> out: array<array<f32, WIDTH>>;
// (tiles, C / 4, tile) and (tiles, C / 32, tile)
@group(0) @binding(7) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(8) var<storage, read_write> out_scales: array<f32>;

// The largest finite f32.
const HUGE: f32 = 3.4028234e38;

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) member: u32) {
  let row = group.y;
  let row_place = places[piece.first + row];
  let visible = visible_slots(row_place);
  let first_column = group.x * HEAD + member;
  let query = &qkv[row];
#for e to EIGHTHS
  let low$e = (*query)[first_column + $eu * 8u];
  let high$e = (*query)[first_column + $eu * 8u + 4u];
#end
  // For the slots 4 g + member: their scores, then exp(score - largest). Beyond the last slot,
  // the last slot is repeated.
  var scores: array<f32, VISIBLE / 4u>;
  var largest = -HUGE;
  for (var g = 0u; g * 4u < visible; g++) {
#for s in 0 1 2 3
    var score$s: f32;
    {
      let j = min(g * 4u + $su, visible - 1u);
      let key = &keys[visible_slot(row_place, j)];
      var low = 0.0;
      var high = 0.0;
#for e to EIGHTHS
      low += low$e * (*key)[first_column + $eu * 8u];
      high += high$e * (*key)[first_column + $eu * 8u + 4u];
#end
      score$s = quad_fold(low, high) * shape.scale;
    }
#end
    let score = vec4<f32>(score0, score1, score2, score3)[member];
    scores[g] = score;
    largest = max(largest, score);
  }
  largest = quad_largest(largest);
  var low_sum = 0.0;
  var high_sum = 0.0;
  for (var g = 0u; g * 4u < visible; g++) {
    let share = select(0.0, exponential(scores[g] - largest), g * 4u + member < visible);
    scores[g] = share;
    // The lower four and the upper four of the eight parts alternate.
    if ((g & 1u) == 0u) {
      low_sum += share;
    } else {
      high_sum += share;
    }
  }
  let total = quad_fold(low_sum, high_sum);
#for e to EIGHTHS
  var low_out$e = 0.0;
  var high_out$e = 0.0;
#end
  for (var g = 0u; g * 4u < visible; g++) {
    let own = scores[g];
#for s in 0 1 2 3
    {
      let share = quadBroadcast(own, $su);
      let j = min(g * 4u + $su, visible - 1u);
      let value = &values[visible_slot(row_place, j)];
#for e to EIGHTHS
      low_out$e += share * (*value)[first_column + $eu * 8u];
      high_out$e += share * (*value)[first_column + $eu * 8u + 4u];
#end
    }
#end
  }
  let to = &out[row];
  var result: array<f32, HEAD / 4u>;
#for e to EIGHTHS
  result[2 * $e] = low_out$e / total;
  result[2 * $e + 1] = high_out$e / total;
  (*to)[first_column + $eu * 8u] = result[2 * $e];
  (*to)[first_column + $eu * 8u + 4u] = result[2 * $e + 1];
#end
  let first_word = tiled_index(row, 0u, WIDTH / 4u, shape.tile);
  let first_scale = tiled_index(row, 0u, WIDTH / 32u, shape.tile);
#for b to HEAD_BLOCKS
  {
    let block = quad_quantised(
      array<f32, 8>(
#for i in 0 1 2 3 4 5 6 7
        result[$b * 8 + $i],
#end
      ),
      member,
    );
    let at = group.x * (HEAD / 32u) + $bu;
    let word = first_word + (at * 8u + member) * shape.tile;
    out_words[word] = block.low;
    out_words[word + 4u * shape.tile] = block.high;
    out_scales[first_scale + at * shape.tile] = block.scale;
  }
#end
}
