// What a visitor does with drafts: regenerate, continue, pin, share and keep them.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BotPage, visitBot } from "./bot-page.mjs";
import { botPages, commandDrafts, quietly, secondOrigin, serve, servedBot, slowBundle, visitor } from "./harness.mjs";

const { bundle, server, browser } = await servedBot();

const open = (path, options) => visitBot(browser, server.origin, path, options);

async function written(path, options) {
  const visit = await open(path, options);
  await visit.bot.generate();
  await visit.bot.finishes();
  return visit;
}

describe("one draft of five", () => {
  it("is written again alone, from its own start", async () => {
    const visit = await written("/?seed=5");
    const { bot } = visit;
    const before = await bot.drafts();
    await bot.type("something else");
    await bot.draftButton("Regenerate", 2).click();
    await bot.generateButton.waitFor();
    await bot.seesStatus(/tokens\/s/);
    const now = await bot.drafts();
    assert.notEqual(now[1], before[1]);
    assert.ok(now[1].startsWith("My dream is"), now[1]);
    now[1] = before[1];
    assert.deepEqual(now, before, "the others stay");
    await quietly(visit);
  });

  it("goes on from where it ended, and the focus stays on its card", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    const before = await bot.drafts();
    await bot.draftButton("Continue", 3).focus();
    await page.keyboard.press("Enter");
    await bot.generateButton.waitFor();
    await bot.seesStatus(/tokens\/s/);
    const now = await bot.drafts();
    assert.ok(now[2].startsWith(before[2]) && now[2].length > before[2].length, now[2]);
    const focused = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.equal(focused, "Regenerate draft 3");
    await quietly(visit);
  });

  it("stays where it is pinned, and the seed gives the others what they would have been", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    await bot.draftButton("Pin", 2).click();
    const pinned = (await bot.drafts())[1];
    await bot.openSettings();
    await bot.set("Seed", 6);
    await bot.generate();
    const now = await bot.finishes();
    assert.equal(now[1], pinned);
    const expected = await commandDrafts(bundle, { prompt: "My dream is", seed: 6 });
    expected[1] = pinned;
    assert.deepEqual(now, expected);
    for (const number of [1, 3, 4, 5]) await bot.draftButton("Pin", number).click();
    await bot.generate();
    await bot.seesAlert(/Every draft is pinned/);
    await page.getByRole("button", { name: "Pin draft 4" }).click();
    await bot.generate();
    await bot.finishes();
    assert.equal((await bot.alert.first().textContent()).trim(), "");
    await quietly(visit);
  });

  it("has its weight counted as the platform does", async () => {
    const visit = await written("/?seed=5&prompt=https%3A%2F%2Fexample.com%2Fa%2Flong%2Fpath%20and");
    const [first] = await visit.bot.drafts();
    const rest = first.slice("https://example.com/a/long/path".length);
    assert.match(rest, /^[\x20-\x7e]*$/, "plain letters, one each");
    const expected = `${23 + rest.length} of 280 characters, as the platform counts`;
    await visit.bot.cards.first().getByRole("img", { name: expected }).waitFor();
    await quietly(visit);
  });

  it("is spoken whole, not token by token", async () => {
    const visit = await open("/?seed=5");
    const { bot, page } = visit;
    await bot.seesStatus(/ready/);
    await page.evaluate(() => {
      window.spoken = [];
      const region = document.querySelector("[data-testid=spoken]");
      const note = (changes) => {
        for (const change of changes) for (const node of change.addedNodes) if (node.textContent) window.spoken.push(node.textContent);
      };
      new MutationObserver(note).observe(region, { childList: true, subtree: true, characterData: true });
    });
    await bot.generate();
    const drafts = await bot.finishes();
    const spoken = await page.evaluate(() => window.spoken);
    assert.deepEqual([...spoken].sort(), drafts.map((draft, index) => `Draft ${index + 1}: ${draft}`).sort());
    await quietly(visit);
  });

  it("is spoken in the language of its bot", async () => {
    const description = JSON.parse(readFileSync(join(bundle, "bot.json")));
    const accounts = description.accounts.map((account) => ({ ...account, language: "ja" }));
    const pages = { ...botPages(bundle), "/bot/bot.json": JSON.stringify({ ...description, accounts }) };
    const site = await secondOrigin({ pages });
    const visit = await written(`/?seed=5&model=${site.origin}/bot/`, { origins: [site.origin] });
    const parts = await visit.page.getByTestId("spoken").locator("p").first().evaluate((said) => {
      const draft = said.querySelector("[lang]");
      return [said.closest("[lang]").lang, draft.lang, said.textContent.endsWith(`: ${draft.textContent}`)];
    });
    assert.deepEqual(parts, ["en", "ja", true]);
    await quietly(visit);
    site.close();
  });

  it("stands right where its script runs from right to left", async () => {
    const visit = await written(`/?seed=5&prompt=${encodeURIComponent("שלום עולם")}`);
    const direction = await visit.bot.texts.first().evaluate((text) => getComputedStyle(text).direction);
    assert.equal(direction, "rtl");
    await quietly(visit);
  });
});

