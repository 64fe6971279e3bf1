// The rows that a dispatch computes: a batch runs in pieces of rows.

struct Piece {
  // The piece's first row in `places`.
  first: u32,
}

struct RowPlace {
  token: u32,
  position: u32,
  // The slot of its keys and values.
  slot: u32,
  // Visible slots: 0..prefix, then start..=slot if start <= slot.
  prefix: u32,
  start: u32,
  // In place first + i: the piece's i-th row that has outputs.
  pick: u32,
}

// The number of visible slots.
fn visible_slots(at: RowPlace) -> u32 {
  return at.prefix + select(0u, at.slot + 1u - at.start, at.start <= at.slot);
}

// The j-th visible slot: the prefix comes first, then the draft's own slots.
fn visible_slot(at: RowPlace, j: u32) -> u32 {
  return select(at.start + j - at.prefix, j, j < at.prefix);
}
