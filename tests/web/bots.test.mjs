// Opening other bots: by URL, from the Hub, from local files; and what of them is stored on this
// device.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { drag, visitReadyBot } from "./bot-page.mjs";
import { oddBundle, out, quietly, secondOrigin, servedBot } from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

const open = (path, origins) => visitReadyBot(browser, server.origin, path, { origins });

/** Creates a folder with these files of the bundle. */
function folderOf(name, files) {
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  for (const file of files) cpSync(join(bundle, file), join(folder, file));
  return folder;
}

/** Runs in the page: whether weights are stored where src/web/worker/storage puts them, as expected. */
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

/** Runs in a page: whether its caches hold something of this origin, as expected (`any`). */
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

  it("that cannot be opened is not called by the former one's name, and is not on its way", async () => {
    const visit = await open();
    const { bot, page } = visit;
    assert.match(await page.title(), /. – huggingtweets$/);
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill(`${server.origin}/nowhere/`);
    await page.getByRole("button", { name: "Open", exact: true }).first().click();
    await bot.seesAlert(/answered 404/);
    assert.equal(await page.title(), "huggingtweets");
    assert.equal(await page.locator(".bot").getAttribute("aria-busy"), "false");
    await visit.leave();
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
    // The worker removes it asynchronously.
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
    // The next engine removes them, even on a later visit.
    await page.goto(`${server.origin}/?model=${site.origin}/`);
    await bot.seesStatus(/ready/);
    await page.waitForFunction(keeps, [digests, false]);
    await bot.tab("Another bot").click();
    assert.equal(await recent.count(), 1);
    await visit.leave();
    site.close();
  });

  it("is opened with the weights that the page requests, also after a reload", async () => {
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
    // From the list, the weights opened before are used, whatever the page's precision.
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
    await page.getByText(/is a Space or a dataset on the Hub/).waitFor();
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
    // The URL of a page that shows a file opens that file, not its repository.
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