describe("Continue", () => {
  it("keeps the focus while it has to wait for the other drafts", async () => {
    const slow = await serve(await slowBundle());
    const visit = await visitor(browser, [slow.origin]);
    const { page } = visit;
    await page.goto(`${slow.origin}/?backend=scalar&seed=3`);
    const bot = new BotPage(page);
    await bot.generate();
    await bot.streams("My dream is", 4);
    await bot.endDraft(1);
    await bot.draftButton("Continue", 1).focus();
    await page.keyboard.press("Enter");
    await page.waitForTimeout(200);
    assert.ok(await bot.stopButton.isVisible(), "the others are still written");
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Continue draft 1");
    await visit.leave();
    slow.close();
  });
});

describe("a link", () => {
  async function linkOf(visit, number) {
    await visit.bot.more(number);
    await visit.bot.draftButton("Copy link", number).click();
    await visit.page.getByTestId("announced").getByText("Copied").waitFor();
    return visit.page.evaluate(() => navigator.clipboard.readText());
  }
  const permissions = ["clipboard-read", "clipboard-write"];

  it("writes the same draft again, and says so", async () => {
    const visit = await written("/", { permissions });
    await visit.bot.openSettings();
    await visit.page.getByRole("radio", { name: "Wild" }).check();
    await visit.bot.generate();
    const drafts = await visit.bot.finishes();
    const link = await linkOf(visit, 4);
    await quietly(visit);
    const other = await visitor(browser, [server.origin]);
    await other.page.goto(link);
    const bot = new BotPage(other.page);
    await other.page.getByText("This is the draft that was shared, token for token: draft 4.").waitFor({ timeout: 60_000 });
    assert.deepEqual(await bot.finishes(), drafts);
    await bot.openSettings();
    assert.ok(await other.page.getByRole("radio", { name: "Wild" }).isChecked());
    await quietly(other);
  });

  it("of a draft that was written again or went on leads to that one", async () => {
    const visit = await written("/?seed=9", { permissions });
    const { bot, page } = visit;
    for (const action of ["Regenerate", "Continue"]) {
      await bot.draftButton(action, 2).click();
      await bot.generateButton.waitFor();
      await bot.seesStatus(/tokens\/s/);
      const expected = (await bot.drafts())[1];
      const link = await linkOf(visit, 2);
      const other = await visitor(browser, [server.origin]);
      await other.page.goto(link);
      await other.page.getByText(/This is the draft that was shared/).waitFor({ timeout: 60_000 });
      const there = new BotPage(other.page);
      assert.equal((await there.finishes())[1], expected, action);
      await quietly(other);
      await page.getByLabel("Copy link draft 2").waitFor({ state: "attached" });
    }
    await quietly(visit);
  });

  it("that the browser does not copy is there to be copied by hand; a draft is marked", async () => {
    const visit = await visitor(browser, [server.origin]);
    const { page } = visit;
    // As on an insecure origin.
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "clipboard", { get: () => undefined }));
    await page.goto(`${server.origin}/?seed=9`);
    const bot = new BotPage(page);
    await bot.generate();
    const drafts = await bot.finishes();
    await bot.draftButton("Copy", 2).click();
    await page.getByTestId("announced").getByText("Copy the selected text").waitFor();
    assert.equal((await page.evaluate(() => String(getSelection()))).trim(), drafts[1].trim());
    await bot.more(2);
    await bot.draftButton("Copy link", 2).click();
    const field = page.getByRole("textbox", { name: "Copy the selected text" });
    await field.waitFor();
    const marked = () => {
      const { readOnly, value, selectionStart, selectionEnd } = document.activeElement;
      return readOnly === true && selectionStart === 0 && selectionEnd === value.length;
    };
    await page.waitForFunction(marked);
    assert.equal(new URL(await field.inputValue()).searchParams.get("draft"), "2");
    await quietly(visit);
  });

  it("that was changed, or leads to another bot, is said", async () => {
    const visit = await written("/?seed=9", { permissions });
    const link = new URL(await linkOf(visit, 1));
    await quietly(visit);
    const follow = async (change, sentence) => {
      const changed = new URL(link);
      change(changed.searchParams);
      const other = await visitor(browser, [server.origin]);
      await other.page.goto(changed.href);
      await other.page.getByText(sentence).waitFor({ timeout: 60_000 });
      await quietly(other);
    };
    await follow((query) => query.set("seed", "10"), /differs from the one that was shared, although bot and engine are the same/);
    await follow((query) => {
      query.set("seed", "10");
      query.set("bot", "0000000000000000");
    }, /has other weights now/);
    await follow((query) => {
      query.set("seed", "10");
      query.set("engine", "0.0.1");
    }, /another version of the engine/);
  });
});

