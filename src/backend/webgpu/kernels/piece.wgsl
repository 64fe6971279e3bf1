// Which rows a dispatch is for: a batch is run in pieces of rows.

struct Piece {
  // The piece's first row in `places`.
  first: u32,
}

struct RowPlace {
  token: u32,
  position: u32,
  // Where its keys and values are stored.
  slot: u32,
  // It sees slots 0.. prefix, then start..= slot where start <= slot.
  prefix: u32,
  start: u32,
  // The first-th + i-th place's `pick` is the i-th row with outputs.
  pick: u32,
}

// Slots that it sees.
fn visible_slots(at: RowPlace) -> u32 {
  return at.prefix + select(0u, at.slot + 1u - at.start, at.start <= at.slot);
}

// The j-th of them: behind the prefix stand the draft's own.
fn visible_slot(at: RowPlace, j: u32) -> u32 {
  return select(at.start + j - at.prefix, j, j < at.prefix);
}
