// The page as a visitor uses it.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { BotPage, visitBot } from "./bot-page.mjs";
import { commandDrafts, launch, out, quiet, serve, servedBot, slowBundle, visitor, WEBGPU } from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

const open = (path, options) => visitBot(browser, server.origin, path, options);

it("paints before its program has come, from at most 150 kB", async () => {
  const browser = await launch();
  const visit = await visitor(browser, [server.origin]);
  const { page } = visit;
  await page.route("**/app_bg.wasm", () => {});
  await page.goto(server.origin, { waitUntil: "commit" });
  await page.getByText("Opening…").waitFor();
  await page.getByRole("heading", { name: "huggingtweets" }).waitFor();
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
  const bytes = await page.evaluate(() => {
    const came = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return came.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
  });
  assert.ok(bytes > 1000 && bytes <= 150_000, `${bytes} bytes`);
  await visit.leave();
  await browser.close();
});

it("has the chosen colours before its program has come", async () => {
  const { page, leave } = await visitor(browser, [server.origin]);
  await page.route("**/app_bg.wasm", () => {});
  await page.addInitScript(() => localStorage.setItem("huggingtweets.theme", "dark"));
  await page.goto(server.origin, { waitUntil: "commit" });
  await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  await leave();
});

// What holds for every backend. Chromium's adapter is a software one here, so `auto` is SIMD.
for (const [backend, flags, expected] of [
  ["auto", [], /^SIMD, \d+ threads?, \d+(\.\d)? tokens\/s$/],
  ["simd", [], /^SIMD, \d+ threads?, \d+(\.\d)? tokens\/s$/],
  ["webgpu", WEBGPU, /^WebGPU, \d+(\.\d)? tokens\/s$/],
]) {
  describe(`the page, backend=${backend}`, () => {
    let browser;
    before(async () => {
      browser = await launch(flags);
    });
    after(() => browser?.close());

    const at = (query = {}) => `/?${new URLSearchParams({ backend, ...query })}`;
    const open = (query, options) => visitBot(browser, server.origin, at(query), options);

    it("generates five drafts, says its speed, and complains about nothing", async () => {
      const visit = await open();
      const { bot, page } = visit;
      assert.equal(await bot.start.inputValue(), "My dream is");
      // The page appears part by part.
      await bot.texts.nth(4).waitFor({ state: "attached" });
      assert.equal(await bot.texts.count(), 5);
      assert.deepEqual(await bot.drafts(), ["", "", "", "", ""]);
      // A small bot finishes too quickly to be observed from here, so the page records its
      // buttons.
      await page.evaluate(() => {
        const seen = (window.buttonsSeen = new Set());
        const note = () => seen.add([...document.querySelectorAll(".actions button")].map((b) => b.textContent).join("+"));
        note();
        new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
      });
      await bot.generate();
      const drafts = await bot.finishes();
      assert.equal(await bot.stopButton.count(), 0);
      const seen = await page.evaluate(() => [...window.buttonsSeen].sort());
      assert.deepEqual(seen, ["Generate tweets", "Stop"], "Stop stands in the place of Generate, never beside it");
      assert.equal(drafts.length, 5);
      for (const draft of drafts) {
        assert.ok(draft.startsWith("My dream is"), draft);
        assert.ok(draft.length > "My dream is".length, draft);
        assert.ok(!draft.includes("\n"), draft);
      }
      assert.match(await bot.status.textContent(), expected);
      assert.equal(await page.getByRole("status").count(), 1);
      assert.equal(await bot.cards.count(), 5);
      quiet(visit);
      await visit.leave();
    });

    it("takes a request for drafts before the engine is ready", async () => {
      const visit = await visitor(browser, [server.origin]);
      const bot = new BotPage(visit.page);
      let release;
      const held = new Promise((go) => (release = go));
      await visit.context.route("**/model-q8_0.gguf", async (route) => {
        await held;
        await route.continue();
      });
      await visit.page.goto(server.origin + at());
      await bot.type("I never");
      await bot.generate();
      await bot.stopButton.waitFor();
      assert.equal(await bot.generateButton.count(), 0, "Stop stands in the place of Generate");
      await bot.seesStatus(/start when it is ready/);
      release();
      const drafts = await bot.finishes();
      assert.ok(drafts.every((draft) => draft.startsWith("I never")), drafts.join("\n"));
      quiet(visit);
      await visit.leave();
    });

    it("ends one draft midway, and stops the rest", async () => {
      // Slow enough for buttons to be pressed in time.
      const slow = await serve(await slowBundle());
      const visit = await visitor(browser, [slow.origin]);
      const bot = new BotPage(visit.page);
      await visit.page.goto(`${slow.origin}/?backend=${backend === "webgpu" ? "webgpu" : "scalar"}&seed=3`);
      await bot.generate();
      await bot.streams("My dream is", 4);
      await bot.endDraft(1);
      await visit.page.getByRole("button", { name: "Copy draft 1" }).waitFor();
      const ended = (await bot.drafts())[0];
      const others = (await bot.drafts()).slice(1);
      await bot.streams(others.reduce((a, b) => (a.length > b.length ? a : b)), 4);
      await bot.stop();
      await bot.generateButton.waitFor({ timeout: 5000 });
      const drafts = await bot.finishes();
      assert.equal(drafts[0], ended, "an ended draft does not grow, the others do");
      await new Promise((later) => setTimeout(later, 300));
      assert.deepEqual(await bot.drafts(), drafts, "nothing is written after Stop");
      await bot.generate();
      await bot.streams("My dream is", 4);
      await bot.stop();
      assert.equal((await bot.finishes()).length, 5, "Generate and Stop work again");
      quiet(visit);
      await visit.leave();
      slow.close();
    });

    it("loads from the cache after a reload", async () => {
      const visit = await open();
      const { bot, page } = visit;
      await bot.seesStatus(/ready/);
      const weights = [];
      const isWeights = (url) => new URL(url).pathname.endsWith(".gguf");
      visit.context.on("request", (request) => isWeights(request.url()) && weights.push(request.url()));
      await page.reload();
      await bot.seesStatus(/ready/);
      assert.deepEqual(weights, [], "the weights came from this device");
      await bot.generate();
      assert.equal((await bot.finishes()).length, 5);
      quiet(visit);
      await visit.leave();
    });

    it("opens a GGUF by its own address", async () => {
      const visit = await open({ model: `${server.origin}/bot/model-q4_0.gguf` });
      await visit.bot.generate();
      assert.equal((await visit.bot.finishes()).length, 5);
      quiet(visit);
      await visit.leave();
    });

    it("never blocks typing while drafts are written", async () => {
      const slow = await serve(await slowBundle());
      const visit = await visitor(browser, [slow.origin]);
      const { page } = visit;
      const bot = new BotPage(page);
      await page.goto(`${slow.origin}/?backend=${backend === "webgpu" ? "webgpu" : "scalar"}&seed=3`);
      await bot.seesStatus(/ready/);
      await page.evaluate(() => {
        window.longTasks = [];
        new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ duration }) => duration)))
          .observe({ type: "longtask" });
      });
      const written = async () => (await bot.drafts()).join("").length;
      const typed = "typed while it writes";
      const long = [];
      // The engine uses every core, so a task of the page may have to wait for one, which counts
      // towards its duration. The best of three shows what the page itself takes.
      do {
        await bot.type("My dream is");
        await bot.generate();
        await bot.streams("My dream is", 4);
        await bot.type("");
        await page.evaluate(() => (window.longTasks.length = 0));
        await page.keyboard.type(typed, { delay: 20 });
        assert.equal(await bot.start.inputValue(), typed);
        long.push(await page.evaluate(() => window.longTasks));
        const then = await written();
        const ends = Date.now() + 60_000;
        while ((await written()) <= then) assert.ok(Date.now() < ends, "no draft grew after the typing");
        assert.ok(await bot.stopButton.isVisible(), "drafts are still written");
        await bot.stop();
        await bot.finishes();
        assert.equal(await bot.start.inputValue(), typed);
      } while (long.at(-1).length && long.length < 3);
      assert.deepEqual(long.at(-1), [], `tasks of over 50 ms while typing: ${JSON.stringify(long)}`);
      await visit.leave();
      slow.close();
    });

    it("keeps the focus when Generate becomes Stop and back", async () => {
      const visit = await open();
      const { bot, page } = visit;
      await bot.seesStatus(/ready/);
      await bot.generateButton.focus();
      await page.keyboard.press("Enter");
      await bot.finishes();
      const focused = await page.evaluate(() => document.activeElement?.textContent);
      assert.equal(focused, "Generate tweets");
      await visit.leave();
    });

    it("says which setting is wrong, and resets", async () => {
      const visit = await open();
      const { bot, page } = visit;
      await bot.seesStatus(/ready/);
      await bot.openSettings();
      await bot.set("Share of likely words", 7);
      await bot.generate();
      await bot.seesAlert(/top_p/);
      await page.getByRole("button", { name: "Reset to the original's settings" }).click();
      await bot.generate();
      assert.equal((await bot.finishes()).length, 5);
      assert.equal((await bot.alert.textContent()).trim(), "");
      await visit.leave();
    });
  });
}

