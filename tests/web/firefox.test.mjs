// The page in Firefox: what a visitor does with drafts, languages, themes, keyboard and screen
// readers. Downloads, threads, tabs, offline use and the widget have their Firefox tests beside
// Chromium's.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { freshContext, holds, press, until, write } from "./any-browser.mjs";
import { AXE_TAGS, commandDrafts, dist, launchFirefox, serve, smallBundle } from "./harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const words = (code) => JSON.parse(readFileSync(join(dist, `words/${code}.json`)));

let bundle, server, browser, context, page;

before(async () => {
  bundle = await smallBundle();
  server = await serve(bundle);
  browser = await launchFirefox();
});

after(async () => {
  await browser?.close();
  server?.close();
});

afterEach(() => context?.close());

/** Opens a path as a fresh visitor with one thread; threads.test.mjs tests more. */
async function open(path = "/?seed=5") {
  context = await freshContext(browser);
  page = await context.newPage();
  const url = new URL(path, server.origin);
  url.searchParams.set("threads", 1);
  await page.goto(url.href);
  return page;
}

async function written(path) {
  await open(path);
  return (await write(page)).drafts;
}

/** Clicks a button by its accessible name. */
const button = (name) =>
  page.evaluate((name) => document.querySelector(`button[aria-label="${name}"], summary[aria-label="${name}"]`).click(), name);

const seesText = (text) =>
  holds(page, (text) => document.body?.innerText.includes(text), text);

const choose = (label, value) =>
  page.evaluate((label, value) => {
    const select = document.querySelector(`select[aria-label="${label}"]`)
      ?? [...document.querySelectorAll("label")].find((l) => l.textContent.trim() === label).control;
    select.value = value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  }, label, value);

describe("drafts", () => {
  it("are the command's, one is written again, goes on, and stays when pinned", async () => {
    const first = await written("/?seed=21");
    assert.deepEqual(first, await commandDrafts(bundle, { prompt: "My dream is", seed: 21 }));
    await button("Regenerate draft 2");
    const again = (await until(page, { status: /tokens\/s/ })).drafts;
    assert.notEqual(again[1], first[1]);
    assert.deepEqual(again.toSpliced(1, 1), first.toSpliced(1, 1), "the others stay");
    await button("Continue draft 3");
    const further = (await until(page, { status: /tokens\/s/ })).drafts;
    assert.ok(further[2].startsWith(first[2]) && further[2].length > first[2].length, further[2]);
    await button("Pin draft 2");
    await press(page, "Generate tweets");
    const last = (await until(page, { status: /tokens\/s/ })).drafts;
    assert.equal(last[1], again[1]);
    assert.equal(last[0], first[0], "the seed gives the others what they were");
  });

  it("are written again by a link, with their settings", async () => {
    await open("/");
    await until(page, { status: /ready/ });
    await page.evaluate(() => {
      Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => (window.copied = text) } });
      [...document.querySelectorAll("input[name=preset]")].at(-1).click();
    });
    const { drafts } = await write(page);
    await button("More draft 4");
    await button("Copy link draft 4");
    await holds(page, () => window.copied);
    const link = await page.evaluate(() => window.copied);
    await context.close();
    await open(link);
    await seesText("This is the draft that was shared, token for token: draft 4.");
    assert.deepEqual((await until(page, { status: /tokens\/s/ })).drafts, drafts);
  });

  it("become pictures", async () => {
    await written();
    await page.evaluate(() => {
      HTMLAnchorElement.prototype.click = function () {
        fetch(this.href)
          .then((response) => response.blob())
          .then(async (blob) => (window.saved = { type: blob.type, width: (await createImageBitmap(blob)).width }));
      };
    });
    await button("More draft 1");
    await button("Save picture draft 1");
    await holds(page, () => window.saved);
    assert.deepEqual(await page.evaluate(() => window.saved), { type: "image/png", width: 1200 });
  });

  it("are remembered, written again, and forgotten", async () => {
    const drafts = await written();
    await page.reload();
    await until(page, { status: /ready/ });
    const kept = await page.evaluate(() => [...document.querySelectorAll(".remembered")].map((entry) => entry.textContent));
    assert.equal(kept.length, 5);
    assert.ok(drafts.every((draft) => kept.some((entry) => entry.startsWith(draft))), `${kept}`);
    await page.evaluate((name) => {
      const link = [...document.querySelectorAll(".remembered a")].find((a) => a.ariaLabel === name);
      // The page that it leads to must also use one thread.
      link.search += "&threads=1";
      link.click();
    }, `Write again: ${drafts[4]}`);
    await seesText("This is the draft that was shared, token for token: draft 5.");
    assert.equal((await until(page, { status: /tokens\/s/ })).drafts[4], drafts[4]);
    await page.evaluate(() => (document.querySelector("details.history").open = true));
    await press(page, "Delete all");
    await seesText("No drafts yet.");
    assert.equal(await page.evaluate(() => localStorage.getItem("huggingtweets.history")), "[]");
  });
});

