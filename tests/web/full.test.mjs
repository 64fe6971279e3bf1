// GPT-2's full shape (124M, random weights): load with progress, five drafts,
// Stop, reload; and what a GPU leaves in the engine's memory.
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
    await page.goto(`${server.origin}/?seed=1`);
    await page.getByRole("progressbar").waitFor();
    await bot.seesStatus(/Downloading the bot, \d+% of 1\d\d\.\d MB/);
    await bot.seesStatus(/ready/, 3 * MINUTES);
    assert.equal(await page.getByRole("progressbar").count(), 0);

    await bot.openSettings();
    await bot.set("Greatest length", 24);
    await bot.generate();
    const drafts = await bot.finishes(5 * MINUTES);
    assert.equal(drafts.length, 5);
    assert.ok(drafts.every((draft) => draft.startsWith("My dream is")), drafts.join("\n"));

    await bot.set("Greatest length", "");
    await bot.generate();
    await bot.streams("My dream is", 8, MINUTES);
    const pressed = Date.now();
    await bot.stop();
    await bot.generateButton.waitFor({ timeout: 10_000 });
    assert.ok(Date.now() - pressed < 5000, "Stop takes effect within a token");

    const start = "The light of the sea is all that I want to see. ".repeat(19).trim();
    await bot.set("Greatest length", 1000);
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
