// The page's other tabs: the card, a bot of one's own with the archive check,
// and other bots.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createDeflateRaw } from "node:zlib";
import { BotPage } from "./bot-page.mjs";
import {
  botPages, dist, huggingtweets, launch, launchFirefox, noServiceWorker, oddBundle, out, quietly, secondOrigin, serve, smallBundle, visitor,
} from "./harness.mjs";

let bundle, server, browser;

before(async () => {
  bundle = await smallBundle();
  server = await serve(bundle);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

async function open(path = "/", origins = []) {
  const visit = await visitor(browser, [server.origin, ...origins]);
  await visit.page.goto(server.origin + path);
  const bot = new BotPage(visit.page);
  await bot.seesStatus(/ready/);
  return { ...visit, bot };
}

/** Posts as an X archive, by the tests' own hand: the page gets no other file than a visitor would. */
function posts(count) {
  return Array.from({ length: count }, (_, n) => `The lamp was lit for the ${n}th night, and <b>nobody</b> came.`);
}

/** Drags a file or a folder of this machine to the middle of an element, and lets go of it unless told to wait. */
async function drag(visit, element, path, types = ["dragEnter", "dragOver", "drop"]) {
  visit.devtools ??= await visit.context.newCDPSession(visit.page);
  await element.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await element.boundingBox();
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of types) {
    await visit.devtools.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  }
}

/** These files of the bundle, as pages of an origin. */
function filesOf(...files) {
  return Object.fromEntries(files.map((file) => [`/${file}`, (_, response) => response.end(readFileSync(join(bundle, file)))]));
}

/** A folder with these files of the bundle. */
function folderOf(name, files) {
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  for (const file of files) cpSync(join(bundle, file), join(folder, file));
  return folder;
}

/** In the page: whether this device keeps weights, where src/web/worker/storage puts them. */
async function keepsWeights(expected) {
  const entries = [];
  const root = await navigator.storage.getDirectory();
  const folders = await root.getDirectoryHandle("huggingtweets-weights").catch(() => null);
  for await (const folder of folders?.values() ?? []) {
    for await (const file of folder.values()) entries.push(file.name);
  }
  for (const name of await caches.keys()) {
    if (name.startsWith("huggingtweets-weights")) entries.push(...(await (await caches.open(name)).keys()));
  }
  return entries.length > 0 === expected;
}

/** A zip with one file, which unpacks to so many MiB of spaces. */
async function zipBomb(name, mebibytes) {
  const spaces = Array(mebibytes).fill(Buffer.alloc(1 << 20, " "));
  const packed = Buffer.concat(await Readable.from(spaces).pipe(createDeflateRaw()).toArray());
  // Version, flags, method (deflate), time, date, checksum, both sizes, the name's length, no more.
  const facts = Buffer.alloc(26);
  facts.writeUInt16LE(20, 0);
  facts.writeUInt16LE(8, 4);
  facts.writeUInt32LE(packed.length, 14);
  facts.writeUInt32LE(mebibytes << 20, 18);
  facts.writeUInt16LE(name.length, 22);
  const file = Buffer.concat([Buffer.from("PK\x03\x04"), facts, Buffer.from(name), packed]);
  const entry = Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), facts, Buffer.alloc(14), Buffer.from(name)]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(entry.length, 12);
  end.writeUInt32LE(file.length, 16);
  return Buffer.concat([file, entry, end]);
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
    if (manifest.provenance.first_loss) assert.match(await panel.textContent(), /Loss in training/);
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
    await panel.getByText(/The card could not be opened/).waitFor();
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
    await page.getByText("Opening the card").waitFor();
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${quick.origin}/`);
    await page.getByLabel("Address of a bot").press("Enter");
    await bot.seesStatus(/ready/);
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "The next card" }).waitFor({ timeout: 60_000 });
    // The late one is rendered, too: the end of its worker is the end of it.
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

describe("the archive check", () => {
  async function checking() {
    const visit = await open();
    await visit.bot.tab("Your own bot").click();
    const frame = visit.page.frameLocator("iframe.check");
    await frame.getByText("Choose an archive, or drop one here").waitFor();
    return { ...visit, frame, choose: (file) => frame.locator("#file").setInputFiles(file) };
  }

  it("counts what the command counts, and shows posts as text", async () => {
    const path = join(out, "keeper.txt");
    writeFileSync(path, [...posts(400), "RT @sea: waves and waves", "hi"].join("\n"));
    const expected = JSON.parse(await huggingtweets("import", "--json", path));
    const visit = await checking();
    await visit.choose(path);
    await visit.frame.getByText("What is in keeper.txt").waitFor({ timeout: 60_000 });
    const rows = await visit.frame.locator("tbody tr").allTextContents();
    const number = (n) => n.toLocaleString("en");
    assert.deepEqual(rows, [
      `Tweets downloaded${number(expected.tweets_downloaded)}`,
      `Retweets${number(expected.retweets)}`,
      `Short tweets${number(expected.short_tweets)}`,
      `Tweets kept${number(expected.tweets_kept)}`,
      `Characters kept${number(expected.kept_chars_joined)}`,
    ]);
    await visit.frame.getByText(/Just enough to train/).waitFor();
    assert.equal(await visit.frame.locator("li b").count(), 0, "a post is never HTML");
    await visit.frame.getByText(posts(1)[0]).waitFor();
    await quietly(visit);
  });

  it("reads an X archive", async (test) => {
    // out is tests/web/out; the shared data stands beside the checkout.
    const path = join(out, "../../../../shared/data/x-archive-obama.zip");
    if (!existsSync(path)) return test.skip("the shared archive is not here");
    const expected = JSON.parse(readFileSync(path.replace(".zip", ".expected.json")));
    const visit = await checking();
    await visit.choose(path);
    await visit.frame.getByText("What is in x-archive-obama.zip").waitFor({ timeout: 120_000 });
    const text = await visit.frame.locator("table").textContent();
    assert.ok(text.includes(`Tweets kept${expected.tweets_kept.toLocaleString("en")}`), text);
    await visit.frame.getByText(/Plenty/).waitFor();
    await quietly(visit);
  });

  it("says what is wrong with a file, and takes the next one", async () => {
    const visit = await checking();
    await visit.choose({ name: "a.zip", mimeType: "application/zip", buffer: Buffer.from("<html>") });
    await visit.frame.getByText(/a\.zip: is not a zip archive/).waitFor({ timeout: 60_000 });
    await visit.choose({ name: "few.txt", mimeType: "text/plain", buffer: Buffer.from("three short words\n") });
    await visit.frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    const to = ["https://www.w3.org/ns/activitystreams#Public"];
    const post = { type: "Create", object: { type: "Note", to, content: "the lamp is lit" } };
    const outbox = Buffer.from(JSON.stringify({ orderedItems: [7, post] }));
    await visit.choose({ name: "outbox.json", mimeType: "application/json", buffer: outbox });
    await visit.frame.getByText("What is in outbox.json").waitFor({ timeout: 60_000 });
    assert.equal(await visit.frame.locator("tbody tr").last().textContent(), "Could not be read1");
    await quietly(visit);
  });

  it("refuses a zip bomb, and goes on", async () => {
    const visit = await checking();
    await visit.choose({ name: "bomb.zip", mimeType: "application/zip", buffer: await zipBomb("data/tweets.js", 600) });
    await visit.frame.getByText(/bomb\.zip.*tweets\.js.*more than 536870912 bytes once unpacked/).waitFor({ timeout: 60_000 });
    await visit.choose({ name: "few.txt", mimeType: "text/plain", buffer: Buffer.from("three short words\n") });
    await visit.frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    await quietly(visit);
  });

  it("takes an archive that is dropped on it", async () => {
    const path = join(out, "dropped.txt");
    writeFileSync(path, "three short words\n");
    const visit = await checking();
    const frame = visit.page.locator("iframe.check");
    await drag(visit, frame, path, ["dragEnter", "dragOver"]);
    await visit.frame.locator("#drop.over").waitFor();
    await drag(visit, frame, path, ["drop"]);
    await visit.frame.getByText("What is in dropped.txt").waitFor({ timeout: 60_000 });
    assert.equal(await visit.frame.locator("#drop.over").count(), 0);
    await quietly(visit);
  });

  it("reads the file that was chosen last, and that alone", async () => {
    const path = join(out, "many.txt");
    writeFileSync(path, posts(500_000).join("\n"));
    const visit = await checking();
    await visit.choose(path);
    await visit.frame.getByText("Reading many.txt").waitFor();
    await visit.choose({ name: "few.txt", mimeType: "text/plain", buffer: Buffer.from("three short words\n") });
    await visit.frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    const reading = () => visit.page.workers().filter((worker) => worker.url().startsWith("blob:")).length;
    while (reading() > 0) await new Promise((later) => setTimeout(later, 20));
    assert.match(await visit.frame.locator("#said").textContent(), /^Too few posts.*What is in few\.txt/);
    await quietly(visit);
  });

  it("says that its readers could not be fetched, and asks for them again", async () => {
    const state = { broken: true };
    const site = await secondOrigin({ root: dist, pages: {
      ...botPages(bundle),
      ...noServiceWorker,
      "/reader/reader_bg.wasm": (_, response) =>
        state.broken ? response.writeHead(503).end() : response.end(readFileSync(join(dist, "reader/reader_bg.wasm"))),
    } });
    const visit = await visitor(browser, [site.origin]);
    await visit.page.goto(site.origin);
    await new BotPage(visit.page).tab("Your own bot").click();
    const frame = visit.page.frameLocator("iframe.check");
    await frame.getByText("Choose an archive, or drop one here").waitFor();
    const few = { name: "few.txt", mimeType: "text/plain", buffer: Buffer.from("three short words\n") };
    await frame.locator("#file").setInputFiles(few);
    await frame.getByText(/This file could not be read.*is the network there/).waitFor();
    state.broken = false;
    await frame.locator("#file").setInputFiles(few);
    await frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    await visit.leave();
    site.close();
  });

  it("has no connection: neither its frame nor its reader can ask for anything", async () => {
    const visit = await checking();
    const frame = visit.page.frames().find((each) => each.url().endsWith("/check.html"));
    const asked = [];
    // What the policy stops is announced, and never sent.
    visit.context.on("response", (response) => asked.push(response.url()));
    const tries = async (origin) => {
      const failed = await frame.evaluate(async (address) => {
        const attempt = (what) => what().then(() => "went", () => "refused");
        const fetched = await attempt(() => fetch(address));
        const beacon = navigator.sendBeacon(address, "x");
        const image = await attempt(() => new Promise((ok, no) => Object.assign(new Image(), { onload: ok, onerror: no, src: `${address}?image` })));
        // The reader's kind of worker.
        const script = `fetch(${JSON.stringify(address)}).then(() => postMessage("went"), () => postMessage("refused"));`;
        const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
        const inWorker = await new Promise((said) => (worker.onmessage = ({ data }) => said(data)));
        return { fetched, image, inWorker, beacon };
      }, `${origin}/bot/bot.json`);
      assert.equal(failed.fetched, "refused");
      assert.equal(failed.image, "refused");
      assert.equal(failed.inWorker, "refused");
    };
    await tries(server.origin);
    assert.deepEqual(asked.filter((url) => url.includes("/bot/")), [], "not one request was answered");
    await visit.leave();
  });
});

/** In a page: whether its caches hold, or hold nothing, of this origin. */
const keepsAnyOf = async ([origin, any]) => {
  const kept = [];
  for (const name of await caches.keys()) kept.push(...(await (await caches.open(name)).keys()));
  return kept.some(({ url }) => url.startsWith(`${origin}/`)) === any;
};

describe("another bot", () => {
  it("opens by its address, keeps what is typed, and is remembered with its size", async () => {
    const site = await secondOrigin({ root: bundle });
    const visit = await open("/", [site.origin]);
    const { bot, page } = visit;
    await bot.type("typed before");
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${site.origin}/`);
    await page.getByRole("button", { name: "Open", exact: true }).first().click();
    await bot.seesStatus(/ready/);
    assert.ok(await bot.start.isVisible(), "the writing tab is shown");
    assert.equal(await bot.start.inputValue(), "typed before");
    await bot.generate();
    assert.ok((await bot.finishes()).every((draft) => draft.startsWith("typed before")));
    assert.equal(new URL(page.url()).searchParams.get("model"), `${site.origin}/`);
    await bot.tab("Another bot").click();
    const recent = page.locator(".recent > li");
    assert.equal(await recent.count(), 2);
    assert.match(await recent.first().textContent(), /2\.5 MB.*open now/);
    await page.waitForFunction(keepsAnyOf, [site.origin, true]);
    await recent.first().getByRole("button", { name: /^Delete/ }).click();
    assert.equal(await recent.count(), 1);
    await page.waitForFunction(keepsAnyOf, [site.origin, false]);
    assert.equal(await page.evaluate(() => document.activeElement.id), "recent", "the focus is not lost");
    await page.reload();
    await bot.seesStatus(/ready/);
    await quietly(visit);
    site.close();
  });

  it("that is a GGUF alone is remembered with its size, too", async () => {
    const visit = await open();
    const { bot, page } = visit;
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${server.origin}/bot/model-q4_0.gguf`);
    await page.getByRole("button", { name: "Open", exact: true }).first().click();
    await bot.seesStatus(/ready/);
    await bot.tab("Another bot").click();
    assert.match(await page.locator(".recent > li").first().textContent(), /1\.\d MB.*open now/);
    await quietly(visit);
  });

  it("deleted from this device is downloaded again", async () => {
    const visit = await open();
    const { bot, page } = visit;
    await page.waitForFunction(keepsWeights, true);
    await bot.tab("Another bot").click();
    await page.locator(".recent > li").first().getByRole("button", { name: /^Delete/ }).click();
    // The worker removes it in its own time.
    await page.waitForFunction(keepsWeights, false);
    const weights = [];
    visit.context.on("request", (request) => request.url().includes(".gguf") && weights.push(request.url()));
    await page.reload();
    await bot.seesStatus(/ready/);
    assert.ok(weights.length > 0);
    await quietly(visit);
  });

  it("deleted from this device takes all its weights along, also where the engine has died", async () => {
    const { files } = JSON.parse(readFileSync(join(bundle, "bot.json")));
    const digests = ["model-q8_0.gguf", "model-q4_0.gguf"].map((file) => files[file].sha256);
    const keeps = async ([digests, expected]) => {
      const kept = [];
      const root = await navigator.storage.getDirectory();
      const folders = await root.getDirectoryHandle("huggingtweets-weights").catch(() => null);
      for await (const folder of folders?.values() ?? []) for await (const file of folder.keys()) kept.push(file);
      return digests.every((digest) => kept.includes(digest) === expected);
    };
    const site = await secondOrigin({ root: await oddBundle() });
    const visit = await open("/", [site.origin]);
    const { bot, page } = visit;
    await page.goto(`${server.origin}/?precision=q4_0`);
    await bot.seesStatus(/ready/);
    await page.waitForFunction(keeps, [digests, true]);
    const worker = page.workers().find((worker) => worker.url().includes("worker-start"));
    await worker.evaluate(() => setTimeout(() => { throw new Error("for the test"); }));
    await bot.seesAlert(/The engine stopped working/);
    await bot.tab("Another bot").click();
    const recent = page.locator(".recent > li");
    assert.equal(await recent.count(), 1);
    await recent.first().getByRole("button", { name: /^Delete/ }).click();
    await page.getByText("None yet.").waitFor();
    assert.ok(await page.evaluate(keeps, [digests, true]), "nobody is there to remove them");
    // The next engine does, also that of the next visit.
    await page.goto(`${server.origin}/?model=${site.origin}/`);
    await bot.seesStatus(/ready/);
    await page.waitForFunction(keeps, [digests, false]);
    await bot.tab("Another bot").click();
    assert.equal(await recent.count(), 1);
    await visit.leave();
    site.close();
  });

  it("is opened with the weights that the page wishes for, and so it is after a reload", async () => {
    const site = await secondOrigin({ root: bundle });
    const visit = await open("/?precision=q4_0", [site.origin]);
    const { bot, page } = visit;
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${site.origin}/`);
    await page.getByLabel("Address of a bot").press("Enter");
    await bot.seesStatus(/ready/);
    assert.equal(new URL(page.url()).searchParams.get("precision"), "q4_0");
    await page.reload();
    await bot.seesStatus(/ready/);
    // From the list, whatever the page wishes for then.
    await page.goto(server.origin);
    await bot.seesStatus(/ready/);
    await bot.tab("Another bot").click();
    await page.locator(".recent > li").filter({ hasText: site.origin }).getByRole("button", { name: /^Open/ }).click();
    await bot.seesStatus(/ready/);
    assert.ok(site.requests.includes("/model-q4_0.gguf"));
    assert.ok(!site.requests.includes("/model-q8_0.gguf"), site.requests.join("\n"));
    await quietly(visit);
    site.close();
  });

  it("is found on the Hub, or the sentence says what to do", async () => {
    const visit = await open("/", ["https://huggingface.co"]);
    const { bot, page, context } = visit;
    const answers = {
      "a/bundle": [200, { siblings: [{ rfilename: "bot.json" }, { rfilename: "model-q8_0.gguf" }] }],
      "a/small": [200, { siblings: [{ rfilename: "bot.json" }, { rfilename: "model-q4_0.gguf" }] }],
      "a/bare": [200, { siblings: [{ rfilename: "pytorch_model.bin" }] }],
      "a/none": [404, {}],
    };
    const headers = { "Access-Control-Allow-Origin": "*" };
    await context.route("https://huggingface.co/**", (route) => {
      const { pathname } = new URL(route.request().url());
      const api = /^\/api\/models\/(.+)$/.exec(pathname);
      if (api) {
        const [status, json] = answers[api[1]];
        return route.fulfill({ status, json, headers });
      }
      const file = pathname.replace(/^\/a\/\w+\/resolve\/main\//, "");
      return route.fulfill({ path: join(bundle, file), headers });
    });
    await bot.tab("Another bot").click();
    const ask = async (text) => {
      await page.getByLabel("Address of a bot").fill(text);
      await page.getByLabel("Address of a bot").press("Enter");
    };
    await ask("a/bare");
    await page.getByText("huggingtweets convert a/bare --out bot").waitFor();
    await ask("a/none");
    await page.getByText("a/none is not on the Hub, or not public.").waitFor();
    await ask("not a bot");
    await page.getByText(/neither a web address nor owner\/name/).waitFor();
    await ask("https://huggingface.co/spaces/u/bot");
    await page.getByText(/is a Space or a data set of the Hub/).waitFor();
    await ask("http://example.org/bot/");
    await page.getByText(/addresses of other sites must begin with https/).waitFor();
    const weights = [];
    context.on("request", (request) => {
      const { pathname } = new URL(request.url());
      if (pathname.endsWith(".gguf")) weights.push(pathname);
    });
    await ask("a/small");
    await bot.seesStatus(/ready/);
    await bot.tab("Another bot").click();
    await ask("https://huggingface.co/a/bundle");
    await bot.seesStatus(/ready/);
    const folder = "/resolve/main/model-";
    assert.deepEqual([...new Set(weights)], [`/a/small${folder}q4_0.gguf`, `/a/bundle${folder}q8_0.gguf`]);
    // The page that shows a file stands for that file, not for its repository.
    await bot.tab("Another bot").click();
    await ask("https://huggingface.co/a/bundle/blob/main/model-q4_0.gguf");
    await bot.seesStatus(/ready/);
    assert.ok(weights.includes(`/a/bundle${folder}q4_0.gguf`), weights.join("\n"));
    await bot.generate();
    assert.equal((await bot.finishes()).length, 5);
    await visit.leave();
  });

  it("stays when the Hub answers late about one that was asked for before", async () => {
    const site = await secondOrigin({ root: bundle });
    const visit = await open("/", [site.origin, "https://huggingface.co"]);
    const { bot, page, context } = visit;
    let release;
    const released = new Promise((settled) => (release = settled));
    await context.route("https://huggingface.co/**", async (route) => {
      await released;
      const json = { siblings: [{ rfilename: "bot.json" }, { rfilename: "model-q8_0.gguf" }] };
      await route.fulfill({ json, headers: { "Access-Control-Allow-Origin": "*" } });
    });
    const ask = async (text) => {
      await page.getByLabel("Address of a bot").fill(text);
      await page.getByLabel("Address of a bot").press("Enter");
    };
    await bot.tab("Another bot").click();
    await ask("a/late");
    await page.getByText("Looking at a/late").waitFor();
    await ask(`${site.origin}/`);
    await bot.seesStatus(/ready/);
    const answered = page.waitForResponse(/api\/models\/a\/late/);
    release();
    await (await answered).finished();
    await bot.generate();
    assert.equal((await bot.finishes()).length, 5);
    assert.equal(new URL(page.url()).searchParams.get("model"), `${site.origin}/`);
    await quietly(visit);
    site.close();
  });

  it("comes from this device's files: a GGUF, and a bundle's folder", async () => {
    const visit = await open();
    const { bot, page } = visit;
    await bot.tab("Another bot").click();
    await page.locator("input[accept='.gguf']").setInputFiles(join(bundle, "model-q4_0.gguf"));
    await bot.seesStatus(/ready/);
    await bot.generate();
    assert.equal((await bot.finishes()).length, 5);
    await bot.more(1);
    await page.getByText(/No link/).first().waitFor();
    const folder = folderOf("given-bot", ["bot.json", "README.md", "model-q8_0.gguf"]);
    await bot.tab("Another bot").click();
    await page.locator("input[webkitdirectory]").setInputFiles(folder);
    await bot.seesStatus(/ready/);
    const { name } = JSON.parse(readFileSync(join(bundle, "bot.json")));
    await page.getByRole("heading", { name, level: 2 }).waitFor();
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
    await bot.tab("Another bot").click();
    await page.locator("input[accept='.gguf']").setInputFiles({ name: "x.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
    await page.getByText("There is no .gguf file among these.").waitFor();
    await quietly(visit);
  });

  it("comes from a clone of its repository, with the weights that it has", async () => {
    const folder = folderOf("cloned-bot", ["bot.json", "README.md", "model-q4_0.gguf"]);
    mkdirSync(join(folder, ".git/objects"), { recursive: true });
    for (let n = 0; n < 150; n++) writeFileSync(join(folder, `.git/objects/${n}`), "");
    const visit = await open();
    const { bot, page } = visit;
    await bot.tab("Another bot").click();
    await page.locator("input[webkitdirectory]").setInputFiles(folder);
    await bot.seesStatus(/ready/);
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
    await quietly(visit);
  });

  it("is dropped as a folder or a GGUF, and beside its place does no harm", async () => {
    const folder = folderOf("dropped-bot", ["bot.json", "README.md", "model-q8_0.gguf"]);
    const visit = await open();
    const { bot, page, context } = visit;
    await bot.tab("Another bot").click();
    await drag(visit, page.getByRole("heading", { name: "Open another bot" }), join(folder, "bot.json"));
    await drag(visit, page.locator(".drop"), folder, ["dragEnter", "dragOver"]);
    await page.locator(".drop.over").waitFor();
    assert.equal(context.pages().length, 1, "the file was not opened by itself");
    await drag(visit, page.locator(".drop"), folder, ["drop"]);
    await bot.seesStatus(/ready/);
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
    await bot.tab("Another bot").click();
    await drag(visit, page.locator(".drop"), join(folder, "model-q8_0.gguf"));
    await bot.seesStatus(/ready/);
    await bot.tab("What is this?").click();
    await page.getByText(/This bot has no card/).waitFor();
    await quietly(visit);
  });
});

describe("Firefox", () => {
  it("renders the card and checks an archive without a connection", async () => {
    const firefox = await launchFirefox();
    try {
      const site = await secondOrigin({ root: dist, pages: Object.fromEntries(
        ["bot.json", "README.md", "model-q8_0.gguf", "predictions.png", "pipeline.png"].map((file) => [
          `/bot/${file}`, (_, response) => response.end(readFileSync(join(bundle, file)))])) });
      const page = await firefox.newPage();
      await page.goto(site.origin);
      await page.waitForSelector("#tab-card");
      await page.click("#tab-card");
      await page.waitForFunction(() => document.querySelector("#panel-card .prose h2"), { timeout: 60_000 });
      await page.click("#tab-own");
      const handle = await page.waitForSelector("iframe.check");
      const frame = await handle.contentFrame();
      await frame.waitForFunction(() => document.getElementById("choose")?.textContent !== "");
      await frame.evaluate(() => {
        const given = new DataTransfer();
        given.items.add(new File(["three short words and more\n".repeat(400)], "few.txt"));
        const input = document.getElementById("file");
        input.files = given.files;
        input.dispatchEvent(new Event("change"));
      });
      await frame.waitForFunction(() => document.querySelector(".check-verdict"), { timeout: 60_000 });
      const refused = await frame.evaluate(() => fetch("./bot/bot.json").then(() => false, () => true));
      assert.ok(refused);
      site.close();
    } finally {
      await firefox.close();
    }
  });
});
