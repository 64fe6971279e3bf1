// The engine on a GPU: Chromium's software adapter writes the command's drafts, the page says
// which engine it chose and why, and a GPU that is lost, wrong or hung costs time but no text.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  botPages, commandDrafts, dist, launch, noServiceWorker, oddBundle, scriptAfter, secondOrigin, smallBundle, spoilKept,
  WEBGPU, wideBundle,
} from "./harness.mjs";

const PROMPT = "My dream is";
const SEED = 21;

let bundle, expected, browser;

before(async () => {
  bundle = await smallBundle();
  expected = await commandDrafts(bundle, { prompt: PROMPT, seed: SEED });
  browser = await launch(WEBGPU);
});

after(() => browser.close());

/**
 * The built page and a bot, on an origin of its own. `scripts` are inserted before the script of
 * the first worker, the second, and so on; later workers, which take over, run unmodified.
 */
function site(scripts = "", { bot = bundle, pages = {} } = {}) {
  let workers = 0;
  const start = (request, response) => {
    response.setHeader("Cache-Control", "no-store");
    scriptAfter("worker-start.js", [scripts].flat()[workers++] ?? "")(request, response);
  };
  return secondOrigin({
    root: dist,
    pages: { ...botPages(bot), ...noServiceWorker, "/worker-start.js": start, ...pages },
  });
}

/**
 * Opens the page, generates drafts, and returns them with the statuses shown. `visitor`: a browser
 * context, for repeated visits; `act(page, until)` runs between ready and generation; `ends`: the
 * status to wait for; `ask(page)`: what else to read at the end.
 */
async function write(origin, query = {}, { visitor = browser, act = () => {}, ends = /tokens\/s/, ask = () => {} } = {}) {
  const page = await visitor.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  try {
    await page.addInitScript(() => {
      window.statuses = [];
      window.longTasks = 0;
      // Some statuses last only a few milliseconds.
      new MutationObserver(() => {
        const status = document.querySelector("[role=status]")?.textContent ?? "";
        if (status && window.statuses.at(-1) !== status) window.statuses.push(status);
      }).observe(document, { subtree: true, childList: true, characterData: true });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (window.writing && entry.duration > 50) window.longTasks++;
      }).observe({ type: "longtask" });
    });
    await page.goto(`${origin}/?${new URLSearchParams({ prompt: PROMPT, seed: SEED, ...query })}`);
    const look = () =>
      page.evaluate(() => ({
        status: document.querySelector("[role=status]")?.textContent ?? "",
        statuses: window.statuses,
        longTasks: window.longTasks,
        alert: document.querySelector("[role=alert]")?.textContent ?? "",
        drafts: [...document.querySelectorAll("[data-testid=draft-text]")].map((draft) => draft.textContent),
      }));
    const until = async (pattern) => {
      const ends = Date.now() + 120_000;
      for (;;) {
        const seen = await look();
        if (pattern.test(seen.status)) return seen;
        assert.ok(Date.now() < ends && !seen.alert.trim(), `waiting for ${pattern}: ${JSON.stringify(seen)}`);
        await new Promise((later) => setTimeout(later, 20));
      }
    };
    const ready = (await until(/ready/)).status;
    await act(page, until);
    await page.evaluate(() => (window.writing = true));
    await generate(page);
    const seen = await until(ends);
    assert.deepEqual(complaints, []);
    return { ...seen, ready, asked: await ask(page) };
  } finally {
    await page.close();
  }
}

const generate = (page) => page.evaluate(() =>
  [...document.querySelectorAll("button")].find((b) => b.textContent === "Generate tweets").click());

const engine = (page) => page.workers().find((worker) => worker.url().includes("worker-start"));

/** A script that runs `body` for each device that the worker opens. */
const eachDevice = (body) => `{
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    ((device) => { ${body} })(device);
    return device;
  };
}`;

