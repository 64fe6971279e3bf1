// Sums and largest values over a workgroup of LANES invocations in a line: all
// of them call, and all of them get the result. Each fold has one order, so a
// device gives the same bits each time.
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

fn combine_sum(a: f32, b: f32) -> f32 {
  return a + b;
}

fn combine_largest(a: f32, b: f32) -> f32 {
  return max(a, b);
}

#if SUBGROUPS
fn subgroup_sum(value: f32) -> f32 {
  return subgroupAdd(value);
}

fn subgroup_largest(value: f32) -> f32 {
  return subgroupMax(value);
}
#end

#for op in sum largest
fn reduce_$op(value: f32, at: Invocation) -> f32 {
#if SUBGROUPS
  let part = subgroup_$op(value);
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
      part = combine_$op(part, parts[i]);
    }
    folded[at.lane] = part;
  }
  workgroupBarrier();
  let count = FOLD;
#end
  var total = folded[0];
  for (var i = 1u; i < count; i++) {
    total = combine_$op(total, folded[i]);
  }
  return total;
}
#end
