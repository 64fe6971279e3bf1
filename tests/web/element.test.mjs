// <tweet-bot> as seen by the embedding page: what it loads, its events, methods, parts and
// properties, and one engine for several elements; in both browsers.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { freshContext, holds } from "./any-browser.mjs";
import { commandDrafts, launch, launchFirefox, secondOrigin, serve, slowBundle, smallBundle } from "./harness.mjs";

const SEED = "21";
let bundle, server, slow, expected, blog;
const browsers = {};
const body = {};
/** Whether the blog's own bot and engine are out of order. */
let broken;

/** Each custom property: a value, and where it must show. */
const PROPERTIES = {
  accent: ["rgb(1, 0, 0)", ".generate", "backgroundColor"],
  "on-accent": ["rgb(2, 0, 0)", ".generate", "color"],
  background: ["rgb(3, 0, 0)", "section", "backgroundColor"],
  color: ["rgb(4, 0, 0)", "section", "color"],
  muted: ["rgb(5, 0, 0)", ".status", "color"],
  border: ["rgb(6, 0, 0)", "section", "borderTopColor"],
  radius: ["7px", "section", "borderTopLeftRadius"],
  font: ["monospace", "section", "fontFamily"],
  "max-width": ["321px", ":host", "maxWidth"],
};
/** Returns the names that the package's README lists on the line with this beginning. */
function listed(beginning) {
  const readme = readFileSync(fileURLToPath(new URL("../../www/npm/README.md", import.meta.url)), "utf8");
  const line = readme.split("\n").find((line) => line.startsWith(beginning));
  return [...line.matchAll(/`(?:--tweet-bot)?-?([a-z-]+)`/g)].map(([, name]) => name);
}
const PARTS = listed("Parts:");

