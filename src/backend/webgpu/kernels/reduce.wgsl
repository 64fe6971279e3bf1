// The largest value of a one-dimensional workgroup of LANES invocations. All of them must call this
// once, and all get the result.
//
// With subgroups, each subgroup's largest value goes into one atomic word; without, FOLD invocations
// reduce LANES / FOLD values each. Either way there are two barriers. WGSL does not say which
// invocations form a subgroup, nor how many, so no mapping is assumed.

#if SUBGROUPS
var<workgroup> largest_word: atomic<u32>;

// Maps values to words with the same order, all above 0.
fn ordered_word(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value_of_ordered(word: u32) -> f32 {
  return bitcast<f32>(select(~word, word & 0x7fffffffu, word >= 0x80000000u));
}

fn reduce_largest(value: f32, lane: u32) -> f32 {
  if (lane == 0u) {
    atomicStore(&largest_word, 0u);
  }
  let part = subgroupMax(value);
  workgroupBarrier();
  // The first active invocation of each subgroup.
  if (subgroupExclusiveAdd(1u) == 0u) {
    atomicMax(&largest_word, ordered_word(part));
  }
  workgroupBarrier();
  return value_of_ordered(atomicLoad(&largest_word));
}
#else
const FOLD: u32 = 8u;
var<workgroup> parts: array<f32, LANES>;
var<workgroup> folded: array<f32, FOLD>;

fn reduce_largest(value: f32, lane: u32) -> f32 {
  parts[lane] = value;
  workgroupBarrier();
  if (lane < FOLD) {
    var part = parts[lane];
    for (var i = lane + FOLD; i < LANES; i += FOLD) {
      part = max(part, parts[i]);
    }
    folded[lane] = part;
  }
  workgroupBarrier();
  var largest = folded[0];
  for (var i = 1u; i < FOLD; i++) {
    largest = max(largest, folded[i]);
  }
  return largest;
}
#end
