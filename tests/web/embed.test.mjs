// The widget on a page of another origin: an iframe, a module, a classic script.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { launch, out, secondOrigin, serve, smallBundle, visitor } from "./harness.mjs";

let server, browser, blog;

before(async () => {
  server = await serve(await smallBundle());
  browser = await launch();
  const page = (body) => `<!doctype html><html lang="en"><title>A blog</title><link rel="icon" href="data:,"><h1>A blog</h1>${body}</html>`;
  const element = '<tweet-bot prompt="I never" seed="4"></tweet-bot>';
  blog = await secondOrigin({
    pages: {
      "/iframe": page(`<iframe title="bot" src="${server.origin}/embed.html?prompt=I%20never" style="width:100%;height:800px"></iframe>`),
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
  return { ...visit, bot: new BotPage(visit.page.frameLocator("iframe")) };
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
      await leave();
    });
  }

  it("is as tall as its content", async () => {
    const { page, bot, leave } = await open("/module", { viewport: { width: 360, height: 740 } });
    await bot.generate();
    await bot.finishes();
    const frame = page.frames().find((f) => f.url().includes("embed.html"));
    await page.waitForFunction((origin) => {
      const inside = document.querySelector("tweet-bot").shadowRoot.querySelector("iframe");
      return inside.src.startsWith(origin) && inside.getBoundingClientRect().height > 900;
    }, server.origin);
    const [inner, shown] = await frame.evaluate(() => [document.documentElement.scrollHeight, window.innerHeight]);
    assert.ok(inner <= shown + 1, `${inner} px of content in ${shown}`);
    assert.ok(await frame.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await page.screenshot({ path: join(out, "widget-phone.png"), fullPage: true });
    await leave();
  });
});
