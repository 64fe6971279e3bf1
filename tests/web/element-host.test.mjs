// <tweet-bot> on unfavourable pages: their policies, DOM changes and styles, and browsers of early
// 2023; in both browsers.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { freshContext } from "./any-browser.mjs";
import { commandDrafts, launch, launchFirefox, secondOrigin, serve, slowBundle, smallBundle } from "./harness.mjs";

const SEED = "21";
let server, slow, expected, blog;
const browsers = {};

/** Headers sent with each page. */
const HEADERS = {
  "/forbidden": { "Content-Security-Policy": "frame-src 'self'" },
  "/reported": { "Content-Security-Policy-Report-Only": "frame-src 'self'" },
  "/isolated": { "Cross-Origin-Embedder-Policy": "require-corp" },
};

before(async () => {
  const bundle = await smallBundle();
  [server, slow] = [await serve(bundle), await serve(await slowBundle())];
  expected = await commandDrafts(bundle, { prompt: "My dream is", seed: SEED });
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
  const bot = `model="${server.origin}/bot/" seed="${SEED}"`;
  const element = `<tweet-bot ${bot}></tweet-bot>`;
  const bodies = {
    "/one": element,
    "/slow": `<tweet-bot model="${slow.origin}/bot/" backend="scalar" seed="1"></tweet-bot>`,
    "/forbidden": element,
    "/reported": element,
    // An engine's document without headers, as plain hosts send it; long timeouts are shortened.
    "/isolated": `<script>{ const later = setTimeout; window.setTimeout = (task, ms) => later(task, ms < 60_000 ? ms : 300); }</script>
      <tweet-bot ${bot} host="/mute"></tweet-bot>`,
    "/shown": `<style>iframe { display: block; width: 50px; height: 50px }</style>${element}`,
    "/insisted": `<style>iframe { display: block !important; width: 50px; height: 50px }</style>${element}`,
    "/headline": `<tweet-bot lazy ${bot}></tweet-bot><div style="text-transform: uppercase; letter-spacing: 9px; word-spacing: 9px; word-break: break-all; text-align: right;
        text-indent: 9px; text-shadow: 1px 1px red; white-space: nowrap">
      <tweet-bot lazy ${bot}></tweet-bot></div>`,
    "/shortcuts": `<script>
        window.shortcuts = [];
        for (const type of ["keydown", "keypress", "keyup"]) {
          addEventListener(type, ({ key, target }) => target.tagName === "TEXTAREA" || shortcuts.push(type + " " + key));
        }
      </script><tweet-bot lazy ${bot}></tweet-bot>`,
    "/lost": `<tweet-bot lazy ${bot} host="https://"></tweet-bot>`,
    "/old": `<script>delete URL.canParse; delete Element.prototype.ariaLabel; CSS.supports = () => false;</script>
      <tweet-bot lazy theme="dark" model="bot/" seed="${SEED}"></tweet-bot><tweet-bot lazy theme="light"></tweet-bot><tweet-bot lazy></tweet-bot>`,
  };
  const page = (path) => (_, response) => {
    for (const [name, value] of Object.entries(HEADERS[path] ?? {})) response.setHeader(name, value);
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(`<!doctype html><html lang="en"><title>A blog</title><link rel="icon" href="data:,">
      ${bodies[path]}<script type="module" src="${server.origin}/tweet-bot.js"></script></html>`);
  };
  const pages = Object.fromEntries(Object.keys(bodies).map((path) => [path, page(path)]));
  blog = await secondOrigin({ pages: { ...pages, "/mute/engine.html": "<!doctype html><title>An engine</title>" } });
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  for (const site of [server, slow, blog]) site?.close();
});