/**
 * A script that runs `body` when results are read back for the n-th time. The self-check reads
 * three: the known prompt's logits, a decoding step's, and the largest of those.
 */
const atStep = (n, body) => eachDevice(`
  let steps = 0;
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = function (...range) {
    if (++steps === ${n}) { ${body} }
    return mapAsync.apply(this, range);
  };
`);

/** Shortens the engine's long timeouts to two seconds. */
const IMPATIENT = `{
  const { setTimeout } = self;
  self.setTimeout = (f, ms, ...more) => setTimeout(f, ms > 10000 ? 2000 : ms, ...more);
}`;

// A software adapter that claims to be hardware, to stand in for real GPUs. It takes seconds to
// compile the kernels for those, on a busy machine as long as a hung GPU, so timeouts are longer.
const POSE = `{
    const { setTimeout } = self;
    self.setTimeout = (f, ms, ...more) => setTimeout(f, ms > 10000 ? 10 * ms : ms, ...more);
  }
  Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
  Object.defineProperty(GPUAdapterInfo.prototype, "architecture", { get: () => "pretended" });`;

/**
 * Makes the second of two clock reads in one task a second later: SIMD's timing computes between
 * them, while the GPU's waits in between.
 */
const SLOW_SIMD = `{
  const { now } = Performance.prototype;
  let [ahead, again] = [0, false];
  Performance.prototype.now = function () {
    if (again) ahead += 1000;
    again = true;
    queueMicrotask(() => (again = false));
    return now.call(this) + ahead;
  };
}`;

/** Records how many GPU calls were made so far, at every step's report. */
const COUNTS = `{
  self.steps = [];
  const made = { submits: 0, groups: 0, buffers: 0 };
  for (const [type, method, name] of [[GPUQueue, "submit", "submits"], [GPUDevice, "createBindGroup", "groups"], [GPUDevice, "createBuffer", "buffers"]]) {
    const real = type.prototype[method];
    type.prototype[method] = function (...given) {
      made[name] += 1;
      return real.apply(this, given);
    };
  }
  const { postMessage } = self;
  self.postMessage = (message, ...rest) => {
    if (typeof message === "string" && message.includes('"Drafts"')) self.steps.push({ ...made, ended: message.includes('"done"') });
    return postMessage.call(self, message, ...rest);
  };
}`;

/** Makes a kernel compute something else. */
const LIE = `{
  const { createShaderModule } = GPUDevice.prototype;
  GPUDevice.prototype.createShaderModule = function (descriptor) {
    // The layer norms of the kernels for software adapters, and for others.
    const code = descriptor.code.replace("1.0 / sqrt(", "1.3 / sqrt(").replace("divided(1.0, root(", "divided(1.3, root(");
    return createShaderModule.call(this, { ...descriptor, code });
  };
}`;

/** Features that a device may lack. */
const LACKS = [
  ["all that it has", ""],
  ["no subgroups", "{ const { has } = GPUSupportedFeatures.prototype; GPUSupportedFeatures.prototype.has = function (f) { return f !== 'subgroups' && has.call(this, f); }; }"],
  ["no halves", "{ const { has } = GPUSupportedFeatures.prototype; GPUSupportedFeatures.prototype.has = function (f) { return f !== 'shader-f16' && has.call(this, f); }; }"],
  ["no packed dot product", "{ const { keys } = WGSLLanguageFeatures.prototype; WGSLLanguageFeatures.prototype.keys = function () { return [...keys.call(this)].filter((f) => f !== 'packed_4x8_integer_dot_product').values(); }; }"],
];

