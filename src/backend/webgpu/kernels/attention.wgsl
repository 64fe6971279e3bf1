// Causal attention of every row of qkv (R, 3 C) over its sequence in the cache:
// softmax(q k / sqrt(C / H)) v, into out (R, C), quantised too where a head is
// a multiple of 32 wide. A workgroup is one head of one row; it goes through
// the visible slots LANES at a time and keeps a running maximum and sum.
#include reduce
#include quantise
#include piece

struct Shape {
  // C
  width: u32,
  // C / H
  head: u32,
  // C / 4 where the result is quantised, else 0.
  words: u32,
  // Rows of a tile.
  tile: u32,
  // 1 / sqrt(C / H)
  scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<uniform> piece: Piece;
@group(0) @binding(2) var<storage, read> places: array<Place>;
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

// exp(score - maximum) of the slots under way, and then the result's columns.
var<workgroup> shares: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
#if SUBGROUPS
  @builtin(subgroup_size) subgroup: u32,
#end
) {
#if SUBGROUPS
  let at = Invocation(lane, subgroup);
#else
  let at = Invocation(lane, 0u);
#end
  let row = group.y;
  let place_of_row = places[piece.first + row];
  let prefix = place_of_row.prefix;
  let start = place_of_row.start;
  // Behind the prefix stand the draft's own slots.
  let visible = prefix + select(0u, place_of_row.slot + 1u - start, start <= place_of_row.slot);
  let column = group.x * shape.head;
  let query = row * 3u * shape.width + column;
  let to = row * shape.width + column;
  var maximum = -HUGE;
  var total = 0.0;
  for (var begin = 0u; begin < visible; begin += LANES) {
    let index = begin + lane;
    var score = -HUGE;
    if (index < visible) {
      let key = select(start + index - prefix, index, index < prefix) * shape.width + column;
      var sum = 0.0;
      for (var i = 0u; i < shape.head; i++) {
        sum += qkv[query + i] * keys[key + i];
      }
      score = sum * shape.scale;
    }
    let highest = max(maximum, reduce_largest(score, at));
    let fade = exp(maximum - highest);
    maximum = highest;
    let share = select(0.0, exp(score - highest), index < visible);
    shares[lane] = share;
    total = total * fade + reduce_sum(share, at);
    let count = min(LANES, visible - begin);
    for (var i = lane; i < shape.head; i += LANES) {
      var sum = 0.0;
      if (begin > 0u) {
        sum = out[to + i] * fade;
      }
      for (var j = 0u; j < count; j++) {
        let slot = select(start + begin + j - prefix, begin + j, begin + j < prefix);
        sum += shares[j] * values[slot * shape.width + column + i];
      }
      out[to + i] = sum;
    }
    workgroupBarrier();
  }
  for (var first = 0u; first < shape.head; first += LANES) {
    let i = first + lane;
    var value = 0.0;
    if (i < shape.head) {
      value = out[to + i] / total;
      out[to + i] = value;
    }
    shares[lane] = value;
    workgroupBarrier();
    if (shape.words > 0u && lane < LANES / 4u && first + lane * 4u < shape.head) {
      let block = lane / 8u * 32u;
      var largest = 0.0;
      for (var j = block; j < block + 32u; j += 4u) {
        largest = largest_of(vec4<f32>(shares[j], shares[j + 1u], shares[j + 2u], shares[j + 3u]), largest);
      }
      let j = lane * 4u;
      let four = vec4<f32>(shares[j], shares[j + 1u], shares[j + 2u], shares[j + 3u]);
      let word = (column + first) / 4u + lane;
      out_words[place(row, word, shape.words, shape.tile)] = packed_bytes(four, largest);
      if ((lane & 7u) == 0u) {
        out_scales[place(row, word / 8u, shape.words / 8u, shape.tile)] = scale_of(largest);
      }
    }
    workgroupBarrier();
  }
}
