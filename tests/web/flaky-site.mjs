// A bot on a site that answers range requests, records them, and fails as a test demands.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { secondOrigin } from "./harness.mjs";

export const CHUNK = 4 << 20;

/** Time after which a busy browser has read what was sent before a line breaks. */
const ARRIVES_MS = 100;

/**
 * Serves a bundle's q8_0 weights. `state.fault(part)` may spoil a response; a part has `start`,
 * `end`, `count` (how often its start was requested before) and `bytes`. The fault returns
 * `{ bytes, cut, wait }`: what is sent instead, after how many bytes the connection breaks, and a
 * promise to wait for.
 */
export async function flakySite(bundle, { ranges = true, exposed = true } = {}) {
  const weights = readFileSync(join(bundle, "model-q8_0.gguf"));
  const state = { fault: () => ({}), parts: [], most: 0, descriptions: 0, sent: 0 };
  const counts = new Map();
  let open = 0;
  const answer = async (request, response) => {
    if (request.method === "OPTIONS") {
      response.writeHead(204, { "Access-Control-Allow-Headers": "range", "Access-Control-Allow-Methods": "GET" }).end();
      return;
    }
    const asked = ranges && /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const start = asked ? Number(asked[1]) : 0;
    const end = asked && asked[2] ? Math.min(Number(asked[2]) + 1, weights.length) : weights.length;
    const count = counts.get(start) ?? 0;
    counts.set(start, count + 1);
    const part = { start, end, count, bytes: weights.subarray(start, end) };
    state.parts.push(part);
    state.most = Math.max(state.most, ++open);
    response.on("close", () => open--);
    const { bytes = part.bytes, cut = Infinity, wait } = state.fault(part);
    if (exposed) response.setHeader("Access-Control-Expose-Headers", "Content-Range");
    const headers = { "Content-Type": "application/octet-stream", "Content-Length": end - start };
    if (asked) headers["Content-Range"] = `bytes ${start}-${end - 1}/${weights.length}`;
    response.writeHead(asked ? 206 : 200, headers);
    // A response starts before it waits: Firefox treats one without a byte as none.
    const begun = wait ? 1000 : 0;
    response.flushHeaders();
    if (wait) response.write(bytes.subarray(0, begun));
    await wait;
    state.sent += Math.min(cut, bytes.length);
    if (cut >= bytes.length) response.end(bytes.subarray(begun));
    else response.write(bytes.subarray(begun, cut), () => setTimeout(() => response.destroy(), ARRIVES_MS));
  };
  const site = await secondOrigin({
    pages: {
      "/bot/bot.json": (_, response) => {
        state.descriptions++;
        response.end(readFileSync(join(bundle, "bot.json")));
      },
      "/bot/model-q8_0.gguf": answer,
    },
  });
  return Object.assign(site, { state, size: weights.length, chunks: Math.ceil(weights.length / CHUNK) });
}

/** Which chunks were requested, in ascending order, with repetitions. */
export function askedChunks(parts) {
  return parts.map(({ start }) => start / CHUNK).sort((a, b) => a - b);
}

/** Deterministic pseudo-random numbers in [0, 1). */
export function* numbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}