/** Has a worker load the origin's bot; returns the backend that it chose, and the logits after some tokens. */
async function logits(origin, backend, precision, tokens) {
  const page = await browser.newPage();
  try {
    await page.goto(`${origin}/check.html`);
    return await page.evaluate(({ origin, backend, precision, tokens }) => new Promise((settle, fail) => {
      const worker = new Worker("/worker-start.js", { type: "module" });
      const send = (id, action) => worker.postMessage(JSON.stringify({ id, action }));
      let on;
      worker.onerror = ({ message }) => fail(new Error(message));
      worker.onmessage = ({ data }) => {
        const update = typeof data === "string" ? JSON.parse(data).update : null;
        // Messages that are not strings: first the script listens, then the engine.
        if (!update) send(1, { Load: { model: `${origin}/bot/`, precision, backend } });
        if (update?.Failed) fail(new Error(update.Failed.message));
        if (update?.Ready) send(2, { Logits: tokens });
        on ??= update?.Ready?.backend;
        if (update?.Logits) settle({ on, logits: update.Logits });
      };
      worker.postMessage({ options: "backend=" + (backend === "WebGpu" ? "webgpu" : "simd") });
    }), { origin, backend, precision, tokens });
  } finally {
    await page.close();
  }
}

describe("the software adapter", () => {
  for (const [what, script] of LACKS.slice(0, 2)) {
    it(`gives the processor's logits bit for bit, with ${what}`, async () => {
      const bot = await oddBundle();
      const weights = (_, response) => response.end(readFileSync(join(bot, "model-q4_0.gguf")));
      // One site serves four workers: both backends with both precisions.
      const { origin, close } = await site([script, script, script, script], { bot, pages: { "/bot/model-q4_0.gguf": weights } });
      for (const precision of ["q8_0", "q4_0"]) {
        // More tokens than one tile of rows.
        const tokens = [0, 17, 999, 4, 256, 31, 77];
        const expected = await logits(origin, "Simd", precision, tokens);
        const found = await logits(origin, "WebGpu", precision, tokens);
        assert.deepEqual([expected.on, found.on], ["simd", "webgpu"]);
        assert.deepEqual(found.logits, expected.logits);
        assert.equal(found.logits.length, 1000);
      }
      close();
    });
  }

  for (const [what, script] of [...LACKS, ["the kernels that GPUs get", POSE]]) {
    it(`writes the command's drafts where it is asked for, with ${what}`, async () => {
      // The adapter uses every core, so a task of the page may have to wait for one, which counts
      // towards its duration. The best of three shows what the page itself takes.
      const long = [];
      do {
        const { origin, close } = await site(script);
        const { ready, status, drafts, longTasks } = await write(origin, { backend: "webgpu" });
        assert.match(ready, /^WebGPU, ready/);
        assert.match(status, /^WebGPU, [\d.]+ tokens\/s/);
        assert.deepEqual(drafts, expected);
        long.push(longTasks);
        close();
      } while (long.at(-1) && long.length < 3);
      assert.equal(Math.min(...long), 0, `the page stays responsive: ${long} long tasks`);
    });
  }

  it("is asked once a token, with everything bound before", async () => {
    const { origin, close } = await site(COUNTS);
    const ask = (page) => engine(page).evaluate("self.steps");
    const { asked } = await write(origin, { backend: "webgpu" }, { ask });
    // The first steps create what later ones reuse. Compare those after them, until a draft
    // ends and the batch changes.
    const [, , last, ...others] = asked;
    const steps = others.slice(0, others.findIndex(({ ended }) => ended));
    assert.ok(steps.length > 3, `${steps.length} steps`);
    for (const [i, { submits, groups, buffers }] of steps.entries()) {
      assert.equal(submits, last.submits + i + 1, "one submit a token");
      assert.deepEqual({ groups, buffers }, { groups: last.groups, buffers: last.buffers }, "nothing made anew");
    }
    close();
  });

  it("writes the command's drafts of 4-bit weights", async () => {
    const [file, query] = ["model-q4_0.gguf", { precision: "q4_0" }];
    const weights = (_, response) => response.end(readFileSync(join(bundle, file)));
    const { origin, close } = await site("", { pages: { [`/bot/${file}`]: weights } });
    const { status, drafts } = await write(origin, { backend: "webgpu", ...query });
    assert.match(status, /^WebGPU, [\d.]+ tokens\/s/);
    assert.deepEqual(drafts, await commandDrafts(bundle, { prompt: PROMPT, seed: SEED, ...query }));
    close();
  });

  it("takes weights again that the device has changed, and stays", async () => {
    const { origin, requests, close } = await site();
    const visitor = await browser.newContext();
    const asked = () => requests.filter((path) => path.endsWith(".gguf")).length;
    await write(origin, { backend: "webgpu" }, { visitor, ask: (page) => spoilKept(page, { flip: 1 << 21 }) });
    const before = asked();
    const { status, drafts } = await write(origin, { backend: "webgpu" }, { visitor });
    assert.match(status, /^WebGPU, [\d.]+ tokens\/s/);
    assert.deepEqual(drafts, expected);
    assert.equal(asked(), before + 1, "the file is one chunk, and came again");
    await visitor.close();
    close();
  });

  it("selects the likeliest tokens itself, and they are the command's", async () => {
    const bot = await wideBundle();
    const row = 4 * 9600;
    const told = `{
      const { mapAsync } = GPUBuffer.prototype;
      GPUBuffer.prototype.mapAsync = function (mode, offset, size) {
        fetch(size < ${row} ? "/candidates" : "/logits");
        return mapAsync.call(this, mode, offset, size);
      };
    }`;
    for (const [query, options] of [[{ top_k: 2 }, { "top-k": 2 }], [{ temperature: 0 }, { temperature: 0 }]]) {
      const { origin, requests, close } = await site(told, { bot });
      const { status, drafts } = await write(origin, { backend: "webgpu", ...query });
      assert.match(status, /^WebGPU, /);
      assert.deepEqual(drafts, await commandDrafts(bot, { prompt: PROMPT, seed: SEED, ...options }));
      const count = (path) => requests.filter((request) => request === path).length;
      assert.equal(count("/logits"), 2, "only the check reads whole rows");
      assert.ok(count("/candidates") > 3, `${count("/candidates")} selections`);
      close();
    }
  });

  it("is chosen in the menu", async () => {
    const { origin, close } = await site();
    const act = async (page, until) => {
      await page.locator(".settings summary").click();
      await page.locator("#backend").selectOption("webgpu");
      await until(/^WebGPU, ready/);
    };
    const { ready, status, drafts } = await write(origin, { backend: "simd", threads: 1 }, { act });
    assert.match(ready, /^SIMD, 1 thread, ready/);
    assert.match(status, /^WebGPU, [\d.]+ tokens\/s/);
    assert.deepEqual(drafts, expected);
    close();
  });
});