describe("drafts leave the page", () => {
  it("for three networks", async () => {
    const visit = await written("/?seed=5");
    const card = visit.bot.cards.first();
    await visit.bot.more(1);
    for (const [name, origin] of [["Post draft 1", "https://x.com"], ["Post on Mastodon", "https://share.joinmastodon.org"], ["Post on Bluesky", "https://bsky.app"]]) {
      const href = new URL(await card.getByRole("link", { name, exact: true }).getAttribute("href"));
      assert.equal(href.origin, origin);
      const text = href.searchParams.get("text") ?? new URLSearchParams(href.hash.slice(1)).get("text");
      assert.match(text, /an AI bot, wrote:\n\n\[My dream is\]/);
    }
    await quietly(visit);
  });

  it("as a picture", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    await bot.more(1);
    const [download] = await Promise.all([page.waitForEvent("download"), bot.draftButton("Save picture", 1).click()]);
    assert.equal(download.suggestedFilename(), "draft.png");
    const bytes = readFileSync(await download.path());
    assert.deepEqual([...bytes.subarray(1, 4)], [...Buffer.from("PNG")]);
    assert.equal(bytes.readUInt32BE(16), 1200, "twice as wide as the card");
    assert.ok(bytes.length > 10_000, `${bytes.length} bytes`);
    await quietly(visit);
  });
});

