// <tweet-bot> for the page around it: what it costs, its events, methods,
// parts and properties, and one engine for many; in both browsers.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { freshContext } from "./any-browser.mjs";
import { commandDrafts, launch, launchFirefox, secondOrigin, serve, slowBundle, smallBundle } from "./harness.mjs";

const SEED = "21";
let bundle, server, slow, expected, blog;
const browsers = {};
const body = {};

before(async () => {
  bundle = await smallBundle();
  [server, slow] = [await serve(bundle), await serve(await slowBundle())];
  expected = await commandDrafts(bundle, { prompt: "My dream is", seed: SEED });
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
  const policy =
    `default-src 'none'; script-src ${server.origin} 'unsafe-inline'; frame-src ${server.origin}; img-src data:; style-src 'none'`;
  const page = (path) => (_, response) => {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    if (path === "/strict") response.setHeader("Content-Security-Policy", policy);
    response.end(`<!doctype html><html lang="en"><title>A blog</title><link rel="icon" href="data:,">
      <script>addEventListener("error", (e) => (window.problems ??= []).push(e.message))</script>
      ${body[path]}<script type="module" src="${server.origin}/tweet-bot.js"></script></html>`);
  };
  const bot = `model="${server.origin}/bot/" seed="${SEED}"`;
  Object.assign(body, {
    "/one": `<tweet-bot ${bot}></tweet-bot>`,
    "/below": `<p style="height:5000px">a long read</p><tweet-bot ${bot}></tweet-bot>`,
    "/lazy": `<tweet-bot lazy ${bot}></tweet-bot>`,
    "/three": `<tweet-bot ${bot} drafts="1"></tweet-bot><tweet-bot ${bot} drafts="2"></tweet-bot><tweet-bot ${bot} drafts="3"></tweet-bot>
      <tweet-bot model="${server.origin}/bot/" precision="q4_0" lazy></tweet-bot>`,
    "/slow": `<tweet-bot model="${slow.origin}/bot/" backend="scalar" seed="1"></tweet-bot>`,
    "/lost": `<tweet-bot model="${server.origin}/nowhere/"></tweet-bot>`,
    "/styled": `<style>tweet-bot { --tweet-bot-background: rgb(1, 2, 3); --tweet-bot-radius: 3px } tweet-bot::part(draft-text) { color: rgb(4, 5, 6) } tweet-bot::part(button) { border-radius: 1px }</style>
      <tweet-bot ${bot} theme="dark" lang="ja"></tweet-bot>`,
    "/strict": `<tweet-bot ${bot}></tweet-bot>`,
  });
  blog = await secondOrigin({ pages: Object.fromEntries(Object.keys(body).map((path) => [path, page(path)])) });
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  for (const site of [server, slow, blog]) site?.close();
});

