//! Memory that is about to be read, asked for at once.

/// Floats of a line of a cache, 64 bytes.
const LINE: usize = 16;

/// Lines a turn: a loop of few instructions a line has many on their way.
const LINES: usize = 8;

/// Reads a float of every line of x, so that all lines are on their way at once: what
/// calculates with them asks for few ahead, and waits for memory where each stretch begins.
///
/// There is no instruction for that in a browser.
pub fn touch(x: &[f32]) {
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
    // Or the compiler would drop what nobody wants to know.
    std::hint::black_box(seen);
}