describe("this device", () => {
  it("remembers drafts, writes them again, and forgets them", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    const drafts = await bot.drafts();
    await page.reload();
    await bot.seesStatus(/ready/);
    await page.getByText("Drafts on this device").click();
    const history = page.locator(".remembered");
    assert.equal(await history.count(), 5);
    const remembered = await history.allTextContents();
    assert.ok(drafts.every((draft) => remembered.some((entry) => entry.startsWith(draft))));
    await page.getByRole("link", { name: `Write again: ${drafts[4]}` }).click();
    await page.getByText(/This is the draft that was shared/).waitFor({ timeout: 60_000 });
    assert.equal((await bot.finishes())[4], drafts[4]);
    await page.getByText("Drafts on this device").click();
    await page.getByRole("button", { name: `Delete the draft: ${drafts[4]}` }).click();
    assert.equal(await history.count(), 4);
    assert.equal(await page.evaluate(() => document.activeElement.id), "history", "the focus is not lost");
    await page.getByRole("button", { name: "Delete all" }).click();
    await page.getByText("No drafts yet.").waitFor();
    await page.reload();
    assert.equal(await page.evaluate(() => localStorage.getItem("huggingtweets.history")), "[]");
    await quietly(visit);
  });

  it("leaves the focus on its entry when a draft is added above it", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    const [draft] = await bot.drafts();
    await page.getByText("Drafts on this device").click();
    await page.getByRole("button", { name: `Delete the draft: ${draft}` }).focus();
    // As when it is finished while the visitor is in the list.
    await bot.draftButton("Regenerate", 2).evaluate((button) => button.click());
    await page.waitForFunction(() => document.querySelectorAll(".remembered").length === 6);
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), `Delete the draft: ${draft}`);
    await quietly(visit);
  });

  it("keeps what another tab has kept, whether or not this one has heard of it", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    // A page gets no storage event for its own writes, so it has not heard of this one.
    await page.evaluate(() => {
      const elsewhere = { text: "kept by another tab", bot: "Lamp", link: "" };
      const kept = JSON.parse(localStorage.getItem("huggingtweets.history"));
      localStorage.setItem("huggingtweets.history", JSON.stringify([elsewhere, ...kept]));
    });
    await bot.draftButton("Regenerate", 2).click();
    await bot.generateButton.waitFor();
    await bot.seesStatus(/tokens\/s/);
    await page.getByText("Drafts on this device").click();
    await page.getByText("kept by another tab").waitFor();
    assert.equal(await page.locator(".remembered").count(), 7);
    await page.evaluate(() => {
      localStorage.setItem("huggingtweets.history", "[]");
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    });
    await page.getByText("No drafts yet.").waitFor();
    await quietly(visit);
  });

  it("keeps the colours that were chosen, whatever the system's", async () => {
    const visit = await open("/", { colorScheme: "light" });
    const { page, bot } = visit;
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await bot.seesStatus(/ready/);
    const light = await ground();
    await page.getByLabel("Colours").selectOption("dark");
    const dark = await ground();
    assert.notEqual(dark, light);
    await page.reload();
    await bot.seesStatus(/ready/);
    assert.equal(await ground(), dark);
    await page.getByLabel("Colours").selectOption("auto");
    assert.equal(await ground(), light);
    await quietly(visit);
  });

  it("moves nothing where that is asked", async () => {
    const slow = await serve(await slowBundle());
    for (const [reducedMotion, moves] of [["no-preference", true], ["reduce", false]]) {
      const visit = await visitor(browser, [slow.origin], { reducedMotion });
      await visit.page.goto(`${slow.origin}/?backend=scalar`);
      const bot = new BotPage(visit.page);
      await bot.generate();
      await bot.streams("My dream is", 2);
      const moving = () => document.getAnimations().filter((motion) => motion.playState === "running").length;
      assert.equal((await visit.page.evaluate(moving)) > 0, moves, reducedMotion);
      await visit.leave();
    }
    slow.close();
  });

  it("may forbid storage and workers' pictures, and the page still writes", async () => {
    const visit = await visitor(browser, [server.origin]);
    // A worker without OffscreenCanvas.
    await visit.context.route("**/picture-worker.js", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `delete self.OffscreenCanvas;\n${await response.text()}` });
    });
    await visit.page.addInitScript(() => {
      Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("no", "SecurityError"); } });
    });
    await visit.page.goto(server.origin);
    const bot = new BotPage(visit.page);
    await bot.generate();
    assert.equal((await bot.finishes()).length, 5);
    await bot.more(1);
    await bot.draftButton("Save picture", 1).click();
    await visit.page.getByTestId("announced").getByText(/could not draw the picture/).waitFor();
    await visit.leave();
  });
});

