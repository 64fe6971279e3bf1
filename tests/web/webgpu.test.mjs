// The engine on a GPU: Chromium's software adapter computes what the command
// does, the page says what it chose and why, and a GPU that is lost, lies or
// hangs costs a line and no text.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { botPages, commandDrafts, dist, launch, scriptAfter, secondOrigin, smallBundle, WEBGPU } from "./harness.mjs";

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
 * The built page and the bot, on an origin of its own. `script` runs in the
 * first worker before the page's own.
 */
function site(script = "") {
  let workers = 0;
  // Only the first worker is spoiled: the one that takes over is as the visitor has it.
  const start = (...exchange) => scriptAfter("worker-start.js", workers++ === 0 ? script : "")(...exchange);
  return secondOrigin({ root: dist, pages: { ...botPages(bundle), "/worker-start.js": start } });
}

/** Opens the page, has drafts written, and gives the statuses it showed and the drafts. */
async function write(origin, query = {}) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  try {
    await page.addInitScript(() => {
      window.statuses = [];
      window.longTasks = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (window.writing && entry.duration > 50) window.longTasks++;
      }).observe({ type: "longtask" });
    });
    await page.goto(`${origin}/?${new URLSearchParams({ prompt: PROMPT, seed: SEED, ...query })}`);
    const look = () =>
      page.evaluate(() => {
        const status = document.querySelector("[role=status]")?.textContent ?? "";
        if (window.statuses.at(-1) !== status) window.statuses.push(status);
        return {
          status,
          statuses: window.statuses,
          longTasks: window.longTasks,
          alert: document.querySelector("[role=alert]")?.textContent ?? "",
          drafts: [...document.querySelectorAll("[data-testid=draft-text]")].map((draft) => draft.textContent),
        };
      });
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
    await page.evaluate(() => {
      window.writing = true;
      [...document.querySelectorAll("button")].find((b) => b.textContent === "Generate tweets").click();
    });
    const seen = await until(/tokens\/s/);
    assert.deepEqual(complaints, []);
    return { ...seen, ready };
  } finally {
    await page.close();
  }
}

/** Runs `body` in the worker for each device that is opened. */
const eachDevice = (body) => `{
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...wish) {
    const device = await requestDevice.apply(this, wish);
    ((device) => { ${body} })(device);
    return device;
  };
}`;

/** Runs `body` when the device's n-th step of a draft is submitted. */
const atStep = (n, body) => eachDevice(`
  let steps = 0;
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = function (...range) {
    if (++steps === ${n}) { ${body} }
    return mapAsync.apply(this, range);
  };
`);

describe("the software adapter", () => {
  for (const [what, script] of [
    ["all that it has", ""],
    ["no subgroups", "{ const { has } = GPUSupportedFeatures.prototype; GPUSupportedFeatures.prototype.has = function (f) { return f !== 'subgroups' && has.call(this, f); }; }"],
    ["no packed dot product", "{ const { keys } = WGSLLanguageFeatures.prototype; WGSLLanguageFeatures.prototype.keys = function () { return [...keys.call(this)].filter((f) => f !== 'packed_4x8_integer_dot_product').values(); }; }"],
  ]) {
    it(`writes the command's drafts where it is asked for, with ${what}`, async () => {
      // The adapter computes on every core: a task of the page may wait for one, and
      // takes no longer for it. What the page itself takes shows in the best of three.
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
});

describe("auto takes SIMD and says why", () => {
  const CASES = [
    ["the adapter is software", "", /the only GPU here is software/],
    ["there is no WebGPU", "delete WorkerNavigator.prototype.gpu;", /this browser has no WebGPU/],
    ["there is no adapter", "GPU.prototype.requestAdapter = async () => null;", /no GPU/],
    ["the device is refused", "GPUAdapter.prototype.requestDevice = async () => { throw new DOMException('not today', 'OperationError'); };", /the only GPU here is software|refused/],
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

  // A software adapter that says it is none stands for the real ones.
  const POSE = `Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
    Object.defineProperty(GPUAdapterInfo.prototype, "architecture", { get: () => "pretended" });`;
  it("when the GPU is slower, and remembers it", async () => {
    const { origin, close } = await site(POSE);
    const { ready, statuses, drafts } = await write(origin, { threads: 1 });
    assert.match(ready, /^SIMD, 1 thread, ready \(quicker than the GPU: [\d.]+ ms a token against [\d.]+\)$/);
    assert.ok(statuses.length > 0);
    assert.deepEqual(drafts, expected);
    close();
  });

  it("when the GPU computes wrong numbers, asked for or not", async () => {
    const lie = `${POSE} {
      const { createShaderModule } = GPUDevice.prototype;
      GPUDevice.prototype.createShaderModule = function (wish) {
        return createShaderModule.call(this, { ...wish, code: wish.code.replace("1.0 / sqrt(", "1.3 / sqrt(") });
      };
    }`;
    for (const backend of ["auto", "webgpu"]) {
      const { origin, close } = await site(lie);
      const { ready, drafts } = await write(origin, { backend, threads: 1 });
      assert.match(ready, /^SIMD, 1 thread, ready \(the GPU computed wrong numbers\)$/);
      assert.deepEqual(drafts, expected);
      close();
    }
  });

  it("when a foreign file's logits, which another worker computes, are not the GPU's", async () => {
    const { origin, close } = await site();
    const { ready, drafts } = await write(origin, {
      backend: "webgpu", threads: 1, model: `${origin}/bot/model-q8_0.gguf`,
    });
    assert.match(ready, /^WebGPU, ready/);
    assert.deepEqual(drafts, expected);
    close();
  });
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
    ["in the drafts' first step", atStep(2, "device.destroy();")],
    ["in mid-draft", atStep(9, "device.destroy();")],
    ["by results that do not come", atStep(7, "return Promise.reject(new DOMException('lost', 'AbortError'));")],
    ["by a queue that hangs", `{ const { setTimeout } = self; self.setTimeout = (f, ms, ...more) => setTimeout(f, ms > 10000 ? 500 : ms, ...more); }
      ${atStep(7, "return new Promise(() => {});")}`],
    ["by memory that runs out", atStep(6, "device.onuncapturederror({ error: new GPUOutOfMemoryError('out of memory') }); ")],
    ["with its worker", atStep(8, "setTimeout(() => { throw new Error('crashed, for the test'); });")],
  ];
  for (const [what, script] of STAGES) {
    it(`${what}: the drafts are what they would have been`, async () => {
      const { origin, close } = await site(script);
      const { status, drafts } = await write(origin, { backend: "webgpu", threads: 1 });
      assert.match(status, /^SIMD, 1 thread, /);
      assert.deepEqual(drafts, expected);
      close();
    });
  }
});
