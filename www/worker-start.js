// Loads the engine's worker and watches it: the page's bridge to the worker
// cannot see it die, so whatever kills it is reported on a channel of its own.
import { chooseBuild, description, fileBytes, threadCount } from "./engine-choice.js";

const wish = new URL(self.location.href).searchParams;
const line = new BroadcastChannel(wish.get("line"));

/** A thread that has not joined by then is not waited for. */
const JOIN_MS = 5000;

function die(reason) {
  line.postMessage(String(reason ?? ""));
  self.close();
}

// The page has no use for a worker that it gave up.
line.onmessage = () => self.close();
self.addEventListener("error", (event) => {
  event.preventDefault();
  die(event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof WebAssembly.RuntimeError)) return;
  event.preventDefault();
  die(event.reason.message);
});

/** Compiles while it downloads; a server that names another type costs that. */
async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname} could not be fetched: the site answered ${response.status}`);
  const streams = response.headers.get("content-type")?.split(";")[0].trim() === "application/wasm";
  if (streams) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Starts a thread; settles when it has joined, cannot, or takes too long. */
function recruit(job) {
  return new Promise((settled) => {
    try {
      const worker = new Worker(new URL("./pool-worker.js", import.meta.url), { type: "module" });
      worker.onmessage = settled;
      worker.onerror = (event) => {
        event.preventDefault();
        settled();
      };
      worker.postMessage(job);
      setTimeout(settled, JOIN_MS);
    } catch {
      settled();
    }
  });
}

/** The engine's WebGPU binding cannot ask for subgroups yet (gfx-rs/wgpu issue 5555), so they are asked for here. */
function askForSubgroups() {
  const adapter = self.GPUAdapter?.prototype;
  if (!adapter) return;
  const { requestDevice } = adapter;
  adapter.requestDevice = function (wish = {}) {
    const requiredFeatures = [...(wish.requiredFeatures ?? []), ...(this.features.has("subgroups") ? ["subgroups"] : [])];
    return requestDevice.call(this, { ...wish, requiredFeatures });
  };
}

try {
  askForSubgroups();
  const isolated = self.crossOriginIsolated === true;
  const wished = wish.has("threads") ? Number(wish.get("threads")) : null;
  const most = threadCount(wished, isolated, navigator.hardwareConcurrency);
  // Read once: the engine takes what was read to choose its memory.
  let described = null;
  const build = await chooseBuild({
    simd: wish.get("simd"),
    memory: wish.get("memory"),
    threads: most,
    bytes: async () => {
      if (wish.has("bytes")) return Number(wish.get("bytes"));
      described = await description(wish.get("model"));
      return fileBytes(described, wish.get("file"));
    },
  });
  const glue = new URL(`./engine/${build.name}.js`, import.meta.url).href;
  const [engine, module] = await Promise.all([
    import(glue),
    compile(new URL(`./engine/${build.name}_bg.wasm`, import.meta.url)),
  ]);
  await engine.default({ module_or_path: module, memory: build.memory ?? undefined });
  const threads = build.memory ? most : 1;
  // The engine opens its pool first; threads join it as they come.
  let assembled;
  const joined = new Promise((settled) => (assembled = settled));
  engine.start(build.name, threads, joined, described?.url, described?.json);
  const job = { glue, module, memory: build.memory };
  Promise.all(Array.from({ length: threads - 1 }, () => recruit(job))).then(assembled);
} catch (error) {
  die(error?.message ?? error);
}
