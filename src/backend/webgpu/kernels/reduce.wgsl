// The largest value of a workgroup of LANES invocations in a line: all of them
// call, and all of them get the result.
//
// With subgroups there are LANES / subgroup size values to fold; without, FOLD
// invocations fold LANES / FOLD values each: two barriers either way.

struct Invocation {
  lane: u32,
  // Invocations of a subgroup; 0 without subgroups.
  subgroup: u32,
}

#if SUBGROUPS
// A subgroup is at least four invocations, and takes neighbours of a line.
var<workgroup> folded: array<f32, LANES / 4u>;
#else
const FOLD: u32 = 8u;
var<workgroup> parts: array<f32, LANES>;
var<workgroup> folded: array<f32, FOLD>;
#end

fn reduce_largest(value: f32, at: Invocation) -> f32 {
#if SUBGROUPS
  let part = subgroupMax(value);
  workgroupBarrier();
  if (at.lane % at.subgroup == 0u) {
    folded[at.lane / at.subgroup] = part;
  }
  workgroupBarrier();
  let count = LANES / at.subgroup;
#else
  parts[at.lane] = value;
  workgroupBarrier();
  if (at.lane < FOLD) {
    var part = parts[at.lane];
    for (var i = at.lane + FOLD; i < LANES; i += FOLD) {
      part = max(part, parts[i]);
    }
    folded[at.lane] = part;
  }
  workgroupBarrier();
  let count = FOLD;
#end
  var largest = folded[0];
  for (var i = 1u; i < count; i++) {
    largest = max(largest, folded[i]);
  }
  return largest;
}
