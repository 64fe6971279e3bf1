// make bench-peers: our page, wllama and transformers.js with the same weights, in turn in one
// browser, for several rounds.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LONG, SHORT, visit } from "./ours.mjs";
import { earlier, keep, launch, machine, median, number, packages, promptOf, resultOf, serveBot, serveFolders, setting, spread, summary, table } from "./rig.mjs";

// On a GPU, possibly Chromium's software one, instead of the CPU.
const onGpu = setting("BENCH_BACKEND", "simd") === "webgpu";
const rounds = Number(setting("BENCH_ROUNDS", "3"));
const tokens = Number(setting("BENCH_TOKENS", "64"));
const file = join(setting("BENCH_PACKAGES"), onGpu ? "results-peers-webgpu.json" : "results-peers.json");
const bundle = setting("BENCH_BUNDLE");
const bundle4 = setting("BENCH_BUNDLE_4BIT");
const WORKS = [
  { work: "short", prompt: promptOf(SHORT), prompt_tokens: SHORT, tokens, runs: 2 },
  { work: "long", prompt: promptOf(LONG), prompt_tokens: LONG, tokens: 8, runs: 2 },
];

const version = (name) => JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8")).version;
const folders = await serveFolders({
  "/pages/": join(dirname(fileURLToPath(import.meta.url)), "pages"),
  "/wllama/": join(packages, "@wllama/wllama/esm"),
  "/transformers/": join(packages, "@huggingface/transformers/dist"),
  "/ort/": join(packages, "onnxruntime-web/dist"),
  "/bot/": bundle,
  "/bot-4bit/": bundle4,
  "/onnx/": setting("BENCH_ONNX"),
});
const servers = { [bundle]: await serveBot(bundle), [bundle4]: await serveBot(bundle4) };
const { context, close } = await launch(onGpu ? ["--enable-unsafe-webgpu"] : []);

const ours = (weights, model, precision, threads, simd) => ({
  engine: simd ? `ours, ${simd} simd128` : "ours", weights, threads,
  run: async (works) => {
    const result = {};
    for (const { work, ...order } of works) {
      result[work] = await visit(context, servers[model].origin, { precision, threads, simd, backend: onGpu ? "webgpu" : "simd", ...order });
      result.ready_ms ??= result[work].ready_ms;
      if (!onGpu && result[work].threads !== threads) return null;
    }
    return { ...result, browser: result.short.browser };
  },
});
const peer = (engine, weights, page, threads, parameters) => ({
  engine, weights, threads,
  run: async (works) => {
    const query = new URLSearchParams({ ...parameters, threads, works: JSON.stringify(works) });
    const result = await resultOf(context, `${folders.origin}/pages/${page}.html?${query}`);
    for (const { work, prompt_tokens } of works) {
      for (const run of result[work].runs) {
        if (run.prompt_tokens !== prompt_tokens) throw new Error(`${engine}: the start has ${run.prompt_tokens} tokens, not ${prompt_tokens}`);
      }
    }
    return result;
  },
});
const WLLAMA = `wllama ${version("@wllama/wllama")}`;
const TRANSFORMERS = `transformers.js ${version("@huggingface/transformers")}`;
const ON_GPU = [
  ours("8-bit", bundle, "q8_0", 1),
  peer(WLLAMA, "8-bit", "wllama", 1, { model: "/bot/model-q8_0.gguf", gpu_layers: 99 }),
  ours("4-bit, head 8-bit", bundle, "q4_0", 1),
  peer(WLLAMA, "4-bit, head 8-bit", "wllama", 1, { model: "/bot/model-q4_0.gguf", gpu_layers: 99 }),
  peer(TRANSFORMERS, "8-bit", "transformers", 1, { dtype: "int8", device: "webgpu" }),
];
const ON_PROCESSOR = [
  ours("8-bit", bundle, "q8_0", 1),
  ours("8-bit", bundle, "q8_0", 1, "plain"),
  peer(WLLAMA, "8-bit", "wllama", 1, { model: "/bot/model-q8_0.gguf" }),
  peer(TRANSFORMERS, "8-bit", "transformers", 1, { dtype: "int8", device: "wasm" }),
  ours("4-bit, head 8-bit", bundle, "q4_0", 1),
  peer(WLLAMA, "4-bit, head 8-bit", "wllama", 1, { model: "/bot/model-q4_0.gguf" }),
  ours("4-bit", bundle4, "q4_0", 1),
  peer(WLLAMA, "4-bit", "wllama", 1, { model: "/bot-4bit/model-q4_0.gguf" }),
  ours("8-bit", bundle, "q8_0", 2),
  peer(WLLAMA, "8-bit", "wllama", 2, { model: "/bot/model-q8_0.gguf" }),
  peer(TRANSFORMERS, "8-bit", "transformers", 2, { dtype: "int8", device: "wasm" }),
];
const ENGINES = (onGpu ? ON_GPU : ON_PROCESSOR).filter(({ engine }) => new RegExp(setting("BENCH_ENGINES", ".")).test(engine));