describe("the interface", () => {
  for (const code of ["es", "fr", "de", "pt", "ja"]) {
    it(`speaks ${code} when that is chosen, and after a reload`, async () => {
      await open();
      await until(page, { status: /ready/ });
      await choose("Language", code);
      await seesText(words(code).Generate);
      await page.reload();
      await seesText(words(code).Generate);
      assert.equal(await page.evaluate(() => document.documentElement.lang), code);
    });
  }

  it("is all there by keyboard", async () => {
    await open();
    await until(page, { status: /ready/ });
    await page.focus("#start");
    await page.keyboard.press("End");
    await page.keyboard.type(" to");
    await page.keyboard.press("Enter");
    const { drafts } = await until(page, { status: /tokens\/s/ });
    assert.ok(drafts.every((draft) => draft.startsWith("My dream is to")), `${drafts}`);
    assert.equal(await page.evaluate(() => document.activeElement.id), "start", "the focus stays");
    await page.focus("#tab-write");
    for (const tab of ["card", "own", "bots", "write"]) {
      await page.keyboard.press("ArrowRight");
      assert.equal(await page.evaluate(() => document.activeElement.id), `tab-${tab}`);
      assert.ok(await page.$eval(`#panel-${tab}`, (panel) => !panel.hidden));
    }
    await page.keyboard.press("ArrowLeft");
    // From another panel, the skip link leads to the prompt.
    await page.focus(".skip");
    await page.keyboard.press("Enter");
    await holds(page, () => document.activeElement.id === "start");
  });

  it("says what is wrong with a number, and leaves it there to be mended", async () => {
    await open();
    await until(page, { status: /ready/ });
    await page.evaluate(() => {
      document.querySelector("details.settings").open = true;
      const field = document.querySelector("#temperature");
      field.value = "1e";
      field.dispatchEvent(new Event("change", { bubbles: true }));
    });
    await press(page, "Generate tweets");
    await until(page, { alert: /temperature\) is “1e”/ });
    assert.deepEqual(await page.$eval("#temperature", (field) => [field.value, field.getAttribute("aria-invalid")]), ["1e", "true"]);
  });

  it("says that a bot is missing, and tries again", async () => {
    await open("/?model=./nothing/");
    await until(page, { alert: /bot\.json/ });
    await press(page, "Retry");
    await until(page, { alert: /bot\.json/ });
  });
});

describe("axe-core finds nothing", () => {
  const states = {
    "as it opens": () => until(page, { status: /ready/ }),
    "with drafts and all that folds opened": async () => {
      await write(page);
      await button("Pin draft 2");
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = !details.matches(".more"))));
      await button("More draft 5");
    },
    "on its card": async () => {
      await page.click("#tab-card");
      await holds(page, () => document.querySelector("#panel-card .prose h2") !== null);
    },
    "on other bots": async () => {
      await until(page, { status: /ready/ });
      await page.click("#tab-bots");
    },
  };
  for (const theme of ["light", "dark"]) {
    for (const [state, reach] of Object.entries(states)) {
      it(`${state}, ${theme} by the switch`, async () => {
        await open();
        await page.waitForSelector("#tab-card");
        await choose("Colours", theme);
        await reach();
        await page.evaluate(axe);
        const violations = await page.evaluate(async (tags) => {
          const { violations } = await window.axe.run(document, { runOnly: tags });
          return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join("\n")}`);
        }, AXE_TAGS);
        assert.deepEqual(violations, []);
      });
    }
  }
});
