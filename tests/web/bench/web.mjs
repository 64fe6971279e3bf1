// make bench-web: our page alone, with every precision and number of threads, compared with the
// speed at which the same page reads memory.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { LONG, SHORT, openPage, visit } from "./ours.mjs";
import { earlier, keep, launch, machine, median, number, promptOf, resultOf, serveBot, serveFolders, setting, spread, summary, table } from "./rig.mjs";

const dist = setting("HUGGINGTWEETS_DIST");
const rounds = Number(setting("BENCH_ROUNDS", "3"));
const tokens = Number(setting("BENCH_TOKENS", "64"));
const backends = setting("BENCH_BACKENDS", "simd webgpu").split(/[ ,]+/);
const threads = setting("BENCH_THREADS", "1 2").split(/[ ,]+/).map(Number);
const file = join(setting("BENCH_PACKAGES"), "results-web.json");

const FILES = [
  { name: "q8_0", precision: "q8_0", bundle: setting("BENCH_BUNDLE") },
  { name: "q4_0", precision: "q4_0", bundle: setting("BENCH_BUNDLE") },
  { name: "q4_0, head too", precision: "q4_0", bundle: setting("BENCH_BUNDLE_4BIT") },
];
const WORK = {
  short: { prompt: promptOf(SHORT), prompt_tokens: SHORT, tokens },
  five: { prompt: promptOf(SHORT), prompt_tokens: SHORT, tokens, drafts: 5, runs: 1 },
  long: { prompt: promptOf(LONG), prompt_tokens: LONG, tokens: 8 },
};

/** KV cache per token of GPT-2 124M: 12 layers, keys and values, 768 channels, f32. */
const KV_BYTES_A_TOKEN = 12 * 2 * 768 * 4;

const results = earlier(file);
const { context, close } = await launch(backends.includes("webgpu") ? ["--enable-unsafe-webgpu"] : []);
const servers = {};
const pages = await serveFolders({ "/": join(dirname(fileURLToPath(import.meta.url)), "pages") });
try {
  for (const { bundle } of FILES) servers[bundle] ??= await serveBot(bundle);
  for (const { bundle, precision } of FILES) {
    // An uncounted first visit fills the caches.
    await visit(context, servers[bundle].origin, { precision, ...WORK.short, tokens: 1, runs: 1 });
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, bundle, precision } of FILES) {
      for (const backend of backends) {
        // On a GPU our threads make no difference.
        for (const asked of backend === "webgpu" ? [1] : threads) {
          for (const [work, order] of Object.entries(WORK)) {
            const visited = await visit(context, servers[bundle].origin, { precision, backend, threads: asked, ...order });
            console.error(`round ${round}: ${name}, ${backend}, ${visited.threads} of ${asked} threads, ${work}: ${number(summary(visited).decode)} tokens/s`);
            if (visited.threads !== asked) break;
            // The engine measures reads with one thread only; for several, read.html measures them
            // together.
            const read = `${pages.origin}/read.html?threads=${asked}&bytes=${visited.step_bytes}`;
            if (asked > 1 && work === "short") Object.assign(visited, await resultOf(context, read));
            if (work === "short" && backend === "simd") {
              visited.page_ready_ms = await openPage(context, servers[bundle].origin, { precision, threads: asked });
            }
            results.push({ name, backend, threads: asked, work, gguf: statSync(join(bundle, `model-${precision}.gguf`)).size, ...visited });
            keep(file, results);
          }
        }
      }
    }
  }
} finally {
  await close();
  pages.close();
  Object.values(servers).forEach((server) => server.close());
}

if (results.length === 0) throw new Error("no round was run: BENCH_ROUNDS is the number of rounds");

const keys = [...new Set(results.map((r) => JSON.stringify([r.name, r.backend, r.threads])))];
const rows = keys.map((key) => {
  const [name, backend, count] = JSON.parse(key);
  const all = results.filter((r) => JSON.stringify([r.name, r.backend, r.threads]) === key);
  const of = (work, figure) => all.filter((r) => r.work === work).map(figure);
  const decode = of("short", (r) => summary(r).decode);
  const limit = of("short", (r) => (r.read_gb_per_s * 1e9) / r.step_bytes);
  const shares = decode.map((speed, i) => (100 * speed) / limit[i]);
  const five = of("five", (r) => summary(r).decode);
  const memory = Math.max(...all.map((r) => r.peak_memory_bytes));
  // Peak memory with one draft, minus its KV cache.
  const weights = median(of("short", (r) => r.peak_memory_bytes - KV_BYTES_A_TOKEN * (SHORT + tokens)));
  return [
    name, backend, count,
    spread(decode), `${number(median(of("short", (r) => r.step_bytes)) / 1e6)}`,
    spread(of("short", (r) => r.read_gb_per_s)), number(median(limit)), `${number(median(shares), 0)}%`,
    `${number(median(five))} (${number(median(five) / median(decode), 2)}x)`,
    spread(of("long", (r) => summary(r).prefill), 0),
    spread(of("short", (r) => summary(r).first), 0),
    spread(of("short", (r) => r.ready_ms), 0),
    spread(of("short", (r) => r.page_ready_ms ?? NaN), 0),
    `${number(memory / 1e6, 0)} (${number(weights / all[0].gguf, 2)}x)`,
  ];
});
console.log(`\nOur page: GPT-2 124M's shape, random weights; ${machine(results[0].browser)}; medians (range) of ${results.filter((r) => r.work === "short").length / keys.length} rounds.\n`);
console.log(table(
  ["file", "backend", "threads", "decode tokens/s", "step MB", "page reads GB/s", "limit tokens/s", "share of the limit", "5 drafts tokens/s", `prefill of ${LONG} tokens/s`, "first token ms", "open to ready ms", "the page itself ms", "peak wasm memory MB (one draft, without its KV cache, of the GGUF)"],
  rows,
));

// Ratios between our own rows.
const speed = (name, count, work = "short") =>
  median(results.filter((r) => r.name === name && r.backend === "simd" && r.threads === count && r.work === work).map((r) => summary(r).decode));
const ratios = [
  ["4-bit over 8-bit, one thread", speed("q4_0, head too", 1) / speed("q8_0", 1)],
  ["4-bit with an 8-bit head over 8-bit, one thread", speed("q4_0", 1) / speed("q8_0", 1)],
  ["two threads over one, 8-bit", speed("q8_0", 2) / speed("q8_0", 1)],
  ["five drafts over one, 8-bit, one thread", speed("q8_0", 1, "five") / speed("q8_0", 1)],
  ["five drafts over one, 8-bit, two threads", speed("q8_0", 2, "five") / speed("q8_0", 2)],
];
console.log(`\n${table(["decode tokens/s", "ratio"], ratios.map(([name, ratio]) => [name, `${number(ratio, 2)}x`]))}`);

const travels = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith(".wasm")).sort().map((name) => {
  const bytes = readFileSync(join(dist, name));
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
  return [`\`${name}\``, bytes.length, gzipSync(bytes, { level: 9 }).length, brotli.length].map((cell) => cell.toLocaleString("en"));
});
console.log(`\n${table(["what travels", "bytes", "gzip -9", "brotli 11"], travels)}`);
