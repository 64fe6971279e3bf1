// The service worker: offline visits, cross-origin isolation on hosts that send no headers, and
// builds that are never mixed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";
import { freshContext, until, writeWithThreads } from "./any-browser.mjs";
import { commandDrafts, dist, launch, launchFirefox, secondOrigin, smallBundle } from "./harness.mjs";

/** One thread, since the service worker isolates pages (any-browser.mjs says how that affects Firefox). */
const QUERY = { prompt: "My dream is", seed: "21", threads: "1" };
const stamp = join(dirname(fileURLToPath(import.meta.url)), "../../tools/stamp.sh");

let bundle, expected, folder;
const browsers = {};

before(async () => {
  bundle = await smallBundle();
  expected = await commandDrafts(bundle, { prompt: QUERY.prompt, seed: QUERY.seed });
  folder = mkdtempSync(join(tmpdir(), "huggingtweets-builds-"));
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Serves a copy of the page's folder, which a test may change, from a plain host. */
async function host(name, pages) {
  const root = join(folder, `${name}-${Math.random().toString(36).slice(2)}`);
  cpSync(dist, root, { recursive: true });
  for (const file of ["bot.json", "model-q8_0.gguf"]) cpSync(join(bundle, file), join(root, "bot", file));
  return { root, ...(await secondOrigin({ root, pages })) };
}

/** Deploys a newer build in the same place. */
function deploy(root) {
  appendFileSync(join(root, "styles.css"), "\n/* another build */\n");
  execFileSync(stamp, [root]);
}

const build = (page) => page.evaluate(() => document.querySelector('meta[name="build"]').content);
/** Waits until the page belongs to a build other than `old`. */
async function newer(page, old) {
  const ends = Date.now() + 60_000;
  // A page that changes its build reloads.
  while ((await build(page).catch(() => old)) === old) {
    assert.ok(Date.now() < ends, "no newer build came");
    await new Promise((later) => setTimeout(later, 50));
  }
}
const controlled = (page) => page.evaluate(() => Boolean(navigator.serviceWorker.controller));
/** Waits until page and engine are stored on this device. */
const installed = (page) => page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
/** Opens the page twice, so that page and engine are stored on this device. */
async function visitAgain(browser, origin) {
  const context = await freshContext(browser);
  const tab = await context.newPage();
  await tab.goto(`${origin}/?${new URLSearchParams(QUERY)}`);
  await until(tab, { status: /ready/ });
  await installed(tab);
  await tab.reload();
  await until(tab, { status: /ready/ });
  return { context, tab };
}
/** Waits until a newer build is installed and waiting. */
const waits = (page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    await registration.update();
    while (!registration.waiting) await new Promise((later) => setTimeout(later, 50));
  });

for (const name of ["Chromium", "Firefox"]) {
  describe(name, () => {
    it("works without a network after the first visit, isolated and with threads", async () => {
      const there = await host("offline");
      const context = await freshContext(browsers[name]);
      const address = `${there.origin}/?${new URLSearchParams({ ...QUERY, threads: 2 })}`;
      const first = await context.newPage();
      await first.goto(address);
      assert.match((await until(first, { status: /ready/ })).status, /1 thread,/, "this host sends no headers");
      await installed(first);
      assert.equal(await controlled(first), false, "a page runs from one build to its end");
      there.close();
      let tab = first;
      const { status, drafts } = await writeWithThreads(async () => {
        if (tab) await tab.reload();
        else await (tab = await context.newPage()).goto(address);
        const again = tab;
        // A page that did not start is closed by `writeWithThreads`.
        tab = null;
        assert.equal(await again.evaluate(() => crossOriginIsolated), true);
        return again;
      });
      assert.deepEqual(drafts, expected);
      assert.match(status, /^SIMD, 2 threads,/);
      await context.close();
    });

    it("waits for no bot's file to end, and keeps those that a bot has, of a fair size", async () => {
      const long = Buffer.alloc((16 << 20) + 1, " ");
      const there = await host("bots", {
        // Firefox 140 passes on no part as short as a byte.
        "/a/bot.json": (_, response) => response.write("{".padEnd(1 << 16)),
        "/b/bot.json": "{}",
        "/b/predictions.png": "a picture",
        "/b/holiday.png": "another picture",
        "/c/README.md": (_, response) => response.end(long),
        "/d/README.md": (_, response) => response.setHeader("Content-Length", long.length).end(long),
      });
      const { context, tab } = await visitAgain(browsers[name], there.origin);
      const begun = await tab.evaluate(async () => {
        const late = new Promise((go) => setTimeout(go, 10_000, "nothing"));
        const first = fetch("a/bot.json").then((response) => response.body.getReader().read());
        const begun = await Promise.race([first.then(({ value }) => new TextDecoder().decode(value)), late]);
        for (const file of ["b/predictions.png", "b/holiday.png", "c/README.md", "d/README.md", "b/bot.json"]) {
          await fetch(file).then((response) => response.arrayBuffer());
        }
        return begun;
      });
      assert.equal(begun.trim(), "{");
      const kept = () =>
        tab.evaluate(async () => {
          const requests = await (await caches.open("huggingtweets-bots-1")).keys();
          return requests.map(({ url }) => new URL(url).pathname).filter((path) => !path.startsWith("/bot/")).sort();
        });
      const ends = Date.now() + 10_000;
      while ((await kept()).length < 2 && Date.now() < ends) await new Promise((later) => setTimeout(later, 50));
      assert.deepEqual(await kept(), ["/b/bot.json", "/b/predictions.png"]);
      there.close();
      assert.equal(await tab.evaluate(() => fetch("b/bot.json").then((response) => response.text())), "{}");
      await context.close();
    });

    it("changes to a newer build between pages, never within one", async () => {
      const there = await host("update");
      const context = await freshContext(browsers[name]);
      const first = await context.newPage();
      await first.goto(`${there.origin}/?${new URLSearchParams(QUERY)}`);
      await until(first, { status: /ready/ });
      await installed(first);
      await first.reload();
      await until(first, { status: /ready/ });
      const old = await build(first);
      deploy(there.root);
      await waits(first);
      const styles = () => first.evaluate(() => fetch("./styles.css").then((response) => response.text()));
      assert.ok(!(await styles()).includes("another build"), "the old page's files are the old build's");
      // While a page of the old build is open, a second one gets the old build too.
      const second = await context.newPage();
      await second.goto(`${there.origin}/?${new URLSearchParams(QUERY)}`);
      await until(second, { status: /ready/ });
      assert.equal(await build(second), old);
      await second.close();
      await first.reload();
      await newer(first, old);
      await until(first, { status: /ready/ });
      assert.notEqual(await build(first), old);
      assert.ok((await styles()).includes("another build"));
      assert.equal((await first.evaluate(() => caches.keys())).filter((key) => key.startsWith("huggingtweets-page-")).length, 1);
      await context.close();
      there.close();
    });

    it("leaves the build of another page on the same site alone, and need not wait for that page", async () => {
      const there = await host("site");
      const root = join(folder, `pages-${Math.random().toString(36).slice(2)}`);
      for (const each of ["a", "b"]) cpSync(there.root, join(root, each), { recursive: true });
      there.close();
      const site = await secondOrigin({ root });
      const { context, tab } = await visitAgain(browsers[name], `${site.origin}/a`);
      const other = await context.newPage();
      await other.goto(`${site.origin}/b/?${new URLSearchParams(QUERY)}`);
      await until(other, { status: /ready/ });
      await installed(other);
      const old = await build(tab);
      deploy(join(root, "a"));
      await waits(tab);
      await tab.reload();
      await newer(tab, old);
      await until(tab, { status: /ready/ });
      const kept = (path) => other.evaluate((path) => caches.match(path, { ignoreSearch: true }).then(Boolean), path);
      assert.deepEqual([await kept("/a/app_bg.wasm"), await kept("/b/app_bg.wasm")], [true, true]);
      site.close();
      await other.reload();
      await until(other, { status: /ready/ });
      assert.equal(await build(other), old);
      await context.close();
    });

    it("keeps the old build while a host has half of the new one", async () => {
      const there = await host("half");
      const { context, tab } = await visitAgain(browsers[name], there.origin);
      const old = await build(tab);
      const before = readFileSync(join(there.root, "styles.css"));
      deploy(there.root);
      writeFileSync(join(there.root, "styles.css"), before);
      const outcome = await tab.evaluate(async () => {
        const registration = await navigator.serviceWorker.getRegistration();
        const found = new Promise((go) => registration.addEventListener("updatefound", () => go(registration.installing)));
        await registration.update().catch(() => {});
        const worker = await found;
        while (worker.state === "installing") await new Promise((later) => setTimeout(later, 50));
        return worker.state;
      });
      assert.equal(outcome, "redundant");
      there.close();
      await tab.reload();
      await until(tab, { status: /ready/ });
      assert.equal(await build(tab), old);
      await context.close();
    });
  });
}

describe("Chromium", () => {
  it("can install the page", async () => {
    const there = await host("install");
    const context = await browsers.Chromium.newContext();
    const tab = await context.newPage();
    await tab.goto(there.origin);
    const tools = await context.newCDPSession(tab);
    const { errors, data } = await tools.send("Page.getAppManifest");
    assert.deepEqual(errors, []);
    assert.equal(JSON.parse(data).start_url, "./");
    const { installabilityErrors } = await tools.send("Page.getInstallabilityErrors");
    // A test's contexts are private windows.
    assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
    await context.close();
    there.close();
  });
});