for (const name of ["Chromium", "Firefox"]) {
  describe(`<tweet-bot> in ${name}`, () => {
    async function open(path) {
      const context = await freshContext(browsers[name]);
      const page = await context.newPage();
      await page.goto(blog.origin + path);
      await page.evaluate(() => customElements.whenDefined("tweet-bot"));
      return { page, leave: () => context.close() };
    }

    /** Runs a generation, applies `spoil` in the middle of it, and runs another; returns the first's error. */
    async function twice(page, spoil) {
      const outcome = await page.evaluate(async (spoil) => {
        const bot = document.querySelector("tweet-bot");
        const grown = new Promise((go) => bot.addEventListener("draft", ({ detail }) => detail.text.length > 20 && go()));
        const first = bot.generate().then(() => "written", (error) => error.message);
        await grown;
        const frame = document.querySelector("iframe");
        ({ remove: () => frame.remove(), move: () => document.body.append(frame), reload: () => (frame.src = frame.src) })[spoil]();
        const said = await first;
        const alert = bot.shadowRoot.querySelector("[role=alert]").innerText;
        const again = bot.generate();
        // Waiting for all of it would take long.
        await new Promise((go) => bot.addEventListener("draft", ({ detail }) => detail.text.length > 20 && go()));
        bot.stop();
        return { said, alert, again: (await again).length, frames: document.querySelectorAll("iframe").length };
      }, spoil);
      assert.match(outcome.alert, /^The engine is not running\n+http.*\/engine\.html: /);
      assert.ok(outcome.alert.endsWith(outcome.said), outcome.alert);
      assert.deepEqual([outcome.again, outcome.frames], [5, 1]);
      return outcome.said;
    }

    it("starts another engine where the page removed the first", async () => {
      const { page, leave } = await open("/slow");
      assert.match(await twice(page, "remove"), /\/engine\.html: this page removed or moved it; press Retry to start it again$/);
      await leave();
    });

    it("starts another engine where the page moved the first, which loads it anew", async () => {
      const { page, leave } = await open("/slow");
      assert.match(await twice(page, "move"), /\/engine\.html: this page removed or moved it; press Retry to start it again$/);
      await leave();
    });

    it("starts another engine where the first was loaded anew", async () => {
      const { page, leave } = await open("/slow");
      assert.match(await twice(page, "reload"), /\/engine\.html: it was reloaded, and unfinished drafts are lost; press Retry to start it again$/);
      await leave();
    });

    it("needs no second try where the frame has only just gone, and was not needed", async () => {
      const { page, leave } = await open("/one");
      const written = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const first = await bot.generate();
        document.querySelector("iframe").remove();
        const second = await bot.generate();
        return [first, second, bot.shadowRoot.querySelector("[role=alert]").textContent];
      });
      assert.deepEqual(written, [expected, expected, ""]);
      await leave();
    });

    it("keeps its engine where the page replaces its body", async () => {
      const { page, leave } = await open("/one");
      const written = await page.evaluate(async () => {
        const old = document.querySelector("tweet-bot");
        const first = await old.generate();
        const frame = document.querySelector("iframe");
        const body = document.createElement("body");
        body.append(old.cloneNode());
        document.body.replaceWith(body);
        const second = await document.querySelector("tweet-bot").generate();
        return [first, second, [...document.querySelectorAll("iframe")].map((each) => each === frame)];
      });
      assert.deepEqual(written, [expected, expected, [true]]);
      await leave();
    });

    /** Runs a generation that fails; returns its error, and what the element shows. */
    const refusal = (page) =>
      page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const began = performance.now();
        const message = await bot.generate().then(() => "written", (error) => error.message);
        const [heading, english] = bot.shadowRoot.querySelector("[role=alert]").children;
        return { message, heading: heading.textContent, english: english.textContent, took: performance.now() - began };
      });

    for (const path of ["/shown", "/insisted"]) {
      it(`shows nothing of its engine, whatever style the page has for frames: ${path}`, async () => {
        const { page, leave } = await open(path);
        assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").generate()), expected);
        const seen = await page.evaluate(() => {
          const frame = document.querySelector("iframe");
          return [frame.getClientRects().length, frame.parentNode === document.documentElement];
        });
        assert.deepEqual(seen, [0, true]);
        await leave();
      });
    }

    it("writes as it does elsewhere in a headline or a navigation bar", async () => {
      const { page, leave } = await open("/headline");
      const [plain, within] = await page.evaluate(() =>
        [...document.querySelectorAll("tweet-bot")].map((bot) => {
          bot.generate();
          const style = getComputedStyle(bot.shadowRoot.querySelector(".text"));
          const { textTransform, letterSpacing, wordSpacing, wordBreak, textAlign, textIndent, textShadow, whiteSpace } = style;
          return { textTransform, letterSpacing, wordSpacing, wordBreak, textAlign, textIndent, textShadow, whiteSpace };
        }),
      );
      assert.deepEqual(within, plain);
      await leave();
    });

    it("keeps what is typed from the page's keyboard shortcuts, and nothing else", async () => {
      const { page, leave } = await open("/shortcuts");
      await page.evaluate(() => {
        const start = document.querySelector("tweet-bot").shadowRoot.querySelector("textarea");
        start.focus();
        start.select();
      });
      for (const key of ["n", "?", " ", "Escape"]) await page.keyboard.press(key);
      const typed = await page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector("textarea").value);
      assert.equal(typed, "n? ");
      assert.deepEqual(await page.evaluate(() => window.shortcuts), ["keydown Escape", "keyup Escape"]);
      await leave();
    });

    it("says that its host is no address, and takes the one that is set then", async () => {
      const { page, leave } = await open("/lost");
      const { message, heading, english } = await refusal(page);
      assert.equal(message, 'host="https://" is not an address: it must be that of the folder with engine.html');
      assert.deepEqual([heading, english], ["The engine is not running", message]);
      const written = await page.evaluate((host) => {
        const bot = document.querySelector("tweet-bot");
        bot.host = host;
        return bot.generate();
      }, server.origin);
      assert.deepEqual(written, expected);
      await leave();
    });

    it("says at once that the page's policy forbids its frame, and what would allow it", async () => {
      const { page, leave } = await open("/forbidden");
      const { message, heading, english, took } = await refusal(page);
      assert.equal(
        message,
        `${server.origin}/engine.html: this page's Content-Security-Policy blocks it; frame-src must allow ${server.origin}`,
      );
      assert.deepEqual([heading, english], ["The engine is not running", message]);
      assert.ok(took < 20_000, `${took} ms`);
      await leave();
    });

    it("writes where the policy only reports", async () => {
      const { page, leave } = await open("/reported");
      assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").generate()), expected);
      await leave();
    });

    it("names the policies that may keep an engine silent", async () => {
      const { page, leave } = await open("/isolated");
      const { message } = await refusal(page);
      assert.match(message, /\/mute\/engine\.html: no answer in \d+ s; perhaps .*Content-Security-Policy \(frame-src\).*Cross-Origin-Embedder-Policy/);
      await leave();
    });

    it("has its colours, names and addresses in a browser of early 2023", async () => {
      const { page, leave } = await open("/old");
      const seen = await page.evaluate(() =>
        [...document.querySelectorAll("tweet-bot")].map((bot) => {
          const style = getComputedStyle(bot.shadowRoot.querySelector("section"));
          return [style.backgroundColor, style.color];
        }),
      );
      const [dark, light] = [["rgb(18, 24, 31)", "rgb(232, 237, 242)"], ["rgb(255, 255, 255)", "rgb(20, 24, 29)"]];
      const system = (await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches)) ? dark : light;
      assert.deepEqual(seen, [dark, light, system]);
      const [model, draft] = await page.evaluate(() => {
        const bot = document.querySelector("tweet-bot");
        const { href } = bot.shadowRoot.querySelector("[part=colophon] a");
        bot.generate();
        return [new URL(href).searchParams.get("model"), bot.shadowRoot.querySelector("article").getAttribute("aria-label")];
      });
      assert.deepEqual([model, draft], [`${blog.origin}/bot/`, "Draft 1"]);
      await leave();
    });
  });
}
