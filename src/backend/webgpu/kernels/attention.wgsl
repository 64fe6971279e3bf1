// Causal attention of each row of qkv (R, 3 C) over its sequence in the cache:
// softmax(q k / sqrt(C / H)) v, written to out (R, C), also quantised if heads are a multiple of
// 32 wide. A workgroup computes one head of one row. An invocation handles every LANES-th visible
// slot, then every LANES-th column of the result.
#include order
#include reduce
#include quantise
#include piece

struct Shape {
  // C
  width: u32,
  // C / H
  head: u32,
  // C / 4 if the result is quantised, else 0.
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
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
// (slots, C)
@group(0) @binding(4) var<storage, read> keys: array<f32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
// (R, C)
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
// (tiles, C / 4, tile) and (tiles, C / 32, tile)
@group(0) @binding(7) var<storage, read_write> out_words: array<u32>;
@group(0) @binding(8) var<storage, read_write> out_scales: array<f32>;

// The largest finite f32.
const HUGE: f32 = 3.4028234e38;

// For each visible slot: its score, then exp(score - largest).
var<workgroup> scores: array<f32, VISIBLE>;
var<workgroup> sums: array<f32, PARTS>;
// The columns of the result that are quantised together.
var<workgroup> columns: array<f32, LANES>;

fn four_of_query(at: u32) -> vec4<f32> {
  return vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
}

fn four_of_key(at: u32) -> vec4<f32> {
  return vec4<f32>(keys[at], keys[at + 1u], keys[at + 2u], keys[at + 3u]);
}

// The dot product of the query and key vectors (C / H) starting at these indices.
fn dot_product(query: u32, key: u32) -> f32 {
  var low = vec4<f32>();
  var high = vec4<f32>();
  let whole = shape.head / PARTS * PARTS;
  for (var i = 0u; i < whole; i += PARTS) {
    low = rounded4(low + rounded4(four_of_query(query + i) * four_of_key(key + i)));
    high = rounded4(high + rounded4(four_of_query(query + i + 4u) * four_of_key(key + i + 4u)));
  }
  for (var i = 0u; i < shape.head - whole; i++) {
    let product = rounded(qkv[query + whole + i] * keys[key + whole + i]);
    if (i < 4u) {
      low[i] = rounded(low[i] + product);
    } else {
      high[i - 4u] = rounded(high[i - 4u] + product);
    }
  }
  return fold(low, high);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  begin_rounding(shape.width);
  let row = group.y;
  let row_place = places[piece.first + row];
  let prefix = row_place.prefix;
  let start = row_place.start;
  let visible = visible_slots(row_place);
  let column = group.x * shape.head;
  let query = row * 3u * shape.width + column;
  let to = row * shape.width + column;
  var highest = -HUGE;
  for (var j = lane; j < visible; j += LANES) {
    let product = dot_product(query, visible_slot(row_place, j) * shape.width + column);
    scores[j] = rounded(product * shape.scale);
    highest = max(highest, scores[j]);
  }
  highest = reduce_largest(highest, lane);
  for (var j = lane; j < visible; j += LANES) {
    scores[j] = exponential(rounded(scores[j] - highest));
  }
  workgroupBarrier();
  if (lane < PARTS) {
    var sum = 0.0;
    for (var j = lane; j < visible; j += PARTS) {
      sum = rounded(sum + scores[j]);
    }
    sums[lane] = sum;
  }
  workgroupBarrier();
  let total = fold(vec4<f32>(sums[0], sums[1], sums[2], sums[3]), vec4<f32>(sums[4], sums[5], sums[6], sums[7]));
  for (var first = 0u; first < shape.head; first += LANES) {
    let i = first + lane;
    var value = 0.0;
    if (i < shape.head) {
      let seen = min(prefix, visible);
      for (var j = 0u; j < seen; j++) {
        value = rounded(value + rounded(scores[j] * values[j * shape.width + column + i]));
      }
      for (var j = seen; j < visible; j++) {
        let seen_value = values[(start + j - prefix) * shape.width + column + i];
        value = rounded(value + rounded(scores[j] * seen_value));
      }
      value = divided(value, total);
      out[to + i] = value;
    }
    columns[lane] = value;
    workgroupBarrier();
    if (shape.words > 0u && lane < LANES / 4u && first + lane * 4u < shape.head) {
      let block = lane / 8u * 32u;
      var largest = 0u;
      for (var j = block; j < block + 32u; j += 4u) {
        largest = largest_of(vec4<f32>(columns[j], columns[j + 1u], columns[j + 2u], columns[j + 3u]), largest);
      }
      let j = lane * 4u;
      let four = vec4<f32>(columns[j], columns[j + 1u], columns[j + 2u], columns[j + 3u]);
      let word = (column + first) / 4u + lane;
      out_words[tiled_index(row, word, shape.words, shape.tile)] = packed_bytes(four, largest);
      if ((lane & 7u) == 0u) {
        out_scales[tiled_index(row, word / 8u, shape.words / 8u, shape.tile)] = scale_of(largest);
      }
    }
    workgroupBarrier();
  }
}
