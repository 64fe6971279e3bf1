// The interface's languages.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { dist, launch, serve, smallBundle, visitor } from "./harness.mjs";

let server, browser;

before(async () => {
  server = await serve(await smallBundle());
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

const words = (code) => JSON.parse(readFileSync(join(dist, `words/${code}.json`)));

async function open(locale) {
  const visit = await visitor(browser, [server.origin], { locale });
  await visit.page.goto(server.origin);
  await visit.page.getByRole("status").waitFor();
  return visit;
}

describe("the interface", () => {
  for (const [locale, code] of [["es-MX", "es"], ["fr", "fr"], ["de-AT", "de"], ["pt-BR", "pt"], ["ja-JP", "ja"], ["nl", "en"]]) {
    it(`speaks ${code} to a browser of ${locale}`, async () => {
      const visit = await open(locale);
      const { page } = visit;
      const { Generate, StartLabel, TabOwn } = words(code);
      await page.getByRole("button", { name: Generate, exact: true }).click({ timeout: 60_000 });
      await page.getByRole("button", { name: Generate, exact: true }).waitFor({ timeout: 60_000 });
      await page.getByLabel(StartLabel).waitFor();
      await page.getByRole("tab", { name: TabOwn }).click();
      await page.frameLocator("iframe.check").getByText(words(code).CheckChoose).waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.lang), code);
      assert.deepEqual(visit.complaints, []);
      assert.deepEqual(visit.foreign, []);
      await visit.leave();
    });
  }

  it("is switched at once, without a new page, and stays so", async () => {
    const visit = await open("en");
    const { page } = visit;
    const bot = new BotPage(page);
    await bot.type("typed");
    await page.getByLabel("Language").selectOption("de");
    await page.getByRole("button", { name: words("de").Generate, exact: true }).waitFor();
    assert.equal(await page.locator("#start").inputValue(), "typed");
    await page.reload();
    await page.getByRole("button", { name: words("de").Generate, exact: true }).waitFor();
    assert.deepEqual(visit.complaints, []);
    await visit.leave();
  });

  it("is the language chosen last, whichever comes first", async () => {
    const visit = await open("en");
    const { page } = visit;
    let release;
    const held = new Promise((go) => (release = go));
    await visit.context.route("**/words/de.json", async (route) => {
      await held;
      await route.continue();
    });
    const german = page.waitForResponse("**/words/de.json");
    await page.getByLabel("Language").selectOption("de");
    await page.getByLabel("Language").selectOption("fr");
    await page.getByRole("button", { name: words("fr").Generate, exact: true }).waitFor();
    release();
    await (await german).finished();
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => document.documentElement.lang), "fr");
    await page.getByRole("button", { name: words("fr").Generate, exact: true }).waitFor();
    await visit.leave();
  });

  it("stays as it is, and says so, where a language that is chosen cannot be had", async () => {
    const visit = await open("de");
    const { page } = visit;
    const blocked = (route) => route.abort();
    await visit.context.route("**/words/fr.json", blocked);
    const menu = page.getByLabel(words("de").Language);
    await menu.selectOption("fr");
    await page.getByText(words("de").LanguageFailed).waitFor();
    assert.equal(await menu.inputValue(), "de");
    assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
    await visit.context.unroute("**/words/fr.json", blocked);
    await menu.selectOption("fr");
    await page.getByRole("button", { name: words("fr").Generate, exact: true }).waitFor();
    assert.equal(await page.getByText(words("fr").LanguageFailed).count(), 0);
    await visit.leave();
  });

  it("is English where a language's file cannot be had", async () => {
    const visit = await visitor(browser, [server.origin], { locale: "fr" });
    await visit.context.route("**/words/fr.json", (route) => route.abort());
    await visit.page.goto(server.origin);
    await new BotPage(visit.page).generateButton.waitFor();
    await visit.leave();
  });

  it("says the same in the element, which carries its words along", () => {
    const source = readFileSync(join(dist, "tweet-bot.js"), "utf8");
    const element = new Function(`return ${/const WORDS = (\{[^]*?\n\});/.exec(source)[1]}`)();
    // Keys for which the page has no sentence, or has it with a number in it.
    const own = new Set(["draft", "more", "idle", "turn", "thread", "threads"]);
    for (const [code, spoken] of Object.entries(element)) {
      const page = new Set(Object.values(words(code)));
      for (const [key, sentence] of Object.entries(spoken)) {
        assert.ok(own.has(key) || page.has(sentence), `${code}: the page does not say “${sentence}” (${key})`);
      }
    }
  });
});