describe("the page", () => {
  for (const backend of ["simd", "scalar"]) {
    for (const precision of ["q8_0", "q4_0"]) {
      it(`writes what the command writes: ${precision}, ${backend}`, async () => {
        const prompt = "My dream is";
        const expected = await commandDrafts(bundle, { prompt, seed: 11, precision });
        const query = new URLSearchParams({ prompt, seed: 11, precision, backend });
        const visit = await open(`/?${query}`);
        await visit.bot.generate();
        assert.deepEqual(await visit.bot.finishes(), expected);
        assert.ok((await visit.bot.status.textContent()).startsWith(backend.toUpperCase()));
        await visit.leave();
      });
    }
  }

  it("copies a draft, and offers to post it", async () => {
    const permissions = ["clipboard-read", "clipboard-write"];
    const visit = await open("/", { permissions });
    const { bot, page } = visit;
    await bot.generate();
    const [first] = await bot.finishes();
    await page.getByRole("button", { name: "Copy draft 1" }).click();
    await page.getByTestId("announced").getByText("Copied").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), first);
    const post = bot.cards.first().getByRole("link", { name: "Post" });
    const shared = new URL(await post.getAttribute("href"));
    assert.equal(shared.origin, "https://x.com");
    assert.match(shared.searchParams.get("text"), /AI bot, wrote:/);
    await visit.leave();
  });

  for (const [name, width, height, expected] of [["phone", 360, 740, 1], ["tablet", 768, 1024, 2], ["desktop", 1440, 900, 3]]) {
    for (const colorScheme of ["light", "dark"]) {
      it(`fits a ${name}, ${colorScheme}`, async () => {
        const visit = await open("/?seed=5", { viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
        const { bot, page } = visit;
        await bot.generate();
        await bot.finishes();
        await page.screenshot({ path: join(out, `page-${name}-${colorScheme}.png`), fullPage: true });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${wide} px wide in a window of ${width}`);
        const boxes = await Promise.all((await bot.cards.all()).map((card) => card.boundingBox()));
        const columns = new Set(boxes.map((box) => Math.round(box.x))).size;
        assert.equal(columns, expected, "columns of cards");
        for (const box of boxes) assert.ok(box.x >= 0 && box.x + box.width <= width);
        for (const target of [bot.start, bot.generateButton]) {
          const box = await target.boundingBox();
          assert.ok(box.height >= 40 && box.x >= 0 && box.x + box.width <= width);
        }
        await visit.leave();
      });
    }
  }
});

describe("the bench page", () => {
  it("leaves its result", async () => {
    const visit = await open("/bench.html?tokens=8&drafts=2&runs=2&threads=2");
    await visit.page.waitForFunction(() => window.benchResult ?? window.benchError, null, { timeout: 120_000 });
    assert.equal(await visit.page.evaluate(() => window.benchError), undefined);
    const result = await visit.page.evaluate(() => window.benchResult);
    assert.equal(result.runs.length, 2);
    for (const run of result.runs) {
      assert.ok(run.first_token_ms > 0 && run.tokens_per_s > 0 && run.prefill_tokens_per_s > 0);
    }
    assert.equal(result.backend, "simd");
    assert.equal(result.threads, 2);
    assert.match(result.build, /^(relaxed|plain)-shared$/);
    assert.ok(result.load_ms > 0 && result.wasm_bytes > 100_000 && result.peak_memory_bytes > 1_000_000);
    quiet(visit);
    await visit.leave();
  });

  it("leaves its error", async () => {
    const visit = await open("/bench.html?precision=f32");
    await visit.page.waitForFunction(() => window.benchError);
    assert.match(await visit.page.evaluate(() => window.benchError), /q8_0, q4_0/);
    await visit.leave();
  });
});
