// The page's tabs, and the card in one of them; archive.test.mjs and bots.test.mjs test the
// others.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BotPage, visitReadyBot } from "./bot-page.mjs";
import { dist, noServiceWorker, quietly, secondOrigin, servedBot, visitor } from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

const open = (path, origins) => visitReadyBot(browser, server.origin, path, { origins });

/** These files of the bundle, as pages of an origin. */
function filesOf(...files) {
  return Object.fromEntries(files.map((file) => [`/${file}`, (_, response) => response.end(readFileSync(join(bundle, file)))]));
}

describe("tabs", () => {
  it("go by arrows, and the drafts stay", async () => {
    const visit = await open("/?seed=4");
    const { bot, page } = visit;
    await bot.generate();
    const drafts = await bot.finishes();
    await bot.tab("Write").focus();
    await page.keyboard.press("ArrowRight");
    assert.equal(await bot.tab("What is this?").getAttribute("aria-selected"), "true");
    assert.equal(await page.evaluate(() => document.activeElement.id), "tab-card");
    assert.ok(await bot.panel("What is this?").isVisible());
    assert.ok(!(await bot.start.isVisible()));
    await page.keyboard.press("End");
    assert.equal(await page.evaluate(() => document.activeElement.id), "tab-bots");
    await page.keyboard.press("Home");
    assert.deepEqual(await bot.drafts(), drafts);
    assert.equal(await bot.texts.count(), 5);
    await quietly(visit);
  });
});