for (const name of ["Chromium", "Firefox"]) {
  describe(`<tweet-bot> in ${name}`, () => {
    async function open(path, origin = blog.origin) {
      const context = await freshContext(browsers[name]);
      const page = await context.newPage();
      const asked = [];
      page.on("request", (request) => asked.push(new URL(request.url())));
      await page.goto(origin + path);
      await page.evaluate(() => customElements.whenDefined("tweet-bot"));
      /** Paths that were asked of the widget's site. */
      const fetched = () => asked.filter((url) => url.origin === server.origin).map((url) => url.pathname);
      return { page, fetched, leave: () => context.close() };
    }
    const status = (page) => page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector("[role=status]").textContent);
    async function until(page, pattern) {
      const ends = Date.now() + 60_000;
      for (let said; !pattern.test((said = await status(page))); ) {
        assert.ok(Date.now() < ends, `“${said}” is not ${pattern}`);
        await new Promise((later) => setTimeout(later, 50));
      }
    }

    it("costs nothing until it is seen", async () => {
      const { page, fetched, leave } = await open("/below");
      await new Promise((later) => setTimeout(later, 500));
      assert.deepEqual(fetched(), ["/tweet-bot.js"]);
      assert.equal(await status(page), "Writes on your own device");
      await page.evaluate(() => document.querySelector("tweet-bot").scrollIntoView());
      await until(page, /ready/);
      assert.ok((await page.evaluate(() => document.querySelector("iframe").src)).startsWith(`${server.origin}/engine.html?`));
      await leave();
    });

    it("costs nothing until it is used, if it is lazy", async () => {
      const { page, fetched, leave } = await open("/lazy");
      await new Promise((later) => setTimeout(later, 500));
      assert.deepEqual(fetched(), ["/tweet-bot.js"]);
      const drafts = await page.evaluate(() => document.querySelector("tweet-bot").generate());
      assert.deepEqual(drafts, expected);
      await leave();
    });

    it("tells of drafts, the end and the bot, and gives the command's drafts", async () => {
      const { page, leave } = await open("/one");
      const { drafts, events } = await page.evaluate(async () => {
        const events = [];
        for (const type of ["bot", "draft", "done"]) {
          // From the page: they bubble.
          document.addEventListener(type, ({ detail }) => events.push({ type, ...detail }));
        }
        const drafts = await document.querySelector("tweet-bot").generate();
        await new Promise((later) => setTimeout(later));
        // As text: Firefox's protocol gives objects to a certain depth.
        return JSON.stringify({ drafts, events });
      }).then(JSON.parse);
      assert.deepEqual(drafts, expected);
      const done = events.at(-1);
      assert.deepEqual([done.type, done.drafts, done.seed], ["done", expected, SEED]);
      assert.ok(done.tokensPerSecond > 0);
      assert.ok(events.some((event) => event.type === "bot" && event.name && event.handles.length > 0));
      const ended = events.filter((event) => event.type === "draft" && event.done);
      assert.deepEqual(ended.sort((a, b) => a.index - b.index).map((event) => event.text), expected);
      assert.ok(events.filter((event) => event.type === "draft" && !event.done).length > 10, "they stream");
      assert.match(await status(page), /^SIMD, 1 thread, \d+(\.\d)? tokens\/s$/);
      assert.equal(await page.evaluate(() => window.problems), undefined);
      await leave();
    });

    it("takes prompt, drafts and seed from who calls it", async () => {
      const { page, leave } = await open("/one");
      const [first, again, other] = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const options = { prompt: "I never", drafts: 2, seed: 9007199254740993n };
        const first = await bot.generate(options);
        const again = await bot.generate(options);
        return [first, again, await bot.generate({ ...options, seed: 5 })];
      });
      assert.equal(first.length, 2);
      assert.ok(first.every((draft) => draft.startsWith("I never")));
      assert.deepEqual(again, first);
      assert.notDeepEqual(other, first);
      await leave();
    });

    it("stops", async () => {
      const { page, leave } = await open("/slow");
      const { written, later } = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const grown = new Promise((go) => bot.addEventListener("draft", ({ detail }) => detail.text.length > 20 && go()));
        const drafts = bot.generate();
        await grown;
        bot.stop();
        const written = await drafts;
        await new Promise((later) => setTimeout(later, 300));
        return { written, later: bot.texts };
      });
      assert.equal(written.length, 5);
      assert.deepEqual(later, written, "nothing is written after stop");
      await leave();
    });

    it("shares one engine among those with the same bot, and lets it go", async () => {
      const { page, fetched, leave } = await open("/three");
      const drafts = await page.evaluate(() =>
        Promise.all([...document.querySelectorAll("tweet-bot:not([lazy])")].map((bot) => bot.generate())),
      );
      assert.deepEqual(drafts.map((texts) => texts.length), [1, 2, 3]);
      // Drafts have coins of their own: one alone is the first of three.
      assert.deepEqual(drafts[0], expected.slice(0, 1));
      assert.deepEqual(drafts[2], expected.slice(0, 3));
      assert.equal(await page.evaluate(() => document.querySelectorAll("iframe").length), 1);
      if (name === "Chromium") assert.equal(fetched().filter((path) => path.endsWith(".gguf")).length, 1);
      await page.evaluate(() => document.querySelectorAll("tweet-bot")[3].generate());
      assert.equal(await page.evaluate(() => document.querySelectorAll("iframe").length), 2, "another precision is another engine");
      await page.evaluate(() => document.querySelectorAll("tweet-bot").forEach((bot) => bot.remove()));
      const ends = Date.now() + 60_000;
      while (await page.evaluate(() => document.querySelectorAll("iframe").length)) {
        assert.ok(Date.now() < ends, "the engines go with the last element");
        await new Promise((later) => setTimeout(later, 100));
      }
      await leave();
    });

    it("says what went wrong, in an event and on the page, and tries again", async () => {
      const { page, leave } = await open("/lost");
      const detail = await page.evaluate(
        () => new Promise((go) => document.querySelector("tweet-bot").addEventListener("error", (event) => go(event.detail))),
      );
      assert.match(detail.message, /nowhere\/bot\.json could not be fetched: the site answered 404/);
      assert.equal(detail.retryable, true);
      const refused = await page.evaluate(() => document.querySelector("tweet-bot").generate().then(() => null, (error) => error.message));
      assert.match(refused, /404/);
      const drafts = await page.evaluate(async (model) => {
        const bot = document.querySelector("tweet-bot");
        bot.model = model;
        bot.seed = "21";
        return bot.generate();
      }, `${server.origin}/bot/`);
      assert.deepEqual(drafts, expected);
      const alert = await page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector("[role=alert]").textContent);
      assert.equal(alert, "");
      await leave();
    });

    it("is dressed by parts and properties, in a theme and a language", async () => {
      const { page, leave } = await open("/styled");
      await page.evaluate(() => document.querySelector("tweet-bot").generate());
      const seen = await page.evaluate(() => {
        const root = document.querySelector("tweet-bot").shadowRoot;
        const style = (selector) => getComputedStyle(root.querySelector(selector));
        return {
          ground: style("section").backgroundColor,
          round: style("section").borderTopLeftRadius,
          text: style(".text").color,
          button: style(".generate").borderTopLeftRadius,
          scheme: getComputedStyle(root.host).colorScheme,
          label: root.querySelector(".generate").textContent,
        };
      });
      assert.deepEqual(seen, {
        ground: "rgb(1, 2, 3)", round: "3px", text: "rgb(4, 5, 6)", button: "1px", scheme: "dark", label: "ツイートを生成",
      });
      await page.evaluate(() => (document.querySelector("tweet-bot").lang = "fr"));
      assert.equal(await page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector(".generate").textContent), "Générer des tweets");
      await leave();
    });

    it("runs on a page with a strict policy", async () => {
      const { page, leave } = await open("/strict");
      assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").generate()), expected);
      const styled = await page.evaluate(() => getComputedStyle(document.querySelector("tweet-bot").shadowRoot.querySelector("section")).paddingTop);
      assert.equal(styled, "16px");
      await leave();
    });

    it("keeps focus where the hand is", async () => {
      const { page, leave } = await open("/one");
      const focused = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const root = bot.shadowRoot;
        root.querySelector(".generate").focus();
        const seen = [root.activeElement.className];
        const drafts = bot.generate();
        seen.push(root.activeElement.className);
        await drafts;
        seen.push(root.activeElement.className);
        return seen;
      });
      assert.deepEqual(focused, ["generate", "stop", "generate"]);
      await leave();
    });
  });
}
