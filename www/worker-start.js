// Loads the engine in a worker, and reports fatal errors to the worker's creator.
//
// Messages from here: {}, this script listens; { loaded, total }, bytes of the engine received;
// null, the engine listens; { died: reason, fetching }, where `fetching` says that a part of the
// engine could not be fetched; a string is the engine's own. The first message to here is
// { options }, the options as a URL query; commands may follow once this script listens, and are
// queued for the engine. The engine for the options in this script's own URL is prepared before
// they arrive, and discarded if they differ.
import { chooseBuild, description, fileOf, keptFile, threadCount } from "./engine-choice.js";

/** Timeout for a thread to join. */
const JOIN_MS = 5000;

/** Delays before retrying to fetch a part of the engine, in milliseconds. */
const PAUSES_MS = [250, 1000];

/** A part of the engine could not be fetched. */
class Missing extends Error {}

function die(reason, fetching = false) {
  self.postMessage({ died: String(reason ?? ""), fetching });
  self.close();
}

self.addEventListener("error", (event) => {
  event.preventDefault();
  die(event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof WebAssembly.RuntimeError)) return;
  event.preventDefault();
  die(event.reason.message);
});

/** Interval of messages about the engine's bytes. */
const TELL_MS = 100;

/** Reports how much of the engine has been received, if it takes long enough to be seen. */
async function tell(response, glue) {
  const reader = response.body.getReader();
  let [loaded, told] = [0, performance.now()];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    loaded += value.length;
    if (performance.now() - told < TELL_MS) continue;
    told = performance.now();
    self.postMessage({ loaded, total: (await glue).wasmBytes });
  }
}

/** Returns the result of `bring`, retrying it; `bring` gets the number of failures so far. */
async function persist(url, bring) {
  for (let failed = 0; ; failed++) {
    try {
      return await bring(failed);
    } catch (error) {
      // Any other error means that what was received is not an engine, or too much for this
      // device. Firefox reports a broken download as an aborted compilation.
      if (!(error instanceof TypeError || error instanceof Missing || error?.name === "AbortError")) throw error;
      if (failed === PAUSES_MS.length) throw new Missing(`${url.pathname} could not be fetched: ${error.message}`);
      await new Promise((later) => setTimeout(later, PAUSES_MS[failed]));
    }
  }
}

/** Compiles while downloading, unless the server names another type. */
async function compile(url, glue) {
  const response = await fetch(url);
  if (!response.ok) throw new Missing(`the site answered ${response.status}`);
  // The compilation reports a broken download.
  tell(response.clone(), glue).catch(() => {});
  const streams = response.headers.get("content-type")?.split(";")[0].trim() === "application/wasm";
  if (streams) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Starts a thread; settles when it has joined, has failed or takes too long. */
function recruit(job) {
  return new Promise((settled) => {
    try {
      const worker = new Worker(new URL("./pool-worker.js", import.meta.url), { type: "module" });
      const without = (why) => {
        console.warn("the engine runs with one thread fewer:", why);
        settled();
      };
      worker.onmessage = ({ data: { failed } }) => (failed === undefined ? settled() : without(failed));
      worker.onerror = (event) => {
        event.preventDefault();
        without(event.message);
      };
      worker.postMessage(job);
      setTimeout(settled, JOIN_MS);
    } catch (error) {
      console.warn("the engine runs without threads:", error);
      settled();
    }
  });
}

/** wgpu's binding cannot request subgroups yet (gfx-rs/wgpu issue 5555), so this adds them. */
function askForSubgroups() {
  const adapter = self.GPUAdapter?.prototype;
  if (!adapter) return;
  const { requestDevice } = adapter;
  adapter.requestDevice = function (descriptor = {}) {
    const requiredFeatures = [...(descriptor.requiredFeatures ?? []), ...(this.features.has("subgroups") ? ["subgroups"] : [])];
    return requestDevice.call(this, { ...descriptor, requiredFeatures });
  };
}

/**
 * Gives futures of the builds with shared memory Atomics.waitAsync where there is none (Firefox 140).
 * Their own substitute is a worker from a blob, which a page's policy may forbid; they would then
 * wait for ever.
 */
function waitInWorkers() {
  if (!self.crossOriginIsolated || Atomics.waitAsync) return;
  const idle = [];
  Atomics.waitAsync = (array, index, value) => {
    const worker = idle.pop() ?? new Worker(new URL("./wait-worker.js", import.meta.url));
    const woken = new Promise((settled) => {
      worker.onmessage = ({ data }) => {
        idle.push(worker);
        settled(data);
      };
    });
    worker.postMessage({ array, index, value });
    return { async: true, value: woken };
  };
}

const part = (file) => new URL(`./engine/${file}`, import.meta.url);

/** Imports the glue code; retries add a query, as a failed import is not repeated for the same URL. */
function bringGlue(url) {
  return persist(url, (failed) => import(failed ? `${url.href}?try=${failed + 1}` : url.href));
}

/** Chooses and fetches the build, and meanwhile the bot's description and the stored weights. */
async function prepare(query) {
  const options = new URLSearchParams(query);
  const requested = options.has("threads") ? Number(options.get("threads")) : null;
  const isolated = self.crossOriginIsolated === true;
  const threads = threadCount(requested, isolated, navigator.hardwareConcurrency);
  const described = description(options.get("model"));
  const file = described.then((described) => fileOf(described, options.get("file")));
  const kept = file.then(keptFile);
  const build = await chooseBuild({
    simd: options.get("simd"),
    memory: options.get("memory"),
    threads,
    isolated,
    bytes: async () => (options.has("bytes") ? Number(options.get("bytes")) : ((await file)?.size ?? null)),
  });
  const wasm = part(`${build.name}_bg.wasm`);
  const glue = bringGlue(part(`${build.name}.js`));
  const [engine, module] = await Promise.all([glue, persist(wasm, () => compile(wasm, glue))]);
  return { ...build, threads: build.memory ? threads : 1, engine, module, described, kept };
}

/** `queued`: messages that came before the engine listened. */
async function start(options, prepared, queued) {
  const { name, memory, threads, engine, module, described, kept } = await prepared;
  await engine.default({ module_or_path: module, memory: memory ?? undefined });
  // The engine opens its pool first; threads join it as they start.
  let assembled;
  const joined = new Promise((settled) => (assembled = settled));
  engine.start(name, options, threads, joined, described, kept);
  for (const data of queued) self.dispatchEvent(new MessageEvent("message", { data }));
  const job = { glue: part(`${name}.js`).href, module, memory };
  Promise.all(Array.from({ length: threads - 1 }, () => recruit(job))).then(assembled);
}

askForSubgroups();
waitInWorkers();
const likely = self.location.search.slice(1);
const ahead = likely ? prepare(likely) : null;
// A failure matters only if these are the options; `start` reports it then.
ahead?.catch(() => {});
self.onmessage = ({ data: { options } }) => {
  const queued = [];
  self.onmessage = ({ data }) => queued.push(data);
  const started = start(options, options === likely ? ahead : prepare(options), queued);
  started.catch((error) => die(error?.message ?? error, error instanceof Missing));
};
// Firefox loses messages that are sent to a module before it has loaded.
self.postMessage({});
