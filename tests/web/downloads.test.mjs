// Downloading and storing weights, with everything that can go wrong: in both browsers, by range
// requests, over a connection that breaks.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { freshContext, look, NOT_SAVED, press, until, write } from "./any-browser.mjs";
import { askedChunks, CHUNK, flakySite, numbers } from "./flaky-site.mjs";
import {
  chunkedBundle, commandDrafts, dist, launch, launchFirefox, noServiceWorker, scriptAfter, secondOrigin, spoilKept,
} from "./harness.mjs";

const QUERY = { prompt: "My dream is", seed: "21", threads: "1" };
const range = (n) => Array.from({ length: n }, (_, i) => i);

let bundle, expected;
const browsers = {};

before(async () => {
  bundle = await chunkedBundle();
  expected = await commandDrafts(bundle, { prompt: QUERY.prompt, seed: QUERY.seed });
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
});

/** Serves the page, with `lines` inserted before its worker's script to alter the browser's APIs. */
function pageSite(lines = "", pages = {}) {
  const patched = scriptAfter("worker-start.js", lines);
  return secondOrigin({ root: dist, pages: { ...noServiceWorker, ...(lines ? { "/worker-start.js": patched } : {}), ...pages } });
}

/** Answers with this script. */
const script = (text) => (_, response) => {
  response.setHeader("Content-Type", "text/javascript");
  response.end(text);
};

/** The engine over a slow connection. */
const ENGINES = Object.fromEntries(["relaxed", "plain"].map((build) => {
  const path = `/engine/${build}-single_bg.wasm`;
  return [path, async (_, response) => {
    const bytes = readFileSync(join(dist, path));
    response.setHeader("Content-Type", "application/wasm");
    for (const at of range(4)) {
      response.write(bytes.subarray(Math.floor(bytes.length * at / 4), Math.floor(bytes.length * (at + 1) / 4)));
      await new Promise((later) => setTimeout(later, 500));
    }
    response.end();
  }];
}));

const NO_OPFS = `navigator.storage.getDirectory = () => Promise.reject(new DOMException("", "SecurityError"));`;
const NO_CACHE = `CacheStorage.prototype.open = () => Promise.reject(new DOMException("", "SecurityError"));`;
const FULL = `FileSystemFileHandle.prototype.createSyncAccessHandle = () => Promise.reject(new DOMException("", "QuotaExceededError"));`;
const FULL_LATER = `
  const write = FileSystemSyncAccessHandle.prototype.write;
  FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
    if (options.at > 0) throw new DOMException("", "QuotaExceededError");
    return write.call(this, bytes, options);
  };`;

