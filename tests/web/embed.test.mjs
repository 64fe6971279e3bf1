// The widget on a page of another origin: as an iframe, a module and a classic script.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { launch, launchFirefox, out, secondOrigin, serve, smallBundle, visitor } from "./harness.mjs";

let server, browser, blog;

before(async () => {
  server = await serve(await smallBundle());
  browser = await launch();
  const page = (body) => `<!doctype html><html lang="en"><title>A blog</title><link rel="icon" href="data:,"><h1>A blog</h1>${body}</html>`;
  const element = '<tweet-bot prompt="I never" seed="4"></tweet-bot>';
  blog = await secondOrigin({
    pages: {
      "/iframe": page(`<iframe title="bot" src="${server.origin}/embed.html?prompt=I%20never" style="width:100%;height:800px"></iframe>
        <script>onmessage = ({ data }) => data.type === "huggingtweets:resize" && (document.querySelector("iframe").style.height = data.height + "px")</script>`),
      "/options": page(`<iframe title="bot" src="${server.origin}/embed.html?prompt=Ich%20bin&drafts=2&theme=dark&lang=de&lazy&model=${encodeURIComponent(server.origin)}/bot/" style="width:100%;height:800px"></iframe>`),
      "/module": page(`${element}<script type="module" src="${server.origin}/tweet-bot.js"></script>`),
      "/classic": page(`<script src="${server.origin}/tweet-bot.js"></script>${element}`),
      "/imported": page(`${element}<script type="module">import "${server.origin}/tweet-bot.js";</script>`),
      "/named": page(`<tweet-bot model="${server.origin}/bot/" precision="q4_0"></tweet-bot><script async src="${server.origin}/tweet-bot.js"></script>`),
    },
  });
});

after(async () => {
  await browser?.close();
  server?.close();
  blog?.close();
});

async function open(path, options = {}) {
  const visit = await visitor(browser, [server.origin, blog.origin], options);
  await visit.page.goto(blog.origin + path);
  const framed = ["/iframe", "/options"].includes(path);
  return { ...visit, bot: new BotPage(framed ? visit.page.frameLocator("iframe") : visit.page) };
}

describe("the widget on another origin", () => {
  for (const [path, start] of [["/iframe", "I never"], ["/module", "I never"], ["/classic", "I never"], ["/imported", "I never"], ["/named", "My dream is"]]) {
    it(`writes five drafts: ${path}`, async () => {
      const { bot, complaints, foreign, leave } = await open(path);
      await bot.generate();
      const drafts = await bot.finishes();
      assert.equal(drafts.length, 5);
      assert.ok(drafts.every((draft) => draft.startsWith(start)), drafts.join("\n"));
      assert.deepEqual(complaints, []);
      assert.deepEqual(foreign, []);
      const own = new URL(await bot.scope.getByRole("link", { name: "Open on its own page" }).getAttribute("href"));
      assert.equal(own.origin + own.pathname, `${server.origin}/`);
      assert.equal(own.searchParams.get("prompt"), path === "/named" ? null : start, "the page begins as the element did");
      await leave();
    });
  }

  it("writes five drafts in an iframe in Firefox", async () => {
    const firefox = await launchFirefox();
    try {
      const page = await firefox.newPage();
      await page.goto(`${blog.origin}/iframe`);
      const frame = page.frames().find((frame) => frame.url().includes("embed.html"));
      const drafts = await frame.evaluate(() => document.querySelector("tweet-bot").generate());
      assert.equal(drafts.length, 5);
      assert.ok(drafts.every((draft) => draft.startsWith("I never")), drafts.join("\n"));
    } finally {
      await firefox.close();
    }
  });

  it("is an iframe as tall as its content", async () => {
    const { page, bot, leave } = await open("/iframe", { viewport: { width: 360, height: 740 } });
    await bot.generate();
    await bot.finishes();
    await page.waitForFunction(() => document.querySelector("iframe").getBoundingClientRect().height > 900);
    const frame = page.frames().find((f) => f.url().includes("embed.html"));
    const [inner, shown] = await frame.evaluate(() => [document.documentElement.scrollHeight, window.innerHeight]);
    assert.ok(inner <= shown + 1, `${inner} px of content in ${shown}`);
    assert.ok(await frame.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await page.screenshot({ path: join(out, "widget-phone.png"), fullPage: true });
    await leave();
  });

  it("takes the element's options in the iframe's address", async () => {
    const { page, leave } = await open("/options");
    const frame = page.frames().find((f) => f.url().includes("embed.html"));
    await frame.getByRole("button", { name: "Tweets erzeugen" }).click();
    await frame.getByRole("status").filter({ hasText: /tokens\/s/ }).waitFor({ timeout: 60_000 });
    const drafts = await frame.getByTestId("draft-text").allTextContents();
    assert.equal(drafts.length, 2);
    assert.ok(drafts.every((draft) => draft.startsWith("Ich bin")), drafts.join("\n"));
    const [lang, scheme, title] = await frame.evaluate(() => [
      document.documentElement.lang,
      getComputedStyle(document.querySelector("tweet-bot")).colorScheme,
      document.title,
    ]);
    assert.deepEqual([lang, scheme], ["de", "dark"]);
    assert.notEqual(title, "huggingtweets", "the document is named after the bot");
    await page.screenshot({ path: join(out, "widget-dark.png") });
    await leave();
  });
});