describe("a start", () => {
  it("of several lines is written as one", async () => {
    const visit = await open("/?seed=5");
    const { bot, page } = visit;
    await bot.type("My dream");
    await bot.start.press("End");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("is");
    await bot.generate();
    const drafts = await bot.finishes();
    assert.deepEqual(drafts, await commandDrafts(bundle, { prompt: "My dream is", seed: 5 }));
    await quietly(visit);
  });

  it("may be empty, also in a link", async () => {
    const visit = await open("/?prompt=", { permissions: ["clipboard-read", "clipboard-write"] });
    const { bot, page } = visit;
    assert.equal(await bot.start.inputValue(), "");
    await bot.generate();
    const drafts = await bot.finishes();
    await bot.more(2);
    await bot.draftButton("Copy link", 2).click();
    await page.getByTestId("announced").getByText("Copied").waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    await quietly(visit);
    const other = await visitor(browser, [server.origin]);
    await other.page.goto(link);
    await other.page.getByText(/This is the draft that was shared/).waitFor({ timeout: 60_000 });
    assert.deepEqual(await new BotPage(other.page).finishes(), drafts);
    await quietly(other);
  });
});

describe("presets and starts", () => {
  it("fill the fields, say their effect, and go back", async () => {
    const visit = await open();
    const { bot, page } = visit;
    await bot.seesStatus(/ready/);
    await bot.openSettings();
    assert.ok(await page.getByRole("radio", { name: "Classic" }).isChecked());
    await page.getByRole("radio", { name: "Calm" }).check();
    assert.equal(await page.getByLabel("Surprise", { exact: true }).inputValue(), "0.7");
    await page.getByText(/Sticks to likely words/).waitFor();
    await bot.set("Surprise", "0.3");
    assert.equal(await page.getByRole("radio", { checked: true }).count(), 0);
    await page.getByText("Custom settings.").waitFor();
    await page.getByRole("button", { name: "Reset to the original's settings" }).click();
    assert.ok(await page.getByRole("radio", { name: "Classic" }).isChecked());
    await quietly(visit);
  });

  it("may be set with a decimal comma, the only one that phones have in most languages", async () => {
    const visit = await open("/?seed=5", { permissions: ["clipboard-read", "clipboard-write"] });
    const { bot, page } = visit;
    await bot.seesStatus(/ready/);
    await bot.openSettings();
    await bot.set("Surprise", "0,7");
    await bot.generate();
    await bot.finishes();
    assert.equal(await page.getByLabel("Surprise", { exact: true }).inputValue(), "0,7");
    await bot.more(1);
    await bot.draftButton("Copy link", 1).click();
    await page.getByTestId("announced").getByText("Copied").waitFor();
    const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    assert.equal(link.searchParams.get("temperature"), "0.7");
    await quietly(visit);
  });

  it("suggest a start", async () => {
    const visit = await open();
    await visit.page.getByRole("button", { name: "People ask me" }).click();
    assert.equal(await visit.bot.start.inputValue(), "People ask me");
    await quietly(visit);
  });
});

describe("a Retry", () => {
  it("keeps what is typed and the drafts that were there", async () => {
    const visit = await written("/?seed=5");
    const { bot, page } = visit;
    const drafts = await bot.drafts();
    await bot.type("typed since");
    const [worker] = page.workers();
    await worker.evaluate(() => setTimeout(() => { throw new Error("for the test"); }));
    await bot.seesAlert(/stopped working/);
    await bot.retry();
    await bot.seesStatus(/ready|tokens/);
    assert.equal(await bot.start.inputValue(), "typed since");
    assert.deepEqual(await bot.drafts(), drafts);
    assert.equal(await page.evaluate(() => document.activeElement.id), "generate", "the focus is not lost");
    await visit.leave();
  });
});
