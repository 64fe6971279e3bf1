// A worker that only reads memory sequentially with 16-byte vectors: what several threads together
// can read per second bounds how fast they can decode.

/** (func (param $end i32) (result i32)): xors four vectors per iteration, from 0 to $end. */
function code() {
  const turns = [0, 1, 2, 3].flatMap((i) => [
    0x20, 2 + i, 0x20, 1, 0xfd, 0x00, 4, 16 * i, // sum i, at: v128.load
    0xfd, 0x51, 0x21, 2 + i, // v128.xor
  ]);
  const body = [
    2, 1, 0x7f, 4, 0x7b, // locals: at, four sums
    0x03, 0x40, ...turns, // loop
    0x20, 1, 0x41, 0xc0, 0x00, 0x6a, 0x22, 1, 0x20, 0, 0x49, 0x0d, 0, 0x0b, // at += 64; again while at < end
    0x20, 2, 0x20, 3, 0xfd, 0x51, 0x20, 4, 0xfd, 0x51, 0x20, 5, 0xfd, 0x51, 0xfd, 0x1b, 0, 0x0b,
  ];
  return new Uint8Array([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, // type
    2, 8, 1, 1, 0x6d, 1, 0x6d, 2, 0, 0, // import m.m: memory
    3, 2, 1, 0, // function
    7, 5, 1, 1, 0x72, 0, 0, // export r
    10, body.length + 2, 1, body.length, ...body,
  ]);
}

/** Allocates memory of at least `bytes` bytes, written once, and compiles the code that reads it. */
function prepare(bytes) {
  const pages = Math.ceil(bytes / 65536);
  const memory = new WebAssembly.Memory({ initial: pages });
  new Uint8Array(memory.buffer).fill(1);
  const { r } = new WebAssembly.Instance(new WebAssembly.Module(code()), { m: { m: memory } }).exports;
  return { read: r, bytes: pages * 65536 };
}

/** 10^9 bytes per second, best of as many passes as fit in `ms`. */
function speed({ read, bytes }, ms) {
  const end = performance.now() + ms;
  let best = Infinity;
  let before = performance.now();
  while (before < end) {
    read(bytes);
    const now = performance.now();
    best = Math.min(best, now - before);
    before = now;
  }
  return bytes / best / 1e6;
}

// The first message has the number of bytes, the second the duration, so that threads start
// together.
let prepared;
self.onmessage = ({ data: { bytes, ms } }) => {
  if (bytes) {
    prepared = prepare(bytes);
    self.postMessage("ready");
  } else {
    self.postMessage(speed(prepared, ms));
  }
};