describe("the card", () => {
  it("is the bundle's README, with digests and loss", async () => {
    const visit = await open();
    const { bot, page } = visit;
    await bot.tab("What is this?").click();
    const panel = bot.panel("What is this?");
    await panel.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
    assert.match(await panel.textContent(), /Tweets downloaded/);
    const manifest = JSON.parse(readFileSync(join(bundle, "bot.json")));
    assert.ok((await panel.textContent()).includes(manifest.files["model-q8_0.gguf"].sha256));
    const kilobytes = Math.round(manifest.files["README.md"].size / 1000);
    assert.ok((await panel.textContent()).includes(`README.md${kilobytes} kB`), "small files have a size, too");
    if (manifest.provenance.first_loss) assert.match(await panel.textContent(), /Training loss/);
    const picture = panel.locator("img").first();
    assert.ok(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
    const faces = await page.locator(".bot .avatar").evaluateAll((avatars) =>
      avatars.map((avatar) => [avatar.style.getPropertyValue("--hue").trim(), avatar.textContent]));
    const readme = readFileSync(join(bundle, "README.md"), "utf8");
    const circles = [...readme.matchAll(/background: hsl\((\d+), [^>]*>([^<]+)<\/div>/g)].map(([, hue, letters]) => [hue, letters]);
    assert.deepEqual(faces, circles, "the bot has the same faces on its page and its card");
    await quietly(visit);
  });

  it("of a bundle without README.md is what bot.json says", async () => {
    const site = await secondOrigin({ pages: filesOf("bot.json", "model-q8_0.gguf") });
    const visit = await open(`/?model=${site.origin}`, [site.origin]);
    await visit.bot.tab("What is this?").click();
    const panel = visit.bot.panel("What is this?");
    const { sha256 } = JSON.parse(readFileSync(join(bundle, "bot.json"))).files["model-q8_0.gguf"];
    await panel.getByText(sha256).waitFor({ timeout: 60_000 });
    await panel.getByText(/This bot has no card/).waitFor();
    await visit.leave();
    site.close();
  });

  it("that could not be fetched is fetched again", async () => {
    const pages = filesOf("bot.json", "model-q8_0.gguf", "README.md");
    const state = { broken: true };
    const site = await secondOrigin({ pages: { ...pages, "/README.md": (request, response) =>
      state.broken ? response.writeHead(503).end() : pages["/README.md"](request, response) } });
    const visit = await open(`/?model=${site.origin}`, [site.origin]);
    await visit.bot.tab("What is this?").click();
    const panel = visit.bot.panel("What is this?");
    await panel.getByText(/The card could not be loaded/).waitFor();
    state.broken = false;
    await panel.getByRole("button", { name: "Retry" }).click();
    await panel.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
    assert.equal(await visit.page.evaluate(() => document.activeElement.id), "tab-card", "the focus is not lost");
    await visit.leave();
    site.close();
  });

  it("that comes late is not shown for the next bot", async () => {
    let release;
    const released = new Promise((settled) => (release = settled));
    const pages = filesOf("bot.json", "model-q8_0.gguf");
    const late = await secondOrigin({ pages: { ...pages, "/README.md": async (_, response) => {
      await released;
      response.end("# The late card");
    } } });
    const quick = await secondOrigin({ pages: { ...pages, "/README.md": (_, response) => response.end("# The next card") } });
    const visit = await open(`/?model=${late.origin}`, [late.origin, quick.origin]);
    const { bot, page } = visit;
    await bot.tab("What is this?").click();
    await page.getByText("Loading the card").waitFor();
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${quick.origin}/`);
    await page.getByLabel("Address of a bot").press("Enter");
    await bot.seesStatus(/ready/);
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "The next card" }).waitFor({ timeout: 60_000 });
    // The late card is rendered as well: wait for its worker to end.
    const rendering = page.waitForEvent("worker", (worker) => worker.url().includes("reader-worker"));
    release();
    const worker = await rendering;
    await new Promise((ended) => worker.once("close", ended));
    assert.ok(await page.getByRole("heading", { name: "The next card" }).isVisible());
    assert.equal(await page.getByRole("heading", { name: "The late card" }).count(), 0);
    await quietly(visit);
    late.close();
    quick.close();
  });

  it("shows pictures of another site on an isolated page", async () => {
    const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    const isolated = await secondOrigin({ root: dist, headers, pages: noServiceWorker });
    const site = await secondOrigin({ root: bundle });
    const visit = await visitor(browser, [isolated.origin, site.origin]);
    const bot = new BotPage(visit.page);
    await visit.page.goto(`${isolated.origin}/?model=${site.origin}/`);
    await bot.seesStatus(/ready/);
    assert.ok(await visit.page.evaluate(() => crossOriginIsolated));
    await bot.tab("What is this?").click();
    const picture = bot.panel("What is this?").locator("img").first();
    await picture.waitFor({ timeout: 60_000 });
    assert.ok(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
    await visit.leave();
    isolated.close();
    site.close();
  });

  it("of a hostile bundle runs nothing and calls nobody", async () => {
    const evil = await secondOrigin({ pages: {
      ...filesOf("bot.json", "model-q8_0.gguf"),
      "/README.md": (_, response) => response.end(
        `# A card\n<script>window.ran = 1</script><img src=x onerror="window.ran = 2">\n\n` +
        `![](http://tracker.invalid/a.png) <iframe src="javascript:parent.ran=3"></iframe>\n\n[link](javascript:ran=4)`),
    } });
    const visit = await open(`/?model=${evil.origin}`, [evil.origin]);
    await visit.bot.tab("What is this?").click();
    const panel = visit.bot.panel("What is this?");
    await panel.getByRole("heading", { name: "A card" }).waitFor({ timeout: 60_000 });
    assert.equal(await panel.locator("script, iframe, [onerror], a[href^=javascript]").count(), 0);
    assert.equal(await visit.page.evaluate(() => window.ran), undefined);
    assert.deepEqual(visit.foreign, [], "nobody was asked for anything");
    await visit.leave();
    evil.close();
  });

  it("is said to be missing where a bot is one file", async () => {
    const visit = await open(`/?model=${encodeURIComponent(`${server.origin}/bot/model-q8_0.gguf`)}`);
    await visit.bot.tab("What is this?").click();
    await visit.page.getByText(/This bot has no card/).waitFor();
    await quietly(visit);
  });
});