before(async () => {
  bundle = await smallBundle();
  [server, slow] = [await serve(bundle), await serve(await slowBundle())];
  expected = await commandDrafts(bundle, { prompt: "My dream is", seed: SEED });
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
  const policy =
    `default-src 'none'; script-src ${server.origin} 'unsafe-inline'; frame-src ${server.origin}; img-src data:; style-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'`;
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
    "/styled": `<style>
        tweet-bot { ${Object.entries(PROPERTIES).map(([name, [value]]) => `--tweet-bot-${name}: ${value};`).join(" ")} }
        ${PARTS.map((name) => `tweet-bot::part(${name}) { --seen-${name}: yes }`).join("\n")}
      </style>
      <tweet-bot ${bot} theme="dark" lang="ja"></tweet-bot>`,
    "/strict": `<tweet-bot ${bot}></tweet-bot>`,
    "/typo": `<tweet-bot ${bot} precision="q4"></tweet-bot>`,
    "/foreign": `<tweet-bot lazy model="/foreign/" lang="de" drafts="1"></tweet-bot>`,
    "/broken": `<tweet-bot model="/broken/" prompt="I never"></tweet-bot>`,
    "/no-engine": `<tweet-bot ${bot} host="/broken" lang="de"></tweet-bot>`,
    "/early": `<tweet-bot></tweet-bot><script>Object.assign(document.querySelector("tweet-bot"), { lazy: true, drafts: 2, model: "${server.origin}/bot/" })</script>`,
  });
  const description = JSON.parse(readFileSync(join(bundle, "bot.json")));
  const account = { handle: "a", name: "A", tweets_downloaded: 1, retweets: 0, short_tweets: 0, tweets_kept: 1 };
  const foreign = { ...description, handles: ["a", "b"], accounts: [{ ...account, language: "ja" }] };
  const weights = (_, response) => response.end(readFileSync(join(bundle, "model-q8_0.gguf")));
  blog = await secondOrigin({
    pages: {
      ...Object.fromEntries(Object.keys(body).map((path) => [path, page(path)])),
      "/foreign/bot.json": JSON.stringify(foreign),
      "/foreign/model-q8_0.gguf": weights,
      "/broken/bot.json": (_, response) => (broken ? response.writeHead(404).end() : response.end(JSON.stringify(description))),
      "/broken/model-q8_0.gguf": weights,
      "/broken/engine.html": (request, response) => {
        if (!broken) return response.writeHead(302, { Location: new URL(request.url, server.origin).href.replace("/broken/", "/") }).end();
        response.setHeader("Content-Type", "text/html");
        response.end('<script>parent.postMessage("huggingtweets:failed no WebAssembly", "*")</script>');
      },
    },
  });
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
      /** Paths requested from the widget's site. */
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

    /** What the live region has announced in this generation. */
    const spoken = (page) =>
      page.evaluate(() => [...document.querySelector("tweet-bot").shadowRoot.querySelectorAll("[aria-live] p")].map((p) => p.textContent));

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

    it("is ready once it is lazy no longer, without being used", async () => {
      const { page, fetched, leave } = await open("/lazy");
      await new Promise((later) => setTimeout(later, 500));
      assert.deepEqual(fetched(), ["/tweet-bot.js"]);
      await page.evaluate(() => (document.querySelector("tweet-bot").lazy = false));
      await until(page, /ready/);
      await leave();
    });

    it("tells of drafts, the end and the bot, and gives the command's drafts", async () => {
      const { page, leave } = await open("/one");
      const { drafts, events } = await page.evaluate(async () => {
        const events = [];
        for (const type of ["bot", "draft", "done"]) {
          // On the document, since they bubble.
          document.addEventListener(type, ({ detail }) => events.push({ type, ...detail }));
        }
        const drafts = await document.querySelector("tweet-bot").generate();
        await new Promise((later) => setTimeout(later));
        // As text: Firefox's protocol limits the depth of objects.
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

    it("speaks each whole draft once, and begins anew with the next ones", async () => {
      const { page, leave } = await open("/one");
      for (const count of [3, 1]) {
        const drafts = await page.evaluate((drafts) => document.querySelector("tweet-bot").generate({ drafts }), count);
        const said = await spoken(page);
        assert.deepEqual(said.sort(), drafts.map((text, index) => `Draft ${index + 1}: ${text}`));
      }
      await leave();
    });

    // Firefox's driver does not report a frame's console.
    if (name === "Chromium") it("warns its author of an attribute that cannot be read", async () => {
      const context = await freshContext(browsers[name]);
      const page = await context.newPage();
      const warned = page.waitForEvent("console", (message) => message.type() === "warning" && /precision/.test(message.text()));
      await page.goto(`${blog.origin}/typo`);
      assert.equal((await warned).text(), "The address has precision=q4; precision must be: q8_0, q4_0.");
      await context.close();
    });

    it("copies a draft, says whether it could, and goes back", async () => {
      const { page, leave } = await open("/one");
      const [draft] = await page.evaluate(() => document.querySelector("tweet-bot").generate({ drafts: 1 }));
      for (const [works, answer] of [[true, "Copied"], [false, "Copy the selected text"]]) {
        const said = await page.evaluate(async (works) => {
          // Browsers allow this only after a real user gesture, which a driver's click is not.
          navigator.clipboard.writeText = async (text) => {
            window.copied = text;
            if (!works) throw new Error("refused");
          };
          const copy = document.querySelector("tweet-bot").shadowRoot.querySelector(".copy");
          copy.click();
          await new Promise((later) => setTimeout(later, 200));
          return [window.copied, copy.textContent, copy.getAttribute("aria-label")];
        }, works);
        assert.deepEqual(said, [draft, answer, `${answer}, Draft 1`]);
        assert.equal((await spoken(page)).at(-1), answer);
        await page.waitForFunction(() => document.querySelector("tweet-bot").shadowRoot.querySelector(".copy").textContent === "Copy", { timeout: 10_000 });
      }
      await leave();
    });

    it("generates with Enter, but not with the one that ends a composition", async () => {
      const { page, leave } = await open("/one");
      const taken = await page.evaluate(() => {
        const start = document.querySelector("tweet-bot").shadowRoot.querySelector("textarea");
        // Safari sets only the key code.
        return [{ isComposing: true }, { keyCode: 229 }, { shiftKey: true }, { keyCode: 13 }].map((more) => {
          const press = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...more });
          return !start.dispatchEvent(press);
        });
      });
      assert.deepEqual(taken, [false, false, false, true]);
      assert.deepEqual(await page.evaluate(() => document.querySelector("tweet-bot").generate()), expected);
      await leave();
    });

    it("marks drafts with the bot's language, and all else with the visitor's", async () => {
      const { page, leave } = await open("/foreign");
      const seen = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const root = bot.shadowRoot;
        const text = (part) => root.querySelector(`[part=${part}]`).textContent;
        const seen = [text("label")];
        const drafts = bot.generate();
        // Before anything is known about the bot.
        seen.push(root.querySelector(".text").lang);
        await drafts;
        seen.push(root.querySelector(".text").lang, root.querySelector("[aria-live] span").lang);
        seen.push(root.querySelector(".note").closest("[lang]").lang, text("label"));
        bot.lang = "fr";
        return [...seen, text("label"), text("note"), root.querySelector(".copy").textContent];
      });
      assert.deepEqual(seen, ["KI-BOT", "", "ja", "ja", "de", "KI-CYBORG", "CYBORG IA", "Parodie générée par IA", "Copier"]);
      await leave();
    });

    it("takes properties that were set before its script came", async () => {
      const { page, fetched, leave } = await open("/early");
      await new Promise((later) => setTimeout(later, 500));
      assert.deepEqual(fetched(), ["/tweet-bot.js"], "it is lazy");
      assert.equal((await page.evaluate(() => document.querySelector("tweet-bot").generate())).length, 2);
      assert.equal(await page.evaluate(() => document.querySelector("tweet-bot").getAttribute("model")), `${server.origin}/bot/`);
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
      // They end together, and are announced all the same.
      assert.deepEqual(await spoken(page), written.map((text, index) => `Draft ${index + 1}: ${text}`));
      await leave();
    });

    it("leaves what is written to be copied when its engine ends", async () => {
      const { page, leave } = await open("/slow");
      const copies = () => page.evaluate(() => [...document.querySelector("tweet-bot").shadowRoot.querySelectorAll(".copy")].map((copy) => !copy.hidden));
      const { message, texts } = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const grown = new Promise((go) => bot.addEventListener("draft", ({ detail }) => detail.text.length > 20 && go()));
        const drafts = bot.generate({ drafts: 2 });
        await grown;
        document.querySelector("html > iframe").remove();
        return { message: await drafts.catch((error) => error.message), texts: bot.texts };
      });
      assert.match(message, /this page removed or moved it/);
      assert.ok(texts.every((text) => text.startsWith("My dream is")), texts);
      assert.deepEqual(await copies(), [true, true]);
      await leave();
    });

    it("is ready, and has timed nothing, where it was stopped before there was an engine", async () => {
      const { page, leave } = await open("/lazy");
      const drafts = await page.evaluate(() => {
        const bot = document.querySelector("tweet-bot");
        const drafts = bot.generate();
        bot.stop();
        return drafts;
      });
      assert.deepEqual(drafts, Array(5).fill("My dream is"));
      await until(page, /^SIMD, 1 thread, ready$/);
      await leave();
    });

    it("shares one engine among those with the same bot, and lets it go", async () => {
      const { page, fetched, leave } = await open("/three");
      const drafts = await page.evaluate(() =>
        Promise.all([...document.querySelectorAll("tweet-bot:not([lazy])")].map((bot) => bot.generate())),
      );
      assert.deepEqual(drafts.map((texts) => texts.length), [1, 2, 3]);
      // Each draft has its own random stream: one alone equals the first of three.
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

    if (name === "Chromium") it("leaves no port behind in an engine that others still use", async () => {
      const { page, leave } = await open("/lazy");
      await page.addInitScript(() => {
        const { close } = MessagePort.prototype;
        window.closedPorts = 0;
        MessagePort.prototype.close = function () {
          window.closedPorts++;
          close.call(this);
        };
      });
      await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const other = bot.cloneNode();
        document.body.append(other);
        await Promise.all([bot.generate(), other.generate()]);
        bot.remove();
      });
      const [engine] = page.frames().filter((frame) => frame.url().includes("/engine.html"));
      await holds(engine, () => window.closedPorts === 1);
      // The other's port is open.
      const drafts = await page.evaluate(() => document.querySelector("tweet-bot").generate());
      assert.deepEqual(drafts, expected);
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
      const refusal = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        await bot.generate({ seed: "many" }).catch(() => {});
        return bot.shadowRoot.querySelector("[role=alert]").innerText;
      });
      assert.match(refusal, /^These settings cannot be used\.\n+“many” is not a seed/);
      await leave();
    });

    /** Waits for a failure, fixes its cause while the error is shown, and presses Retry. */
    async function triesAgain(page, { drafts, prompt }) {
      await page.waitForFunction(() => !document.querySelector("tweet-bot").shadowRoot.querySelector(".retry").hidden, { timeout: 60_000 });
      // Retry starts the failed generation again, with its options.
      await page.evaluate((options) => document.querySelector("tweet-bot").generate(options).catch(() => {}), { drafts, seed: SEED, prompt });
      const alert = await page.evaluate(() => {
        const [heading, english] = document.querySelector("tweet-bot").shadowRoot.querySelector("[role=alert]").children;
        return [heading.textContent, english.textContent, english.lang];
      });
      broken = false;
      const written = await page.evaluate(async () => {
        const bot = document.querySelector("tweet-bot");
        const root = bot.shadowRoot;
        const retry = root.querySelector(".retry");
        retry.focus();
        const done = new Promise((go) => bot.addEventListener("done", ({ detail }) => go(detail.drafts)));
        retry.click();
        const focused = root.activeElement.className;
        const drafts = await done;
        return { drafts, focused, alert: root.querySelector("[role=alert]").textContent, hidden: retry.hidden };
      });
      const mended = await commandDrafts(bundle, { prompt, seed: SEED });
      assert.deepEqual(written, { drafts: mended.slice(0, drafts), focused: "stop", alert: "", hidden: true });
      return alert;
    }

    it("tries again when Retry is pressed: a bot that was not there", async () => {
      broken = true;
      const { page, leave } = await open("/broken");
      const [heading, english, lang] = await triesAgain(page, { drafts: 2, prompt: "I never" });
      assert.deepEqual([heading, lang], ["The engine is not running", "en"]);
      assert.match(english, /broken\/bot\.json could not be fetched: the site answered 404/);
      await leave();
    });

    it("tries again when Retry is pressed: an engine that was not there, and then is elsewhere", async () => {
      broken = true;
      const { page, leave } = await open("/no-engine");
      const alert = await triesAgain(page, { drafts: 1, prompt: "My dream is" });
      assert.deepEqual(alert, ["Die Engine läuft nicht", `${blog.origin}/broken/engine.html: no WebAssembly`, "en"]);
      // Another host may have only this page.
      const own = await page.evaluate(() => document.querySelector("tweet-bot").shadowRoot.querySelector("[part=colophon] a").href);
      assert.ok(own.startsWith(`${blog.origin}/broken/embed.html?`), own);
      await leave();
    });

    it("is dressed by parts and properties, in a theme and a language", async () => {
      assert.deepEqual(listed("Custom properties:"), Object.keys(PROPERTIES));
      const { page, leave } = await open("/styled");
      await page.evaluate(() => document.querySelector("tweet-bot").generate());
      const seen = await page.evaluate((properties) => {
        const root = document.querySelector("tweet-bot").shadowRoot;
        const style = (selector) => getComputedStyle(selector === ":host" ? root.host : root.querySelector(selector));
        const parts = [...root.querySelectorAll("[part]")].flatMap((element) => {
          const dressed = (name) => getComputedStyle(element).getPropertyValue(`--seen-${name}`).trim() === "yes";
          return [...element.part].map((name) => [name, dressed(name)]);
        });
        return {
          properties: Object.entries(properties).map(([name, [, selector, property]]) => [name, style(selector)[property]]),
          parts: Object.fromEntries(parts),
          scheme: style(":host").colorScheme,
          label: root.querySelector(".generate").textContent,
        };
      }, PROPERTIES);
      assert.deepEqual(seen.properties, Object.entries(PROPERTIES).map(([name, [value]]) => [name, value]));
      assert.deepEqual(seen.parts, Object.fromEntries(PARTS.map((name) => [name, true])));
      assert.deepEqual([seen.scheme, seen.label], ["dark", "ツイートを生成"]);
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
