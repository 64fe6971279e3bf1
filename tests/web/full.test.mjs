// GPT-2's full shape (124M, random weights): loading with progress, five drafts, Stop, reload; and
// the engine's memory when a GPU computes.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { BotPage } from "./bot-page.mjs";
import { fullBundle, launch, serve, visitor, WEBGPU } from "./harness.mjs";

const MINUTES = 60_000;
const there = Boolean(fullBundle) && existsSync(join(fullBundle, "bot.json"));
if (!there && process.env.CI) throw new Error("HUGGINGTWEETS_FULL_BUNDLE names no bundle: see `make full-bundle`");
if (!there) console.error("skipped: HUGGINGTWEETS_FULL_BUNDLE names no bundle: see `make full-bundle`");

/** Runs in the worker: counts the steps whose tokens are still sent after Stop, and reports the count at the end. */
const COUNTS_STEPS = `{
  const { postMessage } = self;
  let steps = null;
  self.addEventListener("message", ({ data }) => {
    if (typeof data === "string" && data.includes('"Stop"')) steps = 0;
  });
  self.postMessage = (message, ...more) => {
    const { Drafts, Done } = (typeof message === "string" && JSON.parse(message).update) || {};
    if (Drafts?.drawn.length && steps !== null) steps++;
    if (Done && steps !== null) new BroadcastChannel("steps").postMessage(steps);
    if (Done) steps = null;
    postMessage.call(self, message, ...more);
  };
}`;

describe("GPT-2 124M", { skip: !there }, () => {
  let server, browser;

  before(async () => {
    server = await serve(fullBundle);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  it("loads with progress, writes, stops, and loads again from this device", async () => {
    const visit = await visitor(browser, [server.origin]);
    const { page } = visit;
    const bot = new BotPage(page);
    await page.route(/\/worker-start\.js/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `${COUNTS_STEPS}\n${await response.text()}` });
    });
    await page.addInitScript(() => {
      window.steps = [];
      new BroadcastChannel("steps").onmessage = ({ data }) => window.steps.push(data);
    });
    await page.goto(`${server.origin}/?seed=1`);
    await page.getByRole("progressbar").waitFor();
    await bot.seesStatus(/Downloading the bot, \d+% of 1\d\d\.\d MB/);
    await bot.seesStatus(/ready/, 3 * MINUTES);
    assert.equal(await page.getByRole("progressbar").count(), 0);

    await bot.openSettings();
    await bot.set("Maximum length", 24);
    await bot.generate();
    const drafts = await bot.finishes(5 * MINUTES);
    assert.equal(drafts.length, 5);
    assert.ok(drafts.every((draft) => draft.startsWith("My dream is")), drafts.join("\n"));

    await bot.set("Maximum length", "");
    await bot.generate();
    await bot.streams("My dream is", 8, MINUTES);
    await bot.stop();
    await bot.generateButton.waitFor({ timeout: 10_000 });
    const [steps] = await (await page.waitForFunction(() => window.steps.length && window.steps)).jsonValue();
    assert.ok(steps <= 1, `Stop takes effect within a token: ${steps} steps later`);

    const start = "The light of the sea is all that I want to see. ".repeat(19).trim();
    await bot.set("Maximum length", 1000);
    await bot.type(start);
    await bot.generate();
    await bot.stop();
    await bot.generateButton.waitFor({ timeout: 10_000 });
    assert.ok((await bot.drafts()).every((text) => start.startsWith(text)), "Stop is heard within a start");

    const weights = [];
    const isWeights = (url) => new URL(url).pathname.endsWith(".gguf");
    visit.context.on("request", (request) => isWeights(request.url()) && weights.push(request.url()));
    await page.reload();
    await bot.seesStatus(/ready/, 3 * MINUTES);
    assert.deepEqual(weights, [], "the weights came from this device");
    assert.deepEqual(visit.complaints, []);
    assert.deepEqual(visit.foreign, []);
    await visit.leave();
  });

  it("has its weights once, on the GPU that writes: the engine's own memory stays small", async () => {
    const withGpu = await launch(WEBGPU);
    const page = await withGpu.newPage();
    await page.goto(`${server.origin}/bench.html?backend=webgpu&threads=1&tokens=8&drafts=5&runs=1`);
    await page.waitForFunction(() => window.benchResult ?? window.benchError, null, { timeout: 5 * MINUTES });
    assert.equal(await page.evaluate(() => window.benchError), undefined);
    const { backend, runs, peak_memory_bytes } = await page.evaluate(() => window.benchResult);
    assert.equal(backend, "webgpu");
    assert.equal(runs.length, 1);
    assert.ok(peak_memory_bytes < 40e6, `${peak_memory_bytes} bytes`);
    await withGpu.close();
  });
});
