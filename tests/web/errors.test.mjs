// Errors are shown as sentences, Retry works, and nothing typed is lost.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BotPage, visitBot } from "./bot-page.mjs";
import { secondOrigin, serve, servedBot, slowBundle, spoiledBot, visitor } from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

async function open(query) {
  const visit = await visitBot(browser, server.origin, `/?${new URLSearchParams(query)}`);
  await visit.bot.type("typed before it failed");
  return visit;
}

/** With the cause fixed: Retry loads the bot, and the pending request is carried out. */
async function retryWorks(bot) {
  await bot.retry();
  await bot.seesStatus(/ready|tokens\/s/);
  assert.equal(await bot.start.inputValue(), "typed before it failed");
  if (!/tokens\/s/.test(await bot.status.textContent())) await bot.generate();
  const drafts = await bot.finishes();
  assert.ok(drafts.every((draft) => draft.startsWith("typed before it failed")), drafts.join("\n"));
  assert.equal((await bot.alert.textContent()).trim(), "");
}

describe("a bot that cannot be had", () => {
  it("is missing", async () => {
    const { bot, leave } = await open({ model: "nowhere/" });
    await bot.seesAlert(/nowhere\/bot\.json could not be fetched: the site answered 404/);
    assert.equal(await bot.start.inputValue(), "typed before it failed");
    await leave();
  });

  it("is on a site that is not there", async () => {
    const gone = await secondOrigin();
    gone.close();
    const { bot, leave } = await open({ model: `${gone.origin}/bot` });
    await bot.seesAlert(/could not be fetched: check your connection/);
    await leave();
  });

  it("is not an address", async () => {
    const { bot, leave } = await open({ model: "javascript:alert(1)" });
    await bot.seesAlert(/is not an address this page can read/);
    await leave();
  });

  const spoils = {
    "has a flipped bit": [(bytes) => ((bytes[bytes.length - 100] ^= 4), bytes), /SHA-256/],
    "ends early": [(bytes) => bytes.subarray(0, bytes.length - 1000), /ends after \d+ bytes/],
    "is too long": [(bytes) => Buffer.concat([bytes, bytes.subarray(0, 10)]), /longer than|SHA-256/],
    "is another file": [() => Buffer.from("<html>not a model</html>"), /ends after|SHA-256/],
  };
  for (const [name, [spoil, sentence]] of Object.entries(spoils)) {
    it(`${name}; Retry works when the site is mended, and nothing wrong was kept`, async () => {
      const state = { spoiled: true };
      const site = await secondOrigin({ pages: spoiledBot(bundle, spoil, state) });
      const { bot, leave, page } = await open({ model: site.origin });
      await bot.generate();
      await bot.seesAlert(sentence);
      await page.reload();
      await bot.seesAlert(sentence);
      await bot.type("typed before it failed");
      state.spoiled = false;
      await retryWorks(bot);
      await leave();
      site.close();
    });
  }

  it("breaks off in the middle of the download", async () => {
    const state = { broken: true };
    const pages = spoiledBot(bundle, (bytes) => bytes, { spoiled: false });
    const whole = pages["/model-q8_0.gguf"];
    pages["/model-q8_0.gguf"] = (request, response) => {
      if (!state.broken) return whole(request, response);
      response.writeHead(200, { "Content-Length": 1_000_000 });
      response.write(Buffer.alloc(10_000));
      setTimeout(() => response.destroy(), 50);
    };
    const site = await secondOrigin({ pages });
    const { bot, leave } = await open({ model: site.origin });
    await bot.seesAlert(/connection broke/);
    state.broken = false;
    await retryWorks(bot);
    await leave();
    site.close();
  });

  it("is no model at all", async () => {
    const site = await secondOrigin({ pages: { "/page.gguf": "<html>not a model</html>" } });
    const { bot, leave } = await open({ model: `${site.origin}/page.gguf` });
    await bot.seesAlert(/page\.gguf is not a model that can run here/);
    await leave();
    site.close();
  });

  it("has a bot.json that is none", async () => {
    const site = await secondOrigin({ pages: { "/bot.json": "<html></html>" } });
    const { bot, leave } = await open({ model: site.origin });
    await bot.seesAlert(/bot\.json is not a bot's description/);
    await leave();
    site.close();
  });

  it("computes other numbers than its bot.json has, and what was asked for is not written by it", async () => {
    const described = JSON.parse(readFileSync(join(bundle, "bot.json")));
    const known = described.checks["model-q8_0.gguf"];
    known.logits = known.logits.map((logit, i) => (i % 2 ? 1.1 : 1) * logit);
    const pages = spoiledBot(bundle, (bytes) => bytes, { spoiled: false });
    pages["/bot.json"] = (_, response) => response.end(JSON.stringify(described));
    const site = await secondOrigin({ pages });
    const { bot, leave } = await open({ model: site.origin });
    // Waits for the engine, which is ready a moment before the numbers are compared.
    await bot.generate();
    await bot.seesAlert(/results computed here are not those in bot\.json/);
    assert.ok((await bot.drafts()).every((draft) => draft.length <= "typed before it failed".length));
    assert.equal(await bot.start.inputValue(), "typed before it failed");
    await leave();
    site.close();
  });
});

describe("a worker that dies", () => {
  it("of an error, while it writes", async () => {
    const { bot, leave, page } = await open({ backend: "scalar" });
    await bot.seesStatus(/ready/);
    const [worker] = page.workers();
    await bot.generate();
    await worker.evaluate(() => setTimeout(() => { throw new Error("out of memory, for the test"); }));
    await bot.seesAlert(/The engine stopped working.*out of memory, for the test/);
    await retryWorks(bot);
    await leave();
  });

  it("while it writes, and Stop takes nothing away that is written", async () => {
    const slow = await serve(await slowBundle());
    const visit = await visitor(browser, [slow.origin]);
    const { page } = visit;
    await page.goto(`${slow.origin}/?backend=scalar&seed=5`);
    const bot = new BotPage(page);
    await bot.generate();
    await bot.streams("My dream is");
    const worker = page.workers().find((worker) => worker.url().includes("worker-start"));
    await worker.evaluate(() => setTimeout(() => { throw new Error("for the test"); }));
    await bot.seesAlert(/The engine stopped working/);
    const begun = await bot.drafts();
    assert.ok(begun.some((draft) => draft.length > "My dream is".length), begun.join("\n"));
    await bot.endDraft(1);
    await bot.stop();
    await bot.generateButton.waitFor();
    assert.deepEqual(await bot.drafts(), begun);
    await bot.draftButton("Regenerate", 1).waitFor();
    await page.getByText("Drafts on this device").click();
    assert.ok((await page.locator(".remembered").count()) > 0, "what was stopped is remembered, too");
    await visit.leave();
    slow.close();
  });

  it("says so in the visitor's language, and its last words are marked as English", async () => {
    const visit = await visitor(browser, [server.origin], { locale: "de" });
    const { page } = visit;
    await page.goto(server.origin);
    await page.getByRole("status").filter({ hasText: "bereit" }).waitFor({ timeout: 60_000 });
    const worker = page.workers().find((worker) => worker.url().includes("worker-start"));
    await worker.evaluate(() => setTimeout(() => { throw new Error("for the test"); }));
    const alert = page.getByRole("alert").filter({ hasText: "Die Engine ist ausgefallen" });
    await alert.waitFor();
    assert.match(await alert.locator("[lang=en]").textContent(), /for the test/);
    await page.getByLabel("Sprache").selectOption("fr");
    await page.getByRole("alert").filter({ hasText: "Le moteur s’est arrêté" }).waitFor();
    await visit.leave();
  });

  for (const [what, part] of [
    ["for its script is not to be had", "**/worker-start.js*"],
    ["before it starts", "**/engine/*.wasm"],
  ]) {
    it(what, async () => {
      const visit = await visitor(browser, [server.origin]);
      let broken = true;
      await visit.context.route(part, (route) => (broken ? route.abort() : route.continue()));
      await visit.page.goto(server.origin);
      const bot = new BotPage(visit.page);
      await bot.type("typed before it failed");
      await bot.seesAlert(/The engine could not be downloaded. Check your connection/);
      broken = false;
      await retryWorks(bot);
      await visit.leave();
    });
  }

  for (const part of ["js", "wasm"]) {
    it(`never, where a line broke while the engine's ${part} came, and another try is as good as any`, async () => {
      const visit = await visitor(browser, [server.origin]);
      let broken = 2;
      await visit.context.route(new RegExp(`/engine/[\\w-]+\\.${part}(\\?|$)`), (route) =>
        broken-- > 0 ? route.abort() : route.continue(),
      );
      await visit.page.goto(server.origin);
      const bot = new BotPage(visit.page);
      await bot.seesStatus(/ready/);
      assert.equal((await bot.alert.textContent()).trim(), "");
      await visit.leave();
    });
  }

  it("and says whether that was for want of a part of the engine", async () => {
    const visit = await visitor(browser, [server.origin]);
    let answer;
    await visit.context.route("**/engine/*.wasm", (route) => answer(route));
    await visit.page.goto(`${server.origin}/engine.html`);
    const died = () =>
      visit.page.evaluate(
        () =>
          new Promise((go) => {
            const worker = new Worker("./worker-start.js", { type: "module" });
            worker.onmessage = ({ data }) => {
              if (data?.died !== undefined) go(data);
            };
            worker.postMessage({ options: "simd=plain&memory=single" });
          }),
      );
    answer = (route) => route.fulfill({ status: 503 });
    assert.deepEqual(await died(), {
      died: "/engine/plain-single_bg.wasm could not be fetched: the site answered 503",
      fetching: true,
    });
    answer = (route) => route.fulfill({ contentType: "application/wasm", body: "no engine" });
    const { died: reason, fetching } = await died();
    assert.match(reason, /WebAssembly/);
    assert.equal(fetching, false);
    await visit.leave();
  });

  it("without a word", async () => {
    const { bot, leave, page } = await open({});
    await bot.seesStatus(/ready/);
    const [worker] = page.workers();
    await worker.evaluate(() => self.close()).catch(() => {});
    await bot.seesAlert(/no longer responds/, 60_000);
    await retryWorks(bot);
    await leave();
  });
});

describe("a request that cannot be carried out", () => {
  it("is said, and the engine stays", async () => {
    const { bot, leave } = await open({});
    await bot.seesStatus(/ready/);
    await bot.type("fog ".repeat(600));
    await bot.generate();
    await bot.seesAlert(/tokens long.*shorten it/);
    await bot.type("short");
    await bot.generate();
    assert.ok((await bot.finishes()).every((draft) => draft.startsWith("short")));
    await leave();
  });
});