for (const name of ["Chromium", "Firefox"]) {
  describe(name, () => {
    /** Opens the page as a visitor, with a bot on another origin. */
    async function visit({ lines, pages, ...options } = {}) {
      const [page, bot] = [await pageSite(lines, pages), await flakySite(bundle, options)];
      const context = await freshContext(browsers[name]);
      const address = `${page.origin}/?${new URLSearchParams({ ...QUERY, model: `${bot.origin}/bot` })}`;
      const open = async () => {
        const tab = await context.newPage();
        await tab.goto(address);
        return tab;
      };
      const leave = async () => {
        await context.close();
        page.close();
        bot.close();
      };
      return { bot, state: bot.state, open, leave, all: range(bot.chunks), context, origin: page.origin };
    }

    it("shows how much of the engine has come", async () => {
      const { open, leave } = await visit({ pages: ENGINES });
      const tab = await open();
      await until(tab, { status: /Downloading the engine/ });
      const part = await tab.evaluate(() => {
        const { value, max } = document.querySelector("progress");
        return value / max;
      });
      assert.ok(part > 0.2 && part < 0.8, `${part} of the engine after a quarter to three quarters`);
      assert.deepEqual((await write(tab)).drafts, expected);
      await leave();
    });

    it("fetches chunks side by side, each once, and none on the next visit", async () => {
      const { state, open, leave, all } = await visit();
      const held = [];
      let release;
      const several = new Promise((go) => (release = go));
      // No response is sent before a second request arrives.
      state.fault = () => (held.push(0), held.length > 1 && release(), { wait: several });
      const tab = await open();
      const { drafts } = await write(tab);
      assert.deepEqual(drafts, expected);
      assert.deepEqual(askedChunks(state.parts), all);
      assert.ok(all.length >= 4 && state.most >= 2 && state.most <= 4, `${state.most} at a time of ${all.length}`);
      state.parts.length = 0;
      await tab.reload();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.deepEqual(state.parts, [], "the weights came from this device");
      await leave();
    });

    describe("a file that was found right", () => {
      /** Reports every chunk whose digest is computed to the site; no helper computes any. */
      const TELLS = `
        const { digest } = SubtleCrypto.prototype;
        SubtleCrypto.prototype.digest = function (name, bytes) {
          if (bytes.byteLength > 1 << 16) fetch("/digest-taken");
          return digest.call(this, name, bytes);
        };`;
      const NO_HELPER = { "/digest-worker.js": (_, response) => response.writeHead(404).end() };

      it("is read without digests, and with them where its seal is no more", async () => {
        let taken = 0;
        const pages = { ...NO_HELPER, "/digest-taken": (_, response) => (taken++, response.end()) };
        const { state, open, leave, all, bot } = await visit({ lines: TELLS, pages });
        const tab = await open();
        const again = async () => {
          taken = 0;
          state.parts.length = 0;
          await tab.reload();
          assert.deepEqual((await write(tab)).drafts, expected);
          assert.deepEqual(state.parts, [], "the weights came from this device");
          return taken;
        };
        assert.deepEqual((await write(tab)).drafts, expected);
        assert.ok(taken >= all.length, `${taken} digests of ${all.length} chunks`);
        assert.equal(await again(), 0);
        const seal = 16 + 16 * all.length;
        for (const [what, change] of [
          ["cut short", { end: bot.size + seal - 8 }],
          ["lost", { end: bot.size }],
          ["another chunk's", { flip: bot.size + 40 }],
          ["of another kind", { flip: bot.size }],
        ]) {
          await spoilKept(tab, change);
          assert.equal(await again(), all.length, what);
          assert.equal(await again(), 0, `${what}: sealed again`);
        }
        await leave();
      });

      it("is no longer than it was: a byte more or less is no seal", async () => {
        const { state, open, leave, bot } = await visit();
        const tab = await open();
        assert.deepEqual((await write(tab)).drafts, expected);
        state.parts.length = 0;
        for (const change of [{ end: bot.size - 1 }, { before: 100 }]) {
          await spoilKept(tab, change);
          await tab.reload();
          assert.deepEqual((await write(tab)).drafts, expected);
        }
        assert.ok(state.parts.length > 0, "what was wrong came again");
        await leave();
      });
    });

    it("reads bot.json once where it chooses the engine by it", async () => {
      const { state, leave, context, origin, bot } = await visit();
      const tab = await context.newPage();
      await tab.goto(`${origin}/?${new URLSearchParams({ ...QUERY, memory: "shared", model: `${bot.origin}/bot` })}`);
      await until(tab, { status: /ready/ });
      assert.equal(state.descriptions, 1);
      await leave();
    });

    it("goes on where the line broke, at any byte", async () => {
      const { state, open, leave, bot } = await visit();
      const chance = numbers(7);
      let cuts = 0;
      state.fault = ({ bytes, count }) => {
        const cut = Math.floor(chance.next().value * bytes.length);
        // Some responses break before their first byte.
        return count < 1 || cuts < 12 ? (cuts++, { cut: cuts % 5 ? cut : 0 }) : {};
      };
      const tab = await open();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.ok(cuts >= 12);
      assert.ok(state.sent < bot.size * 1.2, `${state.sent} bytes sent of ${bot.size}: what had come was kept`);
      await leave();
    });

    it("takes up a line again that has long brought nothing", async () => {
      const { state, open, leave } = await visit();
      state.fault = ({ start, count }) => (start === 0 && count === 0 ? { wait: new Promise(() => {}) } : {});
      const tab = await open();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.ok(state.parts.some(({ start }) => start === 1000), "what had come was kept");
      await leave();
    });

    it("fetches a chunk with a flipped bit again, alone", async () => {
      const { state, open, leave, all } = await visit();
      state.fault = ({ start, count, bytes }) => {
        if (start !== 2 * CHUNK || count > 0) return {};
        const spoiled = Buffer.from(bytes);
        spoiled[12345] ^= 1;
        return { bytes: spoiled };
      };
      const tab = await open();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.deepEqual(askedChunks(state.parts), [...all, 2].sort((a, b) => a - b));
      await leave();
    });

    it("never keeps a wrong chunk; Retry asks for that one only", async () => {
      const { state, open, leave, all } = await visit();
      const last = all.at(-1);
      const spoil = ({ start, bytes }) => {
        if (start !== last * CHUNK) return {};
        const spoiled = Buffer.from(bytes);
        spoiled[spoiled.length - 7] ^= 64;
        return { bytes: spoiled };
      };
      state.fault = spoil;
      const tab = await open();
      await until(tab, { alert: new RegExp(`SHA-256 of piece ${last + 1} differs`) });
      state.parts.length = 0;
      await press(tab, "Retry");
      await until(tab, { alert: /SHA-256/ });
      assert.deepEqual([...new Set(askedChunks(state.parts))], [last], "the right ones were kept");
      state.parts.length = 0;
      state.fault = () => ({});
      await press(tab, "Retry");
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.deepEqual(askedChunks(state.parts), [last]);
      await leave();
    });

    it("goes on after its tab was closed in the middle", async () => {
      const { state, open, leave, all } = await visit();
      state.fault = ({ start }) => (start >= 2 * CHUNK ? { wait: new Promise(() => {}) } : {});
      const tab = await open();
      const ends = Date.now() + 60_000;
      // Once a fourth chunk is requested, two have been received.
      while (!state.parts.some(({ start }) => start === 3 * CHUNK) && Date.now() < ends) await look(tab);
      await tab.evaluate(async () => {
        // Both are written once the file's first 8 MiB do not end in zeros.
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle("huggingtweets-weights");
        for (;;) {
          for await (const address of folder.values()) {
            for await (const file of address.values()) {
              const end = new Uint8Array(await (await file.getFile()).slice(0, 8 << 20).arrayBuffer());
              if (end.subarray(-4096).some(Boolean) && end.subarray((4 << 20) - 4096, 4 << 20).some(Boolean)) return;
            }
          }
          await new Promise((later) => setTimeout(later, 50));
        }
      });
      await tab.close();
      state.parts.length = 0;
      state.fault = () => ({});
      const next = await open();
      assert.deepEqual((await write(next)).drafts, expected);
      assert.deepEqual(askedChunks(state.parts), all.slice(2));
      await leave();
    });

    it("believes nothing on this device: a chunk that was changed there comes again, alone", async () => {
      const { state, open, leave } = await visit();
      const tab = await open();
      await until(tab, { status: /ready/ });
      await tab.goto("about:blank");
      state.parts.length = 0;
      const next = await open();
      await until(next, { status: /ready/ });
      assert.deepEqual(state.parts, []);
      await spoilKept(next, { flip: CHUNK + 99 });
      await next.reload();
      assert.deepEqual((await write(next)).drafts, expected);
      assert.deepEqual(askedChunks(state.parts), [1]);
      await leave();
    });

    it("brings a bot once for two tabs", async () => {
      const { state, open, leave, all } = await visit();
      let release;
      const held = new Promise((go) => (release = go));
      state.fault = () => ({ wait: held });
      const first = await open();
      await until(first, { status: /Downloading/ });
      const second = await open();
      await until(second, { status: /Another tab is downloading this bot/ });
      release();
      const both = await Promise.all([first, second].map((tab) => until(tab, { status: /ready/ })));
      assert.equal(both.length, 2);
      assert.deepEqual(askedChunks(state.parts), all);
      await leave();
    });

    for (const [what, helper] of [
      ["is missing", (_, response) => response.writeHead(404).end()],
      ["dies with a chunk", script("self.onmessage = () => { throw new Error('gone'); }; self.postMessage(null);")],
      ["has no digest to offer", script("self.onmessage = ({ data }) => self.postMessage(data.buffer ? [null, data] : { end: true }); self.postMessage(null);")],
    ]) {
      it(`checks chunks itself where the worker for digests ${what}`, async () => {
        const { state, open, leave, all } = await visit({ pages: { "/digest-worker.js": helper } });
        const tab = await open();
        assert.deepEqual((await write(tab)).drafts, expected);
        assert.deepEqual([...new Set(askedChunks(state.parts))].sort((a, b) => a - b), all);
        state.parts.length = 0;
        await tab.reload();
        assert.deepEqual((await write(tab)).drafts, expected);
        assert.deepEqual(state.parts, [], "the weights came from this device");
        await leave();
      });
    }

    it("keeps chunks in the Cache API where there is no private file system", async () => {
      const { state, open, leave, all } = await visit({ lines: NO_OPFS });
      const tab = await open();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.deepEqual(askedChunks(state.parts), all);
      state.parts.length = 0;
      await tab.reload();
      const { status } = await until(tab, { status: /ready/ });
      assert.doesNotMatch(status, NOT_SAVED);
      assert.deepEqual(state.parts, []);
      await leave();
    });

    for (const [what, lines, reason] of [
      ["has no storage at all", NO_OPFS + NO_CACHE, /ready( \(.*\))?; the bot was not saved on this device: this browser gives the page no storage/],
      ["is full", FULL, /ready( \(.*\))?; the bot was not saved on this device: its storage is full/],
      ["fills up in the middle", FULL_LATER, /ready( \(.*\))?; the bot was not saved on this device: its storage is full/],
    ]) {
      it(`writes all the same where the device ${what}, and says so`, async () => {
        const { state, open, leave, all } = await visit({ lines });
        const tab = await open();
        const { status } = await until(tab, { status: reason });
        assert.match(status, NOT_SAVED);
        assert.deepEqual((await write(tab)).drafts, expected);
        assert.deepEqual(askedChunks(state.parts), all);
        await leave();
      });
    }

    it("takes one stream from a server without ranges, and goes on where it broke", async () => {
      const { state, open, leave } = await visit({ ranges: false });
      const cuts = [CHUNK + 1000, 3 * CHUNK - 5, Infinity];
      state.fault = ({ count }) => ({ cut: cuts[Math.min(count, 2)] });
      const tab = await open();
      assert.deepEqual((await write(tab)).drafts, expected);
      assert.equal(state.parts.length, 3);
      state.parts.length = 0;
      await tab.reload();
      await until(tab, { status: /ready/ });
      assert.deepEqual(state.parts, []);
      await leave();
    });

    it("does without the size in another origin's answer", async () => {
      const { state, open, leave, all } = await visit({ exposed: false });
      const tab = await open();
      await until(tab, { status: /ready/ });
      assert.deepEqual(askedChunks(state.parts), all);
      await leave();
    });
  });
}

describe("Chromium", () => {
  it("stays within its real quota", async () => {
    const [page, bot] = [await pageSite(), await flakySite(bundle)];
    const context = await browsers.Chromium.newContext();
    const tab = await context.newPage();
    const tools = await context.newCDPSession(tab);
    await tools.send("Storage.overrideQuotaForOrigin", { origin: page.origin, quotaSize: 6 << 20 });
    await tab.goto(`${page.origin}/?${new URLSearchParams({ ...QUERY, model: `${bot.origin}/bot` })}`);
    await until(tab, { status: /not saved on this device: its storage is full/ });
    assert.deepEqual((await write(tab)).drafts, expected);
    const left = await tab.evaluate(async () => (await navigator.storage.estimate()).usage);
    assert.ok(left < 1 << 20, `${left} bytes of a bot that cannot be whole`);
    await context.close();
    page.close();
    bot.close();
  });
});