const results = earlier(file);
try {
  // An uncounted first visit fills the caches.
  const warm = (works) => works.map((work) => ({ ...work, tokens: 2, runs: 1 }));
  for (const engine of ENGINES) {
    if (engine.threads !== 1) continue;
    try {
      await engine.run(warm(WORKS.slice(0, 1)));
    } catch (error) {
      // A peer may not support this adapter; ours must.
      if (engine.engine.startsWith("ours")) throw error;
      console.error(`left out: ${engine.engine}, ${engine.weights}: ${error.message}`);
      engine.run = async () => null;
    }
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const { engine, weights, threads, run } of ENGINES) {
      const result = await run(WORKS);
      if (!result) {
        console.error(`round ${round}: ${engine}, ${weights}, threads ${threads}: did not run`);
        continue;
      }
      const record = { engine, weights, threads, ...result };
      console.error(`round ${round}: ${engine}, ${weights}, threads ${threads}: ${number(summary(record.short).decode)} tokens/s`);
      results.push(record);
      keep(file, results);
    }
  }
} finally {
  await close();
  folders.close();
  Object.values(servers).forEach((server) => server.close());
}

if (results.length === 0) throw new Error("no round was run: BENCH_ROUNDS is the number of rounds");

const FIGURES = {
  decode: (r) => summary(r.short).decode,
  prefill: (r) => summary(r.long).prefill,
  first: (r) => summary(r.short).first,
  ready: (r) => r.ready_ms,
};
const same = (a) => (b) => a.engine === b.engine && a.weights === b.weights && a.threads === b.threads;
const rows = ENGINES.filter((engine) => results.some(same(engine))).map((engine) => {
  const mine = results.filter(same(engine));
  const own = results.filter(same({ ...engine, engine: "ours" }));
  // Higher is better for the first two figures, lower for the others; a ratio above 1 favours
  // ours.
  const cells = Object.entries(FIGURES).map(([name, figure], i) => {
    const values = mine.map(figure);
    const text = spread(values, i === 0 ? 1 : 0);
    if (engine.engine.startsWith("ours") || own.length === 0) return text;
    const ratio = median(own.map(figure)) / median(values);
    return `${text} **${number(name === "decode" || name === "prefill" ? ratio : 1 / ratio, 2)}x**`;
  });
  return [engine.engine, engine.weights, engine.threads, ...cells];
});
console.log(`\nGPT-2 124M's shape, random weights; ${machine(results[0].browser)}; medians (range) of ${results.filter(same(ENGINES[0])).length} rounds, one engine after the other${onGpu ? ", on WebGPU" : ""}. Bold: how many times better ours is with the same weights and threads.\n`);
console.log(table(["engine", "weights", "threads", "decode tokens/s", `prefill of ${LONG} tokens/s`, "first token ms", "open to ready ms"], rows));

// Plain simd128 is what browsers without relaxed SIMD run; its peer is wllama, too.
const plain = { engine: "ours, plain simd128", weights: "8-bit", threads: 1 };
const [slow, peers] = [plain, { ...plain, engine: WLLAMA }].map((engine) => median(results.filter(same(engine)).map(FIGURES.decode)));
if (!onGpu && slow && peers) console.log(`\nPlain simd128, decode: ${number(slow / peers, 2)} times ${WLLAMA}.`);
