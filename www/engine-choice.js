// Chooses this browser's build of the engine and its amount of memory, before any of it is
// downloaded.

/** Minimum for every shared build: 256 pages set by tools/wasm.sh, and wasm-bindgen's own. */
const INITIAL_PAGES = 272;
const PAGE_BYTES = 65536;
const MIB = 1 << 20;

/** A module whose one SIMD instruction is relaxed: i32x4.relaxed_dot_i8x16_i7x16_add_s. */
const RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11,
]);

export function hasRelaxedSimd() {
  return WebAssembly.validate(RELAXED);
}

/** Maximum number of threads by default: more gain little, and heat a phone. */
const MOST_THREADS_UNASKED = 4;

/** `requested`: a number or null; `isolated`: whether workers may share memory. */
export function threadCount(requested, isolated, cores) {
  if (!isolated) return 1;
  return Math.max(1, requested ?? Math.min(cores || 1, MOST_THREADS_UNASKED));
}

/**
 * Shared memory reserves its maximum up front, so the model's size decides it: the weights in the
 * engine's layout, their copy while they are loaded, and a request's KV cache. `least` is what
 * loading alone takes.
 */
export function memoryBytes(modelBytes) {
  // Unknown size: what 32-bit and small devices may still grant.
  if (modelBytes === null) return { most: 2048 * MIB, least: 256 * MIB };
  return {
    most: Math.min(1.5 * modelBytes + 512 * MIB, 65536 * PAGE_BYTES),
    least: 1.25 * modelBytes + 64 * MIB,
  };
}

/** Shared memory of `most` bytes, halved until it is granted; null if that would be less than `least`. */
export function sharedMemory({ most, least }) {
  for (let bytes = most; bytes >= least; bytes /= 2) {
    try {
      const maximum = Math.ceil(bytes / PAGE_BYTES);
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
    } catch (error) {
      // Any other error means a browser without shared memory.
      if (!(error instanceof RangeError)) return null;
    }
  }
  return null;
}

/** Where src/web/worker/storage keeps descriptions of bots that were opened. */
const DESCRIPTIONS = "huggingtweets-descriptions-1";
/** Limit for a description, as in src/web/worker/source.rs. */
const MOST_DESCRIPTION_BYTES = 16 * MIB;

/**
 * Fetches a bot's bot.json as `{ url, json }`, or offline takes the last visit's. Returns null if
 * there is neither: the engine then tries again and reports why.
 */
export async function description(model) {
  try {
    const url = new URL(model);
    // A single GGUF, or the visitor's own files.
    if (url.pathname.toLowerCase().endsWith(".gguf") || url.hostname.endsWith(".invalid")) return null;
    url.pathname = `${url.pathname.replace(/bot\.json$/, "").replace(/\/+$/, "")}/bot.json`;
    const asked = fetch(url, { cache: "no-cache", signal: AbortSignal.timeout(5000) });
    const response = await asked.catch(async () => (await caches.open(DESCRIPTIONS)).match(url.href));
    const json = response?.ok ? await textOf(response) : null;
    return json === null ? null : { url: url.href, json };
  } catch {
    return null;
  }
}

/** Reads a body of at most MOST_DESCRIPTION_BYTES; null if it is longer. */
async function textOf(response) {
  const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
  let [text, bytes] = ["", 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > MOST_DESCRIPTION_BYTES) {
      await reader.cancel();
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** A file's entry in a description: { url, size, sha256 }; null if there is none. */
export function fileOf(description, file) {
  try {
    const { size, sha256 } = JSON.parse(description.json).files[file];
    const url = new URL(description.url);
    url.pathname = url.pathname.replace(/bot\.json$/, file);
    return Number.isSafeInteger(size) && size > 0 ? { url: url.href, size, sha256 } : null;
  } catch {
    return null;
  }
}

/** Bytes as lower-case hexadecimal digits. */
const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * Finds a file stored by src/web/worker/storage/opfs.rs, if it is longer than its own bytes and so
 * sealed. Returns `{ open, sha256 }`, where `open` opens it for reading; else null.
 */
export async function keptFile(file) {
  try {
    const address = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(file.url)));
    let folder = await navigator.storage.getDirectory();
    for (const name of ["huggingtweets-weights", address]) folder = await folder.getDirectoryHandle(name);
    const handle = await folder.getFileHandle(file.sha256);
    if ((await handle.getFile()).size <= file.size) return null;
    // In browsers with this mode, other tabs may read it at the same time.
    return { open: () => handle.createSyncAccessHandle({ mode: "read-only" }), sha256: file.sha256 };
  } catch {
    // Unknown, or not here: the engine looks for it again.
    return null;
  }
}

/**
 * Whether the builds with shared memory run here. Their futures wait by Atomics.waitAsync; where there
 * is none (Firefox 140), worker-start.js sends the memory to another worker, which needs an isolated
 * page.
 */
export function runsShared(isolated) {
  return isolated || typeof Atomics.waitAsync === "function";
}

/**
 * Chooses the build and its memory. `simd`: relaxed, plain or null; `memory`: shared, single or
 * null; `threads`: maximum number; `isolated`: whether workers may share memory; `bytes`: a function
 * that returns the model's size. Shared memory is only for threads: a single thread is faster
 * without it.
 */
export async function chooseBuild({ simd, memory, threads, isolated, bytes }) {
  const kernels = simd ?? (hasRelaxedSimd() ? "relaxed" : "plain");
  const wants = memory ?? (threads > 1 ? "shared" : "single");
  const shared = wants === "shared" && runsShared(isolated) ? sharedMemory(memoryBytes(await bytes())) : null;
  return { name: `${kernels}-${shared ? "shared" : "single"}`, memory: shared };
}
