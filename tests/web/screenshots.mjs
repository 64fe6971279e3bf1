// Takes the README's pictures: `npm run screenshots -- FOLDER`.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BotPage } from "./bot-page.mjs";
import { launch, out, serve, smallBundle, visitor } from "./harness.mjs";

const folder = process.argv[2] ?? out;
mkdirSync(folder, { recursive: true });
const server = await serve(await smallBundle());
const browser = await launch();
try {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, height] of [[360, 1400], [768, 1100], [1440, 1060]]) {
      const viewport = { width, height };
      const { page, leave } = await visitor(browser, [server.origin], { viewport, colorScheme });
      await page.goto(`${server.origin}/?seed=2`);
      const bot = new BotPage(page);
      await bot.generate();
      await bot.finishes();
      await page.screenshot({ path: join(folder, `page-${width}-${colorScheme}.png`) });
      for (const [tab, ready] of [["What is this?", "#panel-card .prose h2"], ["Your own bot", "iframe.check"], ["Another bot", ".recent li"]]) {
        await bot.tab(tab).click();
        await page.waitForSelector(ready);
        await page.waitForLoadState("networkidle");
        // For inspection only: the README shows the first tab.
        await page.screenshot({ path: join(out, `tab-${tab.replace(/\W+/g, "-")}-${width}-${colorScheme}.png`), fullPage: true });
      }
      await leave();
    }
  }
} finally {
  await browser.close();
  server.close();
}
