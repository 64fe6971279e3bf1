// Accessibility: axe-core's WCAG 2.2 AA rules in every state of the page, light and dark; and
// operation by keyboard alone.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { AXE_TAGS, botPages, launch, secondOrigin, serve, slowBundle, smallBundle, visitor } from "./harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let server, slow, browser;

before(async () => {
  server = await serve(await smallBundle());
  slow = await serve(await slowBundle());
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
  slow?.close();
});

/** Asserts that page and frames have no violations, except the widget's engine, which is never shown. */
async function clean(page, state) {
  for (const frame of page.frames().filter((frame) => !frame.url().includes("/engine.html"))) {
    await frame.evaluate(axe);
    const { violations } = await frame.evaluate((tags) => window.axe.run(document, { runOnly: tags }), AXE_TAGS);
    const said = violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map(({ html, failureSummary }) => `  ${html.slice(0, 300)}\n  ${failureSummary}`).join("\n")}`);
    assert.deepEqual(said, [], `${state} (${frame.url()})`);
  }
}

const states = {
  "as it opens": async (bot) => bot.seesStatus(/ready/),
  "while drafts are written": async (bot) => {
    await bot.generate();
    await bot.streams("My dream is", 2);
  },
  "with drafts, one pinned, and all that folds opened": async (bot, page) => {
    await bot.generate();
    await bot.finishes();
    await bot.draftButton("Pin", 2).click();
    await bot.openSettings();
    await page.getByText("Drafts on this device").click();
    await page.getByText("How this bot was trained").click();
    await bot.more(5);
  },
  "with an alert": async (bot, page) => {
    await bot.seesStatus(/ready/);
    await bot.openSettings();
    await bot.set("Share of likely words", 7);
    await bot.generate();
    await bot.seesAlert(/top_p/);
  },
  "on its card": async (bot, page) => {
    await bot.tab("What is this?").click();
    await page.getByRole("heading", { name: "Training data" }).waitFor({ timeout: 60_000 });
  },
  "on how to make a bot": async (bot, page) => {
    await bot.tab("Your own bot").click();
    const frame = page.frameLocator("iframe.check");
    await frame.getByText("Choose an archive, or drop one here").waitFor();
    const buffer = Buffer.from("the lamp is lit again\n".repeat(500));
    await frame.locator("#file").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer });
    await frame.getByText(/Just enough/).waitFor({ timeout: 60_000 });
  },
  "on other bots": async (bot, page) => {
    await bot.seesStatus(/ready/);
    await bot.tab("Another bot").click();
    await page.getByLabel("Address of a bot").fill("not one");
    await page.getByLabel("Address of a bot").press("Enter");
    await page.getByText(/neither a web address/).waitFor();
  },
};

for (const colorScheme of ["light", "dark"]) {
  describe(`axe-core finds nothing, ${colorScheme}`, () => {
    for (const [state, reach] of Object.entries(states)) {
      it(state, async () => {
        const origin = state.startsWith("while") ? slow.origin : server.origin;
        const { page, leave } = await visitor(browser, [origin], { colorScheme, reducedMotion: "reduce" });
        await page.goto(`${origin}/?seed=5${state.startsWith("while") ? "&backend=scalar" : ""}`);
        await reach(new BotPage(page), page);
        await clean(page, state);
        await leave();
      });
    }

    it("where the bot is missing", async () => {
      const { page, leave } = await visitor(browser, [server.origin], { colorScheme });
      await page.goto(`${server.origin}/?model=nowhere/`);
      await new BotPage(page).seesAlert(/could not be fetched/);
      await clean(page, "missing");
      await leave();
    });

    it("in the widget", async () => {
      const { page, leave } = await visitor(browser, [server.origin], { colorScheme });
      await page.goto(`${server.origin}/embed.html?seed=5`);
      const bot = new BotPage(page);
      await bot.generate();
      await bot.finishes();
      await clean(page, "widget");
      await leave();
    });

    it("in the element: its poster, its drafts, its failure", async () => {
      const element = (model) => `<tweet-bot lazy seed="5" model="${server.origin}/${model}/"></tweet-bot>`;
      const blog = await secondOrigin({
        pages: {
          "/": `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
            <title>A blog</title><main><h1>A blog</h1>${element("bot")}${element("nowhere")}</main>
            <script src="${server.origin}/tweet-bot.js"></script></html>`,
        },
      });
      const { page, leave } = await visitor(browser, [server.origin, blog.origin], { colorScheme });
      await page.goto(blog.origin);
      await clean(page, "poster");
      await page.evaluate(async () => {
        const [bot, lost] = document.querySelectorAll("tweet-bot");
        await bot.generate();
        await lost.generate().catch(() => {});
      });
      await clean(page, "drafts and a failure");
      await leave();
      blog.close();
    });

    it("where a link's draft is another one, on a phone", async () => {
      const viewport = { width: 360, height: 740 };
      const { page, leave } = await visitor(browser, [server.origin], { colorScheme, viewport });
      await page.goto(`${server.origin}/?seed=5&draft=2&digest=0000000000000000`);
      await page.getByText(/differs from the one that was shared/).waitFor({ timeout: 60_000 });
      await new BotPage(page).finishes();
      await clean(page, "mismatch");
      await leave();
    });
  });
}

describe("a zoom of 400 %", () => {
  it("needs no sideways scrolling and cuts nothing off, whatever a bot is called and says", async () => {
    const address = `https://example.org/${"a-long-way".repeat(12)}`;
    const bundle = await smallBundle();
    const description = { ...JSON.parse(readFileSync(join(bundle, "bot.json"))), name: "Bot".repeat(40), notice: address };
    const site = await secondOrigin({ pages: {
      ...botPages(bundle),
      "/bot/bot.json": JSON.stringify(description),
      "/bot/README.md": `A card with an address: ${address}\n\n## ${"Heading".repeat(20)}\n\n\`${"code".repeat(40)}\`\n`,
    } });
    const viewport = { width: 320, height: 256 };
    const { page, leave } = await visitor(browser, [server.origin, site.origin], { viewport });
    await page.goto(`${server.origin}/?model=${site.origin}/bot/`);
    const bot = new BotPage(page);
    await bot.seesStatus(/ready/);
    const fits = async (state) => {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${state}: ${wide} px too wide`);
      const cut = await page.evaluate(() => {
        const box = (element) => element.getBoundingClientRect();
        const inner = (element) => {
          const range = document.createRange();
          range.selectNodeContents(element);
          return box(range);
        };
        const sheet = box(document.querySelector(".bot"));
        return [".bot-name", ".notice"].filter((name) => inner(document.querySelector(`.bot ${name}`)).right > sheet.right);
      });
      assert.deepEqual(cut, [], state);
    };
    await fits("writing");
    await bot.tab("What is this?").click();
    await page.getByText("A card with an address").waitFor({ timeout: 60_000 });
    await fits("card");
    await bot.tab("Your own bot").click();
    await page.frameLocator("iframe.check").getByText("Choose an archive").waitFor();
    await fits("own");
    await bot.tab("Another bot").click();
    await page.getByRole("button", { name: /^Delete Bot/ }).waitFor();
    await fits("bots");
    await leave();
    site.close();
  });
});

describe("forced colours", () => {
  it("show what is pinned", async () => {
    const { page, leave } = await visitor(browser, [server.origin], { forcedColors: "active" });
    await page.goto(`${server.origin}/?seed=5`);
    const bot = new BotPage(page);
    await bot.generate();
    await bot.finishes();
    await bot.draftButton("Pin", 1).click();
    await page.mouse.move(0, 0);
    const isMarked = (pin) => {
      const probe = document.createElement("span");
      probe.style.cssText = "forced-color-adjust: none; background: Highlight";
      pin.after(probe);
      const marked = getComputedStyle(pin).backgroundColor === getComputedStyle(probe).backgroundColor;
      probe.remove();
      return marked;
    };
    const marked = [1, 2].map((number) => bot.draftButton("Pin", number).evaluate(isMarked));
    assert.deepEqual(await Promise.all(marked), [true, false]);
    await leave();
  });
});

describe("the keyboard alone", () => {
  it("writes, pins, posts and finds every tab, and never loses the focus", async () => {
    const { page, leave } = await visitor(browser, [server.origin]);
    await page.goto(`${server.origin}/?seed=5`);
    const bot = new BotPage(page);
    await bot.seesStatus(/ready/);
    const focused = () => page.evaluate(() => {
      const { id, tagName, textContent, ariaLabel } = document.activeElement;
      return ariaLabel ?? (id || `${tagName} ${textContent.trim().slice(0, 40)}`);
    });
    const go = async (wanted, key = "Tab", most = 60) => {
      const seen = [];
      for (let step = 0; step < most; step++) {
        await page.keyboard.press(key);
        seen.push(await focused());
        if (seen.at(-1) === wanted) return;
      }
      assert.fail(`${wanted} is not among ${seen.join(" | ")}`);
    };
    await page.keyboard.press("Tab");
    assert.match(await focused(), /Skip to the start/);
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "start");
    await page.keyboard.press("Enter");
    await bot.finishes();
    assert.equal(await focused(), "start");
    await go("generate");
    await go("Pin draft 1");
    await page.keyboard.press("Space");
    assert.equal(await bot.draftButton("Pin", 1).getAttribute("aria-pressed"), "true");
    await go("Post draft 1");
    await go("More draft 1");
    await page.keyboard.press("Enter");
    await go("Copy link draft 1");
    await page.keyboard.press("Escape");
    assert.equal(await focused(), "More draft 1", "Escape closes what hangs over the page");
    await go("tab-write", "Shift+Tab");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(), "tab-card");
    await leave();
  });

  it("is shown where it is", async () => {
    const { page, leave } = await visitor(browser, [server.origin]);
    await page.goto(server.origin);
    const bot = new BotPage(page);
    await bot.seesStatus(/ready/);
    await bot.start.focus();
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
    assert.equal(outline, "3px");
    await leave();
  });
});
