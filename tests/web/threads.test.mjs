// The engine's builds: with and without relaxed SIMD and shared memory, with one thread and more,
// in two browsers. All write the same drafts, and fall back where something is not available.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeWithThreads } from "./any-browser.mjs";
import {
  botPages, commandDrafts, dist, launch, launchFirefox, noServiceWorker, scriptAfter, secondOrigin, serve, smallBundle,
} from "./harness.mjs";

const PROMPT = "My dream is";
const SEED = 21;
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "cross-origin",
};

let bundle, expected;
const browsers = {};

before(async () => {
  bundle = await smallBundle();
  const drafts = (threads) => commandDrafts(bundle, { prompt: PROMPT, seed: SEED, threads });
  expected = await drafts("1");
  assert.deepEqual(await drafts("2"), expected, "the command's drafts do not depend on its threads");
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
});

/** Serves the built page with the bot on an origin of its own; `pages` override files. */
function site({ isolated = true, headers = {}, pages = {} } = {}) {
  return secondOrigin({
    root: dist,
    headers: { ...(isolated ? ISOLATED : {}), ...headers },
    pages: { ...botPages(bundle), ...noServiceWorker, ...pages },
  });
}

/** Opens the page, generates five drafts, and returns what the page says. */
function write(browser, origin, query = {}) {
  return writeWithThreads(async () => {
    const page = await browser.newPage();
    await page.goto(`${origin}/?${new URLSearchParams({ prompt: PROMPT, seed: SEED, ...query })}`);
    return page;
  });
}

/** Returns the builds that were downloaded. */
function builds(requests) {
  const names = requests.map((path) => /\/engine\/([\w-]+)_bg\.wasm$/.exec(path)?.[1]);
  return [...new Set(names.filter(Boolean))];
}

const CASES = [
  // isolated, URL parameters, expected build, expected threads in the status
  [true, { threads: 2 }, "relaxed-shared", "2 threads"],
  [true, { threads: 1 }, "relaxed-single", "1 thread"],
  [true, { threads: 1, memory: "shared" }, "relaxed-shared", "1 thread"],
  [true, { threads: 3 }, "relaxed-shared", "3 threads"],
  [true, { threads: 2, simd: "plain" }, "plain-shared", "2 threads"],
  [true, { threads: 1, simd: "plain" }, "plain-single", "1 thread"],
  [true, { threads: 1, simd: "plain", memory: "shared" }, "plain-shared", "1 thread"],
  [true, { threads: 2, backend: "scalar" }, "relaxed-shared", "2 threads"],
  [true, { threads: 2, memory: "single" }, "relaxed-single", "1 thread"],
  [false, { threads: 2 }, "relaxed-single", "1 thread"],
  [false, { simd: "plain" }, "plain-single", "1 thread"],
];