const timed = ({ statuses }) => statuses.some((status) => status.includes("Timing the GPU"));

describe("auto takes a GPU", () => {
  it("that is quicker, says so, and remembers it", async () => {
    const script = `${POSE} ${SLOW_SIMD}`;
    const { origin, close } = await site([script, script]);
    const visitor = await browser.newContext();
    const first = await write(origin, { threads: 1 }, { visitor });
    assert.match(first.ready, /^WebGPU, ready \(faster than SIMD: [\d.,]+ ms per token instead of [\d.,]+\)$/);
    assert.ok(timed(first), first.statuses.join("; "));
    assert.match(first.status, /^WebGPU, [\d.]+ tokens\/s/);
    assert.deepEqual(first.drafts, expected);
    const again = await write(origin, { threads: 1 }, { visitor });
    assert.equal(again.ready, first.ready);
    assert.ok(!timed(again), again.statuses.join("; "));
    assert.deepEqual(again.drafts, expected);
    await visitor.close();
    close();
  });
});

describe("auto takes SIMD and says why", () => {
  const CASES = [
    ["the adapter is software", "", /the only GPU here is a software one/],
    ["there is no WebGPU", "delete WorkerNavigator.prototype.gpu;", /this browser has no WebGPU/],
    ["there is no adapter", "GPU.prototype.requestAdapter = async () => null;", /no GPU/],
    ["the adapter never answers", `${IMPATIENT} GPU.prototype.requestAdapter = () => new Promise(() => {});`, /the GPU does not answer/],
    ["the device is refused", `${POSE} GPUAdapter.prototype.requestDevice = async () => { throw new DOMException('not today', 'OperationError'); };`, /the GPU refused: .*not today/],
  ];
  for (const [what, script, words] of CASES) {
    it(`when ${what}`, async () => {
      const { origin, close } = await site(script);
      const { ready, drafts } = await write(origin, { backend: "auto", threads: 1 });
      assert.match(ready, /^SIMD, 1 thread, ready \(/);
      assert.match(ready, words);
      assert.deepEqual(drafts, expected);
      close();
    });
  }

  it("when the GPU is slower, and remembers it: it is not even opened then", async () => {
    const script = `${POSE} ${eachDevice('fetch("/device");')}`;
    const { origin, requests, close } = await site([script, script]);
    const opened = () => requests.filter((path) => path === "/device").length;
    const visitor = await browser.newContext();
    const first = await write(origin, { threads: 1 }, { visitor });
    assert.match(first.ready, /^SIMD, 1 thread, ready \(faster than the GPU: [\d.]+ ms per token instead of [\d.]+\)$/);
    assert.ok(timed(first), first.statuses.join("; "));
    assert.deepEqual(first.drafts, expected);
    assert.equal(opened(), 1);
    const again = await write(origin, { threads: 1 }, { visitor });
    assert.equal(again.ready, first.ready);
    assert.ok(!timed(again), again.statuses.join("; "));
    assert.deepEqual(again.drafts, expected);
    assert.equal(opened(), 1);
    await visitor.close();
    close();
  });

  it("when the GPU computes wrong numbers, asked for or not", async () => {
    for (const backend of ["auto", "webgpu"]) {
      const { origin, close } = await site(`${POSE} ${LIE}`);
      const { ready, drafts } = await write(origin, { backend, threads: 1 });
      assert.match(ready, /^SIMD, 1 thread, ready \(the GPU computed wrong results\)$/);
      assert.deepEqual(drafts, expected);
      close();
    }
  });

  // Tells the server when the other engine is terminated.
  const WATCHED = `{
    const Plain = self.Worker;
    self.Worker = class extends Plain {
      constructor(url, ...how) {
        super(url, ...how);
        this.isEngine = String(url).includes("/worker-start.js");
      }
      terminate() {
        if (this.isEngine) fetch("/ended");
        super.terminate();
      }
    };
  }`;
  for (const [what, scripts, words] of [
    ["are not the GPU's", [`${WATCHED} ${LIE}`], /^SIMD, 1 thread, ready \(the GPU computed wrong results\)/],
    ["cannot be had", [WATCHED, "throw new Error('not today, for the test');"], /^SIMD, 1 thread, ready \(the GPU could not be checked: /],
    ["are the GPU's after all: then it writes", [WATCHED], /^WebGPU, ready/],
  ]) {
    it(`when a foreign file's logits, which another worker computes, ${what}`, async () => {
      const { origin, requests, close } = await site(scripts);
      const { ready, drafts } = await write(origin, {
        backend: "webgpu", threads: 1, model: `${origin}/bot/model-q8_0.gguf`,
      });
      assert.match(ready, words);
      assert.deepEqual(drafts, expected);
      assert.equal(requests.filter((path) => path === "/worker-start.js").length, 2);
      assert.ok(requests.includes("/ended"), "the other worker is ended");
      close();
    });
  }
});

describe("a GPU that is lost", () => {
  const STAGES = [
    ["before its first buffer", eachDevice("device.destroy();")],
    ["while weights arrive", eachDevice(`
      let writes = 0;
      const { writeBuffer } = device.queue;
      device.queue.writeBuffer = function (...write) {
        if (++writes === 40) device.destroy();
        return writeBuffer.apply(this, write);
      };`)],
    ["in the check", atStep(1, "device.destroy();")],
    ["in the check's last step", atStep(3, "device.destroy();")],
    ["in the drafts' first step", atStep(4, "device.destroy();")],
    ["in mid-draft", atStep(9, "device.destroy();")],
    ["by results that do not come", atStep(7, "return Promise.reject(new DOMException('lost', 'AbortError'));")],
    ["by a queue that hangs", `${IMPATIENT} ${atStep(7, "return new Promise(() => {});")}`],
    ["by logits that are no numbers", eachDevice(`
      let reads = 0;
      const { getMappedRange } = GPUBuffer.prototype;
      GPUBuffer.prototype.getMappedRange = function (...part) {
        const range = getMappedRange.apply(this, part);
        if (++reads === 7) new Float32Array(range).fill(NaN);
        return range;
      };`)],
    ["by memory that runs out", atStep(6, "device.onuncapturederror({ error: new GPUOutOfMemoryError('out of memory') }); ")],
    ["with its worker", atStep(8, "setTimeout(() => { throw new Error('crashed, for the test'); });")],
  ];
  const fetched = (requests) => requests.filter((path) => path.endsWith(".gguf")).length;
  for (const [what, script] of STAGES) {
    it(`${what}: the drafts are what they would have been`, async () => {
      const { origin, requests, close } = await site(script);
      const { status, drafts } = await write(origin, { backend: "webgpu", threads: 1 });
      assert.match(status, /^SIMD, 1 thread, /);
      assert.deepEqual(drafts, expected);
      assert.equal(fetched(requests), 1, "the weights are on this device");
      close();
    });
  }

  it("while it is timed: the drafts are what they would have been", async () => {
    const { origin, requests, close } = await site(`${POSE} ${atStep(6, "device.destroy();")}`);
    const { ready, drafts, statuses } = await write(origin, { backend: "auto", threads: 1 });
    assert.match(ready, /^SIMD, 1 thread, ready \(the GPU/);
    assert.ok(timed({ statuses }), statuses.join("; "));
    assert.deepEqual(drafts, expected);
    assert.equal(fetched(requests), 1, "the weights are on this device");
    close();
  });

  it("between two requests: the drafts are what they would have been", async () => {
    const { origin, requests, close } = await site(eachDevice("self.device = device;"));
    const act = async (page, until) => {
      await generate(page);
      await until(/^WebGPU, [\d.]+ tokens\/s/);
      await engine(page).evaluate("self.device.destroy()");
    };
    const { drafts } = await write(origin, { backend: "webgpu", threads: 1 }, { act, ends: /^SIMD, .*tokens\/s/ });
    assert.deepEqual(drafts, expected);
    assert.equal(fetched(requests), 1, "the weights are on this device");
    close();
  });

  it("in a long start: the drafts are what they would have been", async () => {
    const things = ["sea", "fog", "night", "ship", "road"].map((thing) => `the light of the ${thing}, `);
    const prompt = `Nobody knows ${things.join("")}and`;
    const { origin, requests, close } = await site(atStep(4, "device.destroy();"));
    const { status, drafts } = await write(origin, { backend: "webgpu", threads: 1, prompt });
    assert.match(status, /^SIMD, 1 thread, /);
    assert.deepEqual(drafts, await commandDrafts(bundle, { prompt, seed: SEED }));
    assert.equal(fetched(requests), 1, "the weights are on this device");
    close();
  });

  it("with its worker, while nobody had asked for it: the processor is spared", async () => {
    const { origin, close } = await site(`${POSE} ${eachDevice("setTimeout(() => { throw new Error('crashed, for the test'); });")}`);
    const { ready, drafts } = await write(origin, { threads: 1 });
    assert.match(ready, /^SIMD, 1 thread, ready \(the GPU stopped working\)/);
    assert.deepEqual(drafts, expected);
    close();
  });
});
