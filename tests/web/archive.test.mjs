// The archive check in the "Your own bot" tab: what it counts and refuses, and that no data leaves
// it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createDeflateRaw, gzipSync } from "node:zlib";
import { holds } from "./any-browser.mjs";
import { BotPage, drag, visitReadyBot } from "./bot-page.mjs";
import {
  botPages, dist, huggingtweets, launchFirefox, noServiceWorker, out, quietly, reference, secondOrigin, servedBot, visitor,
} from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

/** Generates posts that contain HTML. */
function posts(count) {
  return Array.from({ length: count }, (_, n) => `The lamp was lit for the ${n}th night, and <b>nobody</b> came.`);
}

/** A zip with one file that unpacks to `mebibytes` MiB of spaces. */
async function zipBomb(name, mebibytes) {
  const spaces = Array(mebibytes).fill(Buffer.alloc(1 << 20, " "));
  const packed = Buffer.concat(await Readable.from(spaces).pipe(createDeflateRaw()).toArray());
  // Version, flags, method (deflate), time, date, checksum, both sizes, name length, no extra
  // field.
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

/** A .tar.gz with these files. */
function tarGz(files) {
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const [header, content] = [Buffer.alloc(512), Buffer.alloc(Math.ceil(text.length / 512) * 512)];
    content.write(text);
    header.write(name);
    header.write("0000644\0", 100);
    header.write(`${text.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0        0", 136);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((sum, byte) => sum + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [header, content];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

describe("the archive check", () => {
  async function checking(options) {
    const visit = await visitReadyBot(browser, server.origin, "/", options);
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
    const path = reference("data/x-archive-obama.zip", test);
    const counts = reference("data/x-archive-obama.expected.json", test);
    if (!path || !counts) return;
    const expected = JSON.parse(readFileSync(counts));
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

  it("warns that the account could not be read, and fits a phone whatever the file's name", async () => {
    const visit = await checking({ viewport: { width: 320, height: 640 } });
    const to = ["https://www.w3.org/ns/activitystreams#Public"];
    const post = { type: "Create", object: { type: "Note", to, content: "the lamp is lit" } };
    const stem = `archive-${"0123456789abcdef".repeat(4)}`;
    const wide = () => visit.frame.locator("html").evaluate((root) => root.scrollWidth - root.clientWidth);
    const buffer = tarGz({ "outbox.json": JSON.stringify({ orderedItems: [post] }), "actor.json": "{" });
    await visit.choose({ name: `${stem}.tar.gz`, mimeType: "application/gzip", buffer });
    const warning = visit.frame.locator(".check-warning");
    await warning.waitFor({ timeout: 60_000 });
    const text = await warning.textContent();
    assert.ok(text.startsWith(`The account’s name could not be read: ${stem}.tar.gz: actor.json: line 1, column `), text);
    assert.ok(text.endsWith(`; the account is named @${stem}, after the file.`), text);
    assert.equal(await warning.locator("[lang=en]").count(), 1);
    assert.equal(await wide(), 0);
    await visit.choose({ name: `${stem}.zip`, mimeType: "application/zip", buffer: Buffer.from("<html>") });
    await visit.frame.getByText(/is not a zip archive/).waitFor({ timeout: 60_000 });
    assert.equal(await wide(), 0);
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
    const scripts = new Set();
    visit.page.on("worker", (worker) => worker.url().startsWith("blob:") && scripts.add(worker.url()));
    await visit.choose(path);
    await visit.frame.getByText("Reading many.txt").waitFor();
    await visit.choose({ name: "few.txt", mimeType: "text/plain", buffer: Buffer.from("three short words\n") });
    await visit.frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    const reading = () => visit.page.workers().filter((worker) => worker.url().startsWith("blob:")).length;
    while (reading() > 0) await new Promise((later) => setTimeout(later, 20));
    assert.equal(scripts.size, 1, "both workers have the same object URL");
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
    await frame.getByText(/This file could not be read.*Check your connection/).waitFor();
    state.broken = false;
    await frame.locator("#file").setInputFiles(few);
    await frame.getByText(/Too few posts/).waitFor({ timeout: 60_000 });
    await visit.leave();
    site.close();
  });

  it("has no connection: neither its frame nor its reader can ask for anything", async () => {
    const visit = await checking();
    const frame = visit.page.frames().find((each) => each.url().endsWith("/check.html"));
    const sent = [];
    // Requests blocked by the policy have a "request" event but no response.
    visit.context.on("response", (response) => sent.push(response.url()));
    const picture = `${server.origin}/icon-192.png`;
    const shows = (address) =>
      new Promise((go) => Object.assign(new Image(), { onload: () => go(true), onerror: () => go(false), src: address }));
    assert.ok(await visit.page.evaluate(shows, `${picture}?page`), "the page beside it can show that picture");

    const { came, stopped } = await frame.evaluate(async ([address, picture]) => {
      const stopped = {};
      const note = ({ blockedURI, effectiveDirective }) => (stopped[new URL(blockedURI).search] = effectiveDirective);
      document.addEventListener("securitypolicyviolation", note);
      const fetches = (url) => fetch(url).then(() => true, () => false);
      const came = [await fetches(`${address}?fetch`)];
      navigator.sendBeacon(`${address}?beacon`, "x");
      came.push(await new Promise((go) =>
        Object.assign(new Image(), { onload: () => go(true), onerror: () => go(false), src: `${picture}?image` })));
      // A worker from a blob URL, like the reader.
      const script = `self.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => postMessage({ blockedURI, effectiveDirective }));
        fetch(${JSON.stringify(`${address}?worker`)}).then(() => true, () => false).then((came) => setTimeout(postMessage, 100, { came }));`;
      const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
      came.push(await new Promise((said) => (worker.onmessage = ({ data }) => ("came" in data ? said(data.came) : note(data)))));
      return { came, stopped };
    }, [`${server.origin}/bot/bot.json`, picture]);
    assert.deepEqual(came, [false, false, false]);
    assert.deepEqual(stopped, { "?fetch": "connect-src", "?beacon": "connect-src", "?image": "img-src", "?worker": "connect-src" });
    const tried = sent.filter((url) => /\?(fetch|beacon|image|worker)$/.test(url));
    assert.deepEqual(tried, [], "not one request was answered");
    assert.ok(sent.includes(`${picture}?page`), "what is answered is seen");
    await visit.leave();
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
      await holds(page, () => document.querySelector("#panel-card .prose h2") !== null);
      await page.click("#tab-own");
      const handle = await page.waitForSelector("iframe.check");
      const frame = await handle.contentFrame();
      await holds(frame, () => Boolean(document.getElementById("choose")?.textContent));
      await frame.evaluate(() => {
        const given = new DataTransfer();
        given.items.add(new File(["three short words and more\n".repeat(400)], "few.txt"));
        const input = document.getElementById("file");
        input.files = given.files;
        input.dispatchEvent(new Event("change"));
      });
      await holds(frame, () => document.querySelector(".check-verdict") !== null);
      const refused = await frame.evaluate(() => fetch("./bot/bot.json").then(() => false, () => true));
      assert.ok(refused);
      site.close();
    } finally {
      await firefox.close();
    }
  });
});