for (const name of ["Chromium", "Firefox"]) {
  describe(name, () => {
    let relaxed;

    before(async () => {
      const there = await site();
      const page = await browsers[name].newPage();
      await page.goto(`${there.origin}/?threads=1`);
      relaxed = await page.evaluate(() => import("./engine-choice.js").then((choice) => choice.hasRelaxedSimd()));
      await page.close();
      there.close();
    });

    for (const [isolated, query, build, threads] of CASES) {
      const where = isolated ? "an isolated page" : "a page that is not isolated";
      it(`writes the command's drafts on ${where} with ${new URLSearchParams(query)}`, async () => {
        const { origin, requests, close } = await site({ isolated });
        const { status, drafts } = await write(browsers[name], origin, query);
        assert.deepEqual(drafts, expected);
        const backend = (query.backend ?? "simd").toUpperCase();
        assert.ok(status.startsWith(`${backend}, ${threads}, `), status);
        // Only the build that runs is downloaded.
        const have = relaxed ? build : build.replace("relaxed", "plain");
        assert.deepEqual(builds(requests), [have]);
        close();
      });
    }

    it("runs shared memory on a page that is not isolated, or does without", async () => {
      const { origin, requests, close } = await site({ isolated: false });
      const { status, drafts } = await write(browsers[name], origin, { memory: "shared", threads: 2 });
      assert.deepEqual(drafts, expected);
      assert.match(status, /^SIMD, 1 thread, /);
      assert.equal(builds(requests).length, 1);
      close();
    });

    it("keeps to one thread when the pool's script is not there", async () => {
      const missing = (_, response) => response.writeHead(404).end();
      const { origin, requests, close } = await site({ pages: { "/pool-worker.js": missing } });
      const { status, drafts } = await write(browsers[name], origin, { threads: 3 });
      assert.ok(requests.includes("/pool-worker.js"));
      assert.deepEqual(drafts, expected);
      assert.match(status, /^SIMD, 1 thread, /);
      close();
    });

    it("does not wait for a thread that never joins", async () => {
      const silent = (_, response) => {
        response.setHeader("Content-Type", "text/javascript");
        response.end("self.onmessage = () => {};");
      };
      const { origin, close } = await site({ pages: { "/pool-worker.js": silent } });
      const { status, drafts } = await write(browsers[name], origin, { threads: 2 });
      assert.deepEqual(drafts, expected);
      assert.match(status, /^SIMD, 1 thread, /);
      close();
    });

    it("asks for half the memory when the browser refuses, and does without shared memory at last", async () => {
      const most = (await import(join(dist, "engine-choice.js"))).memoryBytes(
        JSON.parse(readFileSync(join(bundle, "bot.json"))).files["model-q8_0.gguf"].size,
      ).most / 65536;
      for (const [refused, build, threads] of [
        [most / 3, "relaxed-shared", "2 threads"],
        [1, "relaxed-single", "1 thread"],
      ]) {
        const refusing = scriptAfter(
          "worker-start.js",
          `const Real = WebAssembly.Memory;
           WebAssembly.Memory = function (wanted) {
             fetch("/asked/" + wanted.maximum);
             if (wanted.maximum > ${refused}) throw new RangeError("refused, for the test");
             return new Real(wanted);
           };`,
        );
        const { origin, requests, close } = await site({ pages: { "/worker-start.js": refusing } });
        const { status, drafts } = await write(browsers[name], origin, { threads: 2 });
        assert.deepEqual(drafts, expected);
        assert.ok(status.startsWith(`SIMD, ${threads}, `), status);
        assert.deepEqual(builds(requests), [relaxed ? build : build.replace("relaxed", "plain")]);
        const all = requests.map((path) => Number(/^\/asked\/(\d+)$/.exec(path)?.[1])).filter(Boolean);
        const asked = [...new Set(all)];
        const halves = asked.map((_, i) => Math.ceil(most / 2 ** i));
        assert.ok(asked.length >= 3, `${asked}`);
        assert.deepEqual(asked.sort((a, b) => b - a), halves);
        close();
      }
    });

    it("takes the plain build where relaxed SIMD is not known", async () => {
      const old = scriptAfter("worker-start.js", "WebAssembly.validate = () => false;");
      const { origin, requests, close } = await site({ pages: { "/worker-start.js": old } });
      const { drafts } = await write(browsers[name], origin, { threads: 2 });
      assert.deepEqual(drafts, expected);
      assert.deepEqual(builds(requests), ["plain-shared"]);
      close();
    });

    it("runs with threads under a strict content security policy", async () => {
      const policy =
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
        "img-src 'self' data:; style-src 'self' 'unsafe-inline'";
      const { origin, close } = await site({ headers: { "Content-Security-Policy": policy } });
      const { status, drafts } = await write(browsers[name], origin, { threads: 2 });
      assert.deepEqual(drafts, expected);
      assert.match(status, /^SIMD, 2 threads, /);
      close();
    });

    it("starts from a server that names a wrong type for wasm", async () => {
      const plain = (_, response) => {
        response.setHeader("Content-Type", "application/octet-stream");
        response.end(readFileSync(join(dist, "engine/plain-shared_bg.wasm")));
      };
      const { origin, close } = await site({ pages: { "/engine/plain-shared_bg.wasm": plain } });
      const { drafts } = await write(browsers[name], origin, { simd: "plain", threads: 2 });
      assert.deepEqual(drafts, expected);
      close();
    });
  });
}

describe("the engine's worker", () => {
  for (const [path, cores, beside] of [["/", 8, true], ["/", 2, false], ["/bench.html", 2, true]]) {
    it(`starts ${beside ? "beside" : "after"} the program of ${path} on ${cores} cores, once`, async () => {
      const { origin, requests, close } = await site();
      const page = await browsers.Chromium.newPage();
      await page.addInitScript((cores) => Object.defineProperty(Navigator.prototype, "hardwareConcurrency", { value: cores }), cores);
      // Delay the program, and with it everything that it starts.
      await page.route("**/app_bg.wasm", async (route) => {
        await new Promise((go) => setTimeout(go, 1000));
        await route.continue();
      });
      await page.goto(`${origin}${path}?${new URLSearchParams({ prompt: PROMPT, threads: 1, runs: 1, tokens: 2 })}`);
      if (path === "/") await page.waitForFunction(() => /^SIMD/.test(document.querySelector("[role=status]")?.textContent));
      else await page.waitForFunction(() => window.benchResult);
      await page.close();
      const of = (script) => requests.filter((path) => path === script);
      assert.equal(of("/worker-start.js").length, 1);
      assert.equal(of("/engine/relaxed-single_bg.wasm").length, 1);
      assert.equal(requests.indexOf("/worker-start.js") < requests.indexOf("/app_bg.wasm"), beside);
      close();
    });
  }
});

describe("the command's server", () => {
  it("isolates the page, so that threads are there unasked", async () => {
    const server = await serve(bundle);
    const page = await browsers.Chromium.newPage();
    await page.goto(server.origin);
    const cores = await page.evaluate(() => navigator.hardwareConcurrency);
    await page.close();
    const { status, drafts } = await write(browsers.Chromium, server.origin);
    assert.deepEqual(drafts, expected);
    const threads = Math.min(cores, 4);
    assert.ok(status.startsWith(`SIMD, ${threads} thread${threads === 1 ? "" : "s"}, `), status);
    server.close();
  });
});
