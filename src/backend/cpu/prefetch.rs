//! Software prefetch: loads a range of memory into the cache just before it is used.

/// Floats in a cache line of 64 bytes.
const LINE: usize = 16;

/// Lines per iteration: with few instructions per line, many loads are in flight.
const LINES: usize = 8;

/// Reads one float of every cache line of x, so that many loads are in flight together. The
/// computation that follows issues few loads ahead and would stall at the beginning of each range.
///
/// Plain loads, because WebAssembly has no prefetch instruction.
pub fn prefetch(x: &[f32]) {
    let mut seen = [0; LINES];
    let (whole, rest) = x.as_chunks::<{ LINES * LINE }>();
    for lines in whole {
        for (seen, line) in seen.iter_mut().zip(lines.as_chunks::<LINE>().0) {
            *seen |= line[0].to_bits();
        }
    }
    for line in rest.chunks(LINE) {
        seen[0] |= line[0].to_bits();
    }
    // Without a use of the result the compiler would remove the loads.
    std::hint::black_box(seen);
}
