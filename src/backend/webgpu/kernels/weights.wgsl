// Quantised weights as stored on the GPU (matrix.rs): panels of 32 rows; within a panel, block
// after block of 32 columns; within a block, row after row: two vectors of sixteen signed bytes
// (Q8), or one of 32 nibbles (Q4: low nibbles are columns 0-15, high nibbles 16-31, stored as the
// value plus 8).
// weights: (panels, blocks, 2 or 1, 32 rows, 16 bytes)
// scales: (panels, blocks, 32 rows) f16
//
// The including kernel declares the bindings `weights` and `scales`.

#if F16
fn weight_scale(block: u32, row: u32) -> f32 {
  return f32(scales[block * 32u + row]);
}
#else
fn weight_scale(block: u32, row: u32) -> f32 {
  let pair = unpack2x16float(scales[block * 16u + row / 2u]);
  return select(pair.x, pair.y, (row & 1u) == 1u);
}
#end

// Nibbles in the low halves of bytes, minus 8, as signed bytes.
fn signed_nibbles(v: vec4<u32>) -> vec4<u32> {
  let sign = vec4<u32>(0x80808080u);
  return ((v | sign) - vec4<u32>(0x08080808u)) ^ sign;
}

// Columns 16 half .. 16 half + 15 of a row of a block, as four words of signed bytes.
fn weight_words(block: u32, row: u32, half: u32) -> vec4<u32> {
#if Q4
  let nibbles = (weights[block * 32u + row] >> vec4<u32>(half * 4u)) & vec4<u32>(0x0f0f0f0fu);
  return signed_nibbles(nibbles);
#else
  return weights[block * 64u + half * 32u + row];
#end
}
